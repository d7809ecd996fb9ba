//! What is told: diagnostics on standard error, the report, the transcript. The only room that prints.

mod answer;
mod bug;
mod diagnostics;
mod going_on;
mod line;
mod monitor;
mod never_begun;
mod probe;
mod progress;
mod stderr;
mod summary;
mod syslog;
mod transcript;
mod writer;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lmtp_send::lmtp::printable;

pub use answer::Answer;
pub use bug::bug;
use diagnostics::{ByMessage, Diagnostics};
use going_on::Left;
pub use going_on::Repetition;
pub use never_begun::never_begun;
use never_begun::unknown;
pub use probe::{Answered, Probe};
use progress::Progress;
use stderr::{Stderr, say};
pub use summary::Tally;
use syslog::Log;
use writer::{ReportWriter, lost, why};

use crate::cli::{ExitStyle, Facility, ReportFormat};
use crate::delivery::{Conclusion, Listener, Listeners, Measure, Record, Reporter};
use crate::exit::{self, Class, Judgement, Kind, Policy};
use crate::job::{Output, Thresholds};
use crate::local_error::LocalError;
use crate::stop::{Stop, Watcher};

/// How long the report and the diagnostics may take to be written where the message's deadline is over.
const GRACE: Duration = Duration::from_secs(5);
/// How long the answer to `--help` and the word on a usage error may take to be written.
const ANSWER: Duration = Duration::from_secs(60);

/// What holds for all that is told in a run.
#[derive(Clone)]
pub struct Terms {
    /// How outcomes become exit codes.
    pub policy: Policy,
    /// What is told, and where.
    pub output: Output,
    /// For each message.
    pub deadline: Duration,
    /// All that comes before the first message, such as opening the report, is done with by then.
    pub begin_by: Instant,
    /// Ends every wait.
    pub stop: Arc<Stop>,
    /// What is shown of work that takes long, if anybody sits at the terminal or wants it in the log.
    pub progress: Option<Arc<Progress>>,
}

impl Terms {
    /// For a run that began then, without anybody who sees what takes long.
    pub fn new(policy: Policy, output: Output, deadline: Duration, began: Instant, stop: &Arc<Stop>) -> Self {
        let begin_by = began.checked_add(deadline).unwrap_or(began);
        Self { policy, output, deadline, begin_by, stop: Arc::clone(stop), progress: None }
    }

    /// From now on, whoever sits at the terminal sees what takes long.
    pub fn watch(&mut self) {
        if !self.output.quiet && io::stderr().is_terminal() {
            self.show(Progress::on_terminal());
        }
    }

    /// From now on, a log that has a line for each recipient has one every ten seconds too for the run as a whole.
    pub fn watch_several(&mut self) {
        if !self.output.quiet && self.output.verbosity > 0 && self.progress.is_none() {
            self.show(Progress::in_log());
        }
    }

    fn show(&mut self, progress: Arc<Progress>) {
        self.stop.watch(Arc::clone(&progress) as Arc<dyn Watcher>);
        self.progress = Some(progress);
    }
}

/// Hears of every outcome, and says at the end what the exit code is.
pub struct Report {
    terms: Terms,
    /// Where the report is written, if anywhere.
    writer: Option<ReportWriter>,
    stderr: Stderr,
    log: Option<Log>,
    /// When the last message that was heard of should be done with.
    until: Instant,
    /// The report could not be written.
    lost: bool,
    /// What is said at the end, and the exit code.
    at_the_end: Diagnostics,
    /// What is said of messages some of whose recipients are still to come.
    begun: ByMessage,
    warnings: Vec<String>,
    /// What is left to be done.
    left: Left,
    several: bool,
    /// The exit code of a probe that monitoring has been told of; nothing else is said then.
    monitored: Option<u8>,
}

