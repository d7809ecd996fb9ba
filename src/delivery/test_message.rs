//! A small message of our own (`--test`), for whoever wants to see where one goes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lmtp_send::lmtp::{Address, ReversePath};
use lmtp_send::message::Message;

use super::submission::{fields, own_domain};
use crate::exit::Kind;
use crate::job::{self, Job};
use crate::local_error::LocalError;
use crate::stop::Stop;

/// More recipients than that are not named in the header.
const MAX_NAMED: usize = 100;

/// The message from and for whom `job` says, about `subject`. Its lines end in LF.
///
/// # Errors
///
/// There is no `--from`, and nobody knows who runs this; see [`job::own_address`].
pub fn compose(job: &Job, subject: Option<&str>, until: Instant, stop: &Stop) -> Result<Message, LocalError> {
    let sender = match job.from.clone().filter(|from| from.address().is_some()) {
        Some(from) => from,
        None => job::own_address(until, stop)?,
    };
    let host = job::host_name().unwrap_or_else(|| "localhost".into());
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let text = text(&sender, &job.to, subject, &host, since);
    Message::from_stream(text.as_bytes()).map_err(|e| LocalError::input(Kind::InputOutput, e))
}

/// The message, `since` after 1970 at `host`.
fn text(sender: &ReversePath, to: &[Address], subject: Option<&str>, host: &str, since: Duration) -> String {
    let date = fields::date(since.as_secs());
    let random = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
    let id = fields::message_id(since.as_secs(), random, &own_domain(sender));
    let from = qualified(sender.as_str(), sender.address().and_then(Address::domain), host);
    let subject = fields::unstructured(subject.unwrap_or("test message"));
    format!(
        "Date: {date}\nFrom: {from}\nTo: {}\nSubject: {subject}\nMessage-ID: {id}\n\nSent by lmtp-send on {host}, {date}.\n",
        named(to)
    )
}

/// A lone local-part belongs to this host.
fn qualified(address: &str, domain: Option<&str>, host: &str) -> String {
    if domain.is_some() { address.to_owned() } else { format!("{address}@{host}") }
}

/// The recipients, a line each.
fn named(to: &[Address]) -> String {
    if to.len() > MAX_NAMED {
        return "undisclosed-recipients:;".into();
    }
    to.iter().map(Address::as_str).collect::<Vec<_>>().join(",\n ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_sender_recipients_subject_host_and_time() {
        let sender = ReversePath::parse("me").unwrap();
        let to = ["a@example.net", "b"].map(|text| Address::parse(text).unwrap());
        let text = text(&sender, &to, Some("grün"), "client.example.org", Duration::from_secs(820_631_134));
        let (before, after) = text.split_once("Message-ID: <820631134.").unwrap();
        assert_eq!(
            before,
            "Date: Wed, 03 Jan 1996 01:05:34 +0000\nFrom: me@client.example.org\nTo: a@example.net,\n b\nSubject: =?UTF-8?B?Z3LDvG4=?=\n"
        );
        let (_, body) = after.split_once("\n\n").unwrap();
        assert_eq!(body, "Sent by lmtp-send on client.example.org, Wed, 03 Jan 1996 01:05:34 +0000.\n");
    }

    #[test]
    fn a_multitude_is_not_named() {
        let to = vec![Address::parse("a@example.net").unwrap(); MAX_NAMED + 1];
        assert_eq!(named(&to), "undisclosed-recipients:;");
    }
}
