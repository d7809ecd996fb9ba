//! aerc, which has no other way to send than from its screen.

use std::fs::{Permissions, set_permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Child;

use super::{Caller, assert_complete};
use crate::servers::until;

/// A program in a terminal of its own, ended with the test.
struct Session(Child);

impl Session {
    /// Starts what a shell makes of `command`, for a minute at most.
    fn start(caller: &Caller, command: &str) -> Self {
        let command = format!("stty rows 24 cols 80; exec timeout --foreground 60 {command}");
        let mut script = caller.command("/usr/bin/script");
        script.args(["-q", "-e", "-c", &command, "/dev/null"]);
        script.env("TERM", "xterm").env("XDG_RUNTIME_DIR", caller.home.path(""));
        Self(script.env("EDITOR", caller.home.path("editor")).spawn().unwrap())
    }

    /// Waits until it has written this to the screen.
    fn shows(&mut self, expected: &str) {
        let screen = self.0.stdout.as_mut().unwrap();
        let (mut shown, mut octets) = (String::new(), [0; 4096]);
        while !shown.contains(expected) {
            let count = screen.read(&mut octets).unwrap();
            assert_ne!(count, 0, "no '{expected}': {shown}");
            shown += &String::from_utf8_lossy(&octets[..count]);
        }
    }

    fn types(&mut self, keys: &str) {
        self.0.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for Session {
    /// The program ends when its terminal is gone.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn aerc_sends() {
    let Some(caller) = Caller::of("/usr/bin/aerc") else { return };
    caller.home.make(&[".config/aerc", "mail/cur", "mail/new", "mail/tmp"]);
    let account = "[test]\nsource = maildir://MAIL\nfrom = sender@example.net\n";
    let account = account.replace("MAIL", caller.home.path("mail").to_str().unwrap());
    let file = caller.home.write(".config/aerc/accounts.conf", &(account + &caller.lines("aerc")));
    set_permissions(file, Permissions::from_mode(0o600)).unwrap();
    let editor = caller.home.write("editor", "#!/bin/sh\nprintf 'one\\n.\\nmore\\n' >>\"$1\"\n");
    set_permissions(editor, Permissions::from_mode(0o700)).unwrap();

    let mut session =
        Session::start(&caller, "aerc 'mailto:ann@example.net?subject=test&bcc=bob@example.net'");
    session.shows("email?");
    session.types("y");
    for user in ["ann", "bob"] {
        until("the message has come", || !caller.dovecot.mailbox(user).is_empty());
        let stored = caller.stored(user);
        assert_complete(&stored);
        assert!(stored.contains("Subject: test\r\n"), "{stored}");
        assert!(stored.ends_with("\r\n\r\none\r\n.\r\nmore\r\n"), "{stored}");
    }
}
