//! The verifier of the server's certificate, for each [`Verify`](super::Verify).
//!
//! Only [`Verify::Chain`](super::Verify::Chain) has to understand the certificate. The others need its key, which
//! signs the handshake: a certificate of version 1, or with critical extensions that nobody here knows, is one like
//! any other to them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, RootCertStore,
    SignatureScheme,
};

use super::certificate::Certificate;
use super::words::{self, Said};
use super::{Fingerprint, TlsError};

/// Decides about the certificate as it was told to; the handshake's signature it verifies in any case.
#[derive(Debug)]
pub struct Verifier {
    accepts: Accepts,
    algorithms: WebPkiSupportedAlgorithms,
    refused: Mutex<Option<Refused>>,
}

/// A server's certificate that was not accepted, and why.
pub type Refused = (CertificateDer<'static>, String);

/// Which certificates are accepted.
#[derive(Debug)]
enum Accepts {
    /// Those that an authority has signed, and those that were given themselves.
    Signed { chain: Arc<WebPkiServerVerifier>, given: Vec<CertificateDer<'static>> },
    /// The one of this fingerprint.
    Pinned(Fingerprint),
    /// All.
    Any,
}

impl Verifier {
    /// Accepts what has a chain to `roots`, and what is among `given`.
    pub fn chain(
        roots: RootCertStore,
        given: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let chain = builder.build().map_err(|_| TlsError::NoRoots)?;
        Ok(Self::new(Accepts::Signed { chain, given }, provider))
    }

    /// Accepts the certificate of this fingerprint.
    pub fn pin(fingerprint: Fingerprint, provider: &CryptoProvider) -> Self {
        Self::new(Accepts::Pinned(fingerprint), provider)
    }

    /// Accepts any certificate.
    pub fn nothing(provider: &CryptoProvider) -> Self {
        Self::new(Accepts::Any, provider)
    }

    fn new(accepts: Accepts, provider: &CryptoProvider) -> Self {
        let algorithms = provider.signature_verification_algorithms;
        Self { accepts, algorithms, refused: Mutex::new(None) }
    }

    /// The last certificate that was refused.
    pub fn refused(&self) -> Option<Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether `certificates`, the server's own first, would be accepted from `name`; if not, why.
    pub fn judge(&self, certificates: &[CertificateDer<'_>], name: &ServerName<'_>) -> Result<(), String> {
        let (leaf, others) = certificates.split_first().ok_or("it showed no certificate")?;
        if let Some((kind, false)) = Certificate::read(leaf).map(|leaf| leaf.key_kind()) {
            return Err(UnusableKey(kind).to_string());
        }
        let verdict = self.verify_server_cert(leaf, others, name, &[], UnixTime::now());
        verdict.map(drop).map_err(|error| why(&error))
    }

    /// What [`Accepts`] comes to for a certificate.
    fn accept(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.accepts {
            Accepts::Any => Ok(ServerCertVerified::assertion()),
            Accepts::Pinned(pinned) => verify_pinned(leaf, *pinned),
            Accepts::Signed { chain, given } => {
                match chain.verify_server_cert(leaf, others, name, ocsp, now) {
                    Err(Error::InvalidCertificate(why)) if is_authority(&why) && given.contains(leaf) => {
                        verify_name(leaf, name)
                    }
                    verdict => verdict,
                }
            }
        }
    }

    fn key<'a>(&self, leaf: &'a CertificateDer<'_>) -> Result<Key<'a>, Error> {
        if matches!(self.accepts, Accepts::Signed { .. }) {
            return Ok(Key::OfChain);
        }
        let certificate = Certificate::read(leaf);
        let kind = certificate.as_ref().map(Certificate::key_kind);
        match (certificate, kind) {
            (Some(certificate), Some((_, true))) => Ok(Key::Own(certificate.key())),
            _ if matches!(self.accepts, Accepts::Any) => Ok(Key::NoMatter),
            (_, kind) => {
                let kind = kind.map(|(kind, _)| kind).unwrap_or_default();
                Err(CertificateError::Other(OtherError(Arc::new(UnusableKey(kind)))).into())
            }
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.accept(leaf, others, name, ocsp, now);
        if let Err(error) = &verdict {
            let refused = (leaf.clone().into_owned(), why(error));
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.key(leaf)? {
            Key::OfChain => verify_tls12_signature(message, leaf, signature, &self.algorithms),
            Key::Own(key) => verify_by_key(message, &key, signature, &self.algorithms),
            Key::NoMatter => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.key(leaf)? {
            Key::OfChain => verify_tls13_signature(message, leaf, signature, &self.algorithms),
            Key::Own(key) => verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms),
            Key::NoMatter => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.algorithms.supported_schemes();
        if matches!(self.accepts, Accepts::Any) {
            schemes.extend(UNVERIFIABLE);
        }
        schemes
    }
}

/// Why a certificate was refused, in words.
fn why(error: &Error) -> String {
    match words::of_error(error) {
        Said::Certificate(why) | Said::Alert(why) | Said::Failure(why) => why,
    }
}

/// Signatures that cannot be verified here, and need not be where nobody is.
const UNVERIFIABLE: [SignatureScheme; 7] = [
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED448,
    // rsa_pss_pss_sha256, _sha384 and _sha512 (RFC 8446 §4.2.3).
    SignatureScheme::Unknown(0x0809),
    SignatureScheme::Unknown(0x080a),
    SignatureScheme::Unknown(0x080b),
    SignatureScheme::ECDSA_SHA1_Legacy,
    SignatureScheme::RSA_PKCS1_SHA1,
];

/// By which key the handshake's signature is verified.
enum Key<'a> {
    /// By that of the certificate, which chain verification has understood.
    OfChain,
    /// By this one.
    Own(SubjectPublicKeyInfoDer<'a>),
    /// By none: it is of a kind that is not known here, and the certificate proves nothing anyway.
    NoMatter,
}

/// Verifies a signature of TLS 1.2 by a key alone. A scheme may stand for several algorithms there, since it
/// does not name the curve (RFC 5246 §7.4.1.4.1).
fn verify_by_key(
    message: &[u8],
    key: &SubjectPublicKeyInfoDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let known = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signature.scheme);
    let (_, candidates) = known.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let key = webpki::RawPublicKeyEntity::try_from(key).map_err(|_| CertificateError::BadEncoding)?;
    let fits = candidates
        .iter()
        .any(|algorithm| key.verify_signature(*algorithm, message, signature.signature()).is_ok());
    if fits { Ok(HandshakeSignatureValid::assertion()) } else { Err(CertificateError::BadSignature.into()) }
}

/// Whether the only thing found wrong so far is that the server's certificate is an authority's. `openssl req
/// -x509` makes such certificates for servers, and OpenSSL accepts them; dates have been checked by then.
fn is_authority(why: &CertificateError) -> bool {
    matches!(cause(why), Some(webpki::Error::CaUsedAsEndEntity))
}

/// The library's own reason, where rustls has no name for it.
pub fn cause(why: &CertificateError) -> Option<&webpki::Error> {
    if let CertificateError::Other(OtherError(cause)) = why { cause.downcast_ref() } else { None }
}

/// Whether `leaf` has this name.
fn verify_name(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<ServerCertVerified, Error> {
    verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
    Ok(ServerCertVerified::assertion())
}

/// Whether `leaf` is the pinned one.
fn verify_pinned(leaf: &CertificateDer<'_>, pinned: Fingerprint) -> Result<ServerCertVerified, Error> {
    let shown = Fingerprint::of(leaf);
    if shown == pinned {
        return Ok(ServerCertVerified::assertion());
    }
    Err(CertificateError::Other(OtherError(Arc::new(WrongFingerprint { shown, pinned }))).into())
}

/// The server shows another certificate than the pinned one.
#[derive(Debug)]
struct WrongFingerprint {
    shown: Fingerprint,
    pinned: Fingerprint,
}

impl fmt::Display for WrongFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its fingerprint is {}, not {}", self.shown, self.pinned)
    }
}

impl std::error::Error for WrongFingerprint {}

/// The pinned certificate's key is of a kind whose signatures cannot be verified here.
#[derive(Debug)]
struct UnusableKey(String);

impl fmt::Display for UnusableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(kind) = self;
        write!(f, "its key is {kind}; supported are RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519")
    }
}

impl std::error::Error for UnusableKey {}
