//! Where the names of messages come from: the command line, lists, directories and mboxes.

pub mod directory;
pub mod list;

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lmtp_send::message::mbox::{Mbox, Quoting};
use lmtp_send::message::{FileIdentity, Message, Unreadable};

use super::input;
use super::intake::{Ahead, Input, Patience, Place, Source};
use crate::exit::Kind;
use crate::local_error::LocalError;
use crate::process::unusable;
use directory::Directory;
use list::List;

/// The FILEs of the command line.
pub fn files(paths: Vec<PathBuf>) -> Box<dyn Source> {
    Box::new(Files(paths.into()))
}

/// The files that the list `path` names; `-` is standard input.
pub fn list(path: PathBuf) -> Box<dyn Source> {
    Box::new(Listed { names: List::default(), stream: PartedFile::new(path.into()) })
}

/// The messages of the mbox `path`; `-` is standard input.
pub fn mbox(path: Arc<Path>) -> Box<dyn Source> {
    Box::new(Archive { mbox: None, stream: PartedFile::new(path) })
}

/// The messages in the directory `path`.
///
/// # Errors
///
/// It cannot be read.
pub fn directory(path: &Path) -> Result<Box<dyn Source>, LocalError> {
    let names =
        Directory::list(path).map_err(|(path, e)| LocalError::input(Kind::NoInput, unusable(&path, &e)))?;
    Ok(Box::new(Folder(names)))
}

/// What finding out takes whether the file is a directory.
fn looked_at(path: &Path) -> Ahead {
    if input::is_standard_input(path) { Ahead::AtHand } else { Ahead::Read }
}

struct Files(VecDeque<PathBuf>);

impl Source for Files {
    fn ahead(&self) -> Ahead {
        self.0.front().map_or(Ahead::AtHand, |path| looked_at(path))
    }

    fn next(&mut self, _: Patience<'_>) -> Option<Input> {
        self.0.pop_front().map(Input::at)
    }

