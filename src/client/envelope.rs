//! Who sends, and who receives.

use crate::lmtp::{Address, InvalidAddress, Parameter, ReversePath};

/// The envelope of a message: the sender, who is told of failures, and the recipients.
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
    /// An envelope from `sender`, to nobody yet.
    #[must_use]
    pub fn new(sender: ReversePath) -> Self {
        Self { sender, recipients: Vec::new(), mail: Vec::new(), rcpt: Vec::new(), smtputf8: false }
    }

    /// From `sender` to `recipients`, as they are written: `"<>"` or `""` is the null sender, commas separate
    /// recipients.
    ///
    /// # Errors
    ///
    /// One of them is no address; which, and why.
    pub fn parse(sender: &str, recipients: &str) -> Result<Self, InvalidAddress> {
        let recipients = Address::parse_several(recipients)?;
        Ok(Self { recipients, ..Self::new(ReversePath::parse(sender)?) })
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
