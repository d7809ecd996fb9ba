//! Authenticates, and shows the dialogue, which never contains the password.
//!
//!     cargo run --example login                                  # to a server of its own
//!     PASSWORD=… cargo run --example login mailbox.example.net 24 you@example.net

#![allow(clippy::print_stdout, reason = "an example shows something")]

mod server;

use std::collections::HashSet;
use std::env;
use std::net::TcpListener;
use std::thread;

use lmtp_send::lmtp::Event;
use lmtp_send::{Client, Envelope};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let password = env::var("PASSWORD").unwrap_or_else(|_| "secret".to_owned());
    let (client, user) = match arguments.as_slice() {
        [host, port, user] => (Client::tcp(host, port.parse()?).login(user, password), user.as_str()),
        // Without TLS, the password is sent over the network only if `in_clear` allows it.
        _ => (Client::tcp("127.0.0.1", serve_one()?).login("joe", password).in_clear(), "joe@example.net"),
    };
    let mut connection = client.observer(show).connect()?;
    for outcome in connection.send(&Envelope::parse(user, user)?, "Subject: hello\n\nHello.\n")? {
        println!("{outcome}");
    }
    connection.close();
    Ok(())
}

fn show(event: Event<'_>) {
    match event {
        Event::Sent(line) => println!("C: {line}"),
        Event::SentMessage(octets) => println!("C: ({octets} octets)"),
        Event::Received(reply) => println!("S: {reply}"),
        Event::Sending { .. } | Event::Note(_) | _ => {}
    }
}

/// Starts a server for one session, and returns its port.
fn serve_one() -> std::io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || server::serve(listener.accept()?.0, &mut HashSet::new()));
    Ok(port)
}
