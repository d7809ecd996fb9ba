//! The scripted server: a listener, and a script for each connection.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::peer::{Peer, Played};

/// What one connection is to be: code over the [`Peer`] at its other end.
pub type Script = Box<dyn FnOnce(&mut Peer) -> Played + Send>;

/// Boxes a script, for servers that have several.
pub fn script(script: impl FnOnce(&mut Peer) -> Played + Send + 'static) -> Script {
    Box::new(script)
}

/// What came over one connection.
#[derive(Debug)]
pub struct Heard {
    /// Every octet that the client sent.
    pub octets: Vec<u8>,
    /// How often the client had to wait for the server before it went on: its round trips.
    pub turns: usize,
}

/// A server that is playing its scripts.
#[must_use = "a server tells what went wrong when it is finished"]
#[derive(Debug)]
pub struct Server {
    name: String,
    option: &'static str,
    playing: Option<JoinHandle<Result<Vec<Heard>, String>>>,
    /// Closed when no more connections are to be waited for.
    over: Option<UnixStream>,
    _home: Option<tempfile::TempDir>,
}

impl Server {
    /// A server on a free port of 127.0.0.1 that expects one connection.
    pub fn tcp(one: impl FnOnce(&mut Peer) -> Played + Send + 'static) -> Self {
        Self::tcp_in_turn(vec![script(one)])
    }

    /// A server on a Unix socket that expects one connection.
    pub fn unix(one: impl FnOnce(&mut Peer) -> Played + Send + 'static) -> Self {
        Self::unix_in_turn(vec![script(one)])
    }

    /// A server that expects nobody.
    pub fn unused() -> Self {
        Self::tcp_in_turn(Vec::new())
    }

    /// A server on a free port of 127.0.0.1 that expects as many connections as there are scripts, one after the other.
    pub fn tcp_in_turn(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let name = listener.local_addr().unwrap().to_string();
        listener.set_nonblocking(true).unwrap();
        // A small window: what the server does not read stays with the client.
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 32 * 1024).unwrap();
        Self::start("--host", name, None, scripts, move || {
            let stream = listener.accept().ok().map(|(stream, _)| stream.into());
            Some((stream, listener.as_fd().try_clone_to_owned().ok()?))
        })
    }

    /// A server on a Unix socket that expects as many connections as there are scripts, one after the other.
    pub fn unix_in_turn(scripts: Vec<Script>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lmtp");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let name = path.display().to_string();
        Self::start("--socket", name, Some(home), scripts, move || {
            let stream = listener.accept().ok().map(|(stream, _)| stream.into());
            Some((stream, listener.as_fd().try_clone_to_owned().ok()?))
        })
    }

    fn start(
        option: &'static str,
        name: String,
        home: Option<tempfile::TempDir>,
        scripts: Vec<Script>,
        accept: impl FnMut() -> Accepted + Send + 'static,
    ) -> Self {
        let (over, waits) = UnixStream::pair().unwrap();
        let playing = thread::spawn(move || play(scripts, accept, &waits));
        Self { name, option, playing: Some(playing), over: Some(over), _home: home }
    }

    /// Where it listens, as the program is told and as it names the server: `127.0.0.1:PORT`, or the socket's path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The options that lead the program here.
    pub fn destination(&self) -> [OsString; 2] {
        [self.option.into(), self.name.clone().into()]
    }

    /// Ends the server, and fails the test if a script was violated or unused. What each connection brought.
    #[track_caller]
    pub fn finish(self) -> Vec<Heard> {
        self.outcome().unwrap_or_else(|told| panic!("{told}"))
    }

    /// Ends the server. What each connection brought, or how a script was violated or unused.
    pub fn outcome(mut self) -> Result<Vec<Heard>, String> {
        self.join().unwrap_or_else(|| Err("the server was ended twice".into()))
    }

    fn join(&mut self) -> Option<Result<Vec<Heard>, String>> {
        drop(self.over.take());
        let joined = self.playing.take()?.join();
        Some(joined.unwrap_or_else(|_| Err("the script panicked".into())))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(Err(told)) = self.join()
            && !thread::panicking()
        {
            panic!("{told}");
        }
    }
}

/// A connection, if one was waiting, and the listener to wait on for the next.
type Accepted = Option<(Option<OwnedFd>, OwnedFd)>;

/// Plays the scripts in turn, then waits until the server is over, so that a connection too many is noticed.
fn play(
    scripts: Vec<Script>,
    mut accept: impl FnMut() -> Accepted,
    over: &UnixStream,
) -> Result<Vec<Heard>, String> {
    let expected = scripts.len();
    let mut heard = Vec::new();
    for (number, script) in (1..).zip(scripts) {
        let Some(stream) = next(&mut accept, over) else {
            return Err(format!("nobody connected for the script of connection {number} of {expected}"));
        };
        let mut peer = Peer::new(stream);
        if let Err(told) = script(&mut peer) {
            return Err(format!("connection {number} of {expected}: {told}\n{}", peer.dialogue()));
        }
        let (octets, turns) = peer.into_parts();
        heard.push(Heard { octets, turns });
    }
    match next(&mut accept, over) {
        None => Ok(heard),
        Some(_) => Err(format!("one connection too many, after {expected}")),
    }
}

/// The next connection, unless the server is over before one comes.
fn next(accept: &mut impl FnMut() -> Accepted, over: &UnixStream) -> Option<OwnedFd> {
    let until = Instant::now() + 3 * super::PATIENCE;
    loop {
        // Whether it is over is asked first: what connected before the end is then still seen.
        let ended = super::peer::poll_one(over, PollFlags::IN, Instant::now()).unwrap_or(true);
        let (stream, listener) = accept()?;
        if let Some(stream) = stream {
            return Some(stream);
        }
        if ended || Instant::now() > until {
            return None;
        }
        let mut fds = [PollFd::new(&listener, PollFlags::IN), PollFd::new(over, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 1, tv_nsec: 0 })).ok();
    }
}
