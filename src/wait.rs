//! How we write, read and wait outside a session: each wait is for the descriptor, the time limit and a signal at once.
//!
//! - Standard streams may be in non-blocking mode, or blocking and shared with other processes: neither a full pipe
//!   nor one that somebody else fills holds us beyond the limit, and the streams' own mode is never changed.
//! - A FIFO is opened without waiting for its other end in the system, but here.
//! - A child is read for what is wanted of it, and never outlives the limit.
//!
//! Regular files are not waited for: no limit ends what a disk does.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::{Errno, ioctl_fionbio, write};

use crate::stop::{Stop, end_by, poll_until};
use crate::system::write_without_waiting;

/// What a pipe that can be written takes at once without blocking (POSIX PIPE_BUF on Linux).
const PIPE_BUF: usize = 4096;
/// How long a lingering child or a FIFO without its other end is left alone before we look again.
const PAUSE: Duration = Duration::from_millis(20);

/// Where octets go: a standard stream or a file.
enum Target {
    Standard(BorrowedFd<'static>),
    File(File),
}

/// How octets are handed over without blocking.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Means {
    /// It is not known yet what it is.
    Unknown,
    /// A pipe or a socket: the call itself says that it does not wait (pwritev2(2), RWF_NOWAIT).
    AtOnce,
    /// A terminal, and where the former cannot be had: once it is ready, a little at a time.
    Ready,
    /// A regular file.
    Whole,
}

/// Writes within a time limit.
pub struct Writer {
    target: Target,
    means: Means,
    stop: Arc<Stop>,
}

impl Writer {
    /// To standard output.
    pub fn stdout(stop: &Arc<Stop>) -> Self {
        Self::new(Target::Standard(rustix::stdio::stdout()), stop)
    }

    /// To standard error.
    pub fn stderr(stop: &Arc<Stop>) -> Self {
        Self::new(Target::Standard(rustix::stdio::stderr()), stop)
    }

    /// To the end of the file `path`, which is made where there is none. The reader of a FIFO is waited for.
    ///
    /// # Errors
    ///
    /// The system's, and those of [`Stop::wait`].
    pub fn append(path: &Path, until: Instant, stop: &Arc<Stop>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        // It may hold addresses: others do not read what is made here.
        options.append(true).create(true).mode(0o640).custom_flags(nonblocking());
        loop {
            match options.open(path) {
                // A FIFO that nobody reads.
                Err(e) if e.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => stop.pause(PAUSE, until)?,
                opened => return Ok(Self::new(Target::File(opened?), stop)),
            }
        }
    }

    fn new(target: Target, stop: &Arc<Stop>) -> Self {
        Self { target, means: Means::Unknown, stop: Arc::clone(stop) }
    }

    /// Writes all of `octets`; after a signal only for as long as last words may take.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] at `until` or after the signal, and the system's.
    pub fn write(&mut self, mut octets: &[u8], until: Instant) -> io::Result<()> {
        while !octets.is_empty() {
            match self.offer(octets) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => octets = octets.get(written..).unwrap_or_default(),
                Err(Errno::AGAIN) => self.until_ready(until)?,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Writes what is taken without waiting.
    fn offer(&mut self, octets: &[u8]) -> rustix::io::Result<usize> {
        if self.means == Means::Unknown {
            let kind = FileType::from_raw_mode(fstat(self.as_fd())?.st_mode);
            self.means = if matches!(kind, FileType::Fifo | FileType::Socket) {
                Means::AtOnce
            } else if kind == FileType::RegularFile {
                Means::Whole
            } else {
                Means::Ready
            };
        }
        if self.means == Means::AtOnce {
            match write_without_waiting(self.as_fd(), octets) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE) => {
                    self.means = Means::Ready
                }
                written => return written,
            }
        }
        if self.means == Means::Whole {
            return write(self.as_fd(), octets);
        }
        let mut fds = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::OUT)];
        if poll_until(&mut fds, Instant::now()).is_err() {
            return Err(Errno::AGAIN);
        }
        write(self.as_fd(), octets.get(..PIPE_BUF).unwrap_or(octets))
    }

    fn until_ready(&self, until: Instant) -> io::Result<()> {
        match self.stop.wait(None, Some(self.as_fd()), until) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                let until = self.stop.last_words().map_or(until, |last| last.min(until));
                poll_until(&mut [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::OUT)], until)
            }
            waited => waited.map(drop),
        }
    }
}

