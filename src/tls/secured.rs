//! TLS over a stream: the crank between the byte machine of [`tls`](super) and the socket.

use std::io;
use std::sync::Arc;

use crate::lmtp::{Insecure, Moved, Stage, Transport};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};

use super::{Facts, TlsError, TlsStream};

/// How much ciphertext is read at a time: one TLS record and more.
const PIECE: usize = 20 * 1024;

/// An encrypted connection.
pub struct Secured<S: Transport> {
    stream: S,
    tls: TlsStream,
    /// Ciphertext that came and could not be taken before plaintext is read.
    unfed: Vec<u8>,
    /// Plaintext that has been taken and whose ciphertext is not all handed over: it does not count as
    /// written before, since what waits in this process is lost with it.
    taken: usize,
    /// Some of that ciphertext has been handed over.
    begun: bool,
    /// What is to be told at the next call.
    failed: Option<io::Error>,
    /// Nothing more can be sent.
    mute: bool,
}

impl<S: Transport> Secured<S> {
    /// Makes the handshake over `stream`.
    ///
    /// # Errors
    ///
    /// [`Insecure`].
    pub fn handshake(
        stream: S,
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, Insecure> {
        let mut secured = Self::begin(stream, config, name)?;
        secured.shake_hands().map(|()| secured)
    }

    /// As [`Secured::handshake`], and nothing is exchanged before [`Secured::shake_hands`].
    ///
    /// # Errors
    ///
    /// [`Insecure`].
    pub fn begin(stream: S, config: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Insecure> {
        let tls = TlsStream::new(config, name).map_err(not_verified)?;
        Ok(Self { stream, tls, unfed: Vec::new(), taken: 0, begun: false, failed: None, mute: false })
    }

    /// Makes the handshake. Where it fails, what was agreed on until then can still be asked for.
    ///
    /// # Errors
    ///
    /// [`Insecure`].
    pub fn shake_hands(&mut self) -> Result<(), Insecure> {
        while self.tls.is_handshaking() {
            let turned = self.turn().map_err(Insecure::Lost).and_then(|t| t.map_err(not_verified));
            if let Err(error) = turned {
                // What is left to be sent tells the server why.
                self.offer();
                return Err(error);
            }
        }
        Ok(())
    }

    /// What the handshake came to.
    pub fn facts(&self) -> Option<Facts> {
        self.tls.facts()
    }

    /// What was agreed on in a handshake that ended because `leaf`, which the server has shown, was refused.
    pub fn facts_with(&self, leaf: &CertificateDer<'_>) -> Option<Facts> {
        self.tls.facts_with(leaf)
    }

    /// The certificates that the server has shown, its own first.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.certificates()
    }

    /// The stream below.
    pub fn inner(&self) -> &S {
        &self.stream
    }

    /// The stream below, to set its time limits.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Sends ciphertext and takes what comes, waiting for either. The inner error is TLS's own.
    fn turn(&mut self) -> io::Result<Result<(), TlsError>> {
        let mut input = [0; PIECE];
        let out = if self.mute { &[] } else { self.tls.ciphertext() };
        let moved = match self.stream.exchange(out, &mut input) {
            Ok(moved) => moved,
            Err(e) => {
                // Nothing more can be said. What the server had said before can still be heard.
                let lasting = !matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Interrupted);
                self.mute |= lasting && !out.is_empty();
                return Err(e);
            }
        };
        self.tls.sent(moved.written);
        self.begun |= moved.written > 0;
        Ok(self.feed(input.get(..moved.read).unwrap_or_default(), moved.closed))
    }

    /// Takes ciphertext that came.
    fn feed(&mut self, ciphertext: &[u8], closed: bool) -> Result<(), TlsError> {
        self.unfed.extend_from_slice(ciphertext);
        let taken = self.tls.feed(&self.unfed)?;
        self.unfed.drain(..taken);
        if closed && self.unfed.is_empty() { self.tls.end() } else { Ok(()) }
    }

