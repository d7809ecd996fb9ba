//! Readers that are slow, absent or never come; streams that do not block; parents that leave odd things behind.

use std::fs;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, fcntl_getfl, fcntl_setfl, mkfifoat};
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;

use super::{At, ONE, TWO};
use crate::scripted::{Client, Peer, Played, Server};

pub const SOON: Duration = Duration::from_millis(300);
pub const PLAIN: &str = "-f me@example.net -t a@example.net";

/// A pipe that holds 4 KiB.
pub fn pipe(nonblocking: bool) -> (PipeReader, PipeWriter) {
    let (read, write) = std::io::pipe().unwrap();
    fcntl_setpipe_size(&write, 4096).unwrap();
    if nonblocking {
        fcntl_setfl(&write, fcntl_getfl(&write).unwrap() | OFlags::NONBLOCK).unwrap();
    }
    (read, write)
}

/// A pipe that is full.
pub fn full_pipe(nonblocking: bool) -> (PipeReader, PipeWriter) {
    let (read, mut write) = pipe(nonblocking);
    write.write_all(&[b'-'; 4096]).unwrap();
    (read, write)
}

/// What is read by a reader that begins late.
fn read_late(mut from: PipeReader) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        thread::sleep(2 * SOON);
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    })
}

/// Sixty recipients.
pub fn sixty() -> Vec<String> {
    let recipients = (0..60).flat_map(|i| ["-t".to_owned(), format!("recipient-{i}@example.net")]);
    ["-f", "me@example.net"].map(str::to_owned).into_iter().chain(recipients).collect()
}

/// Delivers to sixty recipients, or refuses them all.
fn takes_sixty(delivers: bool) -> impl FnOnce(&mut Peer) -> Played {
    move |peer| {
        peer.session(&["PIPELINING"])?;
        if delivers {
            peer.envelope(60)?;
            peer.message()?;
            peer.expect("QUIT")?;
            peer.say_all(&["250 2.0.0 delivered, and it is a long story that is told about it"; 60])?;
        } else {
            peer.expect("MAIL {any}")?;
            for _ in 0..60 {
                peer.expect("RCPT {any}")?;
            }
            peer.expect("DATA")?;
            peer.say("250 ok")?;
            peer.say_all(&["550 5.1.1 no such user, and it is a long story that is told about it"; 60])?;
            peer.say("503 nobody")?;
            peer.expect("QUIT")?;
        }
        peer.say("221 bye")?;
        peer.end()
    }
}

/// Delivers one message to one recipient.
fn delivers(peer: &mut Peer) -> Played {
    peer.session(&["PIPELINING"])?;
    peer.envelope(1)?;
    peer.message()?;
    peer.quit(&["250 2.0.0 delivered"])
}

/// Delivers one message to one recipient, sends word, and stays.
fn delivers_and_stays(peer: &mut Peer, reached: &Sender<()>) -> Played {
    peer.session(&["PIPELINING"])?;
    peer.envelope(1)?;
    peer.message()?;
    peer.expect("QUIT")?;
    peer.say_all(&["250 2.0.0 delivered", "221 bye"])?;
    reached.send(()).ok();
    peer.silence()
}

/// A FIFO in `home`.
pub fn fifo(home: &Path) -> std::path::PathBuf {
    let path = home.join("fifo");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    path
}

// --- readers that are slow

#[test]
fn stdout_does_not_block_and_is_read_late() {
    for nonblocking in [true, false] {
        let server = Server::tcp(takes_sixty(true));
        let (read, write) = pipe(nonblocking);
        let running = Client::to(&server).args(sixty()).typed("--report json").stdout(write).start();
        let told = read_late(read);
        let ran = running.wait();
        server.finish();
        ran.exits(0);
        assert_eq!(told.join().unwrap().lines().count(), 60);
    }
}

#[test]
fn stderr_does_not_block_and_is_read_late() {
    for (delivered, option, code, lines) in [(false, "", 67, 60), (true, "-v", 0, 60), (true, "-vv", 0, 180)]
    {
        let server = Server::tcp(takes_sixty(delivered));
        let (read, write) = pipe(true);
        let running = Client::to(&server).args(sixty()).typed(option).stderr(write).start();
        let told = read_late(read);
        let ran = running.wait();
        server.finish();
        assert_eq!(ran.code(), code);
        let told = told.join().unwrap();
        assert!(told.lines().count() >= lines, "{option}: {told}");
    }
}

#[test]
fn an_answer_is_written_to_a_stdout_that_does_not_block() {
    let (read, write) = pipe(true);
    let running = Client::new().typed("--help").stdout(write).start();
    let told = read_late(read);
    let ran = running.wait();
    assert_eq!(ran.code(), 0, "{}", ran.stderr);
    assert!(told.join().unwrap().len() > 4096);
}

