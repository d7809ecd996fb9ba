//! Dovecot's LMTP server, writing into Maildirs, with the line ends that it was sent.

use super::{Account, Daemon, Home, Place, Received, free_port, installed, read_folder, until};

const PROGRAM: &str = "/usr/sbin/dovecot";

/// What every configuration has in common; a test adds its own lines behind it.
const CONFIGURATION: &str = "
protocols = lmtp
base_dir = @HOME@/base
state_dir = @HOME@
log_path = @HOME@/dovecot.log
default_internal_user = @USER@
default_internal_group = @GROUP@
default_login_user = @USER@
mail_location = maildir:@HOME@/mail/%n
mail_uid = @USER@
mail_gid = @GROUP@
mail_fsync = never
mail_save_crlf = yes
first_valid_uid = 1
first_valid_gid = 1
ssl = no
hostname = dovecot.example.net
postmaster_address = postmaster@example.net
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = passwd-file
  args = username_format=%n @HOME@/users
}
service anvil {
  chroot =
}
service lmtp {
  chroot =
  process_min_avail = 1
  unix_listener @HOME@/lmtp.sock {
    mode = 0666
  }
  inet_listener lmtp {
    address = 127.0.0.1
    port = @PORT@
  }
}
service stats {
  chroot =
  unix_listener stats-writer {
    mode = 0666
  }
}
";

/// A Dovecot with its mailboxes.
pub struct Dovecot {
    daemon: Daemon,
    port: u16,
    tls_port: u16,
}

impl Dovecot {
    /// Starts one with the mailboxes `users`, the lines of `more` behind its configuration. A mailbox may
    /// have a field of the user database behind a blank: `ann userdb_quota_rule=*:bytes=1`.
    pub fn start(users: &[&str], more: &str) -> Option<Self> {
        Self::start_at(free_port(), users, more)
    }

    /// Starts one that listens on this port.
    pub fn start_at(port: u16, users: &[&str], more: &str) -> Option<Self> {
        installed(PROGRAM).then(|| {
            let home = Home::new(Account::plain());
            let tls_port = free_port();
            home.make(&["base", "mail"]);
            home.write("users", &users.iter().map(|user| database_line(user)).collect::<String>());
            let configuration = format!("{CONFIGURATION}{more}\n")
                .replace("@PORT@", &port.to_string())
                .replace("@TLS_PORT@", &tls_port.to_string());
            let file = home.write("dovecot.conf", &home.fill_in(&configuration));
            let daemon = home.start(&[PROGRAM, "-F", "-c", &file]).listening_at(&Place::Port(port));
            Self { daemon, port, tls_port }
        })
    }

    pub fn socket(&self) -> Place {
        Place::Socket(self.daemon.home.path("lmtp.sock"))
    }

    pub fn tcp(&self) -> Place {
        Place::Port(self.port)
    }

    /// The command that speaks LMTP without a socket.
    pub fn command(&self) -> String {
        format!("doveadm -c {} exec lmtp", self.daemon.home.path("dovecot.conf").display())
    }

    /// Where it speaks TLS from the first octet, if the test's lines have a listener on `@TLS_PORT@`.
    pub fn tls(&self) -> Place {
        Place::Port(self.tls_port)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.daemon.log("dovecot.log")
    }

    /// How many sessions it has had since it was found to listen. Waits until one of them has ended.
    pub fn sessions(&self) -> usize {
        let log = || self.daemon.log("dovecot.log");
        until("a session has ended", || log().contains("Logged out"));
        log().matches("Connect from").count() - 1
    }

    /// The messages in the mailbox, in no certain order.
    pub fn mailbox(&self, user: &str) -> Vec<Received> {
        let added = ["Return-Path:", "Delivered-To:", "Received:"];
        let new = self.daemon.home.path("mail").join(user).join("new");
        read_folder(&new, |_| true).iter().map(|stored| Received::new(stored, &added)).collect()
    }
}

/// An entry of a passwd-file: name, six fields that we leave to the configuration, and one of our own.
fn database_line(user: &str) -> String {
    let (name, field) = user.split_once(' ').unwrap_or((user, ""));
    format!("{name}:::::::{field}\n")
}
