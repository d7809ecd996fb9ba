//! One connection, and what is in flight on it.
//!
//! A worker takes messages from the intake, one when it needs one, and sends them over one session after the
//! other. A mail belongs to the worker that took it. The end of a message never waits for another message: it is
//! handed over before the next is opened, and a message that has to be waited for is waited for without a session.

use std::collections::HashMap;
use std::sync::Arc;

use lmtp_send::lmtp::session::Body;
use lmtp_send::lmtp::{
    Address, Cause, DataReply, EnhancedCode, Outcome, Pipeline, Reply, Room, SessionError, Settlement, Stage,
    Transaction, TransactionId,
};

use super::input;
use super::intake::Input;
use super::mail::{About, Letter, Mail};
use super::opening::{self, Opened, Unopened};
use super::queue::{Batch, Queue};
use super::{Conclusion, Listener, Record, Reporter, Run};
use crate::exit::Kind;
use crate::job::Told;
use crate::local_error::LocalError;
use crate::transport::Link;

/// Sends messages over one connection at a time.
pub struct Worker<'a> {
    run: &'a Run<'a>,
    reporter: &'a mut dyn Reporter,
    /// By number: the mails that are not told.
    mails: HashMap<usize, Mail>,
    /// How many mails there were.
    count: usize,
    queue: Queue,
    /// The message that is taken in next.
    next: Option<Input>,
    connection: Option<Connection>,
    /// The server that was found to take fewer recipients in a transaction than were offered.
    crowded: Option<Arc<str>>,
}

/// A session and what was begun in it.
struct Connection {
    pipeline: Pipeline<Link, Listener>,
    server: Arc<str>,
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

    /// What is to be done next: what is left of a message that was begun, else the next message.
    fn next_batch(&mut self) -> Option<Batch> {
        loop {
            if let Some(batch) = self.queue.pop() {
                return Some(batch);
            }
            if self.next.is_none() {
                self.next = self.run.next_input();
            }
            match &self.next {
                Some(input) if !input.is_standard_input() => self.hand_over(),
                Some(_) | None => self.hang_up(),
            }
            // The session may have left something.
            if self.queue.is_empty() {
                let input = self.next.take()?;
                self.take_in(&input);
            }
        }
    }

    /// Opens and reads a message; its recipients wait.
    fn take_in(&mut self, input: &Input) {
        let mut about = About::new(self.run.job, input);
        match self.read(input, &mut about) {
            Ok(letter) => {
                let recipients = (0..letter.recipients.len()).collect();
                let deadline = about.deadline(self.run.job);
                self.mails.insert(self.count, Mail::new(Arc::new(letter), deadline, about));
                self.queue.push(Batch { mail: self.count, recipients });
                self.count += 1;
            }
            Err(error) => {
                about.everyone(&self.run.job.to, &error).into_iter().for_each(|record| self.tell(record));
            }
        }
    }

    fn read(&mut self, input: &Input, about: &mut About) -> Result<Letter, LocalError> {
        let opened = input::open(&input.path)?;
        if !opened.is_at_hand() {
            self.hang_up();
        }
        Letter::read(self.run.job, opened, about.deadline(self.run.job), self.run.stop, about)
    }

    fn tell(&mut self, record: Record) {
        if !self.reporter.record(record) {
            self.run.lose_report();
        }
    }

