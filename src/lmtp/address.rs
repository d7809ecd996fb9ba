//! Addresses: the mailboxes of RFC 5321 §4.1.2 with the UTF-8 of RFC 6531 §3.3, and the null reverse-path.
//!
//! An [`Address`] can stand between the angle brackets of a command as it is: it holds no CR, LF, NUL or other
//! control character, nothing that a terminal takes amiss, and no space or angle bracket outside a quoted
//! string. So nothing in it can end the command, add a parameter or begin another command.
//!
//! Where the RFCs leave room, or the mail that is out there does not keep to them:
//! - A local-part alone (`postmaster`) is an address; what it means is the server's business.
//! - A local-part may be longer than the 64 octets of RFC 5321 §4.5.3.1.1: the return addresses of mailing
//!   lists and of SRS are. The whole is bounded by [`MAX_ADDRESS`], the domain by [`MAX_DOMAIN`].
//! - An underscore may stand in a domain, and a domain may be a single label: hosts have such names.
//! - A local-part of atoms with a dot too many (`a..b`, `a.`, `.a`) is taken, since real people have such, and
//!   put in quotes, in which RFC 5321 allows it: the address is `"a..b"@x`.
//! - A dot at the end of a domain, or two in a row, is refused: no RFC knows them.
//! - Of address literals, IPv4 and IPv6 are taken: no other tag was ever standardized.
//!
//! Whether the domain exists, or the server knows the mailbox, is not asked here.

use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::reply::{is_deceptive, printable};

/// The longest address taken, in octets: a command that holds one stays within the 1000 octets that every
/// server takes in a line of text (RFC 5321 §4.5.3.1.6), its parameters apart.
pub const MAX_ADDRESS: usize = 900;
/// The longest domain, in octets (RFC 5321 §4.5.3.1.2).
pub const MAX_DOMAIN: usize = 255;
/// How many octets of a text that is refused a message shows.
const EXCERPT: usize = 80;

/// A mailbox (`joe@example.com`) or a local-part alone (`postmaster`).
///
/// Equal is what is spelled the same; whether two are the same mailbox tells [`Address::same_mailbox`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    text: Box<str>,
    /// The length of the local-part: the text's own when there is no domain.
    local: usize,
}

impl Address {
    /// The address that `text` is, angle brackets around the whole of it taken off.
    ///
    /// White space around it is refused like white space within: where such an address came from, something
    /// has gone wrong that nobody here can mend.
    ///
    /// # Errors
    ///
    /// [`InvalidAddress`] when it is not one.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let bare = match text.strip_prefix('<') {
            Some(rest) => rest.strip_suffix('>').ok_or(AddressProblem::Unexpected('<')),
            None => Ok(text),
        };
        bare.and_then(Self::from_bare)
            .map_err(|problem| InvalidAddress { text: excerpt(text.as_bytes()), problem })
    }

    /// The addresses in `text`, which a comma separates, as on a command line: blanks may follow a comma, and
    /// a comma within a quoted local-part separates nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidAddress`] for the first that is not one; nothing between two commas is not one.
    pub fn parse_several(text: &str) -> Result<Vec<Self>, InvalidAddress> {
        let (mut quoted, mut escaped) = (false, false);
        let members = text.split(|c| {
            quoted ^= c == '"' && !escaped;
            escaped = quoted && c == '\\' && !escaped;
            c == ',' && !quoted
        });
        let blanks = |at| if at == 0 { [].as_slice() } else { &[' ', '\t'] };
        members.enumerate().map(|(at, member)| Self::parse(member.trim_start_matches(blanks(at)))).collect()
    }

    /// The address that `text` is as it stands, with no brackets to take off.
    pub(crate) fn from_bare(text: &str) -> Result<Self, AddressProblem> {
        let local = check(text)?;
        match text.split_at_checked(local) {
            Some((part, rest)) if !part.starts_with('"') && has_odd_dots(part) => {
                Self::from_bare(&format!("\"{part}\"{rest}"))
            }
            Some(_) | None => Ok(Self { text: text.into(), local }),
        }
    }

    /// What stands between the angle brackets of a command.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The local-part, with its quotes if it has any.
    #[must_use]
    pub fn local(&self) -> &str {
        self.text.get(..self.local).unwrap_or_default()
    }

    /// The domain or address literal; `None` for a local-part alone.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.text.get(self.local + 1..)
    }

    /// Whether it can be sent to a server without SMTPUTF8 (RFC 6531 §3.3).
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }

    /// Whether both name one mailbox: domains are compared without case, local-parts with it and by what
    /// they mean, so that `"joe"@x` is `joe@X` (RFC 5321 §4.1.2).
    #[must_use]
    pub fn same_mailbox(&self, other: &Self) -> bool {
        let domains = (self.domain(), other.domain());
        let same_domain = domains.0 == domains.1
            || matches!(domains, (Some(a), Some(b)) if without_case(a).eq(without_case(b)));
        same_domain && unquoted(self.local()).eq(unquoted(other.local()))
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    /// As [`Address::parse`].
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        Self::parse(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// Leaves of the addresses that name the same mailbox the first, and the order as it is.
pub fn drop_repeated(addresses: &mut Vec<Address>) {
    let mut seen = HashSet::with_capacity(addresses.len());
    let first: Vec<bool> = addresses.iter().map(|address| seen.insert(Mailbox(address))).collect();
    let mut first = first.into_iter();
    addresses.retain(|_| first.next().unwrap_or(true));
}

/// An address that is equal to every other that names the same mailbox.
struct Mailbox<'a>(&'a Address);

impl Hash for Mailbox<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        unquoted(self.0.local()).for_each(|c| c.hash(state));
        '@'.hash(state);
        self.0.domain().into_iter().flat_map(without_case).for_each(|c| c.hash(state));
    }
}

