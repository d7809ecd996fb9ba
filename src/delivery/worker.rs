//! One connection, and what is in flight on it.
//!
//! A worker takes messages from the intake, one when it needs one, and sends them over one session after the
//! other. A mail belongs to the worker that took it. The end of a message never waits for another message: the
//! next one was read before, or this one's end is handed over first. A message that has to be waited for is waited for
//! without a session.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lmtp_send::lmtp::session::Body;
use lmtp_send::lmtp::{
    Address, DataReply, EnhancedCode, Outcome, Pipeline, Reply, Room, SessionError, Transaction,
    TransactionId,
};

use super::intake::Input;
use super::mail::Mail;
use super::opening::{self, Unopened};
use super::queue::{Batch, Queue};
use super::{Conclusion, Listener, Measure, Reporter, Run, STOPPED};
use crate::exit::Kind;
use crate::job::ServerParameters;
use crate::local_error::LocalError;
use crate::transport::Link;

/// How long to wait for another run that has a message in hand, before it is asked for again.
const BUSY: Duration = Duration::from_millis(100);

/// Sends messages over one connection at a time.
pub struct Worker<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) reporter: &'a mut dyn Reporter,
    /// By number: the mails that are not told.
    pub(super) mails: BTreeMap<usize, Mail>,
    /// How many mails there were.
    pub(super) count: usize,
    pub(super) queue: Queue,
    /// Mails that wait to be tried again, and need not be kept at hand.
    pub(super) resting: Vec<usize>,
    /// The message that is taken in next.
    pub(super) next: Option<Input>,
    pub(super) connection: Option<WorkerConnection>,
    /// The server that was found to take fewer recipients in a transaction than were offered.
    pub(super) crowded: Option<Arc<str>>,
    /// The mail that another run is busy with, and since when that is waited for.
    pub(super) taken: Option<(usize, Instant)>,
}

/// A session and what was begun in it.
pub(super) struct WorkerConnection {
    pub(super) pipeline: Pipeline<Link, Listener>,
    pub(super) server: Arc<str>,
    /// The parameters that this server is told.
    parameters: ServerParameters,
    /// By transaction, as long as it is not settled.
    pub(super) begun: BTreeMap<TransactionId, Begun>,
}

/// A transaction.
pub(super) struct Begun {
    pub(super) batch: Batch,
    /// How many of its recipients are not settled.
    left: usize,
    /// When its message had been sent.
    sent: Option<Instant>,
}

/// Which recipient of which mail something was settled for.
pub(super) struct SettledFor {
    pub(super) mail: usize,
    pub(super) recipient: usize,
    /// When the message had been sent.
    pub(super) sent: Option<Instant>,
}

impl<'a> Worker<'a> {
    /// A worker without work.
    pub fn new(run: &'a Run<'a>, reporter: &'a mut dyn Reporter) -> Self {
        Self {
            run,
            reporter,
            mails: BTreeMap::new(),
            count: 0,
            queue: Queue::default(),
            resting: Vec::new(),
            next: None,
            connection: None,
            crowded: None,
            taken: None,
        }
    }

    /// Works until nothing is left to be sent.
    pub fn work(&mut self) {
        while let Some(batch) = self.next_batch() {
            self.deliver(batch);
        }
        self.account();
    }

    fn deliver(&mut self, batch: Batch) {
        let Some(batch) = self.unsettled(batch) else { return };
        if self.run.stop.is_requested() {
            return self.leave(&batch);
        }
        if let Err((error, server)) = self.wake(&batch) {
            return self.conclude_all(&batch, &Conclusion::LocalError(error), server);
        }
        let Some(batch) = self.recall(batch) else { return };
        if let Err((error, server)) = self.ready(&batch) {
            return self.conclude_all(&batch, &Conclusion::LocalError(error), server);
        }
        if let Some(batch) = self.suited(batch)
            && self.transact(&batch).is_err()
        {
            self.connection_lost();
        }
    }

    /// Those of `batch` whose outcome is not final; `None`: nobody. It may have become so while they waited.
    pub(super) fn unsettled(&self, mut batch: Batch) -> Option<Batch> {
        let mail = self.mails.get(&batch.mail)?;
        batch.recipients.retain(|&recipient| !mail.is_settled(recipient));
        (!batch.recipients.is_empty()).then_some(batch)
    }

