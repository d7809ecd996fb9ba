//! The envelope, read from a message's header (RFC 5322).
//!
//! [`sender`] and [`recipients`] choose the fields; [`list`] parses the addresses in them. An address that cannot be
//! parsed is an error that names the field: mail is never sent to a guess.
//!
//! # Resent- blocks
//!
//! Whoever sends a message on puts a block of Resent- fields before those that are there (RFC 5322 §3.6.6). A
//! message with such a block is sent as the topmost one says, and never to its To, Cc and Bcc: those have it.
//! A block that lacks both Resent-Sender and Resent-From leaves the sender to Sender and From.
//!
//! The block begins with the first Resent- field, wherever it stands (many programs add theirs at the end of
//! the header), and ends where a trace field shows that the message was under way before. Between two blocks
//! without one in between the border shows in that neither Resent-From nor Resent-Date may stand twice in a
//! block: where one does, the first block ends before the first name that repeats. Where neither does it is
//! one block, and a Resent-To that stands in it twice (§4.5) counts twice. Other fields may stand in a block.
//!
//! Sendmail, Postfix and Exim take the recipients of all blocks together and so send to those of earlier
//! blocks again; msmtp takes the first run of Resent- fields with nothing in between.
//!
//! Nothing here falls back to the user's name, reads a command line or removes a field.

pub mod list;

use std::fmt;

use crate::lmtp::address::{Address, ReversePath, drop_repeated};
use crate::lmtp::reply::printable;
pub use list::{InvalidList, ListProblem};

/// A field of a message's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderField<'a> {
    /// What stands before the colon.
    pub name: &'a str,
    /// What stands behind it, as it is in the message: still folded, line ends CRLF or LF.
    pub value: &'a [u8],
}

impl HeaderField<'_> {
    /// Whether the field has this name, in any case of letters; the obsolete syntax has white space before
    /// the colon (RFC 5322 §4.5).
    fn is(&self, name: &str) -> bool {
        bare(self.name).eq_ignore_ascii_case(name)
    }

    /// The name, fit to be shown.
    fn shown(&self) -> String {
        printable(bare(self.name).as_bytes())
    }

    /// Whether the field is one of a Resent- block.
    fn is_resent(&self) -> bool {
        let prefix = self.name.as_bytes().get(..RESENT.len());
        prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(RESENT.as_bytes()))
    }
}

const RESENT: &str = "Resent-";
/// What a transport puts above a message, and so above the Resent- blocks that it then has (RFC 5321 §4.4,
/// RFC 9228).
const TRACE: [&str; 3] = ["Received", "Return-Path", "Delivered-To"];
/// The fields that a Resent- block has once each (RFC 5322 §3.6, the table).
const ONCE: [&str; 7] = [
    "Resent-Date",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Resent-Bcc",
    "Resent-Message-ID",
];

/// A field from which an envelope cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The field does not hold a list of addresses.
    Unreadable {
        /// The field's name, printable.
        field: String,
        /// Where, and why.
        error: InvalidList,
    },
    /// More than one address in a Sender field; which of them sends the message would be a guess.
    SeveralSenders {
        /// The field's name, printable.
        field: String,
        /// How many there are.
        count: usize,
    },
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { field, error } => write!(f, "{field}: {error}"),
            Self::SeveralSenders { field, count } => write!(f, "{field}: {count} addresses instead of one"),
        }
    }
}

impl std::error::Error for EnvelopeError {}

