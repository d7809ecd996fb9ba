//! Sends a message of any length from standard input to the recipients in its header, and leaves out Bcc.
//!
//!     cargo run --example from_the_header < tests/messages/hello.eml                  # to a server of its own
//!     cargo run --example from_the_header /run/dovecot/lmtp < message.eml

#![allow(clippy::print_stdout, reason = "an example shows something")]

mod server;

use std::collections::HashSet;
use std::env;
use std::io;
use std::os::unix::net::UnixStream;
use std::thread;

use lmtp_send::message::Message;
use lmtp_send::{Client, Envelope};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut message = Message::from_stream(io::stdin())?;
    let envelope = Envelope::of_header(&mut message)?;
    println!("{} octets from <{}>", message.octets(), envelope.sender());

    let client = match env::args().nth(1) {
        Some(path) => Client::unix(path),
        None => Client::over(served()?),
    };
    let outcomes = client.send(&envelope, &message)?;
    for (recipient, outcome) in envelope.recipients().iter().zip(&outcomes) {
        println!("{recipient}: {outcome}");
    }
    Ok(())
}

/// Starts a server for one session. Returns our end of the connection.
fn served() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    thread::spawn(move || server::serve(theirs, &mut HashSet::new()));
    Ok(ours)
}