impl Report {
    /// Opens what the report is to be written to, before `begin_by`.
    ///
    /// # Errors
    ///
    /// [`LocalError`] where that cannot be written, before anything is delivered.
    pub fn open(terms: Terms, several: bool) -> Result<Self, LocalError> {
        let until = terms.begin_by;
        Ok(Self {
            writer: ReportWriter::open(&terms.output, until, &terms.stop)?,
            stderr: Stderr::new(terms.deadline, &terms.stop),
            log: None,
            terms,
            until,
            lost: false,
            at_the_end: Diagnostics::default(),
            begun: ByMessage::default(),
            warnings: Vec::new(),
            left: Left::default(),
            several,
            monitored: None,
        })
    }

    /// Prints the diagnostics, the one that decides first, and behind them the `summary` and how to go on; and returns
    /// the exit code.
    pub fn finish(mut self, summary: Option<String>, repetition: &Repetition<'_>) -> u8 {
        if let Some(exit) = self.monitored {
            return exit;
        }
        if let Some((line, judgement, number)) = self.left.diagnostic(&self.terms.policy) {
            if let Some(facility) = self.terms.output.syslog {
                self.log.get_or_insert_with(|| Log::open(facility)).write(judgement.class, &line);
            }
            self.at_the_end.add(Some(line), judgement, number);
        }
        let is_said = !self.several || repetition.has_ledger && summary.is_some();
        let to_go_on =
            if is_said || !self.terms.stop.is_requested() { None } else { self.left.to_go_on(repetition) };
        let judgement = self.at_the_end.deciding.map(|deciding| deciding.judgement);
        let mut lines = Vec::new();
        if !self.terms.output.quiet {
            lines = self.at_the_end.into_lines();
            lines.append(&mut self.warnings);
            let is_repeated = judgement.is_some_and(|judgement| judgement.again);
            let unrecorded = repetition.warning().filter(|_| is_repeated || is_warned(&self.terms.output));
            lines.extend(unrecorded.map(|text| warning(&text)));
            if self.log.as_ref().is_some_and(Log::is_missing) && is_warned(&self.terms.output) {
                lines.push(warning(&format!("--syslog: no log daemon takes messages at {}", syslog::SOCKET)));
            }
            lines.extend(to_go_on);
        }
        let until = self.until.max(Instant::now() + GRACE);
        self.terms.stop.clear_terminal();
        for line in lines.iter().chain(&summary) {
            // The exit code stays true where nobody reads why.
            let _ = self.stderr.say_until(line, until);
        }
        judgement.map_or(exit::OK, |judgement| judgement.exit)
    }

    /// Tells what a server answered to a question; its reply decides the exit code as a recipient's would.
    pub fn answer(&mut self, answer: &Answer) {
        let judgement = answer.judge(&self.terms.policy);
        let line = match self.terms.output.report {
            Some(ReportFormat::Json) => answer.json(judgement),
            Some(ReportFormat::Text) | None => answer.text(),
        };
        self.print_answer(&line);
        self.note(answer);
    }

    /// Tells what a probe found: an object, a page, or a line for monitoring.
    pub fn probe(&mut self, probe: &Probe, thresholds: &Thresholds) {
        probe.answers.iter().for_each(|answered| self.note(&answered.answer(&probe.server)));
        if let Some(error) = &probe.failed {
            self.add_error(error);
        }
        let exit = self.at_the_end.deciding.map_or(exit::OK, |deciding| deciding.judgement.exit);
        let monitor = self.terms.policy.style == ExitStyle::Monitor;
        let report = match self.terms.output.report {
            Some(ReportFormat::Json) => probe.json(&self.terms.policy, exit),
            Some(ReportFormat::Text) | None => probe.page(),
        };
        if !report.is_empty() && (!monitor || self.terms.output.report_file.is_some()) {
            self.print_answer(&report);
        }
        if monitor {
            let (line, state) = monitor::line(probe, &self.terms.policy, thresholds);
            // Where nobody hears it, the exit code says it.
            let _ = print(&format!("{line}\n"), &self.terms.stop);
            self.monitored = Some(state.exit());
        }
    }

    /// What a reply means for the exit code, and for the diagnostics.
    fn note(&mut self, answer: &Answer) {
        if let Some(judgement) = answer.judge(&self.terms.policy) {
            let refused = judgement.exit != exit::OK;
            let line = refused.then(|| answer.diagnostic(&self.terms.policy, judgement));
            self.at_the_end.add(line, judgement, 0);
        }
    }

