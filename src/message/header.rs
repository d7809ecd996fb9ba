//! The header block, split into its fields (RFC 5322 §2.2).
//!
//! What is split is what the receiver sees: a lone CR separates as the space does that it is on the wire. A line
//! that is neither a field nor the continuation of one is refused rather than taken for the end of the header:
//! others read on behind it, and would find a Bcc there that we had not removed.
//!
//! Values are passed on raw; addresses in them are the envelope's.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::ops::Range;

use super::piece::{Reader, fill};
use crate::envelope::HeaderField;
use crate::io_error::words;
use crate::lmtp::reply::printable;
use crate::scan;

/// The longest header block taken, in octets: Exim's `header_maxsize`. Postfix and sendmail take less.
pub const MAX_HEADER: usize = 1024 * 1024;
/// Octets read at first to find the header's end; then as many again each time.
const PIECE: usize = 4 * 1024;

/// Why there is no header to be had.
///
/// These are all there are: the message is at fault, or the system that cannot read it.
#[derive(Debug)]
pub enum BadHeader {
    /// The message could not be read again.
    Input(io::Error),
    /// More than [`MAX_HEADER`] octets without an empty line.
    TooLong,
    /// A line that is no field and continues none: its number in the input, and its printable beginning.
    NotAField(usize, String),
}

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadHeader::Input(error) => write!(f, "cannot read the message again: {}", words(error)),
            BadHeader::TooLong => write!(f, "the header is longer than {MAX_HEADER} octets"),
            BadHeader::NotAField(line, text) => write!(f, "line {line} is not a header field: '{text}'"),
        }
    }
}

impl std::error::Error for BadHeader {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BadHeader::Input(error) => Some(error),
            BadHeader::TooLong | BadHeader::NotAField(..) => None,
        }
    }
}

/// A field of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field<'a> {
    /// The name as given, without the white space that may follow it (RFC 5322 §4.5).
    pub name: &'a str,
    /// The raw value: folded as it was, without white space and line ends around it.
    pub value: &'a [u8],
    /// The field's octets in the message, folded lines, last line end and all.
    pub octets: Range<u64>,
}

impl Field<'_> {
    /// Whether this is the field `name`; case does not matter.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// A message's header.
#[derive(Debug)]
pub struct Header {
    block: Vec<u8>,
    fields: Vec<FieldPlace>,
}

/// Where a field is in the block, which is short enough for 32 bits.
#[derive(Debug)]
struct FieldPlace {
    start: u32,
    name: u32,
    colon: u32,
    end: u32,
}

impl Header {
    /// The fields, in their order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.fields.iter().map(|place| {
            let text = |range: Range<u32>| {
                self.block.get(range.start as usize..range.end as usize).unwrap_or_default()
            };
            Field {
                name: str::from_utf8(text(place.start..place.name)).unwrap_or_default(),
                value: trim(text(place.colon + 1..place.end)),
                octets: u64::from(place.start)..u64::from(place.end),
            }
        })
    }

    /// The fields as [`envelope::sender`](crate::envelope::sender) and
    /// [`envelope::recipients`](crate::envelope::recipients) read them.
    #[must_use]
    pub fn listed(&self) -> Vec<HeaderField<'_>> {
        self.fields().map(|Field { name, value, .. }| HeaderField { name, value }).collect()
    }

    /// The Message-ID as it stands there, unfolded and printable.
    #[must_use]
    pub fn message_id(&self) -> Option<String> {
        let field = self.fields().find(|field| field.is("Message-ID"))?;
        let settled = without_lone_crs(field.value);
        let unfolded: Vec<u8> = settled.iter().copied().filter(|o| !matches!(o, b'\r' | b'\n')).collect();
        Some(printable(&unfolded)).filter(|id| !id.is_empty())
    }

    /// Reads the header of the message that `reader` begins, whose first line is number `first_line` for
    /// whoever looks for it.
    pub(super) fn read(reader: Reader<'_>, first_line: usize) -> Result<Self, BadHeader> {
        let block = read_block(reader)?;
        let settled = without_lone_crs(&block);
        let mut fields = Vec::new();
        let mut start = 0;
        while let Some(rest) = settled.get(start..).filter(|rest| !rest.is_empty()) {
            let Some((name, colon, length)) = split_field(rest) else {
                let before = settled.get(..start).unwrap_or_default();
                let line = first_line + scan::count(b'\n', before);
                let text = rest
                    .get(..scan::find(b'\n', rest).unwrap_or(rest.len()))
                    .unwrap_or(rest)
                    .trim_ascii_end();
                return Err(BadHeader::NotAField(line, printable(text.get(..80).unwrap_or(text))));
            };
            let place = |at: usize| (start + at) as u32;
            fields.push(FieldPlace {
                start: place(0),
                name: place(name),
                colon: place(colon),
                end: place(length),
            });
            start += length;
        }
        drop(settled);
        Ok(Self { block, fields })
    }
}

