//! Programs that hand their mail to `sendmail`: a link by that name to the program, with Dovecot behind it.

mod aerc;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use super::{dovecot, page};
use crate::servers::cron::{CRON, Cron};
use crate::servers::dovecot::Dovecot;
use crate::servers::{Account, Home, installed, until};

/// A home with the link in it, and the mailboxes that it delivers to.
struct Caller {
    dovecot: Dovecot,
    home: Home,
    sendmail: String,
}

impl Caller {
    /// None where `program` or Dovecot is not installed.
    fn of(program: &str) -> Option<Self> {
        if !installed(program) {
            return None;
        }
        let dovecot = dovecot()?;
        let home = Home::new(Account::ours());
        let link = home.path("sendmail");
        symlink(env!("CARGO_BIN_EXE_lmtp-send"), &link).unwrap();
        let caller = Self { sendmail: link.display().to_string(), dovecot, home };
        caller.configure("socket = \"/run/dovecot/lmtp\"\n");
        Some(caller)
    }

    /// Writes the user's configuration, with the socket and the folder of this test.
    fn configure(&self, settings: &str) {
        let options = self.dovecot.socket().options();
        let aliases = self.home.path("aliases").display().to_string();
        let settings = settings.replace("/run/dovecot/lmtp", options.last().unwrap());
        self.home.make(&[".config/lmtp-send"]);
        self.home.write(".config/lmtp-send/config.toml", &settings.replace("/etc/aliases", &aliases));
    }

    /// The lines of the manual, with the link of this test.
    fn lines(&self, name: &str) -> String {
        page::printed(name).replace("/usr/local/sbin/sendmail", &self.sendmail)
    }

    /// Runs the program with nothing of this user's configuration; it has to succeed.
    fn run(&self, program: &str, args: &[&str], input: &str) {
        let mut child = self.command(program).args(args).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
    }

