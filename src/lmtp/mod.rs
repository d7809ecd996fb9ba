//! LMTP (RFC 2033): a client's session, with a reply for each recipient, and its parts.
//!
//! Everything here works on octets. Time, sockets and TLS belong to the caller, behind a [`Transport`]. A
//! [`Session`] is opened over a transport, sends [`Transaction`]s, and settles every recipient of each exactly once,
//! whatever the server does. [`Session::settled`] returns what became of a recipient as soon as it is certain that the
//! reply was meant for that recipient. No recipient is ever [`Delivered`](Outcome::Delivered) without a 2yz reply of its
//! own.
//!
//! | to | call |
//! | --- | --- |
//! | begin a session | [`Session::open`], then if needed [`starttls`](Session::starttls), [`authenticate`](Session::authenticate), [`xclient`](Session::xclient) |
//! | deliver a message | [`begin`](Session::begin), [`await_data_reply`](Session::await_data_reply), [`send_message`](Session::send_message), then [`read_reply`](Session::read_reply) or [`close`](Session::close) |
//! | get the outcomes | [`settled`](Session::settled) |
//! | deliver the next message | [`begin`](Session::begin) again, before or after the replies to the previous one |
//! | send a query | [`ask`](Session::ask) |
//! | end the session | [`quit`](Session::quit) queues QUIT, [`close`](Session::close) waits for all replies that are due |
//!
//! A [`SessionError`] ends a session, and says nothing about a recipient. When it is returned, all recipients of the
//! transactions in progress are settled. So a program may stop at the first error and look at the outcomes afterwards, as
//! the examples do.
//!
//! # One message
//!
//! A transport can write, read, and wait for both. This one, over a non-blocking socket, tries again every millisecond.
//! A real one uses poll(2), and a time limit for each [`Stage`].
//!
//! ```
//! use std::io::{self, Read, Write};
//! use std::os::unix::net::UnixStream;
//! use std::time::{Duration, Instant};
//!
//! use lmtp_send::lmtp::content::Bytes;
//! use lmtp_send::lmtp::{
//!     Address, Content, SessionError, Settlement, DataReply, Moved, Outcome, ReversePath, Session, Stage, Transaction, Transport,
//! };
//!
//! struct Socket {
//!     stream: UnixStream,
//!     until: Instant,
//! }
//!
//! impl Transport for Socket {
//!     fn enter(&mut self, _: Stage) {
//!         self.until = Instant::now() + Duration::from_secs(60);
//!     }
//!
//!     fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
//!         loop {
//!             let heard = self.pending(input)?;
//!             if heard != Moved::default() {
//!                 return Ok(heard);
//!             }
//!             match self.stream.write(out) {
//!                 Ok(written) if written > 0 => return Ok(Moved { written, ..Moved::default() }),
//!                 Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
//!                 _ if Instant::now() > self.until => return Err(io::ErrorKind::TimedOut.into()),
//!                 _ => std::thread::sleep(Duration::from_millis(1)),
//!             }
//!         }
//!     }
//!
//!     fn pending(&mut self, input: &mut [u8]) -> io::Result<Moved> {
//!         match self.stream.read(input) {
//!             Ok(read) => Ok(Moved { read, closed: read == 0 && !input.is_empty(), ..Moved::default() }),
//!             Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Moved::default()),
//!             Err(e) => Err(e),
//!         }
//!     }
//! }
//!
//! # fn serve(mut server: UnixStream) -> io::Result<()> {
//! #     for (heard, said) in [
//! #         ("", "220 mailbox LMTP\r\n"),
//! #         ("LHLO me.example.org\r\n", "250-mailbox\r\n250 PIPELINING\r\n"),
//! #         ("MAIL FROM:<me@example.org>\r\nRCPT TO:<joe@example.net>\r\nDATA\r\n", "250 ok\r\n250 ok\r\n354 go on\r\n"),
//! #         ("Subject: hello\r\n\r\nHello, Joe.\r\n..\r\n.\r\nQUIT\r\n", "250 2.0.0 stored\r\n221 bye\r\n"),
//! #     ] {
//! #         let mut octets = vec![0; heard.len()];
//! #         server.read_exact(&mut octets)?;
//! #         assert_eq!(String::from_utf8_lossy(&octets), heard);
//! #         server.write_all(said.as_bytes())?;
//! #     }
//! #     Ok(())
//! # }
//! fn deliver(
//!     session: &mut Session<Socket>,
//!     transaction: &Transaction<'_>,
//!     message: &mut dyn Content,
//! ) -> Result<(), SessionError> {
//!     session.begin(transaction)?;
//!     if session.await_data_reply()? == DataReply::GoAhead {
//!         session.send_message(message)?;
//!     }
//!     Ok(())
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (stream, server) = UnixStream::pair()?; // or UnixStream::connect("/run/dovecot/lmtp")?
//! # let server = std::thread::spawn(move || serve(server));
//! stream.set_nonblocking(true)?;
//! let socket = Socket { stream, until: Instant::now() };
//! let mut session = Session::open(socket, "me.example.org")?;
//!
//! let (from, joe) = (ReversePath::parse("me@example.org")?, Address::parse("joe@example.net")?);
//! let mut message = Bytes::new(b"Subject: hello\n\nHello, Joe.\n.\n");
//! let done = deliver(&mut session, &Transaction::new(&from, &[&joe], message.octets()), &mut message);
//! session.close(); // waits for the replies, says QUIT, settles whoever is left
//!
//! let settled = session.settled().expect("Joe has an outcome, whatever happened");
//! match settled.settlement {
//!     Settlement::Known(Outcome::Delivered(reply)) => assert_eq!(reply.to_string(), "250 2.0.0 stored"),
//!     other => panic!("{other:?}, {done:?}"),
//! }
//! # server.join().unwrap()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Many recipients
//!
//! [`Settled`] names a recipient by its place in the list. One who is refused has the reply to RCPT; the others
//! have one each after the message (RFC 2033 §4.2). [`Settlement::Again`] and [`Settlement::Untried`] are no outcomes: the
//! recipient is to be sent to in a further transaction, or in a new session.
//!
//! ```
//! # mod script { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lmtp/script.rs")); }
//! # use script::script;
//! use lmtp_send::lmtp::content::Bytes;
//! use lmtp_send::lmtp::{Address, Content, Settlement, DataReply, Outcome, ReversePath, Session, Transaction};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = script([
//!     "220 mailbox LMTP\r\n",
//!     "250-mailbox\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n",
//!     "250 2.1.0 ok\r\n250 2.1.5 ok\r\n550 5.1.1 no such user\r\n250 2.1.5 ok\r\n354 go on\r\n",
//!     "250 2.0.0 stored\r\n452 4.2.2 over quota\r\n221 2.0.0 bye\r\n",
//! ]);
//! let mut session = Session::open(server, "me.example.org")?;
//! let recipients = Address::parse_several("joe@example.net, nobody@example.net, ann@example.net")?;
//! let everyone: Vec<&Address> = recipients.iter().collect();
//! let mut message = Bytes::new(b"Subject: hello\n\nHello, all.\n");
//!
//! // The null reverse-path: nobody is told of a failure.
//! session.begin(&Transaction::new(&ReversePath::Null, &everyone, message.octets()))?;
//! if session.await_data_reply()? == DataReply::GoAhead {
//!     session.send_message(&mut message)?;
//! }
//! session.close();
//!
//! let mut outcomes = vec![String::new(); recipients.len()];
//! while let Some(settled) = session.settled() {
//!     outcomes[settled.recipient] = match settled.settlement {
//!         Settlement::Known(Outcome::Delivered(reply)) => format!("delivered: {reply}"),
//!         Settlement::Known(Outcome::Refused { stage, reply }) => format!("refused at {}: {reply}", stage.name()),
//!         Settlement::Known(Outcome::Unsuited(why)) => format!("not for this server: {why}"),
//!         Settlement::Known(Outcome::Unanswered(failure)) => format!("to be tried again: {failure}"),
//!         Settlement::Known(Outcome::Uncertain(failure)) => format!("uncertain: {failure}"),
//!         Settlement::Again(_) => "for a further transaction".to_owned(),
//!         Settlement::Untried(_) => "for a new session".to_owned(),
//!     };
//! }
//! assert_eq!(
//!     outcomes,
//!     [
//!         "delivered: 250 2.0.0 stored",
//!         "refused at rcpt: 550 5.1.1 no such user",
//!         "refused at delivery: 452 4.2.2 over quota",
//!     ]
//! );
//! # Ok(())
//! # }
//! ```
//!
//! # Several messages
//!
//! [`send_message`](Session::send_message) does not wait for the replies. With PIPELINING, the next transaction directly
//! follows the end of the message, so a further message costs no round trip of its own.
//! [`may_follow`](Session::may_follow) returns whether this is possible now; otherwise read the pending replies first.
//!
//! ```
//! # mod script { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lmtp/script.rs")); }
//! # use script::script;
//! use lmtp_send::lmtp::content::Bytes;
//! use lmtp_send::lmtp::{Address, Content, Settlement, DataReply, Outcome, ReversePath, Session, Transaction};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = script([
//!     "220 mailbox LMTP\r\n",
//!     "250-mailbox\r\n250 PIPELINING\r\n",
//!     "250 ok\r\n250 ok\r\n354 go on\r\n",
//!     "250 the first is stored\r\n250 ok\r\n250 ok\r\n354 go on\r\n", // in one flight
//!     "250 the second is stored\r\n221 bye\r\n",
//! ]);
//! let mut session = Session::open(server, "me.example.org")?;
//! let (from, joe) = (ReversePath::parse("me@example.org")?, Address::parse("joe@example.net")?);
//! let mut begun = Vec::new();
//!
//! for mut message in ["Subject: 1\n\none\n", "Subject: 2\n\ntwo\n"].map(|text| Bytes::new(text.as_bytes())) {
//!     if !begun.is_empty() && !session.may_follow()? {
//!         while session.has_pending_replies() {
//!             session.read_reply()?;
//!         }
//!     }
//!     assert!(session.takes_another(), "else the rest is for a new session");
//!     begun.push(session.begin(&Transaction::new(&from, &[&joe], message.octets()))?);
//!     if session.await_data_reply()? == DataReply::GoAhead {
//!         session.send_message(&mut message)?;
//!     }
//! }
//! session.close();
//!
//! for (id, text) in begun.into_iter().zip(["the first is stored", "the second is stored"]) {
//!     let settled = session.settled().expect("one for each");
//!     assert_eq!(settled.transaction, id);
//!     assert!(matches!(settled.settlement, Settlement::Known(Outcome::Delivered(reply)) if reply.text() == text));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Chunks and binary messages
//!
//! If the server offers CHUNKING and [`Transaction::chunking`] allows it, BDAT is used instead of DATA when that saves a
//! round trip. [`Body::Binary`](session::Body::Binary) also needs BINARYMIME: the octets are sent unchanged, and their
//! number is [`raw_octets`](Content::raw_octets). If the server does not offer it, nothing is sent, and every recipient is
//! [`Unsuited`](Outcome::Unsuited).
//!
//! ```
//! # mod script { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lmtp/script.rs")); }
//! # use script::script;
//! use std::cell::RefCell;
//! use std::rc::Rc;
//!
//! use lmtp_send::lmtp::content::Bytes;
//! use lmtp_send::lmtp::session::Body;
//! use lmtp_send::lmtp::{Address, Content, Event, DataReply, ReversePath, Session, Transaction};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = script([
//!     "220 mailbox LMTP\r\n",
//!     "250-mailbox\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 BINARYMIME\r\n",
//!     "250 ok\r\n250 ok\r\n250 stored\r\n221 bye\r\n", // one turn for everything
//! ]);
//! let said = Rc::new(RefCell::new(Vec::new()));
//! let observer = {
//!     let said = Rc::clone(&said);
//!     move |event: Event<'_>| match event {
//!         Event::Sent(command) => said.borrow_mut().push(command.to_owned()),
//!         Event::SentMessage(octets) => said.borrow_mut().push(format!("({octets} octets)")),
//!         _ => {}
//!     }
//! };
//! let mut session = Session::open_observed(server, "me.example.org", observer)?;
//! let (from, joe) = (ReversePath::parse("me@example.org")?, Address::parse("joe@example.net")?);
//! let mut message = Bytes::new(b"Content-Transfer-Encoding: binary\r\n\r\n\0\r\n.\r\n\xff");
//! let recipients = [&joe];
//! let mut transaction = Transaction::new(&from, &recipients, message.raw_octets());
//! transaction.body = Body::Binary;
//! session.begin(&transaction)?;
//! if session.await_data_reply()? == DataReply::GoAhead {
//!     session.send_message(&mut message)?;
//! }
//! session.close();
//!
//! assert_eq!(
//!     *said.borrow(),
//!     [
//!         "LHLO me.example.org",
//!         "MAIL FROM:<me@example.org> BODY=BINARYMIME",
//!         "RCPT TO:<joe@example.net>",
//!         "BDAT 44 LAST",
//!         "(44 octets)",
//!         "QUIT",
//!     ]
//! );
//! # Ok(())
//! # }
//! ```
//!
//! # TLS and authentication
//!
//! TLS is done by the transport. [`Session::starttls`] sends STARTTLS, checks that nothing was received before the
//! handshake, calls [`Transport::secure`], and sends LHLO again. A transport that encrypts from the first octet does not
//! need this. The caller decides whether a connection is safe enough for a mechanism that
//! [shows the password](auth::Mechanism::is_clear).
//!
//! ```
//! # mod script { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lmtp/script.rs")); }
//! # use script::script;
//! use lmtp_send::lmtp::auth::Mechanism;
//! use lmtp_send::lmtp::{Secret, Session, Transport};
//!
//! type Secured<T> = Result<Session<T>, Box<dyn std::error::Error>>;
//!
//! fn secured<T: Transport>(transport: T, user: &str, password: &Secret) -> Secured<T> {
//!     let mut session = Session::open(transport, "me.example.org")?;
//!     session.starttls()?; // fails if STARTTLS is not offered: the session never continues in clear
//!     let offered = session.extensions().argument("AUTH").unwrap_or_default().to_owned();
//!     let offered: Vec<&str> = offered.split(' ').collect();
//!     let mechanism = Mechanism::strongest(&offered).ok_or("no mechanism in common")?;
//!     session.authenticate(mechanism, user, password)?;
//!     Ok(session)
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = script([
//!     "220 mailbox LMTP\r\n",
//!     "250-mailbox\r\n250 STARTTLS\r\n",
//!     "220 go ahead\r\n",
//!     "250-mailbox\r\n250 AUTH LOGIN PLAIN\r\n", // this and what follows is encrypted
//!     "235 2.7.0 welcome\r\n",
//! ]);
//! let session = secured(server, "joe", &Secret::from("hunter2".to_owned()))?;
//! assert!(session.extensions().offers("AUTH") && !session.extensions().offers("STARTTLS"));
//! # Ok(())
//! # }
//! ```
//!
//! # Queries
//!
//! [`Session::ask`] sends a command outside a transaction and returns the reply, whatever it is: VRFY, EXPN,
//! ETRN, HELP, NOOP, RSET, and MAIL and RCPT if no message is to be sent.
//!
//! ```
//! # mod script { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lmtp/script.rs")); }
//! # use script::script;
//! use lmtp_send::lmtp::Session;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = script([
//!     "220 mailbox LMTP\r\n",
//!     "250-mailbox.example.net\r\n250 SIZE 1000000\r\n",
//!     "252 2.0.0 I do not tell\r\n",
//!     "250-Joe <joe@example.net>\r\n250 Ann <ann@example.net>\r\n",
//!     "221 bye\r\n",
//! ]);
//! let mut session = Session::open(server, "me.example.org")?;
//! assert_eq!(session.extensions().domain(), "mailbox.example.net");
//! assert_eq!(session.extensions().size_limit(), Some(1_000_000));
//! assert_eq!(session.ask("VRFY joe@example.net")?.code(), 252);
//! let list = session.ask("EXPN team")?;
//! assert_eq!(list.lines().collect::<Vec<_>>(), ["Joe <joe@example.net>", "Ann <ann@example.net>"]);
//! session.close();
//! # Ok(())
//! # }
//! ```

pub mod address;
pub mod auth;
pub mod content;
pub mod extension;
pub mod outcome;
pub mod parameter;
pub mod pipeline;
mod redactor;
pub mod reply;
pub mod secret;
pub mod session;
pub mod session_error;
pub mod stage;
pub mod transport;
pub mod wire;

pub use address::{Address, InvalidAddress, ReversePath, drop_repeated};
pub use content::{Content, Stretch};
pub use extension::{Extensions, Limits};
pub use outcome::{Outcome, Settled, Settlement, TransactionId};
pub use parameter::{InvalidParameter, Parameter};
pub use pipeline::{Pipeline, Room};
pub use reply::{EnhancedCode, Malformed, Reply, printable};
pub use secret::Secret;
pub use session::{DataReply, Event, NoObserver, Observer, Session, Transaction};
pub use session_error::{Cause, Misuse, SessionError};
pub use stage::Stage;
pub use transport::{Insecure, Moved, Transport};
