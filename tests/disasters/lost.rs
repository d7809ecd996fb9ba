//! The connection ends, or falls silent, or the program is told to stop: at every stage of a session.

use std::sync::mpsc::channel;

use rustix::process::Signal;

use super::{At, ONE, TWO, large, saw_no_message, sending_large};
use crate::scripted::{Client, HELLO, Peer, Played, Running, Server, holds_final_dot};

/// A server of each kind that plays a session as far as `at`, and then `then`.
fn servers(
    at: At,
    then: impl FnOnce(&mut Peer) -> Played + Clone + Send + 'static,
) -> impl Iterator<Item = Server> {
    [(true, true), (true, false), (false, true), (false, false)].into_iter().map(move |(tcp, pipelining)| {
        let then = then.clone();
        let script = move |peer: &mut Peer| {
            at.play(peer, pipelining)?;
            then(peer)
        };
        if tcp { Server::tcp(script) } else { Server::unix(script) }
    })
}

/// A run with the message that `at` needs.
fn client(server: &Server, at: At) -> Client {
    if at == At::MidMessage { sending_large(server) } else { Client::to(server).typed(TWO) }
}

/// The server ends with what `at` lets it have seen.
#[track_caller]
fn saw_what_it_should(server: Server, at: At) {
    if at < At::AfterDot {
        saw_no_message(server);
    } else {
        server.finish();
    }
}

#[test]
fn connection_closed_at_each_stage() {
    for at in At::ALL {
        for server in servers(at, Peer::close) {
            println!("{at:?} {}", server.name());
            let ran = client(&server, at).run();
            saw_what_it_should(server, at);
            ran.exits(75).outcomes(&at.outcomes()).within(5.0);
        }
    }
}

#[test]
fn connection_reset_at_each_stage() {
    for at in At::ALL {
        for server in servers(at, Peer::reset) {
            println!("{at:?} {}", server.name());
            let ran = client(&server, at).run();
            saw_what_it_should(server, at);
            ran.exits(75).outcomes(&at.outcomes()).within(5.0);
        }
    }
}

#[test]
fn a_lost_connection_is_told_as_one() {
    for at in At::ALL {
        let server = Server::tcp(move |peer| {
            at.play(peer, false)?;
            peer.close()
        });
        let ran = client(&server, at).run().exits(75);
        server.finish();
        println!("{at:?}");
        let ran =
            ran.says("4.4.2", &format!("<{}@example.net>", if at == At::BetweenReplies { 'b' } else { 'a' }));
        assert_eq!(ran.report()[1]["stage"], at.stage(), "{at:?}: {}", ran.stdout);
    }
}

#[test]
fn timed_out_at_each_stage() {
    for at in At::ALL {
        let (over, word) = channel();
        let server = Server::tcp(move |peer| {
            at.play(peer, true)?;
            if at == At::MidMessage {
                peer.hold(&word)?;
            }
            peer.silence()
        });
        println!("{at:?}");
        let ran = client(&server, at).typed("--timeout 0.4").run();
        over.send(()).ok();
        saw_what_it_should(server, at);
        let ran = ran.exits(75).outcomes(&at.outcomes()).within(4.0);
        assert_eq!(ran.report()[1]["stage"], at.stage(), "{at:?}: {}", ran.stdout);
        assert!(ran.took.as_secs_f64() > 0.3, "gave up too soon: {:?}", ran.took);
    }
}

#[test]
fn the_data_timeout_is_for_the_replies_to_the_message() {
    let slow = |at: At| {
        Server::tcp(move |peer| {
            at.play(peer, true)?;
            peer.silence()
        })
    };
    let server = slow(At::AfterDot);
    let ran = Client::to(&server).typed(TWO).typed("--timeout 60 --data-timeout 0.4").run();
    server.finish();
    ran.exits(75).outcomes(&["uncertain"; 2]).within(4.0);

    let server = slow(At::Mail);
    let ran = Client::to(&server).typed(TWO).typed("--timeout 0.4 --data-timeout 60").run();
    server.finish();
    ran.exits(75).outcomes(&["deferred"; 2]).within(4.0);
}

#[test]
fn the_deadline_holds_at_each_stage() {
    for at in At::ALL {
        let (over, word) = channel();
        let server = Server::tcp(move |peer| {
            at.play(peer, true)?;
            if at == At::MidMessage {
                peer.hold(&word)?;
            }
            peer.silence()
        });
        println!("{at:?}");
        let ran = client(&server, at).typed("--deadline 0.7").run();
        over.send(()).ok();
        saw_what_it_should(server, at);
        ran.exits(75).outcomes(&at.outcomes()).within(4.0);
    }
}

