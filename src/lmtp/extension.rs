//! What a server offers: the lines of its reply to LHLO (RFC 5321 §4.1.1.1, RFC 2033 §4.1).

use super::Reply;

/// The service extensions of one session. Asked anew after every LHLO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    domain: String,
    offered: Vec<(String, String)>,
}

/// What LIMITS says (RFC 9422); `None` where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Transactions in one session.
    pub mail_max: Option<usize>,
    /// Recipients in one transaction.
    pub rcpt_max: Option<usize>,
}

impl Extensions {
    /// What the reply to LHLO offers.
    #[must_use]
    pub fn parse(reply: &Reply) -> Self {
        let mut lines = reply.lines();
        let domain = lines.next().and_then(|l| l.split(' ').next()).unwrap_or_default().to_owned();
        let mut offered: Vec<(String, String)> = Vec::new();
        for (keyword, argument) in lines.filter_map(split_line) {
            match offered.iter_mut().find(|(known, _)| *known == keyword) {
                Some((_, known)) => add_argument(known, &argument),
                None => offered.push((keyword, argument)),
            }
        }
        Self { domain, offered }
    }

    /// The server's own name.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Each keyword in capitals with what stands behind it, in the server's order: of one that comes in several
    /// lines, the words of all of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.offered.iter().map(|(keyword, argument)| (keyword.as_str(), argument.as_str()))
    }

    /// Whether `keyword` (in capitals) is offered.
    #[must_use]
    pub fn offers(&self, keyword: &str) -> bool {
        self.argument(keyword).is_some()
    }

    /// What stands behind `keyword` (in capitals), if that is offered: the words of every line that names it.
    #[must_use]
    pub fn argument(&self, keyword: &str) -> Option<&str> {
        self.iter().find(|(offered, _)| *offered == keyword).map(|(_, argument)| argument)
    }

    /// From now on `keyword` (in capitals) counts as not offered.
    pub(super) fn remove(&mut self, keyword: &str) {
        self.offered.retain(|(offered, _)| offered != keyword);
    }

    /// PIPELINING (RFC 2920).
    #[must_use]
    pub fn pipelining(&self) -> bool {
        self.offers("PIPELINING")
    }

    /// The largest message in octets; `None` for no limit or one that is not told (RFC 1870 §4). Where several are
    /// told, the smallest.
    #[must_use]
    pub fn size_limit(&self) -> Option<u64> {
        let words = self.argument("SIZE").unwrap_or_default().split(' ');
        words.filter_map(|word| word.parse().ok()).filter(|&limit| limit > 0).min()
    }

    /// LIMITS (RFC 9422). A limit of zero or one that is no number is no limit (§4). Where one is told twice, the
    /// smaller holds.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let Some(words) = self.argument("LIMITS") else { return Limits::default() };
        let value = |name: &str| {
            let named = words.split(' ').filter_map(|w| w.split_once('='));
            let named = named.filter(|(n, _)| n.eq_ignore_ascii_case(name));
            named.filter_map(|(_, v)| v.parse::<usize>().ok()).filter(|&v| v > 0).min()
        };
        Limits { mail_max: value("MAILMAX"), rcpt_max: value("RCPTMAX") }
    }
}

/// Puts the words of `argument` that are not there yet behind those of `known`.
fn add_argument(known: &mut String, argument: &str) {
    for word in argument.split_whitespace() {
        if !known.split_whitespace().any(|there| there.eq_ignore_ascii_case(word)) {
            if !known.is_empty() {
                known.push(' ');
            }
            known.push_str(word);
        }
    }
}

/// The keyword and the argument of one line. `AUTH=LOGIN`, as servers of old wrote it, is `AUTH LOGIN`.
fn split_line(line: &str) -> Option<(String, String)> {
    let (keyword, argument) = line.trim().split_once([' ', '=']).unwrap_or((line.trim(), ""));
    (!keyword.is_empty()).then(|| (keyword.to_ascii_uppercase(), argument.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lmtp::reply::ReplyReader;

    fn parse(text: &str) -> Extensions {
        let mut reader = ReplyReader::default();
        reader.push(text.as_bytes());
        Extensions::parse(&reader.next_reply().unwrap().unwrap())
    }

    #[test]
    fn keywords_are_compared_without_case_and_keep_their_arguments() {
        let e = parse(
            "250-mx.example hello\r\n250-pipelining\r\n250-Size 1000\r\n250-AUTH=PLAIN LOGIN\r\n250 LIMITS RCPTMAX=2 mailmax=0\r\n",
        );
        assert_eq!(e.domain(), "mx.example");
        assert!(e.pipelining() && !e.offers("CHUNKING") && !e.offers("HELLO"));
        assert_eq!(e.size_limit(), Some(1000));
        assert_eq!(e.argument("AUTH"), Some("PLAIN LOGIN"));
        assert_eq!(e.limits(), Limits { mail_max: None, rcpt_max: Some(2) });
    }

    #[test]
    fn what_several_lines_say_of_a_keyword_is_put_together() {
        for (lines, keyword, argument) in [
            ("AUTH GSSAPI\nAUTH=LOGIN", "AUTH", "GSSAPI LOGIN"),
            ("AUTH=LOGIN\nSIZE\nAUTH PLAIN login", "AUTH", "LOGIN PLAIN"),
            ("AUTH\nAUTH CRAM-MD5", "AUTH", "CRAM-MD5"),
            ("XCLIENT ADDR NAME\nxclient PORT", "XCLIENT", "ADDR NAME PORT"),
        ] {
            let lines: Vec<&str> = lines.split('\n').collect();
            let said = parse(&format!("250-mx\r\n250-{}\r\n250 END\r\n", lines.join("\r\n250-")));
            assert_eq!(said.argument(keyword), Some(argument), "{lines:?}");
        }
        for (lines, limit) in
            [("SIZE 1000\nSIZE 500", Some(500)), ("SIZE 0\nSIZE 700", Some(700)), ("SIZE\nSIZE x", None)]
        {
            let said = parse(&format!("250-mx\r\n250-{}\r\n250 END\r\n", lines.replace('\n', "\r\n250-")));
            assert_eq!(said.size_limit(), limit, "{lines}");
        }
        let said = parse("250-mx\r\n250-LIMITS RCPTMAX=9 MAILMAX=3\r\n250 LIMITS RCPTMAX=2\r\n");
        assert_eq!(said.limits(), Limits { mail_max: Some(3), rcpt_max: Some(2) });
    }

    #[test]
    fn no_limit_is_no_limit() {
        for line in ["SIZE", "SIZE 0", "SIZE x", "SIZE 99999999999999999999999"] {
            assert_eq!(parse(&format!("250-mx\r\n250 {line}\r\n")).size_limit(), None, "{line}");
        }
        assert_eq!(parse("250 mx\r\n"), Extensions { domain: "mx".into(), offered: Vec::new() });
    }
}
