//! Crediting: which recipient a reply is for, and what it means.

use std::collections::HashSet;

use super::super::{
    Cause, EnhancedCode, Outcome, Reply, SessionError, Settled, Settlement, Stage, TransactionId, Transport,
};
use super::due::Realigned;
use super::transaction_state::{MailReply, Phase, Precondition, Recipient, Standing, TransactionState};
use super::{Due, Observer, Session};

/// To MAIL with TRANSID: a checkpoint to go on from (RFC 1845 §5).
const RESTART: u16 = 355;

impl<T: Transport, O: Observer> Session<T, O> {
    /// Takes a reply for the front of the queue, if one is there.
    pub(super) fn take_reply(&mut self, stage: Stage) -> Result<bool, SessionError> {
        let Some(due) = self.front() else { return Ok(false) };
        let Some(reply) = self.next_reply(stage)? else { return Ok(false) };
        if matches!(due, Due::Delivery(id, _) if self.unsent().is_some_and(|t| t.id == id)) {
            return Err(self.heard_early(Some(reply), SessionError { stage, cause: Cause::Closed }));
        }
        let stage = due.stage();
        match (due, reply.code()) {
            (Due::Quit, 221 | 421) if self.owed.surplus_reply.is_none() => self.mark(due, reply),
            (Due::Quit, _) => self.surplus(reply)?,
            (_, 421) => return Err(SessionError { stage, cause: Cause::Closing(reply) }),
            // Said to nothing: in turn, a command has no reply before it is handed over.
            _ if !self.pipelining() && (self.link.write_error.is_some() || self.link.queued() > 0) => {
                let early = SessionError { stage, cause: Cause::OutOfPlace(reply) };
                return Err(self.link.write_error.take().unwrap_or(early));
            }
            (Due::Data(_), 354) => self.mark(due, reply),
            (_, 221 | 354) => self.realign(stage, &reply)?,
            // One too many behind a message. While all are 2yz, nobody is in doubt for it: 354 is still to come.
            (Due::Data(_), 200..=299) if self.owed.awaiting_resync && self.owed.all_positive() => {
                self.owed.surplus_reply.get_or_insert(reply);
            }
            _ => self.receive(due, reply)?,
        }
        Ok(true)
    }

    /// The reply that is due next.
    pub(super) fn front(&mut self) -> Option<Due> {
        while let Some(Due::Last(id)) = self.owed.front() {
            let awaiting = self.progress(id).map(|t| t.awaiting().collect()).unwrap_or_default();
            self.owed.expand(id, awaiting);
        }
        self.owed.front()
    }

    /// A reply whose place nothing contradicts. One missing or too many before it would make it another command's:
    /// it is held until the reply that marks its place has come.
    fn receive(&mut self, due: Due, reply: Reply) -> Result<(), SessionError> {
        let restarts = |id: TransactionId| {
            // Nobody is told to go on from where nobody asked.
            reply.code() == RESTART && self.progress(id).is_some_and(|t| t.precondition != Precondition::None)
        };
        if !due.takes(&reply) && !matches!(due, Due::Mail(id) if restarts(id)) {
            return Err(SessionError { stage: due.stage(), cause: Cause::OutOfPlace(reply) });
        }
        if let Some(progress) = due.id().and_then(|id| self.progress_mut(id)) {
            progress.hear(due, &reply);
        }
        if self.is_first(due) && !self.owed.awaiting_resync {
            self.credit(due, &reply);
        }
        let decides = matches!(due, Due::Data(_)) || (matches!(due, Due::Chunk(_)) && reply.is_negative());
        self.owed.hold(due, reply);
        if !self.owed.awaiting_resync && (decides || self.owed.is_empty() || !self.pipelining()) {
            self.release();
        }
        self.forget_settled();
        Ok(())
    }

    /// Whether this is the first reply to a message that was sent by DATA: where only QUIT stands behind it, it
    /// can be nobody else's.
    fn is_first(&self, due: Due) -> bool {
        let Due::Delivery(id, _) = due else { return false };
        let by_data = self.progress(id).is_some_and(|t| !t.in_chunks());
        by_data && !self.owed.held.iter().any(|(d, _)| d.is_delivery())
    }

    /// The reply that marks its place has come in its place: all before it stand where they are.
    fn mark(&mut self, due: Due, reply: Reply) {
        self.owed.awaiting_resync = false;
        self.owed.surplus_reply = None;
        self.transactions.iter_mut().for_each(TransactionState::confirm);
        self.owed.hold(due, reply);
        self.release();
        if let Due::Data(id) = due
            && !self.is_pending(id)
        {
            self.end_nothing(id);
        }
        self.forget_settled();
    }

    /// Credits what was held.
    fn release(&mut self) {
        for (due, reply) in std::mem::take(&mut self.owed.held) {
            self.credit(due, &reply);
        }
    }

