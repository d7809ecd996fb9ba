//! Messages out of an mbox (RFC 4155; mboxrd and mboxo as in qmail's mbox(5)), one after the other.
//!
//! - A message begins behind a line that begins with `From `, and ends before the next such line or at the end of
//!   the mbox. The dates and addresses on those lines are not looked at, and no `Content-Length` is believed.
//! - The empty line before such a line, or before the end, belongs to the mbox and not to the message.
//! - Of a line of `>`s and `From ` one `>` is taken away: it was put there when the message was stored.
//! - Lines end in LF or CRLF, which stay what they are.
//!
//! An mbox is read once, in blocks: memory grows neither with it nor with its messages. Of an mbox in a regular
//! file, messages of more than 64 KiB are not copied; a message in which very many lines were quoted is.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::sync::Arc;

use memchr::{memchr_iter, memmem};

use super::piece::{Piece, Reader};
use super::reading::{MAX_HELD, MAX_KEPT};
use super::store::{FileIdentity, Store};
use super::{Message, Unreadable};
use crate::lmtp::wire::Meter;

/// What begins the line before each message.
const FROM: &[u8] = b"From ";
/// Octets that are read at a time.
const BLOCK: usize = 64 * 1024;
/// The most `>`s that are taken for a quoted line: more than a line of mail may hold (RFC 5322 §2.1.1).
const MAX_QUOTES: usize = 998;
/// The most pieces of a file that one message is put together from.
const MAX_PIECES: usize = 16 * 1024;

/// The date that git writes on the line before each patch.
const OF_GIT: &[u8] = b" Mon Sep 17 00:00:00 2001";

/// Whether `octets` are the beginning of an mbox with more than one message.
pub(super) fn is_several(octets: &[u8]) -> bool {
    let starts_message = |line: &[u8]| {
        let line = line.trim_ascii_end();
        line.starts_with(FROM) && !line.ends_with(OF_GIT) && line.contains(&b':')
    };
    let mut lines = octets.split(|octet| *octet == b'\n');
    let mut after_empty = false;
    lines.next().is_some_and(starts_message)
        && lines.any(|line| {
            let found = after_empty && starts_message(line);
            after_empty = line.trim_ascii().is_empty();
            found
        })
}

/// Which lines had a `>` put before them when they were stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quoting {
    /// `From ` and all that looks like a quoted one: each has lost nothing when one `>` is taken away.
    #[default]
    Mboxrd,
    /// `From ` only: `>>From ` was written by somebody.
    Mboxo,
}

/// An mbox that is being read.
pub struct Mbox {
    quoting: Quoting,
    /// The regular file that it is, if it is one.
    file: Option<Arc<Store>>,
    /// What was read and is not behind us: `buffer[at..end]`.
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    /// The place of `buffer[at]` in the mbox.
    position: u64,
    /// The input has come to its end.
    at_end: bool,
    messages: u64,
}

impl Mbox {
    /// An mbox that comes from somewhere.
    #[must_use]
    pub fn new(quoting: Quoting) -> Self {
        Self {
            quoting,
            file: None,
            buffer: vec![0; BLOCK],
            at: 0,
            end: 0,
            position: 0,
            at_end: false,
            messages: 0,
        }
    }

    /// An mbox in a regular file of this identity, from the file's current position on, where the input is to be
    /// read from as well.
    ///
    /// # Errors
    ///
    /// The position is not known.
    pub fn in_file(mut file: File, identity: FileIdentity, quoting: Quoting) -> io::Result<Self> {
        let position = file.stream_position()?;
        let file = Some(Arc::new(Store::File(file, Some(identity))));
        Ok(Self { file, position, ..Self::new(quoting) })
    }

