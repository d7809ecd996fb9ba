//! What a person at a terminal sees of work that takes long, in a pseudo-terminal; and what a log has of it.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use super::At;
use crate::scripted::{Client, Server};

const PLAIN: &str = "-f me@example.net -t a@example.net";
const BOTH: &str = "-f me@example.net -t a@example.net -t b@example.net";
/// What clears the line.
const CLEAR: &str = "\r\u{1b}[K";

/// A terminal; what is written to it is kept.
struct Terminal {
    keyboard: File,
    screen: JoinHandle<String>,
    /// The program's end.
    end: OwnedFd,
}

impl Terminal {
    fn new() -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let mut options = OpenOptions::new();
        let end = options.read(true).write(true).open(OsStr::from_bytes(name.as_bytes())).unwrap();
        let mut screen = File::from(keyboard.try_clone().unwrap());
        let screen = thread::spawn(move || {
            let mut shown = Vec::new();
            // The last end that is closed is an error here (EIO).
            screen.read_to_end(&mut shown).ok();
            String::from_utf8(shown).unwrap()
        });
        Self { keyboard: File::from(keyboard), screen, end: end.into() }
    }

    fn end(&self) -> OwnedFd {
        self.end.try_clone().unwrap()
    }

    /// All that was shown, once the program has ended.
    fn shown(self) -> String {
        drop(self.end);
        self.screen.join().unwrap()
    }
}

/// What a run with standard error on a terminal shows there, and its exit code.
fn shown(client: Client) -> (String, i32) {
    let terminal = Terminal::new();
    let ran = client.stderr(terminal.end()).run();
    (terminal.shown(), ran.code())
}

#[test]
fn what_is_waited_for_is_shown_after_two_seconds_and_cleared_away_before_the_diagnostic() {
    let at = |stage: At, expected: &'static str| {
        thread::spawn(move || {
            let server = Server::tcp(move |peer| {
                stage.play(peer, true)?;
                peer.silence()
            });
            let address = server.name().to_owned();
            let (shown, code) = shown(Client::to(&server).typed(BOTH).typed("--timeout 3.2"));
            server.finish();
            assert_eq!(code, 75, "{shown:?}");
            assert!(shown.contains(&format!("{CLEAR}{address}: {expected}, 2 s")), "{shown:?}");
            let (_, diagnostic) = shown.rsplit_once(CLEAR).unwrap();
            assert!(diagnostic.starts_with("4."), "{shown:?}");
        })
    };
    let stages = [
        (At::Greeting, "waiting for the greeting"),
        (At::Lhlo, "waiting for the reply to LHLO"),
        (At::Mail, "waiting for the reply to MAIL FROM"),
        (At::Rcpt, "waiting for the reply to RCPT TO"),
        (At::AfterDot, "waiting for the reply to the message"),
    ];
    stages.map(|(stage, expected)| at(stage, expected)).into_iter().for_each(|test| test.join().unwrap());
}

#[test]
fn what_is_waited_for_outside_a_session_is_shown_as_well() {
    let reading = || shown(Client::new().hungry().typed("--sink inbox -t a --deadline 3.2"));
    let secret = || {
        let command = ["--password-command", "sleep 60", "-u", "me", "--timeout", "3.2"];
        shown(Client::new().typed("-H 127.0.0.1 -t a").args(command))
    };
    thread::scope(|scope| {
        let (reading, secret) = (scope.spawn(reading), scope.spawn(secret));
        let (shown, code) = reading.join().unwrap();
        assert!(code == 75 && shown.contains(&format!("{CLEAR}reading standard input, 2 s")), "{shown:?}");
        let (shown, code) = secret.join().unwrap();
        let expected = format!("{CLEAR}waiting for --password-command, 2 s");
        assert!(code == 75 && shown.contains(&expected), "{shown:?}");
    });
}

