//! What is promised of any conversation, held against what crossed the wire.

use std::collections::HashMap;

use lmtp_send::lmtp::session::{Body, Verb};
use lmtp_send::lmtp::wire::Form;
use lmtp_send::lmtp::{Cause, Outcome, Reply, Settlement};

use super::letter::{Fault, Letter};
use super::server::{Conversation, Said};
use super::{Begun, Line, Settings, Word};

/// A transaction as the server sees it.
#[derive(Default)]
struct Sent {
    /// Where in what was written the message has ended, if it has.
    end: Option<usize>,
    /// It was asked for by DATA; then the server could not speak before its end, not even begin to.
    by_data: bool,
    /// The recipients that were named.
    named: Vec<usize>,
}

/// Holds a conversation that is over to its promises; `line` is missing where no session came of it.
pub fn hold(settings: Settings, letters: &[Letter], conversation: &Conversation, line: Option<&Line>) {
    let replies = conversation.replies();
    heard_is_what_was_said(conversation, &replies);
    let written = conversation.written.borrow();
    let (opening, rest) = written.split_at(conversation.opening.get().0);
    assert!(!contains(opening, b"MAIL FROM") && !contains(opening, b"DATA"), "it began too early");
    let Some(line) = line else { return assert!(rest.is_empty()) };
    let settlements = settlements(line);
    // A server may answer what it has not heard: the opening's last line may still be on its way.
    let at = opening.iter().rposition(|o| *o == b'\n').map_or(0, |end| end + 1);
    let rest = &written[at..];
    let mut reading =
        Reading { settings, letters, begun: &line.begun, settlements: &settlements, rest, at, next: 0 };
    let sent = reading.transactions();
    for ((id, recipient), settlement) in &settlements {
        assert_fits(settlement, &sent[*id], *recipient, line.pipeline.session().pipelining());
    }
    each_has_a_reply_of_its_own(&settlements, &sent, &replies);
    if !line.pipeline.session().pipelining() {
        in_turn(conversation);
    }
}

/// A transcript has the replies that came, in their order; behind what is none there may be more.
fn heard_is_what_was_said(conversation: &Conversation, replies: &[Said]) {
    let words = conversation.words.borrow();
    let heard = words.iter().filter_map(|word| match word {
        Word::Received(reply) => Some(reply),
        Word::Sent(_) => None,
    });
    let shown =
        |heard: &Reply, said: &Reply| heard == said || (heard.code() == 334 && heard.text() == "[redacted]");
    heard
        .zip(replies)
        .for_each(|(heard, said)| assert!(shown(heard, &said.reply), "{heard}, not {}", said.reply));
}

/// Without PIPELINING nothing is said before what was said has its reply.
fn in_turn(conversation: &Conversation) {
    let mut owed = None;
    for word in &conversation.words.borrow()[conversation.opening.get().1..] {
        match word {
            Word::Received(_) => owed = None,
            Word::Sent(line) if line == "." => {}
            Word::Sent(line) => {
                assert_eq!(owed, None, "when {line} was said");
                owed = Some(line.clone());
            }
        }
    }
}

/// What became of each recipient of each transaction: of each one thing, unless it was cancelled.
fn settlements(line: &Line) -> HashMap<(usize, usize), &Settlement> {
    let mut settlements = HashMap::new();
    for settled in &line.settled {
        let place = (settled.transaction.number() as usize, settled.recipient);
        let before = settlements.insert(place, &settled.settlement);
        assert!(before.is_none(), "{place:?} was settled twice: {before:?}, {:?}", settled.settlement);
    }
    for (id, begun) in line.begun.iter().enumerate().filter(|(_, begun)| !begun.cancelled) {
        let settled = (0..begun.recipients.len()).filter(|i| settlements.contains_key(&(id, *i))).count();
        assert_eq!(settled, begun.recipients.len(), "not all recipients of {id} are settled");
    }
    settlements
}

