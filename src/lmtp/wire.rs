//! The wire form of a message: CRLF line ends (RFC 5321 §2.3.8) and, for DATA, stuffed dots (§4.5.2).
//!
//! [`Encoder`] makes it, [`Meter`] tells its size beforehand; both take the message in pieces of any size,
//! and agree to the octet. The message's own octets are otherwise passed on as they are.
//!
//! | given | on the wire |
//! | --- | --- |
//! | LF, CRLF | CRLF |
//! | CR before anything else, or at the message's end | one space |
//! | a last line without an end | gets CRLF |
//! | a line that begins with a dot | begins with two, for DATA |
//!
//! No line is ever broken or joined. The lone dot that ends DATA is the session's, not the encoder's: it
//! must not be sent before the message is known to be whole.

use memchr::memchr2;

use crate::scan;

const CR: u8 = b'\r';
const LF: u8 = b'\n';
const CRLF: &[u8] = b"\r\n";
const DOT: u8 = b'.';

/// How the message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// DATA: CRLF line ends, dots stuffed (RFC 5321 §4.5.2).
    Data,
    /// BDAT: CRLF line ends, dots as they are (RFC 3030 §2).
    Bdat,
    /// BDAT with BODY=BINARYMIME: every octet as it is (RFC 3030 §3).
    Binary,
}

/// Turns a message's raw octets into their wire form.
#[derive(Clone, Debug)]
pub struct Encoder {
    form: Form,
    octets: u64,
    /// The next octet begins a line.
    line_start: bool,
    /// The last piece ended in a CR, and what follows it decides what it is.
    pending_cr: bool,
}

impl Encoder {
    /// An encoder for one message.
    #[must_use]
    pub fn new(form: Form) -> Self {
        Self { form, octets: 0, line_start: true, pending_cr: false }
    }

    /// Appends the wire form of `raw`, the message's next octets, to `out`: at most two octets for each, and
    /// one for a CR that ended the piece before.
    pub fn encode(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        if self.form == Form::Binary {
            out.extend_from_slice(raw);
            self.octets += raw.len() as u64;
        } else if !raw.is_empty() {
            self.encode_text(raw, out);
        }
    }

    /// Counts the message's next `octets`, which are sent as they are without being encoded.
    pub(super) fn pass(&mut self, octets: u64) {
        self.octets += octets;
    }

    /// Appends what the message's last line lacks of its end. The message was complete; an empty one stays empty.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let before = out.len();
        if std::mem::take(&mut self.pending_cr) {
            out.push(b' ');
            self.line_start = false;
        }
        if self.form != Form::Binary && !std::mem::replace(&mut self.line_start, true) {
            out.extend_from_slice(CRLF);
        }
        self.octets += (out.len() - before) as u64;
    }

    /// The octets of the message appended so far, as RFC 1870 §4 counts them: line ends are two, the dots
    /// that stuffing adds are none.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Finds line ends with the search that suits the piece and the processor: `memchr2` looks that up anew
    /// in every call, which costs as much as searching a line of mail.
    fn encode_text(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        #[cfg(target_arch = "x86_64")]
        {
            use memchr::arch::x86_64::avx2::memchr::{One, Two};
            use memchr::arch::x86_64::sse2;
            let has_cr = scan::find(CR, raw).is_some();
            if raw.len() < scan::LONG {
                if let Some(search) = sse2::memchr::One::new(LF).filter(|_| !has_cr) {
                    return self.encode_lines(raw, out, |rest| line(rest, search.find(rest)?));
                }
                if let Some(search) = sse2::memchr::Two::new(CR, LF) {
                    return self.encode_lines(raw, out, |rest| Break::at(rest, search.find(rest)?));
                }
            }
            if let Some(search) = One::new(LF).filter(|_| !has_cr) {
                return self.encode_lines(raw, out, |rest| line(rest, search.find(rest)?));
            }
            if let Some(search) = Two::new(CR, LF) {
                return self.encode_lines(raw, out, |rest| Break::at(rest, search.find(rest)?));
            }
        }
        self.encode_lines(raw, out, |rest| Break::at(rest, memchr2(CR, LF, rest)?));
    }

    /// Encodes `raw`, where `split` finds the first CR or LF.
    #[inline]
    fn encode_lines<'a>(
        &mut self,
        raw: &'a [u8],
        out: &mut Vec<u8>,
        split: impl Fn(&'a [u8]) -> Option<(&'a [u8], Break, &'a [u8])>,
    ) {
        out.reserve(2 * raw.len() + 1);
        let before = out.len();
        let mut rest = self.settle_cr(raw, out);
        let stuff = self.form == Form::Data;
        let mut stuffed = 0;
        if rest.first() == Some(&DOT) && stuff && self.line_start {
            out.push(DOT);
            stuffed += 1;
        }
        while let Some((line, found, after)) = split(rest) {
            out.extend_from_slice(line);
            rest = after;
            match found {
                Break::LineEnd => {
                    out.extend_from_slice(CRLF);
                    if rest.first() == Some(&DOT) && stuff {
                        out.push(DOT);
                        stuffed += 1;
                    }
                }
                Break::LoneCr => out.push(b' '),
                Break::OpenCr => self.pending_cr = true,
            }
        }
        out.extend_from_slice(rest);
        if out.len() > before {
            self.line_start = out.last() == Some(&LF);
        }
        self.octets += (out.len() - before - stuffed) as u64;
    }

    /// Settles what the CR was that ended the piece before `raw`; returns what of `raw` is left to encode.
    fn settle_cr<'a>(&mut self, raw: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        if !std::mem::take(&mut self.pending_cr) {
            return raw;
        }
        let after = raw.strip_prefix(&[LF]);
        out.extend_from_slice(if after.is_some() { CRLF } else { b" " });
        self.line_start = after.is_some();
        after.unwrap_or(raw)
    }
}

