//! What became of a recipient: one of four outcomes.

use std::fmt;

use super::Error;
use crate::lmtp::{self, Reply, SessionError, Stage};

/// What became of the message for one recipient.
///
/// These four are all there are. Why, in [`Reason`], may grow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a message that was not delivered must be tried again, or its sender told"]
pub enum Outcome {
    /// The server accepted the message for this recipient (2yz), and is responsible for it from now on.
    Delivered(Reply),
    /// Try again later: not delivered, unless [`copy_may_exist`](Outcome::copy_may_exist) (421 came in place of the reply).
    Deferred(Reason),
    /// Not delivered: do not try again (5yz).
    Failed(Reason),
    /// The end of the message was sent, and the connection was lost before this recipient's reply, so the message may or
    /// may not have been delivered. Trying again may deliver a second copy; not trying again may lose the message.
    Uncertain(Reason),
}

/// Why the message was not delivered to a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The server refused.
    Refused {
        /// The command it refused.
        stage: Stage,
        /// Its reply.
        reply: Reply,
    },
    /// The server does not offer what the message or the address needs, so nothing was sent. The reply has the codes that
    /// a server would have used.
    Unsuited(Reply),
    /// The session ended before there was a verdict.
    Session(SessionError),
    /// No session could be opened in which this recipient would have been named, so nothing was sent for it; why.
    NoSession(String),
}

impl Outcome {
    /// Whether the server accepted the message for this recipient.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        matches!(self, Self::Delivered(_))
    }

    /// Whether the message may have been delivered to this recipient although the server has not said so: trying again
    /// may deliver a second copy. So it is with every [uncertain](Outcome::Uncertain) outcome, and with a
    /// [deferred](Outcome::Deferred) one where the server had the whole message and closed the session with 421 instead of
    /// answering.
    #[must_use]
    pub fn copy_may_exist(&self) -> bool {
        match self {
            Self::Uncertain(_) => true,
            Self::Deferred(Reason::Session(error)) => error.copy_may_exist(),
            Self::Delivered(_) | Self::Deferred(_) | Self::Failed(_) => false,
        }
    }

    /// `delivered`, `deferred`, `failed` or `uncertain`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delivered(_) => "delivered",
            Self::Deferred(_) => "deferred",
            Self::Failed(_) => "failed",
            Self::Uncertain(_) => "uncertain",
        }
    }

    /// The reply that decided, if there was one.
    #[must_use]
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Delivered(reply) => Some(reply),
            Self::Deferred(reason) | Self::Failed(reason) | Self::Uncertain(reason) => reason.reply(),
        }
    }

    /// The server takes no more recipients, and they cannot be tried again here.
    pub(super) fn postponed(reply: Reply) -> Self {
        Self::Deferred(Reason::Refused { stage: Stage::Rcpt, reply })
    }

    /// There was no session for it.
    pub(super) fn unsent(error: SessionError) -> Self {
        Self::Deferred(Reason::Session(error))
    }

    /// The server was never told of this recipient, since there was no session for it.
    pub(super) fn never_named(error: Option<&Error>) -> Self {
        Self::Deferred(match error {
            Some(Error::Session(error)) => Reason::Session(error.clone()),
            Some(error) => Reason::NoSession(error.to_string()),
            None => Reason::NoSession("the server takes no more recipients".to_owned()),
        })
    }
}

impl Reason {
    /// The server's reply, if there was one.
    #[must_use]
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Refused { reply, .. } | Self::Unsuited(reply) => Some(reply),
            Self::Session(error) => error.reply(),
            Self::NoSession(_) => None,
        }
    }
}

/// A verdict of ours or of the server decides by its first digit; a session's end never fails anybody.
impl From<lmtp::Outcome> for Outcome {
    fn from(outcome: lmtp::Outcome) -> Self {
        let by_class = |stage, reply: &Reply| {
            let is_final = reply.class() == 5 && !reply.is_temporary(stage);
            if is_final { Self::Failed } else { Self::Deferred }
        };
        match outcome {
            lmtp::Outcome::Delivered(reply) => Self::Delivered(reply),
            lmtp::Outcome::Refused { stage, reply } => {
                by_class(stage, &reply)(Reason::Refused { stage, reply })
            }
            lmtp::Outcome::Unsuited(reply) => by_class(Stage::Mail, &reply)(Reason::Unsuited(reply)),
            lmtp::Outcome::Unanswered(error) => Self::Deferred(Reason::Session(error)),
            lmtp::Outcome::Uncertain(error) => Self::Uncertain(Reason::Session(error)),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered(reply) => write!(f, "delivered: {reply}"),
            Self::Deferred(reason) | Self::Failed(reason) | Self::Uncertain(reason) => {
                write!(f, "{}: {reason}", self.name())
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { stage, reply } => write!(f, "{reply} ({})", stage.name()),
            Self::Unsuited(reply) => write!(f, "{reply}"),
            Self::Session(error) => write!(f, "{error}"),
            Self::NoSession(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lmtp::reply::ReplyReader;
    use crate::lmtp::{Cause, EnhancedCode};

    fn refused(stage: Stage, line: &str) -> lmtp::Outcome {
        let mut reader = ReplyReader::default();
        reader.push(format!("{line}\r\n").as_bytes());
        lmtp::Outcome::Refused { stage, reply: reader.next_reply().unwrap().unwrap() }
    }

    #[test]
    fn the_first_digit_decides_and_a_sessions_end_never_fails_anybody() {
        let ended = SessionError { stage: Stage::Delivery, cause: Cause::Closed };
        let unsuited = Reply::new(552, EnhancedCode::new(5, 3, 4), "too large");
        for (outcome, name) in [
            (refused(Stage::Rcpt, "450 later"), "deferred"),
            (refused(Stage::Rcpt, "552 too many"), "deferred"),
            (refused(Stage::Rcpt, "552 5.2.2 full"), "failed"),
            (refused(Stage::Delivery, "552 too large"), "failed"),
            (refused(Stage::Mail, "550 no"), "failed"),
            (lmtp::Outcome::Unsuited(unsuited), "failed"),
            (lmtp::Outcome::Unanswered(ended.clone()), "deferred"),
            (lmtp::Outcome::Uncertain(ended), "uncertain"),
        ] {
            assert_eq!(Outcome::from(outcome.clone()).name(), name, "{outcome:?}");
        }
    }

    #[test]
    fn a_copy_may_exist_where_the_message_was_not_answered_or_421_came_in_place_of_the_reply() {
        let ended = |stage, cause| SessionError { stage, cause };
        let closing = || Cause::Closing(Reply::new(421, EnhancedCode::new(4, 3, 2), "shutting down"));
        for (outcome, expected) in [
            (lmtp::Outcome::Unanswered(ended(Stage::Delivery, closing())), true),
            (lmtp::Outcome::Uncertain(ended(Stage::Delivery, Cause::Closed)), true),
            (lmtp::Outcome::Unanswered(ended(Stage::Rcpt, closing())), false),
            (refused(Stage::Delivery, "450 later"), false),
            (refused(Stage::Rcpt, "550 no"), false),
        ] {
            assert_eq!(Outcome::from(outcome.clone()).copy_may_exist(), expected, "{outcome:?}");
        }
    }
}