/// A run that is told to stop by `signal` when its session has got as far as `at`.
fn stopped(at: At, signal: Signal) -> (Server, Running) {
    let (reached, there) = channel();
    let (over, word) = channel();
    let server = Server::tcp(move |peer| {
        at.play(peer, true)?;
        reached.send(()).ok();
        if at == At::MidMessage {
            peer.hold(&word)?;
        }
        peer.silence()
    });
    let running = client(&server, at).start();
    there.recv_timeout(crate::scripted::PATIENCE).unwrap();
    running.ready();
    running.signal(signal);
    // The server reads on: what the program had written already is seen, to the last octet.
    over.send(()).ok();
    (server, running)
}

#[test]
fn told_to_stop_at_each_stage() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        for at in At::ALL.into_iter().filter(|at| *at != At::MidMessage) {
            println!("{signal:?} {at:?}");
            let (server, running) = stopped(at, signal);
            let ran = running.wait();
            saw_what_it_should(server, at);
            ran.exits(75).outcomes(&at.outcomes()).within(5.0);
        }
    }
}

#[test]
fn told_to_stop_in_the_middle_of_a_large_message() {
    // The server reads on at once: the program stops all the same, and does not hurry to the message's end.
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let (server, running) = stopped(At::MidMessage, signal);
        let ran = running.wait();
        saw_no_message(server);
        ran.exits(75).outcomes(&["deferred"; 2]).within(5.0);
    }
}

#[test]
fn told_to_stop_while_reading_the_message() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let server = Server::unused();
        let mut running = Client::to(&server).typed(TWO).hungry().start();
        running.feed(b"Subject: half\n\nhalf of a");
        running.ready();
        running.signal(signal);
        let ran = running.wait().exits(75).outcomes(&["deferred"; 2]).stages(&["input"; 2]).within(5.0);
        assert!(ran.stderr.starts_with("4.3.0 "), "{}", ran.stderr);
        server.finish();
    }
}

#[test]
fn killed_in_the_middle_of_a_large_message() {
    let (server, running) = stopped(At::MidMessage, Signal::KILL);
    assert_eq!(running.wait().code(), -9);
    let heard = saw_no_message(server);
    assert!(heard.octets.len() > 10_000);
}

#[test]
fn killed_while_the_message_is_taken_slowly() {
    let (reached, there) = channel();
    let server = Server::unix(move |peer| {
        At::MidMessage.play(peer, true)?;
        reached.send(()).ok();
        while peer.sip(4096)? {}
        Ok(())
    });
    let running = sending_large(&server).start();
    there.recv_timeout(crate::scripted::PATIENCE).unwrap();
    running.signal(Signal::KILL);
    running.wait();
    saw_no_message(server);
}

#[test]
fn server_answers_and_closes_while_the_message_is_still_being_written() {
    for (reply, outcome, exit) in [
        ("452 4.3.1 disk full", "deferred", 75),
        ("451 later", "deferred", 75),
        ("552 5.3.4 too big", "failed", 65),
        ("554 5.7.1 no", "failed", 77),
        ("421 4.3.2 shutting down", "deferred", 75),
        // Nobody can have delivered what was not sent yet.
        ("250 2.0.0 delivered", "deferred", 75),
    ] {
        for close in [Peer::close as fn(&mut Peer) -> Played, Peer::vanish] {
            println!("{reply}");
            let server = Server::tcp(move |peer| {
                At::MidMessage.play(peer, true)?;
                peer.say_all(&[reply, reply])?;
                // Give the replies the time to arrive before a reset can overtake them.
                peer.pause(std::time::Duration::from_millis(100));
                close(peer)
            });
            let ran = sending_large(&server).run();
            saw_no_message(server);
            let ran = ran.exits(exit).outcomes(&[outcome; 2]).within(5.0);
            let code: u64 = reply[..3].parse().unwrap();
            if code != 250 {
                assert_eq!(ran.report()[0]["code"], code, "{}", ran.stdout);
            }
        }
    }
}

#[test]
fn server_refuses_a_chunk_in_the_middle_and_the_message_is_not_counted_as_sent() {
    let server = Server::unix(|peer| {
        peer.session(&["PIPELINING", "CHUNKING"])?;
        ["MAIL FROM:{any}", "RCPT TO:{any}", "RCPT TO:{any}"]
            .iter()
            .try_for_each(|line| peer.expect(line))?;
        peer.say_all(&["250 ok"; 3])?;
        let chunk = 4 * 1024 * 1024;
        peer.expect(&format!("BDAT {chunk}"))?;
        peer.octets(chunk)?;
        peer.say("552 5.3.4 too big")?;
        peer.silence()
    });
    let ran = sending_large(&server).typed("--summary json").run();
    saw_no_message(server);
    let ran = ran.exits(65).outcomes(&["failed"; 2]).within(5.0);
    let summary: serde_json::Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((&summary["failed"], &summary["octets"]), (&2.into(), &0.into()), "{summary}");
}

