//! Maildirs below one directory: DIR/RECIPIENT/{tmp,new,cur}.
//!
//! A message is written into a `tmp`, synced, and renamed into `new`; then the folders are synced. What is
//! dropped on the way is removed from `tmp`. Of a message for several recipients the first copy is written as
//! it comes and the others are copied from it, so memory does not grow with the message.
//!
//! Folders are opened one below the other and never through a symbolic link: whoever may write in DIR cannot
//! lead mail out of it by planting one in place of a recipient's folder. DIR itself may be a link. All this
//! counts on a file system that tells capital letters from small ones, as those of Unix do.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::content::{Framing, IncomingContent};

/// The longest name of a folder, in octets: `NAME_MAX` of Unix file systems.
const MAX_NAME: usize = 255;
/// How much of the host's name goes into a file's name, in octets; with the rest it stays below [`MAX_NAME`].
const MAX_HOST: usize = 150;

/// The name of the folder for `address`: the address itself, save that what could mean something else to a
/// file system or a terminal stands as `%` and two hexadecimal digits an octet. Two addresses never share a
/// name, and none leads out of the directory. `None` when it is longer than a file system takes.
pub fn folder_name(address: &str) -> Option<String> {
    let mut name = String::with_capacity(address.len());
    for (at, c) in address.char_indices() {
        if is_hostile(c) || (at == 0 && c == '.') {
            c.encode_utf8(&mut [0; 4]).bytes().for_each(|octet| name.push_str(&format!("%{octet:02X}")));
        } else {
            name.push(c);
        }
    }
    (1..=MAX_NAME).contains(&name.len()).then_some(name)
}

/// Path separators, the escape itself, controls, and characters that are invisible or turn the text around.
fn is_hostile(c: char) -> bool {
    let invisible =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    c == '/' || c == '%' || c.is_control() || invisible
}

/// The directory that holds the Maildirs. Nothing is touched before a message comes.
#[derive(Debug)]
pub struct MaildirStore {
    /// That directory.
    pub dir: PathBuf,
    host: String,
}

impl MaildirStore {
    /// Maildirs below `dir`, which is created when it is missing; `host` becomes part of files' names, with
    /// what is hostile there in octal as the Maildir convention has it (`\057` for `/`, `\072` for `:`).
    pub fn new(dir: PathBuf, host: &str) -> Self {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let octet = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("\\{b:03o}") };
        let mut host: String = host.bytes().map(octet).collect();
        host.truncate(MAX_HOST);
        Self { dir, host }
    }

    /// An empty file in the `tmp` of `folder`; the directory and the Maildir are created when they are missing.
    fn draft(&self, folder: &str) -> io::Result<Draft> {
        let maildir = subfolder(&open_or_create(&self.dir)?, folder)?;
        subfolder(&maildir, "cur")?;
        let (tmp, new, name) = (subfolder(&maildir, "tmp")?, subfolder(&maildir, "new")?, self.unique_name());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = File::from(openat(&tmp, name.as_str(), flags, Mode::RUSR | Mode::WUSR)?);
        Ok(Draft { tmp, new, name, file: BufWriter::new(file), stored: false })
    }

    /// A name that no other file has, by the Maildir convention: the time, what tells apart the files of one
    /// moment, and the host.
    fn unique_name(&self) -> String {
        static COUNTER: AtomicU64 = AtomicU64::new(1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
        let (seconds, micros, process) = (now.as_secs(), now.subsec_micros(), std::process::id());
        format!("{seconds}.M{micros:06}P{process}Q{counter}.{}", self.host)
    }
}

/// A message on its way into the Maildirs of one or more recipients.
#[derive(Debug)]
pub struct IncomingMessage {
    content: IncomingContent,
    /// The number of the recipient whose copy is written as it comes, and that copy.
    first: io::Result<(usize, Draft)>,
}

impl IncomingMessage {
    /// Begins a message for `folders`, in the first whose Maildir can be used.
    pub fn new(form: Framing, store: &MaildirStore, folders: &[String]) -> Self {
        let mut drafts =
            folders.iter().enumerate().map(|(number, folder)| Ok((number, store.draft(folder)?)));
        let first = drafts.find(Result::is_ok);
        let first = first.unwrap_or_else(|| Err(io::Error::other("no Maildir could be used")));
        Self { content: IncomingContent::new(form), first }
    }

    /// Takes octets; how many belong to the message, when they end it (see [`IncomingContent::take`]). A failure shows
    /// in what [`IncomingMessage::deliver`] returns.
    pub fn take(&mut self, octets: &[u8]) -> Option<usize> {
        self.content.take(octets, &mut |part| write(&mut self.first, |file| file.write_all(part)))
    }

    /// Stores a copy for each of `folders`, which are those that it was begun for: what became of each.
    pub fn deliver(mut self, store: &MaildirStore, folders: &[String]) -> Vec<io::Result<()>> {
        self.content.end(&mut |part| write(&mut self.first, |file| file.write_all(part)));
        write(&mut self.first, Write::flush);
        let deliver = |(number, folder): (usize, &String)| match &mut self.first {
            Ok((written, draft)) if *written == number => draft.store(),
            Ok((_, draft)) => store.draft(folder)?.store_copy(draft.file.get_ref()),
            // Its own Maildir's trouble says more than the trouble of the one that was used in its place.
            Err(error) => store.draft(folder).and(Err(same(error))),
        };
        folders.iter().enumerate().map(deliver).collect()
    }
}

