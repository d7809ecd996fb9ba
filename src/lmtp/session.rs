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
//! What is guaranteed, whatever the server does:
//!
//! - Every recipient of every transaction is settled exactly once ([`Session::settled`]).
//! - `Delivered` needs a 2yz of its own, read after the message's end was handed over.
//! - A message is never ended that was cut short.
//! - A reply is not credited to a wrong recipient: where a server sends fewer replies than it owes, or more,
//!   the reply that marks the place (354 to DATA, 221 to QUIT) comes in another place and shows it. Until that
//!   mark has come, what could be meant for another command is held. When the connection is lost before,
//!   the first reply behind a message is taken for its first recipient's: every server sends one at least.
//!
//! The rooms: `opening` is before the first transaction, `transaction` sends one, `replies` credits what
//! comes back; here is the queue and the wire.

mod opening;
mod replies;
mod transaction;

use std::collections::VecDeque;

use super::auth::Mechanism;
use super::reply::{self, Malformed, ReplyReader};
use super::wire::Form;
use super::{
    Address, Cause, Content, EnhancedCode, Extensions, Parameter, Reply, ReversePath, Secret, SessionError,
    Settled, Stage, Stretch, TransactionId, Transport,
};

/// Octets read at once: most of what a server says in one go.
const READ: usize = 4 * 1024;

/// What is said and heard, for a transcript.
#[derive(Debug)]
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

/// What the message's body is declared to be (RFC 6152 §2, RFC 3030 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// US-ASCII in lines.
    SevenBit,
    /// Octets in lines.
    #[default]
    EightBit,
    /// Octets, which nobody may touch: only by BDAT.
    Binary,
}

/// The command that begins a transaction. All but MAIL are of RFC 821 §3.4 and obsolete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verb {
    /// To the mailbox.
    #[default]
    Mail,
    /// To the terminal.
    Send,
    /// To the terminal or the mailbox.
    Soml,
    /// To the terminal and the mailbox.
    Saml,
}

/// One message to some recipients.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    /// Where failures are reported to; may be null.
    pub reverse_path: &'a ReversePath,
    /// Who it is for; settled by their place in this list.
    pub recipients: &'a [&'a Address],
    /// The exact size of the message (RFC 1870 §4), in octets: with CRLF line ends, or as it is when binary.
    pub octets: u64,
    /// The command to begin with.
    pub verb: Verb,
    /// What the body is.
    pub body: Body,
    /// BDAT may take the place of DATA where that saves a turn (RFC 3030).
    pub chunking: bool,
    /// Ask for SMTPUTF8 whatever the addresses are (RFC 6531).
    pub smtputf8: bool,
    /// A refused recipient cancels the transaction before any data.
    pub all_or_nothing: bool,
    /// The message is not asked for before MAIL and every RCPT have been answered: for what must be known
    /// first, as a checkpoint (RFC 1845).
    pub confirm_envelope: bool,
    /// Parameters for MAIL besides SIZE, BODY and SMTPUTF8, as they are.
    pub mail: &'a [Parameter],
    /// Parameters for each RCPT, as they are.
    pub rcpt: &'a [Parameter],
}

impl<'a> Transaction<'a> {
    /// A message of `octets` in lines, and nothing out of the ordinary: by BDAT where that saves a turn.
    #[must_use]
    pub fn new(reverse_path: &'a ReversePath, recipients: &'a [&'a Address], octets: u64) -> Self {
        Self {
            reverse_path,
            recipients,
            octets,
            verb: Verb::Mail,
            body: Body::EightBit,
            chunking: true,
            smtputf8: false,
            all_or_nothing: false,
            confirm_envelope: false,
            mail: &[],
            rcpt: &[],
        }
    }
}

/// What the server answered to DATA, or what of that is known where the message goes by BDAT: whether the
/// message is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a message that the server waits for must be sent"]
pub enum DataReply {
    /// The server waits for it: call [`Session::send_message`].
    GoAhead,
    /// No recipient was accepted, or DATA was refused; each has its verdict.
    Nothing,
    /// A recipient was refused and the transaction was all or nothing: those accepted are not settled.
    Cancelled,
}

/// A reply that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Due {
    Mail(TransactionId),
    Rcpt(TransactionId, usize),
    Data(TransactionId),
    /// To a chunk that is not the last.
    Chunk(TransactionId),
    /// To the last chunk: a reply for each recipient, who is accepted by the time that this is the front.
    Last(TransactionId),
    Delivery(TransactionId, usize),
    Reset,
    Quit,
}

