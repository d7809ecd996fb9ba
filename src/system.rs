//! What only some systems have, with what does as well elsewhere. All else of the program is POSIX.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

/// Whether [`send_file`] can be had.
pub const SENDS_FILES: bool = cfg!(target_os = "linux");

/// Sends `octets` from the position `at` of `file`, without copying them; how many, and `at` behind them.
///
/// # Errors
///
/// The socket's or the file's; elsewhere than on Linux [`Errno::NOSYS`].
#[cfg(target_os = "linux")]
pub fn send_file(socket: impl AsFd, file: impl AsFd, at: &mut u64, octets: usize) -> Result<usize, Errno> {
    rustix::fs::sendfile(socket, file, Some(at), octets)
}

#[cfg(not(target_os = "linux"))]
pub fn send_file(_: impl AsFd, _: impl AsFd, _: &mut u64, _: usize) -> Result<usize, Errno> {
    Err(Errno::NOSYS)
}

/// Lets `pipe` hold `octets`, as far as that is allowed: fewer turns for a long message.
#[cfg(target_os = "linux")]
pub fn widen(pipe: impl AsFd, octets: usize) {
    use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

    if fcntl_getpipe_size(&pipe).is_ok_and(|size| size < octets) {
        let _ = fcntl_setpipe_size(&pipe, octets);
    }
}

#[cfg(not(target_os = "linux"))]
pub fn widen(_: impl AsFd, _: usize) {}

/// Makes sure that the first `octets` of `file` find room on the disk; its length stays.
///
/// # Errors
///
/// There is no room, or the file system cannot tell; elsewhere than on Linux [`Errno::NOSYS`].
#[cfg(target_os = "linux")]
pub fn reserve(file: impl AsFd, octets: u64) -> Result<(), Errno> {
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, octets)
}

#[cfg(not(target_os = "linux"))]
pub fn reserve(_: impl AsFd, _: u64) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// Writes what `fd`, a pipe or a socket in whichever mode, takes without waiting.
///
/// # Errors
///
/// The system's, [`Errno::AGAIN`] where it takes nothing now; elsewhere than on Linux [`Errno::NOSYS`].
#[cfg(target_os = "linux")]
pub fn write_without_waiting(fd: impl AsFd, octets: &[u8]) -> Result<usize, Errno> {
    use rustix::io::{ReadWriteFlags, pwritev2};

    // At the current position.
    pwritev2(fd, &[io::IoSlice::new(octets)], u64::MAX, ReadWriteFlags::NOWAIT)
}

#[cfg(not(target_os = "linux"))]
pub fn write_without_waiting(_: impl AsFd, _: &[u8]) -> Result<usize, Errno> {
    Err(Errno::NOSYS)
}

/// The address of a socket that has a name and no file.
///
/// # Errors
///
/// The name is too long; elsewhere than on Linux [`Errno::NOTSUP`].
#[cfg(target_os = "linux")]
pub fn abstract_socket(name: &[u8]) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
pub fn abstract_socket(_: &[u8]) -> Result<SocketAddrUnix, Errno> {
    Err(Errno::NOTSUP)
}

/// A socket that no program of ours inherits; `waits`: its calls do.
///
/// # Errors
///
/// No descriptors or memory left.
#[cfg(not(target_vendor = "apple"))]
pub fn stream_socket(family: AddressFamily, waits: bool) -> Result<OwnedFd, Errno> {
    use rustix::net::{SocketFlags, socket_with};

    let flags = if waits { SocketFlags::empty() } else { SocketFlags::NONBLOCK };
    socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | flags, None)
}

#[cfg(target_vendor = "apple")]
pub fn stream_socket(family: AddressFamily, waits: bool) -> Result<OwnedFd, Errno> {
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, !waits)?;
    Ok(socket)
}

/// A file without a name, in memory where that can be had.
///
/// # Errors
///
/// No descriptors, memory or disk left.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub fn nameless_file() -> io::Result<File> {
    let file = rustix::fs::memfd_create("lmtp-send", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(File::from(file))
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
pub fn nameless_file() -> io::Result<File> {
    tempfile::tempfile()
}
