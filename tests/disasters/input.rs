//! The message is not there, not readable, not a file, or changes under the program's hands.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::{At, ONE, TWO, large_message, saw_no_message};
use crate::scripted::{Client, HELLO, Halted, Peer, Played, Running, Server, canonical, halt, stuffed};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Signal;

/// A server's script that delivers `message` to one recipient.
fn delivers(message: Vec<u8>) -> impl FnOnce(&mut Peer) -> Played + Send + 'static {
    move |peer| {
        peer.session(&["PIPELINING"])?;
        peer.envelope(1)?;
        let came = peer.message()?;
        peer.quit(&["250 delivered"])?;
        if came == stuffed(&canonical(&message)) { Ok(()) } else { Err("the message is another".into()) }
    }
}

/// Runs `arguments` of the program in a terminal of its own, in which `typed` is typed; what stands there then.
fn in_a_terminal(arguments: &str, typed: &str) -> String {
    let mut terminal = Command::new("script");
    let program = env!("CARGO_BIN_EXE_lmtp-send");
    terminal.args(["-q", "-e", "-c", &format!("{program} {arguments}"), "/dev/null"]);
    let ran = Client::of(terminal).input(typed).run();
    assert_eq!(ran.code(), 0, "{}", ran.stdout);
    ran.stdout
}

#[test]
fn message_typed_at_a_terminal() {
    let home = tempfile::tempdir().unwrap();
    let sink = format!("--sink {}/inbox", home.path().display());
    let typed = "Subject: hello\n\nhello\n";
    let screen = in_a_terminal(&format!("{sink} -f me@example.net -t joe"), &format!("{typed}\x04"));
    assert!(screen.contains("type the message, header first; Ctrl-D ends it"), "{screen}");
    let screen = in_a_terminal(&format!("{sink} --sendmail -f me@example.net joe"), &format!("{typed}.\n"));
    assert!(screen.contains("Ctrl-D or a line of a single dot ends it"), "{screen}");
    let screen = in_a_terminal(&format!("{sink} -q -f me@example.net -t joe"), &format!("{typed}\x04"));
    assert!(!screen.contains("type the message"), "{screen}");
    assert_eq!(fs::read_dir(home.path().join("inbox/joe/new")).unwrap().count(), 3);
}

#[test]
fn message_file_missing() {
    let server = Server::unused();
    let ran = Client::to(&server).typed(TWO).args(["/nonexistent/message.eml"]).run();
    server.finish();
    ran.exits(66).says("5.3.0", "/nonexistent/message.eml").outcomes(&["failed"; 2]).stages(&["input"; 2]);
}

#[test]
fn message_file_unreadable() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("message.eml");
    fs::write(&path, HELLO).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let server = Server::unused();
    let ran = Client::unprivileged(home.path()).args(server.destination()).typed(TWO).args([&path]).run();
    server.finish();
    ran.exits(66).says("5.3.0", "message.eml").outcomes(&["failed"; 2]).stages(&["input"; 2]);
}

#[test]
fn message_file_that_cannot_be_read_to_its_end() {
    // It opens, and reading it fails.
    let server = Server::unused();
    let ran = Client::to(&server).typed(TWO).args(["/proc/self/mem"]).run();
    server.finish();
    ran.exits(75).says("4.3.0", "/proc/self/mem").outcomes(&["deferred"; 2]).stages(&["input"; 2]);
}

#[test]
fn message_file_that_cannot_be_read_to_its_end_in_the_shells_style() {
    let server = Server::unused();
    let ran = Client::to(&server).typed(ONE).args(["--exit-style", "shell", "/proc/self/mem"]).run();
    server.finish();
    assert_eq!(ran.code(), 74, "{}", ran.stderr);
}

#[test]
fn standard_input_is_a_directory() {
    let server = Server::unused();
    let ran = Client::to(&server).typed(TWO).stdin(File::open("/").unwrap()).run();
    server.finish();
    ran.exits(75).outcomes(&["deferred"; 2]).stages(&["input"; 2]);
}

