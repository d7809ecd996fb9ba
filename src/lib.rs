//! An LMTP client (RFC 2033): delivers a message to a mail store, and returns the outcome for each recipient.
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
//! LMTP is for the last hop: to Dovecot, Cyrus, Stalwart or any other server that stores mailboxes. Unlike in SMTP, the
//! server replies once for each recipient after the message, so each has an [`Outcome`] of its own: delivered, deferred,
//! failed, or uncertain if the connection was lost between the end of the message and the reply.
//!
//! # Where to begin
//!
//! | to send | see | runnable example |
//! | --- | --- | --- |
//! | one message | [`Client::send`] | `one_message` |
//! | several messages over one session | [`Client::connect`] | `several_messages` |
//! | through a Unix-domain socket | [`Client::unix`] | `several_messages` |
//! | through a program's standard streams, or any other stream | [`Client::over`] | `over_a_program` |
//! | a message from a file or a pipe, with the envelope in its header | [`message`], [`envelope`] | `from_the_header` |
//! | over TLS | [`Client::starttls`], `tls` | `encrypted` |
//! | after AUTH, and to watch the dialogue | [`Client::login`], [`Client::observer`] | `login` |
//! | again to deferred recipients | [`Outcome`] | `try_again` |
//! | step by step, over a transport of your own | [`lmtp`] | in its documentation |
//!
//! # Features
//!
//! The feature `cli` is the program `lmtp-send`, and is on by default. To use the library, set `default-features = false`
//! and add the features that you need. Without any, the library depends on 14 crates:
//!
//! | feature | what it adds | more crates |
//! | --- | --- | --- |
//! | `header` | reading a message's header: the envelope in it, and fields to leave out | 9 |
//! | `scram` | AUTH SCRAM-SHA-256 and SCRAM-SHA-1 (CRAM-MD5, PLAIN and LOGIN need no feature) | 8 |
//! | `tls` | encryption, by rustls on ring | 9 |
//!
//! # Requirements and limits
//!
//! The library needs Rust 1.93 and a Unix: it is tested on Linux, and compiles for FreeBSD and macOS. Calls block, each
//! within a time limit ([`Timeouts`]). No thread is started, except to count the octets of a file of several megabytes.
//! There is no unsafe code and no panic: every failure is a value. There is no queue, and no retry after a delay. Nothing
//! is written to standard output or error, and there is no logging.

mod block;
pub mod client;
pub mod envelope;
pub mod io_error;
pub mod lmtp;
pub mod message;
mod scan;
#[cfg(feature = "tls")]
pub mod tls;

pub use client::{Client, Connection, Envelope, Outcome, Timeouts};