/// What became of a recipient agrees with how far the transaction came.
fn assert_fits(settlement: &Settlement, sent: &Sent, recipient: usize, pipelining: bool) {
    let (ended, named) = (sent.end.is_some(), sent.named.binary_search(&recipient).is_ok());
    match settlement {
        Settlement::Known(Outcome::Delivered(reply)) => assert!(ended && named && reply.is_positive()),
        Settlement::Known(Outcome::Uncertain(failure)) => assert!(ended && named, "{failure}"),
        Settlement::Known(Outcome::Refused { reply, .. }) => assert!(reply.is_negative()),
        Settlement::Known(Outcome::Unsuited(_)) => assert!(!ended || !named),
        Settlement::Known(Outcome::Unanswered(failure)) => {
            assert!(!ended || matches!(failure.cause, Cause::Closing(_)), "uncertain, not {failure}");
        }
        // In a flight, the server may have answered what was not yet handed over: its place says whom it means.
        Settlement::Again(reply) => {
            let too_many = matches!(reply.code(), 452 | 552) || reply.to_string().contains(" 5.5.3");
            assert!((named || pipelining) && too_many, "{reply}");
        }
        Settlement::Untried(failure) => assert!(!ended, "{failure}"),
    }
}

/// Each delivery has a reply that came behind the message's end and is no other delivery's; a refusal has one.
fn each_has_a_reply_of_its_own(
    settlements: &HashMap<(usize, usize), &Settlement>,
    sent: &[Sent],
    replies: &[Said],
) {
    let mut places: Vec<_> = settlements.keys().copied().collect();
    places.sort_unstable();
    let mut left = replies.iter();
    for place in places {
        match settlements[&place] {
            Settlement::Known(Outcome::Delivered(reply)) => {
                let Sent { end, by_data, .. } = sent[place.0];
                let behind = |said: &Said| Some(if by_data { said.begun } else { said.ended }) >= end;
                let own = left.find(|said| said.reply == *reply && behind(said));
                assert!(own.is_some(), "{place:?} has no reply of its own: {reply}");
            }
            Settlement::Known(Outcome::Refused { reply, .. }) | Settlement::Again(reply) => {
                assert!(replies.iter().any(|said| said.reply == *reply), "nobody said {reply}");
            }
            Settlement::Known(Outcome::Unsuited(_) | Outcome::Unanswered(_) | Outcome::Uncertain(_))
            | Settlement::Untried(_) => {}
        }
    }
}

/// Reads what was written behind the opening: commands and messages, and at its end perhaps a beginning of one.
struct Reading<'a> {
    settings: Settings,
    letters: &'a [Letter],
    begun: &'a [Begun],
    settlements: &'a HashMap<(usize, usize), &'a Settlement>,
    rest: &'a [u8],
    at: usize,
    /// The transaction that may be begun next.
    next: usize,
}

impl<'a> Reading<'a> {
    fn transactions(&mut self) -> Vec<Sent> {
        let mut sent: Vec<Sent> = self.begun.iter().map(|_| Sent::default()).collect();
        let mut chunks = 0;
        while let Some(line) = self.line() {
            let id = self.next.wrapping_sub(1);
            let argument = |verb: &str| line.strip_prefix(verb);
            if argument(self.verb()).is_some_and(|rest| rest.starts_with(" FROM:<")) {
                self.begin(line);
                chunks = 0;
            } else if let Some(path) = argument("RCPT TO:<") {
                let recipient = self.recipient(id, path.trim_end_matches('>'), &sent[id].named);
                sent[id].named.push(recipient);
            } else if line == "DATA" {
                assert_ne!(self.settings.body(), Body::Binary);
                sent[id].end = self.data(id);
                sent[id].by_data = true;
            } else if let Some(size) = argument("BDAT ") {
                sent[id].end = self.chunk(id, size, &mut chunks);
            } else if line == "QUIT" {
                assert!(self.rest.is_empty(), "something was said behind QUIT");
            } else {
                let opens = self.next == 0 && (line.starts_with("LHLO ") || line.starts_with("XCLIENT "));
                assert!(line == "RSET" || opens, "{line}");
            }
        }
        for (begun, sent) in self.begun.iter().zip(&sent) {
            let fault = self.letters[begun.letter].fault;
            assert!(sent.end.is_none() || fault == Fault::None, "it has ended, and {fault:?}");
        }
        sent
    }

