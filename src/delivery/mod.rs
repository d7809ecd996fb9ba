//! Policy: which messages, hosts in turn, as few sessions as possible, further transactions for recipients that
//! did not fit.
//!
//! ```text
//! intake ──> mail ──> queue ──> worker ──> conclude ──> reporter
//! which      who      when      session    final, or back into the queue
//! ```
//!
//! | room | holds |
//! | --- | --- |
//! | `intake` | which messages, one after the other |
//! | `sources` | where their names come from: FILEs, lists, directories, mboxes |
//! | `taking_in` | what a worker does next: what was begun, what is due, the next message |
//! | `input` | a message is opened, and read to its end |
//! | `mail` | a message with its envelope, and what has become of each recipient |
//! | `addressing` | who it is from and for: from the job, and from the header what that leaves open |
//! | `submission` | the envelope and the missing fields of a message handed in as to sendmail |
//! | `queue` | the transactions that are waiting |
//! | `worker` | one connection and what is in flight on it |
//! | `gate` | `conclude`: an outcome becomes final, or goes back into the queue |
//! | `memory`, `ledger` | who has a message already, and what is to be remembered |
//! | `test_message` | a message of our own, where one is asked for |
//! | `retry` | attempts, verdict, deadline → delay |
//! | `side_by_side` | several workers, and the one owner of the report |
//! | `opening` | hosts in turn, from a destination to a session |
//! | `shard` | which messages fall to a part of a run |
//! | `findings` | what is learnt of a server on the way to a session, for a probe |
//!
//! What cannot be known here is wording: outcomes go to a [`Reporter`] as they become known.

mod addressing;
mod findings;
mod gate;
mod input;
mod intake;
mod ledger;
mod mail;
mod memory;
pub mod opening;
mod queue;
pub mod retry;
pub mod shard;
mod side_by_side;
mod sources;
mod submission;
mod taking_in;
mod test_message;
mod worker;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lmtp_send::lmtp::{Event, Outcome};

use crate::exit::{Judgement, Kind, Policy};
use crate::job::Job;
use crate::local_error::LocalError;
use crate::stop::Stop;
use intake::{Ahead, Intake, Next, Patience};
pub use memory::Memory;
use worker::Worker;

/// How long the replies to what was sent are waited for once a signal has come, in a run of several messages.
const GRACE: Duration = Duration::from_secs(3);
/// The same for a single one: whoever stopped it waits for the end.
const GRACE_OF_ONE: Duration = Duration::from_secs(1);
/// Why a message was not begun.
const STOPPED: &str = "stopped by a signal";

/// What became of a recipient, in a session or short of one.
#[derive(Clone, Debug)]
pub enum Conclusion {
    /// In a session.
    Outcome(Outcome),
    /// There was none.
    LocalError(LocalError),
    /// None was needed: an earlier run has delivered it, by the ledger.
    Earlier,
}

impl Conclusion {
    /// What it comes to.
    pub fn judge(&self, policy: &Policy) -> Judgement {
        match self {
            Conclusion::Outcome(outcome) => policy.judge(outcome),
            Conclusion::LocalError(error) => policy.judge_local_error(error.kind, error.reply.as_ref()),
            Conclusion::Earlier => policy.delivered(None),
        }
    }
}

/// What there is to say of one recipient of one message.
#[derive(Clone, Debug)]
pub struct Record {
    /// FILE or `-`.
    pub message: Arc<str>,
    /// Its Message-ID, where the report wants it.
    pub message_id: Option<Arc<str>>,
    /// The reverse-path; empty for the null one.
    pub sender: Arc<str>,
    /// `None` where the message's recipients are not known.
    pub recipient: Option<Arc<str>>,
    /// What became of it.
    pub conclusion: Conclusion,
    /// The server that decided, or was to.
    pub server: Option<Arc<str>>,
    /// How many transactions it was part of, or would have been.
    pub attempts: u32,
    /// From the beginning of reading the message, in seconds.
    pub seconds: f64,
    /// The message has no more recipients to be told of.
    pub is_last: bool,
    /// It is of a message, and not of a list, an mbox or a directory that could not be read to its end.
    pub is_message: bool,
    /// The message's place among all of the run.
    pub number: u64,
}

/// Who listens to a session.
pub type Listener = Box<dyn FnMut(Event<'_>)>;

/// Whoever is told what happens.
pub trait Reporter {
    /// The outcome of a recipient, in the order of the recipients. `false`: it could not be told, and
    /// nothing more should be delivered that nobody would hear of.
    fn record(&mut self, record: Record) -> bool;
    /// Something that is worth knowing and no failure.
    fn warning(&mut self, text: &str);
    /// Who listens to a session with `server`.
    fn listener(&self, server: &str) -> Listener;
    /// The same, for sessions side by side.
    fn listeners(&self) -> Listeners;
    /// What the summary is made of, where one is wanted.
    fn measure(&mut self, measure: Measure);
}

/// Makes who listens to a session with the server named.
pub type Listeners = Arc<dyn Fn(&str) -> Listener + Send + Sync>;

/// A count for the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// So many messages are to be sent, as far as that is known from the beginning.
    Expected(u64),
    /// A session was opened.
    Session,
    /// A message was taken in.
    Message,
    /// So many octets of messages were sent.
    Octets(u64),
    /// A recipient's copy was accepted so long after the message had been sent.
    Reply(Duration),
}

