//! Standard error: what nobody reads there does not hold up the mail for ever.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::stop::Stop;
use crate::wait::Writer;

/// How long standard error may hold up a run that goes on, all in all, or half of the deadline if that is less:
/// servers wait five minutes for a command (RFC 5321 §4.5.3.2.7).
const MAX_HELD_UP: Duration = Duration::from_secs(150);

/// Standard error while the run goes on: what nobody reads does not hold up the mail for ever.
pub struct Stderr {
    writer: Writer,
    stop: Arc<Stop>,
    /// What is left of the time for waiting.
    patience: Duration,
}

impl Stderr {
    pub fn new(deadline: Duration, stop: &Arc<Stop>) -> Self {
        Self { writer: Writer::stderr(stop), stop: Arc::clone(stop), patience: MAX_HELD_UP.min(deadline / 2) }
    }

    pub fn say(&mut self, line: &str) -> io::Result<()> {
        let began = Instant::now();
        let said = self.say_until(line, began + self.patience);
        self.patience = self.patience.saturating_sub(began.elapsed());
        said
    }

    pub fn say_until(&mut self, line: &str, until: Instant) -> io::Result<()> {
        self.stop.clear_terminal();
        self.writer.write(format!("{line}\n").as_bytes(), until)
    }
}

/// A line on standard error, whether anybody reads that or not.
pub fn say(line: &str, limit: Duration, stop: &Arc<Stop>) {
    let now = Instant::now();
    let until = now.checked_add(limit).unwrap_or(now);
    stop.clear_terminal();
    let _ = Writer::stderr(stop).write(format!("{line}\n").as_bytes(), until);
}
