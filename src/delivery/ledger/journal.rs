//! A run's journal: a file in the ledger's directory that the run has locked for as long as it lives.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::record::{LedgerRecord, MessageId};
use crate::system;

/// Octets of a journal that are read at a time.
const BLOCK: usize = 64 * 1024;
/// Octets of the disk that are reserved at a time.
const RESERVE: u64 = 64 * 1024;
/// The most octets of a line: more than any address may have.
const MAX_LINE: usize = 64 * 1024;
/// The most octets of a line without the recipient.
const LINE: u64 = 96;

/// How often each recipient of a message was delivered to.
pub type Delivered = HashMap<[u8; 16], u32>;

/// The journal that this run writes.
pub struct Journal {
    pub path: PathBuf,
    file: File,
    written: u64,
    reserved: u64,
    /// What the messages in hand may still need, each as often as it is in hand, in octets.
    promised: HashMap<[u8; 16], Vec<u64>>,
    /// All of that.
    outstanding: u64,
    /// The last line may have been written in part.
    torn: bool,
}

impl Journal {
    /// Begins a journal, and locks it. Nobody else may look for journals meanwhile.
    pub fn begin(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self {
            path,
            file,
            written: 0,
            reserved: 0,
            promised: HashMap::new(),
            outstanding: 0,
            torn: false,
        })
    }

    /// Makes sure that the records of the message `id`, to so many recipients with so many octets altogether, find
    /// room on the disk beside those of the others in hand, as far as the system can tell.
    pub fn reserve(&mut self, id: &MessageId, recipients: usize, octets: usize) -> io::Result<()> {
        // One that it is in hand, one for each recipient, and one that it is in hand no more.
        let needed = (recipients as u64 + 2) * LINE + octets as u64;
        let wanted = self.written + self.outstanding + needed;
        if wanted > self.reserved {
            let most = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
            if wanted > most {
                return Err(Errno::FBIG.into());
            }
            let to = wanted.next_multiple_of(RESERVE).min(most);
            match system::reserve(&self.file, to) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.reserved = to,
                Err(e) => return Err(e.into()),
            }
        }
        self.promised.entry(id.short()).or_default().push(needed);
        self.outstanding += needed;
        Ok(())
    }

    /// The message is in hand no more: its last line is added.
    pub fn end(&mut self, id: &MessageId) -> io::Result<()> {
        if let Entry::Occupied(mut entry) = self.promised.entry(id.short()) {
            self.outstanding -= entry.get_mut().pop().unwrap_or(0);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
        self.add(&LedgerRecord::Ended(*id))
    }

    /// Adds a line: from here on no death of this process can take it back.
    pub fn add(&mut self, record: &LedgerRecord<'_>) -> io::Result<()> {
        self.add_lines(record.line())
    }

    /// The same of several lines.
    pub fn add_lines(&mut self, lines: String) -> io::Result<()> {
        let lines = if self.torn { format!("\n{lines}") } else { lines };
        let result = self.file.write_all(lines.as_bytes());
        self.torn = result.is_err();
        self.written += lines.len() as u64;
        result
    }

    /// What was added outlasts a loss of power.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// The journal of another run, which may still be going on.
pub struct Other {
    pub path: PathBuf,
    /// Kept open as long as its run is alive: that may remove the file, and what it did until then counts.
    file: Option<File>,
    /// How much of it has been read.
    read: u64,
    is_alive: bool,
    in_hand: HashSet<[u8; 16]>,
    /// The messages in it: none, one, or several.
    about: Remembered,
    /// What counts if its run was killed, and not if that ended: the names of the journals that each is from.
    kept: HashMap<[u8; 16], Vec<String>>,
}

/// What a journal is to forget.
pub struct ToForget {
    path: PathBuf,
    /// Who was delivered to, as often as it is remembered.
    deliveries: Vec<(MessageId, String)>,
    /// It remembers nothing else.
    is_all: bool,
}

/// Which messages a journal remembers recipients of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remembered {
    Nothing,
    One([u8; 16]),
    Several,
}

