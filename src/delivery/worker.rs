//! One connection, and what is in flight on it.
//!
//! A worker takes messages from the intake, one when it needs one, and sends them over one session after the
//! other. A mail belongs to the worker that took it. The end of a message never waits for another message: it is
//! handed over before the next is opened, and a message that has to be waited for is waited for without a session.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lmtp_send::lmtp::session::Body;
use lmtp_send::lmtp::{
    Address, DataReply, EnhancedCode, Outcome, Pipeline, Reply, Room, SessionError, Transaction,
    TransactionId,
};

use super::input;
use super::intake::{Input, Next};
use super::mail::{About, Letter, Mail};
use super::opening::{self, Opened, Unopened};
use super::queue::{Batch, Queue};
use super::{Conclusion, Listener, Measure, Reporter, Run};
use crate::exit::Kind;
use crate::job::Told;
use crate::local_error::LocalError;
use crate::transport::Link;

/// A pause that a session stands without harm.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sends messages over one connection at a time.
pub struct Worker<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) reporter: &'a mut dyn Reporter,
    /// By number: the mails that are not told.
    pub(super) mails: HashMap<usize, Mail>,
    /// How many mails there were.
    count: usize,
    pub(super) queue: Queue,
    /// Mails that wait to be tried again, and need not be kept at hand.
    pub(super) resting: Vec<usize>,
    /// The message that is taken in next.
    next: Option<Input>,
    pub(super) connection: Option<Connection>,
    /// The server that was found to take fewer recipients in a transaction than were offered.
    pub(super) crowded: Option<Arc<str>>,
}

/// A session and what was begun in it.
pub(super) struct Connection {
    pub(super) pipeline: Pipeline<Link, Listener>,
    pub(super) server: Arc<str>,
    /// The parameters that this server is told.
    told: Told,
    /// By transaction, as long as it is not settled.
    begun: HashMap<TransactionId, Begun>,
}

/// A transaction.
struct Begun {
    batch: Batch,
    /// How many of its recipients are not settled.
    left: usize,
    /// When its message had been sent.
    sent: Option<Instant>,
}

