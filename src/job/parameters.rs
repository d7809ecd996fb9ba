//! ESMTP parameters: which were asked for, and which of them a server is told.

use lmtp_send::lmtp::{Address, EnhancedCode, Extensions, InvalidParameter, Parameter, Reply};

use crate::cli::{NotificationArgs, Notify, Ret, TransactionArgs};
use crate::exit::Kind;
use crate::local_error::LocalError;

/// The longest envelope identifier, in characters (RFC 3461 §4.4).
const MAX_ENVID: usize = 100;

/// The parameters for MAIL and those for each RCPT.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    mail: Vec<Parameter>,
    rcpt: Vec<Parameter>,
}

/// What one server is told.
#[derive(Debug, Default)]
pub struct ServerParameters {
    /// For MAIL.
    pub mail: Vec<Parameter>,
    /// For each RCPT.
    pub rcpt: Vec<Parameter>,
    /// What is left out, since the server does not offer it.
    pub left_out: Vec<String>,
    /// What cannot be left out without breaking a promise: the message is not for this server.
    pub refusal: Option<Reply>,
}

impl Parameters {
    /// The parameters that the options ask for.
    ///
    /// # Errors
    ///
    /// [`LocalError`] naming the option whose value can be none.
    pub fn new(asked: &NotificationArgs, options: &TransactionArgs) -> Result<Self, LocalError> {
        let mut parameters = Self::default();
        if let Some(ret) = asked.ret {
            parameters.mail.push(parse("--ret", if ret == Ret::Full { "RET=FULL" } else { "RET=HDRS" })?);
        }
        if let Some(id) = &asked.envid {
            if id.len() > MAX_ENVID {
                return Err(invalid(
                    "--envid",
                    &format!("more than {MAX_ENVID} characters (RFC 3461 section 4.4)"),
                ));
            }
            parameters.mail.push(parse("--envid", &format!("ENVID={}", xtext("--envid", id)?))?);
        }
        if let Some(id) = &options.transid {
            parameters.mail.push(transid(id)?);
        }
        for text in &options.mail_param {
            let parameter = parse("--mail-param", text)?;
            if matches!(parameter.key().as_str(), "SIZE" | "BODY" | "SMTPUTF8") {
                let why = format!("{} is set automatically (see --body and --smtputf8)", parameter.key());
                return Err(invalid("--mail-param", &why));
            }
            parameters.mail.push(parameter);
        }
        if !asked.notify.is_empty() {
            let words: Vec<&str> = asked.notify.iter().map(|n| word(*n)).collect();
            parameters.rcpt.push(parse("--notify", &format!("NOTIFY={}", words.join(",")))?);
        }
        if let Some(orcpt) = &asked.orcpt {
            parameters.rcpt.push(original_recipient(orcpt)?);
        }
        for text in &options.rcpt_param {
            parameters.rcpt.push(parse("--rcpt-param", text)?);
        }
        Ok(parameters)
    }

    /// What of them a server is told that offers `extensions` and greeted with `greeting`.
    pub fn for_server(&self, extensions: &Extensions, greeting: &str) -> ServerParameters {
        let mut server = ServerParameters::default();
        let mut offered = |parameter: &Parameter| {
            let key = parameter.key();
            // Dovecot takes ORCPT without offering DSN.
            let known = key == "ORCPT" && greeting.contains("Dovecot");
            let missing = extension(&key).filter(|e| !extensions.offers(e) && !known);
            match missing {
                Some("REQUIRETLS") => {
                    let text = "REQUIRETLS was requested, but the server does not offer it";
                    server.refusal = Some(Reply::new(550, EnhancedCode::new(5, 7, 30), text));
                }
                Some(extension) => {
                    server.left_out.push(format!(
                        "{} was not sent: the server does not offer {extension}",
                        parameter.as_str()
                    ));
                }
                None => {}
            }
            missing.is_none()
        };
        let mail = self.mail.iter().filter(|p| offered(p)).cloned().collect();
        let rcpt = self.rcpt.iter().filter(|p| offered(p)).cloned().collect();
        ServerParameters { mail, rcpt, ..server }
    }
}

