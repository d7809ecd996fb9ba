//! A list of files: a name on each line, or between NULs where it holds any.
//!
//! It is read as it comes, so its length does not matter, and what writes it may take its time. Whether names end
//! in LF or NUL is seen by what has been read when the first of them ends.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Octets that are read at a time.
const BLOCK: usize = 16 * 1024;
/// The longest name, in octets: more than the system takes for a path.
const MAX_NAME: usize = 64 * 1024;

/// A list that is being read.
#[derive(Debug, Default)]
pub struct List {
    /// What was read and not given out.
    held: Vec<u8>,
    /// How much of `held` was given out.
    given: usize,
    /// What ends a name, once that is known.
    end: Option<u8>,
    at_end: bool,
}

impl List {
    /// Whether a name can be given out without reading on.
    pub fn has_next(&self) -> bool {
        self.at_end || self.end.is_some_and(|end| self.rest().contains(&end))
    }

    /// The next name, which is not empty; `None` behind the last one. `input` is the list, from where the call
    /// before has left it.
    ///
    /// # Errors
    ///
    /// It cannot be read on, or holds something that is no name.
    pub fn next(&mut self, input: &mut dyn Read) -> io::Result<Option<PathBuf>> {
        loop {
            match self.take() {
                Some(name) if name.is_empty() => {}
                Some(name) => return Ok(Some(PathBuf::from(OsString::from_vec(name)))),
                None if self.at_end => return Ok(None),
                None => self.read_on(input)?,
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.held.get(self.given..).unwrap_or_default()
    }

    /// The next name of those that have been read; it may be empty.
    fn take(&mut self) -> Option<Vec<u8>> {
        let rest = self.rest();
        let end = self.end?;
        let length = match rest.iter().position(|octet| *octet == end) {
            None if !self.at_end || rest.is_empty() => return None,
            found => found,
        };
        let name = rest.get(..length.unwrap_or(rest.len())).unwrap_or_default().to_vec();
        self.given += name.len() + usize::from(length.is_some());
        Some(name)
    }

    fn read_on(&mut self, input: &mut dyn Read) -> io::Result<()> {
        self.held.drain(..self.given);
        self.given = 0;
        let before = self.held.len();
        if before > MAX_NAME {
            return Err(io::Error::other("it contains a name longer than a path may be"));
        }
        self.held.resize(before + BLOCK, 0);
        let read = input.read(self.held.get_mut(before..).unwrap_or_default());
        self.held.truncate(before + *read.as_ref().unwrap_or(&0));
        self.at_end = read? == 0;
        if self.end.is_none() && (self.at_end || self.held.iter().any(|o| matches!(o, b'\n' | 0))) {
            self.end = Some(if self.held.contains(&0) { 0 } else { b'\n' });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let room = buf.len().min(self.1);
            self.0.read(&mut buf[..room])
        }
    }

    fn names(list: &[u8], piece: usize) -> Vec<String> {
        let (mut input, mut list, mut names) = (Slow(list, piece), List::default(), Vec::new());
        while let Some(name) = list.next(&mut input).unwrap() {
            names.push(name.into_os_string().into_string().unwrap());
        }
        assert!(list.has_next(), "nothing more has to be waited for");
        names
    }

    #[test]
    fn names_end_with_their_lines_or_with_nuls() {
        let table: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("\n\n", &[]),
            ("a", &["a"]),
            ("a\nb c\n", &["a", "b c"]),
            ("a\n\n b \n-\n", &["a", " b ", "-"]),
            ("a\r\n", &["a\r"]),
            ("a\0b\nc\0", &["a", "b\nc"]),
            ("a\0\0b", &["a", "b"]),
            ("\0", &[]),
        ];
        for (list, expected) in table {
            for piece in [1, 2, 3, 100_000] {
                assert_eq!(names(list.as_bytes(), piece), expected, "{list:?} in pieces of {piece}");
            }
        }
        // A line end in the first name: NULs are seen when the list comes as find(1) writes it.
        assert_eq!(names(b"a\nb\0c\0", 100), ["a\nb", "c"]);
    }

    #[test]
    fn long_lists_are_read_in_blocks() {
        let expected: Vec<String> = (0..10_000).map(|n| format!("mail/{n}.eml")).collect();
        let list = expected.iter().map(|name| format!("{name}\n")).collect::<String>();
        for piece in [7, 4_096, 1_000_000] {
            assert_eq!(names(list.as_bytes(), piece), expected);
        }
        let mut list = List::default();
        assert!(!list.has_next());
        assert!(list.next(&mut Slow(&[b'x'; 200_000], 5_000)).is_err(), "no name is so long");
    }
}
