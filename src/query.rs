//! Questions instead of a delivery: what a server says of itself, and of an address.
//!
//! What the server answered is printed a line each, and what a probe found in one; the reply's code decides the
//! exit code by the same table as a delivery's.

use std::sync::Arc;
use std::time::Instant;

use lmtp_send::lmtp::{Reply, ReversePath, Session, SessionError, Stage};

use crate::delivery::opening;
use crate::delivery::{Listener, Reporter};
use crate::exit::Kind;
use crate::job::Job;
use crate::local_error::LocalError;
use crate::report::{Answer, Answered, Probe, Report};
use crate::stop::Stop;
use crate::transport::Link;

/// Asks the first server that accepts a session.
pub fn run(job: &Job, stop: &Arc<Stop>, report: &mut Report) {
    job.warnings.iter().for_each(|text| report.warning(text));
    let began = Instant::now();
    let deadline = began.checked_add(job.deadline).unwrap_or(began);
    if job.questions.probe {
        return probe(job, (began, deadline), stop, report);
    }
    match opening::first(job, deadline, stop, report) {
        Ok((mut session, server)) => ask(job, &mut session, &server, report),
        Err((error, _)) => report.unanswered("", &error),
    }
}

/// Tells what the first server that accepts a session shows of itself, or how far the last one came.
fn probe(job: &Job, (began, deadline): (Instant, Instant), stop: &Arc<Stop>, report: &mut Report) {
    let mut probe = Probe::default();
    let opened = opening::first_found(job, deadline, stop, report, &mut probe.findings);
    let (mut session, server) = match opened {
        Ok((session, server)) => (Some(session), Some(server)),
        Err((error, server)) => {
            probe.failed = Some(error);
            (None, server)
        }
    };
    let server = server.unwrap_or_default();
    server.as_ref().clone_into(&mut probe.server);
    if let Some(session) = &mut session {
        let asked = envelope(job, session, &mut probe);
        probe.failed = asked.err().map(|failure| local_error(&server, &failure, ""));
    }
    probe.total = began.elapsed();
    report.probe(&probe, &job.questions.thresholds);
    match session {
        Some(mut session) if probe.failed.is_none() => ask(job, &mut session, &server, report),
        Some(mut session) => session.close(),
        None => {}
    }
}

/// Asks each question, and tells the answers.
fn ask(job: &Job, session: &mut Session<Link, Listener>, server: &str, report: &mut Report) {
    for command in &job.questions.commands {
        let began = Instant::now();
        match session.ask(command) {
            Ok(reply) => {
                let answer = Answer::reply(server, command, Stage::Query, &reply, began.elapsed());
                report.answer(&answer);
            }
            Err(failure) => {
                report.unanswered(command, &local_error(server, &failure, command));
                break;
            }
        }
    }
    session.close();
}

fn local_error(server: &str, failure: &SessionError, asking: &str) -> LocalError {
    let asking = if asking.is_empty() { String::new() } else { format!(" ({asking})") };
    LocalError {
        kind: Kind::of(failure),
        stage: failure.stage,
        text: format!("{server}: {failure}{asking}"),
        reply: failure.reply().cloned(),
    }
}

/// Who would be accepted: MAIL and RCPT, and no data.
fn envelope(job: &Job, session: &mut Session<Link, Listener>, probe: &mut Probe) -> Result<(), SessionError> {
    if job.to.is_empty() {
        return Ok(());
    }
    let sender = job.from.clone().unwrap_or(ReversePath::Null);
    let mail = (format!("MAIL FROM:<{sender}>"), Stage::Mail, sender.to_string());
    if one(session, mail, probe)?.is_positive() {
        for recipient in &job.to {
            one(session, (format!("RCPT TO:<{recipient}>"), Stage::Rcpt, recipient.to_string()), probe)?;
        }
    }
    session.ask("RSET").map(drop)
}

/// Asks one thing of the envelope.
fn one(
    session: &mut Session<Link, Listener>,
    (question, stage, address): (String, Stage, String),
    probe: &mut Probe,
) -> Result<Reply, SessionError> {
    let began = Instant::now();
    let reply = session.ask(&question).map_err(|failure| SessionError { stage, ..failure })?;
    let time = began.elapsed();
    probe.findings.steps.push((stage, time));
    probe.answers.push(Answered { question, stage, address, reply: reply.clone(), time });
    Ok(reply)
}
