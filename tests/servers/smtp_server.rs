//! npm's `smtp-server`, the one of nodemailer, in LMTP mode.

use serde_json::Value;

use super::{Account, Daemon, Home, Place, free_port, installed, peers, read_folder};

const PROGRAM: &str = "/usr/bin/node";

/// A server that keeps what it is sent.
pub struct SmtpServer {
    daemon: Daemon,
    port: u16,
}

impl SmtpServer {
    /// Starts one with these options of the library.
    pub fn start(options: &Value) -> Option<Self> {
        let modules = peers("node_modules");
        (installed(PROGRAM) && installed(modules.join("smtp-server"))).then(|| {
            let home = Home::new(Account::ours());
            home.make(&["kept"]);
            let script = home.write("server.js", include_str!("smtp_server.js"));
            let (port, kept, options) = (free_port(), home.path("kept"), options.to_string());
            let modules = modules.to_str().unwrap();
            let folder = kept.to_str().unwrap();
            let daemon = home.start(&[PROGRAM, &script, modules, &port.to_string(), folder, &options]);
            Self { daemon: daemon.listening_at(&Place::Port(port)), port }
        })
    }

    pub fn tcp(&self) -> Place {
        Place::Port(self.port)
    }

    /// The messages, in no certain order.
    pub fn kept(&self) -> Vec<Vec<u8>> {
        read_folder(&self.daemon.home.path("kept"), |_| true)
    }
}
