//! Who sends, and who receives.

#[cfg(feature = "header")]
use std::fmt;

#[cfg(feature = "header")]
use crate::envelope::{self, EnvelopeError};
use crate::lmtp::{Address, InvalidAddress, Parameter, ReversePath};

#[cfg(feature = "header")]
use crate::message::{BadHeader, Message, Unreadable};

/// The envelope of a message: the sender, who receives any bounce, and the recipients.
///
/// ```
/// use lmtp_send::Envelope;
///
/// let envelope = Envelope::new("me@example.org".parse()?).to("joe@example.net".parse()?);
/// let bounce = Envelope::new("<>".parse()?).to("me@example.org".parse()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub(super) sender: ReversePath,
    pub(super) recipients: Vec<Address>,
    pub(super) mail: Vec<Parameter>,
    pub(super) rcpt: Vec<Parameter>,
    pub(super) smtputf8: bool,
}

impl Envelope {
    /// An envelope from `sender`, without recipients so far.
    #[must_use]
    pub fn new(sender: ReversePath) -> Self {
        Self { sender, recipients: Vec::new(), mail: Vec::new(), rcpt: Vec::new(), smtputf8: false }
    }

    /// From `sender` to `recipients`. `"<>"` or `""` is the null sender; commas separate the recipients.
    ///
    /// # Errors
    ///
    /// One of them is not an address; the error says which one, and why.
    pub fn parse(sender: &str, recipients: &str) -> Result<Self, InvalidAddress> {
        let recipients = Address::parse_several(recipients)?;
        Ok(Self { recipients, ..Self::new(ReversePath::parse(sender)?) })
    }

    /// The envelope in the header of `message` (RFC 5322 §3.6): from Sender or From, to the addresses in To, Cc and Bcc, or
    /// those in the topmost Resent- block. Bcc and Resent-Bcc are then left out of what is sent.
    ///
    /// # Errors
    ///
    /// The header has no sender or no recipient, or an address that cannot be parsed: mail is never sent to a guess.
    #[cfg(feature = "header")]
    pub fn of_header(message: &mut Message) -> Result<Self, NoEnvelope> {
        let header = message.header().map_err(NoEnvelope::Header)?;
        let fields = header.listed();
        let sender = envelope::sender(&fields).map_err(NoEnvelope::Field)?.ok_or(NoEnvelope::NoSender)?;
        let recipients = envelope::recipients(&fields).map_err(NoEnvelope::Field)?;
        if recipients.is_empty() {
            return Err(NoEnvelope::NoRecipients);
        }
        message.remove(&header, |field| envelope::is_bcc(field.name)).map_err(NoEnvelope::Message)?;
        Ok(Self { recipients, ..Self::new(sender) })
    }

    /// Adds a recipient. Each has an outcome of its own, in this order, also one that is here twice.
    #[must_use]
    pub fn to(mut self, recipient: Address) -> Self {
        self.recipients.push(recipient);
        self
    }

    /// Adds a parameter for MAIL, such as `RET=HDRS` (RFC 3461). It is sent to every server, as it is: ask
    /// [`extensions`](super::Connection::extensions) before. SIZE, BODY and SMTPUTF8 are said by themselves.
    #[must_use]
    pub fn mail_parameter(mut self, parameter: Parameter) -> Self {
        self.mail.push(parameter);
        self
    }

    /// Adds a parameter for RCPT, the same for each recipient, such as `NOTIFY=NEVER` (RFC 3461).
    #[must_use]
    pub fn rcpt_parameter(mut self, parameter: Parameter) -> Self {
        self.rcpt.push(parameter);
        self
    }

    /// The message's header needs SMTPUTF8 (RFC 6531). Where an address needs it, that is seen without this.
    #[must_use]
    pub fn smtputf8(mut self) -> Self {
        self.smtputf8 = true;
        self
    }

    /// Who is told of failures.
    #[must_use]
    pub fn sender(&self) -> &ReversePath {
        &self.sender
    }

    /// Who it is for.
    #[must_use]
    pub fn recipients(&self) -> &[Address] {
        &self.recipients
    }
}

impl Extend<Address> for Envelope {
    fn extend<I: IntoIterator<Item = Address>>(&mut self, recipients: I) {
        self.recipients.extend(recipients);
    }
}

/// Why a message's header gives no envelope.
#[cfg(feature = "header")]
#[derive(Debug)]
#[non_exhaustive]
pub enum NoEnvelope {
    /// The header cannot be read.
    Header(BadHeader),
    /// A field with addresses cannot be understood.
    Field(EnvelopeError),
    /// Neither Sender nor From names anybody.
    NoSender,
    /// Nobody is named in To, Cc and Bcc.
    NoRecipients,
    /// Without its Bcc fields the message cannot be read, or nothing is left of it.
    Message(Unreadable),
}

#[cfg(feature = "header")]
impl fmt::Display for NoEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(error) => write!(f, "{error}"),
            Self::Field(error) => write!(f, "{error}"),
            Self::NoSender => f.write_str("the header names no sender"),
            Self::NoRecipients => f.write_str("the header names no recipients"),
            Self::Message(error) => write!(f, "{error}"),
        }
    }
}

#[cfg(feature = "header")]
impl std::error::Error for NoEnvelope {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Header(error) => Some(error),
            Self::Field(error) => Some(error),
            Self::Message(error) => Some(error),
            Self::NoSender | Self::NoRecipients => None,
        }
    }
}