    /// The number of the message that [`next`](Mbox::next) came to last, from 1 on.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.messages
    }

    /// Whether there may be another message; `false`: this is the end.
    #[must_use]
    pub fn may_have_next(&self) -> bool {
        self.at < self.end || !self.at_end
    }

    /// Whether all of the next message has been read, and need not be waited for.
    #[must_use]
    pub fn holds_next(&self) -> bool {
        self.at_end || memmem::find(self.rest(), b"\nFrom ").is_some()
    }

    /// The next message; `None` behind the last one. The mbox is read from `input`, which must go on where the
    /// call before has left it. Whatever error it returns ends the reading, `Interrupted` too.
    ///
    /// # Errors
    ///
    /// [`Unreadable::Empty`] for a message that is none; the next one can be asked for. After any other
    /// [`Unreadable`] there is no way on: the rest of the mbox cannot be read, or it is not one.
    pub fn next(&mut self, input: &mut dyn Read) -> Result<Option<Message>, Unreadable> {
        if !self.begins(input)? {
            return Ok(None);
        }
        self.messages += 1;
        self.skip_line(input)?;
        let mut member = Member::new(self.file.clone());
        loop {
            match self.ahead(input)? {
                LineKind::Text => {}
                LineKind::Quoted => self.advance(1),
                LineKind::LastEmpty(octets) => break self.advance(octets),
                LineKind::From | LineKind::End => break,
            }
            self.copy_line(input, &mut member)?;
        }
        self.is_unchanged()?;
        member.finish().map(Some)
    }

    /// Whether a message begins here: else this is the end, or no mbox.
    fn begins(&mut self, input: &mut dyn Read) -> Result<bool, Unreadable> {
        match self.ahead(input)? {
            LineKind::From => Ok(true),
            LineKind::End => Ok(false),
            LineKind::Text | LineKind::Quoted | LineKind::LastEmpty(_) => Err(Unreadable::NotMbox),
        }
    }

    /// What the line that begins here is.
    fn ahead(&mut self, input: &mut dyn Read) -> Result<LineKind, Unreadable> {
        loop {
            if let Some(line) = LineKind::of(self.rest(), self.at_end, self.quoting) {
                return Ok(line);
            }
            self.read_on(input)?;
        }
    }

    /// Goes behind the end of the line.
    fn skip_line(&mut self, input: &mut dyn Read) -> Result<(), Unreadable> {
        loop {
            let found = memchr::memchr(b'\n', self.rest());
            self.advance(found.map_or(self.rest().len(), |end| end + 1));
            if found.is_some() || self.at_end {
                return Ok(());
            }
            self.read_on(input)?;
        }
    }

    /// Copies this line, and those behind it that certainly are text, to `member`.
    fn copy_line(&mut self, input: &mut dyn Read, member: &mut Member) -> Result<(), Unreadable> {
        loop {
            let (octets, ended) = text(self.rest());
            member.push(self.rest().get(..octets).unwrap_or_default(), self.position)?;
            self.advance(octets);
            if ended || self.at_end {
                return Ok(());
            }
            self.read_on(input)?;
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..self.end).unwrap_or_default()
    }

    fn advance(&mut self, octets: usize) {
        self.at += octets;
        self.position += octets as u64;
    }

    /// Reads more behind what there is.
    fn read_on(&mut self, input: &mut dyn Read) -> Result<(), Unreadable> {
        self.buffer.copy_within(self.at..self.end, 0);
        (self.at, self.end) = (0, self.end - self.at);
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let read = input.read(room).map_err(Unreadable::Input)?;
        self.at_end = read == 0;
        self.end += read;
        Ok(())
    }

    fn is_unchanged(&self) -> Result<(), Unreadable> {
        self.file.as_ref().map_or(Ok(()), |store| store.is_unchanged()).map_err(Unreadable::Input)
    }
}

/// What a line is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineKind {
    /// The line before a message.
    From,
    /// Its first `>` was put there.
    Quoted,
    /// The message's.
    Text,
    /// An empty line of so many octets that is followed by [`LineKind::From`] or [`LineKind::End`].
    LastEmpty(usize),
    /// There is none: the mbox ends here.
    End,
}

impl LineKind {
    /// The line that `rest` begins with; `None` where that depends on what follows.
    fn of(rest: &[u8], at_end: bool, quoting: Quoting) -> Option<Self> {
        let empty = |octets: usize, after: &[u8]| match after {
            [] => at_end.then_some(LineKind::LastEmpty(octets)),
            _ => {
                is_from(after, at_end).map(|is| if is { LineKind::LastEmpty(octets) } else { LineKind::Text })
            }
        };
        match rest {
            [] => at_end.then_some(LineKind::End),
            [b'\n', after @ ..] => empty(1, after),
            [b'\r', b'\n', after @ ..] => empty(2, after),
            [b'\r'] if !at_end => None,
            [b'>', ..] => {
                let quotes = rest.iter().take_while(|octet| **octet == b'>').count();
                if quotes > MAX_QUOTES || (quotes > 1 && quoting == Quoting::Mboxo) {
                    return Some(LineKind::Text);
                }
                let after = rest.get(quotes..).unwrap_or_default();
                is_from(after, at_end).map(|is| if is { LineKind::Quoted } else { LineKind::Text })
            }
            _ => is_from(rest, at_end).map(|is| if is { LineKind::From } else { LineKind::Text }),
        }
    }
}