    /// The next line without its end; `None` where there is no whole one.
    fn line(&mut self) -> Option<&'a str> {
        let Some(end) = self.rest.iter().position(|o| *o == b'\n') else {
            assert!(self.rest.len() < 1_000);
            return None;
        };
        let line = self.take(end + 1);
        let text = str::from_utf8(line).unwrap().strip_suffix("\r\n").expect("a line that ends in CRLF");
        assert!(!text.contains(char::is_control), "{text:?}");
        Some(text)
    }

    fn take(&mut self, octets: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(octets);
        self.rest = rest;
        self.at += octets;
        taken
    }

    fn verb(&self) -> &'static str {
        match self.settings.verb() {
            Verb::Mail => "MAIL",
            Verb::Send => "SEND",
            Verb::Soml => "SOML",
            Verb::Saml => "SAML",
        }
    }

    /// MAIL of the next transaction that suits the server.
    fn begin(&mut self, line: &str) {
        let unsuited = |settlement: &Settlement| match settlement {
            Settlement::Known(Outcome::Unsuited(reply)) => reply.class() == 5,
            Settlement::Known(_) | Settlement::Again(_) | Settlement::Untried(_) => false,
        };
        let suits = |id: &usize| {
            let recipients = self.begun[*id].recipients.len();
            !(0..recipients)
                .all(|i| self.settlements.get(&(*id, i)).is_some_and(|settlement| unsuited(settlement)))
        };
        let id = (self.next..self.begun.len()).find(suits).expect("a transaction that was begun");
        let from = &self.letters[self.begun[id].letter].from;
        let expected = format!("{} FROM:<{from}>", self.verb());
        let parameters =
            line.strip_prefix(expected.as_str()).unwrap_or_else(|| panic!("{line}, not {expected}"));
        assert!(parameters.is_empty() || parameters.starts_with(' '), "{line}");
        self.next = id + 1;
    }

    /// The place of `path` in the transaction's list, behind those that were `named`.
    fn recipient(&self, id: usize, path: &str, named: &[usize]) -> usize {
        let begun = &self.begun[id];
        let is_it = |i: &usize| self.letters[begun.letter].to[*i].as_str() == path;
        let behind = named.last().map_or(0, |last| last + 1);
        let place = begun.recipients[behind..].iter().position(is_it);
        behind + place.unwrap_or_else(|| panic!("{path} is no recipient, or out of order"))
    }

    /// What follows DATA: the message to its end, or a beginning of it when nothing more was written; a lone dot
    /// where there is nobody to receive it; or the next command.
    fn data(&mut self, id: usize) -> Option<usize> {
        let wire = self.letters[self.begun[id].letter].wire(Form::Data);
        let whole = match self.rest.first() {
            Some(b'.') => {
                assert!(
                    b".\r\nQUIT\r\n".starts_with(self.rest),
                    "a lone dot, and then something else than QUIT"
                );
                let recipients = self.begun[id].recipients.len();
                let verdict = |i| match self.settlements.get(&(id, i)) {
                    Some(
                        Settlement::Known(Outcome::Refused { .. } | Outcome::Unsuited(_))
                        | Settlement::Again(_),
                    ) => true,
                    Some(Settlement::Known(_) | Settlement::Untried(_)) | None => false,
                };
                assert!((0..recipients).all(verdict), "a lone dot, and somebody waits for the message");
                self.take(self.rest.len().min(b".\r\n".len()));
                false
            }
            Some(b'X') => self.is_next(wire) && self.is_next(b".\r\n"),
            Some(_) | None => false,
        };
        whole.then_some(self.at)
    }

    /// The octets of a chunk, of which `size` tells the number, behind the first `done`.
    fn chunk(&mut self, id: usize, size: &str, done: &mut usize) -> Option<usize> {
        let form = if self.settings.body() == Body::Binary { Form::Binary } else { Form::Bdat };
        let wire = self.letters[self.begun[id].letter].wire(form);
        let (number, last) = size.strip_suffix(" LAST").map_or((size, false), |number| (number, true));
        let octets: usize = number.parse().unwrap();
        let chunk = wire.get(*done..*done + octets).expect("no more octets than there are");
        *done += octets;
        assert_eq!(last, *done == wire.len(), "LAST where it is the last: {size}");
        (self.is_next(chunk) && last).then_some(self.at)
    }

    /// Takes `expected`, or a beginning of it behind which nothing stands; tells whether it is whole.
    fn is_next(&mut self, expected: &[u8]) -> bool {
        let size = self.rest.len().min(expected.len());
        assert!(self.take(size) == &expected[..size], "the message was altered");
        size == expected.len()
    }
}

fn contains(octets: &[u8], what: &[u8]) -> bool {
    octets.windows(what.len()).any(|window| window == what)
}
