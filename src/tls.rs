//! The client's side of TLS, without a socket: what is verified, and the stream of octets.
//!
//! [`TlsOptions`] are turned into a configuration once, before a connection is opened, so a missing file is found early
//! ([`TlsOptions::configure`]). Each connection then has a [`TlsStream`], which converts between plaintext and ciphertext;
//! its owner moves both. TLS 1.3 and 1.2 are supported.
//!
//! The signature in the handshake is always verified, so the server has the key of the certificate that it shows. That
//! proves who it is only with [`Verify::Chain`] or a pinned certificate.
//!
//! Not supported: STARTTLS (see [`lmtp`](crate::lmtp)), revocation, session resumption, and names in a certificate's
//! subject (CN), which RFC 9525 §6.3 forbids.

mod certificate;
mod fingerprint;
mod secured;
mod stream;
mod verifier;
mod words;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fmt, fs, io};

use crate::lmtp::printable;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

pub use fingerprint::Fingerprint;
pub use secured::Secured;
pub use stream::{Facts, TlsStream};
use verifier::Verifier;

/// What a handshake with one host needs.
pub type Handshake = (Arc<ClientConfig>, ServerName<'static>);

/// The settings for TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// How the server's certificate is verified.
    pub verify: Verify,
    /// The client certificate, sent if the server requests one.
    pub identity: Option<Identity>,
    /// The name that the server's certificate must have, instead of the name used to connect.
    pub name: Option<String>,
}

/// Settings for TLS whose files have been read.
#[derive(Debug)]
pub struct Tls {
    options: TlsOptions,
    config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
    /// By whom a certificate would have to be signed, where nobody asks for that.
    authorities: Option<PathBuf>,
}

impl Tls {
    /// Reads the files that `options` name.
    ///
    /// # Errors
    ///
    /// As [`TlsOptions::configure`].
    pub fn new(options: TlsOptions) -> Result<Self, TlsError> {
        let (config, verifier) = options.configuration()?;
        Ok(Self { options, config, verifier, authorities: None })
    }

    /// Sets the CA file that [`Tls::verdict`] uses.
    #[must_use]
    pub fn with_authorities(mut self, file: Option<PathBuf>) -> Self {
        self.authorities = file;
        self
    }

    /// Whether `certificates` prove that the server is `name`. If the handshake verified the server, they do; otherwise
    /// the chain is verified now.
    ///
    /// # Errors
    ///
    /// The reason why it is not verified, as text.
    pub fn verdict(&self, certificates: &[CertificateDer<'_>], name: &ServerName<'_>) -> Result<(), String> {
        if self.verifies() {
            return Ok(());
        }
        let chain =
            TlsOptions { verify: Verify::Chain { ca: self.authorities.clone() }, ..TlsOptions::default() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = chain.verifier(&provider).map_err(|error| error.to_string())?;
        verifier.judge(certificates, name)
    }

    /// The server's own certificate that was last refused in a handshake, and why.
    #[must_use]
    pub fn refused(&self) -> Option<(CertificateDer<'static>, String)> {
        self.verifier.refused()
    }

    /// Whether the server is verified.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.options.verify != Verify::Nothing
    }

    /// The configuration for a handshake with `host`.
    ///
    /// # Errors
    ///
    /// As [`TlsOptions::server_name`].
    pub fn for_host(&self, host: &str) -> Result<Handshake, TlsError> {
        Ok((Arc::clone(&self.config), self.options.server_name(host)?))
    }
}

/// How the server's certificate is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verify {
    /// By its chain up to a trusted CA, its dates, and its name. The trusted CAs are those in the PEM file `ca`, or the
    /// system's if there is none. A server's own certificate in `ca` is trusted as well.
    Chain {
        /// The CA file.
        ca: Option<PathBuf>,
    },
    /// By its fingerprint alone.
    Pin(Fingerprint),
    /// Not at all.
    Nothing,
}

impl Default for Verify {
    fn default() -> Self {
        Self::Chain { ca: None }
    }
}

/// A client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// PEM: the certificate, and those between it and an authority, in this order.
    pub certificate: PathBuf,
    /// PEM: its private key, not encrypted.
    pub key: PathBuf,
}

