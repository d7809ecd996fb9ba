//! The message, read from a file or a pipe.
//!
//! A [`Message`] has been read to its end, and counted, before a connection is opened. After that it can be read as often
//! as needed: for several hosts, and in further transactions. Its octets are never changed; what must not reach the
//! mailbox (an mbox line before it, Bcc fields) is left out while reading.
//!
//! Line ends and dots are handled elsewhere: see [`lmtp::wire`](crate::lmtp::wire).
#![cfg_attr(not(feature = "header"), allow(dead_code, reason = "only who reads a header alters a message"))]

#[cfg(feature = "header")]
pub mod header;
mod lone_dot;
pub mod mbox;
mod piece;
mod reading;
#[cfg(test)]
mod slow;
mod store;

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

#[cfg(feature = "header")]
pub use header::{BadHeader, Field, Header};
pub use lone_dot::UntilLoneDot;
pub use store::FileIdentity;

use crate::io_error::words;
use crate::lmtp::wire::Meter;
use crate::lmtp::{Content, Stretch};
use piece::{Piece, Reader};
use reading::Measured;
use store::Store;

/// Why an input is not a message: either the message is at fault, or the system that cannot read it.
#[derive(Debug)]
pub enum Unreadable {
    /// There is nothing in it, or nothing but an mbox line, or nothing but fields that are to be left out.
    ///
    /// A single line end is something: the message of one empty line.
    Empty,
    /// It is to be an mbox, and does not begin with a line of `From `.
    NotMbox,
    /// It could not be read to its end.
    Input(io::Error),
    /// The temporary file for it could not be written: our own disk, not the input, is in trouble.
    Spool(io::Error),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Empty => f.write_str("the message is empty"),
            Unreadable::NotMbox => f.write_str("not an mbox: it does not begin with a 'From ' line"),
            Unreadable::Input(error) => write!(f, "cannot read the message to its end: {}", words(error)),
            Unreadable::Spool(error) => {
                write!(f, "cannot keep the message in a temporary file: {}", words(error))
            }
        }
    }
}

impl std::error::Error for Unreadable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Unreadable::Empty | Unreadable::NotMbox => None,
            Unreadable::Input(error) | Unreadable::Spool(error) => Some(error),
        }
    }
}

/// A message that has been read to its end and can be read again. Clones share what is stored.
#[derive(Clone)]
pub struct Message {
    store: Arc<Store>,
    /// The message as it was given.
    given: Part,
    had_mbox_line: bool,
    /// What was added before it.
    added: Vec<u8>,
    /// The octets of `given` that are left out: positions from its beginning.
    removed: Vec<Range<u64>>,
    /// What is sent, where that is not what was given.
    edited: Option<Part>,
}

/// Pieces, and what is counted in them.
#[derive(Clone)]
struct Part {
    pieces: Vec<Piece>,
    meter: Meter,
}

/// How a regular file is read.
#[non_exhaustive]
pub struct ReadOptions<'a> {
    /// A line of a lone dot ends the message, as for sendmail without `-i`.
    pub until_lone_dot: bool,
    /// Asked again and again: the error that is to end the reading.
    pub go_on: &'a (dyn Fn() -> io::Result<()> + Sync),
}

impl<'a> ReadOptions<'a> {
    /// To the end, unless `go_on` has an error.
    #[must_use]
    pub fn new(go_on: &'a (dyn Fn() -> io::Result<()> + Sync)) -> Self {
        Self { until_lone_dot: false, go_on }
    }
}

impl Message {
    /// The message in a regular file, from the file's current position on. The file is read once; one of more than
    /// 64 KiB is not copied.
    ///
    /// # Errors
    ///
    /// [`Unreadable::Empty`], or [`Unreadable::Input`].
    pub fn from_file(file: File) -> Result<Self, Unreadable> {
        let metadata = file.metadata().map_err(Unreadable::Input)?;
        Self::read_file(file, &metadata, &ReadOptions::new(&|| Ok(())))
    }

    /// As [`Message::from_file`], for a file whose `metadata` is known already.
    ///
    /// # Errors
    ///
    /// Any [`Unreadable`]; [`Unreadable::Input`] also with the error of `go_on`.
    pub fn read_file(file: File, metadata: &Metadata, how: &ReadOptions<'_>) -> Result<Self, Unreadable> {
        reading::file(file, metadata, how.until_lone_dot, how.go_on).map(Self::new)
    }

    /// Whether the file in which the message stands still is what was read. What is kept in memory always is.
    ///
    /// # Errors
    ///
    /// It has been written to, or that cannot be told.
    pub fn is_unchanged(&self) -> io::Result<()> {
        self.store.is_unchanged()
    }