/// Whether `octets` begin as the line before a message does; `None` where that depends on what follows.
fn is_from(octets: &[u8], at_end: bool) -> Option<bool> {
    if octets.len() < FROM.len() && !at_end && FROM.starts_with(octets) {
        return None;
    }
    Some(octets.starts_with(FROM))
}

/// How many octets go by before a line begins that has to be looked at; and whether one does. The first line is
/// not looked at.
fn text(octets: &[u8]) -> (usize, bool) {
    let may_matter = |end: &usize| !matches!(octets.get(end + 1), Some(octet) if !b"F>\r\n".contains(octet));
    match memchr_iter(b'\n', octets).find(may_matter) {
        Some(end) => (end + 1, true),
        None => (octets.len(), false),
    }
}

/// A message that is being taken out.
struct Member {
    file: Option<Arc<Store>>,
    /// Where it stands in the file.
    pieces: Vec<Piece>,
    kept: Kept,
    meter: Meter,
}

/// Where a message's octets are kept.
enum Kept {
    Memory(Vec<u8>),
    /// Where they were.
    File,
    Spool(BufWriter<File>),
}

impl Member {
    fn new(file: Option<Arc<Store>>) -> Self {
        Self { file, pieces: Vec::new(), kept: Kept::Memory(Vec::new()), meter: Meter::default() }
    }

    /// Takes its next octets, which stand at `position` in the mbox.
    fn push(&mut self, octets: &[u8], position: u64) -> Result<(), Unreadable> {
        self.meter.push(octets);
        match &mut self.kept {
            Kept::Memory(kept) => kept.extend_from_slice(octets),
            Kept::Spool(spool) => return spool.write_all(octets).map_err(Unreadable::Spool),
            Kept::File => {}
        }
        if self.file.is_some() {
            self.extend(position, octets.len() as u64);
        }
        self.make_room().map_err(Unreadable::Spool)
    }

    fn extend(&mut self, position: u64, octets: u64) {
        match self.pieces.last_mut() {
            Some(Piece::Own(range)) if range.end == position => range.end += octets,
            _ => self.pieces.push(Piece::Own(position..position + octets)),
        }
    }

