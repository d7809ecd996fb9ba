//! Where a message's octets are: in memory, in the file they were given in, or in a temporary file.
//!
//! A file is never mapped into memory (it may shrink, and that would kill the program); it is read by position,
//! so whoever else has the descriptor is not disturbed.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};

/// The octets as they came, with what is before and behind the message.
pub(super) enum Store {
    /// A short stream, or a file that is so small that holding it costs less than reading it again.
    Memory(Vec<u8>),
    /// A file, and what it was when it was read; our own temporary one has no identity, for nobody else can
    /// write to it.
    File(File, Option<FileIdentity>),
}

impl Store {
    /// Reads at a position; 0 octets at the end.
    pub(super) fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Store::File(file, _) => file.read_at(buf, at),
            Store::Memory(octets) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                octets.get(at..).unwrap_or_default().read(buf)
            }
        }
    }

    /// The first 64 KiB.
    pub(super) fn beginning(&self) -> Vec<u8> {
        let mut octets = vec![0; 64 * 1024];
        // Whoever cannot read it will hear of that when it is sent.
        let read = self.read_at(&mut octets, 0).unwrap_or(0);
        octets.truncate(read);
        octets
    }

    /// Whether this still is what was read: a file that somebody writes to is not.
    ///
    /// # Errors
    ///
    /// It is not, or that cannot be told.
    pub(super) fn is_unchanged(&self) -> io::Result<()> {
        match self {
            Store::File(file, Some(identity)) => identity.still_is(&FileIdentity::of(&file.metadata()?)),
            Store::File(_, None) | Store::Memory(_) => Ok(()),
        }
    }
}

/// Which file, and in which state: what is enough to tell that its octets still are those that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    /// In octets.
    length: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl FileIdentity {
    /// The identity of the file with this metadata.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// The file's length in octets.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether the file that is `now` at hand is this one, and nobody has written to it.
    ///
    /// # Errors
    ///
    /// What is different.
    pub fn still_is(&self, now: &FileIdentity) -> io::Result<()> {
        let why = if (now.device, now.inode) != (self.device, self.inode) {
            "the file has been replaced since it was read"
        } else if now.length > self.length {
            "the file has grown since it was read"
        } else if now != self {
            "the file has been changed since it was read"
        } else {
            return Ok(());
        };
        Err(io::Error::other(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_device_inode_length_and_time() {
        let read = FileIdentity { device: 1, inode: 2, length: 3, modified: (4, 5) };
        for (now, why) in [
            (read, None),
            (FileIdentity { device: 9, ..read }, Some("been replaced")),
            (FileIdentity { inode: 9, ..read }, Some("been replaced")),
            (FileIdentity { length: 9, ..read }, Some("grown")),
            (FileIdentity { length: 9, modified: (9, 0), ..read }, Some("grown")),
            (FileIdentity { length: 2, ..read }, Some("changed")),
            (FileIdentity { modified: (4, 6), ..read }, Some("changed")),
            (FileIdentity { modified: (3, 5), ..read }, Some("changed")),
        ] {
            let found = read.still_is(&now).err().map(|e| e.to_string());
            assert_eq!(found.is_some(), why.is_some(), "{now:?}");
            assert!(found.unwrap_or_default().contains(why.unwrap_or_default()), "{now:?}");
        }
    }
}
