//! The fields that are added where they are missing (RFC 5322 §3.6): From, Date and Message-ID.

use data_encoding::BASE64;

use crate::calendar;

/// The longest encoded word (RFC 2047 §2), in characters.
const MAX_ENCODED_WORD: usize = 75;

/// `Name <address>`, or the address alone.
pub fn mailbox(name: Option<&str>, address: &str) -> String {
    let name: Option<String> = name.map(|name| {
        let plain = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        plain.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    match name.filter(|name| !name.is_empty()) {
        Some(name) => format!("{} <{address}>", phrase(&name)),
        None => address.to_owned(),
    }
}

/// A display name: as it is, quoted (RFC 5322 §3.2.4), or where it is not ASCII in encoded words (RFC 2047).
fn phrase(name: &str) -> String {
    let is_atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~ ".contains(c);
    if !name.is_ascii() {
        encoded_words(name)
    } else if name.chars().all(is_atom) && !name.contains("=?") {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// The value of a field for people, such as Subject.
pub fn unstructured(text: &str) -> String {
    if text.is_ascii() && !text.contains("=?") { text.to_owned() } else { encoded_words(text) }
}

/// Each word holds whole characters and is not too long.
fn encoded_words(name: &str) -> String {
    const FRAME: usize = "=?UTF-8?B??=".len();
    let most = (MAX_ENCODED_WORD - FRAME) / 4 * 3;
    let mut words: Vec<String> = vec![String::new()];
    for c in name.chars() {
        if words.last().is_some_and(|word| word.len() + c.len_utf8() > most) {
            words.push(String::new());
        }
        words.iter_mut().last().into_iter().for_each(|word| word.push(c));
    }
    let encoded = |word: &String| format!("=?UTF-8?B?{}?=", BASE64.encode(word.as_bytes()));
    words.iter().map(encoded).collect::<Vec<_>>().join("\r\n ")
}

/// The time `seconds` after 1970 in UTC, as in `Wed, 03 Jan 1996 01:05:34 +0000`.
pub fn date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = calendar::civil(days);
    let weekday = DAYS.iter().cycle().nth((days % 7) as usize).unwrap_or(&"Thu");
    let month = MONTHS.get(month).unwrap_or(&"Jan");
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} +0000")
}

/// A Message-ID of the time, a random number and the host or the sender's domain.
pub fn message_id(seconds: u64, random: u64, domain: &str) -> String {
    format!("<{seconds}.{random:016x}@{domain}>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_or_encoded() {
        for (name, expected) in [
            (None, "a@b"),
            (Some(""), "a@b"),
            (Some(" \r\n"), "a@b"),
            (Some("CronDaemon"), "CronDaemon <a@b>"),
            (Some("Joe Public"), "Joe Public <a@b>"),
            (Some("Joe Q. Public"), "\"Joe Q. Public\" <a@b>"),
            (Some("Joe \"Q\" \\x"), "\"Joe \\\"Q\\\" \\\\x\" <a@b>"),
            (Some("Joe\r\nBcc: x@y"), "\"Joe Bcc: x@y\" <a@b>"),
            (Some("=?x?q?y?="), "\"=?x?q?y?=\" <a@b>"),
            (Some("Jörg"), "=?UTF-8?B?SsO2cmc=?= <a@b>"),
            (Some("é"), "=?UTF-8?B?w6k=?= <a@b>"),
        ] {
            assert_eq!(mailbox(name, "a@b"), expected);
        }
        let long = mailbox(Some(&"é".repeat(60)), "a@b");
        assert!(long.split("\r\n ").all(|word| word.trim_end_matches(" <a@b>").len() <= 75), "{long}");
        assert_eq!(long.matches("=?UTF-8?B?").count(), 3);
    }

    #[test]
    fn what_is_not_ascii_is_encoded_in_a_subject() {
        for (text, expected) in [
            ("a \"b\", c", "a \"b\", c"),
            ("é", "=?UTF-8?B?w6k=?="),
            ("=?x?q?y?=", "=?UTF-8?B?PT94P3E/eT89?="),
        ] {
            assert_eq!(unstructured(text), expected);
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
            (820_631_134, "Wed, 03 Jan 1996 01:05:34 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (1_078_012_800, "Sun, 29 Feb 2004 00:00:00 +0000"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 +0000"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 +0000"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }

    #[test]
    fn a_message_id_is_one() {
        assert_eq!(message_id(1, 255, "x.example"), "<1.00000000000000ff@x.example>");
    }
}