// --- readers that never come

#[test]
fn nobody_reads_the_report() {
    for nonblocking in [true, false] {
        let server = Server::tcp(delivers);
        let (_read, write) = full_pipe(nonblocking);
        let ran = Client::to(&server).typed(ONE).typed("--deadline 1").stdout(write).run();
        server.finish();
        ran.exits(75).says("4.3.0", "it was not read in time").within(15.0);
    }
}

#[test]
fn nobody_reads_the_dialogue() {
    // The mail is worth more than what nobody reads.
    for nonblocking in [true, false] {
        let server = Server::tcp(delivers);
        let (_read, write) = full_pipe(nonblocking);
        let ran = Client::to(&server).typed(ONE).typed("--deadline 4 -vv").stderr(write).run();
        server.finish();
        assert_eq!(ran.code(), 0);
        ran.outcomes(&["delivered"]).within(15.0);
    }
}

#[test]
fn told_to_stop_while_nobody_reads_the_report() {
    let (reached, there) = channel();
    let server = Server::tcp(move |peer| delivers_and_stays(peer, &reached));
    let (_read, write) = full_pipe(false);
    let running = Client::to(&server).typed(ONE).stdout(write).start();
    there.recv().unwrap();
    thread::sleep(SOON);
    running.signal(Signal::TERM);
    running.wait().exits(75).within(10.0);
    server.finish();
}

#[test]
fn told_to_stop_twice() {
    // The first lets the run end in good order; the second ends it.
    for (option, code) in [("", 75), ("--exit-style qmail", 111)] {
        let (reached, there) = channel();
        let server = Server::tcp(move |peer| delivers_and_stays(peer, &reached));
        let (_read, write) = full_pipe(false);
        let running = Client::to(&server).typed(ONE).typed(option).stdout(write).start();
        there.recv().unwrap();
        thread::sleep(SOON);
        running.signal(Signal::TERM);
        thread::sleep(SOON);
        running.signal(Signal::INT);
        let ran = running.wait().within(10.0);
        server.finish();
        assert_eq!((ran.code(), ran.stderr.as_str()), (code, ""));
    }
}

#[test]
fn nobody_opens_the_other_end() {
    let home = tempfile::tempdir().unwrap();
    let fifo = fifo(home.path());
    for (options, file) in [
        ("--report json --deadline 0.5", "--report-file"),
        ("--user me --timeout 0.5", "--password-file"),
        ("--tls starttls --timeout 0.5", "--tls-ca"),
        ("--tls starttls --tls-key /dev/null --timeout 0.5", "--tls-cert"),
        ("--tls starttls --tls-insecure --tls-cert CERT --timeout 0.5", "--tls-key"),
    ] {
        let server = Server::unused();
        let options = options.replace("CERT", &certificate(home.path()));
        println!("{file}");
        let ran = Client::to(&server).typed(PLAIN).typed(&options).arg(file, &fifo).run();
        server.finish();
        ran.exits(75).within(10.0);
    }
}

/// A file with a certificate.
pub fn certificate(home: &Path) -> String {
    let path = home.join("certificate.pem");
    let made = rcgen::generate_simple_self_signed(["mailbox".to_owned()]).unwrap();
    fs::write(&path, made.cert.pem()).unwrap();
    path.display().to_string()
}

/// Waiting for a configuration takes no time from what is waited for by --timeout behind it.
#[test]
fn a_configuration_that_comes_late_leaves_the_password_its_time() {
    let home = tempfile::tempdir().unwrap();
    let path = fifo(home.path());
    let server = Server::unix(asks_for_the_password);
    let options = ["--user", "me", "--timeout", "1", "--password-command", "sh -c 'sleep 0.3; echo secret'"];
    let running = Client::to(&server).typed(PLAIN).args(options).arg("--config", &path).start();
    thread::sleep(Duration::from_millis(1200));
    fs::write(&path, "all-or-nothing = true\n").unwrap();
    let ran = running.wait();
    server.finish();
    ran.exits(75).says("4.7.0", "535");
}

#[test]
fn a_configuration_that_never_comes_is_waited_for_until_the_deadline() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::unused();
    let options = "--timeout 0.1 --deadline 0.6";
    let ran = Client::to(&server).typed(PLAIN).typed(options).arg("--config", &fifo(home.path())).run();
    server.finish();
    assert!(ran.took >= Duration::from_millis(500), "{:?}", ran.took);
    ran.exits(75).says("4.3.5", "it took too long (--deadline)");
}