impl AsFd for Writer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.target {
            Target::Standard(fd) => *fd,
            Target::File(file) => file.as_fd(),
        }
    }
}

/// Writes what standard error takes without waiting, when there is nobody to wait with.
pub fn write_at_once(octets: &[u8]) {
    let stderr = rustix::stdio::stderr();
    if poll_until(&mut [PollFd::from_borrowed_fd(stderr, PollFlags::OUT)], Instant::now()).is_ok() {
        let _ = write(stderr, octets.get(..PIPE_BUF).unwrap_or(octets));
    }
}

/// The octets of the file `path`, at most `most` of them. The writer of a FIFO is waited for.
///
/// # Errors
///
/// The system's, and those of [`Stop::wait`].
pub fn read(path: &Path, most: usize, until: Instant, stop: &Stop) -> io::Result<Vec<u8>> {
    let _waiting = stop.waiting(|| format!("reading {}", path.display()));
    let mut file = OpenOptions::new().read(true).custom_flags(nonblocking()).open(path)?;
    // All at once, so that no half of a secret stays behind where a buffer grew.
    let size = file.metadata().map_or(0, |m| usize::try_from(m.len()).unwrap_or(most));
    let mut octets = Vec::with_capacity(size.max(PIPE_BUF).min(most) + PIPE_BUF);
    let mut piece = [0; PIPE_BUF];
    while octets.len() < most {
        stop.wait(Some(file.as_fd()), None, until)?;
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => octets.extend_from_slice(piece.get(..read).unwrap_or_default()),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => return Err(e),
        }
    }
    octets.truncate(most);
    Ok(octets)
}

fn nonblocking() -> i32 {
    i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0)
}

/// How much of a child's output is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Its first line: what it says after that is read and forgotten.
    FirstLine,
    /// All.
    All,
}

/// Runs `command`, with nothing to read, and returns what it said, at most `most` octets, and how it ended. What it
/// leaves behind with its output open is not waited for.
///
/// # Errors
///
/// The system's, and those of [`Stop::wait`]; the child is then ended.
pub fn output(
    command: &mut Command,
    wanted: Wanted,
    most: usize,
    until: Instant,
    stop: &Stop,
) -> io::Result<(Vec<u8>, ExitStatus)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let Some(output) = child.stdout.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
    let mut listening = ChildOutput { output, octets: Vec::with_capacity(most + 1), wanted, most };
    let heard = listening.listen(&mut child, until, stop);
    let status = end_by(&mut child, if heard.is_ok() { until } else { Instant::now() }, stop);
    heard?;
    if Instant::now() >= until || stop.is_requested() {
        // It did not end by itself.
        return Err(
            if stop.is_requested() { io::ErrorKind::Interrupted } else { io::ErrorKind::TimedOut }.into()
        );
    }
    Ok((listening.octets, status?))
}

/// A child that is listened to.
struct ChildOutput {
    output: ChildStdout,
    octets: Vec<u8>,
    wanted: Wanted,
    most: usize,
}

impl ChildOutput {
    /// Reads until the child has ended, or has nothing more to say.
    fn listen(&mut self, child: &mut Child, until: Instant, stop: &Stop) -> io::Result<()> {
        ioctl_fionbio(&self.output, true)?;
        loop {
            let soon = Instant::now() + PAUSE;
            match stop.wait(Some(self.output.as_fd()), None, soon.min(until)) {
                Err(e) if e.kind() == io::ErrorKind::TimedOut && Instant::now() < until => {}
                waited => drop(waited?),
            }
            // Asked first: what was said before the end is then still heard.
            let ended = child.try_wait()?.is_some();
            if self.hear(until)? || ended {
                return Ok(());
            }
        }
    }