impl PartialEq for Mailbox<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_mailbox(other.0)
    }
}

impl Eq for Mailbox<'_> {}

/// The sender in a transaction, where bounces go (RFC 5321 §3.6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: nobody is told of a failure, as befits a message that itself tells of one (RFC 5321 §4.5.5).
    Null,
    /// Bounces go there.
    Address(Address),
}

impl ReversePath {
    /// The reverse-path that `text` is. Nothing, `<>`, and `MAILER-DAEMON` without a domain, which is how
    /// Postfix hands the null sender to a program, are [`ReversePath::Null`].
    ///
    /// # Errors
    ///
    /// [`InvalidAddress`] as from [`Address::parse`].
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        if matches!(text, "" | "<>") { Ok(Self::Null) } else { Address::parse(text).map(Self::from) }
    }

    /// What stands between the angle brackets of the MAIL command.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.address().map_or("", Address::as_str)
    }

    /// The address, if there is one.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }
}

impl FromStr for ReversePath {
    type Err = InvalidAddress;

    /// As [`ReversePath::parse`].
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        Self::parse(text)
    }
}

impl From<Address> for ReversePath {
    /// `MAILER-DAEMON` without a domain is the null reverse-path, in any case of letters.
    fn from(address: Address) -> Self {
        if address.as_str().eq_ignore_ascii_case("MAILER-DAEMON") {
            Self::Null
        } else {
            Self::Address(address)
        }
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is not an address, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAddress {
    text: String,
    problem: AddressProblem,
}

impl InvalidAddress {
    /// What is wrong with it.
    #[must_use]
    pub fn problem(&self) -> AddressProblem {
        self.problem
    }
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not an address: {}", self.text, self.problem)
    }
}

impl std::error::Error for InvalidAddress {}

/// What keeps a text from being an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressProblem {
    /// There is nothing, or nothing but a pair of quotes.
    Empty,
    /// More than [`MAX_ADDRESS`] octets.
    TooLong,
    /// A domain of more than [`MAX_DOMAIN`] octets.
    DomainTooLong,
    /// A control character, a blank other than the space, or one that changes the direction of writing.
    Control(char),
    /// A character that may not stand where it stands; a space or an angle bracket, for example.
    Unexpected(char),
    /// The quotes around the local-part are not closed.
    UnclosedQuote,
    /// A dot at the beginning or the end of the domain, or two in a row; a local-part of dots alone.
    Dots,
    /// Nothing before the `@`.
    NoLocalPart,
    /// Nothing behind the `@`.
    NoDomain,
    /// A label of the domain begins or ends with a hyphen.
    Hyphen,
    /// What stands in square brackets is neither an IPv4 address nor `IPv6:` and an IPv6 address.
    Literal,
}

