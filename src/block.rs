//! Room that octets are read into.

/// What the beginning of the room is a multiple of: a line of the processor's cache.
const LINE: usize = 64;

/// Octets that are overwritten again and again.
///
/// A long `Vec` is a mapping of its own, of which it has all but the first 16 octets. Reading to an address 16 octets
/// behind a page's beginning takes some processors (AMD's Zen 3 and 4) three times as long as to any other.
#[derive(Debug, Default)]
pub(crate) struct Block {
    octets: Vec<u8>,
    begin: usize,
}

impl Block {
    /// Room for so many octets, all 0.
    pub(crate) fn new(length: usize) -> Self {
        let octets = vec![0; length + LINE - 1];
        let begin = octets.as_ptr().align_offset(LINE).min(LINE - 1);
        let mut block = Self { octets, begin };
        block.octets.truncate(begin + length);
        block
    }

    /// How many octets there is room for.
    pub(crate) fn len(&self) -> usize {
        self.octets.len() - self.begin
    }

    /// All of it, to be written to.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.octets.get_mut(self.begin..).unwrap_or_default()
    }

    /// The first octets.
    pub(crate) fn first(&self, count: usize) -> &[u8] {
        self.octets.get(self.begin..self.begin + count).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_the_room_that_was_asked_for_and_it_begins_on_a_line() {
        assert_eq!((Block::default().len(), Block::default().first(1)), (0, &[][..]));
        for length in [0, 1, 63, 4096, 200_000] {
            let mut block = Block::new(length);
            assert_eq!((block.len(), block.room().len()), (length, length));
            assert_eq!(block.room().as_ptr().align_offset(LINE), 0);
            block.room().iter_mut().for_each(|octet| *octet = 7);
            assert_eq!(block.first(length), vec![7; length]);
        }
    }
}
