//! What can be typed: the command line, as types.
//!
//! Nothing here knows a socket, prints or exits, and the only files that are opened are configurations: [`parse()`] takes
//! words and returns [`Args`] or the error that the caller shows (exit 64, or what a configuration error is). What a word
//! means is settled later: an address that is none is an error of the data (exit 65) and not of the usage, so addresses
//! stay the strings that were typed.
//!
//! An option that was not given is `None` or empty; the defaults that the help text names are put in
//! where the option is used, so that another source of settings can stand between the two.

mod bulk;
mod configuration;
mod help;
pub mod hint;
mod parse;
mod protocol;
pub mod sendmail;
mod settings;
mod value;

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Parser, ValueEnum};

pub use bulk::{Bulk, SummaryFormat};
pub use configuration::Configuration;
use parse::Contradiction;
pub use parse::{Unparsed, exit_style, exit_wishes, is_sendmail, parse, typed_only};
pub use protocol::{
    AuthenticationArgs, BodyName, Facility, MechanismName, NotificationArgs, Notify, Protocol, QueryArgs,
    Ret, TlsArgs, TlsMode, TransactionArgs, VerbName,
};
use sendmail::SendmailArgs;
pub use settings::{Settings, Sources};
use value::Given;
pub use value::Proxy;

/// Delivers mail by LMTP and reports the outcome for each recipient.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "lmtp-send",
    version,
    override_usage = help::USAGE,
    after_help = AFTER_HELP,
    args_override_self = true,
    disable_help_subcommand = true
)]
#[group(skip)]
pub struct Args {
    /// What is about the delivery.
    #[command(flatten)]
    pub usual: Usual,

    /// What is about the protocol.
    #[command(flatten)]
    pub protocol: Protocol,

    /// What is about many messages.
    #[command(flatten)]
    pub bulk: Bulk,

    /// What says where settings come from.
    #[command(flatten)]
    pub configuration: Configuration,

    /// What was not typed, and where it was given.
    #[arg(skip)]
    pub settings: Settings,

    /// What is worth knowing about the settings and no failure.
    #[arg(skip)]
    pub warnings: Vec<String>,

    /// What sendmail's command line asks for, where that was typed.
    #[arg(skip)]
    pub submission: Option<SendmailArgs>,
}

/// Files, destination, envelope, session, outcome and output: all that most command lines have.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Usual {
    /// Messages to deliver; '-' or no FILE is standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Where the mail goes, and how that is reached.
    #[command(flatten)]
    pub destination: DestinationArgs,

    /// Who sends, who receives, and what becomes of them together.
    #[command(flatten)]
    pub envelope: EnvelopeArgs,

    /// Our name, and the time limits.
    #[command(flatten)]
    pub session: SessionArgs,

    /// How an outcome counts.
    #[command(flatten)]
    pub outcome: OutcomeArgs,

    /// What is said, and where.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Where the mail goes, and how that is reached.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct DestinationArgs {
    /// Connect by TCP; repeatable: hosts are tried in order
    #[arg(short = 'H', long, value_name = "HOST[:PORT]")]
    #[arg(allow_hyphen_values = true, help_heading = DESTINATION)]
    pub host: Vec<String>,

    /// Port or service of hosts given without one [default: 24]
    #[arg(short, long, value_parser = value::port)]
    #[arg(allow_hyphen_values = true, help_heading = DESTINATION)]
    pub port: Option<String>,

    /// Connect to a Unix-domain socket
    #[arg(short = 'S', long, value_name = "PATH")]
    #[arg(allow_hyphen_values = true, help_heading = DESTINATION)]
    pub socket: Option<PathBuf>,

    /// Run COMMAND and speak LMTP on its stdin and stdout (no shell)
    #[arg(short, long, value_name = "COMMAND")]
    #[arg(allow_hyphen_values = true, help_heading = DESTINATION)]
    pub exec: Option<String>,

    /// Deliver to Maildirs DIR/RECIPIENT/ by the built-in test server
    #[arg(long, value_name = "DIR")]
    #[arg(allow_hyphen_values = true, help_heading = DESTINATION)]
    pub sink: Option<PathBuf>,

    /// Use IPv4 only
    #[arg(short = '4', long, conflicts_with = "ipv6", help_heading = DESTINATION)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub ipv4: Option<Given>,

    /// Use IPv6 only
    #[arg(short = '6', long, help_heading = DESTINATION)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub ipv6: Option<Given>,

    /// Connect from this source address
    #[arg(long, value_name = "ADDR")]
    #[arg(allow_hyphen_values = true, help_heading = DESTINATION)]
    pub bind: Option<IpAddr>,
}