    /// The program as somebody else's who lives in this home, with pipes on its ends.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.home.path(""))
            .env("HOME", self.home.path(""))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs([("GIT_COMMITTER_NAME", "Sender"), ("GIT_COMMITTER_EMAIL", "sender@example.net")])
            .envs([("GIT_AUTHOR_NAME", "Sender"), ("GIT_AUTHOR_EMAIL", "sender@example.net")])
            .env("MAILRC", self.home.path("mailrc"))
            .env("DEAD", "/dev/null")
            // s-nail takes HOME from the system where root runs it.
            .env("XDG_CONFIG_HOME", self.home.path(".config"))
            .env_remove("LOGNAME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The one message that `user` has.
    fn stored(&self, user: &str) -> String {
        let mailbox = self.dovecot.mailbox(user);
        assert_eq!(mailbox.len(), 1, "{user}: {mailbox:?}");
        String::from_utf8(mailbox[0].message.clone()).unwrap()
    }
}

/// How many fields of that name the header has.
fn fields(message: &str, name: &str) -> usize {
    let (header, _) = message.split_once("\r\n\r\n").unwrap();
    let start = format!("{}:", name.to_ascii_lowercase());
    header.lines().filter(|line| line.to_ascii_lowercase().starts_with(&start)).count()
}

/// One of each field that a message must have, and no Bcc.
fn assert_complete(message: &str) {
    for name in ["Date", "Message-ID", "From"] {
        assert_eq!(fields(message, name), 1, "{name}: {message}");
    }
    assert_eq!(fields(message, "Bcc"), 0, "{message}");
}

/// As the crons of Debian and of Red Hat do it, from an environment without LOGNAME.
#[test]
fn cron_calls_sendmail() {
    let Some(caller) = Caller::of("/bin/sh") else { return };
    caller.configure(&page::printed("cron"));
    fs::write(caller.home.path("aliases"), "root: ann\n").unwrap();
    let from = ["root (Cron Daemon)", "\"(Cron Daemon)\" <root>"];
    for (flags, from) in [
        ("-i -FCronDaemon -B8BITMIME -oem root", from[0]),
        ("-FCronDaemon -i -B8BITMIME -oem root", from[0]),
        ("-FCronDaemon -odi -oem -oi -t -f root", from[1]),
        ("-FCronDaemon -i -odi -oem -oi -t -f root", from[1]),
    ] {
        let message = format!("From: {from}\nTo: root\nSubject: Cron <root@host> true\n\n.\nGrüße\n");
        let flags: Vec<&str> = flags.split(' ').collect();
        caller.run(&caller.sendmail, &flags, &message);
    }
    let stored = caller.dovecot.mailbox("ann");
    assert_eq!(stored.len(), 4);
    for message in stored {
        let message = String::from_utf8(message.message).unwrap();
        assert_complete(&message);
        assert!(message.ends_with("Subject: Cron <root@host> true\r\n\r\n.\r\nGrüße\r\n"), "{message}");
    }
}

/// Debian's cron itself, with the output of a job that it runs when it starts.
#[test]
fn cron_mails_the_output_of_a_job() {
    let Some(caller) = Caller::of(CRON) else { return };
    caller.configure(&page::printed("cron"));
    fs::write(caller.home.path("aliases"), "root: ann\n").unwrap();
    let Some(_cron) = Cron::start("@reboot echo one; echo .; echo Grüße\n", &caller.home) else { return };
    until("the mail has come", || !caller.dovecot.mailbox("ann").is_empty());
    let stored = caller.stored("ann");
    assert_complete(&stored);
    assert!(stored.contains("From: root (Cron Daemon)\r\n"), "{stored}");
    assert!(stored.contains("Subject: Cron <root@"), "{stored}");
    assert!(stored.ends_with("\r\n\r\none\r\n.\r\nGrüße\r\n"), "{stored}");
}

#[test]
fn bcc_goes_with_t_and_stays_without() {
    let Some(caller) = Caller::of("/bin/sh") else { return };
    let message = "To: ann@example.net\nBcc: bob@example.net\nSubject: test\n\nbody\n";
    caller.run(&caller.sendmail, &["-t", "-i"], message);
    for user in ["ann", "bob"] {
        assert_complete(&caller.stored(user));
    }
    caller.run(&caller.sendmail, &["-i", "sender@example.net"], message);
    assert_eq!(fields(&caller.stored("sender"), "Bcc"), 1);
}

#[test]
fn git_sends_a_patch() {
    git_sends("git");
}

#[test]
fn git_sends_a_patch_to_what_it_takes_for_a_server() {
    git_sends("git-server");
}

/// A patch goes out with the lines of the manual.
fn git_sends(lines: &str) {
    let Some(caller) = Caller::of("/usr/lib/git-core/git-send-email") else { return };
    caller.run("git", &["init", "-q"], "");
    caller.run("/bin/sh", &["-c", &caller.lines(lines)], "");
    let patch = "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n\
        From: Sender <sender@example.net>\nDate: Mon, 2 Nov 2026 10:00:00 +0000\nSubject: [PATCH] x\n\n---\n.\n-- \n2.47\n";
    fs::write(caller.home.path("x.patch"), patch).unwrap();
    let words = ["--from=sender@example.net", "--to=ann@example.net", "--bcc=bob@example.net"];
    let settings = ["send-email", "--confirm=never", "--suppress-cc=all", "--quiet"];
    caller.run("git", &[&settings[..], &words, &["x.patch"]].concat(), "");
    for user in ["ann", "bob"] {
        let stored = caller.stored(user);
        assert_complete(&stored);
        assert!(!stored.contains("From 0123"), "{stored}");
        assert!(stored.ends_with("\r\n\r\n---\r\n.\r\n-- \r\n2.47\r\n"), "{stored}");
    }
}

#[test]
fn s_nail_sends() {
    let Some(caller) = Caller::of("/usr/bin/s-nail") else { return };
    fs::write(caller.home.path("mailrc"), caller.lines("s-nail")).unwrap();
    let words = ["-n", "-s", "test", "-r", "sender@example.net", "-b", "bob@example.net", "ann@example.net"];
    caller.run("/usr/bin/s-nail", &words, "Grüße\n.\nmore\n");
    for user in ["ann", "bob"] {
        let stored = caller.stored(user);
        assert_complete(&stored);
        assert!(stored.contains("Subject: test\r\n"), "{stored}");
    }
}

#[test]
fn bsd_mailx_sends() {
    let Some(caller) = Caller::of("/usr/bin/bsd-mailx") else { return };
    fs::write(caller.home.path("mailrc"), caller.lines("mailx")).unwrap();
    let words = ["-n", "-s", "test", "-r", "sender@example.net", "-b", "bob@example.net", "ann@example.net"];
    caller.run("/usr/bin/bsd-mailx", &words, "one\n.\nmore\n");
    for user in ["ann", "bob"] {
        let stored = caller.stored(user);
        assert_complete(&stored);
        assert!(stored.contains("Subject: test\r\n"), "{stored}");
        assert!(stored.ends_with("\r\n\r\none\r\n.\r\nmore\r\n"), "{stored}");
    }
}

#[test]
fn mutt_sends() {
    let Some(caller) = Caller::of("/usr/bin/mutt") else { return };
    let settings = "set from=sender@example.net\nset record=\"\"\n";
    fs::write(caller.home.path("muttrc"), caller.lines("mutt") + settings).unwrap();
    let words = ["-n", "-F", "muttrc", "-s", "test", "-b", "bob@example.net", "ann@example.net"];
    caller.run("/usr/bin/mutt", &words, "body\n");
    for user in ["ann", "bob"] {
        let stored = caller.stored(user);
        assert_complete(&stored);
        assert!(stored.contains("\r\n\r\nbody\r\n"), "{stored}");
    }
}

#[test]
fn php_sends() {
    let Some(caller) = Caller::of("/usr/bin/php") else { return };
    fs::write(caller.home.path("php.ini"), caller.lines("php")).unwrap();
    let script = "exit(mail('ann@example.net', 'test', \"body\\n\", 'Bcc: bob@example.net') ? 0 : 1);";
    caller.run("/usr/bin/php", &["-c", "php.ini", "-r", script], "");
    for user in ["ann", "bob"] {
        assert_complete(&caller.stored(user));
    }
}

/// Message mode, which takes `message-send-mail-function`.
#[test]
fn emacs_sends() {
    emacs_sends_from("message-user-agent", "message-send");
}

/// The older Mail mode, which takes `send-mail-function`.
#[test]
fn emacs_sends_from_mail_mode() {
    emacs_sends_from("sendmail-user-agent", "mail-send");
}

/// A message written in that mode goes out with the lines of the manual.
fn emacs_sends_from(agent: &str, send: &str) {
    let Some(caller) = Caller::of("/usr/bin/emacs") else { return };
    let compose = "(setq user-mail-address \"sender@example.net\" mail-user-agent 'AGENT)
        (compose-mail \"ann@example.net\" \"test\" '((\"Bcc\" . \"bob@example.net\")))
        (goto-char (point-max)) (insert \"one\\n.\\n..\\n\") (SEND)\n";
    let compose = compose.replace("AGENT", agent).replace("SEND", send);
    caller.home.write("init.el", &(caller.lines("emacs") + &compose));
    caller.run("/usr/bin/emacs", &["--batch", "-Q", "-l", "init.el"], "");
    for user in ["ann", "bob"] {
        let stored = caller.stored(user);
        assert_complete(&stored);
        assert!(stored.contains("Subject: test\r\n"), "{stored}");
        assert!(stored.ends_with("\r\n\r\none\r\n.\r\n..\r\n"), "{stored}");
    }
}
