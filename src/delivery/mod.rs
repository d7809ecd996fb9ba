//! Policy: hosts in turn, as few sessions as possible, further transactions for recipients that did not fit.
//!
//! What cannot be known here is wording: outcomes go to a [`Reporter`] as they become known.

mod input;
#[allow(dead_code, reason = "the intake and the gate, which are being rebuilt, are to use it")]
mod ledger;
#[allow(dead_code, reason = "the intake and the gate, which are being rebuilt, are to use it")]
mod shard;
#[allow(dead_code, reason = "the intake and the gate, which are being rebuilt, are to use it")]
mod sources {
    pub mod directory;
    pub mod list;
}
mod mail;
pub mod opening;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use lmtp_send::lmtp::session::Body;
use lmtp_send::lmtp::{
    Address, Cause, DataReply, EnhancedCode, Event, Outcome, Reply, Session, SessionError, Settlement, Stage,
    Transaction, TransactionId,
};

use crate::exit::Kind;
use crate::job::{Job, Told};
use crate::local_error::LocalError;
use crate::stop::Stop;
use crate::transport::Link;
use mail::Mail;
use opening::Opened;

/// What became of a recipient, in a session or short of one.
#[derive(Clone, Debug)]
pub enum Conclusion {
    /// In a session.
    Outcome(Outcome),
    /// There was none.
    LocalError(LocalError),
}

/// What there is to say of one recipient of one message.
#[derive(Clone, Debug)]
pub struct Record {
    /// FILE or `-`.
    pub message: Rc<str>,
    /// Its Message-ID, where the report wants it.
    pub message_id: Option<Rc<str>>,
    /// The reverse-path; empty for the null one.
    pub sender: Rc<str>,
    /// `None` where the message's recipients are not known.
    pub recipient: Option<Rc<str>>,
    /// What became of it.
    pub fate: Conclusion,
    /// The server that decided, or was to.
    pub server: Option<Rc<str>>,
    /// How many transactions it was part of, or would have been.
    pub attempts: u32,
    /// From the beginning of reading the message, in seconds.
    pub seconds: f64,
}

/// Who listens to a session.
pub type Listener = Box<dyn FnMut(Event<'_>)>;

/// Whoever is told what happens.
pub trait Reporter {
    /// The outcome of a recipient, in the order of the recipients. `false`: it could not be told, and
    /// nothing more should be delivered that nobody would hear of.
    fn record(&mut self, record: Record) -> bool;
    /// Something that is worth knowing and no failure.
    fn warning(&mut self, text: &str);
    /// Who listens to a session with `server`.
    fn listener(&self, server: &str) -> Listener;
}

/// Delivers all messages of `job`.
pub fn run(job: &Job, stop: &Arc<Stop>, witness: &mut dyn Reporter) {
    job.warnings.iter().for_each(|text| witness.warning(text));
    let mut courier = Worker {
        job,
        stop: Arc::clone(stop),
        witness,
        inputs: job.inputs.iter().cloned().collect(),
        mails: HashMap::new(),
        count: 0,
        waiting: VecDeque::new(),
        line: None,
        reports: true,
    };
    while let Some(batch) = courier.next_batch() {
        courier.deliver(batch);
    }
    courier.account();
}

/// A message for some of its recipients: one transaction.
struct Batch {
    mail: usize,
    recipients: Vec<usize>,
    /// Begun behind the transaction before, in the session that stands.
    ticket: Option<TransactionId>,
}

/// A session and what was begun in it.
struct Connection {
    session: Session<Link, Listener>,
    server: Rc<str>,
    /// The parameters that this server is told.
    told: Told,
    /// By ticket: the message and its recipients in the order of the transaction.
    begun: HashMap<TransactionId, (usize, Vec<usize>)>,
}

struct Worker<'a> {
    job: &'a Job,
    stop: Arc<Stop>,
    witness: &'a mut dyn Reporter,
    inputs: VecDeque<PathBuf>,
    mails: HashMap<usize, Mail>,
    count: usize,
    waiting: VecDeque<Batch>,
    line: Option<Connection>,
    /// The witness still takes records.
    reports: bool,
}

