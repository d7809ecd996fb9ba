//! A message on its way: its envelope, and what has become of each recipient.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lmtp_send::envelope::{self, HeaderField};
use lmtp_send::lmtp::{Address, ReversePath};
use lmtp_send::message::{BadHeader, Message, Unreadable};

use super::input::Opened;
use super::intake::Input;
use super::{Conclusion, Record};
use crate::exit::Kind;
use crate::job::{self, Job};
use crate::local_error::LocalError;
use crate::stop::Stop;

/// A message that has been read, with its envelope.
pub struct Letter {
    /// The message.
    pub message: Message,
    /// Where failures are reported to.
    pub reverse_path: ReversePath,
    /// Who it is for.
    pub recipients: Vec<Address>,
    message_id: Option<Arc<str>>,
}

/// A letter on its way.
pub struct Mail {
    /// What is sent.
    pub letter: Arc<Letter>,
    /// Nothing is waited for beyond.
    pub deadline: Instant,
    /// Octets of the message were sent from its file, without being copied.
    pub from_file: bool,
    about: About,
    progress: Vec<Progress>,
    told: usize,
}

/// What each line of the report says of a message, from the moment when it is taken in.
pub struct About {
    name: Arc<str>,
    message_id: Option<Arc<str>>,
    sender: Arc<str>,
    started: Instant,
}

/// How far a recipient is: pending, or known.
#[derive(Default)]
struct Progress {
    attempts: u32,
    known: Option<(Conclusion, Option<Arc<str>>, Duration)>,
}

impl Letter {
    /// Reads a message that was opened, and finds its envelope.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or with its header; `about` has by then what is known of it.
    pub fn read(
        job: &Job,
        opened: Opened,
        deadline: Instant,
        stop: &Stop,
        about: &mut About,
    ) -> Result<Self, LocalError> {
        let mut message = opened.read(deadline, stop)?;
        if job.output.wants_message_id() {
            about.message_id = message.message_id().map(Arc::from);
        }
        let (reverse_path, recipients) = address(job, &mut message, deadline, stop)?;
        Ok(Self { message, reverse_path, recipients, message_id: about.message_id.clone() })
    }
}

impl Mail {
    /// A letter to all its recipients.
    pub fn new(letter: Arc<Letter>, deadline: Instant, about: About) -> Self {
        let sender = letter.reverse_path.as_str().into();
        let about = About { sender, message_id: letter.message_id.clone(), ..about };
        let progress = letter.recipients.iter().map(|_| Progress::default()).collect();
        Self { letter, deadline, from_file: false, about, progress, told: 0 }
    }

    /// Another attempt is made for `recipient`.
    pub fn attempt(&mut self, recipient: usize) {
        if let Some(progress) = self.progress.get_mut(recipient) {
            progress.attempts += 1;
        }
    }

    /// What has become of `recipient`; the first word counts.
    pub fn settle(&mut self, recipient: usize, conclusion: Conclusion, server: Option<Arc<str>>) {
        let elapsed = self.about.started.elapsed();
        if let Some(progress) = self.progress.get_mut(recipient) {
            progress.known.get_or_insert((conclusion, server, elapsed));
        }
    }

    /// What has become of `recipient`, if that is known.
    pub fn conclusion(&self, recipient: usize) -> Option<&Conclusion> {
        self.progress.get(recipient)?.known.as_ref().map(|(conclusion, _, _)| conclusion)
    }

    /// The next record in the order of the recipients, once it is known.
    pub fn next_record(&mut self) -> Option<Record> {
        let progress = self.progress.get_mut(self.told)?;
        let (conclusion, server, elapsed) = progress.known.clone()?;
        let recipient = self.letter.recipients.get(self.told).map(|r| r.as_str().into());
        self.told += 1;
        let attempts = progress.attempts;
        let record = self.about.record(recipient, conclusion, server, attempts, elapsed);
        Some(Record { is_last: self.is_told(), ..record })
    }

    /// Whether every record has been handed out.
    pub fn is_told(&self) -> bool {
        self.told == self.progress.len()
    }
}

impl About {
    /// What is known of `input` before it is opened. Its time begins now.
    pub fn new(job: &Job, input: &Input) -> Self {
        let sender = job.from.as_ref().map_or("", ReversePath::as_str).into();
        Self { name: Arc::clone(&input.name), message_id: None, sender, started: Instant::now() }
    }

    /// When the time for reading and sending it is over.
    pub fn deadline(&self, job: &Job) -> Instant {
        self.started.checked_add(job.deadline).unwrap_or(self.started)
    }

    fn record(
        &self,
        recipient: Option<Arc<str>>,
        conclusion: Conclusion,
        server: Option<Arc<str>>,
        attempts: u32,
        elapsed: Duration,
    ) -> Record {
        Record {
            message: Arc::clone(&self.name),
            message_id: self.message_id.clone(),
            sender: Arc::clone(&self.sender),
            recipient,
            fate: conclusion,
            server,
            attempts,
            seconds: elapsed.as_secs_f64(),
            is_last: false,
        }
    }

    /// The records of a message that goes nowhere: one for each of `recipients`, or one for nobody in particular.
    pub fn everyone(&self, recipients: &[Address], error: &LocalError) -> Vec<Record> {
        let elapsed = self.started.elapsed();
        let record = |recipient: Option<Arc<str>>| {
            self.record(recipient, Conclusion::LocalError(error.clone()), None, 0, elapsed)
        };
        if recipients.is_empty() {
            return vec![Record { is_last: true, ..record(None) }];
        }
        let mut records: Vec<Record> = recipients.iter().map(|r| record(Some(r.as_str().into()))).collect();
        if let Some(last) = records.last_mut() {
            last.is_last = true;
        }
        records
    }
}
/// The envelope: from the job, and what that leaves open from the header. With recipients from the header,
/// the fields that name hidden ones are taken out.
fn address(
    job: &Job,
    message: &mut Message,
    until: Instant,
    stop: &Stop,
) -> Result<(ReversePath, Vec<Address>), LocalError> {
    if let Some(from) = job.from.as_ref().filter(|_| !job.to.is_empty()) {
        return Ok((from.clone(), job.to.clone()));
    }
    let wrong = |e: &dyn std::fmt::Display| LocalError::input(Kind::Message, e);
    let header = match message.header() {
        // A message may begin with its body: it has no header then, and names nobody.
        Err(BadHeader::NotAField(line, _)) if line == message.first_line() && !job.to.is_empty() => {
            let from = job.from.clone().map_or_else(|| job::own_address(until, stop), Ok)?;
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
            None => job::own_address(until, stop)?,
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
