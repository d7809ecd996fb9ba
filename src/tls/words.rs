//! What TLS has to say, in words for a postmaster.
//!
//! The libraries name their errors for programmers. What is seen in practice is said in full, with what can be done
//! about it; the rest by the name of the error, as words.

use std::fmt::Debug;
use std::io;
use std::net::IpAddr;

use crate::lmtp::reply::printable;
use rustls::pki_types::pem;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::verifier::cause;

/// What an error is about.
pub enum Said {
    /// The server's certificate, which does not verify.
    Certificate(String),
    /// What the server does not like.
    Alert(String),
    /// Anything else.
    Failure(String),
}

/// An error of a connection.
pub fn of_error(error: &Error) -> Said {
    if let Error::InvalidCertificate(why) = error {
        return Said::Certificate(of_certificate(why));
    }
    if let Error::AlertReceived(alert) = error {
        return Said::Alert(of_alert(*alert));
    }
    if let Error::PeerIncompatible(why) = error {
        return Said::Failure(of_incompatible(why));
    }
    if let Error::PeerMisbehaved(why) = error {
        return Said::Failure(format!("the server breaks the protocol ({})", name(why)));
    }
    Said::Failure(match name(error).as_str() {
        "invalid message" => "the server's reply is not TLS".into(),
        "inappropriate message" | "inappropriate handshake message" => {
            "the server sent an unexpected message".into()
        }
        "decrypt error" => "data from the server cannot be decrypted".into(),
        other => other.to_owned(),
    })
}

fn of_incompatible(why: &PeerIncompatible) -> String {
    if matches!(why, PeerIncompatible::ServerDoesNotSupportTls12Or13) {
        return "the server speaks neither TLS 1.2 nor TLS 1.3".into();
    }
    format!("the server and this program have nothing in common ({})", name(why))
}

/// Why a certificate is not verified; the sentence begins with the certificate.
fn of_certificate(why: &CertificateError) -> String {
    if let Some(cause) = cause(why) {
        return of_chain(cause);
    }
    if let CertificateError::ExpiredContext { time, not_after } = why {
        let days = time.as_secs().saturating_sub(not_after.as_secs()) / 86_400;
        return format!("it expired {days} days ago");
    }
    if let CertificateError::NotValidYetContext { time, not_before } = why {
        let days = not_before.as_secs().saturating_sub(time.as_secs()) / 86_400;
        return format!("it will not be valid for another {days} days");
    }
    if let CertificateError::NotValidForNameContext { expected, presented } = why {
        return wrong_name(&expected.to_str(), presented);
    }
    if let CertificateError::Other(other) = why {
        return printable(other.to_string().as_bytes());
    }
    usual(&name(why))
}

/// The reasons that say no more than their name.
fn usual(name: &str) -> String {
    let said = match name {
        "unknown issuer" => "it is not signed by a trusted CA; --tls-ca FILE sets the CAs to trust",
        "bad signature" => "a signature is wrong, of its CA or of the server",
        "bad encoding" => "it cannot be read",
        "expired" => "it has expired",
        "not valid yet" => "it is not valid yet",
        "invalid purpose context" | "invalid purpose" => "it is not meant for servers (extendedKeyUsage)",
        "unhandled critical extension" | "unsupported critical extension" => {
            "it has a critical extension that is not supported"
        }
        "unsupported signature algorithm context"
        | "unsupported signature algorithm for public key context" => {
            "it, or a certificate it depends on, has an unsupported or too weak signature"
        }
        "ca used as end entity" => {
            "it is self-signed, or a CA's own, and not trusted: trust it with --tls-ca, or pin it with --tls-fingerprint"
        }
        "unsupported cert version" => {
            "it is an X.509 version 1 certificate, which has no host names; --tls-fingerprint can pin it"
        }
        "name constraint violation" => "its CA may not sign for this name",
        other => return format!("verification failed ({other})"),
    };
    said.to_owned()
}

/// The chain verifier's own reasons, for which rustls has no name.
fn of_chain(why: &webpki::Error) -> String {
    usual(&name(why))
}

/// The names as webpki writes them are `DnsName("…")`, `IpAddress(…)` and others that are no hosts'.
fn wrong_name(expected: &str, presented: &[String]) -> String {
    let host = |name: &String| {
        let dns = name.strip_prefix("DnsName(\"").and_then(|name| name.strip_suffix("\")"));
        let address = || name.strip_prefix("IpAddress(")?.strip_suffix(')')?.parse::<IpAddr>().ok();
        dns.map(str::to_owned).or_else(|| Some(address()?.to_string()))
    };
    let expected = printable(expected.as_bytes());
    let hosts: Vec<String> = presented.iter().filter_map(host).collect();
    if hosts.is_empty() {
        return format!("it is not for {expected}: it has no host names (subjectAltName)");
    }
    let hosts = printable(hosts.join(", ").as_bytes());
    format!("it is not for {expected} but for {hosts}; --tls-name sets another name to expect")
}

/// An alert: `CertificateRequired` is `certificate required`.
fn of_alert(alert: AlertDescription) -> String {
    match name(&alert).as_str() {
        "unknown" => format!("alert {}", u8::from(alert)),
        "certificate required" => "it requires a client certificate (--tls-cert, --tls-key)".into(),
        "protocol version" => "it speaks neither TLS 1.2 nor TLS 1.3 (protocol version)".into(),
        other => other.to_owned(),
    }
}

/// The name of an error as words: `UnknownIssuer` is `unknown issuer`.
fn name(error: &dyn Debug) -> String {
    let debug = format!("{error:?}");
    let name = debug.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let mut words = String::with_capacity(name.len() + 8);
    let mut before = 'A';
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !before.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
        before = letter;
    }
    words
}

/// What the system says, without its number.
pub fn of_system(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// What is wrong with a PEM file; the sentence begins with the file.
pub fn of_pem(error: &pem::Error) -> String {
    if let pem::Error::MissingSectionEnd { end_marker } = error {
        return format!("its line '-----END {}-----' is missing", printable(end_marker.trim_ascii()));
    }
    if let pem::Error::IllegalSectionStart { line } = error {
        return format!("the line '{}' is not PEM", printable(line.trim_ascii()));
    }
    match name(error).as_str() {
        "base64 decode" => "the data between BEGIN and END is not base64".into(),
        other => format!("it is not PEM ({other})"),
    }
}
