//! A scripted LMTP server and a runner for the program: what the conversations and the disasters are made of.
//!
//! The server ([`Server`]) listens on a free port of 127.0.0.1 or on a Unix socket in a directory of its own,
//! plays one script for each connection on a thread, and knows only octets: nothing in here parses or
//! answers by itself. A script is code over a [`Peer`]; its first broken expectation ends it.
//!
//! Guarantees: a script that was violated, or never used, or a connection too many, fails the test, in
//! [`Server::finish`] or at the latest when the server is dropped. Every wait has a bound ([`PATIENCE`]), so
//! that a client that hangs is a failure and not a stuck suite. No test sleeps where it can wait for an event.
//!
//! What it does not do: TLS, and being clever.

mod client;
mod peer;
mod server;

use std::time::Duration;

pub use client::{Client, Ran, Running, agrees, complete, full};
pub use peer::{Halted, Peer, Played, halt, matches, poll_one};
pub use server::{Heard, Script, Server, script};

/// How long the server waits for the client before it calls the script violated.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The message of the tests that are not about messages.
pub const HELLO: &[u8] = include_bytes!("../messages/hello.eml");

/// `message` as the mailbox is to receive it (contract, section 3), without the dots of DATA: every line end is CRLF,
/// a lone CR is a space, the last line has an end.
pub fn canonical(message: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(message.len() + 64);
    let mut octets = message.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'\r' if octets.peek() == Some(&b'\n') => {}
            b'\r' => lines.push(b' '),
            b'\n' => lines.extend(b"\r\n"),
            other => lines.push(other),
        }
    }
    if !lines.is_empty() && !lines.ends_with(b"\r\n") {
        lines.extend(b"\r\n");
    }
    lines
}

/// [`canonical`] octets as DATA sends them, without the final dot: a line that begins with a dot gets another.
pub fn stuffed(canonical: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(canonical.len() + 64);
    for line in canonical.split_inclusive(|&octet| octet == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend(line);
    }
    wire
}

/// Whether `octets` hold the end of a message as DATA sends it.
pub fn holds_final_dot(octets: &[u8]) -> bool {
    memchr::memmem::find(octets, b"\r\n.\r\n").is_some()
}

mod tests {
    //! The harness itself, played against by hand.

    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn connect(server: &Server) -> TcpStream {
        let stream = TcpStream::connect(server.name()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn told(server: Server) -> String {
        server.outcome().expect_err("the script was violated, and nobody noticed")
    }

    #[test]
    fn a_script_that_is_kept_gives_what_was_heard() {
        let server = Server::tcp(|peer| {
            peer.say("220 hi")?;
            peer.expect("LHLO {any}")?;
            peer.expect("QUIT")?;
            peer.say("221 bye")?;
            peer.end()
        });
        let mut client = connect(&server);
        client.write_all(b"LHLO me\r").unwrap();
        client.write_all(b"\nQUIT\r\n").unwrap();
        let mut all = String::new();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        client.read_to_string(&mut all).unwrap();
        assert_eq!(all, "220 hi\r\n221 bye\r\n");
        let heard = server.finish();
        assert_eq!(heard[0].octets, b"LHLO me\r\nQUIT\r\n");
        assert_eq!(heard[0].turns, 1, "the client had to wait for the greeting only");
    }

    #[test]
    fn a_wrong_line_is_told() {
        let server = Server::tcp(|peer| peer.expect("LHLO {any}"));
        connect(&server).write_all(b"EHLO me\r\n").unwrap();
        let told = told(server);
        assert!(told.contains("LHLO {any}") && told.contains("EHLO me"), "{told}");
    }

    #[test]
    fn a_line_that_ends_in_lf_only_is_told() {
        let server = Server::tcp(|peer| peer.expect("LHLO {any}"));
        connect(&server).write_all(b"LHLO me\n").unwrap();
        assert!(told(server).contains("without a CR"));
    }

    #[test]
    fn a_client_that_goes_away_is_told() {
        let server = Server::tcp(|peer| peer.expect("LHLO {any}"));
        connect(&server).write_all(b"LHLO").unwrap();
        assert!(told(server).contains("the client has closed"));
    }

    #[test]
    fn a_script_nobody_played_is_told() {
        assert!(told(Server::tcp(|peer| peer.end())).contains("nobody connected"));
        let two = Server::tcp_in_turn(vec![script(|_| Ok(())), script(|peer| peer.end())]);
        drop(connect(&two));
        assert!(told(two).contains("connection 2"));
    }

    #[test]
    fn a_connection_too_many_is_told() {
        let server = Server::tcp(|_| Ok(()));
        drop(connect(&server));
        drop(connect(&server));
        assert!(told(server).contains("one connection too many"));
    }

    #[test]
    fn what_comes_behind_the_end_is_told() {
        let server = Server::tcp(|peer| {
            peer.expect("QUIT")?;
            peer.end()
        });
        connect(&server).write_all(b"QUIT\r\nRSET\r\n").unwrap();
        assert!(told(server).contains("RSET"));
    }

    #[test]
    fn a_message_is_taken_as_it_stands_on_the_wire() {
        let server = Server::tcp(|peer| {
            assert_eq!(peer.message()?, b"a\r\n..b\r\n");
            assert_eq!(peer.message()?, b"");
            peer.end()
        });
        connect(&server).write_all(b"a\r\n..b\r\n.\r\n.\r\n").unwrap();
        server.finish();
    }

    #[test]
    fn a_reset_is_no_end() {
        let server = Server::tcp(|peer| {
            peer.say("220 hi")?;
            peer.reset()
        });
        let mut client = connect(&server);
        let mut all = Vec::new();
        assert_eq!(client.read_to_end(&mut all).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        server.finish();
    }

    #[test]
    fn the_reference_for_line_ends_and_dots() {
        for (given, mailbox) in [
            ("", ""),
            ("a", "a\r\n"),
            ("a\n", "a\r\n"),
            ("a\r\nb\n", "a\r\nb\r\n"),
            ("a\rb\r", "a b \r\n"),
            ("a\r\r\nb", "a \r\nb\r\n"),
            ("\n\n", "\r\n\r\n"),
        ] {
            assert_eq!(canonical(given.as_bytes()), mailbox.as_bytes(), "{given:?}");
        }
        assert_eq!(stuffed(b".\r\n.a\r\nb.\r\n..\r\n"), b"..\r\n..a\r\nb.\r\n...\r\n");
    }

    #[test]
    fn patterns() {
        for (pattern, line, same) in [
            ("QUIT", "QUIT", true),
            ("QUIT", "QUITE", false),
            ("LHLO {any}", "LHLO me.example", true),
            ("LHLO {any}", "LHLO", false),
            ("{any}b{any}", "abc", true),
            ("a{any}a", "a", false),
            ("{any}ab", "aab", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), line.as_bytes()), same, "{pattern} {line}");
        }
    }
}