#[test]
fn a_socket_whose_server_takes_nobody_is_waited_for_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("full");
    let socket = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None);
    let socket = socket.unwrap();
    rustix::net::bind(&socket, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let _first = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let (shown, code) = shown(Client::new().arg("-S", &path).typed(PLAIN).typed("--timeout 3.2"));
    let expected = format!("{CLEAR}connecting to {}, 2 s", path.display());
    assert!(code == 75 && shown.contains(&expected), "{shown:?}");
}

#[test]
fn another_run_that_is_busy_with_the_message_is_waited_for_by_that_name() {
    let home = tempfile::tempdir().unwrap();
    let ledger = home.path().join("ledger");
    let (reached, there) = std::sync::mpsc::channel();
    let server = Server::unix(move |peer| {
        peer.session(&["PIPELINING"])?;
        peer.envelope(1)?;
        peer.message()?;
        reached.send(()).ok();
        peer.pause(Duration::from_millis(4000));
        peer.quit(&["250 delivered"])
    });
    let busy = Client::to(&server).typed(PLAIN).arg("--ledger", &ledger).start();
    there.recv_timeout(crate::scripted::PATIENCE).unwrap();
    let client = Client::to(&server).typed(PLAIN).typed("--deadline 3.2").arg("--ledger", &ledger);
    let (shown, code) = shown(client);
    busy.wait().exits(0);
    server.finish();
    let expected = "waiting for another run that is delivering this message (--ledger)";
    assert!(code == 75 && shown.contains(expected), "{shown:?}");
    let redrawn = shown.matches(expected).count();
    assert!(
        redrawn <= 8 && shown.matches(CLEAR).count() <= redrawn + 2,
        "the line does not flicker: {shown:?}"
    );
}

#[test]
fn a_directory_is_counted_by_its_messages() {
    let dir = tempfile::tempdir().unwrap();
    let messages = dir.path().join("messages");
    std::fs::create_dir(&messages).unwrap();
    (0..40).for_each(|i| std::fs::write(messages.join(i.to_string()), crate::scripted::HELLO).unwrap());
    let client = Client::new().dir(dir.path()).typed("--sink inbox -t a --rate 20 messages");
    let (shown, code) = shown(client);
    assert!(code == 0 && shown.contains(" of 40 messages, "), "{shown:?}");
}

#[test]
fn nothing_is_shown_of_a_delivery_that_does_not_take_long() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(shown(Client::new().dir(dir.path()).typed("--sink inbox -t a")), (String::new(), 0));
}

#[test]
fn nothing_is_shown_to_those_who_want_no_words_or_have_a_password_asked_for() {
    let quiet = thread::spawn(|| shown(Client::new().hungry().typed("--sink inbox -t a --deadline 3 -q")));
    let terminal = Terminal::new();
    let mut modes = tcgetattr(&terminal.end).unwrap();
    modes.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal.end, OptionalActions::Now, &modes).unwrap();
    let client = Client::new().hungry().typed("--sink inbox -t a --deadline 3");
    assert_eq!(client.stderr(terminal.end()).run().code(), 75);
    let shown = terminal.shown();
    assert!(shown.starts_with("4.3.0 <a>: standard input"), "{shown:?}");
    assert_eq!(quiet.join().unwrap(), (String::new(), 75));
}

#[test]
fn many_messages_are_counted_while_they_go() {
    let dir = tempfile::tempdir().unwrap();
    let client = Client::new().dir(dir.path()).typed("--sink inbox -t a --repeat 40 --rate 20");
    let (shown, code) = shown(client);
    assert_eq!(code, 0, "{shown:?}");
    assert!(shown.contains(" of 40 messages, ") && shown.contains("/s, 0:0"), "{shown:?}");
    let (_, summary) = shown.rsplit_once(CLEAR).unwrap();
    assert!(summary.starts_with("40 messages, "), "{shown:?}");
}

