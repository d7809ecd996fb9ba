//! What a signal has left of a run of several messages, and how to go on with it.
//!
//! A message that was not begun has its objects in the report like any other, but no diagnostic of its own: of
//! 100,000 messages one line says how many are left, and from which one on. Of a list that was not read to its end
//! nobody knows the rest: it stands behind the last message that came out of it.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::sync::Arc;

use lmtp_send::lmtp::printable;

use crate::delivery::{Conclusion, Record};
use crate::exit::{Judgement, Kind, Policy};

/// What is left of a run: who was deferred or is uncertain, and what was not begun.
#[derive(Default)]
pub struct Left {
    /// Messages that were not begun.
    not_begun: u64,
    /// The first of them, in the order in which they were given out.
    first_not_begun: Option<FirstNotBegun>,
    /// The first message with anybody who is left, and its name.
    first: Option<(u64, Arc<str>)>,
    /// The last message of which anything has become.
    last_begun: Option<u64>,
    /// The last message with anybody who is not left, and its name.
    last_done: Option<(u64, Arc<str>)>,
    /// The last message, and its name.
    last: Option<(u64, Arc<str>)>,
    /// Where the first list, mbox or directory stands that was not read to its end.
    unread: Option<u64>,
}

struct FirstNotBegun {
    number: u64,
    name: Arc<str>,
    judgement: Judgement,
}

impl Left {
    /// Hears `record`, and whether it is of a message that was not begun.
    pub fn takes(&mut self, record: &Record, judgement: Judgement) -> bool {
        let (number, name) = (record.number, &record.message);
        if !record.is_message {
            let unread = judgement.again.then_some(number);
            self.unread = self.unread.into_iter().chain(unread).min();
            return false;
        }
        let is_behind = |last: &Option<(u64, Arc<str>)>| last.as_ref().is_none_or(|(last, _)| *last < number);
        if is_behind(&self.last) {
            self.last = Some((number, Arc::clone(name)));
        }
        if !judgement.again {
            if is_behind(&self.last_done) {
                self.last_done = Some((number, Arc::clone(name)));
            }
        } else if self.first.as_ref().is_none_or(|(first, _)| number < *first) {
            self.first = Some((number, Arc::clone(name)));
        }
        let is_not_begun =
            matches!(&record.conclusion, Conclusion::LocalError(error) if error.kind == Kind::NotBegun);
        if is_not_begun {
            self.not_begun += u64::from(record.is_last);
            if self.first_not_begun.as_ref().is_none_or(|first| number < first.number) {
                self.first_not_begun = Some(FirstNotBegun { number, name: Arc::clone(name), judgement });
            }
        } else {
            self.last_begun = self.last_begun.max(Some(number));
        }
        is_not_begun
    }

    /// The one line for all messages that were not begun, what they come to, and the place of the first among all.
    pub fn diagnostic(&self, policy: &Policy) -> Option<(String, Judgement, u64)> {
        let FirstNotBegun { number, name, judgement } = self.first_not_begun.as_ref()?;
        let status = policy.agreeing(judgement.status, judgement.exit);
        let name = shown(name);
        let which = match self.not_begun {
            1 => format!("1 message not begun, {name}"),
            // With several sessions, some behind the first may have been.
            many if self.last_begun < Some(*number) => format!("{many} messages not begun, from {name} on"),
            many => format!("{many} messages not begun, the first is {name}"),
        };
        Some((format!("{status} {which}: stopped by a signal"), *judgement, *number))
    }

    /// How to go on with what is left, if anything is: where a ledger remembers who has what, by the same command.
    pub fn to_go_on(&self, repetition: &Repetition<'_>) -> Option<String> {
        if self.first.is_none() && self.unread.is_none() {
            return None;
        }
        if repetition.has_ledger {
            return Some(repetition.command());
        }
        Some(format!("to continue: {}; a run with --ledger DIR can simply be repeated", self.what_to_send()))
    }

