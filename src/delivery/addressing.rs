//! Who a message is from and for: from the job, and what that leaves open from the message's header.

use std::borrow::Cow;

use lmtp_send::envelope::{self, HeaderField};
use lmtp_send::lmtp::{Address, ReversePath};
use lmtp_send::message::{BadHeader, Message, Unreadable};

use crate::exit::Kind;
use crate::job::Job;
use crate::local_error::LocalError;

/// Finds out who runs this, where that is needed.
pub type Own<'a> = &'a dyn Fn() -> Result<ReversePath, LocalError>;

/// The envelope. With recipients from the header, the fields that name hidden ones are taken out.
///
/// # Errors
///
/// A header that cannot be understood where it has to be; nobody to send it to.
pub fn address(
    job: &Job,
    message: &mut Message,
    own: Own<'_>,
) -> Result<(ReversePath, Vec<Address>), LocalError> {
    if let Some(from) = job.from.as_ref().filter(|_| !job.to.is_empty()) {
        return Ok((from.clone(), job.to.clone()));
    }
    let header = match message.header() {
        // It names nobody.
        Err(error) if !job.to.is_empty() && is_missing(&error, message) => {
            return Ok((sender(job, &[], own)?, job.to.clone()));
        }
        header => header.map_err(|e| no_header(&e))?,
    };
    let fields = header.listed();
    let reverse_path = sender(job, &fields, own)?;
    if !job.to.is_empty() {
        return Ok((reverse_path, job.to.clone()));
    }
    let recipients = recipients(&fields)?;
    if recipients.is_empty() {
        return Err(no_recipients("there is no --to"));
    }
    if !job.messages.keep_bcc {
        message.remove(&header, |field| envelope::is_bcc(field.name)).map_err(|e| changed(&e))?;
    }
    Ok((reverse_path, recipients))
}

/// The sender: the one given, else the one in the header, else who runs this.
///
/// # Errors
///
/// What the header says cannot be understood, or nobody knows who runs this.
pub fn sender(job: &Job, fields: &[HeaderField<'_>], own: Own<'_>) -> Result<ReversePath, LocalError> {
    if let Some(from) = &job.from {
        return Ok(from.clone());
    }
    let named = envelope::sender(fields).map_err(|e| LocalError::input(Kind::Message, e))?;
    named.map_or_else(own, Ok)
}

/// The recipients in the header.
///
/// # Errors
///
/// What the header says cannot be understood.
pub fn recipients(fields: &[HeaderField<'_>]) -> Result<Vec<Address>, LocalError> {
    envelope::recipients(fields).map_err(|e| LocalError::input(Kind::Message, e))
}

/// The recipients of one copy: `%n` in an address is its number.
pub fn numbered(recipients: &[Address], copy: Option<u32>) -> Cow<'_, [Address]> {
    let is_numbered = |address: &Address| address.as_str().contains("%n");
    let Some(copy) = copy.filter(|_| recipients.iter().any(is_numbered)) else {
        return Cow::Borrowed(recipients);
    };
    let number = |address: &Address| {
        let text = address.as_str().replace("%n", &copy.to_string());
        Address::parse(&text).unwrap_or_else(|_| address.clone())
    };
    Cow::Owned(recipients.iter().map(number).collect())
}

/// Nobody to send it to; `given`: and there are none from elsewhere.
pub fn no_recipients(given: &str) -> LocalError {
    let header = "the header has none in To, Cc and Bcc (or Resent-To, Resent-Cc and Resent-Bcc)";
    LocalError::input(Kind::Envelope, format!("no recipients: {header}, and {given}"))
}

/// Whether there is no header: a message may begin with its body.
pub fn is_missing(error: &BadHeader, message: &Message) -> bool {
    matches!(error, BadHeader::NotAField(line, _) if *line == message.first_line())
}

/// The header cannot be had.
pub fn no_header(error: &BadHeader) -> LocalError {
    let kind = match error {
        BadHeader::Input(_) => Kind::InputOutput,
        BadHeader::TooLong | BadHeader::NotAField(..) => Kind::Message,
    };
    LocalError::input(kind, error)
}

/// Fields could not be added or taken out.
pub fn changed(error: &Unreadable) -> LocalError {
    let kind = match error {
        Unreadable::Empty | Unreadable::NotMbox => Kind::Message,
        Unreadable::Input(_) | Unreadable::Spool(_) => Kind::InputOutput,
    };
    LocalError::input(kind, error)
}
