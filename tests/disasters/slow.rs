//! Peers that send or take one octet at a time: every time limit is for the whole reply, not for one read.

use std::sync::mpsc::channel;
use std::time::Duration;

use super::{At, ONE, TWO, large, saw_no_message, sending_large};
use crate::scripted::{Client, Peer, Played, Server};

const STEP: Duration = Duration::from_millis(50);

/// The two limits, each short with the other one long.
const LIMITS: [&str; 2] = ["--timeout 0.5", "--timeout 60 --data-timeout 60 --deadline 0.7"];

/// Text that takes ten seconds at one octet a step.
fn long_text() -> Vec<u8> {
    [&b"-"[..], &[b'a'; 200]].concat()
}

#[track_caller]
fn trickled(at: At, begin: &'static str, stage: &str) {
    for limit in LIMITS {
        let server = Server::tcp(move |peer| {
            at.play(peer, true)?;
            peer.trickle(&[begin.as_bytes(), &long_text()].concat(), STEP)?;
            peer.silence()
        });
        println!("{at:?} {limit}");
        let ran = Client::to(&server).typed(TWO).typed(limit).run();
        server.finish();
        let ran = ran.exits(75).outcomes(&at.outcomes()).within(4.0);
        assert_eq!(ran.report()[1]["stage"], stage, "{}", ran.stdout);
    }
}

#[test]
fn trickling_greeting() {
    trickled(At::Greeting, "220", "greeting");
}

#[test]
fn trickling_reply_to_lhlo() {
    trickled(At::Lhlo, "250", "lhlo");
}

#[test]
fn trickling_reply_to_mail() {
    trickled(At::Mail, "250", "mail");
}

#[test]
fn trickling_reply_to_rcpt() {
    trickled(At::Rcpt, "250", "rcpt");
}

#[test]
fn trickling_reply_to_data() {
    trickled(At::Data, "354", "data");
}

#[test]
fn trickling_reply_to_the_message() {
    trickled(At::AfterDot, "250", "delivery");
}

#[test]
fn trickling_second_reply_to_the_message() {
    trickled(At::BetweenReplies, "250", "delivery");
}

#[test]
fn endless_lines_in_the_reply_to_lhlo() {
    // Every line comes in time; the reply never ends.
    for limit in LIMITS {
        let server = Server::tcp(|peer| {
            At::Lhlo.play(peer, true)?;
            peer.trickle_lines("250-X-MORE", STEP)?;
            peer.silence()
        });
        let ran = Client::to(&server).typed(TWO).typed(limit).run();
        server.finish();
        ran.exits(75).outcomes(&["deferred"; 2]).stages(&["lhlo"; 2]).within(4.0);
    }
}

#[test]
fn slow_but_in_time() {
    // Each reply takes long, none too long: the limit is for one reply, not for all.
    let server = Server::tcp(|peer| {
        let step = |peer: &mut Peer, expected: &str, reply: &str| -> Played {
            if !expected.is_empty() {
                peer.expect(expected)?;
            }
            peer.trickle(reply.as_bytes(), Duration::from_millis(30))
        };
        step(peer, "", "220 ready\r\n")?;
        step(peer, "LHLO {any}", "250 hi\r\n")?;
        step(peer, "MAIL {any}", "250 ok\r\n")?;
        step(peer, "RCPT {any}", "250 ok\r\n")?;
        step(peer, "DATA", "354 go\r\n")?;
        peer.message()?;
        step(peer, "", "250 ok\r\n")?;
        step(peer, "QUIT", "221 ok\r\n")?;
        peer.end()
    });
    let ran = Client::to(&server).typed(ONE).typed("--timeout 1.2").run();
    server.finish();
    ran.exits(0).outcomes(&["delivered"]);
}

#[test]
fn one_octet_at_a_time_is_taken_of_a_large_message() {
    for limit in LIMITS {
        let (over, word) = channel::<()>();
        let server = Server::unix(move |peer| {
            At::MidMessage.play(peer, true)?;
            while word.try_recv().is_err() && peer.sip(1)? {
                peer.pause(STEP);
            }
            peer.silence()
        });
        println!("{limit}");
        let ran = sending_large(&server).typed(limit).run();
        over.send(()).ok();
        saw_no_message(server);
        ran.exits(75).outcomes(&["deferred"; 2]).stages(&["data"; 2]).within(4.0);
    }
}

#[test]
fn a_large_message_is_taken_slowly_but_steadily() {
    // Six million octets at a leisurely pace, within the limits.
    let server = Server::tcp(|peer| {
        At::MidMessage.play(peer, true)?;
        for _ in 0..20 {
            peer.sip(100_000)?;
            peer.pause(Duration::from_millis(10));
        }
        peer.message()?;
        peer.quit(&["250 ok", "250 ok"])
    });
    let ran = sending_large(&server).typed("--timeout 10").run();
    let heard = server.finish().pop().unwrap();
    ran.exits(0).outcomes(&["delivered"; 2]);
    assert!(heard.octets.len() > std::fs::read(large()).unwrap().len());
}

#[test]
fn the_producer_never_ends() {
    // Octets keep coming on standard input: the deadline is for reading the message, too.
    let server = Server::unused();
    let mut running = Client::to(&server).typed(TWO).typed("--deadline 0.5").hungry().start();
    running.feed(b"Subject: endless\n\n");
    let ran = running.drip(b"x", STEP);
    ran.exits(75).outcomes(&["deferred"; 2]).stages(&["input"; 2]).within(4.0);
    server.finish();
}

#[test]
fn the_producer_falls_silent() {
    let server = Server::unused();
    let mut running = Client::to(&server).typed(TWO).typed("--deadline 0.5").hungry().start();
    running.feed(b"Subject: half\n\nhalf of a");
    let ran = running.wait();
    ran.exits(75).outcomes(&["deferred"; 2]).stages(&["input"; 2]).within(4.0);
    server.finish();
}

#[test]
fn the_producer_falls_silent_before_the_recipients_are_known() {
    let server = Server::unused();
    let mut running = Client::to(&server).typed("--deadline 0.5").hungry().start();
    running.feed(b"Subject: half\nTo: a@exam");
    running.wait().exits(75).within(4.0);
    server.finish();
}
