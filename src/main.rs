//! `lmtp-send`: delivers mail by LMTP and tells the truth about every recipient.

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

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use lmtp_send::lmtp::ReversePath;

use cli::{Args, ExitStyle, Sources, Uncertain, Unparsed};
use exit::{Kind, Policy};
use job::{Job, Output};
use local_error::LocalError;
use report::Report;
use stop::Stop;

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    ExitCode::from(match cli::parse(&argv, &Sources::of_this_process()) {
        Ok(args) => run(&args),
        Err(Unparsed::Answer(text)) => report::print(&text).map_or(exit::TEMPFAIL, |()| exit::OK),
        Err(Unparsed::Error(text)) => usage(&argv, &text),
        Err(Unparsed::Config(text)) => misconfigured(&argv, &text),
    })
}

fn run(args: &Args) -> u8 {
    let (policy, output) = (job::policy(&args.usual), job::output(&args.usual));
    exit_on_panic(policy);
    if std::env::var_os("RUST_LOG").is_some() {
        env_logger::init();
    }
    deliver(args, policy, output)
        .unwrap_or_else(|trouble| never_begun(args, &job::placed(trouble, &args.settings)))
}

/// Nothing was begun: the exit code.
fn never_begun(args: &Args, trouble: &LocalError) -> u8 {
    let (policy, output) = (job::policy(&args.usual), job::output(&args.usual));
    let message = args.usual.files.first().map_or("-".into(), |file| file.to_string_lossy());
    let from = args.usual.from.as_deref().and_then(|from| ReversePath::parse(from).ok());
    let sender = from.as_ref().map_or("", ReversePath::as_str);
    report::never_begun(policy, &output, trouble, &message, sender, &args.usual.to)
}

fn deliver(args: &Args, policy: Policy, output: Output) -> Result<u8, LocalError> {
    let stop = Stop::catch(policy.styled(exit::TEMPFAIL))
        .map_err(|e| LocalError::input(Kind::Exhausted, format!("signals cannot be caught: {e}")))?;
    let stop = Arc::new(stop);
    let job = Job::new(args, &stop)?;
    let mut report = Report::open(policy, output, job.inputs.len() > 1)?;
    if job.questions.is_empty() {
        delivery::run(&job, &stop, &mut report);
    } else {
        query::run(&job, &stop, &mut report);
    }
    Ok(report.finish())
}

/// What was typed cannot be understood: the exit code, in the style that was typed with it.
fn usage(argv: &[OsString], text: &str) -> u8 {
    report::say(text.trim_end());
    typed_policy(argv).styled(exit::USAGE)
}

/// A variable or a configuration file cannot be understood: what was typed says how that is told.
fn misconfigured(argv: &[OsString], text: &str) -> u8 {
    let trouble = LocalError::input(Kind::Config, text);
    match cli::typed_only(argv) {
        Ok(args) => never_begun(&args, &trouble),
        Err(_) => report::never_begun(typed_policy(argv), &Output::default(), &trouble, "-", "", &[]),
    }
}

fn typed_policy(argv: &[OsString]) -> Policy {
    let (style, soft_bounce) = cli::exit_wishes(argv);
    Policy { style: style.unwrap_or(ExitStyle::Mta), uncertain: Uncertain::Defer, soft_bounce }
}

/// A bug must not bounce mail, as death by a signal would.
fn exit_on_panic(policy: Policy) {
    std::panic::set_hook(Box::new(move |panic| {
        let judgement = policy.trouble(Kind::Bug, None);
        report::say(&format!("{} this is a bug of lmtp-send: {panic}", judgement.status));
        std::process::exit(judgement.exit.into());
    }));
}
