//! From what was typed to what is meant: addresses, destinations, time limits, names.

mod aliases;
mod bulk;
mod destination;
mod own_name;
mod parameters;
mod questions;
mod security;
mod submission;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use bulk::{BulkTerms, no_recipients_for};
pub use destination::is_host;
pub use own_name::{full_name, host_name, own_address};
pub use parameters::{Parameters, ServerParameters};
pub use questions::{Questions, Thresholds};
use security::Security;
pub use security::{Credentials, Start};
pub use submission::Submission;

use lmtp_send::Timeouts;
use lmtp_send::envelope::list;
use lmtp_send::lmtp::session::{Body, Verb};
use lmtp_send::lmtp::{Address, InvalidAddress, ReversePath, drop_repeated};

use crate::cli::{self, Args, ExitStyle, Facility, Proxy, ReportFormat, Settings, Uncertain, Usual};
use crate::exit::{Kind, Policy};
use crate::local_error::LocalError;
use crate::stop::Stop;
use crate::transport::{Destination, Network, Tls};

/// For each message, unless it is given.
pub const DEADLINE: Duration = Duration::from_secs(900);

/// All that a run is to do.
#[derive(Debug)]
pub struct Job {
    /// How a session comes about.
    pub session: SessionTerms,
    /// What each transaction is like.
    pub transaction: TransactionTerms,
    /// For each message.
    pub deadline: Duration,
    /// The reverse-path; `None`: from the headers.
    pub from: Option<ReversePath>,
    /// The recipients; none: from the headers.
    pub to: Vec<Address>,
    /// The message is handed in as it is to sendmail.
    pub submission: Option<Submission>,
    /// What is asked in place of a delivery.
    pub questions: Questions,
    /// What is worth knowing and no failure.
    pub warnings: Vec<String>,
    /// Which messages.
    pub messages: MessageTerms,
    /// How many messages are sent, how fast, and what follows a failure.
    pub bulk: BulkTerms,
    /// How outcomes become exit codes.
    pub policy: Policy,
    /// What is told, and where.
    pub output: Output,
}

/// Which messages, and what is left in them.
#[derive(Debug)]
pub struct MessageTerms {
    /// The messages; `-` is standard input.
    pub inputs: Vec<PathBuf>,
    /// A message of our own is sent, about that.
    pub test: Option<Option<String>>,
    /// Leave Bcc in the message.
    pub keep_bcc: bool,
}

/// How a session comes about: where to, how, and as whom.
#[derive(Debug)]
pub struct SessionTerms {
    /// Tried in order.
    pub destinations: Vec<Destination>,
    /// How TCP connections are made.
    pub network: Network,
    /// The name said in LHLO.
    pub lhlo: String,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// PIPELINING is made use of.
    pub pipelining: bool,
    /// For whom the session is, where the PROXY protocol says so.
    pub proxy: Option<Proxy>,
    /// XCLIENT's attributes.
    pub xclient: Vec<String>,
    /// When TLS begins, and how.
    pub tls: Option<(Start, Tls)>,
    /// Who we are to the server.
    pub credentials: Option<Credentials>,
}

/// What each transaction is like.
#[derive(Debug)]
pub struct TransactionTerms {
    /// A refused recipient cancels the transaction.
    pub all_or_nothing: bool,
    /// SMTPUTF8 whatever the addresses are.
    pub smtputf8: bool,
    /// The command that begins a transaction.
    pub verb: Verb,
    /// What the body is declared to be.
    pub body: Body,
    /// BDAT may be used.
    pub chunking: bool,
    /// The replies to the envelope are awaited before the message is sent (checkpoints).
    pub confirm_envelope: bool,
    /// ESMTP parameters.
    pub parameters: Parameters,
}

/// What is told, and where.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// A line for each recipient.
    pub report: Option<ReportFormat>,
    /// Appended to instead of standard output.
    pub report_file: Option<PathBuf>,
    /// 0: diagnostics; 1: a line for each recipient, and warnings; 2: the dialogue.
    pub verbosity: u8,
    /// No diagnostics.
    pub quiet: bool,
    /// Each outcome goes to the system's log as well.
    pub syslog: Option<Facility>,
    /// Only what was not delivered goes there.
    pub logs_failures_only: bool,
}

impl Output {
    /// Whether the report or the log names each message by its Message-ID.
    pub fn wants_message_id(&self) -> bool {
        self.report == Some(ReportFormat::Json) || self.syslog.is_some()
    }
}

/// How the arguments want outcomes to become exit codes.
pub fn policy(args: &Usual) -> Policy {
    Policy {
        style: args.outcome.exit_style.unwrap_or(ExitStyle::Mta),
        uncertain: args.outcome.uncertain.unwrap_or(Uncertain::Defer),
        soft_bounce: args.outcome.soft_bounce.is_some(),
    }
}

