//! Questions instead of a delivery: what a server says of itself, and of an address.
//!
//! What the server answered is printed a line each; the reply's code decides the exit code by the same
//! table as a delivery's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lmtp_send::lmtp::{Reply, ReversePath, Session, SessionError, Stage};

use crate::delivery::opening::{self, Opened};
use crate::delivery::{Listener, Reporter};
use crate::exit::Kind;
use crate::job::Job;
use crate::local_error::LocalError;
use crate::report::{Answer, Report};
use crate::stop::Stop;
use crate::transport::Link;

/// Asks the first server that accepts a session.
pub fn run(job: &Job, stop: &Arc<Stop>, report: &mut Report) {
    job.warnings.iter().for_each(|text| report.warning(text));
    let now = Instant::now();
    let deadline = now.checked_add(job.deadline).unwrap_or(now);
    match opening::first(job, deadline, stop, report) {
        Ok((opened, server)) => Asking { server, asking: String::new(), report }.ask(job, opened),
        Err((trouble, _)) => report.unanswered("", &trouble),
    }
}

struct Asking<'a> {
    server: Arc<str>,
    /// The question that is being asked.
    asking: String,
    report: &'a mut Report,
}

impl Asking<'_> {
    fn ask(&mut self, job: &Job, opened: Opened) {
        let Opened { mut session, steps } = opened;
        if job.questions.probe {
            self.describe(&mut session, &steps);
        }
        if let Err(failure) = self.questions(job, &mut session) {
            let text = format!("{}: {failure} ({})", self.server, self.asking);
            let reply = failure.reply().cloned();
            let trouble = LocalError { kind: Kind::of(&failure), stage: failure.stage, text, reply };
            self.report.unanswered(&self.asking, &trouble);
        }
        session.close();
    }

    fn questions(&mut self, job: &Job, session: &mut Session<Link, Listener>) -> Result<(), SessionError> {
        if job.questions.probe && !job.to.is_empty() {
            self.envelope(job, session)?;
        }
        for command in &job.questions.commands {
            self.one(session, command, Stage::Query)?;
        }
        Ok(())
    }

    /// Asks one thing, and tells the answer.
    fn one(
        &mut self,
        session: &mut Session<Link, Listener>,
        command: &str,
        stage: Stage,
    ) -> Result<Reply, SessionError> {
        command.clone_into(&mut self.asking);
        let began = Instant::now();
        let reply = session.ask(command)?;
        self.report.answer(&Answer::reply(&self.server, command, stage, &reply, began.elapsed()));
        Ok(reply)
    }

    /// Who would be accepted: MAIL and RCPT, and no data.
    fn envelope(&mut self, job: &Job, session: &mut Session<Link, Listener>) -> Result<(), SessionError> {
        let sender = job.from.clone().unwrap_or(ReversePath::Null);
        if self.one(session, &format!("MAIL FROM:<{sender}>"), Stage::Mail)?.is_positive() {
            for recipient in &job.to {
                self.one(session, &format!("RCPT TO:<{recipient}>"), Stage::Rcpt)?;
            }
        }
        session.ask("RSET").map(drop)
    }

    /// What the server said of itself, and how long each step took.
    fn describe(&mut self, session: &mut Session<Link, Listener>, steps: &[(Stage, Duration)]) {
        for (stage, time) in steps {
            self.tell(&format!("step {}", stage.name()), "", Some(*time));
        }
        let greeting = session.redact(&session.greeting().to_string());
        self.tell("greeting", &greeting, None);
        let domain = session.redact(session.extensions().domain());
        self.tell("domain", &domain, None);
        for (keyword, argument) in session.extensions().iter() {
            self.tell("extension", session.redact(&format!("{keyword} {argument}")).trim_end(), None);
        }
        if let Some(facts) = session.transport().facts() {
            self.tell("tls version", facts.version, None);
            self.tell("tls cipher", &facts.cipher, None);
            self.tell("tls certificate", &facts.fingerprint.to_string(), None);
        }
    }

    fn tell(&mut self, what: &str, text: &str, time: Option<Duration>) {
        self.report.answer(&Answer::fact(&self.server, what, text, time));
    }
}
