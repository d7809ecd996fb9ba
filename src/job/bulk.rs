//! Many messages, and failures in between: what is meant by the options for them.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Output;
use crate::cli::{self, SummaryFormat};
use crate::delivery::retry::Retry;
use crate::delivery::shard::Shard;
use crate::exit::Kind;
use crate::local_error::LocalError;

/// How long a run that is to be repeated is remembered.
const LEDGER_DAYS: u32 = 7;

/// How many messages are sent, how fast, and what follows a failure.
#[derive(Clone, Debug, Default)]
pub struct BulkTerms {
    /// Sessions side by side; 0 is 1.
    pub connections: usize,
    /// Messages per second at most.
    pub rate: Option<f64>,
    /// How often each message is sent, where that was asked for.
    pub repeat: Option<u32>,
    /// A recipient who was not delivered to ends the run.
    pub fail_fast: bool,
    /// A list of files to send, besides FILEs.
    pub files_from: Option<PathBuf>,
    /// Each file is an mbox.
    pub mbox: bool,
    /// What is archived goes to whom its header names.
    pub header_recipients: bool,
    /// The part of the run that is done here.
    pub shard: Option<Shard>,
    /// Where what was delivered is remembered, and how long.
    pub ledger: Option<(PathBuf, Duration)>,
    /// Whether and when deferred recipients are tried again.
    pub retry: Retry,
    /// How the run is summed up.
    pub summary: Summing,
    /// More than one message is to be expected, so that each is called by its name.
    pub several: bool,
}

/// How a run is summed up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summing {
    /// In the form that was asked for.
    pub format: Option<SummaryFormat>,
    /// It is shown to whoever sits at the terminal, or asked for many words.
    pub by_itself: bool,
}

impl BulkTerms {
    /// What the options mean.
    #[must_use]
    pub fn new(options: &cli::Bulk, output: &Output, files: &[PathBuf]) -> Self {
        let is_directory = |file: &PathBuf| file.as_os_str() != "-" && file.is_dir();
        let several = files.len() > 1 || options.is_of_several() || files.iter().any(is_directory);
        let is_seen = || output.verbosity > 0 || (!output.quiet && std::io::stderr().is_terminal());
        let by_itself = several && is_seen();
        let keep = Duration::from_secs(86_400) * options.ledger.ledger_days.unwrap_or(LEDGER_DAYS);
        Self {
            connections: options.connections.map_or(1, |n| usize::try_from(n).unwrap_or(1)),
            rate: options.rate,
            repeat: options.repeat,
            fail_fast: options.fail_fast.is_some(),
            files_from: options.files_from.clone(),
            mbox: options.mbox.is_some(),
            header_recipients: options.header_recipients.is_some(),
            shard: options.shard.map(|(part, parts)| Shard { part, parts }),
            ledger: options.ledger.ledger.clone().map(|path| (path, keep)),
            retry: Retry { times: options.retry.retry, within: options.retry.retry_for },
            summary: Summing { format: options.summary, by_itself },
            several,
        }
    }

    /// Nothing is sent where a directory among `inputs` would go to everybody in the headers of its messages.
    ///
    /// # Errors
    ///
    /// [`no_recipients_for`] that directory.
    pub fn check_recipients(&self, inputs: &[PathBuf]) -> Result<(), LocalError> {
        let mut archives = inputs.iter().filter(|path| !self.header_recipients && path.is_dir());
        archives.next().map_or(Ok(()), |path| Err(no_recipients_for(path)))
    }

    /// Whether what the summary is made of is counted.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.summary.format.is_some() || self.summary.by_itself
    }
}

/// Nobody says who the messages in `directory` are for.
pub fn no_recipients_for(directory: &Path) -> LocalError {
    let why = "is a directory: it needs --to, or --header-recipients to use the recipients in the headers";
    LocalError::input(Kind::Usage, format!("{}: {why}", directory.display()))
}
