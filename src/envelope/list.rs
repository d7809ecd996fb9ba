//! Address lists: RFC 5322 §3.4 with the obsolete forms of §4.4, the groups of RFC 6854 and the UTF-8 of
//! RFC 6532. Display names and comments are passed over; what is kept of a mailbox is its address.
//!
//! The grammar decides, and nothing is guessed: one member that does not parse refuses the whole list, because
//! mail to the rest of it would be mail to another list than the writer's. What that means where headers are
//! sloppy:
//! - A local-part alone (`postmaster`) is an address, as every sendmail has it. So `Joe, Jr. <joe@x>` is two:
//!   `Joe`, and `joe@x` by the name of Jr. The server says whether there is a Joe.
//! - Words that no angle brackets follow (`Joe Smith joe@x`), `a@x; b@x`, `joe@x <joe@x>`, `<>` and a group
//!   without its semicolon are errors.
//! - Dots too many (`a..b@x`, `a.@x`) are taken where a domain follows; a lone `Inc.` is the rest of a name.
//! - An encoded word (RFC 2047 §2) is a word of a display name even with a comma in it, and never an address.
//! - Octets that are not UTF-8 may stand in names and comments, not in addresses.
//!
//! The time is linear in the length of the field, and nothing recurses: comments may nest as deep as they like.

use std::fmt;
use std::str;

use crate::lmtp::address::{Address, AddressProblem, excerpt, is_atext};
use crate::lmtp::reply::printable;

/// The addresses in the value of a header field, as it stands in the message: still folded, line ends CRLF or
/// LF, with or without the last one. Members of groups count like any other; a list may consist of empty
/// groups and have no address.
///
/// # Errors
///
/// [`InvalidList`] for the first member that is none, or when there is neither an address nor a group.
pub fn parse(value: &[u8]) -> Result<Vec<Address>, InvalidList> {
    let input = value.strip_suffix(b"\n").unwrap_or(value);
    let input = input.strip_suffix(b"\r").unwrap_or(input);
    let mut parser = Parser { input, at: 0, member: 0, spec: Vec::new(), found: Vec::new() };
    match parser.address_list() {
        Ok(()) => Ok(parser.found),
        Err(problem) => Err(InvalidList { text: parser.text_of_member(), problem }),
    }
}

/// A field that is not a list of addresses: the member at fault, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidList {
    text: String,
    problem: ListProblem,
}

impl InvalidList {
    /// What is wrong with it.
    #[must_use]
    pub fn problem(&self) -> ListProblem {
        self.problem
    }
}

impl fmt::Display for InvalidList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not an address: {}", self.text, self.problem)
    }
}

impl std::error::Error for InvalidList {}

/// What keeps a field from being a list of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListProblem {
    /// There is neither an address nor a group.
    Empty,
    /// What opens with this character is never closed.
    Unclosed(char),
    /// Something else stands where `due` is due: this octet, or the end of the field.
    Expected {
        /// What the grammar asks for.
        due: &'static str,
        /// What stands there; `None` at the end of the field.
        found: Option<u8>,
    },
    /// An encoded word stands where an address is due (RFC 2047 §5 forbids it).
    EncodedWord,
    /// An address with octets that are not UTF-8.
    NotUtf8,
    /// It has the form of an address in a header, but could not be sent to.
    Address(AddressProblem),
}

impl fmt::Display for ListProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => write!(f, "it is empty"),
            Self::Unclosed(opening) => write!(f, "unclosed '{opening}'"),
            Self::Expected { due, found: None } => write!(f, "it ends where {due} is expected"),
            Self::Expected { due, found: Some(octet) } => {
                write!(f, "'{}' where {due} is expected", printable(&[octet]))
            }
            Self::EncodedWord => write!(f, "an encoded word where an address is expected"),
            Self::NotUtf8 => write!(f, "octets that are not UTF-8 in the address"),
            Self::Address(problem) => problem.fmt(f),
        }
    }
}

type Parsed<T = ()> = Result<T, ListProblem>;

/// A descent through the grammar, each rule a method that begins at `at` and leaves it behind what it took.
struct Parser<'a> {
    input: &'a [u8],
    at: usize,
    /// Where the member that is being parsed begins.
    member: usize,
    /// The address that is being put together, without comments, folds and needless quotes.
    spec: Vec<u8>,
    found: Vec<Address>,
}

