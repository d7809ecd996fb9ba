//! Configuration files: TOML, with the options' names as keys, and `[profile.NAME]` tables of the same keys.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::Unparsed;
use super::options::SCHEMA;
use super::typed::{Definition, ValueForm};
use super::{Origin, Read, Setting, Sources};

/// The largest file that is taken for a configuration, in octets.
const MAX_OCTETS: usize = 1024 * 1024;

/// The table of tables whose keys are in force when `--profile` names them.
const PROFILE: &str = "profile";

/// A file that has been read.
#[derive(Debug)]
pub struct ConfigFile {
    /// Its name.
    pub path: Arc<Path>,
    /// What stands outside of the profiles.
    pub settings: Vec<Setting>,
    profiles: Vec<(String, Vec<Setting>)>,
}

/// The files, the highest first: `explicit` alone, or those of the well-known ones that are there.
///
/// # Errors
///
/// What is wrong with a file, and on which line.
pub fn read_all(
    sources: &Sources,
    explicit: Option<&OsStr>,
    deadline: Option<Duration>,
    how: Read<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<ConfigFile>, Unparsed> {
    if let Some(path) = explicit {
        return Ok(vec![read(Path::new(path), deadline, how)?]);
    }
    let mut files = Vec::new();
    for path in &sources.files {
        match std::fs::metadata(path) {
            Ok(_) => files.push(read(path, deadline, how)?),
            // Another user's home, which the environment still names.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                warnings.push(format!("{}: {}", path.display(), permission_denied()));
            }
            Err(_) => {}
        }
    }
    Ok(files)
}

/// The text that `option` has in the profile `name` of the file, else outside of the profiles, whatever else is wrong
/// with the file. What a pipe held has been read, and nobody writes it a second time.
pub fn peek(path: &Path, name: Option<&str>, option: &str) -> Option<String> {
    std::fs::metadata(path).ok().filter(|m| m.is_file() && m.len() <= MAX_OCTETS as u64)?;
    let text = std::fs::read_to_string(path).ok()?;
    let (table, _) = DeTable::parse_recoverable(&text);
    let table = table.into_inner();
    let value = |table: &DeTable<'_>| Some(table.get(option)?.get_ref().as_str()?.to_owned());
    let profile =
        || table.get(PROFILE)?.get_ref().as_table()?.get(name?)?.get_ref().as_table().and_then(value);
    profile().or_else(|| value(&table))
}

/// The settings of the profile `name`, a layer for each of `files` that has it.
///
/// # Errors
///
/// None of them has it.
pub fn profile(files: &[ConfigFile], name: &str, sources: &Sources) -> Result<Vec<Vec<Setting>>, String> {
    let named = files.iter().flat_map(|file| file.profiles.iter()).filter(|(profile, _)| profile == name);
    let layers: Vec<_> = named.map(|(_, settings)| settings.clone()).collect();
    if !layers.is_empty() {
        return Ok(layers);
    }
    let read: Vec<PathBuf> = files.iter().map(|file| file.path.to_path_buf()).collect();
    let looked = if read.is_empty() { &sources.files } else { &read };
    let looked: Vec<String> = looked.iter().map(|path| path.display().to_string()).collect();
    Err(format!(
        "--profile {}: there is no [profile.{name}] in {}",
        name.escape_debug(),
        looked.join(" and ")
    ))
}

fn read(path: &Path, deadline: Option<Duration>, how: Read<'_>) -> Result<ConfigFile, Unparsed> {
    let wrong = |why: &str| Unparsed::Config(format!("{}: {why}", path.display()));
    let octets = how(path, MAX_OCTETS + 1, deadline).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return wrong("there is no such file");
        }
        Unparsed::Unreadable(path.to_path_buf(), error)
    })?;
    if octets.len() > MAX_OCTETS {
        return Err(wrong("it is too long for a configuration file"));
    }
    let text = String::from_utf8(octets).map_err(|_| wrong("it is not UTF-8"))?;
    Reading { path: path.into(), text: &text }.file().map_err(Unparsed::Config)
}

fn permission_denied() -> String {
    use rustix::process::{getegid, geteuid};
    format!("permission denied (running as uid {}, gid {})", geteuid().as_raw(), getegid().as_raw())
}

/// A file whose text is being understood.
struct Reading<'a> {
    path: Arc<Path>,
    text: &'a str,
}

type Entry<'a, 'b> = (&'a Spanned<std::borrow::Cow<'b, str>>, &'a Spanned<DeValue<'b>>);

