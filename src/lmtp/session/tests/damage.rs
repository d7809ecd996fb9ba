//! Damaged transcripts by the ten thousand, from a seed: whatever a server says, every recipient is settled
//! once, and nothing panics or goes on for ever.

use super::*;

/// The same numbers in every run (Knuth's MMIX generator).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

const LINES: &[&str] = &[
    "220 hello\r\n",
    "221 2.0.0 bye\r\n",
    "250 2.0.0 ok\r\n",
    "250-2.0.0 more\r\n",
    "250 PIPELINING\r\n",
    "354 go on\r\n",
    "421 4.3.2 closing\r\n",
    "450 later\r\n",
    "452 4.5.3 too many\r\n",
    "550-5.1.1 no\r\n",
    "550 5.1.1 no\r\n",
    "552 over\r\n",
    "100 early\r\n",
    "999 late\r\n",
    "\r\n",
    "\n",
    "250",
    "\0\0\0\0",
];

/// Does some harm to `octets`.
fn damage(octets: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(octets.len() + 1);
    let line = octets[..at].iter().rposition(|&o| o == b'\n').map_or(0, |i| i + 1);
    let end = octets[line..].iter().position(|&o| o == b'\n').map_or(octets.len(), |i| line + i + 1);
    match dice.below(8) {
        0 if at < octets.len() => octets[at] ^= 1 << dice.below(8),
        1 => octets.insert(at, u8::try_from(dice.below(256)).unwrap()),
        2 if at < octets.len() => drop(octets.remove(at)),
        3 => drop(octets.drain(line..end)),
        4 => {
            let copy = octets[line..end].to_vec();
            octets.splice(line..line, copy);
        }
        5 => drop(octets.splice(line..line, dice.pick(LINES).bytes())),
        6 => drop(octets.splice(line..end, dice.pick(LINES).bytes())),
        _ if dice.below(4) == 0 => octets.truncate(at),
        _ => {}
    }
}

/// A model whose words are damaged on their way, now and then.
struct Damaged {
    model: Model,
    dice: Dice,
    /// One answer in so many is damaged.
    one_in: usize,
    closes: bool,
}

impl Damaged {
    fn harm(&mut self, mut octets: Vec<u8>) -> Vec<u8> {
        while !octets.is_empty() && self.dice.below(self.one_in) == 0 {
            damage(&mut octets, &mut self.dice);
            self.closes |= self.dice.below(50) == 0;
        }
        octets
    }
}

impl Server for Damaged {
    fn greeting(&mut self) -> Vec<u8> {
        self.model.greeting()
    }

    fn hear(&mut self, line: &[u8], more: bool) -> Vec<u8> {
        let answer = self.model.hear(line, more);
        self.harm(answer)
    }

    fn raw(&self) -> Option<usize> {
        self.model.raw()
    }

    fn closes(&self) -> bool {
        self.closes || self.model.closes()
    }
}

/// A server that says what it has to say in one go, whatever it hears.
struct Canned(Vec<u8>);