impl<'a> Parser<'a> {
    /// `address-list`, with empty members (§4.4 `obs-addr-list`).
    fn address_list(&mut self) -> Parsed {
        let mut members = false;
        loop {
            self.member = self.at;
            self.skip_commas()?;
            if self.peek().is_none() {
                return if members { Ok(()) } else { Err(ListProblem::Empty) };
            }
            members = true;
            if !self.mailbox()? {
                self.group()?;
            }
            self.skip_cfws()?;
            if !matches!(self.peek(), None | Some(b',')) {
                return Err(self.expected("a comma"));
            }
        }
    }

    /// `group`, from the colon behind its name; members may be empty (§4.4 `obs-group-list`).
    fn group(&mut self) -> Parsed {
        let group = self.member;
        self.expect(b':', "an address")?;
        loop {
            self.member = self.at;
            self.skip_commas()?;
            self.member = group;
            if self.take(b';') {
                return Ok(());
            }
            if self.peek().is_none() {
                return Err(self.expected("the group's semicolon"));
            }
            if !self.mailbox()? {
                return Err(self.expected("a comma"));
            }
            self.skip_cfws()?;
            if !matches!(self.peek(), None | Some(b',' | b';')) {
                return Err(self.expected("a comma or the group's semicolon"));
            }
        }
    }

    /// `mailbox`, or a local-part alone. False: what stands here is the name of a group, and the parser
    /// before its colon.
    fn mailbox(&mut self) -> Parsed<bool> {
        self.member = self.at;
        let words = self.skip_phrase()?;
        match self.peek() {
            Some(b'<') => self.angle_addr()?,
            Some(b':') if words => return Ok(false),
            _ => {
                self.at = self.member;
                self.addr_spec()?;
            }
        }
        Ok(true)
    }

    /// `phrase`, with the dots of §4.4 `obs-phrase`, or nothing; tells whether there is a word.
    fn skip_phrase(&mut self) -> Parsed<bool> {
        let mut words = false;
        loop {
            self.skip_cfws()?;
            match self.peek() {
                Some(b'"') => _ = self.quoted_string()?,
                Some(b'.') if words => self.at += 1,
                Some(b) if is_atext(b) => _ = self.atom(),
                _ => return Ok(words),
            }
            words = true;
        }
    }

    /// `angle-addr`, its source route dropped (§4.4 `obs-route`).
    fn angle_addr(&mut self) -> Parsed {
        self.expect(b'<', "an address")?;
        self.skip_cfws()?;
        if matches!(self.peek(), Some(b'@' | b',')) {
            self.route()?;
        }
        self.addr_spec()?;
        self.skip_cfws()?;
        self.expect(b'>', "'>'")
    }

    /// `obs-route`: `@a,@b:`, where members of the list may be empty.
    fn route(&mut self) -> Parsed {
        self.skip_commas()?;
        loop {
            self.expect(b'@', "the '@' of a route")?;
            self.spec.clear();
            self.domain()?;
            if self.peek() == Some(b',') {
                self.skip_commas()?;
                if self.peek() == Some(b'@') {
                    continue;
                }
            }
            return self.expect(b':', "the ':' behind a route");
        }
    }

    /// `addr-spec` or a local-part alone: one more address is found.
    fn addr_spec(&mut self) -> Parsed {
        let odd = self.local_part()?;
        if self.take(b'@') {
            self.spec.push(b'@');
            self.domain()?;
        } else if let Some(odd) = odd {
            self.at = odd;
            return Err(self.expected("an address"));
        }
        let spec = str::from_utf8(&self.spec).map_err(|_| ListProblem::NotUtf8)?;
        self.found.push(Address::from_bare(spec).map_err(ListProblem::Address)?);
        Ok(())
    }