/// The line that ends in the LF at `at`, without a CR before it, and what follows.
#[cfg(target_arch = "x86_64")]
#[inline]
fn line(octets: &[u8], at: usize) -> Option<(&[u8], Break, &[u8])> {
    let (line, after) = octets.split_at_checked(at)?;
    Some((line, Break::LineEnd, after.get(1..)?))
}

/// What ends a run of ordinary octets.
enum Break {
    LineEnd,
    LoneCr,
    /// The CR is the piece's last octet: what it is depends on the next.
    OpenCr,
}

impl Break {
    /// `octets` around the CR or LF at `at`.
    #[inline]
    fn at(octets: &[u8], at: usize) -> Option<(&[u8], Self, &[u8])> {
        let (run, rest) = octets.split_at_checked(at)?;
        match rest {
            [LF, after @ ..] | [CR, LF, after @ ..] => Some((run, Break::LineEnd, after)),
            [_, after @ ..] if after.is_empty() => Some((run, Break::OpenCr, after)),
            [_, after @ ..] => Some((run, Break::LoneCr, after)),
            [] => None,
        }
    }
}

/// Counts what [`Encoder`] would make of a message, without making it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    raw: u64,
    /// LFs without a CR before them: each becomes two octets.
    bare_lfs: u64,
    /// CRs with something else than LF after them: each becomes a space.
    lone_crs: u64,
    /// The last octet so far; NUL before the first.
    last: u8,
}

impl Meter {
    /// Takes the message's next octets.
    pub fn push(&mut self, raw: &[u8]) {
        let (Some(&first), Some(&last)) = (raw.first(), raw.last()) else { return };
        let later = raw.get(1..).unwrap_or_default();
        let border = unpaired([(self.last, first)]);
        let within = match scan::find(CR, raw) {
            None => (0, scan::count(LF, later) as u64),
            Some(_) => unpaired_between(raw, later),
        };
        self.raw += raw.len() as u64;
        self.lone_crs += border.0 + within.0;
        self.bare_lfs += border.1 + within.1;
        self.last = last;
    }

    /// The message's octets as RFC 1870 §4 counts them, if it ended here: what SIZE declares, and what
    /// [`Encoder::octets`] says after [`Encoder::finish`].
    #[must_use]
    pub fn octets(&self) -> u64 {
        let end = if self.is_empty() || self.last == LF { 0 } else { CRLF.len() as u64 };
        self.raw + self.bare_lfs + end
    }

    /// The octets as given.
    #[must_use]
    pub fn raw_octets(&self) -> u64 {
        self.raw
    }

