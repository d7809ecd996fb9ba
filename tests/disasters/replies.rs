//! Servers that answer too early, too much, too little, or something that is no answer.

use rustix::fd::AsFd;

use super::{At, ONE, TWO, saw_no_message};
use crate::scripted::{Client, HELLO, Peer, Played, Server, holds_final_dot};

/// `count` recipients' addresses, long enough to fill buffers.
fn recipients(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("recipient.number.{n:05}.of.very.many@a.rather.long.domain.example.net"))
        .collect()
}

/// The options for them, several in each so that the command line does not get too many words.
fn options(recipients: &[String]) -> Vec<String> {
    recipients.chunks(500).flat_map(|some| ["-t".to_owned(), some.join(",")]).collect()
}

/// A server that writes each reply to its end before it reads another octet, and never reads ahead.
fn stubborn(peer: &mut Peer, count: usize) -> Played {
    let filler = "x".repeat(390);
    peer.session(&["PIPELINING"])?;
    peer.expect_slowly("MAIL FROM:{any}")?;
    peer.say(&format!("250 {filler}"))?;
    for _ in 0..count {
        peer.expect_slowly("RCPT TO:{any}")?;
        peer.say(&format!("250 {filler}"))?;
    }
    peer.expect_slowly("DATA")?;
    peer.say("354 go on")?;
    peer.message()?;
    for _ in 0..count {
        peer.say(&format!("250 {filler}"))?;
    }
    peer.quit(&[])
}

#[test]
fn five_thousand_recipients_and_a_server_that_reads_nothing_until_it_has_written() {
    let all = recipients(5000);
    for server in [Server::tcp(|peer| stubborn(peer, 5000)), Server::unix(|peer| stubborn(peer, 5000))] {
        let ran = Client::to(&server).typed("--report json -f me@example.net").args(options(&all)).run();
        server.finish();
        let ran = ran.exits(0);
        let report = ran.report();
        assert_eq!(report.len(), 5000);
        for (object, recipient) in report.iter().zip(&all) {
            assert_eq!(
                (&object["recipient"], &object["outcome"]),
                (&recipient[..].into(), &"delivered".into())
            );
        }
    }
}

#[test]
fn a_server_that_reads_everything_before_it_writes_anything() {
    // The other extreme: the whole flight is taken, then all replies come at once.
    let all = recipients(2000);
    let server = Server::tcp(|peer| {
        peer.session(&["PIPELINING"])?;
        peer.envelope(2000)?;
        peer.message()?;
        peer.expect("QUIT")?;
        peer.send("250 ok\r\n".repeat(2000).as_bytes())?;
        peer.say("221 bye")?;
        peer.end()
    });
    let ran = Client::to(&server).typed("--report json -f me@example.net").args(options(&all)).run();
    let heard = server.finish().pop().unwrap();
    let ran = ran.exits(0);
    assert_eq!(ran.report().len(), 2000);
    // LHLO, the envelope, the message: the number of recipients adds no round trip.
    assert!(heard.turns <= 3, "{} round trips", heard.turns);
}

#[test]
fn many_recipients_with_mixed_fates() {
    // Each recipient gets what the server said to it, and to no other.
    let all = recipients(300);
    let server = Server::unix(|peer| {
        peer.session(&["PIPELINING"])?;
        peer.expect("MAIL {any}")?;
        (0..300).try_for_each(|_| peer.expect("RCPT {any}"))?;
        peer.expect("DATA")?;
        peer.say("250 ok")?;
        for n in 0..300 {
            peer.say(&if n % 3 == 0 { format!("550 5.1.1 no {n}") } else { format!("250 yes {n}") })?;
        }
        peer.say("354 go on")?;
        peer.message()?;
        peer.expect("QUIT")?;
        for n in (0..300).filter(|n| n % 3 != 0) {
            peer.say(&if n % 3 == 1 { format!("250 has {n}") } else { format!("450 4.2.1 later {n}") })?;
        }
        peer.say("221 bye")?;
        peer.end()
    });
    let ran = Client::to(&server).typed("--report json -f me@example.net").args(options(&all)).run();
    server.finish();
    let ran = ran.exits(75);
    for (n, object) in ran.report().iter().enumerate() {
        let (outcome, word) = [("failed", "no"), ("delivered", "has"), ("deferred", "later")][n % 3];
        assert_eq!(object["recipient"], all[n]);
        assert_eq!(object["outcome"], outcome, "{object}");
        assert!(object["text"].as_str().unwrap().contains(&format!("{word} {n}")), "{object}");
    }
    assert_eq!(ran.stderr.lines().count(), 200, "one line for each recipient not delivered");
}

