//! The way to the server: TCP, a Unix-domain socket, a child process, or the server in this process; each
//! with the same time limits.

mod connect;
mod exec;
mod limits;
mod proxy;
mod resolve;
pub mod sink;
mod stream;

pub use connect::{Destination, Network, Note, Unreachable, connect, split_host};
pub use limits::TimeLimits;
pub use lmtp_send::tls::{Facts, Fingerprint, Handshake, Identity, Tls, TlsError, TlsOptions, Verify};
pub use stream::Ended;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, mem};

use crate::cli::Proxy;
use crate::stop::{Stop, Wait};
use lmtp_send::lmtp::{Insecure, Moved, Stage, Stretch, Transport};
use lmtp_send::tls::Secured;
use rustls::pki_types::ServerName;
use sink::SinkTransport;
use stream::Stream;

/// A connection of any kind.
pub struct Link {
    ends: LinkEnds,
    tls: Option<Handshake>,
    /// What the server was called in the handshake.
    name: Option<ServerName<'static>>,
    watched: Option<Watched>,
}

/// Where a person is told what is waited for.
struct Watched {
    stop: Arc<Stop>,
    server: String,
}

enum LinkEnds {
    /// Sockets and pipes.
    Stream(Stream),
    /// Those, encrypted.
    Secured(Box<Secured<Stream>>),
    /// The server in this process.
    Sink(Box<Local>),
    /// Those, where the handshake has failed: nothing more is exchanged.
    Insecure(Box<Secured<Stream>>),
    /// Nothing.
    Gone,
}

impl Link {
    /// The connection is to be encrypted like this when that is asked for.
    pub fn set_tls(&mut self, tls: Handshake) {
        self.tls = Some(tls);
    }

    /// Says for whom the session is, before anything else. The server in this process needs no such word.
    ///
    /// # Errors
    ///
    /// The connection's failure.
    pub fn announce(&mut self, proxy: Proxy) -> io::Result<()> {
        let LinkEnds::Stream(stream) = &mut self.ends else { return Ok(()) };
        let header = proxy::header(proxy, stream.peer());
        let mut unsent = header.as_slice();
        stream.enter(Stage::Connect);
        while !unsent.is_empty() {
            let moved = stream.exchange(unsent, &mut [])?;
            unsent = unsent.get(moved.written..).unwrap_or_default();
        }
        Ok(())
    }

    /// What TLS came to, if there is any.
    pub fn facts(&self) -> Option<Facts> {
        if let LinkEnds::Secured(secured) = &self.ends { secured.facts() } else { None }
    }

    /// What TLS came to, and whether the server is verified, as [`Tls::verdict`] has it; also where the handshake
    /// ended because it is not. `None` where no certificate was seen.
    pub fn verdict(&self, tls: &Tls) -> Option<(Facts, Result<(), String>)> {
        if let LinkEnds::Insecure(secured) = &self.ends {
            let (leaf, why) = tls.refused()?;
            return Some((secured.facts_with(&leaf)?, Err(why)));
        }
        let LinkEnds::Secured(secured) = &self.ends else { return None };
        Some((secured.facts()?, tls.verdict(secured.certificates(), self.name.as_ref()?)))
    }

    /// The other end's address, by TCP.
    pub fn peer(&self) -> Option<SocketAddr> {
        match &self.ends {
            LinkEnds::Stream(stream) => stream.peer(),
            LinkEnds::Secured(secured) => secured.inner().peer(),
            LinkEnds::Sink(_) | LinkEnds::Insecure(_) | LinkEnds::Gone => None,
        }
    }

    /// Whether TLS is spoken.
    pub fn is_encrypted(&self) -> bool {
        matches!(&self.ends, LinkEnds::Secured(_))
    }

    /// Whether others could overhear what is said: TCP without TLS.
    pub fn is_clear(&self) -> bool {
        matches!(&self.ends, LinkEnds::Stream(stream) if stream.is_tcp())
    }

    /// Where it will stand how the program at the other end has ended, if it is one.
    pub fn ended(&self) -> Option<Ended> {
        if let LinkEnds::Stream(stream) = &self.ends { stream.ended() } else { None }
    }

    /// From now on, whoever watches sees what `server` is waited for.
    pub fn watch(&mut self, stop: &Arc<Stop>, server: &str) {
        if stop.watcher().is_some() {
            self.watched = Some(Watched { stop: Arc::clone(stop), server: server.to_owned() });
        }
    }

