//! The session against a peer in memory: what is promised whatever the server and the connection do.
//!
//! Messages are sent as the program sends them, by [`Pipeline`]. A model of a server remembers what it
//! truly accepted, and its
//! replies name the recipient they are for; so outcomes are held against the truth, not against the session.

mod cuts;
mod damage;
mod files;
mod model;
mod peer;
mod speed;
mod transactions;
mod verdicts;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::content::Bytes;
use super::*;
use crate::lmtp::{Address, Outcome, Pipeline, ReversePath, Room, Settlement};
use model::{Model, Rules, Truth};
use peer::{AT_ONCE, Cut, Log, Manner, Order, Peer, Server};

/// Whether all that can be combined is: in an optimised build, and where the tests are the last word.
fn thorough() -> bool {
    !cfg!(debug_assertions) || std::env::var_os("CI").is_some()
}

/// A message and its envelope.
#[derive(Clone, Debug)]
struct Letter {
    from: ReversePath,
    to: Vec<Address>,
    body: Vec<u8>,
    /// The octets that are declared, where they are not the body's.
    declared: Option<u64>,
    smtputf8: bool,
    all_or_nothing: bool,
    confirm_envelope: bool,
    chunking: bool,
}

impl Letter {
    fn new(from: &str, to: &[&str], body: &str) -> Self {
        Self {
            from: ReversePath::parse(from).unwrap(),
            to: to.iter().map(|a| Address::parse(a).unwrap()).collect(),
            body: body.as_bytes().to_vec(),
            declared: None,
            smtputf8: false,
            all_or_nothing: false,
            confirm_envelope: false,
            chunking: true,
        }
    }

    /// The message as a server receives it.
    fn received(&self) -> Vec<u8> {
        String::from_utf8(self.body.clone()).unwrap().replace('\n', "\r\n").into_bytes()
    }
}

/// What became of letters, by transaction.
#[derive(Debug, Default)]
struct Run {
    /// The session could not be opened, or ended before its work was done.
    failure: Option<SessionError>,
    /// By transaction: the letter.
    begun: Vec<usize>,
    settlements: BTreeMap<(u64, usize), Settlement>,
    cancelled: Vec<u64>,
    /// Those whose messages were sent to their ends.
    sent: Vec<u64>,
}

impl Run {
    /// What became of the recipients of one transaction, each in a few words.
    fn of(&self, id: u64) -> Vec<String> {
        self.settlements
            .iter()
            .filter(|((t, _), _)| *t == id)
            .map(|(_, settlement)| words(settlement))
            .collect()
    }

    fn collect<T: Transport>(&mut self, pipeline: &mut Pipeline<T>) {
        while let Some(settled) = pipeline.result() {
            let place = (settled.transaction.number(), settled.recipient);
            let before = self.settlements.insert(place, settled.settlement);
            assert_eq!(before, None, "{place:?} was settled twice");
        }
    }

    /// Every recipient of every transaction is settled, and no other.
    fn assert_settled(&self, letters: &[Letter]) {
        for (id, letter) in self.begun.iter().enumerate() {
            let id = id as u64;
            let recipients = letters[*letter].to.len();
            if !self.cancelled.contains(&id) {
                for recipient in 0..recipients {
                    assert!(self.settlements.contains_key(&(id, recipient)), "{id} {recipient}: {self:?}");
                }
            }
        }
        for (id, recipient) in self.settlements.keys() {
            let letter = self.begun[usize::try_from(*id).unwrap()];
            assert!(*recipient < letters[letter].to.len());
        }
    }
}

