//! aiosmtpd, Python's server library, which in its LMTP mode replies to a message once in all.

use super::{Account, Daemon, Home, Place, free_port, installed, read_folder};

const PROGRAM: &str = "/usr/bin/python3";
const LIBRARY: &str = "/usr/lib/python3/dist-packages/aiosmtpd";

/// How the server replies to a message.
#[derive(Clone, Copy)]
pub enum Replies {
    /// Once for every recipient (RFC 2033 §4.2).
    Each,
    /// Once in all, as the library does when it is left alone.
    One,
}

/// A server that keeps what it is sent.
pub struct Aiosmtpd {
    daemon: Daemon,
    port: u16,
}

impl Aiosmtpd {
    pub fn start(replies: Replies) -> Option<Self> {
        (installed(PROGRAM) && installed(LIBRARY)).then(|| {
            let home = Home::new(Account::plain());
            home.make(&["kept"]);
            let script = home.write("server.py", include_str!("aiosmtpd.py"));
            let port = free_port();
            let replies = match replies {
                Replies::Each => "each",
                Replies::One => "one",
            };
            let kept = home.path("kept");
            let daemon = home.start(&[PROGRAM, &script, &port.to_string(), kept.to_str().unwrap(), replies]);
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