/// `value` without the white space and line ends around it, and with any other control character.
fn trim(value: &[u8]) -> &[u8] {
    let is_text = |octet: &u8| !matches!(octet, b' ' | b'\t' | b'\r' | b'\n');
    let start = value.iter().position(is_text).unwrap_or(value.len());
    let end = value.iter().rposition(is_text).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// Reads up to the empty line that ends the header, or to the message's end.
fn read_block(mut reader: Reader<'_>) -> Result<Vec<u8>, BadHeader> {
    let mut block = Vec::new();
    let mut searched = 0;
    loop {
        let filled = block.len();
        let room = filled.max(PIECE);
        block.resize(filled + room, 0);
        let read = fill(block.get_mut(filled..).unwrap_or_default(), |buf| reader.read(buf));
        block.truncate(filled + read.map_err(BadHeader::Input)?);
        let end = empty_line(&block, &mut searched);
        block.truncate(end.unwrap_or(block.len()));
        if block.len() > MAX_HEADER {
            return Err(BadHeader::TooLong);
        }
        if end.is_some() || block.len() < filled + room {
            return Ok(block);
        }
    }
}

/// Where the first empty line begins; `searched` remembers how far there is none.
fn empty_line(block: &[u8], searched: &mut usize) -> Option<usize> {
    loop {
        let rest = block.get(*searched..).unwrap_or_default();
        if rest.starts_with(b"\n") || rest.starts_with(b"\r\n") {
            return Some(*searched);
        }
        *searched += scan::find(b'\n', rest)? + 1;
    }
}

/// `block` with a space for every CR that no LF follows, as in the wire form; positions stay what they are.
fn without_lone_crs(block: &[u8]) -> Cow<'_, [u8]> {
    let mut settled = Cow::Borrowed(block);
    let mut from = 0;
    while let Some(at) = scan::find(b'\r', block.get(from..).unwrap_or_default()).map(|at| from + at) {
        from = at + 1;
        if block.get(from) != Some(&b'\n') {
            settled.to_mut().get_mut(at).into_iter().for_each(|cr| *cr = b' ');
        }
    }
    settled
}

