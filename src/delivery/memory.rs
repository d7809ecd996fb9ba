//! The ledger of a run: what was delivered before, and what is to be remembered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use lmtp_send::io_error::words;

use super::ledger::{Ledger, MessageId, Taken};
use super::mail::{Letter, Mail};
use crate::exit::Kind;
use crate::job::Job;
use crate::local_error::LocalError;
use crate::process::{kind, unusable};
use crate::stop::Stop;

/// How long the end of the run waits for others who have the ledger locked.
const LEDGER_WAIT: Duration = Duration::from_secs(10);
/// How long it waits at a time.
const PAUSE: Duration = Duration::from_millis(10);

/// The ledger, if there is one, shared by the workers.
pub struct Memory {
    ledger: Option<Mutex<Ledger>>,
    /// The run ends in 75: what it has delivered is to be remembered.
    again: AtomicBool,
    /// Why something that was delivered may not be remembered.
    failure: OnceLock<String>,
}

impl Memory {
    /// Opens the ledger of `job`, if it has one.
    ///
    /// # Errors
    ///
    /// It cannot be made or written to.
    pub fn open(job: &Job) -> Result<Self, LocalError> {
        let Some((path, keep)) = &job.bulk.ledger else {
            return Ok(Self::new(None));
        };
        let ledger = Ledger::open(path, *keep).map_err(|e| {
            LocalError::input(kind(&e, Kind::Config), format!("--ledger {}", unusable(path, &e)))
        })?;
        Ok(Self::new(Some(Mutex::new(ledger))))
    }

    fn new(ledger: Option<Mutex<Ledger>>) -> Self {
        Self { ledger, again: AtomicBool::new(false), failure: OnceLock::new() }
    }

    /// Takes the mail in hand, where that is not done; and who has the message already. `None`: another run is busy
    /// with it.
    ///
    /// # Errors
    ///
    /// The ledger or the message cannot be read, or the ledger not written to: it must not be sent.
    pub fn take(&self, mail: &mut Mail) -> Result<Option<Vec<bool>>, LocalError> {
        let Some(ledger) = &self.ledger else { return Ok(Some(Vec::new())) };
        let (None, Some(letter)) = (mail.id(), mail.letter().cloned()) else { return Ok(Some(Vec::new())) };
        let id = identify(&letter, mail)?;
        let recipients = mail.envelope.recipients.iter().map(|recipient| recipient.as_str());
        let taken = ledger.lock().unwrap_or_else(PoisonError::into_inner).take(&id, recipients);
        match taken.map_err(|e| not_kept(&e))? {
            Taken::Busy => Ok(None),
            Taken::InHand(have) => {
                mail.take_in_hand(id);
                Ok(Some(have))
            }
        }
    }

    /// The copy for `recipient` was accepted. `false`: that cannot be remembered.
    pub fn delivered(&self, mail: &Mail, recipient: usize) -> bool {
        let (Some(ledger), Some(id)) = (&self.ledger, mail.id()) else { return true };
        let Some(recipient) = mail.envelope.recipients.get(recipient) else { return true };
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_kept(ledger.delivered(id, recipient.as_str()))
    }

    /// Whether what was written is remembered; if not, why is.
    fn is_kept(&self, written: std::io::Result<()>) -> bool {
        if let Err(e) = &written {
            self.failure.get_or_init(|| not_kept(e).text);
        }
        written.is_ok()
    }

    /// Why something that was delivered may not be remembered.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// What became of the mail is known.
    pub fn let_go(&self, mail: &Mail) {
        if let (Some(ledger), Some(id)) = (&self.ledger, mail.id()) {
            // Others wait until this run ends, then.
            let _ = ledger.lock().unwrap_or_else(PoisonError::into_inner).let_go(id);
        }
    }

    /// The run is to be repeated.
    pub fn keep(&self) {
        self.again.store(true, Ordering::Relaxed);
    }

    /// What was delivered outlasts a loss of power.
    pub fn sync(&self) {
        if let Some(ledger) = &self.ledger {
            self.is_kept(ledger.lock().unwrap_or_else(PoisonError::into_inner).sync());
        }
    }

    /// The run has ended, and what it came to has been told: unless it is to be repeated, what was delivered is
    /// forgotten. Whatever kills the process from here on, its caller repeats what is done: nothing comes behind this.
    ///
    /// # Errors
    ///
    /// The ledger remembers too much.
    pub fn finish(self, stop: &Stop) -> Result<(), LocalError> {
        let Some(ledger) = &self.ledger else { return Ok(()) };
        let until = Instant::now() + LEDGER_WAIT;
        let _waiting = stop.waiting(|| "waiting for another run to release the ledger".to_owned());
        let mut locked = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let again = self.again.load(Ordering::Relaxed);
        while !locked.finish(again).map_err(|e| not_kept(&e))? {
            if stop.pause(PAUSE, until).is_err() {
                return locked.abandon(again).map_err(|e| not_kept(&e));
            }
        }
        drop(locked);
        // Closing a file that has no name any more takes the file system its time, which the end of the process may have.
        std::mem::forget(self);
        Ok(())
    }
}

fn identify(letter: &Letter, mail: &Mail) -> Result<MessageId, LocalError> {
    let id = MessageId::of(&mail.envelope.reverse_path, &letter.message);
    id.map_err(|e| {
        LocalError::input(Kind::InputOutput, format!("cannot read the message to its end: {}", words(&e)))
    })
}

fn not_kept(error: &std::io::Error) -> LocalError {
    LocalError::input(kind(error, Kind::Exhausted), format!("cannot write the ledger: {}", words(error)))
}
