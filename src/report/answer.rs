//! The lines for what a server answered to a question.

use std::time::Duration;

use lmtp_send::lmtp::{EnhancedCode, Outcome, Reply, Stage, printable};
use serde::Serialize;

use crate::exit::{Class, Judgement, Policy};
use crate::local_error::LocalError;

/// Something that a server said.
#[derive(Serialize)]
pub struct Answer<'a> {
    server: &'a str,
    question: &'a str,
    #[serde(skip)]
    stage: Stage,
    code: Option<u16>,
    enhanced: Option<String>,
    text: String,
    seconds: Option<f64>,
    #[serde(skip)]
    reply: Option<&'a Reply>,
}

impl<'a> Answer<'a> {
    /// A reply to a command.
    pub fn reply(server: &'a str, question: &'a str, stage: Stage, reply: &'a Reply, time: Duration) -> Self {
        Self {
            server,
            question,
            stage,
            code: Some(reply.code()),
            enhanced: reply.enhanced().map(|e| e.to_string()),
            text: reply.lines().collect::<Vec<_>>().join("\n"),
            seconds: Some(seconds(time)),
            reply: Some(reply),
        }
    }

    /// What came in place of an answer.
    pub fn of_error(question: &'a str, error: &LocalError, judgement: Judgement) -> Self {
        Self {
            server: "",
            question,
            stage: error.stage,
            code: error.reply.as_ref().map(Reply::code),
            enhanced: Some(judgement.status.to_string()),
            text: printable(error.text.as_bytes()),
            seconds: None,
            reply: None,
        }
    }

    /// What the reply comes to, if it is one.
    pub fn judge(&self, policy: &Policy) -> Option<Judgement> {
        let reply = self.reply?;
        Some(match reply.class() {
            4 | 5 => policy.judge(&Outcome::Refused { stage: self.stage, reply: reply.clone() }),
            _ => {
                let status = reply.enhanced().unwrap_or(EnhancedCode::new(2, 0, 0));
                Judgement { class: Class::Delivered, exit: crate::exit::OK, status, again: false }
            }
        })
    }

    /// The line for people: the question, the answer, the time. Several lines of a reply stay several.
    pub fn text(&self) -> String {
        let codes: Vec<String> =
            self.code.map(|c| c.to_string()).into_iter().chain(self.enhanced.clone()).collect();
        let mut words = vec![format!("{}:", printable(self.question.as_bytes()))];
        words.extend(codes);
        words.extend((!self.text.is_empty()).then(|| self.text.replace('\n', "\n    ")));
        words.extend(self.seconds.map(|s| format!("({:.1} ms)", s * 1e3)));
        words.join(" ")
    }

    /// The line of the JSON report; for a reply with its exit code.
    pub fn json(&self, judgement: Option<Judgement>) -> String {
        #[derive(Serialize)]
        struct AnswerObject<'a> {
            #[serde(flatten)]
            answer: &'a Answer<'a>,
            exit: Option<u8>,
        }
        let line = AnswerObject { answer: self, exit: judgement.map(|j| j.exit) };
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// The diagnostic for a refusal.
    pub fn diagnostic(&self, policy: &Policy, judgement: Judgement) -> String {
        let status = policy.agreeing(judgement.status, judgement.exit);
        let reply = self.reply.map(Reply::to_string).unwrap_or_default();
        format!(
            "{status} {} said: {reply} ({})",
            printable(self.server.as_bytes()),
            printable(self.question.as_bytes())
        )
    }
}

/// Seconds, to the microsecond.
pub fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}
