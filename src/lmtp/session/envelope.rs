//! MAIL, RCPT and DATA, and whether the message follows.

use super::super::wire::Form;
use super::super::{
    Cause, EnhancedCode, Outcome, Reply, SessionError, Settlement, Stage, TransactionId, Transport,
};
use super::transaction_state::{
    MailReply, Phase, Precondition, Recipient, Standing, TransactionState, Transfer,
};
use super::{Body, DataReply, Due, Observer, Session, Transaction, command};

/// The octets of a message that goes by BDAT in the group of its envelope: so many are handed over at once, and
/// the chunk is whole when it turns out to be for nobody. Dovecot 2.3 never lets go of a session that ends in the
/// middle of such a chunk. A longer message waits for the replies to RCPT, which takes little beside sending it.
const PIPELINED_BDAT: u64 = 64 * 1024;
/// How many octets of commands are put together before they are written.
pub(super) const GROUP: usize = 32 * 1024;

impl<T: Transport, O: Observer> Session<T, O> {
    pub(super) fn try_begin(
        &mut self,
        id: TransactionId,
        transaction: &Transaction<'_>,
    ) -> Result<(), SessionError> {
        self.begun += 1;
        let standing = self.standing();
        self.transactions.push_back(TransactionState::new(id, transaction, standing));
        self.check_in_step()?;
        self.refuse_unsuited(id, transaction);
        if !self.is_pending(id) {
            self.progress_mut(id).into_iter().for_each(|t| t.phase = Phase::NoMessage);
            self.forget_settled();
            return Ok(());
        }
        let transfer = self.transfer(transaction, standing);
        let Some(progress) = self.progress_mut(id) else { return Ok(()) };
        progress.transfer = transfer;
        let waits = progress.precondition != Precondition::None || progress.is_binary();
        while waits && !self.owed.is_empty() {
            // What is asked first has to be known for certain, and a binary message has no mark of its own.
            self.try_read_reply()?;
        }
        if waits {
            let standing = self.standing();
            self.transactions.back_mut().into_iter().for_each(|t| t.standing = standing);
        }
        self.owed.awaiting_resync |= self.has_carried;
        self.reset();
        self.in_turn()?;
        self.needs_reset = true;
        self.command(&command::mail(transaction, &self.server.extensions), Due::Mail(id));
        self.in_turn()?;
        self.say_recipients(id, transaction)?;
        if self.wants_data(id) {
            self.command("DATA", Due::Data(id));
        }
        Ok(())
    }

    /// What can have moved the replies to a transaction that is begun now.
    fn standing(&self) -> Standing {
        if self.owed.owes_delivery() {
            Standing::Behind
        } else if self.has_carried {
            Standing::Unmarked
        } else if self.begun > 1 {
            Standing::Later
        } else {
            Standing::First
        }
    }

    fn say_recipients(
        &mut self,
        id: TransactionId,
        transaction: &Transaction<'_>,
    ) -> Result<(), SessionError> {
        for (i, recipient) in transaction.recipients.iter().enumerate() {
            let pipelining = self.pipelining();
            let Some(progress) = self.progress_mut(id) else { return Ok(()) };
            // In turn, nobody is named to a server that has refused MAIL.
            if !pipelining && progress.heard.mail == MailReply::Other {
                return Ok(());
            }
            if progress.recipients.get(i) == Some(&Recipient::Waiting) {
                progress.heard.said += 1;
                self.command(&command::rcpt(recipient, transaction.rcpt), Due::Rcpt(id, i));
                self.in_turn()?;
            }
        }
        Ok(())
    }

    /// DATA is said with the envelope: unless something has to be known before, or nobody was accepted.
    fn wants_data(&self, id: TransactionId) -> bool {
        self.progress(id).is_some_and(|t| {
            let plain = t.precondition == Precondition::None && !t.in_chunks();
            plain && (self.pipelining() || t.has_acceptance())
        })
    }