    /// Whether there was no octet at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw == 0
    }

    /// Whether the message, if it ended here, is its own wire form for BDAT: every line ends in CRLF, the
    /// last one too, and no CR or LF stands alone.
    #[must_use]
    pub fn is_wire_form(&self) -> bool {
        self.last == LF && self.bare_lfs == 0 && self.lone_crs == 0
    }

    /// The count of this message, which ends in LF so far, when `rest` follows: so that parts of a message can
    /// be counted apart.
    #[must_use]
    pub fn followed_by(&self, rest: &Meter) -> Self {
        Self {
            raw: self.raw + rest.raw,
            bare_lfs: self.bare_lfs + rest.bare_lfs,
            lone_crs: self.lone_crs + rest.lone_crs,
            last: if rest.is_empty() { self.last } else { rest.last },
        }
    }

    /// The count of this message after `lines` were taken out of it: whole lines, with their ends, except that
    /// the message's last line may have none.
    #[must_use]
    pub fn without_lines(&self, lines: &Meter) -> Self {
        let raw = self.raw.saturating_sub(lines.raw);
        let reached_the_end = lines.raw > 0 && lines.last != LF;
        let last = if reached_the_end { LF } else { self.last };
        Self {
            raw,
            bare_lfs: self.bare_lfs.saturating_sub(lines.bare_lfs),
            lone_crs: self.lone_crs.saturating_sub(lines.lone_crs),
            last: if raw == 0 { 0 } else { last },
        }
    }
}

/// The lone CRs and bare LFs between neighbours: `raw`, and `later` that begins one octet behind it.
///
/// Most mail has CRLFs only, and is looked at a block at a time; blocks with anything else octet by octet.
fn unpaired_between(raw: &[u8], later: &[u8]) -> (u64, u64) {
    const BLOCK: usize = 64;
    let (blocks, _) = raw.as_chunks::<BLOCK>();
    let (later_blocks, later_rest) = later.as_chunks::<BLOCK>();
    let rest = raw.get(later_blocks.as_flattened().len()..).unwrap_or_default();
    let uneven = blocks.iter().zip(later_blocks).filter(|(block, later_block)| {
        let neighbours = block.iter().zip(later_block.iter());
        neighbours.fold(false, |found, (&octet, &next)| found | ((octet == CR) != (next == LF)))
    });
    let neighbours = uneven.flat_map(|(block, later_block)| block.iter().zip(later_block));
    unpaired(neighbours.chain(rest.iter().zip(later_rest)).map(|(&octet, &next)| (octet, next)))
}

