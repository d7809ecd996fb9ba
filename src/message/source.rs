//! Where a message's octets are: in memory, in the file they were given in, or in a temporary file.
//!
//! A regular file is never copied, and never mapped into memory (it may shrink, and that would kill the
//! program); it is read by position, so whoever else has the descriptor is not disturbed. A stream is kept in
//! memory up to [`MAX_HELD`], and from there on in a temporary file without a name, which is gone with the
//! program however that ends.
//!
//! Reading a stream never goes on after [`io::ErrorKind::Interrupted`]: a reader uses it to say that the run
//! was told to stop.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::thread;

use super::Unreadable;
use crate::lmtp::Stretch;
use crate::lmtp::wire::Meter;
use crate::scan;

/// As much of a stream as is held in memory: room for nearly all mail without attachments, and little beside
/// the 4 MiB that the program takes for a small message.
pub(super) const MAX_HELD: usize = 512 * 1024;
/// Octets read at first: most mail fits, and clearing more would cost more than reading it.
const FIRST_PIECE: usize = 8 * 1024;
/// Octets of a long file read at a time.
const PIECE: usize = 64 * 1024;
/// Octets of a file that is worth a second thread.
const LONG: u64 = 16 * 1024 * 1024;
/// What an mbox puts before each message (RFC 4155).
const MBOX_LINE: &[u8] = b"From ";

/// The octets as they came, an mbox line before the message included.
pub(super) enum Source {
    Memory(Vec<u8>),
    /// A file, and the time by which it is known; our own spool has none, for nobody else can write to it.
    File(File, Option<Modified>),
}

/// Asked between pieces of a long file, which takes its time to read: the error that is to end the reading.
pub(super) type GoOn<'a> = &'a (dyn Fn() -> io::Result<()> + Sync);

/// When a file was last modified: seconds and nanoseconds.
type Modified = (i64, i64);

/// What reading a source to its end has found.
pub(super) struct Found {
    /// The source's positions from the message's first octet to its last.
    pub(super) message: Range<u64>,
    /// Whether there was an mbox line before it.
    pub(super) had_mbox_line: bool,
    pub(super) meter: Meter,
}

impl Source {
    /// Reads `file` from its current position to its end, as long as `go_on` lets it: it can be read, and this is
    /// what is in it.
    pub(super) fn from_file(mut file: File, go_on: GoOn<'_>) -> Result<(Self, Found), Unreadable> {
        let start = file.stream_position().map_err(Unreadable::Input)?;
        let metadata = file.metadata().map_err(Unreadable::Input)?;
        let length = metadata.len();
        let source = Source::File(file, Some(modified(&metadata)));
        let count = source.count(start, length, go_on).map_err(Unreadable::Input)?;
        Ok((source, count.found(start)?))
    }

    /// Counts what stands from `start` on in a file of about `length` octets. Counting a long one takes a
    /// quarter of the time of sending it, unless two threads do it.
    fn count(&self, start: u64, length: u64, go_on: GoOn<'_>) -> io::Result<Count> {
        let middle = match length.saturating_sub(start) {
            LONG.. => self.line_start(start + (length - start) / 2)?,
            _ => None,
        };
        let Some(middle) = middle else { return self.count_range(start..u64::MAX, true, go_on) };
        thread::scope(|scope| {
            // What looks like an mbox line there is the message's.
            let later = || self.count_range(middle..u64::MAX, false, go_on);
            let thread = thread::Builder::new().spawn_scoped(scope, later);
            let mut count = self.count_range(start..middle, true, go_on)?;
            let rest = match thread.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(rest)) => rest?,
                // There are no threads to be had, or that one is in trouble.
                Ok(Err(_)) | Err(_) => later()?,
            };
            count.meter = count.meter.followed_by(&rest.meter);
            Ok(count)
        })
    }

    fn count_range(&self, range: Range<u64>, is_beginning: bool, go_on: GoOn<'_>) -> io::Result<Count> {
        let mut count = Count { started: !is_beginning, ..Count::default() };
        self.reader(std::slice::from_ref(&range)).visit(|piece| {
            count.push(piece);
            go_on()
        })?;
        Ok(count)
    }

    /// Where a line begins, soon behind `at`.
    fn line_start(&self, at: u64) -> io::Result<Option<u64>> {
        let mut piece = vec![0; PIECE];
        let read = self.read_at(&mut piece, at)?;
        let found = scan::find(b'\n', piece.get(..read).unwrap_or_default());
        Ok(found.map(|end| at + end as u64 + 1))
    }

    /// Takes `input` to its end.
    pub(super) fn from_stream(mut input: impl Read) -> Result<(Self, Found), Unreadable> {
        let mut count = Count::default();
        let mut spool = None;
        let mut held = vec![0; FIRST_PIECE];
        let mut filled = 0;
        loop {
            let room = held.get_mut(filled..).unwrap_or_default();
            let read = fill(room, |buf| input.read(buf)).map_err(Unreadable::Input)?;
            count.push(room.get(..read).unwrap_or_default());
            filled += read;
            if filled < held.len() {
                break;
            } else if held.len() < MAX_HELD {
                held.resize(2 * held.len(), 0);
            } else {
                spool = Some(append(spool, &held).map_err(Unreadable::Spool)?);
                filled = 0;
            }
        }
        held.truncate(filled);
        let source = match spool {
            None => Source::Memory(held),
            Some(_) => Source::File(append(spool, &held).map_err(Unreadable::Spool)?, None),
        };
        Ok((source, count.found(0)?))
    }

    /// Reads these ranges, one after the other.
    pub(super) fn reader<'a>(&'a self, ranges: &'a [Range<u64>]) -> Reader<'a> {
        Reader { source: self, ranges, done: 0 }
    }

    /// Whether this still is what was read up to the position `end`: a file that somebody writes to is not.
    ///
    /// # Errors
    ///
    /// It is not, or that cannot be told.
    pub(super) fn is_unchanged(&self, end: u64) -> io::Result<()> {
        let Source::File(file, Some(as_read)) = self else { return Ok(()) };
        if self.read_at(&mut [0], end)? > 0 {
            return Err(io::Error::other("the file has grown since it was read"));
        }
        if modified(&file.metadata()?) != *as_read {
            return Err(io::Error::other("the file has been changed since it was read"));
        }
        Ok(())
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Source::File(file, _) => file.read_at(buf, at),
            Source::Memory(octets) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                octets.get(at..).unwrap_or_default().read(buf)
            }
        }
    }
}

