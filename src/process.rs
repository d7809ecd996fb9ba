//! What this process was given: its standard descriptors, and its rights on files.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, stat};

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

/// Who we are and which part of the path turned us away.
pub fn denied(path: &Path) -> String {
    let groups: Vec<String> = rustix::process::getgroups()
        .map(|groups| groups.iter().map(|g| g.as_raw().to_string()).collect())
        .unwrap_or_default();
    let mut refusing = path;
    for part in path.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
        // A directory that cannot be searched hides what is in it.
        if fs::metadata(part.join(".")).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied) {
            refusing = part;
            break;
        }
    }
    format!(
        "permission denied at {}: we are uid {}, gid {}, groups {}",
        refusing.display(),
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
        if groups.is_empty() { "none".to_owned() } else { groups.join(",") },
    )
}
