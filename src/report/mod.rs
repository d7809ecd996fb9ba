//! What is told: diagnostics on standard error, the report, the transcript. The only room that prints.

mod answer;
mod line;
mod monitor;
mod probe;
mod progress;
mod summary;
mod syslog;
mod transcript;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lmtp_send::io_error::words;
use lmtp_send::lmtp::{Stage, printable};

pub use answer::Answer;
pub use probe::{Answered, Probe};
use progress::Progress;
pub use summary::Tally;
use syslog::Log;

use crate::cli::{ExitStyle, ReportFormat};
use crate::delivery::{Conclusion, Listener, Listeners, Measure, Record, Reporter};
use crate::exit::{self, Class, Judgement, Kind, Policy, State};
use crate::job::{Output, Thresholds};
use crate::local_error::LocalError;
use crate::process::{self, Access, was_closed};
use crate::stop::{Stop, Watcher};
use crate::wait::{Writer, write_at_once};

/// How long the report and the diagnostics may take to be written where the message's deadline is over.
const GRACE: Duration = Duration::from_secs(5);
/// How long standard error may hold up a run that goes on, all in all, or half of the deadline if that is less:
/// servers wait five minutes for a command (RFC 5321 §4.5.3.2.7).
const PATIENCE: Duration = Duration::from_secs(150);
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
    /// Ends every wait.
    pub stop: Arc<Stop>,
    /// What a person at the terminal sees, if anybody sits there and wants to.
    pub progress: Option<Arc<Progress>>,
}

impl Terms {
    /// From now on, whoever sits at the terminal sees what takes long.
    pub fn watch(&mut self) {
        if !self.output.quiet && io::stderr().is_terminal() {
            let progress = Progress::new();
            self.stop.watch(Arc::clone(&progress) as Arc<dyn Watcher>);
            self.progress = Some(progress);
        }
    }
}

/// Hears of every outcome, and says at the end what the exit code is.
pub struct Report {
    policy: Policy,
    output: Output,
    /// Where the report is written, if anywhere.
    sink: Option<Sink>,
    stderr: Stderr,
    log: Option<Log>,
    stop: Arc<Stop>,
    progress: Option<Arc<Progress>>,
    /// For each message.
    deadline: Duration,
    /// When the last message that was heard of should be done with.
    until: Instant,
    /// The report could not be written.
    lost: bool,
    /// What is said at the end, and the exit code.
    at_the_end: Diagnostics,
    /// What is said of messages some of whose recipients are still to come.
    begun: Vec<(Arc<str>, Diagnostics)>,
    warnings: Vec<String>,
    several: bool,
    /// The exit code of a probe that monitoring has been told of; nothing else is said then.
    monitored: Option<u8>,
}

/// What the report is written to.
struct Sink {
    name: String,
    writer: Writer,
}

/// Lines, and what decides the exit code.
#[derive(Default)]
struct Diagnostics {
    lines: Vec<String>,
    /// What decides so far.
    deciding: Option<Deciding>,
}

/// What decides the exit code.
#[derive(Clone, Copy)]
struct Deciding {
    /// The place of its line, where there is one.
    line: Option<usize>,
    judgement: Judgement,
    /// The message's place among all.
    number: u64,
}

impl Diagnostics {
    /// Hears `judgement` of the message with this `number`. What is to be tried again decides before what has failed,
    /// and else the first in the order of the messages, whenever it is heard.
    fn add(&mut self, line: Option<String>, judgement: Judgement, number: u64) {
        let decides = judgement.exit != exit::OK
            && self.deciding.is_none_or(|Deciding { judgement: so_far, number: first, .. }| {
                judgement.again && !so_far.again || judgement.again == so_far.again && number < first
            });
        if decides {
            self.deciding =
                Some(Deciding { line: line.as_ref().map(|_| self.lines.len()), judgement, number });
        }
        self.lines.extend(line);
    }

    /// The lines, the one that decides first.
    fn into_lines(mut self) -> Vec<String> {
        if let Some(Deciding { line: Some(at), .. }) = self.deciding
            && let Some(lines) = self.lines.get_mut(..=at)
        {
            lines.rotate_right(1);
        }
        self.lines
    }
}

/// Standard error while the run goes on: what nobody reads does not hold up the mail for ever.
struct Stderr {
    writer: Writer,
    stop: Arc<Stop>,
    /// What is left of the time for waiting.
    patience: Duration,
}

impl Stderr {
    fn new(deadline: Duration, stop: &Arc<Stop>) -> Self {
        Self { writer: Writer::stderr(stop), stop: Arc::clone(stop), patience: PATIENCE.min(deadline / 2) }
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        let began = Instant::now();
        let said = self.say_until(line, began + self.patience);
        self.patience = self.patience.saturating_sub(began.elapsed());
        said
    }