    /// `local-part`, with comments and folds around the dots (§4.4 `obs-local-part`). SMTP has no words with
    /// and without quotes in one local-part, so there the whole is quoted where it has to be. Returns where a dot stands,
    /// or the part ends, that should not without a domain behind it.
    fn local_part(&mut self) -> Parsed<Option<usize>> {
        self.spec.clear();
        let (mut words, mut quoted, mut odd) = (0, false, None);
        loop {
            self.skip_cfws()?;
            if self.peek() == Some(b'"') {
                quoted = true;
                let content = self.quoted_string()?;
                unquote(content, &mut self.spec);
            } else {
                let atom = self.atom();
                if atom.is_empty() {
                    if !self.is_dot_too_many() {
                        return Err(self.expected("an address"));
                    }
                    odd = odd.or(Some(self.at));
                }
                if atom.starts_with(b"=?") {
                    return Err(ListProblem::EncodedWord);
                }
                self.spec.extend_from_slice(atom);
            }
            words += 1;
            self.skip_cfws()?;
            if !self.take(b'.') {
                break;
            }
            self.spec.push(b'.');
        }
        if quoted && (words == 1 || !is_dot_string(&self.spec)) {
            quote(&mut self.spec);
        }
        Ok(odd)
    }

    /// Whether the dot that stands here has no word before it, or that before has none behind it.
    fn is_dot_too_many(&self) -> bool {
        match self.peek() {
            Some(b'.') => true,
            Some(b'@') | None => self.spec.ends_with(b"."),
            Some(_) => false,
        }
    }

    /// `domain`, with comments and folds around the dots (§4.4 `obs-domain`), or `domain-literal`.
    fn domain(&mut self) -> Parsed {
        self.skip_cfws()?;
        if self.peek() == Some(b'[') {
            return self.domain_literal();
        }
        loop {
            self.skip_cfws()?;
            let atom = self.atom();
            if atom.is_empty() {
                return Err(self.expected("a domain"));
            }
            self.spec.extend_from_slice(atom);
            self.skip_cfws()?;
            if !self.take(b'.') {
                return Ok(());
            }
            self.spec.push(b'.');
        }
    }

    /// `domain-literal`, without the white space in it.
    fn domain_literal(&mut self) -> Parsed {
        let content = self.delimited(b']')?;
        let mut literal = Vec::new();
        unquote(content, &mut literal);
        self.spec.push(b'[');
        self.spec.extend(literal.iter().filter(|b| !matches!(b, b' ' | b'\t')));
        self.spec.push(b']');
        self.skip_cfws()
    }

    /// `atom` without what surrounds it, an encoded word whole; empty where none begins.
    fn atom(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let word = encoded_word(rest).unwrap_or(0);
        let more = rest.iter().skip(word).take_while(|b| is_atext(**b)).count();
        self.at += word + more;
        rest.get(..word + more).unwrap_or_default()
    }

    /// The content of a `quoted-string`, its folds and backslashes still in it.
    fn quoted_string(&mut self) -> Parsed<&'a [u8]> {
        self.delimited(b'"')
    }

    /// What stands between the octet here and the next `closing` without a backslash before it.
    fn delimited(&mut self, closing: u8) -> Parsed<&'a [u8]> {
        let rest = self.rest();
        let mut octets = rest.iter().enumerate().skip(1);
        while let Some((at, octet)) = octets.next() {
            if *octet == closing {
                self.at += at + 1;
                return Ok(rest.get(1..at).unwrap_or_default());
            }
            if *octet == b'\\' {
                octets.next();
            }
        }
        Err(ListProblem::Unclosed(rest.first().map_or('"', |b| char::from(*b))))
    }

    /// Empty members of a list, and all that may surround them.
    fn skip_commas(&mut self) -> Parsed {
        self.skip_cfws()?;
        while self.take(b',') {
            self.skip_cfws()?;
        }
        Ok(())
    }

    /// `CFWS` or nothing: comments and folding white space, with the lines of white space of §4.2 `obs-FWS`.
    fn skip_cfws(&mut self) -> Parsed {
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\r' | b'\n') => match fold(self.rest()) {
                    0 => return Err(self.expected("white space")),
                    length => self.at += length,
                },
                Some(b'(') => self.skip_comment()?,
                _ => return Ok(()),
            }
        }
    }

    /// `comment`, with the comments in it.
    fn skip_comment(&mut self) -> Parsed {
        let mut depth = 0_usize;
        let mut octets = self.rest().iter().enumerate();
        while let Some((at, octet)) = octets.next() {
            match octet {
                b'(' => depth += 1,
                b')' if depth == 1 => {
                    self.at += at + 1;
                    return Ok(());
                }
                b')' => depth -= 1,
                b'\\' => _ = octets.next(),
                _ => (),
            }
        }
        Err(ListProblem::Unclosed('('))
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    /// Goes on behind `octet` if it stands here.
    fn take(&mut self, octet: u8) -> bool {
        let here = self.peek() == Some(octet);
        self.at += usize::from(here);
        here
    }

    /// Goes on behind `octet`, which the grammar asks for here.
    fn expect(&mut self, octet: u8, due: &'static str) -> Parsed {
        if self.take(octet) { Ok(()) } else { Err(self.expected(due)) }
    }

    fn expected(&self, due: &'static str) -> ListProblem {
        ListProblem::Expected { due, found: self.peek() }
    }

    /// The member being parsed, up to the comma behind the place that the parser has come to, for a message.
    fn text_of_member(&self) -> String {
        let end =
            self.rest().iter().position(|b| *b == b',').map_or(self.input.len(), |comma| self.at + comma);
        let text = self.input.get(self.member..end).unwrap_or_default();
        let text = text.trim_ascii_start().strip_prefix(b",").unwrap_or(text).trim_ascii();
        let unfolded: Vec<u8> = text.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
        excerpt(&unfolded)
    }
}

