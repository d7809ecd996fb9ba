//! A whole Postfix of its own, with a queue of its own, whose pipe(8) transport runs the program.

use std::fs::File;
use std::time::SystemTime;

use crate::mail_systems::page::{lines, printed};

use super::{Account, Daemon, Home, Mail, Place, free_port, installed, is_root, said, skip, submit};

const MASTER: &str = "/usr/lib/postfix/sbin/master";

/// Where the program writes its report, if it does.
const REPORT: &str = "report.log";

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
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
";

/// Only what takes mail in, queues it and hands it on.
const SERVICES: &str = "
127.0.0.1:@PORT@ inet n - n - - smtpd
postlog   unix-dgram n - n - 1 postlogd
anvil     unix - - n - 1 anvil
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
    port: u16,
}

impl Postfix {
    /// Starts one whose `lmtp-send` delivers to `place`.
    pub fn start(place: &Place) -> Option<Self> {
        Self::with(place, |main, pipe, _| (main, pipe))
    }

    /// The same with all recipients of a message in one run, a ledger, and a report.
    pub fn with_a_run_for_all(place: &Place) -> Option<Self> {
        Self::with(place, |main, pipe, home| {
            let account = Account::plain();
            home.make(&["ledger"]);
            let (ledger, report) = (home.path("ledger"), home.write(REPORT, "").into());
            for path in [&ledger, &report] {
                std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid)).unwrap();
            }
            let options = format!("--ledger={} --report-file={} --from=", ledger.display(), report.display());
            let pipe = pipe.replace("--from=", &options);
            (main.replace("recipient_limit = 1", "recipient_limit = 50"), pipe)
        })
    }

    /// The same with `--soft-bounce`, as while a transport is tried.
    pub fn with_soft_bounce(place: &Place) -> Option<Self> {
        Self::with(place, |main, pipe, _| (main, pipe.replace("--from=", "--soft-bounce --from=")))
    }

    /// One whose lines of the manual, in main.cf and in master.cf, are changed by `change`.
    fn with(place: &Place, change: impl Fn(String, String, &Home) -> (String, String)) -> Option<Self> {
        if !installed(MASTER) {
            return None;
        }
        if !is_root() {
            skip("Postfix runs as root only");
            return None;
        }
        let home = Home::new(Account::ours());
        make_queue(&home);
        let pipe = lines("postfix-master", &home.program(), place);
        let (main, pipe) = change(printed("postfix-main"), pipe, &home);
        let main = format!("{MAIN}{main}");
        let main = home.write("main.cf", &home.fill_in(&main));
        // Every program of Postfix waits for a second and a half when this file is new.
        File::options().append(true).open(main).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let port = free_port();
        home.write("master.cf", &format!("{}{pipe}", SERVICES.replace("@PORT@", &port.to_string())));
        let folder = home.path("").to_str().unwrap().to_owned();
        // -d keeps it in its process group.
        let daemon = home.start(&[MASTER, "-d", "-c", &folder]).listening_at(&Place::Port(port));
        Some(Self { daemon, port })
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
        said("/usr/sbin/postqueue", ["-c", self.daemon.home.path("").to_str().unwrap(), "-f"]);
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        self.daemon.log("postfix.log")
    }

    /// The program's report, where it writes one.
    pub fn report(&self) -> String {
        self.daemon.log(REPORT)
    }

    /// What the log says about the deliveries to this recipient, one line an attempt.
    pub fn deliveries(&self, recipient: &str) -> Vec<String> {
        let log = self.log();
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
