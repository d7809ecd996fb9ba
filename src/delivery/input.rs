//! Messages: opened and read to their end, before a session is opened for them.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use lmtp_send::io_error::words;
use lmtp_send::message::{FileIdentity, Message, ReadOptions, Unreadable, UntilLoneDot};
use rustix::io::Errno;

use super::intake::Patience;
use crate::exit::Kind;
use crate::job;
use crate::local_error::LocalError;
use crate::process::{Access, is_closed_stream, unusable, was_closed};
use crate::stop::Stop;
use crate::system;

/// The name of what comes by standard input.
const STANDARD_INPUT: &str = "-";

/// Octets that a pipe holds, unless it is told otherwise.
const PIPE: u64 = 64 * 1024;
/// Octets that it is told to hold: the most that the system usually allows anybody.
const WIDE_PIPE: usize = 1024 * 1024;

/// Octets of a file that are counted in a moment.
const SHORT: u64 = 16 * 1024 * 1024;

/// A message that has been opened.
pub struct Opened {
    path: Arc<Path>,
    file: File,
    /// `None`: nobody knows what it is; it is read as it comes.
    metadata: Option<Metadata>,
}

/// Opens the message `path` (`-`: standard input).
///
/// # Errors
///
/// [`LocalError`] naming the file.
pub fn open(path: &Arc<Path>) -> Result<Opened, LocalError> {
    let closed = Arc::from(Path::new(STANDARD_INPUT));
    let path = if is_closed_stream(path) { &closed } else { path };
    let file = open_file(path).map_err(|e| LocalError::input(missing(path, &e), not_opened(path, &e)))?;
    let metadata = file.metadata().ok();
    Ok(Opened { path: Arc::clone(path), file, metadata })
}

/// Whether `path` names what comes by standard input.
pub fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == STANDARD_INPUT
}

impl Opened {
    /// Whether it is a directory, which may hold messages.
    pub fn is_directory(&self) -> bool {
        self.metadata.as_ref().is_some_and(Metadata::is_dir) && !is_standard_input(&self.path)
    }

    /// The file, and what is known of it.
    pub fn into_parts(self) -> (File, Option<Metadata>) {
        (self.file, self.metadata)
    }

    /// Whether it can be read in a moment, without waiting for whoever writes it.
    pub fn is_at_hand(&self) -> bool {
        self.metadata.as_ref().is_some_and(|m| m.is_file() && m.len() <= SHORT)
            && !is_standard_input(&self.path)
    }

    /// What it is known by when it is to be read again; `None` where it cannot be.
    pub fn identity(&self) -> Option<FileIdentity> {
        let file = self.metadata.as_ref().filter(|m| m.is_file() && !is_standard_input(&self.path));
        file.map(FileIdentity::of)
    }

    /// Reads it to its end, waiting no longer than `deadline`; where `until_lone_dot`, a line of a lone dot is one.
    ///
    /// # Errors
    ///
    /// [`LocalError`] naming the file.
    pub fn read(self, deadline: Instant, stop: &Stop, until_lone_dot: bool) -> Result<Message, LocalError> {
        let Self { path, file, metadata } = self;
        let _waiting = stop.waiting(|| what_is_waited_for(&path, &file));
        let message = match metadata {
            Some(metadata) if metadata.is_file() => {
                let go_on = || in_time(deadline, stop);
                let mut how = ReadOptions::new(&go_on);
                how.until_lone_dot = until_lone_dot;
                Message::read_file(file, &metadata, &how)
            }
            _ => {
                let input = waiting(&file, Patience { deadline, stop });
                if until_lone_dot {
                    Message::from_stream(UntilLoneDot::new(input))
                } else {
                    Message::from_stream(input)
                }
            }
        };
        message.map_err(|e| unreadable(&path, &e))
    }
}

/// Opens without waiting for a writer where `path` is a named pipe.
fn open_file(path: &Path) -> io::Result<File> {
    if is_standard_input(path) {
        if was_closed(rustix::stdio::stdin(), Access::Read) {
            return Err(io::Error::other("standard input is closed"));
        }
        return Ok(File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?));
    }
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    OpenOptions::new().read(true).custom_flags(nonblocking).open(path)
}

fn not_opened(path: &Path, error: &io::Error) -> String {
    if is_standard_input(path) {
        return words(error);
    }
    let hint = if error.kind() == io::ErrorKind::NotFound { meant(path) } else { "" };
    unusable(path, error) + hint
}

/// What may have been meant by a FILE that does not exist.
fn meant(path: &Path) -> &'static str {
    let name = path.to_string_lossy();
    if name.ends_with('\r') {
        " (its name ends in CR: do the lines of the list end in CRLF?)"
    } else if name.contains('@') {
        " (taken for a FILE; give recipients with --to)"
    } else if job::is_host(&name) {
        " (taken for a FILE; give a host with --host)"
    } else {
        ""
    }
}

