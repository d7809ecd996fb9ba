//! Exim, delivering at once and as nobody in particular, whose pipe transport runs the program.
//!
//! Its package cannot be installed beside Postfix', so it comes from where `.ci/peers` unpacks it.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::mail_systems::page::lines;

use super::{Account, Home, Mail, Place, installed, peers, private_mounts};

const CONFIGURATION: &str = r#"
exim_path = @EXIM@
spool_directory = @HOME@/spool
log_file_path = @HOME@/exim-%s.log
primary_hostname = exim.example.net
exim_user = @USER@
exim_group = @GROUP@
keep_environment =
no_message_logs
acl_smtp_rcpt = check_rcpt
begin acl
check_rcpt:
  accept
begin routers
everything:
  driver = accept
  transport = lmtp_send
begin transports
@TRANSPORT@  user = @USER@
  group = @GROUP@
begin retry
* * F,1h,1h
"#;

/// An Exim that hands all its mail, bounces too, to the program.
pub struct Exim {
    home: Home,
    mounts: Vec<String>,
}

impl Exim {
    /// One whose `lmtp-send` delivers to `place`.
    pub fn new(place: &Place) -> Option<Self> {
        let exim = peers("usr/sbin/exim4");
        if !installed(&exim) {
            return None;
        }
        let home = Home::new(Account::plain());
        let mounts = private_mounts(&home, &["Debian-exim"], &[])?;
        home.make(&["spool"]);
        let transport = lines("exim-transport", &home.program(), place);
        let configuration =
            CONFIGURATION.replace("@EXIM@", exim.to_str().unwrap()).replace("@TRANSPORT@", &transport);
        home.write("exim.conf", &home.fill_in(&configuration));
        Some(Self { home, mounts })
    }

    /// Has a message delivered, with the bounces that come of it; returns the log.
    pub fn submit(&self, sender: &str, recipients: &[&str], message: &str) -> String {
        let mut args = vec!["-odi", "-i", "-f", sender, "--"];
        args.extend(recipients);
        self.run(&args, message)
    }

    /// How many messages wait.
    pub fn waiting(&self) -> usize {
        self.run(&["-bpc"], "").lines().find_map(|line| line.trim().parse().ok()).unwrap()
    }

    /// The messages that wait, and for whom.
    pub fn queue(&self) -> String {
        self.run(&["-bp"], "")
    }

    /// Puts these into the queue, handed in by one SMTP session on standard input.
    pub fn submit_all(&self, mails: &[Mail<'_>]) {
        let commands: String = mails.iter().flat_map(Mail::commands).collect();
        let replies = self.run(&["-odq", "-bs"], &format!("HELO localhost\r\n{commands}QUIT\r\n"));
        assert_eq!(replies.matches("250 OK id=").count(), mails.len(), "{replies}");
    }

    /// Tries everything that waits, and returns when that is done, with the log.
    pub fn flush(&self) -> String {
        self.run(&["-qff"], "")
    }

    fn run(&self, args: &[&str], input: &str) -> String {
        let [exim, configuration] = [peers("usr/sbin/exim4"), self.home.path("exim.conf")];
        let mut command = Command::new(&self.mounts[0]);
        command.args(&self.mounts[1..]).arg(exim).arg("-C").arg(configuration).args(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "exim {args:?}: {output:?}");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}