/// What the workers of a run have in common.
struct Run<'a> {
    job: &'a Job,
    stop: &'a Arc<Stop>,
    intake: Mutex<Intake>,
    /// The holder of the intake waits for somebody.
    intake_waits: AtomicBool,
    memory: Memory,
    report_lost: AtomicBool,
    ledger_lost: AtomicBool,
    /// No further message is taken.
    ended: AtomicBool,
}

/// Delivers all messages of `job`; and what is remembered of that, to be finished when all has been told.
///
/// # Errors
///
/// What kept the run from beginning.
pub fn run(job: &Job, stop: &Arc<Stop>, reporter: &mut dyn Reporter) -> Result<Memory, LocalError> {
    job.warnings.iter().for_each(|text| reporter.warning(text));
    let run = Run::new(job, stop)?;
    if job.bulk.is_measured()
        && let Some(messages) = run.expected()
    {
        reporter.measure(Measure::Expected(messages));
    }
    match job.bulk.connections {
        0 | 1 => Worker::new(&run, reporter).work(),
        workers => side_by_side::work(&run, workers, reporter),
    }
    run.memory.sync();
    if let Some(text) = run.nothing_to_deliver() {
        reporter.warning(&text);
    }
    Ok(run.memory)
}

impl<'a> Run<'a> {
    fn new(job: &'a Job, stop: &'a Arc<Stop>) -> Result<Self, LocalError> {
        Ok(Self {
            job,
            stop,
            intake: Mutex::new(Intake::new(job)),
            intake_waits: AtomicBool::new(false),
            memory: Memory::open(job)?,
            report_lost: AtomicBool::new(false),
            ledger_lost: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }

    /// What is to be done next, if finding it takes no more than is `allowed`.
    fn next_input(&self, allowed: Ahead) -> Next {
        // While one worker waits for somebody with the intake in its hands, the others have to make way as well.
        if allowed < Ahead::Wait && self.intake_waits.load(Ordering::Relaxed) {
            return Next::Needs(Ahead::Wait);
        }
        let mut intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_over() {
            intake.hurry();
        }
        self.intake_waits.store(allowed == Ahead::Wait, Ordering::Relaxed);
        let now = Instant::now();
        let deadline = now.checked_add(self.job.deadline).unwrap_or(now);
        let next = intake.next(now, allowed, Patience { deadline, stop: self.stop });
        self.intake_waits.store(false, Ordering::Relaxed);
        next
    }

    /// How long the replies to what was sent are waited for once a signal has come.
    fn grace(&self) -> Duration {
        if self.job.bulk.several { GRACE } else { GRACE_OF_ONE }
    }

    /// A signal has come before the message `name` was begun.
    fn not_begun(&self, name: &str) -> LocalError {
        let kind = if self.job.bulk.several { Kind::NotBegun } else { Kind::Stopped };
        LocalError::input(kind, format!("{name}: {STOPPED}"))
    }

    /// How many messages there are, where that is known.
    fn expected(&self) -> Option<u64> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner).expected()
    }

    /// What to say of a run that had no messages and was not stopped.
    fn nothing_to_deliver(&self) -> Option<String> {
        let intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner);
        if intake.has_given() || self.is_over() {
            return None;
        }
        let place = match (self.job.messages.inputs.as_slice(), &self.job.bulk.files_from) {
            ([path], None) | ([], Some(path)) => format!(" in {}", path.display()),
            _ => String::new(),
        };
        let part = if self.job.bulk.shard.is_some() { " that falls to this part (--shard)" } else { "" };
        Some(format!("nothing to deliver: no message{place}{part}"))
    }

    /// A record could not be told: nothing more is to be delivered.
    fn lose_report(&self) {
        self.memory.keep();
        self.report_lost.store(true, Ordering::Relaxed);
    }

    fn is_report_lost(&self) -> bool {
        self.report_lost.load(Ordering::Relaxed)
    }

    /// What is delivered could not be remembered: nothing more is to be delivered.
    fn lose_ledger(&self) {
        self.ledger_lost.store(true, Ordering::Relaxed);
    }

    fn is_ledger_lost(&self) -> bool {
        self.ledger_lost.load(Ordering::Relaxed)
    }

    /// Nothing new is begun.
    fn end_early(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Whether nothing new is to be begun.
    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || self.stop.is_requested()
    }

    /// Why the message `name` is not taken in, if it is not.
    fn hindrance(&self, name: &str) -> Option<LocalError> {
        if self.stop.is_requested() {
            return Some(self.not_begun(name));
        }
        (self.is_ledger_lost() || self.is_over())
            .then(|| LocalError::input(Kind::Stopped, format!("{name}: {}", self.why_over())))
    }

    /// Why nothing more is sent, where it is not a signal.
    fn why_over(&self) -> &'static str {
        if self.is_ledger_lost() {
            "not sent, because the ledger cannot be written"
        } else {
            "not sent, because --fail-fast ended the run"
        }
    }
}
