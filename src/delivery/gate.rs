//! The gate: what a session has settled becomes final here, or goes back into the queue.
//!
//! | way in | for |
//! | --- | --- |
//! | [`Worker::conclude`] | what an attempt came to: there is another one, or it goes on to `settle` |
//! | [`Worker::cancel`] | all or nothing, and somebody was refused for good: `settle` for each, without another attempt |
//! | [`Worker::tell`] | a message that could not be taken in: it has no recipients yet that could be settled |
//!
//! What hangs on an outcome that is final is in two places. `settle`: the ledger, the queue, the order of the
//! records, the end of the mail. `tell`, to which every record comes: `--fail-fast`, the end of the ledger, the report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lmtp_send::io_error::words;
use lmtp_send::lmtp::{Cause, EnhancedCode, Outcome, Reply, SessionError, Settlement, Stage};

use super::queue::Batch;
use super::worker::Worker;
use super::{Conclusion, Measure, Record, retry};
use crate::exit::{self, Judgement, Kind};
use crate::local_error::LocalError;

impl Worker<'_> {
    /// Takes over what the session has settled.
    pub(super) fn collect(&mut self) {
        let mut again: Vec<(usize, usize)> = Vec::new();
        while let Some(connection) = &mut self.connection
            && let Some(settled) = connection.pipeline.result()
        {
            let Some(place) = connection.place(settled.transaction, settled.recipient) else { continue };
            let (mail, recipient) = (place.mail, place.recipient);
            let server = Arc::clone(&connection.server);
            let outcome = match settled.settlement {
                Settlement::Known(outcome) => self.as_sent(mail, outcome),
                Settlement::Again(reply) if self.run.job.transaction.all_or_nothing => no_room_for_all(reply),
                Settlement::Untried(failure) if self.run.stop.is_requested() => Outcome::Unanswered(failure),
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
            if let (Some(sent), Outcome::Delivered(_)) = (place.sent, &outcome) {
                self.measure(Measure::Reply(sent.elapsed()));
            }
            self.conclude(mail, recipient, Conclusion::Outcome(outcome), Some(server));
        }
        self.queue.push_all_first(&again);
        if let Some(connection) = &mut self.connection
            && !connection.pipeline.is_pending()
        {
            connection.pipeline.transport().set_grace(Duration::ZERO);
        }
    }

    /// `outcome`; but nobody knows what was accepted where the file was written to while its octets were on the way.
    fn as_sent(&self, number: usize, outcome: Outcome) -> Outcome {
        let from_file = self.mails.get(&number).filter(|mail| mail.from_file);
        if let (Outcome::Delivered(_), Some(letter)) = (&outcome, from_file.and_then(|mail| mail.letter()))
            && let Err(e) = letter.message.is_unchanged()
        {
            let cause = Cause::Unreadable(words(&e));
            return Outcome::Uncertain(SessionError { stage: Stage::Delivery, cause });
        }
        outcome
    }

    /// All or nothing, and somebody was refused: those accepted share the refusal that decides. Where one was
    /// refused for good, nobody is tried again.
    pub(super) fn cancel(&mut self, batch: &Batch) {
        let Some(mail) = self.mails.get(&batch.mail) else { return };
        let refusals: Vec<(usize, Conclusion)> =
            batch.recipients.iter().filter_map(|&i| Some((i, mail.last(i)?.clone()))).collect();
        let again = |(_, refusal): &&(usize, Conclusion)| self.judge(refusal).again;
        let Some((_, deciding)) = refusals.iter().find(again).or(refusals.first()).cloned() else { return };
        let server = self.connection.as_ref().map(|connection| Arc::clone(&connection.server));
        if refusals.iter().all(|refusal| again(&refusal)) {
            let accepted =
                batch.recipients.iter().filter(|i| refusals.iter().all(|(refused, _)| refused != *i));
            let recipients = accepted.copied().collect();
            return self.conclude_all(&Batch { mail: batch.mail, recipients }, &deciding, server);
        }
        for &recipient in &batch.recipients {
            let own = refusals.iter().find(|(refused, _)| *refused == recipient);
            let conclusion = own.map_or_else(|| deciding.clone(), |(_, own)| own.clone());
            self.settle(batch.mail, recipient, conclusion, server.clone());
        }
    }

    pub(super) fn conclude_all(&mut self, batch: &Batch, conclusion: &Conclusion, server: Option<Arc<str>>) {
        for &recipient in &batch.recipients {
            self.conclude(batch.mail, recipient, conclusion.clone(), server.clone());
        }
    }

    /// What an attempt came to for one recipient: it is tried again later, or that is final.
    pub(super) fn conclude(
        &mut self,
        number: usize,
        recipient: usize,
        what: Conclusion,
        server: Option<Arc<str>>,
    ) {
        let Some(at) = self.next_attempt(number, recipient, &what) else {
            return self.settle(number, recipient, what, server);
        };
        if let Some(mail) = self.mails.get_mut(&number) {
            mail.record_attempt(recipient, what, server, false);
            self.queue.push_later(number, recipient, at);
            self.resting.push(number);
        }
    }

    /// When `recipient` is tried again, if it is.
    fn next_attempt(&self, number: usize, recipient: usize, what: &Conclusion) -> Option<Instant> {
        let job = self.run.job;
        if self.run.is_over() || self.run.is_ledger_lost() || !retry::is_worth_another(&job.policy, what) {
            return None;
        }
        let (before, elapsed) = self.mails.get(&number)?.tried(recipient);
        let delay = job.bulk.retry.delay(before + 1, elapsed, job.deadline, retry::random());
        delay.and_then(|delay| Instant::now().checked_add(delay))
    }

    /// The outcome is final, and told in the order of the recipients.
    fn settle(&mut self, number: usize, recipient: usize, what: Conclusion, server: Option<Arc<str>>) {
        let Some(mail) = self.mails.get_mut(&number) else { return };
        if matches!(what, Conclusion::Outcome(Outcome::Delivered(_)))
            && !self.run.memory.delivered(mail, recipient)
        {
            self.run.lose_ledger();
        }
        mail.record_attempt(recipient, what, server, true);
        self.queue.withdraw(number, recipient);
        while let Some(record) = self.mails.get_mut(&number).and_then(|mail| mail.next_record()) {
            self.tell(record);
        }
        if self.mails.get(&number).is_some_and(|mail| mail.all_reported())
            && let Some(mail) = self.mails.remove(&number)
        {
            self.run.memory.let_go(&mail);
        }
    }

    pub(super) fn tell(&mut self, record: Record) {
        let policy = &self.run.job.policy;
        let judgement = self.judge(&record.conclusion);
        if self.run.job.bulk.fail_fast && judgement.exit != exit::OK {
            self.run.end_early();
        }
        if judgement.again || judgement.exit == policy.styled(exit::TEMPFAIL) {
            self.run.memory.keep();
        }
        if !self.reporter.record(record) {
            self.run.lose_report();
        }
    }

    pub(super) fn measure(&mut self, measure: Measure) {
        if self.run.job.bulk.is_measured() {
            self.reporter.measure(measure);
        }
    }

    fn judge(&self, what: &Conclusion) -> Judgement {
        what.judge(&self.run.job.policy)
    }

    /// Nobody is left without an outcome. Who is, is a bug, and must not pass for delivered.
    pub(super) fn account(&mut self) {
        let open: Vec<(usize, usize)> =
            self.mails.iter().map(|(number, mail)| (*number, mail.envelope.recipients.len())).collect();
        for (mail, recipients) in open {
            let text = "this is a bug of lmtp-send: the outcome was lost";
            let error = LocalError::new(Kind::Bug, Stage::Delivery, text);
            let batch = Batch { mail, recipients: (0..recipients).collect() };
            self.conclude_all(&batch, &Conclusion::LocalError(error), None);
        }
    }
}

