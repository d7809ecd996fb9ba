//! Disasters under TLS: in the handshake, and at each stage of a session that is encrypted.
//!
//! The handshakes that fail are played by a scripted server that speaks for itself; the sessions that are encrypted
//! by a scripted server behind a bridge ([`Sealed`]).

pub mod sealed;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::channel;

use super::{At, TWO, saw_no_message};
use crate::scripted::{Client, Peer, Played, Ran, Server, holds_final_dot, script};
use sealed::{Certificates, End, Sealed};

const MODES: [&str; 2] = ["implicit", "starttls"];

/// The program with TLS, for two recipients.
fn client(mode: &str) -> Client {
    Client::new().typed(TWO).args(["--tls", mode]).arg("--tls-ca", &Certificates::path("ours.pem"))
}

/// The program with TLS, towards a server behind a bridge.
fn towards(sealed: &Sealed, mode: &str) -> Client {
    client(mode).args(&sealed.place).args(["--tls-name", "mailbox.example.net"])
}

/// Plays a session as far as TLS is to begin.
fn before_tls(peer: &mut Peer, mode: &str) -> Played {
    if mode == "implicit" {
        return Ok(());
    }
    peer.session(&["STARTTLS"])?;
    peer.expect("STARTTLS")?;
    peer.say("220 go on")
}

/// Takes the ClientHello, and gives the whole answer to it.
fn hello(peer: &mut Peer) -> Played<Vec<u8>> {
    let head = peer.octets(5)?;
    let body = peer.octets(usize::from(head[3]) * 256 + usize::from(head[4]))?;
    let mut tls = Certificates::server();
    for octets in [&head, &body] {
        tls.read_tls(&mut &octets[..]).map_err(|error| error.to_string())?;
    }
    tls.process_new_packets().map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut answer).map_err(|error| error.to_string())?;
    }
    Ok(answer)
}

/// A handshake that `then` makes a disaster: nothing was sent, nothing is lost.
#[track_caller]
fn handshake(then: fn(&mut Peer) -> Played) -> Vec<Ran> {
    let each = MODES.map(|mode| {
        let server = Server::tcp(move |peer| {
            before_tls(peer, mode)?;
            then(peer)
        });
        let ran = client(mode).args(server.destination()).typed("--timeout 0.5").run();
        println!("{mode}: {}", ran.stderr);
        let heard = saw_no_message(server);
        assert!(!heard.octets.windows(4).any(|word| word == b"MAIL"), "went on in the clear");
        ran.exits(75).outcomes(&["deferred"; 2]).stages(&["tls"; 2]).within(4.0)
    });
    each.into()
}

#[test]
fn tls_connection_lost_before_the_handshake() {
    handshake(Peer::close);
    handshake(|peer| {
        // A reset that comes with the connection is one of connecting.
        peer.octets(1)?;
        peer.reset()
    });
}

#[test]
fn tls_connection_lost_after_the_client_hello() {
    handshake(|peer| {
        hello(peer)?;
        peer.close()
    });
}

#[test]
fn tls_connection_lost_in_the_middle_of_the_servers_hello() {
    handshake(|peer| {
        let answer = hello(peer)?;
        peer.send(&answer[..answer.len() / 2])?;
        peer.close()
    });
}

#[test]
fn tls_garbage_for_the_servers_hello() {
    for ran in handshake(|peer| {
        peer.octets(5)?;
        peer.say("220 mailbox LMTP ready")?;
        peer.silence()
    }) {
        ran.says("4.7.0", "not TLS");
    }
}

#[test]
fn tls_silence_in_the_handshake() {
    handshake(Peer::silence);
    handshake(|peer| {
        let answer = hello(peer)?;
        peer.send(&answer[..20])?;
        peer.silence()
    });
}

#[test]
fn tls_plaintext_behind_the_reply_to_starttls() {
    let server = Server::tcp(|peer| {
        peer.session(&["STARTTLS"])?;
        peer.expect("STARTTLS")?;
        peer.say_all(&["220 go on", "250 injected"])?;
        peer.silence()
    });
    let ran = client("starttls").args(server.destination()).run();
    saw_no_message(server);
    ran.exits(75).says("4.5.0", "").outcomes(&["deferred"; 2]).within(4.0);
}

