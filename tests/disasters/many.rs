//! Many messages, and failures in between.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::ONE;
use crate::scripted::{Client, HELLO, PATIENCE, Server, canonical, script, stuffed};

/// So many messages in files.
pub fn files(home: &Path, count: usize) -> Vec<PathBuf> {
    let write = |n: usize| {
        let path = home.join(format!("{n}.eml"));
        fs::write(&path, format!("Subject: {n}\n\n{n}\n")).unwrap();
        path
    };
    (0..count).map(write).collect()
}

/// A server of any number of sessions, that greets when `together` of them are there. It counts the messages that it
/// accepts, and ends with the process.
struct Crowd {
    name: String,
    accepted: Arc<AtomicUsize>,
}

impl Crowd {
    fn new(together: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = listener.local_addr().unwrap().to_string();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (barrier, count) = (Arc::new(Barrier::new(together)), Arc::clone(&accepted));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (barrier, count) = (Arc::clone(&barrier), Arc::clone(&count));
                thread::spawn(move || {
                    barrier.wait();
                    serve(stream, &count)
                });
            }
        });
        Self { name, accepted }
    }

    fn client(&self) -> Client {
        Client::new().args(["-H", &self.name])
    }
}

/// One session, in turn: each message is accepted for each recipient.
fn serve(mut stream: TcpStream, accepted: &AtomicUsize) -> Option<()> {
    // Each reply is a packet of its own, and none waits for the acknowledgement of another.
    stream.set_nodelay(true).ok()?;
    let mut lines = BufReader::new(stream.try_clone().ok()?);
    let mut say = |text: &str| stream.write_all(text.as_bytes()).ok();
    say("220 crowd LMTP\r\n")?;
    let mut recipients = 0;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.split([' ', '\r']).next()? {
            "LHLO" => say("250-crowd\r\n250 PIPELINING\r\n")?,
            "DATA" => {
                say("354 go on\r\n")?;
                while line != ".\r\n" {
                    line.clear();
                    lines.read_line(&mut line).ok().filter(|read| *read > 0)?;
                }
                accepted.fetch_add(1, Ordering::Relaxed);
                say(&"250 delivered\r\n".repeat(std::mem::take(&mut recipients)))?;
            }
            "RCPT" => {
                recipients += 1;
                say("250 ok\r\n")?;
            }
            "QUIT" => return say("221 bye\r\n"),
            _ => say("250 ok\r\n")?,
        }
    }
}

#[test]
fn sessions_are_held_side_by_side() {
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path(), 30);
    let crowd = Crowd::new(3);
    let ran = crowd.client().typed(ONE).typed("--connections 3 --summary json").args(&files).run();
    let mut names: Vec<String> =
        ran.report().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), files.len(), "each message once: {}", ran.stdout);
    let summary: serde_json::Value = serde_json::from_str(ran.stderr.trim_end()).unwrap();
    assert_eq!(ran.code(), 0, "{}", ran.stderr);
    assert_eq!((&summary["messages"], &summary["delivered"]), (&30.into(), &30.into()), "{summary}");
    assert_eq!(summary["sessions"], 3);
    assert!(summary["latency"]["p50"].as_f64().unwrap() <= summary["latency"]["max"].as_f64().unwrap());
    assert_eq!(crowd.accepted.load(Ordering::Relaxed), 30);
}

#[test]
fn a_directory_is_shared_out_once_whoever_looks_first() {
    let home = tempfile::tempdir().unwrap();
    files(home.path(), 5);
    for _ in 0..8 {
        let crowd = Crowd::new(3);
        let client = crowd.client().typed(ONE).typed("--connections 3 --repeat 3").args([home.path()]);
        client.run().exits(0).outcomes(&["delivered"; 15]);
        assert_eq!(crowd.accepted.load(Ordering::Relaxed), 15);
    }
}

#[test]
fn sessions_side_by_side_end_when_the_report_is_lost() {
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path(), 200);
    let crowd = Crowd::new(2);
    let client = crowd.client().typed(ONE).typed("--connections 2").args(&files);
    let ran = client.stdout(crate::scripted::full()).run();
    assert_eq!(ran.code(), 75, "{}", ran.stderr);
    let accepted = crowd.accepted.load(Ordering::Relaxed);
    assert!(accepted < 190, "{accepted} messages went on, of which nobody hears");
}