#[test]
fn premature_reply_to_lhlo() {
    // The reply to LHLO stands behind the greeting. A client may take it or leave; it may not be led astray.
    let server = Server::tcp(|peer| {
        peer.say_all(&["220 mailbox LMTP", "250-mailbox", "250 PIPELINING"])?;
        peer.expect("LHLO {any}")?;
        let Ok(()) = peer.envelope(1) else { return Ok(()) };
        peer.message()?;
        peer.quit(&["250 delivered"])
    });
    let ran = Client::to(&server).typed(ONE).run();
    let heard = server.finish().pop().unwrap();
    assert_eq!(ran.code() == 0, holds_final_dot(&heard.octets), "{} {}", ran.code(), ran.stderr);
    ran.within(4.0);
}

#[test]
fn premature_421() {
    // Said and closed while the client has not asked anything: it belongs to the next command, whatever that is.
    for extensions in [&["PIPELINING"][..], &[]] {
        let server = Server::tcp(move |peer| {
            peer.session(extensions)?;
            peer.say("421 4.4.2 idle for too long")?;
            peer.close()
        });
        let ran = Client::to(&server).typed(TWO).run();
        saw_no_message(server);
        ran.exits(75).outcomes(&["deferred"; 2]).within(4.0);
    }
}

#[test]
fn premature_replies_to_the_whole_envelope() {
    // Everything is answered before it is asked; a refusal among it must not be lost, an acceptance not be believed early.
    let server = Server::tcp(|peer| {
        peer.session(&["PIPELINING"])?;
        peer.say_all(&["250 ok", "250 ok", "550 5.1.1 no b", "354 go on"])?;
        let Ok(()) = peer.flight(&["MAIL {any}", "RCPT {any}", "RCPT {any}", "DATA"]) else { return Ok(()) };
        let Ok(_) = peer.message() else { return Ok(()) };
        peer.quit(&["250 delivered"])
    });
    let ran = Client::to(&server).typed(TWO).run();
    let heard = server.finish().pop().unwrap();
    let ran = ran.within(4.0);
    let outcomes: Vec<_> = ran.report().iter().map(|object| object["outcome"].clone()).collect();
    assert_eq!(outcomes[0] == "delivered", holds_final_dot(&heard.octets), "{outcomes:?}");
    assert_ne!(outcomes[1], "delivered");
}

#[test]
fn reply_lines_without_an_end() {
    // More than any reply may have, on one line or on many: the session ends, memory does not grow.
    for piece in [&[b'a'; 64][..], b"250-more\r\n"] {
        for at in [At::Lhlo, At::Mail, At::AfterDot] {
            let server = Server::tcp(move |peer| {
                at.play(peer, true)?;
                peer.send(if piece.starts_with(b"250") { b"" } else { b"250 " })?;
                let flood = piece.repeat(4_000_000 / piece.len());
                // Refused by the system from the moment that the client has closed.
                peer.send(&flood).ok();
                peer.silence()
            });
            let ran = Client::to(&server).typed(TWO).run();
            server.finish();
            let ran = ran.exits(75).outcomes(&at.outcomes()).within(6.0);
            assert!(ran.stderr.starts_with("4.5.0 "), "{at:?}: {}", ran.stderr);
        }
    }
}

#[test]
fn replies_that_come_one_octet_at_a_time() {
    let server = Server::unix(|peer| {
        let none = std::time::Duration::ZERO;
        peer.trickle(b"220-hi\r\n220 hi\r\n", none)?;
        peer.expect("LHLO {any}")?;
        peer.trickle(b"250-hi\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n", none)?;
        peer.flight(&["MAIL {any}", "RCPT {any}", "RCPT {any}", "DATA"])?;
        peer.trickle(b"250 ok\r\n250 ok\r\n550-5.1.1 no\r\n550 5.1.1 b\r\n354 go on\r\n", none)?;
        peer.message()?;
        peer.expect("QUIT")?;
        peer.trickle(b"250 delivered\r\n221 bye\r\n", none)?;
        peer.end()
    });
    let ran = Client::to(&server).typed(TWO).run();
    server.finish();
    ran.exits(67).outcomes(&["delivered", "failed"]);
}

