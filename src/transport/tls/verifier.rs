//! The verifier of the server's certificate, for each [`Verify`](super::Verify).

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use super::{Fingerprint, TlsError};

/// Decides about the certificate as it was told to; the handshake's signature it verifies in any case.
#[derive(Debug)]
pub struct Verifier {
    accepts: Accepts,
    algorithms: WebPkiSupportedAlgorithms,
}

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
        Self { accepts, algorithms: provider.signature_verification_algorithms }
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

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
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
