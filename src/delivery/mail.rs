//! A message on its way: its envelope, and what has become of each recipient.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lmtp_send::io_error::words;
use lmtp_send::lmtp::{Address, ReversePath};
use lmtp_send::message::{FileIdentity, Message};

use super::input::{self, Opened};
use super::intake::{Input, Place};
use super::ledger::MessageId;
use super::{Conclusion, Record, addressing, submission};
use crate::exit::Kind;
use crate::job::{self, Job};
use crate::local_error::LocalError;
use crate::stop::Stop;

/// Who a message is from and for.
pub struct MailEnvelope {
    /// Where failures are reported to.
    pub reverse_path: ReversePath,
    /// Who it is for.
    pub recipients: Vec<Address>,
    message_id: Option<Arc<str>>,
}

/// A message that has been read, with its envelope.
pub struct Letter {
    /// The message.
    pub message: Message,
    envelope: Arc<MailEnvelope>,
    /// What its file was when it was read; `None` where it cannot be read again.
    identity: Option<FileIdentity>,
}

/// A letter on its way.
pub struct Mail {
    /// Who it is from and for.
    pub envelope: Arc<MailEnvelope>,
    /// Nothing is waited for beyond.
    pub deadline: Instant,
    /// Octets of the message were sent from its file, without being copied.
    pub from_file: bool,
    /// A transaction of it was begun, and went on.
    pub is_begun: bool,
    /// What is sent. A mail that waits has none, where that can be read again.
    letter: Option<Arc<Letter>>,
    input: Input,
    identity: Option<FileIdentity>,
    about: About,
    progress: Vec<RecipientProgress>,
    reported: usize,
    /// What the ledger knows it by, once it is in hand.
    id: Option<MessageId>,
}

/// What each line of the report says of a message, from the moment when it is taken in.
pub struct About {
    name: Arc<str>,
    message_id: Option<Arc<str>>,
    sender: Arc<str>,
    number: u64,
    /// It is one, and not what messages were to be read from.
    pub is_message: bool,
    started: Instant,
}

/// How far a recipient is.
#[derive(Default)]
struct RecipientProgress {
    /// The transactions it was part of, or would have been.
    attempts: u32,
    /// Those that came to something: a server that had no room for it in a transaction says nothing of it.
    concluded: u32,
    /// What the last attempt came to.
    last: Option<(Conclusion, Option<Arc<str>>, Duration)>,
    /// That is final.
    settled: bool,
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
        let identity = opened.identity();
        let until_lone_dot = job.submission.as_ref().is_some_and(|s| s.until_lone_dot);
        let message = opened.read(deadline, stop, until_lone_dot)?;
        Ok(Self { identity, ..Self::of(job, message, deadline, stop, about)? })
    }

    /// Finds the envelope of a message that was read.
    ///
    /// # Errors
    ///
    /// As [`Letter::read`].
    pub fn of(
        job: &Job,
        mut message: Message,
        deadline: Instant,
        stop: &Stop,
        about: &mut About,
    ) -> Result<Self, LocalError> {
        if job.output.wants_message_id() {
            about.message_id = message.message_id().map(Arc::from);
        }
        let own = || job::own_address(deadline, stop);
        let (reverse_path, recipients) = match &job.submission {
            None => addressing::address(job, &mut message, &own)?,
            Some(submission) => {
                let submitted = submission::prepare(job, submission, &mut message, &own)?;
                if job.output.wants_message_id() {
                    about.message_id = submitted.message_id.map(Arc::from).or(about.message_id.take());
                }
                (submitted.reverse_path, submitted.recipients)
            }
        };
        let message_id = about.message_id.clone();
        let envelope = Arc::new(MailEnvelope { reverse_path, recipients, message_id });
        Ok(Self { message, envelope, identity: None })
    }

    /// The envelope of one copy.
    fn envelope_of(&self, copy: Option<u32>) -> Arc<MailEnvelope> {
        let envelope = &self.envelope;
        let Cow::Owned(recipients) = addressing::numbered(&envelope.recipients, copy) else {
            return Arc::clone(envelope);
        };
        let (reverse_path, message_id) = (envelope.reverse_path.clone(), envelope.message_id.clone());
        Arc::new(MailEnvelope { reverse_path, recipients, message_id })
    }
}

impl Mail {
    /// A letter that came from `input`, to all its recipients.
    pub fn new(letter: Arc<Letter>, input: Input, deadline: Instant, about: About) -> Self {
        let envelope = letter.envelope_of(input.copy);
        let sender = envelope.reverse_path.as_str().into();
        let about = About { sender, message_id: envelope.message_id.clone(), ..about };
        let progress = envelope.recipients.iter().map(|_| RecipientProgress::default()).collect();
        let identity = letter.identity;
        Self {
            envelope,
            deadline,
            from_file: false,
            is_begun: false,
            letter: Some(letter),
            input,
            identity,
            about,
            progress,
            reported: 0,
            id: None,
        }
    }

