//! Values that are more than a word: numbers with limits.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The longest time limit, in seconds: about eleven days, which poll(2) can wait for in one call.
const MAX_SECONDS: f64 = 1_000_000.0;
/// The shortest time limit, in seconds: what poll(2) counts in.
const MIN_SECONDS: f64 = 0.001;

/// That an option without a value was given. Not `bool`, which would have a default: working that out for each option
/// is a tenth of what a delivery takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given;

/// [`Given`], where an option without a value stands.
///
/// # Errors
///
/// None.
pub fn given(_: &str) -> Result<Given, Infallible> {
    Ok(Given)
}

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

/// Words on one line.
///
/// # Errors
///
/// What holds a control character.
pub fn line(word: &str) -> Result<String, &'static str> {
    if word.chars().any(char::is_control) { Err("not one line of text") } else { Ok(word.to_owned()) }
}

/// A port, or the name of a service, which begins with a letter.
///
/// # Errors
///
/// What is neither a name nor a number from 1 to 65535.
pub fn port(word: &str) -> Result<String, &'static str> {
    let is_port = word.bytes().all(|b| b.is_ascii_digit()) && word.parse::<u16>().is_ok_and(|port| port > 0);
    let is_name = word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if is_port || is_name { Ok(word.to_owned()) } else { Err("not a port from 1 to 65535") }
}

/// For whom a session is, as the PROXY protocol says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// For the proxy itself.
    Local,
    /// For this client; port 0 where it is not known.
    Source(SocketAddr),
}

/// `local`, or an address with or without a port.
///
/// # Errors
///
/// What is neither.
pub fn proxy(word: &str) -> Result<Proxy, &'static str> {
    if word.eq_ignore_ascii_case("local") {
        return Ok(Proxy::Local);
    }
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    let address = bare.parse::<IpAddr>().map(|address| SocketAddr::new(address, 0));
    let source = address.or_else(|_| word.parse::<SocketAddr>());
    source.map(Proxy::Source).map_err(|_| "neither 'local' nor an IP address with or without a port")
}

/// How often or how many: at least once.
///
/// # Errors
///
/// What is no number from 1 to a thousand million.
pub fn count(word: &str) -> Result<u32, &'static str> {
    match number(word) {
        Ok(count @ 1..) => Ok(count),
        _ => Err("not a number from 1 to 1000000000"),
    }
}

/// How often or how many, and perhaps not at all.
///
/// # Errors
///
/// What is no number from 0 to a thousand million.
pub fn number(word: &str) -> Result<u32, &'static str> {
    match word.parse() {
        Ok(number @ 0..=1_000_000_000) if word.bytes().all(|b| b.is_ascii_digit()) => Ok(number),
        _ => Err("not a number from 0 to 1000000000"),
    }
}

/// How many sessions are held at once.
///
/// # Errors
///
/// What is no number from 1 to 1000.
pub fn connections(word: &str) -> Result<u32, &'static str> {
    count(word).ok().filter(|n| *n <= 1000).ok_or("not a number from 1 to 1000")
}

/// A part of a run: `K/N`, with K from 1 to N.
///
/// # Errors
///
/// What is no such part.
pub fn shard(word: &str) -> Result<(u64, u64), &'static str> {
    let part = word.split_once('/').and_then(|(part, parts)| Some((count(part).ok()?, count(parts).ok()?)));
    match part {
        Some((part, parts)) if part <= parts => Ok((part.into(), parts.into())),
        _ => Err("not K/N with K from 1 to N"),
    }
}

/// So many per second, with or without a fraction.
///
/// # Errors
///
/// What is no number, or not between one in a million seconds and a million in one.
pub fn rate(word: &str) -> Result<f64, &'static str> {
    let plain = word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match word.parse::<f64>() {
        Ok(rate) if plain && (1e-6..=1e6).contains(&rate) => Ok(rate),
        _ => Err("not a number per second from 0.000001 to 1000000"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_has_an_address() {
        let source = |address: &str| Ok(Proxy::Source(address.parse().unwrap()));
        for (word, meant) in [
            ("local", Ok(Proxy::Local)),
            ("LOCAL", Ok(Proxy::Local)),
            ("192.0.2.7", source("192.0.2.7:0")),
            ("192.0.2.7:25", source("192.0.2.7:25")),
            ("2001:db8::7", source("[2001:db8::7]:0")),
            ("[2001:db8::7]", source("[2001:db8::7]:0")),
            ("[2001:db8::7]:25", source("[2001:db8::7]:25")),
        ] {
            assert_eq!(proxy(word), meant, "{word}");
        }
        for word in
            ["", "localhost", "192.0.2", "192.0.2.7:", "192.0.2.7:65536", "[192.0.2.7", "a:25", " local"]
        {
            assert!(proxy(word).is_err(), "{word}");
        }
    }

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
    fn counts_and_rates_are_numbers() {
        assert_eq!((count("1"), number("0"), connections("16")), (Ok(1), Ok(0), Ok(16)));
        assert_eq!((rate("0.5"), rate("100")), (Ok(0.5), Ok(100.0)));
        for word in ["", "-1", "+1", "1.5", "1000000001", "many", "1 "] {
            assert!(count(word).is_err() && number(word).is_err() && connections(word).is_err(), "{word}");
        }
        assert_eq!((shard("1/1"), shard("3/8")), (Ok((1, 1)), Ok((3, 8))));
        for word in ["", "1", "0/2", "3/2", "1/0", "/", "1/2/3", "a/b"] {
            assert!(shard(word).is_err(), "{word}");
        }
        assert!(count("0").is_err() && connections("1001").is_err());
        for word in ["", "0", "-1", "nan", "inf", "1e3", "1/s"] {
            assert!(rate(word).is_err(), "{word}");
        }
    }

    #[test]
    fn ports_have_sixteen_bits() {
        for word in ["24", "65535", "lmtp", "x-service_2"] {
            assert_eq!(port(word).as_deref(), Ok(word));
        }
        for word in ["", "0", "-1", "+24", "65536", "24lmtp", "24 "] {
            assert!(port(word).is_err(), "{word}");
        }
    }
}
