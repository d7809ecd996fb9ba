//! Sockets and pipes, never blocking: every wait is for input, output, a signal and the time limit at once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use lmtp_send::lmtp::{Moved, Stage, Stretch, Transport};
use rustix::io::Errno;

use super::TimeLimits;
use crate::stop::{Stop, end_by};
use crate::system;

/// How long a child process may take to end by itself once its input is closed.
const CHILD_GRACE: Duration = Duration::from_secs(1);
/// Octets that are sent from a file in one call: the time limits and signals are looked at in between.
const AT_ONCE: usize = 1024 * 1024;

/// A connected stream of octets with its time limits.
pub struct Stream {
    ends: StreamEnds,
    limits: TimeLimits,
    stop: Arc<Stop>,
}

/// What is read from and written to.
enum StreamEnds {
    Tcp(TcpStream),
    Unix(UnixStream),
    Exec(Process),
}

/// A child process that speaks LMTP on its standard input and output.
struct Process {
    child: Child,
    /// Closed first, so that the child sees the end.
    input: Option<File>,
    output: File,
    stop: Arc<Stop>,
    /// How long it may take to end by itself.
    patience: Duration,
    ended: Ended,
}

/// How a child process has ended by itself; known when its connection is gone.
pub type Ended = Arc<OnceLock<ExitStatus>>;