/// The sender that the header names: Sender, else the first address of From; of the topmost Resent- block
/// when there is one and it names somebody. Where a field is there more than once, the first one.
///
/// `None` when neither field is there, or there are only empty groups in them (RFC 6854): the caller knows
/// who is sending.
///
/// # Errors
///
/// [`EnvelopeError`] when the field that decides is empty or is not a list of addresses.
pub fn sender(fields: &[HeaderField<'_>]) -> Result<Option<ReversePath>, EnvelopeError> {
    if let Some(block) = resent_block(fields)
        && let Some(resender) = choose(block, "Resent-Sender", "Resent-From")?
    {
        return Ok(Some(resender));
    }
    choose(fields, "Sender", "From")
}

/// The address of the field `sender`, else the first one of the field `from`.
fn choose(
    fields: &[HeaderField<'_>],
    sender: &str,
    from: &str,
) -> Result<Option<ReversePath>, EnvelopeError> {
    if let Some(field) = fields.iter().find(|field| field.is(sender)) {
        let addresses = read(field)?;
        if addresses.len() > 1 {
            return Err(EnvelopeError::SeveralSenders { field: field.shown(), count: addresses.len() });
        }
        if let Some(address) = addresses.into_iter().next() {
            return Ok(Some(address.into()));
        }
    }
    let Some(field) = fields.iter().find(|field| field.is(from)) else { return Ok(None) };
    Ok(read(field)?.into_iter().next().map(ReversePath::from))
}

/// The recipients that the header names in To, Cc and Bcc, or in those of the topmost Resent- block when there
/// is one; in the order in which they stand in the header, each mailbox once.
///
/// An empty field names no one (RFC 5322 §3.6.3 allows an empty Bcc; programs write an empty To as well).
/// Nobody at all is the caller's error to report.
///
/// # Errors
///
/// [`EnvelopeError`] for the first field that is not a list of addresses.
pub fn recipients(fields: &[HeaderField<'_>]) -> Result<Vec<Address>, EnvelopeError> {
    let (fields, names) = match resent_block(fields) {
        Some(block) => (block, ["Resent-To", "Resent-Cc", "Resent-Bcc"]),
        None => (fields, ["To", "Cc", "Bcc"]),
    };
    let mut found = Vec::new();
    for field in fields.iter().filter(|field| names.iter().any(|name| field.is(name))) {
        match read(field) {
            Ok(addresses) if found.is_empty() => found = addresses,
            Ok(addresses) => found.extend(addresses),
            Err(EnvelopeError::Unreadable { error, .. }) if error.problem() == ListProblem::Empty => (),
            Err(error) => return Err(error),
        }
    }
    drop_repeated(&mut found);
    Ok(found)
}

/// Whether the field of this name must not be seen by those who get the message: Bcc and Resent-Bcc.
#[must_use]
pub fn is_bcc(name: &str) -> bool {
    ["Bcc", "Resent-Bcc"].iter().any(|bcc| bare(name).eq_ignore_ascii_case(bcc))
}

/// The fields from the first to behind the last of the topmost Resent- block, others among them.
fn resent_block<'f, 'a>(fields: &'f [HeaderField<'a>]) -> Option<&'f [HeaderField<'a>]> {
    let start = fields.iter().position(HeaderField::is_resent)?;
    let fields = fields.get(start..)?;
    let is_trace = |field: &HeaderField<'_>| TRACE.iter().any(|name| field.is(name));
    let fields = fields.get(..fields.iter().position(is_trace).unwrap_or(fields.len()))?;
    let count = |name| fields.iter().filter(|field| field.is(name)).count();
    if count("Resent-Date") < 2 && count("Resent-From") < 2 {
        return Some(fields);
    }
    let mut seen = [false; ONCE.len()];
    let repeats = |field: &HeaderField<'_>| {
        let place = ONCE.iter().zip(&mut seen).find(|(name, _)| field.is(name));
        place.is_some_and(|(_, seen)| std::mem::replace(seen, true))
    };
    fields.get(..fields.iter().position(repeats).unwrap_or(fields.len()))
}

/// The addresses in the field.
fn read(field: &HeaderField<'_>) -> Result<Vec<Address>, EnvelopeError> {
    list::parse(field.value).map_err(|error| EnvelopeError::Unreadable { field: field.shown(), error })
}