impl Worker<'_> {
    /// What is to be done next: what is left of a message that was begun, else the next message. A message
    /// that has to be waited for is not waited for with a session open.
    fn next_batch(&mut self) -> Option<Batch> {
        while self.waiting.is_empty() {
            if !self.inputs.front().is_some_and(|path| input::is_at_hand(path)) {
                self.hang_up();
            }
            if !self.waiting.is_empty() {
                break;
            }
            let path = self.inputs.pop_front()?;
            self.take_in(&path);
        }
        // What was begun goes first: the server waits for it.
        let begun = self.waiting.iter().position(|batch| batch.ticket.is_some());
        self.waiting.remove(begun.unwrap_or(0))
    }

    /// Nobody is left without an outcome. Who is, is a bug, and must not pass for delivered.
    fn account(&mut self) {
        let open: Vec<(usize, usize)> =
            self.mails.iter().map(|(number, mail)| (*number, mail.recipients.len())).collect();
        for (mail, recipients) in open {
            let trouble = LocalError::new(
                Kind::Bug,
                Stage::Delivery,
                "this is a bug of lmtp-send: the outcome was lost",
            );
            let batch = Batch { mail, recipients: (0..recipients).collect(), ticket: None };
            self.settle_all(&batch, &Conclusion::LocalError(trouble), None);
        }
    }

    /// Reads a message; its recipients wait.
    fn take_in(&mut self, path: &std::path::Path) {
        match Mail::prepare(self.job, path, &self.stop) {
            Ok(mail) => {
                let recipients = (0..mail.recipients.len()).collect();
                self.mails.insert(self.count, mail);
                self.waiting.push_back(Batch { mail: self.count, recipients, ticket: None });
                self.count += 1;
            }
            Err(records) => records.into_iter().for_each(|record| self.tell(record)),
        }
    }

    fn tell(&mut self, record: Record) {
        self.reports &= self.witness.record(record);
    }

    fn deliver(&mut self, mut batch: Batch) {
        let ticket = match batch.ticket {
            Some(ticket) => ticket,
            None => {
                if !self.reports {
                    let trouble =
                        LocalError::input(Kind::InputOutput, "not sent, since the report cannot be written");
                    return self.settle_all(&batch, &Conclusion::LocalError(trouble), None);
                }
                if let Err((trouble, server)) = self.ready(&batch) {
                    return self.settle_all(&batch, &Conclusion::LocalError(trouble), server);
                }
                match self.begin(&mut batch) {
                    Some(ticket) => ticket,
                    None => return,
                }
            }
        };
        if self.converse(&batch, ticket).is_err() {
            self.connection_lost();
        }
    }

    /// One transaction, from the replies to its commands to the replies to its message.
    fn converse(&mut self, batch: &Batch, ticket: TransactionId) -> Result<(), SessionError> {
        let Some(mail) = self.mails.get_mut(&batch.mail) else { return Ok(()) };
        let Some(line) = &mut self.line else { return Ok(()) };
        line.session.transport().set_deadline(mail.deadline);
        match line.session.await_data_reply()? {
            DataReply::GoAhead => {
                let mut body = mail.message.open();
                let sent = line.session.send_message(&mut body);
                // The transaction before may still wait for its replies.
                mail.from_file |= body.went_from_file();
                sent?;
            }
            DataReply::Nothing => {
                self.collect();
                return Ok(());
            }
            DataReply::Cancelled => {
                self.collect();
                self.cancel(batch);
                return Ok(());
            }
        }
        self.collect();
        self.follow_up()?;
        while let Some(line) = &mut self.line
            && line.session.is_pending(ticket)
            && line.session.has_pending_replies()
        {
            line.session.read_reply()?;
            self.collect();
        }
        Ok(())
    }

    /// What goes behind the message's end: the next transaction if it is at hand, else QUIT.
    fn follow_up(&mut self) -> Result<(), SessionError> {
        let at_hand =
            !self.waiting.is_empty() || self.inputs.front().is_some_and(|path| input::is_at_hand(path));
        let Some(line) = self.line.as_mut().filter(|line| line.session.pipelining()) else { return Ok(()) };
        if !at_hand || !self.reports || !line.session.may_follow()? {
            line.session.quit();
            return Ok(());
        }
        self.collect();
        while self.waiting.is_empty()
            && let Some(path) = self.inputs.pop_front_if(|path| input::is_at_hand(path))
        {
            self.take_in(&path);
        }
        if let Some(mut batch) = self.waiting.pop_front() {
            batch.ticket = self.begin(&mut batch);
            if batch.ticket.is_some() {
                self.waiting.push_front(batch);
            }
        } else if let Some(line) = &mut self.line {
            line.session.quit();
        }
        Ok(())
    }

    /// Begins a transaction for as many recipients as the server takes in one (RFC 9422, RCPTMAX).
    fn begin(&mut self, batch: &mut Batch) -> Option<TransactionId> {
        let mail = self.mails.get_mut(&batch.mail)?;
        let line = self.line.as_mut()?;
        if let Some(refusal) = line.told.refusal.clone() {
            let server = Some(Rc::clone(&line.server));
            self.settle_all(batch, &Conclusion::Outcome(Outcome::Unsuited(refusal)), server);
            return None;
        }
        let limit = line.session.extensions().limits().rcpt_max.unwrap_or(usize::MAX);
        if batch.recipients.len() > limit {
            if self.job.all_or_nothing {
                let text =
                    format!("all or nothing: the server takes at most {limit} recipients in a transaction");
                let outcome = Outcome::Unsuited(Reply::new(452, EnhancedCode::new(4, 5, 3), &text));
                let server = Some(Rc::clone(&line.server));
                self.settle_all(batch, &Conclusion::Outcome(outcome), server);
                return None;
            }
            let rest = batch.recipients.split_off(limit);
            self.waiting.push_front(Batch { mail: batch.mail, recipients: rest, ticket: None });
        }
        batch.recipients.iter().for_each(|&i| mail.attempt(i));
        let recipients: Vec<&Address> =
            batch.recipients.iter().filter_map(|&i| mail.recipients.get(i)).collect();
        let binary = self.job.body == Body::Binary;
        let transaction = Transaction {
            reverse_path: &mail.reverse_path,
            recipients: &recipients,
            octets: if binary { mail.message.raw_octets() } else { mail.message.octets() },
            smtputf8: self.job.smtputf8,
            all_or_nothing: self.job.all_or_nothing,
            verb: self.job.verb,
            body: self.job.body,
            chunking: self.job.chunking,
            confirm_envelope: self.job.hold,
            mail: &line.told.mail,
            rcpt: &line.told.rcpt,
        };
        let ticket = line.session.next_id();
        log::debug!("transaction {ticket} with {}: {} recipients", line.server, recipients.len());
        line.begun.insert(ticket, (batch.mail, batch.recipients.clone()));
        // Behind another message's end it is that message that is waited for, and its deadline holds.
        if !line.session.has_pending_replies() {
            line.session.transport().set_deadline(mail.deadline);
        }
        match line.session.begin(&transaction) {
            Ok(_) => Some(ticket),
            Err(_) => {
                self.connection_lost();
                None
            }
        }
    }

    /// A session that takes a transaction, from the hosts in turn.
    fn ready(&mut self, batch: &Batch) -> Result<(), opening::Unopened> {
        if self.line.as_ref().is_some_and(|line| line.session.takes_another()) {
            return Ok(());
        }
        self.hang_up();
        let Some(mail) = self.mails.get_mut(&batch.mail) else { return Ok(()) };
        let deadline = mail.deadline;
        match opening::first(self.job, deadline, &self.stop, self.witness) {
            Ok((Opened { session, .. }, server)) => {
                let told = self.job.parameters.for_server(session.extensions(), &session.greeting().text());
                told.left_out.iter().for_each(|text| self.witness.warning(text));
                self.line = Some(Connection { session, server, told, begun: HashMap::new() });
                Ok(())
            }
            Err(failed) => {
                batch.recipients.iter().for_each(|&i| mail.attempt(i));
                Err(failed)
            }
        }
    }

    /// Ends the session in good order; what it leaves unsettled is collected.
    fn hang_up(&mut self) {
        if let Some(line) = &mut self.line {
            line.session.close();
            self.connection_lost();
        }
    }

    /// The session is over.
    fn connection_lost(&mut self) {
        self.collect();
        self.line = None;
        // What was begun in it has been settled, or is begun anew.
        self.waiting.retain(|batch| batch.ticket.is_none());
    }

    /// Takes over what the session has settled.
    fn collect(&mut self) {
        let mut again: Vec<(usize, usize)> = Vec::new();
        while let Some(line) = &mut self.line
            && let Some(settled) = line.session.settled()
        {
            let Some((mail, recipients)) = line.begun.get(&settled.transaction) else { continue };
            let Some(&recipient) = recipients.get(settled.recipient) else { continue };
            let (mail, server) = (*mail, Rc::clone(&line.server));
            let outcome = match settled.settlement {
                Settlement::Known(outcome) => self.as_sent(mail, outcome),
                Settlement::Again(reply) if self.job.all_or_nothing => {
                    Outcome::Refused { stage: Stage::Rcpt, reply }
                }
                Settlement::Untried(failure) if self.stop.is_told() => Outcome::Unanswered(failure),
                Settlement::Again(_) | Settlement::Untried(_) => {
                    again.push((mail, recipient));
                    continue;
                }
            };
            self.settle(mail, recipient, Conclusion::Outcome(outcome), Some(server));
        }
        for same in again.chunk_by(|a, b| a.0 == b.0).rev() {
            let Some(&(mail, _)) = same.first() else { continue };
            let recipients = same.iter().map(|(_, recipient)| *recipient).collect();
            self.waiting.push_front(Batch { mail, recipients, ticket: None });
        }
    }

    /// `outcome`; but nobody knows what was accepted where the file was written to while its octets were on the way.
    fn as_sent(&self, mail: usize, outcome: Outcome) -> Outcome {
        let from_file = self.mails.get(&mail).filter(|mail| mail.from_file);
        if let (Outcome::Delivered(_), Some(mail)) = (&outcome, from_file)
            && let Err(e) = mail.message.is_unchanged()
        {
            let cause = Cause::Unreadable(e.to_string());
            return Outcome::Uncertain(SessionError { stage: Stage::Delivery, cause });
        }
        outcome
    }

    /// All or nothing, and somebody was refused: those accepted share the refusal that decides.
    fn cancel(&mut self, batch: &Batch) {
        let Some(mail) = self.mails.get(&batch.mail) else { return };
        let refusals: Vec<&Conclusion> = batch.recipients.iter().filter_map(|&i| mail.fate(i)).collect();
        let again = |fate: &&&Conclusion| match fate {
            Conclusion::Outcome(outcome) => self.job.policy.judge(outcome).again,
            Conclusion::LocalError(_) => false,
        };
        let deciding = refusals.iter().find(again).or(refusals.first()).copied().cloned();
        let server = self.line.as_ref().map(|line| Rc::clone(&line.server));
        if let Some(fate) = deciding {
            self.settle_all(batch, &fate, server);
        }
    }

    fn settle_all(&mut self, batch: &Batch, fate: &Conclusion, server: Option<Rc<str>>) {
        for &recipient in &batch.recipients {
            self.settle(batch.mail, recipient, fate.clone(), server.clone());
        }
    }

    fn settle(&mut self, mail: usize, recipient: usize, fate: Conclusion, server: Option<Rc<str>>) {
        let Some(of) = self.mails.get_mut(&mail) else { return };
        of.settle(recipient, fate, server);
        while let Some(of) = self.mails.get_mut(&mail)
            && let Some(record) = of.next_record()
        {
            self.tell(record);
        }
        if self.mails.get(&mail).is_some_and(Mail::is_told) {
            self.mails.remove(&mail);
        }
    }
}
