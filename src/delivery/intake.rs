//! Which messages: one after the other, from the sources that the job names, and not faster than it allows.
//!
//! A [`Source`] names messages; it opens none. What is given out is an [`Input`]: a name, where the message is,
//! which copy of it, and a number of its own. Workers side by side share an intake under a lock.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::mail::Letter;
use crate::job::Job;

/// A message that is to be delivered, not yet opened.
#[derive(Clone)]
pub struct Input {
    /// How the report calls it: FILE, or `-`.
    pub name: Arc<str>,
    /// Where it is; `-` is standard input.
    pub path: Arc<Path>,
    /// Which copy of it this is, from 1; `None` where each message is sent once.
    pub copy: Option<u32>,
    /// What the first copy leaves for the others.
    kept: Kept,
}

/// A letter that was read for one copy, and is there for the next.
type Kept = Option<Arc<Mutex<Option<Arc<Letter>>>>>;

/// What is to be done next.
pub enum Next {
    /// This message is delivered.
    Input(Input),
    /// Not before then, by `--rate`.
    Later(Instant),
    /// There is none left.
    Nothing,
}

/// Names messages.
pub trait Source: Send {
    /// The next message; `None` behind the last one.
    fn next(&mut self) -> Option<Input>;
}

/// Gives out the messages of a run, each as often as it is to be sent.
pub struct Intake {
    sources: VecDeque<Box<dyn Source>>,
    /// How often each is sent, where that was asked for.
    repeat: Option<u32>,
    /// The message that is given out again.
    current: Option<Input>,
    /// The time between two messages.
    pause: Option<Duration>,
    /// When the next one may go.
    due: Option<Instant>,
}

impl Input {
    /// The message at `path`; `-` is standard input.
    pub fn at(path: PathBuf) -> Self {
        Self { name: path.to_string_lossy().into(), path: path.into(), copy: None, kept: None }
    }

    /// Whether it is what comes by standard input, from whoever writes there.
    pub fn is_standard_input(&self) -> bool {
        *self.path == *Path::new("-")
    }

    /// The letter, if it was read for another copy. Whoever finds none is to read it, and to
    /// [`keep`](Self::keep) it.
    pub fn letter(&self) -> Option<Arc<Letter>> {
        self.kept.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Leaves `letter` for further copies.
    pub fn keep(&self, letter: &Arc<Letter>) {
        if let Some(kept) = &self.kept {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(letter));
        }
    }
}

impl Intake {
    /// The messages that `job` names.
    pub fn new(job: &Job) -> Self {
        let files = Box::new(Files(job.inputs.clone().into())) as Box<dyn Source>;
        let pause = job.bulk.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        Self { sources: VecDeque::from([files]), repeat: job.bulk.repeat, current: None, pause, due: None }
    }

    /// The next message, at `now`.
    pub fn next(&mut self, now: Instant) -> Next {
        if let Some(due) = self.due.filter(|due| *due > now) {
            return Next::Later(due);
        }
        let Some(input) = self.next_copy() else { return Next::Nothing };
        // Time that was lost is not made up for.
        self.due = self.pause.map(|pause| self.due.map_or(now, |due| due.max(now)) + pause);
        Next::Input(input)
    }

    fn next_copy(&mut self) -> Option<Input> {
        let Some(times) = self.repeat else { return self.next_named() };
        let again = self.current.take().filter(|input| input.copy.is_some_and(|copy| copy < times));
        let mut input = match again {
            Some(input) => input,
            None => Input { kept: Some(Arc::default()), ..self.next_named()? },
        };
        input.copy = Some(input.copy.map_or(1, |copy| copy + 1));
        self.current = Some(input.clone());
        Some(input)
    }

    fn next_named(&mut self) -> Option<Input> {
        loop {
            let source = self.sources.front_mut()?;
            if let Some(input) = source.next() {
                return Some(input);
            }
            self.sources.pop_front();
        }
    }
}

/// The FILEs of the command line.
struct Files(VecDeque<PathBuf>);

impl Source for Files {
    fn next(&mut self) -> Option<Input> {
        self.0.pop_front().map(Input::at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intake(repeat: Option<u32>, rate: Option<f64>) -> Intake {
        let files = Files(VecDeque::from(["a".into(), "b".into()]));
        let pause = rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        Intake {
            sources: VecDeque::from([Box::new(files) as Box<dyn Source>]),
            repeat,
            current: None,
            pause,
            due: None,
        }
    }

    fn named(next: &Next) -> String {
        match next {
            Next::Input(input) => format!("{}{}", input.name, input.copy.unwrap_or(0)),
            Next::Later(_) => "later".into(),
            Next::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn each_message_is_given_out_as_often_as_it_is_sent() {
        let now = Instant::now();
        for (repeat, expected) in
            [(None, "a0 b0 nothing"), (Some(1), "a1 b1 nothing"), (Some(2), "a1 a2 b1 b2 nothing")]
        {
            let mut intake = intake(repeat, None);
            let words: Vec<String> =
                (0..expected.split(' ').count()).map(|_| named(&intake.next(now))).collect();
            assert_eq!(words.join(" "), expected);
        }
    }

    #[test]
    fn a_rate_spaces_messages_out_and_is_never_made_up_for() {
        let start = Instant::now();
        let mut intake = intake(None, Some(2.0));
        let mut at = |ms| named(&intake.next(start + Duration::from_millis(ms)));
        assert_eq!(
            [at(0), at(499), at(10_000), at(10_499), at(10_500)],
            ["a0", "later", "b0", "later", "nothing"]
        );
    }
}
