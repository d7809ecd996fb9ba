//! Addresses, lists of them, and parameters: what is taken can stand in a command, and is taken again as the same.
//!
//! An input is a text that was typed, and the value of a header field.

use lmtp_send::envelope::list;
use lmtp_send::lmtp::address::{AddressProblem, MAX_ADDRESS, MAX_DOMAIN};
use lmtp_send::lmtp::{Address, Parameter, ReversePath, drop_repeated};

use super::octets::assert_printable;

pub fn drive(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        typed(text);
        quoted(text);
    }
    listed(data);
}

fn typed(text: &str) {
    match Address::parse(text) {
        Ok(address) => {
            assert_sound(&address);
            let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
            let odd = |part: &str| !part.starts_with('"') && part.split('.').any(str::is_empty);
            let (local, domain) = bare.split_once('@').unwrap_or((bare, ""));
            if odd(local) {
                let at = if bare.contains('@') { "@" } else { "" };
                assert_eq!(address.as_str(), format!("\"{local}\"{at}{domain}"));
            } else {
                assert_eq!(address.as_str(), bare);
            }
            assert_eq!(Address::parse(&format!("<{address}>")).as_ref(), Ok(&address));
            let path = ReversePath::parse(text).expect("an address is a reverse-path");
            assert!(path.address().is_none_or(|of| *of == address));
        }
        Err(error) => assert_printable(&error.to_string()),
    }
    if let Ok(addresses) = Address::parse_several(text) {
        addresses.iter().for_each(assert_sound);
        assert_eq!(Address::parse_several(&joined(&addresses)), Ok(addresses));
    }
    match Parameter::parse(text) {
        Ok(parameter) => {
            assert_eq!(parameter.as_str(), text);
            assert!(!text.chars().any(|c| c.is_control() || c == ' '), "{text:?}");
        }
        Err(error) => assert_printable(&error.to_string()),
    }
}

/// In quotes nearly any text is a local-part, and any that fits in a line is a name.
fn quoted(text: &str) {
    let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    match Address::parse(&format!("{quoted}@x")) {
        Ok(address) => {
            assert_sound(&address);
            assert_eq!(address.local(), quoted);
        }
        Err(error) => {
            let problem = error.problem();
            assert!(matches!(problem, AddressProblem::Control(_) | AddressProblem::TooLong), "{error}");
        }
    }
    if !text.contains(['\r', '\n']) {
        let found =
            list::parse(format!("{quoted} <a@x>, b@x ({})", text.replace(['(', ')', '\\'], "")).as_bytes());
        assert_eq!(found.map(|found| joined(&found)), Ok("a@x, b@x".to_owned()));
    }
}

fn listed(value: &[u8]) {
    let found = list::parse(value);
    match &found {
        Ok(addresses) => {
            addresses.iter().for_each(assert_sound);
            if let Ok(again) = list::parse(joined(addresses).as_bytes()) {
                assert_eq!(again, *addresses);
            }
            assert_each_once(addresses);
        }
        Err(error) => assert_printable(&error.to_string()),
    }
    // A backslash before a fold quotes a CR or, when the fold is gone, a blank.
    let quotes_fold = value.windows(2).any(|pair| matches!(pair, [b'\\', b'\r' | b'\n']));
    let unfolded = unfolded(value);
    if !quotes_fold && !unfolded.iter().any(|octet| matches!(octet, b'\r' | b'\n')) {
        assert_eq!(list::parse(&unfolded).ok(), found.ok(), "without its folds");
    }
}

/// It is as it is parsed, and nothing in it ends or extends a command.
fn assert_sound(address: &Address) {
    let text = address.as_str();
    assert_eq!(Address::parse(text).as_ref(), Ok(address));
    assert_printable(text);
    assert!(!text.contains(['\r', '\n', '\0']));
    assert!(!text.is_empty() && text.len() <= MAX_ADDRESS);
    assert!(address.domain().is_none_or(|domain| !domain.is_empty() && domain.len() <= MAX_DOMAIN));
    let put_together = address.domain().map_or(String::new(), |domain| format!("@{domain}"));
    assert_eq!(format!("{}{put_together}", address.local()), text);
    let unquoted = if address.local().starts_with('"') { address.domain().unwrap_or_default() } else { text };
    assert!(!unquoted.contains(|c: char| c.is_whitespace() || "<>\"\\,;()".contains(c)), "{text:?}");
    assert!(address.same_mailbox(address));
}

/// Of the addresses of one mailbox the first is left, and none of any other is lost.
fn assert_each_once(addresses: &[Address]) {
    let mut left = addresses.to_vec();
    drop_repeated(&mut left);
    for address in addresses {
        let same: Vec<&Address> = left.iter().filter(|other| other.same_mailbox(address)).collect();
        let first = addresses.iter().find(|other| other.same_mailbox(address));
        assert_eq!(same, Vec::from_iter(first));
    }
}

fn joined(addresses: &[Address]) -> String {
    addresses.iter().map(Address::as_str).collect::<Vec<_>>().join(", ")
}

/// RFC 5322 §2.2.3: the value without the line ends before white space.
fn unfolded(value: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut rest = value;
    while let Some((octet, after)) = rest.split_first() {
        rest = match rest {
            [b'\r', b'\n', b' ' | b'\t', ..] => &rest[2..],
            [b'\n', b' ' | b'\t', ..] => after,
            _ => {
                text.push(*octet);
                after
            }
        };
    }
    text
}