/// What the arguments want to be told.
pub fn output(args: &Args) -> Output {
    // Nobody reads what is said to whoever calls sendmail.
    let logs_failures_only = args.protocol.syslog.is_none() && args.submission.is_some();
    let syslog = args.protocol.syslog.or(logs_failures_only.then_some(Facility::Mail));
    let args = &args.usual;
    Output {
        syslog,
        logs_failures_only,
        report: args.output.report.or(args.output.report_file.as_ref().map(|_| ReportFormat::Text)),
        report_file: args.output.report_file.clone(),
        verbosity: if args.output.debug.is_some() { 2 } else { args.output.verbose },
        quiet: args.output.quiet.is_some(),
    }
}

/// `error`, with the place of the setting that it is about. A setting that nobody typed is wrong configuration, and no
/// usage error; an address stays what it is, wherever it came from.
pub fn placed(error: LocalError, settings: &Settings) -> LocalError {
    match settings.placed(&error.text) {
        None => error,
        Some(text) => {
            let kind = if error.kind == Kind::Usage { Kind::Config } else { error.kind };
            LocalError { kind, text, ..error }
        }
    }
}

/// How long each step may take: what is said of replies alone is for those to the message as well.
fn timeouts(usual: &Usual) -> Timeouts {
    let usually = Timeouts::default();
    let reply = usual.session.timeout;
    let delivery = usual.session.data_timeout.or(reply).unwrap_or(usually.delivery);
    Timeouts::new(reply.unwrap_or(usually.reply), delivery)
}

/// The time limit for each message.
pub fn deadline(args: &Usual) -> Duration {
    args.session.deadline.unwrap_or(DEADLINE)
}

impl Job {
    /// What the arguments of a run that `began` then mean. All that is waited for here, and the opening of the report
    /// behind it, have one deadline together.
    ///
    /// # Errors
    ///
    /// [`LocalError`] naming the address, host or name that is none.
    pub fn new(args: &Args, began: Instant, stop: &Stop) -> Result<Self, LocalError> {
        let Args { usual, protocol: options, settings, .. } = args;
        if let Some((option, text)) = args.not_utf8() {
            // A configured address that is none is the sender's affair, as one in the header is; anything else ours.
            let is_address = ["--from", "--to", "--vrfy", "--expn"].contains(&option);
            let is_typed = settings.origin(option.trim_start_matches('-')).is_none();
            let kind = if is_address || is_typed { Kind::Envelope } else { Kind::Config };
            return Err(LocalError::input(kind, format!("{option}: '{text}' is not UTF-8")));
        }
        let questions = Questions::new(&options.query)?;
        questions::monitored(&questions, policy(usual).style)?;
        let later = |from: Instant, duration| from.checked_add(duration).unwrap_or(from);
        let until = later(Instant::now(), timeouts(usual).reply).min(later(began, deadline(usual)));
        let (tls_args, _copies) = security::without_fifos(&options.tls, until, stop)?;
        let (tls, warning) = security::tls(&tls_args, settings)?;
        let submission = Submission::new(args, until, stop)?;
        let session = SessionTerms::new(args, tls, until, stop)?;
        let mut job = Self::of(args, session, submission, questions)?;
        job.warnings.extend(warning);
        if job.messages.test.is_some() && job.to.is_empty() {
            return Err(LocalError::input(Kind::Usage, "--test needs a recipient: give --to"));
        }
        if let Some(submission) = job.submission.as_ref().filter(|_| job.questions.probe) {
            job.to = submission.completed(job.to)?;
        }
        if job.to.is_empty() && job.questions.is_empty() {
            job.bulk.check_recipients(&job.messages.inputs)?;
        }
        // Last: a password is not asked for in vain.
        let (credentials, warning) = security::credentials(&options.authentication, until, stop)?;
        job.session.credentials = credentials;
        job.warnings.extend(warning);
        Ok(job)
    }

    /// Whether a message, an mbox or the list of messages comes by standard input.
    pub fn reads_standard_input(&self) -> bool {
        self.messages.inputs.iter().chain(&self.bulk.files_from).any(|path| path.as_os_str() == "-")
    }

    fn of(
        args: &Args,
        session: SessionTerms,
        submission: Option<Submission>,
        questions: Questions,
    ) -> Result<Self, LocalError> {
        let (usual, output) = (&args.usual, output(args));
        let from = usual.envelope.from.as_deref().map(ReversePath::parse).transpose();
        Ok(Self {
            session,
            deadline: deadline(usual),
            from: from.map_err(|e| {
                bad_address("--from", args.usual.envelope.from.as_deref().unwrap_or_default(), &e)
            })?,
            to: if submission.is_some() {
                submission::arguments(&usual.envelope.to)?
            } else {
                recipients(&usual.envelope.to)?
            },
            submission,
            transaction: TransactionTerms::new(args)?,
            questions,
            warnings: args.warnings.clone(),
            messages: MessageTerms {
                inputs: inputs(args),
                test: args.protocol.transaction.test.clone(),
                keep_bcc: usual.envelope.keep_bcc.is_some(),
            },
            bulk: BulkTerms::new(&args.bulk, &output, &usual.files),
            policy: policy(usual),
            output,
        })
    }
}

