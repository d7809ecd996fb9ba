//! The end of a message that is typed: a line of a lone dot, as sendmail takes it without `-i`.
//!
//! Line ends are LF or CRLF; a dot that is the input's last octet is such a line too. Dots before other text are
//! text: nothing is unstuffed.

use std::io::{self, Read};

use crate::scan;

/// Octets read at a time.
const BLOCK: usize = 8 * 1024;

/// Reads `input` up to the line of a lone dot, which it leaves out, or to its end. What comes behind the dot
/// and has not been read yet is left in `input`.
pub struct UntilLoneDot<R> {
    input: R,
    /// What was read of the input and not handed on: of `held`, the first `ready` octets are the message's.
    held: Vec<u8>,
    ready: usize,
    at_line_start: bool,
    ended: bool,
}

impl<R: Read> UntilLoneDot<R> {
    /// `input`, at the beginning of a line.
    pub fn new(input: R) -> Self {
        Self { input, held: Vec::new(), ready: 0, at_line_start: true, ended: false }
    }

    /// Reads on, and finds out how much of it is the message's.
    fn read_on(&mut self) -> io::Result<()> {
        let before = self.held.len();
        self.held.resize(before + BLOCK, 0);
        let read = self.input.read(self.held.get_mut(before..).unwrap_or_default());
        self.held.truncate(before + *read.as_ref().unwrap_or(&0));
        let at_end = read? == 0;
        let (ready, found) = message_in(&self.held, self.at_line_start, at_end);
        self.ended = at_end || found;
        self.ready = ready;
        Ok(())
    }
}

impl<R: Read> Read for UntilLoneDot<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.ready == 0 && !self.ended {
            self.read_on()?;
        }
        let read = self.held.get(..self.ready).unwrap_or_default().read(buf)?;
        if let Some(last) = read.checked_sub(1).and_then(|last| self.held.get(last)) {
            self.at_line_start = *last == b'\n';
        }
        self.held.drain(..read);
        self.ready -= read;
        Ok(read)
    }
}

/// Where the line of a lone dot begins, if there is one in all of `octets`.
pub(super) fn find(octets: &[u8]) -> Option<usize> {
    let (length, found) = message_in(octets, true, true);
    found.then_some(length)
}

/// How many of `octets` are the message's, and whether a lone dot ends it there. Without that, and unless
/// `at_end`, what may become one by what follows is not counted.
fn message_in(octets: &[u8], at_line_start: bool, at_end: bool) -> (usize, bool) {
    let mut line = 0;
    let mut is_start = at_line_start;
    loop {
        let rest = octets.get(line..).unwrap_or_default();
        match rest {
            [b'.', b'\n', ..] | [b'.', b'\r', b'\n', ..] if is_start => return (line, true),
            [b'.'] if is_start => return (line, at_end),
            [b'.', b'\r'] if is_start && !at_end => return (line, false),
            _ => {}
        }
        match scan::find(b'\n', rest) {
            None => return (octets.len(), false),
            Some(end) => (line, is_start) = (line + end + 1, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::slow::Slow;
    use super::*;

    #[test]
    fn a_line_of_a_lone_dot_ends_the_message() {
        for (given, message) in [
            ("", ""),
            (".", ""),
            (".\nrest", ""),
            (".\r\nrest", ""),
            ("a\n.\nrest\n.\n", "a\n"),
            ("a\r\n.\r\nrest", "a\r\n"),
            ("a\n.", "a\n"),
            ("a\n.\r", "a\n.\r"),
            ("a\n.\rb\n", "a\n.\rb\n"),
            ("a\n..\n.b\n .\nc.\n", "a\n..\n.b\n .\nc.\n"),
            ("a.\n.\n", "a.\n"),
            ("a\n\n.\n", "a\n\n"),
            ("a\r.\nb", "a\r.\nb"),
        ] {
            assert_eq!(find(given.as_bytes()).unwrap_or(given.len()), message.len(), "{given:?}");
            for octets in 1..=given.len() + 1 {
                for room in [1, 2, 3, 100] {
                    let mut read = Vec::new();
                    let mut input = UntilLoneDot::new(Slow(given.as_bytes(), octets));
                    let mut buf = vec![0; room];
                    while let read_now @ 1.. = input.read(&mut buf).unwrap() {
                        read.extend_from_slice(&buf[..read_now]);
                    }
                    assert_eq!(read, message.as_bytes(), "{given:?} in pieces of {octets}, read by {room}");
                    assert_eq!(input.read(&mut buf).unwrap(), 0, "{given:?}: the end stays");
                }
            }
        }
    }
}
