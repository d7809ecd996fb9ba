//! What a server is asked in place of a delivery.

use std::time::Duration;

use lmtp_send::lmtp::printable;

use crate::cli::{ExitStyle, QueryArgs};
use crate::exit::Kind;
use crate::local_error::LocalError;

/// When a probe that went well is none the less worth a word to monitoring.
#[derive(Clone, Copy, Debug, Default)]
pub struct Thresholds {
    /// It took longer.
    pub warning: Option<Duration>,
    /// It took much longer.
    pub critical: Option<Duration>,
    /// The certificate expires in fewer days.
    pub days: Option<u32>,
}

/// What is asked, in this order.
#[derive(Debug)]
pub struct Questions {
    /// What the server says of itself, and whom it would accept.
    pub probe: bool,
    /// Each as it is sent.
    pub commands: Vec<String>,
    /// What monitoring is told of a probe.
    pub thresholds: Thresholds,
}

impl Questions {
    /// What the arguments ask.
    ///
    /// # Errors
    ///
    /// [`LocalError`] where an argument would be more than one.
    pub fn new(asked: &QueryArgs) -> Result<Self, LocalError> {
        let mut commands = Vec::new();
        for (option, verb, arguments) in [
            ("--vrfy", "VRFY", &asked.vrfy),
            ("--expn", "EXPN", &asked.expn),
            ("--etrn", "ETRN", &asked.etrn),
        ] {
            for argument in arguments {
                commands.push(command(option, verb, argument)?);
            }
        }
        match &asked.help_from_server {
            Some(Some(topic)) => commands.push(command("--help-from-server", "HELP", topic)?),
            Some(None) => commands.push("HELP".into()),
            None => {}
        }
        if asked.noop.is_some() {
            commands.push("NOOP".into());
        }
        let thresholds =
            Thresholds { warning: asked.warning, critical: asked.critical, days: asked.warning_days };
        Ok(Self { probe: asked.probe.is_some(), commands, thresholds })
    }

    /// Whether nothing is asked, and mail delivered.
    pub fn is_empty(&self) -> bool {
        !self.probe && self.commands.is_empty()
    }
}

/// Monitoring wants one line, so nothing but a probe can be told to it.
///
/// # Errors
///
/// [`LocalError`] where something else is to be done.
pub fn monitored(questions: &Questions, style: ExitStyle) -> Result<(), LocalError> {
    let is_heard = style != ExitStyle::Monitor || (questions.probe && questions.commands.is_empty());
    let text = "--exit-style monitor needs --probe, and no other query";
    is_heard.then_some(()).ok_or_else(|| LocalError::input(Kind::Usage, text))
}

/// A command with one argument that cannot be anything else.
fn command(option: &str, verb: &str, argument: &str) -> Result<String, LocalError> {
    if argument.trim().is_empty() || argument.chars().any(char::is_control) || argument.len() > 900 {
        let text = format!("{option} '{}': not a valid argument", printable(argument.as_bytes()));
        return Err(LocalError::input(Kind::Envelope, text));
    }
    Ok(format!("{verb} {argument}"))
}
