//! Sends one message over TCP, and prints the outcome for each recipient.
//!
//!     cargo run --example one_message                            # to a server of its own
//!     cargo run --example one_message mailbox.example.net 24 you@example.net

#![allow(clippy::print_stdout, reason = "an example shows something")]

mod server;

use std::collections::HashSet;
use std::env;
use std::net::TcpListener;
use std::thread;

use lmtp_send::{Client, Envelope};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (host, port, recipients) = match arguments.as_slice() {
        [host, port, recipients] => (host.as_str(), port.parse()?, recipients.as_str()),
        _ => ("127.0.0.1", serve_one()?, "joe@example.net, nobody@example.net"),
    };

    let envelope = Envelope::parse("me@example.org", recipients)?;
    let message = "From: me@example.org\nSubject: hello\n\nHello.\n";
    let outcomes = Client::tcp(host, port).send(&envelope, message)?;
    for (recipient, outcome) in envelope.recipients().iter().zip(&outcomes) {
        println!("{recipient}: {outcome}");
    }
    Ok(())
}

/// Starts a server for one session, and returns its port.
fn serve_one() -> std::io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || server::serve(listener.accept()?.0, &mut HashSet::new()));
    Ok(port)
}
