//! An LMTP client (RFC 2033): hands a message to a mail store, and says for each recipient what became of it.
//!
//! ```no_run
//! use lmtp_send::{Client, Envelope};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let envelope = Envelope::parse("me@example.org", "joe@example.net, ann@example.net")?;
//!     let message = "Subject: hello\n\nHello, both.\n";
//!     let outcomes = Client::tcp("mailbox.example.net", 24).send(&envelope, message)?;
//!     for (recipient, outcome) in envelope.recipients().iter().zip(&outcomes) {
//!         println!("{recipient}: {outcome}");
//!     }
//!     Ok(())
//! }
//! ```
//!
//! LMTP is for the last hop: to Dovecot, Cyrus, Stalwart or whatever else keeps mailboxes. Unlike SMTP it has a reply
//! for each recipient after the message, so each has an [`Outcome`] of its own: delivered, deferred, failed, or
//! uncertain, when the connection was lost between the message's end and the reply.
//!
//! # Where to begin
//!
//! | for | see | runnable example |
//! | --- | --- | --- |
//! | one message | [`Client::send`] | `one_message` |
//! | several over one session | [`Client::connect`] | `several_messages` |
//! | a Unix-domain socket | [`Client::unix`] | `several_messages` |
//! | a program's standard streams, or any other stream | [`Client::over`] | `over_a_program` |
//! | a message from a file or a pipe, its envelope from its header | [`message`], [`envelope`] | `from_the_header` |
//! | TLS | [`Client::starttls`], `tls` | `encrypted` |
//! | logging in, and listening to the dialogue | [`Client::login`], [`Client::observer`] | `login` |
//! | trying again what was deferred | [`Outcome`] | `try_again` |
//! | the protocol itself, step by step, over a transport of your own | [`lmtp`] | in its documentation |
//!
//! # Features
//!
//! The program `lmtp-send` is the feature `cli`, which is on by default; a library says `default-features = false` and
//! adds what it needs:
//!
//! | feature | what it adds | crates, of 14 without any |
//! | --- | --- | --- |
//! | `header` | reading a message's header: the envelope in it, fields to be left out | 9 |
//! | `scram` | AUTH SCRAM-SHA-256 and SCRAM-SHA-1; CRAM-MD5, PLAIN and LOGIN are always there | 8 |
//! | `tls` | encryption, by rustls on ring | 9 |
//!
//! # What it needs, and what it does not do
//!
//! Rust 1.93, and a Unix: it is tested on Linux, and compiles for FreeBSD and macOS. Calls block, each within its time limit
//! ([`Timeouts`]); nothing starts a thread, except to count a message of several megabytes in a file. No unsafe code, and no panic:
//! every failure is a value. There is no queue, and nothing is tried again after a time. Nothing is written to standard
//! output or error, and there is no logging.

pub mod client;
pub mod envelope;
pub mod io_error;
pub mod lmtp;
pub mod message;
mod scan;
#[cfg(feature = "tls")]
pub mod tls;

pub use client::{Client, Connection, Envelope, Outcome, Timeouts};
