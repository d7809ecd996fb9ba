//! What went wrong without a verdict, in words for a person.

use std::fmt;

use lmtp_send::lmtp::{Reply, Stage};

use crate::exit::Kind;

/// A failure on our side of the conversation, or of the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalError {
    /// What sort of failure: this decides the exit code.
    pub kind: Kind,
    /// Where it happened.
    pub stage: Stage,
    /// The thing and what to look at.
    pub text: String,
    /// The reply that caused it, if one did.
    pub reply: Option<Reply>,
}

impl LocalError {
    /// An error that no reply caused.
    pub fn new(kind: Kind, stage: Stage, text: impl fmt::Display) -> Self {
        Self { kind, stage, text: text.to_string(), reply: None }
    }

    /// An error of the message or the job, before anything is connected.
    pub fn input(kind: Kind, text: impl fmt::Display) -> Self {
        Self::new(kind, Stage::Input, text)
    }
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
