//! What is sent, as a list of pieces: ranges of what is stored, and octets that were added.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::store::Store;
use crate::block::Block;
use crate::lmtp::Stretch;

/// Octets read at first: most mail fits, and clearing more would cost more than reading it.
const FIRST_BLOCK: usize = 8 * 1024;
/// Octets of a long message read at a time.
const BLOCK: usize = 64 * 1024;

/// Octets that stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Positions in the store.
    Own(Range<u64>),
    /// What was not given with the message.
    Added(Arc<[u8]>),
}

impl Piece {
    /// How many octets.
    fn octets(&self) -> u64 {
        match self {
            Piece::Own(range) => range.end.saturating_sub(range.start),
            Piece::Added(octets) => octets.len() as u64,
        }
    }

    /// Part of it: positions from its beginning.
    fn part(&self, part: Range<u64>) -> Self {
        match self {
            Piece::Own(range) => Piece::Own(range.start + part.start..range.start + part.end),
            Piece::Added(octets) => {
                let position = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
                Piece::Added(octets.get(position(part.start)..position(part.end)).unwrap_or_default().into())
            }
        }
    }
}

/// The part of `pieces` at the positions `range`, counted from their beginning.
pub(super) fn part(pieces: &[Piece], range: Range<u64>) -> Vec<Piece> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for piece in pieces {
        let end = begin + piece.octets();
        let (from, to) = (range.start.clamp(begin, end), range.end.clamp(begin, end));
        if from < to {
            parts.push(piece.part(from - begin..to - begin));
        }
        begin = end;
    }
    parts
}

/// `pieces` without the octets at the positions `removed`: ascending, apart, and counted from their beginning.
pub(super) fn without(pieces: &[Piece], removed: &[Range<u64>]) -> Vec<Piece> {
    let ends = removed.iter().map(|range| range.end);
    let begins = removed.iter().map(|range| range.start);
    let kept = [0].into_iter().chain(ends).zip(begins.chain([u64::MAX]));
    kept.flat_map(|(from, to)| part(pieces, from..to)).collect()
}

/// Reads pieces, one after the other.
pub(super) struct Reader<'a> {
    store: &'a Store,
    pieces: &'a [Piece],
    /// Octets of the first piece that have been read.
    done: u64,
}

impl<'a> Reader<'a> {
    /// At the beginning of `pieces`, of which those that are not added stand in `store`.
    pub(super) fn new(store: &'a Store, pieces: &'a [Piece]) -> Self {
        Self { store, pieces, done: 0 }
    }

    /// Reads the next octets; 0 at the end of the last piece, or where a file has become shorter than it was.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = match self.next() {
            None => 0,
            Some(Piece::Own(range)) => {
                let left = usize::try_from(range.end - range.start - self.done).unwrap_or(usize::MAX);
                let room = buf.len().min(left);
                self.store.read_at(buf.get_mut(..room).unwrap_or_default(), range.start + self.done)?
            }
            Some(Piece::Added(octets)) => {
                let done = usize::try_from(self.done).unwrap_or(usize::MAX);
                io::Read::read(&mut octets.get(done..).unwrap_or_default(), buf)?
            }
        };
        self.done += read as u64;
        Ok(read)
    }

    /// The next octets, as far as they stand together in a file.
    pub(super) fn in_file(&mut self) -> Option<Stretch<'_>> {
        let Some(Piece::Own(range)) = self.next() else { return None };
        match self.store {
            Store::File(file, _) => {
                Some(Stretch { file: file.as_fd(), octets: range.start + self.done..range.end })
            }
            Store::Memory(_) => None,
        }
    }

    /// Goes on behind the next `octets`, which stand together.
    pub(super) fn pass(&mut self, octets: u64) {
        self.done += octets;
    }

    /// The piece that is being read, while there is something left of it, or else the next.
    fn next(&mut self) -> Option<&'a Piece> {
        while let Some((piece, later)) = self.pieces.split_first() {
            if self.done < piece.octets() {
                return Some(piece);
            }
            (self.pieces, self.done) = (later, 0);
        }
        None
    }

    /// Reads all there is and shows it to `visit` in blocks: full ones, except the last.
    pub(super) fn visit(mut self, mut visit: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut block = Block::new(FIRST_BLOCK);
        loop {
            let read = fill(block.room(), |buf| self.read(buf))?;
            visit(block.first(read))?;
            if read < block.len() {
                return Ok(());
            }
            if block.len() < BLOCK {
                block = Block::new(BLOCK);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pieces: &[Piece]) -> String {
        let store = Store::Memory(b"0123456789".to_vec());
        let mut read = Vec::new();
        Reader::new(&store, pieces)
            .visit(|block| {
                read.extend_from_slice(block);
                Ok(())
            })
            .unwrap();
        String::from_utf8(read).unwrap()
    }

    #[test]
    fn parts_are_taken_across_pieces() {
        let pieces = [Piece::Own(8..10), Piece::Added(b"abc".as_slice().into()), Piece::Own(2..5)];
        assert_eq!(text(&pieces), "89abc234");
        for from in 0..=9 {
            for to in from..=9 {
                let (first, last) = (from as usize, (to as usize).min(8));
                let expected = "89abc234".get(first..last).unwrap_or_default();
                assert_eq!(text(&part(&pieces, from..to)), expected, "{from}..{to}");
            }
        }
    }

    #[test]
    fn what_is_left_out_leaves_the_rest() {
        let pieces = [Piece::Own(0..4), Piece::Own(5..10)];
        for (removed, left) in [
            (&[][..], "012356789"),
            (&[(0, 1)], "12356789"),
            (&[(3, 5)], "0126789"),
            (&[(0, 4), (4, 5)], "6789"),
            (&[(8, 9)], "01235678"),
            (&[(0, 2), (5, 6), (8, 9)], "23578"),
            (&[(0, 9)], ""),
            (&[(7, 100)], "0123567"),
        ] {
            let removed: Vec<_> = removed.iter().map(|&(from, to)| from..to).collect();
            assert_eq!(text(&without(&pieces, &removed)), left, "{removed:?}");
        }
    }
}
