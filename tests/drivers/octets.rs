//! What the drivers do with octets: cut them into pieces, and look for what must not be shown.

use lmtp_send::lmtp::printable;

/// The same numbers in every run from the same seed (Knuth's MMIX generator).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// `octets` in pieces, whose sizes `manner` decides: all the same up to 32, or random ones below a power of two.
pub fn pieces(octets: &[u8], manner: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = octets;
    let mut dice = Dice::new(manner.into());
    std::iter::from_fn(move || {
        let most = match manner {
            0..=31 => usize::from(manner) + 1,
            32.. => 1 + dice.below(2 << (manner % 16)),
        };
        let (piece, later) = rest.split_at(most.min(rest.len()));
        rest = later;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Nothing in `text` moves a terminal or begins a line of its own in a log.
pub fn assert_printable(text: &str) {
    let is_plain = text.bytes().fold(true, |plain, octet| plain & (octet.wrapping_sub(b' ') < 0x5f));
    if !is_plain {
        assert_eq!(printable(text.as_bytes()), text);
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}
