//! Options for many messages, and for what fails in between.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use clap::error::ErrorKind;

use super::parse::Contradiction;
use super::value::{self, Given};

/// Many messages, and failures in between.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct Bulk {
    /// Send the files named in FILE, one per line ('-' is standard input)
    #[arg(long, value_name = "FILE")]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub files_from: Option<PathBuf>,

    /// Read each FILE as an mbox and send each of its messages
    #[arg(long, help_heading = BULK)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub mbox: Option<Given>,

    /// Send messages of an mbox or directory to the recipients in their headers
    #[arg(long, help_heading = BULK)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub header_recipients: Option<Given>,

    /// Send only part K of N of the messages
    #[arg(long, value_name = "K/N", value_parser = value::shard)]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub shard: Option<(u64, u64)>,

    /// What is remembered for a run that is repeated.
    #[command(flatten)]
    pub ledger: LedgerArgs,

    /// Open N sessions in parallel [default: 1]
    #[arg(long, value_name = "N", value_parser = value::connections)]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub connections: Option<u32>,

    /// Send at most N messages per second
    #[arg(long, value_name = "N", value_parser = value::rate)]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub rate: Option<f64>,

    /// Send each message N times; '%n' in --to counts up from 1
    #[arg(long, value_name = "N", value_parser = value::count)]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub repeat: Option<u32>,

    /// Stop after the first message that is not delivered to everybody
    #[arg(long, help_heading = BULK)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub fail_fast: Option<Given>,

    /// How often and how long deferred recipients are tried again.
    #[command(flatten)]
    pub retry: RetryArgs,

    /// Print a summary of the run on stderr
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub summary: Option<SummaryFormat>,
}

/// What is remembered for a run that is repeated.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct LedgerArgs {
    /// Record deliveries in DIR, so that a repeated run sends no second copy
    #[arg(long, value_name = "DIR")]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub ledger: Option<PathBuf>,

    /// Keep the records of --ledger at most N days [default: 7]
    #[arg(long, value_name = "N", value_parser = value::count)]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub ledger_days: Option<u32>,
}

/// How often and how long deferred recipients are tried again.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct RetryArgs {
    /// Try deferred recipients again, N times at most
    #[arg(long, value_name = "N", value_parser = value::number)]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub retry: Option<u32>,

    /// Try deferred recipients again for SECS, within --deadline
    #[arg(long, value_name = "SECS", value_parser = value::seconds)]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub retry_for: Option<Duration>,
}

const BULK: &str = "Many messages";

impl Bulk {
    /// What cannot be meant, of that which clap does not see.
    pub(super) fn contradiction(&self, files: &[PathBuf], has_recipients: bool) -> Option<Contradiction> {
        let is_stdin = |path: &PathBuf| *path == Path::new("-");
        let listed = self.files_from.as_ref().is_some_and(is_stdin);
        if listed && files.iter().any(is_stdin) {
            let why = "standard input cannot be both the list of --files-from and a message";
            return Some(Contradiction {
                kind: ErrorKind::ArgumentConflict,
                options: &["files-from"],
                why: why.into(),
            });
        }
        if self.mbox.is_some() && !has_recipients && self.header_recipients.is_none() {
            let why = "--mbox needs --to, or --header-recipients to use the recipients in the headers";
            return Some(Contradiction {
                kind: ErrorKind::MissingRequiredArgument,
                options: &["mbox"],
                why: why.into(),
            });
        }
        None
    }

    /// Whether more than one message is to be expected.
    #[must_use]
    pub fn is_of_several(&self) -> bool {
        self.repeat.is_some() || self.mbox.is_some() || self.files_from.is_some()
    }
}

/// The form of the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SummaryFormat {
    /// Lines for people.
    Text,
    /// A JSON object.
    Json,
}
