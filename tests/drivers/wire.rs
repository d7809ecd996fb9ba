//! The wire form: the same whatever the pieces, of the size that was counted, without an end in its middle; and
//! what the server takes from it is what was given, but for line ends.
//!
//! An input is an octet, the manner of the pieces, and then a message.

use lmtp_send::lmtp::wire::{Encoder, Form, Meter};

use super::octets::{Dice, pieces};

pub fn drive(data: &[u8]) {
    let Some((manner, raw)) = data.split_first() else { return };
    let meter = measure([raw]);
    assert_eq!(measure(pieces(raw, *manner)), meter);
    assert_eq!((meter.raw_octets(), meter.is_empty()), (raw.len() as u64, raw.is_empty()));
    let text = normal(raw);
    assert_eq!(meter.octets(), text.len() as u64);
    assert_eq!(meter.is_wire_form(), text == raw && !raw.is_empty());
    for (form, octets, received) in [
        (Form::Data, meter.octets(), &text),
        (Form::Bdat, meter.octets(), &text),
        (Form::Binary, meter.raw_octets(), &raw.to_vec()),
    ] {
        let (wire, counted) = encode([raw], form);
        assert_eq!(counted, octets, "{form:?}");
        assert_eq!(encode(pieces(raw, *manner), form), (wire.clone(), octets), "{form:?} in pieces");
        let taken = if form == Form::Data { unstuffed(&wire) } else { wire };
        assert!(taken == *received, "{form:?}: '{}' was received", taken.escape_ascii());
    }
    take_lines_out(raw, *manner);
}

fn measure<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Meter {
    let mut meter = Meter::default();
    pieces.into_iter().for_each(|piece| meter.push(piece));
    meter
}

/// The wire form and its octets.
fn encode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, form: Form) -> (Vec<u8>, u64) {
    let (mut encoder, mut wire) = (Encoder::new(form), Vec::new());
    for piece in pieces {
        let before = wire.len();
        encoder.encode(piece, &mut wire);
        assert!(wire.len() - before <= 2 * piece.len() + 1);
    }
    let before = wire.len();
    encoder.finish(&mut wire);
    assert!(wire.len() - before <= " \r\n".len());
    (wire, encoder.octets())
}

/// The message in lines that end in CRLF, line by line.
fn normal(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in raw.split_inclusive(|o| *o == b'\n') {
        let ended = line.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        text.extend(ended.unwrap_or(line).iter().map(|o| if *o == b'\r' { b' ' } else { *o }));
        text.extend(b"\r\n");
    }
    text
}

/// What a server takes from DATA (RFC 5321 §4.5.2), which must not come upon an end.
fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in wire.split_inclusive(|o| *o == b'\n') {
        let content = line.strip_suffix(b"\r\n").expect("a line that ends in CRLF");
        assert!(!content.contains(&b'\r'), "a lone CR");
        assert_ne!(content, b".", "an end in the middle");
        text.extend(line.strip_prefix(b".").unwrap_or(line));
    }
    text
}

/// The count of a message without some of its lines is that of what is left.
fn take_lines_out(raw: &[u8], seed: u8) {
    let lines: Vec<&[u8]> = raw.split_inclusive(|o| *o == b'\n').collect();
    let mut dice = Dice::new(seed.into());
    let from = dice.below(lines.len() + 1);
    let to = from + dice.below(lines.len() - from + 1);
    let left = measure(lines[..from].iter().chain(&lines[to..]).copied());
    let out = measure(lines[from..to].iter().copied());
    assert_eq!(measure([raw]).without_lines(&out), left, "without the lines {from}..{to}");
}
