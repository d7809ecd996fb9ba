//! What is told: diagnostics on standard error, the report, the transcript. The only room that prints.

mod answer;
mod line;
mod progress;
mod transcript;

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use lmtp_send::lmtp::{Stage, printable};

pub use answer::Answer;

use crate::cli::ReportFormat;
use crate::delivery::{Conclusion, Listener, Record, Reporter};
use crate::exit::{self, Judgement, Kind, Policy};
use crate::job::Output;
use crate::local_error::LocalError;
use crate::process::was_closed;

/// Hears of every outcome, and says at the end what the exit code is.
pub struct Report {
    policy: Policy,
    output: Output,
    /// What the report is written to, by name.
    target: String,
    /// Where it is written.
    sink: Option<Box<dyn Write>>,
    /// The report could not be written.
    lost: Option<String>,
    /// A line for each outcome worth telling.
    lines: Vec<String>,
    /// What decides the exit code so far: its line's place, and its judgement.
    deciding: Option<(usize, Judgement)>,
    warnings: Vec<String>,
    several: bool,
}

impl Report {
    /// Opens what the report is to be written to.
    ///
    /// # Errors
    ///
    /// [`LocalError`] where that cannot be written, before anything is delivered.
    pub fn open(policy: Policy, output: Output, several: bool) -> Result<Self, LocalError> {
        let sink = match (&output.report, &output.report_file) {
            (None, _) => None,
            (Some(_), Some(path)) => {
                let file = OpenOptions::new().append(true).create(true).open(path);
                Some(Box::new(file.map_err(|e| lost(&format!("{}: {e}", path.display())))?) as Box<dyn Write>)
            }
            (Some(_), None) => Some(Box::new(standard_output()?) as Box<dyn Write>),
        };
        let target = output.report_file.as_ref().map(|path| path.display().to_string());
        let target = target.unwrap_or_else(|| "standard output".into());
        let (lines, warnings) = (Vec::new(), Vec::new());
        Ok(Self { policy, output, target, sink, lost: None, lines, deciding: None, warnings, several })
    }

    /// Prints the diagnostics, the one that decides first, and returns the exit code.
    pub fn finish(mut self) -> u8 {
        if let Some(text) = self.lost.take() {
            self.trouble(&lost(&format!("{}: {text}; what is delivered stays delivered", self.target)));
        }
        if !self.output.quiet {
            let first = self.deciding.map(|(at, _)| at);
            let rest = self.lines.iter().enumerate().filter(|(at, _)| Some(*at) != first).map(|(_, l)| l);
            let deciding = first.and_then(|at| self.lines.get(at));
            let text: Vec<&String> = deciding.into_iter().chain(rest).chain(&self.warnings).collect();
            text.into_iter().for_each(|line| say(line));
        }
        self.deciding.map_or(exit::OK, |(_, judgement)| judgement.exit)
    }

    /// Tells what a server answered to a question; its reply decides the exit code as a recipient's would.
    pub fn answer(&mut self, answer: &Answer) {
        let judgement = answer.judge(&self.policy);
        let line = match self.output.report {
            Some(ReportFormat::Json) => answer.json(judgement),
            Some(ReportFormat::Text) | None => answer.text(),
        };
        self.print_answer(&line);
        if let Some(judgement) = judgement {
            let decides = self.decides(judgement);
            if decides || judgement.exit != exit::OK {
                self.lines.push(answer.diagnostic(&self.policy, judgement));
            }
            if decides {
                self.deciding = Some((self.lines.len() - 1, judgement));
            }
        }
    }

    /// Tells a trouble that kept a question from being answered.
    pub fn unanswered(&mut self, question: &str, trouble: &LocalError) {
        let judgement = self.policy.trouble(trouble.kind, trouble.reply.as_ref());
        if self.output.report == Some(ReportFormat::Json) {
            let answer = Answer::trouble(question, trouble, judgement);
            self.print_answer(&answer.json(Some(judgement)));
        }
        self.trouble(trouble);
    }

    fn print_answer(&mut self, line: &str) {
        let written = match self.sink.as_mut() {
            Some(sink) => sink.write_all(format!("{line}\n").as_bytes()).and_then(|()| sink.flush()),
            None => print(&format!("{line}\n")),
        };
        if let Err(e) = written {
            self.lost.get_or_insert(e.to_string());
        }
    }

