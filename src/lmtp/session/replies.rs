//! Crediting: which recipient a reply is for, and what it means.

use std::collections::HashSet;

use super::super::{
    Cause, EnhancedCode, Event, Outcome, Reply, SessionError, Settled, Settlement, Stage, TransactionId,
    Transport,
};
use super::{Due, Flight, Observer, READ, Session, State};

/// To MAIL with TRANSID: a checkpoint to go on from (RFC 1845 §5).
const RESTART: u16 = 355;

impl<T: Transport, O: Observer> Session<T, O> {
    /// Takes a reply for the front of the queue, if one is there.
    pub(super) fn take_reply(&mut self, stage: Stage) -> Result<bool, SessionError> {
        let Some(due) = self.front() else { return Ok(false) };
        let found = self.reader.next_reply().map_err(|m| self.malformed(stage, m))?;
        let Some(reply) = found.map(|reply| reply.without(&self.hidden)) else { return Ok(false) };
        self.observer.observe(Event::Received(&reply));
        if matches!(due, Due::Delivery(ticket, _) if self.unsent().is_some_and(|f| f.ticket == ticket)) {
            return Err(self.heard_early(Some(reply), SessionError { stage, cause: Cause::Closed }));
        }
        let stage = due.stage();
        match (due, reply.code()) {
            (Due::Quit, 221) if self.surplus_reply.is_some() => self.surplus(reply)?,
            (Due::Quit, 221 | 421) => self.mark(due, reply),
            (Due::Quit, _) => self.surplus(reply)?,
            (_, 421) => return Err(SessionError { stage, cause: Cause::Closing(reply) }),
            // Said to nothing: in turn, a command has no reply before it is handed over.
            _ if !self.pipelining() && (self.write_error.is_some() || self.out_at < self.out.len()) => {
                let early = SessionError { stage, cause: Cause::OutOfPlace(reply) };
                return Err(self.write_error.take().unwrap_or(early));
            }
            (Due::Data(_), 354) => self.mark(due, reply),
            (_, 221 | 354) => self.realign(stage, reply)?,
            _ => self.receive(due, reply)?,
        }
        Ok(true)
    }

    /// The reply that is due next.
    pub(super) fn front(&mut self) -> Option<Due> {
        while let Some(Due::Last(ticket)) = self.due.front().copied() {
            self.due.pop_front();
            let awaiting: Vec<usize> =
                self.flight(ticket).map(|f| f.awaiting().collect()).unwrap_or_default();
            awaiting.into_iter().rev().for_each(|i| self.due.push_front(Due::Delivery(ticket, i)));
        }
        self.due.front().copied()
    }

    /// A reply whose place nothing contradicts. With PIPELINING a reply missing or too many before it would
    /// make it another command's: it is held until the reply that marks its place has come.
    fn receive(&mut self, due: Due, reply: Reply) -> Result<(), SessionError> {
        let fits = match due {
            // Nobody is told to go on from where nobody asked.
            Due::Mail(ticket) if reply.code() == RESTART => {
                self.flight(ticket).is_some_and(|f| f.confirm_envelope)
            }
            Due::Mail(_) | Due::Rcpt(..) | Due::Chunk(_) | Due::Last(_) | Due::Delivery(..) => {
                reply.is_positive() || reply.is_negative()
            }
            Due::Data(_) => reply.is_negative(),
            Due::Reset => reply.is_positive(),
            Due::Quit => true,
        };
        if !fits {
            return Err(SessionError { stage: due.stage(), cause: Cause::OutOfPlace(reply) });
        }
        self.due.pop_front();
        self.note(due, &reply);
        if self.is_first(due) && !self.awaiting_resync {
            self.credit(due, &reply);
        }
        let decides = matches!(due, Due::Data(_)) || (matches!(due, Due::Chunk(_)) && reply.is_negative());
        self.held.push((due, reply));
        if !self.awaiting_resync && (decides || self.due.is_empty() || !self.pipelining()) {
            self.release();
        }
        self.forget_settled();
        Ok(())
    }

