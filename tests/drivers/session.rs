//! The session, sending messages as the program sends them, by [`Pipeline`], to servers that say whatever the input says.
//!
//! An input is eight octets, the [`Settings`], and then a script: what servers say, one after the other, with
//! marks that say when and how ([`server`]). What is promised of any conversation is held against what has
//! crossed the wire ([`promises`]).

mod letter;
mod promises;
mod server;

use std::collections::VecDeque;
use std::rc::Rc;

use lmtp_send::lmtp::auth::Mechanism;
use lmtp_send::lmtp::session::{Body, Verb};
use lmtp_send::lmtp::{
    Address, DataReply, Event, Outcome, Pipeline, Reply, Room, Secret, Session, SessionError, Settled,
    Settlement, Stage, Transaction, TransactionId,
};

use letter::Letter;
use server::{Conversation, Peer, Script};

use super::octets::assert_printable;

const PASSWORD: &str = "open-sesame";
/// The user's name in base64.
const USER: &str = "am9l";
/// What no transcript and no failure may show: the password, as it is and in base64, alone and in a PLAIN response.
const SECRETS: [&str; 3] = [PASSWORD, "b3Blbi1zZXNhbW", "AGpvZQBvcGVuLXNlc2Ft"];

pub fn drive(data: &[u8]) {
    let Some((settings, script)) = data.split_first_chunk() else { return };
    // A server that happens to know what is secret: its words are shown until then, and not as they were after.
    let said: String = script.iter().filter(|o| o.is_ascii_graphic()).map(|o| char::from(*o)).collect();
    if SECRETS.iter().chain([&USER]).any(|secret| said.contains(secret)) {
        return;
    }
    let settings = Settings(*settings);
    let letters: Vec<Letter> = (0..settings.letters()).map(|at| Letter::new(settings, at)).collect();
    let mut courier = Courier {
        settings,
        script: Rc::new(Script::new(script, settings)),
        known: letters.iter().map(|letter| vec![None; letter.to.len()]).collect(),
        inputs: (0..letters.len()).collect(),
        letters,
        waiting: VecDeque::new(),
        line: None,
    };
    courier.run();
    let forgotten = courier.known.iter().flatten().filter(|known| known.is_none()).count();
    assert_eq!(forgotten, 0, "recipients without an outcome");
}

/// How messages are sent, which, and to whom; and how the servers take and give octets.
#[derive(Clone, Copy)]
struct Settings([u8; 8]);

impl Settings {
    fn flag(self, octet: usize, bit: u8) -> bool {
        self.0[octet] & (1 << bit) != 0
    }

    fn body(self) -> Body {
        [Body::EightBit, Body::EightBit, Body::SevenBit, Body::Binary][usize::from(self.0[0] >> 4 & 3)]
    }

    fn verb(self) -> Verb {
        [Verb::Mail, Verb::Send, Verb::Soml, Verb::Saml][usize::from(self.0[2] >> 2 & 3)]
    }

    fn letters(self) -> usize {
        usize::from(self.0[2] % 4) + 1
    }

    fn mechanism(self) -> Option<Mechanism> {
        let names = ["", "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-1", "EXTERNAL", ""];
        Mechanism::parse(names[usize::from(self.0[1] % 8)])
    }

    fn chunking(self) -> bool {
        self.flag(0, 0)
    }

    fn hold(self) -> bool {
        self.flag(0, 1)
    }

    fn all_or_nothing(self) -> bool {
        self.flag(0, 2)
    }

    fn smtputf8(self) -> bool {
        self.flag(0, 3)
    }

    fn starttls(self) -> bool {
        self.flag(0, 6)
    }

    fn xclient(self) -> bool {
        self.flag(0, 7)
    }

    /// The next message has to be waited for.
    fn slow_input(self) -> bool {
        self.flag(2, 4)
    }

    /// The next message has to be read while this one's end is on its way.
    fn handed_over(self) -> bool {
        self.flag(2, 5)
    }
}

