//! Finding and reaching a server.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_error};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect as connect_fd, socket_with,
};

use super::resolve::{self, resolve};
use super::sink::{Server, SinkTransport};
use super::stream::Stream;
use super::{Limits, Link, Local};
use crate::process::denied;
use crate::stop::Stop;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// TCP.
    Host {
        /// A name or an address.
        name: String,
        /// The port.
        port: u16,
    },
    /// A Unix-domain stream socket.
    Socket(PathBuf),
    /// A program with its arguments.
    Exec(Vec<String>),
    /// The server in this process, with its directory.
    Sink(PathBuf),
}

impl Destination {
    /// The name that the server's certificate is to bear.
    #[must_use]
    pub fn host(&self) -> &str {
        match self {
            Destination::Host { name, .. } => name,
            Destination::Socket(_) | Destination::Exec(_) | Destination::Sink(_) => "localhost",
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Host { name, port } if name.contains(':') => write!(f, "[{name}]:{port}"),
            Destination::Host { name, port } => write!(f, "{name}:{port}"),
            Destination::Socket(path) => write!(f, "{}", path.display()),
            Destination::Exec(words) => write!(f, "{}", words.first().map_or("", String::as_str)),
            Destination::Sink(dir) => write!(f, "sink:{}", dir.display()),
        }
    }
}

/// The host and the port of `HOST[:PORT]`, where HOST may be `[IPv6]`. A bare IPv6 address is a host.
#[must_use]
pub fn split_host(text: &str, port: u16) -> Option<(String, u16)> {
    let parse = |p: &str| p.bytes().all(|b| b.is_ascii_digit()).then(|| p.parse().ok().filter(|&p| p > 0))?;
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let (name, after) = rest.split_once(']')?;
        name.parse::<std::net::Ipv6Addr>().ok()?;
        (name, if after.is_empty() { port } else { parse(after.strip_prefix(':')?)? })
    } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
        (text, port)
    } else {
        match text.split_once(':') {
            Some((name, after)) => (name, parse(after)?),
            None => (text, port),
        }
    };
    let plain = !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == ']');
    plain.then(|| (name.to_owned(), port))
}

/// How TCP connections are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network {
    /// IPv4 (`Some(false)`) or IPv6 (`Some(true)`) only.
    pub ipv6: Option<bool>,
    /// The source address.
    pub bind: Option<IpAddr>,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum Unreachable {
    /// The host's name does not exist.
    NoSuchHost(String),
    /// The name could not be looked up now.
    LookUp(String),
    /// Refused, reset, timed out, no such socket, and what else the system reports.
    Connect(io::Error),
    /// Not allowed; where, and as whom.
    Denied(String),
    /// The program to run cannot be run.
    NoProgram(String),
    /// No processes, memory or descriptors left.
    Exhausted(io::Error),
    /// The run was told to stop.
    Stopped,
}

impl Unreachable {
    fn new(error: io::Error) -> Self {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        match errno {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN) => {
                Unreachable::Exhausted(error)
            }
            Some(Errno::ACCESS | Errno::PERM) => Unreachable::Denied(error.to_string()),
            _ if error.kind() == io::ErrorKind::Interrupted => Unreachable::Stopped,
            _ => Unreachable::Connect(error),
        }
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreachable::NoSuchHost(name) => write!(f, "the name '{name}' does not exist"),
            Unreachable::LookUp(text) | Unreachable::Denied(text) | Unreachable::NoProgram(text) => {
                f.write_str(text)
            }
            Unreachable::Connect(error) | Unreachable::Exhausted(error) => write!(f, "{error}"),
            Unreachable::Stopped => f.write_str("stopped by a signal"),
        }
    }
}

/// Connects to `destination` within `limits`.
///
/// # Errors
///
/// [`Unreachable`] says why not; where a name has several addresses, of the last one tried.
pub fn connect(
    destination: &Destination,
    network: Network,
    limits: Limits,
    stop: &Arc<Stop>,
) -> Result<Link, Unreachable> {
    if stop.is_told() {
        return Err(Unreachable::Stopped);
    }
    match destination {
        Destination::Host { name, port } => to_host(name, *port, network, limits, stop),
        Destination::Socket(path) => to_socket(path, limits, stop),
        Destination::Exec(words) => to_program(words, limits, stop),
        Destination::Sink(dir) => {
            let name =
                hostname::get().map_or_else(|_| "localhost".into(), |n| n.to_string_lossy().into_owned());
            Ok(Local {
                sink: SinkTransport::new(Server::new(dir.clone(), &name)),
                limits,
                stop: Arc::clone(stop),
            }
            .into())
        }
    }
}

