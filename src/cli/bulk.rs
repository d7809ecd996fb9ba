//! Options for many messages, and for what fails in between.

use std::time::Duration;

use clap::ValueEnum;

use super::value;

/// Many messages, and failures in between.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Bulk {
    /// Sessions side by side [default: 1]
    #[arg(long, value_name = "N", value_parser = value::connections)]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub connections: Option<u32>,

    /// At most so many messages per second
    #[arg(long, value_name = "N", value_parser = value::rate)]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub rate: Option<f64>,

    /// Send each message N times; '%n' in --to counts up from 1
    #[arg(long, value_name = "N", value_parser = value::count)]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub repeat: Option<u32>,

    /// Take no further message once a recipient was not delivered to
    #[arg(long, help_heading = BULK)]
    pub fail_fast: bool,

    /// Try deferred recipients again, N times at most
    #[arg(long, value_name = "N", value_parser = value::number)]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub retry: Option<u32>,

    /// Try deferred recipients again for SECS, within --deadline
    #[arg(long, value_name = "SECS", value_parser = value::seconds)]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub retry_for: Option<Duration>,

    /// Sum up the run on stderr
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    #[arg(allow_hyphen_values = true, help_heading = BULK)]
    pub summary: Option<SummaryFormat>,
}

const BULK: &str = "Many messages";

/// The form of the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SummaryFormat {
    /// Lines for people.
    Text,
    /// A JSON object.
    Json,
}
