//! What a session needs of the connection below it.

use std::{fmt, io};

use super::{Stage, Stretch};
use crate::io_error::words;

/// Why a connection is not secure.
#[derive(Debug)]
pub enum Insecure {
    /// The handshake failed, or the server is not who it should be; why.
    NotVerified(String),
    /// The connection failed meanwhile.
    Lost(io::Error),
}

impl fmt::Display for Insecure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Insecure::NotVerified(why) => f.write_str(why),
            Insecure::Lost(error) => f.write_str(&words(error)),
        }
    }
}

impl std::error::Error for Insecure {}

/// How much an exchange moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Octets taken from the output, handed over to the peer's side of the connection.
    pub written: usize,
    /// Octets put into the input.
    pub read: usize,
    /// The peer has closed its side: nothing more will be read.
    pub closed: bool,
}

/// A connection to a server: a socket, a child process, a TLS stream, or a server in this process.
///
/// The session above never waits for one direction only, so a peer that does not read until we have read
/// cannot bring both to a stop, however long commands and replies are (RFC 2920 §3.1).
pub trait Transport {
    /// Begins `stage`: its time limit starts now and holds for all that follows until the next call.
    fn enter(&mut self, stage: Stage);

    /// Writes what the peer takes of `out`, reads what it has sent into `input`, and returns as soon as
    /// either has moved or the peer has closed; waits for that until the stage's time limit.
    ///
    /// With an empty `out` it waits for input only; with an empty `input` for output only.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] at the limit, [`io::ErrorKind::Interrupted`] when the run was told to
    /// stop, [`io::ErrorKind::PermissionDenied`] when the server turns out not to want us (a client certificate
    /// refused behind the handshake); anything else is the connection's failure.
    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved>;

    /// Whether octets can be sent from a file, by [`exchange_file`](Transport::exchange_file).
    fn sends_files(&self) -> bool {
        false
    }

    /// As [`exchange`](Transport::exchange), with octets in a file for what is to be written. `None`: they cannot
    /// be sent from there, for a reason that reading them will show.
    ///
    /// # Errors
    ///
    /// As [`exchange`](Transport::exchange).
    fn exchange_file(&mut self, stretch: &Stretch<'_>, input: &mut [u8]) -> io::Result<Option<Moved>> {
        let _ = (stretch, input);
        Ok(None)
    }

    /// Writes what is taken of `out` without waiting; how much. Where that cannot be told, nothing.
    ///
    /// # Errors
    ///
    /// The connection's failure.
    fn offer(&mut self, out: &[u8]) -> io::Result<usize> {
        let _ = out;
        Ok(0)
    }

    /// Reads what the peer has already sent, without waiting. `read == 0` and not `closed`: nothing.
    ///
    /// # Errors
    ///
    /// As [`Transport::exchange`].
    fn pending(&mut self, input: &mut [u8]) -> io::Result<Moved>;

    /// Makes a TLS handshake; all that follows is encrypted. Within the stage's time limit.
    ///
    /// # Errors
    ///
    /// [`Insecure`]; the connection is of no more use then. A transport without TLS has only this.
    fn secure(&mut self) -> Result<(), Insecure> {
        Err(Insecure::NotVerified("TLS is not possible on this connection".into()))
    }
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn enter(&mut self, stage: Stage) {
        (**self).enter(stage);
    }

    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        (**self).exchange(out, input)
    }

    fn sends_files(&self) -> bool {
        (**self).sends_files()
    }

    fn exchange_file(&mut self, stretch: &Stretch<'_>, input: &mut [u8]) -> io::Result<Option<Moved>> {
        (**self).exchange_file(stretch, input)
    }

    fn offer(&mut self, out: &[u8]) -> io::Result<usize> {
        (**self).offer(out)
    }

    fn pending(&mut self, input: &mut [u8]) -> io::Result<Moved> {
        (**self).pending(input)
    }

    fn secure(&mut self) -> Result<(), Insecure> {
        (**self).secure()
    }
}
