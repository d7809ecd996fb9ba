//! Finding and reaching a server.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lmtp_send::io_error::words;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_error};
use rustix::net::{AddressFamily, SocketAddrUnix, bind, connect as connect_fd};

use super::resolve::{self, resolve};
use super::sink::{SinkServer, SinkTransport};
use super::stream::Stream;
use super::{Link, Local, TimeLimits, exec};
use crate::process::denied;
use crate::stop::Stop;
use crate::system;

/// The longest path or name of a Unix-domain socket, in octets: unix(7), `sun_path` without its final NUL.
const MAX_SOCKET: usize = 107;
/// How often somebody who watches is told that a Unix-domain socket is still connected to.
const WATCHED: Duration = Duration::from_millis(500);

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
    /// A Unix-domain stream socket; `@NAME` is an abstract one.
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
pub fn split_host(text: &str) -> Option<(&str, Option<&str>)> {
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let (name, after) = rest.split_once(']')?;
        name.parse::<std::net::Ipv6Addr>().ok()?;
        (name, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
        (text, None)
    } else {
        text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)))
    };
    let plain = !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == ']');
    let is_port = |port: &str| {
        !port.is_empty() && port.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    (plain && port.is_none_or(is_port)).then_some((name, port))
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
    pub(super) fn new(error: io::Error) -> Self {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        match errno {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN) => {
                Unreachable::Exhausted(error)
            }
            Some(Errno::ACCESS | Errno::PERM) => Unreachable::Denied(words(&error)),
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
            Unreachable::Connect(error) => f.write_str(&reason(error)),
            Unreachable::Exhausted(error) => f.write_str(&words(error)),
            Unreachable::Stopped => f.write_str("stopped by a signal"),
        }
    }
}

/// Why there is no connection, and what to look at.
fn reason(error: &io::Error) -> String {
    let words = words(error);
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => words + ": nothing is listening there",
        Some(Errno::NOENT) => words + ": the server is not running, or its socket is elsewhere",
        None if error.kind() == io::ErrorKind::TimedOut => format!("timed out ({words})"),
        _ => words,
    }
}

/// Hears what is tried and done on the way, and asks for the words if it shows them to anybody.
pub type Note<'a> = &'a mut dyn FnMut(&dyn Fn() -> String);

/// Connects to `destination` within `limits`.
///
/// # Errors
///
/// [`Unreachable`] says why not; where a name has several addresses, of the last one tried.
pub fn connect(
    destination: &Destination,
    network: Network,
    limits: TimeLimits,
    stop: &Arc<Stop>,
    note: Note<'_>,
) -> Result<Link, Unreachable> {
    if stop.is_requested() {
        return Err(Unreachable::Stopped);
    }
    match destination {
        Destination::Host { name, port } => to_host((name, *port), network, limits, stop, note),
        Destination::Socket(path) => {
            note(&|| format!("trying {}", path.display()));
            to_socket(path, limits, stop).inspect(|_| note(&|| "connected".into()))
        }
        Destination::Exec(words) => {
            exec::start(words, limits, stop).inspect(|_| note(&|| format!("started {}", words.join(" "))))
        }
        Destination::Sink(dir) => {
            let system = rustix::system::uname();
            let name = system.nodename().to_string_lossy();
            Ok(Local {
                sink: SinkTransport::new(SinkServer::new(dir.clone(), &name)),
                limits,
                stop: Arc::clone(stop),
            }
            .into())
        }
    }
}

fn to_host(
    (name, port): (&str, u16),
    network: Network,
    limits: TimeLimits,
    stop: &Arc<Stop>,
    note: Note<'_>,
) -> Result<Link, Unreachable> {
    let looking_up = stop.waiting(|| format!("looking up {name}"));
    let found = resolve(name, port, limits.until(), stop).map_err(|e| not_found(name, limits, e))?;
    drop(looking_up);
    let is_wanted = |a: &SocketAddr| {
        network.ipv6.is_none_or(|six| a.is_ipv6() == six)
            && network.bind.is_none_or(|b| b.is_ipv6() == a.is_ipv6())
    };
    let wanted: Vec<SocketAddr> = found.into_iter().filter(is_wanted).collect();
    let mut failed = Vec::new();
    for (tried, &address) in wanted.iter().enumerate() {
        // An address that is dead must not take the time of those behind it.
        let now = Instant::now();
        let left = limits.until().saturating_duration_since(now);
        let _waiting = stop.waiting(|| format!("connecting to {address} ({name})"));
        let share = left / u32::try_from(wanted.len() - tried).unwrap_or(u32::MAX);
        note(&|| format!("trying {address} of {name} ({} of {})", tried + 1, wanted.len()));
        match to_address(address, network.bind, now + share, stop) {
            Ok(socket) => {
                note(&|| {
                    let own = socket.local_addr().map(|own| format!(" from {own}")).unwrap_or_default();
                    format!("connected to {address}{own}")
                });
                return Stream::tcp(socket, limits, Arc::clone(stop))
                    .map(Link::from)
                    .map_err(Unreachable::new);
            }
            Err(e) => {
                let error = limits.name(e);
                note(&|| format!("{address}: {}", reason(&error)));
                failed.push((address, error));
            }
        }
    }
    Err(none_reached(name, failed))
}