fn modified(metadata: &Metadata) -> Modified {
    (metadata.mtime(), metadata.mtime_nsec())
}

/// Reads ranges of a source, one after the other.
pub(super) struct Reader<'a> {
    source: &'a Source,
    ranges: &'a [Range<u64>],
    /// Octets of the first range that have been read.
    done: u64,
}

impl Reader<'_> {
    /// Reads the next octets; 0 at the end of the last range, or where a file has become shorter than it was.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(next) = self.next() else { return Ok(0) };
        let left = usize::try_from(next.end - next.start).unwrap_or(usize::MAX);
        let room = buf.len().min(left);
        let read = self.source.read_at(buf.get_mut(..room).unwrap_or_default(), next.start)?;
        self.done += read as u64;
        Ok(read)
    }

    /// The next octets, as far as they stand together in a file.
    pub(super) fn in_file(&mut self) -> Option<Stretch<'_>> {
        let octets = self.next()?;
        match self.source {
            Source::File(file, _) => Some(Stretch { file: file.as_fd(), octets }),
            Source::Memory(_) => None,
        }
    }

    /// Goes on behind the next `octets`, which stand together.
    pub(super) fn pass(&mut self, octets: u64) {
        self.done += octets;
    }

    /// What is left of the range that is being read, or else the next range.
    fn next(&mut self) -> Option<Range<u64>> {
        while let Some((range, later)) = self.ranges.split_first() {
            let next = range.start + self.done..range.end;
            if !next.is_empty() {
                return Some(next);
            }
            (self.ranges, self.done) = (later, 0);
        }
        None
    }

    /// Reads all there is and shows it to `visit` in pieces: full ones, except the last.
    pub(super) fn visit(mut self, mut visit: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut piece = vec![0; FIRST_PIECE];
        loop {
            let read = fill(&mut piece, |buf| self.read(buf))?;
            visit(piece.get(..read).unwrap_or_default())?;
            if read < piece.len() {
                return Ok(());
            }
            piece.resize(PIECE, 0);
        }
    }
}

/// Counts a source's octets, without the mbox line that they may begin with.
#[derive(Default)]
struct Count {
    started: bool,
    in_mbox_line: bool,
    skipped: u64,
    meter: Meter,
}

impl Count {
    /// Takes the next octets. The first piece holds at least the beginning of an mbox line.
    fn push(&mut self, piece: &[u8]) {
        if !self.started {
            self.started = true;
            let rest = piece.strip_prefix(MBOX_LINE);
            let next = rest.map(|rest| rest.iter().find(|octet| !matches!(octet, b' ' | b'\t')));
            // The obsolete syntax has white space before a field's colon (RFC 5322 §4.5).
            self.in_mbox_line = next.is_some_and(|next| next != Some(&b':'));
        }
        let mut skip = 0;
        if self.in_mbox_line {
            let end = scan::find(b'\n', piece);
            self.in_mbox_line = end.is_none();
            skip = end.map_or(piece.len(), |at| at + 1);
        }
        self.skipped += skip as u64;
        self.meter.push(piece.get(skip..).unwrap_or_default());
    }

    /// What there is, when the source's first octet was at `start`.
    fn found(self, start: u64) -> Result<Found, Unreadable> {
        if self.meter.is_empty() {
            return Err(Unreadable::Empty);
        }
        let first = start + self.skipped;
        let message = first..first + self.meter.raw_octets();
        Ok(Found { message, had_mbox_line: self.skipped > 0, meter: self.meter })
    }
}

/// Fills `buf` by as many reads as it takes; less only at the end.
pub(super) fn fill(
    buf: &mut [u8],
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buf.get_mut(filled..).filter(|room| !room.is_empty()) {
        match read(room)? {
            0 => break,
            octets => filled += octets,
        }
    }
    Ok(filled)
}

/// Writes `octets` to the end of the spool, which is made when there is none.
fn append(spool: Option<File>, octets: &[u8]) -> io::Result<File> {
    let mut file = spool.map_or_else(tempfile::tempfile, Ok)?;
    file.write_all(octets)?;
    Ok(file)
}
