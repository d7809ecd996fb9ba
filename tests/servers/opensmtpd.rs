//! OpenSMTPD, whose `mda` action runs the program.
//!
//! Its package cannot be installed beside Postfix', and it takes no other folders than its own, so it runs
//! unpacked, with folders and accounts of the test's own in the places of the system's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use crate::mail_systems::page::lines;

use super::{Account, Daemon, Home, Place, free_port, installed, is_root, peers, private_mounts, skip};

const CONFIGURATION: &str = r#"
listen on 127.0.0.1 port @PORT@
table everyone { "@" = "nobody" }
@ACTION@match from any for any action "lmtp"
"#;

/// An OpenSMTPD that hands all its mail, bounces too, to the program.
pub struct OpenSmtpd {
    daemon: Daemon,
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
        let mut command = private_mounts(&home, &["opensmtpd", "opensmtpq"], &folders)?;
        let port = free_port();
        let action = lines("opensmtpd-action", &home.program(), place);
        let configuration = CONFIGURATION.replace("@PORT@", &port.to_string()).replace("@ACTION@", &action);
        let file = home.write("smtpd.conf", &configuration);
        command.extend([smtpd.to_str().unwrap().to_owned(), "-d".into(), "-f".into(), file]);
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        Some(Self { daemon: home.start(&command).listening_at(&Place::Port(port)), port })
    }

    /// Has a message sent.
    pub fn submit(&self, sender: &str, recipients: &[&str], message: &str) {
        let mut smtp = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap());
        let recipients = recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>"));
        let mut commands = vec!["HELO localhost".to_owned(), format!("MAIL FROM:<{sender}>")];
        commands.extend(recipients.chain(["DATA".to_owned()]));
        commands.push(message.replace("\n.", "\n..").replace('\n', "\r\n") + ".");
        for command in ["".to_owned()].iter().chain(&commands) {
            if !command.is_empty() {
                write!(smtp.get_mut(), "{command}\r\n").unwrap();
            }
            let mut lines = smtp.by_ref().lines().map(Result::unwrap);
            let answer = lines.find(|line| line.get(3..4) != Some("-")).unwrap();
            assert!(answer.starts_with(['2', '3']), "{command}: {answer}");
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.daemon.log("output.log")
    }
}
