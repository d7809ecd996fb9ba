//! What a signal has left of a run of several messages, and how to go on with it.
//!
//! A message that was not begun has its objects in the report like any other, but no diagnostic of its own: of
//! 100,000 messages one line says how many are left, and from which one on.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::sync::Arc;

use lmtp_send::lmtp::printable;

use crate::delivery::{Conclusion, Record};
use crate::exit::{Judgement, Kind, Policy};

/// The messages that were not begun.
#[derive(Default)]
pub struct NotBegun {
    messages: u64,
    first: Option<First>,
    /// The last message of which anything else has become.
    last_begun: Option<u64>,
}

/// The first of them, in the order in which they were given out.
struct First {
    number: u64,
    name: Arc<str>,
    judgement: Judgement,
}

impl NotBegun {
    /// Whether `record` is of a message that was not begun; it is counted then.
    pub fn takes(&mut self, record: &Record, judgement: Judgement) -> bool {
        let is_one =
            matches!(&record.conclusion, Conclusion::LocalError(error) if error.kind == Kind::NotBegun);
        if is_one {
            self.messages += u64::from(record.is_last);
            if self.first.as_ref().is_none_or(|first| record.number < first.number) {
                let name = Arc::clone(&record.message);
                self.first = Some(First { number: record.number, name, judgement });
            }
        } else {
            self.last_begun = self.last_begun.max(Some(record.number));
        }
        is_one
    }

    /// Whether all that were not begun come after all the others; with several sessions they may not.
    pub fn are_last(&self) -> bool {
        self.first.as_ref().is_some_and(|first| self.last_begun < Some(first.number))
    }

    /// The one line for all of them, what they come to, and the place of the first among all messages.
    pub fn diagnostic(&self, policy: &Policy) -> Option<(String, Judgement, u64)> {
        let First { number, name, judgement } = self.first.as_ref()?;
        let status = policy.agreeing(judgement.status, judgement.exit);
        let name = printable(name.as_bytes());
        let line = match self.messages {
            1 => format!("{status} 1 message not begun, {name}: stopped by a signal"),
            many if self.are_last() => {
                format!("{status} {many} messages not begun, from {name} on: stopped by a signal")
            }
            many => format!("{status} {many} messages not begun, the first is {name}: stopped by a signal"),
        };
        Some((line, *judgement, *number))
    }
}

/// How to go on with what is left, where a ledger remembers who has what: by the same command.
pub fn with_ledger() -> String {
    format!("to go on:\n{}", command_line(std::env::args_os()))
}

/// How to go on with what is left, where nothing is remembered; `are_last`: behind all that was begun.
pub fn without_ledger(are_last: bool) -> String {
    let what = if are_last {
        "repeat the command without the messages before that one"
    } else {
        "send the messages that were not begun; --report names them"
    };
    format!("to go on: {what}; a run with --ledger DIR can simply be repeated")
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

    #[test]
    fn nobody_is_told_to_repeat_what_another_session_has_done() {
        let record = |number: u64, kind: Kind| Record {
            message: format!("m{number}").into(),
            message_id: None,
            sender: "".into(),
            recipient: None,
            conclusion: Conclusion::LocalError(LocalError::input(kind, "stopped")),
            server: None,
            attempts: 0,
            seconds: 0.0,
            is_last: true,
            number,
        };
        let policy = Policy { style: ExitStyle::Mta, uncertain: Uncertain::Defer, soft_bounce: false };
        for (begun, said) in
            [(0, "2 messages not begun, from m1 on"), (3, "2 messages not begun, the first is m1")]
        {
            let mut left = NotBegun::default();
            for (number, kind) in [(2, Kind::NotBegun), (begun, Kind::Lost), (1, Kind::NotBegun)] {
                let record = record(number, kind);
                let judgement = record.conclusion.judge(&policy);
                assert_eq!(left.takes(&record, judgement), kind == Kind::NotBegun);
            }
            let (line, ..) = left.diagnostic(&policy).unwrap();
            assert!(line.contains(said), "{line}");
            assert_eq!(left.are_last(), begun == 0);
            assert_eq!(without_ledger(left.are_last()).contains("before that one"), begun == 0);
        }
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
