//! An LMTP session (RFC 2033) with pipelining (RFC 2920): a queue of the replies that are owed.
//!
//! Every command puts into the queue what it is owed; a reply is taken for the front of the queue. With the
//! message's end, one reply for each accepted recipient is owed. A transaction may begin behind the end of
//! the one before, and QUIT stands behind the last; so waiting is for replies only, never for turns.
//!
//! ```text
//! open ──> begin ──> go ──> content ──┬──> begin (the next) ──> step … ──> go ──> …
//!            MAIL     354     … .     └──> quit ──> step … ──> close
//!            RCPT*
//!            DATA
//! ```
//!
//! What is guaranteed, whatever the server does:
//!
//! - Every recipient of every transaction is settled exactly once ([`Session::settled`]).
//! - `Delivered` needs a 2yz of its own, read after the message's end was handed over.
//! - A message is never ended that was cut short.
//! - A reply is not credited to a wrong recipient: where a server sends fewer replies than it owes, the reply
//!   that marks the place (354 to DATA, 221 to QUIT) comes early and shows it. Until that mark has come,
//!   what could be meant for another command is not credited.

use std::collections::{HashSet, VecDeque};

use super::content::Content;
use super::failure::{Cause, Failure};
use super::outcome::{Fate, Outcome, Settled};
use super::reply::ReplyReader;
use super::wire::{Encoder, Form};
use super::{Address, EnhancedCode, Extensions, Parameter, Reply, ReversePath, Stage, Transport};

/// How much of a message is read and written at a time, in octets.
const BLOCK: usize = 128 * 1024;
/// How many octets of commands are put together before they are written.
const GROUP: usize = 32 * 1024;

/// What is said and heard, for a transcript.
#[derive(Debug)]
pub enum Event<'a> {
    /// A command of ours, without its line end.
    Sent(&'a str),
    /// The message: how many octets on the wire.
    SentMessage(u64),
    /// A reply.
    Received(&'a Reply),
}

/// One message to some recipients.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    /// Where failures are reported to; may be null.
    pub reverse_path: &'a ReversePath,
    /// Who it is for; settled by their place in this list.
    pub recipients: &'a [&'a Address],
    /// The exact size of the message with CRLF line ends (RFC 1870 §4), in octets.
    pub octets: u64,
    /// Ask for SMTPUTF8 whatever the addresses are (RFC 6531).
    pub smtputf8: bool,
    /// A refused recipient cancels the transaction before any data.
    pub all_or_nothing: bool,
    /// Parameters for MAIL besides SIZE, BODY and SMTPUTF8.
    pub parameters: &'a [Parameter],
}

/// Whether the message is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a message that the server waits for must be sent"]
pub enum Go {
    /// The server waits for it: call [`Session::content`].
    Ahead,
    /// No recipient was accepted, or DATA was refused; each has its verdict.
    Nothing,
    /// A recipient was refused and the transaction was all or nothing: those accepted are not settled.
    Cancelled,
}

/// A reply that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Due {
    Mail(u64),
    Rcpt(u64, usize),
    Data(u64),
    Delivery(u64, usize),
    Reset,
    Quit,
}

