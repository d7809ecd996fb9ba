//! Errors of the system in words.
//!
//! The standard library shows `No such file or directory (os error 2)`, and of a name that is looked up
//! `failed to lookup address information: …`. The number and the function say nothing to whoever reads a
//! bounce; what is left is what `strerror(3)` and `gai_strerror(3)` say.

use std::io;

/// What the standard library puts before the resolver's own words.
const LOOKUP: &str = "failed to lookup address information: ";

/// What went wrong, as a person is told it.
#[must_use]
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    without_numbers(text.strip_prefix(LOOKUP).unwrap_or(&text))
}

/// `text` without any `(os error N)` in it: an error may have become part of another's text.
fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.parse::<i32>().is_ok() => plain.push_str(rest),
            Some(_) | None => plain = format!("{plain} (os error {part}"),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_without_numbers() {
        let missing = io::Error::from_raw_os_error(2);
        let nested = io::Error::other(format!("first: {missing}; then: {missing}"));
        for (error, expected) in [
            (missing, "No such file or directory"),
            (nested, "first: No such file or directory; then: No such file or directory"),
            (io::Error::other("failed to lookup address information: no answer"), "no answer"),
            (io::Error::other("a (os error x) b"), "a (os error x) b"),
            (io::Error::other("a (os error 2"), "a (os error 2"),
            (io::ErrorKind::TimedOut.into(), "timed out"),
        ] {
            assert_eq!(words(&error), expected);
        }
    }
}