impl Other {
    /// A journal that has not been looked at.
    pub fn new(path: PathBuf) -> Self {
        let (in_hand, about) = (HashSet::new(), Remembered::Nothing);
        Self { path, file: None, read: 0, is_alive: true, in_hand, about, kept: HashMap::new() }
    }

    /// Reads on, as long as its run may write, and puts into `delivered` what that says.
    pub fn look(&mut self, delivered: &mut Delivered) -> io::Result<()> {
        if !self.is_alive {
            return Ok(());
        }
        let Some(file) = self.file.take().map_or_else(|| open(&self.path), |file| Ok(Some(file)))? else {
            // Its run has ended well, and removed it.
            self.end();
            return Ok(());
        };
        // Asked first: what was written before the end is then read.
        let has_ended = is_unlocked(&file)?;
        self.read_on(&file, delivered)?;
        if has_ended {
            // Who ends well removes the journal before anybody can find it unlocked.
            if self.path.try_exists()? {
                self.count_kept(delivered)?;
            }
            self.end();
        } else {
            self.file = Some(file);
        }
        Ok(())
    }

    /// Counts what is kept here of what other journals have forgotten by now.
    fn count_kept(&mut self, delivered: &mut Delivered) -> io::Result<()> {
        let keys: HashSet<[u8; 16]> = self.kept.keys().copied().collect();
        let mut elsewhere: HashMap<String, Delivered> = HashMap::new();
        let kept = self.kept.drain().flat_map(|(key, journals)| journals.into_iter().map(move |j| (j, key)));
        for (journal, key) in kept {
            let remembered = match elsewhere.entry(journal) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let path = self.path.with_file_name(entry.key());
                    entry.insert(
                        open(&path)?.map_or_else(|| Ok(Delivered::new()), |file| counted(&file, &keys))?,
                    )
                }
            };
            if !take(remembered, &key) {
                *delivered.entry(key).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Whether its run has the message in hand.
    pub fn has(&self, id: &MessageId) -> bool {
        self.in_hand.contains(&id.short())
    }

    fn end(&mut self) {
        self.is_alive = false;
        self.in_hand = HashSet::new();
        self.kept = HashMap::new();
        self.file = None;
    }

    fn read_on(&mut self, file: &File, delivered: &mut Delivered) -> io::Result<()> {
        let (in_hand, about, kept) = (&mut self.in_hand, &mut self.about, &mut self.kept);
        self.read = each_record(file, self.read, |record| match record {
            LedgerRecord::Begun(id) => drop(in_hand.insert(id.short())),
            LedgerRecord::Ended(id) => drop(in_hand.remove(&id.short())),
            LedgerRecord::Delivered(id, recipient) => {
                about.add(&id);
                *delivered.entry(id.key(recipient)).or_default() += 1;
            }
            LedgerRecord::Kept(id, journal, recipient) => {
                about.add(&id);
                kept.entry(id.key(recipient)).or_default().push(journal.to_owned());
            }
            LedgerRecord::Forgotten(id, recipient) => {
                let key = id.key(recipient);
                if kept.get_mut(&key).and_then(Vec::pop).is_none() {
                    take(delivered, &key);
                }
            }
        })?;
        Ok(())
    }

    /// What the journal says of the recipients `asked` of `messages`, if anything, and its run has ended. Nobody else
    /// may look for journals meanwhile.
    pub fn to_forget(
        &self,
        messages: &HashSet<[u8; 16]>,
        asked: &HashSet<[u8; 16]>,
    ) -> io::Result<Option<ToForget>> {
        let concerned = match self.about {
            Remembered::One(id) => messages.contains(&id),
            Remembered::Nothing | Remembered::Several => true,
        };
        if self.is_alive || !concerned {
            return Ok(None);
        }
        let Some(file) = open(&self.path)? else { return Ok(None) };
        let (deliveries, others) = remembered(&file, asked)?;
        let is_all = others <= 0;
        let path = self.path.clone();
        Ok((is_all || !deliveries.is_empty()).then_some(ToForget { path, deliveries, is_all }))
    }
}

impl ToForget {
    /// Whether that removes the journal, so that nobody can find it done in part.
    pub fn is_all(&self) -> bool {
        self.is_all
    }

