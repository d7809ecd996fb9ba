//! The options for what the protocol offers beyond a plain delivery: ESMTP parameters, TLS, AUTH, and the
//! queries that take the place of a delivery.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, ValueEnum};

use lmtp_send::lmtp::auth::Mechanism;

use super::value::{Given, Proxy};
use super::{Contradiction, text, value};

/// Parameters, TLS, authentication and queries.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub struct Protocol {
    /// Write each outcome to syslog as well [default: mail]
    #[arg(long, value_name = "FACILITY", num_args = 0..=1, require_equals = true, ignore_case = true)]
    #[arg(default_missing_value = "mail", hide_possible_values = true, help_heading = super::OUTPUT)]
    pub syslog: Option<Facility>,

    /// What the sender is notified of (DSN, RFC 3461).
    #[command(flatten)]
    pub notification: NotificationArgs,

    /// How a transaction is said, and what is sent in it.
    #[command(flatten)]
    pub transaction: TransactionArgs,

    /// For whom the session is, where that is another client.
    #[command(flatten)]
    pub proxied: ProxiedArgs,

    /// Encryption and certificates.
    #[command(flatten)]
    pub tls: TlsArgs,

    /// Who we are to the server, and the password.
    #[command(flatten)]
    pub authentication: AuthenticationArgs,

    /// What is asked in place of a delivery.
    #[command(flatten)]
    pub query: QueryArgs,
}

/// What the sender is notified of (DSN, RFC 3461).
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub struct NotificationArgs {
    /// How much of the message a notification returns (DSN, RFC 3461)
    #[arg(long, value_name = "full|hdrs", ignore_case = true, hide_possible_values = true)]
    #[arg(allow_hyphen_values = true, help_heading = PARAMETERS)]
    pub ret: Option<Ret>,

    /// Envelope identifier for notifications
    #[arg(long, value_name = "ID", value_parser = text())]
    #[arg(allow_hyphen_values = true, help_heading = PARAMETERS)]
    pub envid: Option<String>,

    /// Notify the sender: never, or some of success,failure,delay
    #[arg(long, value_name = "WHEN", hide_possible_values = true, value_delimiter = ',', ignore_case = true)]
    #[arg(allow_hyphen_values = true, help_heading = PARAMETERS)]
    pub notify: Vec<Notify>,

    /// Original recipient for notifications
    #[arg(long, value_name = "TYPE;ADDR", value_parser = text())]
    #[arg(allow_hyphen_values = true, help_heading = PARAMETERS)]
    pub orcpt: Option<String>,
}

/// How a transaction is said, and what is sent in it.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub struct TransactionArgs {
    /// Body: 7bit, 8bitmime or binarymime [default: 8bitmime]
    #[arg(long, value_name = "TYPE", ignore_case = true, hide_possible_values = true)]
    #[arg(allow_hyphen_values = true, help_heading = PARAMETERS)]
    pub body: Option<BodyName>,

    /// Add a parameter to MAIL, sent as given; repeatable
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = text())]
    #[arg(allow_hyphen_values = true, help_heading = PARAMETERS)]
    pub mail_param: Vec<String>,

    /// Add a parameter to each RCPT, sent as given; repeatable
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = text())]
    #[arg(allow_hyphen_values = true, help_heading = PARAMETERS)]
    pub rcpt_param: Vec<String>,

    /// Transaction identifier for a checkpoint (RFC 1845)
    #[arg(long, value_name = "ID", value_parser = text())]
    #[arg(allow_hyphen_values = true, help_heading = PARAMETERS)]
    pub transid: Option<String>,

    /// The command that begins a transaction (RFC 821) [default: mail]
    #[arg(long, value_name = "mail|send|soml|saml", ignore_case = true, hide_possible_values = true)]
    #[arg(allow_hyphen_values = true, help_heading = PARAMETERS)]
    pub verb: Option<VerbName>,

    /// Send a small test message instead of FILE
    #[arg(long, value_name = "SUBJECT", num_args = 0..=1, require_equals = true, value_parser = value::line)]
    #[arg(help_heading = PARAMETERS)]
    pub test: Option<Option<String>>,

    /// Send the message by DATA even if CHUNKING is offered
    #[arg(long, help_heading = PARAMETERS)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub no_chunking: Option<Given>,

    /// Wait for the reply to each command before sending the next
    #[arg(long, help_heading = PARAMETERS)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub no_pipelining: Option<Given>,
}

/// For whom the session is, where that is another client.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub struct ProxiedArgs {
    /// Attribute for XCLIENT, to a server that offers it; repeatable
    #[arg(long, value_name = "ATTR=VALUE", value_parser = text())]
    #[arg(allow_hyphen_values = true, help_heading = PARAMETERS)]
    pub xclient: Vec<String>,

    /// Send a PROXY protocol header for this client address, or 'local'
    #[arg(long, value_name = "SRC[:PORT]", value_parser = value::proxy)]
    #[arg(allow_hyphen_values = true, help_heading = PARAMETERS)]
    pub proxy: Option<Proxy>,
}

