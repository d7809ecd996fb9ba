//! The replies that are owed, in the order of the commands, and those that have come and may have moved. Pure: what
//! a reply means for a recipient is decided in `replies`.

use std::collections::VecDeque;

use super::super::{Reply, Stage, TransactionId};

/// A reply that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Due {
    Mail(TransactionId),
    Rcpt(TransactionId, usize),
    Data(TransactionId),
    /// To a chunk that is not the last.
    Chunk(TransactionId),
    /// To the message's end: a reply for each recipient, who is accepted by the time that this is the front.
    Last(TransactionId),
    Delivery(TransactionId, usize),
    Reset,
    Quit,
}

impl Due {
    /// The transaction that it is part of.
    pub fn id(self) -> Option<TransactionId> {
        match self {
            Due::Mail(id)
            | Due::Rcpt(id, _)
            | Due::Data(id)
            | Due::Chunk(id)
            | Due::Last(id)
            | Due::Delivery(id, _) => Some(id),
            Due::Reset | Due::Quit => None,
        }
    }

    /// What is waited for.
    pub fn stage(self) -> Stage {
        match self {
            Due::Mail(_) | Due::Reset => Stage::Mail,
            Due::Rcpt(..) => Stage::Rcpt,
            Due::Data(_) | Due::Chunk(_) => Stage::Data,
            Due::Last(_) | Due::Delivery(..) => Stage::Delivery,
            Due::Quit => Stage::Quit,
        }
    }

    /// To an envelope's command of `id`.
    pub fn is_envelope(self, id: TransactionId) -> bool {
        matches!(self, Due::Mail(i) | Due::Rcpt(i, _) | Due::Data(i) if i == id)
    }

    /// To a message.
    pub fn is_delivery(self) -> bool {
        matches!(self, Due::Delivery(..))
    }

    /// Whether a reply of this kind can be meant for it. 354 to DATA and 221 to QUIT are marks, and 355 to MAIL is
    /// looked at elsewhere.
    pub fn takes(self, reply: &Reply) -> bool {
        match self {
            Due::Mail(_) | Due::Rcpt(..) | Due::Chunk(_) | Due::Last(_) | Due::Delivery(..) => {
                reply.is_positive() || reply.is_negative()
            }
            Due::Data(_) => reply.is_negative(),
            Due::Reset => reply.is_positive(),
            Due::Quit => true,
        }
    }
}

/// What a mark that came too early says of the replies before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Realigned {
    /// Who had a reply to the message.
    pub answered: Vec<(Due, Reply)>,
    /// Who had none.
    pub unanswered: Vec<Due>,
    /// The last reply to the message.
    pub last: Reply,
    /// What was said to the commands behind the message.
    pub rest: Vec<(Due, Reply)>,
}

/// The queue of the replies that are owed.
///
/// Between a message's end and the next **mark** (354 to DATA, 221 to QUIT) nothing but their number tells whom
/// replies are for. When the mark comes:
///
/// - As many replies as were owed have come: each stands in its place.
/// - More have come, and all are 2yz: whichever was too many, everything that was owed a reply had a 2yz.
/// - Fewer have come: the message was answered with fewer replies than it was owed ([`Owed::realign`]).
/// - Anything else: nobody knows.
#[derive(Debug, Default)]
pub(super) struct Owed {
    queue: VecDeque<Due>,
    /// Replies whose place no mark has confirmed.
    pub held: Vec<(Due, Reply)>,
    /// The first that came where a mark was due, and is none.
    pub surplus_reply: Option<Reply>,
    /// A transaction was begun behind a message's end, and the mark has not come.
    pub awaiting_resync: bool,
}

impl Owed {
    pub fn push(&mut self, due: Due) {
        self.queue.push_back(due);
    }

    /// The reply that is due next.
    pub fn front(&self) -> Option<Due> {
        self.queue.front().copied()
    }

