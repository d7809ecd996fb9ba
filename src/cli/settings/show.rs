//! `--show-config`: what is in force and where each value comes from, as TOML that can be kept.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;

use clap::Command;

use super::options::SCHEMA;
use super::typed::ValueForm;
use super::{Found, Origin, Setting, Sources, Typed, value_of};

const REDACTED: &str = "[redacted]";

/// The page: the files, each option that is given, and the defaults.
pub fn page(command: &Command, sources: &Sources, found: &Found, typed: &Typed) -> String {
    let mut page = files(sources, found);
    let mut given: BTreeMap<&str, (Vec<Option<OsString>>, String)> = BTreeMap::new();
    for (option, value) in &typed.given {
        given.entry(option).or_insert_with(|| (Vec::new(), "command line".into())).0.push(value.clone());
    }
    for setting in &found.settings.given {
        given.insert(setting.option, (values(setting), origin(&setting.origin)));
    }
    for definition in SCHEMA.options.iter().filter(|definition| definition.elsewhere) {
        if let Some((values, origin)) = given.get(definition.long) {
            let _ = writeln!(
                page,
                "{} = {}  # {origin}",
                definition.long,
                value(definition.long, definition.form, values)
            );
        } else if let Some(default) = default(command, definition.long) {
            let _ = writeln!(page, "# {} = {default}  # default", definition.long);
        }
    }
    if sources.password {
        let _ = writeln!(page, "# password = \"{REDACTED}\"  # LMTP_SEND_PASSWORD");
    }
    page
}

fn files(sources: &Sources, found: &Found) -> String {
    let read = |path| found.files.iter().any(|file| file == path);
    let looked = sources.files.iter().chain(found.files.iter().filter(|file| !sources.files.contains(file)));
    looked
        .map(|path| format!("# {}: {}\n", path.display(), if read(path) { "read" } else { "not read" }))
        .collect()
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Variable(_) | Origin::File { profile: None, .. } => origin.to_string(),
        Origin::File { profile: Some(profile), .. } => format!("{origin}, profile {profile}"),
    }
}

fn values(setting: &Setting) -> Vec<Option<OsString>> {
    setting.words.iter().map(|word| value_of(word)).collect()
}

fn value(option: &str, form: ValueForm, values: &[Option<OsString>]) -> String {
    let last = || values.last().and_then(Option::as_deref);
    match form {
        ValueForm::Flag => (!values.is_empty()).to_string(),
        ValueForm::Count => values.len().to_string(),
        ValueForm::List => {
            let all: Vec<String> = values.iter().flatten().map(|value| quoted(option, value)).collect();
            format!("[{}]", all.join(", "))
        }
        ValueForm::Number | ValueForm::Port if last().is_some_and(is_number) => {
            last().map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
        }
        ValueForm::Number | ValueForm::Port | ValueForm::Text | ValueForm::Optional => {
            last().map_or_else(|| (!values.is_empty()).to_string(), |value| quoted(option, value))
        }
    }
}

fn is_number(value: &OsStr) -> bool {
    value
        .to_str()
        .is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit()) && text.parse::<f64>().is_ok())
}

/// A string of TOML. Of a command that prints a password only the program is shown.
fn quoted(option: &str, value: &OsStr) -> String {
    let text = value.to_string_lossy();
    let text = match (option, text.split_once(' ')) {
        ("password-command", Some((program, _))) => format!("{program} {REDACTED}"),
        _ => text.into_owned(),
    };
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The default that an option's help names.
fn default(command: &Command, long: &str) -> Option<String> {
    let help = command.get_arguments().find(|arg| arg.get_long() == Some(long))?.get_help()?.to_string();
    let (_, rest) = help.split_once("[default: ")?;
    rest.split_once(']').map(|(default, _)| default.to_owned())
}