/// The lone CRs and bare LFs among pairs of neighbours.
fn unpaired(neighbours: impl IntoIterator<Item = (u8, u8)>) -> (u64, u64) {
    neighbours.into_iter().fold((0, 0), |(lone_crs, bare_lfs), (octet, next)| {
        let (is_cr, ends_line) = (octet == CR, next == LF);
        (lone_crs + u64::from(is_cr && !ends_line), bare_lfs + u64::from(ends_line && !is_cr))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules of the table above, octet by octet: the wire form and its octets without stuffing.
    fn by_the_book(raw: &[u8], form: Form) -> (Vec<u8>, u64) {
        if form == Form::Binary {
            return (raw.to_vec(), raw.len() as u64);
        }
        let mut text = Vec::new();
        for (at, &octet) in raw.iter().enumerate() {
            match octet {
                CR if raw.get(at + 1) == Some(&LF) => {}
                CR => text.push(b' '),
                LF => text.extend_from_slice(CRLF),
                _ => text.push(octet),
            }
        }
        if !text.is_empty() && !text.ends_with(CRLF) {
            text.extend_from_slice(CRLF);
        }
        let octets = text.len() as u64;
        if form == Form::Bdat {
            return (text, octets);
        }
        let stuffed = text.split_inclusive(|&o| o == LF).flat_map(|line| {
            let dot = line.starts_with(b".").then_some(DOT);
            dot.into_iter().chain(line.iter().copied())
        });
        (stuffed.collect(), octets)
    }

    /// The wire form of the pieces, and its octets.
    fn encode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, form: Form) -> (Vec<u8>, u64) {
        let (mut encoder, mut wire) = (Encoder::new(form), Vec::new());
        for piece in pieces {
            let (mut out, owed) = (Vec::with_capacity(2 * piece.len() + 1), encoder.pending_cr);
            encoder.encode(piece, &mut out);
            assert!(out.len() <= 2 * piece.len() + usize::from(owed), "{piece:?} became {out:?}");
            wire.extend_from_slice(&out);
        }
        encoder.finish(&mut wire);
        (wire, encoder.octets())
    }

    fn measure<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Meter {
        let mut meter = Meter::default();
        pieces.into_iter().for_each(|piece| meter.push(piece));
        meter
    }

    /// Messages out of `alphabet`, the same in every run.
    fn messages(alphabet: &[u8], number: usize, longest: usize) -> impl Iterator<Item = Vec<u8>> {
        let mut state = 0x2033_u64;
        let mut below = move |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % limit
        };
        (0..number).map(move |_| (0..below(longest)).map(|_| alphabet[below(alphabet.len())]).collect())
    }

    const FORMS: [Form; 3] = [Form::Data, Form::Bdat, Form::Binary];

    #[test]
    fn line_ends_and_dots() {
        for (raw, wire) in [
            ("", ""),
            ("\n", "\r\n"),
            ("a", "a\r\n"),
            ("a\nb\r\nc", "a\r\nb\r\nc\r\n"),
            (".", "..\r\n"),
            (".\n..\r\n.a", "..\r\n...\r\n..a\r\n"),
            ("a.\n b.", "a.\r\n b.\r\n"),
            ("\r", " \r\n"),
            ("a\rb\r", "a b \r\n"),
            ("a\r\r\nb", "a \r\nb\r\n"),
            ("\r.\n", " .\r\n"),
            ("a\n\r.\r\n", "a\r\n .\r\n"),
            ("a\n.\nMAIL", "a\r\n..\r\nMAIL\r\n"),
            ("a\r\n.\rMAIL", "a\r\n.. MAIL\r\n"),
            ("\0\u{e9}\n", "\0\u{e9}\r\n"),
        ] {
            let raw = raw.as_bytes();
            assert_eq!(encode([raw], Form::Data).0, wire.as_bytes(), "{raw:?}");
            assert_eq!(encode(raw.chunks(1), Form::Data).0, wire.as_bytes(), "{raw:?} octet by octet");
        }
        assert_eq!(encode([b".\n.a".as_slice()], Form::Bdat), (b".\r\n.a\r\n".to_vec(), 7));
        assert_eq!(encode([b".\na\r".as_slice()], Form::Binary), (b".\na\r".to_vec(), 4));
        assert_eq!(encode([b".\n.a".as_slice()], Form::Data).1, 7, "stuffing is not counted");
    }

    #[test]
    fn pieces_make_no_difference() {
        for raw in messages(b"\r\n\n..ab", 3_000, 20) {
            for form in FORMS {
                let expected = by_the_book(&raw, form);
                for split in 0..=raw.len() {
                    let (head, tail) = raw.split_at(split);
                    assert_eq!(encode([head, tail], form), expected, "{form:?} {raw:?} at {split}");
                }
                for size in 1..=raw.len() {
                    assert_eq!(encode(raw.chunks(size), form), expected, "{form:?} {raw:?} by {size}");
                }
            }
        }
    }

    #[test]
    fn the_meter_agrees_with_the_encoder() {
        let long = b"\r\n.abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        for raw in messages(b"\r\n.a", 3_000, 20).chain(messages(long, 300, 2_000)) {
            let whole = measure([raw.as_slice()]);
            let (wire, octets) = by_the_book(&raw, Form::Bdat);
            assert_eq!((whole.octets(), whole.raw_octets()), (octets, raw.len() as u64), "{raw:?}");
            assert_eq!(whole.is_wire_form(), !raw.is_empty() && wire == raw, "{raw:?}");
            assert_eq!(whole.is_empty(), raw.is_empty());
            for size in [1, 2, 3, 5, 127, 128, 129, 130, 1_000] {
                assert_eq!(measure(raw.chunks(size)), whole, "{raw:?} by {size}");
            }
        }
    }

    #[test]
    fn what_is_received_is_what_was_given() {
        for raw in messages(b"\n\n...abcd", 2_000, 40) {
            let (wire, _) = encode(raw.chunks(7), Form::Data);
            let text = String::from_utf8(wire).unwrap();
            let lines = text.strip_suffix("\r\n").map(|text| text.split("\r\n").collect::<Vec<_>>());
            let lines = lines.unwrap_or_default();
            assert!(!lines.contains(&"."), "a lone dot would end the message: {raw:?}");
            let mut received = String::new();
            for line in lines {
                received.push_str(line.strip_prefix('.').unwrap_or(line));
                received.push('\n');
            }
            let mut given = String::from_utf8(raw).unwrap();
            if !given.is_empty() && !given.ends_with('\n') {
                given.push('\n');
            }
            assert_eq!(received, given);
        }
    }

    #[test]
    fn lines_taken_out_are_taken_off_the_count() {
        for raw in messages(b"\r\n\nab", 2_000, 30) {
            let lines: Vec<_> = raw.split_inclusive(|&o| o == LF).collect();
            for (from, to) in (0..=lines.len()).flat_map(|to| (0..=to).map(move |from| (from, to))) {
                let (head, out, tail) = (&lines[..from], &lines[from..to], &lines[to..]);
                let left = measure(head.iter().chain(tail).copied());
                let whole = measure([raw.as_slice()]);
                assert_eq!(whole.without_lines(&measure(out.iter().copied())), left, "{raw:?} {from}..{to}");
            }
        }
    }
}
