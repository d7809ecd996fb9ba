//! The options that say where settings come from, and those of the sendmail personality.

use std::path::PathBuf;

use clap::Args;

use super::text;
use super::value::{self, Given};

/// Configuration files, and being called as sendmail.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub struct Configuration {
    /// Read settings from FILE (TOML) instead of the usual files
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, help_heading = CONFIGURATION)]
    pub config: Option<PathBuf>,

    /// Use the settings in the table [profile.NAME] first
    #[arg(long, value_name = "NAME", allow_hyphen_values = true, help_heading = CONFIGURATION)]
    pub profile: Option<String>,

    /// Print the settings in force and where they come from, and exit
    #[arg(long, help_heading = CONFIGURATION)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub show_config: Option<Given>,

    /// Read all further arguments as sendmail does; see SENDMAIL in the manual
    #[arg(long, help_heading = SENDMAIL)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub sendmail: Option<Given>,

    /// Add this domain to addresses without one
    #[arg(long, value_name = "NAME", value_parser = text())]
    #[arg(allow_hyphen_values = true, help_heading = SENDMAIL)]
    pub domain: Option<String>,

    /// Replace recipients without a domain by their entries in FILE (name: address, ...)
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, help_heading = SENDMAIL)]
    pub aliases: Option<PathBuf>,
}

const CONFIGURATION: &str = "Configuration";
const SENDMAIL: &str = "As sendmail";