/// Which recipient of which mail something was settled for.
pub(super) struct Place {
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
            mails: HashMap::new(),
            count: 0,
            queue: Queue::default(),
            resting: Vec::new(),
            next: None,
            connection: None,
            crowded: None,
        }
    }

    /// Works until nothing is left to be sent.
    pub fn work(&mut self) {
        while let Some(batch) = self.next_batch() {
            self.deliver(batch);
        }
        self.account();
    }

    /// What is to be done next: what is left of a message that was begun, what is to be tried again, else the next
    /// message.
    fn next_batch(&mut self) -> Option<Batch> {
        loop {
            self.let_rest();
            if let Some(batch) = self.queue.pop(Instant::now) {
                return Some(batch);
            }
            match self.next_input() {
                Next::Input(input) => {
                    self.make_way_for(&input);
                    self.next = Some(input);
                }
                Next::Later(at) => self.pause(at),
                Next::Nothing => {
                    self.hang_up();
                    if self.queue.is_empty() {
                        return None;
                    }
                }
            }
            // The session may have left something, and that goes first.
            if self.queue.is_empty()
                && let Some(input) = self.next.take()
            {
                self.take_in(input);
            }
        }
    }

    /// The next message to be taken in, or when something is due.
    fn next_input(&mut self) -> Next {
        if let Some(input) = self.next.take() {
            return Next::Input(input);
        }
        let next = if self.queue.is_full() { Next::Nothing } else { self.run.next_input() };
        match (next, self.queue.next_due()) {
            (Next::Nothing, Some(due)) => Next::Later(due),
            (Next::Later(at), Some(due)) => Next::Later(at.min(due)),
            (next, _) => next,
        }
    }

    /// Waits until `at`. A session is kept open where that is soon, and nothing is to be known before.
    fn pause(&mut self, at: Instant) {
        let soon = at.saturating_duration_since(Instant::now()) <= PATIENCE;
        if soon && self.queue.next_due().is_none() {
            self.hand_over()
        } else {
            self.hang_up()
        }
        if !self.queue.is_empty() {
            return;
        }
        let waited = self.run.stop.wait(None, None, at);
        if waited.is_err_and(|e| e.kind() == ErrorKind::Interrupted) {
            self.run.end_early();
            self.give_up_waiting();
        }
    }

    /// What waits to be tried again has no time left.
    fn give_up_waiting(&mut self) {
        while let Some(batch) = self.queue.pop_later() {
            let error = LocalError::input(Kind::Stopped, "stopped by a signal before it was tried again");
            self.conclude_all(&batch, &Conclusion::LocalError(error), None);
        }
    }

    /// Mails that wait to be tried again hold no file open, once nothing of theirs is in flight.
    fn let_rest(&mut self) {
        let in_flight = |number: usize| {
            self.connection.iter().flat_map(|c| c.begun.values()).any(|begun| begun.batch.mail == number)
        };
        let (kept, resting) =
            std::mem::take(&mut self.resting).into_iter().partition(|number| in_flight(*number));
        self.resting = kept;
        for number in resting {
            self.mails.get_mut(&number).into_iter().for_each(Mail::rest);
        }
    }

    /// Opens and reads a message; its recipients wait.
    fn take_in(&mut self, input: Input) {
        let job = self.run.job;
        self.measure(Measure::Message);
        let mut about = About::new(job, &input);
        let deadline = about.deadline(job);
        match self.read(&input, deadline, &mut about) {
            Ok(letter) => {
                let mail = Mail::new(letter, input, deadline, about);
                let recipients = (0..mail.envelope.recipients.len()).collect();
                self.queue.push(Batch { mail: self.count, recipients });
                self.mails.insert(self.count, mail);
                self.count += 1;
            }
            Err(error) => about.everyone(&job.to, &error).into_iter().for_each(|record| self.tell(record)),
        }
    }

    fn read(
        &mut self,
        input: &Input,
        deadline: Instant,
        about: &mut About,
    ) -> Result<Arc<Letter>, LocalError> {
        if let Some(error) = self.run.hindrance(&input.name) {
            return Err(error);
        }
        if let Some(letter) = input.letter() {
            return Ok(letter);
        }
        let opened = input::open(&input.path)?;
        if !opened.is_at_hand() {
            self.hang_up();
        }
        let letter = Letter::read(self.run.job, opened, deadline, self.run.stop, about).map(Arc::new)?;
        input.keep(&letter);
        Ok(letter)
    }

    fn deliver(&mut self, batch: Batch) {
        if let Err((error, server)) = self.wake(&batch).and_then(|()| self.ready(&batch)) {
            return self.conclude_all(&batch, &Conclusion::LocalError(error), server);
        }
        if let Some(batch) = self.suited(batch)
            && self.transact(&batch).is_err()
        {
            self.connection_lost();
        }
    }

    /// A mail that was to be told is not sent where it could not be, and one that has rested is read again.
    fn wake(&mut self, batch: &Batch) -> Result<(), Unopened> {
        if self.run.is_report_lost() {
            let text = "not sent, since the report cannot be written";
            return Err((LocalError::input(Kind::InputOutput, text), None));
        }
        let Some(mail) = self.mails.get_mut(&batch.mail) else { return Ok(()) };
        mail.wake(self.run.job, self.run.stop).map_err(|error| (error, None))
    }

    /// One transaction, from its beginning behind the one before to the end of its message, which is on its way
    /// when more is asked of the session.
    fn transact(&mut self, batch: &Batch) -> Result<(), SessionError> {
        let Some(id) = self.begin(batch)? else { return Ok(()) };
        while let Some(connection) = &mut self.connection
            && connection.pipeline.next_earlier_reply()?
        {
            self.collect();
        }
        if self.run.is_over() && !self.run.stop.is_told() && self.is_new(batch) {
            self.break_off(batch);
            return Ok(());
        }
        match self.send(batch.mail, id)? {
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
        let binary = job.body == Body::Binary;
        // With DATA, what is left is known before QUIT or another message stands behind the first.
        let few = recipients.len() > 1 && self.crowded.as_ref() == Some(&connection.server);
        let transaction = Transaction {
            reverse_path: &mail.envelope.reverse_path,
            recipients: &recipients,
            octets: if binary { letter.message.raw_octets() } else { letter.message.octets() },
            smtputf8: job.smtputf8,
            all_or_nothing: job.all_or_nothing,
            verb: job.verb,
            body: job.body,
            chunking: job.chunking && !few,
            confirm_envelope: job.hold,
            mail: &connection.told.mail,
            rcpt: &connection.told.rcpt,
        };
        let id = pipeline.next_id();
        log::debug!("transaction {id} with {}: {} recipients", connection.server, recipients.len());
        connection.begun.insert(id, Begun { batch: batch.clone(), left: batch.recipients.len(), sent: None });
        // Behind another message's end it is that message that is waited for, and its deadline holds.
        if !pipeline.is_pending() {
            pipeline.transport().set_deadline(mail.deadline);
        }
        pipeline.begin(&transaction).map(Some)
    }

    fn send(&mut self, number: usize, id: TransactionId) -> Result<DataReply, SessionError> {
        let Some(mail) = self.mails.get_mut(&number) else { return Ok(DataReply::Nothing) };
        let Some(connection) = &mut self.connection else { return Ok(DataReply::Nothing) };
        connection.pipeline.transport().set_deadline(mail.deadline);
        let Some(letter) = mail.letter().cloned() else { return Ok(DataReply::Nothing) };
        let mut body = letter.message.open();
        let sent = connection.pipeline.send(&mut body);
        // Whoever waits for a reply is not to be told from a file that has changed.
        mail.from_file |= body.went_from_file();
        if matches!(sent, Ok(DataReply::GoAhead)) {
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
        let refusal = connection.told.refusal.clone().or_else(|| {
            let text =
                format!("all or nothing: the server takes at most {limit} recipients in a transaction");
            (too_many && self.run.job.all_or_nothing)
                .then(|| Reply::new(452, EnhancedCode::new(4, 5, 3), &text))
        });
        if let Some(refusal) = refusal {
            let server = Some(Arc::clone(&connection.server));
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
            Ok((Opened { session, .. }, server)) => {
                let greeting = session.greeting().text();
                let told = self.run.job.parameters.for_server(session.extensions(), &greeting);
                told.left_out.iter().for_each(|text| self.reporter.warning(text));
                let pipeline = Pipeline::new(session);
                self.connection = Some(Connection { pipeline, server, told, begun: HashMap::new() });
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

    /// Nothing of this batch's message has been sent yet.
    fn is_new(&self, batch: &Batch) -> bool {
        let tried = |&i: &usize| self.mails.get(&batch.mail).is_some_and(|mail| mail.tried(i).0 > 1);
        self.count == batch.mail + 1 && !batch.recipients.iter().any(tried)
    }

    /// The run is over before the message of `batch`, which the server may wait for, was sent.
    fn break_off(&mut self, batch: &Batch) {
        self.connection = None;
        let error = LocalError::input(Kind::Stopped, "not sent, since --fail-fast ended the run");
        self.conclude_all(batch, &Conclusion::LocalError(error), None);
    }

    /// What is in memory is at hand. Else the end of the message sent last goes on its way before the next is
    /// opened, and who writes to standard input is waited for without a session.
    fn make_way_for(&mut self, input: &Input) {
        if input.letter().is_some() {
            return;
        }
        if input.is_standard_input() { self.hang_up() } else { self.hand_over() }
    }

    /// The end of the message sent last goes on its way, before something else is done.
    fn hand_over(&mut self) {
        if let Some(connection) = &mut self.connection
            && connection.pipeline.hand_over().is_err()
        {
            self.connection_lost();
        }
    }

    /// Ends the session in good order; what it leaves unsettled is collected.
    fn hang_up(&mut self) {
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
    fn connection_lost(&mut self) {
        self.collect();
        self.connection = None;
    }
}

impl Connection {
    /// Whom something was settled for; a transaction that is settled is forgotten.
    pub(super) fn place(&mut self, id: TransactionId, recipient: usize) -> Option<Place> {
        let begun = self.begun.get_mut(&id)?;
        let recipient = *begun.batch.recipients.get(recipient)?;
        let place = Place { mail: begun.batch.mail, recipient, sent: begun.sent };
        begun.left = begun.left.saturating_sub(1);
        if begun.left == 0 {
            self.begun.remove(&id);
        }
        Some(place)
    }
}
