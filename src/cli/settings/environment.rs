//! The environment: `LMTP_SEND_` and the option's name in capitals, with underscores for its hyphens.
//!
//! A flag is said as yes or no (`1`, `true`, `yes`, `on`; `0`, `false`, `no`, `off`). An empty variable is a no to any
//! option, whatever the files say. The values of a repeatable option stand on lines of their own.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::options::SCHEMA;
use super::typed::{Definition, ValueForm};
use super::{Origin, Setting};

/// What the variables' names begin with.
pub const PREFIX: &str = "LMTP_SEND_";

/// Variables of that name that are no options: the password, and how the program is built.
const OTHERS: [&str; 2] = ["PASSWORD", "DYNAMIC"];

/// The file for everybody on this host.
const SYSTEM: &str = "/etc/lmtp-send.toml";

/// Where settings may come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The variables that may be options: what follows the prefix, and the value.
    pub variables: Vec<(OsString, OsString)>,
    /// The password's variable is set.
    pub password: bool,
    /// The files that are looked for, the highest first.
    pub files: Vec<PathBuf>,
}

impl Sources {
    /// Those of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        let mut sources = Self::default();
        for (name, value) in env::vars_os() {
            match name.as_bytes().strip_prefix(PREFIX.as_bytes()) {
                Some(b"PASSWORD") => sources.password = true,
                Some(option) => sources.variables.push((OsStr::from_bytes(option).to_owned(), value)),
                None => {}
            }
        }
        sources.variables.retain(|(name, _)| !OTHERS.iter().any(|other| name == other));
        sources.files = files(env::var_os("HOME").as_deref(), env::var_os("XDG_CONFIG_HOME").as_deref());
        sources
    }

    /// Whether nothing is set but what is typed: no variable, and none of the files is there.
    #[must_use]
    pub fn are_silent(&self) -> bool {
        self.variables.is_empty() && self.files.iter().all(|file| rustix::fs::stat(file).is_err())
    }
}

/// The user's file and the system's. A directory that is not absolute is none (XDG Base Directory Specification).
fn files(home: Option<&OsStr>, xdg: Option<&OsStr>) -> Vec<PathBuf> {
    let absolute = |directory: Option<&OsStr>| {
        directory.map(Path::new).filter(|d| d.is_absolute()).map(Path::to_path_buf)
    };
    let user = absolute(xdg).or_else(|| absolute(home).map(|home| home.join(".config")));
    user.map(|directory| directory.join("lmtp-send/config.toml")).into_iter().chain([SYSTEM.into()]).collect()
}

/// The options that the environment sets, and warnings of variables that are no options.
///
/// # Errors
///
/// A variable whose value cannot be meant.
pub fn settings(sources: &Sources) -> Result<(Vec<Setting>, Vec<String>), String> {
    let (mut settings, mut warnings) = (Vec::new(), Vec::new());
    for (name, value) in &sources.variables {
        let name = name.to_string_lossy();
        let option = option(&name);
        match SCHEMA.option(&option).filter(|definition| definition.elsewhere) {
            Some(definition) => {
                let origin = Origin::Variable(format!("{PREFIX}{name}"));
                let words = words(definition, value).map_err(|why| origin.explain(&option, &why))?;
                let (option, words) = definition.setting(words);
                settings.push(Setting { option, words, origin });
            }
            None => warnings.push(unknown(&name, SCHEMA.nearest(&option))),
        }
    }
    Ok((settings, warnings))
}

/// The option that `TLS_CA` stands for. Small letters stand for none.
fn option(name: &str) -> String {
    let letter = |c: char| match c {
        '_' => '-',
        '-' | 'a'..='z' => '?',
        c => c.to_ascii_lowercase(),
    };
    name.chars().map(letter).collect()
}

fn unknown(name: &str, nearest: Option<&str>) -> String {
    let near = nearest
        .map(|option| format!("; the nearest is {PREFIX}{}", option.to_ascii_uppercase().replace('-', "_")));
    format!(
        "{PREFIX}{name} is set in the environment, but there is no such option{}",
        near.unwrap_or_default()
    )
}

