//! An LMTP session (RFC 2033) with pipelining (RFC 2920): a queue of the replies that are owed.
//!
//! Every command puts into the queue what it is owed; a reply is taken for the front of the queue. With the
//! message's end, one reply for each accepted recipient is owed. A transaction may begin behind the end of
//! the one before, and QUIT stands behind the last; so waiting is for replies only, never for turns.
//!
//! ```text
//! open ──> begin ──> await_data_reply ──> send_message ──┬──> begin (the next) ──> read_reply … ──> …
//!            MAIL           354                … .       └──> quit ──> read_reply … ──> close
//!            RCPT*
//!            DATA
//! ```
//!
//! The states of a transaction:
//!
//! ```text
//!            354; or BDAT, as soon as                  the message's
//!            somebody may receive it                   end is queued
//! Envelope ───────────────────────────> Message ───────────────────────> Delivery
//!    │                                     │                                │ a reply for each recipient;
//!    │ nobody was accepted; DATA was       │ cut short, or answered too     │ or the session ends
//!    │ refused; cancelled by RSET          │ early: the session ends        V
//!    └──────────> NoMessage                └───────────────────────────> settled
//! ```
//!
//! What is guaranteed, whatever the server does:
//!
//! - Every recipient of every transaction is settled exactly once ([`Session::settled`]); except those accepted in
//!   one that was all or nothing and has been cancelled ([`DataReply::Cancelled`]): they are the caller's.
//! - `Delivered` needs a 2yz of its own, read after the message's end was handed over.
//! - A message is never ended that was cut short.
//! - A reply is not credited to a wrong recipient. A server may send fewer replies to a message than it owes, or
//!   more; the next mark (354 to DATA, 221 to QUIT) then comes in another place and shows it. Until a mark has come,
//!   what was said to commands behind a message is held, with and without PIPELINING; where none comes, a refusal
//!   counts for nothing ([`Settlement::Untried`](super::Settlement::Untried)). The first reply behind a message that
//!   was sent by DATA is its first recipient's: every server sends one at least.
//!
//! The rooms: `request` is what is asked of a session, `opening` is before the first transaction, `envelope` says
//! MAIL, RCPT and DATA, `message` sends what follows them, `replies` credits what comes back. `transaction_state` has the
//! states, `due` the queue of replies, `command` the lines, `buffered_transport` the octets.

mod buffered_transport;
mod command;
mod due;
mod envelope;
mod message;
mod opening;
mod replies;
mod request;
mod transaction_state;

use std::collections::VecDeque;

use super::auth::Mechanism;
use super::redactor::Redactor;
use super::reply::Malformed;
use super::{
    Cause, Content, EnhancedCode, Extensions, Misuse, Moved, Reply, Secret, SessionError, Settled, Stage,
    Stretch, TransactionId, Transport,
};
use buffered_transport::BufferedTransport;
use due::{Due, Owed};
use transaction_state::{Phase, TransactionState};

pub use request::{Body, DataReply, Transaction, Verb};

