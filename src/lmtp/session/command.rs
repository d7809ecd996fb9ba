//! The lines that are said, without their ends. Pure: what may stand in them was made sure of before.

use super::super::{Address, Extensions, Parameter};
use super::{Body, Transaction, Verb};

/// MAIL with what the server offers: SIZE (RFC 1870 §6), BODY (RFC 6152 §2), SMTPUTF8 (RFC 6531 §3.4).
pub(super) fn mail(transaction: &Transaction<'_>, extensions: &Extensions) -> String {
    let verb = match transaction.verb {
        Verb::Mail => "MAIL",
        Verb::Send => "SEND",
        Verb::Soml => "SOML",
        Verb::Saml => "SAML",
    };
    let sender = transaction.reverse_path.as_str();
    // Room for most of what may follow, too.
    let mut line = String::with_capacity(sender.len() + 64);
    [verb, " FROM:<", sender, ">"].iter().for_each(|part| line.push_str(part));
    if extensions.offers("SIZE") {
        line.push_str(&format!(" SIZE={}", transaction.octets));
    }
    match transaction.body {
        Body::Binary => line.push_str(" BODY=BINARYMIME"),
        Body::EightBit if extensions.offers("8BITMIME") => line.push_str(" BODY=8BITMIME"),
        Body::SevenBit if extensions.offers("8BITMIME") => line.push_str(" BODY=7BIT"),
        Body::EightBit | Body::SevenBit => {}
    }
    if transaction.needs_utf8() && extensions.offers("SMTPUTF8") {
        line.push_str(" SMTPUTF8");
    }
    with_parameters(line, transaction.mail)
}

/// RCPT (RFC 5321 §4.1.1.3).
pub(super) fn rcpt(recipient: &Address, parameters: &[Parameter]) -> String {
    with_parameters(["RCPT TO:<", recipient.as_str(), ">"].concat(), parameters)
}

/// BDAT (RFC 3030 §2).
pub(super) fn bdat(octets: u64, last: bool) -> String {
    format!("BDAT {octets}{}", if last { " LAST" } else { "" })
}

/// Whether `argument` can be no more than one argument of a command.
pub(super) fn is_argument(argument: &str) -> bool {
    !argument.is_empty() && !argument.chars().any(|c| c.is_control() || c == ' ')
}

/// Whether `line` is one line, and says something.
pub(super) fn is_line(line: &str) -> bool {
    !line.is_empty() && !line.chars().any(char::is_control)
}

fn with_parameters(mut line: String, parameters: &[Parameter]) -> String {
    for parameter in parameters {
        line.push(' ');
        line.push_str(parameter.as_str());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::super::ReversePath;
    use super::super::super::reply::ReplyReader;
    use super::*;

    fn offering(keywords: &str) -> Extensions {
        let mut reader = ReplyReader::default();
        let lines: String = keywords.split(' ').map(|keyword| format!("250-{keyword}\r\n")).collect();
        reader.push(format!("250-mx\r\n{lines}250 END\r\n").as_bytes());
        Extensions::parse(&reader.next_reply().unwrap().unwrap())
    }

    #[test]
    fn mail_declares_what_is_offered() {
        let (from, utf8) =
            (ReversePath::parse("s@x.example").unwrap(), Address::parse("é@x.example").unwrap());
        let parameters = [Parameter::parse("RET=HDRS").unwrap()];
        let plain = Transaction::new(&from, &[], 20);
        for (transaction, offers, line) in [
            (plain, "NONE", "MAIL FROM:<s@x.example>"),
            (plain, "SIZE", "MAIL FROM:<s@x.example> SIZE=20"),
            (plain, "8BITMIME SIZE", "MAIL FROM:<s@x.example> SIZE=20 BODY=8BITMIME"),
            (plain, "SMTPUTF8", "MAIL FROM:<s@x.example>"),
            (Transaction { body: Body::SevenBit, ..plain }, "8BITMIME", "MAIL FROM:<s@x.example> BODY=7BIT"),
            (Transaction { body: Body::SevenBit, ..plain }, "NONE", "MAIL FROM:<s@x.example>"),
            (Transaction { body: Body::Binary, ..plain }, "NONE", "MAIL FROM:<s@x.example> BODY=BINARYMIME"),
            (Transaction { recipients: &[&utf8], ..plain }, "SMTPUTF8", "MAIL FROM:<s@x.example> SMTPUTF8"),
            (Transaction { smtputf8: true, ..plain }, "SMTPUTF8", "MAIL FROM:<s@x.example> SMTPUTF8"),
            (Transaction { smtputf8: true, ..plain }, "NONE", "MAIL FROM:<s@x.example>"),
            (
                Transaction { mail: &parameters, verb: Verb::Soml, ..plain },
                "NONE",
                "SOML FROM:<s@x.example> RET=HDRS",
            ),
            (
                Transaction { reverse_path: &ReversePath::Null, verb: Verb::Saml, ..plain },
                "NONE",
                "SAML FROM:<>",
            ),
        ] {
            assert_eq!(mail(&transaction, &offering(offers)), line, "{offers}");
        }
    }

    #[test]
    fn the_other_lines() {
        let notify = [Parameter::parse("NOTIFY=NEVER").unwrap()];
        let joe = Address::parse("joe@x.example").unwrap();
        assert_eq!(rcpt(&joe, &[]), "RCPT TO:<joe@x.example>");
        assert_eq!(rcpt(&joe, &notify), "RCPT TO:<joe@x.example> NOTIFY=NEVER");
        assert_eq!((bdat(5, false).as_str(), bdat(0, true).as_str()), ("BDAT 5", "BDAT 0 LAST"));
        for (argument, is_one) in [("a", true), ("é", true), ("", false), ("a b", false), ("a\r\nb", false)]
        {
            assert_eq!(is_argument(argument), is_one, "{argument:?}");
        }
        for (line, is_one) in
            [("NOOP", true), ("VRFY a b", true), ("", false), ("a\nb", false), ("a\0", false)]
        {
            assert_eq!(is_line(line), is_one, "{line:?}");
        }
    }
}