fn missing(path: &Path, error: &io::Error) -> Kind {
    if is_standard_input(path) {
        return Kind::InputOutput;
    }
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Kind::Exhausted,
        // The disk's or the network's trouble, not the file's.
        Some(Errno::IO | Errno::STALE | Errno::TIMEDOUT | Errno::AGAIN | Errno::INTR) => Kind::InputOutput,
        _ => Kind::NoInput,
    }
}

/// What is wrong with the message or the file `path` that cannot be read to its end.
pub fn unreadable(path: &Path, error: &Unreadable) -> LocalError {
    let name = if is_standard_input(path) { "standard input".into() } else { path.display().to_string() };
    let kind = match error {
        Unreadable::Empty | Unreadable::NotMbox => Kind::Message,
        Unreadable::Spool(_) => Kind::Exhausted,
        Unreadable::Input(e) if e.kind() == io::ErrorKind::Interrupted => Kind::Stopped,
        Unreadable::Input(_) => Kind::InputOutput,
    };
    let text = match error {
        Unreadable::Input(e) if e.kind() == io::ErrorKind::TimedOut => {
            "it could not be read to its end before --deadline".to_owned()
        }
        Unreadable::Input(e) if e.kind() == io::ErrorKind::Interrupted => "stopped by a signal".to_owned(),
        Unreadable::Input(_) | Unreadable::Spool(_) | Unreadable::Empty | Unreadable::NotMbox => {
            error.to_string()
        }
    };
    LocalError::input(kind, format!("{name}: {text}"))
}

/// A person who types the message knows, and is not disturbed.
fn what_is_waited_for(path: &Path, file: &File) -> String {
    if !is_standard_input(path) {
        format!("reading {}", path.display())
    } else if file.is_terminal() {
        String::new()
    } else {
        "reading standard input".into()
    }
}

/// Ends the reading at the deadline and when a signal has come.
fn in_time(deadline: Instant, stop: &Stop) -> io::Result<()> {
    stop.tick();
    if stop.is_requested() {
        Err(io::ErrorKind::Interrupted.into())
    } else if Instant::now() >= deadline {
        Err(io::ErrorKind::TimedOut.into())
    } else {
        Ok(())
    }
}

/// Reads `file` as long as there is patience.
pub fn waiting<'a>(file: &'a File, patience: Patience<'a>) -> TimedInput<'a> {
    TimedInput { file, deadline: patience.deadline, stop: patience.stop, taken: 0 }
}

/// A pipe or a terminal, read within the deadline.
pub struct TimedInput<'a> {
    file: &'a File,
    deadline: Instant,
    stop: &'a Stop,
    /// Octets read so far.
    taken: u64,
}

impl Read for TimedInput<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            // What is always ready is never waited for.
            in_time(self.deadline, self.stop)?;
            self.stop.wait(Some(self.file.as_fd()), None, self.deadline)?;
            match self.file.read(buf) {
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                result => return result.inspect(|read| self.widen(*read)),
            }
        }
    }
}

impl TimedInput<'_> {
    /// Counts what was read. Through a pipe of the usual size, a long message would come in pieces so small that
    /// waking each other takes writer and reader longer than copying. A pipe that may not be wider stays.
    fn widen(&mut self, read: usize) {
        let before = self.taken;
        self.taken += read as u64;
        let long = (before..self.taken).contains(&PIPE);
        if long {
            system::widen(self.file, WIDE_PIPE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::thread;
    use std::time::Duration;

    use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size, pipe};

    use super::*;

    /// The pipe's size after `octets` were read through it, and the octets.
    fn read_through_a_pipe(octets: &[u8]) -> (usize, Vec<u8>) {
        let (output, input) = pipe().unwrap();
        let (file, mut input) = (File::from(output), File::from(input));
        let stop = Stop::catch(75).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut read = Vec::new();
        thread::scope(|scope| {
            scope.spawn(move || input.write_all(octets).unwrap());
            let mut waiting = waiting(&file, Patience { deadline, stop: &stop });
            waiting.read_to_end(&mut read).unwrap();
        });
        let size = fcntl_getpipe_size(&file).unwrap();
        (size, read)
    }

    #[test]
    fn only_a_long_message_widens_its_pipe() {
        let short = vec![b'a'; 60_000];
        let (_spare_output, spare) = pipe().unwrap();
        let usual = fcntl_getpipe_size(&spare).unwrap();
        let (size, read) = read_through_a_pipe(&short);
        assert!(read == short);
        assert_eq!(size, usual);
        let long = vec![b'b'; 3_000_000];
        let (size, read) = read_through_a_pipe(&long);
        assert!(read == long);
        // What this user may have, here and now.
        let widest = WIDE_PIPE.max(usual);
        let allowed = fcntl_setpipe_size(&spare, widest).is_ok();
        assert_eq!(size, if allowed { widest } else { usual });
    }
}
