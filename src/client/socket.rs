//! TCP and Unix-domain sockets, never blocking: every wait is for input, output and the time limit at once.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::timeouts::Clock;
use crate::lmtp::{Moved, Stage, Transport};

/// A connected socket with its time limits.
#[derive(Debug)]
pub(crate) struct Socket {
    ends: SocketEnds,
    clock: Clock,
}

#[derive(Debug)]
enum SocketEnds {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to the first address of `host` that accepts; each has its share of the time that is left.
    ///
    /// # Errors
    ///
    /// The last address's, or that of the look-up, whose time limit is the system's own.
    pub(super) fn tcp(host: &str, port: u16, clock: Clock) -> io::Result<Self> {
        let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for (tried, address) in addresses.iter().enumerate() {
            let share = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            match TcpStream::connect_timeout(address, clock.left()? / share) {
                Ok(socket) => {
                    // Commands are put together by the session; none waits for more of them.
                    socket.set_nodelay(true)?;
                    socket.set_nonblocking(true)?;
                    return Ok(Self { ends: SocketEnds::Tcp(socket), clock });
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Connects to the socket at `path`.
    ///
    /// # Errors
    ///
    /// The system's. While the server's backlog is full, Linux waits as long as the time limit allows.
    pub(super) fn unix(path: &Path, clock: Clock) -> io::Result<Self> {
        let socket = connect_unix(path, &clock)?;
        socket.set_nonblocking(true)?;
        Ok(Self { ends: SocketEnds::Unix(socket), clock })
    }

    /// Over a socket that is connected.
    #[cfg(test)]
    pub(crate) fn connected(socket: UnixStream, timeouts: super::Timeouts) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { ends: SocketEnds::Unix(socket), clock: Clock::start(timeouts) })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.ends {
            SocketEnds::Tcp(socket) => socket.as_fd(),
            SocketEnds::Unix(socket) => socket.as_fd(),
        }
    }

    /// Waits for what `wanted` says, until the time limit.
    fn wait(&self, wanted: PollFlags) -> io::Result<()> {
        loop {
            let left = Timespec::try_from(self.clock.left()?).map_err(io::Error::other)?;
            match poll(&mut [PollFd::from_borrowed_fd(self.fd(), wanted)], Some(&left)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Transport for Socket {
    fn enter(&mut self, stage: Stage) {
        self.clock.enter(stage);
    }

    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        if !out.is_empty() {
            self.clock.left()?;
        }
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::OUT, !out.is_empty());
        wanted.set(PollFlags::IN, !input.is_empty());
        loop {
            let written = self.offer(out)?;
            // Told at once, so that a failure to read cannot hide what has been handed over.
            if written > 0 {
                return Ok(Moved { written, ..Moved::default() });
            }
            let heard = self.pending(input)?;
            if heard != Moved::default() {
                return Ok(heard);
            }
            self.wait(wanted)?;
        }
    }

    fn offer(&mut self, out: &[u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let written = unless_waiting(match &mut self.ends {
            SocketEnds::Tcp(socket) => socket.write(out),
            SocketEnds::Unix(socket) => socket.write(out),
        });
        Ok(written?.unwrap_or(0))
    }

    fn pending(&mut self, input: &mut [u8]) -> io::Result<Moved> {
        let read = unless_waiting(match &mut self.ends {
            SocketEnds::Tcp(socket) => socket.read(input),
            SocketEnds::Unix(socket) => socket.read(input),
        })?;
        Ok(Moved { written: 0, read: read.unwrap_or(0), closed: read == Some(0) && !input.is_empty() })
    }
}

/// connect(2) to a Unix-domain socket has no time limit but the one for sending.
#[cfg(target_os = "linux")]
fn connect_unix(path: &Path, clock: &Clock) -> io::Result<UnixStream> {
    use rustix::net::sockopt::{Timeout, set_socket_timeout};
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

    let address = SocketAddrUnix::new(path)?;
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&fd, Timeout::Send, Some(clock.left()?))?;
    match connect(&fd, &address) {
        Ok(()) => Ok(UnixStream::from(fd)),
        Err(Errno::AGAIN) => Err(clock.over()),
        Err(error) => Err(error.into()),
    }
}

/// Elsewhere a full backlog refuses the connection at once.
#[cfg(not(target_os = "linux"))]
fn connect_unix(path: &Path, _: &Clock) -> io::Result<UnixStream> {
    UnixStream::connect(path)
}

/// `None` where the call would have had to wait.
fn unless_waiting(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(e) => Err(e),
    }
}
