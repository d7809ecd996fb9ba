//! What a worker does next: what is left of messages that were begun, what is due to be tried again, and else the
//! next message, which is opened and read.
//!
//! The end of a message never waits for this: it is on its way before anything is opened. Most files are read while
//! the server looks at the envelope of the message before, and are at hand by then.

use std::io::ErrorKind;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use lmtp_send::lmtp::SessionError;

use super::intake::{Ahead, Input, Next, Place};
use super::mail::{About, Letter, Mail};
use super::queue::Batch;
use super::worker::Worker;
use super::{Measure, addressing, test_message};
use crate::exit::Kind;
use crate::local_error::LocalError;
use crate::stop::Wait;

/// A pause that a session stands without harm.
const HARMLESS_PAUSE: Duration = Duration::from_secs(1);
/// The most that reading ahead may take of a server's time. What takes longer, such as finding out who runs this, is
/// done in the message's turn.
const MOMENT: Duration = Duration::from_millis(100);

impl Worker<'_> {
    /// What is to be done next: what is left of a message that was begun, what is to be tried again, else the next
    /// message.
    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        loop {
            self.let_rest();
            if self.run.stop.is_requested() {
                // What is in flight has little time left.
                self.hang_up();
            }
            if let Some(batch) = self.queue.pop(Instant::now) {
                return Some(batch);
            }
            match self.next_input() {
                Next::Input(input) => {
                    self.make_way_for(&input);
                    self.next = Some(input);
                }
                Next::Later(at) => self.pause(at),
                Next::Needs(_) => {}
                Next::Directory => self.measure_expected(),
                Next::Nothing => {
                    self.hang_up();
                    if self.queue.is_empty() && self.queue.next_due().is_none() {
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

    /// The next message to be taken in, or when something is due. The session makes way for what that takes.
    fn next_input(&mut self) -> Next {
        if let Some(input) = self.next.take() {
            return Next::Input(input);
        }
        let mut next = if self.queue.is_full() { Next::Nothing } else { self.run.next_input(Ahead::AtHand) };
        while let Next::Needs(ahead) = next {
            self.make_way(ahead);
            next =
                if self.queue.is_empty() { self.run.next_input(ahead) } else { return Next::Needs(ahead) };
        }
        match (next, self.queue.next_due()) {
            (Next::Nothing, Some(due)) => Next::Later(due),
            (Next::Later(at), Some(due)) => Next::Later(at.min(due)),
            (next, _) => next,
        }
    }

    /// Before a file is opened, the end of the message sent last goes on its way; and others are waited for without
    /// a session.
    fn make_way(&mut self, ahead: Ahead) {
        match ahead {
            Ahead::AtHand => {}
            Ahead::Read => self.hand_over(),
            Ahead::Wait => self.hang_up(),
        }
    }

    /// The same, before `input` is opened.
    fn make_way_for(&mut self, input: &Input) {
        match &input.place {
            Place::File(_) if input.is_read() => {}
            Place::File(_) if input.is_from_others() => self.hang_up(),
            Place::File(_) => self.hand_over(),
            Place::Read(_) | Place::Nowhere(_) | Place::Unread(_) => {}
        }
    }

    /// Waits until `at`. A session is kept open where that is soon, and nothing is to be known before.
    fn pause(&mut self, at: Instant) {
        let soon = at.saturating_duration_since(Instant::now()) <= HARMLESS_PAUSE;
        if !soon || self.queue.next_due().is_some() {
            self.hang_up();
        } else if self.hear_replies().is_err() {
            self.connection_lost();
        }
        if !self.queue.is_empty() {
            return;
        }
        let _waiting = self.run.stop.wait_of(|| {
            let (what, since) = match (self.queue.next_due(), self.taken) {
                (Some(_), Some((_, since))) => {
                    ("another run that is delivering this message (--ledger)", since)
                }
                (Some(_), None) => ("the next attempt", Instant::now()),
                (None, _) => ("the next message (--rate)", Instant::now()),
            };
            Wait { what: format!("waiting for {what}"), since }
        });
        let waited = self.run.stop.wait(None, None, at);
        if waited.is_err_and(|e| e.kind() == ErrorKind::Interrupted) {
            self.run.end_early();
            self.give_up_waiting();
        }
    }

    /// Takes the replies to what was sent, as far as none of them needs something more behind it.
    fn hear_replies(&mut self) -> Result<(), SessionError> {
        self.hand_over();
        while let Some(connection) = &mut self.connection
            && connection.pipeline.next_reply()?
        {
            self.collect();
        }
        Ok(())
    }

    /// What waits to be tried again has no time left.
    fn give_up_waiting(&mut self) {
        while let Some(batch) = self.queue.pop_later() {
            self.leave(&batch);
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
    fn take_in(&mut self, mut input: Input) {
        let job = self.run.job;
        let mut about = About::new(job, &input);
        let deadline = about.deadline(job);
        let letter = match self.read(&mut input, deadline, &mut about) {
            Ok(letter) => letter,
            Err(error) => {
                if about.is_message && error.kind != Kind::NotBegun {
                    self.measure(Measure::Message);
                }
                let recipients = addressing::numbered(&job.to, input.copy);
                return about.everyone(&recipients, &error).into_iter().for_each(|record| self.tell(record));
            }
        };
        self.measure(Measure::Message);
        let mail = Mail::new(letter, input, deadline, about);
        let recipients = (0..mail.envelope.recipients.len()).collect();
        self.queue.push(Batch { mail: self.count, recipients });
        self.mails.insert(self.count, mail);
        self.count += 1;
    }

    /// Reads a message.
    fn read(
        &mut self,
        input: &mut Input,
        deadline: Instant,
        about: &mut About,
    ) -> Result<Arc<Letter>, LocalError> {
        if let Place::Nowhere(error) | Place::Unread(error) = &input.place {
            return Err(error.clone());
        }
        if let Some(error) = self.run.hindrance(&input.name) {
            return Err(error);
        }
        if let Some(letter) = input.kept_letter() {
            return Ok(letter);
        }
        let letter = match input.take_letter() {
            Some(letter) => letter,
            None => Arc::new(self.read_letter(input, deadline, about)?),
        };
        if matches!(input.place, Place::File(_)) {
            self.warn_of_mbox(&letter, &input.name);
        }
        input.keep(&letter);
        Ok(letter)
    }

    fn read_letter(
        &mut self,
        input: &mut Input,
        deadline: Instant,
        about: &mut About,
    ) -> Result<Letter, LocalError> {
        let (job, stop) = (self.run.job, self.run.stop);
        let message = match &input.place.clone() {
            Place::Nowhere(error) | Place::Unread(error) => return Err(error.clone()),
            Place::Read(message) => {
                let message = message.lock().unwrap_or_else(PoisonError::into_inner).take();
                message.ok_or_else(|| {
                    LocalError::input(Kind::Bug, format!("{}: it was read twice", input.name))
                })?
            }
            Place::File(_) if job.messages.test.is_some() => {
                let subject = job.messages.test.as_ref().and_then(Option::as_deref);
                test_message::compose(job, subject, deadline, stop)?
            }
            Place::File(path) => {
                let opened = input.open(path)?;
                if opened.is_directory() {
                    let text = format!("{}: is a directory", input.name);
                    return Err(LocalError::input(Kind::NoInput, text));
                }
                if !opened.is_at_hand() {
                    self.hang_up();
                }
                return Letter::read(job, opened, deadline, stop, about);
            }
        };
        Letter::of(job, message, deadline, stop, about)
    }

    /// Opens and reads the next message while the server looks at this one's envelope: so this one's end and that
    /// one's envelope go on their way together. Only what is at hand, and what fails is told in its turn.
    pub(super) fn read_ahead(&mut self) {
        if self.next.is_some() || !self.queue.is_empty() || self.queue.next_due().is_some() {
            return;
        }
        match self.run.next_input(Ahead::Read) {
            Next::Input(mut input) => {
                self.prepare(&mut input);
                self.next = Some(input);
            }
            Next::Directory => self.measure_expected(),
            Next::Later(_) | Next::Needs(_) | Next::Nothing => {}
        }
    }

    fn prepare(&mut self, input: &mut Input) {
        let Place::File(path) = input.place.clone() else { return };
        if self.run.stop.is_requested() || input.is_read() || input.is_from_others() {
            return;
        }
        let Ok(opened) = input.open(&path) else { return };
        if !opened.is_at_hand() {
            return input.set_opened(opened);
        }
        let mut about = About::new(self.run.job, input);
        let soon = Instant::now() + MOMENT;
        if let Ok(letter) = Letter::read(self.run.job, opened, soon, self.run.stop, &mut about) {
            input.set_read(letter);
        }
    }

    /// A mailbox given without --mbox is sent as one message.
    fn warn_of_mbox(&mut self, letter: &Letter, name: &str) {
        if letter.message.looks_like_mbox() {
            let text =
                format!("{name}: looks like an mbox of several messages, sent as one; --mbox delivers each");
            self.reporter.warning(&text);
        }
    }

    /// Says how many messages there are, where that is known and somebody wants to know.
    fn measure_expected(&mut self) {
        if self.run.job.bulk.is_measured()
            && let Some(messages) = self.run.expected()
        {
            self.measure(Measure::Expected(messages));
        }
    }
}
