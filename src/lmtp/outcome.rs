//! What became of a recipient.

use std::fmt;

use super::{Reply, SessionError, Stage};

/// What became of one recipient in one transaction. Which exit code that is, is decided elsewhere.
///
/// These are all there are: whoever makes an exit code of them has to know each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered the message with 2yz for this recipient.
    Delivered(Reply),
    /// The server answered 4yz or 5yz: a verdict.
    Refused {
        /// To which command.
        stage: Stage,
        /// The verdict.
        reply: Reply,
    },
    /// What was asked for cannot be said to this server, so nothing was sent: a verdict of ours, with the
    /// codes that a server would have used.
    Unsuited(Reply),
    /// There is no verdict, and the message was not delivered, unless [`SessionError::copy_may_exist`] says that the
    /// server had it whole.
    Unanswered(SessionError),
    /// There is no verdict, and the message may have been delivered: its end was sent.
    Uncertain(SessionError),
}

/// Which transaction of a session: what [`begin`](super::Session::begin) returned. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub(super) u64);

impl TransactionId {
    /// Its place among the transactions of its session, from 0.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One recipient of one transaction has an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled {
    /// In which transaction.
    pub transaction: TransactionId,
    /// Which recipient of it: its place in the list.
    pub recipient: usize,
    /// What became of it there.
    pub settlement: Settlement,
}

/// What a transaction means for one recipient.
///
/// These are all there are: one that was forgotten would be a recipient lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It has an outcome.
    Known(Outcome),
    /// The server takes no more recipients in this transaction (RFC 5321 §4.5.3.1.10): to be sent in a further one.
    Again(Reply),
    /// The session, used before, ended before this transaction had its first reply, or before the mark had come that
    /// a refusal in it needs (354 or 221): it can be tried in a new session as if it had never been begun.
    Untried(SessionError),
}
