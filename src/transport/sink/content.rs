//! The message's octets as they come after DATA or in BDAT chunks, turned into what a Maildir holds.
//!
//! CRLF becomes LF, as Maildirs on Unix have it; after DATA the dots are unstuffed. A line begins after CRLF
//! and nowhere else, and the message ends with CRLF.CRLF and nowhere else (RFC 5321 §4.1.1.4): a lone CR or
//! LF is an octet like any other and stays. What is declared as BINARYMIME is not touched (RFC 3030 §3).

/// How the message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After DATA: dots are stuffed and a lone dot is the end (RFC 5321 §4.5.2).
    Dotted,
    /// In BDAT chunks: octets are counted, lines are lines (RFC 3030 §2).
    Chunked,
    /// In BDAT chunks with BODY=BINARYMIME: there are no lines.
    Binary,
}

/// A message being received, in pieces of any size.
#[derive(Debug)]
pub struct IncomingContent {
    form: Framing,
    at: At,
}

/// What the next octet follows.
#[derive(Clone, Copy, Debug)]
enum At {
    LineStart,
    Line,
    /// A CR that is kept back until the next octet tells whether it ends the line.
    Cr,
    /// A dot at the line's start, which is never kept.
    Dot,
    /// Such a dot and a CR after it.
    DotCr,
}

impl IncomingContent {
    /// The beginning of a message.
    pub fn new(form: Framing) -> Self {
        Self { form, at: At::LineStart }
    }

    /// Hands what `octets` mean to `keep`. When the final dot is among them: how many it took, itself
    /// included; the rest belongs to no message.
    pub fn take(&mut self, octets: &[u8], keep: &mut impl FnMut(&[u8])) -> Option<usize> {
        if self.form == Framing::Binary {
            keep(octets);
            return None;
        }
        let mut rest = octets;
        while let Some((&octet, after)) = rest.split_first() {
            // Where an arm does not move on, the octet is looked at again as part of a line.
            (self.at, rest) = match (self.at, octet) {
                (At::LineStart, b'.') if self.form == Framing::Dotted => (At::Dot, after),
                (At::Line, _) => {
                    let end = memchr::memchr(b'\r', rest).unwrap_or(rest.len());
                    let (text, cr) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                    keep(text);
                    (if cr.is_empty() { At::Line } else { At::Cr }, cr.get(1..).unwrap_or_default())
                }
                (At::Cr, b'\n') => {
                    keep(b"\n");
                    (At::LineStart, after)
                }
                (At::Dot, b'\r') => (At::DotCr, after),
                (At::DotCr, b'\n') => return Some(octets.len() - after.len()),
                (At::Cr | At::DotCr, _) => {
                    keep(b"\r");
                    (At::Line, rest)
                }
                (At::LineStart | At::Dot, _) => (At::Line, rest),
            };
        }
        None
    }

    /// Hands over what was kept back when the last chunk ends.
    pub fn end(&mut self, keep: &mut impl FnMut(&[u8])) {
        if matches!(self.at, At::Cr) {
            keep(b"\r");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of `octets` in pieces of `size`, and how many were used when the end was seen.
    fn receive(form: Framing, octets: &[u8], size: usize) -> (Vec<u8>, Option<usize>) {
        let (mut content, mut kept) = (IncomingContent::new(form), Vec::new());
        let mut keep = |part: &[u8]| kept.extend_from_slice(part);
        for (n, piece) in octets.chunks(size).enumerate() {
            if let Some(used) = content.take(piece, &mut keep) {
                return (kept, Some(n * size + used));
            }
        }
        content.end(&mut keep);
        (kept, None)
    }

    #[test]
    fn only_crlf_makes_lines_and_only_crlf_dot_crlf_ends() {
        let table: [(&[u8], &[u8], bool); 12] = [
            (b".\r\n", b"", true),
            (b"a\r\n.\r\n", b"a\n", true),
            (b"..\r\n..a\r\n.a\r\n.\r\n", b".\n.a\na\n", true),
            (b"a\n.\n.\r\nb\r\n.\r\n", b"a\n.\n.\nb\n", true),
            (b"a\r.\r\n.\r\n", b"a\r.\n", true),
            (b"a\r\n.\nb\r\n.\r\n", b"a\n\nb\n", true),
            (b"a\r\n.\rb\r\n.\r\n", b"a\n\rb\n", true),
            (b"a\r\n.\r\r\n.\r\n", b"a\n\r\n", true),
            (b"a\r\r\n.\r\n", b"a\r\n", true),
            (b"\r\n\r\n.\r\n", b"\n\n", true),
            (b"a\0\xff\r\n.\r\n", b"a\0\xff\n", true),
            (b"a\n.\r\nb", b"a\n.\nb", false),
        ];
        for (octets, kept, ends) in table {
            for size in 1..=octets.len() {
                let expected = (kept.to_vec(), ends.then_some(octets.len()));
                assert_eq!(
                    receive(Framing::Dotted, octets, size),
                    expected,
                    "{}/{size}",
                    octets.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn what_follows_the_end_is_left() {
        assert_eq!(receive(Framing::Dotted, b"a\r\n.\r\nQUIT\r\n", 99), (b"a\n".to_vec(), Some(6)));
    }

    #[test]
    fn chunks_have_lines_and_no_dots_and_binary_has_neither() {
        let octets = b".\r\n..\r\n\r.\n\r\r\n.\r\n\r";
        for size in 1..=octets.len() {
            assert_eq!(receive(Framing::Chunked, octets, size), (b".\n..\n\r.\n\r\n.\n\r".to_vec(), None));
            assert_eq!(receive(Framing::Binary, octets, size), (octets.to_vec(), None));
        }
    }
}