    /// A mail that was to be told is not sent where it could not be, and one that has rested is read again.
    fn wake(&mut self, batch: &Batch) -> Result<(), Unopened> {
        if self.run.is_report_lost() {
            let text = "not sent, because the report cannot be written";
            return Err((LocalError::input(Kind::InputOutput, text), None));
        }
        if self.run.is_ledger_lost() {
            return Err((LocalError::input(Kind::Stopped, self.run.why_over()), None));
        }
        let Some(mail) = self.mails.get_mut(&batch.mail) else { return Ok(()) };
        mail.wake(self.run.job, self.run.stop).map_err(|error| (error, None))
    }

    /// Those of `batch` who do not have the message already; `None`: nobody, or another run is busy with it.
    fn recall(&mut self, mut batch: Batch) -> Option<Batch> {
        let Some(mail) = self.mails.get_mut(&batch.mail) else { return Some(batch) };
        let taken = self.run.memory.take(mail);
        if !matches!(taken, Ok(None)) || Instant::now() >= mail.deadline {
            self.taken.take_if(|(taken, _)| *taken == batch.mail);
        }
        let have = match taken {
            Ok(Some(have)) => have,
            Ok(None) if Instant::now() < mail.deadline => {
                let at = Instant::now() + BUSY;
                self.taken.get_or_insert((batch.mail, Instant::now()));
                batch.recipients.iter().for_each(|&i| self.queue.push_later(batch.mail, i, at));
                return None;
            }
            Ok(None) => {
                let text = "another run is delivering this message (--ledger)";
                let error = LocalError::input(Kind::Exhausted, text);
                self.conclude_all(&batch, &Conclusion::LocalError(error), None);
                return None;
            }
            Err(error) => {
                self.conclude_all(&batch, &Conclusion::LocalError(error), None);
                return None;
            }
        };
        let (served, rest) = batch.recipients.into_iter().partition(|i| have.get(*i) == Some(&true));
        batch.recipients = rest;
        self.conclude_all(&Batch { mail: batch.mail, recipients: served }, &Conclusion::Earlier, None);
        (!batch.recipients.is_empty()).then_some(batch)
    }

    /// One transaction, from its beginning behind the one before to the end of its message, which is on its way
    /// when more is asked of the session.
    fn transact(&mut self, batch: &Batch) -> Result<(), SessionError> {
        let Some(id) = self.begin(batch)? else { return Ok(()) };
        if self.run.job.bulk.several {
            self.prepare_message(batch)?;
            if self.reads_ahead() {
                self.read_ahead();
            }
        }
        while let Some(connection) = &mut self.connection
            && connection.pipeline.next_earlier_reply()?
        {
            self.collect();
        }
        self.set_grace(Duration::ZERO);
        let Some(mail) = self.mails.get_mut(&batch.mail) else { return Ok(()) };
        let is_over = self.run.is_over() && !self.run.stop.is_requested() && !mail.is_begun;
        if is_over || self.run.is_ledger_lost() {
            self.break_off(batch);
            return Ok(());
        }
        mail.is_begun = true;
        match self.send(batch, id)? {
            DataReply::GoAhead | DataReply::Nothing => self.collect(),
            DataReply::Cancelled => {
                self.collect();
                self.cancel(batch);
                self.connection.iter_mut().for_each(|c| drop(c.begun.remove(&id)));
            }
        }
        // In turn, nothing goes behind the message: its replies are next.
        while let Some(connection) = &mut self.connection
            && !connection.pipeline.session().pipelining()
            && connection.pipeline.next_reply()?
        {
            self.collect();
        }
        Ok(())
    }

    /// Does what the server need not wait for later, while it looks at the envelope.
    fn prepare_message(&mut self, batch: &Batch) -> Result<(), SessionError> {
        let letter = self.mails.get(&batch.mail).and_then(Mail::letter);
        match (&mut self.connection, letter) {
            (Some(connection), Some(letter)) => connection.pipeline.prepare(&mut letter.message.open()),
            _ => Ok(()),
        }
    }

    /// Whether the next message is read while the server looks at an envelope: where nobody else could send it
    /// meanwhile, and no copy is at hand anyway.
    fn reads_ahead(&self) -> bool {
        let bulk = &self.run.job.bulk;
        let pipelining = self.connection.as_ref().is_some_and(|c| c.pipeline.session().pipelining());
        bulk.several && bulk.repeat.is_none() && bulk.connections == 1 && pipelining
    }

