//! Takes secrets out of what leaves a session: events, errors, answers and outcomes, and nothing else.
//!
//! What is understood is the reply as it came: a server may well use a word that happens to be somebody's password.

use std::borrow::Cow;

use super::reply::{Malformed, Reply, printable};
use super::{Cause, Outcome, Secret, SessionError, Settlement, Stage};

/// Stands in the place of what nobody is to see.
const REDACTED: &str = "[redacted]";
/// Shorter words stand in any text.
const SHORTEST: usize = 3;

/// The words that are to be seen by nobody.
#[derive(Debug, Default)]
pub(super) struct Redactor {
    words: Vec<Secret>,
}

impl Redactor {
    /// From here on `word` is shown to nobody.
    pub fn hide(&mut self, word: Secret) {
        self.words.push(word);
    }

    /// `text` without the words: later ones, which may hold earlier ones, are taken out first.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut shown = Cow::Borrowed(text);
        for word in self.words.iter().rev() {
            let word = printable(word.expose());
            if word.len() >= SHORTEST && shown.contains(&word) {
                shown = Cow::Owned(shown.replace(&word, REDACTED));
            }
        }
        shown
    }

    /// `reply` to a command of `stage`. With what SCRAM's server says of a password, it can be guessed at leisure:
    /// of a challenge nothing is shown.
    pub fn reply<'r>(&self, stage: Stage, reply: &'r Reply) -> Cow<'r, Reply> {
        if stage == Stage::Auth && reply.code() == 334 {
            return Cow::Owned(reply.with_text(None, REDACTED));
        }
        match self.text(reply.raw_text()) {
            Cow::Borrowed(_) => Cow::Borrowed(reply),
            Cow::Owned(text) => Cow::Owned(reply.with_text(reply.enhanced(), &text)),
        }
    }

    /// An error that is handed out.
    pub fn error(&self, error: SessionError) -> SessionError {
        let stage = error.stage;
        let reply = |reply: Reply| self.reply(stage, &reply).into_owned();
        let cause = match error.cause {
            Cause::Closing(r) => Cause::Closing(reply(r)),
            Cause::NotWelcome(r) => Cause::NotWelcome(reply(r)),
            Cause::NotLmtp { reply: r, smtp } => Cause::NotLmtp { reply: reply(r), smtp },
            Cause::OutOfPlace(r) => Cause::OutOfPlace(reply(r)),
            Cause::NotSecure { why, reply: r } => {
                Cause::NotSecure { why: self.text(&why).into_owned(), reply: r.map(reply) }
            }
            Cause::Malformed(what) => Cause::Malformed(self.malformed(stage, what)),
            cause @ (Cause::Closed
            | Cause::Lost(..)
            | Cause::TimedOut(_)
            | Cause::Stopped
            | Cause::Injected
            | Cause::TooFewReplies
            | Cause::Changed { .. }
            | Cause::Unreadable(_)
            | Cause::Misuse(_)) => cause,
        };
        SessionError { stage, cause }
    }

    /// What is no reply may show a secret as well, and cut where it stands: a server may echo what it hears.
    fn malformed(&self, stage: Stage, what: Malformed) -> Malformed {
        let text = |text: String| {
            if stage == Stage::Auth { REDACTED.to_owned() } else { self.text(&text).into_owned() }
        };
        match what {
            Malformed::NotAReply(line) => Malformed::NotAReply(text(line)),
            Malformed::MixedCodes { first, then, text: lines } => {
                Malformed::MixedCodes { first, then, text: text(lines) }
            }
            what @ (Malformed::LineTooLong | Malformed::ReplyTooLong) => what,
        }
    }

    /// What became of a recipient.
    pub fn settlement(&self, settlement: Settlement) -> Settlement {
        if self.words.is_empty() {
            return settlement;
        }
        let reply = |reply: Reply| self.reply(Stage::Delivery, &reply).into_owned();
        match settlement {
            Settlement::Known(outcome) => Settlement::Known(match outcome {
                Outcome::Delivered(r) => Outcome::Delivered(reply(r)),
                Outcome::Refused { stage, reply: r } => Outcome::Refused { stage, reply: reply(r) },
                Outcome::Unsuited(r) => Outcome::Unsuited(reply(r)),
                Outcome::Unanswered(error) => Outcome::Unanswered(self.error(error)),
                Outcome::Uncertain(error) => Outcome::Uncertain(self.error(error)),
            }),
            Settlement::Again(r) => Settlement::Again(reply(r)),
            Settlement::Untried(error) => Settlement::Untried(self.error(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lmtp::EnhancedCode;

    fn hiding(words: &[&str]) -> Redactor {
        let mut redactor = Redactor::default();
        words.iter().for_each(|word| redactor.hide(Secret::from((*word).to_owned())));
        redactor
    }

    #[test]
    fn words_are_taken_out_wherever_they_stand() {
        for (words, text, shown) in [
            (&["hunter2"][..], "you said hunter2, hunter2", "you said [redacted], [redacted]"),
            (&["hunter2"], "nothing", "nothing"),
            (&["ab"], "about", "about"),
            (&["pass", "password"], "the password", "the [redacted]"),
            (&["a\tb\u{1b}"], "a b\\x1b", "[redacted]"),
            (&[], "anything", "anything"),
        ] {
            assert_eq!(hiding(words).text(text), shown);
        }
    }

    #[test]
    fn whatever_holds_a_reply_is_shown_without_them() {
        let said = |text: &str| Reply::new(550, EnhancedCode::new(5, 7, 8), text);
        let (reply, shown) = (said("no hunter2"), said("no [redacted]"));
        let redactor = hiding(&["hunter2"]);
        let error = |cause| SessionError { stage: Stage::Lhlo, cause };
        type WithReply = fn(Reply) -> Cause;
        let causes: [WithReply; 5] = [
            Cause::Closing,
            Cause::NotWelcome,
            Cause::OutOfPlace,
            |reply| Cause::NotLmtp { reply, smtp: true },
            |reply| Cause::NotSecure { why: reply.text(), reply: Some(reply) },
        ];
        for cause in causes {
            assert_eq!(redactor.error(error(cause(reply.clone()))), error(cause(shown.clone())));
        }
        type Holds = fn(Reply) -> Settlement;
        let settlements: [Holds; 5] = [
            |reply| Settlement::Known(Outcome::Delivered(reply)),
            |reply| Settlement::Known(Outcome::Refused { stage: Stage::Data, reply }),
            Settlement::Again,
            |reply| Settlement::Untried(SessionError { stage: Stage::Mail, cause: Cause::Closing(reply) }),
            |reply| {
                let cause = Cause::Malformed(Malformed::NotAReply(reply.text()));
                Settlement::Known(Outcome::Uncertain(SessionError { stage: Stage::Delivery, cause }))
            },
        ];
        for holds in settlements {
            assert_eq!(redactor.settlement(holds(reply.clone())), holds(shown.clone()));
        }
    }

    #[test]
    fn of_a_challenge_and_of_no_reply_to_auth_nothing_is_shown() {
        let redactor = hiding(&[]);
        let challenge = Reply::new(334, EnhancedCode::new(2, 0, 0), "cj1hYmM=");
        assert_eq!(redactor.reply(Stage::Auth, &challenge).to_string(), "334 [redacted]");
        let cause = Cause::Malformed(Malformed::NotAReply("AUTH PLAIN AGpvZQ".to_owned()));
        let shown = redactor.error(SessionError { stage: Stage::Auth, cause });
        assert!(shown.to_string().ends_with("'[redacted]'"), "{shown}");
    }
}
