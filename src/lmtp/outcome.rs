//! What became of a recipient.

use super::{Reply, SessionError, Stage};

/// What became of one recipient in one transaction. Which exit code that is, is decided elsewhere.
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
    /// There is no verdict, and the message was not delivered.
    Unanswered(SessionError),
    /// There is no verdict, and the message may have been delivered: its end was sent.
    Uncertain(SessionError),
}

/// One recipient of one transaction has an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Which transaction: what [`begin`](super::Session::begin) returned.
    pub ticket: u64,
    /// Which recipient of it: its place in the list.
    pub recipient: usize,
    /// What became of it there.
    pub fate: Settlement,
}

/// What a transaction means for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It has an outcome.
    Known(Outcome),
    /// The server takes no more recipients in this transaction (RFC 5321 §4.5.3.1.10): to be sent in a further one.
    Again(Reply),
    /// The session, used before, ended before this transaction had its first reply: it can be tried in a
    /// new session as if it had never been begun.
    Untried(SessionError),
}
