//! Commands that are repeated: what is remembered of a run that was killed, stopped or deferred.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use super::many::files;
use super::{ONE, TWO, holds_the_second};
use crate::scripted::{Client, Running, Server, halt};
use crate::servers::dovecot::Dovecot;

/// An mbox of so many messages in `home`.
fn mbox(home: &Path, messages: usize) -> PathBuf {
    let path = home.join("box");
    let all: String = (0..messages).map(|n| format!("From x\nSubject: {n}\n\n{n}\n\n")).collect();
    fs::write(&path, all).unwrap();
    path
}

/// A run with a ledger that delivers the mbox to `joe` in the sink, both in `home`.
fn run(home: &Path, mbox: &Path) -> Client {
    Client::new()
        .args(["-f", "me@example.net", "-t", "joe", "--mbox"])
        .arg("--sink", &home.join("sink"))
        .arg("--ledger", &home.join("ledger"))
        .args([mbox])
}

/// How many copies of each message the sink has.
fn copies(home: &Path) -> BTreeMap<String, usize> {
    let entries = fs::read_dir(home.join("sink/joe/new")).into_iter().flatten();
    counted(entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()))
}

/// How many there are of each subject.
fn counted(messages: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut copies = BTreeMap::new();
    for text in messages {
        let subject = text.lines().find(|line| line.starts_with("Subject: ")).unwrap().to_owned();
        *copies.entry(subject).or_default() += 1;
    }
    copies
}

/// A number of which the next one is not to be guessed.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// So many kills, or as many as were asked for.
fn limit(kills: usize) -> usize {
    std::env::var("KILLS").map_or(kills, |kills| kills.parse().unwrap())
}

/// What is left in the ledger besides its lock.
fn journals(home: &Path) -> usize {
    fs::read_dir(home.join("ledger"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name() != "lock")
        .count()
}

#[test]
fn run_killed_at_any_moment_and_repeated() {
    let home = tempfile::tempdir().unwrap();
    // As many messages as so many kills have time for.
    let limit = limit(60);
    let messages = 200.max(20 * limit / 6);
    let mbox = mbox(home.path(), messages);
    let mut state = 0x1eda_u64;
    let mut kills = 0;
    // A run that has ended well remembers nothing, and is not to be repeated.
    let mut is_done = false;
    while !is_done && kills < limit {
        let running = run(home.path(), &mbox).start();
        thread::sleep(Duration::from_millis(5 + next(&mut state) % 25));
        is_done = running.kill();
        kills += 1;
    }
    if !is_done {
        run(home.path(), &mbox).run().exits(0);
    }
    let copies = copies(home.path());
    let twice = copies.values().filter(|copies| **copies > 1).count();
    println!("{kills} kills, {twice} messages twice");
    assert_eq!(copies.len(), messages, "each is there");
    assert!(copies.values().sum::<usize>() <= messages + kills, "at most one copy more for each kill");
    assert_eq!(journals(home.path()), 0, "nothing is remembered when all is well");
}

/// The processes of the server that are in a session in which they have stored some messages, by its log. Dovecot takes
/// one that dies before it has heard of its start for one that cannot start, and waits ever longer before the next.
fn in_session(log: &str) -> Vec<i32> {
    let mut stored = BTreeMap::<i32, usize>::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once(" lmtp(joe)<") {
            let process = rest.split_once('>').and_then(|(process, _)| process.parse().ok());
            process.into_iter().for_each(|process| *stored.entry(process).or_default() += 1);
        } else if let Some((_, rest)) = line.split_once(" lmtp(") {
            let ended = rest.split_once("): Info: Disconnect from");
            ended.and_then(|(process, _)| process.parse().ok()).map(|process: i32| stored.remove(&process));
        }
    }
    stored.into_iter().filter(|(_, messages)| *messages >= 5).map(|(process, _)| process).collect()
}

/// Kills what serves the run, again and again, until that has ended or there were `most` kills; adds to `killed`.
fn kill_servers(
    running: &Running,
    server: &Dovecot,
    state: &mut u64,
    killed: &mut BTreeSet<i32>,
    most: usize,
) {
    let process = format!("/proc/{}", running.id());
    while Path::new(&process).exists() && killed.len() < most {
        thread::sleep(Duration::from_millis(5 + next(state) % 40));
        for process in in_session(&server.log()) {
            if !killed.contains(&process)
                && kill_process(Pid::from_raw(process).unwrap(), Signal::KILL).is_ok()
            {
                killed.insert(process);
            }
        }
    }
}

