//! `lmtp-send`: delivers mail by LMTP and reports the outcome for each recipient.

mod calendar;
mod cli;
mod delivery;
mod exit;
mod job;
mod local_error;
mod process;
mod query;
mod report;
mod stop;
mod system;
mod transport;
mod wait;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lmtp_send::io_error::words;
use lmtp_send::lmtp::ReversePath;

use cli::{Args, ExitStyle, Facility, Sources, Uncertain, Unparsed};
use exit::{Kind, Policy};
use job::{Job, Output};
use local_error::LocalError;
use report::{Repetition, Report, Tally, Terms};
use stop::Stop;

fn main() -> ExitCode {
    let began = Instant::now();
    let argv: Vec<OsString> = std::env::args_os().collect();
    let typed = typed_policy(&argv);
    exit_on_panic(typed, log_of(&argv));
    let code = typed.styled(exit::TEMPFAIL);
    let (stop, uncaught) = match Stop::catch(code) {
        Ok(stop) => (Arc::new(stop), None),
        Err(e) => (Arc::new(Stop::uncaught(code)), Some(e)),
    };
    let sources = Sources::of_this_process();
    let read = |path: &Path, most: usize, deadline: Option<Duration>| {
        wait::read(path, most, began + deadline.unwrap_or(job::DEADLINE), &stop)
    };
    ExitCode::from(match cli::parse(&argv, &sources, &read) {
        Ok(args) => run(&args, began, &stop, uncaught),
        Err(Unparsed::Answer(text)) => report::answer(&text, &stop),
        Err(Unparsed::Error(text)) => {
            let policy = Policy { style: exit_style(&argv, &sources), ..typed };
            report::usage(policy, text.trim_end(), log_of(&argv), &stop);
            policy.styled(exit::USAGE)
        }
        Err(Unparsed::Config(text)) => {
            let error = LocalError::input(Kind::Config, text);
            misconfigured(&argv, exit_style(&argv, &sources), &error, &stop)
        }
        Err(Unparsed::Unreadable(path, e)) => {
            let kind = process::kind(&e, Kind::Config);
            // --timeout is not known before.
            let text = if e.kind() == io::ErrorKind::TimedOut {
                format!("{}: it took too long (--deadline)", path.display())
            } else {
                process::unusable(&path, &e)
            };
            let error = LocalError::input(kind, text);
            misconfigured(&argv, exit_style(&argv, &sources), &error, &stop)
        }
    })
}

/// How codes become exit codes, as far as the command line says so itself.
fn typed_policy(argv: &[OsString]) -> Policy {
    let (style, soft_bounce) = cli::exit_wishes(argv);
    Policy { style: style.unwrap_or(ExitStyle::Mta), uncertain: Uncertain::Defer, soft_bounce }
}

/// The exit style where the command line or the settings cannot be understood.
fn exit_style(argv: &[OsString], sources: &Sources) -> ExitStyle {
    cli::exit_style(argv, sources).unwrap_or(ExitStyle::Mta)
}

fn run(args: &Args, began: Instant, stop: &Arc<Stop>, uncaught: Option<io::Error>) -> u8 {
    let mut terms = terms(args, began, stop);
    terms.watch();
    stop.set_code(terms.policy.styled(exit::TEMPFAIL));
    exit_on_panic(terms.policy, terms.output.syslog);
    if std::env::var_os("RUST_LOG").is_some() {
        env_logger::init();
    }
    let caught = uncaught.map_or(Ok(()), |e| {
        Err(LocalError::input(Kind::Exhausted, format!("signals cannot be caught: {}", words(&e))))
    });
    caught
        .and_then(|()| deliver(args, began, terms))
        .unwrap_or_else(|error| never_begun(args, began, &job::placed(error, &args.settings), stop))
}

fn terms(args: &Args, began: Instant, stop: &Arc<Stop>) -> Terms {
    Terms::new(job::policy(&args.usual), job::output(args), job::deadline(&args.usual), began, stop)
}