    /// What a run for those who are left has to send.
    fn what_to_send(&self) -> String {
        let number = self.first.iter().map(|(number, _)| *number).chain(self.unread).min();
        // A copy of a message has the same name as the next one.
        let is_copy = |name: &str| self.first.as_ref().is_some_and(|(_, first)| **first == *name);
        let is_tail =
            self.last_done.as_ref().is_none_or(|(last, done)| Some(*last) < number && !is_copy(done));
        match (&self.first, self.behind()) {
            (Some((first, name)), _) if is_tail && Some(*first) == number => {
                format!("send the messages from {} on", shown(name))
            }
            (None, Some(behind)) if is_tail => format!("send {behind}"),
            (Some(_), Some(behind)) => {
                format!("send what --report calls deferred or uncertain, and {behind}")
            }
            (_, None) | (None, Some(_)) => "send what --report calls deferred or uncertain".to_owned(),
        }
    }

    /// The messages of what was not read to its end, where all others stand before it.
    fn behind(&self) -> Option<String> {
        let unread = self.unread?;
        match &self.last {
            None => Some("all messages".to_owned()),
            Some((last, name)) => (*last < unread).then(|| format!("the messages behind {}", shown(name))),
        }
    }
}

/// What a run comes to that repeats the command of this one.
#[derive(Clone, Copy, Default)]
pub struct Repetition<'a> {
    /// It knows who has what.
    pub has_ledger: bool,
    /// Why it may not know that of everybody.
    pub unrecorded: Option<&'a str>,
    /// It needs the same standard input.
    pub reads_standard_input: bool,
}

impl Repetition<'_> {
    /// The command, behind what else it needs.
    pub fn command(&self) -> String {
        let input = if self.reads_standard_input { ", with the same standard input" } else { "" };
        format!("to continue{input}:\n{}", command_line(std::env::args_os()))
    }

    /// What whoever repeats it is to know.
    pub fn warning(&self) -> Option<String> {
        self.unrecorded.map(|why| format!("{why}; a repeated run may send second copies"))
    }
}

/// A message's name, for a person.
fn shown(name: &str) -> Cow<'_, str> {
    if name == "-" { "- (standard input)".into() } else { printable(name.as_bytes()).into() }
}

/// `words` as they are typed to a shell.
fn command_line(words: impl Iterator<Item = OsString>) -> String {
    words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
}

