//! The dialogue with a server, from the first attempt to connect, with the time since then.

use std::sync::OnceLock;
use std::time::Instant;

use lmtp_send::lmtp::{Event, printable};

/// The first attempt of the run to connect.
static FIRST: OnceLock<Instant> = OnceLock::new();

/// Turns what is said and heard into lines.
pub struct Transcript {
    first: Instant,
    server: String,
}

impl Transcript {
    /// Begins a transcript of a session with `server`. Its times go on from those of the sessions before it.
    pub fn new(server: &str) -> Self {
        Self { first: *FIRST.get_or_init(Instant::now), server: printable(server.as_bytes()) }
    }

    /// The line, or lines, for one event, if it is worth one.
    pub fn line(&mut self, event: &Event<'_>) -> Option<String> {
        let stamp = format!("{:9.6} {}", self.first.elapsed().as_secs_f64(), self.server);
        Some(match event {
            Event::Note(text) => format!("{stamp} -- {}", printable(text.as_bytes())),
            Event::Sent(command) => format!("{stamp} C: {}", printable(command.as_bytes())),
            Event::SentMessage(octets) => format!("{stamp} C: [message, {octets} octets]"),
            Event::Received(reply) => {
                let lines: Vec<&str> = reply.lines().collect();
                let last = lines.len() - 1;
                let status = reply.enhanced().map(|e| format!("{e} ")).unwrap_or_default();
                let line = |(i, text): (usize, &&str)| {
                    let mark = if i == last { ' ' } else { '-' };
                    format!("{stamp} S: {}{mark}{status}{text}", reply.code())
                };
                lines.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
            }
            Event::Sending { .. } | _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_another_attempt_go_on_from_the_first() {
        let first = Transcript::new("a");
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert_eq!(Transcript::new("b").first, first.first);
    }
}
