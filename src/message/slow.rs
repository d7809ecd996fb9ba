//! For tests: octets that come a few at a time.

use std::io::{self, Read};

/// Gives of the octets at most so many at once.
pub struct Slow<'a>(pub &'a [u8], pub usize);

impl Read for Slow<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let room = buf.len().min(self.1);
        self.0.read(&mut buf[..room])
    }
}