#[test]
fn the_next_file_is_read_while_the_server_looks_at_an_envelope() {
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path(), 2);
    let second = files[1].clone();
    let server = Server::unix(move |peer| {
        peer.session(&["PIPELINING"])?;
        peer.flight(&["MAIL FROM:<me@example.net>", "RCPT TO:<a@example.net>", "DATA"])?;
        thread::sleep(Duration::from_secs(1));
        fs::remove_file(second).unwrap();
        peer.say_all(&["250 ok", "250 ok", "354 go ahead"])?;
        peer.message()?;
        peer.flight(&["MAIL FROM:<me@example.net>", "RCPT TO:<a@example.net>", "DATA"])?;
        peer.say_all(&["250 ok", "250 ok", "250 ok", "354 go ahead"])?;
        peer.message()?;
        peer.quit(&["250 ok"])
    });
    let ran = Client::to(&server).typed(ONE).args(&files).run();
    server.finish();
    ran.exits(0).outcomes(&["delivered"; 2]);
}

#[test]
fn a_pipe_is_not_opened_before_the_messages_before_it_are_settled() {
    for (reply, options, code, outcomes) in
        [("250 ok", "", 0, ["delivered"; 2]), ("550 5.1.1 no", "--fail-fast", 75, ["failed", "deferred"])]
    {
        let home = tempfile::tempdir().unwrap();
        let (first, second) = (files(home.path(), 1).remove(0), home.path().join("fifo"));
        assert!(Command::new("mkfifo").arg(&second).status().unwrap().success());
        let written = second.clone();
        let before = script(move |peer| {
            peer.session(&["PIPELINING"])?;
            peer.envelope(1)?;
            peer.message()?;
            thread::sleep(Duration::from_millis(300));
            let writer = OpenOptions::new().write(true).custom_flags(0o4000).open(&written);
            assert!(writer.is_err(), "nobody reads there");
            peer.quit(&[reply])?;
            if reply.starts_with('2') {
                being_read(&written).write_all(HELLO).unwrap();
            }
            Ok(())
        });
        let behind = script(|peer| {
            peer.session(&["PIPELINING"])?;
            peer.envelope(1)?;
            assert_eq!(peer.message()?, stuffed(&canonical(HELLO)));
            peer.quit(&["250 ok"])
        });
        let scripts = if code == 0 { vec![before, behind] } else { vec![before] };
        let server = Server::unix_in_turn(scripts);
        let ran = Client::to(&server).typed(ONE).typed(options).args([&first, &second]).run();
        server.finish();
        ran.exits(code).outcomes(&outcomes);
    }
}

/// The writing end of a FIFO, once it has been opened to be read.
fn being_read(fifo: &Path) -> File {
    let until = Instant::now() + PATIENCE;
    loop {
        // O_NONBLOCK: it fails where nobody reads.
        match OpenOptions::new().write(true).custom_flags(0o4000).open(fifo) {
            Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(2)),
            opened => return opened.unwrap(),
        }
    }
}

#[test]
fn nothing_is_said_of_a_file_that_was_read_ahead_and_is_not_sent() {
    let home = tempfile::tempdir().unwrap();
    let files = files(home.path(), 2);
    let two = "From joe@example.net Thu Jan  1 00:00:00 2026\nSubject: two\n\ntext\n\n";
    fs::write(&files[1], two.repeat(2)).unwrap();
    let server = Server::unix(|peer| {
        peer.session(&["PIPELINING"])?;
        peer.flight(&["MAIL FROM:<me@example.net>", "RCPT TO:<a@example.net>", "DATA"])?;
        peer.say_all(&["250 ok", "550 5.1.1 no", "503 5.5.1 nobody"])?;
        peer.expect("QUIT")?;
        peer.say("221 bye")?;
        peer.end()
    });
    let ran = Client::to(&server).typed(ONE).typed("--fail-fast -v").args(&files).run();
    server.finish();
    assert!(!ran.stderr.contains("looks like"), "{}", ran.stderr);
    assert_eq!(ran.code(), 75, "{}", ran.stderr);
    ran.outcomes(&["failed", "deferred"]);
}