    fn say_until(&mut self, line: &str, until: Instant) -> io::Result<()> {
        self.stop.clear_terminal();
        self.writer.write(format!("{line}\n").as_bytes(), until)
    }
}

impl Report {
    /// Opens what the report is to be written to, within `deadline`.
    ///
    /// # Errors
    ///
    /// [`LocalError`] where that cannot be written, before anything is delivered.
    pub fn open(terms: Terms, several: bool) -> Result<Self, LocalError> {
        let Terms { policy, output, deadline, stop, progress } = terms;
        let now = Instant::now();
        let until = now.checked_add(deadline).unwrap_or(now);
        Ok(Self {
            policy,
            sink: Sink::open(&output, until, &stop)?,
            output,
            stderr: Stderr::new(deadline, &stop),
            log: None,
            stop,
            progress,
            deadline,
            until,
            lost: false,
            at_the_end: Diagnostics::default(),
            begun: Vec::new(),
            warnings: Vec::new(),
            several,
            monitored: None,
        })
    }

    /// Prints the diagnostics, the one that decides first, and behind them the `summary`; and returns the exit code.
    pub fn finish(mut self, summary: Option<String>) -> u8 {
        if let Some(exit) = self.monitored {
            return exit;
        }
        let judgement = self.at_the_end.deciding.map(|deciding| deciding.judgement);
        let mut lines = Vec::new();
        if !self.output.quiet {
            lines = self.at_the_end.into_lines();
            lines.append(&mut self.warnings);
        }
        let until = self.until.max(Instant::now() + GRACE);
        self.stop.clear_terminal();
        for line in lines.iter().chain(&summary) {
            // The exit code stays true where nobody reads why.
            let _ = self.stderr.say_until(line, until);
        }
        judgement.map_or(exit::OK, |judgement| judgement.exit)
    }

