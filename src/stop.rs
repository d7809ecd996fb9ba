//! SIGINT, SIGTERM and SIGHUP: the run ends in an orderly way, wherever it waits. And the children of this process.
//!
//! The signals write into a pipe that every wait listens to. Death by a signal would be a bounce for some
//! mail systems (qmail and others), and would lose the outcomes already known. A message whose end has been sent has
//! a short grace to get its replies. A second signal ends the run at once.
//! A signal that was ignored at the start stays ignored: `nohup` and `trap '' HUP` mean it.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGABRT, SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::low_level::pipe;

/// The variable of the environment that a password comes from if no option says so. No child process has it.
pub const PASSWORD: &str = "LMTP_SEND_PASSWORD";

/// The variable that names the signals that were ignored when the program was started, by letters; none is set where
/// none was. See `before_main.c`.
const IGNORED_SIGNALS: &str = "IGNORED_SIGNALS_OF_LMTP_SEND";

/// Signals that come so soon after the first are the same one: timeout(1) signals its child and then the group.
const SAME_SIGNAL: Duration = Duration::from_millis(50);
/// How long what is known already may still be written after a signal.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often somebody who watches is told that a wait goes on.
const TICK: Duration = Duration::from_millis(500);

/// Told when the run is to stop.
pub struct Stop {
    /// Can be read once a signal has come; `None`: none is caught.
    wake: Option<UnixStream>,
    flag: Arc<AtomicBool>,
    /// The signals that are caught: those that were not ignored.
    caught: Vec<i32>,
    /// When the first signal was noticed.
    noticed: OnceLock<Instant>,
    /// How long after the first signal something was still waited for, in milliseconds.
    grace_used: AtomicU64,
    /// The exit code of a second signal.
    code: AtomicU8,
    /// Whether children can be waited for.
    children: OnceLock<()>,
    /// Who shows what is waited for, if anybody sits at a terminal.
    watcher: OnceLock<Arc<dyn Watcher>>,
}

/// Shows a person what is waited for.
pub trait Watcher: Send + Sync {
    /// This thread now waits for `wait`, or for nothing in particular; returns what it waited for before.
    fn set(&self, wait: Option<Wait>) -> Option<Wait>;
    /// A wait begins or goes on.
    fn tick(&self);
    /// Something else is about to be written to the terminal.
    fn clear(&self);
}

/// What is waited for, as in "waiting for the greeting", and since when.
#[derive(Clone, Debug)]
pub struct Wait {
    /// Empty: a person knows, and is not to be disturbed.
    pub what: String,
    /// It began then, or something moved then.
    pub since: Instant,
}

impl Wait {
    /// From now on.
    pub fn new(what: String) -> Self {
        Self { what, since: Instant::now() }
    }
}

