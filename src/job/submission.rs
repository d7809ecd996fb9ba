//! As sendmail: how the message is read, who gets it, and what is added to it.

use std::path::Path;
use std::time::Instant;

use lmtp_send::envelope::list;
use lmtp_send::lmtp::{Address, ReversePath, drop_repeated, printable};

use super::aliases::Aliases;
use crate::cli::Args;
use crate::exit::Kind;
use crate::local_error::LocalError;
use crate::process;
use crate::stop::Stop;
use crate::wait;

/// The longest file of aliases, in octets.
const MAX_ALIASES: usize = 16 * 1024 * 1024;

/// A message that is handed in as it is to sendmail.
#[derive(Debug)]
pub struct Submission {
    /// The header's recipients are served beside those that are given.
    pub from_headers: bool,
    /// A line of a lone dot ends the message.
    pub until_lone_dot: bool,
    /// The sender's name, for a From that is added; `None`: as the system knows it.
    pub full_name: Option<String>,
    domain: Option<String>,
    aliases: Aliases,
}

impl Submission {
    /// What the arguments ask for; `None` where it is not sendmail's command line.
    ///
    /// # Errors
    ///
    /// No recipients, a domain that is none, or a file of aliases that cannot be used.
    pub fn new(args: &Args, until: Instant, stop: &Stop) -> Result<Option<Self>, LocalError> {
        let Some(asked) = &args.submission else { return Ok(None) };
        if args.usual.envelope.to.is_empty() && !asked.from_headers {
            let text = "no recipients: give them as arguments, or use -t to read them from the header";
            return Err(LocalError::input(Kind::Envelope, text));
        }
        let domain = args.configuration.domain.clone();
        if let Some(name) = domain.as_ref().filter(|name| Address::parse(&format!("a@{name}")).is_err()) {
            let text = format!("--domain '{}': not a domain", printable(name.as_bytes()));
            return Err(LocalError::input(Kind::Usage, text));
        }
        let file = args.configuration.aliases.as_deref();
        let aliases = file.map(|path| aliases(path, until, stop)).transpose()?.unwrap_or_default();
        Ok(Some(Self {
            from_headers: asked.from_headers,
            until_lone_dot: !asked.ignore_dots,
            full_name: asked.full_name.clone(),
            domain,
            aliases,
        }))
    }

    /// The recipients with aliases replaced and domains completed, each once.
    ///
    /// # Errors
    ///
    /// An alias that leads nowhere.
    pub fn completed(&self, recipients: Vec<Address>) -> Result<Vec<Address>, LocalError> {
        let mut found = Vec::new();
        for recipient in recipients {
            let others = self.aliases.expand(recipient).map_err(|e| LocalError::input(Kind::Config, e))?;
            found.extend(others.into_iter().map(|other| self.with_domain(other)));
        }
        drop_repeated(&mut found);
        Ok(found)
    }

    /// The sender with its domain completed.
    pub fn sender(&self, sender: ReversePath) -> ReversePath {
        match sender {
            ReversePath::Address(address) => ReversePath::Address(self.with_domain(address)),
            ReversePath::Null => ReversePath::Null,
        }
    }

    fn with_domain(&self, address: Address) -> Address {
        let Some(domain) = self.domain.as_ref().filter(|_| address.domain().is_none()) else {
            return address;
        };
        Address::parse(&format!("{address}@{domain}")).unwrap_or(address)
    }
}

/// The recipients among sendmail's arguments: lists of addresses as they stand in a header, names and comments included.
///
/// # Errors
///
/// An argument that is no such list.
pub fn arguments(texts: &[String]) -> Result<Vec<Address>, LocalError> {
    let mut all = Vec::new();
    for text in texts {
        let addresses = Address::parse_several(text).or_else(|_| list::parse(text.as_bytes()));
        let wrong = |e| LocalError::input(Kind::Envelope, format!("recipient {e}"));
        all.extend(addresses.map_err(wrong)?);
    }
    Ok(all)
}

fn aliases(path: &Path, until: Instant, stop: &Stop) -> Result<Aliases, LocalError> {
    let config = |why: &dyn std::fmt::Display| LocalError::input(Kind::Config, format!("--aliases: {why}"));
    let text = wait::read(path, MAX_ALIASES, until, stop).map_err(|e| {
        let text = format!("--aliases: {}", process::unusable(path, &e));
        LocalError::input(process::kind(&e, Kind::Config), text)
    })?;
    Aliases::parse(path, &String::from_utf8_lossy(&text)).map_err(|e| config(&e))
}
