//! What settings know of each option, and which options a command line sets.
//!
//! This is no parser: what is wrong with the words is clap's to say. It only knows which words are values, so that an
//! address such as `--config` is not taken for the option.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::options::Group;

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueForm {
    /// It stands alone.
    Flag,
    /// It stands alone and counts.
    Count,
    /// A word.
    Text,
    /// A number.
    Number,
    /// A number or a name for one.
    Port,
    /// A word, or nothing.
    Optional,
    /// A word, as often as is wanted.
    List,
}

/// An option of the command line.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its long name.
    pub long: &'static str,
    /// Its short name.
    pub short: Option<char>,
    /// What it takes.
    pub form: ValueForm,
    /// A value that may be left out is given with `=` only.
    pub equals: bool,
    /// It can be given in the environment and in files.
    pub elsewhere: bool,
    /// Where clap's definition is.
    pub group: Group,
}

impl Definition {
    /// The words that set it `times` times, without a value.
    #[must_use]
    pub fn flag(&self, times: usize) -> Vec<OsString> {
        vec![format!("--{}", self.long).into(); times]
    }

    /// The words that set it to each of `values`. A host that is a path, as other programs write a Unix-domain socket, is
    /// that socket.
    #[must_use]
    pub fn setting(&self, words: Vec<OsString>) -> (&'static str, Vec<OsString>) {
        let path = |word: &OsString| -> Option<OsString> {
            let host = word.to_str()?.strip_prefix("--host=")?;
            let path = host.strip_prefix("unix:").unwrap_or(host);
            path.starts_with('/').then(|| format!("--socket={path}").into())
        };
        match words.as_slice() {
            [word] if let Some(socket) = path(word) => ("socket", vec![socket]),
            _ => (self.long, words),
        }
    }

    /// The word that sets it to `value`.
    #[must_use]
    pub fn word(&self, value: &OsStr) -> OsString {
        let mut word = OsString::from(format!("--{}=", self.long));
        word.push(value);
        word
    }
}

/// The options.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Each.
    pub options: &'static [Definition],
}

/// What a command line sets.
#[derive(Clone, Debug, Default)]
pub struct Typed {
    /// Each option as often as it was typed, with its value.
    pub given: Vec<(&'static str, Option<OsString>)>,
    /// The place of `--sendmail` among the words, if that is there.
    pub sendmail: Option<usize>,
    /// The places of the words of one dash.
    pub clusters: Vec<usize>,
}

impl Typed {
    /// The last value of `option`.
    #[must_use]
    pub fn value(&self, option: &str) -> Option<&OsStr> {
        self.given.iter().rfind(|(name, _)| *name == option).and_then(|(_, value)| value.as_deref())
    }

    fn set(&mut self, definition: &Definition, value: Option<&OsStr>) {
        self.given.push((definition.long, value.map(OsStr::to_owned)));
    }
}

impl Schema {
    /// The option that is called `long`.
    #[must_use]
    pub fn option(&self, long: &str) -> Option<&'static Definition> {
        self.options.iter().find(|definition| definition.long == long)
    }

