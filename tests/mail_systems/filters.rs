//! Programs that hand a message to a command as they sort it: qmail-local, procmail and maildrop.

use std::fs::{Permissions, set_permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::{MESSAGE, dovecot, page};
use crate::servers::{Account, Home, Place, free_port, installed};

/// What the command exits with when it reads the message.
fn exit_code(command: &mut Command) -> Option<i32> {
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // One that ends before it has read is judged by how it ends.
    let _ = child.stdin.take().unwrap().write_all(MESSAGE.as_bytes());
    child.wait().unwrap().code()
}

/// Runs `deliver` for somebody who has a mailbox, nobody, somebody without room, and while nobody listens.
fn each_outcome(deliver: impl Fn(&Home, &Place, &str) -> Option<i32>, expected: [i32; 4]) {
    let Some(dovecot) = dovecot() else { return };
    let home = Home::new(Account::ours());
    let away = Place::Port(free_port());
    let place = dovecot.tcp();
    for ((place, user), code) in
        [(&place, "ann"), (&place, "joe"), (&place, "full"), (&away, "bob")].into_iter().zip(expected)
    {
        assert_eq!(deliver(&home, place, user), Some(code), "{user}");
    }
    let stored = &dovecot.mailbox("ann")[0];
    assert!(stored.added.contains("Return-Path: <sender@example.net>\r\n"), "{}", stored.added);
    // procmail puts an empty line behind it.
    assert!(stored.message.trim_ascii_end().ends_with("\r\n\r\n.\r\nGrüße\r\n..".as_bytes()), "{stored:?}");
    assert_eq!(dovecot.mailbox("ann").len(), 1);
    assert!(dovecot.mailbox("bob").is_empty() && dovecot.mailbox("full").is_empty());
}

/// There is no package of qmail: this runs the line as its qmail-local does, by a shell, with the envelope in the
/// environment.
#[test]
fn qmail_reads_its_own_exit_codes() {
    let deliver = |home: &Home, place: &Place, user: &str| {
        let line = page::lines("qmail", &home.program(), place);
        let command = line.trim_end().strip_prefix('|').unwrap();
        exit_code(
            Command::new("/bin/sh")
                .args(["-c", command])
                .env("SENDER", "sender@example.net")
                .env("RECIPIENT", format!("{user}@example.net")),
        )
    };
    each_outcome(deliver, [0, 100, 111, 111]);
}

#[test]
fn procmail_hands_the_exit_code_on() {
    if !installed("/usr/bin/procmail") {
        return;
    }
    let deliver = |home: &Home, place: &Place, user: &str| {
        let recipe = page::lines("procmail", &home.program(), place).replace("$LOGNAME", user);
        let file = home.write("procmailrc", &format!("DEFAULT=/dev/null\n{recipe}"));
        exit_code(Command::new("/usr/bin/procmail").args(["-m", &file, "sender@example.net"]))
    };
    each_outcome(deliver, [0, 67, 75, 75]);
}

#[test]
fn maildrop_hands_the_exit_code_on() {
    if !installed("/usr/bin/maildrop") {
        return;
    }
    let deliver = |home: &Home, place: &Place, user: &str| {
        let filter = page::lines("maildrop", &home.program(), place).replace("$LOGNAME", user);
        let file = home.write("mailfilter", &filter);
        set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        exit_code(Command::new("/usr/bin/maildrop").args(["-f", "sender@example.net", &file]))
    };
    each_outcome(deliver, [0, 67, 75, 75]);
}