impl Due {
    fn stage(self) -> Stage {
        match self {
            Due::Mail(_) | Due::Reset => Stage::Mail,
            Due::Rcpt(..) => Stage::Rcpt,
            Due::Data(_) => Stage::Data,
            Due::Delivery(..) => Stage::Delivery,
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
    ticket: u64,
    recipients: Vec<State>,
    /// How many of them are accepted, and how many not settled.
    accepted: usize,
    unsettled: usize,
    /// Others went before it in this session.
    follows: bool,
    /// MAIL has been answered.
    answered: bool,
    refused: bool,
    all_or_nothing: bool,
    /// The server waits for the message.
    go: bool,
    /// Where in the octets sent the message ends.
    end: Option<u64>,
}

impl Flight {
    /// The recipients that were accepted and wait for the reply to the message, in order.
    fn awaiting(&self) -> impl Iterator<Item = usize> + '_ {
        self.recipients.iter().enumerate().filter(|(_, s)| **s == State::Accepted).map(|(i, _)| i)
    }
}

/// A conversation with one server.
pub struct Session<T> {
    transport: T,
    observer: Box<dyn FnMut(Event<'_>)>,
    reader: ReplyReader,
    extensions: Extensions,
    greeting: Reply,
    /// Commands and message octets not handed over yet; those before `out_at` are.
    out: Vec<u8>,
    out_at: usize,
    /// Octets handed over since the session began.
    sent: u64,
    /// Writing has failed; what the server had sent before is still read.
    broken: Option<Failure>,
    due: VecDeque<Due>,
    /// Replies since the message's end whose place no mark has confirmed.
    unmarked: Vec<(Due, Reply)>,
    /// A transaction was begun behind a message's end, and the mark has not come.
    overlapping: bool,
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
    /// `observer` is told what is said and heard.
    ///
    /// # Errors
    ///
    /// [`Failure`] where the server does not greet with 220, does not speak LMTP, or the connection fails.
    pub fn open(
        transport: T,
        name: &str,
        observer: Box<dyn FnMut(Event<'_>)>,
    ) -> Result<Self, Failure> {
        let mut session = Self {
            transport,
            observer,
            reader: ReplyReader::default(),
            extensions: Extensions::default(),
            greeting: Reply::new(220, EnhancedCode::new(2, 0, 0), ""),
            out: Vec::new(),
            out_at: 0,
            sent: 0,
            broken: None,
            due: VecDeque::new(),
            unmarked: Vec::new(),
            overlapping: false,
            flights: VecDeque::new(),
            settled: VecDeque::new(),
            begun: 0,
            dirty: false,
            open: true,
        };
        session.greeting = session.greet()?;
        session.lhlo(name)?;
        Ok(session)
    }

    /// What the server offers.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
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
    pub fn owes(&self, ticket: u64) -> bool {
        self.flight(ticket).is_some_and(|f| f.unsettled > 0)
    }

    /// Begins a transaction: MAIL, RCPT for each recipient and DATA, in one group where PIPELINING is
    /// offered, else one at a time. Returns its ticket. Nothing need be written yet when this returns.
    ///
    /// Recipients for whom this server will not do (SIZE, SMTPUTF8) are settled without being sent.
    ///
    /// # Errors
    ///
    /// A [`Failure`] ends the session; every recipient in flight is settled by then.
    pub fn begin(&mut self, transaction: &Transaction<'_>) -> Result<u64, Failure> {
        let ticket = self.begun;
        self.begun += 1;
        self.flights.push_back(Flight {
            ticket,
            recipients: vec![State::Waiting; transaction.recipients.len()],
            accepted: 0,
            unsettled: transaction.recipients.len(),
            follows: ticket > 0,
            answered: false,
            refused: false,
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
    pub fn go(&mut self) -> Result<Go, Failure> {
        let go = self.try_go();
        self.guard(go)
    }

    /// Sends the message of the last transaction begun, and its end. The last octets are not written
    /// before [`Session::begin`], [`Session::quit`] or [`Session::step`] is called, so that what follows
    /// goes with them.
    ///
    /// # Errors
    ///
    /// As [`Session::begin`]. A message whose octets are not those counted before is cut short: the
    /// session ends, and nothing is delivered.
    pub fn content(&mut self, content: &mut dyn Content) -> Result<(), Failure> {
        let done = self.try_content(content);
        self.guard(done)
    }

    /// Writes what is queued and waits for the next reply that is owed.
    ///
    /// # Errors
    ///
    /// As [`Session::begin`].
    pub fn step(&mut self) -> Result<(), Failure> {
        let done = self.try_step();
        self.guard(done)
    }

    /// The ticket that the next transaction will have.
    #[must_use]
    pub fn upcoming(&self) -> u64 {
        self.begun
    }

    /// Whether a reply is owed, so that [`Session::step`] has something to wait for.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.due.is_empty()
    }

    /// Queues QUIT: no transaction follows.
    pub fn quit(&mut self) {
        if self.open {
            self.command("QUIT", Due::Quit);
            self.open = false;
        }
    }

    /// Says QUIT if that has not been said, and waits a moment for its reply. Whatever becomes of it, the
    /// outcomes stand. Every recipient is settled by then.
    pub fn close(&mut self) {
        self.quit();
        while self.waits() && self.step().is_ok() {}
        self.end(&Failure { stage: Stage::Delivery, cause: Cause::TooFewReplies });
    }

    // What follows returns failures as they are; the public methods settle what they leave behind.

    fn guard<R>(&mut self, result: Result<R, Failure>) -> Result<R, Failure> {
        if let Err(failure) = &result {
            self.end(failure);
        }
        result
    }

    fn greet(&mut self) -> Result<Reply, Failure> {
        let reply = self.reply(Stage::Greeting)?;
        match reply.code() {
            220 => Ok(reply),
            _ => Err(Failure { stage: Stage::Greeting, cause: Cause::NotWelcome(reply) }),
        }
    }

    fn lhlo(&mut self, name: &str) -> Result<(), Failure> {
        self.say(&format!("LHLO {name}"));
        let reply = self.reply(Stage::Lhlo)?;
        if reply.is_positive() {
            self.extensions = Extensions::parse(&reply);
            return Ok(());
        }
        let cause = if reply.code() == 421 {
            Cause::Closing(reply)
        } else {
            let smtp = self.greeting.text().to_ascii_uppercase().contains("SMTP");
            Cause::NotLmtp { reply, smtp }
        };
        Err(Failure { stage: Stage::Lhlo, cause })
    }

    /// Waits for a reply outside the queue.
    fn reply(&mut self, stage: Stage) -> Result<Reply, Failure> {
        self.transport.enter(stage);
        loop {
            let found = self.reader.next_reply();
            if let Some(reply) = found.map_err(|m| Failure { stage, cause: Cause::Malformed(m) })? {
                (self.observer)(Event::Received(&reply));
                return Ok(reply);
            }
            self.exchange(stage)?;
        }
    }

    fn say(&mut self, line: &str) {
        (self.observer)(Event::Sent(line));
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn command(&mut self, line: &str, due: Due) {
        self.say(line);
        self.due.push_back(due);
    }

    fn try_begin(&mut self, ticket: u64, transaction: &Transaction<'_>) -> Result<(), Failure> {
        self.check_in_step()?;
        self.refuse_unsuited(ticket, transaction);
        if !self.owes(ticket) {
            self.forget_settled();
            return Ok(());
        }
        self.overlapping |= self.due.iter().any(|d| matches!(d, Due::Delivery(..)));
        if self.dirty {
            self.command("RSET", Due::Reset);
        }
        self.dirty = true;
        let mail = self.mail_line(transaction);
        self.command(&mail, Due::Mail(ticket));
        self.in_turn()?;
        for (i, recipient) in transaction.recipients.iter().enumerate() {
            if self.flight(ticket).is_some_and(|f| f.recipients.get(i) == Some(&State::Waiting)) {
                self.command(&format!("RCPT TO:<{recipient}>"), Due::Rcpt(ticket, i));
                self.in_turn()?;
            }
        }
        let wanted = self.pipelining() || self.flight(ticket).is_some_and(|f| f.accepted > 0);
        if wanted && !transaction.all_or_nothing {
            self.command("DATA", Due::Data(ticket));
        }
        Ok(())
    }

    /// Octets that nobody asked for, before a command is sent that could take them for its answer.
    fn check_in_step(&mut self) -> Result<(), Failure> {
        if !self.due.is_empty() || self.begun == 1 {
            return Ok(());
        }
        self.take_pending(Stage::Mail)?;
        match self.reader.next_reply() {
            Ok(None) => Ok(()),
            Ok(Some(reply)) if reply.code() == 421 => {
                Err(Failure { stage: Stage::Mail, cause: Cause::Closing(reply) })
            }
            Ok(Some(reply)) => Err(Failure { stage: Stage::Mail, cause: Cause::OutOfPlace(reply) }),
            Err(m) => Err(Failure { stage: Stage::Mail, cause: Cause::Malformed(m) }),
        }
    }

    /// Settles the recipients for whom this server will not do.
    fn refuse_unsuited(&mut self, ticket: u64, transaction: &Transaction<'_>) {
        let utf8 = self.extensions.offers("SMTPUTF8");
        let everyone = if let Some(limit) = self.extensions.size_limit().filter(|&l| transaction.octets > l) {
            let text = format!("the message has {} octets and the server takes at most {limit}", transaction.octets);
            Some(Reply::new(552, EnhancedCode::new(5, 3, 4), &text))
        } else if !utf8 && (transaction.smtputf8 || !transaction.reverse_path.as_str().is_ascii()) {
            Some(no_smtputf8("the sender's address or --smtputf8 needs"))
        } else {
            None
        };
        for (i, recipient) in transaction.recipients.iter().enumerate() {
            let refusal = everyone.clone().or_else(|| {
                (!utf8 && !recipient.is_ascii()).then(|| no_smtputf8("this recipient's address needs"))
            });
            if let Some(reply) = refusal {
                self.settle(ticket, i, Fate::Known(Outcome::Unsuited(reply)));
            }
        }
    }

    /// MAIL with what the server offers: SIZE (RFC 1870 §6), BODY (RFC 6152 §2), SMTPUTF8 (RFC 6531 §3.4).
    fn mail_line(&self, transaction: &Transaction<'_>) -> String {
        let mut line = format!("MAIL FROM:<{}>", transaction.reverse_path);
        if self.extensions.offers("SIZE") {
            line.push_str(&format!(" SIZE={}", transaction.octets));
        }
        if self.extensions.offers("8BITMIME") {
            line.push_str(" BODY=8BITMIME");
        }
        let needs_utf8 = transaction.smtputf8
            || !transaction.reverse_path.as_str().is_ascii()
            || transaction.recipients.iter().any(|r| !r.is_ascii());
        if needs_utf8 && self.extensions.offers("SMTPUTF8") {
            line.push_str(" SMTPUTF8");
        }
        for parameter in transaction.parameters {
            line.push(' ');
            line.push_str(parameter.as_str());
        }
        line
    }

    /// Without PIPELINING, waits for what the last command is owed; else writes only full groups.
    fn in_turn(&mut self) -> Result<(), Failure> {
        if self.pipelining() {
            return if self.out.len() - self.out_at > GROUP { self.flush() } else { Ok(()) };
        }
        while !self.due.is_empty() {
            self.try_step()?;
        }
        Ok(())
    }

    fn try_go(&mut self) -> Result<Go, Failure> {
        let Some(ticket) = self.flights.back().map(|f| f.ticket) else { return Ok(Go::Nothing) };
        self.answers(ticket)?;
        let Some(flight) = self.flight(ticket) else { return Ok(Go::Nothing) };
        if flight.all_or_nothing && !flight.go {
            if flight.unsettled < flight.recipients.len() {
                self.flights.retain(|f| f.ticket != ticket);
                return Ok(Go::Cancelled);
            }
            self.command("DATA", Due::Data(ticket));
            self.answers(ticket)?;
        }
        let Some(flight) = self.flight(ticket) else { return Ok(Go::Nothing) };
        match (flight.go, flight.unsettled) {
            (true, 1..) => Ok(Go::Ahead),
            (true, 0) => {
                self.end_nothing(ticket);
                Ok(Go::Nothing)
            }
            (false, _) => Ok(Go::Nothing),
        }
    }

    /// Waits for the replies to the commands of `ticket`.
    fn answers(&mut self, ticket: u64) -> Result<(), Failure> {
        let owed = |d: &Due| matches!(d, Due::Mail(t) | Due::Rcpt(t, _) | Due::Data(t) if *t == ticket);
        while self.due.iter().any(owed) {
            self.try_step()?;
        }
        Ok(())
    }

    /// DATA was answered 354 though nobody was accepted: a lone dot ends it, no reply is owed for that, and
    /// since some servers send one all the same the session ends. Where MAIL was refused too, a server
    /// could take the dot for a message: the connection is dropped.
    fn end_nothing(&mut self, ticket: u64) {
        let refused = self.flight(ticket).is_none_or(|f| f.refused);
        if !refused {
            self.say(".");
            self.quit();
        }
        self.open = false;
        self.flights.retain(|f| f.ticket != ticket);
    }

    fn try_content(&mut self, content: &mut dyn Content) -> Result<(), Failure> {
        let Some(ticket) = self.flights.back().filter(|f| f.go).map(|f| f.ticket) else { return Ok(()) };
        let unreadable = |e: std::io::Error| Failure { stage: Stage::Data, cause: Cause::Unreadable(e.to_string()) };
        let counted = content.octets();
        let mut encoder = Encoder::new(Form::Data);
        let mut raw = vec![0; BLOCK.min(usize::try_from(counted).unwrap_or(BLOCK)).max(1)];
        content.rewind().map_err(unreadable)?;
        loop {
            let read = content.read(&mut raw).map_err(unreadable)?;
            if read == 0 {
                break;
            }
            self.write_block()?;
            encoder.encode(raw.get(..read).unwrap_or_default(), &mut self.out);
        }
        encoder.finish(&mut self.out);
        let found = encoder.octets();
        if found != counted {
            return Err(Failure { stage: Stage::Data, cause: Cause::Changed { counted, found } });
        }
        (self.observer)(Event::SentMessage(found));
        self.end_message(ticket)
    }

    /// Writes what has been encoded, listening for a server that answers before the message's end.
    fn write_block(&mut self) -> Result<(), Failure> {
        self.transport.enter(Stage::Data);
        self.flush()
    }

    /// The final dot: from here on the message counts as sent as soon as the dot is handed over.
    fn end_message(&mut self, ticket: u64) -> Result<(), Failure> {
        self.transport.enter(Stage::Data);
        self.take_pending(Stage::Data)?;
        if self.reader.has_input() {
            return Err(self.heard_early(None, Failure { stage: Stage::Data, cause: Cause::Closed }));
        }
        self.say(".");
        let end = self.sent + (self.out.len() - self.out_at) as u64;
        self.dirty = false;
        let Some(flight) = self.flights.iter_mut().find(|f| f.ticket == ticket) else { return Ok(()) };
        flight.end = Some(end);
        self.due.extend(flight.awaiting().map(|i| Due::Delivery(ticket, i)));
        Ok(())
    }

    fn try_step(&mut self) -> Result<(), Failure> {
        let Some(due) = self.due.front().copied() else { return self.flush() };
        let stage = due.stage();
        // Where outcomes hang on it, the reply to QUIT is worth more than a moment.
        self.transport.enter(if due == Due::Quit && self.overlapping { Stage::Query } else { stage });
        while !self.take_reply(stage)? {
            self.exchange(stage)?;
        }
        Ok(())
    }

    /// Writes all that is queued, taking replies that come meanwhile: a server may not read on before its
    /// replies are read (RFC 2920 §3.1).
    fn flush(&mut self) -> Result<(), Failure> {
        while self.out_at < self.out.len() {
            let stage = self.due.front().map_or(Stage::Data, |d| d.stage());
            self.exchange(stage)?;
            while !self.due.is_empty() && self.take_reply(stage)? {
                self.transport.enter(self.due.front().map_or(Stage::Data, |d| d.stage()));
            }
            if self.due.is_empty() && self.flights.back().is_some_and(|f| f.go) {
                self.listen()?;
            }
        }
        Ok(())
    }

    /// While the message is being sent: has the server answered, or has writing failed?
    fn listen(&mut self) -> Result<(), Failure> {
        if let Some(failure) = self.broken.clone() {
            return Err(self.heard_early(None, failure));
        }
        if self.reader.unused().contains(&b'\n') {
            return Err(self.heard_early(None, Failure { stage: Stage::Data, cause: Cause::Closed }));
        }
        Ok(())
    }

    /// One exchange with the transport. A failure to write is not told at once: what the server said
    /// before it went away is read first.
    fn exchange(&mut self, stage: Stage) -> Result<(), Failure> {
        let mut input = [0; 16 * 1024];
        let out = self.out.get(self.out_at..).unwrap_or_default();
        let moved = match self.transport.exchange(out, &mut input) {
            Ok(moved) => moved,
            Err(e) => return self.exchange_failed(stage, &e),
        };
        self.sent += moved.written as u64;
        self.out_at += moved.written;
        if self.out_at == self.out.len() {
            self.out.clear();
            self.out_at = 0;
        }
        self.reader.push(input.get(..moved.read).unwrap_or_default());
        if moved.closed && moved.read == 0 {
            let closed = Failure { stage, cause: Cause::Closed };
            return Err(self.broken.take().unwrap_or(closed)).or_else(|f| self.heard_at_the_end(f));
        }
        Ok(())
    }

    fn exchange_failed(&mut self, stage: Stage, error: &std::io::Error) -> Result<(), Failure> {
        let failure = Failure::from_io(stage, error);
        let final_word = matches!(failure.cause, Cause::TimedOut(_) | Cause::Stopped);
        if final_word || self.broken.is_some() || self.out.is_empty() {
            return Err(self.broken.take().filter(|_| !final_word).unwrap_or(failure));
        }
        self.out.clear();
        self.out_at = 0;
        self.broken = Some(failure);
        Ok(())
    }

    /// The connection has closed while the message was being sent: what had been said before counts.
    fn heard_at_the_end(&mut self, failure: Failure) -> Result<(), Failure> {
        Err(if self.unsent().is_some() { self.heard_early(None, failure) } else { failure })
    }

    fn take_pending(&mut self, stage: Stage) -> Result<(), Failure> {
        let mut input = [0; 4 * 1024];
        match self.transport.pending(&mut input) {
            Ok(moved) => {
                self.reader.push(input.get(..moved.read).unwrap_or_default());
                let closed = moved.closed && moved.read == 0;
                if closed { Err(Failure { stage, cause: Cause::Closed }) } else { Ok(()) }
            }
            Err(e) => Err(Failure::from_io(stage, &e)),
        }
    }

    /// The transaction whose message the server waits for and does not have whole.
    fn unsent(&self) -> Option<&Flight> {
        self.flights.iter().find(|f| f.go && f.end.is_none_or(|end| self.sent < end))
    }

    /// The server answered before the message's end was sent; `reply` is what it said, if that has been
    /// read. Its refusals are verdicts, one for each recipient in turn, the last standing for those that
    /// got none; an acceptance counts for nothing. Either way the session is over, since the message's end
    /// can no longer be told from its middle.
    fn heard_early(&mut self, mut reply: Option<Reply>, failure: Failure) -> Failure {
        let Some(flight) = self.unsent() else { return failure };
        let (ticket, awaiting) = (flight.ticket, flight.awaiting().collect::<Vec<_>>());
        let mut last: Option<Reply> = None;
        for recipient in awaiting {
            let heard = reply.take().or_else(|| self.early_reply());
            let Some(reply) = heard.or_else(|| last.clone().filter(Reply::is_negative)) else { break };
            if reply.code() == 421 {
                return Failure { stage: Stage::Data, cause: Cause::Closing(reply) };
            }
            if reply.is_negative() {
                let outcome = Outcome::Refused { stage: Stage::Data, reply: reply.clone() };
                self.settle(ticket, recipient, Fate::Known(outcome));
            }
            last = Some(reply);
        }
        last.map_or(failure, |reply| Failure { stage: Stage::Data, cause: Cause::OutOfPlace(reply) })
    }

    /// A reply that is there or comes within the moment that QUIT is given.
    fn early_reply(&mut self) -> Option<Reply> {
        self.out.clear();
        self.out_at = 0;
        self.transport.enter(Stage::Quit);
        loop {
            if let Some(reply) = self.reader.next_reply().ok()? {
                (self.observer)(Event::Received(&reply));
                return Some(reply);
            }
            let mut input = [0; 4 * 1024];
            let moved = self.transport.exchange(&[], &mut input).ok().filter(|m| m.read > 0)?;
            self.reader.push(input.get(..moved.read)?);
        }
    }

    /// Takes a reply for the front of the queue, if one is there.
    fn take_reply(&mut self, stage: Stage) -> Result<bool, Failure> {
        let Some(due) = self.due.front().copied() else { return Ok(false) };
        let found = self.reader.next_reply().map_err(|m| Failure { stage, cause: Cause::Malformed(m) })?;
        let Some(reply) = found else { return Ok(false) };
        (self.observer)(Event::Received(&reply));
        if matches!(due, Due::Delivery(ticket, _) if self.unsent().is_some_and(|f| f.ticket == ticket)) {
            return Err(self.heard_early(Some(reply), Failure { stage, cause: Cause::Closed }));
        }
        let stage = due.stage();
        match (due, reply.code()) {
            (Due::Quit, 221) | (Due::Data(_), 354) => self.mark(due, reply)?,
            (Due::Quit, _) => drop(self.due.pop_front()),
            (_, 421) => return Err(Failure { stage, cause: Cause::Closing(reply) }),
            (_, 221 | 354) => self.realign(stage, reply)?,
            _ => self.receive(due, reply)?,
        }
        Ok(true)
    }

    /// A reply whose place nothing contradicts. It is credited at once unless a reply missing before it
    /// would make it another command's.
    fn receive(&mut self, due: Due, reply: Reply) -> Result<(), Failure> {
        let fits = match due {
            Due::Mail(_) | Due::Rcpt(..) | Due::Delivery(..) => reply.is_positive() || reply.is_negative(),
            Due::Data(_) => reply.is_negative(),
            Due::Reset => reply.is_positive(),
            Due::Quit => true,
        };
        if !fits {
            return Err(Failure { stage: due.stage(), cause: Cause::OutOfPlace(reply) });
        }
        self.due.pop_front();
        if let Due::Mail(ticket) = due
            && let Some(flight) = self.flights.iter_mut().find(|f| f.ticket == ticket)
        {
            flight.answered = true;
        }
        let first = matches!(due, Due::Delivery(..)) && self.unmarked.is_empty();
        if !self.overlapping || first {
            self.credit(due, &reply);
        }
        if self.overlapping || matches!(due, Due::Delivery(..)) {
            self.unmarked.push((due, reply));
        }
        if self.due.is_empty() && !self.overlapping {
            self.unmarked.clear();
        }
        self.forget_settled();
        Ok(())
    }

    /// The reply that marks its place has come in its place: all before it stand where they are.
    fn mark(&mut self, due: Due, reply: Reply) -> Result<(), Failure> {
        self.due.pop_front();
        for (due, reply) in std::mem::take(&mut self.unmarked) {
            self.credit(due, &reply);
        }
        self.overlapping = false;
        self.credit(due, &reply);
        self.forget_settled();
        Ok(())
    }

    /// The reply that marks its place has come too early: the server answered the message with fewer
    /// replies than it owes. A refusal that came last stands for the rest too; an acceptance stands for
    /// its own recipient only, and the rest is uncertain. What was taken for theirs moves on.
    fn realign(&mut self, stage: Stage, reply: Reply) -> Result<(), Failure> {
        let out_of_place = Failure { stage, cause: Cause::OutOfPlace(reply.clone()) };
        let is_mark = |d: &Due| if reply.code() == 354 { matches!(d, Due::Data(_)) } else { *d == Due::Quit };
        let Some(missing) = self.due.iter().position(is_mark) else { return Err(out_of_place) };
        let unmarked = std::mem::take(&mut self.unmarked);
        let (mut places, replies): (Vec<Due>, Vec<Reply>) = unmarked.into_iter().unzip();
        places.extend(self.due.drain(..missing));
        let owed = places.iter().take_while(|d| matches!(d, Due::Delivery(..))).count();
        let others = places.iter().skip(owed).any(|d| matches!(d, Due::Delivery(..)));
        let given = owed.saturating_sub(missing);
        let Some(last) = given.checked_sub(1).and_then(|i| replies.get(i)).filter(|_| !others) else {
            return Err(out_of_place);
        };
        let unanswered: Vec<Due> = places.drain(given..owed).collect();
        let (stands, last) = (last.is_negative(), last.clone());
        for (place, reply) in places.iter().zip(&replies) {
            if matches!(place, Due::Data(_)) || (matches!(place, Due::Reset) && !reply.is_positive()) {
                return Err(out_of_place);
            }
            self.credit(*place, reply);
        }
        for due in unanswered {
            let Due::Delivery(ticket, recipient) = due else { continue };
            let fate = if stands {
                Outcome::Refused { stage: Stage::Delivery, reply: last.clone() }
            } else {
                Outcome::Uncertain(Failure { stage: Stage::Delivery, cause: Cause::TooFewReplies })
            };
            self.settle(ticket, recipient, Fate::Known(fate));
        }
        let Some(due) = self.due.front().copied() else { return Err(out_of_place) };
        self.mark(due, reply)
    }

    /// What `reply` means for the command at `due`. Recipients that are settled stay as they are.
    fn credit(&mut self, due: Due, reply: &Reply) {
        match due {
            Due::Mail(ticket) if reply.is_negative() => {
                self.each_unsettled(ticket, Stage::Mail, reply);
                self.flights.iter_mut().filter(|f| f.ticket == ticket).for_each(|f| f.refused = true);
            }
            Due::Rcpt(ticket, recipient) => self.credit_rcpt(ticket, recipient, reply),
            Due::Data(ticket) if reply.is_negative() => self.each_unsettled(ticket, Stage::Data, reply),
            Due::Data(ticket) => {
                self.flights.iter_mut().filter(|f| f.ticket == ticket).for_each(|f| f.go = true);
            }
            Due::Delivery(ticket, recipient) => {
                let outcome = if reply.is_positive() {
                    Outcome::Delivered(reply.clone())
                } else {
                    Outcome::Refused { stage: Stage::Delivery, reply: reply.clone() }
                };
                self.settle(ticket, recipient, Fate::Known(outcome));
            }
            Due::Mail(_) | Due::Reset | Due::Quit => {}
        }
    }

    fn credit_rcpt(&mut self, ticket: u64, recipient: usize, reply: &Reply) {
        let Some(flight) = self.flights.iter_mut().find(|f| f.ticket == ticket) else { return };
        let full = reply.code() == 452 || (reply.code() == 552 && reply.enhanced().is_none());
        if reply.is_negative() && full && flight.accepted > 0 {
            self.settle(ticket, recipient, Fate::Again(reply.clone()));
        } else if reply.is_negative() {
            let outcome = Outcome::Refused { stage: Stage::Rcpt, reply: reply.clone() };
            self.settle(ticket, recipient, Fate::Known(outcome));
        } else if let Some(state) = flight.recipients.get_mut(recipient).filter(|s| **s == State::Waiting) {
            *state = State::Accepted;
            flight.accepted += 1;
        }
    }

    fn each_unsettled(&mut self, ticket: u64, stage: Stage, reply: &Reply) {
        let Some(recipients) = self.flight(ticket).map(|f| f.recipients.len()) else { return };
        for recipient in 0..recipients {
            let outcome = Outcome::Refused { stage, reply: reply.clone() };
            self.settle(ticket, recipient, Fate::Known(outcome));
        }
    }

    /// Settles a recipient, once.
    fn settle(&mut self, ticket: u64, recipient: usize, fate: Fate) {
        let Some(flight) = self.flights.iter_mut().find(|f| f.ticket == ticket) else { return };
        if let Some(state) = flight.recipients.get_mut(recipient).filter(|s| **s != State::Settled) {
            *state = State::Settled;
            flight.unsettled -= 1;
            self.settled.push_back(Settled { ticket, recipient, fate });
        }
    }

    fn flight(&self, ticket: u64) -> Option<&Flight> {
        self.flights.iter().find(|f| f.ticket == ticket)
    }

    /// Transactions whose recipients are all settled and to which no reply is owed need no memory. The
    /// last one begun is kept for [`Session::go`].
    fn forget_settled(&mut self) {
        let newest = self.flights.back().map(|f| f.ticket);
        self.flights.retain(|f| Some(f.ticket) == newest || f.unsettled > 0);
    }

    /// The session is over: whoever has no verdict is settled by how far things had come.
    fn end(&mut self, failure: &Failure) {
        self.open = false;
        self.due.clear();
        let unmarked: HashSet<Due> = self.unmarked.drain(..).map(|(due, _)| due).collect();
        for flight in std::mem::take(&mut self.flights) {
            let ended = flight.end.is_some_and(|end| self.sent >= end);
            for (recipient, state) in flight.recipients.iter().enumerate() {
                let had_reply = || unmarked.contains(&Due::Delivery(flight.ticket, recipient));
                let fate = match state {
                    State::Settled => continue,
                    State::Accepted if ended && matches!(failure.cause, Cause::Closing(_)) && !had_reply() => {
                        Fate::Known(Outcome::Unanswered(failure.clone()))
                    }
                    State::Accepted if ended => Fate::Known(Outcome::Uncertain(failure.clone())),
                    State::Waiting | State::Accepted if flight.follows && !flight.answered => {
                        Fate::Untried(failure.clone())
                    }
                    State::Waiting | State::Accepted => Fate::Known(Outcome::Unanswered(failure.clone())),
                };
                self.settled.push_back(Settled { ticket: flight.ticket, recipient, fate });
            }
        }
    }
}

fn no_smtputf8(who: &str) -> Reply {
    let text = format!("{who} SMTPUTF8, which the server does not offer");
    Reply::new(553, EnhancedCode::new(5, 6, 7), &text)
}