    fn left(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Folder(Directory);

impl Source for Folder {
    fn ahead(&self) -> Ahead {
        Ahead::AtHand
    }

    fn next(&mut self, _: Patience<'_>) -> Option<Input> {
        let named = self.0.next()?;
        Some(Input::at(named.path).archived(named.lasting.as_os_str().as_bytes()))
    }

    fn left(&self) -> Option<usize> {
        Some(self.0.left())
    }
}

/// A file that is read as its parts are wanted.
struct PartedFile {
    path: Arc<Path>,
    file: Option<File>,
    is_regular: bool,
    /// Nothing more is to be had.
    is_over: bool,
}

impl PartedFile {
    fn new(path: Arc<Path>) -> Self {
        Self { path, file: None, is_regular: false, is_over: false }
    }

    /// What reading on takes.
    fn ahead(&self) -> Ahead {
        match &self.file {
            _ if self.is_over => Ahead::AtHand,
            None if input::is_standard_input(&self.path) => Ahead::Wait,
            None => Ahead::Read,
            Some(_) if self.is_regular => Ahead::Read,
            Some(_) => Ahead::Wait,
        }
    }

    /// Opens it; its identity, where it is a regular file.
    fn open(&mut self) -> Result<Option<FileIdentity>, LocalError> {
        let (file, metadata) = input::open(&self.path)?.into_parts();
        let metadata = metadata.filter(std::fs::Metadata::is_file);
        self.is_regular = metadata.is_some();
        self.file = Some(file);
        Ok(metadata.as_ref().map(FileIdentity::of))
    }

    /// It cannot be read on.
    fn fail(&mut self, error: LocalError) -> Option<Input> {
        self.is_over = true;
        Some(Input::new(self.path.to_string_lossy().into(), Place::Unread(error)))
    }
}

struct Listed {
    names: List,
    stream: PartedFile,
}

impl Source for Listed {
    fn ahead(&self) -> Ahead {
        if self.names.has_next() { Ahead::Read } else { self.stream.ahead() }
    }

    fn next(&mut self, patience: Patience<'_>) -> Option<Input> {
        if self.stream.is_over {
            return None;
        }
        if self.stream.file.is_none()
            && let Err(error) = self.stream.open()
        {
            return self.stream.fail(error);
        }
        let file = self.stream.file.as_ref()?;
        match self.names.next(&mut input::waiting(file, patience)) {
            // Where standard input is the list, it is no message.
            Ok(Some(name)) if input::is_standard_input(&name) => Some(Input::at(Path::new(".").join(name))),
            Ok(name) => name.map(Input::at),
            Err(e) => {
                let error = input::unreadable(&self.stream.path, &Unreadable::Input(e));
                self.stream.fail(error)
            }
        }
    }
}

struct Archive {
    mbox: Option<Mbox>,
    stream: PartedFile,
}

impl Archive {
    fn open(&mut self) -> Result<(), LocalError> {
        let identity = self.stream.open()?;
        if !input::is_standard_input(&self.stream.path) && self.stream.path.is_dir() {
            let text = format!("{}: is a directory, not an mbox", self.stream.path.display());
            return Err(LocalError::input(Kind::NoInput, text));
        }
        self.mbox = match (identity, &self.stream.file) {
            (Some(identity), Some(file)) => {
                let mbox = file.try_clone().and_then(|file| Mbox::in_file(file, identity, Quoting::Mboxrd));
                Some(mbox.map_err(|e| input::unreadable(&self.stream.path, &Unreadable::Input(e)))?)
            }
            (None, _) | (_, None) => Some(Mbox::new(Quoting::Mboxrd)),
        };
        Ok(())
    }

    /// The number of the message that was come to last.
    fn number(&self) -> u64 {
        self.mbox.as_ref().map_or(0, Mbox::number)
    }

    fn member(&self, place: Place) -> Input {
        let number = self.number();
        let name = format!("{}#{number}", self.stream.path.display());
        let key = [self.stream.path.as_os_str().as_bytes(), format!("#{number}").as_bytes()].concat();
        Input::new(name.into(), place).archived(&key)
    }

    fn next_message(&mut self, patience: Patience<'_>) -> Result<Option<Message>, Unreadable> {
        match (&mut self.mbox, &self.stream.file) {
            (Some(mbox), Some(file)) => mbox.next(&mut input::waiting(file, patience)),
            (None, _) | (_, None) => Ok(None),
        }
    }
}

impl Source for Archive {
    fn ahead(&self) -> Ahead {
        let at_hand = |mbox: &Mbox| mbox.holds_next() || !mbox.may_have_next();
        if self.mbox.as_ref().is_some_and(at_hand) { Ahead::AtHand } else { self.stream.ahead() }
    }

    fn next(&mut self, patience: Patience<'_>) -> Option<Input> {
        if self.stream.is_over {
            return None;
        }
        if self.mbox.is_none()
            && let Err(error) = self.open()
        {
            return self.stream.fail(error);
        }
        match self.next_message(patience) {
            // Whoever was to write an mbox has not; a file that is empty is one without messages.
            Ok(None) if self.number() == 0 && !self.stream.is_regular => {
                self.stream.fail(input::unreadable(&self.stream.path, &Unreadable::Empty))
            }
            Ok(message) => {
                message.map(|message| self.member(Place::Read(Arc::new(Mutex::new(Some(message))))))
            }
            Err(e @ Unreadable::Empty) => {
                let text = format!("{}#{}: {e}", self.stream.path.display(), self.number());
                Some(self.member(Place::Nowhere(LocalError::input(Kind::Message, text))))
            }
            Err(e) => {
                let mut error = input::unreadable(&self.stream.path, &e);
                if self.number() > 0 {
                    error.text += &format!("; messages from number {} on were not sent", self.number());
                }
                self.stream.fail(error)
            }
        }
    }
}