/// The length of the line end that `text` begins with if white space follows and so makes it a fold, else 0.
fn fold(text: &[u8]) -> usize {
    match text {
        [b'\r', b'\n', b' ' | b'\t', ..] => 2,
        [b'\n', b' ' | b'\t', ..] => 1,
        _ => 0,
    }
}

/// The length of the encoded word that `text` begins with (RFC 2047 §2): `=?charset?encoding?text?=`.
fn encoded_word(text: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(b"=?")?;
    let token = |b: &u8| *b != b'?' && is_atext(*b);
    let charset = rest.iter().take_while(|b| token(b)).count();
    let rest = rest.get(charset..)?;
    let [b'?', b'Q' | b'q' | b'B' | b'b', b'?', rest @ ..] = rest else { return None };
    let encoded = rest.iter().take_while(|b| **b != b'?' && !b.is_ascii_control() && **b != b' ').count();
    rest.get(encoded..)?
        .starts_with(b"?=")
        .then_some("=?".len() + charset + "?Q?".len() + encoded + "?=".len())
}

/// Appends what the content of a quoted string means.
fn unquote(mut content: &[u8], meaning: &mut Vec<u8>) {
    while let Some((first, rest)) = content.split_first() {
        let octet = match (first, rest) {
            (b'\r' | b'\n', _) if fold(content) > 0 => {
                content = content.get(fold(content)..).unwrap_or_default();
                continue;
            }
            (b'\\', [escaped, rest @ ..]) => {
                content = rest;
                escaped
            }
            _ => {
                content = rest;
                first
            }
        };
        meaning.push(*octet);
    }
}

/// Puts quotes around a local-part, and backslashes where they are needed.
fn quote(local: &mut Vec<u8>) {
    let mut quoted = vec![b'"'];
    for octet in local.iter() {
        if matches!(octet, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*octet);
    }
    quoted.push(b'"');
    *local = quoted;
}

