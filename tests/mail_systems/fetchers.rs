//! Programs that fetch mail from a server and hand it to a command: fetchmail and getmail.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use super::page;
use crate::scripted::Client;
use crate::servers::dovecot::Dovecot;
use crate::servers::{Account, Home, Place, installed, until};

/// Ann's mailbox can be read by IMAP at the port that `Dovecot::tls` names.
const IMAP: &str = "
protocols = lmtp imap
disable_plaintext_auth = no
service imap-login {
  chroot =
  inet_listener imap {
    address = 127.0.0.1
    port = @TLS_PORT@
  }
  inet_listener imaps {
    port = 0
  }
}
";

const MESSAGE: &[u8] = b"From: sender@example.net\nTo: ann@example.net\nSubject: fetched\n\n.\nHello\n";

/// A server with a message for ann, which `fetch` hands to `lmtp-send` for bob: first while nobody listens there,
/// which must leave it where it is, then to the server.
fn fetched_once(program: &str, fetch: impl Fn(&Home, &Place, u16) -> Output) {
    if !installed(program) || !installed("/usr/lib/dovecot/imap") {
        return;
    }
    let Some(dovecot) = Dovecot::start(&["ann", "bob"], IMAP) else { return };
    let Place::Port(imap) = dovecot.tls() else { return };
    let send = Client::new().args(dovecot.tcp().options()).typed("-f sender@example.net -t ann");
    send.input(MESSAGE).run().exits(0);
    let home = Home::new(Account::ours());
    let failed = fetch(&home, &Place::Socket(home.path("nobody")), imap);
    assert!(dovecot.mailbox("bob").is_empty(), "{failed:?}");
    let fetched = fetch(&home, &dovecot.socket(), imap);
    until("bob has it", || dovecot.mailbox("bob").len() == 1);
    let stored = &dovecot.mailbox("bob")[0];
    assert!(
        stored.message.ends_with(b"\r\n\r\n.\r\nHello\r\n"),
        "{}, {fetched:?}",
        String::from_utf8_lossy(&stored.message)
    );
    let again = fetch(&home, &dovecot.socket(), imap);
    assert_eq!(dovecot.mailbox("bob").len(), 1, "{again:?}");
}

#[test]
fn fetchmail_leaves_on_the_server_what_was_not_delivered() {
    fetched_once("/usr/bin/fetchmail", |home, place, imap| {
        let mda = page::lines("fetchmail", &home.program(), place);
        let account = format!(
            "poll localhost protocol imap port {imap}\n  user ann password any is bob here\n  sslproto \"\"\n  {mda}"
        );
        let file = home.write("fetchmailrc", &account);
        set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let folder = home.path("");
        let run = Command::new("/usr/bin/fetchmail")
            .args(["--fetchmailrc", &file, "--all", "--nokeep", "--nosyslog", "--pidfile"])
            .arg(home.path("fetchmail.pid"))
            .env("FETCHMAILHOME", &folder)
            .env("HOME", &folder)
            .output();
        run.unwrap()
    });
}

#[test]
fn getmail_leaves_on_the_server_what_was_not_delivered() {
    fetched_once("/usr/bin/getmail", |home, place, imap| {
        let destination = page::lines("getmail", &home.program(), place);
        let root = "allow_root_commands = true\n";
        let file = home.write(
            "getmailrc",
            &format!(
                "[retriever]\ntype = SimpleIMAPRetriever\nserver = 127.0.0.1\nport = {imap}\nusername = ann\n\
                 password = any\n{destination}{root}[options]\ndelete = true\nread_all = false\n"
            ),
        );
        let folder = home.path("");
        let mut getmail = Command::new("/usr/bin/getmail");
        getmail.arg("--getmaildir").arg(&folder).args(["--rcfile", &file]).env("HOME", &folder);
        getmail.output().unwrap()
    });
}
