//! Disasters: what goes wrong between a mail system and its mailboxes, one test each, named for what happens.
//!
//! Each asserts the exit code, that nothing hangs, each recipient's outcome in the report, and that the
//! server saw no complete message where none was. The catalogue takes over the names of Dovecot's
//! (`test-smtp-client-errors.c`) where they apply: host lookup failed, connection refused, connection lost, connection timed
//! out, broken payload, unexpected, premature, early, partial and bad replies, bad greeting, command timed out,
//! transaction timeout.

mod archives;
mod endless;
mod exec;
mod input;
mod ledger;
mod lost;
mod many;
mod output;
mod parts;
mod reach;
mod replies;
mod resources;
mod slow;
mod stopped;
mod terminal;
pub mod tls;
mod waiting;

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use crate::scripted::{Client, Halted, Heard, Peer, Played, Server, halt, holds_final_dot};

/// Options of a run for two recipients that is reported in JSON.
const TWO: &str = "--report json -f me@example.net -t a@example.net -t b@example.net";
/// Options of a run for one recipient that is reported in JSON.
const ONE: &str = "--report json -f me@example.net -t a@example.net";

/// A server that has taken the first message and the commands for the second, and waits for the test. Then, `later`, it
/// answers with `replies` and says nothing more.
fn holds_the_second(later: Duration, replies: &'static [&str]) -> (Server, Halted) {
    let (halt, halted) = halt();
    let server = Server::unix(move |peer| {
        peer.session(&["PIPELINING"])?;
        peer.envelope(1)?;
        peer.message()?;
        peer.flight(&["MAIL FROM:<me@example.net>", "RCPT TO:<a@example.net>", "DATA"])?;
        halt.wait(peer)?;
        std::thread::sleep(later);
        peer.say_all(replies)?;
        peer.silence()
    });
    (server, halted)
}

/// How far a session for two recipients gets before the disaster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    Greeting,
    Lhlo,
    Mail,
    Rcpt,
    Data,
    MidMessage,
    AfterDot,
    BetweenReplies,
}

impl At {
    const ALL: [At; 8] = [
        At::Greeting,
        At::Lhlo,
        At::Mail,
        At::Rcpt,
        At::Data,
        At::MidMessage,
        At::AfterDot,
        At::BetweenReplies,
    ];

    /// What becomes of the two recipients when the session ends here.
    fn outcomes(self) -> [&'static str; 2] {
        match self {
            At::AfterDot => ["uncertain", "uncertain"],
            At::BetweenReplies => ["delivered", "uncertain"],
            At::Greeting | At::Lhlo | At::Mail | At::Rcpt | At::Data | At::MidMessage => {
                ["deferred", "deferred"]
            }
        }
    }

    /// The stage of the second recipient in the report.
    fn stage(self) -> &'static str {
        match self {
            At::Greeting => "greeting",
            At::Lhlo => "lhlo",
            At::Mail => "mail",
            At::Rcpt => "rcpt",
            At::Data | At::MidMessage => "data",
            At::AfterDot | At::BetweenReplies => "delivery",
        }
    }

    /// Plays a session as far as here.
    fn play(self, peer: &mut Peer, pipelining: bool) -> Played {
        if self == At::Greeting {
            return Ok(());
        }
        peer.say("220 mailbox LMTP")?;
        peer.expect("LHLO {any}")?;
        if self == At::Lhlo {
            return Ok(());
        }
        peer.say_all(if pipelining { &["250-mailbox", "250 PIPELINING"] } else { &["250 mailbox"] })?;
        let commands = [
            (At::Mail, "MAIL FROM:<me@example.net>", "250 ok"),
            (At::Rcpt, "RCPT TO:<a@example.net>", "250 ok"),
            (At::Rcpt, "RCPT TO:<b@example.net>", "250 ok"),
            (At::Data, "DATA", "354 go on"),
        ];
        if pipelining {
            peer.flight(&commands.map(|(_, command, _)| command))?;
        }
        for (stage, command, reply) in commands {
            if !pipelining {
                peer.expect(command)?;
            }
            if self == stage {
                return Ok(());
            }
            peer.say(reply)?;
        }
        if self == At::MidMessage {
            return peer.octets(10_000).map(drop);
        }
        peer.message()?;
        if self == At::AfterDot { Ok(()) } else { peer.say("250 delivered") }
    }
}

/// A message too large for the buffers between the program and the server.
fn large() -> &'static PathBuf {
    static LARGE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LARGE.get_or_init(|| {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("large.eml");
        fs::write(&path, large_message()).unwrap();
        (home, path)
    });
    path
}

/// Six million octets in lines: more than is kept in memory, and, with what the system says it may buffer for a
/// connection, more than the buffers on the way hold.
fn large_message() -> Vec<u8> {
    let buffers = fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").unwrap_or_default();
    let most: usize = buffers.split_whitespace().last().and_then(|most| most.parse().ok()).unwrap_or(0);
    let line = [&[b'x'; 62][..], b"\r\n"].concat();
    [&b"Subject: large\r\n\r\n"[..], &line.repeat((most + 2_000_000).max(6_400_000) / 64)].concat()
}

/// A run towards `server` with the large message.
fn sending_large(server: &Server) -> Client {
    Client::to(server).typed(TWO).args([large()])
}

/// The one connection of `server`, on which no message came to its end.
#[track_caller]
fn saw_no_message(server: Server) -> Heard {
    let heard = server.finish().pop().unwrap();
    assert!(!holds_final_dot(&heard.octets), "the server was told that the message is complete");
    heard
}