/// A settlement in a few words: `delivered`, `refused rcpt 550`, `uncertain`.
fn words(settlement: &Settlement) -> String {
    match settlement {
        Settlement::Known(Outcome::Delivered(_)) => "delivered".into(),
        Settlement::Known(Outcome::Refused { stage, reply }) => {
            format!("refused {} {}", stage.name(), reply.code())
        }
        Settlement::Known(Outcome::Unsuited(reply)) => format!("unsuited {}", reply.code()),
        Settlement::Known(Outcome::Unanswered(_)) => "unanswered".into(),
        Settlement::Known(Outcome::Uncertain(_)) => "uncertain".into(),
        Settlement::Again(reply) => format!("again {}", reply.code()),
        Settlement::Untried(_) => "untried".into(),
    }
}

/// Sends `letters` in one session, as `delivery` does.
fn send<S: Server>(peer: Peer<S>, letters: &[Letter]) -> Run {
    let mut run = Run::default();
    match Session::open(peer, "client.example") {
        Ok(session) => {
            let mut pipeline = Pipeline::new(session);
            run.failure = run.send_all(&mut pipeline, letters).err();
            if run.failure.is_none() {
                pipeline.finish();
                run.collect(&mut pipeline);
            }
        }
        Err(failure) => run.failure = Some(failure),
    }
    run
}

impl Run {
    fn send_all<T: Transport>(
        &mut self,
        pipeline: &mut Pipeline<T>,
        letters: &[Letter],
    ) -> Result<(), SessionError> {
        for (place, letter) in letters.iter().enumerate() {
            let sent = match self.room(pipeline) {
                Ok(true) => self.send_one(pipeline, letter, place),
                room => room.map(drop).and(Ok(())),
            };
            self.collect(pipeline);
            sent?;
        }
        Ok(())
    }

    fn room<T: Transport>(&mut self, pipeline: &mut Pipeline<T>) -> Result<bool, SessionError> {
        loop {
            match pipeline.room()? {
                Room::Free => return Ok(true),
                Room::Busy => drop(pipeline.next_reply()?),
                Room::Closed => return Ok(false),
            }
            self.collect(pipeline);
        }
    }

    fn send_one<T: Transport>(
        &mut self,
        pipeline: &mut Pipeline<T>,
        letter: &Letter,
        place: usize,
    ) -> Result<(), SessionError> {
        let id = self.begin(pipeline, letter, place)?;
        // As delivery does where there are several; the first goes as an only one does.
        if place > 0 {
            pipeline.prepare(&mut Bytes::new(&letter.body))?;
        }
        while pipeline.next_earlier_reply()? {
            self.collect(pipeline);
        }
        match pipeline.send(&mut Bytes::new(&letter.body))? {
            DataReply::GoAhead => self.sent.push(id.number()),
            DataReply::Cancelled => self.cancelled.push(id.number()),
            DataReply::Nothing => {}
        }
        Ok(())
    }

    fn begin<T: Transport>(
        &mut self,
        pipeline: &mut Pipeline<T>,
        letter: &Letter,
        place: usize,
    ) -> Result<TransactionId, SessionError> {
        let Letter { from, to, body, declared, smtputf8, all_or_nothing, chunking, confirm_envelope } =
            letter;
        let recipients: Vec<&Address> = to.iter().collect();
        self.begun.push(place);
        assert_eq!(pipeline.next_id().number() + 1, self.begun.len() as u64);
        pipeline.begin(&Transaction {
            reverse_path: from,
            recipients: &recipients,
            octets: declared.unwrap_or_else(|| Bytes::new(body).octets()),
            smtputf8: *smtputf8,
            all_or_nothing: *all_or_nothing,
            verb: Verb::Mail,
            body: Body::EightBit,
            chunking: *chunking,
            confirm_envelope: *confirm_envelope,
            mail: &[],
            rcpt: &[],
        })
    }
}

/// A conversation that is over, and what can be said of it.
struct Scene {
    run: Run,
    truth: Rc<RefCell<Truth>>,
    log: Rc<RefCell<Log>>,
}

/// Sends `letters` to a model of these rules, and holds what became of them against the truth.
fn play(rules: &Rules, manner: Manner, cut: Option<Cut>, letters: &[Letter]) -> Scene {
    let model = Model::new(rules.clone());
    let truth = model.truth();
    let peer = Peer::new(model, manner, cut);
    let log = peer.log();
    let run = send(peer, letters);
    let scene = Scene { run, truth, log };
    scene.assert_true(rules, letters);
    scene
}