    /// Tells a trouble that concerns nobody in particular.
    fn trouble(&mut self, trouble: &LocalError) {
        let judgement = self.policy.trouble(trouble.kind, trouble.reply.as_ref());
        self.lines.push(line::of_trouble(&self.policy, judgement, trouble));
        if self.decides(judgement) {
            self.deciding = Some((self.lines.len() - 1, judgement));
        }
    }

    /// Whether `judgement` decides before what has been heard: what is to be tried again before what has
    /// failed, and else the first.
    fn decides(&self, judgement: Judgement) -> bool {
        match self.deciding {
            None => judgement.exit != exit::OK,
            Some((_, so_far)) => judgement.again && !so_far.again,
        }
    }

    fn judge(&self, fate: &Conclusion) -> Judgement {
        match fate {
            Conclusion::Outcome(outcome) => self.policy.judge(outcome),
            Conclusion::LocalError(trouble) => self.policy.trouble(trouble.kind, trouble.reply.as_ref()),
        }
    }

    fn write(&mut self, record: &Record, judgement: Judgement) {
        let Some(sink) = self.sink.as_mut() else { return };
        let line = match self.output.report {
            Some(ReportFormat::Json) => line::json(record, judgement),
            Some(ReportFormat::Text) | None => line::text(record, judgement),
        };
        if let Err(e) = sink.write_all(format!("{line}\n").as_bytes()).and_then(|()| sink.flush()) {
            self.lost.get_or_insert(e.to_string());
        }
    }
}

impl Reporter for Report {
    fn record(&mut self, record: Record) -> bool {
        let judgement = self.judge(&record.fate);
        self.write(&record, judgement);
        if judgement.exit != exit::OK || self.output.verbosity > 0 {
            self.lines.push(line::diagnostic(&self.policy, &record, judgement, self.several));
        }
        if self.decides(judgement) {
            self.deciding = Some((self.lines.len() - 1, judgement));
        }
        self.lost.is_none()
    }

    fn warning(&mut self, text: &str) {
        if self.output.verbosity > 0 || io::stderr().is_terminal() {
            self.warnings.push(format!("warning: {}", printable(text.as_bytes())));
        }
    }

    fn listener(&self, server: &str) -> Listener {
        if self.output.verbosity >= 2 {
            let mut transcript = transcript::Transcript::new(server);
            return Box::new(move |event| transcript.line(&event).iter().for_each(|line| say(line)));
        }
        if self.output.quiet || !io::stderr().is_terminal() {
            return Box::new(|_| {});
        }
        let mut progress = progress::Progress::default();
        Box::new(move |event| {
            if let Some(text) = progress.note(&event, Instant::now()) {
                let _ = io::stderr().write_all(text.as_bytes());
            }
        })
    }
}

/// Tells a trouble that kept the run from beginning, in the report of each recipient as typed, and returns the
/// exit code. `sender` is the reverse-path, empty where it is not known.
pub fn never_begun(
    policy: Policy,
    output: &Output,
    trouble: &LocalError,
    message: &str,
    sender: &str,
    to: &[String],
) -> u8 {
    let record = |recipient: Option<&str>| Record {
        message: message.into(),
        message_id: None,
        sender: sender.into(),
        recipient: recipient.map(Into::into),
        fate: Conclusion::LocalError(trouble.clone()),
        server: None,
        attempts: 0,
        seconds: 0.0,
    };
    let judgement = policy.trouble(trouble.kind, trouble.reply.as_ref());
    if !output.quiet {
        say(&line::of_trouble(&policy, judgement, trouble));
    }
    // Where not even the report can be opened, that is the trouble.
    if let Ok(mut report) = Report::open(policy, output.clone(), false) {
        let recipients = to.iter().map(|r| Some(r.as_str()));
        let nobody = to.is_empty().then_some(None);
        for recipient in recipients.chain(nobody) {
            report.record(record(recipient));
        }
    }
    judgement.exit
}

/// Prints what the user asked for.
pub fn print(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush())
}

/// A line on standard error, whether anybody reads that or not.
pub fn say(line: &str) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

fn lost(text: &str) -> LocalError {
    LocalError::new(Kind::InputOutput, Stage::Input, format!("the report could not be written: {text}"))
}

/// Standard output, if there is one.
fn standard_output() -> Result<File, LocalError> {
    if was_closed(rustix::stdio::stdout()) {
        return Err(lost("standard output is closed"));
    }
    let duplicate = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3);
    duplicate.map(File::from).map_err(|e| lost(&e.to_string()))
}