    /// The message that comes from `input` until its end: kept in memory, or when it is long in an unlinked
    /// temporary file.
    ///
    /// # Errors
    ///
    /// Any [`Unreadable`]. Whatever error `input` returns ends the reading, `Interrupted` too.
    pub fn from_stream(input: impl Read) -> Result<Self, Unreadable> {
        reading::stream(input).map(Self::new)
    }

    fn new((store, found): (Store, Measured)) -> Self {
        let given = Part { pieces: vec![Piece::Own(found.message)], meter: found.meter };
        Self {
            store: Arc::new(store),
            given,
            had_mbox_line: found.had_mbox_line,
            added: Vec::new(),
            removed: Vec::new(),
            edited: None,
        }
    }

    /// A message out of an mbox.
    fn of_mbox(store: Arc<Store>, pieces: Vec<Piece>, meter: Meter) -> Self {
        let given = Part { pieces, meter };
        Self { store, given, had_mbox_line: true, added: Vec::new(), removed: Vec::new(), edited: None }
    }

    /// What is sent.
    fn part(&self) -> &Part {
        self.edited.as_ref().unwrap_or(&self.given)
    }

    /// The octets of the message as RFC 1870 §4 counts them: with CRLF line ends, without stuffed dots.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.part().meter.octets()
    }

    /// The octets of the message as they are read.
    #[must_use]
    pub fn raw_octets(&self) -> u64 {
        self.part().meter.raw_octets()
    }

    /// Whether all line ends are CRLF, the last one too, and no CR or LF stands alone: then the octets as they
    /// are read are the message's wire form for BDAT.
    #[must_use]
    pub fn is_wire_form(&self) -> bool {
        self.part().meter.is_wire_form()
    }

    /// The header of the message as it was given, read anew.
    ///
    /// # Errors
    ///
    /// [`BadHeader`].
    #[cfg(feature = "header")]
    pub fn header(&self) -> Result<Header, BadHeader> {
        Header::read(Reader::new(&self.store, &self.given.pieces), self.first_line())
    }

    /// Whether its file seems to be an mbox of several messages: behind a first line of `From `, another such line with
    /// a time in it stands behind an empty line. Only the first 64 KiB are looked at. What git writes before a patch,
    /// which has the same date whenever it was written, is no such line.
    #[must_use]
    pub fn looks_like_mbox(&self) -> bool {
        self.had_mbox_line && mbox::is_several(&self.store.beginning())
    }

    /// Shows the message as it was given to `visit`, in blocks.
    ///
    /// # Errors
    ///
    /// It cannot be read again; and those of `visit`.
    pub fn visit_given(&self, visit: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        Reader::new(&self.store, &self.given.pieces).visit(visit)
    }

    /// The line of the input that the message begins with: the second behind an mbox line.
    #[must_use]
    pub fn first_line(&self) -> usize {
        1 + usize::from(self.had_mbox_line)
    }

    /// The Message-ID for a report; `None` when there is none or no header to find it in.
    #[must_use]
    #[cfg(feature = "header")]
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
    #[cfg(feature = "header")]
    pub fn remove(
        &mut self,
        header: &Header,
        mut unwanted: impl FnMut(&Field<'_>) -> bool,
    ) -> Result<(), Unreadable> {
        let fields = header.fields().filter(|field| unwanted(field));
        let removed: Vec<Range<u64>> = fields.map(|field| field.octets).collect();
        self.edited = self.edit(&self.added, &removed)?;
        self.removed = removed;
        Ok(())
    }

    /// Puts `fields` (whole lines, with CRLF) before the message, behind an mbox line that is dropped anyway. A
    /// message that begins with neither a field nor an empty line has no header: then an empty line is put between
    /// the two. What was put there by an earlier call is gone.
    ///
    /// # Errors
    ///
    /// [`Unreadable::Input`] when the message cannot be read again. It is unchanged then.
    #[cfg(feature = "header")]
    pub fn add_fields(&mut self, fields: &str) -> Result<(), Unreadable> {
        let mut added = fields.as_bytes().to_vec();
        match self.header() {
            Err(BadHeader::Input(error)) => return Err(Unreadable::Input(error)),
            Err(BadHeader::NotAField(line, _)) if line == self.first_line() && !added.is_empty() => {
                added.extend_from_slice(b"\r\n");
            }
            Ok(_) | Err(BadHeader::NotAField(..) | BadHeader::TooLong) => {}
        }
        self.edited = self.edit(&added, &self.removed)?;
        self.added = added;
        Ok(())
    }

    /// What is sent with `added` before the message, and without what stands at the positions `removed`.
    fn edit(&self, added: &[u8], removed: &[Range<u64>]) -> Result<Option<Part>, Unreadable> {
        if added.is_empty() && removed.is_empty() {
            return Ok(None);
        }
        let mut lines = Meter::default();
        let unwanted: Vec<Piece> =
            removed.iter().flat_map(|range| piece::part(&self.given.pieces, range.clone())).collect();
        let counted = Reader::new(&self.store, &unwanted).visit(|piece| {
            lines.push(piece);
            Ok(())
        });
        counted.map_err(Unreadable::Input)?;
        let mut meter = Meter::default();
        meter.push(added);
        let meter = meter.followed_by(&self.given.meter.without_lines(&lines));
        if meter.is_empty() {
            return Err(Unreadable::Empty);
        }
        let mut pieces = piece::without(&self.given.pieces, removed);
        if !added.is_empty() {
            pieces.insert(0, Piece::Added(added.into()));
        }
        Ok(Some(Part { pieces, meter }))
    }

    /// Opens the message at its beginning, without what is left out.
    #[must_use]
    pub fn open(&self) -> MessageReader<'_> {
        let reader = Reader::new(&self.store, &self.part().pieces);
        MessageReader { message: self, reader, passed: false }
    }
}