#[test]
fn tls_certificate_not_trusted_or_of_another_name() {
    let other = Certificates::path("other.pem").display().to_string();
    for mode in MODES {
        for wrong in [["--tls-ca", &other], ["--tls-name", "other.example.net"]] {
            for (style, code) in [("mta", 75), ("shell", 77)] {
                let sealed = Sealed::tcp(mode, End::Notified, |peer| {
                    // Who does not trust the certificate may be gone before this is said.
                    peer.say("220 mailbox").map_or(Ok(()), |()| peer.end())
                });
                let ca = Certificates::path("ours.pem").display().to_string();
                let given = [["--tls-ca", &ca], ["--tls-name", "mailbox.example.net"]];
                let given = given.into_iter().filter(|option| option[0] != wrong[0]).flatten();
                let client = Client::new().typed(TWO).args(&sealed.place).args(["--tls", mode]);
                let ran = client.args(given).args(wrong).args(["--exit-style", style]).run();
                sealed.server.finish();
                assert_eq!(ran.code(), code, "{mode} {wrong:?}: {}", ran.stderr);
                assert!(ran.stderr.contains("7.0 "), "{}", ran.stderr);
                assert!(ran.stderr.contains("not verified"), "{}", ran.stderr);
                ran.within(4.0);
            }
        }
    }
}

/// A run against a session that goes as far as `at`, where `then` is the disaster.
#[track_caller]
fn session(at: At, end: End, limit: &str, then: impl Fn(&mut Peer) -> Played + Copy + Send + 'static) {
    for mode in MODES.into_iter().filter(|mode| at > At::Greeting || *mode == "implicit") {
        let sealed = Sealed::tcp(mode, end, move |peer| {
            at.play(peer, mode == "implicit")?;
            then(peer)
        });
        println!("{at:?} {mode} {end:?}");
        let ran = towards(&sealed, mode).args(["--timeout", limit]).run();
        let heard = sealed.server.finish().pop().unwrap();
        assert_eq!(holds_final_dot(&heard.octets), at >= At::AfterDot);
        let ran = ran.exits(75).outcomes(&at.outcomes()).within(4.0);
        assert_eq!(ran.report()[1]["stage"], at.stage(), "{}", ran.stdout);
    }
}

/// Where a short message does not stop.
const STAGES: [At; 7] =
    [At::Greeting, At::Lhlo, At::Mail, At::Rcpt, At::Data, At::AfterDot, At::BetweenReplies];

#[test]
fn tls_connection_lost_at_each_stage() {
    for at in STAGES {
        for end in [End::Notified, End::Truncated, End::Reset] {
            session(at, end, "8", Peer::close);
        }
    }
}

#[test]
fn tls_half_a_reply_at_each_stage() {
    // What was cut off is no reply, however much like one it looks.
    for at in STAGES {
        for half in ["2", "250 delivered", "250 delivered\r", "250-delivered\r\n", "250-delivered\r\n250"] {
            session(at, End::Truncated, "8", move |peer| {
                peer.send(half.as_bytes())?;
                peer.close()
            });
        }
    }
}

#[test]
fn tls_timed_out_at_each_stage() {
    for at in STAGES {
        session(at, End::Truncated, "0.6", Peer::silence);
    }
}

/// A message of `size` octets, in lines.
fn message(size: usize) -> Vec<u8> {
    [&b"Subject: large\r\n\r\n"[..], &[&[b'x'; 62][..], b"\r\n"].concat().repeat(size / 64)].concat()
}