impl fmt::Display for AddressProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => write!(f, "it is empty"),
            Self::TooLong => write!(f, "longer than {MAX_ADDRESS} octets"),
            Self::DomainTooLong => write!(f, "its domain is longer than {MAX_DOMAIN} octets"),
            Self::Control(c) => {
                write!(f, "it contains the control or blank character U+{:04X}", u32::from(c))
            }
            Self::Unexpected(' ') => write!(f, "a space that is not in quotes"),
            Self::Unexpected(c) => write!(f, "'{c}' is not allowed there"),
            Self::UnclosedQuote => write!(f, "a closing quotation mark is missing"),
            Self::Dots => write!(f, "a dot at the beginning or end of a part, or two in a row"),
            Self::NoLocalPart => write!(f, "nothing before the '@'"),
            Self::NoDomain => write!(f, "nothing after the '@'"),
            Self::Hyphen => write!(f, "a part of the domain begins or ends with a hyphen"),
            Self::Literal => write!(f, "the text in square brackets is not an IP address"),
        }
    }
}

/// Whether the octet may stand in a local-part without quotes: RFC 5321 §4.1.2 `atext`, and all of UTF-8
/// (RFC 6531 §3.3).
pub(crate) fn is_atext(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&octet) || !octet.is_ascii()
}

/// The beginning of a text that is refused, fit to be shown.
pub(crate) fn excerpt(text: &[u8]) -> String {
    let begins_character = |at: &usize| text.get(*at).is_some_and(|b| b & 0xc0 != 0x80);
    match text.get(..EXCERPT) {
        Some(start) if text.len() > EXCERPT => {
            let end = (EXCERPT - 3..=EXCERPT).rev().find(begins_character).unwrap_or(EXCERPT);
            printable(start.get(..end).unwrap_or(start)) + "..."
        }
        _ => printable(text),
    }
}

/// Checks the whole of an address; returns the length of its local-part.
fn check(text: &str) -> Result<usize, AddressProblem> {
    if text.len() > MAX_ADDRESS {
        return Err(AddressProblem::TooLong);
    }
    if let Some(c) = text.chars().find(|c| is_hidden(*c)) {
        return Err(AddressProblem::Control(c));
    }
    let local = if text.starts_with('"') { quoted_string(text)? } else { dot_string(text)? };
    let (local, rest) = text.split_at_checked(local).unwrap_or((text, ""));
    match rest.chars().next() {
        None if local == "\"\"" => Err(AddressProblem::Empty),
        None => Ok(local.len()),
        Some('@') => check_domain(rest.get(1..).unwrap_or_default()).map(|()| local.len()),
        Some(c) => Err(AddressProblem::Unexpected(c)),
    }
}

/// Whether the character is none that a person sees, other than the space: a superset of what
/// [`printable`] escapes.
fn is_hidden(c: char) -> bool {
    c.is_control() || (c.is_whitespace() && c != ' ') || is_deceptive(c)
}

/// The length of the quoted string that `text` begins with, its quotes included.
fn quoted_string(text: &str) -> Result<usize, AddressProblem> {
    let mut octets = text.bytes().enumerate().skip(1);
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'"' => return Ok(at + 1),
            b'\\' => _ = octets.next(),
            _ => (),
        }
    }
    Err(AddressProblem::UnclosedQuote)
}

/// The length of the dot-string that `text` is up to its first `@`.
fn dot_string(text: &str) -> Result<usize, AddressProblem> {
    let (local, domain) = text.split_once('@').map_or((text, None), |(local, domain)| (local, Some(domain)));
    match (local, domain) {
        ("", None) => Err(AddressProblem::Empty),
        ("", Some(_)) => Err(AddressProblem::NoLocalPart),
        _ if local.bytes().all(|b| b == b'.') => Err(AddressProblem::Dots),
        _ => check_octets(local, is_atext).map(|()| local.len()),
    }
}

