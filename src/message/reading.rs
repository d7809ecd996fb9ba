//! Reading an input to its end, once: what is stored of it, and what is counted.
//!
//! A regular file of more than [`MAX_KEPT`] octets is never copied. A stream is kept in memory up to
//! [`MAX_HELD`], and from there on in a temporary file without a name, which is gone with the program however
//! that ends.
//!
//! Reading a stream never goes on after [`io::ErrorKind::Interrupted`]: a reader uses it to say that the run
//! was told to stop.

use std::fs::{File, Metadata};
use std::io::{self, Cursor, Read, Seek, Write};
use std::ops::Range;
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use super::Unreadable;
use super::lone_dot::{self, UntilLoneDot};
use super::piece::{Piece, Reader, fill};
use super::store::{FileIdentity, Store};
use crate::block::Block;
use crate::lmtp::wire::Meter;
use crate::scan;

/// The most octets of a regular file that are kept when it is read: less work than reading them again.
pub(super) const MAX_KEPT: u64 = 64 * 1024;
/// As much of a stream as is held in memory: room for nearly all mail without attachments, and little beside
/// the 4 MiB that the program takes for a small message.
pub(super) const MAX_HELD: usize = 512 * 1024;
/// Octets of a stream read at first: most mail fits, and clearing more would cost more than reading it.
const FIRST_PIECE: usize = 8 * 1024;
/// Octets of a file that is worth a second thread.
const LONG: u64 = 16 * 1024 * 1024;
/// What an mbox puts before each message (RFC 4155).
const MBOX_LINE: &[u8] = b"From ";

/// Asked again and again while a file is read, which takes its time: the error that is to end the reading.
pub(super) type GoOn<'a> = &'a (dyn Fn() -> io::Result<()> + Sync);

/// What reading an input to its end has found.
pub(super) struct Measured {
    /// The store's positions from the message's first octet to its last.
    pub(super) message: Range<u64>,
    /// Whether there was an mbox line before it.
    pub(super) had_mbox_line: bool,
    pub(super) meter: Meter,
}

/// Reads `file` from its current position to its end, or to the line of a lone dot.
pub(super) fn file(
    file: File,
    metadata: &Metadata,
    until_lone_dot: bool,
    go_on: GoOn<'_>,
) -> Result<(Store, Measured), Unreadable> {
    if metadata.len() <= MAX_KEPT {
        return small_file(file, metadata.len(), until_lone_dot, go_on);
    }
    let start = (&file).stream_position().map_err(Unreadable::Input)?;
    let store = Store::File(file, Some(FileIdentity::of(metadata)));
    let end = match until_lone_dot {
        true => find_lone_dot(&store, start, go_on).map_err(Unreadable::Input)?,
        false => u64::MAX,
    };
    let count = count(&store, start..end, metadata.len(), go_on).map_err(Unreadable::Input)?;
    Ok((store, count.found(start)?))
}

/// A file of about `length` octets, which are kept.
fn small_file(
    file: File,
    length: u64,
    until_lone_dot: bool,
    go_on: GoOn<'_>,
) -> Result<(Store, Measured), Unreadable> {
    let length = usize::try_from(length).unwrap_or(0);
    let mut octets = Vec::with_capacity(length + 1);
    loop {
        go_on().map_err(Unreadable::Input)?;
        match rustix::io::read(&file, spare_capacity(&mut octets)) {
            Err(Errno::INTR) => continue,
            Err(error) => return Err(Unreadable::Input(error.into())),
            Ok(0) => break,
            Ok(_) if octets.len() == length => break,
            // It grows, or the system does not tell its length.
            Ok(_) if octets.len() > length => {
                let rest = Cursor::new(octets).chain(Asking { file, go_on });
                return if until_lone_dot { stream(UntilLoneDot::new(rest)) } else { stream(rest) };
            }
            Ok(_) => {}
        }
    }
    if until_lone_dot {
        octets.truncate(lone_dot::find(&octets).unwrap_or(octets.len()));
    }
    let mut count = Count::default();
    count.push(&octets);
    Ok((Store::Memory(octets), count.found(0)?))
}

