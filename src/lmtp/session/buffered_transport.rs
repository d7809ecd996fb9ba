//! Octets to and from the transport: what is queued to be written, and what has been read.

use super::super::reply::ReplyReader;
use super::super::{Cause, Moved, SessionError, Stage, Stretch, Transport};
use super::message::Encoded;
use crate::block::Block;

/// Octets read at once: most of what a server says in one go.
const READ: usize = 4 * 1024;

/// The transport with what stands on both sides of it.
pub(super) struct BufferedTransport<T> {
    pub transport: T,
    pub reader: ReplyReader,
    /// Where octets are read to, made once.
    input: Vec<u8>,
    /// Where a message's octets are read to, made once.
    pub block: Block,
    pub encoded: Encoded,
    /// Commands and message octets not handed over yet; those before `at` are.
    pub out: Vec<u8>,
    at: usize,
    /// Octets handed over since the session began.
    pub sent: u64,
    /// Writing has failed; what the server had sent before is still read.
    pub write_error: Option<SessionError>,
}

impl<T: Transport> BufferedTransport<T> {
    pub fn new(transport: T) -> Self {
        let (reader, input) = (ReplyReader::default(), vec![0; READ]);
        let (block, encoded, out) = (Block::default(), Encoded::default(), Vec::new());
        Self { transport, reader, input, block, encoded, out, at: 0, sent: 0, write_error: None }
    }

    /// Queues a line.
    pub fn push_line(&mut self, line: &[u8]) {
        self.out.extend_from_slice(line);
        self.out.extend_from_slice(b"\r\n");
    }

    /// How many octets are queued.
    pub fn queued(&self) -> usize {
        self.out.len() - self.at
    }

    /// Where in all that is sent the octets queued so far end.
    pub fn end(&self) -> u64 {
        self.sent + self.queued() as u64
    }

    /// What is queued is not to be sent, or has been.
    pub fn discard(&mut self) {
        self.out.clear();
        self.at = 0;
    }

    /// As [`BufferedTransport::discard`], and it is not to be found in memory.
    pub fn wipe(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.out);
        self.discard();
    }

    /// One exchange with the transport, of what is queued or of octets in a file; `None`: nothing can be sent from
    /// that file. A failure to write is not told at once: what the server said before it went away is read first.
    pub fn exchange(
        &mut self,
        stage: Stage,
        stretch: Option<&Stretch<'_>>,
    ) -> Result<Option<Moved>, SessionError> {
        if self.write_error.is_some() {
            self.discard();
        }
        let out = self.out.get(self.at..).unwrap_or_default();
        let stretch = stretch.filter(|_| self.write_error.is_none());
        let moved = match stretch {
            Some(stretch) => self.transport.exchange_file(stretch, &mut self.input),
            None => self.transport.exchange(out, &mut self.input).map(Some),
        };
        let moved = match moved {
            Ok(Some(moved)) => moved,
            Ok(None) => return Ok(None),
            Err(e) => {
                let writes = stretch.is_some() || !out.is_empty();
                return self.exchange_failed(stage, &e, writes).map(|()| Some(Moved::default()));
            }
        };
        self.sent += moved.written as u64;
        if stretch.is_none() {
            self.at += moved.written;
        }
        if self.at == self.out.len() {
            self.discard();
        }
        self.reader.push(self.input.get(..moved.read).unwrap_or_default());
        Ok(Some(moved))
    }

    fn exchange_failed(
        &mut self,
        stage: Stage,
        error: &std::io::Error,
        writes: bool,
    ) -> Result<(), SessionError> {
        let failure = SessionError::from_io(stage, error);
        let final_word = matches!(failure.cause, Cause::TimedOut(_) | Cause::Stopped);
        if final_word || self.write_error.is_some() || !writes {
            return Err(self.write_error.take().filter(|_| !final_word).unwrap_or(failure));
        }
        self.discard();
        self.write_error = Some(failure);
        Ok(())
    }

    /// Reads what is there without waiting.
    pub fn take_pending(&mut self, stage: Stage) -> Result<(), SessionError> {
        match self.transport.pending(&mut self.input) {
            Ok(moved) => {
                self.reader.push(self.input.get(..moved.read).unwrap_or_default());
                let closed = moved.closed && moved.read == 0;
                if closed { Err(SessionError { stage, cause: Cause::Closed }) } else { Ok(()) }
            }
            Err(e) => Err(SessionError::from_io(stage, &e)),
        }
    }
}