#[test]
fn server_killed_at_any_moment_and_run_repeated() {
    let Some(server) = Dovecot::start(&["joe"], "") else { return };
    let home = tempfile::tempdir().unwrap();
    let limit = limit(15);
    let messages = 20 * limit;
    let mbox = mbox(home.path(), messages);
    let mut killed = BTreeSet::new();
    let (mut state, mut runs, mut code) = (0x5e7f_u64, 0, 75);
    while code == 75 && runs < 3 * limit {
        let client = Client::new().args(["-f", "me@example.net", "-t", "joe", "--mbox", "--timeout", "15"]);
        let client = client.args(server.socket().options()).arg("--ledger", &home.path().join("ledger"));
        let running = client.args([&mbox]).start();
        kill_servers(&running, &server, &mut state, &mut killed, limit);
        let ran = running.wait();
        code = ran.code();
        assert!(code == 0 || code == 75, "{code}: {}", ran.stderr);
        runs += 1;
    }
    let text = |message| String::from_utf8(message).unwrap();
    let copies = counted(server.mailbox("joe").into_iter().map(|received| text(received.message)));
    let twice = copies.values().filter(|copies| **copies > 1).count();
    println!("{} sessions killed in {runs} runs, {twice} messages twice", killed.len());
    assert_eq!(code, 0);
    assert!(killed.len() > limit / 2, "{killed:?}");
    assert_eq!(copies.len(), messages, "each is there");
    let all = copies.values().sum::<usize>();
    assert!(all <= messages + killed.len(), "at most one copy more for each session killed: {all}");
    assert_eq!(journals(home.path()), 0, "nothing is remembered when all is well");
}

#[test]
fn run_stopped_and_repeated() {
    let home = tempfile::tempdir().unwrap();
    let mbox = mbox(home.path(), 150);
    let running = run(home.path(), &mbox).start();
    while copies(home.path()).len() < 10 {
        thread::sleep(Duration::from_millis(1));
    }
    running.signal(Signal::TERM);
    running.wait();
    run(home.path(), &mbox).run().exits(0);
    let copies = copies(home.path());
    assert_eq!(copies.len(), 150);
    assert!(copies.values().all(|copies| *copies == 1), "a signal lets what is in flight be known");
}

#[test]
fn two_runs_of_the_same_messages_at_once() {
    let home = tempfile::tempdir().unwrap();
    let mbox = mbox(home.path(), 100);
    let both = [run(home.path(), &mbox).start(), run(home.path(), &mbox).start()];
    both.into_iter().for_each(|running| drop(running.wait().exits(0)));
    let copies = copies(home.path());
    assert_eq!(copies.len(), 100);
    // What a run did that had ended before the other came to a message is not remembered.
    assert!(copies.values().all(|copies| *copies <= 2), "{copies:?}");
}

#[test]
fn second_run_waits_for_the_first() {
    let home = tempfile::tempdir().unwrap();
    let ledger = home.path().join("ledger");
    let (halt, halted) = halt();
    let first = Server::unix(move |peer| {
        peer.session(&["PIPELINING"])?;
        peer.envelope(1)?;
        peer.message()?;
        halt.wait(peer)?;
        peer.quit(&["250 delivered"])
    });
    let one = Client::to(&first).typed(ONE).arg("--ledger", &ledger).start();
    halted.reached();
    let unused = Server::unused();
    let limited = Client::to(&unused).typed(ONE).typed("--deadline 0.3").arg("--ledger", &ledger).run();
    limited.exits(75).says("4.3.0", "another run").outcomes(&["deferred"]).within(5.0);
    let two = Client::to(&unused).typed(ONE).arg("--ledger", &ledger).start();
    thread::sleep(Duration::from_millis(200));
    halted.go_on();
    one.wait().exits(0);
    let ran = two.wait().exits(0);
    assert_eq!(ran.report()[0]["outcome"], "delivered");
    assert_eq!(ran.report()[0]["attempts"], 0);
    first.finish();
    unused.finish();
}