impl Scene {
    fn of(&self, id: u64) -> Vec<String> {
        self.run.of(id)
    }

    fn commands(&self) -> Vec<String> {
        self.truth.borrow().commands.clone()
    }

    /// What is promised of any conversation, however it ended.
    fn assert_true(&self, rules: &Rules, letters: &[Letter]) {
        self.run.assert_settled(letters);
        let truth = self.truth.borrow();
        assert!(truth.complaints.is_empty(), "{:?}", truth.complaints);
        for message in &truth.ended {
            let whole = letters.iter().any(|l| l.received() == *message);
            assert!(whole, "ended, but not whole: {:?}", String::from_utf8_lossy(message));
        }
        let each_has_a_reply = rules.at_most == usize::MAX && rules.extra.is_empty();
        for ((id, recipient), settlement) in &self.run.settlements {
            let letter = &letters[self.run.begun[usize::try_from(*id).unwrap()]];
            let name = letter.to[*recipient].as_str();
            let accepted =
                truth.delivered.iter().any(|(to, message)| to == name && *message == letter.received());
            let named =
                settlement_reply(settlement).is_none_or(|reply| reply.text().contains(&format!("<{name}>")));
            match settlement {
                Settlement::Known(Outcome::Delivered(_)) => {
                    assert!(
                        accepted && (named || !rules.extra.is_empty()),
                        "{name}: {settlement:?}, but {truth:?}"
                    );
                }
                Settlement::Known(Outcome::Uncertain(_)) => {}
                Settlement::Known(
                    Outcome::Refused { .. } | Outcome::Unsuited(_) | Outcome::Unanswered(_),
                )
                | Settlement::Again(_)
                | Settlement::Untried(_) => {
                    assert!(!accepted, "{name}: {settlement:?}, but {truth:?}");
                    assert!(named || !each_has_a_reply, "{name}: {settlement:?}");
                }
            }
        }
    }
}

/// The reply that was credited to one recipient alone.
fn settlement_reply(settlement: &Settlement) -> Option<&Reply> {
    match settlement {
        Settlement::Known(Outcome::Delivered(reply)) | Settlement::Again(reply) => Some(reply),
        Settlement::Known(Outcome::Refused { stage: Stage::Rcpt | Stage::Delivery, reply }) => Some(reply),
        Settlement::Known(
            Outcome::Refused { .. } | Outcome::Unsuited(_) | Outcome::Unanswered(_) | Outcome::Uncertain(_),
        )
        | Settlement::Untried(_) => None,
    }
}

/// Two messages to three recipients each, with every kind of verdict among them.
fn two_letters() -> [Letter; 2] {
    [
        Letter::new("s1@x", &["a@x", "b@x", "c@x"], "Subject: 1\n\n.one\n..\n"),
        Letter::new("s2@x", &["d@x", "e@x", "f@x"], "Subject: 2\n\n.\ntwo\n"),
    ]
}

fn mixed_rules() -> Rules {
    Rules {
        answers: vec![
            ("RCPT TO:<b@", "550-5.1.1 <{}> there is\r\n550 5.1.1 nobody"),
            ("message c@", "452 4.2.2 <{}> full"),
            ("message e@", "552 5.2.2 <{}> over"),
            ("RCPT TO:<f@", "452 4.5.3 <{}> too many"),
        ],
        ..Rules::default()
    }
}

/// What becomes of [`two_letters`] under [`mixed_rules`].
fn assert_mixed(scene: &Scene) {
    assert_eq!(scene.of(0), ["delivered", "refused rcpt 550", "refused delivery 452"]);
    assert_eq!(scene.of(1), ["delivered", "refused delivery 552", "again 452"]);
    assert_eq!(scene.run.failure, None);
}