#[test]
fn standard_input_is_write_only() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::unused();
    let stdin = File::create(home.path().join("file")).unwrap();
    let ran = Client::to(&server).typed(TWO).stdin(stdin).run();
    server.finish();
    ran.exits(75).outcomes(&["deferred"; 2]).stages(&["input"; 2]);
}

#[test]
fn standard_input_is_a_file() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("message.eml");
    fs::write(&path, HELLO).unwrap();
    let server = Server::tcp(delivers(HELLO.to_vec()));
    let ran = Client::to(&server).typed(ONE).stdin(File::open(&path).unwrap()).run();
    server.finish();
    ran.exits(0).outcomes(&["delivered"]);
}

/// Some parents (node is one) give what they have in non-blocking mode: a socket, a pipe, a FIFO or a file.
#[test]
fn standard_input_does_not_block() {
    let home = tempfile::tempdir().unwrap();
    let (file, fifo) = (home.path().join("message.eml"), fifo(home.path()));
    fs::write(&file, HELLO).unwrap();
    let opened = |path: &Path| -> OwnedFd { File::open(path).unwrap().into() };
    let (socket, peer) = UnixStream::pair().unwrap();
    let (pipe, writer) = std::io::pipe().unwrap();
    let both_ends = File::options().read(true).write(true).open(&fifo).unwrap();
    let kinds: [(OwnedFd, Option<OwnedFd>); 4] = [
        (socket.into(), Some(peer.into())),
        (pipe.into(), Some(writer.into())),
        (opened(&fifo), Some(File::options().write(true).open(&fifo).unwrap().into())),
        (opened(&file), None),
    ];
    drop(both_ends);
    for (stdin, writer) in kinds {
        fcntl_setfl(&stdin, fcntl_getfl(&stdin).unwrap() | OFlags::NONBLOCK).unwrap();
        let server = Server::tcp(delivers(HELLO.to_vec()));
        let running = Client::to(&server).typed(ONE).stdin(stdin).start();
        if let Some(mut writer) = writer.map(File::from) {
            for half in HELLO.chunks(HELLO.len() / 2 + 1) {
                std::thread::sleep(Duration::from_millis(200));
                writer.write_all(half).unwrap();
            }
        }
        let ran = running.wait();
        server.finish();
        ran.exits(0).outcomes(&["delivered"]);
    }
}

