//! Which messages: one after the other, from the sources that the job names, and not faster than it allows.
//!
//! A [`Source`] names messages; it opens none. What is given out is an [`Input`]: a name, where the message is,
//! and a number of its own. Sources are asked in their order, under a lock where there are several workers.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::job::Job;

/// A message that is to be delivered, not yet opened.
#[derive(Clone)]
pub struct Input {
    /// How the report calls it: FILE, or `-`.
    pub name: Arc<str>,
    /// Where it is; `-` is standard input.
    pub path: Arc<Path>,
}

impl Input {
    /// Whether it is what comes by standard input, from whoever writes there.
    pub fn is_standard_input(&self) -> bool {
        *self.path == *Path::new("-")
    }
}

/// Names messages.
pub trait Source: Send {
    /// The next message; `None` behind the last one.
    fn next(&mut self) -> Option<Input>;
}

/// Gives out the messages of a run, each once.
pub struct Intake {
    sources: VecDeque<Box<dyn Source>>,
}

impl Intake {
    /// The messages that `job` names.
    pub fn new(job: &Job) -> Self {
        Self { sources: VecDeque::from([Box::new(Files(job.inputs.clone().into())) as Box<dyn Source>]) }
    }

    /// The next message; `None` behind the last one.
    pub fn next(&mut self) -> Option<Input> {
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
        self.0.pop_front().map(|path| Input { name: path.to_string_lossy().into(), path: path.into() })
    }
}
