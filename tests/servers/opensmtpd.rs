//! OpenSMTPD, whose `mda` action runs the program.
//!
//! Its package cannot be installed beside Postfix', and it takes no other folders than its own, so it runs
//! unpacked, with folders and accounts of the test's own in the places of the system's.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use crate::mail_systems::page::lines;

use super::{
    Account, Daemon, Home, Mail, Place, free_port, installed, is_root, peers, private_mounts, said, skip,
    submit,
};

/// The group `opensmtpq` of `private_mounts`: the second of its accounts.
const CONTROL_GROUP: u32 = 64002;

const CONFIGURATION: &str = r#"
listen on 127.0.0.1 port @PORT@
@ACTION@match from any for any action "lmtp"
"#;

/// An OpenSMTPD that hands all its mail, bounces too, to the program.
pub struct OpenSmtpd {
    daemon: Daemon,
    mounts: Vec<String>,
    port: u16,
}

impl OpenSmtpd {
    /// Starts one whose `lmtp-send` delivers to `place`.
    pub fn start(place: &Place) -> Option<Self> {
        let smtpd = peers("usr/sbin/smtpd");
        if !installed(&smtpd) {
            return None;
        }
        if !is_root() {
            skip("OpenSMTPD runs as root only");
            return None;
        }
        let home = Home::new(Account::ours());
        home.make(&["spool/smtpd", "run", "lib/opensmtpd/empty"]);
        home.run("chmod", &["711", home.path("spool/smtpd").to_str().unwrap()], "");
        let libexec = peers("usr/libexec");
        let folders = [("spool", "/var/spool"), ("run", "/run"), ("lib", "/var/lib")];
        let folders = folders.map(|(ours, theirs)| (home.path(ours), theirs));
        let folders = [folders.as_slice(), &[(libexec, "/usr/libexec")]].concat();
        let mounts = private_mounts(&home, &["opensmtpd", "opensmtpq"], &folders)?;
        let control = home.path("smtpctl");
        said("cp", [peers("usr/sbin/smtpctl").to_str().unwrap(), control.to_str().unwrap()]);
        chown(&control, None, Some(CONTROL_GROUP)).unwrap();
        set_permissions(&control, Permissions::from_mode(0o2755)).unwrap();
        let port = free_port();
        let action = lines("opensmtpd-action", &home.program(), place);
        let configuration = CONFIGURATION.replace("@PORT@", &port.to_string()).replace("@ACTION@", &action);
        let file = home.write("smtpd.conf", &configuration);
        let command: Vec<_> = mounts.iter().map(String::as_str).collect();
        let command = [&command, [smtpd.to_str().unwrap(), "-d", "-f", &file].as_slice()].concat();
        let daemon = home.start(&command).listening_at(&Place::Port(port));
        Some(Self { daemon, mounts, port })
    }

    /// Has a message sent, handed in by SMTP.
    pub fn submit(&self, sender: &str, recipients: &[&str], message: &str) {
        self.submit_all(&[Mail { sender, recipients: recipients.to_vec(), message }]);
    }

    /// Has these sent, handed in by one session.
    pub fn submit_all(&self, mails: &[Mail<'_>]) {
        submit(self.port, mails);
    }

    /// Has everything that waits tried again.
    pub fn flush(&self) {
        self.control(&["schedule", "all"]);
    }

    /// The recipients whose mail waits, one a line.
    pub fn queue(&self) -> String {
        self.control(&["show", "queue"])
    }

    /// What is asked of the running server, by a copy that has the set-group-ID bit which the package gives it.
    fn control(&self, words: &[&str]) -> String {
        let smtpctl = self.daemon.home.path("smtpctl");
        let command: Vec<_> = self.mounts[1..].iter().map(String::as_str).collect();
        said(&self.mounts[0], [&command, [smtpctl.to_str().unwrap()].as_slice(), words].concat())
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.daemon.log("output.log")
    }
}
