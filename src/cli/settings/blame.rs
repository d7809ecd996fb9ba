//! What clap says of a word that a variable or a file gave: with its place, and not as an error of the usage.

use std::error::Error as _;
use std::os::unix::ffi::OsStrExt;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::super::Unparsed;
use super::{Setting, Settings};

impl Settings {
    /// The error that clap's is: of the configuration if it is about something that was not typed.
    #[must_use]
    pub fn blame(&self, error: clap::Error) -> Unparsed {
        let about = |kind| error.get(kind).map(names).unwrap_or_default();
        let (invalid, prior) = (about(ContextKind::InvalidArg), about(ContextKind::PriorArg));
        let why = why(&error, &prior);
        let named = invalid.iter().chain(&prior).find_map(|option| self.explain(option, &why));
        // Clap does not say of which option.
        let is_text = error.kind() == ErrorKind::InvalidUtf8;
        let text = named.or_else(|| self.given.iter().filter(|_| is_text).find_map(not_utf8));
        text.map_or_else(|| error.into(), Unparsed::Config)
    }
}

/// What is wrong with a setting that is not UTF-8.
fn not_utf8(setting: &Setting) -> Option<String> {
    let word = setting.words.iter().find(|word| word.to_str().is_none())?;
    let option = format!("--{}=", setting.option);
    let text = word.as_bytes().escape_ascii().to_string();
    let value = text.strip_prefix(&option).unwrap_or(&text);
    Some(setting.origin.explain(setting.option, &format!("'{value}' is not UTF-8")))
}

/// The long options in a part of an error: `--port` of `--port <PORT>`.
fn names(value: &ContextValue) -> Vec<String> {
    let name =
        |text: &String| text.trim_start_matches('-').split([' ', '<', '[', '=']).next().map(str::to_owned);
    if let ContextValue::Strings(texts) = value {
        return texts.iter().filter_map(name).collect();
    }
    let ContextValue::String(text) = value else { return Vec::new() };
    name(text).into_iter().collect()
}

/// What is wrong, without the option's name.
fn why(error: &clap::Error, prior: &[String]) -> String {
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => value.escape_debug().to_string(),
        _ => String::new(),
    };
    match (error.kind(), error.source(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::ValueValidation, Some(source), _) => format!("'{value}': {source}"),
        (ErrorKind::InvalidValue, _, Some(ContextValue::Strings(choices))) if !choices.is_empty() => {
            format!("'{value}' is not one of {}", choices.join(", "))
        }
        (ErrorKind::InvalidValue, ..) if value.is_empty() => "a value is required".to_owned(),
        (ErrorKind::ArgumentConflict, ..) => format!("cannot be used with {}", prior.join(", ")),
        _ => {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    }
}
