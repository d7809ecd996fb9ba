//! Time limits: each stage has its own, and none goes beyond the message's deadline.

use std::io;
use std::time::{Duration, Instant};

use lmtp_send::Timeouts;
use lmtp_send::lmtp::Stage;

/// The limits of a connection, with the one in force.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// For each stage.
    timeouts: Timeouts,
    /// Nothing is waited for beyond.
    deadline: Instant,
    stage: Stage,
    until: Instant,
    /// How long replies are waited for once a signal has come.
    grace: Duration,
}

impl TimeLimits {
    /// The limits from now on, at the stage of connecting.
    #[must_use]
    pub fn new(timeouts: Timeouts, deadline: Instant) -> Self {
        let (stage, grace) = (Stage::Connect, Duration::ZERO);
        let mut limits = Self { timeouts, deadline, stage, until: deadline, grace };
        limits.enter(Stage::Connect);
        limits
    }

    /// Begins `stage`.
    pub fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.until = Instant::now().checked_add(self.limit()).map_or(self.deadline, |u| u.min(self.deadline));
    }

    /// Another message has another deadline.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
        self.enter(self.stage);
    }

    /// From now on a signal leaves what is on its way so much time.
    pub fn set_grace(&mut self, grace: Duration) {
        self.grace = grace;
    }

    /// How long what is on its way is waited for once a signal has come.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// When the stage's time is over.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }

    /// `error` with the limit named, if it is one.
    #[must_use]
    pub fn name(&self, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::TimedOut {
            return error;
        }
        let text = if self.until >= self.deadline {
            "--deadline is over".to_owned()
        } else {
            let option = if self.stage == Stage::Delivery { "--data-timeout" } else { "--timeout" };
            format!("{option} {}", self.limit().as_secs_f64())
        };
        io::Error::new(io::ErrorKind::TimedOut, text)
    }

    fn limit(&self) -> Duration {
        self.timeouts.of(self.stage)
    }
}
