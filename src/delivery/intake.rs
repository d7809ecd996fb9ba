//! Which messages: one after the other, from the sources that the job names, and not faster than it allows.
//!
//! A [`Source`] names messages. What is given out is an [`Input`]: a name, where the message is,
//! which copy of it, and a number of its own. Workers side by side share an intake under a lock.

use std::collections::VecDeque;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lmtp_send::message::Message;

use super::input::{self, Opened};
use super::mail::Letter;
use super::shard::Shard;
use super::sources;
use crate::job::{Job, no_recipients_for};
use crate::local_error::LocalError;
use crate::stop::Stop;

/// A message that is to be delivered.
#[derive(Clone)]
pub struct Input {
    /// How the report calls it: FILE, or `-`; with `#` and its number where it is one of an mbox.
    pub name: Arc<str>,
    /// Where it is.
    pub place: Place,
    /// Its place among all that are given out.
    pub number: u64,
    /// Which copy of it this is, from 1; `None` where each message is sent once.
    pub copy: Option<u32>,
    /// It is one of an archive, and does not go to whom its header names unless that was asked for.
    pub is_archived: bool,
    /// What its part of a run is decided by: the name, as far as that lasts.
    shard_key: Option<Arc<[u8]>>,
    /// It is a pipe, or something else than a file: whoever is at its other end sees when it is opened.
    is_special: bool,
    /// What the first copy leaves for the others.
    kept: SharedLetter,
    preparation: Preparation,
}

/// What was done for a message before its turn.
#[derive(Default)]
enum Preparation {
    /// Nothing.
    #[default]
    None,
    /// Its file was opened, and takes more than a moment to be read.
    Opened(Box<Opened>),
    /// It was read.
    Read(Arc<Letter>),
}

impl Clone for Preparation {
    /// Whoever has a clone prepares it anew: a file is read to its end once.
    fn clone(&self) -> Self {
        Self::None
    }
}

/// Where a message is.
#[derive(Clone)]
pub enum Place {
    /// In a file; `-` is standard input.
    File(Arc<Path>),
    /// It has been read already, as a part of something larger.
    Read(Arc<Mutex<Option<Message>>>),
    /// Nowhere, and why.
    Nowhere(LocalError),
    /// This is no message, but a list, an mbox or a directory whose messages, or some of them, are not known, and why.
    Unread(LocalError),
}

/// A letter that was read for one copy, and is there for the next.
type SharedLetter = Option<Arc<Mutex<Option<Arc<Letter>>>>>;

/// What is to be done next.
pub enum Next {
    /// This message is delivered.
    Input(Input),
    /// Not before then, by `--rate`.
    Later(Instant),
    /// Whoever wants to know has to make way for that first.
    Needs(Ahead),
    /// What was named is a directory: its messages are next, and may be counted now.
    Directory,
    /// There is none left.
    Nothing,
}

/// What finding the next message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ahead {
    /// Nothing: it is known.
    AtHand,
    /// A file or a directory is read.
    Read,
    /// Somebody else is waited for.
    Wait,
}

/// How long sources may wait.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// Nothing is waited for beyond.
    pub deadline: Instant,
    /// A signal ends every wait.
    pub stop: &'a Stop,
}

/// Names messages.
pub trait Source: Send {
    /// What [`next`](Source::next) will take.
    fn ahead(&self) -> Ahead;
    /// The next message; `None` behind the last one.
    fn next(&mut self, patience: Patience<'_>) -> Option<Input>;
    /// How many are still to come, where that is known.
    fn left(&self) -> Option<usize> {
        None
    }
}

/// Gives out the messages of a run, each as often as it is to be sent.
pub struct Intake {
    /// Those that were found on the way go first.
    sources: VecDeque<Box<dyn Source>>,
    /// Each file is an mbox.
    mbox: bool,
    shard: Option<Shard>,
    /// How often each is sent, where that was asked for.
    repeat: Option<u32>,
    /// The message that is given out again.
    current: Option<Input>,
    /// How many were given out.
    count: u64,
    /// There may be directories among what is named.
    several: bool,
    /// It is known who the messages in a directory are for.
    is_addressed: bool,
    /// The time between two messages.
    pause: Option<Duration>,
    /// When the next one may go.
    due: Option<Instant>,
}

impl Input {
    /// The message at `path`; `-` is standard input.
    pub fn at(path: PathBuf) -> Self {
        Self::new(path.to_string_lossy().into(), Place::File(path.into()))
    }

    /// The message of that name.
    pub fn new(name: Arc<str>, place: Place) -> Self {
        Self {
            name,
            place,
            number: 0,
            copy: None,
            is_archived: false,
            shard_key: None,
            is_special: false,
            kept: None,
            preparation: Preparation::None,
        }
    }

    /// One of an archive; `key` is its name there, which stays the same.
    pub fn archived(self, key: &[u8]) -> Self {
        Self { is_archived: true, shard_key: Some(key.into()), ..self }
    }