    /// Where the reply to QUIT is due, something else came. It may be an odd reply to QUIT, and then nothing
    /// follows; or a reply too many, and then 221 follows.
    ///
    /// ```text
    /// owed:   a b QUIT
    /// said:   250 250 500            and the server closes: an odd reply to QUIT. a and b are delivered.
    /// said:   250 250 250 221        one too many, and all are 2yz: a and b are delivered, whichever it was.
    /// said:   250 250 452 221        a is delivered, since the first is its own. Whether b had the 250 that came
    ///                                second or the 452, nobody knows.
    /// ```
    ///
    /// To chunks for nobody some servers send a reply that is not owed.
    fn surplus(&mut self, reply: Reply) -> Result<(), SessionError> {
        let ends = matches!(reply.code(), 221 | 421);
        let first = self.owed.surplus_reply.get_or_insert_with(|| reply.clone()).clone();
        let proven = ends || first != reply;
        let in_doubt = !self.owed.all_positive() || !(ends || reply.is_positive());
        if proven && in_doubt && !self.transactions.iter().all(TransactionState::is_known) {
            return Err(SessionError { stage: Stage::Delivery, cause: Cause::OutOfPlace(first) });
        }
        if ends {
            self.mark(Due::Quit, reply);
        }
        Ok(())
    }

    /// No 221 comes to QUIT. Every reply that was owed has come, and whatever becomes of QUIT the outcomes stand;
    /// but not where something else came in its place that may have moved them, and no refusal by a session that
    /// had carried a message before.
    pub(super) fn end_at_quit(&mut self) -> Result<(), SessionError> {
        let unknown = |t: &TransactionState| !t.is_known() && (t.in_chunks() || t.may_have_moved());
        if let Some(surplus) = self.owed.surplus_reply.clone()
            && !self.owed.all_positive()
            && self.transactions.iter().any(unknown)
        {
            return Err(SessionError { stage: Stage::Delivery, cause: Cause::OutOfPlace(surplus) });
        }
        self.owed.clear();
        for (due, reply) in std::mem::take(&mut self.owed.held) {
            let moved =
                due.id().and_then(|id| self.progress(id)).is_some_and(TransactionState::may_have_moved);
            if reply.is_positive() || !moved {
                self.credit(due, &reply);
            }
        }
        Ok(())
    }

    /// The reply that marks its place has come too early: the server answers the message with fewer
    /// replies than it owes ([`Owed::realign`](super::due::Owed::realign)). A refusal that came last stands for the
    /// rest too; an acceptance stands for its own recipient only, and the rest is uncertain.
    ///
    /// ```text
    /// owed: a b c QUIT    said: 552 221        a, b and c are refused (Cyrus)
    /// owed: a b c QUIT    said: 250 221        a is delivered, b and c are uncertain (aiosmtpd)
    /// owed: a b | MAIL d DATA    said: 250 550 354     a is delivered, b is uncertain; 550 was said to MAIL, and
    ///                                          354 must have been said to something else than this DATA: the
    ///                                          session ends, and d is tried in a new one
    /// ```
    fn realign(&mut self, stage: Stage, mark: &Reply) -> Result<(), SessionError> {
        let out_of_place = SessionError { stage, cause: Cause::OutOfPlace(mark.clone()) };
        let Some(Realigned { answered, unanswered, last, rest }) = self.owed.realign(mark) else {
            return Err(out_of_place);
        };
        answered.iter().for_each(|(due, reply)| self.credit(*due, reply));
        unanswered.into_iter().for_each(|due| self.go_without(due, &last));
        for (due, reply) in rest {
            // The server has not done with the message before: what it says to the next is no verdict.
            if !reply.is_positive() && !matches!(due, Due::Rcpt(..)) {
                return Err(out_of_place);
            }
            self.credit(due, &reply);
        }
        let Some(due) = self.owed.front() else { return Err(out_of_place) };
        self.mark(due, mark.clone());
        Ok(())
    }

    /// The recipient whose reply is missing, behind those of whom `last` was the last to have one.
    fn go_without(&mut self, due: Due, last: &Reply) {
        let Due::Delivery(id, recipient) = due else { return };
        let outcome = if last.is_negative() {
            Outcome::Refused { stage: self.delivery_stage(id), reply: last.clone() }
        } else {
            Outcome::Uncertain(SessionError { stage: Stage::Delivery, cause: Cause::TooFewReplies })
        };
        self.settle(id, recipient, Settlement::Known(outcome));
    }

    /// What is answered by the reply to a message.
    fn delivery_stage(&self, id: TransactionId) -> Stage {
        if self.progress(id).is_some_and(TransactionState::in_chunks) {
            Stage::LastChunk
        } else {
            Stage::Delivery
        }
    }