impl Server for Canned {
    fn greeting(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    fn hear(&mut self, _: &[u8], _: bool) -> Vec<u8> {
        Vec::new()
    }

    fn closes(&self) -> bool {
        false
    }
}

fn manner(dice: &mut Dice) -> Manner {
    const SIZES: [usize; 5] = [1, 5, 30, 100, usize::MAX];
    Manner {
        order: *dice.pick(&[Order::Write, Order::Read, Order::Both]),
        take: *dice.pick(&SIZES),
        give: *dice.pick(&SIZES),
        room: *dice.pick(&SIZES),
    }
}

#[test]
fn damaged_answers_settle_every_recipient_once() {
    let [first, second] = two_letters();
    let letters = [first, second, Letter::new("", &["g@x"], "x\n")];
    let mut seen = BTreeMap::<String, usize>::new();
    for seed in 0..if thorough() { 10_000 } else { 2_000 } {
        let mut dice = Dice(seed);
        let mut offers = vec!["PIPELINING", "CHUNKING"];
        offers.retain(|_| dice.below(4) > 0);
        let careless = dice.below(2) == 0;
        let model = Model::new(Rules { offers, careless, ..mixed_rules() });
        let truth = model.truth();
        let (manner, one_in) = (manner(&mut dice), 2 + dice.below(20));
        let run = send(Peer::new(Damaged { model, dice, one_in, closes: false }, manner, None), &letters);
        run.assert_settled(&letters);
        for message in &truth.borrow().ended {
            // A lone dot ends no message but the empty one, where a server's acceptance was made a refusal.
            let whole = letters.iter().any(|l| message.ends_with(&l.received()));
            assert!(whole || message.is_empty(), "seed {seed}: {message:?}");
        }
        run.settlements.values().for_each(|settlement| *seen.entry(words(settlement)).or_default() += 1);
    }
    let rare = if thorough() { "refused data 452" } else { "delivered" };
    for settlement in ["delivered", "uncertain", "unanswered", "untried", rare] {
        assert!(seen.contains_key(settlement), "{settlement} never came: {seen:?}");
    }
}

#[test]
fn damaged_transcripts_settle_every_recipient_once() {
    let letters = two_letters();
    let transcript = "220 hi\r\n250-mx\r\n250 PIPELINING\r\n250 s\r\n250 a\r\n550 b\r\n250 c\r\n354 go\r\n\
        250 a\r\n452 c\r\n250 s\r\n250 d\r\n250 e\r\n452 f\r\n354 go\r\n250 d\r\n552 e\r\n221 bye\r\n";
    for seed in 0..if thorough() { 10_000 } else { 2_000 } {
        let mut dice = Dice(seed);
        let mut octets = transcript.as_bytes().to_vec();
        for _ in 0..dice.below(6) {
            damage(&mut octets, &mut dice);
        }
        let run = send(Peer::new(Canned(octets), manner(&mut dice), None), &letters);
        run.assert_settled(&letters);
    }
}

/// What befalls one line of a server's.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Loses,
    Repeats,
    /// Another goes before it.
    Adds(&'static str),
}

/// A model one line of which suffers harm: so many lines behind the greeting.
struct Harmed {
    model: Model,
    harm: Harm,
    line: usize,
}

impl Server for Harmed {
    fn greeting(&mut self) -> Vec<u8> {
        self.model.greeting()
    }

    fn hear(&mut self, line: &[u8], more: bool) -> Vec<u8> {
        let mut passed = Vec::new();
        for line in self.model.hear(line, more).split_inclusive(|&o| o == b'\n') {
            let here = self.line == 0;
            self.line = self.line.wrapping_sub(1);
            match self.harm {
                Harm::Loses if here => continue,
                Harm::Repeats if here => passed.extend_from_slice(line),
                Harm::Adds(other) if here => passed.extend_from_slice(other.as_bytes()),
                Harm::Loses | Harm::Repeats | Harm::Adds(_) => {}
            }
            passed.extend_from_slice(line);
        }
        passed
    }

    fn raw(&self) -> Option<usize> {
        self.model.raw()
    }

    fn closes(&self) -> bool {
        self.model.closes()
    }
}

/// Two messages for three recipients, of whom `b` is refused: the lines behind the greeting are LHLO's 0 to
/// 2; the first's 3 to 7, delivered 8, 9; the second's 10 to 14, delivered 15 to 17; QUIT's 18.
fn harmed(harm: Harm, line: usize, letters: &[Letter]) -> Run {
    let answers = vec![
        ("RCPT TO:<b@", "550 5.1.1 <{}> nobody"),
        ("message c@", "452 4.2.2 <{}> full"),
        ("message e@", "552 5.2.2 <{}> over"),
    ];
    let model = Model::new(Rules { answers, ..Rules::default() });
    send(Peer::new(Harmed { model, harm, line }, AT_ONCE, None), letters)
}

/// Behind the end of one message stand the commands of the next: no recipient of either gets the reply of
/// another, for each reply names the one it is for.
#[test]
fn one_reply_too_many_or_too_few_between_messages_is_credited_to_nobody_else() {
    let letters = two_letters();
    for harm in [Harm::Loses, Harm::Repeats, Harm::Adds("250 ok\r\n"), Harm::Adds("550 no\r\n")] {
        for line in 9..=14 {
            let run = harmed(harm, line, &letters);
            run.assert_settled(&letters);
            for ((id, recipient), settlement) in &run.settlements {
                let name = letters[run.begun[usize::try_from(*id).unwrap()]].to[*recipient].as_str();
                let named = settlement_reply(settlement).is_none_or(|reply| reply.text().contains(name));
                assert!(named, "{harm:?} line {line}: <{name}> has {settlement:?}");
            }
        }
    }
}
