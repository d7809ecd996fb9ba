//! The one order of calls that sends messages over a session: begin, wait for DATA's reply, send, read replies.
//!
//! A transaction is begun behind the end of the one before where the session allows it, so that a further
//! message costs no turn of its own; QUIT stands behind the last. What is queued is written when something is
//! waited for, so a message's end, and what is to go with it, are one write. Whoever has other work first, such
//! as reading the next message, calls [`hand_over`](Pipeline::hand_over) before it. [`prepare`](Pipeline::prepare) does
//! so too, and may be left out.
//!
//! ```text
//! room ──> begin ──> prepare ──> next_earlier_reply* ──> send ──┬──> room ──> begin (the next) …
//!                                                               ├──> hand_over (other work) ──> room …
//!                                                               └──> quit ──> next_reply* ──> close
//! ```
//!
//! [`submit`](Pipeline::submit) and [`finish`](Pipeline::finish) are these steps in one call, for callers that
//! look at the results when all is over. Whichever is used: [`result`](Pipeline::result) hands out each recipient
//! of each transaction once. [`Settlement::Again`](super::Settlement::Again) (the server takes no more recipients
//! in one transaction) is to be submitted in a further transaction,
//! [`Settlement::Untried`](super::Settlement::Untried) over a new session.
//!
//! Nothing is retried here, and nothing here knows a clock: between
//! [`next_earlier_reply`](Pipeline::next_earlier_reply) and [`send`](Pipeline::send) is the place to set a
//! message's own time limit on the [`transport`](Pipeline::transport).

use super::session::{NoObserver, Observer};
use super::{Content, DataReply, Session, SessionError, Settled, Transaction, TransactionId, Transport};

/// A session that messages are sent over, one behind the other.
pub struct Pipeline<T, O = NoObserver> {
    session: Session<T, O>,
    /// The transaction begun last.
    last: Option<TransactionId>,
    /// The one before it.
    earlier: Option<TransactionId>,
    /// The last one's message has been sent.
    sent: bool,
}

/// Whether a transaction can be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a transaction is begun only where there is room"]
pub enum Room {
    /// Now: [`Pipeline::begin`] may be called.
    Free,
    /// Not before the replies that are owed have come: call [`Pipeline::next_reply`], and ask again.
    Busy,
    /// No more: the session is to be [`close`](Pipeline::close)d, and the rest needs a new one.
    Closed,
}

impl<T: Transport, O: Observer> Pipeline<T, O> {
    /// Sends over `session`, in which no transaction has been begun.
    #[must_use]
    pub fn new(session: Session<T, O>) -> Self {
        Self { session, last: None, earlier: None, sent: false }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Session<T, O> {
        &self.session
    }

    /// The connection, to set its time limits.
    pub fn transport(&mut self) -> &mut T {
        self.session.transport()
    }

    /// Whether recipients wait for a reply.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.is_owed(self.earlier) || self.is_owed(self.last)
    }

    /// Whether, and when, another transaction can be begun. Where nothing may stand behind what is under way,
    /// this queues QUIT behind it: its reply is the mark that the replies before it need. By BDAT this waits for
    /// the replies to RCPT of the message sent last.
    ///
    /// # Errors
    ///
    /// A [`SessionError`] ends the session; everybody is settled then.
    pub fn room(&mut self) -> Result<Room, SessionError> {
        // Behind a message, its replies need a mark; behind a transaction without one, nothing is in doubt.
        if self.sent && self.session.has_pending_replies() {
            if self.session.may_follow()? {
                return Ok(Room::Free);
            }
            if self.session.pipelining() {
                self.session.quit();
            }
            if self.is_pending() {
                return Ok(Room::Busy);
            }
        }
        Ok(if self.session.takes_another() { Room::Free } else { Room::Closed })
    }

    /// What [`begin`](Self::begin) will return next: its recipients may be settled before it returns.
    #[must_use]
    pub fn next_id(&self) -> TransactionId {
        self.session.next_id()
    }