/// A message being read. Several can be open at once.
pub struct MessageReader<'a> {
    message: &'a Message,
    reader: Reader<'a>,
    /// Some octets were sent from the file.
    passed: bool,
}

impl MessageReader<'_> {
    /// Whether octets were sent from the file without being copied. Until the server has taken them, they are
    /// what stands there then.
    #[must_use]
    pub fn went_from_file(&self) -> bool {
        self.passed
    }
}

impl Content for MessageReader<'_> {
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
#[cfg(feature = "header")]
mod tests {
    use std::io::{ErrorKind, Seek, SeekFrom, Write};
    use std::os::unix::fs::FileExt;
    use std::thread;
    use std::time::Duration;

    use super::reading::{MAX_HELD, MAX_KEPT};
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

    /// Text that makes a file too long to be kept.
    fn long_text() -> String {
        "and so on\n".repeat(7_000)
    }

    #[test]
    fn a_file_begins_where_its_offset_is() {
        for rest in [String::new(), long_text()] {
            let mut file = file(format!("first\nFrom a\nsecond: b\n\n{rest}").as_bytes());
            file.seek(SeekFrom::Start(6)).unwrap();
            let other = file.try_clone().unwrap();
            let message = Message::from_file(file).unwrap();
            let expected = format!("second: b\n\n{rest}");
            assert_eq!(sent(&message), expected.as_bytes());
            (&other).seek(SeekFrom::End(0)).unwrap();
            assert_eq!(sent(&message), expected.as_bytes(), "nobody else's seeking matters");
            let header = message.header().unwrap();
            assert_eq!(header.fields().next().map(|field| field.octets), Some(0..10));
            (&other).seek(SeekFrom::Start(100_000)).unwrap();
            assert!(matches!(Message::from_file(other).err(), Some(Unreadable::Empty)));
        }
    }

    #[test]
    fn a_small_file_is_kept_and_a_larger_one_is_not() {
        for octets in [1, 100, 8_191, 8_192, 8_193, 65_535, 65_536, 65_537, 100_000] {
            let text = vec![b'x'; octets];
            let file = file(&text);
            let message = Message::from_file(file.try_clone().unwrap()).unwrap();
            assert_eq!(matches!(&*message.store, Store::Memory(_)), octets as u64 <= MAX_KEPT, "{octets}");
            assert_eq!(sent(&message), text);
            if octets as u64 <= MAX_KEPT {
                file.set_len(0).unwrap();
                assert_eq!(sent(&message), text, "what becomes of the file is of no interest");
            }
        }
    }

    #[test]
    fn a_file_whose_length_is_not_known_is_read_to_its_end() {
        let mut file = file(long_text().as_bytes());
        for known in [0, 1, 10_000, MAX_KEPT] {
            let shorter = tempfile::tempfile().unwrap();
            shorter.set_len(known).unwrap();
            file.rewind().unwrap();
            let how = ReadOptions::new(&|| Ok(()));
            let metadata = shorter.metadata().unwrap();
            let message = Message::read_file(file.try_clone().unwrap(), &metadata, &how).unwrap();
            assert_eq!(sent(&message), long_text().as_bytes(), "{known}");
        }
    }