    /// Octets that nobody asked for, before a command is sent that could take them for its answer.
    fn check_in_step(&mut self) -> Result<(), SessionError> {
        if !self.owed.is_empty() || self.begun == 1 {
            return Ok(());
        }
        self.link.take_pending(Stage::Mail)?;
        if !self.link.reader.has_input() {
            return Ok(());
        }
        let reply = self.reply(Stage::Mail)?;
        let cause = if reply.code() == 421 { Cause::Closing(reply) } else { Cause::OutOfPlace(reply) };
        Err(SessionError { stage: Stage::Mail, cause })
    }

    /// Settles the recipients for whom this server will not do.
    fn refuse_unsuited(&mut self, id: TransactionId, transaction: &Transaction<'_>) {
        let utf8 = self.extensions().offers("SMTPUTF8");
        let everyone = self.unsuited(transaction, utf8);
        for (i, recipient) in transaction.recipients.iter().enumerate() {
            let refusal = everyone.clone().or_else(|| {
                (!utf8 && !recipient.is_ascii()).then(|| no_smtputf8("this recipient's address needs"))
            });
            if let Some(reply) = refusal {
                self.settle(id, i, Settlement::Known(Outcome::Unsuited(reply)));
            }
        }
    }

    /// Why nothing of `transaction` can be said to this server.
    fn unsuited(&self, transaction: &Transaction<'_>, utf8: bool) -> Option<Reply> {
        if let Some(limit) = self.extensions().size_limit().filter(|&l| transaction.octets > l) {
            let text = format!(
                "the message has {} octets, but the server accepts at most {limit}",
                transaction.octets
            );
            return Some(Reply::new(552, EnhancedCode::new(5, 3, 4), &text));
        }
        let takes_binary = self.extensions().offers("BINARYMIME") && self.extensions().offers("CHUNKING");
        if transaction.body == Body::Binary && !takes_binary {
            let text = "the message is binary, but the server does not offer BINARYMIME and CHUNKING";
            return Some(Reply::new(554, EnhancedCode::new(5, 6, 1), text));
        }
        let needs_utf8 = transaction.smtputf8 || !transaction.reverse_path.as_str().is_ascii();
        (!utf8 && needs_utf8).then(|| no_smtputf8("the sender's address or --smtputf8 needs"))
    }

    /// How the message goes: by BDAT where it must, and where that saves a turn. It saves none behind a message
    /// whose replies are owed; and in a session that has carried a message, 354 marks the place.
    fn transfer(&self, transaction: &Transaction<'_>, standing: Standing) -> Transfer {
        let marked = matches!(standing, Standing::First | Standing::Later) && !self.owed.awaiting_resync;
        let quiet = marked && self.owed.is_empty();
        let plain = !transaction.confirm_envelope && !transaction.all_or_nothing;
        let pipelined_bdat = transaction.octets <= PIPELINED_BDAT && marked;
        match transaction.body {
            Body::Binary => Transfer::Chunks { form: Form::Binary, pipelined_bdat },
            Body::EightBit | Body::SevenBit
                if transaction.chunking && quiet && plain && self.extensions().offers("CHUNKING") =>
            {
                Transfer::Chunks { form: Form::Bdat, pipelined_bdat }
            }
            Body::EightBit | Body::SevenBit => Transfer::Data,
        }
    }

    /// Without PIPELINING, waits for what the last command is owed; else writes only full groups.
    fn in_turn(&mut self) -> Result<(), SessionError> {
        if self.pipelining() {
            return if self.link.queued() > GROUP { self.flush() } else { Ok(()) };
        }
        while !self.owed.is_empty() {
            self.try_read_reply()?;
        }
        Ok(())
    }