    /// Begins a transaction, behind the message that was sent last; for which there must be [`room`](Self::room).
    /// Nothing need be written yet when this returns.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::room`]; this transaction's recipients are settled too.
    pub fn begin(&mut self, transaction: &Transaction<'_>) -> Result<TransactionId, SessionError> {
        self.earlier = self.last.take();
        self.sent = false;
        self.last = Some(self.session.next_id());
        self.session.begin(transaction)
    }

    /// Writes what is queued, and encodes the message of the transaction begun last while the server looks at its
    /// envelope, so that [`send`](Self::send), which is to be given the same, need not. A long message is left to be
    /// encoded as it is sent, and so is what goes by BDAT.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::room`].
    pub fn prepare(&mut self, content: &mut dyn Content) -> Result<(), SessionError> {
        self.session.prepare(content)
    }

    /// Waits for a reply that the transaction before the last one is owed. `false`: that one is settled, and
    /// what comes next concerns the last one.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::room`].
    pub fn next_earlier_reply(&mut self) -> Result<bool, SessionError> {
        self.step_while(self.is_owed(self.earlier))
    }

    /// Waits until it is known whether the server waits for the message of the transaction begun last;
    /// [`send`](Self::send) does that too.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::room`].
    pub fn await_data_reply(&mut self) -> Result<DataReply, SessionError> {
        while self.next_earlier_reply()? {}
        self.session.await_data_reply()
    }

    /// Sends the message of the transaction begun last, once the server waits for it. Its end is not written
    /// before more is called. [`DataReply::Nothing`] also where it was not sent to its end, since every recipient was
    /// refused meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::room`]. A message that turns out not to be what was counted is cut short, never ended.
    pub fn send(&mut self, content: &mut dyn Content) -> Result<DataReply, SessionError> {
        let reply = self.await_data_reply()?;
        if reply != DataReply::GoAhead {
            return Ok(reply);
        }
        self.sent = self.session.send_message(content)?;
        Ok(if self.sent { reply } else { DataReply::Nothing })
    }

    /// Writes what is queued, such as the last message's end, without waiting for replies: before anything that
    /// takes time. The next transaction may still be begun behind it.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::room`].
    pub fn hand_over(&mut self) -> Result<(), SessionError> {
        self.session.hand_over()
    }

    /// Waits for a reply that a recipient depends on. `false`: none does, all are settled.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::room`].
    pub fn next_reply(&mut self) -> Result<bool, SessionError> {
        self.step_while(self.is_pending())
    }

    /// Queues QUIT: no transaction follows. Without PIPELINING it is said by [`close`](Self::close), in its turn.
    pub fn quit(&mut self) {
        if self.session.pipelining() {
            self.session.quit();
        }
    }

    /// Says QUIT if that has not been said, and waits for what is owed, but for QUIT's reply only a moment.
    /// Every recipient is settled by then.
    pub fn close(&mut self) {
        self.session.close();
    }

    /// The next recipient that has been settled.
    pub fn result(&mut self) -> Option<Settled> {
        self.session.settled()
    }

    /// Sends one message: waits for room, begins and sends. The transaction's number; `None`: this session takes
    /// no more, and nothing was begun.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::room`].
    pub fn submit(
        &mut self,
        transaction: &Transaction<'_>,
        content: &mut dyn Content,
    ) -> Result<Option<TransactionId>, SessionError> {
        loop {
            match self.room()? {
                Room::Free => break,
                Room::Busy => drop(self.next_reply()?),
                Room::Closed => return Ok(None),
            }
        }
        let id = self.begin(transaction)?;
        self.prepare(content)?;
        // Those whose message was not wanted have their verdicts among the results.
        self.send(content).map(|_| Some(id))
    }

    /// Ends the session in good order. Every recipient is settled by then.
    pub fn finish(&mut self) {
        self.quit();
        self.close();
    }

    fn is_owed(&self, id: Option<TransactionId>) -> bool {
        id.is_some_and(|id| self.session.is_pending(id))
    }

    fn step_while(&mut self, pending: bool) -> Result<bool, SessionError> {
        let waits = pending && self.session.has_pending_replies();
        if waits {
            self.session.read_reply()?;
        }
        Ok(waits)
    }
}