#[test]
fn standard_input_is_a_file_that_was_read_in_part_before() {
    // What a shell script has read already is not part of the message.
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("message.eml");
    fs::write(&path, [b"first line, read by the script\n", HELLO].concat()).unwrap();
    let server = Server::tcp(delivers(HELLO.to_vec()));
    let ran = Client::in_shell(r#"read -r line; exec "$@""#)
        .args(server.destination())
        .typed(ONE)
        .stdin(File::open(&path).unwrap())
        .run();
    server.finish();
    ran.exits(0).outcomes(&["delivered"]);
}

#[test]
fn message_larger_than_memory_should_hold_comes_through_a_pipe() {
    let message = large_message();
    let server = Server::tcp(delivers(message.clone()));
    let ran = Client::to(&server).typed(ONE).input(message).run();
    server.finish();
    ran.exits(0).outcomes(&["delivered"]);
}

#[test]
fn message_comes_in_pieces() {
    let server = Server::tcp(delivers(HELLO.to_vec()));
    let mut running = Client::to(&server).typed(ONE).hungry().start();
    for piece in HELLO.chunks(7) {
        running.feed(piece);
        std::thread::sleep(Duration::from_millis(1));
    }
    running.fed();
    running.wait().exits(0).outcomes(&["delivered"]);
    server.finish();
}

/// A FIFO in `home`.
fn fifo(home: &Path) -> std::path::PathBuf {
    let path = home.join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

#[test]
fn message_file_that_is_a_fifo() {
    let home = tempfile::tempdir().unwrap();
    let path = fifo(home.path());
    let server = Server::tcp(delivers(HELLO.to_vec()));
    let running = Client::to(&server).typed(ONE).args([&path]).start();
    File::options().write(true).open(&path).unwrap().write_all(HELLO).unwrap();
    running.wait().exits(0).outcomes(&["delivered"]);
    server.finish();
}

#[test]
fn message_file_that_is_a_fifo_without_a_writer() {
    // Opening it would block for ever.
    let home = tempfile::tempdir().unwrap();
    let path = fifo(home.path());
    let server = Server::unused();
    let ran = Client::to(&server).typed(TWO).typed("--deadline 0.5").args([&path]).run();
    server.finish();
    ran.exits(75).outcomes(&["deferred"; 2]).stages(&["input"; 2]).within(4.0);
}

#[test]
fn message_file_that_is_an_empty_directory() {
    // A spool that was drained: there is nothing to do, and nobody is connected to.
    let home = tempfile::tempdir().unwrap();
    let ran = Client::new().typed("-H 127.0.0.1:9").typed(ONE).args([home.path()]).run();
    ran.exits(0).outcomes(&[]);
    let ran = Client::new().typed("-H 127.0.0.1:9 -f me@example.net --report json").args([home.path()]).run();
    assert_eq!(ran.code(), 64, "nobody says who is to have what is in it: {}", ran.stderr);
}

#[test]
fn message_file_that_is_empty() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("empty.eml");
    fs::write(&path, "").unwrap();
    let server = Server::unused();
    let ran = Client::to(&server).typed(TWO).args([&path]).run();
    server.finish();
    ran.exits(65).outcomes(&["failed"; 2]).stages(&["input"; 2]);
}

#[test]
fn address_in_a_header_holds_a_cr() {
    // On the wire it would be a space; but nobody's address was meant.
    for to in ["\"a\rb\"@example.net", "a@example.net,\rb@example.net"] {
        let server = Server::unused();
        let message = format!("From: me@example.net\r\nTo: {to}\r\n\r\nbody\r\n");
        let ran = Client::to(&server).typed("--report json").input(message.as_bytes()).run();
        server.finish();
        ran.exits(65).says("5.6.0", "To: ");
    }
}

/// How a large file is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// DATA: read and encoded.
    Data,
    /// BDAT: from the file, without being read.
    Bdat,
}

impl By {
    const BOTH: [By; 2] = [By::Data, By::Bdat];

    /// Takes an envelope, and the beginning of the message.
    fn begin(self, peer: &mut Peer) -> Played {
        if self == By::Data {
            return At::MidMessage.play(peer, true);
        }
        peer.session(&["PIPELINING", "CHUNKING"])?;
        ["MAIL FROM:{any}", "RCPT TO:{any}", "RCPT TO:{any}"]
            .iter()
            .try_for_each(|line| peer.expect(line))?;
        peer.say_all(&["250 ok"; 3])?;
        peer.expect(&format!("BDAT {CHUNK}"))?;
        peer.octets(10_000).map(drop)
    }

    /// Takes the rest of the message, if there is one.
    fn go_on(self, peer: &mut Peer) -> Played {
        if self == By::Data {
            return peer.message().map(drop);
        }
        let mut left = CHUNK - 10_000;
        loop {
            peer.octets(left)?;
            let line = String::from_utf8_lossy(&peer.line()?).into_owned();
            let octets = line.strip_prefix("BDAT ").ok_or(format!("'{line}' is no BDAT"))?;
            left = octets.trim_end_matches(" LAST").parse().map_err(|e| format!("{line}: {e}"))?;
            peer.say("250 one chunk more")?;
            if octets.ends_with(" LAST") {
                return peer.octets(left).map(drop);
            }
        }
    }
}

/// The octets of a chunk that is not the last.
const CHUNK: usize = 4 * 1024 * 1024;

