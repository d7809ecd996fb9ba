//! The options that say where settings come from, and those of the sendmail personality.

use std::path::PathBuf;

use clap::Args;

/// Configuration files, and being called as sendmail.
#[derive(Clone, Debug, Default, Args)]
pub struct Configuration {
    /// Read settings from FILE (TOML) instead of the usual files
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, help_heading = CONFIGURATION)]
    pub config: Option<PathBuf>,

    /// Settings of the table [profile.NAME] go before the others
    #[arg(long, value_name = "NAME", allow_hyphen_values = true, help_heading = CONFIGURATION)]
    pub profile: Option<String>,

    /// Print what is in force and where it comes from; deliver nothing
    #[arg(long, help_heading = CONFIGURATION)]
    pub show_config: bool,
}

const CONFIGURATION: &str = "Configuration";