    fn deliver(&mut self, batch: Batch) {
        if self.run.is_report_lost() {
            let text = "not sent, since the report cannot be written";
            let error = LocalError::input(Kind::InputOutput, text);
            return self.conclude_all(&batch, &Conclusion::LocalError(error), None);
        }
        if let Err((error, server)) = self.ready(&batch) {
            return self.conclude_all(&batch, &Conclusion::LocalError(error), server);
        }
        if let Some(batch) = self.suited(batch)
            && self.transact(&batch).is_err()
        {
            self.connection_lost();
        }
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
        match self.send(batch.mail)? {
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
        let letter = &mail.letter;
        let recipients: Vec<&Address> =
            batch.recipients.iter().filter_map(|&i| letter.recipients.get(i)).collect();
        let job = self.run.job;
        let binary = job.body == Body::Binary;
        // With DATA, what is left is known before QUIT or another message stands behind the first.
        let few = recipients.len() > 1 && self.crowded.as_ref() == Some(&connection.server);
        let transaction = Transaction {
            reverse_path: &letter.reverse_path,
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
        connection.begun.insert(id, Begun { batch: batch.clone(), left: batch.recipients.len() });
        // Behind another message's end it is that message that is waited for, and its deadline holds.
        if !pipeline.is_pending() {
            pipeline.transport().set_deadline(mail.deadline);
        }
        pipeline.begin(&transaction).map(Some)
    }

    fn send(&mut self, number: usize) -> Result<DataReply, SessionError> {
        let Some(mail) = self.mails.get_mut(&number) else { return Ok(DataReply::Nothing) };
        let Some(connection) = &mut self.connection else { return Ok(DataReply::Nothing) };
        connection.pipeline.transport().set_deadline(mail.deadline);
        let letter = Arc::clone(&mail.letter);
        let mut body = letter.message.open();
        let sent = connection.pipeline.send(&mut body);
        // Whoever waits for a reply is not to be told from a file that has changed.
        mail.from_file |= body.went_from_file();
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

    /// Takes over what the session has settled.
    fn collect(&mut self) {
        let mut again: Vec<(usize, usize)> = Vec::new();
        while let Some(connection) = &mut self.connection
            && let Some(settled) = connection.pipeline.result()
        {
            let Some((mail, recipient)) = connection.place(settled.transaction, settled.recipient) else {
                continue;
            };
            let server = Arc::clone(&connection.server);
            let outcome = match settled.settlement {
                Settlement::Known(outcome) => self.as_sent(mail, outcome),
                Settlement::Again(reply) if self.run.job.all_or_nothing => {
                    Outcome::Refused { stage: Stage::Rcpt, reply }
                }
                Settlement::Untried(failure) if self.run.stop.is_told() => Outcome::Unanswered(failure),
                Settlement::Again(_) => {
                    self.crowded = Some(server);
                    again.push((mail, recipient));
                    continue;
                }
                Settlement::Untried(_) => {
                    again.push((mail, recipient));
                    continue;
                }
            };
            self.conclude(mail, recipient, Conclusion::Outcome(outcome), Some(server));
        }
        self.queue.push_all_first(&again);
    }

    /// `outcome`; but nobody knows what was accepted where the file was written to while its octets were on the way.
    fn as_sent(&self, number: usize, outcome: Outcome) -> Outcome {
        let from_file = self.mails.get(&number).filter(|mail| mail.from_file);
        if let (Outcome::Delivered(_), Some(mail)) = (&outcome, from_file)
            && let Err(e) = mail.letter.message.is_unchanged()
        {
            let cause = Cause::Unreadable(e.to_string());
            return Outcome::Uncertain(SessionError { stage: Stage::Delivery, cause });
        }
        outcome
    }

    /// All or nothing, and somebody was refused: those accepted share the refusal that decides.
    fn cancel(&mut self, batch: &Batch) {
        let Some(mail) = self.mails.get(&batch.mail) else { return };
        let refusals: Vec<&Conclusion> =
            batch.recipients.iter().filter_map(|&i| mail.conclusion(i)).collect();
        let again = |conclusion: &&&Conclusion| match conclusion {
            Conclusion::Outcome(outcome) => self.run.job.policy.judge(outcome).again,
            Conclusion::LocalError(_) => false,
        };
        let deciding = refusals.iter().find(again).or(refusals.first()).copied().cloned();
        let server = self.connection.as_ref().map(|connection| Arc::clone(&connection.server));
        if let Some(conclusion) = deciding {
            self.conclude_all(batch, &conclusion, server);
        }
    }

    fn conclude_all(&mut self, batch: &Batch, conclusion: &Conclusion, server: Option<Arc<str>>) {
        for &recipient in &batch.recipients {
            self.conclude(batch.mail, recipient, conclusion.clone(), server.clone());
        }
    }

    /// The gate: here an outcome becomes final, and is told in the order of the recipients.
    fn conclude(&mut self, number: usize, recipient: usize, what: Conclusion, server: Option<Arc<str>>) {
        let Some(mail) = self.mails.get_mut(&number) else { return };
        mail.settle(recipient, what, server);
        while let Some(mail) = self.mails.get_mut(&number)
            && let Some(record) = mail.next_record()
        {
            self.tell(record);
        }
        if self.mails.get(&number).is_some_and(Mail::is_told) {
            self.mails.remove(&number);
        }
    }

    /// Nobody is left without an outcome. Who is, is a bug, and must not pass for delivered.
    fn account(&mut self) {
        let open: Vec<(usize, usize)> =
            self.mails.iter().map(|(number, mail)| (*number, mail.letter.recipients.len())).collect();
        for (mail, recipients) in open {
            let text = "this is a bug of lmtp-send: the outcome was lost";
            let error = LocalError::new(Kind::Bug, Stage::Delivery, text);
            let batch = Batch { mail, recipients: (0..recipients).collect() };
            self.conclude_all(&batch, &Conclusion::LocalError(error), None);
        }
    }
}

impl Connection {
    /// The message and the recipient that something was settled for; a transaction that is settled is forgotten.
    fn place(&mut self, id: TransactionId, recipient: usize) -> Option<(usize, usize)> {
        let begun = self.begun.get_mut(&id)?;
        let place = (begun.batch.mail, *begun.batch.recipients.get(recipient)?);
        begun.left = begun.left.saturating_sub(1);
        if begun.left == 0 {
            self.begun.remove(&id);
        }
        Some(place)
    }
}