#[test]
fn a_part_opens_no_pipe_of_another() {
    let home = tempfile::tempdir().unwrap();
    let pipe = home.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let more = files(home.path(), 6);
    let written = pipe.clone();
    // Waits until somebody reads.
    let writer = thread::spawn(move || OpenOptions::new().write(true).open(written)?.write_all(HELLO));
    let crowd = Crowd::new(1);
    for part in ["1/2", "2/2"] {
        let client = crowd.client().typed(ONE).typed("--deadline 9 --shard").args([part]);
        client.args(&more).args([&pipe]).run().exits(0);
    }
    writer.join().unwrap().unwrap();
    assert_eq!(crowd.accepted.load(Ordering::Relaxed), 7);
}

#[test]
fn a_maildir_that_may_be_searched_but_not_listed() {
    let home = tempfile::tempdir().unwrap();
    let (maildir, other) = (home.path().join("maildir"), files(home.path(), 1));
    fs::create_dir_all(maildir.join("new")).unwrap();
    files(&maildir.join("new"), 3);
    fs::set_permissions(&maildir, fs::Permissions::from_mode(0o711)).unwrap();
    let crowd = Crowd::new(1);
    let server = format!("--host {}", crowd.name);
    let client = Client::unprivileged(home.path()).typed(&server).typed(ONE);
    client.args([&maildir]).args(&other).run().exits(0).outcomes(&["delivered"; 4]);
}

#[test]
fn a_rate_is_kept() {
    let crowd = Crowd::new(1);
    let ran = crowd.client().typed(ONE).typed("--repeat 4 --rate 10").run().exits(0);
    assert_eq!(ran.report().len(), 4);
    assert!(ran.took >= Duration::from_millis(300), "{:?}", ran.took);
    let ran =
        crowd.client().typed(ONE).typed("--repeat 2 --rate 0.8").run().exits(0).outcomes(&["delivered"; 2]);
    assert!(ran.took >= Duration::from_millis(1250), "{:?}", ran.took);
}

/// Defers the only recipient, and then calls `meanwhile`.
fn deferring(meanwhile: impl FnOnce() + Send + 'static) -> Server {
    Server::tcp(|peer| {
        peer.session(&["PIPELINING"])?;
        peer.flight(&["MAIL FROM:<me@example.net>", "RCPT TO:<a@example.net>", "DATA"])?;
        peer.say_all(&["250 ok", "450 4.2.1 busy", "503 5.5.1 nobody"])?;
        peer.expect("QUIT")?;
        meanwhile();
        peer.say("221 bye")?;
        peer.end()
    })
}

#[test]
fn a_file_changes_while_its_message_waits_to_be_tried_again() {
    let home = tempfile::tempdir().unwrap();
    let path = files(home.path(), 1).remove(0);
    let changed = path.clone();
    let server = deferring(move || fs::write(changed, "Subject: another\n").unwrap());
    let ran = Client::to(&server).typed(ONE).args(["--retry", "2"]).args([&path]).run();
    server.finish();
    let ran = ran.exits(75).outcomes(&["deferred"]).stages(&["input"]);
    assert!(ran.stderr.contains("0.eml: the file has"), "{}", ran.stderr);
}

#[test]
fn told_to_stop_while_a_message_waits_to_be_tried_again() {
    let server = deferring(|| ());
    let client = Client::to(&server).typed(ONE).args(["--retry-for", "600"]).start();
    client.ready();
    // It is told while it is busy, or while it waits: either ends it.
    thread::sleep(Duration::from_millis(300));
    client.signal(Signal::TERM);
    let ran = client.wait().exits(75).outcomes(&["deferred"]).within(5.0);
    drop(server.outcome());
    assert!(ran.report()[0]["attempts"].as_u64() <= Some(1), "{}", ran.stdout);
}

/// So many recipients has each message of [`memory`]: what is kept of a message is mostly what is kept of those.
const RECIPIENTS: usize = 300;

