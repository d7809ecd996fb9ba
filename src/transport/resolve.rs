//! A host's addresses, within a time limit.
//!
//! The system's look-up cannot be interrupted, so it runs on a thread that is left behind when time is over.
//! A statically linked program must not load the system's look-up modules (they belong to the system's C
//! library, which may be another version): where `/etc/nsswitch.conf` asks for more than `files` and `dns`,
//! which are part of the program, the system's own `getent` is asked. It says the same of a name that does not exist
//! and of one that cannot be looked up now: the former is believed only when the DNS says so.

mod dns;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Instant;
use std::{fs, io, thread};

use lmtp_send::io_error::words;

use crate::stop::Stop;
use crate::wait::{self, Wanted};

/// The longest answer of getent(1), in octets.
const MAX_ANSWER: usize = 64 * 1024;

/// Why there are no addresses.
#[derive(Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// The name does not exist.
    NoSuchName,
    /// The look-up failed; it may succeed later.
    Failed(String),
    /// It took too long.
    TimedOut,
    /// The run was told to stop.
    Stopped,
}

/// The addresses of `name`, in the system's order of preference.
///
/// # Errors
///
/// [`Unresolved`].
pub fn resolve(name: &str, port: u16, until: Instant, stop: &Stop) -> Result<Vec<SocketAddr>, Unresolved> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    if cfg!(statically_linked)
        && needs_modules(&fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default())
        && let Some(found) = ask_getent(name, port, until, stop)
    {
        return found;
    }
    let (done, signal) = UnixStream::pair().map_err(Unresolved::from)?;
    let (send, receive) = mpsc::channel();
    let name = name.to_owned();
    let work = move || {
        let _ = send.send(look_up(&name, port));
        drop(signal);
    };
    thread::Builder::new().spawn(work).map_err(Unresolved::from)?;
    match stop.wait(Some(done.as_fd()), None, until) {
        Ok(_) => receive.recv().unwrap_or_else(|_| Err(Unresolved::Failed("the look-up ended".into()))),
        Err(e) => Err(e.into()),
    }
}

impl From<io::Error> for Unresolved {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut {
            Unresolved::TimedOut
        } else if error.kind() == io::ErrorKind::Interrupted {
            Unresolved::Stopped
        } else {
            Unresolved::Failed(words(&error))
        }
    }
}

fn look_up(name: &str, port: u16) -> Result<Vec<SocketAddr>, Unresolved> {
    match (name, port).to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        // The standard library tells the resolver's errors apart by their text only.
        Err(e) => {
            let text = words(&e);
            let missing = ["Name or service not known", "No address associated", "Name does not resolve"];
            if missing.iter().any(|m| text.contains(m)) {
                Err(Unresolved::NoSuchName)
            } else {
                Err(Unresolved::Failed(text))
            }
        }
    }
}

/// Whether the `hosts` line of nsswitch.conf(5) names a service besides `files` and `dns`.
fn needs_modules(configuration: &str) -> bool {
    let hosts = configuration.lines().find_map(|line| line.trim().strip_prefix("hosts:"));
    let services = hosts.unwrap_or_default().split('#').next().unwrap_or_default();
    let mut in_action = false;
    services.split_whitespace().any(|word| {
        let action = in_action || word.starts_with('[');
        in_action = action && !word.ends_with(']');
        !action && !matches!(word, "files" | "dns")
    })
}

/// What `getent ahosts` says; `None` where there is no such program.
fn ask_getent(
    name: &str,
    port: u16,
    until: Instant,
    stop: &Stop,
) -> Option<Result<Vec<SocketAddr>, Unresolved>> {
    let mut getent = stop.command("getent");
    let asked = getent.args(["ahosts", "--", name]);
    let (answer, status) = match wait::output(asked, Wanted::All, MAX_ANSWER, until, stop) {
        Ok(answered) => answered,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
        Err(e) => return Some(Err(e.into())),
    };
    let text = String::from_utf8_lossy(&answer);
    let mut found: Vec<SocketAddr> = Vec::new();
    for address in text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()) {
        let address = SocketAddr::new(address, port);
        if !found.contains(&address) {
            found.push(address);
        }
    }
    Some(match (found.is_empty(), status.code()) {
        (false, _) => Ok(found),
        // Its word for a name that is not there, and for one that could not be looked up.
        (true, Some(2)) if dns::denies(name, until, stop) => Err(Unresolved::NoSuchName),
        (true, Some(2)) => Err(Unresolved::Failed("temporary failure in name resolution".into())),
        (true, _) => Err(Unresolved::Failed(format!("getent: {status}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_told_without_numbers() {
        let too_many = io::Error::from_raw_os_error(24);
        assert_eq!(Unresolved::from(too_many), Unresolved::Failed("Too many open files".into()));
    }

    #[test]
    fn only_services_of_the_program_itself_are_looked_up_in_it() {
        for (line, needs) in [
            ("", false),
            ("hosts: files dns", false),
            ("hosts:files [!UNAVAIL=return] dns # mdns", false),
            ("passwd: files systemd\nhosts:          files mdns4_minimal [NOTFOUND=return] dns", true),
            ("hosts: files [ NOTFOUND = return ] dns myhostname", true),
        ] {
            assert_eq!(needs_modules(line), needs, "{line}");
        }
    }
}