/// What would move a terminal's cursor, or is no text, is escaped.
fn quoted(word: &OsStr) -> String {
    if let Some(text) = word.to_str().filter(|text| !text.contains(char::is_control)) {
        return shell_words::quote(text).into_owned();
    }
    let escaped = word.as_encoded_bytes().iter().fold(String::new(), |mut text, octet| {
        if matches!(octet, b'\'' | b'\\') || !(b' '..=b'~').contains(octet) {
            let _ = write!(text, "\\{octet:03o}");
        } else {
            text.push(char::from(*octet));
        }
        text
    });
    format!("$'{escaped}'")
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;
    use std::process::Command;

    use super::*;
    use crate::cli::{ExitStyle, Uncertain};
    use crate::local_error::LocalError;

    const POLICY: Policy = Policy { style: ExitStyle::Mta, uncertain: Uncertain::Defer, soft_bounce: false };
    const LEDGER: Repetition<'_> =
        Repetition { has_ledger: true, unrecorded: None, reads_standard_input: false };

    #[test]
    fn nobody_is_told_to_repeat_what_is_done_or_to_leave_out_what_is_not() {
        let none = [].as_slice();
        // By message: those not begun, those deferred, those that an earlier run has delivered.
        for (not_begun, deferred, done, said, to_go_on) in [
            ([2, 1].as_slice(), none, [0].as_slice(), "2 messages not begun, from m1 on", "from m1 on;"),
            (&[2, 1], &[0], none, "2 messages not begun, from m1 on", "from m0 on;"),
            (&[2, 1], none, &[3], "2 messages not begun, the first is m1", "calls deferred"),
            (&[2], &[0], &[1], "1 message not begun, m2", "calls deferred"),
            (&[2], &[1], &[1], "1 message not begun, m2", "calls deferred"),
        ] {
            let mut left = Left::default();
            let all = not_begun.iter().map(|number| (*number, error_of(Kind::NotBegun)));
            let all = all.chain(deferred.iter().map(|number| (*number, error_of(Kind::Lost))));
            for (number, conclusion) in all.chain(done.iter().map(|number| (*number, Conclusion::Earlier))) {
                let record = record(number, conclusion);
                let judgement = record.conclusion.judge(&POLICY);
                assert_eq!(left.takes(&record, judgement), not_begun.contains(&number));
            }
            let (line, ..) = left.diagnostic(&POLICY).unwrap();
            assert!(line.contains(said), "{line}");
            let words = left.to_go_on(&Repetition::default()).unwrap();
            assert!(words.contains(to_go_on), "{words}");
        }
        assert_eq!(Left::default().to_go_on(&LEDGER), None);
        let mut copies = Left::default();
        for (number, conclusion) in [(0, Conclusion::Earlier), (1, error_of(Kind::NotBegun))] {
            let record = Record { message: "same".into(), ..record(number, conclusion) };
            copies.takes(&record, record.conclusion.judge(&POLICY));
        }
        assert!(
            copies.to_go_on(&Repetition::default()).unwrap().contains("calls deferred"),
            "one of them is done"
        );
    }

    fn error_of(kind: Kind) -> Conclusion {
        Conclusion::LocalError(LocalError::input(kind, "stopped"))
    }

    fn record(number: u64, conclusion: Conclusion) -> Record {
        Record {
            message: format!("m{number}").into(),
            message_id: None,
            sender: "".into(),
            recipient: None,
            conclusion,
            server: None,
            attempts: 0,
            seconds: 0.0,
            is_last: true,
            is_message: true,
            number,
        }
    }

    #[test]
    fn of_a_list_that_was_not_read_to_its_end_the_rest_is_to_be_sent() {
        let none = [].as_slice();
        // The number of the list; and by message: those not begun, those delivered.
        for (list, not_begun, done, to_go_on) in [
            (2, none, [0, 1].as_slice(), "send the messages behind m1;"),
            (0, none, none, "send all messages;"),
            (2, &[1], &[0], "send the messages from m1 on;"),
            (2, &[0], &[1], "send what --report calls deferred or uncertain, and the messages behind m1;"),
            // It was left for another reason, and is named in the report.
            (1, none, &[0, 2], "send what --report calls deferred or uncertain;"),
            (1, &[2], &[0], "send what --report calls deferred or uncertain;"),
        ] {
            let mut left = Left::default();
            let all = not_begun.iter().map(|number| (*number, error_of(Kind::NotBegun)));
            let all = all.chain(done.iter().map(|number| (*number, Conclusion::Earlier)));
            for (number, conclusion) in all.chain([(list, error_of(Kind::Stopped))]) {
                let record = Record { is_message: number != list, ..record(number, conclusion) };
                left.takes(&record, record.conclusion.judge(&POLICY));
            }
            let words = left.to_go_on(&Repetition::default()).unwrap();
            assert!(words.contains(to_go_on), "{words}, not {to_go_on}");
            assert!(left.to_go_on(&LEDGER).unwrap().starts_with("to continue:\n"));
            let line = left.diagnostic(&POLICY).map(|(line, ..)| line).unwrap_or_default();
            assert!(line.is_empty() || line.contains("1 message not begun"), "{line}");
        }
    }

    #[test]
    fn what_comes_by_standard_input_is_no_file_of_that_name() {
        let mut left = Left::default();
        for (number, name) in [(0, "-"), (1, "m1")] {
            let record = Record { message: name.into(), ..record(number, error_of(Kind::NotBegun)) };
            left.takes(&record, record.conclusion.judge(&POLICY));
        }
        let words = left.to_go_on(&Repetition::default()).unwrap();
        assert!(words.contains("send the messages from - (standard input) on;"), "{words}");
        let words = left.to_go_on(&Repetition { reads_standard_input: true, ..LEDGER }).unwrap();
        assert!(words.starts_with("to continue, with the same standard input:\n"), "{words}");
    }

    #[test]
    fn a_command_line_is_taken_apart_by_a_shell_as_it_was_put_together() {
        let words: [&[u8]; 9] = [
            b"printf",
            b"%s\\0",
            b"",
            b"a b",
            b"it's",
            b"$HOME `x` \"y\" \\ * ~ #",
            "grüße".as_bytes(),
            b"new\nline \x1b[K 'x\\",
            b"\xff7\x80",
        ];
        let line = command_line(words.iter().map(|word| OsString::from_vec(word.to_vec())));
        assert!(!line.contains('\n') && !line.contains('\x1b'), "{line}");
        let output = Command::new("bash").args(["-c", &line]).output().unwrap();
        assert_eq!(
            output.stdout,
            words[2..].iter().flat_map(|w| [w, &b"\0"[..]].concat()).collect::<Vec<_>>()
        );
    }
}