/// What is said and heard, for a transcript. Secrets have been taken out.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A command of ours, without its line end.
    Sent(&'a str),
    /// A message is being sent: how many octets have gone by, of how many.
    Sending {
        /// So far.
        octets: u64,
        /// In all.
        of: u64,
    },
    /// The message has been sent: how many octets.
    SentMessage(u64),
    /// A reply.
    Received(&'a Reply),
    /// Something about the connection. A session knows nothing of that: it comes from whoever makes the connection.
    Note(&'a str),
}

/// Whoever is told what is said and heard in a session: any `FnMut(Event<'_>)`, or nobody.
pub trait Observer {
    /// Something was said or heard.
    fn observe(&mut self, event: Event<'_>);
}

impl<F: FnMut(Event<'_>)> Observer for F {
    fn observe(&mut self, event: Event<'_>) {
        self(event);
    }
}

/// An [`Observer`] that does not listen.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn observe(&mut self, _: Event<'_>) {}
}

/// What the server has said of itself.
struct Server {
    greeting: Reply,
    extensions: Extensions,
    /// How many recipients it took in a transaction before it said that there were too many.
    rcpt_max: Option<usize>,
}

/// A conversation with one server over `T`, which `O` listens to. It can be sent to another thread where both can.
pub struct Session<T, O = NoObserver> {
    link: BufferedTransport<T>,
    observer: O,
    redactor: Redactor,
    server: Server,
    name: String,
    owed: Owed,
    begun: u64,
    transactions: VecDeque<TransactionState>,
    settled: VecDeque<Settled>,
    /// A message's end was sent: a reply too many to it moves those that follow.
    has_carried: bool,
    /// A transaction was begun that no message ended: the next one needs RSET.
    needs_reset: bool,
    open: bool,
}

impl<T: Transport> Session<T> {
    /// Waits for the greeting and says LHLO with `name`, this host's own (RFC 2033 §4.1).
    ///
    /// # Errors
    ///
    /// [`SessionError`] where the server does not greet with 220, does not speak LMTP, or the connection fails;
    /// [`Misuse::Argument`] where `name` would not be one word.
    pub fn open(transport: T, name: &str) -> Result<Self, SessionError> {
        Self::open_observed(transport, name, NoObserver)
    }
}

impl<T: Transport, O: Observer> Session<T, O> {
    /// As [`Session::open`]; `observer` is told what is said and heard from the greeting on.
    ///
    /// # Errors
    ///
    /// As [`Session::open`].
    pub fn open_observed(transport: T, name: &str, observer: O) -> Result<Self, SessionError> {
        if !command::is_argument(name) {
            return Err(misuse(Stage::Lhlo, Misuse::Argument));
        }
        let greeting = Reply::new(220, EnhancedCode::new(2, 0, 0), "");
        let mut session = Self {
            link: BufferedTransport::new(transport),
            observer,
            redactor: Redactor::default(),
            server: Server { greeting, extensions: Extensions::default(), rcpt_max: None },
            name: name.to_owned(),
            owed: Owed::default(),
            begun: 0,
            transactions: VecDeque::new(),
            settled: VecDeque::new(),
            has_carried: false,
            needs_reset: false,
            open: true,
        };
        session.server.greeting = session.greet()?;
        session.lhlo()?;
        Ok(session)
    }

    /// What the server offers, as it came: see [`Session::redact`].
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.server.extensions
    }

    /// The server's first reply, as it came: see [`Session::redact`].
    #[must_use]
    pub fn greeting(&self) -> &Reply {
        &self.server.greeting
    }

    /// What may be shown of `text`, which the server has said: no secret of this session is left in it. Of events,
    /// errors, answers and outcomes a session hands out nothing else.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.redactor.text(text).into_owned()
    }

    /// How many recipients the server took in a transaction before it said that there were too many (452, 552, 5.5.3;
    /// RFC 5321 §4.5.3.1.10). `None` where it has not said so. Beside what LIMITS says; the next transaction had
    /// better have no more, in this session and in others with the same server.
    #[must_use]
    pub fn learnt_rcpt_max(&self) -> Option<usize> {
        self.server.rcpt_max
    }

    /// Makes no use of the extension `keyword` (in capitals), as if the server did not offer it. LHLO, which
    /// [`starttls`](Session::starttls) and [`xclient`](Session::xclient) say again, asks anew.
    pub fn forgo(&mut self, keyword: &str) {
        self.server.extensions.remove(keyword);
    }

    /// The connection, to set its time limits.
    pub fn transport(&mut self) -> &mut T {
        &mut self.link.transport
    }

    /// Whether another transaction can be begun: the session stands, and the server's limit on their
    /// number is not reached (RFC 9422, MAILMAX). A binary message is the last of its session, since no mark
    /// stands between it and the next one.
    #[must_use]
    pub fn takes_another(&self) -> bool {
        let limit = self.extensions().limits().mail_max.map_or(u64::MAX, |n| n as u64);
        let after_binary =
            self.transactions.back().is_some_and(|t| t.is_binary() && t.phase != Phase::NoMessage);
        self.open && self.begun < limit && !after_binary
    }

    /// Whether a transaction may be begun before the one before is settled, and QUIT sent.
    #[must_use]
    pub fn pipelining(&self) -> bool {
        self.extensions().pipelining()
    }

    /// The next recipient that has been settled.
    pub fn settled(&mut self) -> Option<Settled> {
        let Settled { transaction, recipient, settlement } = self.settled.pop_front()?;
        Some(Settled { transaction, recipient, settlement: self.redactor.settlement(settlement) })
    }

    /// Whether recipients of a transaction wait for a reply.
    #[must_use]
    pub fn is_pending(&self, id: TransactionId) -> bool {
        self.progress(id).is_some_and(|t| t.unsettled > 0)
    }

    /// Begins a transaction: MAIL, RCPT for each recipient and DATA, in one group where PIPELINING is
    /// offered, else one at a time. Nothing need be written yet when this returns.
    ///
    /// Recipients for whom this server will not do (SIZE, SMTPUTF8) are settled without being sent.
    ///
    /// # Errors
    ///
    /// A [`SessionError`] ends the session; every recipient of a transaction that was begun is settled by then.
    /// [`Misuse`] does neither, and the transaction has not been begun: where the one before has not had
    /// [`await_data_reply`](Session::await_data_reply), and [`send_message`](Session::send_message) if that said so;
    /// and where the session does not [take another](Session::takes_another).
    pub fn begin(&mut self, transaction: &Transaction<'_>) -> Result<TransactionId, SessionError> {
        if self.transactions.back().is_some_and(|t| matches!(t.phase, Phase::Envelope | Phase::Message)) {
            return Err(misuse(Stage::Mail, Misuse::NotAwaited));
        }
        if !self.takes_another() {
            return Err(misuse(Stage::Mail, Misuse::NoMore));
        }
        let id = self.next_id();
        let done = self.try_begin(id, transaction);
        self.guard(done).map(|()| id)
    }

    /// Waits until the server has answered MAIL, RCPT and DATA of the last transaction begun.
    ///
    /// # Errors
    ///
    /// As [`Session::begin`].
    pub fn await_data_reply(&mut self) -> Result<DataReply, SessionError> {
        let answer = self.try_await_data_reply();
        self.guard(answer)
    }

    /// Waits until the server has answered MAIL and every RCPT of the last transaction begun. By BDAT its message may
    /// be on its way before they have been: a further transaction for those who are
    /// [too many](super::Settlement::Again) needs a session that has not said QUIT by then.
    ///
    /// # Errors
    ///
    /// As [`Session::begin`].
    pub fn await_envelope(&mut self) -> Result<(), SessionError> {
        let Some(id) = self.transactions.back().map(|t| t.id) else { return Ok(()) };
        let done = self.try_await_envelope(id);
        self.guard(done)
    }

    /// Whether another transaction may be begun behind the message just sent. After BDAT this waits for the
    /// replies to RCPT: where nobody was accepted some servers answer the message and some do not, and
    /// nothing must stand behind it whose reply could be mistaken.
    ///
    /// # Errors
    ///
    /// As [`Session::begin`].
    pub fn may_follow(&mut self) -> Result<bool, SessionError> {
        let done = self.try_may_follow();
        self.guard(done)
    }

    /// Writes what is queued, and while the server looks at the envelope of the last transaction begun, encodes its
    /// message: a short one that goes by DATA. Nothing else need be done for any other.
    /// [`send_message`](Session::send_message) is to be given the same message.
    ///
    /// # Errors
    ///
    /// As [`Session::begin`]. A message that cannot be read is told by [`send_message`](Session::send_message).
    pub fn prepare(&mut self, content: &mut dyn Content) -> Result<(), SessionError> {
        self.hand_over()?;
        self.encode_ahead(content);
        Ok(())
    }

    /// Sends the message of the last transaction begun, and its end. The last octets are not written
    /// before [`Session::begin`], [`Session::quit`] or [`Session::read_reply`] is called, so that what follows
    /// goes with them. `false`: it was not sent to its end, since every recipient was refused meanwhile; the session ends.
    ///
    /// # Errors
    ///
    /// As [`Session::begin`]. A message whose octets are not those counted before is cut short: the
    /// session ends, and nothing is delivered. [`Misuse::NotAsked`] where
    /// [`await_data_reply`](Session::await_data_reply) has not said that the server waits for it.
    pub fn send_message(&mut self, content: &mut dyn Content) -> Result<bool, SessionError> {
        let awaited = self.transactions.back().filter(|t| t.phase == Phase::Message).map(|t| t.id);
        let Some(id) = awaited else { return Err(misuse(Stage::Data, Misuse::NotAsked)) };
        let done = self.try_send_message(id, content);
        self.guard(done)
    }

    /// Writes what is queued and waits for the next reply that is owed.
    ///
    /// # Errors
    ///
    /// As [`Session::begin`].
    pub fn read_reply(&mut self) -> Result<(), SessionError> {
        let done = self.try_read_reply();
        self.guard(done)
    }

    /// Writes what is queued, such as a message's end, without waiting for a reply.
    ///
    /// # Errors
    ///
    /// As [`Session::begin`].
    pub fn hand_over(&mut self) -> Result<(), SessionError> {
        if self.link.queued() > 0 {
            self.link.transport.enter(Stage::Data);
        }
        let done = self.flush();
        self.guard(done)
    }

    /// What [`Session::begin`] will return next.
    #[must_use]
    pub fn next_id(&self) -> TransactionId {
        TransactionId(self.begun)
    }

    /// Whether a reply is owed, so that [`Session::read_reply`] has something to wait for.
    #[must_use]
    pub fn has_pending_replies(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Queues QUIT: no transaction follows.
    pub fn quit(&mut self) {
        // Where the server waits for a message, QUIT would be taken for it: the connection is dropped.
        let awaited = self.transactions.iter().any(|t| t.phase == Phase::Message);
        if self.open && !awaited {
            self.command("QUIT", Due::Quit);
            self.open = false;
        }
    }

    /// Says QUIT if that has not been said, and waits a moment for its reply. Whatever becomes of it, the
    /// outcomes stand. Every recipient is settled by then.
    pub fn close(&mut self) {
        while !self.pipelining() && self.has_pending_replies() && self.read_reply().is_ok() {}
        self.quit();
        while self.has_pending_replies() && self.read_reply().is_ok() {}
        self.end(&SessionError { stage: Stage::Delivery, cause: Cause::TooFewReplies });
    }

    /// Encrypts the session (RFC 3207) and says LHLO again: nothing that was said in clear counts.
    ///
    /// # Errors
    ///
    /// A [`SessionError`] ends the session; [`Cause::Injected`] where the server sent more than its reply.
    pub fn starttls(&mut self) -> Result<(), SessionError> {
        let done = self.try_starttls();
        self.guard(done)
    }

    /// Authenticates (RFC 4954). From here on neither events nor errors nor outcomes hold the password.
    ///
    /// # Errors
    ///
    /// A [`SessionError`] ends the session: it says nothing about any recipient.
    pub fn authenticate(
        &mut self,
        mechanism: Mechanism,
        user: &str,
        password: &Secret,
    ) -> Result<(), SessionError> {
        let done = self.try_authenticate(mechanism, user, password);
        self.guard(done)
    }

    /// Tells the server on whose behalf we are here (XCLIENT, as Postfix and Dovecot know it), and says LHLO
    /// again. `attributes` are `NAME=VALUE`, values in xtext.
    ///
    /// # Errors
    ///
    /// A [`SessionError`] ends the session, also where the server refuses. [`Misuse::Argument`], which does not,
    /// where an attribute would be more than one.
    pub fn xclient(&mut self, attributes: &[String]) -> Result<(), SessionError> {
        if attributes.is_empty() || !attributes.iter().all(|attribute| command::is_argument(attribute)) {
            return Err(misuse(Stage::Lhlo, Misuse::Argument));
        }
        let done = self.try_xclient(attributes);
        self.guard(done)
    }

    /// Asks something outside a transaction and returns the answer, whatever it is: VRFY, EXPN, HELP, NOOP,
    /// RSET (RFC 5321 §4.1.1), ETRN (RFC 1985), and MAIL or RCPT when nothing is to be sent.
    ///
    /// # Errors
    ///
    /// A [`SessionError`] ends the session: 421, or no answer. [`Misuse`], which does not: `line` is empty or would be
    /// more than one, or replies to a transaction are owed.
    pub fn ask(&mut self, line: &str) -> Result<Reply, SessionError> {
        if !command::is_line(line) {
            return Err(misuse(Stage::Query, Misuse::Argument));
        }
        if self.has_pending_replies() || !self.open {
            return Err(misuse(Stage::Query, Misuse::NotAwaited));
        }
        let done = self.try_ask(line);
        let reply = self.guard(done)?;
        Ok(self.redactor.reply(Stage::Query, &reply).into_owned())
    }

    // What follows returns failures as they are; the public methods settle what they leave behind.

    fn guard<R>(&mut self, result: Result<R, SessionError>) -> Result<R, SessionError> {
        result.map_err(|failure| {
            self.end(&failure);
            self.redactor.error(failure)
        })
    }

    fn progress(&self, id: TransactionId) -> Option<&TransactionState> {
        self.transactions.iter().find(|t| t.id == id)
    }

    fn progress_mut(&mut self, id: TransactionId) -> Option<&mut TransactionState> {
        self.transactions.iter_mut().find(|t| t.id == id)
    }

    /// The transaction whose message the server waits for and does not have whole.
    fn unsent(&self) -> Option<&TransactionState> {
        self.transactions.iter().find(|t| t.is_unsent(self.link.sent))
    }

    /// Waits for a reply outside the queue.
    fn reply(&mut self, stage: Stage) -> Result<Reply, SessionError> {
        self.link.transport.enter(stage);
        loop {
            if let Some(reply) = self.next_reply(stage)? {
                return Ok(reply);
            }
            self.exchange(stage, None)?;
        }
    }

    /// The next reply if it is there, and whoever listens is told.
    fn next_reply(&mut self, stage: Stage) -> Result<Option<Reply>, SessionError> {
        let found = self.link.reader.next_reply();
        let reply = found.map_err(|what| malformed(stage, what))?;
        if let Some(reply) = &reply {
            self.observer.observe(Event::Received(&self.redactor.reply(stage, reply)));
        }
        Ok(reply)
    }

    fn say(&mut self, line: &str) {
        self.observer.observe(Event::Sent(line));
        self.link.push_line(line.as_bytes());
    }

    fn command(&mut self, line: &str, due: Due) {
        self.say(line);
        self.owed.push(due);
    }

    fn try_read_reply(&mut self) -> Result<(), SessionError> {
        let Some(due) = self.front() else { return self.flush() };
        let stage = due.stage();
        self.link.transport.enter(stage);
        match self.await_reply(stage) {
            Err(failure) if due == Due::Quit && !failure.is_doubt() => self.end_at_quit(),
            result => result,
        }
    }

    fn await_reply(&mut self, stage: Stage) -> Result<(), SessionError> {
        while !self.take_reply(stage)? {
            self.exchange(stage, None)?;
        }
        Ok(())
    }

    /// Writes all that is queued, taking replies that come meanwhile: a server may not read on before its
    /// replies are read (RFC 2920 §3.1). Where writing has failed, what the server had said is still taken.
    fn flush(&mut self) -> Result<(), SessionError> {
        while self.link.queued() > 0 || self.link.write_error.is_some() {
            self.exchange_and_take(None)?;
        }
        Ok(())
    }

    /// One exchange, of what is queued or of octets in a file, and the replies that it brought; how much was
    /// written. `None`: nothing can be sent from that file.
    fn exchange_and_take(&mut self, stretch: Option<&Stretch<'_>>) -> Result<Option<usize>, SessionError> {
        let stage = self.owed.front().map_or(Stage::Data, Due::stage);
        let mut written = Some(0);
        if !self.owed.is_empty() || self.link.write_error.is_none() {
            written = self.exchange(stage, stretch)?.map(|moved| moved.written);
        }
        while !self.owed.is_empty() && self.take_reply(stage)? {
            self.link.transport.enter(self.owed.front().map_or(Stage::Data, Due::stage));
        }
        if self.owed.is_empty() {
            self.check_for_early_reply()?;
        }
        Ok(written)
    }

    /// One exchange with the transport; `None`: nothing can be sent from that file.
    fn exchange(
        &mut self,
        stage: Stage,
        stretch: Option<&Stretch<'_>>,
    ) -> Result<Option<Moved>, SessionError> {
        let Some(moved) = self.link.exchange(stage, stretch)? else { return Ok(None) };
        // Even the beginning of an answer to the message must not come before its end.
        let answering = self.owed.front().filter(|due| matches!(due, Due::Delivery(..) | Due::Last(_)));
        let answering = answering.and_then(Due::id);
        if moved.read > 0 && answering.is_some() && self.unsent().map(|t| t.id) == answering {
            return Err(self.heard_early(None, SessionError { stage, cause: Cause::Closed }));
        }
        if moved.closed && moved.read == 0 {
            let closed = SessionError { stage, cause: Cause::Closed };
            let failure = self.link.write_error.take().unwrap_or(closed);
            return Err(self.heard_at_the_end(failure));
        }
        Ok(Some(moved))
    }
}

fn malformed(stage: Stage, what: Malformed) -> SessionError {
    SessionError { stage, cause: Cause::Malformed(what) }
}

fn misuse(stage: Stage, what: Misuse) -> SessionError {
    SessionError { stage, cause: Cause::Misuse(what) }
}

#[cfg(test)]
mod tests;
