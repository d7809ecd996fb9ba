//! `lmtp-send`: delivers mail by LMTP and tells the truth about every recipient.

mod cli;
mod delivery;
mod exit;
mod job;
mod query;
mod report;
mod transport;
mod trouble;

use std::ffi::OsString;
use std::process::ExitCode;
use std::rc::Rc;

use clap::error::ErrorKind;

use cli::{Args, ExitStyle, Uncertain};
use exit::{Kind, Policy};
use job::{Job, Output};
use report::Report;
use transport::stop::Stop;
use trouble::Trouble;

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    let code = match cli::parse(argv.iter().cloned()) {
        Ok(args) => run(args),
        Err(error) => usage(&argv, &error),
    };
    ExitCode::from(code)
}

fn run(args: Args) -> u8 {
    let (policy, output) = (job::policy(&args), job::output(&args));
    exit_on_panic(policy);
    if std::env::var_os("RUST_LOG").is_some() {
        env_logger::init();
    }
    deliver(args, policy, output.clone())
        .unwrap_or_else(|trouble| report::trouble(&policy, &output, &trouble))
}

fn deliver(args: Args, policy: Policy, output: Output) -> Result<u8, Trouble> {
    let stop = Stop::catch(policy.styled(exit::TEMPFAIL))
        .map_err(|e| Trouble::input(Kind::Exhausted, format!("signals cannot be caught: {e}")))?;
    let (is_query, stop) = (args.protocol.is_query(), Rc::new(stop));
    let questions = query::Questions::new(&args);
    let job = Job::new(args, &stop)?;
    let mut report = Report::open(policy, output, job.inputs.len() > 1)?;
    if is_query {
        query::run(&job, &questions?, &stop, &mut report);
    } else {
        delivery::run(&job, &stop, &mut report);
    }
    Ok(report.finish())
}

/// `--help`, `--version`, and what cannot be understood.
fn usage(argv: &[OsString], error: &clap::Error) -> u8 {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return if report::print(&error.to_string()).is_ok() { exit::OK } else { exit::TEMPFAIL };
    }
    report::say(error.to_string().trim_end());
    let (style, soft_bounce) = cli::exit_wishes(argv);
    let policy = Policy { style: style.unwrap_or(ExitStyle::Mta), uncertain: Uncertain::Defer, soft_bounce };
    policy.styled(exit::USAGE)
}

/// A bug must not bounce mail, as death by a signal would.
fn exit_on_panic(policy: Policy) {
    std::panic::set_hook(Box::new(move |panic| {
        let judgement = policy.trouble(Kind::Bug, None);
        report::say(&format!("{} this is a bug of lmtp-send: {panic}", judgement.status));
        std::process::exit(judgement.exit.into());
    }));
}
