//! What is remembered from one run to the next: who has each message already.
//!
//! Each run writes a journal of its own into the ledger's directory, and has it locked while it lives. A line is
//! added when a message is taken in hand, when a server has accepted it for a recipient, and when all its
//! recipients are known. A run reads the journals of all others: of those that have ended, and again and again of
//! those that are still going on.
//!
//! - A recipient that another run has delivered to is skipped: once for each time that it was delivered to, so that a
//!   run that sends the same message twice does so.
//! - A message that another run has in hand is waited for.
//! - The end of a run that is to be repeated (exit 75) leaves its journal; any other end removes it, and what other
//!   journals say of the same recipients of the same messages, and of nobody else. A run that is killed leaves it as well.
//!   All of that is forgotten at once: until a run removes its own journal, that keeps what others have forgotten by then.
//!
//! Guarantees: a line that was added outlasts the process, whatever ends that; after [`SYNC_EVERY`], and before
//! the run ends, it outlasts a loss of power too. Lines have checksums, so one that was cut short is no line. Room on the disk
//! is reserved before a message is taken in hand.
//!
//! What cannot be known: a run that is killed between a server's reply and the line for it has delivered what nobody
//! remembers.

mod journal;
mod record;

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use journal::{Delivered, Journal, Other, ToForget, is_unlocked, remove, take};
use record::LedgerRecord;
pub use record::MessageId;

/// The file that whoever looks for journals, begins or removes one has locked meanwhile. Its length changes when
/// one is begun.
const LOCK: &str = "lock";
/// How the name of a journal ends.
const JOURNAL: &str = "journal";
/// How long what was added may wait until it outlasts a loss of power.
const SYNC_EVERY: Duration = Duration::from_millis(250);
/// The most old journals that are removed in a run.
const MOST_REMOVED: usize = 1_000;

/// The ledger, as this run sees it.
pub struct Ledger {
    path: PathBuf,
    lock: File,
    /// The length of the lock's file when the journals were looked for.
    generation: Option<u64>,
    own: Option<Journal>,
    others: Vec<Other>,
    /// Who has what by other runs, as far as that has not been counted in this one.
    delivered: Delivered,
    /// The messages of this run.
    messages: HashSet<[u8; 16]>,
    /// Each recipient of each that this run was asked to deliver to: nobody else is forgotten at its end.
    asked: HashSet<[u8; 16]>,
    has_delivered: bool,
    /// That there is a journal of this name outlasts a loss of power.
    is_named: bool,
    /// Since when something that was added is not on the disk.
    unsynced: Option<Instant>,
}

/// What came of taking a message in hand.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is; and which of the recipients have it already.
    InHand(Vec<bool>),
    /// Another run is busy with it, or with the ledger: to be asked again soon.
    Busy,
}