impl Reading<'_> {
    fn file(&self) -> Result<ConfigFile, String> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.at(at, error.message().lines().next().unwrap_or("syntax error in TOML"))
        })?;
        let table = table.into_inner();
        let (mut settings, mut profiles) = (Vec::new(), Vec::new());
        for entry in in_order(&table) {
            match entry {
                (key, value) if key.get_ref() == PROFILE => profiles = self.profiles(key, value)?,
                entry => settings.push(self.setting(entry, None)?),
            }
        }
        Ok(ConfigFile { path: Arc::clone(&self.path), settings, profiles })
    }

    fn profiles(
        &self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<(String, Vec<Setting>)>, String> {
        let no_table = |at: usize| {
            self.at(
                at,
                "profile: put the settings of a profile in a table [profile.NAME], and choose it with --profile",
            )
        };
        let tables = value.get_ref().as_table().ok_or_else(|| no_table(key.span().start))?;
        let mut profiles = Vec::new();
        for (name, value) in in_order(tables) {
            let table = value.get_ref().as_table().ok_or_else(|| no_table(name.span().start))?;
            let profile: Arc<str> = name.get_ref().as_ref().into();
            let settings = in_order(table).into_iter().map(|entry| self.setting(entry, Some(&profile)));
            profiles.push((profile.to_string(), settings.collect::<Result<_, _>>()?));
        }
        Ok(profiles)
    }

    fn setting(&self, (key, value): Entry<'_, '_>, profile: Option<&Arc<str>>) -> Result<Setting, String> {
        let name = key.get_ref().as_ref();
        let at = key.span().start;
        let known = SCHEMA.option(name).filter(|definition| definition.elsewhere && name != "config");
        let definition = known.ok_or_else(|| self.at(at, &self.unknown(name)))?;
        let words =
            words(definition, value.get_ref()).map_err(|why| self.at(at, &format!("{name}: {why}")))?;
        let origin =
            Origin::File { path: Arc::clone(&self.path), line: self.line(at), profile: profile.cloned() };
        let (option, words) = definition.setting(words);
        Ok(Setting { option, words, origin })
    }

    fn unknown(&self, name: &str) -> String {
        let quoted = name.escape_debug();
        match name {
            "password" => "password: a password cannot be given here; use password-file, password-command or LMTP_SEND_PASSWORD in the environment".into(),
            "config" => "config: a configuration file cannot name another one".into(),
            _ => match SCHEMA.nearest(name) {
                Some(nearest) => format!("{quoted}: no such option; the nearest is {nearest}"),
                None => format!("{quoted}: no such option"),
            },
        }
    }

    /// The line of the octet `at`, counted from 1.
    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        1 + memchr::memchr_iter(b'\n', before).count()
    }

    fn at(&self, at: usize, why: &str) -> String {
        format!("{}:{}: {why}", self.path.display(), self.line(at))
    }
}

/// The entries of a table in the order in which they stand in the file.
fn in_order<'a, 'b>(table: &'a DeTable<'b>) -> Vec<Entry<'a, 'b>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// The words that `value` stands for.
fn words(definition: &Definition, value: &DeValue<'_>) -> Result<Vec<std::ffi::OsString>, String> {
    let wrong = |wanted: &str| format!("expected {}, not {}", wanted, article(value.type_str()));
    match (definition.form, value) {
        (ValueForm::Flag | ValueForm::Count | ValueForm::Optional, DeValue::Boolean(yes)) => {
            Ok(definition.flag(usize::from(*yes)))
        }
        (ValueForm::Count, DeValue::Integer(_)) => match number(value).and_then(|n| n.parse().ok()) {
            Some(times @ 0..10) => Ok(definition.flag(times)),
            _ => Err("expected a number from 0 to 9".into()),
        },
        (ValueForm::Number | ValueForm::Port, DeValue::Integer(_) | DeValue::Float(_)) => {
            let number = number(value).ok_or_else(|| wrong("a number"))?;
            Ok(vec![definition.word(OsStr::new(&number))])
        }
        (
            ValueForm::Text | ValueForm::Port | ValueForm::Optional | ValueForm::List,
            DeValue::String(text),
        ) => Ok(vec![definition.word(OsStr::new(text.as_ref()))]),
        (ValueForm::List, DeValue::Array(values)) => {
            let texts = values.iter().map(|value| value.get_ref().as_str());
            let word = |text: Option<&str>| {
                Ok(definition.word(OsStr::new(text.ok_or("every member must be a string")?)))
            };
            texts.map(word).collect()
        }
        (ValueForm::Flag, _) => Err(wrong("true or false")),
        (ValueForm::Count, _) => Err(wrong("true, false or a number")),
        (ValueForm::Number, _) => Err(wrong("a number")),
        (ValueForm::Port, _) => Err(wrong("a number or a name")),
        (ValueForm::Text, _) => Err(wrong("a string")),
        (ValueForm::Optional, _) => Err(wrong("a string, true or false")),
        (ValueForm::List, _) => Err(wrong("a string or an array of strings")),
    }
}