    /// Tells an error that kept a question from being answered.
    pub fn unanswered(&mut self, question: &str, error: &LocalError) {
        let judgement = self.terms.policy.judge_local_error(error.kind, error.reply.as_ref());
        if self.terms.output.report == Some(ReportFormat::Json) {
            let answer = Answer::of_error(question, error, judgement);
            self.print_answer(&answer.json(Some(judgement)));
        }
        self.add_error(error);
    }

    fn print_answer(&mut self, line: &str) {
        let until = self.until.max(Instant::now() + GRACE);
        match &mut self.writer {
            Some(_) => self.report(line),
            None => {
                let text = format!("{line}\n");
                self.terms.stop.clear_terminal();
                if let Err(why) = writer::print(&text, until, &self.terms.stop)
                    && !std::mem::replace(&mut self.lost, true)
                {
                    self.add_error(&LocalError::input(Kind::InputOutput, why));
                }
            }
        }
    }

    /// A line of the report.
    fn report(&mut self, line: &str) {
        let until = self.until.max(Instant::now() + GRACE);
        let Some(report) = self.writer.as_mut().filter(|_| !self.lost) else { return };
        // That may be the same terminal.
        self.terms.stop.clear_terminal();
        let waiting = self.terms.stop.waiting(|| format!("writing the report to {}", report.name));
        let written = report.writer.write(format!("{line}\n").as_bytes(), until);
        drop(waiting);
        if let Err(e) = written {
            let text = format!("{}: {}", report.name, why(&e));
            self.report_lost(&text);
        }
    }

    fn report_lost(&mut self, text: &str) {
        if !self.lost {
            self.lost = true;
            self.add_error(&lost(&format!("{text}; deliveries already made stand")));
        }
    }

    /// Tells an error that concerns nobody in particular.
    fn add_error(&mut self, error: &LocalError) {
        let judgement = self.terms.policy.judge_local_error(error.kind, error.reply.as_ref());
        let line = line::of_error(&self.terms.policy, judgement, error);
        self.at_the_end.add(Some(line), judgement, u64::MAX);
    }

    /// Says with `-v` what has become of a message as soon as that is known of all recipients.
    fn follow(&mut self, record: &Record, judgement: Judgement) {
        if self.terms.output.quiet {
            return;
        }
        let line = line::diagnostic(&self.terms.policy, record, judgement, self.several);
        if let Some(lines) = self.begun.add(line, judgement, record.number, record.is_last) {
            for line in self.at_the_end.take_lines().into_iter().chain(lines) {
                if self.stderr.say(&line).is_err() {
                    self.at_the_end.lines.push(line);
                }
            }
        }
    }

    fn judge(&self, conclusion: &Conclusion) -> Judgement {
        conclusion.judge(&self.terms.policy)
    }

    /// The system's log is opened when there is something to say.
    fn log(&mut self, record: &Record, judgement: Judgement) {
        let Some(facility) = self.terms.output.syslog else { return };
        if self.terms.output.logs_failures_only && judgement.class == Class::Delivered {
            return;
        }
        let log = self.log.get_or_insert_with(|| Log::open(facility));
        log.write(judgement.class, &line::log(record, judgement));
    }

    fn write(&mut self, record: &Record, judgement: Judgement) {
        match self.terms.output.report {
            Some(ReportFormat::Json) => self.report(&line::json(record, judgement)),
            Some(ReportFormat::Text) => self.report(&line::text(record, judgement)),
            None => {}
        }
    }
}

impl Reporter for Report {
    fn record(&mut self, record: Record) -> bool {
        let left = self
            .terms
            .deadline
            .saturating_sub(Duration::try_from_secs_f64(record.seconds).unwrap_or_default());
        self.until = Instant::now().checked_add(left).unwrap_or(self.until);
        let judgement = self.judge(&record.conclusion);
        if self.left.takes(&record, judgement) {
            self.write(&record, judgement);
            return !self.lost;
        }
        if let Some(progress) = &self.terms.progress {
            progress.count(judgement.exit == exit::OK, record.is_message && record.is_last);
        }
        self.write(&record, judgement);
        self.log(&record, judgement);
        if self.terms.output.verbosity > 0 {
            self.at_the_end.add(None, judgement, record.number);
            self.follow(&record, judgement);
        } else {
            let is_said = judgement.exit != exit::OK;
            let line =
                is_said.then(|| line::diagnostic(&self.terms.policy, &record, judgement, self.several));
            self.at_the_end.add(line, judgement, record.number);
        }
        !self.lost
    }