/// Whether a dot stands at the beginning, at the end, or behind another.
fn has_odd_dots(text: &str) -> bool {
    text.split('.').any(str::is_empty)
}

/// A domain or an address literal.
fn check_domain(domain: &str) -> Result<(), AddressProblem> {
    if domain.is_empty() {
        return Err(AddressProblem::NoDomain);
    }
    if domain.len() > MAX_DOMAIN {
        return Err(AddressProblem::DomainTooLong);
    }
    if let Some(literal) = domain.strip_prefix('[') {
        let literal = literal.strip_suffix(']').filter(|literal| is_ip_address(literal));
        return literal.map(|_| ()).ok_or(AddressProblem::Literal);
    }
    check_octets(domain, |b| b.is_ascii_alphanumeric() || b"-_".contains(&b) || !b.is_ascii())?;
    if has_odd_dots(domain) {
        return Err(AddressProblem::Dots);
    }
    let at_hyphen = |label: &str| label.starts_with('-') || label.ends_with('-');
    if domain.split('.').any(at_hyphen) { Err(AddressProblem::Hyphen) } else { Ok(()) }
}

/// Nothing but dots and what `allowed` allows.
fn check_octets(text: &str, allowed: fn(u8) -> bool) -> Result<(), AddressProblem> {
    let other = text.chars().find(|c| *c != '.' && c.is_ascii() && !allowed(*c as u8));
    other.map_or(Ok(()), |c| Err(AddressProblem::Unexpected(c)))
}

/// What may stand in an address literal (RFC 5321 §4.1.3).
fn is_ip_address(literal: &str) -> bool {
    match literal.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address.parse::<Ipv6Addr>().is_ok(),
        _ => literal.parse::<Ipv4Addr>().is_ok(),
    }
}

/// The characters that a local-part means: those of a quoted string without its quotes and backslashes.
fn unquoted(local: &str) -> impl Iterator<Item = char> {
    let inner = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut chars = inner.unwrap_or(local).chars();
    std::iter::from_fn(move || match chars.next() {
        Some('\\') => chars.next(), // stands nowhere but in quotes
        other => other,
    })
}