    pub(super) fn try_await_data_reply(&mut self) -> Result<DataReply, SessionError> {
        let Some(progress) = self.transactions.back() else { return Ok(DataReply::Nothing) };
        let (id, precondition) = (progress.id, progress.precondition);
        if !progress.is_pipelined_bdat() || precondition != Precondition::None {
            self.try_await_envelope(id)?;
        }
        let refused = |t: &TransactionState| t.heard.refusals > 0 || t.unsettled < t.recipients.len();
        if precondition == Precondition::Acceptance && self.progress(id).is_some_and(refused) {
            return self.cancel(id);
        }
        let asks = |t: &TransactionState| t.phase == Phase::Envelope && !t.in_chunks() && t.has_acceptance();
        if precondition != Precondition::None && self.progress(id).is_some_and(asks) {
            self.command("DATA", Due::Data(id));
            self.try_await_envelope(id)?;
        }
        let Some(progress) = self.progress_mut(id) else { return Ok(DataReply::Nothing) };
        let by_chunks = progress.in_chunks() && (progress.is_pipelined_bdat() || progress.has_acceptance());
        if progress.phase == Phase::Envelope {
            progress.phase =
                if by_chunks && progress.unsettled > 0 { Phase::Message } else { Phase::NoMessage };
        }
        if progress.phase == Phase::Message && progress.unsettled > 0 {
            return Ok(DataReply::GoAhead);
        }
        if precondition != Precondition::None && progress.phase == Phase::NoMessage {
            self.reset();
        }
        Ok(DataReply::Nothing)
    }

    /// Somebody was refused where nobody may be: nothing is sent. In a session that has carried a message only the
    /// reply to QUIT tells that the refusal is one.
    fn cancel(&mut self, id: TransactionId) -> Result<DataReply, SessionError> {
        if self.owed.awaiting_resync {
            self.progress_mut(id).into_iter().for_each(|t| t.phase = Phase::NoMessage);
            self.quit();
            while !self.owed.is_empty() {
                self.try_read_reply()?;
            }
        }
        if self.progress(id).is_some_and(TransactionState::may_have_moved) {
            return Err(SessionError { stage: Stage::Rcpt, cause: Cause::TooFewReplies });
        }
        self.transactions.retain(|t| t.id != id);
        self.reset();
        Ok(DataReply::Cancelled)
    }

    /// The server is to forget what was begun.
    fn reset(&mut self) {
        if self.open && std::mem::take(&mut self.needs_reset) {
            self.command("RSET", Due::Reset);
        }
    }

    /// Waits for the replies to the commands of an envelope.
    pub(super) fn try_await_envelope(&mut self, id: TransactionId) -> Result<(), SessionError> {
        while self.owed.owes_envelope(id) {
            self.try_read_reply()?;
        }
        Ok(())
    }

    pub(super) fn try_may_follow(&mut self) -> Result<bool, SessionError> {
        if !self.pipelining() || !self.takes_another() {
            return Ok(false);
        }
        let Some(progress) = self.transactions.back() else { return Ok(false) };
        let (id, chunked) = (progress.id, progress.in_chunks());
        // What has to be known first, or can only go in chunks, has no mark to be told from what stands before it.
        if progress.precondition != Precondition::None || progress.is_binary() {
            return Ok(false);
        }
        if chunked {
            self.try_await_envelope(id)?;
        }
        let accepted = self.progress(id).is_some_and(|t| t.first_accepted.is_some());
        Ok(self.takes_another() && (!chunked || accepted))
    }

    /// DATA was answered 354 though nobody was accepted: a lone dot ends it, no reply is owed for that, and
    /// since some servers send one all the same the session ends. Where MAIL was refused too, a server
    /// could take the dot for a message: the connection is dropped.
    pub(super) fn end_nothing(&mut self, id: TransactionId) {
        let refused = self.progress(id).is_none_or(|t| t.heard.mail != MailReply::Positive);
        self.transactions.retain(|t| t.id != id);
        if !refused {
            self.say(".");
            self.quit();
        }
        self.open = false;
    }
}

fn no_smtputf8(who: &str) -> Reply {
    let text = format!("{who} SMTPUTF8, but the server does not offer it");
    Reply::new(553, EnhancedCode::new(5, 6, 7), &text)
}