    /// Tells what a server answered to a question; its reply decides the exit code as a recipient's would.
    pub fn answer(&mut self, answer: &Answer) {
        let judgement = answer.judge(&self.policy);
        let line = match self.output.report {
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
        let monitor = self.policy.style == ExitStyle::Monitor;
        let report = match self.output.report {
            Some(ReportFormat::Json) => probe.json(&self.policy, exit),
            Some(ReportFormat::Text) | None => probe.page(),
        };
        if !report.is_empty() && (!monitor || self.output.report_file.is_some()) {
            self.print_answer(&report);
        }
        if monitor {
            let (line, state) = monitor::line(probe, &self.policy, thresholds);
            // Where nobody hears it, the exit code says it.
            let _ = print(&format!("{line}\n"), &self.stop);
            self.monitored = Some(state.exit());
        }
    }

    /// What a reply means for the exit code, and for the diagnostics.
    fn note(&mut self, answer: &Answer) {
        if let Some(judgement) = answer.judge(&self.policy) {
            let refused = judgement.exit != exit::OK;
            let line = refused.then(|| answer.diagnostic(&self.policy, judgement));
            self.at_the_end.add(line, judgement, 0);
        }
    }

    /// Tells an error that kept a question from being answered.
    pub fn unanswered(&mut self, question: &str, error: &LocalError) {
        let judgement = self.policy.judge_local_error(error.kind, error.reply.as_ref());
        if self.output.report == Some(ReportFormat::Json) {
            let answer = Answer::of_error(question, error, judgement);
            self.print_answer(&answer.json(Some(judgement)));
        }
        self.add_error(error);
    }

    fn print_answer(&mut self, line: &str) {
        let until = self.until.max(Instant::now() + GRACE);
        match &mut self.sink {
            Some(_) => self.report(line),
            None => {
                let text = format!("{line}\n");
                self.stop.clear_terminal();
                if let Err(e) = Writer::stdout(&self.stop).write(text.as_bytes(), until) {
                    self.report_lost(&format!("{STDOUT}: {}", why(&e)));
                }
            }
        }
    }

    /// A line of the report.
    fn report(&mut self, line: &str) {
        let until = self.until.max(Instant::now() + GRACE);
        let Some(sink) = self.sink.as_mut().filter(|_| !self.lost) else { return };
        // That may be the same terminal.
        self.stop.clear_terminal();
        let waiting = self.stop.waiting(|| format!("writing the report to {}", sink.name));
        let written = sink.writer.write(format!("{line}\n").as_bytes(), until);
        drop(waiting);
        if let Err(e) = written {
            let text = format!("{}: {}", sink.name, why(&e));
            self.report_lost(&text);
        }
    }

    fn report_lost(&mut self, text: &str) {
        if !self.lost {
            self.lost = true;
            self.add_error(&lost(&format!("{text}; what is delivered stays delivered")));
        }
    }

    /// Tells an error that concerns nobody in particular.
    fn add_error(&mut self, error: &LocalError) {
        let judgement = self.policy.judge_local_error(error.kind, error.reply.as_ref());
        let line = line::of_error(&self.policy, judgement, error);
        self.at_the_end.add(Some(line), judgement, u64::MAX);
    }

    /// Says with `-v` what has become of a message as soon as that is known of all recipients.
    fn follow(&mut self, record: &Record, judgement: Judgement) {
        let line = line::diagnostic(&self.policy, record, judgement, self.several);
        let at = self.begun.iter().position(|(message, _)| *message == record.message);
        let at = at.unwrap_or_else(|| {
            self.begun.push((Arc::clone(&record.message), Diagnostics::default()));
            self.begun.len() - 1
        });
        if let Some((_, diagnostics)) = self.begun.get_mut(at) {
            diagnostics.add(Some(line), judgement, record.number);
        }
        if record.is_last && !self.output.quiet {
            let (_, diagnostics) = self.begun.swap_remove(at);
            let errors = std::mem::take(&mut self.at_the_end.lines);
            for line in errors.into_iter().chain(diagnostics.into_lines()) {
                if self.stderr.say(&line).is_err() {
                    self.at_the_end.lines.push(line);
                }
            }
        }
    }

    fn judge(&self, conclusion: &Conclusion) -> Judgement {
        conclusion.judge(&self.policy)
    }

    /// The system's log is opened when there is something to say.
    fn log(&mut self, record: &Record, judgement: Judgement) {
        let Some(facility) = self.output.syslog else { return };
        if self.output.logs_failures_only && judgement.class == Class::Delivered {
            return;
        }
        let log = self.log.get_or_insert_with(|| Log::open(facility));
        log.write(judgement.class, &line::log(record, judgement));
    }

    fn write(&mut self, record: &Record, judgement: Judgement) {
        match self.output.report {
            Some(ReportFormat::Json) => self.report(&line::json(record, judgement)),
            Some(ReportFormat::Text) => self.report(&line::text(record, judgement)),
            None => {}
        }
    }
}

impl Sink {
    fn open(output: &Output, until: Instant, stop: &Arc<Stop>) -> Result<Option<Self>, LocalError> {
        if output.report.is_none() {
            return Ok(None);
        }
        if let Some(path) = &output.report_file {
            let name = path.display().to_string();
            let _waiting = stop.waiting(|| format!("opening {name} for the report"));
            let writer = Writer::append(path, until, stop).map_err(|e| not_opened(path, &e))?;
            return Ok(Some(Self { name, writer }));
        }
        if was_closed(rustix::stdio::stdout(), Access::Write) {
            return Err(lost(&format!("{STDOUT} is closed")));
        }
        Ok(Some(Self { name: STDOUT.into(), writer: Writer::stdout(stop) }))
    }
}

impl Reporter for Report {
    fn record(&mut self, record: Record) -> bool {
        let left =
            self.deadline.saturating_sub(Duration::try_from_secs_f64(record.seconds).unwrap_or_default());
        self.until = Instant::now().checked_add(left).unwrap_or(self.until);
        let judgement = self.judge(&record.conclusion);
        if let Some(progress) = &self.progress {
            progress.count(judgement.exit == exit::OK, record.is_last);
        }
        self.write(&record, judgement);
        self.log(&record, judgement);
        if self.output.verbosity > 0 {
            self.at_the_end.add(None, judgement, record.number);
            self.follow(&record, judgement);
        } else {
            let is_said = judgement.exit != exit::OK;
            let line = is_said.then(|| line::diagnostic(&self.policy, &record, judgement, self.several));
            self.at_the_end.add(line, judgement, record.number);
        }
        !self.lost
    }

    fn warning(&mut self, text: &str) {
        if self.output.verbosity > 0 || io::stderr().is_terminal() {
            self.warnings.push(format!("warning: {}", printable(text.as_bytes())));
        }
    }

    fn listener(&self, server: &str) -> Listener {
        listener(self.output.verbosity, self.deadline, &self.stop, self.progress.as_ref(), server)
    }

    fn listeners(&self) -> Listeners {
        let verbosity = self.output.verbosity;
        let (deadline, stop, progress) = (self.deadline, Arc::clone(&self.stop), self.progress.clone());
        Arc::new(move |server| listener(verbosity, deadline, &stop, progress.as_ref(), server))
    }