/// Who sends, who receives, and what becomes of them together.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct EnvelopeArgs {
    /// Sender; '' or '<>' is the null sender [default: from the headers]
    #[arg(short, long, value_name = "ADDR", value_parser = text())]
    #[arg(allow_hyphen_values = true, help_heading = ENVELOPE)]
    pub from: Option<String>,

    /// Recipient; repeatable, or separated by commas [default: from the headers]
    #[arg(short, long, value_name = "ADDR", value_parser = text())]
    #[arg(allow_hyphen_values = true, help_heading = ENVELOPE)]
    pub to: Vec<String>,

    /// Do not remove Bcc fields from the message
    #[arg(long, help_heading = ENVELOPE)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub keep_bcc: Option<Given>,

    /// Deliver to nobody when any recipient is refused
    #[arg(long, help_heading = ENVELOPE)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub all_or_nothing: Option<Given>,

    /// Send internationalised mail (RFC 6531) even where no address needs it
    #[arg(long, help_heading = ENVELOPE)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub smtputf8: Option<Given>,
}

/// Our name, and the time limits.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct SessionArgs {
    /// Client name sent in LHLO [default: this host's name]
    #[arg(short, long, value_name = "NAME", value_parser = text())]
    #[arg(allow_hyphen_values = true, help_heading = SESSION)]
    pub lhlo: Option<String>,

    /// Time limit for the connection and for each reply [default: 120]
    #[arg(long, value_name = "SECS", value_parser = value::seconds)]
    #[arg(allow_hyphen_values = true, help_heading = SESSION)]
    pub timeout: Option<Duration>,

    /// Time limit for the replies to the message [default: 600, or --timeout]
    #[arg(long, value_name = "SECS", value_parser = value::seconds)]
    #[arg(allow_hyphen_values = true, help_heading = SESSION)]
    pub data_timeout: Option<Duration>,

    /// Time limit for each message, all attempts together [default: 900]
    #[arg(long, value_name = "SECS", value_parser = value::seconds)]
    #[arg(allow_hyphen_values = true, help_heading = SESSION)]
    pub deadline: Option<Duration>,
}

/// How an outcome counts.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct OutcomeArgs {
    /// How to count a recipient whose reply was lost: exit 75, 0 or 69 [default: defer]
    #[arg(long, value_name = "defer|deliver|fail", hide_possible_values = true)]
    #[arg(allow_hyphen_values = true, help_heading = OUTCOME)]
    pub uncertain: Option<Uncertain>,

    /// Exit codes for mta, shell, qmail or monitor [default: mta]
    #[arg(long, value_name = "STYLE", hide_possible_values = true)]
    #[arg(allow_hyphen_values = true, help_heading = OUTCOME)]
    pub exit_style: Option<ExitStyle>,

    /// Exit with 75 for every failure, so that no mail bounces
    #[arg(long, help_heading = OUTCOME)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub soft_bounce: Option<Given>,
}

