//! Settings: what the environment and the configuration files say for options that are not typed.
//!
//! Each source becomes words of the command line, by option and with their origin. Of an option that several
//! sources give, those words stand that come from highest up: the command line, the environment, the profile in the user's
//! file and in the system's, the user's file, the system's. Options of which one takes the place of another (the
//! kinds of destination, say) count as one. What is left goes before what was typed, and clap parses it once, so that no
//! option has a second definition.

mod blame;
mod environment;
mod file;
mod options;
mod show;
mod typed;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Command;

pub use environment::Sources;
pub use options::{Group, SCHEMA};
pub use typed::{Typed, ValueForm};

use super::{Unparsed, value};

/// Where the value of an option was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A variable, by its name.
    Variable(String),
    /// A line of a file.
    File {
        /// The file.
        path: Arc<Path>,
        /// Counted from 1.
        line: usize,
        /// The table in which it stands, if that is a profile's.
        profile: Option<Arc<str>>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Variable(name) => f.write_str(name),
            Origin::File { path, line, .. } => write!(f, "{}:{line}", path.display()),
        }
    }
}

impl Origin {
    /// `option: why`, with the place in front.
    fn explain(&self, option: &str, why: &str) -> String {
        match self {
            Origin::Variable(name) => format!("{name}: {why}"),
            Origin::File { .. } => format!("{self}: {option}: {why}"),
        }
    }
}

/// What one source gives for one option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The option's long name, without hyphens before it.
    pub option: &'static str,
    /// As they would be typed: `--port=24`. None where the source says that the option is not set.
    pub words: Vec<OsString>,
    /// Where.
    pub origin: Origin,
}

/// The settings that are in force beside what was typed.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    given: Vec<Setting>,
}

/// Options of which one takes the place of the others.
const RIVALS: [&[&str]; 5] = [
    &["host", "socket", "exec", "sink"],
    &["ipv4", "ipv6"],
    &["password-file", "password-command"],
    &["tls-ca", "tls-fingerprint", "tls-insecure"],
    &["quiet", "verbose", "debug"],
];

/// The options that are settled once `option` is.
fn settled_by(option: &'static str) -> impl Iterator<Item = &'static str> {
    let rivals = RIVALS.iter().find(|rivals| rivals.contains(&option));
    rivals.into_iter().flat_map(|rivals| rivals.iter().copied()).chain([option])
}

impl Settings {
    /// What stands of `layers`, the highest first, where the options `typed` are on the command line.
    fn merged(typed: &Typed, layers: Vec<Vec<Setting>>) -> Self {
        let mut settled: Vec<&str> = Vec::new();
        typed.given.iter().for_each(|(option, _)| settled.extend(settled_by(option)));
        let mut given = Vec::new();
        for layer in layers {
            let mut stands = layer;
            stands.retain(|setting| !settled.contains(&setting.option));
            for setting in &stands {
                // What says that it is not set leaves its rivals alone.
                let unset = setting.words.is_empty();
                settled.extend(settled_by(setting.option).filter(|o| !unset || *o == setting.option));
            }
            given.extend(stands);
        }
        Self { given }
    }

    /// These are as if nobody had given them: options, or options with a value (`exit-style=monitor`).
    pub fn forget(&mut self, options: &[&str]) {
        let is_word = |word: &OsString, option: &str| {
            word.to_str().is_some_and(|word| word.strip_prefix("--") == Some(option))
        };
        self.given.retain(|Setting { option, words, .. }| {
            !options
                .iter()
                .any(|forgotten| option == forgotten || words.iter().any(|word| is_word(word, forgotten)))
        });
    }

    /// The words of all of them, to stand before what was typed.
    pub fn words(&self) -> impl Iterator<Item = &OsStr> {
        self.given.iter().flat_map(|setting| setting.words.iter().map(OsString::as_os_str))
    }

    /// The options that are given.
    pub fn options(&self) -> impl Iterator<Item = &'static str> {
        self.given.iter().filter(|setting| !setting.words.is_empty()).map(|setting| setting.option)
    }

    /// Where `option` was given, if that was not on the command line.
    #[must_use]
    pub fn origin(&self, option: &str) -> Option<&Origin> {
        self.given.iter().find(|setting| setting.option == option).map(|setting| &setting.origin)
    }

    /// What is wrong with the value of `option`, with the place where it was given; `None` where it was typed.
    #[must_use]
    pub fn explain(&self, option: &str, why: &str) -> Option<String> {
        self.origin(option).map(|origin| origin.explain(option, why))
    }

    /// `text`, about an option that it names first (`--port: not a port`), with the place where that was given; `None`
    /// where it was typed.
    #[must_use]
    pub fn placed(&self, text: &str) -> Option<String> {
        let named = text.strip_prefix("--")?;
        let end = named.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(named.len());
        let (option, why) = named.split_at(end);
        self.explain(option, why.trim_start_matches(':').trim_start())
    }
}