impl Due {
    /// The transaction that it is part of.
    fn ticket(self) -> Option<TransactionId> {
        match self {
            Due::Mail(t)
            | Due::Rcpt(t, _)
            | Due::Data(t)
            | Due::Chunk(t)
            | Due::Last(t)
            | Due::Delivery(t, _) => Some(t),
            Due::Reset | Due::Quit => None,
        }
    }

    fn stage(self) -> Stage {
        match self {
            Due::Mail(_) | Due::Reset => Stage::Mail,
            Due::Rcpt(..) => Stage::Rcpt,
            Due::Data(_) | Due::Chunk(_) => Stage::Data,
            Due::Last(_) | Due::Delivery(..) => Stage::Delivery,
            Due::Quit => Stage::Quit,
        }
    }
}

/// Where a recipient of a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Accepted,
    Settled,
}

/// A transaction that has been begun and is not settled.
#[derive(Debug)]
struct Flight {
    ticket: TransactionId,
    recipients: Vec<State>,
    /// How many of them are not settled.
    unsettled: usize,
    /// How many replies to RCPT have come, of how many.
    replies: usize,
    asked: usize,
    first_accepted: Option<usize>,
    /// Others went before it in this session.
    follows: bool,
    /// MAIL has been answered.
    answered: bool,
    refused: bool,
    /// The form for BDAT; `None`: DATA.
    chunks: Option<Form>,
    /// The message goes in the flight of its envelope.
    pipelined_bdat: bool,
    confirm_envelope: bool,
    all_or_nothing: bool,
    /// The server waits for the message.
    go: bool,
    /// Where in the octets sent the message ends.
    end: Option<u64>,
}

impl Flight {
    /// The server takes the message for this recipient.
    fn accept(&mut self, recipient: usize) {
        if let Some(state) = self.recipients.get_mut(recipient).filter(|s| **s == State::Waiting) {
            *state = State::Accepted;
            self.first_accepted.get_or_insert(recipient);
        }
    }

    /// Every RCPT has been answered, and nobody was accepted.
    fn all_refused(&self) -> bool {
        self.replies == self.asked && self.first_accepted.is_none()
    }

    /// Nobody waits for a reply, but to chunks for nobody some servers send one.
    fn is_known(&self) -> bool {
        self.unsettled == 0 || (self.chunks.is_some() && self.all_refused())
    }

    /// The recipients that were accepted and wait for the reply to the message, in order.
    fn awaiting(&self) -> impl Iterator<Item = usize> + '_ {
        self.recipients.iter().enumerate().filter(|(_, s)| **s == State::Accepted).map(|(i, _)| i)
    }
}

/// A conversation with one server over `T`, which `O` listens to. It can be sent to another thread where both can.
pub struct Session<T, O = NoObserver> {
    transport: T,
    observer: O,
    reader: ReplyReader,
    extensions: Extensions,
    greeting: Reply,
    name: String,
    /// What a server may send back, and nobody is to see.
    hidden: Vec<Secret>,
    /// Commands and message octets not handed over yet; those before `out_at` are.
    out: Vec<u8>,
    out_at: usize,
    /// Octets handed over since the session began.
    sent: u64,
    /// Writing has failed; what the server had sent before is still read.
    write_error: Option<SessionError>,
    due: VecDeque<Due>,
    /// Replies whose place no mark has confirmed.
    held: Vec<(Due, Reply)>,
    /// What came where the reply to QUIT was due, and is none.
    surplus_reply: Option<Reply>,
    /// A transaction was begun behind a message's end, and the mark has not come.
    awaiting_resync: bool,
    flights: VecDeque<Flight>,
    settled: VecDeque<Settled>,
    begun: u64,
    /// A transaction was begun that no message ended: the next one needs RSET.
    dirty: bool,
    open: bool,
}