    /// Hands over ciphertext as far as that takes no waiting.
    fn offer(&mut self) {
        while let Ok(written @ 1..) = self.stream.offer(self.tls.ciphertext()) {
            self.tls.sent(written);
        }
    }

    /// Plaintext that is there; else what has failed before.
    fn heard(&mut self, input: &mut [u8]) -> io::Result<Moved> {
        if !self.unfed.is_empty()
            && let Err(e) = self.feed(&[], false)
        {
            self.failed.get_or_insert(unusable(e));
        }
        match self.tls.read(input) {
            Ok(moved) if moved != Moved::default() => Ok(moved),
            read => self.failed.take().map_or_else(|| read.map_err(unusable), Err),
        }
    }

    /// How much of `out` has been handed over, as far as anybody can know.
    fn written(&mut self, out: &[u8]) -> usize {
        std::mem::take(&mut self.taken).min(out.len())
    }
}

impl<S: Transport> Transport for Secured<S> {
    fn enter(&mut self, stage: Stage) {
        self.stream.enter(stage);
    }

    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        loop {
            let heard = if input.is_empty() { Moved::default() } else { self.heard(input)? };
            if heard != Moved::default() {
                return Ok(heard);
            }
            if self.taken == 0 && !out.is_empty() && !self.mute {
                self.taken = self.tls.write(out);
                self.begun = false;
            }
            match self.turn() {
                Ok(Ok(())) => {}
                Ok(Err(e)) => drop(self.failed.get_or_insert(unusable(e))),
                // Nobody knows how much of it will be read: all of it may. The failure is told next.
                Err(e) if self.begun && self.taken > 0 => {
                    self.failed = Some(e);
                    return Ok(Moved { written: self.written(out), ..Moved::default() });
                }
                Err(e) => return Err(e),
            }
            if self.taken > 0 && self.tls.ciphertext().is_empty() {
                return Ok(Moved { written: self.written(out), ..Moved::default() });
            }
        }
    }

    fn pending(&mut self, input: &mut [u8]) -> io::Result<Moved> {
        let heard = self.heard(input)?;
        if heard != Moved::default() {
            return Ok(heard);
        }
        let mut ciphertext = [0; PIECE];
        let moved = self.stream.pending(&mut ciphertext)?;
        if let Err(e) = self.feed(ciphertext.get(..moved.read).unwrap_or_default(), moved.closed) {
            self.failed.get_or_insert(unusable(e));
        }
        self.heard(input)
    }
}

impl<S: Transport> Drop for Secured<S> {
    /// Says that we are done, where nothing is left of what was said before: that was given up, and must not
    /// be completed now.
    fn drop(&mut self) {
        if self.taken == 0 && self.tls.ciphertext().is_empty() {
            self.tls.close();
            self.offer();
        }
    }
}

fn not_verified(error: TlsError) -> Insecure {
    match error {
        TlsError::Closed | TlsError::Truncated => {
            Insecure::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, error.to_string()))
        }
        // The server does not want us, which TLS 1.3 tells after the handshake.
        TlsError::Refused(_) => {
            Insecure::Lost(io::Error::new(io::ErrorKind::PermissionDenied, error.to_string()))
        }
        TlsError::Unreadable { .. }
        | TlsError::Unusable { .. }
        | TlsError::NoRoots
        | TlsError::BadName(_)
        | TlsError::NotVerified(_)
        | TlsError::Handshake(_)
        | TlsError::Broken(_) => Insecure::NotVerified(error.to_string()),
    }
}

fn lost(error: Insecure) -> io::Error {
    match error {
        Insecure::Lost(error) => error,
        Insecure::NotVerified(why) => io::Error::new(io::ErrorKind::ConnectionAborted, why),
    }
}

fn unusable(error: TlsError) -> io::Error {
    lost(not_verified(error))
}