/// Takes `input` to its end.
pub(super) fn stream(mut input: impl Read) -> Result<(Store, Measured), Unreadable> {
    let mut count = Count::default();
    let mut held = vec![0; FIRST_PIECE];
    let mut filled = 0;
    loop {
        let room = held.get_mut(filled..).unwrap_or_default();
        let read = fill(room, |buf| input.read(buf)).map_err(Unreadable::Input)?;
        count.push(room.get(..read).unwrap_or_default());
        filled += read;
        if filled < held.len() {
            held.truncate(filled);
            return Ok((Store::Memory(held), count.found(0)?));
        } else if held.len() == MAX_HELD {
            break;
        }
        held.resize(2 * held.len(), 0);
    }
    let mut file = tempfile::tempfile().map_err(Unreadable::Spool)?;
    file.write_all(&held).map_err(Unreadable::Spool)?;
    drop(held);
    spool(input, &mut file, &mut count)?;
    Ok((Store::File(file, None), count.found(0)?))
}

/// Writes the rest of `input` into `file`.
fn spool(mut input: impl Read, file: &mut File, count: &mut Count) -> Result<(), Unreadable> {
    let mut block = Block::new(MAX_HELD);
    loop {
        let read = fill(block.room(), |buf| input.read(buf)).map_err(Unreadable::Input)?;
        count.push(block.first(read));
        file.write_all(block.first(read)).map_err(Unreadable::Spool)?;
        if read < block.len() {
            return Ok(());
        }
    }
}

/// A file that is read as a stream, as long as it may be.
struct Asking<'a> {
    file: File,
    go_on: GoOn<'a>,
}

impl Read for Asking<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (self.go_on)()?;
        self.file.read(buf)
    }
}

/// Counts what stands at the positions `range` in a file of about `length` octets. Counting a long one takes a
/// quarter of the time of sending it, unless two threads do it.
fn count(store: &Store, range: Range<u64>, length: u64, go_on: GoOn<'_>) -> io::Result<Count> {
    let middle = match length.min(range.end).saturating_sub(range.start) {
        octets @ LONG.. => line_start(store, range.start + octets / 2)?,
        _ => None,
    };
    let Some(middle) = middle.filter(|middle| *middle < range.end) else {
        return count_range(store, range, true, go_on);
    };
    thread::scope(|scope| {
        // What looks like an mbox line there is the message's.
        let later = || count_range(store, middle..range.end, false, go_on);
        let thread = thread::Builder::new().spawn_scoped(scope, later);
        let mut count = count_range(store, range.start..middle, true, go_on)?;
        let rest = match thread.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(rest)) => rest?,
            // There are no threads to be had, or that one is in trouble.
            Ok(Err(_)) | Err(_) => later()?,
        };
        count.meter = count.meter.followed_by(&rest.meter);
        Ok(count)
    })
}

fn count_range(store: &Store, range: Range<u64>, is_beginning: bool, go_on: GoOn<'_>) -> io::Result<Count> {
    let mut count = Count { started: !is_beginning, ..Count::default() };
    Reader::new(store, &[Piece::Own(range)]).visit(|piece| {
        count.push(piece);
        go_on()
    })?;
    Ok(count)
}

/// Where a line begins, soon behind `at`.
fn line_start(store: &Store, at: u64) -> io::Result<Option<u64>> {
    let mut piece = vec![0; FIRST_PIECE];
    let read = store.read_at(&mut piece, at)?;
    let found = scan::find(b'\n', piece.get(..read).unwrap_or_default());
    Ok(found.map(|end| at + end as u64 + 1))
}

/// The position of the line of a lone dot from `start` on; the last position there is when there is none.
fn find_lone_dot(store: &Store, start: u64, go_on: GoOn<'_>) -> io::Result<u64> {
    let whole = [Piece::Own(start..u64::MAX)];
    let mut until = UntilLoneDot::new(Positioned { reader: Reader::new(store, &whole), go_on });
    let mut buf = vec![0; FIRST_PIECE];
    let mut end = start;
    loop {
        match until.read(&mut buf)? {
            0 => return Ok(end),
            octets => end += octets as u64,
        }
    }
}

/// A file that is read by position, as long as it may be.
struct Positioned<'a> {
    reader: Reader<'a>,
    go_on: GoOn<'a>,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (self.go_on)()?;
        self.reader.read(buf)
    }
}

/// Counts an input's octets, without the mbox line that they may begin with.
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

    /// What there is, when the store's first octet was at `start`.
    fn found(self, start: u64) -> Result<Measured, Unreadable> {
        if self.meter.is_empty() {
            return Err(Unreadable::Empty);
        }
        let first = start + self.skipped;
        let message = first..first + self.meter.raw_octets();
        Ok(Measured { message, had_mbox_line: self.skipped > 0, meter: self.meter })
    }
}