/// Whether it can stand without quotes.
fn is_dot_string(local: &[u8]) -> bool {
    local.split(|b| *b == b'.').all(|atom| !atom.is_empty() && atom.iter().all(|b| is_atext(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(value: &[u8]) -> Result<Vec<String>, String> {
        let found = parse(value).map_err(|error| error.to_string());
        found.map(|found| found.iter().map(Address::to_string).collect())
    }

    #[test]
    fn the_examples_of_rfc_5322_are_read() {
        for (value, expected) in [
            // Appendix A.1.1
            (" John Doe <jdoe@machine.example>", &["jdoe@machine.example"][..]),
            (" Mary Smith <mary@example.net>", &["mary@example.net"]),
            // A.1.2
            (" \"Joe Q. Public\" <john.q.public@example.com>", &["john.q.public@example.com"]),
            (
                " Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
                &["mary@x.test", "jdoe@example.org", "one@y.test"],
            ),
            (
                " <boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
                &["boss@nil.test", "sysservices@example.net"],
            ),
            // A.1.3
            (" Pete <pete@silly.example>", &["pete@silly.example"]),
            (
                " A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
                &["c@a.test", "joe@where.test", "jdoe@one.test"],
            ),
            (" Undisclosed recipients:;", &[]),
            // A.5
            (" Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", &["pete@silly.test"]),
            (
                "A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n         \
                 joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)",
                &["c@public.example", "joe@example.org", "jdoe@one.test"],
            ),
            ("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", &[]),
            // A.6.1
            (" Joe Q. Public <john.q.public@example.com>", &["john.q.public@example.com"]),
            (
                " Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
                &["mary@example.net", "jdoe@test.example"],
            ),
            // A.6.3
            (" John Doe <jdoe@machine(comment).  example>", &["jdoe@machine.example"]),
            (" Mary Smith\r\n  \r\n          <mary@example.net>", &["mary@example.net"]),
        ] {
            assert_eq!(addresses(value.as_bytes()), Ok(strings(expected)), "{value}");
            let unix = value.replace("\r\n", "\n");
            assert_eq!(addresses(unix.as_bytes()), Ok(strings(expected)), "{unix}");
        }
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn lists_are_read_as_the_grammar_has_them() {
        for (value, expected) in [
            ("joe@x", &["joe@x"][..]),
            ("joe@x\r\n", &["joe@x"]),
            ("joe@x\n", &["joe@x"]),
            (" \r\n joe@x \r\n \r\n", &["joe@x"]),
            ("postmaster", &["postmaster"]),
            ("<postmaster>", &["postmaster"]),
            ("me, you@x", &["me", "you@x"]),
            ("\"a b\"@example.com", &["\"a b\"@example.com"]),
            ("Joe, Jr. <joe@x>", &["Joe", "joe@x"]),
            ("\"Joe, Jr.\" <joe@x>", &["joe@x"]),
            ("=?utf-8?q?Joe=2C_Jr=2E?= <joe@x>", &["joe@x"]),
            (
                "=?utf-8?q?Joe,_Jr.?= <joe@x>, =?UTF-8*en?B?Sm9l?=\r\n =?x?B?LCBKci4=?= <b@x>",
                &["joe@x", "b@x"],
            ),
            ("=?iso-8859-1?Q?a@b;:<>()?= <joe@x>", &["joe@x"]),
            ("J=?rg <joe@x>, =?utf-8?x?a <b@x>, =?a?q?b?=c <c@x>", &["joe@x", "b@x", "c@x"]),
            ("a@x,,b@x", &["a@x", "b@x"]),
            (",a@x ,, \r\n\t(nobody), b@x,", &["a@x", "b@x"]),
            ("undisclosed-recipients:;", &[]),
            ("undisclosed-recipients: ;,", &[]),
            ("\"a:b\" c.: ;, d@x, e:,f@x,,<g@x>,;", &["d@x", "f@x", "g@x"]),
            ("joe . smith @ example . com", &["joe.smith@example.com"]),
            ("joe(a).(b)smith(c)@(d)example(e).(f)com(g)", &["joe.smith@example.com"]),
            ("joe\r\n .smith\r\n @example\r\n .com", &["joe.smith@example.com"]),
            ("Joe Q. Public <joe@x>", &["joe@x"]),
            ("Joe.Q..Public... <joe@x>", &["joe@x"]),
            ("<@a,@b:joe@x>", &["joe@x"]),
            ("Joe < @ a . c , , @[127.0.0.1] , (c) : joe@x >", &["joe@x"]),
            ("<,@a,:joe>", &["joe"]),
            (
                "joe@[127.0.0.1], b@[ IPv6:::1 ], <c@ [127.0.0.\r\n 2]>",
                &["joe@[127.0.0.1]", "b@[IPv6:::1]", "c@[127.0.0.2]"],
            ),
            ("\"joe\"@x, \"jo\\e\"@x, \"\"@x", &["\"joe\"@x", "\"joe\"@x", "\"\"@x"]),
            ("\"a\\\"\\\\b\\@c\"@x", &["\"a\\\"\\\\b@c\"@x"]),
            ("\"a\r\n b\"@x, \"a\n b\"@x", &["\"a b\"@x", "\"a b\"@x"]),
            ("joe..smith@x, <joe.@x>, .joe@x", &["\"joe..smith\"@x", "\"joe.\"@x", "\".joe\"@x"]),
            ("joe.(a). smith . @x", &["\"joe..smith.\"@x"]),
            ("joe..\"q r\"@x", &["\"joe..q r\"@x"]),
            ("joe.\"q\".public@x", &["joe.q.public@x"]),
            ("joe. \"q r\" .public@x", &["\"joe.q r.public\"@x"]),
            ("joe.\"\"@x, \"a.\".b@x", &["\"joe.\"@x", "\"a..b\"@x"]),
            ("\"<joe>\"@x", &["\"<joe>\"@x"]),
            ("\"joe@x\" <b@x>, \"joe\"<c@x>, \"\" <d@x>", &["b@x", "c@x", "d@x"]),
            ("(joe@x) b@x (c@x, d@x)", &["b@x"]),
            ("((((a)b)(c\\))\\\\)) joe@x", &["joe@x"]),
            ("jörg@bücher.example, Jörg <用户@例子.测试>", &["jörg@bücher.example", "用户@例子.测试"]),
            ("\"Ctrl\x07\" (\0) <joe@x>", &["joe@x"]),
            ("-x@y, a/b=c@x, a!b, a%b@x", &["-x@y", "a/b=c@x", "a!b", "a%b@x"]),
        ] {
            assert_eq!(addresses(value.as_bytes()), Ok(strings(expected)), "{value}");
        }
    }

    #[test]
    fn octets_that_are_not_utf8_do_not_matter_outside_addresses() {
        assert_eq!(addresses(b"J\xf6rg <joe@x>, \"\xff\" (\xfe) <b@x>"), Ok(strings(&["joe@x", "b@x"])));
        let refused = "is not an address: octets that are not UTF-8 in the address";
        assert_eq!(addresses(b"a@x, j\xf6rg@x"), Err(format!("'j\\xf6rg@x' {refused}")));
        assert_eq!(addresses(b"joe@b\xfccher"), Err(format!("'joe@b\\xfccher' {refused}")));
        assert_eq!(addresses(b"\"\xff\"@x"), Err(format!("'\"\\xff\"@x' {refused}")));
    }

    #[test]
    fn what_is_no_list_is_refused_naming_the_member() {
        for (value, member, problem) in [
            ("", "", "it is empty"),
            (" \r\n", "", "it is empty"),
            (" , (a), ", "(a),", "it is empty"),
            ("Joe Smith joe@x", "Joe Smith joe@x", "'S' where a comma is expected"),
            ("a@x, Joe Smith joe@x, b@x", "Joe Smith joe@x", "'S' where a comma is expected"),
            ("Joe Smith", "Joe Smith", "'S' where a comma is expected"),
            ("a@x b@x", "a@x b@x", "'b' where a comma is expected"),
            ("a@x\r\n b@x", "a@x b@x", "'b' where a comma is expected"),
            ("a@x; b@x", "a@x; b@x", "';' where a comma is expected"),
            ("joe@x <joe@x>", "joe@x <joe@x>", "'<' where a comma is expected"),
            ("joe@x> , a@x", "joe@x>", "'>' where a comma is expected"),
            ("<joe@x> Smith", "<joe@x> Smith", "'S' where a comma is expected"),
            ("<a@x> <b@x>", "<a@x> <b@x>", "'<' where a comma is expected"),
            ("<joe@x", "<joe@x", "it ends where '>' is expected"),
            ("<joe@x, b@x", "<joe@x", "',' where '>' is expected"),
            ("<joe smith@x>", "<joe smith@x>", "'s' where '>' is expected"),
            ("<>", "<>", "'>' where an address is expected"),
            ("a@x, Joe <>, b@x", "Joe <>", "'>' where an address is expected"),
            ("< (none) >", "< (none) >", "'>' where an address is expected"),
            ("<<joe@x>>", "<<joe@x>>", "'<' where an address is expected"),
            (". Joe <joe@x>", ". Joe <joe@x>", "'.' where an address is expected"),
            (".@x", ".@x", "a dot at the beginning or end of a part, or two in a row"),
            ("joe.", "joe.", "it ends where an address is expected"),
            ("Acme, Inc., joe@x", "Inc.", "',' where an address is expected"),
            ("joe..smith", "joe..smith", "'.' where an address is expected"),
            ("joe. @x <joe@x>", "joe. @x <joe@x>", "'<' where a comma is expected"),
            ("joe@", "joe@", "it ends where a domain is expected"),
            ("joe@x.", "joe@x.", "it ends where a domain is expected"),
            ("joe@.x", "joe@.x", "'.' where a domain is expected"),
            ("joe@\"x\"", "joe@\"x\"", "'\"' where a domain is expected"),
            ("@x", "@x", "'@' where an address is expected"),
            ("a@b@c", "a@b@c", "'@' where a comma is expected"),
            ("@a:joe@x", "@a:joe@x", "'@' where an address is expected"),
            ("<@a,joe@x>", "<@a,joe@x>", "'j' where the ':' behind a route is expected"),
            ("<@a@b:joe@x>", "<@a@b:joe@x>", "'@' where the ':' behind a route is expected"),
            ("<@a joe@x>", "<@a joe@x>", "'j' where the ':' behind a route is expected"),
            ("<@a:>", "<@a:>", "'>' where an address is expected"),
            ("<,:joe@x>", "<,:joe@x>", "':' where the '@' of a route is expected"),
            ("a:b@x", "a:b@x", "it ends where the group's semicolon is expected"),
            ("a@x, a:b@x,", "a:b@x,", "it ends where the group's semicolon is expected"),
            (
                "undisclosed-recipients:",
                "undisclosed-recipients:",
                "it ends where the group's semicolon is expected",
            ),
            ("a:b:c@x;;", "b:c@x;;", "':' where a comma is expected"),
            ("a:; b@x", "a:; b@x", "'b' where a comma is expected"),
            (":a@x;", ":a@x;", "':' where an address is expected"),
            ("a@x;", "a@x;", "';' where a comma is expected"),
            ("\"joe@x", "\"joe@x", "unclosed '\"'"),
            ("a@x, \"Joe <joe@x>, b@x", "\"Joe <joe@x>", "unclosed '\"'"),
            ("a@x, (b@x", "(b@x", "unclosed '('"),
            ("joe@x (a(b)", "joe@x (a(b)", "unclosed '('"),
            ("joe@x )", "joe@x )", "')' where a comma is expected"),
            ("joe@[127.0.0.1", "joe@[127.0.0.1", "unclosed '['"),
            ("joe@[x]", "joe@[x]", "the text in square brackets is not an IP address"),
            ("joe@-x", "joe@-x", "a part of the domain begins or ends with a hyphen"),
            ("joe@a!b", "joe@a!b", "'!' is not allowed there"),
            ("'joe@x'", "'joe@x'", "''' is not allowed there"),
            ("\"\"", "\"\"", "it is empty"),
            ("\"a\tb\"@x", "\"a b\"@x", "it contains the control or blank character U+0009"),
            ("\"a\rb\"@x", "\"ab\"@x", "it contains the control or blank character U+000D"),
            ("\"a\\\r\nb\"@x", "\"a\\b\"@x", "it contains the control or blank character U+000D"),
            ("\"a\0b\"@x", "\"a\\x00b\"@x", "it contains the control or blank character U+0000"),
            ("joe\0@x", "joe\\x00@x", "'\\x00' where a comma is expected"),
            ("joe\x1b[2J@x", "joe\\x1b[2J@x", "'\\x1b' where a comma is expected"),
            ("joe@x\u{a0}", "joe@x\u{a0}", "it contains the control or blank character U+00A0"),
            ("a@x,\rb@x", "b@x", "'\\x0d' where white space is expected"),
            ("a@x,\nb@x", "b@x", "'\\x0a' where white space is expected"),
            ("a@x\r\nRCPT TO:<b@x>", "a@xRCPT TO:<b@x>", "'\\x0d' where white space is expected"),
            ("=?utf-8?q?joe?=", "=?utf-8?q?joe?=", "an encoded word where an address is expected"),
            ("=?utf-8?q?joe?=@x", "=?utf-8?q?joe?=@x", "an encoded word where an address is expected"),
            ("=?utf-8?q?Joe, Jr.?= <joe@x>", "=?utf-8?q?Joe", "an encoded word where an address is expected"),
            ("Joe [Sales] <joe@x>", "Joe [Sales] <joe@x>", "'[' where a comma is expected"),
            ("Joe @ Work <joe@x>", "Joe @ Work <joe@x>", "'<' where a comma is expected"),
            ("mailto:joe@x", "mailto:joe@x", "it ends where the group's semicolon is expected"),
            ("joe\\@x", "joe\\@x", "'\\' where a comma is expected"),
        ] {
            let expected = format!("'{member}' is not an address: {problem}");
            assert_eq!(addresses(value.as_bytes()), Err(expected), "{value:?}");
        }
    }

    #[test]
    fn a_megabyte_is_read_in_linear_time_and_constant_depth() {
        const MANY: usize = 1 << 20;
        let nested = format!("{}a{} joe@x", "(".repeat(MANY / 2), ")".repeat(MANY / 2));
        assert_eq!(addresses(nested.as_bytes()), Ok(strings(&["joe@x"])));
        let long_name = format!("{} <joe@x>", "Joe ".repeat(MANY / 4));
        assert_eq!(addresses(long_name.as_bytes()), Ok(strings(&["joe@x"])));
        let many = "Joe <joe@x>,\r\n ".repeat(MANY / 15);
        assert_eq!(parse(many.as_bytes()).map(|found| found.len()), Ok(MANY / 15));
        for piece in [
            "(", ")", "\"", "\\", "<", ">", "[", "@", ",", ".", ":", ";", " ", "\r\n ", "a", "a ", "a.",
            "a@", "<@", "@a,", "=?", "=?a?q?", "=?a?q?b", "=?a?q?,", "\"a\"", "\"a\".", "(a)", "(a", "a:",
            "a:;", "a:;,", "\u{e9}", "\0",
        ] {
            for (before, after) in
                [("", ""), ("Joe <", ">"), ("a:", ";"), ("\"", "\"@x"), ("joe@", ""), ("<@", ":b>")]
            {
                let value = format!("{before}{}{after}", piece.repeat(MANY / 8 / piece.len()));
                let error = addresses(value.as_bytes()).err().unwrap_or_default();
                assert!(error.len() < 600, "a message of {} octets for {piece}", error.len());
            }
        }
    }

    /// The pieces that lists are made of, good and bad.
    const PIECES: [&[u8]; 44] = [
        b"joe",
        b"x.example",
        b"@",
        b"<",
        b">",
        b",",
        b";",
        b":",
        b".",
        b"\"",
        b"\\",
        b"(",
        b")",
        b"[",
        b"]",
        b" ",
        b"\t",
        b"\r\n ",
        b"\n ",
        b"\r",
        b"\n",
        b"\0",
        b"\x7f",
        b"\xff",
        b"\xc3\xa9",
        b"\xc2\xa0",
        b"\xe2\x80\xae",
        b"=?",
        b"?=",
        b"=?utf-8?q?a,b?=",
        b"-",
        b"[127.0.0.1]",
        b"[IPv6:::1]",
        b"joe@x",
        b"<joe@x>",
        b"\"a b\"",
        b"\"a b\"@x",
        b"(comment)",
        b"a:b@x;",
        b"<@a,@b:joe@x>",
        b"postmaster",
        b"Joe Q. Public",
        b"\"Public, Joe\" <",
        b"a . b @ c . d",
    ];

    #[test]
    fn whatever_comes_there_is_no_panic_and_no_address_that_is_none() {
        let mut seed = 0x2033_5322_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        let mut read = 0;
        for _ in 0..40_000 {
            let mut value: Vec<u8> =
                (0..=random(6)).flat_map(|_| PIECES[random(PIECES.len())]).copied().collect();
            match random(4) {
                0 => value.truncate(random(value.len())),
                1 => _ = std::mem::replace(&mut value[0], random(256) as u8),
                2 => value.extend_from_within(..),
                _ => (),
            }
            for address in parse(&value).unwrap_or_default() {
                read += 1;
                let shown = value.escape_ascii();
                assert_eq!(Address::parse(address.as_str()).as_ref(), Ok(&address), "{shown}");
                let again = addresses(address.as_str().as_bytes());
                assert_eq!(again, Ok(vec![address.to_string()]), "{shown}");
            }
        }
        assert!(read > 2_500, "the pieces make lists too seldom: {read}");
    }
}
