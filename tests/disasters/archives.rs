//! Many messages: mboxes, directories, lists, and parts of a run.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ONE;
use crate::scripted::{Client, Server};

/// The run's destination and recipient: a sink in `home`.
fn to_sink(home: &Path) -> [String; 6] {
    let sink = home.join("sink").into_os_string().into_string().unwrap();
    ["--sink".into(), sink, "-f".into(), "me@example.net".into(), "-t".into(), "joe".into()]
}

/// What `joe` has in the sink, in the order of the contents.
fn inbox(home: &Path) -> Vec<String> {
    let Ok(new) = fs::read_dir(home.join("sink/joe/new")) else { return Vec::new() };
    let text = |path: PathBuf| {
        let whole = fs::read_to_string(path).unwrap();
        let subject = whole.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default();
        subject.to_owned()
    };
    let mut all: Vec<String> = new.map(|entry| text(entry.unwrap().path())).collect();
    all.sort();
    all
}

fn subjects(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    let mut all: Vec<String> = numbers.into_iter().map(|n| n.to_string()).collect();
    all.sort();
    all
}

/// An mbox of messages, with a long one in its middle.
fn mbox(messages: usize) -> String {
    let long = "and so on\n".repeat(20_000);
    let body = |n: usize| if n == messages / 2 { long.clone() } else { ">From me\n".into() };
    (0..messages).map(|n| format!("From x\nSubject: {n}\n\n{}\n", body(n))).collect()
}

#[test]
fn mbox_through_a_pipe() {
    let home = tempfile::tempdir().unwrap();
    let ran = Client::new().args(to_sink(home.path())).typed("--mbox").input(mbox(300)).run();
    ran.exits(0);
    assert_eq!(inbox(home.path()), subjects(0..300));
}

#[test]
fn mbox_that_comes_in_pieces() {
    // Each message is delivered when its end is known; nobody waits for the next with a session open.
    let home = tempfile::tempdir().unwrap();
    let mut running = Client::new().args(to_sink(home.path())).typed("--mbox --report json").hungry().start();
    running.feed(b"From x\nSubject: 1\n\na\n\nFrom y\nSubject: 2\n");
    while inbox(home.path()).is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    running.feed(b"\nb\n");
    running.fed();
    running.wait().exits(0).outcomes(&["delivered"; 2]);
    assert_eq!(inbox(home.path()), subjects(1..=2));
}

#[test]
fn mbox_that_stops_in_a_message() {
    // Whether more was to come cannot be known: what has no end in time is not sent, nor what follows.
    let home = tempfile::tempdir().unwrap();
    let mut running = Client::new()
        .args(to_sink(home.path()))
        .typed("--mbox --deadline 0.5 --report json")
        .hungry()
        .start();
    running.feed(b"From x\nSubject: 1\n\na\n\nFrom y\nSubject: 2\n");
    running.wait().exits(75).outcomes(&["delivered", "deferred"]).within(5.0);
    assert_eq!(inbox(home.path()), subjects([1]));
}

#[test]
fn mbox_that_is_written_to_meanwhile() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("box");
    fs::write(&path, mbox(100)).unwrap();
    let server = Server::unix({
        let path = path.clone();
        move |peer| {
            // Without PIPELINING nothing is read behind a message that is not answered.
            peer.session(&[])?;
            for (line, reply) in
                [("MAIL FROM:{any}", "250 ok"), ("RCPT TO:{any}", "250 ok"), ("DATA", "354 go on")]
            {
                peer.expect(line)?;
                peer.say(reply)?;
            }
            peer.message()?;
            File::options()
                .append(true)
                .open(&path)
                .unwrap()
                .write_all(b"From z\nSubject: z\n\nz\n")
                .unwrap();
            peer.say("250 delivered")?;
            peer.quit(&[])
        }
    });
    let ran = Client::to(&server).typed(ONE).typed("--mbox").args([&path]).run();
    server.finish();
    let report = ran.exits(75).report();
    let (first, last) = (&report[0], report.last().unwrap());
    assert_eq!(first["outcome"], "delivered");
    assert_eq!(last["outcome"], "deferred", "{last}");
    assert_eq!(report.len(), 2, "nothing is known of the rest");
}

#[test]
fn directory_that_cannot_be_read() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("Maildir/new");
    fs::create_dir_all(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o000)).unwrap();
    let server = Server::unused();
    let ran = Client::unprivileged(home.path())
        .args(server.destination())
        .typed(ONE)
        .args([home.path().join("Maildir")])
        .run();
    server.finish();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    ran.exits(66).says("5.3.0", "Maildir/new").outcomes(&["failed"]);
}

#[test]
fn list_that_comes_in_pieces_and_breaks() {
    let home = tempfile::tempdir().unwrap();
    for n in 1..=2 {
        fs::write(home.path().join(n.to_string()), format!("Subject: {n}\n\n{n}\n")).unwrap();
    }
    let mut running = Client::new().args(to_sink(home.path())).typed("--files-from -").hungry().start();
    running.feed(format!("{}\n{}", home.path().join("1").display(), home.path().display()).as_bytes());
    while inbox(home.path()).is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    running.feed(b"/2\n");
    running.fed();
    running.wait().exits(0);
    assert_eq!(inbox(home.path()), subjects(1..=2));
    // Without a list there is nothing, and that is not well.
    let missing = home.path().join("missing");
    let ran = Client::new().args(to_sink(home.path())).typed("--files-from").args([&missing]).run();
    ran.exits(66).says("5.3.0", "missing");
}

#[test]
fn run_in_parts() {
    let home = tempfile::tempdir().unwrap();
    let maildir = home.path().join("Maildir/cur");
    fs::create_dir_all(&maildir).unwrap();
    fs::write(home.path().join("box"), mbox(30)).unwrap();
    for n in 30..60 {
        fs::write(maildir.join(format!("{n}:2,S")), format!("Subject: {n}\n\n{n}\n")).unwrap();
    }
    let mut parts = Vec::new();
    for part in 1..=3 {
        let before = inbox(home.path()).len();
        for (options, source) in [("--mbox", "box"), ("", "Maildir")] {
            let client =
                Client::new().args(to_sink(home.path())).typed(&format!("--shard {part}/3")).typed(options);
            client.args([home.path().join(source)]).run().exits(0);
            // Moved meanwhile, and with other flags.
            for entry in fs::read_dir(&maildir).unwrap().map(Result::unwrap) {
                let name = entry.file_name().into_string().unwrap();
                let (unique, _) = name.split_once(':').unwrap();
                fs::rename(entry.path(), maildir.join(format!("{unique}:2,RS{part}"))).unwrap();
            }
        }
        parts.push(inbox(home.path()).len() - before);
    }
    assert_eq!(inbox(home.path()), subjects(0..60), "each once");
    assert!(parts.iter().all(|messages| *messages > 5), "{parts:?}");
}

/// No file is held open longer than it is needed.
#[test]
fn many_files_with_few_descriptors() {
    let home = tempfile::tempdir().unwrap();
    let mail = home.path().join("mail");
    fs::create_dir(&mail).unwrap();
    for n in 0..400 {
        let body = if n % 100 == 7 { "and so on\n".repeat(10_000) } else { String::new() };
        fs::write(mail.join(format!("{n}.eml")), format!("Subject: {n}\n\n{body}")).unwrap();
    }
    let ran = Client::in_shell(r#"ulimit -n 32; exec "$@""#).args(to_sink(home.path())).args([&mail]).run();
    ran.exits(0);
    assert_eq!(inbox(home.path()), subjects(0..400));
}
