//! The lines of a journal.
//!
//! A line is a checksum, a word, a message and, where it is about one, a recipient, with a space between each two:
//! `1f0a77d2 delivered 9f86…0a08 joe@example.net`. The recipient comes last, since there may be spaces in it. The checksum is the first 8 hexadecimal digits of SHA-256 over what
//! is behind it; a line of which a part is missing, or that the disk has lost, is none.

use data_encoding::HEXLOWER;
use lmtp_send::lmtp::ReversePath;
use lmtp_send::message::Message;
use ring::digest::{Context, SHA256, digest};

/// A message, by SHA-256 of its sender, a NUL, and its content as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageId([u8; 32]);

impl MessageId {
    /// Reads `message` and finds out which one it is.
    ///
    /// # Errors
    ///
    /// It cannot be read again.
    pub fn of(sender: &ReversePath, message: &Message) -> std::io::Result<Self> {
        let mut context = Context::new(&SHA256);
        context.update(sender.as_str().as_bytes());
        context.update(&[0]);
        message.visit_given(|octets| {
            context.update(octets);
            Ok(())
        })?;
        Ok(Self(context.finish().as_ref().try_into().unwrap_or_default()))
    }

    /// It and a recipient, in so many octets that no two are the same.
    pub fn key(&self, recipient: &str) -> [u8; 16] {
        let (local_part, domain) = recipient.rsplit_once('@').unwrap_or((recipient, ""));
        let text = [&self.0, local_part.as_bytes(), b"@", domain.to_ascii_lowercase().as_bytes()].concat();
        first(digest(&SHA256, &text).as_ref())
    }

    /// It alone, in as many.
    pub fn short(&self) -> [u8; 16] {
        first(&self.0)
    }
}

fn first(octets: &[u8]) -> [u8; 16] {
    octets.first_chunk().copied().unwrap_or_default()
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerRecord<'a> {
    /// The run has the message in hand.
    Begun(MessageId),
    /// The server has accepted the message for this recipient.
    Delivered(MessageId, &'a str),
    /// What became of every recipient is known; the run has the message in hand no more.
    Ended(MessageId),
    /// The journal of that name, which stands first, says that it was delivered to this recipient, and is about to forget
    /// it. Counts where that has forgotten it and this run is killed before its end, which removes this line.
    Kept(MessageId, &'a str, &'a str),
    /// A later run has ended well: one line of [`LedgerRecord::Delivered`] or [`LedgerRecord::Kept`] counts no more.
    Forgotten(MessageId, &'a str),
}

impl<'a> LedgerRecord<'a> {
    /// The line, with its end.
    pub fn line(&self) -> String {
        let (word, id, rest) = match self {
            LedgerRecord::Begun(id) => ("begun", id, String::new()),
            LedgerRecord::Delivered(id, recipient) => ("delivered", id, recipient.to_string()),
            LedgerRecord::Ended(id) => ("ended", id, String::new()),
            LedgerRecord::Kept(id, journal, recipient) => ("kept", id, format!("{journal} {recipient}")),
            LedgerRecord::Forgotten(id, recipient) => ("forgotten", id, recipient.to_string()),
        };
        let text = format!("{word} {} {rest}", HEXLOWER.encode(&id.0));
        format!("{} {text}\n", checksum(text.as_bytes()))
    }

    /// What `line` says, which has no end; `None` when it is damaged, or of a kind that is not known here.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (sum, text) = str::from_utf8(line).ok()?.split_once(' ')?;
        if sum != checksum(text.as_bytes()) {
            return None;
        }
        let mut words = text.splitn(3, ' ');
        let (word, id, rest) = (words.next()?, words.next()?, words.next()?);
        let id = MessageId(HEXLOWER.decode(id.as_bytes()).ok()?.try_into().ok()?);
        match word {
            "begun" => Some(LedgerRecord::Begun(id)),
            "delivered" => Some(LedgerRecord::Delivered(id, rest)),
            "ended" => Some(LedgerRecord::Ended(id)),
            "kept" => {
                rest.split_once(' ').map(|(journal, recipient)| LedgerRecord::Kept(id, journal, recipient))
            }
            "forgotten" => Some(LedgerRecord::Forgotten(id, rest)),
            _ => None,
        }
    }
}

fn checksum(text: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, text).as_ref().get(..4).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sender: &str, content: &str) -> MessageId {
        let message = Message::from_stream(content.as_bytes()).unwrap();
        MessageId::of(&ReversePath::parse(sender).unwrap(), &message).unwrap()
    }

    #[test]
    fn a_message_is_its_sender_and_its_content() {
        let one = id("a@x.example", "To: b\n\nc\n");
        assert_eq!(
            one,
            id("a@x.example", "From a Sat Jan  3 01:05:34 1996\nTo: b\n\nc\n"),
            "but no mbox line"
        );
        for (sender, content) in
            [("b@x.example", "To: b\n\nc\n"), ("a@x.example", "To: b\n\nd\n"), ("", "To: b\n\nc\n")]
        {
            assert_ne!(one, id(sender, content));
        }
        // printf 'a@x.example\0To: b\n\nc\n' | sha256sum
        let line = LedgerRecord::Begun(one).line();
        assert!(line.contains(" begun da2c31abfadbb162"), "{line}");
    }

    #[test]
    fn what_is_added_or_left_out_is_not_the_content() {
        let mut message = Message::from_stream(b"Bcc: a\nTo: b\n\nc\n".as_slice()).unwrap();
        let sender = ReversePath::parse("a@x.example").unwrap();
        let before = MessageId::of(&sender, &message).unwrap();
        let header = message.header().unwrap();
        message.remove(&header, |field| field.is("Bcc")).unwrap();
        message.add_fields("Date: now\r\n").unwrap();
        assert_eq!(MessageId::of(&sender, &message).unwrap(), before);
    }

    #[test]
    fn recipients_are_told_apart_as_addresses_are() {
        let one = id("", "a\n");
        assert_eq!(one.key("joe@X.example"), one.key("joe@x.EXAMPLE"));
        let keys = [one.key("joe"), one.key("Joe"), one.key("joe@x.example"), id("", "b\n").key("joe")];
        assert!(keys.iter().enumerate().all(|(at, key)| !keys[..at].contains(key)));
    }

    #[test]
    fn lines_are_what_was_written_or_nothing() {
        let id = id("", "a\n");
        for record in [
            LedgerRecord::Begun(id),
            LedgerRecord::Delivered(id, "\"a b\"@x.example"),
            LedgerRecord::Delivered(id, "j\u{f6}e@x.example"),
            LedgerRecord::Ended(id),
            LedgerRecord::Kept(id, "1.journal", "\"a b\"@x.example"),
            LedgerRecord::Forgotten(id, "a"),
        ] {
            let line = record.line();
            let text = line.strip_suffix('\n').unwrap().as_bytes();
            assert_eq!(LedgerRecord::parse(text), Some(record));
            (0..text.len()).for_each(|cut| assert_eq!(LedgerRecord::parse(&text[..cut]), None, "{cut}"));
            (1..text.len()).for_each(|cut| assert_eq!(LedgerRecord::parse(&text[cut..]), None, "{cut}"));
            for at in 0..text.len() {
                let mut damaged = text.to_vec();
                damaged[at] ^= 1;
                assert_eq!(LedgerRecord::parse(&damaged), None, "{at}");
            }
        }
        let other = "unheard-of 00 x";
        assert_eq!(LedgerRecord::parse(format!("{} {other}", checksum(other.as_bytes())).as_bytes()), None);
    }
}
