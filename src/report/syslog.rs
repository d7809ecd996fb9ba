//! The system's log: a line for each outcome.
//!
//! The protocol is that of syslog(3): a datagram (to some daemons a stream) to `/dev/log`, which begins with facility and
//! severity in angle brackets (RFC 3164 §4.1.1); the daemon puts time and host before it. That nobody listens there, or
//! not for now, is never an error of the delivery: a line is waited for [`DAEMON_WAIT`] once, and then there is no log.

use std::io::{self, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Duration;

use crate::cli::Facility;
use crate::exit::Class;

/// Where the daemon listens.
pub const SOCKET: &str = "/dev/log";
/// How long a daemon that takes nothing is waited for.
const DAEMON_WAIT: Duration = Duration::from_secs(1);
/// The most of a line, in octets: daemons cut lines of some thousands.
const MAX_LINE: usize = 4000;

/// The system's log, if there is one.
pub struct Log {
    facility: Facility,
    daemon: Option<Daemon>,
}

enum Daemon {
    Datagrams(UnixDatagram),
    Stream(UnixStream),
}

impl Log {
    /// The log of this system.
    pub fn open(facility: Facility) -> Self {
        Self::at(Path::new(SOCKET), facility)
    }

    /// The log of a daemon that listens at `path`.
    pub fn at(path: &Path, facility: Facility) -> Self {
        Self { facility, daemon: Daemon::at(path).ok() }
    }

    /// Whether nobody listens, or no longer.
    pub fn is_missing(&self) -> bool {
        self.daemon.is_none()
    }

    /// Tells the daemon, if it listens, that an outcome of `class` is `text`.
    pub fn write(&mut self, class: Class, text: &str) {
        let severity = match class {
            Class::Delivered => 6,                   // LOG_INFO
            Class::Deferred | Class::Uncertain => 4, // LOG_WARNING
            Class::Failed => 3,                      // LOG_ERR
        };
        let priority = self.facility.number() * 8 + severity;
        let end = (0..=MAX_LINE).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let text = text.get(..end).unwrap_or(text);
        let line = format!("<{priority}>lmtp-send[{}]: {text}", std::process::id());
        if self.daemon.as_mut().is_some_and(|daemon| daemon.send(&line).is_err()) {
            self.daemon = None;
        }
    }
}

impl Daemon {
    fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(DAEMON_WAIT))?;
        if socket.connect(path).is_ok() {
            return Ok(Self::Datagrams(socket));
        }
        let stream = UnixStream::connect(path)?;
        stream.set_write_timeout(Some(DAEMON_WAIT))?;
        Ok(Self::Stream(stream))
    }

    /// On a stream a line ends in NUL.
    fn send(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => socket.send(line.as_bytes()).map(drop),
            Self::Stream(stream) => stream.write_all(format!("{line}\0").as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn log(path: &Path) -> Log {
        Log::at(path, Facility::Mail)
    }

    #[test]
    fn a_daemon_is_told_facility_severity_and_text() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut log = log(&path);
        for (class, priority) in
            [(Class::Delivered, 22), (Class::Deferred, 20), (Class::Uncertain, 20), (Class::Failed, 19)]
        {
            log.write(class, "to=<joe>");
            let mut line = [0; 100];
            let octets = daemon.recv(&mut line).unwrap();
            let expected = format!("<{priority}>lmtp-send[{}]: to=<joe>", std::process::id());
            assert_eq!(str::from_utf8(&line[..octets]).unwrap(), expected);
        }
        log.write(Class::Failed, &"é".repeat(5000));
        let mut line = [0; 9000];
        let octets = daemon.recv(&mut line).unwrap();
        assert!(str::from_utf8(&line[..octets]).unwrap().ends_with('é') && octets < 4050);
    }

    #[test]
    fn a_daemon_may_take_a_stream() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        let daemon = UnixListener::bind(&path).unwrap();
        let mut log = log(&path);
        log.write(Class::Delivered, "one");
        log.write(Class::Delivered, "two");
        drop(log);
        let mut text = String::new();
        daemon.accept().unwrap().0.read_to_string(&mut text).unwrap();
        assert_eq!(text.matches('\0').count(), 2, "{text}");
    }

    #[test]
    fn nobody_listens() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        log(&path).write(Class::Failed, "to nobody");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut log = log(&path);
        drop(daemon);
        log.write(Class::Failed, "to nobody any more");
        assert!(log.daemon.is_none());
    }
}
