//! What is asked of a session: one message to some recipients.

use super::super::{Address, Parameter, ReversePath};

/// What the message's body is declared to be (RFC 6152 §2, RFC 3030 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// US-ASCII in lines.
    SevenBit,
    /// Octets in lines.
    #[default]
    EightBit,
    /// Octets, which nobody may touch: only by BDAT.
    Binary,
}

/// The command that begins a transaction. All but MAIL are of RFC 821 §3.4 and obsolete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verb {
    /// To the mailbox.
    #[default]
    Mail,
    /// To the terminal.
    Send,
    /// To the terminal or the mailbox.
    Soml,
    /// To the terminal and the mailbox.
    Saml,
}

/// One message to some recipients. [`Transaction::new`] makes a plain one; set what is out of the ordinary.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Transaction<'a> {
    /// Where failures are reported to; may be null.
    pub reverse_path: &'a ReversePath,
    /// Who it is for; settled by their place in this list.
    pub recipients: &'a [&'a Address],
    /// The exact size of the message (RFC 1870 §4), in octets: with CRLF line ends, or as it is when binary.
    pub octets: u64,
    /// The command to begin with.
    pub verb: Verb,
    /// What the body is.
    pub body: Body,
    /// BDAT may take the place of DATA where that saves a turn (RFC 3030).
    pub chunking: bool,
    /// Ask for SMTPUTF8 whatever the addresses are (RFC 6531).
    pub smtputf8: bool,
    /// A refused recipient cancels the transaction before any data.
    pub all_or_nothing: bool,
    /// The message is not asked for before MAIL and every RCPT have been answered: for what must be known
    /// first, as a checkpoint (RFC 1845).
    pub confirm_envelope: bool,
    /// Parameters for MAIL besides SIZE, BODY and SMTPUTF8, as they are.
    pub mail: &'a [Parameter],
    /// Parameters for each RCPT, as they are.
    pub rcpt: &'a [Parameter],
}

impl<'a> Transaction<'a> {
    /// A message of `octets` in lines, and nothing out of the ordinary: by BDAT where that saves a turn.
    #[must_use]
    pub fn new(reverse_path: &'a ReversePath, recipients: &'a [&'a Address], octets: u64) -> Self {
        Self {
            reverse_path,
            recipients,
            octets,
            verb: Verb::Mail,
            body: Body::EightBit,
            chunking: true,
            smtputf8: false,
            all_or_nothing: false,
            confirm_envelope: false,
            mail: &[],
            rcpt: &[],
        }
    }

    /// Whether an address, or the caller, wants SMTPUTF8 (RFC 6531 §3.4).
    pub(super) fn needs_utf8(&self) -> bool {
        self.smtputf8
            || !self.reverse_path.as_str().is_ascii()
            || self.recipients.iter().any(|r| !r.is_ascii())
    }
}

/// What the server answered to DATA, or what of that is known where the message goes by BDAT: whether the
/// message is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a message that the server waits for must be sent"]
pub enum DataReply {
    /// The server waits for it: call [`Session::send_message`](super::Session::send_message).
    GoAhead,
    /// No recipient was accepted, or DATA was refused; each has its verdict.
    Nothing,
    /// A recipient was refused and the transaction was all or nothing: those accepted are not settled, neither now nor
    /// later, since what becomes of them is the caller's to decide.
    Cancelled,
}
