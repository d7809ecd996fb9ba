//! One TLS connection, as a machine between plaintext and ciphertext.
//!
//! The owner of the socket turns the crank: it sends what [`TlsStream::ciphertext`] has, feeds in what came, and in
//! between takes and gives plaintext. No call waits. Each direction holds at most some 100 KiB back.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use crate::lmtp::Moved;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Error, ProtocolVersion};

use super::certificate::{Certificate, Description};
use super::words::{self, Said};
use super::{Fingerprint, TlsError};

/// A TLS connection to a server.
#[derive(Debug)]
pub struct TlsStream {
    connection: ClientConnection,
    /// Ciphertext on its way out.
    outgoing: Vec<u8>,
    /// How much of `outgoing` has been sent.
    sent: usize,
    /// No more ciphertext will come.
    ended: bool,
}

/// What was agreed on in the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// As in `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, by its registered name.
    pub cipher: String,
    /// The server's certificate, whether it was verified or not.
    pub fingerprint: Fingerprint,
    /// What that certificate says of itself, where it can be read.
    pub certificate: Option<Description>,
}

/// In one line, for the transcript.
impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.version, self.cipher)?;
        let Some(said) = &self.certificate else { return write!(f, ", SHA-256 {}", self.fingerprint) };
        let names = said.names.join(", ");
        write!(f, ", {} ({names}), signed by {}, valid to {}", said.subject, said.issuer, said.not_after)
    }
}

impl TlsStream {
    /// Begins a connection; the handshake's first message is in [`TlsStream::ciphertext`].
    ///
    /// # Errors
    ///
    /// [`TlsError::Handshake`] when not even that can be made.
    pub fn new(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsError> {
        let connection = ClientConnection::new(Arc::clone(config), name);
        let connection = connection.map_err(|error| TlsError::Handshake(error.to_string()))?;
        Ok(Self { connection, outgoing: Vec::new(), sent: 0, ended: false })
    }

    /// Whether the handshake is still going on; until it is over, no plaintext is taken.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// What the handshake came to, once it is over.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        let leaf = self.connection.peer_certificates()?.first()?;
        self.facts_with(leaf).filter(|_| !self.is_handshaking())
    }

    /// What has been agreed on so far, with `leaf`, which the server has shown.
    pub(super) fn facts_with(&self, leaf: &CertificateDer<'_>) -> Option<Facts> {
        let suite = self.connection.negotiated_cipher_suite()?.suite();
        Some(Facts {
            version: version_name(self.connection.protocol_version()?),
            cipher: suite.as_str().unwrap_or("unknown").replace("TLS13_", "TLS_"),
            fingerprint: Fingerprint::of(leaf),
            certificate: Certificate::read(leaf).and_then(|leaf| leaf.describe()),
        })
    }

    /// The certificates that the server has shown, its own first.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        self.connection.peer_certificates().unwrap_or_default()
    }

    /// The ciphertext that is to be sent next; empty when there is none. It may be what tells the server why
    /// the handshake failed, so send it after an error too.
    pub fn ciphertext(&mut self) -> &[u8] {
        if self.sent == self.outgoing.len() {
            self.outgoing.clear();
            self.sent = 0;
            while self.connection.wants_write() {
                // Writing to memory does not fail; if it did, nothing would be there to send.
                if !self.connection.write_tls(&mut self.outgoing).is_ok_and(|written| written > 0) {
                    break;
                }
            }
        }
        self.outgoing.get(self.sent..).unwrap_or_default()
    }

    /// The first `octets` of [`TlsStream::ciphertext`] have been sent.
    pub fn sent(&mut self, octets: usize) {
        self.sent = self.outgoing.len().min(self.sent.saturating_add(octets));
    }

    /// Takes ciphertext that came, and returns how much of it: all, unless plaintext must be read first.
    ///
    /// # Errors
    ///
    /// [`TlsError`]; nothing more can be exchanged then, but plaintext that came before it can be read.
    #[must_use = "what was not taken has to be fed again"]
    pub fn feed(&mut self, ciphertext: &[u8]) -> Result<usize, TlsError> {
        let mut rest = ciphertext;
        while !rest.is_empty() {
            match self.connection.read_tls(&mut rest) {
                // The server has closed; what comes behind that is not from it.
                Ok(0) => return Ok(ciphertext.len()),
                Ok(_) => self.process()?,
                // Full.
                Err(_) => break,
            }
        }
        Ok(ciphertext.len() - rest.len())
    }

    /// The connection has ended; all that came has been fed in.
    ///
    /// # Errors
    ///
    /// [`TlsError::Closed`] during the handshake. Afterwards [`TlsStream::read`] tells how it ended.
    pub fn end(&mut self) -> Result<(), TlsError> {
        self.ended = true;
        if self.is_handshaking() { Err(TlsError::Closed) } else { Ok(()) }
    }

    /// Takes plaintext to be sent, and returns how much of it. Zero while the handshake is going on, and while
    /// too much ciphertext waits to be sent.
    pub fn write(&mut self, plaintext: &[u8]) -> usize {
        if self.is_handshaking() {
            return 0;
        }
        self.connection.writer().write(plaintext).unwrap_or(0)
    }

    /// Puts plaintext that came into `input`. `closed`: all was read, and the server has said that it was all.
    ///
    /// # Errors
    ///
    /// [`TlsError::Truncated`] when all was read and the connection ended without that word.
    pub fn read(&mut self, input: &mut [u8]) -> Result<Moved, TlsError> {
        let moved = |read, closed| Moved { written: 0, read, closed };
        match self.connection.reader().read(input) {
            Ok(read) => Ok(moved(read, read == 0 && !input.is_empty())),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                Err(TlsError::Broken(error.to_string()))
            }
            Err(_) if self.ended => Err(TlsError::Truncated),
            Err(_) => Ok(moved(0, false)),
        }
    }

    /// Says that we are done; the word is in [`TlsStream::ciphertext`].
    pub fn close(&mut self) {
        self.connection.send_close_notify();
    }

    /// Works on what was fed in.
    fn process(&mut self) -> Result<(), TlsError> {
        let handshaking = self.is_handshaking();
        let processed = self.connection.process_new_packets();
        processed.map(|_| ()).map_err(|error| explain(error, handshaking))
    }
}

/// A version by its usual name.
fn version_name(version: ProtocolVersion) -> &'static str {
    if version == ProtocolVersion::TLSv1_3 { "TLSv1.3" } else { "TLSv1.2" }
}

/// An error in words, and in its place.
fn explain(error: Error, handshaking: bool) -> TlsError {
    match words::of_error(&error) {
        Said::Certificate(why) => TlsError::NotVerified(why),
        Said::Alert(why) => TlsError::Refused(why),
        Said::Failure(why) if handshaking => TlsError::Handshake(why),
        Said::Failure(why) => TlsError::Broken(why),
    }
}
