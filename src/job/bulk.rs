//! Many messages, and failures in between: what is meant by the options for them.

use std::io::IsTerminal;

use super::Output;
use crate::cli::{self, SummaryFormat};
use crate::delivery::retry::Retry;

/// How many messages are sent, how fast, and what follows a failure.
#[derive(Clone, Debug, Default)]
pub struct Bulk {
    /// Sessions side by side; 0 is 1.
    pub connections: usize,
    /// Messages per second at most.
    pub rate: Option<f64>,
    /// How often each message is sent, where that was asked for.
    pub repeat: Option<u32>,
    /// A recipient who was not delivered to ends the run.
    pub fail_fast: bool,
    /// Whether and when deferred recipients are tried again.
    pub retry: Retry,
    /// The summary that was asked for.
    pub summary: Option<SummaryFormat>,
    /// A summary is shown to whoever sits at the terminal, or asked for many words.
    pub summary_by_itself: bool,
}

impl Bulk {
    /// What the options mean.
    #[must_use]
    pub fn new(options: &cli::Bulk, output: &Output, several: bool) -> Self {
        let several = several || options.repeat.is_some();
        let by_itself =
            several && (output.verbosity > 0 || (!output.quiet && std::io::stderr().is_terminal()));
        Self {
            connections: options.connections.map_or(1, |n| usize::try_from(n).unwrap_or(1)),
            rate: options.rate,
            repeat: options.repeat,
            fail_fast: options.fail_fast,
            retry: Retry { times: options.retry, within: options.retry_for },
            summary: options.summary,
            summary_by_itself: by_itself,
        }
    }

    /// Whether what the summary is made of is counted.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.summary.is_some() || self.summary_by_itself
    }
}
