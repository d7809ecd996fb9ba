//! What a server is asked in place of a delivery.

use lmtp_send::lmtp::printable;

use crate::cli::Protocol;
use crate::exit::Kind;
use crate::local_error::LocalError;

/// What is asked, in this order.
#[derive(Debug)]
pub struct Questions {
    /// What the server says of itself, and whom it would accept.
    pub probe: bool,
    /// Each as it is sent.
    pub commands: Vec<String>,
}

impl Questions {
    /// What the arguments ask.
    ///
    /// # Errors
    ///
    /// [`LocalError`] where an argument would be more than one.
    pub fn new(asked: &Protocol) -> Result<Self, LocalError> {
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
        if asked.noop {
            commands.push("NOOP".into());
        }
        Ok(Self { probe: asked.probe, commands })
    }

    /// Whether nothing is asked, and mail delivered.
    pub fn is_empty(&self) -> bool {
        !self.probe && self.commands.is_empty()
    }
}

/// A command with one argument that cannot be anything else.
fn command(option: &str, verb: &str, argument: &str) -> Result<String, LocalError> {
    if argument.trim().is_empty() || argument.chars().any(char::is_control) || argument.len() > 900 {
        let text = format!("{option} '{}': nothing that can be asked", printable(argument.as_bytes()));
        return Err(LocalError::input(Kind::Envelope, text));
    }
    Ok(format!("{verb} {argument}"))
}
