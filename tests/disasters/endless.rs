//! Waits that would never end: each is ended by the deadline, by a signal, and by a second one.

use std::fs;
use std::io::PipeReader;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::ONE;
use super::waiting::{PLAIN, SOON, certificate, elsewhere, fifo, full_pipe, pipe, sixty};
use crate::scripted::{Client, Peer, Played, Server};

/// What never comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Never {
    /// A reader of the report.
    Report,
    /// A reader of the diagnostics at the end.
    Diagnostics,
    /// A reader of the dialogue, in the middle of the session.
    Dialogue,
    /// The other end of a FIFO: what stands before it, and its option.
    Fifo(&'static str, &'static str),
    /// The end of the look-up of a host.
    Host,
    /// The end of the look-up of the user.
    User,
}

const ALL: [Never; 11] = [
    Never::Report,
    Never::Diagnostics,
    Never::Dialogue,
    Never::Fifo("--report json", "--report-file"),
    Never::Fifo("", "--config"),
    Never::Fifo("--user me", "--password-file"),
    Never::Fifo("--tls starttls", "--tls-ca"),
    Never::Fifo("--tls starttls --tls-key /dev/null", "--tls-cert"),
    Never::Fifo("--tls starttls --tls-insecure --tls-cert CERT", "--tls-key"),
    Never::Host,
    Never::User,
];

/// What ends the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Deadline,
    Signal,
    SecondSignal,
}

/// Refuses the only recipient, or delivers to it.
fn answers(delivers: bool) -> impl FnOnce(&mut Peer) -> Played {
    move |peer| {
        peer.session(&["PIPELINING"])?;
        peer.flight(&["MAIL {any}", "RCPT {any}", "DATA"])?;
        if delivers {
            peer.say_all(&["250 ok", "250 ok", "354 go on"])?;
            peer.message()?;
            peer.say("250 2.0.0 delivered")?;
        } else {
            peer.say_all(&["250 ok", "550 5.1.1 nobody", "503 5.5.1 nobody"])?;
        }
        peer.silence()
    }
}

/// The run that waits, and its server, if it can be had here. What is kept in `ends` has nobody who reads it.
fn run(never: Never, home: &std::path::Path, ends: &mut Vec<PipeReader>) -> Option<(Client, Server)> {
    let mut unread = || {
        let (read, write) = full_pipe(false);
        ends.push(read);
        write
    };
    Some(match never {
        Never::Report => {
            let server = Server::tcp(answers(true));
            (Client::to(&server).typed(ONE).stdout(unread()), server)
        }
        Never::Diagnostics => {
            let server = Server::tcp(answers(false));
            (Client::to(&server).typed(PLAIN).stderr(unread()), server)
        }
        Never::Dialogue => {
            let server = Server::tcp(|peer| {
                peer.session(&["PIPELINING"])?;
                peer.silence()
            });
            // It holds the beginning of the dialogue.
            let (read, write) = pipe(false);
            ends.push(read);
            (Client::to(&server).args(sixty()).typed("-vv").stderr(write), server)
        }
        Never::Fifo(options, option) => {
            let server = Server::unused();
            let options = options.replace("CERT", &certificate(home));
            (Client::to(&server).typed(PLAIN).typed(&options).arg(option, &fifo(home)), server)
        }
        Never::Host => {
            let client = elsewhere(home, Some("exec sleep 30"))?;
            (client.typed(PLAIN).typed("--host mailbox.example"), Server::unused())
        }
        Never::User => {
            let server = Server::unused();
            let client = elsewhere(home, Some("case $1 in passwd) exec sleep 30;; esac; exit 2"))?;
            let client = client.env("LOGNAME", "").input("Subject: nobody sends it\n\n");
            (client.args(server.destination()).typed("--lhlo me.example -t a@example.net"), server)
        }
    })
}

/// The exit code, which says what is known of the mail.
fn expected(never: Never, end: End) -> i32 {
    if never == Never::Diagnostics && end != End::SecondSignal { 67 } else { 75 }
}

fn is_ended(never: Never, end: End) {
    let (home, mut ends) = (tempfile::tempdir().unwrap(), Vec::new());
    let Some((mut client, server)) = run(never, home.path(), &mut ends) else { return };
    if end == End::Deadline {
        client = client.typed("--deadline 1");
    } else if end == End::SecondSignal {
        // Its last words are waited for too.
        let ((out, stdout), (err, stderr)) = (full_pipe(false), full_pipe(false));
        ends.extend([out, err]);
        client = client.stdout(stdout);
        if never != Never::Dialogue {
            client = client.stderr(stderr);
        }
    }
    let running = client.start();
    if end != End::Deadline {
        running.ready();
        thread::sleep(2 * SOON);
        running.signal(Signal::TERM);
    }
    if end == End::SecondSignal {
        thread::sleep(SOON);
        // It may have ended by now.
        kill_process(Pid::from_raw(running.id()).unwrap(), Signal::INT).ok();
    }
    let ran = running.wait().within(15.0);
    assert_eq!(ran.code(), expected(never, end), "{never:?}, {end:?}: {}", ran.stderr);
    if matches!(never, Never::Fifo(..) | Never::Host | Never::User) && end == End::Signal {
        // It is the signal that is told, and not what was waited for.
        assert!(ran.stderr.starts_with("4.3.0 "), "{never:?}: {}", ran.stderr);
    }
    server.finish();
}

#[test]
fn every_wait_is_ended_by_the_deadline_and_by_each_signal() {
    thread::scope(|scope| {
        for never in ALL {
            for end in [End::Deadline, End::Signal, End::SecondSignal] {
                let name = format!("{never:?}, {end:?}");
                thread::Builder::new().name(name).spawn_scoped(scope, move || is_ended(never, end)).unwrap();
            }
        }
    });
}

/// The configuration or the password comes late or never, and nobody ever reads the report: that is not two deadlines.
#[test]
fn all_that_comes_before_the_first_message_has_one_deadline() {
    thread::scope(|scope| {
        for (option, content, comes) in [
            ("--config", "all-or-nothing = true\n", true),
            ("--password-file", "secret\n", true),
            ("--password-file", "", false),
        ] {
            scope.spawn(move || {
                let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
                let (late, report) = (fifo(home.path()), fifo(other.path()));
                let server = Server::unused();
                let client =
                    Client::to(&server).typed(PLAIN).typed("--user me").env("LMTP_SEND_DEADLINE", "5");
                let client = client.env("LMTP_SEND_PASSWORD", "secret").arg(option, &late);
                let running = client.arg("--report-file", &report).start();
                if comes {
                    thread::sleep(10 * SOON);
                    fs::write(&late, content).unwrap();
                }
                running.wait().exits(75).within(7.5);
                server.finish();
            });
        }
    });
}
