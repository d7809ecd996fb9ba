//! The dialogue with a server, from the first attempt to connect, with the time since then.

use std::time::Instant;

use lmtp_send::lmtp::{Event, printable};

/// Turns what is said and heard into lines.
pub struct Transcript {
    started: Instant,
    server: String,
}

impl Transcript {
    /// Begins a transcript of a session with `server`.
    pub fn new(server: &str) -> Self {
        Self { started: Instant::now(), server: printable(server.as_bytes()) }
    }

    /// The line, or lines, for one event, if it is worth one.
    pub fn line(&mut self, event: &Event<'_>) -> Option<String> {
        let stamp = format!("{:9.6} {}", self.started.elapsed().as_secs_f64(), self.server);
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
