//! Why a session could not go on. A failure says nothing about a recipient: no failure ever bounces mail.

use std::{fmt, io};

use super::{Malformed, Reply, Stage};
use crate::io_error::words;

/// A session's end before its work was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionError {
    /// What was being done.
    pub stage: Stage,
    /// What came in between.
    pub cause: Cause,
}

/// What ended a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The server closed the connection.
    Closed,
    /// The connection failed: reset, broken pipe, and what else the system reports.
    Lost(io::ErrorKind, String),
    /// A time limit ran out; which one, as the transport words it.
    TimedOut(String),
    /// The run was told to stop.
    Stopped,
    /// 421: the server closes the session (RFC 5321 §3.8).
    Closing(Reply),
    /// The greeting was not 220.
    NotWelcome(Reply),
    /// LHLO was refused: the server does not speak LMTP. `smtp`: its greeting says ESMTP.
    NotLmtp {
        /// The reply to LHLO.
        reply: Reply,
        /// The greeting names SMTP.
        smtp: bool,
    },
    /// The server sent something behind its 220 to STARTTLS, before the handshake: an attack (RFC 3207 §6).
    Injected,
    /// The connection is not as secure as it must be, or the server does not accept us; what to look at.
    NotSecure {
        /// What is missing.
        why: String,
        /// The reply that said so, if one did.
        reply: Option<Reply>,
    },
    /// What came is no reply.
    Malformed(Malformed),
    /// A reply that cannot be the one that is due.
    OutOfPlace(Reply),
    /// The server answered the message for fewer recipients than it had accepted.
    TooFewReplies,
    /// The message's octets were not those that had been counted; nothing was delivered.
    Changed {
        /// As declared with SIZE.
        counted: u64,
        /// As found while sending.
        found: u64,
    },
    /// The message could not be read again.
    Unreadable(String),
    /// The session was called out of turn: nothing was said to the server, and the session goes on as if it had
    /// not been called.
    Misuse(Misuse),
}

/// A call that a session does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// An argument holds what would end the command, or is empty.
    Argument,
    /// A transaction is begun before the one before has its message, or [`DataReply`](super::DataReply) was
    /// asked for.
    NotAwaited,
    /// A message is to be sent that the server does not wait for.
    NotAsked,
    /// A transaction is begun, or something is asked, behind QUIT or beyond the server's limit on transactions.
    NoMore,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Misuse::Argument => "an argument is empty or contains a control character",
            Misuse::NotAwaited => {
                "the previous transaction still waits for its reply to DATA, or its message"
            }
            Misuse::NotAsked => "no transaction waits for a message",
            Misuse::NoMore => "the session accepts no more transactions",
        })
    }
}

impl SessionError {
    /// The failure that `error` of the transport means at `stage`.
    #[must_use]
    pub fn from_io(stage: Stage, error: &io::Error) -> Self {
        let kind = error.kind();
        let cause = if kind == io::ErrorKind::TimedOut {
            Cause::TimedOut(words(error))
        } else if kind == io::ErrorKind::Interrupted {
            Cause::Stopped
        } else if kind == io::ErrorKind::PermissionDenied {
            Cause::NotSecure { why: words(error), reply: None }
        } else if kind == io::ErrorKind::UnexpectedEof {
            Cause::Closed
        } else {
            Cause::Lost(kind, words(error))
        };
        Self { stage, cause }
    }

    /// Whether replies may have been taken for others' than they were.
    pub(super) fn is_doubt(&self) -> bool {
        matches!(self.cause, Cause::OutOfPlace(_))
    }

    /// Whether a recipient who has this in place of a reply may have the message all the same: the server had it
    /// whole, and closed the session instead of saying what became of it (RFC 5321 §3.8).
    #[must_use]
    pub fn copy_may_exist(&self) -> bool {
        self.stage == Stage::Delivery && matches!(self.cause, Cause::Closing(_))
    }

