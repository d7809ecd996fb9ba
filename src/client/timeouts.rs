//! The time limits of a session.

use std::io;
use std::time::{Duration, Instant};

use crate::lmtp::Stage;

/// How long QUIT's reply is waited for: the outcomes stand without it.
const QUIT: Duration = Duration::from_secs(1);

/// The time limits of a session. A limit covers a whole step, however slowly the server sends or reads each octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For the connection, for each reply, and for sending each 128 KiB of the message.
    pub reply: Duration,
    /// For each reply to the message, while the server stores it.
    pub delivery: Duration,
}

impl Default for Timeouts {
    /// Two minutes, and ten for the replies to the message (RFC 5321 §4.5.3.2.6).
    fn default() -> Self {
        Self { reply: Duration::from_secs(120), delivery: Duration::from_secs(600) }
    }
}

impl Timeouts {
    /// `reply` for each step, `delivery` for the replies to the message.
    #[must_use]
    pub const fn new(reply: Duration, delivery: Duration) -> Self {
        Self { reply, delivery }
    }

    /// The limit of `stage`: for a [`Transport`](crate::lmtp::Transport) of your own.
    #[must_use]
    pub fn of(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Delivery | Stage::LastChunk => self.delivery,
            Stage::Quit => QUIT.min(self.reply),
            Stage::Input
            | Stage::Connect
            | Stage::Tls
            | Stage::Greeting
            | Stage::Lhlo
            | Stage::Auth
            | Stage::Mail
            | Stage::Rcpt
            | Stage::Data
            | Stage::Chunk
            | Stage::Query => self.reply,
        }
    }
}

/// The limit in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    timeouts: Timeouts,
    limit: Duration,
    since: Instant,
}

impl Clock {
    /// Begins with connecting.
    pub(super) fn start(timeouts: Timeouts) -> Self {
        let mut clock = Self { timeouts, limit: timeouts.reply, since: Instant::now() };
        clock.enter(Stage::Connect);
        clock
    }

    pub(super) fn enter(&mut self, stage: Stage) {
        self.limit = self.timeouts.of(stage);
        self.since = Instant::now();
    }

    /// What is left of the limit.
    ///
    /// # Errors
    ///
    /// Nothing is: [`io::ErrorKind::TimedOut`], with the limit for a text.
    pub(super) fn left(&self) -> io::Result<Duration> {
        let left = self.limit.saturating_sub(self.since.elapsed());
        if left.is_zero() { Err(self.over()) } else { Ok(left) }
    }

    /// The limit is over.
    pub(super) fn over(&self) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, format!("after {} s", self.limit.as_secs_f64()))
    }
}
