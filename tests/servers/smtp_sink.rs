//! Postfix' `smtp-sink` as an LMTP server: takes everything, or fails at the commands it is told to.

use super::{Account, Daemon, Home, Place, free_port, installed, read_folder};

const PROGRAM: &str = "/usr/sbin/smtp-sink";

/// A sink that keeps what it is sent.
pub struct SmtpSink {
    daemon: Daemon,
    port: u16,
}

impl SmtpSink {
    /// Starts one with these options (`-q RCPT`) beside `-L`.
    pub fn start(options: &str) -> Option<Self> {
        Self::start_with(&options.split_whitespace().collect::<Vec<_>>())
    }

    /// Starts one with options that have spaces in them.
    pub fn start_with(options: &[&str]) -> Option<Self> {
        installed(PROGRAM).then(|| {
            let home = Home::new(Account::plain());
            home.make(&["kept"]);
            let port = free_port();
            let dump = home.path("kept/%M");
            let place = format!("inet:127.0.0.1:{port}");
            let mut command = vec![PROGRAM, "-L", "-v", "-d", dump.to_str().unwrap()];
            command.extend(options);
            command.extend([place.as_str(), "100"]);
            Self { daemon: home.start(&command).listening_at(&Place::Port(port)), port }
        })
    }

    pub fn tcp(&self) -> Place {
        Place::Port(self.port)
    }

    /// What was kept of each transaction: the sink's own header (`X-Mail-Args: …`), then the message with
    /// lines that end in LF, then an empty line.
    pub fn kept(&self) -> Vec<String> {
        let kept = read_folder(&self.daemon.home.path("kept"), |_| true);
        kept.into_iter().map(|octets| String::from_utf8_lossy(&octets).into_owned()).collect()
    }
}