    /// From now on, nothing waits beyond `deadline`.
    pub fn set_deadline(&mut self, deadline: Instant) {
        match &mut self.ends {
            LinkEnds::Stream(stream) => stream.set_deadline(deadline),
            LinkEnds::Secured(secured) => secured.stream().set_deadline(deadline),
            LinkEnds::Sink(local) => local.limits.set_deadline(deadline),
            LinkEnds::Insecure(_) | LinkEnds::Gone => {}
        }
    }

    /// From now on a signal leaves what is on its way so much time.
    pub fn set_grace(&mut self, grace: Duration) {
        match &mut self.ends {
            LinkEnds::Stream(stream) => stream.set_grace(grace),
            LinkEnds::Secured(secured) => secured.stream().set_grace(grace),
            LinkEnds::Sink(local) => local.limits.set_grace(grace),
            LinkEnds::Insecure(_) | LinkEnds::Gone => {}
        }
    }

    fn ends(&mut self) -> io::Result<&mut dyn Transport> {
        match &mut self.ends {
            LinkEnds::Stream(stream) => Ok(stream),
            LinkEnds::Secured(secured) => Ok(secured.as_mut()),
            LinkEnds::Sink(sink) => Ok(sink.as_mut()),
            LinkEnds::Insecure(_) | LinkEnds::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl From<Stream> for Link {
    fn from(stream: Stream) -> Self {
        Self { ends: LinkEnds::Stream(stream), tls: None, name: None, watched: None }
    }
}

impl From<Local> for Link {
    fn from(local: Local) -> Self {
        Self { ends: LinkEnds::Sink(Box::new(local)), tls: None, name: None, watched: None }
    }
}

impl Drop for Watched {
    /// Nobody is waited for any more.
    fn drop(&mut self) {
        if let Some(watcher) = self.stop.watcher() {
            watcher.set(None);
        }
    }
}

/// The server in this process, with the time limits and the signals of any other.
pub struct Local {
    sink: SinkTransport,
    limits: TimeLimits,
    stop: Arc<Stop>,
}

impl Transport for Local {
    fn enter(&mut self, stage: Stage) {
        self.limits.enter(stage);
    }

    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        if self.stop.is_over(self.limits.grace()) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if Instant::now() >= self.limits.until() {
            return Err(self.limits.name(io::ErrorKind::TimedOut.into()));
        }
        self.sink.exchange(out, input)
    }

    fn pending(&mut self, input: &mut [u8]) -> io::Result<Moved> {
        self.sink.pending(input)
    }
}

impl Transport for Link {
    fn enter(&mut self, stage: Stage) {
        if let Ok(ends) = self.ends() {
            ends.enter(stage);
        }
        if let Some(Watched { stop, server }) = &self.watched
            && let Some(watcher) = stop.watcher()
        {
            watcher.set(Some(Wait::new(format!("{server}: {}", stage.phrase()))));
        }
    }

    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        self.ends()?.exchange(out, input)
    }

    fn sends_files(&self) -> bool {
        matches!(&self.ends, LinkEnds::Stream(stream) if stream.sends_files())
    }

    fn exchange_file(&mut self, stretch: &Stretch<'_>, input: &mut [u8]) -> io::Result<Option<Moved>> {
        self.ends()?.exchange_file(stretch, input)
    }

    fn pending(&mut self, input: &mut [u8]) -> io::Result<Moved> {
        self.ends()?.pending(input)
    }

    fn secure(&mut self) -> Result<(), Insecure> {
        let impossible = || Insecure::NotVerified("TLS is not possible on this connection".into());
        let (config, name) = self.tls.take().ok_or_else(impossible)?;
        self.name = Some(name.clone());
        match mem::replace(&mut self.ends, LinkEnds::Gone) {
            LinkEnds::Stream(stream) => {
                let mut secured = Box::new(Secured::begin(stream, &config, name)?);
                let done = secured.shake_hands();
                self.ends =
                    if done.is_ok() { LinkEnds::Secured(secured) } else { LinkEnds::Insecure(secured) };
                done
            }
            LinkEnds::Secured(_) | LinkEnds::Insecure(_) | LinkEnds::Sink(_) | LinkEnds::Gone => {
                Err(impossible())
            }
        }
    }
}
