//! Finds octets, without asking the processor first what it can do where that would cost more than the search.
//!
//! `memchr` asks seven questions before its first search. Inside a virtual machine each is answered by the
//! host and takes some 10 µs: together as long as reading, encoding and sending a small message.

use memchr::{memchr, memchr_iter};

/// Pieces of at least so many octets are worth the questions. Shorter ones are searched with what every
/// processor has.
pub const LONG: usize = 16 * 1024;

/// Where `octet` is first.
#[inline]
pub fn find(octet: u8, octets: &[u8]) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if octets.len() < LONG
        && let Some(search) = memchr::arch::x86_64::sse2::memchr::One::new(octet)
    {
        return search.find(octets);
    }
    memchr(octet, octets)
}

/// How often `octet` is there.
pub fn count(octet: u8, octets: &[u8]) -> usize {
    if octets.len() < LONG {
        // So many at a time that their number is an octet too: of those, any processor adds up many at once.
        let (parts, rest) = octets.as_chunks::<240>();
        let count =
            |part: &[u8]| part.iter().fold(0, |found: u8, &o| found.wrapping_add(u8::from(o == octet)));
        return parts.iter().map(|part| usize::from(count(part))).sum::<usize>() + usize::from(count(rest));
    }
    memchr_iter(octet, octets).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_pieces_are_searched_alike() {
        for length in [0, 1, 15, 16, 17, 70, LONG - 1, LONG, LONG + 1] {
            let mut octets = vec![b'a'; length];
            assert_eq!((find(b'\n', &octets), count(b'\n', &octets)), (None, 0), "{length}");
            for at in [0, length / 2, length.saturating_sub(1)].into_iter().filter(|at| *at < length) {
                octets.fill(b'a');
                octets[at..].fill(b'\n');
                assert_eq!(find(b'\n', &octets), Some(at), "{at} of {length}");
                assert_eq!(count(b'\n', &octets), length - at, "{at} of {length}");
            }
        }
    }
}
