//! The messages in a directory: a Maildir's `new` and `cur`, else its plain files, in the order of their names.
//!
//! Files whose names begin with a dot are left out. The names are kept without what belongs to each in a list of
//! its own: a Maildir may hold some 100,000.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where a Maildir has its messages.
const MAILDIR: [&str; 2] = ["new", "cur"];

/// The names in a directory.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    is_maildir: bool,
    /// Where each name begins in `names`, in their order.
    order: Vec<u32>,
    /// Each name: for a Maildir the place of its folder in [`MAILDIR`], the octets, and a NUL.
    names: Vec<u8>,
    given: usize,
}

/// A message in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The file.
    pub path: PathBuf,
    /// What stays the same when it is moved from `new` to `cur` or gets other flags.
    pub lasting: PathBuf,
}

impl Directory {
    /// Lists the directory.
    ///
    /// # Errors
    ///
    /// It, or the folder that is returned as well, cannot be read.
    pub fn list(path: &Path) -> Result<Self, (PathBuf, io::Error)> {
        let is_maildir = MAILDIR.iter().any(|folder| path.join(folder).is_dir());
        let mut all =
            Self { path: path.to_owned(), is_maildir, order: Vec::new(), names: Vec::new(), given: 0 };
        if !is_maildir {
            all.add(path, 0).map_err(|e| (path.to_owned(), e))?;
        }
        for (at, folder) in (0..).zip(MAILDIR).filter(|_| is_maildir) {
            let folder = path.join(folder);
            match all.add(&folder, at) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err((folder, e)),
                _ => {}
            }
        }
        let names = &all.names;
        all.order.sort_unstable_by(|a, b| name(names, *a).cmp(name(names, *b)));
        all.names.shrink_to_fit();
        Ok(all)
    }

    fn add(&mut self, folder: &Path, at: u8) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let kind = entry.file_type()?;
            let is_file = kind.is_file() || (kind.is_symlink() && entry.path().is_file());
            if name.as_bytes().starts_with(b".") || !is_file {
                continue;
            }
            let place = u32::try_from(self.names.len())
                .map_err(|_| io::Error::other("its names take more than 4 GiB"))?;
            self.order.push(place);
            self.names.push(at);
            self.names.extend_from_slice(name.as_bytes());
            self.names.push(0);
        }
        Ok(())
    }
}

impl Directory {
    /// How many are still to be given out.
    pub fn left(&self) -> usize {
        self.order.len().saturating_sub(self.given)
    }
}

impl Iterator for Directory {
    type Item = Named;

    fn next(&mut self) -> Option<Named> {
        let place = *self.order.get(self.given)?;
        self.given += 1;
        let name = OsStr::from_bytes(name(&self.names, place));
        if !self.is_maildir {
            let path = self.path.join(name);
            return Some(Named { lasting: path.clone(), path });
        }
        let folder = self.names.get(place as usize).and_then(|at| MAILDIR.get(usize::from(*at)))?;
        let unique = name.as_bytes().split(|octet| *octet == b':').next().unwrap_or_default();
        Some(Named {
            path: self.path.join(folder).join(name),
            lasting: self.path.join(OsStr::from_bytes(unique)),
        })
    }
}

/// The name at this place of `names`.
fn name(names: &[u8], place: u32) -> &[u8] {
    let begin = names.get(place as usize + 1..).unwrap_or_default();
    begin.split(|octet| *octet == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_files(names: &[&str]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for name in names {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "To: a\n").unwrap();
        }
        home
    }

    fn listed(home: &Path) -> Vec<(String, String)> {
        let text = |path: &Path| path.strip_prefix(home).unwrap().to_str().unwrap().to_owned();
        Directory::list(home).unwrap().map(|named| (text(&named.path), text(&named.lasting))).collect()
    }

    #[test]
    fn a_maildir_is_new_and_cur_in_the_order_of_names() {
        let home = with_files(&[
            "new/3.c",
            "new/1.a",
            "cur/2.b:2,S",
            "cur/4.d:2,",
            "tmp/0.x",
            "new/.hidden",
            "note.txt",
            "cur/sub/9.z",
            ".Sent/cur/1.a:2,S",
        ]);
        let expected =
            [("new/1.a", "1.a"), ("cur/2.b:2,S", "2.b"), ("new/3.c", "3.c"), ("cur/4.d:2,", "4.d")];
        assert_eq!(listed(home.path()), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        let home = with_files(&["new/1"]);
        assert_eq!(listed(home.path()).len(), 1, "a folder that is missing is empty");
    }

    #[test]
    fn another_directory_is_its_plain_files() {
        let home = with_files(&["b.eml", "a:2,S", ".hidden", "sub/c.eml"]);
        std::os::unix::fs::symlink("b.eml", home.path().join("linked")).unwrap();
        std::os::unix::fs::symlink("nowhere", home.path().join("broken")).unwrap();
        let expected = ["a:2,S", "b.eml", "linked"].map(|name| (name.to_owned(), name.to_owned()));
        assert_eq!(listed(home.path()), expected);
        assert_eq!(listed(tempfile::tempdir().unwrap().path()), []);
        assert!(Directory::list(Path::new("/nonexistent")).is_err());
    }
}