/// A run that has sent part of a large file, of which the server reads no more until word is given.
fn in_the_middle(path: &Path, by: By) -> (Server, Running, Halted) {
    fs::write(path, large_message()).unwrap();
    // The clock that files are stamped by may tick slower than this test goes on.
    File::open(path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    let (halt, halted) = halt();
    let server = Server::unix(move |peer| {
        by.begin(peer)?;
        halt.wait(peer)?;
        // Whatever is to come: the end of the message, or of the connection.
        if by.go_on(peer).is_ok() {
            peer.say_all(&["250 delivered", "250 delivered"])?;
        }
        peer.silence()
    });
    let running = Client::to(&server).typed(TWO).args([path]).start();
    halted.reached();
    (server, running, halted)
}

/// What becomes of a large file that is changed while it is sent: it is not delivered, and to be sent again.
fn is_not_delivered(change: impl Fn(&mut File)) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("message.eml");
    for by in By::BOTH {
        let (server, running, halted) = in_the_middle(&path, by);
        change(&mut File::options().write(true).open(&path).unwrap());
        halted.go_on();
        let ran = running.wait();
        println!("{by:?}");
        let heard = saw_no_message(server);
        assert!(by == By::Data || heard.octets.len() < large_message().len());
        ran.exits(75).outcomes(&["deferred"; 2]).within(8.0);
    }
}

/// A message that is on its way without having been copied, and is then written to: nobody knows what was accepted.
#[test]
fn message_file_is_overwritten_on_its_way() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("message.eml");
    fs::write(&path, b"x-line: 0123456\r\n".repeat(300_000 / 17)).unwrap();
    let (halt, halted) = halt();
    let server = Server::unix(move |peer| {
        peer.session(&["PIPELINING", "CHUNKING"])?;
        ["MAIL FROM:{any}", "RCPT TO:{any}"].iter().try_for_each(|line| peer.expect(line))?;
        peer.say_all(&["250 ok"; 2])?;
        halt.wait(peer)?;
        let line = String::from_utf8_lossy(&peer.line()?).into_owned();
        let octets = line.trim_start_matches("BDAT ").trim_end_matches(" LAST").parse().unwrap();
        if peer.octets(octets).is_ok() {
            peer.say("250 delivered")?;
        }
        peer.silence()
    });
    let running = Client::to(&server).typed(ONE).args([&path]).start();
    halted.reached();
    // Time to send what the buffers take. Without it, the message is cut short as any other that changes.
    std::thread::sleep(Duration::from_millis(300));
    File::options().write(true).open(&path).unwrap().write_all_at(&[b'E'; 300_000], 0).unwrap();
    halted.go_on();
    let ran = running.wait().exits(75);
    server.finish();
    let outcome = ran.report()[0]["outcome"].clone();
    assert!(outcome == "uncertain" || outcome == "deferred", "{outcome}");
}

/// Files that take longer to read than there is time: without their end, or nearly.
#[test]
fn message_file_without_an_end() {
    let home = tempfile::tempdir().unwrap();
    let sparse = home.path().join("sparse.eml");
    File::create(&sparse).unwrap().set_len(1 << 42).unwrap();
    for path in [sparse.as_path(), Path::new("/dev/zero")] {
        let server = Server::unused();
        let ran = Client::to(&server).typed(ONE).typed("--deadline 0.3").args([path]).run();
        server.finish();
        ran.exits(75).outcomes(&["deferred"]).stages(&["input"]).within(5.0);
    }
    let server = Server::unused();
    let running = Client::to(&server).typed(ONE).args([&sparse]).start();
    running.ready();
    running.signal(Signal::TERM);
    running.wait().exits(75).outcomes(&["deferred"]).stages(&["input"]).within(5.0);
    server.finish();
}

/// What the server says, or does not say, to a part of the message that is sent from the file.
#[test]
fn message_file_is_answered_while_it_is_sent() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("message.eml");
    for (says, exit, outcomes) in [
        ("552 5.3.4 too large", 65, ["failed"; 2]),
        ("451 4.3.0 not now", 75, ["deferred"; 2]),
        ("421 4.3.2 closing", 75, ["deferred"; 2]),
        ("354 go on", 75, ["deferred"; 2]),
        ("", 75, ["deferred"; 2]),
    ] {
        fs::write(&path, large_message()).unwrap();
        let server = Server::unix(move |peer| {
            By::Bdat.begin(peer)?;
            if says.is_empty() {
                return peer.vanish();
            }
            peer.say(says)?;
            peer.silence()
        });
        println!("'{says}'");
        let ran = Client::to(&server).typed(TWO).args([&path]).run();
        let heard = server.finish().pop().unwrap();
        assert!(heard.octets.len() < large_message().len());
        ran.exits(exit).outcomes(&outcomes).within(5.0);
    }
}