    /// What `reply` means for the command at `due`. Recipients that are settled stay as they are.
    fn credit(&mut self, due: Due, reply: &Reply) {
        let refused = |stage| Outcome::Refused { stage, reply: reply.clone() };
        match due {
            Due::Mail(id) if reply.code() == RESTART => {
                let text = format!("the server already has part of this transaction; it was reset: {reply}");
                let deferred = Outcome::Unsuited(Reply::new(450, EnhancedCode::new(4, 5, 0), &text));
                self.each_unsettled(id, &deferred);
            }
            Due::Mail(id) => {
                let heard = if reply.is_positive() { MailReply::Positive } else { MailReply::Other };
                self.progress_mut(id).into_iter().for_each(|t| t.heard.mail = heard);
                if reply.is_negative() {
                    self.each_unsettled(id, &refused(Stage::Mail));
                }
            }
            Due::Rcpt(id, recipient) => self.credit_rcpt(id, recipient, reply),
            Due::Data(id) if reply.is_negative() => self.each_unsettled(id, &refused(Stage::Data)),
            Due::Chunk(id) if reply.is_negative() => self.each_unsettled(id, &refused(Stage::Chunk)),
            Due::Data(id) => self.progress_mut(id).into_iter().for_each(|t| t.phase = Phase::Message),
            Due::Delivery(id, recipient) => {
                let outcome = if reply.is_positive() {
                    Outcome::Delivered(reply.clone())
                } else {
                    refused(self.delivery_stage(id))
                };
                self.settle(id, recipient, Settlement::Known(outcome));
            }
            Due::Chunk(_) | Due::Last(_) | Due::Reset | Due::Quit => {}
        }
    }

    fn credit_rcpt(&mut self, id: TransactionId, recipient: usize, reply: &Reply) {
        let Some(progress) = self.progress_mut(id) else { return };
        if !reply.is_negative() {
            return progress.accept(recipient);
        }
        let settlement =
            if reply.is_too_many() && progress.first_accepted.is_some_and(|first| first < recipient) {
                // Counted once, not for each of thousands.
                let learnt =
                    self.server.rcpt_max.or_else(|| self.progress(id).map(|t| t.accepted_before(recipient)));
                self.server.rcpt_max = learnt;
                Settlement::Again(reply.clone())
            } else {
                Settlement::Known(Outcome::Refused { stage: Stage::Rcpt, reply: reply.clone() })
            };
        self.settle(id, recipient, settlement);
    }

    fn each_unsettled(&mut self, id: TransactionId, outcome: &Outcome) {
        let Some(recipients) = self.progress(id).map(|t| t.recipients.len()) else { return };
        for recipient in 0..recipients {
            self.settle(id, recipient, Settlement::Known(outcome.clone()));
        }
    }

    /// Settles a recipient, once.
    pub(super) fn settle(&mut self, id: TransactionId, recipient: usize, settlement: Settlement) {
        if self.progress_mut(id).is_some_and(|t| t.settle(recipient)) {
            self.settled.push_back(Settled { transaction: id, recipient, settlement });
        }
    }

    /// The connection has closed while the message was being sent: what had been said before counts.
    pub(super) fn heard_at_the_end(&mut self, failure: SessionError) -> SessionError {
        if self.unsent().is_some() { self.heard_early(None, failure) } else { failure }
    }

    /// Nothing is owed: has the server answered a message that is still being sent, or has writing failed?
    pub(super) fn check_for_early_reply(&mut self) -> Result<(), SessionError> {
        if let Some(failure) = self.link.write_error.clone() {
            return Err(self.heard_early(None, failure));
        }
        if self.unsent().is_some() && self.link.reader.unused().contains(&b'\n') {
            return Err(self.heard_early(None, SessionError { stage: Stage::Data, cause: Cause::Closed }));
        }
        Ok(())
    }

    /// Nobody is left to receive the message that is being sent: the server is spared the rest.
    pub(super) fn abandon(&mut self) {
        self.release();
        self.open = false;
        self.link.discard();
        self.owed.clear();
    }

