//! Reads the arguments of commands: paths, parameters, chunk sizes (RFC 5321 §4.1.2, RFC 3030 §2).
//!
//! Strict about where things begin and end, and no more: an address is taken apart as far as it takes to know
//! its domain. The caller has made sure that a line is UTF-8 without control characters.

use lmtp_send::lmtp::{EnhancedCode, Reply};

/// A reply whose enhanced code has the reply's class.
pub fn reply(code: u16, subject: u16, detail: u16, text: &str) -> Reply {
    let class = if code < 300 {
        2
    } else if code < 500 {
        4
    } else {
        5
    };
    Reply::new(code, EnhancedCode::new(class, subject, detail), text)
}

/// What MAIL declares about the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// `BODY=BINARYMIME` (RFC 3030 §3).
    pub binary: bool,
    /// `SMTPUTF8` (RFC 6531 §3.4).
    pub utf8: bool,
}

/// The argument of MAIL.
///
/// # Errors
///
/// The reply that refuses it.
pub fn mail(argument: &str) -> Result<Declared, Reply> {
    let (path, parameters) = path(argument, "FROM:")?;
    let mut declared = Declared::default();
    for parameter in parameters.split(' ').filter(|p| !p.is_empty()) {
        let (keyword, value) = parameter.split_once('=').map_or((parameter, None), |(k, v)| (k, Some(v)));
        match (keyword.to_ascii_uppercase().as_str(), value.map(str::to_ascii_uppercase).as_deref()) {
            ("SIZE", Some(octets)) if number(octets).is_some() => {}
            ("BODY", Some("7BIT" | "8BITMIME")) => {}
            ("BODY", Some("BINARYMIME")) => declared.binary = true,
            ("SMTPUTF8", None) => declared.utf8 = true,
            ("SIZE" | "BODY" | "SMTPUTF8", _) => return Err(reply(501, 5, 4, "invalid parameter value")),
            _ => return Err(reply(555, 5, 4, "unknown MAIL parameter")),
        }
    }
    if !path.is_empty() {
        mailbox(path, declared.utf8)?;
    }
    Ok(declared)
}

/// The argument of RCPT: the recipient, its domain in small letters. `utf8` as MAIL declared it.
///
/// # Errors
///
/// The reply that refuses it.
pub fn rcpt(argument: &str, utf8: bool) -> Result<String, Reply> {
    let (path, parameters) = path(argument, "TO:")?;
    if !parameters.trim_matches(' ').is_empty() {
        return Err(reply(555, 5, 4, "unknown RCPT parameter"));
    }
    mailbox(path, utf8)
}

/// The argument of BDAT: the chunk's octets, and whether it is the last.
pub fn bdat(argument: &str) -> Option<(u64, bool)> {
    let (size, last) = argument.split_once(' ').map_or((argument, None), |(size, last)| (size, Some(last)));
    let known = last.is_none_or(|word| word.eq_ignore_ascii_case("LAST"));
    number(size).filter(|_| known).map(|size| (size, last.is_some()))
}

/// Digits and nothing else.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|d| d.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The path between the angle brackets that follow `keyword`, and the parameters behind them.
fn path<'a>(argument: &'a str, keyword: &str) -> Result<(&'a str, &'a str), Reply> {
    let syntax = || reply(501, 5, 2, &format!("syntax: {keyword}<address> [parameters]"));
    let (word, rest) = argument.split_at_checked(keyword.len()).ok_or_else(syntax)?;
    let rest = rest.strip_prefix('<').filter(|_| word.eq_ignore_ascii_case(keyword)).ok_or_else(syntax)?;
    let end = unquoted(rest, |octet| octet == b'>').ok_or_else(syntax)?;
    let (path, rest) = rest.split_at_checked(end).ok_or_else(syntax)?;
    let parameters =
        rest.strip_prefix('>').filter(|p| p.is_empty() || p.starts_with(' ')).ok_or_else(syntax)?;
    Ok((path, parameters))
}

/// Where an octet that is `wanted` first stands outside a quoted string.
fn unquoted(text: &str, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|octet| {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return !quoted && wanted(octet),
        }
        false
    })
}

/// The mailbox that `path` names: a lone local-part, or one with a domain, which comes back in small letters.
/// A source route is ignored (RFC 5321 §4.1.1.3).
fn mailbox(path: &str, utf8: bool) -> Result<String, Reply> {
    let invalid = || reply(501, 1, 3, "invalid address");
    if !utf8 && !path.is_ascii() {
        return Err(reply(553, 6, 7, "an address beyond ASCII needs SMTPUTF8"));
    }
    let route = path.find(':').filter(|_| path.starts_with('@')).map_or(0, |colon| colon + 1);
    let mailbox = path.get(route..).unwrap_or_default();
    let at = unquoted(mailbox, |octet| octet == b'@').unwrap_or(mailbox.len());
    let (local, domain) = mailbox.split_at_checked(at).ok_or_else(invalid)?;
    let special = unquoted(local, |octet| b" (),:;<>[\\]".contains(&octet));
    if local.is_empty() || special.is_some() || !domain.strip_prefix('@').is_none_or(is_domain) {
        return Err(invalid());
    }
    Ok([local, &domain.to_ascii_lowercase()].concat())
}