    fn begin(&mut self, batch: &Batch) -> Result<Option<TransactionId>, SessionError> {
        let (Some(mail), Some(connection)) = (self.mails.get_mut(&batch.mail), &mut self.connection) else {
            return Ok(None);
        };
        let pipeline = &mut connection.pipeline;
        batch.recipients.iter().for_each(|&i| mail.attempt(i));
        let Some(letter) = mail.letter() else { return Ok(None) };
        let recipients: Vec<&Address> =
            batch.recipients.iter().filter_map(|&i| mail.envelope.recipients.get(i)).collect();
        let job = self.run.job;
        let binary = job.transaction.body == Body::Binary;
        // With DATA, what is left is known before QUIT or another message stands behind the first.
        let few = recipients.len() > 1 && self.crowded.as_ref() == Some(&connection.server);
        let octets = if binary { letter.message.raw_octets() } else { letter.message.octets() };
        let mut transaction = Transaction::new(&mail.envelope.reverse_path, &recipients, octets);
        transaction.smtputf8 = job.transaction.smtputf8;
        transaction.all_or_nothing = job.transaction.all_or_nothing;
        transaction.verb = job.transaction.verb;
        transaction.body = job.transaction.body;
        transaction.chunking = job.transaction.chunking && !few;
        transaction.confirm_envelope = job.transaction.confirm_envelope;
        transaction.mail = &connection.parameters.mail;
        transaction.rcpt = &connection.parameters.rcpt;
        let id = pipeline.next_id();
        log::debug!("transaction {id} with {}: {} recipients", connection.server, recipients.len());
        connection.begun.insert(id, Begun { batch: batch.clone(), left: batch.recipients.len(), sent: None });
        // Behind another message's end it is that message that is waited for, and its deadline holds.
        if !pipeline.is_pending() {
            pipeline.transport().set_deadline(mail.deadline);
        }
        pipeline.begin(&transaction).map(Some)
    }

    /// Sends the message, where the server waits for it and the run goes on. In a run of several a message that is on
    /// its way is sent to its end when a signal comes; the only one is cut short, which leaves nobody in doubt.
    fn send(&mut self, batch: &Batch, id: TransactionId) -> Result<DataReply, SessionError> {
        let Some(mail) = self.mails.get_mut(&batch.mail) else { return Ok(DataReply::Nothing) };
        let Some(connection) = &mut self.connection else { return Ok(DataReply::Nothing) };
        connection.pipeline.transport().set_deadline(mail.deadline);
        let Some(letter) = mail.letter().cloned() else { return Ok(DataReply::Nothing) };
        let reply = connection.pipeline.await_data_reply()?;
        if reply != DataReply::GoAhead {
            return Ok(reply);
        }
        if self.run.stop.is_requested() {
            self.connection_lost();
            self.leave(batch);
            return Ok(DataReply::Nothing);
        }
        let grace = self.run.grace();
        if self.run.job.bulk.several {
            connection.pipeline.transport().set_grace(grace);
        }
        let mut body = letter.message.open();
        let sent = connection.pipeline.send(&mut body);
        // Whoever waits for a reply is not to be told from a file that has changed.
        mail.from_file |= body.went_from_file();
        if matches!(sent, Ok(DataReply::GoAhead)) {
            connection.pipeline.transport().set_grace(grace);
            if self.run.job.bulk.is_measured() {
                connection.begun.get_mut(&id).into_iter().for_each(|begun| begun.sent = Some(Instant::now()));
            }
            self.measure(Measure::Octets(letter.message.octets()));
        }
        sent
    }

    /// What of `batch` can be sent to this server in one transaction (RFC 9422, RCPTMAX); the rest waits, or all
    /// are refused.
    fn suited(&mut self, mut batch: Batch) -> Option<Batch> {
        let connection = self.connection.as_ref()?;
        let limit = connection.pipeline.session().extensions().limits().rcpt_max.unwrap_or(usize::MAX);
        let too_many = batch.recipients.len() > limit;
        let refusal = connection.parameters.refusal.clone().or_else(|| {
            let text =
                format!("all or nothing: the server accepts at most {limit} recipients in a transaction");
            (too_many && self.run.job.transaction.all_or_nothing)
                .then(|| Reply::new(452, EnhancedCode::new(4, 5, 3), &text))
        });
        if let Some(refusal) = refusal {
            let server = Some(Arc::clone(&connection.server));
            if let Some(mail) = self.mails.get_mut(&batch.mail) {
                batch.recipients.iter().for_each(|&i| mail.attempt(i));
            }
            self.conclude_all(&batch, &Conclusion::Outcome(Outcome::Unsuited(refusal)), server);
            return None;
        }
        if too_many {
            let rest = batch.recipients.split_off(limit);
            self.queue.push_first(Batch { mail: batch.mail, recipients: rest });
        }
        Some(batch)
    }

