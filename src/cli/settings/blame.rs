//! What clap says of a word that a variable or a file gave: with its place, and not as an error of the usage.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::super::Unparsed;
use super::Settings;

impl Settings {
    /// The error that clap's is: of the configuration if it is about something that was not typed.
    #[must_use]
    pub fn blame(&self, error: clap::Error) -> Unparsed {
        let about = |kind| error.get(kind).map(names).unwrap_or_default();
        let (invalid, prior) = (about(ContextKind::InvalidArg), about(ContextKind::PriorArg));
        let why = why(&error, &prior);
        let text = invalid.iter().chain(&prior).find_map(|option| self.explain(option, &why));
        text.map_or_else(|| error.into(), Unparsed::Config)
    }
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