    /// Puts a reply for each of `recipients` in the place of the one that stands for them all.
    pub fn expand(&mut self, id: TransactionId, recipients: Vec<usize>) {
        self.queue.pop_front();
        recipients.into_iter().rev().for_each(|i| self.queue.push_front(Due::Delivery(id, i)));
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether replies to the commands of the envelope `id` are owed.
    pub fn owes_envelope(&self, id: TransactionId) -> bool {
        self.queue.iter().rev().any(|due| due.is_envelope(id))
    }

    /// Whether replies to a message are owed.
    pub fn owes_delivery(&self) -> bool {
        self.queue.iter().any(|due| matches!(due, Due::Delivery(..) | Due::Last(_)))
    }

    /// Takes `reply` for the front. Its place may still turn out to be another's.
    pub fn hold(&mut self, due: Due, reply: Reply) {
        self.queue.pop_front();
        self.held.push((due, reply));
    }

    /// Nothing is waited for any more.
    pub fn clear(&mut self) {
        self.queue.clear();
    }

    /// Whether every reply since the last mark was 2yz, those that were too many among them.
    pub fn all_positive(&self) -> bool {
        self.held.iter().map(|(_, reply)| reply).chain(&self.surplus_reply).all(Reply::is_positive)
    }

    /// Moves the replies that are held to their places, when `mark` comes for something that stands further behind
    /// in the queue: the message before was answered with fewer replies than it is owed. `None` where that explains
    /// nothing.
    ///
    /// Two recipients and another message behind them, and Cyrus or aiosmtpd, which say one thing for all:
    ///
    /// ```text
    /// owed:     a b | MAIL RCPT c DATA
    /// said:     552   250  250  354
    /// taken as: a=552 b=250 MAIL=250, and 354 for RCPT, which it cannot be
    /// so:       DATA is one place further on, one reply is missing, and only the message can lack one:
    ///           a=552, b without, MAIL=250, RCPT c=250, DATA=354
    /// ```
    pub fn realign(&mut self, mark: &Reply) -> Option<Realigned> {
        let is_mark = |due: &Due| match mark.code() {
            354 => matches!(due, Due::Data(_)),
            _ => *due == Due::Quit,
        };
        let missing = self.queue.iter().position(is_mark).filter(|_| self.surplus_reply.is_none())?;
        let (mut places, replies): (Vec<Due>, Vec<Reply>) =
            std::mem::take(&mut self.held).into_iter().unzip();
        places.extend(self.queue.drain(..missing));
        let from = places.iter().position(|due| due.is_delivery()).unwrap_or(places.len());
        let owed = places.iter().skip(from).take_while(|due| due.is_delivery()).count();
        // With two messages before the mark, nobody knows which of them lacks replies.
        let another = places.iter().skip(from + owed).any(|due| due.is_delivery());
        let given = from + owed.saturating_sub(missing);
        let last = replies.get(given.saturating_sub(1)).filter(|_| given > from && !another)?.clone();
        let unanswered = places.drain(given..from + owed).collect();
        let mut answered: Vec<(Due, Reply)> = places.into_iter().zip(replies).collect();
        let rest = answered.split_off(given);
        Some(Realigned { answered, unanswered, last, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::EnhancedCode;
    use super::*;

    const ID: TransactionId = TransactionId(7);

    fn due(word: &str) -> Due {
        match word {
            "MAIL" => Due::Mail(ID),
            "RCPT" => Due::Rcpt(ID, 0),
            "DATA" => Due::Data(ID),
            "RSET" => Due::Reset,
            "QUIT" => Due::Quit,
            recipient => Due::Delivery(ID, usize::from(recipient.as_bytes()[0] - b'a')),
        }
    }

    fn reply(code: u16) -> Reply {
        Reply::new(code, EnhancedCode::new(2, 0, 0), &code.to_string())
    }

    fn owed(words: &str, said: &[u16]) -> Owed {
        let mut owed = Owed::default();
        words.split(' ').for_each(|word| owed.push(due(word)));
        for code in said {
            owed.hold(owed.front().unwrap(), reply(*code));
        }
        owed
    }

    #[test]
    fn a_mark_that_comes_too_early_moves_what_was_said_before_it() {
        for (words, said, mark, answered, unanswered, rest) in [
            ("a b QUIT", &[552][..], 221, "a=552", "b", ""),
            ("a b c QUIT", &[250, 450], 221, "a=250 b=450", "c", ""),
            ("a b MAIL RCPT DATA", &[552, 250, 250], 354, "a=552", "b", "MAIL=250 RCPT=250"),
            (
                "a b c RSET MAIL RCPT DATA",
                &[250, 250, 250, 550],
                354,
                "a=250",
                "b c",
                "RSET=250 MAIL=250 RCPT=550",
            ),
        ] {
            let show = |pairs: &[(Due, Reply)]| pairs.iter().map(|(d, r)| (*d, r.code())).collect::<Vec<_>>();
            let expected = |text: &str| {
                let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
                pairs.map(|(word, code)| (due(word), code.parse().unwrap())).collect::<Vec<_>>()
            };
            let found = owed(words, said).realign(&reply(mark)).unwrap();
            assert_eq!(show(&found.answered), expected(answered), "{words}");
            assert_eq!(found.unanswered, unanswered.split(' ').map(due).collect::<Vec<_>>(), "{words}");
            assert_eq!(show(&found.rest), expected(rest), "{words}");
            assert_eq!(Some(found.last), found.answered.last().map(|(_, reply)| reply.clone()));
        }
    }

    #[test]
    fn what_fewer_replies_to_a_message_cannot_explain_stays_unexplained() {
        for (words, said, mark) in [
            ("a b QUIT", &[][..], 221),            // not even one
            ("a b QUIT", &[250], 354),             // nobody asked for DATA
            ("MAIL RCPT DATA", &[250], 354),       // no message before
            ("a MAIL RCPT DATA", &[250], 221),     // no QUIT
            ("a b MAIL c QUIT", &[250, 250], 221), // two messages
        ] {
            assert_eq!(owed(words, said).realign(&reply(mark)), None, "{words}");
        }
        let mut surplus = owed("a b QUIT", &[250]);
        surplus.surplus_reply = Some(reply(250));
        assert_eq!(surplus.realign(&reply(221)), None);
    }

    #[test]
    fn each_command_takes_its_kind_of_reply() {
        for (word, takes) in [
            ("MAIL", [true, false, true, true]),
            ("RCPT", [true, false, true, true]),
            ("DATA", [false, false, true, true]),
            ("a", [true, false, true, true]),
            ("RSET", [true, false, false, false]),
            ("QUIT", [true; 4]),
        ] {
            assert_eq!([250, 354, 450, 550].map(|code| due(word).takes(&reply(code))), takes, "{word}");
        }
    }

    #[test]
    fn the_end_of_a_message_is_owed_a_reply_for_each() {
        let mut owed = Owed::default();
        owed.push(Due::Last(ID));
        owed.push(Due::Quit);
        assert!(owed.owes_delivery() && !owed.owes_envelope(ID));
        owed.expand(ID, vec![0, 2]);
        for word in ["a", "c", "QUIT"] {
            assert_eq!(owed.front(), Some(due(word)));
            owed.hold(due(word), reply(250));
        }
        assert!(owed.is_empty() && owed.all_positive());
        owed.surplus_reply = Some(reply(550));
        assert!(!owed.all_positive());
    }
}