/// The words that `value` stands for.
fn words(definition: &Definition, value: &OsStr) -> Result<Vec<OsString>, String> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let yes = truth(value);
    match definition.form {
        ValueForm::Flag => yes.map(|yes| definition.flag(usize::from(yes))).ok_or_else(|| neither(value)),
        ValueForm::Count => count(value).map(|times| definition.flag(times)).ok_or_else(|| neither(value)),
        ValueForm::Optional if yes.is_some() => Ok(definition.flag(usize::from(yes == Some(true)))),
        ValueForm::List => {
            let lines = value.as_bytes().split(|b| *b == b'\n').filter(|line| !line.is_empty());
            Ok(lines.map(|line| definition.word(OsStr::from_bytes(line))).collect())
        }
        ValueForm::Optional | ValueForm::Text | ValueForm::Number | ValueForm::Port => {
            Ok(vec![definition.word(value)])
        }
    }
}

fn truth(value: &OsStr) -> Option<bool> {
    match value.to_str()?.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn count(value: &OsStr) -> Option<usize> {
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| *number < 10);
    number.or(truth(value).map(usize::from))
}

fn neither(value: &OsStr) -> String {
    format!("'{}' must be yes or no", value.to_string_lossy().escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<(Vec<String>, Vec<String>), String> {
        let variables = vec![(name.into(), value.into())];
        let sources = Sources { variables, ..Sources::default() };
        let (settings, warnings) = settings(&sources)?;
        let words = settings.into_iter().flat_map(|s| s.words).map(|w| w.into_string().unwrap());
        Ok((words.collect(), warnings))
    }

    #[test]
    fn a_variable_is_an_option() {
        for (name, value, words) in [
            ("TLS_CA", "/etc/ca.pem", &["--tls-ca=/etc/ca.pem"][..]),
            ("PORT", "25", &["--port=25"]),
            ("FROM", "-x@y", &["--from=-x@y"]),
            ("FROM", "", &[]),
            ("KEEP_BCC", "yes", &["--keep-bcc"]),
            ("KEEP_BCC", "1", &["--keep-bcc"]),
            ("KEEP_BCC", "TRUE", &["--keep-bcc"]),
            ("KEEP_BCC", "0", &[]),
            ("KEEP_BCC", "off", &[]),
            ("KEEP_BCC", "", &[]),
            ("VERBOSE", "2", &["--verbose", "--verbose"]),
            ("VERBOSE", "no", &[]),
            ("HOST", "a\nb:25\n", &["--host=a", "--host=b:25"]),
            ("HOST", "unix:/run/lmtp", &["--socket=/run/lmtp"]),
            ("TO", "a@x,b@x", &["--to=a@x,b@x"]),
            ("HELP_FROM_SERVER", "yes", &["--help-from-server"]),
            ("HELP_FROM_SERVER", "DATA", &["--help-from-server=DATA"]),
            ("CONFIG", "x.toml", &["--config=x.toml"]),
        ] {
            let (found, warnings) = set(name, value).unwrap();
            assert_eq!(found, words, "{name}={value}");
            assert!(warnings.is_empty(), "{name}: {warnings:?}");
        }
    }

    #[test]
    fn a_variable_that_is_no_option_is_a_warning() {
        for (name, near) in
            [("TIMEOUTS", "LMTP_SEND_TIMEOUT"), ("VERSION", ""), ("tls_ca", ""), ("TLS-CA", "")]
        {
            let (words, warnings) = set(name, "1").unwrap();
            assert!(
                words.is_empty() && warnings.len() == 1 && warnings[0].contains(near),
                "{name}: {warnings:?}"
            );
        }
    }

    #[test]
    fn a_flag_is_yes_or_no() {
        assert_eq!(set("KEEP_BCC", "maybe").unwrap_err(), "LMTP_SEND_KEEP_BCC: 'maybe' must be yes or no");
    }

    #[test]
    fn files_are_looked_for_in_the_users_place_first() {
        let of = |home: Option<&str>, xdg: Option<&str>| files(home.map(OsStr::new), xdg.map(OsStr::new));
        let user =
            |directory: &str| [format!("{directory}/lmtp-send/config.toml").into(), PathBuf::from(SYSTEM)];
        assert_eq!(of(Some("/home/me"), None), user("/home/me/.config"));
        assert_eq!(of(Some("/home/me"), Some("")), user("/home/me/.config"));
        assert_eq!(of(Some("/home/me"), Some("relative")), user("/home/me/.config"));
        assert_eq!(of(Some("/home/me"), Some("/xdg")), user("/xdg"));
        assert_eq!(of(None, None), [PathBuf::from(SYSTEM)]);
    }
}
