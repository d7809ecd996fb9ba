//! The standard descriptors as they were when the program was started.

use std::os::fd::AsFd;

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, stat};

/// Whether this was closed. The runtime puts `/dev/null` in the place of a closed standard descriptor, open for
/// reading and writing as no shell opens it; nothing must be taken from there for an empty message, and nothing
/// written there for told.
pub fn was_closed(descriptor: impl AsFd) -> bool {
    let (Ok(status), Ok(flags)) = (fstat(&descriptor), fcntl_getfl(&descriptor)) else { return true };
    let null = stat("/dev/null").is_ok_and(|null| null.st_rdev == status.st_rdev);
    let character = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice;
    null && character && flags.contains(OFlags::RDWR)
}
