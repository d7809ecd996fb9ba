//! The SASL mechanisms that are spoken, and which is preferred.

use std::fmt;
use std::str::FromStr;

/// A SASL mechanism (RFC 4422 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    #[cfg(feature = "scram")]
    /// RFC 7677: neither side learns the password, and the server proves that it knows it.
    ScramSha256,
    #[cfg(feature = "scram")]
    /// RFC 5802: as [`Mechanism::ScramSha256`], over SHA-1.
    ScramSha1,
    /// RFC 2195: the password is not sent, but the server proves nothing.
    CramMd5,
    /// RFC 4616: the password itself.
    Plain,
    /// The password itself, in two turns (draft-murchison-sasl-login).
    Login,
    /// RFC 4422 appendix A: who we are is known from elsewhere, such as a TLS client certificate.
    External,
}

impl Mechanism {
    /// The order of preference, and all that is ever chosen without being asked for by name.
    const PREFERRED: &[Self] = &[
        #[cfg(feature = "scram")]
        Self::ScramSha256,
        #[cfg(feature = "scram")]
        Self::ScramSha1,
        Self::CramMd5,
        Self::Plain,
        Self::Login,
    ];

    /// The name as registered, which is how it stands in AUTH.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "scram")]
            Self::ScramSha256 => "SCRAM-SHA-256",
            #[cfg(feature = "scram")]
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::CramMd5 => "CRAM-MD5",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::External => "EXTERNAL",
        }
    }

    /// The mechanism of this name, in any case; `None` if it is not spoken here.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let named = |mechanism: &Self| mechanism.name().eq_ignore_ascii_case(name);
        Self::PREFERRED.iter().copied().chain([Self::External]).find(named)
    }

    /// Whether the password itself is sent: not for an unencrypted connection.
    #[must_use]
    pub fn is_clear(self) -> bool {
        matches!(self, Self::Plain | Self::Login)
    }

    /// Whether there must be a user and a password.
    #[must_use]
    pub fn needs_password(self) -> bool {
        self != Self::External
    }

    /// The strongest of the mechanisms `offered`. EXTERNAL is never chosen this way: it says "let me in as
    /// whom you take me for", which is right only where somebody asked for it.
    #[must_use]
    pub fn strongest(offered: &[&str]) -> Option<Self> {
        let is_offered = |mechanism: &Self| offered.iter().any(|name| Self::parse(name) == Some(*mechanism));
        Self::PREFERRED.iter().copied().find(is_offered)
    }

    /// The mechanism to be used with a server whose AUTH says `offer`: the one that is `wanted`, else the strongest.
    /// One that sends the password itself is none unless that `may_be_clear`.
    ///
    /// # Errors
    ///
    /// [`NoMechanism`] says why there is none.
    pub fn choose(offer: &str, wanted: Option<Self>, may_be_clear: bool) -> Result<Self, NoMechanism> {
        let may = |mechanism: Self| may_be_clear || !mechanism.is_clear();
        let offered: Vec<&str> = offer.split_whitespace().collect();
        let spoken = || offered.iter().filter_map(|name| Self::parse(name));
        if let Some(wanted) = wanted {
            if !spoken().any(|mechanism| mechanism == wanted) {
                return Err(NoMechanism::NotOffered(wanted));
            }
            return if may(wanted) { Ok(wanted) } else { Err(NoMechanism::Clear) };
        }
        let usable: Vec<&str> =
            offered.iter().copied().filter(|name| Self::parse(name).is_some_and(may)).collect();
        let is_forbidden = spoken().any(|mechanism| !may(mechanism));
        let why = if is_forbidden { NoMechanism::Clear } else { NoMechanism::Unknown };
        Self::strongest(&usable).ok_or(why)
    }
}

/// Why no mechanism can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoMechanism {
    /// The server does not offer the one that is wanted.
    NotOffered(Mechanism),
    /// The password itself would be sent over a connection that others could overhear.
    Clear,
    /// None of those that are offered is spoken here, or chosen without being asked for.
    Unknown,
}

impl FromStr for Mechanism {
    type Err = UnknownMechanism;

    fn from_str(name: &str) -> Result<Self, UnknownMechanism> {
        Self::parse(name).ok_or(UnknownMechanism)
    }
}

/// The name of not a supported mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMechanism;

impl fmt::Display for UnknownMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a supported mechanism")
    }
}

impl std::error::Error for UnknownMechanism {}

#[cfg(test)]
#[cfg(feature = "scram")]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_offered_is_chosen_whatever_the_order() {
        for (offered, chosen) in [
            ("PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", Some(Mechanism::ScramSha256)),
            ("LOGIN scram-sha-1 CRAM-MD5", Some(Mechanism::ScramSha1)),
            ("PLAIN cram-md5 DIGEST-MD5", Some(Mechanism::CramMd5)),
            ("LOGIN Plain", Some(Mechanism::Plain)),
            ("GSSAPI LOGIN EXTERNAL", Some(Mechanism::Login)),
            ("EXTERNAL", None),
            ("SCRAM-SHA-256-PLUS XOAUTH2", None),
            ("", None),
        ] {
            let names: Vec<&str> = offered.split(' ').collect();
            assert_eq!(Mechanism::strongest(&names), chosen, "{offered}");
        }
    }

    #[test]
    fn a_mechanism_is_chosen_or_it_is_said_why_not() {
        let plain = Some(Mechanism::Plain);
        for (offer, wanted, may_be_clear, chosen) in [
            ("PLAIN CRAM-MD5", None, false, Ok(Mechanism::CramMd5)),
            ("PLAIN LOGIN", None, true, Ok(Mechanism::Plain)),
            ("PLAIN GSSAPI", None, false, Err(NoMechanism::Clear)),
            ("GSSAPI", None, true, Err(NoMechanism::Unknown)),
            ("", None, true, Err(NoMechanism::Unknown)),
            ("CRAM-MD5 plain", plain, true, Ok(Mechanism::Plain)),
            ("CRAM-MD5 plain", plain, false, Err(NoMechanism::Clear)),
            ("CRAM-MD5", plain, true, Err(NoMechanism::NotOffered(Mechanism::Plain))),
            ("EXTERNAL", Some(Mechanism::External), false, Ok(Mechanism::External)),
        ] {
            assert_eq!(Mechanism::choose(offer, wanted, may_be_clear), chosen, "{offer} {wanted:?}");
        }
    }

    #[test]
    fn names_are_known_in_any_case() {
        for name in ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN", "EXTERNAL"] {
            assert_eq!(Mechanism::parse(&name.to_lowercase()).map(Mechanism::name), Some(name));
        }
        assert_eq!("plain".parse(), Ok(Mechanism::Plain));
        assert_eq!("DIGEST-MD5".parse::<Mechanism>(), Err(UnknownMechanism));
        assert_eq!(Mechanism::parse("PLAIN "), None);
        assert_eq!(Mechanism::parse("SCRAM-SHA-512"), None);
    }

    #[test]
    fn only_plain_and_login_send_the_password() {
        let clear = ["PLAIN", "LOGIN"].map(Mechanism::parse);
        for mechanism in Mechanism::PREFERRED.iter().copied().chain([Mechanism::External]) {
            assert_eq!(mechanism.is_clear(), clear.contains(&Some(mechanism)), "{mechanism:?}");
        }
        assert!(!Mechanism::External.needs_password());
        assert!(Mechanism::Plain.needs_password());
    }
}