impl Identity {
    /// A client certificate in the file `certificate`, its private key in the file `key`.
    #[must_use]
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificate: certificate.into(), key: key.into() }
    }
}

impl TlsOptions {
    /// The server's certificate is verified as `verify` says, by the name it was connected by.
    #[must_use]
    pub fn new(verify: Verify) -> Self {
        Self { verify, ..Self::default() }
    }

    /// We show this certificate when asked for one.
    #[must_use]
    pub fn identity(mut self, identity: impl Into<Option<Identity>>) -> Self {
        self.identity = identity.into();
        self
    }

    /// The server's certificate must have this name, in place of the one it was connected by.
    #[must_use]
    pub fn name(mut self, name: impl Into<Option<String>>) -> Self {
        self.name = name.into();
        self
    }

    /// Reads all files that are named, or else the system's authorities, once for all connections.
    ///
    /// # Errors
    ///
    /// [`TlsError::Unreadable`], [`TlsError::Unusable`] and [`TlsError::NoRoots`]: what the configuration names is
    /// wrong or missing.
    pub fn configure(&self) -> Result<Arc<ClientConfig>, TlsError> {
        self.configuration().map(|(config, _)| config)
    }

    /// [`TlsOptions::configure`], and who decides about the server's certificate in it.
    fn configuration(&self) -> Result<(Arc<ClientConfig>, Arc<Verifier>), TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(self.verifier(&provider)?);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Handshake(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Verifier>::clone(&verifier));
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (certificates, key) = (certificates(&identity.certificate)?, key(&identity.key)?);
                let refused = |error| identity.refused(&error);
                builder.with_client_auth_cert(certificates, key).map_err(refused)?
            }
        };
        // A run has few sessions with a server, and each is verified.
        config.resumption = Resumption::disabled();
        Ok((Arc::new(config), verifier))
    }

    /// The name that is asked for, if no certificate can have it.
    #[must_use]
    pub fn bad_name(&self) -> Option<&str> {
        self.name.as_deref().filter(|name| name_of_server(name).is_none())
    }

    /// The name to ask for and to verify on a connection to `host`: a name or an IP address, in brackets or not.
    ///
    /// # Errors
    ///
    /// [`TlsError::BadName`] when it is neither, and it matters.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        let name = self.name.as_deref().unwrap_or(host);
        match name_of_server(name) {
            Some(name) => Ok(name),
            None if matches!(self.verify, Verify::Chain { .. }) => Err(TlsError::BadName(name.to_owned())),
            // Nobody looks at it, and an address is not even sent (RFC 6066 §3).
            None => Ok(ServerName::from(IpAddr::from(Ipv4Addr::UNSPECIFIED))),
        }
    }

    /// What [`Verify`] comes to.
    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Verifier, TlsError> {
        match &self.verify {
            Verify::Pin(fingerprint) => Ok(Verifier::pin(*fingerprint, provider)),
            Verify::Nothing => Ok(Verifier::nothing(provider)),
            Verify::Chain { ca: Some(file) } => {
                let given = certificates(file)?;
                Verifier::chain(roots(file, &given)?, given, provider)
            }
            Verify::Chain { ca: None } => {
                let file = system_roots(env::var_os("SSL_CERT_FILE").map(PathBuf::from))?;
                Verifier::chain(roots(&file, &certificates(&file)?)?, Vec::new(), provider)
            }
        }
    }
}

impl Identity {
    /// Why certificate and key cannot be shown together.
    fn refused(&self, error: &rustls::Error) -> TlsError {
        let certificate = self.certificate.display();
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            unusable(&self.key, format!("it is not the key for {certificate}"))
        } else if matches!(error, rustls::Error::InvalidCertificate(_)) {
            unusable(&self.certificate, "its first certificate cannot be read".into())
        } else {
            unusable(&self.key, "it contains no supported key (RSA, P-256, P-384, Ed25519)".into())
        }
    }
}

