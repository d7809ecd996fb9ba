//! How far a transaction has come: named states, and no decisions.

use super::super::wire::Form;
use super::super::{Reply, TransactionId};
use super::Transaction;
use super::due::Due;

/// Where a recipient of a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recipient {
    Waiting,
    Accepted,
    Settled,
}

/// How far a transaction has come. The page of [`session`](super) draws it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// MAIL, RCPT and DATA are said, or about to be.
    Envelope,
    /// The server waits for the message.
    Message,
    /// The message's end is where so many octets of the session have been sent.
    Delivery { end: u64 },
    /// No message follows the envelope.
    NoMessage,
}

/// What precedes the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precondition {
    None,
    /// MAIL and each RCPT have been answered.
    Answers,
    /// Each RCPT has been accepted.
    Acceptance,
}

/// How the message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    Data,
    /// By BDAT (RFC 3030); `pipelined_bdat`: in the group of its envelope.
    Chunks {
        form: Form,
        pipelined_bdat: bool,
    },
}

/// What went before in the session, and whether it can have moved the replies to this transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    First,
    /// Other transactions; no reply can have moved.
    Later,
    /// A message, whose replies have all come. One too many may still come.
    Unmarked,
    /// A message whose replies had not come when this was begun. One missing or too many moves those to this.
    Behind,
}

/// What was said to MAIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MailReply {
    Awaited,
    Positive,
    Other,
}

/// What was heard of an envelope, before it is known whether it was meant for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub mail: MailReply,
    /// How many RCPTs were said, answered, and answered by 2yz.
    pub said: usize,
    pub answered: usize,
    pub accepted: usize,
    /// How many of the envelope's commands were answered by something else than they ask for.
    pub refusals: usize,
}

/// A transaction that has been begun and is not settled.
#[derive(Debug)]
pub(super) struct TransactionState {
    pub id: TransactionId,
    pub recipients: Vec<Recipient>,
    /// How many of them are not settled.
    pub unsettled: usize,
    pub first_accepted: Option<usize>,
    pub heard: Heard,
    pub transfer: Transfer,
    pub precondition: Precondition,
    pub phase: Phase,
    pub standing: Standing,
}

impl TransactionState {
    pub fn new(id: TransactionId, transaction: &Transaction<'_>, standing: Standing) -> Self {
        let precondition = match transaction {
            Transaction { all_or_nothing: true, .. } => Precondition::Acceptance,
            Transaction { confirm_envelope: true, .. } => Precondition::Answers,
            Transaction { .. } => Precondition::None,
        };
        Self {
            id,
            recipients: vec![Recipient::Waiting; transaction.recipients.len()],
            unsettled: transaction.recipients.len(),
            first_accepted: None,
            heard: Heard { mail: MailReply::Awaited, said: 0, answered: 0, accepted: 0, refusals: 0 },
            transfer: Transfer::Data,
            precondition,
            phase: Phase::Envelope,
            standing,
        }
    }

    /// What a reply to a command of the envelope tells, whoever it is meant for.
    pub fn hear(&mut self, due: Due, reply: &Reply) {
        let positive = reply.is_positive();
        match due {
            Due::Mail(_) => {
                self.heard.mail = if positive { MailReply::Positive } else { MailReply::Other };
                self.heard.refusals += usize::from(!positive);
            }
            Due::Rcpt(_, recipient) => {
                self.heard.answered += 1;
                self.heard.accepted += usize::from(positive);
                self.heard.refusals += usize::from(!positive);
                // Behind a message, what seems to be an acceptance may be a reply to that.
                if positive && self.standing != Standing::Behind {
                    self.accept(recipient);
                }
            }
            Due::Data(_) => self.heard.refusals += usize::from(reply.is_negative()),
            Due::Chunk(_) | Due::Last(_) | Due::Delivery(..) | Due::Reset | Due::Quit => {}
        }
    }

    /// The server takes the message for this recipient.
    pub fn accept(&mut self, recipient: usize) {
        if let Some(state) = self.recipients.get_mut(recipient).filter(|s| **s == Recipient::Waiting) {
            *state = Recipient::Accepted;
            self.first_accepted.get_or_insert(recipient);
        }
    }

    /// How many recipients before this one the server takes the message for.
    pub fn accepted_before(&self, recipient: usize) -> usize {
        self.recipients.iter().take(recipient).filter(|r| **r == Recipient::Accepted).count()
    }

    /// The recipient has an outcome; whether it had none before.
    pub fn settle(&mut self, recipient: usize) -> bool {
        let state = self.recipients.get_mut(recipient).filter(|s| **s != Recipient::Settled);
        let is_new = state.map(|state| *state = Recipient::Settled).is_some();
        self.unsettled -= usize::from(is_new);
        is_new
    }

    /// The mark has come: all replies to it stand in their places.
    pub fn confirm(&mut self) {
        if matches!(self.standing, Standing::Unmarked | Standing::Behind) {
            self.standing = Standing::Later;
        }
    }

    /// Replies to it may be meant for something else.
    pub fn may_have_moved(&self) -> bool {
        matches!(self.standing, Standing::Unmarked | Standing::Behind)
    }

    /// Somebody will receive the message, as far as has been heard.
    pub fn has_acceptance(&self) -> bool {
        self.unsettled > 0 && self.heard.mail == MailReply::Positive && self.heard.accepted > 0
    }

    /// Every RCPT has been answered, and nobody was accepted.
    pub fn all_refused(&self) -> bool {
        self.heard.answered == self.heard.said && self.first_accepted.is_none()
    }

    /// By BDAT.
    pub fn in_chunks(&self) -> bool {
        matches!(self.transfer, Transfer::Chunks { .. })
    }

    /// By BDAT, which cannot be DATA.
    pub fn is_binary(&self) -> bool {
        matches!(self.transfer, Transfer::Chunks { form: Form::Binary, .. })
    }

    /// The message goes in the group of its envelope.
    pub fn is_pipelined_bdat(&self) -> bool {
        matches!(self.transfer, Transfer::Chunks { pipelined_bdat: true, .. })
    }

    /// Nobody waits for a reply, but to chunks for nobody some servers send one.
    pub fn is_known(&self) -> bool {
        self.unsettled == 0 || (self.in_chunks() && self.all_refused() && !self.may_have_moved())
    }

    /// The message's end was handed over when `sent` octets of the session had been.
    pub fn has_ended(&self, sent: u64) -> bool {
        matches!(self.phase, Phase::Delivery { end } if sent >= end)
    }

    /// The server waits for the message, and does not have all of it.
    pub fn is_unsent(&self, sent: u64) -> bool {
        match self.phase {
            Phase::Message => true,
            Phase::Delivery { end } => sent < end,
            Phase::Envelope | Phase::NoMessage => false,
        }
    }

    /// The recipients that were accepted and wait for the reply to the message, in order.
    pub fn awaiting(&self) -> impl Iterator<Item = usize> + '_ {
        self.recipients.iter().enumerate().filter(|(_, s)| **s == Recipient::Accepted).map(|(i, _)| i)
    }
}