    /// What a reply tells of the course of things before it is credited.
    fn note(&mut self, due: Due, reply: &Reply) {
        let awaiting_resync = self.awaiting_resync;
        let Some(flight) = self.flights.iter_mut().find(|f| due.ticket() == Some(f.ticket)) else { return };
        match due {
            Due::Mail(_) => flight.answered = true,
            Due::Rcpt(_, recipient) => {
                flight.replies += 1;
                if reply.is_positive() && !awaiting_resync {
                    flight.accept(recipient);
                }
            }
            Due::Data(_) | Due::Chunk(_) | Due::Last(_) | Due::Delivery(..) | Due::Reset | Due::Quit => {}
        }
    }

    /// Whether this is the first reply to a message that was sent by DATA: where only QUIT stands behind it, it
    /// can be nobody else's.
    fn is_first(&self, due: Due) -> bool {
        let Due::Delivery(ticket, _) = due else { return false };
        let by_data = self.flight(ticket).is_some_and(|f| f.chunks.is_none());
        by_data && !self.held.iter().any(|(d, _)| matches!(d, Due::Delivery(..)))
    }

    /// The reply that marks its place has come in its place: all before it stand where they are.
    fn mark(&mut self, due: Due, reply: Reply) {
        self.due.pop_front();
        self.awaiting_resync = false;
        self.held.push((due, reply));
        self.release();
        if let Due::Data(ticket) = due
            && !self.is_pending(ticket)
        {
            self.end_nothing(ticket);
        }
        self.forget_settled();
    }

    /// Credits what was held.
    pub(super) fn release(&mut self) {
        for (due, reply) in std::mem::take(&mut self.held) {
            self.credit(due, &reply);
        }
    }

    /// Where the reply to QUIT is due, something else came. It may be an odd reply to QUIT, and then nothing
    /// follows and the outcomes stand; or a reply too many, and then 221 follows and nobody knows whose
    /// replies the others were. To chunks for nobody some servers send one that is not owed.
    fn surplus(&mut self, reply: Reply) -> Result<(), SessionError> {
        let extra = self.surplus_reply.get_or_insert_with(|| reply.clone()).clone();
        let known = Flight::is_known;
        let proven = reply.code() == 221 || extra != reply;
        if proven && !self.flights.iter().all(known) {
            return Err(SessionError { stage: Stage::Delivery, cause: Cause::OutOfPlace(extra) });
        }
        if reply.code() == 221 {
            self.mark(Due::Quit, reply);
        }
        Ok(())
    }

    /// Something else than 221 has come to QUIT behind a message in chunks, whose replies nothing else marks.
    pub(super) fn is_shifted(&self) -> bool {
        self.surplus_reply.is_some() && self.flights.iter().any(|f| f.chunks.is_some() && !f.is_known())
    }

    /// The reply that marks its place has come too early: the server answered the message with fewer
    /// replies than it owes. A refusal that came last stands for the rest too; an acceptance stands for
    /// its own recipient only, and the rest is uncertain. What was taken for theirs moves on.
    fn realign(&mut self, stage: Stage, reply: Reply) -> Result<(), SessionError> {
        let out_of_place = SessionError { stage, cause: Cause::OutOfPlace(reply.clone()) };
        let is_mark = |d: &Due| if reply.code() == 354 { matches!(d, Due::Data(_)) } else { *d == Due::Quit };
        let is_delivery = |d: &Due| matches!(d, Due::Delivery(..));
        let Some(missing) = self.due.iter().position(is_mark) else { return Err(out_of_place) };
        let (mut places, replies): (Vec<Due>, Vec<Reply>) =
            std::mem::take(&mut self.held).into_iter().unzip();
        places.extend(self.due.drain(..missing));
        let from = places.iter().position(is_delivery).unwrap_or(places.len());
        let owed = places.iter().skip(from).take_while(|d| is_delivery(d)).count();
        let others = places.iter().skip(from + owed).any(is_delivery);
        let given = from + owed.saturating_sub(missing);
        let last = replies.get(given.saturating_sub(1)).filter(|_| given > from && !others);
        let Some(last) = last.cloned() else { return Err(out_of_place) };
        let unanswered: Vec<Due> = places.drain(given..from + owed).collect();
        let mut rest = places.into_iter().zip(replies);
        rest.by_ref().take(given).for_each(|(due, reply)| self.credit(due, &reply));
        unanswered.into_iter().for_each(|due| self.go_without(due, &last));
        for (due, reply) in rest {
            // The server has not done with the message before: what it says to the next is no verdict.
            if !reply.is_positive() && !matches!(due, Due::Rcpt(..)) {
                self.flights.iter_mut().filter(|f| f.follows).for_each(|f| f.answered = false);
                return Err(out_of_place);
            }
            self.credit(due, &reply);
        }
        let Some(due) = self.due.front().copied() else { return Err(out_of_place) };
        self.mark(due, reply);
        Ok(())
    }

