//! What: the message, from a file or a pipe to its octets on the wire.
//!
//! A [`Message`] has been read to its end, and counted, before anybody connects anywhere. From then on it can
//! be read as often as it takes: to several hosts, in further transactions. Its octets are never altered;
//! what does not belong into the mailbox (an mbox line before it, Bcc fields) is left out while reading.
//!
//! Line ends and dots are not dealt with here: see [`lmtp::wire`](crate::lmtp::wire).

pub mod header;
mod source;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;

pub use header::{BadHeader, Field, Header};

use crate::lmtp::wire::Meter;
use crate::lmtp::{Content, Stretch};
use source::{Found, Reader, Source};

/// Why an input is no message.
#[derive(Debug)]
pub enum Unreadable {
    /// There is nothing in it, or nothing but an mbox line, or nothing but fields that are to be left out.
    ///
    /// A single line end is something: the message of one empty line.
    Empty,
    /// It could not be read to its end.
    Input(io::Error),
    /// The temporary file for it could not be written: our own disk, not the input, is in trouble.
    Spool(io::Error),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Empty => f.write_str("the message is empty"),
            Unreadable::Input(error) => write!(f, "cannot read the message to its end: {error}"),
            Unreadable::Spool(error) => write!(f, "cannot keep the message in a temporary file: {error}"),
        }
    }
}

impl std::error::Error for Unreadable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Unreadable::Empty => None,
            Unreadable::Input(error) | Unreadable::Spool(error) => Some(error),
        }
    }
}

/// A message that has been read to its end and can be read again.
pub struct Message {
    source: Source,
    found: Found,
    /// The parts of `found.message` that are sent.
    kept: Vec<Range<u64>>,
    /// Counts the kept parts.
    meter: Meter,
}

impl Message {
    /// The message in a regular file, from the file's current position on. The file is read once, and not copied.
    ///
    /// # Errors
    ///
    /// [`Unreadable::Empty`], or [`Unreadable::Input`].
    pub fn from_file(file: File) -> Result<Self, Unreadable> {
        Self::from_file_while(file, &|| Ok(()))
    }

    /// As [`Message::from_file`], as long as `go_on` returns no error: it is asked again and again.
    ///
    /// # Errors
    ///
    /// [`Unreadable::Empty`], or [`Unreadable::Input`], also with the error of `go_on`.
    pub fn from_file_while(
        file: File,
        go_on: &(dyn Fn() -> io::Result<()> + Sync),
    ) -> Result<Self, Unreadable> {
        Source::from_file(file, go_on).map(Self::new)
    }

    /// Whether the file in which the message stands still is what was read.
    ///
    /// # Errors
    ///
    /// It has been written to, or that cannot be told.
    pub fn is_unchanged(&self) -> io::Result<()> {
        self.source.is_unchanged(self.found.message.end)
    }

    /// The message that comes from `input` until its end: kept in memory, or when it is long in an unlinked
    /// temporary file.
    ///
    /// # Errors
    ///
    /// Any [`Unreadable`]. Whatever error `input` returns ends the reading, `Interrupted` too.
    pub fn from_stream(input: impl Read) -> Result<Self, Unreadable> {
        Source::from_stream(input).map(Self::new)
    }

    fn new((source, found): (Source, Found)) -> Self {
        Self { source, kept: vec![found.message.clone()], meter: found.meter, found }
    }