    /// The option whose name comes nearest to `word`.
    #[must_use]
    pub fn nearest(&self, word: &str) -> Option<&'static str> {
        let known = self.options.iter().filter(|definition| definition.elsewhere);
        let near =
            known.map(|definition| (strsim::damerau_levenshtein(definition.long, word), definition.long));
        let (distance, name) = near.min()?;
        (distance <= 1 + word.chars().count() / 4).then_some(name)
    }

    /// The groups to which `options` belong.
    #[must_use]
    pub fn groups(&self, options: impl Iterator<Item = &'static str>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for definition in options.filter_map(|option| self.option(option)) {
            if !groups.contains(&definition.group) {
                groups.push(definition.group);
            }
        }
        groups
    }

    /// Which options `argv` sets; the program's name is first.
    #[must_use]
    pub fn typed(&self, argv: &[OsString]) -> Typed {
        let mut typed = Typed::default();
        let mut words = argv.iter().enumerate().skip(1);
        while let Some((at, word)) = words.next() {
            let octets = word.as_bytes();
            if octets == b"--" {
                break;
            }
            if octets == b"--sendmail" {
                typed.sendmail = Some(at);
                break;
            }
            let pending = match octets.strip_prefix(b"--") {
                Some(long) => self.long(long, &mut typed),
                None => octets.strip_prefix(b"-").and_then(|cluster| {
                    typed.clusters.push(at);
                    self.cluster(cluster, &mut typed)
                }),
            };
            if let Some(definition) = pending {
                typed.set(definition, words.next().map(|(_, word)| word.as_os_str()));
            }
        }
        typed
    }

    /// A long option; returned where its value is the next word.
    fn long(&self, word: &[u8], typed: &mut Typed) -> Option<&'static Definition> {
        let at = word.iter().position(|b| *b == b'=');
        let (name, rest) = word.split_at(at.unwrap_or(word.len()));
        let definition = self.option(std::str::from_utf8(name).ok()?)?;
        let attached = rest.get(1..).map(OsStr::from_bytes);
        self.take(definition, attached, typed)
    }

    /// Short options in one word; the last is returned where its value is the next word.
    fn cluster(&self, word: &[u8], typed: &mut Typed) -> Option<&'static Definition> {
        let (first, rest) = word.split_first()?;
        let definition = self.options.iter().find(|d| d.short == Some(char::from(*first)))?;
        if matches!(definition.form, ValueForm::Flag | ValueForm::Count) {
            typed.set(definition, None);
            return self.cluster(rest, typed);
        }
        let attached = rest.strip_prefix(b"=").unwrap_or(rest);
        self.take(definition, (!rest.is_empty()).then(|| OsStr::from_bytes(attached)), typed)
    }

    fn take(
        &self,
        definition: &'static Definition,
        attached: Option<&OsStr>,
        typed: &mut Typed,
    ) -> Option<&'static Definition> {
        let alone = matches!(definition.form, ValueForm::Flag | ValueForm::Count)
            || (definition.form == ValueForm::Optional && definition.equals);
        if attached.is_some() || alone || definition.form == ValueForm::Optional {
            typed.set(definition, attached);
            return None;
        }
        Some(definition)
    }
}

#[cfg(test)]
mod tests {
    use super::super::SCHEMA;
    use super::*;

    fn typed(words: &[&str]) -> Vec<(String, Option<String>)> {
        let argv: Vec<OsString> = ["lmtp-send"].iter().chain(words).map(OsString::from).collect();
        let typed = SCHEMA.typed(&argv);
        let text = |value: Option<OsString>| value.map(|value| value.into_string().unwrap());
        typed.given.into_iter().map(|(option, value)| (option.to_owned(), text(value))).collect()
    }

    #[test]
    fn words_are_options_or_their_values() {
        for (words, expected) in [
            (&["--port", "25", "--port=26"][..], &[("port", Some("25")), ("port", Some("26"))][..]),
            (&["-f", "--config", "x"], &[("from", Some("--config"))]),
            (&["-f-x@y", "-f=z"], &[("from", Some("-x@y")), ("from", Some("z"))]),
            (&["-vqS", "a"], &[("verbose", None), ("quiet", None), ("socket", Some("a"))]),
            (&["-4Ha", "b", "-"], &[("ipv4", None), ("host", Some("a"))]),
            (&["--", "--probe"], &[]),
            (&["--nonsense", "--help-from-server", "--noop"], &[("help-from-server", None), ("noop", None)]),
            (&["-t"], &[("to", None)]),
        ] {
            let found = typed(words);
            let found: Vec<_> =
                found.iter().map(|(option, value)| (option.as_str(), value.as_deref())).collect();
            assert_eq!(found, expected, "{words:?}");
        }
    }

    #[test]
    fn every_option_has_a_form() {
        for (option, form) in [
            ("keep-bcc", ValueForm::Flag),
            ("verbose", ValueForm::Count),
            ("port", ValueForm::Port),
            ("timeout", ValueForm::Number),
            ("socket", ValueForm::Text),
            ("bind", ValueForm::Text),
            ("tls", ValueForm::Text),
            ("host", ValueForm::List),
            ("to", ValueForm::List),
            ("notify", ValueForm::List),
            ("help-from-server", ValueForm::Optional),
        ] {
            assert_eq!(SCHEMA.option(option).map(|d| d.form), Some(form), "{option}");
        }
        assert!(SCHEMA.option("files").is_none());
    }

    #[test]
    fn the_nearest_option_is_found() {
        for (word, nearest) in [
            ("tiemout", Some("timeout")),
            ("tls_ca", Some("tls-ca")),
            ("sokcet", Some("socket")),
            ("hots", Some("host")),
            ("recipient", None),
            ("x", None),
        ] {
            assert_eq!(SCHEMA.nearest(word), nearest, "{word}");
        }
    }
}