    /// The recipient whose reply is missing, behind those of whom `last` was the last to have one.
    fn go_without(&mut self, due: Due, last: &Reply) {
        let Due::Delivery(ticket, recipient) = due else { return };
        let outcome = if last.is_negative() {
            Outcome::Refused { stage: Stage::Delivery, reply: last.clone() }
        } else {
            Outcome::Uncertain(SessionError { stage: Stage::Delivery, cause: Cause::TooFewReplies })
        };
        self.settle(ticket, recipient, Settlement::Known(outcome));
    }

    /// What `reply` means for the command at `due`. Recipients that are settled stay as they are.
    fn credit(&mut self, due: Due, reply: &Reply) {
        let refused = |stage| Outcome::Refused { stage, reply: reply.clone() };
        match due {
            Due::Mail(ticket) if reply.code() == RESTART => {
                let text = format!(
                    "the server has part of this transaction already, and is told to forget it: {reply}"
                );
                let deferred = Outcome::Unsuited(Reply::new(450, EnhancedCode::new(4, 5, 0), &text));
                self.each_unsettled(ticket, &deferred);
            }
            Due::Mail(ticket) if reply.is_negative() => {
                self.each_unsettled(ticket, &refused(Stage::Mail));
                self.flights.iter_mut().filter(|f| f.ticket == ticket).for_each(|f| f.refused = true);
            }
            Due::Rcpt(ticket, recipient) => self.credit_rcpt(ticket, recipient, reply),
            Due::Data(ticket) | Due::Chunk(ticket) if reply.is_negative() => {
                self.each_unsettled(ticket, &refused(Stage::Data));
            }
            Due::Data(ticket) => {
                self.flights.iter_mut().filter(|f| f.ticket == ticket).for_each(|f| f.go = true);
            }
            Due::Delivery(ticket, recipient) => {
                let outcome = if reply.is_positive() {
                    Outcome::Delivered(reply.clone())
                } else {
                    Outcome::Refused { stage: Stage::Delivery, reply: reply.clone() }
                };
                self.settle(ticket, recipient, Settlement::Known(outcome));
            }
            Due::Mail(_) | Due::Chunk(_) | Due::Last(_) | Due::Reset | Due::Quit => {}
        }
    }

    fn credit_rcpt(&mut self, ticket: TransactionId, recipient: usize, reply: &Reply) {
        let Some(flight) = self.flights.iter_mut().find(|f| f.ticket == ticket) else { return };
        let full = reply.code() == 452 || (reply.code() == 552 && reply.enhanced().is_none());
        if reply.is_negative() && full && flight.first_accepted.is_some_and(|first| first < recipient) {
            self.settle(ticket, recipient, Settlement::Again(reply.clone()));
        } else if reply.is_negative() {
            let outcome = Outcome::Refused { stage: Stage::Rcpt, reply: reply.clone() };
            self.settle(ticket, recipient, Settlement::Known(outcome));
        } else {
            flight.accept(recipient);
        }
    }

    fn each_unsettled(&mut self, ticket: TransactionId, outcome: &Outcome) {
        let Some(recipients) = self.flight(ticket).map(|f| f.recipients.len()) else { return };
        for recipient in 0..recipients {
            self.settle(ticket, recipient, Settlement::Known(outcome.clone()));
        }
    }

    /// Settles a recipient, once.
    pub(super) fn settle(&mut self, ticket: TransactionId, recipient: usize, settlement: Settlement) {
        let Some(flight) = self.flights.iter_mut().find(|f| f.ticket == ticket) else { return };
        if let Some(state) = flight.recipients.get_mut(recipient).filter(|s| **s != State::Settled) {
            *state = State::Settled;
            flight.unsettled -= 1;
            self.settled.push_back(Settled { transaction: ticket, recipient, settlement });
        }
    }

