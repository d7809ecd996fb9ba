//! Tries again to deliver to deferred recipients, and to no others, so that nobody gets a second copy.
//!
//!     cargo run --example try_again                              # to a server of its own
//!     cargo run --example try_again /run/dovecot/lmtp you@example.net

#![allow(clippy::print_stdout, reason = "an example shows something")]

mod server;

use std::collections::HashSet;
use std::env;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use lmtp_send::{Client, Envelope, Outcome};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (path, recipients) = match arguments.as_slice() {
        [path, recipients] => (PathBuf::from(path), recipients.as_str()),
        _ => (serve(folder.path().join("lmtp"))?, "joe@example.net, busy@example.net, nobody@example.net"),
    };

    let mut envelope = Envelope::parse("me@example.org", recipients)?;
    for attempt in 1..=5_u64 {
        let outcomes = Client::unix(&path).send(&envelope, "Subject: hello\n\nHello.\n")?;
        let mut left = Envelope::new(envelope.sender().clone());
        for (recipient, outcome) in envelope.recipients().iter().zip(outcomes) {
            println!("attempt {attempt}: {recipient}: {outcome}");
            match outcome {
                Outcome::Deferred(_) => left = left.to(recipient.clone()),
                // For an uncertain recipient, decide whether a second copy or none is worse. Here a second copy is.
                Outcome::Delivered(_) | Outcome::Failed(_) | Outcome::Uncertain(_) => {}
            }
        }
        envelope = left;
        if envelope.recipients().is_empty() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100 << attempt));
    }
    Err(format!("{} recipients are left", envelope.recipients().len()).into())
}

/// Starts a server at `path`, and returns the path.
fn serve(path: PathBuf) -> std::io::Result<PathBuf> {
    let listener = UnixListener::bind(&path)?;
    thread::spawn(move || {
        let mut busy = HashSet::new();
        while let Ok((stream, _)) = listener.accept() {
            let _ = server::serve(stream, &mut busy);
        }
    });
    Ok(path)
}