/// The extension that a parameter is part of; any other parameter is said as it is.
fn extension(key: &str) -> Option<&'static str> {
    match key {
        "RET" | "ENVID" | "NOTIFY" | "ORCPT" => Some("DSN"),
        "TRANSID" => Some("CHECKPOINT"),
        "IGNOREQUOTA" => Some("IGNOREQUOTA"),
        "AUTH" => Some("AUTH"),
        "BY" => Some("DELIVERBY"),
        "MT-PRIORITY" => Some("MT-PRIORITY"),
        "HOLDFOR" | "HOLDUNTIL" => Some("FUTURERELEASE"),
        "REQUIRETLS" => Some("REQUIRETLS"),
        "RRVS" => Some("RRVS"),
        "CONPERM" => Some("CONPERM"),
        _ => None,
    }
}

fn word(notify: Notify) -> &'static str {
    match notify {
        Notify::Never => "NEVER",
        Notify::Success => "SUCCESS",
        Notify::Failure => "FAILURE",
        Notify::Delay => "DELAY",
    }
}

fn parse(option: &str, text: &str) -> Result<Parameter, LocalError> {
    Parameter::parse(text).map_err(|e: InvalidParameter| invalid(option, &e))
}

fn invalid(option: &str, why: &dyn std::fmt::Display) -> LocalError {
    LocalError::input(Kind::Envelope, format!("{option}: {why}"))
}

/// A transaction's identifier, `<local@domain>` (RFC 1845 §3).
fn transid(text: &str) -> Result<Parameter, LocalError> {
    let address = Address::parse(text).map_err(|e| invalid("--transid", &e))?;
    if address.domain().is_none() || !address.is_ascii() {
        return Err(invalid("--transid", &format!("'{address}' is not of the form local@domain")));
    }
    parse("--transid", &format!("TRANSID=<{address}>"))
}

/// `TYPE;ADDR` (RFC 3461 §4.2).
fn original_recipient(text: &str) -> Result<Parameter, LocalError> {
    let form = || invalid("--orcpt", &"expected TYPE;ADDR, such as rfc822;joe@example.net");
    let (kind, address) = text.split_once(';').ok_or_else(form)?;
    let is_atom = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !is_atom || address.is_empty() {
        return Err(form());
    }
    parse("--orcpt", &format!("ORCPT={kind};{}", xtext("--orcpt", address)?))
}

/// Printable ASCII as xtext: what would end the value is written in hexadecimal (RFC 3461 §4).
fn xtext(option: &str, text: &str) -> Result<String, LocalError> {
    if text.is_empty() || !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(invalid(option, &"only printable ASCII is allowed (xtext, RFC 3461 section 4)"));
    }
    let plain = |c: char| c.is_ascii_graphic() && c != '+' && c != '=';
    Ok(text
        .chars()
        .map(|c| if plain(c) { c.to_string() } else { format!("+{:02X}", u32::from(c)) })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_cannot_end_a_value() {
        assert_eq!(xtext("", "a b+c=d").unwrap(), "a+20b+2Bc+3Dd");
        for text in ["", "a\r\nb", "é", "\0"] {
            assert!(xtext("", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn original_recipients_have_a_type() {
        assert_eq!(original_recipient("rfc822;Bob+x@y").unwrap().as_str(), "ORCPT=rfc822;Bob+2Bx@y");
        for text in ["bob@y", ";bob@y", "rfc822;", "rf c;a"] {
            assert!(original_recipient(text).is_err(), "{text}");
        }
        assert_eq!(transid("<1@x.example>").unwrap().as_str(), "TRANSID=<1@x.example>");
        assert!(transid("1").is_err() && transid("a b@c").is_err());
    }
}