#[test]
fn server_refuses_and_shuts_down_reading() {
    // The refusal lies there to be read, and writing fails: it is the refusal that counts.
    let server = Server::unix(|peer| {
        At::MidMessage.play(peer, true)?;
        peer.say_all(&["452 4.3.1 disk full", "452 4.3.1 disk full"])?;
        peer.stop_reading()?;
        peer.silence()
    });
    let ran = sending_large(&server).run();
    saw_no_message(server);
    let ran = ran.exits(75).outcomes(&["deferred"; 2]).within(5.0);
    assert_eq!(ran.report()[0]["code"], 452, "{}", ran.stdout);
}

#[test]
fn server_refuses_early_and_reads_to_the_end() {
    // The refusals come early; the message is taken all the same. They are the recipients' replies.
    let server = Server::tcp(|peer| {
        At::MidMessage.play(peer, true)?;
        peer.say_all(&["552 5.2.2 over quota", "552 5.2.2 over quota"])?;
        peer.silence()
    });
    let ran = sending_large(&server).run();
    server.finish();
    ran.exits(69).outcomes(&["failed"; 2]).within(10.0);
}

#[test]
fn early_acceptance_then_nothing_more() {
    let server = Server::tcp(|peer| {
        At::MidMessage.play(peer, true)?;
        peer.say_all(&["250 delivered", "250 delivered"])?;
        peer.close()
    });
    let ran = sending_large(&server).run();
    let heard = server.finish().pop().unwrap();
    let ran = ran.within(10.0);
    // Whether the end was sent or not: nothing that came before it says that the message was delivered.
    let outcome = if holds_final_dot(&heard.octets) { "uncertain" } else { "deferred" };
    ran.exits(75).outcomes(&[outcome; 2]);
}

#[test]
fn quit_is_not_waited_for() {
    for pipelining in [true, false] {
        let server = Server::tcp(move |peer| {
            At::BetweenReplies.play(peer, pipelining)?;
            peer.say("250 delivered")?;
            peer.expect("QUIT")?;
            peer.silence()
        });
        let ran = Client::to(&server).typed(TWO).run();
        server.finish();
        ran.exits(0).outcomes(&["delivered"; 2]).within(3.0);
    }
}

#[test]
fn connection_lost_before_quit() {
    for close in [Peer::close as fn(&mut Peer) -> Played, Peer::vanish, Peer::reset] {
        let server = Server::tcp(move |peer| {
            peer.session(&[])?;
            for (command, reply) in
                [("MAIL {any}", "250 ok"), ("RCPT {any}", "250 ok"), ("DATA", "354 go on")]
            {
                peer.expect(command)?;
                peer.say(reply)?;
            }
            peer.message()?;
            peer.say("250 delivered")?;
            peer.pause(std::time::Duration::from_millis(50));
            close(peer)
        });
        let ran = Client::to(&server).typed(ONE).run();
        server.finish();
        ran.exits(0).outcomes(&["delivered"]).within(3.0);
    }
}

#[test]
fn connection_lost_between_two_messages() {
    // The second message was on its way, but no end of it: it goes in another session, the first is not sent again.
    let home = tempfile::tempdir().unwrap();
    let paths = ["one.eml", "two.eml"].map(|name| home.path().join(name));
    paths.iter().for_each(|path| std::fs::write(path, HELLO).unwrap());
    let server = Server::tcp_in_turn(vec![
        crate::scripted::script(|peer| {
            peer.session(&["PIPELINING"])?;
            peer.envelope(1)?;
            peer.message()?;
            peer.say("250 delivered")?;
            peer.close()
        }),
        crate::scripted::script(|peer| {
            peer.session(&["PIPELINING"])?;
            peer.envelope(1)?;
            peer.message()?;
            peer.quit(&["250 delivered"])
        }),
    ]);
    let ran = Client::to(&server).typed(ONE).args(&paths).run();
    let told = server.outcome();
    // Without --retry a lost connection is the end of that message's attempt; with a new session for it, so much the better.
    match ran.code() {
        0 => assert!(told.is_ok(), "{told:?}"),
        _ => drop(ran.exits(75).outcomes(&["delivered", "deferred"])),
    }
}

#[test]
fn an_uncertain_message_is_never_sent_again() {
    let server = Server::tcp(|peer| {
        At::AfterDot.play(peer, true)?;
        peer.reset()
    });
    // The server counts the connections: a second one fails the test.
    let ran = Client::to(&server).typed(TWO).run();
    server.finish();
    ran.exits(75).outcomes(&["uncertain"; 2]);
}

#[test]
fn the_large_message_arrives_whole_when_nothing_goes_wrong() {
    for pipelining in [true, false] {
        let server = Server::tcp(move |peer| {
            At::Data.play(peer, pipelining)?;
            peer.say("354 go on")?;
            let message = peer.message()?;
            if message != std::fs::read(large()).unwrap() {
                return Err("the message is another".into());
            }
            peer.say_all(&["250 ok", "250 ok"])?;
            peer.quit(&[])
        });
        let ran = sending_large(&server).run();
        server.finish();
        ran.exits(0).outcomes(&["delivered"; 2]);
    }
}