/// A field's name without the white space that the obsolete syntax allows behind it.
fn bare(name: &str) -> &str {
    name.trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of a header that is written as in a message.
    fn fields<'f>(header: &'f str) -> Vec<HeaderField<'f>> {
        let field = |line: &'f str| line.split_once(':').expect("a field");
        let fields = header.lines().map(field);
        fields.map(|(name, value)| HeaderField { name, value: value.as_bytes() }).collect()
    }

    fn sender_of(header: &str) -> String {
        match sender(&fields(header)) {
            Ok(None) => "nobody".to_owned(),
            Ok(Some(path)) => format!("<{path}>"),
            Err(error) => error.to_string(),
        }
    }

    fn recipients_of(header: &str) -> String {
        match recipients(&fields(header)) {
            Ok(found) => found.iter().map(Address::as_str).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_sender_is_who_sent_it_last() {
        for (header, expected) in [
            ("Subject: hi", "nobody"),
            ("From: joe@x", "<joe@x>"),
            ("From: Joe <joe@x>, jane@x", "<joe@x>"),
            ("From: joe@x\nSender: jane@x", "<jane@x>"),
            ("FROM : joe@x", "<joe@x>"),
            ("From: a@x\nFrom: b@x", "<a@x>"),
            ("From: (whatever\nSender: jane@x", "<jane@x>"),
            ("From: me", "<me>"),
            ("From: MAILER-DAEMON (Mail Delivery System)", "<>"),
            ("From: Mail <MAILER-DAEMON@x>", "<MAILER-DAEMON@x>"),
            // RFC 6854
            ("From: The family: Joe <joe@x>, jane@x;", "<joe@x>"),
            ("From: Nobody:;", "nobody"),
            ("From: joe@x\nSender: Nobody:;", "<joe@x>"),
            // RFC 5322 §3.6.6
            ("Resent-From: b@x, c@x\nFrom: a@x\nSender: d@x", "<b@x>"),
            ("Resent-From: b@x\nResent-Sender: c@x\nFrom: a@x", "<c@x>"),
            ("From: a@x\nSubject: hi\nresent-from: b@x", "<b@x>"),
            ("Resent-To: b@x\nFrom: a@x\nSender: c@x", "<c@x>"),
            ("Resent-From: c@x\nReceived: from y\nResent-From: b@x\nResent-Sender: d@x", "<c@x>"),
            // What does not parse is never passed over.
            ("From:", "From: '' is not an address: it is empty"),
            ("From: <>", "From: '<>' is not an address: '>' where an address is expected"),
            ("From: Joe Smith", "From: 'Joe Smith' is not an address: 'S' where a comma is expected"),
            ("Sender: \nFrom: joe@x", "Sender: '' is not an address: it is empty"),
            ("sender: a@x, b@x\nFrom: a@x", "sender: 2 addresses instead of one"),
            (
                "Resent-From: @\nFrom: a@x",
                "Resent-From: '@' is not an address: '@' where an address is expected",
            ),
            ("From: a@x, b", "<a@x>"),
            ("From: a@x, b c", "From: 'b c' is not an address: 'c' where a comma is expected"),
        ] {
            assert_eq!(sender_of(header), expected, "{header}");
        }
    }

    #[test]
    fn the_recipients_are_those_of_the_header_in_its_order() {
        for (header, expected) in [
            ("Subject: hi", ""),
            ("To: a@x\nCc: b@x\nBcc: c@x", "a@x b@x c@x"),
            ("bcc: c@x\nSubject: hi\nCC : b@x\nTo:a@x", "c@x b@x a@x"),
            ("To: a@x\nTo: b@x, a@X\nCc: \"a\"@x", "a@x b@x"),
            (
                "To: postmaster, \"a b\"@example.com, Joe, Jr. <joe@x>",
                "postmaster \"a b\"@example.com Joe joe@x",
            ),
            ("To: undisclosed-recipients:;\nBcc: a@x", "a@x"),
            ("To:\nCc: \nBcc: (nobody)\nBcc: a@x", "a@x"),
            ("To: undisclosed-recipients:;", ""),
            ("X-To: a@x\nReply-To: b@x\nTo2: c@x", ""),
            ("To: a@x\nCc: Joe Smith", "Cc: 'Joe Smith' is not an address: 'S' where a comma is expected"),
            ("To: a@x, <>\nCc: (", "To: '<>' is not an address: '>' where an address is expected"),
            ("From: (unread\nTo: a@x", "a@x"),
        ] {
            assert_eq!(recipients_of(header), expected, "{header}");
        }
    }

    #[test]
    fn a_message_sent_on_goes_to_the_topmost_block_only() {
        let old = "From: o@x\nTo: p@x\nCc: q@x\nBcc: r@x";
        for (block, expected) in [
            ("Resent-To: a@x", "a@x"),
            ("Resent-From: z@x\nResent-Cc: b@x\nresent-bcc: c@x\nRESENT-TO : a@x", "b@x c@x a@x"),
            // No recipients in the block are none at all.
            ("Resent-From: z@x\nResent-Date: today", ""),
            ("Resent-Message-ID: <1@x>", ""),
            ("Resent-To:", ""),
            // Trace fields divide blocks; those above the first do not.
            ("Received: by y\nResent-To: a@x\nReceived: by x\nResent-To: b@x", "a@x"),
            ("Resent-To: a@x\nReturn-Path: <o@x>\nResent-Cc: b@x", "a@x"),
            ("Resent-To: a@x\nDelivered-To: p@x\nResent-Cc: b@x", "a@x"),
            ("Resent-From: z@x\nreceived : by x\nResent-To: b@x", ""),
            // Others do not.
            ("Resent-From: list@x\nX-Mailing-List: l\nResent-To: a@x", "a@x"),
            // What is repeated in the one block that there is.
            ("Resent-To: a@x\nResent-To: b@x\nResent-From: z@x", "a@x b@x"),
            // Blocks with nothing between them.
            ("Resent-From: z@x\nResent-To: a@x\nResent-From: y@x\nResent-To: b@x", "a@x"),
            ("Resent-To: a@x\nResent-From: z@x\nResent-To: b@x\nResent-From: y@x", "a@x"),
            ("Resent-From: z@x\nResent-To: a@x\nResent-To: b@x\nResent-From: y@x\nResent-Cc: c@x", "a@x"),
            ("Resent-To: a@x\nResent-Date: 2\nResent-Date: 1\nResent-To: b@x", "a@x"),
            ("Resent-From: z@x\nResent-From: y@x\nResent-To: b@x", ""),
            (
                "Resent-To: a b\nResent-To: c@x",
                "Resent-To: 'a b' is not an address: 'b' where a comma is expected",
            ),
            // No Resent- field.
            ("X-Resent-To: a@x\nResent: b@x", "p@x q@x r@x"),
        ] {
            assert_eq!(recipients_of(&format!("{block}\n{old}")), expected, "{block}");
            assert_eq!(recipients_of(&format!("{old}\n{block}")), expected, "{block}, at the end");
        }
    }

    #[test]
    fn folded_and_damaged_values_are_taken_as_they_stand_in_the_message() {
        let folded = [
            HeaderField { name: "To", value: b" Joe\r\n <a@x>,\r\n\tJ\xf6rg <b@x>\r\n" },
            HeaderField { name: "Cc", value: b" c@x,\n d@x\n" },
        ];
        let found = recipients(&folded).unwrap();
        assert_eq!(found.iter().map(Address::as_str).collect::<Vec<_>>(), ["a@x", "b@x", "c@x", "d@x"]);
        let damaged =
            [HeaderField { name: "To\x1b", value: b" a@x" }, HeaderField { name: "Bcc", value: b"\0" }];
        let error = recipients(&damaged).unwrap_err().to_string();
        assert_eq!(error, "Bcc: '\\x00' is not an address: '\\x00' where an address is expected");
    }

    #[test]
    fn blind_copies_are_known_in_any_spelling() {
        assert!(["Bcc", "BCC", "bcc ", "Resent-Bcc", "resent-BCC\t"].iter().all(|name| is_bcc(name)));
        assert!(!["Cc", "X-Bcc", "Bcc-", "Resent-Cc", "Resent-", ""].iter().any(|name| is_bcc(name)));
    }

    #[test]
    fn a_header_of_a_hundred_thousand_resent_fields_is_read_at_once() {
        let many =
            ["Resent-X: 1\n", "Resent-To: a@x\n", "Resent-From: a@x\n"].map(|line| line.repeat(50_000));
        assert_eq!(recipients_of(&many.concat()), "a@x");
        assert_eq!(sender_of(&many.concat()), "nobody");
    }
}
