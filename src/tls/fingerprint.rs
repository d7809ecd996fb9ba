//! Fingerprints of certificates, as `openssl x509 -fingerprint -sha256` prints them.

use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER_PERMISSIVE, HEXUPPER};
use ring::digest;
use rustls::pki_types::CertificateDer;

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of `certificate`.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = digest::digest(&digest::SHA256, certificate);
        let mut octets = [0; 32];
        octets.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Self(octets)
    }
}

/// 32 octets in hexadecimal, of any case, with colons between all octets or none.
impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let well_divided = !text.contains(':') || text.split(':').all(|octet| octet.len() == 2);
        let digits = well_divided.then(|| text.replace(':', "")).ok_or(NotAFingerprint)?;
        let octets = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| NotAFingerprint)?;
        octets.try_into().map(Self).map_err(|_| NotAFingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, octet) in self.0.iter().enumerate() {
            let colon = if n == 0 { "" } else { ":" };
            write!(f, "{colon}{}", HEXUPPER.encode(&[*octet]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a [`Fingerprint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAFingerprint;

impl fmt::Display for NotAFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a SHA-256 fingerprint, which is 64 hexadecimal digits, with or without colons")
    }
}

impl std::error::Error for NotAFingerprint {}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of nothing.
    const OPENSSL: &str =
        "E3:B0:C4:42:98:FC:1C:14:9A:FB:F4:C8:99:6F:B9:24:27:AE:41:E4:64:9B:93:4C:A4:95:99:1B:78:52:B8:55";

    #[test]
    fn both_notations_are_one() {
        let empty = Fingerprint::of(&CertificateDer::from(&[][..]));
        assert_eq!(empty.to_string(), OPENSSL);
        for text in [OPENSSL.to_owned(), OPENSSL.replace(':', ""), OPENSSL.to_lowercase()] {
            assert_eq!(text.parse(), Ok(empty), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let bare = OPENSSL.replace(':', "");
        for text in [
            "",
            ":",
            &bare[1..],
            &bare[2..],
            &format!("{bare}00"),
            &format!("{OPENSSL}:"),
            &format!(":{OPENSSL}"),
            &format!(" {bare}"),
            &bare.replace("55", "5g"),
            &bare.replace("B855", "B8:55"),
            &OPENSSL.replace("E3:B0", "E3::B0"),
            &OPENSSL.replace("E3:B", "E:3B"),
            &OPENSSL.replace(':', " "),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(NotAFingerprint), "{text}");
        }
    }
}
