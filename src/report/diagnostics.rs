//! The diagnostics of a run or of a message, and which of them decides the exit code.

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
    /// The place of its line, where there is one.
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
