//! What this process was given: its standard descriptors, and its rights on files.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use lmtp_send::io_error::words;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::Errno;

use crate::exit::Kind;

/// Whether this was not open for what it is wanted for when the program was started (see `before_main.c`): nothing
/// must be taken from there for an empty message, and nothing written there for told.
pub fn was_closed(descriptor: impl AsFd, access: Access) -> bool {
    let refused = match access {
        Access::Read => OFlags::WRONLY,
        Access::Write => OFlags::RDONLY,
    };
    fcntl_getfl(&descriptor).map_or(true, |flags| flags & OFlags::ACCMODE == refused)
}

/// Whether `path` names a standard stream that [was closed](was_closed): what stands in its place could be opened by it.
pub fn is_closed_stream(path: &Path) -> bool {
    let is_any = |names: [&str; 3]| names.iter().any(|name| path.as_os_str() == *name);
    (is_any(["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
        && was_closed(rustix::stdio::stdin(), Access::Read))
        || (is_any(["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
            && was_closed(rustix::stdio::stdout(), Access::Write))
}

/// What a descriptor is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Standard input.
    Read,
    /// Standard output.
    Write,
}

/// `path`, and why it cannot be used: for EACCES with who we are and which part of the path refuses.
pub fn unusable(path: &Path, error: &io::Error) -> String {
    let why = if error.kind() == io::ErrorKind::PermissionDenied { denied(path) } else { why(error) };
    format!("{}: {why}", path.display())
}

/// What ended the waiting for something of ours, or the system's error, in words.
pub fn why(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::TimedOut {
        "it took too long (--timeout or --deadline)".into()
    } else if error.kind() == io::ErrorKind::Interrupted {
        "stopped by a signal".into()
    } else {
        words(error)
    }
}

/// The kind of error that it is not to be able to use something of ours: `otherwise`, unless we may not, a signal ended
/// the waiting for it, or the system has run out of something.
pub fn kind(error: &io::Error, otherwise: Kind) -> Kind {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Kind::Exhausted,
        _ if error.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
        _ if error.kind() == io::ErrorKind::Interrupted => Kind::Stopped,
        _ => otherwise,
    }
}

/// Who we are and which part of the path turned us away.
pub fn denied(path: &Path) -> String {
    format!("permission denied at {} (running as {})", refusing(path).display(), identity())
}

/// Our effective uid, gid, and further groups.
fn identity() -> String {
    let groups: Vec<String> = rustix::process::getgroups()
        .map(|groups| groups.iter().map(|g| g.as_raw().to_string()).collect())
        .unwrap_or_default();
    let groups = if groups.is_empty() { "none".to_owned() } else { groups.join(",") };
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    format!("uid {}, gid {}, groups {groups}", uid.as_raw(), gid.as_raw())
}

/// The first directory on the way to `path` that cannot be searched, which hides what is in it; else the last part
/// that is there: what was to be made below it was refused.
fn refusing(path: &Path) -> &Path {
    let is_denied = |e: io::Error| e.kind() == io::ErrorKind::PermissionDenied;
    let unsearchable = |part: &&Path| fs::metadata(part.join(".")).is_err_and(is_denied);
    let mut ancestors: Vec<&Path> = path.ancestors().skip(1).collect();
    ancestors.reverse();
    if let Some(part) = ancestors.into_iter().find(unsearchable) {
        return part;
    }
    let there = path.ancestors().find(|part| fs::symlink_metadata(named(part)).is_ok());
    named(there.unwrap_or(path))
}

/// The directory that we are in has no name at the end of a relative path's ancestors.
fn named(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
