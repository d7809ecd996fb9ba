//! Questions instead of a delivery: what a server says of itself, and of an address.
//!
//! What the server answered is printed a line each, and what a probe found in one; the reply's code decides the
//! exit code by the same table as a delivery's.

use std::sync::Arc;
use std::time::Instant;

use lmtp_send::lmtp::{Reply, ReversePath, Session, SessionError, Stage};

use crate::delivery::opening::{self, Opened};
use crate::delivery::{Listener, Reporter};
use crate::exit::Kind;
use crate::job::Job;
use crate::local_error::LocalError;
use crate::report::{self, Answer, Answered, Probe, Report};
use crate::stop::Stop;
use crate::transport::Link;

/// Asks the first server that accepts a session.
pub fn run(job: &Job, stop: &Arc<Stop>, report: &mut Report) {
    job.warnings.iter().for_each(|text| report.warning(text));
    let began = Instant::now();
    let deadline = began.checked_add(job.deadline).unwrap_or(began);
    let opened = opening::first(job, deadline, stop, report);
    if !job.questions.probe {
        match opened {
            Ok((Opened { mut session, .. }, server)) => ask(job, &mut session, &server, report),
            Err((error, _)) => report.unanswered("", &error),
        }
        return;
    }
    let mut probe = Probe::default();
    match opened {
        Ok((Opened { mut session, steps }, server)) => {
            probe.times = steps;
            server.as_ref().clone_into(&mut probe.server);
            probe.session = Some(describe(job, &mut session, &server));
            probe.failed = envelope(job, &mut session, &mut probe)
                .err()
                .map(|failure| local_error(&server, &failure, ""));
            probe.total = began.elapsed();
            report.probe(&probe, &job.questions.thresholds);
            if probe.failed.is_none() {
                ask(job, &mut session, &server, report);
            } else {
                session.close();
            }
        }
        Err((error, server)) => {
            probe.server = server.map(|server| server.to_string()).unwrap_or_default();
            probe.failed = Some(error);
            probe.total = began.elapsed();
            report.probe(&probe, &job.questions.thresholds);
        }
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

/// What the server said of itself, and what TLS came to.
fn describe(job: &Job, session: &mut Session<Link, Listener>, server: &str) -> report::Session {
    let extensions =
        session.extensions().iter().map(|(k, a)| (session.redact(k), session.redact(a))).collect();
    let greeting = session.redact(&session.greeting().to_string());
    let domain = session.redact(session.extensions().domain());
    let link = session.transport();
    let verdict = job.tls.as_ref().and_then(|(_, tls)| link.verdict(tls));
    let address = link.peer().map_or_else(|| server.to_owned(), |address| address.to_string());
    report::Session { address, greeting, domain, extensions, tls: link.facts().zip(verdict) }
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
    let reply = session.ask(&question)?;
    let time = began.elapsed();
    probe.times.push((stage, time));
    probe.answers.push(Answered { question, stage, address, reply: reply.clone(), time });
    Ok(reply)
}
