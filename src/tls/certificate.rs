//! What stands in a certificate (X.509, RFC 5280 §4.1), for certificates that nobody has to verify.
//!
//! The walk asks for no more than DER elements in their order: versions, extensions and algorithms that chain
//! verification refuses do not matter here. Nothing in it proves who the peer is.

use std::time::Duration;

use crate::lmtp::reply::printable;
use der::asn1::{AnyRef, GeneralizedTime, ObjectIdentifier, UtcTime};
use der::{DateTime, Decode, Reader, SliceReader, Tag, Tagged};
use rustls::pki_types::SubjectPublicKeyInfoDer;

/// A certificate that has been taken apart.
pub struct Certificate<'a> {
    issuer: AnyRef<'a>,
    validity: AnyRef<'a>,
    subject: AnyRef<'a>,
    /// The whole element.
    key: &'a [u8],
    extensions: Option<AnyRef<'a>>,
}

/// What a certificate says of itself, printable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// Whose it is, as in `CN=mail.example.net`.
    pub subject: String,
    /// The names and addresses of hosts that it is for (subjectAltName, RFC 5280 §4.2.1.6).
    pub names: Vec<String>,
    /// Who has signed it.
    pub issuer: String,
    /// The first second at which it is valid (RFC 3339, UTC).
    pub not_before: String,
    /// The last.
    pub not_after: String,
    /// The last, counted from 1970.
    pub expires: Duration,
}

impl<'a> Certificate<'a> {
    /// Takes `octets` apart; `None` where they are no certificate at all.
    pub fn read(octets: &'a [u8]) -> Option<Self> {
        let body = elements(AnyRef::from_der(octets).ok()?.value()).next()?.1;
        let mut parts = elements(body.value()).peekable();
        // [0] version; then serialNumber and signature.
        parts.next_if(|(_, part)| is_numbered(part, 0));
        let mut parts = parts.skip(2);
        let (issuer, validity, subject) = (parts.next()?.1, parts.next()?.1, parts.next()?.1);
        let key = parts.next()?.0;
        let extensions = parts.map(|(_, part)| part).find(|part| is_numbered(part, 3));
        Some(Self { issuer, validity, subject, key, extensions })
    }

    /// The key that signs the handshake.
    pub fn key(&self) -> SubjectPublicKeyInfoDer<'a> {
        SubjectPublicKeyInfoDer::from(self.key)
    }

    /// What it says of itself; `None` where its dates cannot be read.
    pub fn describe(&self) -> Option<Description> {
        let mut dates = elements(self.validity.value()).map(|(_, part)| date(&part));
        let (not_before, not_after) = (dates.next()??, dates.next()??);
        Some(Description {
            subject: distinguished_name(&self.subject),
            names: self.names(),
            issuer: distinguished_name(&self.issuer),
            not_before: not_before.to_string(),
            not_after: not_after.to_string(),
            expires: not_after.unix_duration(),
        })
    }

    fn names(&self) -> Vec<String> {
        self.alternative_names().map_or_else(Vec::new, |names| {
            elements(names.value()).filter_map(|(_, name)| host_name(&name)).collect()
        })
    }

    fn alternative_names(&self) -> Option<AnyRef<'a>> {
        let all = elements(self.extensions?.value()).next()?.1;
        elements(all.value()).find_map(|(_, extension)| {
            let mut parts = elements(extension.value());
            let known = oid(&parts.next()?.1)? == SUBJECT_ALT_NAME;
            // Behind `critical`, which may be left out.
            known.then(|| AnyRef::from_der(parts.last()?.1.value()).ok())?
        })
    }

    /// What the key is, in words; and whether its signatures can be verified here.
    pub fn key_kind(&self) -> (String, bool) {
        self.algorithm().unwrap_or_else(|| ("of an unknown kind".into(), false))
    }

    fn algorithm(&self) -> Option<(String, bool)> {
        let mut parts = elements(AnyRef::from_der(self.key).ok()?.value()).map(|(_, part)| part);
        let (algorithm, bits) = (parts.next()?, parts.next()?);
        let mut algorithm = elements(algorithm.value()).map(|(_, part)| part);
        let name = oid(&algorithm.next()?)?;
        Some(match name {
            RSA => {
                let octets = modulus(&bits)?;
                (format!("RSA of {} bits", octets * 8), RSA_OCTETS.contains(&octets))
            }
            ELLIPTIC => {
                let curve = algorithm.next().and_then(|curve| oid(&curve))?;
                (format!("of the elliptic curve {}", curve_name(curve)), CURVES.contains(&curve))
            }
            other => (format!("of the kind {other}"), other == ED25519),
        })
    }
}

const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ELLIPTIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
/// The curves that ring knows.
const CURVES: [ObjectIdentifier; 2] = [P256, P384];
/// The lengths of a modulus, in octets, that ring takes: 2048 to 8192 bits.
const RSA_OCTETS: std::ops::RangeInclusive<usize> = 256..=1024;

fn curve_name(curve: ObjectIdentifier) -> String {
    if curve == P521 { "P-521".into() } else { curve.to_string() }
}