/// Takes a step in writing `copy`; nothing more is written after one has failed.
fn write(copy: &mut io::Result<(usize, Draft)>, step: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
    if let Ok((_, draft)) = copy
        && let Err(error) = step(&mut draft.file)
    {
        *copy = Err(error);
    }
}

/// The same failure for another recipient.
fn same(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}

/// A file in a `tmp`, which is removed from there when this is dropped before it was stored.
#[derive(Debug)]
struct Draft {
    tmp: File,
    new: File,
    name: String,
    file: BufWriter<File>,
    stored: bool,
}

impl Draft {
    /// Stores the whole of `source`.
    fn store_copy(&mut self, mut source: &File) -> io::Result<()> {
        source.rewind()?;
        io::copy(&mut source, self.file.get_mut())?;
        self.store()
    }

    /// Moves what was written into `new`, for good.
    fn store(&mut self) -> io::Result<()> {
        self.file.get_ref().sync_all()?;
        renameat(&self.tmp, self.name.as_str(), &self.new, self.name.as_str())?;
        self.stored = true;
        // What may be gone after a crash was not delivered, and a second try must not make it two.
        sync_folder(&self.new).inspect_err(|_| self.remove_from(&self.new))
    }

    /// Removes the file, as well as can be: what stays in a `tmp` is removed by whoever reads the Maildir.
    fn remove_from(&self, folder: &File) {
        let _ = unlinkat(folder, self.name.as_str(), AtFlags::empty());
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.stored {
            self.remove_from(&self.tmp);
        }
    }
}

/// The directory `path`, created when it is missing, with its parents.
fn open_or_create(path: &Path) -> io::Result<File> {
    let open = |path: &Path| open_folder(CWD, path, OFlags::empty());
    or_create(open(path), || {
        fs::create_dir_all(path)?;
        let parent = path.parent().unwrap_or(path);
        sync_folder(&open(&Path::new(".").join(parent))?)?;
        open(path)
    })
}

/// The folder `name` in `parent`, created when it is missing, for its owner only. Not through a symbolic link.
fn subfolder(parent: &File, name: &str) -> io::Result<File> {
    let open = || open_folder(parent, name.as_ref(), OFlags::NOFOLLOW);
    or_create(open(), || {
        match mkdirat(parent, name, Mode::RWXU) {
            Err(error) if error != Errno::EXIST => return Err(error.into()),
            _ => sync_folder(parent)?, // also when another session was faster
        }
        open()
    })
}

fn or_create(found: io::Result<File>, create: impl FnOnce() -> io::Result<File>) -> io::Result<File> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(),
        found => found,
    }
}

fn open_folder(at: impl AsFd, path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(openat(at, path, flags, Mode::empty())?))
}

/// Makes the names in `folder` last. A file system that cannot do that for folders says so with EINVAL.
fn sync_folder(folder: &File) -> io::Result<()> {
    folder.sync_all().or_else(|error| match Errno::from_io_error(&error) {
        Some(Errno::INVAL) => Ok(()),
        _ => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_readable_reversible_and_stay_where_they_are() {
        let table = [
            ("postmaster", "postmaster"),
            ("joe+tag@example.net", "joe+tag@example.net"),
            ("jörg@bücher.example", "jörg@bücher.example"),
            ("\"a b\"@x", "\"a b\"@x"),
            ("-x@y", "-x@y"),
            ("..", "%2E."),
            (".x@y", "%2Ex@y"),
            ("../../etc/x@y", "%2E.%2F..%2Fetc%2Fx@y"),
            ("%2Ex@y", "%252Ex@y"),
            ("/etc/passwd", "%2Fetc%2Fpasswd"),
            ("a\0\n\x7f@y", "a%00%0A%7F@y"),
            ("a\u{9b}\u{202e}@y", "a%C2%9B%E2%80%AE@y"),
        ];
        for (address, name) in table {
            assert_eq!(folder_name(address).as_deref(), Some(name));
        }
    }

    #[test]
    fn names_longer_than_a_file_system_takes_are_none() {
        assert_eq!(folder_name(&"x".repeat(255)).unwrap().len(), 255);
        assert_eq!(folder_name(&"x".repeat(256)), None);
        assert_eq!(folder_name(&"/".repeat(86)), None);
        assert_eq!(folder_name(""), None);
    }

    #[test]
    fn file_names_are_unique_and_tame() {
        let store = MaildirStore::new(PathBuf::new(), "a/b:c\n.example");
        let (first, second) = (store.unique_name(), store.unique_name());
        assert_ne!(first, second);
        assert!(first.ends_with(".a\\057b\\072c\\012.example"), "{first}");
        assert!(MaildirStore::new(PathBuf::new(), &"/".repeat(999)).unique_name().len() <= MAX_NAME);
    }
}