    /// Keeps what there is somewhere else when there is too much of it.
    fn make_room(&mut self) -> io::Result<()> {
        match (&self.kept, &self.file) {
            (Kept::Memory(kept), None) if kept.len() > MAX_HELD => {
                let mut spool = BufWriter::with_capacity(BLOCK, tempfile::tempfile()?);
                spool.write_all(kept)?;
                self.kept = Kept::Spool(spool);
            }
            (Kept::Memory(kept), Some(_)) if kept.len() as u64 > MAX_KEPT => self.kept = Kept::File,
            (Kept::File, Some(store)) if self.pieces.len() > MAX_PIECES => {
                let mut spool = BufWriter::with_capacity(BLOCK, tempfile::tempfile()?);
                Reader::new(store, &self.pieces).visit(|block| spool.write_all(block))?;
                self.kept = Kept::Spool(spool);
                self.pieces = Vec::new();
            }
            (Kept::Memory(_) | Kept::File | Kept::Spool(_), _) => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Message, Unreadable> {
        let octets = self.meter.raw_octets();
        if octets == 0 {
            return Err(Unreadable::Empty);
        }
        let whole = || vec![Piece::Own(0..octets)];
        let (store, pieces) = match (self.kept, self.file) {
            (Kept::File, Some(store)) => (store, self.pieces),
            (Kept::Memory(kept), _) => (Arc::new(Store::Memory(kept)), whole()),
            (Kept::Spool(spool), _) => {
                let file = spool.into_inner().map_err(|e| Unreadable::Spool(e.into_error()))?;
                (Arc::new(Store::File(file, None)), whole())
            }
            (Kept::File, None) => (Arc::new(Store::Memory(Vec::new())), Vec::new()),
        };
        Ok(Message::of_mbox(store, pieces, self.meter))
    }
}

#[cfg(test)]
mod tests {
    use super::super::slow::Slow;
    use super::*;
    use crate::lmtp::Content;

    fn content(message: &Message) -> Vec<u8> {
        let (mut body, mut read, mut buf) = (message.open(), Vec::new(), vec![0; 70_000]);
        while let octets @ 1.. = body.read(&mut buf).unwrap() {
            read.extend_from_slice(&buf[..octets]);
        }
        assert_eq!(read.len() as u64, message.raw_octets());
        let mut meter = Meter::default();
        meter.push(&read);
        assert_eq!((meter.octets(), meter.is_wire_form()), (message.octets(), message.is_wire_form()));
        read
    }

    /// The messages of an mbox, or why there is none; at the first failure that is final it ends.
    fn split(mut mbox: Mbox, input: &mut dyn Read) -> Vec<Result<Vec<u8>, String>> {
        let mut all = Vec::new();
        loop {
            match mbox.next(input) {
                Ok(None) => {
                    assert!(!mbox.may_have_next());
                    return all;
                }
                Ok(Some(message)) => all.push(Ok(content(&message))),
                Err(error) => {
                    all.push(Err(error.to_string()));
                    if !matches!(error, Unreadable::Empty) {
                        return all;
                    }
                }
            }
        }
    }

    /// The messages of `octets`, the same from a stream in pieces of any size and from a file.
    fn messages(octets: &[u8], quoting: Quoting) -> Vec<Result<Vec<u8>, String>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before").unwrap();
        file.write_all(octets).unwrap();
        file.seek(io::SeekFrom::Start(6)).unwrap();
        let identity = FileIdentity::of(&file.metadata().unwrap());
        let mbox = Mbox::in_file(file.try_clone().unwrap(), identity, quoting).unwrap();
        let found = split(mbox, &mut file);
        for piece in [1, 2, 3, 5, 4_096, 1_000_000].into_iter().filter(|p| octets.len() / p < 100_000) {
            let again = split(Mbox::new(quoting), &mut Slow(octets, piece));
            assert!(again == found, "in pieces of {piece}");
        }
        found
    }

    fn texts(octets: &str, quoting: Quoting) -> Vec<String> {
        let text = |message: Result<Vec<u8>, String>| String::from_utf8(message.unwrap()).unwrap();
        messages(octets.as_bytes(), quoting).into_iter().map(text).collect()
    }

    #[test]
    fn an_mbox_of_several_messages_is_told_from_a_message_with_a_line_before_it() {
        let first = "From me@x.example Sat Jan  3 01:05:34 1996\nTo: a\n\ntext\n";
        let patch = format!("From {} Mon Sep 17 00:00:00 2001\nSubject: x\n\ntext\n", "0a".repeat(20));
        for (octets, expected) in [
            (first.to_owned(), false),
            (format!("{first}\n{first}"), true),
            (format!("{first}\n{first}").replace('\n', "\r\n"), true),
            (format!("{first}{first}"), false),
            (format!("{first}\nFrom here on it rains.\n"), false),
            (format!("{patch}\n{patch}"), false),
            (format!("To: a\n\n{first}\n{first}"), false),
        ] {
            assert_eq!(is_several(octets.as_bytes()), expected, "{octets:?}");
        }
    }

    #[test]
    fn an_mbox_is_its_messages() {
        let table: [(&str, &[&str]); 14] = [
            ("", &[]),
            ("From a\nA: 1\n\nb\n\n", &["A: 1\n\nb\n"]),
            ("From a\nA: 1\n\nb\n", &["A: 1\n\nb\n"]),
            ("From a\nA: 1\n\nb", &["A: 1\n\nb"]),
            ("From a\nA: 1\n\nb\n\nFrom c\nC: 1\n", &["A: 1\n\nb\n", "C: 1\n"]),
            ("From a\nA: 1\n\nb\nFrom c\nC: 1\n", &["A: 1\n\nb\n", "C: 1\n"]),
            ("From a\nA: 1\n\nb\n\n\n\nFrom c\nC: 1\n\n\n", &["A: 1\n\nb\n\n\n", "C: 1\n\n"]),
            ("From a\nA: 1\n\nFrom c\nC: 1\n", &["A: 1\n", "C: 1\n"]),
            ("From a\n\n\nFrom c\n\nb\n", &["\n", "\nb\n"]),
            (
                "From a\nFrom: 1\nFromage\n From x\nfrom x\nFROM x\n",
                &["From: 1\nFromage\n From x\nfrom x\nFROM x\n"],
            ),
            (
                "From a\n>From b\n>>From c\n> From d\n>Fromage\nx >From e\n>\n>",
                &["From b\n>From c\n> From d\n>Fromage\nx >From e\n>\n>"],
            ),
            ("From a\n\n>From b\n\n>>>From \n\n", &["\nFrom b\n\n>>From \n"]),
            ("From a\nb\n>From", &["b\n>From"]),
            ("From a\nb\nFrom", &["b\nFrom"]),
        ];
        for (given, expected) in table {
            assert_eq!(texts(given, Quoting::Mboxrd), expected, "{given:?}");
            let crlf = |text: &str| text.replace('\n', "\r\n");
            let expected: Vec<String> = expected.iter().map(|text| crlf(text)).collect();
            assert_eq!(texts(&crlf(given), Quoting::Mboxrd), expected, "{given:?} with CRLF");
        }
    }

    #[test]
    fn mboxo_has_quoted_once_only() {
        let given = "From a\n>From b\n>>From c\n>>>From d\n";
        assert_eq!(texts(given, Quoting::Mboxo), ["From b\n>>From c\n>>>From d\n"]);
        assert_eq!(texts(given, Quoting::Mboxrd), ["From b\n>From c\n>>From d\n"]);
    }

    #[test]
    fn what_is_no_mbox_or_no_message_is_said() {
        for given in ["To: a\n\nb\n", "\nFrom a\n", ">From a\nb\n", "From", "\n", "\r"] {
            let found = messages(given.as_bytes(), Quoting::Mboxrd);
            assert_eq!(found, [Err(Unreadable::NotMbox.to_string())], "{given:?}");
        }
        let empty = || Err(Unreadable::Empty.to_string());
        for given in ["From a\n\nFrom b\nB: 1\n", "From a\nFrom b\nB: 1\n", "From a\r\n\r\nFrom b\r\nB: 1\n"]
        {
            let found = messages(given.as_bytes(), Quoting::Mboxrd);
            assert_eq!(found, [empty(), Ok(b"B: 1\n".to_vec())], "{given:?}");
        }
        for given in ["From ", "From a", "From a\n", "From a\n\n", "From a\r\n\r\n"] {
            assert_eq!(messages(given.as_bytes(), Quoting::Mboxrd), [empty()], "{given:?}");
        }
    }

    #[test]
    fn long_messages_stay_in_their_file_and_are_spooled_from_a_stream() {
        let line = "0123456789 and so on\r\n";
        for length in [60_000, 65_000, 70_000, 600_000] {
            let text = line.repeat(length / line.len());
            let given = format!("From a\n{text}>From b\n{text}\nFrom c\n{text}\n>>From d\n\nFrom e\nx\n");
            let expected = [format!("{text}From b\n{text}"), format!("{text}\n>From d\n"), "x\n".to_owned()];
            assert!(texts(&given, Quoting::Mboxrd) == expected, "{length}");
        }
    }

    #[test]
    fn very_many_quoted_lines_take_no_memory() {
        let quoted = ">From x\n".repeat(2 * MAX_PIECES);
        let plain = "From x\n".repeat(2 * MAX_PIECES);
        assert!(
            texts(&format!("From a\n{quoted}\nFrom b\n{quoted}"), Quoting::Mboxrd)
                == [plain.as_str(), &plain]
        );
        let many = format!("From a\n{}From b\nc\n", ">".repeat(200_000));
        assert!(texts(&many, Quoting::Mboxrd) == [&many["From a\n".len()..]]);
        let longest = format!("From a\n{}From b\n", ">".repeat(MAX_QUOTES));
        assert!(texts(&longest, Quoting::Mboxrd) == [&longest["From a\n>".len()..]]);
    }

    #[test]
    fn an_mbox_that_is_written_to_is_not_read_on() {
        let long = "0123456789\n".repeat(10_000);
        let mut file = tempfile::tempfile().unwrap();
        write!(file, "From a\n{long}\nFrom b\n{long}").unwrap();
        file.rewind().unwrap();
        let identity = FileIdentity::of(&file.metadata().unwrap());
        let mut mbox = Mbox::in_file(file.try_clone().unwrap(), identity, Quoting::Mboxrd).unwrap();
        let first = mbox.next(&mut file).unwrap().unwrap();
        assert!(first.is_unchanged().is_ok() && mbox.may_have_next() && !mbox.holds_next());
        file.set_len(220_100).unwrap();
        assert!(first.is_unchanged().is_err());
        let next = mbox.next(&mut file);
        assert!(
            matches!(&next, Err(Unreadable::Input(e)) if e.to_string().contains("grown")),
            "{:?}",
            next.err()
        );
    }

    #[test]
    fn an_input_that_breaks_ends_the_mbox() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::TimedOut.into())
            }
        }
        let mut input = b"From a\nA: 1\n\nFrom b\nB".as_slice().chain(Broken);
        let mut mbox = Mbox::new(Quoting::Mboxrd);
        assert_eq!(content(&mbox.next(&mut input).unwrap().unwrap()), b"A: 1\n");
        assert!(mbox.may_have_next() && !mbox.holds_next());
        assert!(matches!(mbox.next(&mut input), Err(Unreadable::Input(_))));
        assert_eq!(mbox.number(), 2);
    }
}