    /// Whether it is what comes by standard input, from whoever writes there.
    fn is_standard_input(&self) -> bool {
        matches!(&self.place, Place::File(path) if input::is_standard_input(path))
    }

    /// Whether it comes from somebody else, who may be waited for: nothing is taken from there that may not be sent.
    pub fn is_from_others(&self) -> bool {
        self.is_special || self.is_standard_input()
    }

    /// Whether the letter was read: ahead, or for another copy.
    pub fn is_read(&self) -> bool {
        matches!(self.preparation, Preparation::Read(_)) || self.kept_letter().is_some()
    }

    /// The letter, if it was read ahead.
    pub fn take_letter(&mut self) -> Option<Arc<Letter>> {
        match std::mem::take(&mut self.preparation) {
            Preparation::Read(letter) => Some(letter),
            other @ (Preparation::None | Preparation::Opened(_)) => {
                self.preparation = other;
                None
            }
        }
    }

    /// The letter, if it was read for another copy. Whoever finds none is to read it, and to [`keep`](Self::keep) it.
    pub fn kept_letter(&self) -> Option<Arc<Letter>> {
        self.kept.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its file `path`, opened now if that was not done before.
    ///
    /// # Errors
    ///
    /// [`LocalError`] naming the file.
    pub fn open(&mut self, path: &Arc<Path>) -> Result<Opened, LocalError> {
        match std::mem::take(&mut self.preparation) {
            Preparation::Opened(opened) => Ok(*opened),
            Preparation::None | Preparation::Read(_) => input::open(path),
        }
    }

    /// Its file was opened, and is read in its turn.
    pub fn set_opened(&mut self, opened: Opened) {
        self.preparation = Preparation::Opened(Box::new(opened));
    }

    /// It was read, and is sent in its turn.
    pub fn set_read(&mut self, letter: Letter) {
        self.preparation = Preparation::Read(Arc::new(letter));
    }

    /// Leaves `letter` for further copies.
    pub fn keep(&self, letter: &Arc<Letter>) {
        if let Some(kept) = &self.kept {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(letter));
        }
    }

    fn is_of(&self, shard: Option<Shard>) -> bool {
        shard.is_none_or(|shard| match (&self.shard_key, &self.place) {
            (Some(key), _) => shard.holds(key),
            (None, Place::File(path)) => shard.holds(path.as_os_str().as_bytes()),
            (None, Place::Read(_) | Place::Nowhere(_)) => shard.holds(self.name.as_bytes()),
            // Each part of the run may miss messages of its own.
            (None, Place::Unread(_)) => true,
        })
    }
}

impl Intake {
    /// The messages that `job` names.
    pub fn new(job: &Job) -> Self {
        let bulk = &job.bulk;
        let mut sources = VecDeque::from([sources::files(job.messages.inputs.clone())]);
        sources.extend(bulk.files_from.clone().map(sources::list));
        let pause = bulk.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        let (mbox, shard, repeat) = (bulk.mbox, bulk.shard, bulk.repeat);
        let (several, is_addressed) = (bulk.several, bulk.header_recipients || !job.to.is_empty());
        let (current, count, due) = (None, 0, None);
        Self { sources, mbox, shard, repeat, several, is_addressed, current, count, pause, due }
    }

    /// How many messages there are, as far as that is known before a message is repeated.
    pub fn expected(&self) -> Option<u64> {
        if self.mbox || self.shard.is_some() {
            return None;
        }
        let left = self.sources.iter().map(|source| source.left()).sum::<Option<usize>>()?;
        let left = u64::try_from(left).ok()?.checked_mul(self.repeat.unwrap_or(1).into())?;
        Some(self.count + left)
    }

    /// Whether any message was given out.
    pub fn has_given(&self) -> bool {
        self.count > 0
    }

    /// The next message, at `now`, if finding it takes no more than is `allowed`.
    pub fn next(&mut self, now: Instant, allowed: Ahead, patience: Patience<'_>) -> Next {
        if let Some(due) = self.due.filter(|due| *due > now && !self.is_over()) {
            return Next::Later(due);
        }
        let mut next = self.next_copy(allowed, patience);
        if let Next::Input(input) = &mut next {
            input.number = self.count;
            self.count += 1;
            // Time that was lost is not made up for.
            self.due = self.pause.map(|pause| self.due.map_or(now, |due| due.max(now)) + pause);
        }
        next
    }

    /// Nothing more is sent: what is left is given out at once, to be told of.
    pub fn hurry(&mut self) {
        self.pause = None;
        self.due = None;
    }

    /// Whether it is known that nothing is left.
    fn is_over(&self) -> bool {
        let again = self.current.as_ref().is_some_and(|input| input.copy < self.repeat);
        !again && self.sources.iter().all(|source| source.left() == Some(0))
    }

