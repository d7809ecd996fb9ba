//! Values that are more than a word: numbers with limits.

use std::time::Duration;

/// The longest time limit, in seconds: about eleven days, which poll(2) can wait for in one call.
const MAX_SECONDS: f64 = 1_000_000.0;
/// The shortest time limit, in seconds: what poll(2) counts in.
const MIN_SECONDS: f64 = 0.001;

/// A time limit in seconds, with or without a fraction.
///
/// # Errors
///
/// What is no number, or not between a millisecond and a million seconds.
pub fn seconds(word: &str) -> Result<Duration, &'static str> {
    let plain = word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match word.parse::<f64>() {
        Ok(seconds) if plain && (MIN_SECONDS..=MAX_SECONDS).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err("not a number of seconds from 0.001 to 1000000"),
    }
}

/// A port.
///
/// # Errors
///
/// What is no number from 1 to 65535.
pub fn port(word: &str) -> Result<u16, &'static str> {
    match word.parse() {
        Ok(port) if port > 0 && word.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err("not a port from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_positive_and_sane() {
        for (word, millis) in
            [("1", 1000), ("0.5", 500), (".25", 250), ("0.001", 1), ("1000000", 1_000_000_000)]
        {
            assert_eq!(seconds(word), Ok(Duration::from_millis(millis)), "{word}");
        }
        for word in
            ["", "0", "0.0", "-1", "-0.5", "+1", "nan", "inf", "1e3", "1000001", "0.0001", "1s", "1 ", "."]
        {
            assert!(seconds(word).is_err(), "{word}");
        }
    }

    #[test]
    fn ports_have_sixteen_bits() {
        assert_eq!(port("24"), Ok(24));
        assert_eq!(port("65535"), Ok(65535));
        for word in ["", "0", "-1", "+24", "65536", "lmtp", "24 "] {
            assert!(port(word).is_err(), "{word}");
        }
    }
}