/// Names between dots, or an address literal.
fn is_domain(domain: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || !c.is_ascii() || "-_".contains(c);
    match domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(literal) => !literal.is_empty() && literal.chars().all(|c| plain(c) || ":.".contains(c)),
        None => domain.split('.').all(|name| !name.is_empty() && name.chars().all(plain)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients() {
        let table = [
            ("TO:<joe@example.net>", Ok("joe@example.net")),
            ("to:<Joe@EXAMPLE.Net>", Ok("Joe@example.net")),
            ("TO:<postmaster>", Ok("postmaster")),
            ("TO:<\"a> @\\\"b\"@x>", Ok("\"a> @\\\"b\"@x")),
            ("TO:<\"\">", Ok("\"\"")),
            ("TO:<@a,@b:joe@c> ", Ok("joe@c")),
            ("TO:<../../etc/x@y>", Ok("../../etc/x@y")),
            ("TO:<joe@[IPv6:2001:DB8::1]>", Ok("joe@[ipv6:2001:db8::1]")),
            ("TO:<jörg@bücher.example>", Ok("jörg@bücher.example")),
            ("TO:<>", Err("501 5.1.3")),
            ("TO:<@x>", Err("501 5.1.3")),
            ("TO:<joe@>", Err("501 5.1.3")),
            ("TO:<joe@.x>", Err("501 5.1.3")),
            ("TO:<joe@x@y>", Err("501 5.1.3")),
            ("TO:<joe@x/y>", Err("501 5.1.3")),
            ("TO:<joe@[]>", Err("501 5.1.3")),
            ("TO:<a b@x>", Err("501 5.1.3")),
            ("TO:<<joe@x>>", Err("501 5.5.2")),
            ("TO:<joe@x", Err("501 5.5.2")),
            ("TO:<\"joe@x>", Err("501 5.5.2")),
            ("TO: <joe@x>", Err("501 5.5.2")),
            ("TO:joe@x", Err("501 5.5.2")),
            ("TÖ:<joe@x>", Err("501 5.5.2")),
            ("TO:<joe@x>NOTIFY=NEVER", Err("501 5.5.2")),
            ("TO:<joe@x> NOTIFY=NEVER", Err("555 5.5.4")),
        ];
        for (argument, expected) in table {
            match (rcpt(argument, true), expected) {
                (Ok(found), expected) => assert_eq!(Ok(found.as_str()), expected, "{argument}"),
                (Err(found), Err(expected)) => {
                    assert!(found.to_string().starts_with(expected), "{argument}: {found}")
                }
                (Err(found), Ok(_)) => panic!("{argument}: {found}"),
            }
        }
        assert_eq!(rcpt("TO:<jörg@x>", false).unwrap_err().code(), 553);
    }

    #[test]
    fn parameters_of_mail() {
        let declared = |binary, utf8| Ok(Declared { binary, utf8 });
        let table = [
            ("FROM:<>", declared(false, false)),
            ("FROM:<me@x> SIZE=12 BODY=8BITMIME", declared(false, false)),
            ("from:<me>  smtputf8 body=binarymime ", declared(true, true)),
            ("FROM:<é@x> SMTPUTF8", declared(false, true)),
            ("FROM:<é@x>", Err("553 5.6.7")),
            ("FROM:<me@x> SIZE=-1", Err("501 5.5.4")),
            ("FROM:<me@x> SIZE=", Err("501 5.5.4")),
            ("FROM:<me@x> SIZE", Err("501 5.5.4")),
            ("FROM:<me@x> BODY=9BIT", Err("501 5.5.4")),
            ("FROM:<me@x> SMTPUTF8=YES", Err("501 5.5.4")),
            ("FROM:<me@x> RET=HDRS", Err("555 5.5.4")),
            ("FROM:<me@x> TO:<you@x>", Err("555 5.5.4")),
            ("FROM:<me@x>>", Err("501 5.5.2")),
            ("TO:<me@x>", Err("501 5.5.2")),
            ("", Err("501 5.5.2")),
        ];
        for (argument, expected) in table {
            let found = mail(argument).map_err(|reply| reply.to_string());
            assert_eq!(
                found.as_ref().map_err(|text| &text[..9]),
                expected.as_ref().map_err(|e| *e),
                "{argument}"
            );
        }
    }

    #[test]
    fn chunk_sizes() {
        assert_eq!(bdat("0 last"), Some((0, true)));
        assert_eq!(bdat("18446744073709551615"), Some((u64::MAX, false)));
        for argument in ["", "+1", "1 ", "1 LASTLY", "1 LAST LAST", "LAST", "18446744073709551616"] {
            assert_eq!(bdat(argument), None, "{argument}");
        }
    }
}