/// The characters of a domain in lower case.
fn without_case(domain: &str) -> impl Iterator<Item = char> {
    domain.chars().flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn addresses_are_taken_apart() {
        let long_local = "x".repeat(600);
        let long_domain = format!("{}com", "label.".repeat(42));
        let long = format!("{long_local}@{long_domain}");
        assert_eq!((long_domain.len(), long.len()), (MAX_DOMAIN, 856));
        for (text, local, domain) in [
            ("joe@example.com", "joe", Some("example.com")),
            ("postmaster", "postmaster", None),
            ("me", "me", None),
            ("-x@y", "-x", Some("y")),
            ("a.b.c@x", "a.b.c", Some("x")),
            (
                "user+mailbox/department=shipping@example.com",
                "user+mailbox/department=shipping",
                Some("example.com"),
            ),
            ("!#$%&'*+-/=?^_`.{|}~@example.com", "!#$%&'*+-/=?^_`.{|}~", Some("example.com")),
            ("user%example.com@example.org", "user%example.com", Some("example.org")),
            ("mailhost!joe@example.org", "mailhost!joe", Some("example.org")),
            ("\"a b\"@x", "\"a b\"", Some("x")),
            ("\" \"@x", "\" \"", Some("x")),
            ("\"\"@x", "\"\"", Some("x")),
            ("\"john..doe\"@x", "\"john..doe\"", Some("x")),
            (r#""a\"b\\c\@d"@x"#, r#""a\"b\\c\@d""#, Some("x")),
            (
                r#""very.(),:;<>[]\".VERY.\"very@\\ \"very\".unusual"@strange.example.com"#,
                r#""very.(),:;<>[]\".VERY.\"very@\\ \"very\".unusual""#,
                Some("strange.example.com"),
            ),
            ("\"not@here\"", "\"not@here\"", None),
            ("joe@localhost", "joe", Some("localhost")),
            ("joe@my_host.example", "joe", Some("my_host.example")),
            ("joe@_x", "joe", Some("_x")),
            ("joe@3com.com", "joe", Some("3com.com")),
            ("joe@127.0.0.1", "joe", Some("127.0.0.1")),
            ("joe@[127.0.0.1]", "joe", Some("[127.0.0.1]")),
            ("joe@[IPv6:::1]", "joe", Some("[IPv6:::1]")),
            ("joe@[ipv6:2001:db8::192.0.2.1]", "joe", Some("[ipv6:2001:db8::192.0.2.1]")),
            ("jörg@bücher.example", "jörg", Some("bücher.example")),
            ("用户@例子.测试", "用户", Some("例子.测试")),
            ("\"jörg x\"@y", "\"jörg x\"", Some("y")),
            ("SRS0=HHH=TT=example.com=joe@example.net", "SRS0=HHH=TT=example.com=joe", Some("example.net")),
            (&long, &long_local, Some(&long_domain)),
        ] {
            for given in [text.to_owned(), format!("<{text}>")] {
                let address = address(&given);
                assert_eq!(address.as_str(), text);
                assert_eq!(address.to_string(), text);
                assert_eq!((address.local(), address.domain()), (local, domain), "{given}");
                assert_eq!(address.is_ascii(), text.is_ascii());
            }
        }
    }

    #[test]
    fn dots_too_many_in_a_local_part_put_it_in_quotes() {
        for (text, quoted) in [
            ("a..b@x.example", "\"a..b\"@x.example"),
            ("joe.@x.example", "\"joe.\"@x.example"),
            (".joe@x", "\".joe\"@x"),
            ("..a...b..@x", "\"..a...b..\"@x"),
            ("jörg.@x", "\"jörg.\"@x"),
            ("joe.", "\"joe.\""),
        ] {
            assert_eq!(address(text).as_str(), quoted);
            assert_eq!(address(&format!("<{text}>")), address(quoted), "{text}");
        }
        let longest = format!("{}.@x", "a".repeat(MAX_ADDRESS - 3));
        assert_eq!(Address::parse(&longest).map_err(|e| e.problem()), Err(AddressProblem::TooLong));
    }

    #[test]
    fn what_is_no_address_is_refused_by_what_is_wrong() {
        use AddressProblem::{
            Control, DomainTooLong, Dots, Empty, Hyphen, Literal, NoDomain, NoLocalPart, TooLong,
            UnclosedQuote, Unexpected,
        };
        let (long, long_domain) = ("x".repeat(MAX_ADDRESS + 1), format!("a@{}", "x".repeat(MAX_DOMAIN + 1)));
        for (text, problem) in [
            ("", Empty),
            ("<>", Empty),
            ("\"\"", Empty),
            ("@", NoLocalPart),
            ("@x", NoLocalPart),
            ("joe@", NoDomain),
            ("<joe@>", NoDomain),
            ("\"joe\"@", NoDomain),
            (" joe@x", Unexpected(' ')),
            ("joe@x ", Unexpected(' ')),
            ("joe @x", Unexpected(' ')),
            ("joe@ x", Unexpected(' ')),
            ("joe@a b", Unexpected(' ')),
            ("joe smith", Unexpected(' ')),
            ("joe@x SIZE=1", Unexpected(' ')),
            ("<joe@x", Unexpected('<')),
            ("joe@x>", Unexpected('>')),
            ("<<joe@x>>", Unexpected('<')),
            ("joe<@x", Unexpected('<')),
            ("joe@x> RCPT TO:<jane@x", Unexpected('>')),
            ("<joe@x> NOTIFY=NEVER", Unexpected('<')),
            ("Joe <joe@x>", Unexpected(' ')),
            ("a@x,b@x", Unexpected(',')),
            ("a,b@x", Unexpected(',')),
            ("a;b", Unexpected(';')),
            ("a:b@x", Unexpected(':')),
            ("@a,@b:joe@x", NoLocalPart),
            ("joe(comment)@x", Unexpected('(')),
            ("joe@x(comment)", Unexpected('(')),
            ("a\\b@x", Unexpected('\\')),
            ("a\"b\"@x", Unexpected('"')),
            ("\"a\"b@x", Unexpected('b')),
            ("\"a\".b@x", Unexpected('.')),
            ("\"a\"é@x", Unexpected('é')),
            ("\"a@x", UnclosedQuote),
            ("\"a\\\"@x", UnclosedQuote),
            ("\"", UnclosedQuote),
            ("a@b@c", Unexpected('@')),
            ("joe@ex!ample.com", Unexpected('!')),
            (".", Dots),
            ("..@x", Dots),
            ("joe@.x", Dots),
            ("joe@x.", Dots),
            ("joe@a..b", Dots),
            ("joe@-x", Hyphen),
            ("joe@x-.com", Hyphen),
            ("joe@-", Hyphen),
            ("joe@[]", Literal),
            ("joe@[127.0.0.1", Literal),
            ("joe@[127.0.0.1]x", Literal),
            ("joe@[127.0.0.256]", Literal),
            ("joe@[1.2.3]", Literal),
            ("joe@[::1]", Literal),
            ("joe@[IPv6:]", Literal),
            ("joe@[IPv6:fe80::1%eth0]", Literal),
            ("joe@[X400:abc]", Literal),
            ("joe@[ 127.0.0.1]", Literal),
            ("joe@[abcdé]", Literal),
            ("joe@x\n", Control('\n')),
            ("joe@x\r\nRCPT TO:<jane@x>", Control('\r')),
            ("jo\0e@x", Control('\0')),
            ("\"a\tb\"@x", Control('\t')),
            ("\"a\\\nb\"@x", Control('\n')),
            ("joe\x7f@x", Control('\x7f')),
            ("joe\u{85}@x", Control('\u{85}')),
            ("joe@x\u{a0}", Control('\u{a0}')),
            ("\u{3000}joe@x", Control('\u{3000}')),
            ("\u{feff}joe@x", Control('\u{feff}')),
            ("joe@\u{202e}x", Control('\u{202e}')),
            (&long, TooLong),
            (&long_domain, DomainTooLong),
        ] {
            assert_eq!(Address::parse(text).map_err(|e| e.problem()), Err(problem), "{text:?}");
        }
    }

    #[test]
    fn the_error_names_the_text_and_can_be_shown() {
        let said = |text: &str| Address::parse(text).unwrap_err().to_string();
        assert_eq!(said("Joe Smith"), "'Joe Smith' is not an address: a space that is not in quotes");
        assert_eq!(said("<>"), "'<>' is not an address: it is empty");
        assert_eq!(said("a@x>"), "'a@x>' is not an address: '>' is not allowed there");
        assert_eq!(
            said("a\x1b[2J@x"),
            "'a\\x1b[2J@x' is not an address: it contains the control or blank character U+001B"
        );
        assert_eq!(
            said("é@\u{9b}x"),
            "'é@\\u{9b}x' is not an address: it contains the control or blank character U+009B"
        );
        let long = said(&"é".repeat(1000));
        assert_eq!(
            long,
            format!("'{}...' is not an address: longer than 900 octets", "é".repeat(EXCERPT / 2))
        );
        let odd = said(&("e".to_owned() + &"é".repeat(1000)));
        assert_eq!(
            odd,
            format!("'e{}...' is not an address: longer than 900 octets", "é".repeat(EXCERPT / 2 - 1))
        );
    }

    #[test]
    fn no_character_gets_in_that_a_terminal_takes_amiss() {
        for c in ('\0'..='\u{ffff}').filter(|c| *c != ' ') {
            if let Ok(address) = Address::parse(&format!("\"a{c}\"@x{c}")) {
                assert_eq!(printable(address.as_str().as_bytes()), address.as_str());
            }
            assert!(is_hidden(c) || printable(c.to_string().as_bytes()) == c.to_string(), "{c:?}");
        }
    }

    #[test]
    fn the_same_mailbox_is_known_in_any_spelling() {
        for (a, b, same) in [
            ("joe@x", "joe@x", true),
            ("joe@example.com", "joe@EXAMPLE.Com", true),
            ("joe@BÜCHER.example", "joe@bücher.example", true),
            ("joe@[IPv6:::A]", "joe@[ipv6:::a]", true),
            ("\"joe\"@x", "joe@x", true),
            ("\"j\\oe\"@x", "joe@X", true),
            ("\"a b\"@x", "\"a\\ b\"@x", true),
            ("\"a\\\\b\"@x", "\"a\\\\\\b\"@x", true),
            ("me", "me", true),
            ("\"me\"", "me", true),
            ("Joe@x", "joe@x", false),
            ("me", "Me", false),
            ("me", "me@x", false),
            ("joe@x", "joe@x.y", false),
            ("joe@x", "jo@x", false),
            ("\"a b\"@x", "\"a  b\"@x", false),
            ("\"a\\\"\"@x", "\"a\"@x", false),
            ("\"me@x\"", "me@x", false),
        ] {
            let (a, b) = (address(a), address(b));
            assert_eq!((a.same_mailbox(&b), b.same_mailbox(&a)), (same, same), "{a} {b}");
            let mut both = vec![a.clone(), b];
            drop_repeated(&mut both);
            assert_eq!(both.len(), if same { 1 } else { 2 });
            assert_eq!(both.first(), Some(&a), "the first is the one that stays");
        }
    }

    #[test]
    fn sixty_thousand_recipients_keep_their_order() {
        let mut many: Vec<_> = (0..60_000).map(|n| address(&format!("u{n}@example.com"))).collect();
        let expected = many.clone();
        many.extend((0..60_000).map(|n| address(&format!("\"u{n}\"@EXAMPLE.com"))));
        drop_repeated(&mut many);
        assert_eq!(many, expected);
        drop_repeated(&mut Vec::new());
    }

    #[test]
    fn commas_separate_outside_quotes_only() {
        let several = |text: &str| {
            let found = Address::parse_several(text).map_err(|e| e.to_string());
            found.map(|found| found.iter().map(Address::to_string).collect::<Vec<_>>())
        };
        assert_eq!(several("a@x"), Ok(vec!["a@x".to_owned()]));
        assert_eq!(several("a@x,<b@x>, c"), Ok(vec!["a@x".to_owned(), "b@x".to_owned(), "c".to_owned()]));
        let quoted = [r#""a,\"b"@x"#.to_owned(), r#""c\\"@x"#.to_owned(), "d@x".to_owned()];
        assert_eq!(several(&quoted.join(",")), Ok(quoted.to_vec()));
        let refused = |text: &str| several(text).unwrap_err();
        for text in ["", "a@x,", ",a@x", "a@x,,b@x", "a@x, "] {
            assert_eq!(refused(text), "'' is not an address: it is empty", "{text}");
        }
        assert_eq!(refused(" a@x"), "' a@x' is not an address: a space that is not in quotes");
        assert_eq!(refused("a@x ,b@x"), "'a@x ' is not an address: a space that is not in quotes");
        assert_eq!(
            refused("a@x,\"b,c@x"),
            "'\"b,c@x' is not an address: a closing quotation mark is missing"
        );
    }

    #[test]
    fn the_null_sender_has_three_names() {
        for text in ["", "<>", "MAILER-DAEMON", "mailer-daemon", "<Mailer-Daemon>"] {
            assert_eq!(ReversePath::parse(text), Ok(ReversePath::Null), "{text}");
        }
        for text in ["MAILER-DAEMON@x", "<joe@x>", "postmaster", "MAILER-DAEMONS"] {
            let path = ReversePath::parse(text).unwrap();
            assert_eq!(path.as_str(), text.trim_matches(['<', '>']));
            assert_eq!(path.address().map(Address::as_str), Some(path.as_str()));
        }
        for text in [" ", "< >", "<", "<<>>", "\"\"", "joe smith", "joe@x\r\n"] {
            assert!(ReversePath::parse(text).is_err(), "{text}");
        }
        assert_eq!((ReversePath::Null.as_str(), ReversePath::Null.address()), ("", None));
    }
}