    /// A session that takes a transaction, from the hosts in turn.
    fn ready(&mut self, batch: &Batch) -> Result<(), Unopened> {
        if self.has_room() {
            return Ok(());
        }
        self.hang_up();
        let Some(mail) = self.mails.get_mut(&batch.mail) else { return Ok(()) };
        match opening::first(self.run.job, mail.deadline, self.run.stop, self.reporter) {
            Ok((session, server)) => {
                let greeting = session.greeting().text();
                let parameters =
                    self.run.job.transaction.parameters.for_server(session.extensions(), &greeting);
                parameters.left_out.iter().for_each(|text| self.reporter.warning(text));
                let pipeline = Pipeline::new(session);
                self.connection =
                    Some(WorkerConnection { pipeline, server, parameters, begun: BTreeMap::new() });
                self.measure(Measure::Session);
                Ok(())
            }
            Err(failed) => {
                batch.recipients.iter().for_each(|&i| mail.attempt(i));
                Err(failed)
            }
        }
    }

    /// Whether the session that stands takes another transaction.
    fn has_room(&mut self) -> bool {
        while let Some(connection) = &mut self.connection {
            let room = connection.pipeline.room();
            let done = match room {
                Ok(Room::Free) => Some(true),
                Ok(Room::Closed) => Some(false),
                Ok(Room::Busy) => connection.pipeline.next_reply().is_err().then_some(false),
                Err(_) => Some(false),
            };
            self.collect();
            if let Some(done) = done {
                return done;
            }
        }
        false
    }

    /// From now on a signal leaves what is on its way so much time.
    fn set_grace(&mut self, grace: Duration) {
        self.connection.iter_mut().for_each(|c| c.pipeline.transport().set_grace(grace));
    }

    /// A signal has come before the message of `batch` was sent.
    pub(super) fn leave(&mut self, batch: &Batch) {
        let Some(mail) = self.mails.get(&batch.mail) else { return };
        let (tried, untried): (Vec<usize>, _) = batch.recipients.iter().partition(|&&i| mail.tried(i).0 > 0);
        let is_whole = untried.len() == mail.envelope.recipients.len();
        let again = LocalError::input(Kind::Stopped, "stopped by a signal before it was tried again");
        // Others may have it: whoever repeats it has to know who does not.
        let some = || LocalError::input(Kind::Stopped, STOPPED);
        let first = if is_whole { self.run.not_begun(mail.name()) } else { some() };
        for (recipients, error) in [(tried, again), (untried, first)] {
            let part = Batch { mail: batch.mail, recipients };
            self.conclude_all(&part, &Conclusion::LocalError(error), None);
        }
    }

    /// The run is over before the message of `batch`, which the server may wait for, was sent.
    fn break_off(&mut self, batch: &Batch) {
        self.connection_lost();
        let error = LocalError::input(Kind::Stopped, self.run.why_over());
        self.conclude_all(batch, &Conclusion::LocalError(error), None);
    }

    /// The end of the message sent last goes on its way, before something else is done.
    pub(super) fn hand_over(&mut self) {
        if let Some(connection) = &mut self.connection
            && connection.pipeline.hand_over().is_err()
        {
            self.connection_lost();
        }
    }

    /// Ends the session in good order; what it leaves unsettled is collected.
    pub(super) fn hang_up(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.pipeline.quit();
        }
        while let Some(connection) = &mut self.connection
            && connection.pipeline.next_reply().is_ok_and(|more| more)
        {
            self.collect();
        }
        if let Some(connection) = &mut self.connection {
            connection.pipeline.close();
            self.connection_lost();
        }
    }

    /// The session is over.
    pub(super) fn connection_lost(&mut self) {
        self.collect();
        self.connection = None;
    }
}

impl WorkerConnection {
    /// Whom something was settled for; a transaction that is settled is forgotten.
    pub(super) fn place(&mut self, id: TransactionId, recipient: usize) -> Option<SettledFor> {
        let begun = self.begun.get_mut(&id)?;
        let recipient = *begun.batch.recipients.get(recipient)?;
        let place = SettledFor { mail: begun.batch.mail, recipient, sent: begun.sent };
        begun.left = begun.left.saturating_sub(1);
        if begun.left == 0 {
            self.begun.remove(&id);
        }
        Some(place)
    }
}