    /// What is sent.
    pub fn letter(&self) -> Option<&Arc<Letter>> {
        self.letter.as_ref()
    }

    /// Keeps neither a file open nor a message in memory, where it can be read again.
    pub fn rest(&mut self) {
        if self.identity.is_some() {
            self.letter = None;
        }
    }

    /// Reads again what [`rest`](Self::rest) has let go.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is no longer what it was.
    pub fn wake(&mut self, job: &Job, stop: &Stop) -> Result<(), LocalError> {
        if self.letter.is_some() {
            return Ok(());
        }
        let Place::File(path) = &self.input.place else { return Ok(()) };
        // It was there: that it has gone since is no fault of the message's.
        let opened = input::open(path).map_err(|e| LocalError { kind: Kind::InputOutput, ..e })?;
        if let (Some(was), Some(is)) = (&self.identity, opened.identity()) {
            was.still_is(&is).map_err(|e| {
                LocalError::input(Kind::InputOutput, format!("{}: {}", self.input.name, words(&e)))
            })?;
        }
        let letter = Letter::read(job, opened, self.deadline, stop, &mut self.about)?;
        self.letter = Some(Arc::new(letter));
        Ok(())
    }

    /// How the report calls it.
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// What the ledger knows it by, if it is in hand.
    pub fn id(&self) -> Option<&MessageId> {
        self.id.as_ref()
    }

    /// The ledger has it in hand as `id`.
    pub fn take_in_hand(&mut self, id: MessageId) {
        self.id = Some(id);
    }

    /// Another attempt is made for `recipient`: what came of the one before counts no more.
    pub fn attempt(&mut self, recipient: usize) {
        if let Some(progress) = self.progress.get_mut(recipient).filter(|progress| !progress.settled) {
            progress.attempts += 1;
            progress.last = None;
        }
    }

    /// How many attempts for `recipient` came to something, and how long the message has been here.
    pub fn tried(&self, recipient: usize) -> (u32, Duration) {
        let concluded = self.progress.get(recipient).map_or(0, |progress| progress.concluded);
        (concluded, self.about.started.elapsed())
    }

    /// What an attempt came to for `recipient`. Once it is `settled`, that stands.
    pub fn record_attempt(
        &mut self,
        recipient: usize,
        conclusion: Conclusion,
        server: Option<Arc<str>>,
        settled: bool,
    ) {
        let elapsed = self.about.started.elapsed();
        if let Some(progress) = self.progress.get_mut(recipient).filter(|progress| !progress.settled) {
            progress.last = Some((conclusion, server, elapsed));
            progress.concluded += 1;
            progress.settled = settled;
        }
    }

    /// Whether what has become of `recipient` is final.
    pub fn is_settled(&self, recipient: usize) -> bool {
        self.progress.get(recipient).is_some_and(|progress| progress.settled)
    }

    /// What the last attempt came to for `recipient`.
    pub fn last(&self, recipient: usize) -> Option<&Conclusion> {
        self.progress.get(recipient)?.last.as_ref().map(|(conclusion, _, _)| conclusion)
    }

    /// The next record in the order of the recipients, once it is settled.
    pub fn next_record(&mut self) -> Option<Record> {
        let progress = self.progress.get_mut(self.reported).filter(|progress| progress.settled)?;
        let (conclusion, server, elapsed) = progress.last.clone()?;
        let recipient = self.envelope.recipients.get(self.reported).map(|r| r.as_str().into());
        self.reported += 1;
        let attempts = progress.attempts;
        let record = self.about.record(recipient, conclusion, server, attempts, elapsed);
        Some(Record { is_last: self.all_reported(), ..record })
    }

    /// Whether every record has been handed out.
    pub fn all_reported(&self) -> bool {
        self.reported == self.progress.len()
    }
}

impl About {
    /// What is known of `input` before it is opened. Its time begins now.
    pub fn new(job: &Job, input: &Input) -> Self {
        let sender = job.from.as_ref().map_or("", ReversePath::as_str).into();
        Self {
            name: Arc::clone(&input.name),
            message_id: None,
            sender,
            number: input.number,
            is_message: !matches!(input.place, Place::Unread(_)),
            started: Instant::now(),
        }
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
            conclusion,
            server,
            attempts,
            seconds: elapsed.as_secs_f64(),
            is_last: false,
            is_message: self.is_message,
            number: self.number,
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