#[test]
fn ledger_that_cannot_be_written_to() {
    let home = tempfile::tempdir().unwrap();
    let ledger = home.path().join("ledger");
    fs::create_dir(&ledger).unwrap();
    fs::set_permissions(&ledger, fs::Permissions::from_mode(0o500)).unwrap();
    let server = Server::unused();
    let client = Client::unprivileged(home.path()).args(server.destination()).typed(TWO);
    client.arg("--ledger", &ledger).run().exits(75).says("4.7.0", "ledger").outcomes(&["deferred"; 2]);
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let ran = Client::to(&server).typed(TWO).arg("--ledger", &file).run();
    server.finish();
    let ran = ran.exits(75).says("4.3.5", "file").outcomes(&["deferred"; 2]);
    assert!(!ran.report()[0].to_string().contains("os error"), "{}", ran.report()[0]);
}

#[test]
fn no_room_for_the_ledger() {
    // What cannot be remembered is not sent.
    let home = tempfile::tempdir().unwrap();
    let ledger = home.path().join("ledger");
    fs::create_dir(&ledger).unwrap();
    let server = Server::unused();
    let script =
        format!("mount -t tmpfs -o size=4k none '{0}' && echo x > '{0}/x' && exec \"$@\"", ledger.display());
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--map-root-user", "sh", "-c", &script, "sh"])
        .arg(env!("CARGO_BIN_EXE_lmtp-send"));
    if !Command::new("unshare")
        .args(["--mount", "--map-root-user", "true"])
        .status()
        .is_ok_and(|s| s.success())
    {
        return println!("SKIPPED: no name spaces here");
    }
    let ran = Client::of(command).args(server.destination()).typed(TWO).arg("--ledger", &ledger).run();
    server.finish();
    ran.exits(75).says("4.3.0", "ledger").outcomes(&["deferred"; 2]);
}

#[test]
fn ledger_lost_in_the_middle_of_a_run() {
    // What was accepted stays delivered, but nothing more is sent that could not be remembered.
    let home = tempfile::tempdir().unwrap();
    let names = ["one", "two", "three"].map(|name| home.path().join(name));
    names.iter().for_each(|path| fs::write(path, format!("Subject: {}\n\nx\n", path.display())).unwrap());
    let replies = &["250 delivered", "250 ok", "250 ok", "354 go on"];
    let (server, halted) = holds_the_second(Duration::ZERO, replies);
    let ledger = home.path().join("ledger");
    let client = Client::to(&server).typed(ONE).typed("--summary json").arg("--ledger", &ledger);
    let running = client.args(&names).start();
    halted.reached();
    // From now on no file of its may grow.
    let pid = Pid::from_raw(running.id()).unwrap();
    let limit = Rlimit { current: Some(0), maximum: Some(0) };
    prlimit(Some(pid), Resource::Fsize, limit).unwrap();
    halted.go_on();
    let ran = running.wait().exits(75).outcomes(&["delivered", "deferred", "deferred"]);
    let heard = server.finish().pop().unwrap();
    assert_eq!(String::from_utf8_lossy(&heard.octets).matches("\r\n.\r\n").count(), 1);
    assert!(ran.stderr.contains("the ledger cannot be written"), "{}", ran.stderr);
    assert!(ran.stderr.contains("warning: cannot write the ledger: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("a repeated run may send second copies"), "{}", ran.stderr);
    // Whoever reads the summary alone knows it as well.
    let summary: serde_json::Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    let to_go_on = summary["to_go_on"].as_str().unwrap();
    assert!(to_go_on.contains("a repeated run may send second copies; to continue:"), "{to_go_on}");
}

#[test]
fn killed_between_the_message_and_its_reply() {
    let home = tempfile::tempdir().unwrap();
    let ledger = home.path().join("ledger");
    let (halt, halted) = halt();
    let server = Server::unix(move |peer| {
        peer.session(&["PIPELINING"])?;
        peer.envelope(1)?;
        peer.message()?;
        halt.wait(peer).ok();
        peer.silence()
    });
    let running = Client::to(&server).typed(ONE).arg("--ledger", &ledger).start();
    halted.reached();
    running.kill();
    drop(halted);
    server.finish();
    // Nobody knows whether it was accepted: it is sent again.
    let client = Client::new().typed(ONE).arg("--sink", &home.path().join("sink")).arg("--ledger", &ledger);
    let ran = client.run().exits(0).outcomes(&["delivered"]);
    assert_eq!(ran.report()[0]["attempts"], 1);
    assert_eq!(journals(home.path()), 0);
}

#[test]
fn killed_while_it_tells_what_it_came_to() {
    // Who sees it killed repeats it: nothing is forgotten before all has been told.
    let home = tempfile::tempdir().unwrap();
    let mbox = mbox(home.path(), 4);
    let (mut unread, full) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&full, 4096).unwrap();
    (&full).write_all(&[b'-'; 4096]).unwrap();
    let running = run(home.path(), &mbox).typed("--summary text").stderr(full).start();
    let patience = std::time::Instant::now() + crate::scripted::PATIENCE;
    while copies(home.path()).len() < 4 && std::time::Instant::now() < patience {
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(300));
    assert!(!running.kill(), "it still had something to say");
    unread.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(journals(home.path()), 1);
    run(home.path(), &mbox).run().exits(0);
    assert_eq!(copies(home.path()).values().copied().collect::<Vec<_>>(), [1; 4]);
    assert_eq!(journals(home.path()), 0);
}

/// The program, killed before its system call `call` of this number.
fn killed_before(call: &str, number: usize) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={call}"));
    command.arg("-e").arg(format!("inject={call}:signal=KILL:when={number}"));
    command.arg(env!("CARGO_BIN_EXE_lmtp-send"));
    command
}