/// As long as it lives, something is waited for.
#[must_use = "the wait ends when this is dropped"]
pub struct Waiting<'a> {
    watcher: Option<&'a dyn Watcher>,
    before: Option<Wait>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher {
            watcher.set(self.before.take());
        }
    }
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
    /// Catches the signals. An abort (memory exhausted) and a second signal exit with `code` instead of killing.
    ///
    /// # Errors
    ///
    /// No descriptors or memory left.
    pub fn catch(code: u8) -> io::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        let flag = Arc::new(AtomicBool::new(false));
        let ignored = env::var(IGNORED_SIGNALS).unwrap_or_default();
        let signals = [('I', SIGINT), ('T', SIGTERM), ('H', SIGHUP)];
        let caught = signals.iter().filter(|(name, _)| !ignored.contains(*name)).map(|(_, signal)| *signal);
        let caught: Vec<i32> = caught.collect();
        for &signal in &caught {
            flag::register(signal, Arc::clone(&flag))?;
            pipe::register(signal, waker.try_clone()?)?;
        }
        let always = Arc::new(AtomicBool::new(true));
        flag::register_conditional_shutdown(SIGABRT, i32::from(code), always)?;
        // A file that may not grow is an error of the write, not a death.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        // Where none is caught nobody holds the other end, and that would be taken for a signal.
        let wake = (!caught.is_empty()).then_some(wake);
        Ok(Self { wake, flag, caught, ..Self::uncaught(code) })
    }

    /// For a run that cannot even catch signals, and has only to say so.
    #[must_use]
    pub fn uncaught(code: u8) -> Self {
        Self {
            wake: None,
            flag: Arc::default(),
            caught: Vec::new(),
            noticed: OnceLock::new(),
            grace_used: AtomicU64::new(0),
            code: AtomicU8::new(code),
            children: OnceLock::new(),
            watcher: OnceLock::new(),
        }
    }

    /// From now on `watcher` shows what is waited for.
    pub fn watch(&self, watcher: Arc<dyn Watcher>) {
        let _ = self.watcher.set(watcher);
    }

    /// Who shows what is waited for, if anybody does.
    pub fn watcher(&self) -> Option<&dyn Watcher> {
        self.watcher.get().map(AsRef::as_ref)
    }

    /// What this thread waits for goes on.
    pub fn tick(&self) {
        if let Some(watcher) = self.watcher() {
            watcher.tick();
        }
    }

    /// Something is about to be written to what may be the terminal.
    pub fn clear_terminal(&self) {
        if let Some(watcher) = self.watcher() {
            watcher.clear();
        }
    }

    /// Says that this thread waits for `what`, as long as the result lives.
    pub fn waiting(&self, what: impl FnOnce() -> String) -> Waiting<'_> {
        self.wait_of(|| Wait::new(what()))
    }

    /// As [`Stop::waiting`], for a wait that may have begun before.
    pub fn wait_of(&self, wait: impl FnOnce() -> Wait) -> Waiting<'_> {
        let watcher = self.watcher();
        let before = watcher.and_then(|watcher| watcher.set(Some(wait())));
        Waiting { watcher, before }
    }

    /// From now on a second signal exits with `code`.
    pub fn set_code(&self, code: u8) {
        self.code.store(code, Ordering::Relaxed);
    }

    /// Whether a signal has come.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        let requested = self.flag.load(Ordering::Relaxed);
        if requested {
            self.notice();
        }
        requested
    }

    /// When the run has to be silent, once a signal has come: until then what is known may be written.
    #[must_use]
    pub fn last_words(&self) -> Option<Instant> {
        let used = Duration::from_millis(self.grace_used.load(Ordering::Relaxed));
        self.is_requested().then(|| self.notice() + used + LAST_WORDS)
    }

    /// Whether a signal has come, and what may be waited for all the same for `grace` after it has had that time.
    #[must_use]
    pub fn is_over(&self, grace: Duration) -> bool {
        self.is_requested() && (grace.is_zero() || self.notice().elapsed() >= grace)
    }

    /// When the first signal was noticed. From then on another one ends the run at once.
    fn notice(&self) -> Instant {
        *self.noticed.get_or_init(|| {
            sleep(SAME_SIGNAL);
            let code = i32::from(self.code.load(Ordering::Relaxed));
            let always = Arc::new(AtomicBool::new(true));
            for &signal in &self.caught {
                // Without memory for that there is one end less, and no harm.
                let _ = flag::register_conditional_shutdown(signal, code, Arc::clone(&always));
            }
            Instant::now()
        })
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
        let (stop, ready) = self.wait_for(self.wake.as_ref().map(AsFd::as_fd), input, output, until)?;
        if stop {
            self.notice();
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(ready)
    }

    /// Waits for `wake` as well, and says whether that can be read.
    fn wait_for(
        &self,
        wake: Option<BorrowedFd<'_>>,
        input: Option<BorrowedFd<'_>>,
        output: Option<BorrowedFd<'_>>,
        until: Instant,
    ) -> io::Result<(bool, Ready)> {
        let Some(any) = wake.or(input).or(output) else {
            sleep(until.saturating_duration_since(Instant::now()));
            return Err(io::ErrorKind::TimedOut.into());
        };
        // Nothing is asked of a descriptor that only fills a place.
        let asking = |fd: Option<BorrowedFd<'_>>, what| if fd.is_some() { what } else { PollFlags::empty() };
        let mut fds = [
            PollFd::from_borrowed_fd(any, asking(wake, PollFlags::IN)),
            PollFd::from_borrowed_fd(input.unwrap_or(any), asking(input, PollFlags::IN)),
            PollFd::from_borrowed_fd(output.unwrap_or(any), asking(output, PollFlags::OUT)),
        ];
        // Asking for the same descriptor twice costs as much as asking for another.
        let asked = if output.is_some() { 3 } else { 1 + usize::from(input.is_some()) };
        self.poll(fds.get_mut(..asked).unwrap_or_default(), until)?;
        let [stop, read, write] = fds.map(|fd| !fd.revents().is_empty());
        let ready = Ready { input: read && input.is_some(), output: write && output.is_some() };
        Ok((stop && wake.is_some(), ready))
    }

    /// As [`Stop::wait`], but a signal leaves it `grace` from when it came: what is on its way may still be known.
    ///
    /// # Errors
    ///
    /// As [`Stop::wait`].
    pub fn wait_with_grace(
        &self,
        input: Option<BorrowedFd<'_>>,
        output: Option<BorrowedFd<'_>>,
        until: Instant,
        grace: Duration,
    ) -> io::Result<Ready> {
        if !self.is_requested() {
            match self.wait(input, output, until) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted && !self.is_over(grace) => {}
                waited => return waited,
            }
        }
        let noticed = self.notice();
        let end = noticed + grace;
        let waited = self.wait_for(None, input, output, until.min(end));
        let used = u64::try_from(noticed.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.grace_used.fetch_max(used, Ordering::Relaxed);
        match waited {
            Err(e) if e.kind() == io::ErrorKind::TimedOut && end < until => {
                Err(io::ErrorKind::Interrupted.into())
            }
            waited => waited.map(|(_, ready)| ready),
        }
    }

    /// Waits for one of `fds`, and has it shown where somebody watches.
    fn poll(&self, fds: &mut [PollFd<'_>], until: Instant) -> io::Result<()> {
        let Some(watcher) = self.watcher() else { return poll_until(fds, until) };
        loop {
            watcher.tick();
            match poll_until(fds, until.min(Instant::now() + TICK)) {
                Err(e) if e.kind() == io::ErrorKind::TimedOut && Instant::now() < until => {}
                ready => return ready,
            }
        }
    }

    /// Waits for `pause`, or until `until` if that is sooner.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Interrupted`] when a signal has come, [`io::ErrorKind::TimedOut`] at `until`.
    pub fn pause(&self, pause: Duration, until: Instant) -> io::Result<()> {
        let end = Instant::now() + pause;
        match self.wait(None, None, end.min(until)) {
            Err(e) if e.kind() == io::ErrorKind::TimedOut && Instant::now() < until => Ok(()),
            waited => waited.map(drop),
        }
    }

    /// A program to be run as a child: it is not told the password, and finds SIGCHLD as it should be, also where
    /// whoever started us ignores that signal (then no child could be waited for).
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        // What is caught has its default in the child.
        self.children.get_or_init(|| drop(flag::register(SIGCHLD, Arc::new(AtomicBool::new(false)))));
        let mut command = Command::new(program);
        command.env_remove(PASSWORD).env_remove(IGNORED_SIGNALS);
        command
    }
}

/// Waits until one of `fds` is ready, whatever else happens.
///
/// # Errors
///
/// [`io::ErrorKind::TimedOut`] at `until`.
pub fn poll_until(fds: &mut [PollFd<'_>], until: Instant) -> io::Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match poll(fds, Some(&timespec(left))) {
            Ok(0) if left.is_zero() => return Err(io::ErrorKind::TimedOut.into()),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(e) => return Err(e.into()),
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
        if Instant::now() >= until || stop.is_requested() {
            let _ = child.kill();
            return child.wait();
        }
        stop.tick();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_at_the_limit() {
        let stop = Stop::catch(75).unwrap();
        let now = Instant::now();
        stop.pause(Duration::from_millis(2), now + Duration::from_secs(60)).unwrap();
        assert_eq!(stop.pause(Duration::from_secs(60), now).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
