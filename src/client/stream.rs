//! Any stream that reads and writes, and blocks.

use std::io::{self, Read, Write};

use crate::lmtp::{Moved, Stage, Transport};

/// A blocking stream: it is written to, or read from, never both at once. Its time limits are its own.
pub(super) struct Blocking<S>(pub(super) S);

impl<S: Read + Write> Transport for Blocking<S> {
    fn enter(&mut self, _: Stage) {}

    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        if out.is_empty() {
            let read = again(|| self.0.read(input))?;
            return Ok(Moved { written: 0, read, closed: read == 0 && !input.is_empty() });
        }
        let written = again(|| self.0.write(out))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        // A stream that buffers must not wait for more: nothing more may come before the reply.
        again(|| self.0.flush())?;
        Ok(Moved { written, ..Moved::default() })
    }

    /// Whether something is there cannot be told without waiting for it.
    fn pending(&mut self, _: &mut [u8]) -> io::Result<Moved> {
        Ok(Moved::default())
    }
}

/// A signal of somebody else's does not end the call; a time limit of the stream's own does.
fn again<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the stream's own limit"));
            }
            result => return result,
        }
    }
}
