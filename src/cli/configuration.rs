//! The options that say where settings come from, and those of the sendmail personality.

use std::path::PathBuf;

use clap::Args;

use super::text;

/// Configuration files, and being called as sendmail.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
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

    /// Take the words behind it as sendmail does; see SENDMAIL in the manual
    #[arg(long, help_heading = SENDMAIL)]
    pub sendmail: bool,

    /// Domain of addresses without one
    #[arg(long, value_name = "NAME", value_parser = text())]
    #[arg(allow_hyphen_values = true, help_heading = SENDMAIL)]
    pub domain: Option<String>,

    /// Replace recipients without a domain as FILE says (name: address, ...)
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, help_heading = SENDMAIL)]
    pub aliases: Option<PathBuf>,
}

const CONFIGURATION: &str = "Configuration";
const SENDMAIL: &str = "As sendmail";