type Listener = Box<dyn FnMut(Event<'_>)>;

/// A message for some of its recipients: one transaction.
struct Batch {
    letter: usize,
    recipients: Vec<usize>,
}

/// A session, what was begun in it, and what it has settled.
struct Line {
    pipeline: Pipeline<Peer, Listener>,
    conversation: Rc<Conversation>,
    begun: Vec<Begun>,
    settled: Vec<Settled>,
}

/// A transaction: the message, its recipients, and whether one of them has cancelled it.
struct Begun {
    letter: usize,
    recipients: Vec<usize>,
    cancelled: bool,
}

/// What has become of a recipient.
#[derive(Clone, Debug)]
enum Known {
    Outcome(Outcome),
    /// There was no session.
    NoSession,
}

/// `delivery` in little: one host, no report, no deadline.
struct Courier {
    settings: Settings,
    script: Rc<Script>,
    letters: Vec<Letter>,
    known: Vec<Vec<Option<Known>>>,
    inputs: VecDeque<usize>,
    waiting: VecDeque<Batch>,
    line: Option<Line>,
}

impl Courier {
    fn run(&mut self) {
        // Each transaction but those that a lost session leaves untried settles somebody.
        let recipients: usize = self.letters.iter().map(|letter| letter.to.len()).sum();
        let mut left = (self.script.connections() + 1) * (recipients + 1);
        while let Some(batch) = self.next_batch() {
            left = left.checked_sub(1).expect("it comes to an end");
            self.deliver(batch);
        }
        self.hang_up();
    }

    /// What is left of a letter that was begun, else the next letter: before that is read, the end of the one
    /// before is handed over, or its session ended.
    fn next_batch(&mut self) -> Option<Batch> {
        while self.waiting.is_empty() {
            if self.inputs.is_empty() || self.settings.slow_input() {
                self.hang_up();
            } else if self.settings.handed_over()
                && let Some(line) = &mut self.line
                && let Err(failure) = line.pipeline.hand_over()
            {
                self.failed(&failure);
            }
            if !self.waiting.is_empty() {
                break;
            }
            let letter = self.inputs.pop_front()?;
            self.take_in(letter);
        }
        self.waiting.pop_front()
    }

    fn take_in(&mut self, letter: usize) {
        let recipients = (0..self.letters[letter].to.len()).collect();
        self.waiting.push_back(Batch { letter, recipients });
    }

    fn deliver(&mut self, mut batch: Batch) {
        if !self.ready() {
            return self.settle_all(&batch, &Known::NoSession);
        }
        if let Err(failure) = self.converse(&mut batch) {
            self.failed(&failure);
        }
    }

    fn converse(&mut self, batch: &mut Batch) -> Result<(), SessionError> {
        let ticket = self.begin(batch)?;
        while let Some(line) = &mut self.line
            && line.pipeline.next_earlier_reply()?
        {
            self.collect();
        }
        let Some(line) = &mut self.line else { return Ok(()) };
        let go = line.pipeline.send(&mut self.letters[batch.letter].open())?;
        if go == DataReply::Cancelled {
            line.begun[ticket.number() as usize].cancelled = true;
        }
        self.collect();
        if go == DataReply::Cancelled {
            self.cancel(batch);
        }
        Ok(())
    }

    fn begin(&mut self, batch: &mut Batch) -> Result<TransactionId, SessionError> {
        let line = self.line.as_mut().expect("a session that is ready");
        let letter = &self.letters[batch.letter];
        let limit = line.pipeline.session().extensions().limits().rcpt_max.unwrap_or(usize::MAX);
        if batch.recipients.len() > limit {
            let recipients = batch.recipients.split_off(limit);
            self.waiting.push_front(Batch { letter: batch.letter, recipients });
        }
        let recipients: Vec<&Address> = batch.recipients.iter().map(|i| &letter.to[*i]).collect();
        let octets = letter.octets(self.settings.body());
        let mut transaction = Transaction::new(&letter.from, &recipients, octets);
        transaction.verb = self.settings.verb();
        transaction.body = self.settings.body();
        transaction.chunking = self.settings.chunking();
        transaction.smtputf8 = self.settings.smtputf8();
        transaction.all_or_nothing = self.settings.all_or_nothing();
        transaction.confirm_envelope = self.settings.hold();
        let ticket = line.pipeline.next_id();
        assert_eq!(ticket.number(), line.begun.len() as u64);
        let recipients = batch.recipients.clone();
        line.begun.push(Begun { letter: batch.letter, recipients, cancelled: false });
        let begun = line.pipeline.begin(&transaction)?;
        assert_eq!(begun, ticket);
        Ok(ticket)
    }

    /// Whether there is a session that takes a transaction: this one, or that of one more server in the script.
    fn ready(&mut self) -> bool {
        match self.has_room() {
            Ok(true) => return true,
            Ok(false) => self.hang_up(),
            Err(failure) => self.failed(&failure),
        }
        self.connect()
    }

    fn has_room(&mut self) -> Result<bool, SessionError> {
        while let Some(line) = &mut self.line {
            match line.pipeline.room()? {
                Room::Free => return Ok(true),
                Room::Busy => drop(line.pipeline.next_reply()?),
                Room::Closed => break,
            }
            self.collect();
        }
        Ok(false)
    }

    fn connect(&mut self) -> bool {
        let Some(peer) = self.script.connect() else { return false };
        let conversation = peer.conversation();
        let opened = self.open(peer, &conversation);
        conversation.opened();
        match opened {
            Ok(session) => {
                let pipeline = Pipeline::new(session);
                self.line = Some(Line { pipeline, conversation, begun: Vec::new(), settled: Vec::new() });
                true
            }
            Err(failure) => {
                assert_tellable(&failure);
                promises::hold(self.settings, &self.letters, &conversation, None);
                false
            }
        }
    }

    fn open(
        &self,
        peer: Peer,
        conversation: &Rc<Conversation>,
    ) -> Result<Session<Peer, Listener>, SessionError> {
        let log = Rc::clone(conversation);
        let observer: Listener = Box::new(move |event: Event<'_>| log.observe(&event));
        let mut session = Session::open_observed(peer, "client.example", observer)?;
        if self.settings.starttls() {
            session.starttls()?;
        }
        if let Some(mechanism) = self.settings.mechanism() {
            let done = session.authenticate(mechanism, "joe", &Secret::from(PASSWORD.to_owned()));
            done.inspect_err(|_| session.close())?;
        }
        if self.settings.xclient() {
            session.xclient(&["NAME=x".into(), "ADDR=::1".into()]).inspect_err(|_| session.close())?;
        }
        Ok(session)
    }

    fn hang_up(&mut self) {
        if let Some(line) = &mut self.line {
            line.pipeline.finish();
            self.line_lost();
        }
    }

    fn failed(&mut self, failure: &SessionError) {
        assert_tellable(failure);
        self.line_lost();
    }

    fn line_lost(&mut self) {
        self.collect();
        if let Some(line) = self.line.take() {
            promises::hold(self.settings, &self.letters, &line.conversation, Some(&line));
        }
    }

    fn collect(&mut self) {
        let mut again: Vec<(usize, usize)> = Vec::new();
        while let Some(line) = &mut self.line
            && let Some(settled) = line.pipeline.result()
        {
            line.settled.push(settled.clone());
            let begun = &line.begun[settled.transaction.number() as usize];
            let (letter, recipient) = (begun.letter, begun.recipients[settled.recipient]);
            match settled.settlement {
                Settlement::Known(outcome) => self.settle(letter, recipient, Known::Outcome(outcome)),
                Settlement::Again(reply) if self.settings.all_or_nothing() => {
                    let refused = Outcome::Refused { stage: Stage::Rcpt, reply };
                    self.settle(letter, recipient, Known::Outcome(refused));
                }
                Settlement::Again(_) | Settlement::Untried(_) => again.push((letter, recipient)),
            }
        }
        for same in again.chunk_by(|a, b| a.0 == b.0).rev() {
            let recipients = same.iter().map(|(_, recipient)| *recipient).collect();
            self.waiting.push_front(Batch { letter: same[0].0, recipients });
        }
    }

    fn cancel(&mut self, batch: &Batch) {
        let refused = |recipient: &usize| match &self.known[batch.letter][*recipient] {
            Some(Known::Outcome(outcome @ (Outcome::Refused { .. } | Outcome::Unsuited(_)))) => Some(outcome),
            Some(_) | None => None,
        };
        let deciding = batch.recipients.iter().find_map(refused).expect("somebody was refused");
        let deciding = Known::Outcome(deciding.clone());
        for recipient in &batch.recipients {
            self.known[batch.letter][*recipient].get_or_insert(deciding.clone());
        }
    }

    fn settle_all(&mut self, batch: &Batch, known: &Known) {
        batch.recipients.iter().for_each(|i| self.settle(batch.letter, *i, known.clone()));
    }

    fn settle(&mut self, letter: usize, recipient: usize, known: Known) {
        let before = self.known[letter][recipient].replace(known);
        assert!(before.is_none(), "letter {letter}, recipient {recipient}: it had {before:?} already");
    }
}

/// What is told of a failure can be shown, and gives nothing away.
fn assert_tellable(failure: &SessionError) {
    let text = failure.to_string();
    assert_printable(&text);
    assert_secret(&text);
}

fn assert_secret(text: &str) {
    assert!(!SECRETS.iter().any(|secret| text.contains(secret)), "{text}");
}

/// What was said and heard, as a transcript would have it.
enum Word {
    Sent(String),
    Received(Reply),
}