#[test]
fn killed_at_each_system_call_while_several_journals_are_forgotten() {
    // Until all is forgotten, nothing is: a run that is repeated gives nobody a second copy for another's record.
    if !Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|s| s.success()) {
        return println!("SKIPPED: no strace here");
    }
    let prepared = tempfile::tempdir().unwrap();
    files(prepared.path(), 4);
    let run = |home: &Path, command: Command, names: &[&str]| {
        let client = Client::of(command).dir(home).args(["-f", "me@example.net", "-t", "joe"]);
        client.typed("--sink sink --ledger ledger").args(names)
    };
    let program = || Command::new(env!("CARGO_BIN_EXE_lmtp-send"));
    for name in ["0.eml", "1.eml", "2.eml"] {
        // Delivered, and to be repeated.
        let client = run(prepared.path(), program(), &[name]).typed("--report text --report-file /dev/full");
        client.run().exits(75);
    }
    assert_eq!(journals(prepared.path()), 3);
    let all = ["0.eml", "1.eml", "2.eml", "3.eml"];
    let mut in_between = 0;
    for call in ["write", "flock", "fdatasync", "fsync", "unlink", "exit_group"] {
        for number in 1.. {
            let home = tempfile::tempdir().unwrap();
            let copied =
                Command::new("cp").arg("-a").arg(prepared.path().join(".")).arg(home.path()).status();
            assert!(copied.unwrap().success());
            let is_done = run(home.path(), killed_before(call, number), &all).run().code() == 0;
            let left = journals(home.path());
            if is_done || left == 0 {
                // Nothing comes behind it.
                assert_eq!(left, 0);
                if is_done { break } else { continue }
            }
            in_between += usize::from(left < 4 && copies(home.path()).len() == 4);
            run(home.path(), program(), &all).run().exits(0);
            let copies = copies(home.path());
            let known = ["Subject: 0", "Subject: 1", "Subject: 2"].map(|subject| copies[subject]);
            assert_eq!(known, [1; 3], "killed before {call} {number}, {left} journals left");
            assert_eq!(journals(home.path()), 0);
        }
    }
    // Some had been forgotten, and not all.
    assert!(in_between >= 3, "{in_between}");
}

#[test]
fn what_is_older_than_the_ledgers_days_is_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let ledger = home.path().join("ledger");
    let deferring = Server::tcp(|peer| {
        peer.session(&["PIPELINING"])?;
        peer.envelope(2)?;
        peer.message()?;
        peer.quit(&["250 delivered", "452 4.2.2 full"])
    });
    Client::to(&deferring).typed(TWO).arg("--ledger", &ledger).run().exits(75);
    deferring.finish();
    let journal = fs::read_dir(&ledger).unwrap().map(|e| e.unwrap().path()).find(|p| p.extension().is_some());
    let two_days = std::time::SystemTime::now() - Duration::from_secs(2 * 86_400);
    fs::File::options().append(true).open(journal.unwrap()).unwrap().set_modified(two_days).unwrap();
    let sink = home.path().join("sink");
    let run = |days: &str| {
        let client = Client::new().typed(TWO).typed(days).arg("--ledger", &ledger);
        client.arg("--sink", &sink).run().exits(0).outcomes(&["delivered"; 2])
    };
    assert_eq!(run("--ledger-days 1").report()[0]["attempts"], 1, "that was too long ago");
    assert_eq!(Client::new().typed(TWO).typed("--sink x --ledger x --ledger-days 0").run().code(), 64);
}
