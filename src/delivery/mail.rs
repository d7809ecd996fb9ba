//! A message on its way: its envelope, and what has become of each recipient.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lmtp_send::envelope::{self, HeaderField};
use lmtp_send::lmtp::{Address, ReversePath};
use lmtp_send::message::{BadHeader, Message, Unreadable};

use super::{Conclusion, Record, input};
use crate::exit::Kind;
use crate::job::{self, Job};
use crate::local_error::LocalError;
use crate::stop::Stop;

/// A message that has been read, with its envelope.
pub struct Mail {
    pub message: Message,
    pub reverse_path: ReversePath,
    pub recipients: Vec<Address>,
    pub deadline: Instant,
    /// Octets of the message were sent from its file, without being copied.
    pub from_file: bool,
    about: About,
    progress: Vec<Progress>,
    told: usize,
}

/// What each line of the report says of the message.
struct About {
    name: Rc<str>,
    message_id: Option<Rc<str>>,
    sender: Rc<str>,
    started: Instant,
}

#[derive(Default)]
struct Progress {
    attempts: u32,
    known: Option<(Conclusion, Option<Rc<str>>, Duration)>,
}

impl Mail {
    /// Reads the message `path` and finds its envelope.
    ///
    /// # Errors
    ///
    /// The records of a message that goes nowhere: one for each recipient that is known.
    pub fn prepare(job: &Job, path: &Path, stop: &Stop) -> Result<Self, Vec<Record>> {
        let started = Instant::now();
        let deadline = started.checked_add(job.deadline).unwrap_or(started);
        let sender = job.from.as_ref().map_or("", |from| from.as_str());
        let about =
            About { name: path.to_string_lossy().into(), message_id: None, sender: sender.into(), started };
        let failed = |about: About, trouble: LocalError| about.everyone(&job.to, &trouble);
        let mut message = match input::read(path, deadline, stop) {
            Ok(message) => message,
            Err(trouble) => return Err(failed(about, trouble)),
        };
        let message_id =
            if job.output.wants_message_id() { message.message_id().map(Rc::from) } else { None };
        let about = About { message_id, ..about };
        match address(job, &mut message) {
            Ok((reverse_path, recipients)) => {
                let about = About { sender: reverse_path.as_str().into(), ..about };
                let progress = recipients.iter().map(|_| Progress::default()).collect();
                Ok(Self {
                    message,
                    reverse_path,
                    recipients,
                    deadline,
                    from_file: false,
                    about,
                    progress,
                    told: 0,
                })
            }
            Err(trouble) => Err(failed(about, trouble)),
        }
    }

    /// Another attempt is made for `recipient`.
    pub fn attempt(&mut self, recipient: usize) {
        if let Some(progress) = self.progress.get_mut(recipient) {
            progress.attempts += 1;
        }
    }

    /// What has become of `recipient`; the first word counts.
    pub fn settle(&mut self, recipient: usize, fate: Conclusion, server: Option<Rc<str>>) {
        let elapsed = self.about.started.elapsed();
        if let Some(progress) = self.progress.get_mut(recipient) {
            progress.known.get_or_insert((fate, server, elapsed));
        }
    }

    /// What has become of `recipient`, if that is known.
    pub fn fate(&self, recipient: usize) -> Option<&Conclusion> {
        self.progress.get(recipient)?.known.as_ref().map(|(fate, _, _)| fate)
    }

    /// The next record in the order of the recipients, once it is known.
    pub fn next_record(&mut self) -> Option<Record> {
        let progress = self.progress.get_mut(self.told)?;
        let (fate, server, elapsed) = progress.known.clone()?;
        let recipient = self.recipients.get(self.told).map(|r| r.as_str().into());
        self.told += 1;
        Some(self.about.record(recipient, fate, server, progress.attempts, elapsed))
    }

    /// Whether every record has been handed out.
    pub fn is_told(&self) -> bool {
        self.told == self.progress.len()
    }
}

impl About {
    fn record(
        &self,
        recipient: Option<Rc<str>>,
        fate: Conclusion,
        server: Option<Rc<str>>,
        attempts: u32,
        elapsed: Duration,
    ) -> Record {
        Record {
            message: Rc::clone(&self.name),
            message_id: self.message_id.clone(),
            sender: Rc::clone(&self.sender),
            recipient,
            fate,
            server,
            attempts,
            seconds: elapsed.as_secs_f64(),
        }
    }

    /// The same trouble for each of `recipients`, or once for nobody in particular.
    fn everyone(&self, recipients: &[Address], trouble: &LocalError) -> Vec<Record> {
        let elapsed = self.started.elapsed();
        let record = |recipient: Option<Rc<str>>| {
            self.record(recipient, Conclusion::LocalError(trouble.clone()), None, 0, elapsed)
        };
        if recipients.is_empty() {
            return vec![record(None)];
        }
        recipients.iter().map(|r| record(Some(r.as_str().into()))).collect()
    }
}

/// The envelope: from the job, and what that leaves open from the header. With recipients from the header,
/// the fields that name hidden ones are taken out.
fn address(job: &Job, message: &mut Message) -> Result<(ReversePath, Vec<Address>), LocalError> {
    if let Some(from) = job.from.as_ref().filter(|_| !job.to.is_empty()) {
        return Ok((from.clone(), job.to.clone()));
    }
    let wrong = |e: &dyn std::fmt::Display| LocalError::input(Kind::Message, e);
    let header = match message.header() {
        // A message may begin with its body: it has no header then, and names nobody.
        Err(BadHeader::NotAField(line, _)) if line == message.first_line() && !job.to.is_empty() => {
            let from = job.from.clone().map_or_else(job::own_address, Ok)?;
            return Ok((from, job.to.clone()));
        }
        header => header.map_err(|e| match &e {
            BadHeader::Input(_) => LocalError::input(Kind::InputOutput, &e),
            BadHeader::TooLong | BadHeader::NotAField(..) => wrong(&e),
        })?,
    };
    let fields: Vec<HeaderField<'_>> =
        header.fields().map(|field| HeaderField { name: field.name, value: field.value }).collect();
    let reverse_path = match &job.from {
        Some(from) => from.clone(),
        None => match envelope::sender(&fields).map_err(|e| wrong(&e))? {
            Some(sender) => sender,
            None => job::own_address()?,
        },
    };
    if !job.to.is_empty() {
        return Ok((reverse_path, job.to.clone()));
    }
    let recipients = envelope::recipients(&fields).map_err(|e| wrong(&e))?;
    if recipients.is_empty() {
        let text = "no recipients: none in the header's To, Cc and Bcc (or Resent-To, Resent-Cc and Resent-Bcc), and no --to";
        return Err(LocalError::input(Kind::Envelope, text));
    }
    if !job.keep_bcc {
        message.remove(&header, |field| envelope::is_bcc(field.name)).map_err(|e| match &e {
            Unreadable::Empty | Unreadable::NotMbox => wrong(&e),
            Unreadable::Input(_) | Unreadable::Spool(_) => LocalError::input(Kind::InputOutput, &e),
        })?;
    }
    Ok((reverse_path, recipients))
}