fn to_host(
    name: &str,
    port: u16,
    network: Network,
    limits: Limits,
    stop: &Arc<Stop>,
) -> Result<Link, Unreachable> {
    let found = resolve(name, port, limits.until(), stop).map_err(|e| match e {
        resolve::Unresolved::NoSuchName => Unreachable::NoSuchHost(name.to_owned()),
        resolve::Unresolved::Failed(text) => Unreachable::LookUp(format!("looking up '{name}': {text}")),
        resolve::Unresolved::TimedOut => {
            let limit = limits.name(io::ErrorKind::TimedOut.into());
            Unreachable::LookUp(format!("looking up '{name}' took too long ({limit})"))
        }
        resolve::Unresolved::Stopped => Unreachable::Stopped,
    })?;
    let wanted = |a: &SocketAddr| {
        network.ipv6.is_none_or(|six| a.is_ipv6() == six)
            && network.bind.is_none_or(|b| b.is_ipv6() == a.is_ipv6())
    };
    let mut last = Unreachable::LookUp(format!("'{name}' has no address of the family asked for"));
    let wanted: Vec<SocketAddr> = found.into_iter().filter(wanted).collect();
    for (tried, &address) in wanted.iter().enumerate() {
        // An address that is dead must not take the time of those behind it.
        let now = Instant::now();
        let left = limits.until().saturating_duration_since(now);
        let share = left / u32::try_from(wanted.len() - tried).unwrap_or(u32::MAX);
        match to_address(address, network.bind, now + share, stop) {
            Ok(socket) => {
                return Stream::tcp(socket, limits, Arc::clone(stop))
                    .map(Link::from)
                    .map_err(Unreachable::new);
            }
            Err(e) => last = Unreachable::new(limits.name(e)),
        }
    }
    Err(last)
}

fn to_address(
    address: SocketAddr,
    source: Option<IpAddr>,
    until: Instant,
    stop: &Stop,
) -> io::Result<TcpStream> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let fd = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if let Some(source) = source {
        let named = |e: Errno| io::Error::new(io::Error::from(e).kind(), format!("--bind {source}: {e}"));
        bind(&fd, &SocketAddr::new(source, 0)).map_err(named)?;
    }
    match connect_fd(&fd, &address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS | Errno::INTR) => {
            stop.wait(None, Some(std::os::fd::AsFd::as_fd(&fd)), until)?;
            socket_error(&fd)??;
        }
        Err(e) => return Err(e.into()),
    }
    Ok(TcpStream::from(fd))
}

/// A Unix-domain connection waits while the server's backlog is full, which the socket's own time limit
/// ends (connect(2) has no other here).
fn to_socket(path: &Path, limits: Limits, stop: &Arc<Stop>) -> Result<Link, Unreachable> {
    let open = || -> io::Result<UnixStream> {
        let address = SocketAddrUnix::new(path)?;
        let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let left = limits.until().saturating_duration_since(Instant::now());
        set_socket_timeout(&fd, Timeout::Send, Some(left.max(std::time::Duration::from_millis(1))))?;
        match connect_fd(&fd, &address) {
            Ok(()) => Ok(UnixStream::from(fd)),
            Err(Errno::AGAIN) => Err(limits.name(io::ErrorKind::TimedOut.into())),
            Err(Errno::CONNREFUSED) if is_something_else(path) => {
                Err(io::Error::other("that is not a socket"))
            }
            Err(e) => Err(e.into()),
        }
    };
    let refused = |e: &io::Error| e.kind() == io::ErrorKind::PermissionDenied;
    let socket = open()
        .map_err(|e| if refused(&e) { Unreachable::Denied(denied(path)) } else { Unreachable::new(e) })?;
    Stream::unix(socket, limits, Arc::clone(stop)).map(Link::from).map_err(Unreachable::new)
}

/// Whether there is something at `path`, and no socket.
fn is_something_else(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.file_type().is_socket())
}

fn to_program(words: &[String], limits: Limits, stop: &Arc<Stop>) -> Result<Link, Unreachable> {
    let (program, arguments) =
        words.split_first().ok_or_else(|| Unreachable::NoProgram("no program".into()))?;
    let spawned = stop.command(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|e| {
        if e.kind() == io::ErrorKind::NotFound {
            Unreachable::NoProgram(format!("there is no program '{program}'"))
        } else if e.kind() == io::ErrorKind::PermissionDenied {
            Unreachable::Denied(format!("'{program}' cannot be run: {e}"))
        } else {
            let text = format!("'{program}' cannot be run: {e}");
            let reason = Unreachable::new(e);
            if matches!(reason, Unreachable::Connect(_)) { Unreachable::NoProgram(text) } else { reason }
        }
    })?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Unreachable::NoProgram(format!("'{program}' has no standard input and output")));
    };
    Stream::exec(child, input, output, limits, Arc::clone(stop))
        .map(Link::from)
        .map_err(Unreachable::Exhausted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_bear_a_port() {
        let split = |text| split_host(text, 24).map(|(name, port)| format!("{name} {port}"));
        for (text, expected) in [
            ("mailbox", "mailbox 24"),
            ("mailbox:2003", "mailbox 2003"),
            ("127.0.0.1:25", "127.0.0.1 25"),
            ("[::1]", "::1 24"),
            ("[::1]:2003", "::1 2003"),
            ("::1", "::1 24"),
        ] {
            assert_eq!(split(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", ":24", "a:", "a:0", "a:65536", "a:+1", "[::1", "[::1]24", "[x]:1", "a b", "a:b:c"] {
            assert_eq!(split(text), None, "{text}");
        }
    }
}
