//! A run in parts (`--shard`): a part that is killed, and the manual's recipes for what starts the parts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::ONE;
use super::many::maildir;
use crate::scripted::{Client, Server};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lmtp-send");
const MESSAGES: usize = 40;
/// The parts of the manual's recipes.
const PARTS: usize = 4;

/// How many copies of each message are in the sink in `home`.
fn copies(home: &Path) -> BTreeMap<String, usize> {
    let mut copies = BTreeMap::new();
    for entry in fs::read_dir(home.join("sink/joe@example.net/new")).into_iter().flatten() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let subject = text.lines().find(|line| line.starts_with("Subject: ")).unwrap().to_owned();
        *copies.entry(subject).or_default() += 1;
    }
    copies
}

/// The lines of the manual below `tested as NAME`, with a sink in `home` where it has a server.
fn recipe(name: &str, home: &Path) -> String {
    let manual = include_str!("../../man/many.roff");
    let (_, below) = manual.split_once(&format!(".\\\" tested as {name}\n.IP\n.EX\n")).unwrap();
    let (block, _) = below.split_once(".EE\n").unwrap();
    let sink = format!("--sink {}", home.join("sink").display());
    block.replace("\\-", "-").replace("-H mailbox.example.net", &sink)
}

/// A part's command in `home`, that finds the program by its name.
fn part_in(home: &Path, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let beside = Path::new(PROGRAM).parent().unwrap();
    let mut command = Command::new(program);
    command.current_dir(home).env("HOME", home);
    command.env("PATH", format!("{}:{}", beside.display(), std::env::var("PATH").unwrap()));
    command
}

/// Runs the parts one after the other, and finds each message once.
fn assert_each_message_once(home: &Path, part: impl Fn(usize) -> Command) {
    maildir(home, MESSAGES);
    for number in 1..=PARTS {
        let before = copies(home).len();
        let output = part(number).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{number}: {output:?}");
        assert!(copies(home).len() > before, "part {number} has messages of its own");
    }
    let copies = copies(home);
    assert_eq!(copies.len(), MESSAGES);
    assert!(copies.values().all(|copies| *copies == 1), "{copies:?}");
}

#[test]
fn parts_under_kubernetes() {
    let home = tempfile::tempdir().unwrap();
    let line = recipe("kubernetes", home.path());
    let words: Vec<String> = serde_json::from_str(line.trim().strip_prefix("command: ").unwrap()).unwrap();
    assert_each_message_once(home.path(), |part| {
        let mut command = part_in(home.path(), &words[0]);
        // It counts from 0.
        command.args(&words[1..]).env("JOB_COMPLETION_INDEX", (part - 1).to_string());
        command
    });
}

#[test]
fn parts_under_slurm() {
    let home = tempfile::tempdir().unwrap();
    let script = recipe("slurm", home.path());
    assert!(script.contains(&format!("#SBATCH --array=1-{PARTS}\n")), "{script}");
    fs::write(home.path().join("batch"), script).unwrap();
    assert_each_message_once(home.path(), |part| {
        let mut command = part_in(home.path(), "sh");
        command.arg("batch").env("SLURM_ARRAY_TASK_ID", part.to_string());
        command
    });
}

#[test]
fn parts_under_systemd() {
    let home = tempfile::tempdir().unwrap();
    let maildir = home.path().join("Maildir");
    let unit = recipe("systemd", home.path()).replace("/usr/bin/lmtp-send", PROGRAM);
    let unit = unit.replace("/srv/Maildir", maildir.to_str().unwrap());
    // Made by systemd, where it starts the unit.
    fs::create_dir_all(home.path().join("state/lmtp-send")).unwrap();
    assert_each_message_once(home.path(), |part| {
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let start = start.replace("%i", &part.to_string());
        let start = start.replace("%S", home.path().join("state").to_str().unwrap());
        let mut words = start.split(' ');
        let mut command = part_in(home.path(), words.next().unwrap());
        command.args(words);
        command
    });
    verify(&home.path().join("part@.service"), &unit);
}

/// What systemd itself says of the unit.
fn verify(path: &PathBuf, unit: &str) {
    fs::write(path, unit).unwrap();
    let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(path).output() else {
        return println!("SKIPPED: no systemd-analyze here");
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("part@")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn part_that_is_killed_and_run_again() {
    let home = tempfile::tempdir().unwrap();
    let path = maildir(home.path(), 150);
    let part = |k: usize| {
        let client = Client::new().args(["-f", "me@example.net", "-t", "joe@example.net"]);
        let client = client.args(["--shard", &format!("{k}/3")]).arg("--sink", &home.path().join("sink"));
        client.arg("--ledger", &home.path().join(format!("ledger-{k}"))).args([&path])
    };
    let parts = [part(1).start(), part(2).args(["--rate", "100"]).start(), part(3).start()];
    let [first, killed, third] = parts;
    let stored = || {
        fs::read_dir(home.path().join("ledger-2")).map_or(0, |entries| {
            entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum::<u64>()
        })
    };
    while stored() < 500 {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(!killed.kill(), "it was in the middle");
    [first, third].into_iter().for_each(|running| drop(running.wait().exits(0)));
    assert!(copies(home.path()).len() < 150, "the others have not done its messages");
    part(2).run().exits(0);
    let copies = copies(home.path());
    assert_eq!(copies.len(), 150);
    // Only the message of the moment can be twice.
    assert!(copies.values().sum::<usize>() <= 151, "{copies:?}");
}

#[test]
fn a_list_or_an_mbox_that_cannot_be_read_fails_in_each_part() {
    // Nobody knows which messages of whose part are in it.
    let server = Server::unused();
    for options in ["--files-from missing", "--mbox missing"] {
        for part in 1..=4 {
            let client = Client::to(&server).typed(ONE).typed(options).typed(&format!("--shard {part}/4"));
            client.run().exits(66).says("5.3.0", "missing").outcomes(&["failed"]);
        }
    }
    server.finish();
}
