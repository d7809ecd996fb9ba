//! Cyrus' lmtpd: on a Unix socket, where it trusts its clients, and on TCP, where they authenticate.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::{Account, Daemon, Home, Place, Received, free_port, installed, read_folder, said};

const PROGRAMS: &str = "/usr/lib/cyrus/bin";

/// The account that may deliver over TCP, and its password.
pub const POSTMAN: (&str, &str) = ("postman", "correct horse");
/// The account that makes the mailboxes.
const ADMINISTRATOR: (&str, &str) = ("cyrus", "battery staple");

/// What every configuration has in common; a test adds its own lines behind it.
const CONFIGURATION: &str = "
configdirectory: @HOME@/conf
partition-default: @HOME@/spool
defaultpartition: default
sievedir: @HOME@/sieve
proc_path: @HOME@/conf/proc
mboxname_lockpath: @HOME@/conf/lock
lmtpsocket: @HOME@/lmtp.sock
idlesocket: @HOME@/conf/socket/idle
notifysocket: @HOME@/conf/socket/notify
cyrus_user: @USER@
cyrus_group: @GROUP@
admins: cyrus
lmtp_admins: postman
servername: cyrus.example.net
virtdomains: off
unixhierarchysep: yes
altnamespace: no
duplicatesuppression: no
lmtp_strict_quota: yes
skiplist_unsafe: yes
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: @HOME@/sasldb2
";

const SERVICES: &str = r#"
START {
}
SERVICES {
  lmtpunix cmd="@PROGRAMS@/lmtpd -C @HOME@/imapd.conf" listen="@HOME@/lmtp.sock" prefork=1 maxchild=8
  lmtp cmd="@PROGRAMS@/lmtpd -C @HOME@/imapd.conf" listen="127.0.0.1:@PORT@" prefork=0 maxchild=8
  imap cmd="@PROGRAMS@/imapd -C @HOME@/imapd.conf" listen="127.0.0.1:@IMAP@" prefork=0 maxchild=8
}
EVENTS {
}
"#;

/// A Cyrus with its mailboxes.
pub struct Cyrus {
    daemon: Daemon,
    port: u16,
}

impl Cyrus {
    /// Starts one with the mailboxes that the IMAP commands `mailboxes` make, and the lines of `more` behind
    /// its configuration.
    pub fn start(mailboxes: &[&str], more: &str) -> Option<Self> {
        let master = format!("{PROGRAMS}/master");
        installed(&master).then(|| {
            let home = Home::new(Account::plain());
            let (port, imap) = (free_port(), free_port());
            let folders = ["socket", "proc", "log", "db", "lock", "msg"].map(|name| format!("conf/{name}"));
            home.make(&folders.each_ref().map(String::as_str));
            home.make(&["spool", "sieve"]);
            let configuration = home.write("imapd.conf", &home.fill_in(&format!("{CONFIGURATION}{more}\n")));
            let services = SERVICES.replace("@PORT@", &port.to_string()).replace("@IMAP@", &imap.to_string());
            let services = home.write("cyrus.conf", &home.fill_in(&services.replace("@PROGRAMS@", PROGRAMS)));
            [POSTMAN, ADMINISTRATOR].iter().for_each(|account| set_password(&home, account));
            let pid = home.write("master.pid", "");
            let daemon = home.start(&[&master, "-D", "-C", &configuration, "-M", &services, "-p", &pid]);
            let daemon = daemon.listening_at(&Place::Port(imap)).listening_at(&Place::Port(port));
            administrate(imap, mailboxes);
            Self { daemon, port }
        })
    }

    pub fn socket(&self) -> Place {
        Place::Socket(self.daemon.home.path("lmtp.sock"))
    }

    pub fn tcp(&self) -> Place {
        Place::Port(self.port)
    }

    /// The messages in the mailbox `name` (`user/ann`), in no certain order.
    pub fn mailbox(&self, name: &str) -> Vec<Received> {
        let configuration = self.daemon.home.path("imapd.conf");
        let mbpath = format!("{PROGRAMS}/mbpath");
        let folder = said(&mbpath, ["-C", configuration.to_str().unwrap(), "-s", name]);
        let added = ["Return-Path:", "Received:", "X-Cyrus-Session-Id:", "X-Sieve:"];
        let messages = read_folder(folder.as_ref(), |file| file.ends_with('.'));
        messages.iter().map(|stored| Received::new(stored, &added)).collect()
    }
}

/// Notes an account and its password in the database that all of SASL's mechanisms use.
fn set_password(home: &Home, (user, password): &(&str, &str)) {
    let file = home.path("sasldb2");
    let args = ["-p", "-c", "-f", file.to_str().unwrap(), "-u", "cyrus.example.net", user];
    home.run("/usr/sbin/saslpasswd2", &args, password);
}

/// Gives IMAP commands, each of which must succeed.
fn administrate(port: u16, commands: &[&str]) {
    let mut imap = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
    let login = format!("LOGIN {} \"{}\"", ADMINISTRATOR.0, ADMINISTRATOR.1);
    for command in [login.as_str()].iter().chain(commands).chain(&["LOGOUT"]) {
        write!(imap.get_mut(), "a {command}\r\n").unwrap();
        let mut lines = imap.by_ref().lines().map(Result::unwrap);
        let answer = lines.find(|line| line.starts_with("a ")).unwrap_or_default();
        assert!(answer.starts_with("a OK"), "{command}: {answer}");
    }
}
