//! The way to the server: TCP, a Unix-domain socket, a child process, or the server in this process; each
//! with the same time limits.

mod connect;
mod limits;
mod resolve;
pub mod sink;
pub mod stop;
mod stream;
#[allow(dead_code, unused_imports, reason = "nothing starts TLS yet")]
mod tls;

pub use connect::{Destination, Network, Unreachable, connect, split_host};
pub use limits::Limits;

use std::io;
use std::time::Instant;

use lmtp_send::lmtp::{Moved, Stage, Transport};
use sink::SinkTransport;
use stream::Stream;

/// A connection of any kind.
pub enum Link {
    /// Sockets and pipes.
    Stream(Stream),
    /// The server in this process.
    Sink(Box<SinkTransport>),
}

impl Link {
    /// From now on, nothing waits beyond `deadline`.
    pub fn set_deadline(&mut self, deadline: Instant) {
        match self {
            Link::Stream(stream) => stream.set_deadline(deadline),
            Link::Sink(_) => {}
        }
    }
}

impl Transport for Link {
    fn enter(&mut self, stage: Stage) {
        match self {
            Link::Stream(stream) => stream.enter(stage),
            Link::Sink(sink) => sink.enter(stage),
        }
    }

    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        match self {
            Link::Stream(stream) => stream.exchange(out, input),
            Link::Sink(sink) => sink.exchange(out, input),
        }
    }

    fn pending(&mut self, input: &mut [u8]) -> io::Result<Moved> {
        match self {
            Link::Stream(stream) => stream.pending(input),
            Link::Sink(sink) => sink.pending(input),
        }
    }
}
