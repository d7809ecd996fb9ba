//! SIGINT, SIGTERM and SIGHUP: the run ends in an orderly way, wherever it waits.
//!
//! The signals write into a pipe that every wait listens to. Death by a signal would be a bounce for some
//! mail systems (qmail and others), and would lose the outcomes already known.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGABRT, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

/// Told when the run is to stop.
pub struct Stop {
    told: UnixStream,
    flag: Arc<AtomicBool>,
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The input can be read, or its end has come.
    pub input: bool,
    /// The output can be written, or nobody reads it any more.
    pub output: bool,
}

impl Stop {
    /// Catches the signals. An abort (memory exhausted) exits with `abort_code` instead of killing.
    ///
    /// # Errors
    ///
    /// No descriptors or memory left.
    pub fn catch(abort_code: u8) -> io::Result<Self> {
        let (told, tell) = UnixStream::pair()?;
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
            signal_hook::low_level::pipe::register(signal, tell.try_clone()?)?;
        }
        let always = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_shutdown(SIGABRT, i32::from(abort_code), always)?;
        // A file that may not grow is an error of the write, not a death.
        signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        Ok(Self { told, flag })
    }

    /// Whether a signal has come.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Waits until one of the descriptors is ready; `None` waits for nothing there.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Interrupted`] when a signal has come, [`io::ErrorKind::TimedOut`] at `until`.
    pub fn wait(
        &self,
        input: Option<BorrowedFd<'_>>,
        output: Option<BorrowedFd<'_>>,
        until: Instant,
    ) -> io::Result<Ready> {
        let told = self.told.as_fd();
        let mut fds = [
            PollFd::from_borrowed_fd(told, PollFlags::IN),
            PollFd::from_borrowed_fd(input.unwrap_or(told), PollFlags::IN),
            PollFd::from_borrowed_fd(
                output.unwrap_or(told),
                if output.is_some() { PollFlags::OUT } else { PollFlags::IN },
            ),
        ];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(0) if left.is_zero() => return Err(io::ErrorKind::TimedOut.into()),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => break,
                Err(e) => return Err(e.into()),
            }
        }
        let [stop, read, write] = fds.map(|fd| !fd.revents().is_empty());
        if stop {
            Err(io::ErrorKind::Interrupted.into())
        } else {
            Ok(Ready { input: read && input.is_some(), output: write && output.is_some() })
        }
    }
}

/// Waits for `child` to end by itself until `until` or a signal, and else ends it: no process is left behind.
///
/// # Errors
///
/// The system does not know the child.
pub fn end_by(child: &mut Child, until: Instant, stop: &Stop) -> io::Result<ExitStatus> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= until || stop.is_told() {
            let _ = child.kill();
            return child.wait();
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
