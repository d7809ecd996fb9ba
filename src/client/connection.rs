//! Messages over one session after another: further transactions, and what was not tried, are dealt with here.

use std::sync::Arc;

use super::opening::{ClientTransport, Options, SharedObserver, open};
use super::{Envelope, Error, MailData, Outcome};
use crate::lmtp::pipeline::Pipeline;
use crate::lmtp::{
    Address, Cause, Content, Extensions, Reply, SessionError, Settlement, Stage, Transaction, TransactionId,
};

/// How many recipients a transaction over a stream has that is not written to and read from at once: as many as a
/// server must take (RFC 5321 §4.5.3.1.8), whose replies fit into any connection's buffers.
const BLOCKING: usize = 100;

/// A session with a server, for one message after another.
///
/// If the server ends the session between two messages, a new one is opened, except over a stream of your own.
/// [`close`](Connection::close) sends QUIT; dropping this closes the connection without it.
pub struct Connection {
    options: Arc<Options>,
    pipeline: Option<Pipeline<ClientTransport, SharedObserver>>,
    extensions: Extensions,
    greeting: Reply,
}

/// A recipient without an outcome, and the one that it has when no more can be done.
type Unsettled = (usize, Option<Outcome>);

impl Connection {
    pub(super) fn new(options: Arc<Options>) -> Result<Self, Error> {
        let session = open(&options)?;
        let (extensions, greeting) = (session.extensions().clone(), session.greeting().clone());
        Ok(Self { options, pipeline: Some(Pipeline::new(session)), extensions, greeting })
    }

    /// What the server offers, by its last reply to LHLO.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The server's greeting.
    #[must_use]
    pub fn greeting(&self) -> &Reply {
        &self.greeting
    }

    /// Sends one message. Returns the outcome for each recipient, in the order of [`Envelope::recipients`].
    ///
    /// # Errors
    ///
    /// An [`Error`] means that nothing was sent to any recipient. Whatever goes wrong after that is in the outcomes.
    pub fn send<'m>(
        &mut self,
        envelope: &Envelope,
        message: impl Into<MailData<'m>>,
    ) -> Result<Vec<Outcome>, Error> {
        self.deliver(envelope, message.into(), false)
    }

    /// Ends the session with QUIT. Its result does not change the outcomes.
    pub fn close(mut self) {
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.finish();
        }
    }

    /// As [`send`](Self::send); `last`: QUIT may follow at once.
    pub(super) fn deliver(
        &mut self,
        envelope: &Envelope,
        mut message: MailData<'_>,
        last: bool,
    ) -> Result<Vec<Outcome>, Error> {
        if envelope.recipients.is_empty() {
            return Err(Error::NoRecipients);
        }
        if message.content().raw_octets() == 0 {
            return Err(Error::EmptyMessage);
        }
        let mut outcomes = vec![None; envelope.recipients.len()];
        let mut left: Vec<Unsettled> = (0..outcomes.len()).map(|recipient| (recipient, None)).collect();
        let mut no_session = None;
        while !left.is_empty() {
            if let Err(error) = self.ready() {
                if outcomes.iter().all(Option::is_none) && left.iter().all(|(_, known)| known.is_none()) {
                    return Err(error);
                }
                no_session = Some(error);
                break;
            }
            let before = left.len();
            left = self.transact(envelope, message.content(), left, last, &mut outcomes);
            // Each transaction settles somebody, or ends a session that had been used before.
            if left.len() == before && self.pipeline.is_some() {
                break;
            }
        }
        for (recipient, known) in left {
            if let Some(outcome) = outcomes.get_mut(recipient) {
                *outcome = Some(known.unwrap_or_else(|| Outcome::never_named(no_session.as_ref())));
            }
        }
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(lost)).collect())
    }

    /// A session that takes a transaction.
    fn ready(&mut self) -> Result<(), Error> {
        if self.pipeline.as_ref().is_some_and(|pipeline| pipeline.session().takes_another()) {
            return Ok(());
        }
        if let Some(mut old) = self.pipeline.take() {
            old.finish();
        }
        let session = open(&self.options)?;
        self.extensions = session.extensions().clone();
        self.pipeline = Some(Pipeline::new(session));
        Ok(())
    }

    /// One transaction, for as many of `left` as go into one; who is left after it.
    fn transact(
        &mut self,
        envelope: &Envelope,
        message: &mut dyn Content,
        mut left: Vec<Unsettled>,
        last: bool,
        outcomes: &mut [Option<Outcome>],
    ) -> Vec<Unsettled> {
        let Some(pipeline) = &mut self.pipeline else { return left };
        let most = pipeline.session().extensions().limits().rcpt_max.unwrap_or(usize::MAX).max(1);
        let most = if self.options.is_blocking() { most.min(BLOCKING) } else { most };
        let rest = left.split_off(most.min(left.len()));
        let recipients: Vec<&Address> =
            left.iter().filter_map(|(recipient, _)| envelope.recipients.get(*recipient)).collect();
        let transaction = Transaction {
            smtputf8: envelope.smtputf8,
            mail: &envelope.mail,
            rcpt: &envelope.rcpt,
            ..Transaction::new(&envelope.sender, &recipients, message.octets())
        };
        // A session that cannot be had again is kept until it is known that nobody is left.
        let last = last && rest.is_empty() && self.options.can_reopen();
        let done = converse(pipeline, &transaction, message, last);
        // The session did not take it after all: nobody has been named.
        let mut again = if let Ok(None) = done { std::mem::take(&mut left) } else { Vec::new() };
        while let Some(settled) = pipeline.result() {
            let Some(&(recipient, _)) = left.get(settled.recipient) else { continue };
            match settled.settlement {
                Settlement::Known(outcome) => {
                    outcomes.get_mut(recipient).into_iter().for_each(|o| *o = Some(outcome.clone().into()));
                }
                Settlement::Again(reply) => again.push((recipient, Some(Outcome::postponed(reply)))),
                Settlement::Untried(error) => again.push((recipient, Some(Outcome::unsent(error)))),
            }
        }
        if !matches!(done, Ok(Some(_))) {
            self.pipeline = None;
        }
        again.extend(rest);
        again
    }
}

/// Sends the message and waits for what becomes of it; with QUIT behind it when it is the `last`. `None`: the session
/// took no more, and nothing was begun.
fn converse(
    pipeline: &mut Pipeline<ClientTransport, SharedObserver>,
    transaction: &Transaction<'_>,
    message: &mut dyn Content,
    last: bool,
) -> Result<Option<TransactionId>, SessionError> {
    let id = pipeline.submit(transaction, message)?;
    if last {
        pipeline.finish();
    }
    while pipeline.next_reply()? {}
    Ok(id)
}

/// What cannot be: the session forgot somebody. It must not pass for delivered, nor for undelivered.
fn lost() -> Outcome {
    crate::lmtp::Outcome::Uncertain(SessionError { stage: Stage::Delivery, cause: Cause::TooFewReplies })
        .into()
}