/// A number in decimal, as it is typed.
fn number(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n.to_string())
        }
        DeValue::Float(float) => Some(float.as_str().to_owned()),
        DeValue::String(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => None,
    }
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understood(text: &str) -> Result<ConfigFile, String> {
        Reading { path: Path::new("c.toml").into(), text }.file()
    }

    fn words_of(settings: &[Setting]) -> Vec<String> {
        settings.iter().flat_map(|s| s.words.iter()).map(|w| w.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_key_is_an_option() {
        for (text, expected) in [
            ("port = 25", &["--port=25"][..]),
            ("port = \"lmtp\"", &["--port=lmtp"]),
            ("port = 0x19", &["--port=25"]),
            ("timeout = 1.5", &["--timeout=1.5"]),
            ("timeout = 1_000", &["--timeout=1000"]),
            ("keep-bcc = true", &["--keep-bcc"]),
            ("keep-bcc = false", &[]),
            ("verbose = 2", &["--verbose", "--verbose"]),
            ("verbose = true", &["--verbose"]),
            ("host = [\"a\", 'b:25']", &["--host=a", "--host=b:25"]),
            ("host = \"a\"", &["--host=a"]),
            ("host = []", &[]),
            ("host = \"/run/lmtp\"", &["--socket=/run/lmtp"]),
            ("host = \"unix:/run/lmtp\"", &["--socket=/run/lmtp"]),
            ("host = [\"/run/lmtp\", \"b\"]", &["--host=/run/lmtp", "--host=b"]),
            ("from = ''", &["--from="]),
            ("socket = \"/run/\\u0061\"", &["--socket=/run/a"]),
            ("help-from-server = true\n", &["--help-from-server"]),
            ("# nothing\n", &[]),
        ] {
            assert_eq!(words_of(&understood(text).unwrap().settings), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, said) in [
            ("\n\ntiemout = 3", "c.toml:3: tiemout: no such option; the nearest is timeout"),
            ("tls_ca = 'x'", "c.toml:1: tls_ca: no such option; the nearest is tls-ca"),
            ("recipient = 'x'", "c.toml:1: recipient: no such option"),
            ("\ntimeout = 'soon'", "c.toml:2: timeout: expected a number, not a string"),
            ("keep-bcc = 'yes'", "c.toml:1: keep-bcc: expected true or false, not a string"),
            ("socket = 3", "c.toml:1: socket: expected a string, not an integer"),
            ("host = [1]", "c.toml:1: host: every member must be a string"),
            ("[tls]\nca = 'x'", "c.toml:1: tls: expected a string, not a table"),
            ("port = 1979-05-27", "c.toml:1: port: expected a number or a name, not a datetime"),
            ("config = 'x'", "c.toml:1: config: a configuration file cannot"),
            ("password = 'hunter2'", "c.toml:1: password: a password cannot be given here"),
            ("profile = 'x'", "c.toml:1: profile: put the settings of a profile in a table"),
            ("[profile.a]\nport = true", "c.toml:2: port: expected a number"),
            ("port = 1\nport = 2", "c.toml:2: duplicate key"),
            ("port = \n", "c.toml:1: "),
            ("help = true", "c.toml:1: help: no such option"),
        ] {
            let why = understood(text).unwrap_err();
            assert!(why.starts_with(said) && !why.contains("hunter2"), "{text}: {why}");
        }
    }

    #[test]
    fn profiles_are_tables_of_options() {
        let file = understood("port = 1\n[profile.a]\nport = 2\n[profile.b]\nsocket = 'x'\n").unwrap();
        assert_eq!(words_of(&file.settings), ["--port=1"]);
        let sources = Sources::default();
        let files = [file];
        let layers = profile(&files, "a", &sources).unwrap();
        assert_eq!(words_of(&layers[0]), ["--port=2"]);
        assert!(
            matches!(&layers[0][0].origin, Origin::File { line: 3, profile: Some(p), .. } if &**p == "a")
        );
        assert!(profile(&files, "c", &sources).unwrap_err().contains("[profile.c] in c.toml"));
    }
}
