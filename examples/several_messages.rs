//! Sends several messages over one session, through a Unix-domain socket, and sets the time limits.
//!
//!     cargo run --example several_messages                       # to a server of its own
//!     cargo run --example several_messages /run/dovecot/lmtp you@example.net

#![allow(clippy::print_stdout, reason = "an example shows something")]

mod server;

use std::collections::HashSet;
use std::env;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use lmtp_send::{Client, Envelope, Timeouts};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (path, recipient) = match arguments.as_slice() {
        [path, recipient] => (PathBuf::from(path), recipient.as_str()),
        _ => (serve_one(folder.path().join("lmtp"))?, "joe@example.net"),
    };

    let mut timeouts = Timeouts::default();
    timeouts.reply = Duration::from_secs(30);
    let mut connection = Client::unix(path).timeouts(timeouts).connect()?;
    println!("{} offers {}", connection.extensions().domain(), keywords(&connection));
    let envelope = Envelope::parse("me@example.org", recipient)?;
    for number in 1..=3 {
        let message = format!("From: me@example.org\nSubject: number {number}\n\nHello.\n");
        for outcome in connection.send(&envelope, &message)? {
            println!("number {number}: {outcome}");
        }
    }
    connection.close();
    Ok(())
}

fn keywords(connection: &lmtp_send::Connection) -> String {
    connection.extensions().iter().map(|(keyword, _)| keyword).collect::<Vec<_>>().join(", ")
}

/// Starts a server for one session at `path`, and returns the path.
fn serve_one(path: PathBuf) -> std::io::Result<PathBuf> {
    let listener = UnixListener::bind(&path)?;
    thread::spawn(move || server::serve(listener.accept()?.0, &mut HashSet::new()));
    Ok(path)
}