#[test]
fn the_report_and_the_password_come_through_a_fifo() {
    let home = tempfile::tempdir().unwrap();
    let path = fifo(home.path());
    let server = Server::unix(asks_for_the_password);
    let running = Client::to(&server).typed(PLAIN).typed("--user me").arg("--password-file", &path).start();
    fs::write(&path, "secret\nmore\n").unwrap();
    let ran = running.wait();
    server.finish();
    ran.exits(75).says("4.7.0", "535");

    let server = Server::tcp(delivers);
    let running = Client::to(&server).typed(ONE).arg("--report-file", &path).start();
    thread::sleep(SOON);
    let report = fs::read_to_string(&path).unwrap();
    running.wait().exits(0);
    server.finish();
    assert_eq!(report.lines().count(), 1, "{report}");
}

// --- when lines appear

#[test]
fn what_became_of_a_message_is_said_at_once() {
    let server = Server::tcp(delivers);
    let (mut read, write) = pipe(false);
    let mut running = Client::to(&server)
        .typed(PLAIN)
        .args(["-v", "tests/messages/hello.eml", "-"])
        .hungry()
        .stderr(write)
        .start();
    let mut line = [0; 6];
    read.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"2.0.0 ");
    server.finish();
    // The second message is still to come, and is empty.
    running.fed();
    assert_eq!(running.wait().code(), 65);
}

#[test]
fn the_line_that_decides_comes_first_for_each_message() {
    let server = Server::tcp(|peer| {
        peer.session(&[])?;
        for second in ["250 ok", "550 5.1.1 nobody"] {
            for (command, reply) in
                [("MAIL", "250 ok"), ("RCPT", "250 ok"), ("RCPT", second), ("DATA", "354 go on")]
            {
                peer.expect(&format!("{command}{}", if command == "DATA" { "" } else { " {any}" }))?;
                peer.say(reply)?;
            }
            peer.message()?;
            peer.say("250 2.0.0 delivered")?;
            if second == "250 ok" {
                peer.say("250 2.0.0 delivered")?;
            }
        }
        peer.quit(&[])
    });
    let files = ["tests/messages/hello.eml"; 2];
    let ran = Client::to(&server).typed(TWO).typed("-v").args(files).run();
    server.finish();
    let lines: Vec<&str> = ran.stderr.lines().take(4).map(|line| &line[..5]).collect();
    // What decides for the run does not come before what became of the first message.
    assert_eq!(lines, ["2.0.0", "2.0.0", "5.1.1", "2.0.0"], "{}", ran.stderr);
    assert_eq!(ran.code(), 67);
}

// --- parents that leave odd things behind