    /// The transaction whose message the server waits for and does not have whole.
    pub(super) fn unsent(&self) -> Option<&Flight> {
        self.flights.iter().find(|f| f.go && f.end.is_none_or(|end| self.sent < end))
    }

    /// The server answered before the message's end was sent; `reply` is what it said, if that has been
    /// read. Its refusals are verdicts, one for each recipient in turn, the last standing for those that
    /// got none; an acceptance counts for nothing. Either way the session is over, since the message's end
    /// can no longer be told from its middle.
    pub(super) fn heard_early(&mut self, mut reply: Option<Reply>, failure: SessionError) -> SessionError {
        if !self.awaiting_resync {
            self.release();
        }
        let Some(flight) = self.unsent() else { return failure };
        let (ticket, awaiting) = (flight.ticket, flight.awaiting().collect::<Vec<_>>());
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
                let outcome = Outcome::Refused { stage: Stage::Data, reply: reply.clone() };
                self.settle(ticket, recipient, Settlement::Known(outcome));
            }
            last = Some(reply);
        }
        last.map_or(failure, |reply| SessionError { stage: Stage::Data, cause: Cause::OutOfPlace(reply) })
    }

    /// A reply that is there or comes within the moment that QUIT is given.
    fn early_reply(&mut self) -> Option<Reply> {
        self.discard_output();
        self.transport.enter(Stage::Quit);
        loop {
            if let Some(reply) = self.reader.next_reply().ok()? {
                self.observer.observe(Event::Received(&reply));
                return Some(reply);
            }
            let mut input = [0; READ];
            let moved = self.transport.exchange(&[], &mut input).ok().filter(|m| m.read > 0)?;
            self.reader.push(input.get(..moved.read)?);
        }
    }

    pub(super) fn flight(&self, ticket: TransactionId) -> Option<&Flight> {
        self.flights.iter().find(|f| f.ticket == ticket)
    }

    /// Transactions whose recipients are all settled need no memory. The last one begun is kept for [`Session::await_data_reply`].
    pub(super) fn forget_settled(&mut self) {
        let newest = self.flights.back().map(|f| f.ticket);
        self.flights.retain(|f| Some(f.ticket) == newest || f.unsettled > 0);
    }

    /// The session is over: whoever has no verdict is settled by how far things had come.
    pub(super) fn end(&mut self, failure: &SessionError) {
        self.open = false;
        self.due.clear();
        // Replies that had come stand, unless their place is in doubt.
        if !self.awaiting_resync && !failure.is_doubt() {
            self.release();
        }
        let held = std::mem::take(&mut self.held);
        let first = held.iter().find(|(due, _)| matches!(due, Due::Delivery(..)));
        // Unless a mark that came too early shows that not even one reply was sent.
        let none_sent = matches!(&failure.cause, Cause::OutOfPlace(mark) if matches!(mark.code(), 221 | 354));
        if let Some((due, reply)) = first.filter(|(due, _)| !none_sent && self.is_first(*due)) {
            self.credit(*due, reply);
        }
        let held: HashSet<Due> = held.into_iter().map(|(due, _)| due).collect();
        for flight in std::mem::take(&mut self.flights) {
            let ended = flight.end.is_some_and(|end| self.sent >= end);
            for (recipient, state) in flight.recipients.iter().enumerate() {
                let had_reply = || held.contains(&Due::Delivery(flight.ticket, recipient));
                let settlement = match state {
                    State::Settled => continue,
                    State::Waiting | State::Accepted
                        if ended && matches!(failure.cause, Cause::Closing(_)) && !had_reply() =>
                    {
                        Settlement::Known(Outcome::Unanswered(failure.clone()))
                    }
                    State::Waiting | State::Accepted if ended => {
                        Settlement::Known(Outcome::Uncertain(failure.clone()))
                    }
                    State::Waiting | State::Accepted if flight.follows && !flight.answered => {
                        Settlement::Untried(failure.clone())
                    }
                    State::Waiting | State::Accepted => {
                        Settlement::Known(Outcome::Unanswered(failure.clone()))
                    }
                };
                self.settled.push_back(Settled { transaction: flight.ticket, recipient, settlement });
            }
        }
    }
}