/// The length of an RSA key's modulus, in octets: the first number of the sequence in the bit string.
fn modulus(bits: &AnyRef<'_>) -> Option<usize> {
    let key = AnyRef::from_der(bits.value().get(1..)?).ok()?;
    let modulus = elements(key.value()).next()?.1.value();
    Some(modulus.len() - modulus.iter().take_while(|octet| **octet == 0).count())
}

/// The elements in `octets`, each as a whole and taken apart, as far as they are any.
fn elements(octets: &[u8]) -> impl Iterator<Item = (&[u8], AnyRef<'_>)> {
    let mut reader = SliceReader::new(octets).ok();
    std::iter::from_fn(move || {
        let whole = reader.as_mut().filter(|reader| !reader.is_finished())?.tlv_bytes().ok()?;
        Some((whole, AnyRef::from_der(whole).ok()?))
    })
}

/// Whether an element's tag is `[number]`.
fn is_numbered(element: &AnyRef<'_>, number: u8) -> bool {
    matches!(element.tag(), Tag::ContextSpecific { number: found, .. } if found.value() == number)
}

fn oid(element: &AnyRef<'_>) -> Option<ObjectIdentifier> {
    element.decode_as().ok()
}

fn date(element: &AnyRef<'_>) -> Option<DateTime> {
    let short = || element.decode_as::<UtcTime>().ok().map(|time| time.to_date_time());
    short().or_else(|| element.decode_as::<GeneralizedTime>().ok().map(|time| time.to_date_time()))
}

/// A name or an address of a host; other names are left out.
fn host_name(name: &AnyRef<'_>) -> Option<String> {
    if is_numbered(name, 2) {
        return Some(printable(name.value()));
    }
    let octets = Some(name.value()).filter(|_| is_numbered(name, 7))?;
    let four = <[u8; 4]>::try_from(octets).map(|four| std::net::IpAddr::from(four).to_string());
    four.or_else(|_| <[u8; 16]>::try_from(octets).map(|six| std::net::IpAddr::from(six).to_string())).ok()
}

/// A distinguished name as `openssl x509 -nameopt` writes it: in the certificate's order, commas between.
fn distinguished_name(name: &AnyRef<'_>) -> String {
    let sets = elements(name.value()).flat_map(|(_, set)| elements(set.value()).collect::<Vec<_>>());
    let words = sets.filter_map(|(_, attribute)| {
        let mut parts = elements(attribute.value()).map(|(_, part)| part);
        let (kind, value) = (oid(&parts.next()?)?, parts.next()?);
        Some(format!("{}={}", attribute_name(kind), text(&value)))
    });
    words.collect::<Vec<_>>().join(", ")
}

/// The usual short names (RFC 4514 §3), else the number.
fn attribute_name(kind: ObjectIdentifier) -> String {
    let number = kind.to_string();
    let known = match number.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return number,
    };
    known.to_owned()
}

/// The text of a string of any type: BMPString is UTF-16, all others are taken for UTF-8.
fn text(value: &AnyRef<'_>) -> String {
    if value.tag() == Tag::BmpString {
        let units =
            value.value().chunks_exact(2).filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)));
        return printable(String::from_utf16_lossy(&units.collect::<Vec<_>>()).as_bytes());
    }
    printable(value.value())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair, SanType};

    use super::*;

    fn described(params: CertificateParams) -> (Description, String) {
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = Certificate::read(certificate.der()).unwrap();
        (read.describe().unwrap(), read.key_kind().0)
    }

    #[test]
    fn a_certificate_says_whose_it_is_and_for_how_long() {
        let mut params = CertificateParams::new(vec!["mail.example.net".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress("192.0.2.1".parse().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress("2001:db8::1".parse().unwrap()));
        params.subject_alt_names.push(SanType::Rfc822Name("joe@example.net".try_into().unwrap()));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Bücher\n");
        params.distinguished_name.push(DnType::CommonName, "mail");
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2050, 3, 4);
        params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0]));
        let (said, key) = described(params);
        assert_eq!(said.subject, "O=Bücher\\x0a, CN=mail");
        assert_eq!(said.issuer, said.subject);
        assert_eq!(said.names, ["mail.example.net", "192.0.2.1", "2001:db8::1"]);
        assert_eq!(said.not_before, "2026-01-02T00:00:00Z");
        assert_eq!(said.not_after, "2050-03-04T00:00:00Z");
        assert_eq!(said.expires, Duration::from_secs(2_529_964_800));
        assert_eq!(key, "of the elliptic curve 1.2.840.10045.3.1.7");
    }

    #[test]
    fn what_is_cut_short_or_altered_is_never_more_than_unknown() {
        let params = CertificateParams::new(vec!["mail.example.net".to_owned()]).unwrap();
        let whole = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        for at in 0..whole.len() {
            assert!(Certificate::read(&whole[..at]).is_none(), "{at}");
            for octet in [0, 0x30, 0x7f, 0xa3, 0xff] {
                let mut altered = whole.clone();
                altered[at] = octet;
                if let Some(read) = Certificate::read(&altered) {
                    read.describe();
                    read.key_kind();
                }
            }
        }
    }
}