/// The most memory that a run for `count` messages took, in KiB.
fn memory(count: usize) -> u64 {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("m"), "Subject: m\n\nm\n").unwrap();
    let crowd = Crowd::new(1);
    let recipients: Vec<String> = (0..RECIPIENTS).map(|n| format!("recipient-{n}@example.net")).collect();
    let client = crowd.client().dir(home.path()).args(["-f", "me@example.net", "-t", &recipients.join(",")]);
    let running = client.args(vec!["m"; count]).start();
    let peak = running.peak();
    running.wait().exits(0);
    assert_eq!(crowd.accepted.load(Ordering::Relaxed), count);
    peak
}

#[test]
fn memory_does_not_grow_with_the_number_of_messages() {
    let (few, many) = (memory(20), memory(400));
    // Books that are never emptied take a thousand; the names on the command line and chance, a hundred.
    assert!(many < few + 500, "{few} KiB for twenty messages, {many} KiB for four hundred");
}

/// The most memory that a run for different files took, in KiB, with few descriptors and the names in a `list` or as
/// arguments.
fn memory_of_files(home: &Path, names: &[String], list: bool) -> u64 {
    let crowd = Crowd::new(1);
    let client =
        Client::in_shell(r#"ulimit -n 64; exec "$@""#).dir(home).typed(ONE).args(["-H", &crowd.name]);
    let client = match list {
        true => client.typed("--files-from -").input(names.join("\n")),
        false => client.args(names),
    };
    let running = client.start();
    let peak = running.peak();
    let report = running.wait().exits(0).report();
    let mut found: Vec<&str> = report
        .iter()
        .filter(|line| line["outcome"] == "delivered")
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    found.sort_unstable();
    assert!(found == names, "each once");
    assert_eq!(crowd.accepted.load(Ordering::Relaxed), names.len());
    peak
}

#[test]
fn thousands_of_files_with_few_descriptors_and_little_memory() {
    let home = tempfile::tempdir().unwrap();
    let mut names: Vec<String> = files(home.path(), 3_000)
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort_unstable();
    for list in [true, false] {
        let (one, all) =
            (memory_of_files(home.path(), &names[..1], list), memory_of_files(home.path(), &names, list));
        println!("{one} KiB for one, {all} KiB for {}", names.len());
        assert!(all < one + 8 * 1024, "{one} KiB for one file, {all} KiB for {}", names.len());
    }
}

/// A Maildir of `count` messages.
pub fn maildir(home: &Path, count: usize) -> PathBuf {
    let path = home.join("Maildir");
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir_all(path.join(folder)).unwrap();
    }
    for n in 0..count {
        let name = if n % 2 == 0 { format!("new/{n:03}.x") } else { format!("cur/{n:03}.x:2,S") };
        fs::write(path.join(name), format!("To: all@example.net\nSubject: {n}\n\n{n}\n")).unwrap();
    }
    path
}

#[test]
fn a_maildir_goes_to_those_who_are_named_and_in_parts() {
    let home = tempfile::tempdir().unwrap();
    let path = maildir(home.path(), 20);
    let crowd = Crowd::new(1);
    let ran = crowd.client().typed(ONE).arg("--connections", Path::new("1")).args([&path]).run().exits(0);
    assert_eq!(ran.report().len(), 20);
    let part =
        |k: u32| crowd.client().typed(ONE).args(["--shard", &format!("{k}/3")]).args([&path]).run().exits(0);
    let mut names: Vec<String> =
        (1..=3).flat_map(|k| part(k).report()).map(|l| l["message"].to_string()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 20, "each part has its own, and none is forgotten");
    assert_eq!(crowd.accepted.load(Ordering::Relaxed), 40);
    // Not to whom the headers name, unless that was asked for.
    let ran = crowd.client().args(["-f", "me@example.net"]).args([&path]).run();
    assert_eq!(ran.code(), 64, "{}", ran.stderr);
    crowd.client().args(["-f", "me@example.net", "--header-recipients"]).args([&path]).run().exits(0);
    assert_eq!(crowd.accepted.load(Ordering::Relaxed), 60);
}

