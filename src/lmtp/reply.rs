//! Replies: RFC 5321 §4.2, with the enhanced status codes of RFC 2034.
//!
//! A [`Reply`] can be shown: whatever the server put into its text that is not printable stands there as an
//! escape (`\x1b`), from the moment it is read. Limits keep a hostile server from filling memory.

use std::fmt;

use super::Stage;
use crate::scan;

/// The longest line taken from a server, in octets (RFC 5321 §4.5.3.1.5 says 512; real ones are longer).
pub const MAX_LINE: usize = 8 * 1024;
/// The longest reply taken from a server, in octets, all its lines together.
pub const MAX_REPLY: usize = 64 * 1024;

/// An enhanced status code, as in `5.1.1` (RFC 3463 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnhancedCode {
    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub class: u8,
    /// What the code is about: 1 address, 2 mailbox, 3 mail system, 4 network, 5 protocol, 6 content, 7 policy.
    pub subject: u16,
    /// The condition within the subject.
    pub detail: u16,
}

impl EnhancedCode {
    /// The code `class.subject.detail`.
    #[must_use]
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// The code that `text` begins with, and what follows it.
    fn split(text: &str) -> Option<(Self, &str)> {
        let (class, rest) = number(text)?;
        let (subject, rest) = number(rest.strip_prefix('.')?)?;
        let (detail, rest) = number(rest.strip_prefix('.')?)?;
        let class = u8::try_from(class).ok().filter(|c| matches!(c, 2 | 4 | 5))?;
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix(' ')? };
        Some((Self { class, subject, detail }, rest))
    }
}

/// The number of one to three digits that `text` begins with, and what follows it.
fn number(text: &str) -> Option<(u16, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).take(4).count();
    let (digits, rest) =
        text.split_at_checked(digits).filter(|(digits, _)| (1..=3).contains(&digits.len()))?;
    Some((digits.bytes().fold(0, |number, digit| 10 * number + u16::from(digit - b'0')), rest))
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// One complete reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<EnhancedCode>,
    text: String,
}

impl Reply {
    /// A reply of our own making, for what a server would have said.
    #[must_use]
    pub fn new(code: u16, enhanced: EnhancedCode, text: &str) -> Self {
        Self { code, enhanced: Some(enhanced), text: printable(text.as_bytes()) }
    }

    /// The same reply in other words.
    pub(super) fn with_text(&self, enhanced: Option<EnhancedCode>, text: &str) -> Self {
        Self { code: self.code, enhanced, text: text.to_owned() }
    }

    /// The text with its line ends.
    pub(super) fn raw_text(&self) -> &str {
        &self.text
    }

    /// The three digits.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The first digit: 2 done, 3 go on, 4 try again, 5 do not.
    #[must_use]
    pub fn class(&self) -> u16 {
        self.code / 100
    }

    /// 2yz.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.class() == 2
    }

    /// 4yz or 5yz.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        matches!(self.class(), 4 | 5)
    }

    /// Whether this reply, as one to what was said at `stage`, is a refusal for now: 4yz, or to RCPT 552 without an
    /// enhanced code, the old word for "too many recipients" (RFC 5321 §4.5.3.1.10).
    #[must_use]
    pub fn is_temporary(&self, stage: Stage) -> bool {
        self.class() == 4 || (stage == Stage::Rcpt && self.is_bare_552())
    }

    /// Whether the server takes no more recipients in this transaction, as far as one reply to RCPT can say so: it is
    /// said of those behind others who were accepted (RFC 5321 §4.5.3.1.10; RFC 3463 §3.6, X.5.3).
    pub(super) fn is_too_many(&self) -> bool {
        let too_many = EnhancedCode::new(5, 5, 3);
        self.code == 452 || self.is_bare_552() || self.enhanced == Some(too_many)
    }

    fn is_bare_552(&self) -> bool {
        self.code == 552 && self.enhanced.is_none()
    }

    /// The enhanced status code, if there is one whose class agrees with the reply's (RFC 2034 §4).
    #[must_use]
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        self.enhanced
    }

    /// The text without codes, one line of the reply a line, printable.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split('\n')
    }

    /// The text without codes in one line, printable.
    #[must_use]
    pub fn text(&self) -> String {
        self.text.replace('\n', " ")
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        if self.text.is_empty() { Ok(()) } else { write!(f, " {}", self.text()) }
    }
}