fn not_found(name: &str, limits: TimeLimits, error: resolve::Unresolved) -> Unreachable {
    match error {
        resolve::Unresolved::NoSuchName => Unreachable::NoSuchHost(name.to_owned()),
        resolve::Unresolved::Failed(text) => Unreachable::LookUp(format!("looking up '{name}': {text}")),
        resolve::Unresolved::TimedOut => {
            let limit = words(&limits.name(io::ErrorKind::TimedOut.into()));
            Unreachable::LookUp(format!("looking up '{name}' took too long: {limit}"))
        }
        resolve::Unresolved::Stopped => Unreachable::Stopped,
    }
}

/// What the last of the addresses says decides; all are named where the name is not one itself.
fn none_reached(name: &str, mut failed: Vec<(SocketAddr, io::Error)>) -> Unreachable {
    let all: Vec<String> =
        failed.iter().map(|(address, error)| format!("{address}: {}", reason(error))).collect();
    let Some((_, last)) = failed.pop() else {
        return Unreachable::LookUp(format!("'{name}' has no address of the requested family"));
    };
    let last = Unreachable::new(last);
    if matches!(last, Unreachable::Connect(_)) && name.parse::<IpAddr>().is_err() {
        return Unreachable::Connect(io::Error::other(all.join("; ")));
    }
    last
}

fn to_address(
    address: SocketAddr,
    source: Option<IpAddr>,
    until: Instant,
    stop: &Stop,
) -> io::Result<TcpStream> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let fd = system::stream_socket(family, false)?;
    if let Some(source) = source {
        let named = |e: Errno| {
            let error = io::Error::from(e);
            io::Error::new(error.kind(), format!("--bind {source}: {}", words(&error)))
        };
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
/// ends (connect(2) has no other here); where somebody watches, it is begun anew now and then.
fn to_socket(path: &Path, limits: TimeLimits, stop: &Arc<Stop>) -> Result<Link, Unreachable> {
    let open = || -> io::Result<UnixStream> {
        let address = socket_address(path)?;
        let fd = system::stream_socket(AddressFamily::UNIX, true)?;
        let _waiting = stop.waiting(|| format!("connecting to {}", path.display()));
        loop {
            let left = limits.until().saturating_duration_since(Instant::now());
            let step = if stop.watcher().is_some() { left.min(WATCHED) } else { left };
            set_socket_timeout(&fd, Timeout::Send, Some(step.max(Duration::from_millis(1))))?;
            match connect_fd(&fd, &address) {
                Ok(()) => return Ok(UnixStream::from(fd)),
                Err(Errno::AGAIN) if step < left => stop.tick(),
                Err(Errno::AGAIN) => return Err(limits.name(io::ErrorKind::TimedOut.into())),
                Err(Errno::CONNREFUSED) if is_something_else(path) => {
                    return Err(io::Error::other("it is not a socket"));
                }
                Err(e) => return Err(e.into()),
            }
        }
    };
    let refused = |e: &io::Error| e.kind() == io::ErrorKind::PermissionDenied;
    let socket = open()
        .map_err(|e| if refused(&e) { Unreachable::Denied(denied(path)) } else { Unreachable::new(e) })?;
    Stream::unix(socket, limits, Arc::clone(stop)).map(Link::from).map_err(Unreachable::new)
}

/// The address of the socket `path`; `@NAME` is an abstract one.
fn socket_address(path: &Path) -> io::Result<SocketAddrUnix> {
    let octets = path.as_os_str().as_bytes();
    let (what, name) = octets.strip_prefix(b"@").map_or(("path", octets), |name| ("name", name));
    if name.len() > MAX_SOCKET {
        let text =
            format!("the {what} of a socket may have {MAX_SOCKET} octets, and this one has {}", name.len());
        return Err(io::Error::other(text));
    }
    let address = if what == "name" { system::abstract_socket(name) } else { SocketAddrUnix::new(path) };
    address.map_err(io::Error::from)
}

/// Whether there is something at `path`, and no socket.
fn is_something_else(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_bear_a_port() {
        for (text, name, port) in [
            ("mailbox", "mailbox", None),
            ("mailbox:2003", "mailbox", Some("2003")),
            ("mailbox:lmtp", "mailbox", Some("lmtp")),
            ("127.0.0.1:25", "127.0.0.1", Some("25")),
            ("[::1]", "::1", None),
            ("[::1]:2003", "::1", Some("2003")),
            ("::1", "::1", None),
        ] {
            assert_eq!(split_host(text), Some((name, port)), "{text}");
        }
        for text in ["", ":24", "a:", "a:+1", "[::1", "[::1]24", "[x]:1", "a b", "a:b:c", "a:1 2"] {
            assert_eq!(split_host(text), None, "{text}");
        }
    }
}