#[test]
fn a_long_message_is_followed() {
    let server = Server::unix(|peer| {
        peer.session(&["PIPELINING"])?;
        peer.envelope(1)?;
        for _ in 0..20 {
            peer.pause(Duration::from_millis(100));
            peer.sip(64 * 1024)?;
        }
        peer.message()?;
        peer.expect("QUIT")?;
        peer.say("250 ok")?;
        peer.say("221 bye")?;
        peer.end()
    });
    let message = format!("Subject: long\n\n{}", format!("{}\n", "x".repeat(998)).repeat(4 << 10));
    let (shown, code) = shown(Client::to(&server).typed(PLAIN).input(message));
    server.finish();
    assert_eq!(code, 0, "{shown:?}");
    assert!(shown.contains(" % of ") && shown.contains("iB/s, ") && shown.contains(" left"), "{shown:?}");
    assert!(shown.ends_with(CLEAR), "{shown:?}");
}

#[test]
fn no_line_is_wider_than_the_terminal_and_none_is_left_behind() {
    let terminal = Terminal::new();
    let narrow = Winsize { ws_row: 24, ws_col: 20, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal.end, narrow).unwrap();
    let server = Server::tcp(|peer| peer.silence());
    let client = Client::to(&server).typed(PLAIN).typed("--timeout 3.2");
    assert_eq!(client.stderr(terminal.end()).run().code(), 75);
    server.finish();
    let shown = terminal.shown();
    let (lines, diagnostic) = shown.rsplit_once(CLEAR).unwrap();
    assert!(lines.split(CLEAR).any(|line| line.len() == 19), "{shown:?}");
    assert!(lines.split(CLEAR).all(|line| line.len() < 20), "{shown:?}");
    assert!(diagnostic.starts_with("4.4.2 "), "{shown:?}");
}

#[test]
fn whoever_types_a_message_is_not_disturbed() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::new();
    let client = Client::new().dir(dir.path()).typed("--sink inbox -t a").stdin(terminal.end());
    let running = client.stderr(terminal.end()).start();
    thread::sleep(Duration::from_millis(2800));
    terminal.keyboard.write_all(b"Subject: typed\n\nhello\n\x04").unwrap();
    running.wait().exits(0);
    let shown = terminal.shown();
    let typed =
        "lmtp-send: type the message, header first; Ctrl-D ends it\r\nSubject: typed\r\n\r\nhello\r\n";
    assert_eq!(shown, typed);
}

#[test]
fn a_log_has_a_line_after_ten_seconds_of_many_messages_and_none_of_a_single_one() {
    let dir = tempfile::tempdir().unwrap();
    let many = |inbox: &str, options| {
        let client = Client::new().dir(dir.path()).typed("-f me@example.net -t a --repeat 23 --rate 2");
        client.args(["--sink", inbox]).typed(options).run()
    };
    let single = || {
        let server = Server::tcp(|peer| {
            peer.session(&["PIPELINING"])?;
            peer.envelope(1)?;
            peer.message()?;
            peer.pause(Duration::from_millis(10_500));
            peer.quit(&["550 no"])
        });
        let ran = Client::to(&server).typed(PLAIN).typed("-v").run();
        server.finish();
        ran
    };
    thread::scope(|scope| {
        let (told, silent) = (scope.spawn(|| many("one", "-v")), scope.spawn(|| many("two", "")));
        // A mail system reads the first line of standard error.
        scope.spawn(single).join().unwrap().exits(69).says("5.0.0", "550 no");
        silent.join().unwrap().exits(0);
        let log = told.join().unwrap().stderr;
        let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("progress after 0:1")).collect();
        assert!(matches!(lines[..], [line] if line.contains(" of 23 messages, ")), "{log}");
        assert!(log.starts_with("2.0.0 <a>") && log.matches("\n2.0.0 <a>").count() == 22, "{log}");
        assert!(!log.contains('\r'), "{log}");
    });
}