#[test]
fn a_command_that_is_repeated_with_a_ledger_gives_nobody_a_second_copy() {
    let home = tempfile::tempdir().unwrap();
    let ledger = home.path().join("ledger");
    let run = |peer: Server| {
        let ran = Client::to(&peer).typed(super::TWO).arg("--ledger", &ledger).run();
        peer.finish();
        ran
    };
    let first = Server::tcp(|peer| {
        peer.session(&["PIPELINING"])?;
        peer.envelope(2)?;
        peer.message()?;
        peer.quit(&["250 delivered", "452 4.2.2 full"])
    });
    run(first).exits(75).outcomes(&["delivered", "deferred"]);
    let second = Server::tcp(|peer| {
        peer.session(&["PIPELINING"])?;
        peer.flight(&["MAIL FROM:<me@example.net>", "RCPT TO:<b@example.net>", "DATA"])?;
        peer.say_all(&["250 ok", "250 ok", "354 go on"])?;
        peer.message()?;
        peer.quit(&["250 delivered"])
    });
    let ran = run(second).exits(0);
    let outcomes: Vec<_> =
        ran.report().iter().map(|line| line["outcome"].as_str().unwrap().to_owned()).collect();
    assert_eq!(outcomes, ["delivered", "delivered"]);
    assert_eq!(ran.report()[0]["attempts"], 0, "an earlier run has delivered it");
    let left =
        fs::read_dir(&ledger).unwrap().filter(|e| e.as_ref().unwrap().path().extension().is_some()).count();
    assert_eq!(left, 0, "nothing is remembered of a run that need not be repeated");
}

#[test]
fn a_run_that_is_killed_goes_on_with_its_ledger_where_it_stopped() {
    let home = tempfile::tempdir().unwrap();
    let ledger = home.path().join("ledger");
    let files = files(home.path(), 300);
    let crowd = Crowd::new(1);
    let client = || crowd.client().typed(ONE).arg("--ledger", &ledger).args(&files);
    let running = client().start();
    while crowd.accepted.load(Ordering::Relaxed) < 20 {
        thread::sleep(Duration::from_millis(1));
    }
    running.signal(Signal::KILL);
    running.wait();
    let ran = client().run().exits(0);
    assert_eq!(ran.report().len(), 300);
    let accepted = crowd.accepted.load(Ordering::Relaxed);
    assert!((300..=302).contains(&accepted), "{accepted} copies of 300 messages");
}

/// Runs a command line of the manual in `home`, as it stands there but for the server's name; its exit code.
fn recipe(home: &Path, begin: &str, server: &str) -> Option<i32> {
    let manual = include_str!("../../man/many.roff").replace("\\-", "-");
    let line = manual.lines().find(|line| line.starts_with(begin)).unwrap();
    let line = line.replace("mailbox.example.net", server);
    let programs = Path::new(env!("CARGO_BIN_EXE_lmtp-send")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let output =
        Command::new("sh").args(["-c", &line]).current_dir(home).env("HOME", home).env("PATH", path).output();
    output.unwrap().status.code()
}

/// The exit codes of the parts, in order, by parallel's job log.
fn job_codes(home: &Path) -> Vec<String> {
    let log = fs::read_to_string(home.join("parts.log")).unwrap();
    let mut codes: Vec<_> =
        log.lines().skip(1).map(|line| line.split('\t').nth(6).unwrap().to_owned()).collect();
    codes.sort();
    codes
}

#[test]
fn parts_under_gnu_parallel_and_those_that_failed_again() {
    if !Command::new("parallel").arg("--version").output().is_ok_and(|o| o.status.success()) {
        return println!("SKIPPED: no GNU parallel here");
    }
    let home = tempfile::tempdir().unwrap();
    maildir(home.path(), 40);
    let crowd = Crowd::new(1);
    // A part whose ledger cannot be had.
    fs::write(home.path().join("ledger-2"), "").unwrap();
    assert_eq!(recipe(home.path(), "seq 4 | parallel", &crowd.name), Some(1));
    assert_eq!(job_codes(home.path()), ["0", "0", "0", "75"]);
    let before = crowd.accepted.load(Ordering::Relaxed);
    assert!((1..40).contains(&before), "{before}");
    fs::remove_file(home.path().join("ledger-2")).unwrap();
    assert_eq!(recipe(home.path(), "parallel --retry-failed", &crowd.name), Some(0));
    assert_eq!(crowd.accepted.load(Ordering::Relaxed), 40, "each message once");
}