    fn measure(&mut self, measure: Measure) {
        if let Some(progress) = &self.progress {
            progress.measure(measure);
        }
    }
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

/// Tells an error that kept the run from beginning, in the report of each recipient of each message, and returns the
/// exit code. `sender` is the reverse-path, empty where it is not known.
pub fn never_begun(terms: Terms, error: &LocalError, messages: &[String], sender: &str, to: &[String]) -> u8 {
    let Terms { policy, deadline, .. } = terms;
    let judgement = policy.judge_local_error(error.kind, error.reply.as_ref());
    if policy.style == ExitStyle::Monitor {
        unknown(&format!("{} {}", judgement.status, error.text), &terms.stop);
        return judgement.exit;
    }
    if !terms.output.quiet {
        say(&line::of_error(&policy, judgement, error), deadline.max(GRACE), &terms.stop);
    }
    // It has been said. What failed may have taken the whole deadline already: opening this report, for one.
    let output = Output { quiet: true, ..terms.output.clone() };
    let terms = Terms { output, deadline: deadline.min(GRACE), ..terms };
    // Where not even the report can be opened, that is the error.
    if let Ok(mut report) = Report::open(terms, messages.len() > 1) {
        let recipients: Vec<Option<&String>> =
            if to.is_empty() { vec![None] } else { to.iter().map(Some).collect() };
        for (number, message) in (0..).zip(messages) {
            let message: Arc<str> = message.as_str().into();
            for (at, recipient) in recipients.iter().enumerate() {
                report.record(Record {
                    message: Arc::clone(&message),
                    message_id: None,
                    sender: sender.into(),
                    recipient: recipient.map(|recipient| recipient.as_str().into()),
                    conclusion: Conclusion::LocalError(error.clone()),
                    server: None,
                    attempts: 0,
                    seconds: 0.0,
                    is_last: at + 1 == recipients.len(),
                    number,
                });
            }
        }
    }
    judgement.exit
}

/// Tells monitoring that nothing is known of the server, and why.
fn unknown(text: &str, stop: &Arc<Stop>) {
    let _ = print(&format!("{}\n", monitor::plain(State::Unknown, text)), stop);
}

/// Prints what the user asked for.
///
/// # Errors
///
/// It could not be written, or nobody read it in time.
pub fn print(text: &str, stop: &Arc<Stop>) -> io::Result<()> {
    Writer::stdout(stop).write(text.as_bytes(), Instant::now() + ANSWER)
}

/// Says what a terminal that is standard input is waited for, if the person before it sees standard error.
pub fn await_typing(until_lone_dot: bool, stop: &Arc<Stop>) {
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
        let dot = if until_lone_dot { " or a line of a single dot" } else { "" };
        say(&format!("lmtp-send: type the message, header first; Ctrl-D{dot} ends it"), ANSWER, stop);
    }
}

/// What is wrong with the command line, whether anybody reads that or not.
pub fn usage(style: ExitStyle, text: &str, stop: &Arc<Stop>) {
    if style == ExitStyle::Monitor {
        let first = text.split("\n\n").next().unwrap_or_default();
        return unknown(first.trim_start_matches("error: "), stop);
    }
    say(text, ANSWER, stop);
}

/// A bug, said by a program that cannot wait any more.
pub fn bug(style: ExitStyle, line: &str) {
    if style == ExitStyle::Monitor {
        let line = format!("{}\n", monitor::plain(State::Unknown, line));
        let _ = rustix::io::write(rustix::stdio::stdout(), line.as_bytes());
        return;
    }
    write_at_once(format!("{line}\n").as_bytes());
}

/// A line on standard error, whether anybody reads that or not.
fn say(line: &str, limit: Duration, stop: &Arc<Stop>) {
    let now = Instant::now();
    let until = now.checked_add(limit).unwrap_or(now);
    stop.clear_terminal();
    let _ = Writer::stderr(stop).write(format!("{line}\n").as_bytes(), until);
}

/// What standard output is called in a diagnostic.
const STDOUT: &str = "standard output";

/// Why something could not be written.
fn why(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::TimedOut {
        "nobody read it in time".into()
    } else if error.kind() == io::ErrorKind::Interrupted {
        "nobody read it before a signal ended the run".into()
    } else {
        words(error)
    }
}

fn not_opened(path: &Path, error: &io::Error) -> LocalError {
    let name = path.display();
    if error.kind() == io::ErrorKind::Interrupted {
        return LocalError::new(Kind::Stopped, Stage::Input, format!("{name}: stopped by a signal"));
    }
    if error.kind() == io::ErrorKind::TimedOut {
        return lost(&format!("{name}: {}", why(error)));
    }
    let kind = process::kind(error, Kind::InputOutput);
    LocalError { kind, ..lost(&process::unusable(path, error)) }
}

fn lost(text: &str) -> LocalError {
    LocalError::new(Kind::InputOutput, Stage::Input, format!("the report could not be written: {text}"))
}
