//! A server for trying the examples. It accepts mail for everybody except `nobody`, and for `busy` at the second attempt.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};

/// Serves one session over `stream`. `busy` holds the recipients that were deferred once.
pub fn serve(stream: impl Read + Write, busy: &mut HashSet<String>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut accepted = Vec::new();
    say(stream.get_mut(), "220 example LMTP")?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let verb = line.split([' ', ':']).next().unwrap_or_default();
        match verb {
            "LHLO" => say(
                stream.get_mut(),
                "250-example\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN",
            )?,
            "AUTH" => say(stream.get_mut(), "235 2.7.0 welcome")?,
            "MAIL" | "RSET" => {
                accepted.clear();
                say(stream.get_mut(), "250 2.1.0 ok")?;
            }
            "RCPT" if line.contains("<nobody") => say(stream.get_mut(), "550 5.1.1 no such user")?,
            "RCPT" => {
                accepted.push(line.to_owned());
                say(stream.get_mut(), "250 2.1.5 ok")?;
            }
            "DATA" if accepted.is_empty() => say(stream.get_mut(), "503 5.5.1 no recipients")?,
            "DATA" => {
                say(stream.get_mut(), "354 go on")?;
                let octets = take_message(&mut stream)?;
                for recipient in accepted.drain(..) {
                    let later = recipient.contains("<busy") && busy.insert(recipient);
                    let stored = format!("250 2.0.0 stored {octets} octets");
                    say(stream.get_mut(), if later { "451 4.2.0 come again" } else { &stored })?;
                }
            }
            "QUIT" => return say(stream.get_mut(), "221 2.0.0 bye"),
            _ => say(stream.get_mut(), "500 5.5.1 what?")?,
        }
    }
}

fn say(stream: &mut impl Write, reply: &str) -> io::Result<()> {
    stream.write_all(format!("{reply}\r\n").as_bytes())?;
    stream.flush()
}

/// Reads up to the lone dot, and returns the number of octets.
fn take_message(stream: &mut impl BufRead) -> io::Result<usize> {
    let mut octets = 0;
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line)? == 0 || line == b".\r\n" {
            return Ok(octets);
        }
        octets += line.len() - usize::from(line.starts_with(b"."));
    }
}