#[test]
fn connection_lost_in_the_middle_of_a_reply() {
    for (at, half) in [
        (At::Greeting, "220 mail"),
        (At::Lhlo, "250-mailbox\r\n250-PIPE"),
        (At::Mail, "250 o"),
        (At::Rcpt, "550 5.1.1 no such us"),
        (At::Data, "354"),
        (At::AfterDot, "250 deli"),
        (At::BetweenReplies, "250 delivered\r"),
    ] {
        let server = Server::tcp(move |peer| {
            at.play(peer, true)?;
            peer.send(half.as_bytes())?;
            peer.close()
        });
        let ran = Client::to(&server).typed(TWO).run();
        server.finish();
        println!("{at:?}");
        ran.exits(75).outcomes(&at.outcomes()).within(4.0);
    }
}

#[test]
fn partial_replies_to_the_message() {
    // One reply of two, then silence.
    let server = Server::tcp(|peer| {
        At::BetweenReplies.play(peer, true)?;
        peer.silence()
    });
    let ran = Client::to(&server).typed(TWO).typed("--timeout 0.4").run();
    server.finish();
    let ran = ran.exits(75).outcomes(&["delivered", "uncertain"]).within(4.0);
    assert!(ran.stderr.starts_with("4.4.2 <b@example.net>"), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}

#[test]
fn the_first_outcome_is_reported_when_it_is_known() {
    // A mail system that reads the report need not wait for the slowest recipient. With one recipient there is no doubt
    // which reply marks its place.
    let home = tempfile::tempdir().unwrap();
    let (one, two) = (home.path().join("one.eml"), home.path().join("two.eml"));
    std::fs::write(&one, HELLO).unwrap();
    std::fs::write(&two, HELLO).unwrap();
    let (mut read, write) = std::io::pipe().unwrap();
    let (told, word) = std::sync::mpsc::channel();
    let server = Server::tcp(move |peer| {
        peer.session(&[])?;
        for last in [false, true] {
            for (command, reply) in
                [("MAIL {any}", "250 ok"), ("RCPT {any}", "250 ok"), ("DATA", "354 go on")]
            {
                peer.expect(command)?;
                if last && command == "DATA" {
                    // The second message waits until the report of the first was read.
                    peer.hold(&word)?;
                }
                peer.say(reply)?;
            }
            peer.message()?;
            peer.say("250 delivered")?;
        }
        peer.quit(&[])
    });
    let running = Client::to(&server).typed(ONE).args([&one, &two]).stdout(write).start();
    let until = std::time::Instant::now() + crate::scripted::PATIENCE;
    let came = crate::scripted::poll_one(read.as_fd(), rustix::event::PollFlags::IN, until).unwrap();
    assert!(came, "no report of the first message");
    let mut first = vec![0; 4096];
    let count = std::io::Read::read(&mut read, &mut first).unwrap();
    assert!(String::from_utf8_lossy(&first[..count]).contains("one.eml"));
    told.send(()).unwrap();
    running.wait().exits(0);
    server.finish();
}

#[test]
fn addresses_that_would_be_commands() {
    // CR, LF and the like never reach the wire, wherever they came from.
    let evil = "joe@example.net>\r\nRCPT TO:<evil@example.net";
    let header = "From: me@example.net\nTo: \"joe\\\r\n RCPT TO:<evil@example.net>\"@example.net\n\ntext\n";
    let runs: [(&[&str], &[u8]); 5] = [
        (&["-f", "me@example.net", "-t", evil], HELLO),
        (&["-f", evil, "-t", "joe@example.net"], HELLO),
        (&["-f", "me@example.net", "-t", "joe\n@example.net"], HELLO),
        (&["-f", "me@example.net", "-t", "\"joe\r\ndoe\"@example.net"], HELLO),
        (&["-f", "me@example.net"], header.as_bytes()),
    ];
    for (args, input) in runs {
        let server = Server::unused();
        let ran = Client::to(&server).args(args).input(input).run();
        server.finish();
        println!("{args:?}");
        ran.exits(65);
    }
}

#[test]
fn parameters_that_would_be_commands() {
    for (option, value) in [
        ("--mail-param", "X=1\r\nRSET"),
        ("--rcpt-param", "X=1\nRSET"),
        ("--envid", "id\r\nRSET"),
        ("--orcpt", "rfc822;joe@example.net>\r\nRSET"),
        ("--mail-param", "X=1 Y=2"),
        ("--mail-param", ""),
        ("--lhlo", "me\r\nRSET"),
    ] {
        let server = Server::unused();
        let ran = Client::to(&server).typed(ONE).args([option, value]).run();
        println!("{option} {value:?}: {}", ran.stderr);
        server.finish();
        assert!(matches!(ran.code(), 64 | 65), "{option} {value:?}: exit {}", ran.code());
    }
}
