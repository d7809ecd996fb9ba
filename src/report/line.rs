//! The lines: diagnostics (an enhanced status code first: Postfix's pipe(8) takes the bounce's status from
//! there), the text report and the JSON report.

use std::time::SystemTime;

use lmtp_send::lmtp::{Outcome, Reply, Stage, printable};
use serde::Serialize;

use crate::calendar::rfc3339;
use crate::delivery::{Conclusion, Record};
use crate::exit::{Judgement, Policy};
use crate::local_error::LocalError;

/// The diagnostic for one recipient; with `several` messages it names its own.
pub fn diagnostic(policy: &Policy, record: &Record, judgement: Judgement, several: bool) -> String {
    let status = policy.agreeing(judgement.status, judgement.exit);
    let recipient =
        record.recipient.as_ref().map(|r| format!("<{}>: ", printable(r.as_bytes()))).unwrap_or_default();
    let story = story(record);
    let named = printable(record.message.as_bytes());
    let message = if several && !story.starts_with(&named) { format!(" ({named})") } else { String::new() };
    format!("{status} {recipient}{story}{message}")
}

/// The diagnostic for an error that concerns nobody in particular.
pub fn of_error(policy: &Policy, judgement: Judgement, error: &LocalError) -> String {
    let status = policy.agreeing(judgement.status, judgement.exit);
    format!("{status} {}", printable(error.text.as_bytes()))
}

/// The line of the text report.
pub fn text(record: &Record, judgement: Judgement) -> String {
    let time = rfc3339(SystemTime::now());
    let recipient = printable(record.recipient.as_deref().unwrap_or_default().as_bytes());
    let message = printable(record.message.as_bytes());
    format!("{time} {} <{recipient}> {message}: {}", judgement.class.name(), story(record))
}

/// The line for the system's log, in the fields of Postfix's.
pub fn log(record: &Record, judgement: Judgement) -> String {
    let shown = |text: Option<&str>| printable(text.unwrap_or_default().as_bytes());
    let id = shown(record.message_id.as_deref());
    format!(
        "message-id={}, from=<{}>, to=<{}>, relay={}, delay={:.2}, dsn={}, status={} ({})",
        if id.is_empty() { "<>" } else { &id },
        shown(Some(&record.sender)),
        shown(record.recipient.as_deref()),
        record.server.as_deref().map_or("none".into(), |server| shown(Some(server))),
        record.seconds,
        judgement.status,
        judgement.class.name(),
        story(record)
    )
}

/// The line for the system's log on `what` is about no mail: a command line that cannot be understood, or a bug.
pub fn log_of(what: &str, judgement: Judgement, why: &str) -> String {
    let why = printable(why.as_bytes());
    format!("{what}, dsn={}, status={} ({why})", judgement.status, judgement.class.name())
}

/// What happened, in one line.
fn story(record: &Record) -> String {
    let server = record.server.as_deref().map(|s| printable(s.as_bytes())).unwrap_or_default();
    match &record.conclusion {
        Conclusion::LocalError(error) => printable(error.text.as_bytes()),
        Conclusion::Earlier => "delivered by an earlier run, according to the ledger".into(),
        Conclusion::Outcome(Outcome::Delivered(reply)) => format!("{server} said: {reply}"),
        Conclusion::Outcome(Outcome::Refused { stage, reply }) => {
            format!("{server} said: {reply} ({})", command(*stage))
        }
        Conclusion::Outcome(Outcome::Unsuited(reply)) => format!("{server}: {}", reply.text()),
        Conclusion::Outcome(Outcome::Unanswered(failure)) => format!("{server}: {failure}"),
        Conclusion::Outcome(Outcome::Uncertain(failure)) => {
            format!("{server}: {failure}; the message may have been delivered")
        }
    }
}

/// What the server answered.
fn command(stage: Stage) -> &'static str {
    match stage {
        Stage::Mail => "MAIL FROM",
        Stage::Rcpt => "RCPT TO",
        Stage::Data => "DATA",
        Stage::Chunk | Stage::LastChunk => "BDAT",
        Stage::Delivery => "end of DATA",
        Stage::Input
        | Stage::Connect
        | Stage::Tls
        | Stage::Greeting
        | Stage::Lhlo
        | Stage::Auth
        | Stage::Query
        | Stage::Quit => stage.name(),
    }
}

#[derive(Serialize)]
struct JsonLine<'a> {
    message: &'a str,
    message_id: Option<&'a str>,
    sender: &'a str,
    recipient: Option<&'a str>,
    outcome: &'static str,
    exit: u8,
    time: String,
    #[serde(flatten)]
    verdict: JsonVerdict,
    server: Option<&'a str>,
    attempts: u32,
    seconds: f64,
}

/// Where it was decided, and by which reply.
#[derive(Serialize)]
struct JsonVerdict {
    stage: &'static str,
    code: Option<u16>,
    enhanced: Option<String>,
    text: String,
}

/// The line of the JSON report.
pub fn json(record: &Record, judgement: Judgement) -> String {
    let (stage, reply) = match &record.conclusion {
        Conclusion::LocalError(error) => (error.stage, error.reply.as_ref()),
        Conclusion::Earlier => (Stage::Delivery, None),
        Conclusion::Outcome(Outcome::Delivered(reply)) => (Stage::Delivery, Some(reply)),
        Conclusion::Outcome(Outcome::Refused { stage, reply }) => (*stage, Some(reply)),
        Conclusion::Outcome(Outcome::Unsuited(reply)) => (Stage::Mail, Some(reply)),
        Conclusion::Outcome(Outcome::Unanswered(failure)) => (failure.stage, failure.reply()),
        // What made it so is another command's reply.
        Conclusion::Outcome(Outcome::Uncertain(failure)) => (failure.stage, None),
    };
    let text = match &record.conclusion {
        Conclusion::Outcome(Outcome::Delivered(reply) | Outcome::Refused { reply, .. }) => reply.text(),
        Conclusion::Outcome(_) | Conclusion::LocalError(_) | Conclusion::Earlier => story(record),
    };
    let own = reply.and_then(Reply::enhanced).map(|e| e.to_string());
    let by_table = (reply.is_none()).then(|| judgement.status.to_string());
    let line = JsonLine {
        message: &record.message,
        message_id: record.message_id.as_deref(),
        sender: &record.sender,
        recipient: record.recipient.as_deref(),
        outcome: judgement.class.name(),
        exit: judgement.exit,
        time: rfc3339(SystemTime::now()),
        verdict: JsonVerdict {
            stage: stage.name(),
            code: reply.map(Reply::code),
            enhanced: own.or(by_table),
            text,
        },
        server: record.server.as_deref(),
        attempts: record.attempts,
        seconds: (record.seconds * 1e6).round() / 1e6,
    };
    serde_json::to_string(&line).unwrap_or_default()
}