/// All or nothing, and the server takes no more recipients in a transaction, which is no verdict on this one: it is
/// tried again, whatever the reply's first digit.
fn no_room_for_all(reply: Reply) -> Outcome {
    if reply.class() == 4 {
        return Outcome::Refused { stage: Stage::Rcpt, reply };
    }
    let text = format!("all or nothing: the server accepts no more recipients in a transaction: {reply}");
    Outcome::Unsuited(Reply::new(452, EnhancedCode::new(4, 5, 3), &text))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Listener, Listeners, Reporter, Run};
    use super::*;
    use crate::cli;
    use crate::job::Job;
    use crate::stop::Stop;

    #[derive(Default)]
    struct Heard(Vec<Record>);

    impl Reporter for Heard {
        fn record(&mut self, record: Record) -> bool {
            self.0.push(record);
            true
        }
        fn warning(&mut self, _: &str) {}
        fn listener(&self, _: &str) -> Listener {
            Box::new(|_| {})
        }
        fn listeners(&self) -> Listeners {
            Arc::new(|_| Box::new(|_| {}))
        }
        fn measure(&mut self, _: Measure) {}
    }

    /// The job of sending a message to three recipients, again and again.
    fn job(home: &std::path::Path, stop: &Stop) -> Job {
        let file = home.join("one.eml");
        fs::write(&file, "Subject: one\n\none\n").unwrap();
        let words = "lmtp-send --sink inbox --retry 9 -f me@x.example -t a@x.example,b@x.example,c@x.example";
        let words = words.split(' ').map(Into::into).chain([file.into()]);
        let Ok(args) = cli::typed_only(&words.collect::<Vec<_>>()) else { panic!() };
        Job::new(&args, Instant::now(), stop).unwrap()
    }

    /// Does `work` with a worker that has one batch for all three; what it tells.
    fn heard(work: impl FnOnce(&Run<'_>, &mut Worker<'_>, Batch)) -> Vec<Record> {
        let (home, stop) = (tempfile::tempdir().unwrap(), Arc::new(Stop::uncaught(75)));
        let job = job(home.path(), &stop);
        let run = Run::new(&job, &stop).unwrap();
        let mut heard = Heard::default();
        let mut worker = Worker::new(&run, &mut heard);
        let batch = worker.next_batch().unwrap();
        work(&run, &mut worker, batch);
        drop(worker);
        heard.0
    }

    fn unreachable() -> Conclusion {
        Conclusion::LocalError(LocalError::new(Kind::Unreachable, Stage::Connect, "nobody there"))
    }

    #[test]
    fn nobody_whose_outcome_is_final_is_sent_to() {
        let heard = heard(|run, worker, batch| {
            worker.conclude(batch.mail, 1, unreachable(), None);
            assert!(worker.queue.next_due().is_some(), "it is to be tried again");
            run.end_early();
            worker.conclude(batch.mail, 1, unreachable(), None);
            assert_eq!(worker.queue.next_due(), None, "that is final");
            let unsettled = worker.unsettled(batch.clone()).unwrap();
            assert_eq!(unsettled.recipients, [0, 2]);
            worker.conclude_all(&batch, &unreachable(), None);
            assert_eq!(worker.unsettled(batch), None);
        });
        assert_eq!(heard.len(), 3);
    }

    #[test]
    fn only_who_was_tried_is_told_that_another_attempt_was_due() {
        let heard = heard(|run, worker, batch| {
            let mail = worker.mails.get_mut(&batch.mail).unwrap();
            // The server had no room for the first in two transactions.
            [0, 0, 1].iter().for_each(|&recipient| mail.attempt(recipient));
            worker.conclude(batch.mail, 1, unreachable(), None);
            run.end_early();
            worker.leave(&batch);
        });
        let texts: Vec<String> = heard.iter().map(|record| format!("{:?}", record.conclusion)).collect();
        let again: Vec<bool> = texts.iter().map(|text| text.contains("before it was tried again")).collect();
        assert_eq!(again, [false, true, false], "{texts:?}");
    }
}
