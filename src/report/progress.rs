//! A line on the terminal for a message that takes long to send.

use std::time::{Duration, Instant};

use lmtp_send::lmtp::Event;

/// How long a message may take before anything is shown of it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the line is renewed.
const PAUSE: Duration = Duration::from_millis(200);
/// Moves to the beginning of the line and clears it (ECMA-48, EL).
const CLEAR: &str = "\r\x1b[K";

/// What is shown, and since when.
#[derive(Default)]
pub struct Progress {
    began: Option<Instant>,
    shown: Option<Instant>,
}

impl Progress {
    /// What is to be put on the terminal at `now`, without a line end.
    pub fn note(&mut self, event: &Event<'_>, now: Instant) -> Option<String> {
        let Event::Sending { octets, of } = event else {
            self.began = None;
            return self.shown.take().map(|_| CLEAR.to_owned());
        };
        let began = *self.began.get_or_insert(now);
        let waited = self.shown.map_or(now - began >= PATIENCE, |shown| now - shown >= PAUSE);
        waited.then(|| {
            self.shown = Some(now);
            format!("{CLEAR}{} % of {:.1} MiB", octets * 100 / (*of).max(1), *of as f64 / f64::from(1 << 20))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_long_is_shown_and_it_is_cleared_away() {
        let mut progress = Progress::default();
        let start = Instant::now();
        let mut at = |ms: u64, octets| {
            let event = Event::Sending { octets, of: 4 << 20 };
            progress.note(&event, start + Duration::from_millis(ms))
        };
        assert_eq!(at(0, 0), None);
        assert_eq!(at(900, 1 << 20), None);
        assert_eq!(at(1100, 2 << 20).as_deref(), Some("\r\x1b[K50 % of 4.0 MiB"));
        assert_eq!(at(1200, 3 << 20), None, "not too often");
        assert_eq!(at(1400, 3 << 20).as_deref(), Some("\r\x1b[K75 % of 4.0 MiB"));
        assert_eq!(progress.note(&Event::SentMessage(4 << 20), start).as_deref(), Some(CLEAR));
        assert_eq!(progress.note(&Event::Sent("."), start), None);
    }
}