/// Encryption and certificates.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub struct TlsArgs {
    /// Encrypt: off, opportunistic, starttls or implicit [default: off]
    #[arg(long, value_name = "MODE", hide_possible_values = true)]
    #[arg(allow_hyphen_values = true, help_heading = TLS)]
    pub tls: Option<TlsMode>,

    /// Trust the CA certificates in FILE (PEM) [default: the system's]
    #[arg(long, value_name = "FILE")]
    #[arg(allow_hyphen_values = true, help_heading = TLS)]
    pub tls_ca: Option<PathBuf>,

    /// Client certificate (PEM)
    #[arg(long, value_name = "FILE")]
    #[arg(allow_hyphen_values = true, help_heading = TLS)]
    pub tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE")]
    #[arg(allow_hyphen_values = true, help_heading = TLS)]
    pub tls_key: Option<PathBuf>,

    /// Name the server's certificate must have [default: the host's]
    #[arg(long, value_name = "NAME")]
    #[arg(allow_hyphen_values = true, help_heading = TLS)]
    pub tls_name: Option<String>,

    /// Accept only the server certificate with this fingerprint
    #[arg(long, value_name = "SHA256")]
    #[arg(allow_hyphen_values = true, help_heading = TLS)]
    pub tls_fingerprint: Option<String>,

    /// Do not verify the server's certificate
    #[arg(long, conflicts_with_all = ["tls_ca", "tls_fingerprint"], help_heading = TLS)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub tls_insecure: Option<Given>,
}

/// Who we are to the server, and the password.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub struct AuthenticationArgs {
    /// Authenticate as NAME
    #[arg(short, long, value_name = "NAME")]
    #[arg(allow_hyphen_values = true, help_heading = AUTHENTICATION)]
    pub user: Option<String>,

    /// Read the password from FILE [default: $LMTP_SEND_PASSWORD]
    #[arg(long, value_name = "FILE")]
    #[arg(allow_hyphen_values = true, help_heading = AUTHENTICATION)]
    pub password_file: Option<PathBuf>,

    /// Run COMMAND and read the password from its output
    #[arg(long, value_name = "COMMAND", conflicts_with = "password_file")]
    #[arg(allow_hyphen_values = true, help_heading = AUTHENTICATION)]
    pub password_command: Option<String>,

    /// SASL mechanism, such as plain [default: the strongest offered]
    #[arg(long, value_name = "MECH", ignore_case = true, hide_possible_values = true)]
    #[arg(allow_hyphen_values = true, help_heading = AUTHENTICATION)]
    pub auth: Option<MechanismName>,

    /// Allow PLAIN and LOGIN over TCP without TLS
    #[arg(long, help_heading = AUTHENTICATION)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub auth_insecure: Option<Given>,
}

/// What is asked in place of a delivery.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub struct QueryArgs {
    /// Show what the server offers, its certificate and the time of each step
    #[arg(long, help_heading = QUERIES)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub probe: Option<Given>,

    /// Monitoring: warn when the answer takes longer
    #[arg(long, value_name = "SECS", value_parser = value::seconds)]
    #[arg(allow_hyphen_values = true, help_heading = QUERIES)]
    pub warning: Option<Duration>,

    /// Monitoring: critical when the answer takes longer
    #[arg(long, value_name = "SECS", value_parser = value::seconds)]
    #[arg(allow_hyphen_values = true, help_heading = QUERIES)]
    pub critical: Option<Duration>,

    /// Monitoring: warn N days before the certificate expires
    #[arg(long, value_name = "N", help_heading = QUERIES)]
    pub warning_days: Option<u32>,

    /// Ask whether ADDR is known (VRFY); repeatable
    #[arg(long, value_name = "ADDR", value_parser = text())]
    #[arg(allow_hyphen_values = true, help_heading = QUERIES)]
    pub vrfy: Vec<String>,

    /// Ask who is on the list ADDR (EXPN); repeatable
    #[arg(long, value_name = "ADDR", value_parser = text())]
    #[arg(allow_hyphen_values = true, help_heading = QUERIES)]
    pub expn: Vec<String>,

    /// Ask the server to send its queue for DOMAIN (ETRN); repeatable
    #[arg(long, value_name = "DOMAIN", value_parser = text())]
    #[arg(allow_hyphen_values = true, help_heading = QUERIES)]
    pub etrn: Vec<String>,

    /// Ask for the server's help text, about TOPIC
    #[arg(long, value_name = "TOPIC", num_args = 0..=1, help_heading = QUERIES)]
    pub help_from_server: Option<Option<String>>,

    /// Ask whether the server answers (NOOP)
    #[arg(long, help_heading = QUERIES)]
    #[arg(num_args = 0, default_missing_value = "", value_parser = value::given)]
    pub noop: Option<Given>,
}

