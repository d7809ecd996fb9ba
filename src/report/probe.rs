//! What a probe found: one object for programs, a page for people.

use std::time::Duration;

use lmtp_send::lmtp::{Reply, Stage, printable};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::answer::{Answer, seconds};
use crate::delivery::opening::Findings;
use crate::exit::{OK, Policy};
use crate::local_error::LocalError;
use crate::transport::Facts;

/// What a probe found, as far as it came.
#[derive(Debug, Default)]
pub struct Probe {
    /// The server as it was named, or the last one of those that were tried.
    pub server: String,
    /// What it has shown of itself, and how long each step took.
    pub findings: Findings,
    /// What was asked on the session, and answered.
    pub answers: Vec<Answered>,
    /// From the first step to the last.
    pub total: Duration,
    /// What ended it before its end.
    pub failed: Option<LocalError>,
}

/// A command of the envelope with its reply.
#[derive(Debug)]
pub struct Answered {
    /// The command.
    pub question: String,
    /// MAIL or RCPT.
    pub stage: Stage,
    /// The recipient, or the sender.
    pub address: String,
    /// What the server said.
    pub reply: Reply,
    /// How long that took.
    pub time: Duration,
}

impl Answered {
    /// For those who judge answers.
    pub fn answer<'a>(&'a self, server: &'a str) -> Answer<'a> {
        Answer::reply(server, &self.question, self.stage, &self.reply, self.time)
    }
}

impl Probe {
    /// The object of the JSON report; `exit` is what it all comes to.
    pub fn json(&self, policy: &Policy, exit: u8) -> String {
        let Findings { address, greeting, domain, extensions, tls, .. } = &self.findings;
        let recipients = self.answers.iter().filter(|answer| answer.stage == Stage::Rcpt);
        let sender = self.answers.iter().find(|answer| answer.stage == Stage::Mail);
        json!({
            "server": self.server,
            "address": address,
            "greeting": greeting,
            "domain": domain,
            "extensions": extensions.as_deref().map(by_keyword),
            "tls": tls.as_ref().map(|(facts, verified)| encryption(facts, verified)),
            "times": self.times(),
            "sender": sender.map(|answer| self.envelope(policy, answer)),
            "recipients": recipients.map(|answer| self.envelope(policy, answer)).collect::<Vec<_>>(),
            "seconds": seconds(self.total),
            "error": self.failed.as_ref().map(|error| error_object(policy, error)),
            "exit": exit,
        })
        .to_string()
    }

    /// Steps of one kind, such as LHLO before and after STARTTLS, are one.
    pub fn times(&self) -> Map<String, Value> {
        let mut times = Map::new();
        for (stage, time) in &self.findings.steps {
            let before = times.get(stage.name()).and_then(Value::as_f64).unwrap_or_default();
            times.insert(stage.name().to_owned(), json!(before + seconds(*time)));
        }
        times
    }

    fn envelope(&self, policy: &Policy, answer: &Answered) -> Value {
        let judged = answer.answer(&self.server).judge(policy);
        json!({
            if answer.stage == Stage::Mail { "sender" } else { "recipient" }: answer.address,
            "code": answer.reply.code(),
            "enhanced": answer.reply.enhanced().map(|status| status.to_string()),
            "text": answer.reply.text(),
            "seconds": seconds(answer.time),
            "exit": judged.map_or(OK, |judgement| judgement.exit),
        })
    }

    /// The page for people: what came, then the times. Empty where nothing came.
    pub fn page(&self) -> String {
        let Some(address) = &self.findings.address else { return String::new() };
        let mut page = Page(String::new());
        page.line("server", &format!("{} ({address})", self.server));
        page.findings(&self.findings);
        for answer in &self.answers {
            let verdict = match &answer.reply {
                reply if reply.is_positive() => "accepts",
                reply if reply.is_temporary(answer.stage) => "defers",
                _ => "refuses",
            };
            let whom = if answer.stage == Stage::Mail { "sender " } else { "" };
            page.line(verdict, &format!("{whom}<{}>: {}", answer.address, answer.reply));
        }
        let times = self
            .findings
            .steps
            .iter()
            .map(|(stage, time)| (stage.name(), *time))
            .chain([("all", self.total)]);
        for (n, (step, time)) in times.enumerate() {
            let line = format!("{step:<9}{:>9.1} ms", time.as_secs_f64() * 1e3);
            page.line(if n == 0 { "time" } else { "" }, &line);
        }
        page.0.trim_end().to_owned()
    }
}

/// What a server offers: lines of one keyword, such as AUTH, are one.
fn by_keyword(extensions: &[(String, String)]) -> Map<String, Value> {
    let mut all: Map<String, Value> = Map::new();
    for (keyword, argument) in extensions {
        let before = all.get(keyword).and_then(Value::as_str).unwrap_or_default();
        let both = format!("{before} {argument}");
        all.insert(keyword.clone(), both.trim().into());
    }
    all
}

fn encryption(facts: &Facts, verified: &Result<(), String>) -> Value {
    let said = facts.certificate.as_ref();
    json!({
        "version": facts.version,
        "cipher": facts.cipher,
        "subject": said.map(|said| &said.subject),
        "names": said.map(|said| &said.names),
        "issuer": said.map(|said| &said.issuer),
        "not_before": said.map(|said| &said.not_before),
        "not_after": said.map(|said| &said.not_after),
        "fingerprint": facts.fingerprint.to_string(),
        "verified": verified.is_ok(),
        "reason": verified.as_ref().err(),
    })
}

/// Lines of a word and what belongs to it.
struct Page(String);

impl Page {
    fn line(&mut self, word: &str, text: &str) {
        let line = format!("{word:<13}{}", printable(text.as_bytes()));
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    /// What the server has shown of itself.
    fn findings(&mut self, findings: &Findings) {
        findings.greeting.iter().for_each(|greeting| self.line("greeting", greeting));
        findings.domain.iter().for_each(|domain| self.line("domain", domain));
        for (n, (keyword, argument)) in findings.extensions.iter().flatten().enumerate() {
            self.line(if n == 0 { "extensions" } else { "" }, format!("{keyword} {argument}").trim_end());
        }
        match &findings.tls {
            None => self.line("TLS", "none"),
            Some((facts, verified)) => self.certificate(facts, verified),
        }
    }

    fn certificate(&mut self, facts: &Facts, verified: &Result<(), String>) {
        self.line("TLS", &format!("{}, {}", facts.version, facts.cipher));
        if let Some(said) = &facts.certificate {
            self.line("certificate", &said.subject);
            self.line("  names", &said.names.join(", "));
            self.line("  issuer", &said.issuer);
            self.line("  valid", &format!("{} to {}", said.not_before, said.not_after));
        }
        self.line("  SHA-256", &facts.fingerprint.to_string());
        self.line(
            "  verified",
            &verified.as_ref().map_or_else(|why| format!("no: {why}"), |()| "yes".into()),
        );
    }
}

/// What ended a probe.
fn error_object(policy: &Policy, error: &LocalError) -> impl Serialize {
    let judgement = policy.judge_local_error(error.kind, error.reply.as_ref());
    json!({
        "stage": error.stage.name(),
        "code": error.reply.as_ref().map(Reply::code),
        "enhanced": judgement.status.to_string(),
        "text": printable(error.text.as_bytes()),
    })
}