#[test]
fn a_signal_that_is_ignored_at_the_start_stays_ignored() {
    // All of them, too, as Exim has it.
    for ignored in ["HUP INT", "HUP INT TERM"] {
        let (reached, there) = channel();
        let (word, sent) = channel();
        let server = Server::tcp(move |peer| {
            At::AfterDot.play(peer, true)?;
            reached.send(()).ok();
            peer.hold(&sent)?;
            peer.say_all(&["250 delivered", "250 delivered", "221 bye"])?;
            peer.close()
        });
        let client = Client::in_shell(&format!(r#"trap '' {ignored}; exec "$@""#)).args(server.destination());
        let running = client.typed(TWO).start();
        there.recv().unwrap();
        running.signal(Signal::HUP);
        running.signal(Signal::INT);
        thread::sleep(SOON);
        word.send(()).unwrap();
        let ran = running.wait();
        server.finish();
        ran.exits(0).outcomes(&["delivered"; 2]);
    }
}

/// Takes the password `secret` of `me`, and refuses it.
fn asks_for_the_password(peer: &mut Peer) -> Played {
    peer.say("220 mailbox LMTP")?;
    peer.expect("LHLO {any}")?;
    peer.say_all(&["250-mailbox", "250 AUTH PLAIN"])?;
    peer.expect("AUTH PLAIN AG1lAHNlY3JldA==")?;
    peer.say("535 5.7.8 no")?;
    peer.quit(&[])
}

#[track_caller]
fn commanded(client: Client, server: Server, command: &str) {
    let ran = client.typed(PLAIN).args(["--user", "me", "--password-command", command]).run();
    server.finish();
    ran.exits(75).says("4.7.0", "535").within(10.0);
}

/// As one that was read from a file is, by a shell or a service manager.
#[test]
fn the_password_in_the_environment_loses_its_line_end() {
    for password in ["secret", "secret\n", "secret\r\n"] {
        let server = Server::unix(asks_for_the_password);
        let client = Client::to(&server).typed(PLAIN).typed("--user me").env("LMTP_SEND_PASSWORD", password);
        let ran = client.run();
        server.finish();
        ran.exits(75).says("4.7.0", "535");
    }
}

#[test]
fn the_parent_ignores_its_children() {
    let server = Server::unix(asks_for_the_password);
    let client = Client::in_shell(r#"exec env --ignore-signal=CHLD "$@""#).args(server.destination());
    commanded(client, server, "echo secret");
}

#[test]
fn what_a_password_command_leaves_running_is_not_waited_for() {
    for command in [
        "sh -c 'sleep 30 2>/dev/null & echo secret'",
        "sh -c 'sleep 30 2>/dev/null & printf secret'",
        "printf 'secret\\nmore\\n'",
    ] {
        let server = Server::unix(asks_for_the_password);
        commanded(Client::to(&server), server, command);
    }
}

#[test]
fn the_password_is_not_in_the_environment_of_its_command() {
    let server = Server::unix(asks_for_the_password);
    let client = Client::to(&server).env("LMTP_SEND_PASSWORD", "hunter2");
    commanded(client, server, "sh -c 'echo ${LMTP_SEND_PASSWORD:-secret}'");
}

#[test]
fn a_password_command_that_lingers_is_ended() {
    for command in ["sleep 30", "sh -c 'echo secret; exec sleep 30'", "yes"] {
        let server = Server::unused();
        let client = Client::to(&server).typed(PLAIN).typed("--timeout 0.5");
        let ran = client.args(["--user", "me", "--password-command", command]).run();
        server.finish();
        ran.exits(75).says("4.3.5", "took too long").within(10.0);
    }
}

#[test]
fn stdout_is_dev_null_for_reading_and_writing() {
    // As Python's DEVNULL; and as daemon(3), for all three.
    let server = Server::tcp(delivers);
    let null = fs::File::options().read(true).write(true).open("/dev/null").unwrap();
    let ran = Client::to(&server).typed(ONE).stdout(null).run();
    server.finish();
    ran.exits(0);
    let server = Server::tcp(delivers);
    let script = r#"exec 3<>/dev/null; exec "$@" <&3 >&3 2>&3 3>&-"#;
    let client =
        Client::in_shell(script).args(server.destination()).typed(ONE).args(["tests/messages/hello.eml"]);
    let ran = client.run();
    server.finish();
    assert_eq!(ran.code(), 0);
}

// --- looking up

/// A run where the system looks up names by more than the program holds itself, and asks no server.
pub fn elsewhere(home: &Path, getent: Option<&str>) -> Option<Client> {
    let able = Command::new("unshare").args(["-mn", "true"]).stderr(Stdio::null()).status();
    if !able.is_ok_and(|status| status.success()) {
        println!("skipped: name spaces are not to be had here");
        return None;
    }
    // The user is not in it.
    fs::write(home.join("passwd"), "").unwrap();
    fs::write(home.join("nsswitch.conf"), "passwd: files\nhosts: files dns myhostname\n").unwrap();
    fs::write(home.join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
    let mut path = std::env::var("PATH").unwrap();
    if let Some(script) = getent {
        let program = home.join("getent");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        path = format!("{}:{path}", home.display());
    }
    let mut command = Command::new("unshare");
    let script = r#"mount --bind "$HERE/nsswitch.conf" /etc/nsswitch.conf &&
        mount --bind "$HERE/passwd" /etc/passwd &&
        mount --bind "$HERE/resolv.conf" "$(readlink -f /etc/resolv.conf)" && exec "$@""#;
    command.args(["-mn", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_lmtp-send")]);
    Some(Client::of(command).env("HERE", home).env("PATH", path))
}

#[test]
fn a_name_that_cannot_be_looked_up_now_is_not_said_not_to_exist() {
    let home = tempfile::tempdir().unwrap();
    let Some(client) = elsewhere(home.path(), None) else { return };
    let ran = client.typed(PLAIN).typed("--host mailbox.example --exit-style shell").run();
    assert!(ran.stderr.contains("temporary failure in name resolution"), "{}", ran.stderr);
    ran.exits(75);
}

#[test]
fn a_look_up_that_hangs_is_ended_and_named() {
    let home = tempfile::tempdir().unwrap();
    let Some(client) = elsewhere(home.path(), Some("exec sleep 30")) else { return };
    let ran = client.typed(PLAIN).typed("--host mailbox.example --timeout 0.5").run();
    ran.exits(75).says("4.4.1", "looking up 'mailbox.example' took too long: --timeout 0.5").within(10.0);
}
