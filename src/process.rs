//! What this process was given: its standard descriptors, and its rights on files.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use lmtp_send::io_error::words;
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, stat};
use rustix::io::Errno;

use crate::exit::Kind;

/// Whether this may have been closed when the program was started. The runtime puts `/dev/null` in the place of a closed
/// standard descriptor, open for reading and writing; others (Python's DEVNULL, daemon(3)) hand it to us just so, and
/// nothing tells the one from the other. Whoever asks takes what is worse for what is true: standard input was closed,
/// and no empty message is taken from it; standard output was not, and mail is delivered though nobody reads the report.
pub fn may_have_been_closed(descriptor: impl AsFd) -> bool {
    let (Ok(status), Ok(flags)) = (fstat(&descriptor), fcntl_getfl(&descriptor)) else { return true };
    let null = stat("/dev/null").is_ok_and(|null| null.st_rdev == status.st_rdev);
    let character = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice;
    null && character && flags.contains(OFlags::RDWR)
}

/// `path`, and why it cannot be used: for EACCES with who we are and which part of the path refuses.
pub fn unusable(path: &Path, error: &io::Error) -> String {
    let why = if error.kind() == io::ErrorKind::PermissionDenied { denied(path) } else { words(error) };
    format!("{}: {why}", path.display())
}

/// The kind of trouble that it is not to be able to use a file of ours: `otherwise`, unless we may not, or the system
/// has run out of something.
pub fn kind(error: &io::Error, otherwise: Kind) -> Kind {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Kind::Exhausted,
        _ if error.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
        _ => otherwise,
    }
}

/// Who we are and which part of the path turned us away.
pub fn denied(path: &Path) -> String {
    format!("permission denied at {}: we are {}", refusing(path).display(), identity())
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
