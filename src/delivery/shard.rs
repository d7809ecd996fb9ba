//! A run in parts: which messages are this part's, so that nobody else has to be asked.
//!
//! A message falls to part K of N by SHA-256 of its name: the first 8 octets, as a number with the highest first,
//! modulo N, are K - 1. The name is the one that the report has, with `#` and the number in an mbox; of a message in a
//! Maildir it is the directory's and the unique one, without `new` or `cur` and without flags, which may change.

use ring::digest::{SHA256, digest};

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which one, from 1 on.
    pub part: u64,
    /// How many there are.
    pub parts: u64,
}

impl Shard {
    /// Whether the message of this name is this part's.
    pub fn holds(self, name: &[u8]) -> bool {
        let digest = digest(&SHA256, name);
        let number = digest.as_ref().iter().take(8).fold(0, |number, octet| number << 8 | u64::from(*octet));
        number.checked_rem(self.parts).is_none_or(|rest| rest + 1 == self.part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, parts: u64) -> u64 {
        let holding: Vec<u64> =
            (1..=parts).filter(|part| Shard { part: *part, parts }.holds(name.as_bytes())).collect();
        assert_eq!(holding.len(), 1, "{name}: each message is one part's");
        holding[0]
    }

    #[test]
    fn the_parts_are_the_same_everywhere() {
        // printf %s mail/1.eml | sha256sum | cut -c1-16
        for (name, parts, expected) in [
            ("mail/1.eml", 1, 1),
            ("mail/1.eml", 3, 0x2d1a_0ff8_7e9e_8bb1 % 3 + 1),
            ("mail/1.eml", 8, 0x2d1a_0ff8_7e9e_8bb1 % 8 + 1),
            ("archive.mbox#2", 1_000, 0xdc05_1f94_77d8_a8b9 % 1_000 + 1),
        ] {
            assert_eq!(part(name, parts), expected, "{name} of {parts}");
        }
    }

    #[test]
    fn the_parts_are_about_equal() {
        let mut count = [0; 4];
        (0..4_000).for_each(|n| count[usize::try_from(part(&format!("box#{n}"), 4)).unwrap() - 1] += 1);
        assert!(count.iter().all(|n| (900..1_100).contains(n)), "{count:?}");
    }
}
