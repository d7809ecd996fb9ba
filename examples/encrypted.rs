//! Sends over TLS, by STARTTLS or from the first octet, and verifies the server's certificate.
//!
//!     cargo run --example encrypted                              # to a server of its own, with TLS from the first octet
//!     cargo run --example encrypted mailbox.example.net 24 you@example.net [ca.pem]

#![allow(clippy::print_stdout, reason = "an example shows something")]

mod server;

use std::collections::HashSet;
use std::env;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use lmtp_send::tls::{Tls, TlsOptions, Verify};
use lmtp_send::{Client, Envelope};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mut options = TlsOptions::default();
    let (client, recipient) = match arguments.as_slice() {
        [host, port, recipient, ca @ ..] => {
            // Without a CA file, the CAs that the system trusts.
            options.verify = Verify::Chain { ca: ca.first().map(Into::into) };
            (Client::tcp(host, port.parse()?).starttls(Tls::new(options)?), recipient.as_str())
        }
        _ => {
            let mut authority = tempfile::NamedTempFile::new()?;
            let stream = serve_one(&mut authority)?;
            options.verify = Verify::Chain { ca: Some(authority.path().into()) };
            options.name = Some("mailbox.example.net".to_owned());
            (Client::over(stream).implicit_tls(Tls::new(options)?), "joe@example.net")
        }
    };

    let envelope = Envelope::parse("me@example.org", recipient)?;
    for outcome in client.send(&envelope, "From: me@example.org\nSubject: hello\n\nHello.\n")? {
        println!("{recipient}: {outcome}");
    }
    Ok(())
}

/// Starts a server for one session, and writes its certificate to `authority`. Returns our end of the connection.
fn serve_one(authority: &mut impl Write) -> Result<UnixStream, Box<dyn std::error::Error>> {
    let made = rcgen::generate_simple_self_signed(["mailbox.example.net".to_owned()])?;
    authority.write_all(made.cert.pem().as_bytes())?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    let connection = ServerConnection::new(Arc::new(config))?;
    let (ours, theirs) = UnixStream::pair()?;
    thread::spawn(move || server::serve(StreamOwned::new(connection, theirs), &mut HashSet::new()));
    Ok(ours)
}
