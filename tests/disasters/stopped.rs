//! A run of several messages that is told to stop: what is in flight is known, nothing new is begun, and one line says
//! what is left.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::many::files;
use super::{ONE, TWO, holds_the_second, large_message};
use crate::scripted::{Client, Halted, PATIENCE, Ran, Running, Server, halt, holds_final_dot};

/// How often each outcome is in the report.
fn counts(ran: &Ran) -> [usize; 3] {
    let report = ran.report();
    ["delivered", "deferred", "uncertain"]
        .map(|outcome| report.iter().filter(|object| object["outcome"] == outcome).count())
}

/// A server that [holds the second](holds_the_second) and answers with `replies` a while later. The run, which has been told to stop by then.
fn stopped(client: impl FnOnce(&Server) -> Client, replies: &'static [&str]) -> (Server, Running) {
    let (server, halted) = holds_the_second(Duration::from_millis(300), replies);
    let running = signalled(client(&server), &halted, Signal::INT);
    (server, running)
}

/// The run, which is sent `signal` while the server waits.
fn signalled(client: Client, halted: &Halted, signal: Signal) -> Running {
    let running = client.start();
    halted.reached();
    running.signal(signal);
    halted.go_on();
    running
}

#[test]
fn told_to_stop_between_many_messages() {
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path(), 1000);
    let client = |server: &Server| Client::to(server).typed(ONE).args(&files);
    let (server, running) = stopped(client, &["250 2.0.0 delivered", "250 ok", "250 ok", "354 go on"]);
    let ran = running.wait();
    let heard = server.finish().pop().unwrap();
    let text = String::from_utf8_lossy(&heard.octets);
    assert_eq!(text.matches("\r\n.\r\n").count(), 1, "the second message was not sent: {text}");
    let ran = ran.exits(75).within(5.0);
    assert_eq!(counts(&ran), [1, 999, 0]);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.stderr);
    let expected =
        format!("4.3.0 999 messages not begun, from {} on: stopped by a signal", files[1].display());
    assert_eq!(lines[0], expected);
    let expected = format!("to continue: send the messages from {} on; ", files[1].display());
    assert!(lines[1].starts_with(&expected) && lines[1].contains("--ledger"), "{}", lines[1]);
    assert!(
        ran.report()[1..]
            .iter()
            .all(|object| object["stage"] == "input" && object["attempts"] == 1 || object["attempts"] == 0)
    );
}

#[test]
fn told_to_stop_between_the_recipients_of_a_message() {
    // Half of it is delivered: who has it is not to be sent it again by whoever repeats what was not begun.
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path(), 2);
    let (halt, halted) = halt();
    let server = Server::unix(move |peer| {
        peer.session(&["PIPELINING", "LIMITS RCPTMAX=1"])?;
        peer.envelope(1)?;
        peer.message()?;
        peer.flight(&["MAIL FROM:<me@example.net>", "RCPT TO:<b@example.net>", "DATA"])?;
        halt.wait(peer)?;
        std::thread::sleep(Duration::from_millis(300));
        peer.say_all(&["250 2.0.0 delivered", "250 ok", "250 ok", "354 go on"])?;
        peer.silence()
    });
    let running = signalled(Client::to(&server).typed(TWO).args(&files), &halted, Signal::INT);
    let ran = running.wait().exits(75).within(5.0);
    server.finish();
    assert_eq!(counts(&ran), [1, 3, 0]);
    let own = format!("4.3.0 <b@example.net>: stopped by a signal ({})", files[0].display());
    let left = format!("4.3.0 1 message not begun, {}: stopped by a signal", files[1].display());
    assert_eq!(ran.stderr.lines().take(2).collect::<Vec<_>>(), [own, left], "{}", ran.stderr);
    assert!(ran.stderr.contains("to continue: send what --report calls deferred"), "{}", ran.stderr);
}