/// The first field of `octets`: the lengths of its name, of what is before its colon, and of all of it.
///
/// `mailparse` finds the end, and takes whatever stands there for a name; RFC 5322 §2.2 does not.
fn split_field(octets: &[u8]) -> Option<(usize, usize, usize)> {
    let (field, length) = mailparse::parse_header(octets).ok()?;
    let before_colon = field.get_key_raw();
    let name = str::from_utf8(before_colon).ok()?.trim_end_matches([' ', '\t']);
    let is_name = !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic());
    let colon = before_colon.len();
    (is_name && octets.get(colon) == Some(&b':')).then_some((name.len(), colon, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn header(octets: &[u8]) -> Result<Header, BadHeader> {
        Message::from_stream(octets).unwrap().header()
    }

    /// Name, value and octets of each field, as text.
    fn fields(octets: &str) -> Vec<(String, String, String)> {
        let header = header(octets.as_bytes()).unwrap();
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        let field = |field: Field<'_>| {
            let range =
                usize::try_from(field.octets.start).unwrap()..usize::try_from(field.octets.end).unwrap();
            (field.name.to_owned(), text(field.value), octets[range].to_owned())
        };
        header.fields().map(field).collect()
    }

    #[test]
    fn a_header_is_its_fields() {
        type Expected<'a> = &'a [(&'a str, &'a str, &'a str)];
        let table: [(&str, Expected<'_>); 13] = [
            ("\n", &[]),
            ("\nTo: body\n", &[]),
            ("To:a", &[("To", "a", "To:a")]),
            ("To:", &[("To", "", "To:")]),
            ("To:\nCc:  \n\n", &[("To", "", "To:\n"), ("Cc", "", "Cc:  \n")]),
            ("To: a\n\nCc: b\n", &[("To", "a", "To: a\n")]),
            ("To \t: a: b\n", &[("To", "a: b", "To \t: a: b\n")]),
            ("To:\n a,\n\tb\nX: c\n", &[("To", "a,\n\tb", "To:\n a,\n\tb\n"), ("X", "c", "X: c\n")]),
            ("To: a\n \nCc: b\n", &[("To", "a", "To: a\n \n"), ("Cc", "b", "Cc: b\n")]),
            ("X: \x0b a \x0c\n", &[("X", "\x0b a \x0c", "X: \x0b a \x0c\n")]),
            ("X-!#$%9~: a\n", &[("X-!#$%9~", "a", "X-!#$%9~: a\n")]),
            ("From: a\nFrom: b", &[("From", "a", "From: a\n"), ("From", "b", "From: b")]),
            ("Subject: gr\u{fc}n\0\n", &[("Subject", "gr\u{fc}n\0", "Subject: gr\u{fc}n\0\n")]),
        ];
        for (octets, expected) in table {
            for end in ["\n", "\r\n"] {
                let text = |text: &str| text.replace('\n', end);
                let expected: Vec<_> = expected.iter().map(|(n, v, o)| (text(n), text(v), text(o))).collect();
                assert_eq!(fields(&text(octets)), expected, "{octets:?} with {end:?}");
            }
        }
    }

    #[test]
    fn a_lone_cr_separates_as_the_space_that_the_receiver_sees() {
        let header = header(b"To: a\rb\r\r\n\rCc: c\r\nX\r: y\r").unwrap();
        let fields: Vec<_> = header.fields().collect();
        let expected = [
            Field { name: "To", value: b"a\rb\r\r\n\rCc: c", octets: 0..18 },
            Field { name: "X", value: b"y", octets: 18..24 },
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_line_that_is_no_field_is_named() {
        for (octets, line, text) in [
            ("hello\nBcc: a\n", 1, "hello"),
            ("To: a\nhello\x07\r\nBcc: a\n", 2, "hello\\x07"),
            ("To: a\n b\n c\n>From x: y\n d\n", 4, ">From x: y"),
            ("From x\nTo: a\nhello", 3, "hello"),
            (" To: a\n", 1, " To: a"),
            ("\tTo: a\n", 1, "  To: a"),
            ("\r\r\nTo: a\n", 1, ""),
            (": a\n", 1, ": a"),
            ("  : a\n", 1, "  : a"),
            ("B\0cc: a\n", 1, "B\\x00cc: a"),
            ("B cc: a\n", 1, "B cc: a"),
            ("B\u{e9}: a\n", 1, "B\u{e9}: a"),
            ("Bcc\n : a\n", 1, "Bcc"),
            ("To: a\nBcc\n\n", 2, "Bcc"),
        ] {
            match header(octets.as_bytes()) {
                Err(BadHeader::NotAField(at, what)) => {
                    assert_eq!((at, what.trim_start()), (line, text.trim_start()), "{octets:?}");
                }
                other => panic!("{octets:?}: {other:?}"),
            }
        }
        let long = header(&[b'x'; 10_000]).unwrap_err().to_string();
        assert!(long.len() < 200, "{long}");
    }

    #[test]
    fn the_empty_line_is_found_wherever_a_piece_ends() {
        for length in PIECE - 10..PIECE + 10 {
            for (end, blank) in [("\n", "\n"), ("\r\n", "\r\n"), ("\r\n", "\n")] {
                let field = format!("X: {}{end}", "x".repeat(length));
                let message = format!("{field}{blank}Bcc: body{end}");
                let octets: Vec<_> = fields(&message).into_iter().map(|field| field.2).collect();
                assert_eq!(octets, [field], "{length} with {end:?}");
            }
        }
    }

    #[test]
    fn the_header_is_bounded_and_the_body_is_not() {
        let field = b"a:\n";
        let most = field.repeat(MAX_HEADER / field.len());
        let body = [b"\n".as_slice(), &[b'x'; 2 * MAX_HEADER]].concat();
        assert_eq!(header(&most).unwrap().fields().count(), MAX_HEADER / field.len());
        assert_eq!(
            header(&[most.as_slice(), &body].concat()).unwrap().fields().count(),
            MAX_HEADER / field.len()
        );
        let more = [most.as_slice(), field].concat();
        for octets in [more.clone(), [more, body].concat(), vec![b'x'; 3 * MAX_HEADER]] {
            assert!(matches!(header(&octets), Err(BadHeader::TooLong)));
        }
    }
}