#[test]
fn tls_server_stops_reading_and_falls_silent() {
    // What waits in the program when it gives up must not be sent as it leaves.
    type Start = fn(&'static str, Box<dyn FnOnce(&mut Peer) -> Played + Send>) -> Sealed;
    let tcp: Start = |mode, script| Sealed::tcp(mode, End::Truncated, script);
    let unix: Start = |mode, script| Sealed::unix(mode, End::Truncated, script);
    for (start, size) in [(tcp, 6_400_000), (unix, 1_000_000), (unix, 300_000)] {
        for mode in MODES {
            let (over, word) = channel();
            let sealed = start(
                mode,
                Box::new(move |peer| {
                    At::MidMessage.play(peer, true)?;
                    peer.hold(&word)?;
                    peer.silence()
                }),
            );
            let ran = towards(&sealed, mode).typed("--timeout 0.6").input(message(size)).run();
            over.send(()).unwrap();
            println!("{mode} {size}: {}", ran.stderr);
            let heard = saw_no_message(sealed.server);
            assert!(heard.octets.len() > 10_000, "{}", heard.octets.len());
            ran.exits(75).outcomes(&["deferred"; 2]).within(4.0);
        }
    }
}

#[test]
fn tls_server_refuses_while_the_message_is_still_being_written() {
    for end in [End::Notified, End::Truncated, End::Reset] {
        for mode in MODES {
            println!("{mode} {end:?}");
            let sealed = Sealed::tcp(mode, end, |peer| {
                At::MidMessage.play(peer, true)?;
                peer.say_all(&["552 5.3.4 too big", "552 5.3.4 too big"])?;
                peer.close()
            });
            let ran = towards(&sealed, mode).typed("--timeout 5").input(message(6_400_000)).run();
            sealed.server.finish();
            let ran = ran.exits(65).outcomes(&["failed"; 2]).within(5.0);
            assert_eq!(ran.report()[0]["code"], 552, "{}", ran.stdout);
        }
    }
}

#[test]
fn tls_replies_in_records_of_one_octet() {
    for mode in MODES {
        let sealed = Sealed::tcp(mode, End::Notified, |peer| {
            At::BetweenReplies.play(peer, true)?;
            peer.say("250 delivered")?;
            peer.quit(&[])
        });
        let ran = towards(&sealed, mode).run();
        sealed.server.finish();
        ran.exits(0).outcomes(&["delivered"; 2]).within(4.0);
    }
}

#[test]
fn tls_says_that_nobody_was_verified() {
    for (mode, options, word) in [
        ("implicit", "--tls implicit --tls-insecure", "--tls-insecure"),
        ("starttls", "--tls starttls --tls-insecure", "--tls-insecure"),
        ("starttls", "--tls opportunistic", "--tls opportunistic"),
    ] {
        for (verbose, said) in [("", false), ("-v", true)] {
            let sealed = Sealed::tcp(mode, End::Notified, |peer| {
                At::BetweenReplies.play(peer, true)?;
                peer.say("250 delivered")?;
                peer.quit(&[])
            });
            let ran = Client::new().typed(TWO).typed(options).typed(verbose).args(&sealed.place).run();
            sealed.server.finish();
            assert_eq!(ran.code(), 0, "{}", ran.stderr);
            let words = format!("the server's certificate was not verified ({word})");
            assert_eq!(ran.stderr.contains(&words), said, "{options}: {}", ran.stderr);
        }
    }
}

#[test]
fn tls_opportunistic_goes_on_in_clear_and_says_so() {
    let failing = |peer: &mut Peer| {
        before_tls(peer, "starttls")?;
        peer.octets(5)?;
        peer.say("454 no TLS after all")?;
        peer.silence()
    };
    let clear = |peer: &mut Peer| {
        At::BetweenReplies.play(peer, true)?;
        peer.say("250 delivered")?;
        peer.quit(&[])
    };
    let server = Server::tcp_in_turn(vec![script(failing), script(clear)]);
    let client = Client::new().typed(TWO).typed("--tls opportunistic -v").args(server.destination());
    let ran = client.run().within(4.0);
    server.finish();
    assert_eq!(ran.code(), 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("the server's reply is not TLS; sent without TLS"), "{}", ran.stderr);
}

/// A permission that was lost does not bounce mail, and what to look at is said.
#[test]
fn tls_files_that_may_not_be_read_are_named_with_who_we_are() {
    let home = tempfile::tempdir().unwrap();
    let closed = home.path().join("closed");
    fs::create_dir(&closed).unwrap();
    for name in ["cert.pem", "key.pem"] {
        fs::copy(Certificates::path("ours.pem"), closed.join(name)).unwrap();
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let (certificate, key) = (closed.join("cert.pem"), closed.join("key.pem"));
    let readable = home.path().join("ours.pem");
    fs::copy(Certificates::path("ours.pem"), &readable).unwrap();
    for files in [
        &[("--tls-ca", &certificate)][..],
        &[("--tls-cert", &certificate), ("--tls-key", &readable)],
        &[("--tls-cert", &readable), ("--tls-key", &key)],
    ] {
        let server = Server::unused();
        let client =
            Client::unprivileged(home.path()).typed(TWO).typed("--tls starttls").args(server.destination());
        let client = files.iter().fold(client, |client, (option, file)| client.arg(option, file));
        let ran = client.run();
        server.finish();
        let words = format!("permission denied at {} (running as uid ", closed.display());
        assert!(ran.stderr.contains(&words), "{}", ran.stderr);
        ran.exits(75).says("4.7.0", "cannot read");
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn tls_is_described_in_the_transcript() {
    for (mode, options, word) in
        [("implicit", "-vv", ", verified\n"), ("starttls", "-vv --tls-insecure", ", not verified\n")]
    {
        let sealed = Sealed::tcp(mode, End::Notified, |peer| {
            At::BetweenReplies.play(peer, true)?;
            peer.say("250 delivered")?;
            peer.quit(&[])
        });
        let ran = if options.contains("insecure") {
            Client::new().typed(TWO).args(&sealed.place).args(["--tls", mode]).typed(options).run()
        } else {
            towards(&sealed, mode).typed(options).run()
        };
        sealed.server.finish();
        let line = ran.stderr.lines().find(|line| line.contains(" -- TLSv1.3, TLS"));
        let line = format!("{}\n", line.unwrap_or_else(|| panic!("{}", ran.stderr)));
        assert!(line.contains("mailbox.example.net") && line.ends_with(word), "{line}");
    }
}