#[test]
fn told_to_stop_and_the_server_says_nothing() {
    // What is in flight has a few seconds, and no more.
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path(), 5);
    let client = |server: &Server| Client::to(server).typed(ONE).args(&files);
    let (server, running) = stopped(client, &[]);
    let ran = running.wait().exits(75).within(8.0);
    server.finish();
    assert_eq!(counts(&ran), [0, 4, 1]);
    let expected = format!("to continue: send the messages from {} on; ", files[0].display());
    assert!(ran.stderr.contains(&expected), "what was in flight is left too: {}", ran.stderr);
    assert!(ran.took > Duration::from_secs(2), "{:?}", ran.took);
    assert!(ran.stderr.contains("the message may have been delivered"), "{}", ran.stderr);
}

#[test]
fn told_to_stop_within_the_deadline_or_twice() {
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path(), 5);
    let client = |server: &Server| Client::to(server).typed(ONE).typed("--deadline 1").args(&files);
    let (server, running) = stopped(client, &[]);
    let ran = running.wait().exits(75).within(2.9);
    server.finish();
    assert_eq!(counts(&ran), [0, 4, 1]);

    let client = |server: &Server| Client::to(server).typed(ONE).args(&files);
    let (server, running) = stopped(client, &[]);
    std::thread::sleep(Duration::from_millis(200));
    running.signal(Signal::INT);
    let ran = running.wait().within(2.5);
    server.finish();
    assert_eq!((ran.code(), ran.stderr.as_str()), (75, ""));
}

#[test]
fn told_to_stop_with_a_ledger() {
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path(), 6);
    let ledger = home.path().join("the ledger");
    let client = |server: &Server| {
        Client::to(server).typed(ONE).args(&files).arg("--ledger", &ledger).typed("--summary json")
    };
    let (server, running) = stopped(client, &["250 2.0.0 delivered", "250 ok", "250 ok", "354 go on"]);
    let socket = PathBuf::from(server.name());
    let ran = running.wait().exits(75);
    // What is said is run as it stands.
    let summary: serde_json::Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(summary["messages"], 6, "those that were not begun are counted, as their recipients are");
    let words = summary["to_go_on"].as_str().unwrap();
    let line = words.lines().last().unwrap().to_owned();
    assert!(line.contains("'") && line.contains("the ledger"), "{line}");
    server.finish();
    fs::remove_file(&socket).ok();
    let sink = line.replacen(&format!("--socket {}", socket.display()), "--sink sink", 1);
    let output =
        std::process::Command::new("sh").args(["-c", &sink]).current_dir(home.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{sink}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_dir(home.path().join("sink/a@example.net/new")).unwrap().count(), 5);
}

#[test]
fn told_to_stop_while_one_of_several_is_sent() {
    // It is in flight: it goes to its end, where the server takes it.
    let home = tempfile::tempdir().unwrap();
    let large = home.path().join("large.eml");
    fs::write(&large, large_message()).unwrap();
    let small = files(home.path(), 2);
    let (halt, halted) = halt();
    let server = Server::unix(move |peer| {
        peer.session(&["PIPELINING"])?;
        peer.envelope(2)?;
        peer.octets(10_000)?;
        halt.wait(peer)?;
        peer.message()?;
        peer.say_all(&["250 2.0.0 delivered", "250 2.0.0 delivered"])?;
        peer.quit(&[])
    });
    let running =
        signalled(Client::to(&server).typed(TWO).args([&large]).args(&small), &halted, Signal::TERM);
    let ran = running.wait();
    assert!(holds_final_dot(&server.finish().pop().unwrap().octets));
    let ran = ran.exits(75).within(6.0);
    assert_eq!(counts(&ran), [2, 4, 0]);
    assert!(ran.stderr.starts_with("4.3.0 2 messages not begun, from "), "{}", ran.stderr);
}

