//! ESMTP parameters of MAIL and RCPT (RFC 5321 §4.1.2, `esmtp-param`).

use std::fmt;
use std::str::FromStr;

use super::reply::printable;

/// `KEY` or `KEY=VALUE`; cannot hold what would end the command or begin another parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter(String);

/// Text that is no ESMTP parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidParameter(String);

impl Parameter {
    /// The parameter `text`, with or without a value.
    ///
    /// # Errors
    ///
    /// [`InvalidParameter`] when the key is not letters, digits and hyphens, or the value holds a space, a
    /// control character or `=`. Characters beyond ASCII pass, as RFC 6531 §3.3 allows in values.
    pub fn parse(text: &str) -> Result<Self, InvalidParameter> {
        let (key, value) = text.split_once('=').map_or((text, None), |(k, v)| (k, Some(v)));
        let key_ok = key.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let value_ok =
            value.is_none_or(|v| !v.is_empty() && !v.chars().any(|c| c.is_control() || c == ' ' || c == '='));
        if key_ok && value_ok { Ok(Self(text.to_owned())) } else { Err(InvalidParameter(text.to_owned())) }
    }

    /// As it stands in the command.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key in capitals.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.split('=').next().unwrap_or_default().to_ascii_uppercase()
    }
}

impl FromStr for Parameter {
    type Err = InvalidParameter;

    /// As [`Parameter::parse`].
    fn from_str(text: &str) -> Result<Self, InvalidParameter> {
        Self::parse(text)
    }
}

impl fmt::Display for InvalidParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not an ESMTP parameter (KEY or KEY=VALUE, without spaces and control characters)",
            printable(self.0.as_bytes())
        )
    }
}

impl std::error::Error for InvalidParameter {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_could_end_the_command_is_a_parameter() {
        for text in ["SIZE=1", "BODY=8BITMIME", "X-A", "8BIT", "RET=é"] {
            assert_eq!(Parameter::parse(text).unwrap().as_str(), text);
        }
        for text in ["", "=", "A=", "A=b c", "A=b\r\nRCPT", "A\n", "-A=b", "A=b=c", "A=\u{7f}", "A B"] {
            assert!(Parameter::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Parameter::parse("size=1").unwrap().key(), "SIZE");
    }
}
