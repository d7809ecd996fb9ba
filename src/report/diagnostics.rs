//! The diagnostics of a run or of a message, and which of them decides the exit code.

use std::collections::BTreeMap;
use std::mem;

use crate::exit::{self, Judgement};

/// Lines, and what decides the exit code.
#[derive(Default)]
pub struct Diagnostics {
    pub lines: Vec<String>,
    /// What decides so far.
    pub deciding: Option<Deciding>,
}

/// What decides the exit code.
#[derive(Clone, Copy)]
pub struct Deciding {
    /// The place of its line, where there is one that has not been said.
    line: Option<usize>,
    pub judgement: Judgement,
    /// The message's place among all.
    number: u64,
}

impl Diagnostics {
    /// Hears `judgement` of the message with this `number`. What is to be tried again decides before what has failed,
    /// and else the first in the order of the messages, whenever it is heard.
    pub fn add(&mut self, line: Option<String>, judgement: Judgement, number: u64) {
        let decides = judgement.exit != exit::OK
            && self.deciding.is_none_or(|Deciding { judgement: so_far, number: first, .. }| {
                judgement.again && !so_far.again || judgement.again == so_far.again && number < first
            });
        if decides {
            self.deciding =
                Some(Deciding { line: line.as_ref().map(|_| self.lines.len()), judgement, number });
        }
        self.lines.extend(line);
    }

    /// The lines so far, which are said before the end.
    pub fn take_lines(&mut self) -> Vec<String> {
        if let Some(deciding) = &mut self.deciding {
            deciding.line = None;
        }
        mem::take(&mut self.lines)
    }

    /// The lines, the one that decides first.
    pub fn into_lines(mut self) -> Vec<String> {
        if let Some(Deciding { line: Some(at), .. }) = self.deciding
            && let Some(lines) = self.lines.get_mut(..=at)
        {
            lines.rotate_right(1);
        }
        self.lines
    }
}

/// The diagnostics of messages some of whose recipients are still to come, by the message's place among all: copies of
/// one message have one name.
#[derive(Default)]
pub struct ByMessage(BTreeMap<u64, Diagnostics>);

impl ByMessage {
    /// Hears a `line` of the message with this `number`. The message's lines, if it `is_last`.
    pub fn add(
        &mut self,
        line: String,
        judgement: Judgement,
        number: u64,
        is_last: bool,
    ) -> Option<Vec<String>> {
        self.0.entry(number).or_default().add(Some(line), judgement, number);
        if is_last { self.0.remove(&number).map(Diagnostics::into_lines) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use lmtp_send::lmtp::EnhancedCode;

    use super::*;
    use crate::exit::Class;

    fn judgement(exit: u8) -> Judgement {
        let class = if exit == exit::OK { Class::Delivered } else { Class::Failed };
        Judgement { class, exit, status: EnhancedCode::new(5, 0, 0), again: false }
    }

    #[test]
    fn the_line_that_decides_is_first_also_among_those_behind_what_has_been_said() {
        let mut diagnostics = Diagnostics::default();
        for (line, exit) in [("1", 0), ("2", 69)] {
            diagnostics.add(Some(line.to_owned()), judgement(exit), 0);
        }
        assert_eq!(diagnostics.take_lines(), ["1", "2"]);
        for (line, exit) in [("3", 0), ("4", 69)] {
            diagnostics.add(Some(line.to_owned()), judgement(exit), 0);
        }
        assert_eq!(diagnostics.into_lines(), ["3", "4"]);
    }

    #[test]
    fn copies_of_a_message_side_by_side_have_their_own_lines() {
        let mut begun = ByMessage::default();
        for (line, number, is_last, said) in [
            ("first to joe", 1, false, None),
            ("second to joe", 2, false, None),
            ("first to ann", 1, true, Some(vec!["first to joe", "first to ann"])),
            ("second to ann", 2, true, Some(vec!["second to joe", "second to ann"])),
        ] {
            let lines = begun.add(line.to_owned(), judgement(exit::OK), number, is_last);
            assert_eq!(lines, said.map(|said| said.into_iter().map(str::to_owned).collect()));
        }
        assert!(begun.0.is_empty());
    }
}