#[test]
fn told_to_stop_when_all_are_begun_and_one_is_left() {
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path(), 2);
    for (ledger, expected) in
        [(false, format!("from {} on; ", files[1].display())), (true, "--ledger".into())]
    {
        let client = |server: &Server| {
            let client = Client::to(server).typed(ONE).args(&files);
            if ledger { client.arg("--ledger", &home.path().join("ledger")) } else { client }
        };
        let (server, running) = stopped(client, &["250 2.0.0 delivered", "421 4.3.2 going down"]);
        let ran = running.wait().exits(75);
        server.finish();
        assert_eq!(counts(&ran), [1, 1, 0]);
        let (_, words) = ran.stderr.split_once("to continue:").unwrap();
        assert!(words.contains(&expected), "{}", ran.stderr);
    }
}

#[test]
fn told_to_stop_between_messages_at_a_slow_rate() {
    // Those that are not sent are not waited for, one after the other.
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path(), 20);
    let client = Client::new().typed(ONE).typed("--rate 1").arg("--sink", &home.path().join("sink"));
    let running = client.args(&files).start();
    std::thread::sleep(Duration::from_millis(1_300));
    running.signal(Signal::TERM);
    let ran = running.wait().exits(75).within(6.0);
    let [delivered, deferred, uncertain] = counts(&ran);
    assert!((1..4).contains(&delivered) && delivered + deferred == 20 && uncertain == 0, "{}", ran.stderr);
}

#[test]
fn told_to_stop_when_the_reply_to_the_only_message_is_due() {
    let (halt, halted) = halt();
    let server = Server::unix(move |peer| {
        peer.session(&["PIPELINING"])?;
        peer.envelope(1)?;
        peer.message()?;
        peer.expect("QUIT")?;
        halt.wait(peer)?;
        std::thread::sleep(Duration::from_millis(200));
        peer.say_all(&["250 2.0.0 delivered", "221 bye"])?;
        peer.end()
    });
    let running = signalled(Client::to(&server).typed(ONE), &halted, Signal::TERM);
    running.wait().exits(0).outcomes(&["delivered"]);
    server.finish();
}

#[test]
fn told_to_stop_while_a_list_or_an_mbox_is_still_being_written() {
    // What was to be read on is no message; it stands behind the last one that was read.
    let home = tempfile::tempdir().unwrap();
    for (options, input, last) in
        [("--files-from -", "m\n", "m"), ("--mbox -", "From x\nSubject: 1\n\n1\n\nFrom y\nSubj", "-#1")]
    {
        fs::write(home.path().join("m"), "Subject: m\n\nm\n").unwrap();
        let sink = home.path().join(format!("sink of {last}"));
        let client = Client::new().typed(ONE).arg("--sink", &sink).dir(home.path());
        let mut running = client.typed(options).typed("--summary json").hungry().start();
        running.feed(input.as_bytes());
        let new = sink.join("a@example.net/new");
        let until = std::time::Instant::now() + PATIENCE;
        while fs::read_dir(&new).map_or(0, Iterator::count) == 0 && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        running.signal(Signal::TERM);
        let ran = running.wait().exits(75).within(8.0);
        assert!(
            ran.stderr.starts_with("4.3.0 ") && ran.stderr.contains("stopped by a signal"),
            "{}",
            ran.stderr
        );
        let expected = format!("to continue: send the messages behind {last}; a run with --ledger");
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
        assert_eq!(counts(&ran), [1, 1, 0]);
        let summary: serde_json::Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
        assert_eq!(summary["messages"], 1, "{summary}");
    }
}

#[test]
fn told_to_stop_while_a_list_is_waited_for_with_a_ledger() {
    let home = tempfile::tempdir().unwrap();
    let client = Client::new().typed(ONE).arg("--sink", &home.path().join("sink")).dir(home.path());
    let running = client.typed("--files-from - --ledger ledger").hungry().start();
    running.ready();
    running.signal(Signal::TERM);
    let ran = running.wait().exits(75).within(8.0);
    let (_, command) = ran.stderr.split_once("to continue, with the same standard input:\n").unwrap();
    assert!(command.contains("--files-from - --ledger ledger"), "{}", ran.stderr);
}
