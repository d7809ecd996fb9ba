//! Replies: the same in pieces of any size as in one, within their limits, and fit to be shown.
//!
//! An input is two octets, the manner of the pieces and how often what follows is repeated (up to `fa` once, `ff`
//! as often as it takes), and then what a server says.

use lmtp_send::lmtp::reply::{MAX_LINE, MAX_REPLY, ReplyReader};
use lmtp_send::lmtp::{Malformed, Reply};

use super::octets::{assert_printable, pieces};

/// No more octets than these are made of an input.
const MOST: usize = MAX_REPLY + 2 * MAX_LINE;

pub fn drive(data: &[u8]) {
    let Some(([manner, times], said)) = data.split_first_chunk() else { return };
    let times = match times {
        0..=0xfa => 1,
        0xfb..=0xfe => usize::from(times - 0xf9),
        0xff => MOST / said.len().max(1),
    };
    let said = said.repeat(times.max(1));
    let whole = read([said.as_slice()]);
    // Long ones not octet by octet.
    let manner = if said.len() > 4_096 { manner | 0x28 } else { *manner };
    assert_eq!(read(pieces(&said, manner)), whole, "in pieces of manner {manner}");
    whole.0.iter().for_each(assert_sound);
    if let Some(malformed) = &whole.1 {
        assert_printable(&malformed.to_string());
    }
    let framed = whole.0.iter().map(|reply| (reply.code(), reply.lines().count())).collect();
    assert_eq!((framed, whole.1.as_ref().map(name)), by_the_book(&said));
}

/// The replies, and what ended them if it was none.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Reply>, Option<Malformed>) {
    let (mut reader, mut found) = (ReplyReader::default(), Vec::new());
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_reply() {
                Ok(Some(reply)) => found.push(reply),
                Ok(None) => break,
                Err(malformed) => return (found, Some(malformed)),
            }
        }
        assert!(reader.unused().len() <= MAX_LINE, "{} octets without a line end", reader.unused().len());
        assert!(reader.unused().is_empty() || reader.has_input());
    }
    (found, None)
}

fn assert_sound(reply: &Reply) {
    assert!((200..600).contains(&reply.code()));
    assert_eq!(reply.class(), reply.code() / 100);
    assert!(!(reply.is_positive() && reply.is_negative()));
    if let Some(enhanced) = reply.enhanced() {
        assert_eq!(u16::from(enhanced.class), reply.class());
        assert!(matches!(enhanced.class, 2 | 4 | 5), "{enhanced}");
    }
    assert_printable(&reply.to_string());
    assert!(reply.to_string().ends_with(&reply.text()));
    assert!(reply.text().len() <= "\\x00".len() * MAX_REPLY);
}

/// The code and the number of lines of each reply, and what ends them, line by line (RFC 5321 §4.2).
fn by_the_book(said: &[u8]) -> (Vec<(u16, usize)>, Option<&'static str>) {
    let mut found = Vec::new();
    let (mut first, mut lines, mut octets) = (None, 0, 0);
    for line in said.split_inclusive(|o| *o == b'\n') {
        let text = line.strip_suffix(b"\n");
        if text.unwrap_or(line).len() > MAX_LINE {
            return (found, Some("long line"));
        }
        let Some(text) = text else { break };
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let digits = text.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit));
        let code = digits.and_then(|digits| str::from_utf8(digits).unwrap().parse().ok());
        let (Some(code @ 200..600), None | Some(b' ' | b'-')) = (code, text.get(3)) else {
            return (found, Some("none"));
        };
        if first.is_some_and(|first| first != code) {
            return (found, Some("mixed"));
        }
        (first, lines, octets) = (Some(code), lines + 1, octets + line.len());
        if octets > MAX_REPLY && lines > 1 {
            return (found, Some("long"));
        }
        if text.get(3) != Some(&b'-') {
            found.push((code, lines));
            (first, lines, octets) = (None, 0, 0);
        }
    }
    (found, None)
}

fn name(malformed: &Malformed) -> &'static str {
    match malformed {
        Malformed::NotAReply(_) => "none",
        Malformed::MixedCodes { .. } => "mixed",
        Malformed::LineTooLong => "long line",
        Malformed::ReplyTooLong => "long",
        _ => "something new",
    }
}
