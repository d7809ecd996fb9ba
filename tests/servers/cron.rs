//! cron, with a crontab of the test's own in the places of the system's, and the program in that of sendmail.

use std::fs::{self, Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use super::{Account, Daemon, Home, is_root, private_mounts, skip};

pub const CRON: &str = "/usr/sbin/cron";

/// A cron that runs nothing but root's crontab.
pub struct Cron {
    _daemon: Daemon,
}

impl Cron {
    /// Starts one, as in `folder`, where the program finds its configuration.
    pub fn start(crontab: &str, folder: &Home) -> Option<Self> {
        if !is_root() {
            skip("cron runs as root only");
            return None;
        }
        let home = Home::new(Account::ours());
        home.make(&["spool/cron/crontabs", "run", "cron.d"]);
        home.write("crontab", "");
        let file = home.write("spool/cron/crontabs/root", crontab);
        set_permissions(file, Permissions::from_mode(0o600)).unwrap();
        let ours = [
            ("spool", "/var/spool"),
            ("run", "/run"),
            ("cron.d", "/etc/cron.d"),
            ("crontab", "/etc/crontab"),
        ];
        let ours = ours.map(|(name, place)| (home.path(name), place));
        let program = fs::canonicalize(env!("CARGO_BIN_EXE_lmtp-send")).unwrap();
        let mounts = private_mounts(&home, &[], &[&ours[..], &[(program, "/usr/sbin/sendmail")]].concat())?;
        let folder = folder.path("");
        let environment =
            [format!("HOME={}", folder.display()), format!("XDG_CONFIG_HOME={}/.config", folder.display())];
        let command = mounts.iter().map(String::as_str);
        let command: Vec<_> = command.chain(["env"]).chain(environment.iter().map(String::as_str)).collect();
        Some(Self { _daemon: home.start(&[&command[..], &[CRON, "-f"]].concat()) })
    }
}