    /// The server answered before the message's end was sent; `reply` is what it said, if that has been
    /// read. Its refusals are verdicts, one for each recipient in turn, the last standing for those that
    /// got none; an acceptance counts for nothing. Either way the session is over, since the message's end
    /// can no longer be told from its middle.
    ///
    /// ```text
    /// sent: half of a message for a, b and c
    /// said: 552 5.3.4 too big             a, b and c are refused
    /// said: 250 ok, 451 later, 250 ok     a and c have no verdict, b is refused
    /// said: 421 shutting down             nobody has a verdict
    /// ```
    pub(super) fn heard_early(&mut self, mut reply: Option<Reply>, failure: SessionError) -> SessionError {
        if !self.owed.awaiting_resync {
            self.release();
        }
        let Some(progress) = self.unsent() else { return failure };
        let (id, awaiting) = (progress.id, progress.awaiting().collect::<Vec<_>>());
        let stage = if progress.in_chunks() { Stage::Chunk } else { Stage::Data };
        let mut last: Option<Reply> = None;
        let mut silent = false;
        for recipient in awaiting {
            let heard = reply.take().or_else(|| if silent { None } else { self.early_reply() });
            silent = heard.is_none();
            let Some(reply) = heard.or_else(|| last.clone().filter(Reply::is_negative)) else { break };
            if reply.code() == 421 {
                return SessionError { stage: Stage::Data, cause: Cause::Closing(reply) };
            }
            if reply.is_negative() {
                let outcome = Outcome::Refused { stage, reply: reply.clone() };
                self.settle(id, recipient, Settlement::Known(outcome));
            }
            last = Some(reply);
        }
        last.map_or(failure, |reply| SessionError { stage: Stage::Data, cause: Cause::OutOfPlace(reply) })
    }

    /// A reply that is there or comes within the moment that QUIT is given.
    fn early_reply(&mut self) -> Option<Reply> {
        self.link.discard();
        self.link.transport.enter(Stage::Quit);
        loop {
            if let Some(reply) = self.next_reply(Stage::Data).ok()? {
                return Some(reply);
            }
            self.link.exchange(Stage::Data, None).ok().flatten().filter(|moved| moved.read > 0)?;
        }
    }

    /// Transactions whose recipients are all settled need no memory. The last one begun is kept for
    /// [`Session::await_data_reply`].
    pub(super) fn forget_settled(&mut self) {
        let newest = self.transactions.back().map(|t| t.id);
        self.transactions.retain(|t| Some(t.id) == newest || t.unsettled > 0);
    }

    /// The session is over: whoever has no verdict is settled by how far things had come.
    ///
    /// ```text
    /// The message's end was sent, and no reply came:      uncertain
    /// … but 421 came in place of a reply:                 unanswered, and a copy may exist (copy_may_exist)
    /// Its end was not sent:                               unanswered
    /// … in a session used before, and MAIL unanswered,
    ///   or a refusal that no mark confirms:               untried
    /// ```
    pub(super) fn end(&mut self, failure: &SessionError) {
        self.open = false;
        self.owed.clear();
        // Replies that had come stand, unless their place is in doubt.
        if !self.owed.awaiting_resync && !failure.is_doubt() {
            self.release();
        }
        let held = std::mem::take(&mut self.owed.held);
        let first = held.iter().find(|(due, _)| due.is_delivery());
        // Every server sends a message one reply at least, and that comes first; unless a mark that came too early shows
        // that not even one was sent.
        let none_sent = matches!(&failure.cause, Cause::OutOfPlace(mark) if matches!(mark.code(), 221 | 354));
        if let Some((due, reply)) = first.filter(|(due, _)| !none_sent && self.is_first(*due)) {
            self.credit(*due, reply);
        }
        let held: HashSet<Due> = held.into_iter().map(|(due, _)| due).collect();
        // Where 421 came in place of a reply to one message, no copy of another can exist whose end was not sent.
        let stage = if failure.copy_may_exist() { Stage::Mail } else { failure.stage };
        let before_the_end = SessionError { stage, cause: failure.cause.clone() };
        for progress in std::mem::take(&mut self.transactions) {
            let ended = progress.has_ended(self.link.sent);
            let closing = ended && matches!(failure.cause, Cause::Closing(_));
            let untried = is_untried(&progress, failure);
            for (recipient, state) in progress.recipients.iter().enumerate() {
                let had_reply = || held.contains(&Due::Delivery(progress.id, recipient));
                let settlement = match state {
                    Recipient::Settled => continue,
                    _ if closing && !had_reply() => {
                        let cause = failure.cause.clone();
                        Settlement::Known(Outcome::Unanswered(SessionError { stage: Stage::Delivery, cause }))
                    }
                    _ if ended => Settlement::Known(Outcome::Uncertain(failure.clone())),
                    _ if untried => Settlement::Untried(before_the_end.clone()),
                    Recipient::Waiting | Recipient::Accepted => {
                        Settlement::Known(Outcome::Unanswered(before_the_end.clone()))
                    }
                };
                self.settled.push_back(Settled { transaction: progress.id, recipient, settlement });
            }
        }
    }
}

/// Whether a transaction whose message was not sent can be tried in a new session as if it had never been begun.
fn is_untried(progress: &TransactionState, failure: &SessionError) -> bool {
    let unanswered = progress.heard.mail == MailReply::Awaited;
    let unproven = || progress.heard.refusals > 0 || failure.is_doubt();
    match progress.standing {
        Standing::First => false,
        Standing::Later => unanswered,
        Standing::Unmarked | Standing::Behind => unanswered || unproven(),
    }
}