impl Stream {
    /// A connected TCP socket. Commands are not held back for more of them (TCP_NODELAY).
    pub fn tcp(socket: TcpStream, limits: TimeLimits, stop: Arc<Stop>) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self { ends: StreamEnds::Tcp(socket), limits, stop })
    }

    /// A connected Unix-domain socket.
    pub fn unix(socket: UnixStream, limits: TimeLimits, stop: Arc<Stop>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { ends: StreamEnds::Unix(socket), limits, stop })
    }

    /// A child process with its two pipes.
    pub fn exec(
        child: Child,
        input: ChildStdin,
        output: ChildStdout,
        limits: TimeLimits,
        stop: Arc<Stop>,
    ) -> io::Result<Self> {
        let process = Process {
            child,
            input: Some(File::from(OwnedFd::from(input))),
            output: File::from(OwnedFd::from(output)),
            stop: Arc::clone(&stop),
            patience: CHILD_GRACE,
            ended: Ended::default(),
        };
        rustix::io::ioctl_fionbio(process.input.as_ref().map_or(process.output.as_fd(), AsFd::as_fd), true)?;
        rustix::io::ioctl_fionbio(&process.output, true)?;
        Ok(Self { ends: StreamEnds::Exec(process), limits, stop })
    }

    /// Whether this crosses a network, or could.
    pub fn is_tcp(&self) -> bool {
        matches!(self.ends, StreamEnds::Tcp(_))
    }

    /// The address at the other end, by TCP.
    pub fn peer(&self) -> Option<SocketAddr> {
        if let StreamEnds::Tcp(socket) = &self.ends { socket.peer_addr().ok() } else { None }
    }

    /// Where it will stand how the child process at the other end has ended.
    pub fn ended(&self) -> Option<Ended> {
        if let StreamEnds::Exec(process) = &self.ends { Some(Arc::clone(&process.ended)) } else { None }
    }

    /// From now on, nothing waits beyond `deadline`.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.limits.set_deadline(deadline);
    }

    /// From now on a signal leaves what is on its way so much time.
    pub fn set_grace(&mut self, grace: Duration) {
        self.limits.set_grace(grace);
    }

    /// Sends what is taken of `stretch` without waiting, and without reading it; returns how much. The octets are
    /// not copied either: they are what stands in the file when the peer takes them.
    ///
    /// # Errors
    ///
    /// The connection's failure; or [`io::ErrorKind::Unsupported`]: the file's, which reading it will show.
    fn offer_file(&self, stretch: &Stretch<'_>) -> io::Result<usize> {
        let socket = match &self.ends {
            StreamEnds::Tcp(socket) => socket.as_fd(),
            StreamEnds::Unix(socket) => socket.as_fd(),
            StreamEnds::Exec(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        let Range { start: mut at, end } = stretch.octets;
        let octets = usize::try_from(end - at).unwrap_or(AT_ONCE).min(AT_ONCE);
        match system::send_file(socket, stretch.file, &mut at, octets) {
            Ok(octets @ 1..) => Ok(octets),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(
                errno @ (Errno::PIPE
                | Errno::CONNRESET
                | Errno::CONNABORTED
                | Errno::NOTCONN
                | Errno::TIMEDOUT
                | Errno::HOSTUNREACH
                | Errno::HOSTDOWN
                | Errno::NETUNREACH
                | Errno::NETDOWN
                | Errno::NETRESET),
            ) => Err(errno.into()),
            // The file has become shorter, cannot be read, or is in a file system that cannot do this.
            Ok(0) | Err(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// [`Transport::exchange`], where `offer` writes what is taken without waiting.
    fn exchange_by(
        &mut self,
        writes: bool,
        mut offer: impl FnMut(&mut Self) -> io::Result<usize>,
        input: &mut [u8],
    ) -> io::Result<Moved> {
        // A peer that takes all at once is never waited for; what it has said already counts.
        if self.stop.is_over(self.limits.grace()) {
            let heard = self.pending(input)?;
            return if heard.read > 0 { Ok(heard) } else { Err(io::ErrorKind::Interrupted.into()) };
        }
        if writes && Instant::now() >= self.limits.until() {
            return Err(self.limits.name(io::ErrorKind::TimedOut.into()));
        }
        let written = offer(self)?;
        // Told at once, so that a failure to read cannot hide what has been handed over.
        if written > 0 {
            return Ok(Moved { written, ..Moved::default() });
        }
        loop {
            let ready = match self.wait(!input.is_empty(), writes) {
                Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                    // Its time is over.
                    if let StreamEnds::Exec(process) = &mut self.ends {
                        process.patience = Duration::ZERO;
                    }
                    return Err(e);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => return self.exchange(&[], input),
                ready => ready?,
            };
            let heard = if ready.input { self.pending(input)? } else { Moved::default() };
            // Input first: what the server says explains why it takes no more.
            if heard != Moved::default() {
                return Ok(heard);
            }
            if ready.output {
                let written = offer(self)?;
                if written > 0 {
                    return Ok(Moved { written, ..Moved::default() });
                }
            }
        }
    }

    /// Reads what is there without waiting; `None`: nothing.
    fn read(&mut self, input: &mut [u8]) -> io::Result<Option<usize>> {
        unless_waiting(match &mut self.ends {
            StreamEnds::Tcp(socket) => socket.read(input),
            StreamEnds::Unix(socket) => socket.read(input),
            StreamEnds::Exec(process) => process.output.read(input),
        })
    }

    fn wait(&self, input: bool, output: bool) -> io::Result<crate::stop::Ready> {
        let (read, write): (BorrowedFd<'_>, BorrowedFd<'_>) = match &self.ends {
            StreamEnds::Tcp(socket) => (socket.as_fd(), socket.as_fd()),
            StreamEnds::Unix(socket) => (socket.as_fd(), socket.as_fd()),
            StreamEnds::Exec(process) => {
                (process.output.as_fd(), process.input.as_ref().map_or(process.output.as_fd(), AsFd::as_fd))
            }
        };
        let (until, grace) = (self.limits.until(), self.limits.grace());
        self.stop
            .wait_with_grace(input.then_some(read), output.then_some(write), until, grace)
            .map_err(|e| self.limits.name(e))
    }
}

impl Transport for Stream {
    fn enter(&mut self, stage: Stage) {
        self.limits.enter(stage);
    }

    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        self.exchange_by(!out.is_empty(), |stream| stream.offer(out), input)
    }

    fn sends_files(&self) -> bool {
        system::SENDS_FILES && !matches!(self.ends, StreamEnds::Exec(_))
    }

    fn exchange_file(&mut self, stretch: &Stretch<'_>, input: &mut [u8]) -> io::Result<Option<Moved>> {
        match self.exchange_by(true, |stream| stream.offer_file(stretch), input) {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(None),
            moved => moved.map(Some),
        }
    }

    fn offer(&mut self, out: &[u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        unless_waiting(match &mut self.ends {
            StreamEnds::Tcp(socket) => socket.write(out),
            StreamEnds::Unix(socket) => socket.write(out),
            StreamEnds::Exec(process) => process.input.as_mut().map_or(Ok(0), |input| input.write(out)),
        })
        .map(|written| written.unwrap_or(0))
    }

    fn pending(&mut self, input: &mut [u8]) -> io::Result<Moved> {
        let read = self.read(input)?;
        Ok(Moved { written: 0, read: read.unwrap_or(0), closed: read == Some(0) && !input.is_empty() })
    }
}

/// `None` where the call would have had to wait.
fn unless_waiting(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(e) => Err(e),
    }
}

impl Drop for Process {
    /// Lets the child end by itself for a moment.
    fn drop(&mut self) {
        self.input = None;
        let until = Instant::now() + self.patience;
        let status = end_by(&mut self.child, until, &self.stop);
        if let Ok(status) = status
            && Instant::now() < until
        {
            self.ended.get_or_init(|| status);
        }
    }
}
