//! A message that is handed in as to sendmail: its envelope from the arguments and the header, and the fields that it lacks.

pub(super) mod fields;

use std::time::{SystemTime, UNIX_EPOCH};

use lmtp_send::envelope::{self, HeaderField};
use lmtp_send::lmtp::{Address, ReversePath};
use lmtp_send::message::{BadHeader, Header, Message};

use super::addressing::{self, Own, changed, is_missing, no_header, no_recipients, sender};
use crate::job::{self, Job, Submission};
use crate::local_error::LocalError;

/// The envelope of a message, and what was added to it.
pub struct Submitted {
    /// Who sends it.
    pub reverse_path: ReversePath,
    /// Who gets it.
    pub recipients: Vec<Address>,
    /// The Message-ID, if it had none.
    pub message_id: Option<String>,
}

/// What is known of a header.
enum Known {
    /// Its fields.
    Fields(Header),
    /// There is none.
    None,
    /// It cannot be understood: nothing is added, since nobody can say what is missing.
    Nothing,
}

/// Finds the envelope, takes Bcc out if the header named the recipients, and adds the fields that are missing.
///
/// # Errors
///
/// A header that cannot be understood where it has to be; nobody to send it to.
pub fn prepare(
    job: &Job,
    submission: &Submission,
    message: &mut Message,
    own: Own<'_>,
) -> Result<Submitted, LocalError> {
    let known = known(submission, message)?;
    let none = Vec::new();
    let fields = if let Known::Fields(header) = &known { header.listed() } else { none };
    let reverse_path = submission.sender(sender(job, &fields, own)?);
    let recipients = submission.completed(recipients(job, submission, &fields)?)?;
    let mut message_id = None;
    if !matches!(known, Known::Nothing) {
        let (added, id) = missing(submission, &reverse_path, &fields, own)?;
        message_id = id;
        message.add_fields(&added).map_err(|e| changed(&e))?;
    }
    if let Known::Fields(header) = &known
        && submission.from_headers
        && !job.messages.keep_bcc
    {
        message.remove(header, |field| envelope::is_bcc(field.name)).map_err(|e| changed(&e))?;
    }
    Ok(Submitted { reverse_path, recipients, message_id })
}

fn known(submission: &Submission, message: &Message) -> Result<Known, LocalError> {
    match message.header() {
        Ok(header) => Ok(Known::Fields(header)),
        Err(e) if is_missing(&e, message) => Ok(Known::None),
        Err(e @ BadHeader::Input(_)) => Err(no_header(&e)),
        Err(e) if submission.from_headers => Err(no_header(&e)),
        Err(BadHeader::NotAField(..) | BadHeader::TooLong) => Ok(Known::Nothing),
    }
}

fn recipients(
    job: &Job,
    submission: &Submission,
    fields: &[HeaderField<'_>],
) -> Result<Vec<Address>, LocalError> {
    let mut all = job.to.clone();
    if submission.from_headers {
        all.extend(addressing::recipients(fields)?);
    }
    if all.is_empty() {
        return Err(no_recipients("none were given"));
    }
    Ok(all)
}

/// The fields that are missing, in whole lines, and the Message-ID among them.
fn missing(
    submission: &Submission,
    reverse_path: &ReversePath,
    fields: &[HeaderField<'_>],
    own: Own<'_>,
) -> Result<(String, Option<String>), LocalError> {
    let lacks =
        |name: &str| !fields.iter().any(|field| field.name.trim_ascii_end().eq_ignore_ascii_case(name));
    let (mut added, mut message_id) = (String::new(), None);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if lacks("From") {
        added += &format!("From: {}\r\n", originator(submission, reverse_path, own)?);
    }
    if lacks("Date") {
        added += &format!("Date: {}\r\n", fields::date(now));
    }
    if lacks("Message-ID") {
        let random = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        let id = fields::message_id(now, random, &own_domain(reverse_path));
        added += &format!("Message-ID: {id}\r\n");
        message_id = Some(id);
    }
    Ok((added, message_id))
}

/// Whom an added From names: the sender, or who runs this where failures are not to be told to anybody.
fn originator(
    submission: &Submission,
    reverse_path: &ReversePath,
    own: Own<'_>,
) -> Result<String, LocalError> {
    let originator = match reverse_path {
        ReversePath::Address(_) => reverse_path.clone(),
        ReversePath::Null => submission.sender(own()?),
    };
    let whole = originator.address().is_some_and(|address| address.domain().is_some());
    let host = job::host_name().filter(|_| !whole).map(|host| format!("@{host}")).unwrap_or_default();
    let name = submission.full_name.clone().or_else(job::full_name);
    Ok(fields::mailbox(name.as_deref(), &format!("{originator}{host}")))
}

/// What stands behind the `@` of a Message-ID: this host's name, if it can stand there, else the sender's domain.
pub(super) fn own_domain(reverse_path: &ReversePath) -> String {
    let is_name = |name: &String| Address::parse(&format!("a@{name}")).is_ok() && name.is_ascii();
    let sender = || reverse_path.address().and_then(Address::domain).map(str::to_owned);
    job::host_name().filter(is_name).or_else(sender).unwrap_or_else(|| "localhost".into())
}