/// What is said, and where.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct OutputArgs {
    /// Report each recipient's outcome on stdout
    #[arg(long, value_name = "text|json", hide_possible_values = true)]
    #[arg(allow_hyphen_values = true, help_heading = OUTPUT)]
    pub report: Option<ReportFormat>,

    /// Append the report to FILE, as text unless --report says otherwise
    #[arg(long, value_name = "FILE")]
    #[arg(allow_hyphen_values = true, help_heading = OUTPUT)]
    pub report_file: Option<PathBuf>,

    /// Print a line for each recipient; -vv: show the dialogue
    #[arg(short, long, action = ArgAction::Count, overrides_with_all = ["quiet"], help_heading = OUTPUT)]
    pub verbose: u8,

    /// Show the dialogue with the server, secrets redacted
    #[arg(long, overrides_with = "quiet", help_heading = OUTPUT)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub debug: Option<Given>,

    /// Print no diagnostics
    #[arg(short, long, overrides_with_all = ["verbose", "debug"], help_heading = OUTPUT)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub quiet: Option<Given>,
}

const DESTINATION: &str = "Destination (one kind)";
const ENVELOPE: &str = "Envelope";
const SESSION: &str = "Session";
const OUTCOME: &str = "Outcome";
const OUTPUT: &str = "Output";

const AFTER_HELP: &str = "\
Exit codes (75 if anything should be tried again, else the code of the
first failure, else 0):
   0  delivered to every recipient          67  no such recipient
  64  usage error                           68  no such domain
  65  bad address, message or size          69  refused permanently
  66  FILE cannot be read                   76  the server rejects our commands
  75  try again later                       77  not permitted

Examples:
  lmtp-send --sink inbox -t postmaster message.eml
  lmtp-send -S /run/dovecot/lmtp -f me@example.org -t joe -t ann < message.eml
  lmtp-send -H mailbox.example.net:24 --report json message.eml";

/// How a recipient counts whose reply was lost after the message's end was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Uncertain {
    /// Exit 75: rather twice than never.
    Defer,
    /// Exit 0: rather never than twice.
    Deliver,
    /// Exit 69: the sender is to decide.
    Fail,
}

/// Who reads the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExitStyle {
    /// Mail systems: what is not the recipient's fault is 75.
    Mta,
    /// Scripts: each cause has its own sysexits code.
    Shell,
    /// qmail-local: 0, 111 or 100.
    Qmail,
    /// Plugins of Nagios and its kin: 0, 1, 2 or 3, and one line.
    Monitor,
}

/// The form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// A line for people.
    Text,
    /// A JSON object on a line.
    Json,
}

/// Takes any word. Octets that are not UTF-8 become NUL and their number: no word contains a NUL, and no address
/// and no parameter may have one, so that they are refused, by [`Args::not_utf8`].
fn text() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(|word| word.into_string().unwrap_or_else(|word| escaped(&word)))
}

fn escaped(word: &OsStr) -> String {
    let mut text = String::new();
    for chunk in word.as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|octet| text.push_str(&format!("\0x{octet:02x}")));
    }
    text
}

impl Args {
    /// The first option with a value that is not UTF-8, and that value with escapes.
    #[must_use]
    pub fn not_utf8(&self) -> Option<(&'static str, String)> {
        let (usual, protocol) = (&self.usual, &self.protocol);
        let single = [
            ("--from", &usual.envelope.from),
            ("--lhlo", &usual.session.lhlo),
            ("--envid", &protocol.notification.envid),
            ("--orcpt", &protocol.notification.orcpt),
            ("--transid", &protocol.transaction.transid),
        ];
        let repeatable = [
            ("--to", &usual.envelope.to),
            ("--mail-param", &protocol.transaction.mail_param),
            ("--rcpt-param", &protocol.transaction.rcpt_param),
            ("--xclient", &protocol.proxied.xclient),
            ("--vrfy", &protocol.query.vrfy),
            ("--expn", &protocol.query.expn),
            ("--etrn", &protocol.query.etrn),
        ];
        let single = single.into_iter().flat_map(|(option, text)| text.iter().map(move |t| (option, t)));
        let repeated =
            repeatable.into_iter().flat_map(|(option, texts)| texts.iter().map(move |t| (option, t)));
        let found = single.chain(repeated).find(|(_, text)| text.contains('\0'));
        found.map(|(option, text)| (option, text.replace('\0', "\\")))
    }
}