    /// The reply that ended the session, if it was one.
    #[must_use]
    pub fn reply(&self) -> Option<&Reply> {
        match &self.cause {
            Cause::Closing(reply)
            | Cause::NotWelcome(reply)
            | Cause::NotLmtp { reply, .. } => Some(reply),
            Cause::NotSecure { reply, .. } => reply.as_ref(),
            Cause::Closed
            | Cause::Injected
            // Whose it was is what nobody knows.
            | Cause::OutOfPlace(_)
            | Cause::Lost(..)
            | Cause::TimedOut(_)
            | Cause::Stopped
            | Cause::Malformed(_)
            | Cause::TooFewReplies
            | Cause::Changed { .. }
            | Cause::Unreadable(_)
            | Cause::Misuse(_) => None,
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phrase = self.stage.phrase();
        match &self.cause {
            Cause::Closed => write!(f, "the server closed the connection while {phrase}"),
            Cause::Lost(_, error) => write!(f, "connection lost while {phrase}: {error}"),
            Cause::TimedOut(limit) => write!(f, "timed out while {phrase} ({limit})"),
            Cause::Stopped => write!(f, "stopped by a signal while {phrase}"),
            Cause::Closing(reply) if self.copy_may_exist() => write!(
                f,
                "the server closed the session instead of answering the message; a copy may exist: {reply}"
            ),
            Cause::Closing(reply) => write!(f, "the server closed the session: {reply}"),
            Cause::NotWelcome(reply) => write!(f, "the server does not accept a session: {reply}"),
            Cause::NotLmtp { reply, .. } if reply.class() == 4 => {
                write!(f, "the server refused LHLO for now: {reply}")
            }
            Cause::NotLmtp { reply, smtp: true } => write!(
                f,
                "the server does not speak LMTP: its greeting shows that this is an SMTP port; its reply to LHLO was {reply}"
            ),
            Cause::NotLmtp { reply, smtp: false } => {
                write!(f, "the server does not speak LMTP: its reply to LHLO was {reply}")
            }
            Cause::Injected => f.write_str(
                "the server sent data between its reply to STARTTLS and the handshake: this may be an attack",
            ),
            Cause::NotSecure { why, reply: Some(reply) } => write!(f, "{why}: {reply}"),
            Cause::NotSecure { why, reply: None } => f.write_str(why),
            Cause::Malformed(Malformed::NotAReply(line))
                if self.stage == Stage::Greeting && other_protocol(line).is_some() =>
            {
                let protocol = other_protocol(line).unwrap_or_default();
                write!(
                    f,
                    "the server does not speak LMTP: its greeting shows that this is {protocol}: '{line}'"
                )
            }
            Cause::Malformed(what) => write!(f, "protocol error while {phrase}: {what}"),
            Cause::OutOfPlace(reply) => {
                write!(f, "protocol error while {phrase}: '{reply}' is unexpected here")
            }
            Cause::TooFewReplies => {
                f.write_str("the server sent fewer replies to the message than it had accepted recipients")
            }
            Cause::Changed { counted, found } => write!(
                f,
                "the message changed while it was being sent ({counted} octets before, {found} now); it was cut short and not delivered"
            ),
            Cause::Unreadable(error) => {
                write!(f, "the message could not be read again while it was being sent: {error}")
            }
            Cause::Misuse(why) => write!(f, "the session was called out of turn: {why}"),
        }
    }
}

/// What a server speaks whose first line is `greeting`, where that is known and not LMTP.
fn other_protocol(greeting: &str) -> Option<&'static str> {
    let known = [
        ("* OK", "an IMAP port"),
        ("* PREAUTH", "an IMAP port"),
        ("* BYE", "an IMAP port"),
        ("+OK", "a POP3 port"),
        ("-ERR", "a POP3 port"),
        ("SSH-", "an SSH port"),
        ("HTTP/", "an HTTP port"),
        ("\"IMPLEMENTATION\"", "a ManageSieve port"),
        ("\\x15\\x03", "a TLS port"),
    ];
    known.into_iter().find(|(start, _)| greeting.starts_with(start)).map(|(_, protocol)| protocol)
}

impl std::error::Error for SessionError {}