    #[test]
    fn a_lone_dot_ends_a_file_that_is_typed() {
        let body = long_text();
        for text in ["", &body] {
            for (given, expected) in [
                (format!("To: a\n\n{text}b\n.\nrest\n"), Some(format!("To: a\n\n{text}b\n"))),
                (format!("From x\nTo: a\n\n{text}.\r\n"), Some(format!("To: a\n\n{text}"))),
                (format!("{text}..\n.a\n.\n{text}"), Some(format!("{text}..\n.a\n"))),
                (format!("a\n{text}"), Some(format!("a\n{text}"))),
                (format!(".\n{text}"), None),
            ] {
                let file = file(given.as_bytes());
                let metadata = file.metadata().unwrap();
                let how = ReadOptions { until_lone_dot: true, go_on: &|| Ok(()) };
                let message = Message::read_file(file, &metadata, &how);
                assert_eq!(message.map(|m| sent(&m)).ok(), expected.map(String::into_bytes));
            }
        }
    }

    #[test]
    fn fields_are_added_before_the_header() {
        let fields = "Date: now\r\nFrom: me\r\n";
        for (given, expected) in [
            ("To: a\n\nb\n", "To: a\n\nb\n"),
            ("From x\nTo: a\n\nb\n", "To: a\n\nb\n"),
            ("\nb\n", "\nb\n"),
            ("body\nTo: a\n", "\r\nbody\nTo: a\n"),
            ("From x\nbody\n", "\r\nbody\n"),
            ("To: a\nno field\n", "To: a\nno field\n"),
            ("To: a\r\n\r\nb", "To: a\r\n\r\nb"),
        ] {
            for message in both(given.as_bytes()) {
                let mut message = message.unwrap();
                message.add_fields(fields).unwrap();
                assert_eq!(sent(&message), [fields, expected].concat().as_bytes(), "{given:?}");
                message.add_fields("").unwrap();
                assert!(given.as_bytes().ends_with(&sent(&message)), "{given:?}: as it was");
            }
        }
    }

    #[test]
    fn fields_are_added_and_others_removed() {
        let mut message = Message::from_stream(b"Bcc: a\nTo: b\n".as_slice()).unwrap();
        let header = message.header().unwrap();
        message.add_fields("X: 1\r\n").unwrap();
        message.remove(&header, |field| field.is("Bcc")).unwrap();
        assert_eq!(sent(&message), b"X: 1\r\nTo: b\n");
        message.add_fields("Y: 2\r\n").unwrap();
        assert_eq!(sent(&message), b"Y: 2\r\nTo: b\n");
        message.remove(&header, |_| true).unwrap();
        assert_eq!(sent(&message), b"Y: 2\r\n");
        assert!(matches!(message.add_fields(""), Err(Unreadable::Empty)));
        assert_eq!(sent(&message.clone()), b"Y: 2\r\n");
    }

    #[test]
    fn a_file_that_changes_is_noticed() {
        let text = long_text();
        let length = text.len();
        let file = file(text.as_bytes());
        let other = file.try_clone().unwrap();
        let message = Message::from_file(file).unwrap();
        // The clock that files are stamped by ticks some hundred times a second.
        thread::sleep(Duration::from_millis(50));
        other.write_all_at(b"more", length as u64).unwrap();
        assert_eq!(read_until_it_fails(&message, "has grown"), length, "what came later is not sent");
        other.set_len(12).unwrap();
        assert_eq!(read_until_it_fails(&message, "has been changed"), 12, "what has gone is missing");
        // As long as it was, with other octets.
        other.set_len(length as u64).unwrap();
        assert_eq!(read_until_it_fails(&message, "has been changed"), length);
    }

    /// How many octets of `message` can be read before its end fails for this reason.
    fn read_until_it_fails(message: &Message, why: &str) -> usize {
        let mut body = message.open();
        let mut octets = 0;
        loop {
            match body.read(&mut [0; 1_000]) {
                Ok(0) => panic!("the end came"),
                Ok(read) => octets += read,
                Err(error) => {
                    assert!(error.to_string().contains(why), "{error}");
                    return octets;
                }
            }
        }
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
            assert_eq!(file.given.pieces, stream.given.pieces);
        }
        let file = Message::from_file(file(&b"x".repeat(20 * 1024 * 1024))).unwrap();
        assert_eq!(file.octets(), 20 * 1024 * 1024 + 2, "no line begins in the middle");
    }

    #[test]
    fn memory_is_bounded() {
        for size in [1, 10_000, MAX_HELD - 1, MAX_HELD, MAX_HELD + 1, 10 * 1024 * 1024] {
            let message = Message::from_stream(Producer(size)).unwrap();
            assert_eq!(message.raw_octets(), size as u64);
            match &*message.store {
                Store::Memory(held) => assert!(held.capacity() <= MAX_HELD && size < MAX_HELD, "{size}"),
                Store::File(..) => assert!(size >= MAX_HELD, "{size}"),
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