    /// Takes in what has been said; `true`: there will be no more.
    fn hear(&mut self, until: Instant) -> io::Result<bool> {
        let mut piece = [0; 512];
        while Instant::now() < until {
            match self.output.read(&mut piece) {
                Ok(0) => return Ok(true),
                Ok(read) => self.keep(piece.get(..read).unwrap_or_default()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    fn keep(&mut self, piece: &[u8]) {
        let complete = self.wanted == Wanted::FirstLine && self.octets.contains(&b'\n');
        let room = if complete { 0 } else { self.most - self.octets.len() };
        self.octets.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rustix::pipe::pipe;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(100)
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// A pipe, the writing end blocking or not.
    fn ends(nonblocking: bool, stop: &Arc<Stop>) -> (File, Writer) {
        let (output, input) = pipe().unwrap();
        ioctl_fionbio(&input, nonblocking).unwrap();
        (File::from(output), Writer::new(Target::File(File::from(input)), stop))
    }

    #[test]
    fn a_full_pipe_is_waited_for_in_either_mode_and_by_either_means() {
        let stop = Arc::new(Stop::catch(75).unwrap());
        let text = vec![b'a'; 300_000];
        for (nonblocking, means) in [(true, Means::Unknown), (false, Means::Unknown), (false, Means::Ready)] {
            let (mut output, mut writer) = ends(nonblocking, &stop);
            writer.means = means;
            let reader = thread::spawn(move || {
                thread::sleep(Duration::from_millis(50));
                let mut read = Vec::new();
                output.read_to_end(&mut read).map(|_| read).unwrap()
            });
            writer.write(&text, later()).unwrap();
            drop(writer);
            assert!(reader.join().unwrap() == text);
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_given_up_at_the_limit() {
        let stop = Arc::new(Stop::catch(75).unwrap());
        for (nonblocking, means) in [(true, Means::Unknown), (false, Means::Unknown), (false, Means::Ready)] {
            let (_output, mut writer) = ends(nonblocking, &stop);
            writer.means = means;
            let written = writer.write(&vec![b'a'; 300_000], soon());
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
    }

    #[test]
    fn a_child_is_heard_as_far_as_it_is_wanted() {
        let stop = Stop::catch(75).unwrap();
        let run = |script: &str, wanted| {
            let (octets, status) =
                output(stop.command("sh").args(["-c", script]), wanted, 4096, later(), &stop).unwrap();
            (String::from_utf8(octets).unwrap(), status.code())
        };
        assert_eq!(run("echo a; echo b; exit 3", Wanted::All), ("a\nb\n".into(), Some(3)));
        assert_eq!(run("printf a", Wanted::FirstLine), ("a".into(), Some(0)));
        assert_eq!(run("sleep 30 & echo a", Wanted::FirstLine), ("a\n".into(), Some(0)));
        assert_eq!(run("sleep 30 & echo a", Wanted::All), ("a\n".into(), Some(0)));
        let long = "i=0; echo a; while [ $i -lt 9000 ]; do echo 0123456789; i=$((i + 1)); done";
        let (text, code) = run(long, Wanted::FirstLine);
        assert!(text.starts_with("a\n") && text.len() < 4097 && code == Some(0), "{text} {code:?}");
    }

    #[test]
    fn a_child_that_does_not_end_is_ended() {
        let stop = Stop::catch(75).unwrap();
        for script in ["sleep 30", "echo a; exec sleep 30", "exec yes", "exec >&-; exec sleep 30"] {
            let command = &mut stop.command("sh");
            let heard = output(command.args(["-c", script]), Wanted::FirstLine, 4096, soon(), &stop);
            assert_eq!(heard.unwrap_err().kind(), io::ErrorKind::TimedOut, "{script}");
        }
    }
}