const PARAMETERS: &str = "Protocol";
const TLS: &str = "TLS";
const AUTHENTICATION: &str = "Authentication";
const QUERIES: &str = "Queries (instead of delivering)";

/// A facility of the system's log (RFC 3164 §4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "these are the names that every system has for them")]
pub enum Facility {
    User,
    Mail,
    Daemon,
    Auth,
    Lpr,
    News,
    Uucp,
    Cron,
    Authpriv,
    Ftp,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

impl Facility {
    /// Its number (RFC 3164 §4.1.1, table 1).
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Mail => 2,
            Self::Daemon => 3,
            Self::Auth => 4,
            Self::Lpr => 6,
            Self::News => 7,
            Self::Uucp => 8,
            Self::Cron => 9,
            Self::Authpriv => 10,
            Self::Ftp => 11,
            Self::Local0 => 16,
            Self::Local1 => 17,
            Self::Local2 => 18,
            Self::Local3 => 19,
            Self::Local4 => 20,
            Self::Local5 => 21,
            Self::Local6 => 22,
            Self::Local7 => 23,
        }
    }
}

impl Protocol {
    /// Whether the server is asked something and nothing is delivered.
    #[must_use]
    pub fn is_query(&self) -> bool {
        let named = !(self.query.vrfy.is_empty() && self.query.expn.is_empty() && self.query.etrn.is_empty());
        self.query.probe.is_some()
            || self.query.noop.is_some()
            || self.query.help_from_server.is_some()
            || named
    }

    /// What cannot be meant; `files` and `recipients` say whether any were named.
    ///
    /// A query that left a message lying would exit with 0 all the same, and the mail be lost.
    pub(super) fn contradiction(&self, files: bool, recipients: bool) -> Option<Contradiction> {
        let kind = ErrorKind::ArgumentConflict;
        if self.transaction.test.is_some() && (files || self.is_query()) {
            let why = "--test sends its own message, with a subject as --test=SUBJECT: it cannot be combined with FILE, --mbox, --files-from or a query";
            return Some(Contradiction { kind, options: &["test"], why: why.into() });
        }
        if self.is_query() && (files || (recipients && self.query.probe.is_none())) {
            let why =
                "a query delivers nothing: it cannot be combined with FILE, and only --probe takes --to";
            return Some(Contradiction { kind, options: &QUERY_OPTIONS, why: why.into() });
        }
        let never = self.notification.notify.contains(&Notify::Never)
            && self.notification.notify.iter().any(|n| *n != Notify::Never);
        let why = "--notify: 'never' cannot be combined with other values";
        never.then_some(Contradiction { kind, options: &["notify"], why: why.into() })
    }
}

const QUERY_OPTIONS: [&str; 6] = ["probe", "vrfy", "expn", "etrn", "help-from-server", "noop"];

/// How much of the message a notification returns (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header.
    Hdrs,
}

/// When the sender is to be notified (RFC 3461 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Notify {
    /// Under no condition.
    Never,
    /// When the message was delivered.
    Success,
    /// When it could not be.
    Failure,
    /// When it takes long.
    Delay,
}

/// What the body is declared to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BodyName {
    /// Lines of US-ASCII (RFC 6152).
    #[value(name = "7bit")]
    SevenBit,
    /// Lines of octets (RFC 6152).
    #[value(name = "8bitmime")]
    EightBitMime,
    /// Octets, sent by BDAT and untouched (RFC 3030).
    #[value(name = "binarymime")]
    BinaryMime,
}

/// The command that begins a transaction (RFC 821 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VerbName {
    /// To the mailbox.
    Mail,
    /// To the terminal.
    Send,
    /// To the terminal or else the mailbox.
    Soml,
    /// To the terminal and the mailbox.
    Saml,
}

/// Whether and how the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TlsMode {
    /// Not.
    Off,
    /// With STARTTLS where it is offered; without verifying.
    Opportunistic,
    /// With STARTTLS or not at all.
    Starttls,
    /// From the first octet or not at all.
    Implicit,
}

/// The name of a SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MechanismName {
    /// RFC 7677.
    #[value(name = "scram-sha-256")]
    ScramSha256,
    /// RFC 5802.
    #[value(name = "scram-sha-1")]
    ScramSha1,
    /// RFC 2195.
    #[value(name = "cram-md5")]
    CramMd5,
    /// RFC 4616.
    Plain,
    /// As servers have it; no RFC.
    Login,
    /// The identity that TLS or the socket has shown (RFC 4422 appendix A).
    External,
}

impl MechanismName {
    /// The mechanism of this name.
    #[must_use]
    pub fn mechanism(self) -> Mechanism {
        match self {
            Self::ScramSha256 => Mechanism::ScramSha256,
            Self::ScramSha1 => Mechanism::ScramSha1,
            Self::CramMd5 => Mechanism::CramMd5,
            Self::Plain => Mechanism::Plain,
            Self::Login => Mechanism::Login,
            Self::External => Mechanism::External,
        }
    }
}