    fn next_copy(&mut self, allowed: Ahead, patience: Patience<'_>) -> Next {
        let Some(times) = self.repeat else { return self.next_named(allowed, patience) };
        let again = self.current.take().filter(|input| input.copy.is_some_and(|copy| copy < times));
        let mut input = match again {
            Some(input) => input,
            None => match self.next_named(allowed, patience) {
                Next::Input(input) => Input { kept: Some(Arc::default()), ..input },
                other @ (Next::Later(_) | Next::Needs(_) | Next::Directory | Next::Nothing) => return other,
            },
        };
        input.copy = Some(input.copy.map_or(1, |copy| copy + 1));
        self.current = Some(input.clone());
        Next::Input(input)
    }

    /// The messages of what was named, where it is a directory; or why they go nowhere. It is not opened, since it
    /// may never be sent.
    fn directory(&self, named: &mut Input) -> Option<Result<Box<dyn Source>, LocalError>> {
        let Place::File(path) = &named.place else { return None };
        if !self.several || named.is_archived || named.is_standard_input() {
            return None;
        }
        // Whoever is to read it says why that cannot be done.
        let metadata = path.metadata().ok()?;
        if !metadata.is_dir() {
            named.is_special = !metadata.is_file();
            return None;
        }
        Some(if self.is_addressed { sources::directory(path) } else { Err(no_recipients_for(path)) })
    }

    fn next_named(&mut self, allowed: Ahead, patience: Patience<'_>) -> Next {
        loop {
            let Some(source) = self.sources.front_mut() else { return Next::Nothing };
            let ahead = source.ahead();
            if ahead > allowed {
                return Next::Needs(ahead);
            }
            match source.next(patience) {
                None => drop(self.sources.pop_front()),
                Some(Input { place: Place::File(path), is_archived: false, .. }) if self.mbox => {
                    self.sources.push_front(sources::mbox(path));
                }
                Some(mut input) => match self.directory(&mut input) {
                    // Nobody else sees it before: its messages would be given out once more.
                    Some(Ok(messages)) => {
                        self.sources.push_front(messages);
                        return Next::Directory;
                    }
                    Some(Err(error)) => return Next::Input(Input::new(input.name, Place::Unread(error))),
                    None if input.is_of(self.shard) => return Next::Input(input),
                    None => {}
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn intake(repeat: Option<u32>, rate: Option<f64>) -> Intake {
        of(vec!["a".into(), "b".into()], repeat, rate)
    }

    fn of(files: Vec<PathBuf>, repeat: Option<u32>, rate: Option<f64>) -> Intake {
        let sources = VecDeque::from([sources::files(files)]);
        let pause = rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        Intake {
            sources,
            mbox: false,
            shard: None,
            repeat,
            several: true,
            is_addressed: true,
            current: None,
            count: 0,
            pause,
            due: None,
        }
    }

    fn named(intake: &mut Intake, now: Instant) -> String {
        let stop = Stop::uncaught(75);
        match intake.next(now, Ahead::Read, Patience { deadline: now, stop: &stop }) {
            Next::Input(input) => format!("{}{}", input.name, input.copy.unwrap_or(0)),
            Next::Later(_) => "later".into(),
            Next::Needs(ahead) => format!("{ahead:?}"),
            Next::Directory => "directory".into(),
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
            assert_eq!(intake.expected(), Some(u64::from(2 * repeat.unwrap_or(1))));
            let words: Vec<String> =
                (0..expected.split(' ').count()).map(|_| named(&mut intake, now)).collect();
            assert_eq!(words.join(" "), expected);
        }
    }

    #[test]
    fn a_rate_spaces_messages_out_and_is_never_made_up_for() {
        let start = Instant::now();
        let mut intake = intake(None, Some(2.0));
        let mut at = |ms| named(&mut intake, start + Duration::from_millis(ms));
        assert_eq!(
            [at(0), at(499), at(10_000), at(10_001)],
            ["a0", "later", "b0", "nothing"],
            "nothing is waited for behind the last one"
        );
    }

    #[test]
    fn a_directory_gives_its_messages_and_no_copies_of_itself() {
        let home = tempfile::tempdir().unwrap();
        ["1", "2"].iter().for_each(|name| fs::write(home.path().join(name), "one\n").unwrap());
        let now = Instant::now();
        let place = home.path().display();
        for (is_addressed, expected) in [
            (true, format!("directory {place}/11 {place}/12 {place}/21 {place}/22 nothing")),
            (false, format!("{place}1 {place}2 nothing")),
        ] {
            let mut intake = Intake { is_addressed, ..of(vec![home.path().into()], Some(2), None) };
            let words: Vec<String> =
                (0..expected.split(' ').count()).map(|_| named(&mut intake, now)).collect();
            assert_eq!(words.join(" "), expected);
            assert_eq!(intake.expected(), Some(if is_addressed { 4 } else { 2 }));
        }
    }
}
