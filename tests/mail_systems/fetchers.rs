//! Programs that fetch mail from a server and hand it to a command: fetchmail and getmail.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use super::page;
use crate::scripted::Client;
use crate::servers::dovecot::Dovecot;
use crate::servers::{Account, Home, Place, installed, until};

/// Ann's mailbox can be read by POP3 at the port that `Dovecot::tls` names.
const POP3: &str = "
protocols = lmtp pop3
disable_plaintext_auth = no
service pop3-login {
  chroot =
  inet_listener pop3 {
    address = 127.0.0.1
    port = @TLS_PORT@
  }
  inet_listener pop3s {
    port = 0
  }
}
";

const MESSAGE: &[u8] = b"From: sender@example.net\nTo: ann@example.net\nSubject: fetched\n\n.\nHello\n";

/// A server with a message for ann, which `fetch` hands to `lmtp-send` for bob: first while nobody listens there,
/// which must leave it where it is, then to the server.
fn fetched_once(program: &str, fetch: impl Fn(&Home, &Place, u16) -> Output) {
    if !installed(program) || !installed("/usr/lib/dovecot/pop3") {
        return;
    }
    let Some(dovecot) = Dovecot::start(&["ann", "bob"], POP3) else { return };
    let Place::Port(pop3) = dovecot.tls() else { return };
    let send = Client::new().args(dovecot.tcp().options()).typed("-f sender@example.net -t ann");
    send.input(MESSAGE).run().exits(0);
    let home = Home::new(Account::ours());
    let failed = fetch(&home, &Place::Socket(home.path("nobody")), pop3);
    assert!(dovecot.mailbox("bob").is_empty(), "{failed:?}");
    let fetched = fetch(&home, &dovecot.socket(), pop3);
    until("bob has it", || dovecot.mailbox("bob").len() == 1);
    let stored = &dovecot.mailbox("bob")[0];
    assert!(
        stored.message.ends_with(b"\r\n\r\n.\r\nHello\r\n"),
        "{}, {fetched:?}",
        String::from_utf8_lossy(&stored.message)
    );
    let again = fetch(&home, &dovecot.socket(), pop3);
    assert_eq!(dovecot.mailbox("bob").len(), 1, "{again:?}");
}

#[test]
fn fetchmail_leaves_on_the_server_what_was_not_delivered() {
    fetched_once("/usr/bin/fetchmail", |home, place, pop3| {
        let mda = page::lines("fetchmail", &home.program(), place);
        let account = format!(
            "poll localhost protocol pop3 port {pop3}\n  user ann password any is bob here\n  sslproto \"\"\n  {mda}"
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
    fetched_once("/usr/bin/getmail", |home, place, pop3| {
        let destination = page::lines("getmail", &home.program(), place);
        let root = "allow_root_commands = true\n";
        let file = home.write(
            "getmailrc",
            &format!(
                "[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {pop3}\nusername = ann\n\
                 password = any\n{destination}{root}[options]\ndelete = true\nread_all = false\n"
            ),
        );
        let folder = home.path("");
        let mut getmail = Command::new("/usr/bin/getmail");
        getmail.arg("--getmaildir").arg(&folder).args(["--rcfile", &file]).env("HOME", &folder);
        getmail.output().unwrap()
    });
}