/// How a configuration file is read: at most so many octets of it, and a FIFO within the deadline, if one was typed or is
/// in the environment.
pub type Read<'a> = &'a dyn Fn(&Path, usize, Option<Duration>) -> io::Result<Vec<u8>>;

/// What was found for one run.
#[derive(Debug)]
pub struct Found {
    /// What is in force.
    pub settings: Settings,
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// What is worth knowing and no failure.
    pub warnings: Vec<String>,
}

/// Reads every source.
///
/// # Errors
///
/// What is wrong with one of them, and where: an unknown key, a wrong type, a file that cannot be read.
pub fn gather(sources: &Sources, typed: &Typed, read: Read<'_>) -> Result<Found, Unparsed> {
    let (variables, mut warnings) = environment::settings(sources).map_err(Unparsed::Config)?;
    let chosen = |option| chosen(option, typed, &variables);
    let (config, profile) = (chosen("config"), chosen("profile"));
    let deadline = chosen("deadline").and_then(|text| value::seconds(text.to_str()?).ok());
    let files = file::read_all(sources, config.as_deref(), deadline, read, &mut warnings)?;
    let mut layers = vec![variables];
    if let Some(profile) = profile {
        layers.extend(file::profile(&files, &profile.to_string_lossy(), sources).map_err(Unparsed::Config)?);
    }
    let paths = files.iter().map(|file| file.path.to_path_buf()).collect();
    layers.extend(files.into_iter().map(|file| file.settings));
    Ok(Found { settings: Settings::merged(typed, layers), files: paths, warnings })
}

/// The exit style that the environment or a file asks for, as far as that can be known where something else in them,
/// or on the command line, cannot be understood.
#[must_use]
pub fn exit_style(sources: &Sources, typed: &Typed) -> Option<String> {
    let variable = |option: &str| {
        let set = sources.variables.iter().find(|(name, value)| name == option && !value.is_empty());
        set.map(|(_, value)| value.clone())
    };
    if let Some(style) = variable("EXIT_STYLE") {
        return style.into_string().ok();
    }
    let named = |option: &str| {
        typed.value(option).map(OsStr::to_owned).or_else(|| variable(&option.to_ascii_uppercase()))
    };
    let files = named("config").map_or_else(|| sources.files.clone(), |file| vec![file.into()]);
    let profile = named("profile").and_then(|name| name.into_string().ok());
    files.iter().find_map(|file| file::peek(file, profile.as_deref(), "exit-style"))
}

/// The value of an option that decides where to look on.
fn chosen(option: &str, typed: &Typed, variables: &[Setting]) -> Option<OsString> {
    let variable = || variables.iter().find(|setting| setting.option == option)?.words.last();
    typed.value(option).map(OsStr::to_owned).or_else(|| value_of(variable()?))
}

/// What follows the `=` of a word.
fn value_of(word: &OsStr) -> Option<OsString> {
    use std::os::unix::ffi::OsStrExt;
    let octets = word.as_bytes();
    let at = octets.iter().position(|b| *b == b'=')?;
    octets.get(at + 1..).map(|value| OsStr::from_bytes(value).to_owned())
}

/// What is in force, and where each value comes from.
#[must_use]
pub fn show(command: &Command, sources: &Sources, found: &Found, typed: &Typed) -> String {
    show::page(command, sources, found, typed)
}

#[cfg(test)]
mod tests {
    use super::super::{Args, parse};
    use super::*;

    /// A run with variables, and with the user's and the system's file.
    struct Run {
        directory: tempfile::TempDir,
        sources: Sources,
    }

    fn run(variables: &[(&str, &str)], user: &str, system: &str) -> Run {
        let directory = tempfile::tempdir().unwrap();
        let files = [("user.toml", user), ("system.toml", system)].map(|(name, text)| {
            let path = directory.path().join(name);
            if !text.is_empty() {
                std::fs::write(&path, text).unwrap();
            }
            path
        });
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Run { directory, sources: Sources { variables, password: true, files: files.into() } }
    }

    impl Run {
        fn typed(&self, words: &[&str]) -> Result<Args, Unparsed> {
            let argv: Vec<OsString> = ["lmtp-send"].iter().chain(words).map(OsString::from).collect();
            parse(&argv, &self.sources, &|path, _, _| std::fs::read(path))
        }

