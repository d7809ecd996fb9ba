//! No room on the disk, no file numbers left, no memory: our own host's trouble, which is 75.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use super::{TWO, large_message};
use crate::scripted::{Client, Server};

#[test]
fn temporary_file_may_not_grow() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::unused();
    // Half a megabyte is less than the message and, with luck, more than is kept in memory.
    let ran = Client::in_shell(r#"trap '' XFSZ; ulimit -f 1000; exec "$@""#)
        .args(server.destination())
        .typed(TWO)
        .env("TMPDIR", home.path())
        .input(large_message())
        .run();
    server.finish();
    ran.exits(75).outcomes(&["deferred"; 2]).stages(&["input"; 2]);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "something was left behind");
}

#[test]
fn temporary_disk_is_full() {
    // A disk of 256 KiB, in a name space of its own: needs the right to make one.
    let allowed = |with: &[&str]| {
        Command::new("unshare").args(with).arg("true").output().is_ok_and(|o| o.status.success())
    };
    let options: &[&str] = if allowed(&["-m"]) { &["-m"] } else { &["-Urm"] };
    if !allowed(options) {
        return println!("skipped: name spaces are not to be had here");
    }
    let home = tempfile::tempdir().unwrap();
    let server = Server::unused();
    let mut command = Command::new("unshare");
    let script = r#"mount -t tmpfs -o size=256k none "$TMPDIR" && exec "$@""#;
    command.args(options).args(["sh", "-c", script, "sh", env!("CARGO_BIN_EXE_lmtp-send")]);
    let client = Client::of(command).args(server.destination()).typed(TWO);
    let ran = client.env("TMPDIR", home.path()).input(large_message()).run();
    server.finish();
    ran.exits(75).outcomes(&["deferred"; 2]).stages(&["input"; 2]);
}

#[test]
fn temporary_directory_missing() {
    let server = Server::unused();
    let client = Client::to(&server).typed(TWO).env("TMPDIR", "/nonexistent").input(large_message());
    let ran = client.run();
    server.finish();
    ran.exits(75).outcomes(&["deferred"; 2]).stages(&["input"; 2]);
}

#[test]
fn no_file_numbers_left() {
    // Wherever it is that they run out; with enough of them the server's silence is what remains.
    for numbers in 3..12 {
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let host = silent.local_addr().unwrap().to_string();
        let script = format!(r#"ulimit -n {numbers}; exec "$@""#);
        let ran = Client::in_shell(&script).typed(TWO).args(["--timeout", "0.3", "--host", &host]).run();
        println!("{numbers}: {}", ran.stderr);
        let ran = ran.exits(75).within(4.0);
        assert!(ran.report().iter().all(|object| object["outcome"] == "deferred"), "{}", ran.stdout);
    }
}

#[test]
fn no_file_numbers_left_in_the_shells_style() {
    let server = Server::unused();
    let client = Client::in_shell(r#"ulimit -n 3; exec "$@""#).args(server.destination()).typed(TWO);
    let ran = client.typed("--exit-style shell").run();
    server.finish();
    assert_eq!(ran.code(), 71, "{}", ran.stderr);
}

#[test]
fn no_stack_left() {
    // Wherever it is that it runs out: a death by signal would be a bounce for some mail systems.
    let mut overflowed = 0;
    for kibibytes in [32, 40, 48, 64, 96, 128, 192, 256, 512, 1024] {
        let inbox = tempfile::tempdir().unwrap();
        let script = format!(r#"ulimit -s {kibibytes}; exec "$@""#);
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_lmtp-send"), "--sink"]).arg(inbox.path());
        let ran = command.args(["-t", "joe", "tests/messages/hello.eml"]).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        match ran.status.code() {
            Some(0) => {}
            Some(75) => overflowed += usize::from(said.contains("has overflowed its stack")),
            _ => panic!("{kibibytes} KiB: {}: {said}", ran.status),
        }
    }
    assert!(overflowed > 0, "none was small enough");
}

#[test]
fn a_large_message_needs_little_memory() {
    // An address space too small for the message, large enough for the program.
    let server = Server::tcp(|peer| {
        peer.session(&["PIPELINING"])?;
        peer.envelope(2)?;
        peer.message()?;
        peer.quit(&["250 ok", "250 ok"])
    });
    let client = Client::in_shell(r#"ulimit -v 14000; exec "$@""#).args(server.destination()).typed(TWO);
    let ran = client.input(large_message()).run();
    server.finish();
    ran.exits(0).outcomes(&["delivered"; 2]);
}