impl SessionTerms {
    /// What the arguments say of it, without the credentials.
    fn new(args: &Args, tls: Security, until: Instant, stop: &Stop) -> Result<Self, LocalError> {
        let Args { usual, protocol: options, .. } = args;
        Ok(Self {
            destinations: destination::destinations(&usual.destination)?,
            network: Network {
                ipv6: match (usual.destination.ipv4, usual.destination.ipv6) {
                    (None, None) => None,
                    (_, ipv6) => Some(ipv6.is_some()),
                },
                bind: usual.destination.bind,
            },
            lhlo: own_name::lhlo(usual.session.lhlo.clone().or_else(|| of_sink(usual)), until, stop)?,
            timeouts: timeouts(usual),
            pipelining: options.transaction.no_pipelining.is_none(),
            proxy: options.proxied.proxy,
            xclient: xclient(&options.proxied.xclient)?,
            tls,
            credentials: None,
        })
    }
}

impl TransactionTerms {
    fn new(args: &Args) -> Result<Self, LocalError> {
        let Args { usual, protocol: options, .. } = args;
        Ok(Self {
            all_or_nothing: usual.envelope.all_or_nothing.is_some(),
            smtputf8: usual.envelope.smtputf8.is_some(),
            verb: verb(options.transaction.verb),
            body: body(options.transaction.body),
            chunking: options.transaction.no_chunking.is_none(),
            confirm_envelope: options.transaction.transid.is_some(),
            parameters: Parameters::new(&options.notification, &options.transaction)?,
        })
    }
}

/// The FILEs; standard input, where nothing else is named. A message of our own goes by the name of its option.
fn inputs(args: &Args) -> Vec<PathBuf> {
    let files = &args.usual.files;
    if args.protocol.transaction.test.is_some() {
        vec!["--test".into()]
    } else if files.is_empty() && args.bulk.files_from.is_none() {
        vec!["-".into()]
    } else {
        files.clone()
    }
}

fn verb(option: Option<cli::VerbName>) -> Verb {
    match option {
        None | Some(cli::VerbName::Mail) => Verb::Mail,
        Some(cli::VerbName::Send) => Verb::Send,
        Some(cli::VerbName::Soml) => Verb::Soml,
        Some(cli::VerbName::Saml) => Verb::Saml,
    }
}

fn body(option: Option<cli::BodyName>) -> Body {
    match option {
        None | Some(cli::BodyName::EightBitMime) => Body::EightBit,
        Some(cli::BodyName::SevenBit) => Body::SevenBit,
        Some(cli::BodyName::BinaryMime) => Body::Binary,
    }
}

/// Attributes of XCLIENT: a name and a value that is xtext.
fn xclient(attributes: &[String]) -> Result<Vec<String>, LocalError> {
    let valid = |text: &&String| {
        let (name, value) = text.split_once('=').unwrap_or_default();
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !value.is_empty()
            && value.bytes().all(|b| b.is_ascii_graphic())
    };
    match attributes.iter().find(|a| !valid(a)) {
        None => Ok(attributes.to_vec()),
        Some(text) => {
            let why = format!("--xclient '{}': not ATTR=VALUE with a value in xtext", text.escape_debug());
            Err(LocalError::input(Kind::Envelope, why))
        }
    }
}

/// Our own server in this process does not care who we are.
fn of_sink(args: &Usual) -> Option<String> {
    args.destination.sink.as_ref().map(|_| host_name().unwrap_or_else(|| "localhost".into()))
}

/// The recipients that were typed: those that cannot be parsed as they are.
pub fn named(texts: &[String]) -> Vec<String> {
    let addresses = |text: &String| match Address::parse_several(text) {
        Ok(addresses) => addresses.iter().map(Address::to_string).collect(),
        Err(_) => vec![text.clone()],
    };
    let mut all: Vec<String> = Vec::new();
    for recipient in texts.iter().flat_map(addresses) {
        if !all.contains(&recipient) {
            all.push(recipient);
        }
    }
    all
}

/// What is wrong with `text`, and what to give where it is an address as a header has it, with a name or a comment.
fn bad_address(option: &str, text: &str, error: &InvalidAddress) -> LocalError {
    let found = list::parse(text.as_bytes()).unwrap_or_default();
    let hint = match found.as_slice() {
        [] => String::new(),
        [address] => format!("; give the address alone: {option} {address}"),
        _ => "; give addresses alone, without names and comments".into(),
    };
    LocalError::input(Kind::Envelope, format!("{option}: {error}{hint}"))
}

fn recipients(texts: &[String]) -> Result<Vec<Address>, LocalError> {
    let mut all = Vec::new();
    for text in texts {
        all.extend(Address::parse_several(text).map_err(|e| bad_address("--to", text, &e))?);
    }
    drop_repeated(&mut all);
    Ok(all)
}