    /// The octets of the message as RFC 1870 §4 counts them: with CRLF line ends, without stuffed dots.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.meter.octets()
    }

    /// The octets of the message as they are read.
    #[must_use]
    pub fn raw_octets(&self) -> u64 {
        self.meter.raw_octets()
    }

    /// Whether all line ends are CRLF, the last one too, and no CR or LF stands alone: then the octets as they
    /// are read are the message's wire form for BDAT.
    #[must_use]
    pub fn is_wire_form(&self) -> bool {
        self.meter.is_wire_form()
    }

    /// The header of the message as it was given, read anew.
    ///
    /// # Errors
    ///
    /// [`BadHeader`].
    pub fn header(&self) -> Result<Header, BadHeader> {
        let reader = self.source.reader(std::slice::from_ref(&self.found.message));
        Header::read(reader, self.first_line())
    }

    /// The line of the input that the message begins with: the second behind an mbox line.
    #[must_use]
    pub fn first_line(&self) -> usize {
        1 + usize::from(self.found.had_mbox_line)
    }

    /// The Message-ID for a report; `None` when there is none or no header to find it in.
    #[must_use]
    pub fn message_id(&self) -> Option<String> {
        self.header().ok()?.message_id()
    }

    /// Leaves the `unwanted` fields of `header`, which is this message's own, out of what is sent: their
    /// octets and no others. Fields left out by an earlier call are in again.
    ///
    /// # Errors
    ///
    /// [`Unreadable::Empty`] when nothing is left, [`Unreadable::Input`] when the fields cannot be read again.
    /// The message is unchanged then.
    pub fn remove(
        &mut self,
        header: &Header,
        mut unwanted: impl FnMut(&Field<'_>) -> bool,
    ) -> Result<(), Unreadable> {
        let whole = &self.found.message;
        let (mut kept, mut removed) = (Vec::new(), Vec::new());
        let mut kept_from = whole.start;
        for field in header.fields().filter(|field| unwanted(field)) {
            let octets = whole.start + field.octets.start..whole.start + field.octets.end;
            kept.push(kept_from..octets.start);
            kept_from = octets.end;
            removed.push(octets);
        }
        kept.push(kept_from..whole.end);
        kept.retain(|range| !range.is_empty());
        if kept.is_empty() {
            return Err(Unreadable::Empty);
        }
        let mut lines = Meter::default();
        self.source
            .reader(&removed)
            .visit(|piece| {
                lines.push(piece);
                Ok(())
            })
            .map_err(Unreadable::Input)?;
        self.meter = self.found.meter.without_lines(&lines);
        self.kept = kept;
        Ok(())
    }

    /// Opens the message at its beginning, without what is left out.
    #[must_use]
    pub fn open(&self) -> Body<'_> {
        Body { message: self, reader: self.source.reader(&self.kept), passed: false }
    }
}

/// A message being read. Several can be open at once.
pub struct Body<'a> {
    message: &'a Message,
    reader: Reader<'a>,
    /// Some octets were sent from the file.
    passed: bool,
}

impl Body<'_> {
    /// Whether octets were sent from the file without being copied. Until the server has taken them, they are
    /// what stands there then.
    #[must_use]
    pub fn went_from_file(&self) -> bool {
        self.passed
    }
}

