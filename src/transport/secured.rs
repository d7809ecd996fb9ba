//! TLS over a stream: the crank between the byte machine of [`tls`](super::tls) and the socket.

use std::io;
use std::sync::Arc;

use lmtp_send::lmtp::{Insecure, Moved, Stage, Transport};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::stream::Stream;
use super::tls::{Facts, TlsError, TlsStream};

/// How much ciphertext is read at a time: one TLS record and more.
const PIECE: usize = 20 * 1024;

/// An encrypted connection.
pub struct Secured {
    stream: Stream,
    tls: TlsStream,
    /// Ciphertext that came and could not be taken before plaintext is read.
    unfed: Vec<u8>,
    /// Plaintext that has been taken and whose ciphertext is not all handed over: it does not count as
    /// written before, since what waits in this process is lost with it.
    taken: usize,
    /// Some of that ciphertext has been handed over.
    begun: bool,
}

impl Secured {
    /// Makes the handshake over `stream`.
    ///
    /// # Errors
    ///
    /// [`Insecure`].
    pub fn handshake(
        stream: Stream,
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, Insecure> {
        let tls = TlsStream::new(config, name).map_err(not_verified)?;
        let mut secured = Self { stream, tls, unfed: Vec::new(), taken: 0, begun: false };
        while secured.tls.is_handshaking() {
            if let Err(error) = secured.turn() {
                // What is left to be sent tells the server why.
                let _ = secured.push();
                return Err(error);
            }
        }
        Ok(secured)
    }

    /// What the handshake came to.
    pub fn facts(&self) -> Option<Facts> {
        self.tls.facts()
    }

    /// The stream below, to set its time limits.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Sends ciphertext and takes what comes, waiting for either.
    fn turn(&mut self) -> Result<(), Insecure> {
        let mut input = [0; PIECE];
        let moved = self.stream.exchange(self.tls.ciphertext(), &mut input).map_err(Insecure::Lost)?;
        self.tls.sent(moved.written);
        self.begun |= moved.written > 0;
        self.feed(input.get(..moved.read).unwrap_or_default(), moved.closed).map_err(not_verified)
    }

    /// Takes ciphertext that came.
    fn feed(&mut self, ciphertext: &[u8], closed: bool) -> Result<(), TlsError> {
        self.unfed.extend_from_slice(ciphertext);
        let taken = self.tls.feed(&self.unfed)?;
        self.unfed.drain(..taken);
        if closed && self.unfed.is_empty() { self.tls.end() } else { Ok(()) }
    }

    fn push(&mut self) -> io::Result<()> {
        while !self.tls.ciphertext().is_empty() {
            let moved = self.stream.exchange(self.tls.ciphertext(), &mut [])?;
            self.tls.sent(moved.written);
        }
        Ok(())
    }

    /// Plaintext that is there.
    fn heard(&mut self, input: &mut [u8]) -> io::Result<Moved> {
        if !self.unfed.is_empty() {
            self.feed(&[], false).map_err(broken)?;
        }
        self.tls.read(input).map_err(broken)
    }

    /// Reports what of `out` has been handed over whole.
    fn written(&mut self, out: &[u8]) -> usize {
        if !self.tls.ciphertext().is_empty() {
            return 0;
        }
        std::mem::take(&mut self.taken).min(out.len())
    }
}

impl Transport for Secured {
    fn enter(&mut self, stage: Stage) {
        self.stream.enter(stage);
    }

    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        loop {
            let heard = if input.is_empty() { Moved::default() } else { self.heard(input)? };
            if heard != Moved::default() {
                return Ok(heard);
            }
            if self.taken == 0 && !out.is_empty() {
                self.taken = self.tls.write(out);
                self.begun = false;
            }
            match self.turn() {
                // Nobody knows how much of it will be read: all of it may.
                Err(_) if self.begun && self.taken > 0 => {
                    let written = std::mem::take(&mut self.taken).min(out.len());
                    return Ok(Moved { written, ..Moved::default() });
                }
                turned => turned.map_err(lost)?,
            }
            let written = self.written(out);
            if written > 0 {
                return Ok(Moved { written, ..Moved::default() });
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
        self.feed(ciphertext.get(..moved.read).unwrap_or_default(), moved.closed).map_err(broken)?;
        self.heard(input)
    }
}

impl Drop for Secured {
    /// Says that we are done, if that can be said without waiting.
    fn drop(&mut self) {
        self.tls.close();
        self.stream.enter(Stage::Quit);
        let _ = self.push();
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

fn broken(error: TlsError) -> io::Error {
    lost(not_verified(error))
}