impl Ledger {
    /// The ledger in the directory `path`, which is made where there is none. Journals of runs that ended longer
    /// ago than `keep` are removed.
    ///
    /// # Errors
    ///
    /// It cannot be made or written to.
    pub fn open(path: &Path, keep: Duration) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let mut options = OpenOptions::new();
        let lock =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path.join(LOCK))?;
        let mut ledger = Self {
            path: path.to_owned(),
            lock,
            generation: None,
            own: None,
            others: Vec::new(),
            delivered: Delivered::new(),
            messages: HashSet::new(),
            asked: HashSet::new(),
            has_delivered: false,
            is_named: false,
            unsynced: None,
        };
        ledger.locked(|ledger| ledger.remove_old(keep))?;
        Ok(ledger)
    }

    /// Takes the message `id` in hand for `recipients`.
    ///
    /// # Errors
    ///
    /// The ledger cannot be read, or no room is left in it: the message must not be sent.
    pub fn take<'a>(
        &mut self,
        id: &MessageId,
        recipients: impl Iterator<Item = &'a str> + Clone,
    ) -> io::Result<Taken> {
        let taken = self.locked(|ledger| {
            ledger.look()?;
            if ledger.others.iter().any(|other| other.has(id)) {
                return Ok(Taken::Busy);
            }
            let keys: Vec<[u8; 16]> = recipients.clone().map(|r| id.key(r)).collect();
            // What can fail comes first: nothing that is remembered is used up by a message that is not sent.
            let known = |key: &[u8; 16]| Some((*key, *ledger.delivered.get(key)?));
            let mut known: Delivered = keys.iter().filter_map(known).collect();
            let have: Vec<bool> = keys.iter().map(|key| take(&mut known, key)).collect();
            if have.contains(&false) {
                let octets = recipients.map(str::len).sum();
                ledger.begin(id, keys.len(), octets)?;
            }
            for key in &keys {
                take(&mut ledger.delivered, key);
            }
            ledger.messages.insert(id.short());
            ledger.asked.extend(keys);
            Ok(Taken::InHand(have))
        })?;
        Ok(taken.unwrap_or(Taken::Busy))
    }

    /// A server has accepted the message for `recipient`.
    ///
    /// # Errors
    ///
    /// That cannot be remembered.
    pub fn delivered(&mut self, id: &MessageId, recipient: &str) -> io::Result<()> {
        self.has_delivered = true;
        self.add(&LedgerRecord::Delivered(*id, recipient))?;
        let now = Instant::now();
        if now.duration_since(*self.unsynced.get_or_insert(now)) >= SYNC_EVERY { self.sync() } else { Ok(()) }
    }

    /// What became of each recipient of the message is known.
    ///
    /// # Errors
    ///
    /// Other runs cannot be told, and wait until this one ends.
    pub fn let_go(&mut self, id: &MessageId) -> io::Result<()> {
        self.own.as_mut().map_or(Ok(()), |own| own.end(id))
    }

    /// What was added outlasts a loss of power.
    ///
    /// # Errors
    ///
    /// It may not.
    pub fn sync(&mut self) -> io::Result<()> {
        self.unsynced = None;
        let Some(own) = self.own.as_ref().filter(|_| self.has_delivered) else { return Ok(()) };
        own.sync()?;
        if !std::mem::replace(&mut self.is_named, true) {
            File::open(&self.path)?.sync_all()?;
        }
        Ok(())
    }

    /// The run ends: `again` when it is to be repeated, and what was delivered is to be remembered. `false`: the
    /// ledger is locked, to be asked again soon. The run's own journal stays locked until the ledger is dropped.
    ///
    /// # Errors
    ///
    /// The ledger cannot be written to. What it remembers then is too much, and goes when it is old.
    pub fn finish(&mut self, again: bool) -> io::Result<bool> {
        let done = self.locked(|ledger| {
            if !again {
                ledger.look()?;
                let to_forget = ledger.to_forget()?;
                // Where there is no room for that, who kills this run may find it done in part.
                let _ = ledger.keep_meanwhile(&to_forget);
                to_forget.iter().try_for_each(ToForget::forget)?;
            }
            ledger.remove_own(again)
        })?;
        Ok(done.is_some())
    }

    /// The same without the ledger's lock, which others do not release: what they have noted of the same recipients stays.
    ///
    /// # Errors
    ///
    /// The ledger cannot be written to; or, where the run is not to be repeated, that it remembers too much.
    pub fn abandon(&self, again: bool) -> io::Result<()> {
        self.remove_own(again)?;
        let why = "another run does not release it, and what earlier runs recorded stays";
        if again { Ok(()) } else { Err(io::Error::other(why)) }
    }

    /// Removes the run's own journal, unless there is something in it to be remembered.
    fn remove_own(&self, again: bool) -> io::Result<()> {
        match &self.own {
            Some(own) if !again || !self.has_delivered => remove(&own.path),
            _ => Ok(()),
        }
    }

    /// Does `work` while nobody else does; `None`: somebody else does.
    fn locked<T>(&mut self, work: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<Option<T>> {
        match flock(&self.lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            locked => locked?,
        }
        let done = work(self);
        flock(&self.lock, FlockOperation::Unlock)?;
        done.map(Some)
    }

    /// Looks for journals that are new, and reads on in the others.
    fn look(&mut self) -> io::Result<()> {
        let generation = self.lock.metadata()?.len();
        if self.generation != Some(generation) {
            for path in self.journals()? {
                if self.own.as_ref().is_none_or(|own| own.path != path)
                    && self.others.iter().all(|other| other.path != path)
                {
                    self.others.push(Other::new(path));
                }
            }
            self.generation = Some(generation);
        }
        let delivered = &mut self.delivered;
        self.others.iter_mut().try_for_each(|other| other.look(delivered))
    }

    fn journals(&self) -> io::Result<Vec<PathBuf>> {
        let mut journals = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == JOURNAL) {
                journals.push(path);
            }
        }
        Ok(journals)
    }

    /// What other journals are to forget at the end of this run.
    fn to_forget(&self) -> io::Result<Vec<ToForget>> {
        let found = self.others.iter().map(|other| other.to_forget(&self.messages, &self.asked));
        found.filter_map(io::Result::transpose).collect()
    }

    /// Puts into the run's own journal what several are about to forget one after the other, so that all of it is
    /// forgotten when that is removed, and nothing before.
    fn keep_meanwhile(&mut self, to_forget: &[ToForget]) -> io::Result<()> {
        let is_at_once = match to_forget {
            [] => true,
            [one] => one.is_all() && self.own.is_none(),
            _ => false,
        };
        if is_at_once {
            return Ok(());
        }
        self.begin_own()?;
        if let Some(own) = &mut self.own {
            own.add_lines(to_forget.iter().map(ToForget::kept).collect())?;
        }
        // It is to be on the disk, and the journal not to be removed, as if that were deliveries of this run.
        self.has_delivered = true;
        self.sync()
    }

    fn begin_own(&mut self) -> io::Result<()> {
        if self.own.is_none() {
            self.own = Some(Journal::begin(self.path.join(name()))?);
            let next = self.generation.map_or(1, |length| (length + 1) % 65_536);
            self.lock.set_len(next)?;
            self.generation = Some(next);
        }
        Ok(())
    }

    fn begin(&mut self, id: &MessageId, recipients: usize, octets: usize) -> io::Result<()> {
        self.begin_own()?;
        if let Some(own) = &mut self.own {
            own.reserve(id, recipients, octets)?;
        }
        self.add(&LedgerRecord::Begun(*id))
    }

    fn add(&mut self, record: &LedgerRecord<'_>) -> io::Result<()> {
        self.own.as_mut().map_or(Ok(()), |own| own.add(record))
    }

    /// Removes the journals of runs that ended longer ago than `keep`: so many of them that it takes a moment.
    fn remove_old(&self, keep: Duration) -> io::Result<()> {
        let is_old = |path: &PathBuf| {
            let modified = path.metadata().and_then(|metadata| metadata.modified());
            modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > keep))
        };
        for path in self.journals()?.into_iter().filter(is_old).take(MOST_REMOVED) {
            if File::open(&path).is_ok_and(|file| is_unlocked(&file).unwrap_or(false)) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// A name for a journal that no other has: when, who, and what nobody can guess.
fn name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut random = [0; 4];
    // Without it, the time and the process are enough, or else the file is there already.
    let _ = getrandom::fill(&mut random);
    let random = u32::from_be_bytes(random);
    format!("{}.{:09}-{}-{random:08x}.{JOURNAL}", now.as_secs(), now.subsec_nanos(), std::process::id())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lmtp_send::lmtp::ReversePath;
    use lmtp_send::message::Message;

    use super::*;

    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    fn id(content: &str) -> MessageId {
        let message = Message::from_stream(content.as_bytes()).unwrap();
        MessageId::of(&ReversePath::parse("a@x.example").unwrap(), &message).unwrap()
    }

    fn open(home: &Path) -> Ledger {
        Ledger::open(&home.join("ledger"), WEEK).unwrap()
    }

    fn take(ledger: &mut Ledger, content: &str, recipients: &[&str]) -> Option<Vec<bool>> {
        match ledger.take(&id(content), recipients.iter().copied()).unwrap() {
            Taken::InHand(have) => Some(have),
            Taken::Busy => None,
        }
    }

    fn journals(home: &Path) -> Vec<PathBuf> {
        open(home).journals().unwrap()
    }

    /// A run that delivers `content` to `recipients`, and is killed.
    fn killed(home: &Path, content: &str, recipients: &[&str]) {
        let mut run = open(home);
        take(&mut run, content, recipients).unwrap();
        recipients.iter().for_each(|r| run.delivered(&id(content), r).unwrap());
    }

    #[test]
    fn a_run_that_is_to_be_repeated_or_killed_is_remembered_and_another_is_not() {
        for end in [None, Some(true), Some(false)] {
            let home = tempfile::tempdir().unwrap();
            let mut first = open(home.path());
            assert_eq!(take(&mut first, "one\n", &["a", "b"]), Some(vec![false; 2]));
            first.delivered(&id("one\n"), "a").unwrap();
            first.let_go(&id("one\n")).unwrap();
            if let Some(again) = end {
                first.sync().unwrap();
                assert!(first.finish(again).unwrap());
            }
            drop(first);
            let remembered = end != Some(false);
            let mut second = open(home.path());
            assert_eq!(take(&mut second, "one\n", &["b", "a", "c"]), Some(vec![false, remembered, false]));
            assert_eq!(take(&mut second, "two\n", &["a"]), Some(vec![false]), "another message");
            second.delivered(&id("one\n"), "b").unwrap();
            assert!(second.finish(false).unwrap());
            assert_eq!(journals(home.path()), [] as [PathBuf; 0], "{end:?}");
        }
    }

    #[test]
    fn a_run_that_delivered_nothing_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let mut run = open(home.path());
        take(&mut run, "one\n", &["a"]).unwrap();
        assert!(run.finish(true).unwrap());
        assert_eq!(journals(home.path()), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_run_that_is_killed_while_it_forgets_has_forgotten_nothing() {
        for steps in 0..=2 {
            let home = tempfile::tempdir().unwrap();
            killed(home.path(), "one\n", &["a"]);
            killed(home.path(), "two\n", &["a", "b"]);
            let mut run = open(home.path());
            for (content, have) in [("one\n", true), ("two\n", true), ("three\n", false)] {
                assert_eq!(take(&mut run, content, &["a"]), Some(vec![have]));
            }
            run.delivered(&id("three\n"), "a").unwrap();
            let to_forget = run.to_forget().unwrap();
            assert_eq!(to_forget.len(), 2);
            run.keep_meanwhile(&to_forget).unwrap();
            to_forget.iter().take(steps).for_each(|one| one.forget().unwrap());
            drop(run);
            let mut again = open(home.path());
            for content in ["one\n", "two\n", "three\n"] {
                assert_eq!(take(&mut again, content, &["a"]), Some(vec![true]), "{content} after {steps}");
                assert_eq!(
                    take(&mut again, content, &["a"]),
                    Some(vec![false]),
                    "{content}: once, after {steps}"
                );
            }
            assert!(again.finish(false).unwrap());
            drop(again);
            let mut last = open(home.path());
            assert_eq!(take(&mut last, "one\n", &["a"]), Some(vec![false]));
            assert_eq!(take(&mut last, "two\n", &["a", "b"]), Some(vec![false, true]), "b was not asked");
            assert_eq!(journals(home.path()).len(), 2, "of b, and of the last one");
        }
    }

    #[test]
    fn what_was_kept_by_a_run_that_was_killed_can_be_forgotten_in_part() {
        for steps in 0..=2 {
            let home = tempfile::tempdir().unwrap();
            killed(home.path(), "one\n", &["a"]);
            killed(home.path(), "two\n", &["a"]);
            let mut run = open(home.path());
            ["one\n", "two\n"].iter().for_each(|content| drop(take(&mut run, content, &["a"]).unwrap()));
            let to_forget = run.to_forget().unwrap();
            run.keep_meanwhile(&to_forget).unwrap();
            to_forget.iter().take(steps).for_each(|one| one.forget().unwrap());
            drop(run);
            let mut part = open(home.path());
            assert_eq!(take(&mut part, "one\n", &["a"]), Some(vec![true]));
            assert!(part.finish(false).unwrap());
            drop(part);
            let mut last = open(home.path());
            assert_eq!(take(&mut last, "one\n", &["a"]), Some(vec![false]), "after {steps}");
            assert_eq!(take(&mut last, "two\n", &["a"]), Some(vec![true]), "after {steps}");
            assert_eq!(take(&mut last, "two\n", &["a"]), Some(vec![false]), "once, after {steps}");
        }
    }

    /// What is in hand may still need room of the disk that was reserved.
    #[test]
    fn room_is_reserved_for_all_that_is_in_hand() {
        let home = tempfile::tempdir().unwrap();
        let mut run = open(home.path());
        let recipients: Vec<String> = (0..100).map(|n| format!("recipient{n}@x.example")).collect();
        let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
        for message in 0..20 {
            take(&mut run, &message.to_string(), &recipients).unwrap();
        }
        let journal = journals(home.path()).remove(0);
        let octets = |path: &Path| std::os::unix::fs::MetadataExt::blocks(&path.metadata().unwrap()) * 512;
        let reserved = octets(&journal);
        for message in 0..20 {
            recipients.iter().for_each(|r| run.delivered(&id(&message.to_string()), r).unwrap());
            run.let_go(&id(&message.to_string())).unwrap();
        }
        assert_eq!(octets(&journal), reserved, "nothing more was needed");
        take(&mut run, "one more", &["a"]).unwrap();
        assert!(octets(&journal) <= reserved + 64 * 1024, "and what is not in hand needs nothing");
    }

    #[test]
    fn a_run_beside_another_knows_what_that_did_until_its_end() {
        let home = tempfile::tempdir().unwrap();
        let (mut first, mut second) = (open(home.path()), open(home.path()));
        take(&mut first, "one\n", &["a"]).unwrap();
        first.delivered(&id("one\n"), "a").unwrap();
        first.let_go(&id("one\n")).unwrap();
        assert_eq!(take(&mut second, "one\n", &["a"]), Some(vec![true]));
        take(&mut first, "two\n", &["a"]).unwrap();
        first.delivered(&id("two\n"), "a").unwrap();
        first.let_go(&id("two\n")).unwrap();
        assert!(first.finish(false).unwrap());
        drop(first);
        assert_eq!(take(&mut second, "two\n", &["a"]), Some(vec![true]));
    }

    #[test]
    fn what_is_kept_until_the_end_of_a_run_counts_for_nobody_behind_that() {
        let home = tempfile::tempdir().unwrap();
        killed(home.path(), "one\n", &["a"]);
        let (mut first, mut second) = (open(home.path()), open(home.path()));
        assert_eq!(take(&mut first, "one\n", &["a"]), Some(vec![true]));
        take(&mut first, "two\n", &["a"]).unwrap();
        // From now on it waits for the first, whose journal it has open.
        assert_eq!(take(&mut second, "two\n", &["a"]), None);
        first.let_go(&id("two\n")).unwrap();
        assert!(first.finish(false).unwrap());
        drop(first);
        let again: Vec<_> = (0..2).map(|_| take(&mut second, "one\n", &["a"]).unwrap()[0]).collect();
        assert_eq!(again, [true, false], "once, as before");
    }

    #[test]
    fn a_run_that_ended_well_is_forgotten_though_another_does_not_release_the_ledger() {
        let home = tempfile::tempdir().unwrap();
        let mut run = open(home.path());
        take(&mut run, "one\n", &["a"]).unwrap();
        run.delivered(&id("one\n"), "a").unwrap();
        let other = File::open(home.path().join("ledger").join(LOCK)).unwrap();
        flock(&other, FlockOperation::LockExclusive).unwrap();
        assert!(!run.finish(false).unwrap());
        assert!(run.abandon(false).is_err(), "it is said");
        drop((run, other));
        assert_eq!(journals(home.path()), [] as [PathBuf; 0]);
    }

    #[test]
    fn what_was_sent_twice_is_remembered_twice() {
        let home = tempfile::tempdir().unwrap();
        killed(home.path(), "one\n", &["a"]);
        killed(home.path(), "two\n", &["a"]);
        let mut first = open(home.path());
        assert_eq!(take(&mut first, "one\n", &["a"]), Some(vec![true]));
        assert_eq!(take(&mut first, "one\n", &["a"]), Some(vec![false]), "the second time in this run");
        first.delivered(&id("one\n"), "a").unwrap();
        first.let_go(&id("one\n")).unwrap();
        first.finish(true).unwrap();
        drop(first);
        let mut second = open(home.path());
        let again: Vec<_> = (0..3).map(|_| take(&mut second, "one\n", &["A@x", "a"]).unwrap()[1]).collect();
        assert_eq!(again, [true, true, false]);
        assert!(second.finish(false).unwrap());
        assert_eq!(journals(home.path()).len(), 1, "of the other message");
        let mut third = open(home.path());
        assert_eq!(take(&mut third, "two\n", &["a"]), Some(vec![true]));
    }

    #[test]
    fn a_message_is_forgotten_without_the_others_of_its_journal() {
        let home = tempfile::tempdir().unwrap();
        let mut first = open(home.path());
        for content in ["one\n", "two\n"] {
            take(&mut first, content, &["a", "b"]).unwrap();
            first.delivered(&id(content), "a").unwrap();
        }
        drop(first);
        // What is written last may be cut short.
        let journal = journals(home.path()).pop().unwrap();
        OpenOptions::new().append(true).open(&journal).unwrap().write_all(b"0123 delivered").unwrap();
        let mut second = open(home.path());
        assert_eq!(take(&mut second, "one\n", &["a", "b"]), Some(vec![true, false]));
        assert!(second.finish(false).unwrap());
        let mut third = open(home.path());
        assert_eq!(take(&mut third, "one\n", &["a"]), Some(vec![false]));
        assert_eq!(take(&mut third, "two\n", &["a"]), Some(vec![true]));
        assert!(third.finish(false).unwrap());
        assert_eq!(journals(home.path()), [] as [PathBuf; 0]);
    }

    #[test]
    fn other_recipients_of_the_same_message_are_not_forgotten() {
        let home = tempfile::tempdir().unwrap();
        killed(home.path(), "one\n", &["a", "b", "c"]);
        killed(home.path(), "one\n", &["d"]);
        for (asked, left) in [(vec!["e"], 2), (vec!["b"], 2), (vec!["a", "b"], 2), (vec!["d"], 1)] {
            let mut run = open(home.path());
            take(&mut run, "one\n", &asked).unwrap();
            assert!(run.finish(false).unwrap());
            assert_eq!(journals(home.path()).len(), left, "{asked:?}");
        }
        let mut last = open(home.path());
        let have = take(&mut last, "one\n", &["a", "b", "c", "d"]);
        assert_eq!(have, Some(vec![false, false, true, false]));
        assert!(last.finish(false).unwrap());
        assert_eq!(journals(home.path()), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_run_beside_another_for_somebody_else_leaves_what_that_did() {
        let home = tempfile::tempdir().unwrap();
        let (mut first, mut second) = (open(home.path()), open(home.path()));
        take(&mut first, "one\n", &["a"]).unwrap();
        assert_eq!(take(&mut second, "one\n", &["b"]), None);
        first.delivered(&id("one\n"), "a").unwrap();
        first.let_go(&id("one\n")).unwrap();
        assert_eq!(take(&mut second, "one\n", &["b"]), Some(vec![false]));
        assert!(first.finish(true).unwrap());
        drop(first);
        second.delivered(&id("one\n"), "b").unwrap();
        assert!(second.finish(false).unwrap());
        assert_eq!(take(&mut open(home.path()), "one\n", &["a", "b"]), Some(vec![true, false]));
    }

    #[test]
    fn a_journal_grows_no_younger_when_some_of_it_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        killed(home.path(), "one\n", &["a", "b"]);
        let journal = journals(home.path()).pop().unwrap();
        let before = SystemTime::now() - Duration::from_secs(3_600);
        OpenOptions::new().append(true).open(&journal).unwrap().set_modified(before).unwrap();
        let mut run = open(home.path());
        take(&mut run, "one\n", &["a"]).unwrap();
        assert!(run.finish(false).unwrap());
        assert_eq!(journal.metadata().unwrap().modified().unwrap(), before);
    }

    #[test]
    fn a_journal_that_is_cut_anywhere_loses_its_last_line_only() {
        let home = tempfile::tempdir().unwrap();
        killed(home.path(), "one\n", &["a", "b", "c"]);
        let journal = journals(home.path()).pop().unwrap();
        let whole = fs::read(&journal).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&journal, &whole[..cut]).unwrap();
            let lines = whole[..cut].iter().filter(|octet| **octet == b'\n').count();
            let mut run = open(home.path());
            let have = take(&mut run, "one\n", &["a", "b", "c"]).unwrap();
            assert_eq!(have.iter().filter(|have| **have).count(), lines.saturating_sub(1), "{cut}");
            run.finish(true).unwrap();
        }
        let mut lost = whole.clone();
        let middle = whole.iter().position(|octet| *octet == b'\n').unwrap() + 20;
        lost[middle..middle + 10].fill(0);
        fs::write(&journal, lost).unwrap();
        assert_eq!(take(&mut open(home.path()), "one\n", &["a", "b", "c"]), Some(vec![false, true, true]));
    }

    #[test]
    fn a_message_that_cannot_be_taken_in_hand_is_remembered_all_the_same() {
        let home = tempfile::tempdir().unwrap();
        killed(home.path(), "one\n", &["a"]);
        let mut second = open(home.path());
        assert_eq!(take(&mut second, "two\n", &[]), Some(vec![]));
        let (ledger, away) = (home.path().join("ledger"), home.path().join("away"));
        fs::rename(&ledger, &away).unwrap();
        assert!(second.take(&id("one\n"), ["a", "b"].into_iter()).is_err());
        fs::rename(&away, &ledger).unwrap();
        assert_eq!(take(&mut second, "one\n", &["a", "b"]), Some(vec![true, false]));
        assert_eq!(take(&mut second, "one\n", &["a", "b"]), Some(vec![false, false]), "once for each copy");
    }

    #[test]
    fn a_message_that_another_run_has_in_hand_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let (mut first, mut second) = (open(home.path()), open(home.path()));
        take(&mut first, "one\n", &["a", "b"]).unwrap();
        assert_eq!(take(&mut second, "one\n", &["a", "b"]), None);
        assert!(take(&mut second, "two\n", &["a"]).is_some(), "others are not");
        assert_eq!(take(&mut first, "two\n", &["a"]), None, "it goes both ways");
        first.delivered(&id("one\n"), "a").unwrap();
        assert_eq!(take(&mut second, "one\n", &["a", "b"]), None);
        first.let_go(&id("one\n")).unwrap();
        assert_eq!(take(&mut second, "one\n", &["a", "b"]), Some(vec![true, false]));
    }

    #[test]
    fn the_end_of_a_run_that_is_waited_for_tells_what_it_did() {
        for end in [None, Some(true), Some(false)] {
            let home = tempfile::tempdir().unwrap();
            let (mut first, mut second) = (open(home.path()), open(home.path()));
            take(&mut first, "one\n", &["a", "b"]).unwrap();
            assert_eq!(take(&mut second, "one\n", &["a", "b"]), None);
            first.delivered(&id("one\n"), "a").unwrap();
            end.iter().for_each(|again| assert!(first.finish(*again).unwrap()));
            drop(first);
            assert_eq!(take(&mut second, "one\n", &["a", "b"]), Some(vec![true, false]), "{end:?}");
        }
    }

    #[test]
    fn what_is_going_on_is_not_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let (mut first, mut second) = (open(home.path()), open(home.path()));
        take(&mut first, "one\n", &["a"]).unwrap();
        first.delivered(&id("one\n"), "a").unwrap();
        first.let_go(&id("one\n")).unwrap();
        assert_eq!(take(&mut second, "one\n", &["a"]), Some(vec![true]));
        assert!(second.finish(false).unwrap());
        drop(first);
        assert_eq!(take(&mut open(home.path()), "one\n", &["a"]), Some(vec![true]), "the first was killed");
    }

    #[test]
    fn old_journals_are_removed_and_not_those_of_runs_that_live() {
        let home = tempfile::tempdir().unwrap();
        killed(home.path(), "one\n", &["a"]);
        let mut living = open(home.path());
        take(&mut living, "two\n", &["a"]).unwrap();
        for journal in journals(home.path()) {
            let old = SystemTime::now() - WEEK - Duration::from_secs(60);
            OpenOptions::new().append(true).open(journal).unwrap().set_modified(old).unwrap();
        }
        assert_eq!(journals(home.path()).len(), 1);
        assert_eq!(take(&mut open(home.path()), "one\n", &["a"]), Some(vec![false]));
    }

    #[test]
    fn a_ledger_that_somebody_looks_at_is_asked_again() {
        let home = tempfile::tempdir().unwrap();
        let (mut first, mut second) = (open(home.path()), open(home.path()));
        first
            .locked(|_| {
                assert_eq!(take(&mut second, "one\n", &["a"]), None);
                assert!(!second.finish(true)?);
                Ok(())
            })
            .unwrap();
        assert!(take(&mut second, "one\n", &["a"]).is_some());
    }
}