/// Nothing was begun: the exit code.
fn never_begun(args: &Args, began: Instant, error: &LocalError, stop: &Arc<Stop>) -> u8 {
    let mut messages: Vec<String> =
        args.usual.files.iter().map(|file| file.to_string_lossy().into_owned()).collect();
    if messages.is_empty() {
        messages.push("-".into());
    }
    let from = args.usual.envelope.from.as_deref().and_then(|from| ReversePath::parse(from).ok());
    let sender = from.as_ref().map_or("", ReversePath::as_str);
    report::never_begun(
        terms(args, began, stop),
        error,
        &messages,
        sender,
        &job::named(&args.usual.envelope.to),
    )
}

fn deliver(args: &Args, began: Instant, mut terms: Terms) -> Result<u8, LocalError> {
    let stop = &Arc::clone(&terms.stop);
    let job = Job::new(args, began, stop)?;
    if job.bulk.several {
        terms.watch_several();
    }
    let mut report = Report::open(terms, job.bulk.several)?;
    if !job.questions.is_empty() {
        query::run(&job, stop, &mut report);
        return Ok(report.finish(None, &Repetition::default()));
    }
    if !job.output.quiet && job.messages.inputs.iter().any(|input| input == Path::new("-")) {
        report::await_typing(job.submission.as_ref().is_some_and(|s| s.until_lone_dot), stop);
    }
    let (memory, summary) = if job.bulk.is_measured() {
        let mut tally = Tally::new(&mut report);
        let memory = delivery::run(&job, stop, &mut tally)?;
        (memory, Some(tally.finish()))
    } else {
        (delivery::run(&job, stop, &mut report)?, None)
    };
    let repetition = Repetition {
        has_ledger: job.bulk.ledger.is_some(),
        unrecorded: memory.failure(),
        reads_standard_input: job.reads_standard_input(),
    };
    let summary = summary.and_then(|summary| summary.words(job.bulk.summary.format, &repetition));
    let code = report.finish(summary, &repetition);
    if let Err(error) = memory.finish(stop) {
        report::warn(&job.output, &error.text, stop);
    }
    Ok(code)
}

/// A variable or a configuration file cannot be understood: what was typed says how that is told.
fn misconfigured(argv: &[OsString], style: ExitStyle, error: &LocalError, stop: &Arc<Stop>) -> u8 {
    let began = Instant::now();
    match cli::typed_only(argv) {
        Ok(mut args) => {
            args.usual.outcome.exit_style = Some(style);
            never_begun(&args, began, error, stop)
        }
        Err(_) => {
            let policy = Policy { style, ..typed_policy(argv) };
            let output = Output { syslog: log_of(argv), ..Output::default() };
            let terms = Terms::new(policy, output, job::DEADLINE, began, stop);
            report::never_begun(terms, error, &["-".into()], "", &[])
        }
    }
}

/// The log that hears of a failure although nobody asked for it: nobody reads what is said to who calls sendmail.
fn log_of(argv: &[OsString]) -> Option<Facility> {
    cli::is_sendmail(argv).then_some(Facility::Mail)
}

/// A bug must not bounce mail, as death by a signal would. The `log` of the system hears of it as well.
fn exit_on_panic(policy: Policy, log: Option<Facility>) {
    std::panic::set_hook(Box::new(move |panic| {
        std::process::exit(report::bug(policy, &panic.to_string(), log).into());
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What this test does when it is run as the program that has the bug.
    const STYLE: &str = "STYLE_OF_A_PROGRAM_WITH_A_BUG";

    #[test]
    fn a_bug_is_told_and_mail_waits() {
        let styles = [ExitStyle::Mta, ExitStyle::Shell, ExitStyle::Qmail];
        if let Some(style) = std::env::var(STYLE).ok().and_then(|at| styles.get(at.parse::<usize>().ok()?)) {
            exit_on_panic(Policy { style: *style, ..typed_policy(&[]) }, None);
            panic!("nobody\nthought of it");
        }
        for (at, (code, status)) in [(75, "4.3.0"), (70, "5.3.0"), (111, "4.3.0")].into_iter().enumerate() {
            let mut test = Command::new(std::env::current_exe().unwrap());
            test.args(["--exact", "tests::a_bug_is_told_and_mail_waits", "--nocapture"]);
            let output = test.env(STYLE, at.to_string()).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{stderr}");
            let start = format!("{status} this is a bug of lmtp-send: panicked at src/main.rs:");
            assert!(stderr.lines().any(|line| line.starts_with(&start)), "{stderr}");
            assert!(stderr.contains(": nobody thought of it\n"), "{stderr}");
        }
    }
}
