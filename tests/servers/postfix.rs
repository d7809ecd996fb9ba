//! A whole Postfix of its own, with a queue of its own, whose pipe(8) transport runs the program.

use std::fs::File;
use std::time::SystemTime;

use crate::mail_systems::page::{lines, printed};

use super::{Account, Daemon, Home, Place, installed, is_root, said, skip, until};

const MASTER: &str = "/usr/lib/postfix/sbin/master";

const MAIN: &str = "
compatibility_level = 3.6
queue_directory = @HOME@/queue
data_directory = @HOME@/data
maillog_file = @HOME@/postfix.log
maillog_file_prefixes = @HOME@
myhostname = postfix.example.net
mydestination =
inet_interfaces = loopback-only
alias_maps =
alias_database =
local_recipient_maps =
local_transport = lmtpsend
default_transport = lmtpsend
lmtpsend_destination_concurrency_limit = 5
append_dot_mydomain = no
biff = no
in_flow_delay = 0
";

/// Only what takes mail in, queues it and hands it on: nothing listens on a port.
const SERVICES: &str = "
postlog   unix-dgram n - n - 1 postlogd
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
error     unix - - n - - error
retry     unix - - n - - error
showq     unix n - n - - showq
";

/// A Postfix that hands all its mail, bounces too, to the program.
pub struct Postfix {
    daemon: Daemon,
}

impl Postfix {
    /// Starts one whose `lmtp-send` delivers to `place` with these options more.
    pub fn start(place: &Place, options: &str) -> Option<Self> {
        if !installed(MASTER) {
            return None;
        }
        if !is_root() {
            skip("Postfix runs as root only");
            return None;
        }
        let home = Home::new(Account::ours());
        make_queue(&home);
        let program = home.program();
        let main = home.write("main.cf", &home.fill_in(&format!("{MAIN}{}", printed("postfix-main"))));
        // Every program of Postfix waits for a second and a half when this file is new.
        File::options().append(true).open(main).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let pipe = lines("postfix-master", &format!("{program} {options}"), place);
        home.write("master.cf", &format!("{SERVICES}{pipe}"));
        let folder = home.path("").to_str().unwrap().to_owned();
        // -d keeps it in its process group.
        let daemon = home.start(&[MASTER, "-d", "-c", &folder]);
        let postfix = Self { daemon };
        until("Postfix is up", || postfix.daemon.home.path("queue/public/pickup").exists());
        Some(postfix)
    }

    /// Has a message sent.
    pub fn submit(&self, sender: &str, recipients: &[&str], message: &str) {
        let folder = self.daemon.home.path("");
        let args = ["-C", folder.to_str().unwrap(), "-i", "-f", sender, "--"];
        self.daemon.home.run("/usr/sbin/sendmail", &[&args, recipients].concat(), message);
    }

    /// What the log says about the deliveries to this recipient, one line an attempt.
    pub fn deliveries(&self, recipient: &str) -> Vec<String> {
        let log = self.daemon.log("postfix.log");
        let about = format!(" to=<{recipient}>,");
        log.lines().filter(|line| line.contains(&about)).map(str::to_owned).collect()
    }

    /// The recipients whose mail waits, as `postqueue` tells.
    pub fn queue(&self) -> String {
        said("/usr/sbin/postqueue", ["-c", self.daemon.home.path("").to_str().unwrap(), "-j"])
    }
}

/// Makes the folders that `postfix check` would make, in a hundredth of its time.
fn make_queue(home: &Home) {
    let mine = [
        "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved",
        "trace",
    ];
    let install = |names: &[&str], options: &[&str]| {
        let folders: Vec<_> = names.iter().map(|name| home.path(name).to_str().unwrap().to_owned()).collect();
        home.run(
            "install",
            &[&["-d"], options, &folders.iter().map(String::as_str).collect::<Vec<_>>()].concat(),
            "",
        );
    };
    install(&["queue", "queue/pid"], &[]);
    install(&["data"], &["-o", "postfix"]);
    install(
        &mine.map(|name| format!("queue/{name}")).each_ref().map(String::as_str),
        &["-o", "postfix", "-m", "700"],
    );
    install(&["queue/maildrop"], &["-o", "postfix", "-g", "postdrop", "-m", "1730"]);
    install(&["queue/public"], &["-o", "postfix", "-g", "postdrop", "-m", "2710"]);
}