#[test]
fn told_to_stop_while_a_file_is_sent() {
    let home = tempfile::tempdir().unwrap();
    let (server, running, halted) = in_the_middle(&home.path().join("message.eml"), By::Bdat);
    running.signal(Signal::TERM);
    let ran = running.wait();
    halted.go_on();
    assert!(server.finish().pop().unwrap().octets.len() < large_message().len());
    ran.exits(75).outcomes(&["deferred"; 2]).within(5.0);
}

/// A server that takes a little at a time, and never the message within the time that a block has.
#[test]
fn message_file_is_taken_too_slowly() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("message.eml");
    for by in By::BOTH {
        fs::write(&path, large_message()).unwrap();
        let server = Server::unix(move |peer| {
            by.begin(peer)?;
            while peer.sip(512)? {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        });
        println!("{by:?}");
        let ran = Client::to(&server).typed(TWO).typed("--timeout 0.5").args([&path]).run();
        assert!(server.finish().pop().unwrap().octets.len() < large_message().len());
        ran.exits(75).outcomes(&["deferred"; 2]).says("4.4.2", "--timeout").within(8.0);
    }
}

#[test]
fn message_file_shrinks_while_it_is_sent() {
    // To less than was sent already, to nothing, to a line end further on, to the middle of a line.
    for left in [100, 0, 10_000 * 64 + 18, 5_000_001] {
        println!("{left}");
        is_not_delivered(|file| file.set_len(left).unwrap());
    }
}

#[test]
fn message_file_grows_while_it_is_sent() {
    // Somebody is still writing it: what was counted is not the message.
    is_not_delivered(|file| {
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(b"one line more\r\n").unwrap();
    });
}

#[test]
fn message_file_changes_its_line_ends_while_it_is_sent() {
    // As many octets in the file, other ones on the wire.
    is_not_delivered(|file| file.write_all_at(&b"\n".repeat(1000), 5_000_000).unwrap());
}

#[test]
fn message_file_changes_one_octet_while_it_is_sent() {
    // As many octets in the file and on the wire: neither the message that was nor the one that will be.
    is_not_delivered(|file| file.write_all_at(b"y", 5_000_000).unwrap());
}

#[test]
fn message_file_is_removed_while_it_is_sent() {
    // It is open: nothing is lost.
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("message.eml");
    for by in By::BOTH {
        let (server, running, halted) = in_the_middle(&path, by);
        fs::remove_file(&path).unwrap();
        halted.go_on();
        let ran = running.wait();
        let heard = server.finish().pop().unwrap();
        ran.exits(0).outcomes(&["delivered"; 2]);
        assert!(heard.octets.len() > large_message().len());
    }
}

/// A message's end never waits for another message to be read.
#[test]
fn another_message_takes_longer_to_read_than_there_is_time() {
    let home = tempfile::tempdir().unwrap();
    let hello = home.path().join("hello.eml");
    fs::write(&hello, HELLO).unwrap();
    let endless = home.path().join("endless.eml");
    // Holes, as many as it takes long to count.
    File::create(&endless).unwrap().set_len(1 << 42).unwrap();
    let server = Server::tcp(delivers(HELLO.to_vec()));
    let ran = Client::to(&server).typed("--deadline 1.5").typed(ONE).args([&hello, &endless]).run();
    server.finish();
    let ran = ran.exits(75).outcomes(&["delivered", "deferred"]).within(8.0);
    assert!(ran.report()[0]["seconds"].as_f64().unwrap() < 1.0, "{}", ran.stdout);
}