impl<T: Transport> Session<T> {
    /// Waits for the greeting and says LHLO with `name`, this host's own (RFC 2033 §4.1).
    ///
    /// # Errors
    ///
    /// [`SessionError`] where the server does not greet with 220, does not speak LMTP, or the connection fails.
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
        let mut session = Self {
            transport,
            observer,
            reader: ReplyReader::default(),
            extensions: Extensions::default(),
            greeting: Reply::new(220, EnhancedCode::new(2, 0, 0), ""),
            name: name.to_owned(),
            hidden: Vec::new(),
            out: Vec::new(),
            out_at: 0,
            sent: 0,
            write_error: None,
            due: VecDeque::new(),
            held: Vec::new(),
            surplus_reply: None,
            awaiting_resync: false,
            flights: VecDeque::new(),
            settled: VecDeque::new(),
            begun: 0,
            dirty: false,
            open: true,
        };
        session.greeting = session.greet()?;
        session.lhlo()?;
        Ok(session)
    }

    /// What the server offers.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Makes no use of the extension `keyword` (in capitals), as if the server did not offer it. LHLO, which
    /// [`starttls`](Session::starttls) and [`xclient`](Session::xclient) say again, asks anew.
    pub fn forgo(&mut self, keyword: &str) {
        self.extensions.remove(keyword);
    }

    /// The server's first reply.
    #[must_use]
    pub fn greeting(&self) -> &Reply {
        &self.greeting
    }

    /// The connection, to set its time limits.
    pub fn transport(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Whether another transaction can be begun: the session stands, and the server's limit on their
    /// number is not reached (RFC 9422, MAILMAX).
    #[must_use]
    pub fn takes_another(&self) -> bool {
        let limit = self.extensions.limits().mail_max.map_or(u64::MAX, |n| n as u64);
        self.open && self.begun < limit
    }

    /// Whether a transaction may be begun before the one before is settled, and QUIT sent.
    #[must_use]
    pub fn pipelining(&self) -> bool {
        self.extensions.pipelining()
    }

    /// The next recipient that has been settled.
    pub fn settled(&mut self) -> Option<Settled> {
        self.settled.pop_front()
    }

    /// Whether recipients of the transaction `ticket` wait for a reply.
    #[must_use]
    pub fn is_pending(&self, ticket: TransactionId) -> bool {
        self.flight(ticket).is_some_and(|f| f.unsettled > 0)
    }

    /// Begins a transaction: MAIL, RCPT for each recipient and DATA, in one group where PIPELINING is
    /// offered, else one at a time. Nothing need be written yet when this returns.
    ///
    /// Recipients for whom this server will not do (SIZE, SMTPUTF8) are settled without being sent.
    ///
    /// # Errors
    ///
    /// A [`SessionError`] ends the session; every recipient in flight is settled by then.
    pub fn begin(&mut self, transaction: &Transaction<'_>) -> Result<TransactionId, SessionError> {
        let ticket = self.next_id();
        self.begun += 1;
        self.flights.push_back(Flight {
            ticket,
            recipients: vec![State::Waiting; transaction.recipients.len()],
            replies: 0,
            asked: 0,
            first_accepted: None,
            unsettled: transaction.recipients.len(),
            follows: ticket.number() > 0,
            answered: false,
            refused: false,
            chunks: None,
            pipelined_bdat: false,
            confirm_envelope: transaction.confirm_envelope || transaction.all_or_nothing,
            all_or_nothing: transaction.all_or_nothing,
            go: false,
            end: None,
        });
        let done = self.try_begin(ticket, transaction);
        self.guard(done).map(|()| ticket)
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

    /// Sends the message of the last transaction begun, and its end. The last octets are not written
    /// before [`Session::begin`], [`Session::quit`] or [`Session::read_reply`] is called, so that what follows
    /// goes with them.
    ///
    /// # Errors
    ///
    /// As [`Session::begin`]. A message whose octets are not those counted before is cut short: the
    /// session ends, and nothing is delivered.
    pub fn send_message(&mut self, content: &mut dyn Content) -> Result<(), SessionError> {
        let done = self.try_send_message(content);
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
        if self.out_at < self.out.len() {
            self.transport.enter(Stage::Data);
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
        !self.due.is_empty()
    }

    /// Queues QUIT: no transaction follows.
    pub fn quit(&mut self) {
        // Where the server waits for a message, QUIT would be taken for it: the connection is dropped.
        let awaited = self.flights.iter().any(|f| f.go && f.end.is_none());
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

    /// Authenticates (RFC 4954). Neither the transcript nor a failure holds the password.
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
    /// A [`SessionError`] ends the session, also where the server refuses.
    pub fn xclient(&mut self, attributes: &[String]) -> Result<(), SessionError> {
        let done = self.try_xclient(attributes);
        self.guard(done)
    }

    /// Asks something outside a transaction and returns the answer, whatever it is: VRFY, EXPN, HELP, NOOP,
    /// RSET (RFC 5321 §4.1.1), ETRN (RFC 1985), and MAIL or RCPT when nothing is to be sent.
    ///
    /// `line` is sent as it is; a line that holds a line end is sent as far as that.
    ///
    /// # Errors
    ///
    /// A [`SessionError`] ends the session: 421, or no answer.
    pub fn ask(&mut self, line: &str) -> Result<Reply, SessionError> {
        let done = self.try_ask(line);
        self.guard(done)
    }

    // What follows returns failures as they are; the public methods settle what they leave behind.

    fn guard<R>(&mut self, result: Result<R, SessionError>) -> Result<R, SessionError> {
        if let Err(failure) = &result {
            self.end(failure);
        }
        result
    }

    /// Waits for a reply outside the queue.
    fn reply(&mut self, stage: Stage) -> Result<Reply, SessionError> {
        self.transport.enter(stage);
        loop {
            let found = self.reader.next_reply();
            if let Some(reply) = found.map_err(|m| self.malformed(stage, m))? {
                let reply = reply.without(&self.hidden);
                // With what SCRAM's server says of a password, it can be guessed at leisure.
                let redacted = (stage == Stage::Auth && reply.code() == 334).then(|| reply.redacted());
                self.observer.observe(Event::Received(redacted.as_ref().unwrap_or(&reply)));
                return Ok(reply);
            }
            self.exchange(stage, None)?;
        }
    }

    /// What is no reply may show a password as well, cut where it stands: a server may echo what it hears.
    fn malformed(&self, stage: Stage, what: Malformed) -> SessionError {
        let what = match what {
            Malformed::NotAReply(_) if stage == Stage::Auth => Malformed::NotAReply("[redacted]".into()),
            Malformed::NotAReply(line) => Malformed::NotAReply(reply::without(line, &self.hidden)),
            Malformed::MixedCodes(..) | Malformed::LineTooLong | Malformed::ReplyTooLong => what,
        };
        SessionError { stage, cause: Cause::Malformed(what) }
    }

    fn say(&mut self, line: &str) {
        self.observer.observe(Event::Sent(line));
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn command(&mut self, line: &str, due: Due) {
        self.say(line);
        self.due.push_back(due);
    }

    fn try_read_reply(&mut self) -> Result<(), SessionError> {
        let Some(due) = self.front() else { return self.flush() };
        let stage = due.stage();
        self.transport.enter(stage);
        match self.await_reply(stage) {
            // Where nothing but 221 marks the place of the replies before it, something else in its place moves them.
            Err(failure) if due == Due::Quit && !failure.is_doubt() && self.is_shifted() => {
                let Some(extra) = self.surplus_reply.clone() else { return Err(failure) };
                Err(SessionError { stage: Stage::Delivery, cause: Cause::OutOfPlace(extra) })
            }
            // Every reply has come, and whatever becomes of QUIT the outcomes stand.
            Err(failure) if due == Due::Quit && !failure.is_doubt() => {
                self.due.clear();
                self.awaiting_resync = false;
                self.release();
                Ok(())
            }
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
        while self.out_at < self.out.len() || self.write_error.is_some() {
            self.exchange_and_take(None)?;
        }
        Ok(())
    }

    /// One exchange, of what is queued or of octets in a file, and the replies that it brought; how much was
    /// written. `None`: nothing can be sent from that file.
    fn exchange_and_take(&mut self, stretch: Option<&Stretch<'_>>) -> Result<Option<usize>, SessionError> {
        let stage = self.due.front().map_or(Stage::Data, |d| d.stage());
        let mut written = Some(0);
        if !self.due.is_empty() || self.write_error.is_none() {
            written = self.exchange(stage, stretch)?;
        }
        while !self.due.is_empty() && self.take_reply(stage)? {
            self.transport.enter(self.due.front().map_or(Stage::Data, |d| d.stage()));
        }
        if self.due.is_empty() {
            self.check_for_early_reply()?;
        }
        Ok(written)
    }

    /// Nothing is owed: has the server answered a message that is still being sent, or has writing failed?
    fn check_for_early_reply(&mut self) -> Result<(), SessionError> {
        if let Some(failure) = self.write_error.clone() {
            return Err(self.heard_early(None, failure));
        }
        if self.unsent().is_some() && self.reader.unused().contains(&b'\n') {
            return Err(self.heard_early(None, SessionError { stage: Stage::Data, cause: Cause::Closed }));
        }
        Ok(())
    }

    /// What is queued is not to be sent, or has been.
    fn discard_output(&mut self) {
        self.out.clear();
        self.out_at = 0;
    }

    /// One exchange with the transport. A failure to write is not told at once: what the server said
    /// before it went away is read first.
    fn exchange(
        &mut self,
        stage: Stage,
        stretch: Option<&Stretch<'_>>,
    ) -> Result<Option<usize>, SessionError> {
        let mut input = [0; READ];
        if self.write_error.is_some() {
            self.discard_output();
        }
        let out = self.out.get(self.out_at..).unwrap_or_default();
        let stretch = stretch.filter(|_| self.write_error.is_none());
        let moved = match stretch {
            Some(stretch) => self.transport.exchange_file(stretch, &mut input),
            None => self.transport.exchange(out, &mut input).map(Some),
        };
        let moved = match moved {
            Ok(Some(moved)) => moved,
            Ok(None) => return Ok(None),
            Err(e) => {
                let writes = stretch.is_some() || !out.is_empty();
                return self.exchange_failed(stage, &e, writes).map(|()| Some(0));
            }
        };
        self.sent += moved.written as u64;
        if stretch.is_none() {
            self.out_at += moved.written;
        }
        if self.out_at == self.out.len() {
            self.discard_output();
        }
        self.reader.push(input.get(..moved.read).unwrap_or_default());
        // Even the beginning of an answer to the message must not come before its end.
        let answering = match self.due.front() {
            Some(Due::Delivery(ticket, _) | Due::Last(ticket)) => Some(*ticket),
            Some(Due::Mail(_) | Due::Rcpt(..) | Due::Data(_) | Due::Chunk(_) | Due::Reset | Due::Quit)
            | None => None,
        };
        if moved.read > 0 && answering.is_some() && self.unsent().map(|f| f.ticket) == answering {
            return Err(self.heard_early(None, SessionError { stage, cause: Cause::Closed }));
        }
        if moved.closed && moved.read == 0 {
            let closed = SessionError { stage, cause: Cause::Closed };
            let failure = self.write_error.take().unwrap_or(closed);
            return Err(self.heard_at_the_end(failure));
        }
        Ok(Some(moved.written))
    }

    fn exchange_failed(
        &mut self,
        stage: Stage,
        error: &std::io::Error,
        writes: bool,
    ) -> Result<(), SessionError> {
        let failure = SessionError::from_io(stage, error);
        let final_word = matches!(failure.cause, Cause::TimedOut(_) | Cause::Stopped);
        if final_word || self.write_error.is_some() || !writes {
            return Err(self.write_error.take().filter(|_| !final_word).unwrap_or(failure));
        }
        self.discard_output();
        self.write_error = Some(failure);
        Ok(())
    }

    /// The connection has closed while the message was being sent: what had been said before counts.
    fn heard_at_the_end(&mut self, failure: SessionError) -> SessionError {
        if self.unsent().is_some() { self.heard_early(None, failure) } else { failure }
    }

    fn take_pending(&mut self, stage: Stage) -> Result<(), SessionError> {
        let mut input = [0; READ];
        match self.transport.pending(&mut input) {
            Ok(moved) => {
                self.reader.push(input.get(..moved.read).unwrap_or_default());
                let closed = moved.closed && moved.read == 0;
                if closed { Err(SessionError { stage, cause: Cause::Closed }) } else { Ok(()) }
            }
            Err(e) => Err(SessionError::from_io(stage, &e)),
        }
    }
}

#[cfg(test)]
mod tests;