/// A name or an IP address, in brackets or not, as a certificate has it.
fn name_of_server(name: &str) -> Option<ServerName<'static>> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    // The zone of a link-local address means nothing to the server; nor does a name's final dot.
    let bare = bare.split('%').next().unwrap_or(bare).trim_end_matches('.');
    ServerName::try_from(bare.to_owned()).ok()
}

/// Where systems keep the authorities they trust, in one file: Debian, Fedora, RHEL, openSUSE, Alpine (also
/// macOS and OpenBSD), FreeBSD. Reading the directory of single files beside it takes thirty times as long.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
];

/// The file of the system's authorities: the one that OpenSSL's variable names, else the first that is there.
fn system_roots(named: Option<PathBuf>) -> Result<PathBuf, TlsError> {
    let usual = || BUNDLES.iter().map(PathBuf::from).find(|path| path.exists());
    named.or_else(usual).ok_or(TlsError::NoRoots)
}

/// The authorities among `certificates`. Of a large bundle some may be in no usable form; not all, though.
fn roots(file: &Path, certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(certificates.iter().cloned());
    if usable == 0 { Err(unusable(file, "it contains no usable certificate".into())) } else { Ok(roots) }
}

/// The certificates in a PEM file, at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let octets = read(file)?;
    let all = CertificateDer::pem_slice_iter(&octets).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| unusable(file, words::of_pem(&error)))?;
    if !all.is_empty() {
        return Ok(all);
    }
    // The first element of a certificate in DER.
    let der = octets.starts_with(&[0x30]);
    let form =
        if der { "it is in DER format: convert it with openssl x509 -inform der" } else { NO_CERTIFICATE };
    Err(unusable(file, form.into()))
}

const NO_CERTIFICATE: &str = "it contains no certificate in PEM format";

/// The private key in a PEM file.
fn key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&Zeroizing::new(read(file)?)).map_err(|error| {
        let none = matches!(error, pem::Error::NoItemsFound);
        let why = "it contains no unencrypted private key in PEM format";
        unusable(file, if none { why.into() } else { words::of_pem(&error) })
    })
}

/// What is in a file.
fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|error| TlsError::Unreadable { file: file.to_owned(), error })
}

/// [`TlsError::Unusable`].
fn unusable(file: &Path, why: String) -> TlsError {
    TlsError::Unusable { file: file.to_owned(), why }
}

/// What goes wrong with TLS. What came from the server is printable.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file that the configuration names cannot be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file that the configuration names does not hold what it should.
    Unusable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system has no file of authorities where one is looked for.
    NoRoots,
    /// The server's name, which its certificate should have, is no name that a certificate can have.
    BadName(String),
    /// The server's certificate was not verified; why.
    NotVerified(String),
    /// The handshake failed; why.
    Handshake(String),
    /// The server would not have it, or us; its alert. In TLS 1.3 this may come after the handshake.
    Refused(String),
    /// After the handshake came what is not TLS, or was tampered with; what.
    Broken(String),
    /// The server closed the connection during the handshake.
    Closed,
    /// The connection ended without the closure alert: anybody may have cut it (RFC 8446 §6.1).
    Truncated,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, error } => {
                write!(f, "cannot read {}: {}", file.display(), words::of_system(error))
            }
            Self::Unusable { file, why } => write!(f, "cannot use {}: {why}", file.display()),
            Self::NoRoots => f.write_str("no file of trusted CA certificates was found on this system"),
            Self::BadName(name) => {
                write!(f, "'{}' cannot be a name in a certificate", printable(name.as_bytes()))
            }
            Self::NotVerified(why) => write!(f, "the server's certificate is not verified: {why}"),
            Self::Handshake(why) => write!(f, "the TLS handshake failed: {why}"),
            Self::Refused(alert) => write!(f, "the server refused TLS: {alert}"),
            Self::Broken(why) => write!(f, "the TLS connection is broken: {why}"),
            Self::Closed => f.write_str("the server closed the connection during the TLS handshake"),
            Self::Truncated => f.write_str("the TLS connection was cut without being closed"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Unreadable { error, .. } = self { Some(error) } else { None }
    }
}

#[cfg(test)]
mod tests;
