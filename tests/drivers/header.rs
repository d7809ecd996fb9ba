//! The message and its header: the fields are those that a receiver sees, and without the hidden ones every
//! other octet is there.
//!
//! An input is an octet, the manner in which the message is read, and then the message.

use std::io::{self, Read};
use std::ops::Range;

use lmtp_send::envelope;
use lmtp_send::lmtp::Content;
use lmtp_send::lmtp::wire::{Encoder, Form, Meter};
use lmtp_send::message::{Header, Message, Unreadable};

use super::octets::{Dice, assert_printable};

pub fn drive(data: &[u8]) {
    let Some((manner, input)) = data.split_first() else { return };
    let given = without_mbox_line(input);
    let mut message = match Message::from_stream(Trickle { rest: input, dice: Dice::new((*manner).into()) }) {
        Ok(message) => message,
        Err(Unreadable::Empty) => return assert!(given.is_empty()),
        Err(error @ (Unreadable::NotMbox | Unreadable::Input(_) | Unreadable::Spool(_))) => panic!("{error}"),
    };
    assert_eq!(sent(&message, *manner), given);
    let header = match message.header() {
        Ok(header) => header,
        Err(error) => return assert_printable(&error.to_string()),
    };
    header.message_id().iter().for_each(|id| assert_printable(id));
    assert_eq!(seen(&header), fields(given), "the fields");
    let places: Vec<Range<usize>> = header.fields().map(|f| place(&f.octets)).collect();
    let length = places.last().map_or(0, |last| last.end);
    assert!(
        places
            .iter()
            .map(|p| p.start)
            .eq([0].into_iter().chain(places.iter().map(|p| p.end)).take(places.len()))
    );
    assert!(given.len() == length || matches!(&given[length..], [b'\n', ..] | [b'\r', b'\n', ..]));
    address(&header);
    take_bcc_out(&mut message, &header, given, *manner);
}

/// What is sent without Bcc: all that was given but those fields, and a receiver sees none.
fn take_bcc_out(message: &mut Message, header: &Header, given: &[u8], manner: u8) {
    let is_bcc = |name: &str| name.eq_ignore_ascii_case("Bcc") || name.eq_ignore_ascii_case("Resent-Bcc");
    let hidden: Vec<Range<usize>> =
        header.fields().filter(|field| is_bcc(field.name)).map(|field| place(&field.octets)).collect();
    let mut expected = Vec::new();
    let mut from = 0;
    for place in &hidden {
        expected.extend_from_slice(&given[from..place.start]);
        from = place.end;
    }
    expected.extend_from_slice(&given[from..]);
    if message.remove(header, |field| envelope::is_bcc(field.name)).is_err() {
        assert_eq!(expected, b"");
        assert_eq!(sent(message, manner), given, "a message that is refused is as it was");
        return;
    }
    assert_eq!(sent(message, manner), expected);
    let rest: Vec<_> = fields(given).into_iter().filter(|(name, _)| !is_bcc(name)).collect();
    assert_eq!(fields(&expected), rest, "what a receiver sees");
}

/// An envelope from any header: no panic, and nobody twice.
fn address(header: &Header) {
    let fields = header.listed();
    match envelope::sender(&fields) {
        Ok(sender) => sender.iter().for_each(|path| assert_printable(path.as_str())),
        Err(error) => assert_printable(&error.to_string()),
    }
    match envelope::recipients(&fields) {
        Ok(found) => {
            let twice = |at: usize| found[..at].iter().any(|other| other.same_mailbox(&found[at]));
            assert!(!(0..found.len()).any(twice), "{found:?}");
        }
        Err(error) => assert_printable(&error.to_string()),
    }
}

/// What a message sends, after checking that it is what was counted, twice over and in any pieces.
fn sent(message: &Message, manner: u8) -> Vec<u8> {
    let mut body = message.open();
    let octets = read(&mut body, 64 * 1024);
    body.rewind().unwrap();
    assert_eq!(read(&mut body, 1 + usize::from(manner % 64)), octets);
    let mut meter = Meter::default();
    meter.push(&octets);
    assert_eq!(message.raw_octets(), meter.raw_octets());
    assert_eq!(message.octets(), meter.octets());
    assert_eq!(message.is_wire_form(), meter.is_wire_form());
    octets
}

fn read(content: &mut dyn Content, size: usize) -> Vec<u8> {
    let (mut octets, mut piece) = (Vec::new(), vec![0; size]);
    loop {
        match content.read(&mut piece).unwrap() {
            0 => return octets,
            read => octets.extend_from_slice(&piece[..read]),
        }
    }
}

/// The message behind the line that an mbox puts before it (RFC 4155), which no field called From is.
fn without_mbox_line(input: &[u8]) -> &[u8] {
    let (line, rest) =
        input.split_at(input.iter().position(|o| *o == b'\n').map_or(input.len(), |end| end + 1));
    let blank = |o: &&u8| matches!(o, b' ' | b'\t');
    let is_field = line.get(4..).is_some_and(|rest| rest.iter().find(|o| !blank(o)) == Some(&b':'));
    if line.starts_with(b"From ") && !is_field { rest } else { input }
}

/// Name and value of each field, as the header room has them.
fn seen(header: &Header) -> Vec<(String, Vec<u8>)> {
    header.fields().map(|field| (field.name.to_owned(), blanks_off(&wire_form(field.value)))).collect()
}

/// Name and value of each field that the receiver of a message sees on the wire, whatever the field's name.
fn fields(message: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    for line in wire_form(message).split_inclusive(|o| *o == b'\n').take_while(|line| *line != b"\r\n") {
        match found.last_mut() {
            Some(field) if matches!(line.first(), Some(b' ' | b'\t')) => field.extend_from_slice(line),
            _ => found.push(line.to_vec()),
        }
    }
    let split = |field: Vec<u8>| {
        let colon = field.iter().position(|o| *o == b':').unwrap_or(field.len());
        let name = String::from_utf8_lossy(&field[..colon]).trim_end_matches([' ', '\t']).to_owned();
        (name, blanks_off(field.get(colon + 1..).unwrap_or_default()))
    };
    found.into_iter().map(split).collect()
}

fn wire_form(octets: &[u8]) -> Vec<u8> {
    let (mut encoder, mut wire) = (Encoder::new(Form::Bdat), Vec::new());
    encoder.encode(octets, &mut wire);
    encoder.finish(&mut wire);
    wire
}

/// `value` without line ends, nor blanks around it.
fn blanks_off(value: &[u8]) -> Vec<u8> {
    let text: Vec<u8> = value.iter().copied().filter(|o| !matches!(o, b'\r' | b'\n')).collect();
    let start = text.iter().position(|o| !matches!(o, b' ' | b'\t')).unwrap_or(text.len());
    let end = text.iter().rposition(|o| !matches!(o, b' ' | b'\t')).map_or(start, |last| last + 1);
    text[start..end].to_vec()
}

fn place(octets: &Range<u64>) -> Range<usize> {
    octets.start as usize..octets.end as usize
}

/// A stream that gives less than it is asked for.
struct Trickle<'a> {
    rest: &'a [u8],
    dice: Dice,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = buf.len().min(self.rest.len());
        let size = if most == 0 { 0 } else { 1 + self.dice.below(most) };
        self.rest.read(&mut buf[..size])
    }
}