    fn warning(&mut self, text: &str) {
        if is_warned(&self.terms.output) {
            self.warnings.push(warning(text));
        }
    }

    fn listener(&self, server: &str) -> Listener {
        listener(
            self.terms.output.verbosity,
            self.terms.deadline,
            &self.terms.stop,
            self.terms.progress.as_ref(),
            server,
        )
    }

    fn listeners(&self) -> Listeners {
        let verbosity = self.terms.output.verbosity;
        let (deadline, stop, progress) =
            (self.terms.deadline, Arc::clone(&self.terms.stop), self.terms.progress.clone());
        Arc::new(move |server| listener(verbosity, deadline, &stop, progress.as_ref(), server))
    }

    fn measure(&mut self, measure: Measure) {
        if let Some(progress) = &self.terms.progress {
            progress.measure(measure);
        }
    }
}

/// Says something that is worth knowing and no failure, behind all else.
pub fn warn(output: &Output, text: &str, stop: &Arc<Stop>) {
    if is_warned(output) && !output.quiet {
        say(&warning(text), GRACE, stop);
    }
}

/// Whether anybody wants to know what is no failure.
fn is_warned(output: &Output) -> bool {
    output.verbosity > 0 || io::stderr().is_terminal()
}

fn warning(text: &str) -> String {
    format!("warning: {}", printable(text.as_bytes()))
}

/// Who shows the dialogue with `server`, or how far a long message has got.
fn listener(
    verbosity: u8,
    deadline: Duration,
    stop: &Arc<Stop>,
    progress: Option<&Arc<Progress>>,
    server: &str,
) -> Listener {
    let mut transcript =
        (verbosity >= 2).then(|| (transcript::Transcript::new(server), Stderr::new(deadline, stop)));
    let progress = progress.cloned();
    if transcript.is_none() && progress.is_none() {
        return Box::new(|_| {});
    }
    Box::new(move |event| {
        progress.iter().for_each(|progress| progress.note(&event));
        if let Some((transcript, stderr)) = &mut transcript {
            transcript.line(&event).iter().for_each(|line| drop(stderr.say(line)));
        }
    })
}

/// Prints what the user asked for, or says why that cannot be done: the exit code.
pub fn answer(text: &str, stop: &Arc<Stop>) -> u8 {
    let Err(why) = print(text, stop) else { return exit::OK };
    say(&format!("4.3.0 {why}"), ANSWER, stop);
    exit::TEMPFAIL
}

fn print(text: &str, stop: &Arc<Stop>) -> Result<(), String> {
    writer::print(text, Instant::now() + ANSWER, stop)
}

/// Says what a terminal that is standard input is waited for, if the person before it sees standard error.
pub fn await_typing(until_lone_dot: bool, stop: &Arc<Stop>) {
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
        let dot = if until_lone_dot { " or a line of a single dot" } else { "" };
        say(&format!("lmtp-send: type the message, header first; Ctrl-D{dot} ends it"), ANSWER, stop);
    }
}

/// What is wrong with the command line, whether anybody reads that or not; the `log` of the system hears the first line.
pub fn usage(policy: Policy, text: &str, log: Option<Facility>, stop: &Arc<Stop>) {
    if let Some(facility) = log {
        let judgement = policy.judge_local_error(Kind::Usage, None);
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Log::open(facility).write(judgement.class, &line::log_of("usage", judgement, first));
    }
    if policy.style == ExitStyle::Monitor {
        let first = text.split("\n\n").next().unwrap_or_default();
        return unknown(first.trim_start_matches("error: "), stop);
    }
    say(text, ANSWER, stop);
}