impl Content for Body<'_> {
    fn octets(&self) -> u64 {
        self.message.octets()
    }

    fn raw_octets(&self) -> u64 {
        self.message.raw_octets()
    }

    fn rewind(&mut self) -> io::Result<()> {
        *self = self.message.open();
        Ok(())
    }

    /// As [`Content::read`]. A file that has been written to since is not what was counted: that is an error, at
    /// its end.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buf)?;
        if read == 0 && !buf.is_empty() {
            self.message.is_unchanged()?;
        }
        Ok(read)
    }

    fn is_wire_form(&self) -> bool {
        self.message.is_wire_form()
    }

    fn in_file(&mut self) -> Option<Stretch<'_>> {
        self.reader.in_file()
    }

    fn pass(&mut self, octets: u64) {
        self.passed |= octets > 0;
        self.reader.pass(octets);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Seek, SeekFrom, Write};
    use std::os::unix::fs::FileExt;
    use std::thread;
    use std::time::Duration;

    use super::source::MAX_HELD;
    use super::*;
    use crate::lmtp::wire::{Encoder, Form};

    /// The message in `octets`, as a stream and as a file.
    fn both(octets: &[u8]) -> [Result<Message, Unreadable>; 2] {
        [Message::from_stream(octets), Message::from_file(file(octets))]
    }

    fn file(octets: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(octets).unwrap();
        file.rewind().unwrap();
        file
    }

    fn read(content: &mut dyn Content, piece: usize) -> Vec<u8> {
        let (mut octets, mut buf) = (Vec::new(), vec![0; piece]);
        loop {
            match content.read(&mut buf).unwrap() {
                0 => return octets,
                n => octets.extend_from_slice(&buf[..n]),
            }
        }
    }

    /// What is sent of `message`, after checking that every way to read it agrees with what was counted.
    fn sent(message: &Message) -> Vec<u8> {
        let mut body = message.open();
        let octets = read(&mut body, 1_000);
        assert_eq!(octets.len() as u64, message.raw_octets());
        for piece in [1, 7, 100_000].into_iter().filter(|piece| octets.len() / piece < 10_000) {
            body.rewind().unwrap();
            assert!(read(&mut body, piece) == octets, "pieces of {piece}");
        }
        let (mut encoder, mut wire) = (Encoder::new(Form::Bdat), Vec::new());
        encoder.encode(&octets, &mut wire);
        encoder.finish(&mut wire);
        assert_eq!(encoder.octets(), message.octets());
        assert_eq!(message.is_wire_form(), wire == octets);
        octets
    }

    fn without_bcc(octets: &[u8]) -> Vec<Result<Vec<u8>, Unreadable>> {
        let remove = |message: Result<Message, _>| {
            let mut message = message.unwrap();
            let header = message.header().unwrap();
            message.remove(&header, |field| field.is("Bcc"))?;
            Ok(sent(&message))
        };
        both(octets).into_iter().map(remove).collect()
    }

    #[test]
    fn what_is_given_is_what_is_sent() {
        for octets in [
            "\n",
            "\r\n",
            " ",
            "a",
            "a: b\n\nc",
            "\r",
            "a\r\n.\r\n",
            ">From a\nb",
            "from a\n",
            "From",
            "From:a",
            "From : a@b\n",
        ] {
            for message in both(octets.as_bytes()) {
                assert_eq!(sent(&message.unwrap()), octets.as_bytes());
            }
        }
    }

    #[test]
    fn nothing_is_no_message() {
        for octets in ["", "From ", "From a@b Sat Jan  3 01:05:34 1996", "From a@b\n", "From a@b\r\n"] {
            for message in both(octets.as_bytes()) {
                assert!(matches!(message.err(), Some(Unreadable::Empty)), "{octets:?}");
            }
        }
    }

    #[test]
    fn one_mbox_line_is_dropped() {
        let long = format!("From {}\nTo: a\n", "x".repeat(200_000));
        for (octets, expected) in [
            ("From a@b Sat Jan  3 01:05:34 1996\nTo: a\n", "To: a\n"),
            ("From a\rb\r\nTo: a\r\n", "To: a\r\n"),
            ("From a\nFrom b\n", "From b\n"),
            ("From a\n\n", "\n"),
            ("From \n: a\n", ": a\n"),
            (&long, "To: a\n"),
        ] {
            for message in both(octets.as_bytes()) {
                assert_eq!(sent(&message.unwrap()), expected.as_bytes());
            }
        }
    }

    #[test]
    fn a_file_begins_where_its_offset_is() {
        let mut file = file(b"first\nFrom a\nsecond: b\n");
        file.seek(SeekFrom::Start(6)).unwrap();
        let other = file.try_clone().unwrap();
        let message = Message::from_file(file).unwrap();
        assert_eq!(sent(&message), b"second: b\n");
        (&other).seek(SeekFrom::End(0)).unwrap();
        assert_eq!(sent(&message), b"second: b\n", "nobody else's seeking matters");
        let header = message.header().unwrap();
        assert_eq!(header.fields().next().map(|field| field.octets), Some(0..10));
        (&other).seek(SeekFrom::Start(1_000)).unwrap();
        assert!(matches!(Message::from_file(other).err(), Some(Unreadable::Empty)));
    }

    #[test]
    fn a_file_that_changes_is_noticed() {
        let file = file(b"To: a\n\n0123456789");
        let other = file.try_clone().unwrap();
        let message = Message::from_file(file).unwrap();
        // The clock that files are stamped by ticks some hundred times a second.
        thread::sleep(Duration::from_millis(50));
        other.write_all_at(b"more", 17).unwrap();
        let mut body = message.open();
        assert_eq!(body.read(&mut [0; 100]).unwrap(), 17, "what came later is not sent");
        assert!(body.read(&mut [0; 100]).unwrap_err().to_string().contains("has grown"));
        other.set_len(12).unwrap();
        let mut body = message.open();
        assert_eq!(body.read(&mut [0; 100]).unwrap(), 12, "what has gone is missing");
        assert!(body.read(&mut [0; 100]).unwrap_err().to_string().contains("has been changed"));
        // As long as it was, with other octets.
        other.write_all_at(b"\n\n\n\n\n", 12).unwrap();
        let mut body = message.open();
        assert_eq!(body.read(&mut [0; 100]).unwrap(), 17);
        assert!(body.read(&mut [0; 100]).unwrap_err().to_string().contains("has been changed"));
    }

    /// Gives `octets` in pieces, and then its error.
    struct Broken<'a>(&'a [u8], ErrorKind);

    impl Read for Broken<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let room = buf.len().min(1_000);
            match self.0.read(&mut buf[..room])? {
                0 => Err(self.1.into()),
                octets => Ok(octets),
            }
        }
    }

    #[test]
    fn an_input_that_breaks_is_no_message() {
        let long = vec![b'x'; 2 * MAX_HELD];
        for octets in [b"".as_slice(), b"From a\n", b"To: a\n\nb\n", &long] {
            for kind in [ErrorKind::Interrupted, ErrorKind::TimedOut, ErrorKind::BrokenPipe] {
                match Message::from_stream(Broken(octets, kind)).err() {
                    Some(Unreadable::Input(error)) => assert_eq!(error.kind(), kind),
                    other => panic!("{kind}: {other:?}"),
                }
            }
        }
        let directory = File::open("/").unwrap();
        assert!(matches!(Message::from_file(directory).err(), Some(Unreadable::Input(_))));
    }

    /// As many lines as it says, and looks at how much it is asked for at once.
    struct Producer(usize);

    impl Read for Producer {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            assert!(buf.len() <= MAX_HELD);
            let line = b"0123456789abcde\n";
            let octets = buf.len().min(line.len()).min(self.0);
            self.0 -= octets;
            buf[..octets].copy_from_slice(&line[..octets]);
            Ok(octets)
        }
    }

    #[test]
    fn a_long_file_is_counted_in_halves_as_it_is_in_one() {
        let line = b"0123456789\r\n\nFrom a\rb\n.\r\r\n";
        let mut octets = line.repeat(17 * 1024 * 1024 / line.len());
        for (from, to) in [(0, 0), (0, 5), (1, 7)] {
            octets.splice(from..from + to, b"From x\nsecond: b\n".iter().copied());
            octets.pop();
            let [stream, file] = both(&octets).map(Result::unwrap);
            assert_eq!(file.octets(), stream.octets());
            assert_eq!(file.raw_octets(), stream.raw_octets());
            assert_eq!(file.found.message, stream.found.message);
        }
        let file = Message::from_file(file(&b"x".repeat(20 * 1024 * 1024))).unwrap();
        assert_eq!(file.octets(), 20 * 1024 * 1024 + 2, "no line begins in the middle");
    }

    #[test]
    fn memory_is_bounded() {
        for size in [1, 10_000, MAX_HELD - 1, MAX_HELD, MAX_HELD + 1, 10 * 1024 * 1024] {
            let message = Message::from_stream(Producer(size)).unwrap();
            assert_eq!(message.raw_octets(), size as u64);
            match &message.source {
                Source::Memory(held) => assert!(held.capacity() <= MAX_HELD && size < MAX_HELD, "{size}"),
                Source::File(..) => assert!(size >= MAX_HELD, "{size}"),
            }
            assert_eq!(sent(&message).len(), size);
        }
    }

    #[test]
    fn bcc_is_removed_wherever_it_stands() {
        for (given, expected) in [
            ("Bcc: a\nTo: b\n\nc\n", "To: b\n\nc\n"),
            ("To: b\nBcc: a\n\nc\n", "To: b\n\nc\n"),
            ("To: b\nbCC : a,\n\tb,\n  c\nX: d\n\nc", "To: b\nX: d\n\nc"),
            ("Bcc: a\nBcc:\n x\nTo: b\nBcc: c\n\n", "To: b\n\n"),
            ("Bcc:\nTo: b\n\nBcc: body\n", "To: b\n\nBcc: body\n"),
            ("Bcc: a\n\n", "\n"),
            ("To: b\nBcc: a", "To: b\n"),
            ("To: b\nBcc: a\n x\n", "To: b\n"),
            ("From x\nBcc: a\nTo: b\n", "To: b\n"),
            ("To: b\n\nBcc: body", "To: b\n\nBcc: body"),
            ("To: b\nBccx: a\nX-Bcc: a\n", "To: b\nBccx: a\nX-Bcc: a\n"),
        ] {
            for end in ["\n", "\r\n"] {
                let (given, expected) = (given.replace('\n', end), expected.replace('\n', end));
                for sent in without_bcc(given.as_bytes()) {
                    assert_eq!(sent.unwrap(), expected.as_bytes(), "{given:?}");
                }
            }
        }
        for given in ["Bcc: a", "Bcc: a\n", "From x\r\nBcc: a\r\n b\r\nbcc: c\r"] {
            for sent in without_bcc(given.as_bytes()) {
                assert!(matches!(sent, Err(Unreadable::Empty)), "{given:?}");
            }
        }
    }

    #[test]
    fn whatever_else_is_there_stays() {
        let lines = [
            "Bcc: a\n",
            "To: b\n",
            "bcc:\r\n x\r\n",
            "X: c\r d\r\n",
            "Bcc: \r\r\n\ty\n",
            "Y:\n z\n",
            "BCC :",
        ];
        let mut state = 0x5322_u64;
        let mut below = |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % limit
        };
        for _ in 0..2_000 {
            let mut fields: Vec<_> = (0..1 + below(6)).map(|_| lines[below(6)]).collect();
            fields.extend((below(4) == 0).then_some(lines[6]));
            let ended = fields.last().is_some_and(|field| field.ends_with('\n'));
            let body = if ended { ["", "\n", "\r\nBcc: body", "\n\r\n.\r"][below(4)] } else { "" };
            let rest: String =
                fields.iter().filter(|f| !f.to_lowercase().starts_with("bcc")).copied().collect();
            let (given, expected) = (fields.concat() + body, rest + body);
            for sent in without_bcc(given.as_bytes()) {
                assert_eq!(sent.unwrap_or_default(), expected.as_bytes(), "{given:?}");
            }
        }
    }

    #[test]
    fn lone_crs_neither_hide_a_bcc_nor_make_one() {
        for (given, expected) in [
            ("To: b\r\nBcc: a\rx\r\r\n y\r\nX: \r\r\n", "To: b\r\nX: \r\r\n"),
            ("To: b\n\rBcc: a\nX: y\n", "To: b\n\rBcc: a\nX: y\n"),
            ("To: b\rBcc: a\nX: y\n", "To: b\rBcc: a\nX: y\n"),
            ("To: b\n\r\r\nBcc: a\n\n", "To: b\n\r\r\n\n"),
            ("To: b\nBcc: a\r", "To: b\n"),
        ] {
            for sent in without_bcc(given.as_bytes()) {
                assert_eq!(sent.unwrap(), expected.as_bytes(), "{given:?}");
            }
        }
    }

    #[test]
    fn what_is_removed_can_be_in_again() {
        let mut message = Message::from_stream(b"Bcc: a\nTo: b\nCc: c\n".as_slice()).unwrap();
        let header = message.header().unwrap();
        assert!(matches!(message.remove(&header, |_| true), Err(Unreadable::Empty)));
        assert_eq!(sent(&message), b"Bcc: a\nTo: b\nCc: c\n");
        message.remove(&header, |field| field.is("bcc")).unwrap();
        assert_eq!(sent(&message), b"To: b\nCc: c\n");
        message.remove(&header, |field| field.is("cc")).unwrap();
        assert_eq!(sent(&message), b"Bcc: a\nTo: b\n");
    }

    #[test]
    fn the_message_id_is_found_or_not() {
        for (given, id) in [
            ("To: a\nMessage-ID: <a@b>\n\n", Some("<a@b>")),
            ("message-id:\r\n <a@b> \r\n", Some("<a@b>")),
            ("Message-ID: <\x1b[2J@b>\n", Some("<\\x1b[2J@b>")),
            ("Message-ID:\n\n", None),
            ("To: a\n\nMessage-ID: <a@b>\n", None),
            ("Message-ID: <a@b>\nno header\n", None),
        ] {
            let message = Message::from_stream(given.as_bytes()).unwrap();
            assert_eq!(message.message_id().as_deref(), id, "{given:?}");
        }
    }
}