        fn said(&self, words: &[&str]) -> String {
            let directory = format!("{}/", self.directory.path().display());
            match self.typed(words) {
                Err(Unparsed::Config(text)) => text.replace(&directory, ""),
                Err(Unparsed::Answer(text)) => text.replace(&directory, ""),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_higher_up_beats_what_is_below() {
        let port = |typed: &[&str], variables: &[(&str, &str)], user: &str, system: &str| {
            let words = [&["-H", "a"], typed].concat();
            run(variables, user, system).typed(&words).unwrap().usual.destination.port
        };
        let (variable, user, system) = ([("PORT", "2")], "port = 3", "port = 4");
        assert_eq!(port(&["--port", "1"], &variable, user, system), Some("1".into()));
        assert_eq!(port(&["-p1"], &variable, user, system), Some("1".into()));
        assert_eq!(port(&[], &variable, user, system), Some("2".into()));
        assert_eq!(port(&[], &[], user, system), Some("3".into()));
        assert_eq!(port(&[], &[], "", system), Some("4".into()));
        assert_eq!(port(&[], &[], "timeout = 1", system), Some("4".into()));
        assert_eq!(port(&[], &[("PORT", "")], user, system), None, "an empty variable unsets");
    }

    #[test]
    fn a_repeatable_option_is_replaced_and_not_added_to() {
        let of = run(&[("HOST", "c")], "host = ['a', 'b']", "");
        assert_eq!(of.typed(&[]).unwrap().usual.destination.host, ["c"]);
        assert_eq!(of.typed(&["-H", "d", "-H", "e"]).unwrap().usual.destination.host, ["d", "e"]);
        assert_eq!(
            run(&[], "host = ['a', 'b']", "host = 'z'").typed(&[]).unwrap().usual.destination.host,
            ["a", "b"]
        );
    }

    #[test]
    fn a_destination_higher_up_replaces_those_below() {
        let of = run(&[], "socket = '/run/x'", "host = 'a'\nsink = 'b'");
        let usual = of.typed(&[]).unwrap().usual;
        assert_eq!(
            (usual.destination.socket, usual.destination.host.len(), usual.destination.sink),
            (Some("/run/x".into()), 0, None)
        );
        let usual = of.typed(&["--sink", "c"]).unwrap().usual;
        assert_eq!((usual.destination.socket, usual.destination.sink), (None, Some("c".into())));
        let usual = run(&[("EXEC", "x")], "socket = 'y'", "").typed(&[]).unwrap().usual;
        assert_eq!((usual.destination.socket, usual.destination.exec), (None, Some("x".into())));
    }

    #[test]
    fn other_options_that_exclude_each_other_are_one_too() {
        let of = run(&[], "tls-ca = 'a'\nipv4 = true\nverbose = 2\npassword-file = 'p'", "");
        let words = ["--sink", "s", "--tls-insecure", "-6", "-q", "--password-command", "x"];
        let args = of.typed(&words).unwrap();
        assert_eq!((args.protocol.tls.tls_ca, args.protocol.tls.tls_insecure.is_some()), (None, true));
        assert_eq!(
            (args.usual.destination.ipv4.is_some(), args.usual.destination.ipv6.is_some()),
            (false, true)
        );
        assert_eq!((args.usual.output.verbose, args.usual.output.quiet.is_some()), (0, true));
        assert_eq!(args.protocol.authentication.password_file, None);
    }

    #[test]
    fn a_flag_that_is_false_is_not_set() {
        let of = |user, system| run(&[], user, system).typed(&["--sink", "s"]).unwrap().usual;
        assert!(of("keep-bcc = true", "").envelope.keep_bcc.is_some());
        assert!(of("keep-bcc = false", "keep-bcc = true").envelope.keep_bcc.is_none());
        // A no says nothing of what would exclude it.
        assert!(of("ipv6 = false", "ipv4 = true").destination.ipv4.is_some());
    }

    #[test]
    fn a_profile_lies_over_the_files() {
        let user = "socket = '/u'\ntimeout = 1\n[profile.far]\nhost = 'far'";
        let system = "[profile.far]\nport = 25\n[profile.near]\nsocket = '/n'";
        let of = |variables: &[(&str, &str)], words: &[&str]| {
            run(variables, user, system).typed(words).unwrap().usual
        };
        let far = of(&[], &["--profile", "far"]);
        assert_eq!(
            (far.destination.host, far.destination.socket, far.destination.port),
            (vec!["far".to_owned()], None, Some("25".into()))
        );
        assert_eq!(of(&[("PROFILE", "near")], &[]).destination.socket, Some("/n".into()));
        assert_eq!(of(&[("PROFILE", "near"), ("SOCKET", "/v")], &[]).destination.socket, Some("/v".into()));
        assert_eq!(
            of(&[("PROFILE", "near")], &["--profile=far", "-p", "1"]).destination.port,
            Some("1".into())
        );
        let missing = run(&[], user, system).said(&["--profile", "other"]);
        assert_eq!(missing, "--profile other: there is no [profile.other] in user.toml and system.toml");
    }

    #[test]
    fn a_file_that_is_named_is_the_only_one() {
        let of = run(&[], "socket = '/u'", "port = 1");
        let named = of.directory.path().join("named.toml");
        std::fs::write(&named, "sink = 's'").unwrap();
        let usual = of.typed(&["--config", named.to_str().unwrap()]).unwrap().usual;
        assert_eq!(
            (usual.destination.sink, usual.destination.socket, usual.destination.port),
            (Some("s".into()), None, None)
        );
        let missing = of.directory.path().join("missing.toml");
        assert_eq!(of.said(&["--config", missing.to_str().unwrap()]), "missing.toml: there is no such file");
    }

    #[test]
    fn an_error_in_a_value_names_its_place() {
        for (variable, user, said) in [
            (("PORT", "0"), "", "LMTP_SEND_PORT: '0': not a port from 1 to 65535"),
            (("TIMEOUT", "soon"), "", "LMTP_SEND_TIMEOUT: 'soon': not a number of seconds"),
            (("REPORT", "xml"), "", "LMTP_SEND_REPORT: 'xml' is not one of text, json"),
            (("X", ""), "\n\nport = 70000", "user.toml:3: port: '70000': not a port"),
            (("X", ""), "report = 'xml'", "user.toml:1: report: 'xml' is not one of text, json"),
            (("X", ""), "bind = 'me'", "user.toml:1: bind: 'me': invalid IP address"),
            (
                ("X", ""),
                "notify = ['never', 'delay']",
                "user.toml:1: notify: --notify: 'never' cannot be combined with other values",
            ),
            (("X", ""), "host = 'a'\nsocket = 'b'", "user.toml:1: host: more than one kind of destination"),
            (
                ("X", ""),
                "password-file = 'a'\npassword-command = 'b'",
                "user.toml:1: password-file: cannot be used",
            ),
            (("X", ""), "tiemout = 1", "user.toml:1: tiemout: no such option; the nearest is timeout"),
        ] {
            let found = run(&[variable], user, "sink = 's'").said(&[]);
            assert!(found.starts_with(said), "{variable:?} {user}: {found}");
        }
        // What was typed is the usage's error, whatever else is set.
        let typed = run(&[("TIMEOUT", "1")], "", "").typed(&["--sink", "s", "--port", "0x"]);
        assert!(matches!(typed, Err(Unparsed::Error(text)) if text.contains("'0x' for '--port")));
    }

    #[test]
    fn a_text_about_an_option_is_placed() {
        let settings = run(&[("LHLO", "x")], "host = 'a b'", "").typed(&[]).unwrap().settings;
        assert!(
            settings.placed("--host 'a b': no host").unwrap().ends_with("user.toml:1: host: 'a b': no host")
        );
        assert_eq!(settings.placed("--lhlo: not a name").unwrap(), "LMTP_SEND_LHLO: not a name");
        assert_eq!(settings.placed("--port: x"), None);
        assert_eq!(settings.placed("x --host"), None);
    }

    #[test]
    fn what_is_in_force_is_shown_with_its_place() {
        let user =
            "port = 25\nkeep-bcc = true\npassword-command = 'echo hunter2'\n[profile.p]\nhost = ['a', 'b\"']";
        let of = run(&[("TIMEOUT", "1.5"), ("PROFILE", "p")], user, "");
        let page = of.said(&["--show-config", "-vv", "-f", ""]);
        for line in [
            "# user.toml: read",
            "# system.toml: not read",
            "host = [\"a\", \"b\\\"\"]  # user.toml:5, profile p",
            "port = 25  # user.toml:1",
            "keep-bcc = true  # user.toml:2",
            "timeout = 1.5  # LMTP_SEND_TIMEOUT",
            "verbose = 2  # command line",
            "from = \"\"  # command line",
            "password-command = \"echo [redacted]\"  # user.toml:3",
            "# password = \"[redacted]\"  # LMTP_SEND_PASSWORD",
            "# deadline = 900  # default",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        assert!(!page.contains("hunter2"));
        let left = of.typed(&["--show-config", "message.eml"]);
        assert!(matches!(left, Err(Unparsed::Error(text)) if text.contains("delivers nothing")));
    }

    #[test]
    fn nothing_set_is_nothing_read() {
        let of = run(&[], "", "");
        assert!(of.sources.are_silent());
        assert!(!run(&[], "", "port = 1").sources.are_silent());
        assert!(!run(&[("PORT", "1")], "", "").sources.are_silent());
    }
}
