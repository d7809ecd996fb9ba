//! What a session needs of the message that it sends.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use super::wire::Meter;

/// Octets in a file.
#[derive(Clone, Debug)]
pub struct Stretch<'a> {
    /// The file.
    pub file: BorrowedFd<'a>,
    /// Where in it: positions from its beginning.
    pub octets: Range<u64>,
}

/// A message that can be read more than once: for one transaction after another, to one host after another.
///
/// Its size is known before it is sent, because SIZE is declared with MAIL (RFC 1870 §6) and BDAT says how
/// much follows (RFC 3030 §2). What is read may still turn out different, when a file changes meanwhile: the
/// session compares the number of octets with what was counted, and ends no message that differs. Changes that
/// keep the number are for [`read`](Content::read) to notice, which may fail at the end.
pub trait Content {
    /// The octets of the message as RFC 1870 §4 counts them: with CRLF line ends, without stuffed dots.
    fn octets(&self) -> u64;

    /// The octets of the message as they are read: what BINARYMIME sends (RFC 3030 §3).
    fn raw_octets(&self) -> u64;

    /// Goes back to the beginning.
    ///
    /// # Errors
    ///
    /// The message cannot be read again.
    fn rewind(&mut self) -> io::Result<()>;

    /// Reads the message's next raw octets; 0 at its end.
    ///
    /// # Errors
    ///
    /// The message cannot be read. It must not be ended then.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// Whether the octets as they are read are the wire form for BDAT: all line ends CRLF, no CR or LF alone.
    fn is_wire_form(&self) -> bool {
        false
    }

    /// The next octets, if they stand in a file as they would be read: they may be sent from there, and then
    /// [`pass`](Content::pass)ed over instead of read. Both are to be implemented, or neither. The last octets are
    /// always read.
    fn in_file(&mut self) -> Option<Stretch<'_>> {
        None
    }

    /// Goes on behind the next `octets`, which [`in_file`](Content::in_file) has shown.
    fn pass(&mut self, octets: u64) {
        let _ = octets;
    }
}

/// A message in memory.
#[derive(Clone, Debug)]
pub struct Bytes<'a> {
    octets: &'a [u8],
    rest: &'a [u8],
    meter: Meter,
}

impl<'a> Bytes<'a> {
    /// The message of these raw octets.
    #[must_use]
    pub fn new(octets: &'a [u8]) -> Self {
        let mut meter = Meter::default();
        meter.push(octets);
        Self { octets, rest: octets, meter }
    }
}

impl Content for Bytes<'_> {
    fn octets(&self) -> u64 {
        self.meter.octets()
    }

    fn raw_octets(&self) -> u64 {
        self.meter.raw_octets()
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.rest = self.octets;
        Ok(())
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        io::Read::read(&mut self.rest, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_often_as_one_likes() {
        let mut content = Bytes::new(b"one\ntwo");
        assert_eq!((content.octets(), content.raw_octets()), (10, 7));
        for _ in 0..2 {
            let (mut read, mut buf) = (Vec::new(), [0; 3]);
            loop {
                match content.read(&mut buf).unwrap() {
                    0 => break,
                    n => read.extend_from_slice(&buf[..n]),
                }
            }
            assert_eq!(read, b"one\ntwo");
            content.rewind().unwrap();
        }
    }
}
