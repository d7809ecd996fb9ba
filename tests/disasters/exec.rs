//! `--exec`: a program is spoken to on its standard input and output.

use std::fs;
use std::path::Path;

use super::{ONE, TWO};
use crate::scripted::{Client, Ran};

/// A server in the shell's own words: greets, takes one message for whoever is named, and does `last` where the
/// replies to the message are due.
fn script(home: &Path, last: &str) -> String {
    let path = home.join("server.sh");
    let text = format!(
        r#"cr=$(printf '\r')
say() {{ printf '%s\r\n' "$1"; }}
say '220 shell LMTP'
count=0
while read -r line; do
    case ${{line%"$cr"}} in
        LHLO*) say '250-shell'; say '250 PIPELINING' ;;
        MAIL*) say '250 ok' ;;
        RCPT*) count=$((count + 1)); say '250 ok' ;;
        DATA)
            say '354 go on'
            while read -r line && [ "${{line%"$cr"}}" != . ]; do printf '%s\n' "${{line%"$cr"}}"; done > '{home}/message'
            {last} ;;
        QUIT) say '221 bye'; exit 0 ;;
    esac
done
"#,
        home = home.display()
    );
    fs::write(&path, text).unwrap();
    format!("sh '{}'", path.display())
}

fn run(command: &str, envelope: &str, options: &str) -> Ran {
    Client::new().typed(envelope).args(["--exec", command]).typed(options).run()
}

const REPLIES: &str = "while [ $count -gt 0 ]; do say '250 stored'; count=$((count - 1)); done";

#[test]
fn a_program_takes_the_message() {
    let home = tempfile::tempdir().unwrap();
    run(&script(home.path(), REPLIES), TWO, "").exits(0).outcomes(&["delivered"; 2]);
    let stored = fs::read_to_string(home.path().join("message")).unwrap();
    let sent = fs::read_to_string("tests/messages/hello.eml").unwrap();
    assert_eq!(stored, sent.replace("\n.", "\n.."), "with its dots stuffed, as they came");
}

#[test]
fn a_program_that_ends_too_early_leaves_the_rest_uncertain() {
    let home = tempfile::tempdir().unwrap();
    let command = script(home.path(), "say '250 stored'; exit 0");
    run(&command, TWO, "").exits(75).outcomes(&["delivered", "uncertain"]).within(4.0);
}

#[test]
fn a_program_that_says_nothing_is_ended_at_the_time_limit() {
    let ran = run("sleep 30", TWO, "--timeout 0.3").exits(75).outcomes(&["deferred"; 2]).within(4.0);
    assert!(ran.stderr.contains("timed out"), "{}", ran.stderr);
}

#[test]
fn a_program_that_fails_at_once_is_told_as_a_lost_server() {
    run("false", TWO, "").exits(75).outcomes(&["deferred"; 2]).within(4.0);
}

#[test]
fn its_errors_pass_through_and_its_arguments_are_split_as_a_shell_splits() {
    let ran = run("sh -c 'echo \"it is broken\" >&2'", ONE, "");
    assert!(ran.stderr.contains("it is broken\n"), "{}", ran.stderr);
    assert_eq!(ran.code(), 75);
}

#[test]
fn no_program_is_a_fault_of_the_configuration() {
    let ran = run("/nonexistent/program", TWO, "").exits(75).outcomes(&["deferred"; 2]);
    assert!(ran.stderr.starts_with("4.3.5 "), "{}", ran.stderr);
    assert_eq!(run("/nonexistent/program", TWO, "--exit-style shell").code(), 78);
    assert_eq!(run("'unbalanced", TWO, "").code(), 75);
}

#[test]
fn the_password_is_not_handed_on() {
    let home = tempfile::tempdir().unwrap();
    let seen = home.path().join("environment");
    let command = format!("sh -c 'env > \"{}\"'", seen.display());
    Client::new().typed(ONE).args(["--exec", &command]).env("LMTP_SEND_PASSWORD", "hunter2").run();
    assert!(!fs::read_to_string(seen).unwrap().contains("hunter2"));
}