/// What came where a reply was due and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// Not of the form of RFC 5321 §4.2; the printable beginning of the line.
    NotAReply(String),
    /// The lines of one reply bear different codes (RFC 5321 §4.2.1).
    MixedCodes {
        /// The code of the lines before.
        first: u16,
        /// The code of the line that differs.
        then: u16,
        /// What all these lines say, in one and printable.
        text: String,
    },
    /// A line of more than [`MAX_LINE`] octets.
    LineTooLong,
    /// A reply of more than [`MAX_REPLY`] octets.
    ReplyTooLong,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::NotAReply(line) => write!(f, "not a reply: '{line}'"),
            Malformed::MixedCodes { first, then, text } => {
                write!(f, "a reply with two codes, {first} and {then}: '{text}'")
            }
            Malformed::LineTooLong => write!(f, "a reply line longer than {MAX_LINE} octets"),
            Malformed::ReplyTooLong => write!(f, "a reply longer than {MAX_REPLY} octets"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Puts replies together from octets that come in pieces of any size.
#[derive(Debug, Default)]
pub struct ReplyReader {
    input: Vec<u8>,
    /// How much of `input` has been taken.
    taken: usize,
    /// How much of `input` has been searched for a line end in vain.
    searched: usize,
    partial: Option<Partial>,
}

/// The lines of a reply that is not complete yet.
#[derive(Debug)]
struct Partial {
    code: u16,
    octets: usize,
    enhanced: Option<EnhancedCode>,
    text: String,
}

impl ReplyReader {
    /// Takes octets that came from the server.
    pub fn push(&mut self, octets: &[u8]) {
        if self.taken == self.input.len() {
            self.input.clear();
        } else if self.taken > MAX_REPLY {
            self.input.drain(..self.taken);
        } else {
            self.input.extend_from_slice(octets);
            return;
        }
        self.searched -= self.taken.min(self.searched);
        self.taken = 0;
        self.input.extend_from_slice(octets);
    }

    /// Whether there are octets that no reply has used.
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.partial.is_some() || self.taken < self.input.len()
    }

    /// The octets that no reply has used yet: what TLS must not start on (RFC 3207 §6).
    #[must_use]
    pub fn unused(&self) -> &[u8] {
        self.input.get(self.taken..).unwrap_or_default()
    }

    /// The next complete reply, if it is there.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when what is there can never become one. The connection is of no more use then.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, Malformed> {
        while let Some(end) = self.line_end()? {
            let line = self.input.get(self.taken..end).unwrap_or_default();
            let octets = line.len() + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let complete = take_line(&mut self.partial, line, octets)?;
            self.taken = end + 1;
            if let Some(reply) = complete {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Where the next line ends in `input`.
    fn line_end(&mut self) -> Result<Option<usize>, Malformed> {
        self.searched = self.searched.max(self.taken);
        let found = scan::find(b'\n', self.input.get(self.searched..).unwrap_or_default());
        let end = found.map(|at| self.searched + at);
        self.searched = end.unwrap_or(self.input.len());
        if self.searched - self.taken > MAX_LINE { Err(Malformed::LineTooLong) } else { Ok(end) }
    }
}

/// Adds a line to the reply being put together; returns the reply when that line was its last.
fn take_line(partial: &mut Option<Partial>, line: &[u8], octets: usize) -> Result<Option<Reply>, Malformed> {
    let not_a_reply = || Malformed::NotAReply(printable(line.get(..80).unwrap_or(line)));
    let (code, last, text) = split_line(line).ok_or_else(not_a_reply)?;
    let text = printable(text);
    let enhanced = EnhancedCode::split(&text).filter(|(e, _)| u16::from(e.class) == code / 100);
    let now = match partial.take() {
        None => {
            let (enhanced, rest) =
                enhanced.map_or((None, text.len()), |(code, rest)| (Some(code), rest.len()));
            let mut text = text;
            text.drain(..text.len() - rest);
            Partial { code, octets, enhanced, text }
        }
        Some(so_far) if so_far.code != code => {
            let text = format!("{} {text}", so_far.text.replace('\n', " ")).trim().to_owned();
            return Err(Malformed::MixedCodes { first: so_far.code, then: code, text });
        }
        Some(mut so_far) => {
            so_far.octets += octets;
            if so_far.octets > MAX_REPLY {
                return Err(Malformed::ReplyTooLong);
            }
            so_far.text.push('\n');
            // Cyrus has it on the last line only.
            so_far.enhanced = so_far.enhanced.or(enhanced.map(|e| e.0));
            let repeated = enhanced.filter(|e| Some(e.0) == so_far.enhanced);
            so_far.text.push_str(repeated.map_or(text.as_str(), |e| e.1));
            so_far
        }
    };
    if last {
        return Ok(Some(Reply { code: now.code, enhanced: now.enhanced, text: now.text }));
    }
    *partial = Some(now);
    Ok(None)
}

/// The code of a reply line, whether it is the last, and its text.
fn split_line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code = digits.iter().try_fold(0, |n, d| d.is_ascii_digit().then(|| n * 10 + u16::from(d - b'0')))?;
    let (last, text) = match rest.split_first() {
        None => (true, rest),
        Some((b' ', text)) => (true, text),
        Some((b'-', text)) => (false, text),
        Some(_) => return None,
    };
    (200..600).contains(&code).then_some((code, last, text))
}

/// Whether `c` is not seen where it stands, or changes how what stands around it is seen: controls beyond
/// ASCII, directional marks, blanks without width. Joiners are not among them: some languages need those.
pub(super) fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{9f}' | '\u{61c}' | '\u{200b}' | '\u{200e}'..='\u{200f}')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text with everything that a terminal or a log could take amiss escaped: control characters,
/// directional overrides, octets that are not UTF-8. A tab becomes a space.
#[must_use]
pub fn printable(octets: &[u8]) -> String {
    if let Ok(text) = str::from_utf8(octets)
        && octets.iter().all(|octet| matches!(octet, b' '..=b'~'))
    {
        return text.to_owned();
    }
    let mut text = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => text.push(' '),
                c if c.is_ascii_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
                c if is_deceptive(c) => text.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
                c => text.push(c),
            }
        }
        chunk.invalid().iter().for_each(|b| text.push_str(&format!("\\x{b:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(octets: &[u8], piece: usize) -> Result<Vec<String>, Malformed> {
        let mut reader = ReplyReader::default();
        let mut found = Vec::new();
        for piece in octets.chunks(piece) {
            reader.push(piece);
            while let Some(reply) = reader.next_reply()? {
                found.push(reply.to_string());
            }
        }
        Ok(found)
    }

    #[test]
    fn every_piece_size_gives_the_same_replies() {
        let octets = b"220 hi\r\n250-a\r\n250-b\n250 c\r\n354\r\n250 2.1.5 ok\n550-5.1.1 no\r\n550 5.1.1 such\r\n250 \r\n";
        let expected = ["220 hi", "250 a b c", "354", "250 2.1.5 ok", "550 5.1.1 no such", "250"];
        for piece in 1..octets.len() {
            assert_eq!(all(octets, piece).unwrap(), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for line in ["", "hello", "25 ok", "2500 ok", "250_ok", "150 early", "600 late", "25x ok", "\0\0\0"] {
            let found = all(format!("{line}\r\n").as_bytes(), 1);
            assert!(matches!(found, Err(Malformed::NotAReply(_))), "{line}: {found:?}");
        }
        let mixed = all(b"220-mailbox\r\n220-here\r\n554 5.7.1 not you\r\n", 1).unwrap_err();
        assert_eq!(mixed.to_string(), "a reply with two codes, 220 and 554: 'mailbox here 5.7.1 not you'");
    }

    #[test]
    fn limits_hold_whether_the_end_comes_or_not() {
        let long = [b"250 ".as_slice(), &[b'x'; MAX_LINE]].concat();
        assert_eq!(all(&long, 100), Err(Malformed::LineTooLong));
        assert_eq!(all(&[&long, b"\r\n".as_slice()].concat(), usize::MAX), Err(Malformed::LineTooLong));
        let endless = b"250-x\r\n".repeat(MAX_REPLY / 7 + 1);
        assert_eq!(all(&endless, 1000), Err(Malformed::ReplyTooLong));
    }

    #[test]
    fn many_replies_in_one_piece_do_not_pile_up() {
        let mut reader = ReplyReader::default();
        for _ in 0..10_000 {
            reader.push(b"250 ok\r\n250 half");
            assert!(reader.next_reply().unwrap().is_some());
            assert!(reader.next_reply().unwrap().is_none());
            reader.push(b"\r\n");
            assert!(reader.next_reply().unwrap().is_some());
            assert!(reader.input.len() < 2 * MAX_REPLY);
        }
    }

    #[test]
    fn enhanced_codes_are_believed_only_where_they_agree() {
        let enhanced = |line: &str| {
            let mut reader = ReplyReader::default();
            reader.push(line.as_bytes());
            reader.push(b"\r\n");
            reader.next_reply().unwrap().unwrap().enhanced().map(|e| e.to_string())
        };
        assert_eq!(enhanced("550 5.1.1 no").as_deref(), Some("5.1.1"));
        assert_eq!(enhanced("550 5.1.1").as_deref(), Some("5.1.1"));
        assert_eq!(enhanced("452 4.2.2 full").as_deref(), Some("4.2.2"));
        for line in
            ["550 4.1.1 no", "250 5.1.1 no", "550 5.1 no", "550 5.1.1.1 no", "550 5.1.1234 no", "550 5.1.x"]
        {
            assert_eq!(enhanced(line), None, "{line}");
        }
    }

    #[test]
    fn nothing_that_moves_a_terminal_survives() {
        assert_eq!(printable(b"a\x1b[2Jb\x00\x7f\xff\tc"), "a\\x1b[2Jb\\x00\\x7f\\xff c");
        assert_eq!(printable("\u{202e}é\u{9b}".as_bytes()), "\\u{202e}é\\u{9b}");
    }
}