    /// The lines by which another journal remembers it meanwhile.
    pub fn kept(&self) -> String {
        let journal = self.path.file_name().unwrap_or_default().to_string_lossy();
        let line = |(id, recipient): &(_, String)| LedgerRecord::Kept(*id, &journal, recipient).line();
        self.deliveries.iter().map(line).collect()
    }

    /// Forgets it: with all that is in it, the file. Nobody else may look for journals meanwhile.
    pub fn forget(&self) -> io::Result<()> {
        if self.is_all {
            return remove(&self.path);
        }
        let forgotten = |(id, recipient): &(_, String)| LedgerRecord::Forgotten(*id, recipient).line();
        let lines: String = self.deliveries.iter().map(forgotten).collect();
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        // It is as old as what it remembers.
        let modified = file.metadata()?.modified()?;
        // A line that was cut short by the end of its run must not take the first of these with it.
        file.write_all(format!("\n{lines}").as_bytes())?;
        file.set_modified(modified)
    }
}

/// What a journal whose run has ended remembers of `asked`, and how much of others.
fn remembered(file: &File, asked: &HashSet<[u8; 16]>) -> io::Result<(Vec<(MessageId, String)>, i64)> {
    let (mut own, mut others) = (Vec::new(), 0_i64);
    let mut forgotten = Delivered::new();
    each_record(file, 0, |record| match record {
        LedgerRecord::Delivered(id, recipient) | LedgerRecord::Kept(id, _, recipient) => {
            if asked.contains(&id.key(recipient)) {
                own.push((id, recipient.to_owned()));
            } else {
                others += 1;
            }
        }
        LedgerRecord::Forgotten(id, recipient) => {
            let key = id.key(recipient);
            if asked.contains(&key) {
                *forgotten.entry(key).or_default() += 1;
            } else {
                others -= 1;
            }
        }
        LedgerRecord::Begun(_) | LedgerRecord::Ended(_) => {}
    })?;
    own.retain(|(id, recipient)| !take(&mut forgotten, &id.key(recipient)));
    Ok((own, others))
}

/// How often a journal whose run has ended remembers each of `keys`.
fn counted(file: &File, keys: &HashSet<[u8; 16]>) -> io::Result<Delivered> {
    let mut counts = Delivered::new();
    for (id, recipient) in remembered(file, keys)?.0 {
        *counts.entry(id.key(&recipient)).or_default() += 1;
    }
    Ok(counts)
}

impl Remembered {
    fn add(&mut self, id: &MessageId) {
        *self = match self {
            Remembered::Nothing => Remembered::One(id.short()),
            Remembered::One(one) if *one == id.short() => return,
            Remembered::One(_) | Remembered::Several => Remembered::Several,
        };
    }
}

/// Takes one of those that `key` was delivered to.
pub fn take(delivered: &mut Delivered, key: &[u8; 16]) -> bool {
    let Some(count) = delivered.get_mut(key) else { return false };
    *count -= 1;
    if *count == 0 {
        delivered.remove(key);
    }
    true
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

/// Removes a file that may be gone already.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Whether the run that wrote this has ended.
pub fn is_unlocked(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => flock(file, FlockOperation::Unlock).map(|()| true).map_err(Into::into),
        Err(Errno::AGAIN) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Shows each record from the position `from` on to `visit`; returns the position behind the last whole line.
fn each_record(file: &File, from: u64, mut visit: impl FnMut(LedgerRecord<'_>)) -> io::Result<u64> {
    let (mut held, mut at) = (Vec::new(), from);
    loop {
        let before = held.len();
        held.resize(before + BLOCK, 0);
        let read = file.read_at(held.get_mut(before..).unwrap_or_default(), at + before as u64)?;
        held.truncate(before + read);
        let whole = held.iter().rposition(|octet| *octet == b'\n').map_or(0, |end| end + 1);
        let lines = held.get(..whole).unwrap_or_default();
        lines.split(|octet| *octet == b'\n').filter_map(LedgerRecord::parse).for_each(&mut visit);
        // What has no end after so much is no line.
        let done = if held.len() - whole > MAX_LINE { held.len() } else { whole };
        held.drain(..done);
        at += done as u64;
        if read == 0 {
            return Ok(at);
        }
    }
}
