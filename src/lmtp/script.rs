// What the examples in the documentation of `lmtp` talk to, put into them by `include!`; no part of the library.

use std::io;
use std::vec::IntoIter;

use lmtp_send::lmtp::{Insecure, Moved, Stage, Transport};

/// A server that listens to nobody: each time it is waited for, it says the next of its flights.
pub struct Script(IntoIter<&'static str>);

pub fn script<const FLIGHTS: usize>(flights: [&'static str; FLIGHTS]) -> Script {
    Script(flights.to_vec().into_iter())
}

impl Transport for Script {
    fn enter(&mut self, _: Stage) {}

    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        if !out.is_empty() {
            return Ok(Moved { written: out.len(), ..Moved::default() });
        }
        let said = self.0.next().unwrap_or_default();
        input[..said.len()].copy_from_slice(said.as_bytes());
        Ok(Moved { read: said.len(), closed: said.is_empty(), ..Moved::default() })
    }

    fn pending(&mut self, _: &mut [u8]) -> io::Result<Moved> {
        Ok(Moved::default())
    }

    fn secure(&mut self) -> Result<(), Insecure> {
        Ok(())
    }
}
