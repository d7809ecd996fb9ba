//! From what was typed to what is meant: addresses, destinations, time limits, names.

use std::path::PathBuf;
use std::time::Duration;

use lmtp_send::lmtp::{Address, ReversePath, drop_repeated};

use crate::cli::{Args, ExitStyle, ReportFormat, Uncertain};
use crate::exit::{Kind, Policy};
use crate::transport::{Destination, Network, split_host};
use crate::trouble::Trouble;

const PORT: u16 = 24;
const TIMEOUT: Duration = Duration::from_secs(120);
const DATA_TIMEOUT: Duration = Duration::from_secs(600);
const DEADLINE: Duration = Duration::from_secs(900);

/// All that a run is to do.
#[derive(Debug)]
pub struct Job {
    /// Tried in order.
    pub destinations: Vec<Destination>,
    /// How TCP connections are made.
    pub network: Network,
    /// The name said in LHLO.
    pub lhlo: String,
    /// For the connection and each reply.
    pub timeout: Duration,
    /// For the replies to the message.
    pub data_timeout: Duration,
    /// For each message.
    pub deadline: Duration,
    /// The reverse-path; `None`: from the headers.
    pub from: Option<ReversePath>,
    /// The recipients; none: from the headers.
    pub to: Vec<Address>,
    /// Leave Bcc in the message.
    pub keep_bcc: bool,
    /// A refused recipient cancels the transaction.
    pub all_or_nothing: bool,
    /// SMTPUTF8 whatever the addresses are.
    pub smtputf8: bool,
    /// The messages; `-` is standard input.
    pub inputs: Vec<PathBuf>,
    /// How outcomes become exit codes.
    pub policy: Policy,
    /// What is told, and where.
    pub output: Output,
}

/// What is told, and where.
#[derive(Clone, Debug)]
pub struct Output {
    /// A line for each recipient.
    pub report: Option<ReportFormat>,
    /// Appended to instead of standard output.
    pub report_file: Option<PathBuf>,
    /// 0: diagnostics; 1: a line for each recipient, and warnings; 2: the dialogue.
    pub verbosity: u8,
    /// No diagnostics.
    pub quiet: bool,
}

/// How the arguments want outcomes to become exit codes.
pub fn policy(args: &Args) -> Policy {
    Policy {
        style: args.exit_style.unwrap_or(ExitStyle::Mta),
        uncertain: args.uncertain.unwrap_or(Uncertain::Defer),
        soft_bounce: args.soft_bounce,
    }
}

/// What the arguments want to be told.
pub fn output(args: &Args) -> Output {
    Output {
        report: args.report.or(args.report_file.as_ref().map(|_| ReportFormat::Text)),
        report_file: args.report_file.clone(),
        verbosity: if args.debug { 2 } else { args.verbose },
        quiet: args.quiet,
    }
}

impl Job {
    /// What the arguments mean.
    ///
    /// # Errors
    ///
    /// [`Trouble`] naming the address, host or name that is none.
    pub fn new(args: Args) -> Result<Self, Trouble> {
        let data_timeout = args.data_timeout.or(args.timeout).unwrap_or(DATA_TIMEOUT);
        let output = output(&args);
        let policy = policy(&args);
        Ok(Self {
            destinations: destinations(&args)?,
            network: Network { ipv6: (args.ipv4 || args.ipv6).then_some(args.ipv6), bind: args.bind },
            lhlo: lhlo(args.lhlo)?,
            timeout: args.timeout.unwrap_or(TIMEOUT),
            data_timeout,
            deadline: args.deadline.unwrap_or(DEADLINE),
            from: args
                .from
                .as_deref()
                .map(ReversePath::parse)
                .transpose()
                .map_err(|e| envelope("--from", &e))?,
            to: recipients(&args.to)?,
            keep_bcc: args.keep_bcc,
            all_or_nothing: args.all_or_nothing,
            smtputf8: args.smtputf8,
            inputs: if args.files.is_empty() { vec!["-".into()] } else { args.files },
            policy,
            output,
        })
    }
}

fn envelope(option: &str, error: &dyn std::fmt::Display) -> Trouble {
    Trouble::input(Kind::Envelope, format!("{option}: {error}"))
}

fn recipients(texts: &[String]) -> Result<Vec<Address>, Trouble> {
    let mut all = Vec::new();
    for text in texts {
        all.extend(Address::parse_several(text).map_err(|e| envelope("--to", &e))?);
    }
    drop_repeated(&mut all);
    Ok(all)
}

fn destinations(args: &Args) -> Result<Vec<Destination>, Trouble> {
    if let Some(path) = &args.socket {
        return Ok(vec![Destination::Socket(path.clone())]);
    }
    if let Some(dir) = &args.sink {
        return Ok(vec![Destination::Sink(dir.clone())]);
    }
    if let Some(command) = &args.exec {
        let words = shell_words::split(command).map_err(|e| {
            Trouble::new(Kind::Config, lmtp_send::lmtp::Stage::Connect, format!("--exec '{command}': {e}"))
        })?;
        return Ok(vec![Destination::Exec(words)]);
    }
    let port = args.port.unwrap_or(PORT);
    let host = |text: &String| {
        let (name, port) = split_host(text, port).ok_or_else(|| {
            let why = format!("--host '{text}': neither HOST, HOST:PORT, [IPv6] nor [IPv6]:PORT");
            Trouble::new(Kind::Usage, lmtp_send::lmtp::Stage::Connect, why)
        })?;
        Ok(Destination::Host { name, port })
    };
    args.host.iter().map(host).collect()
}

/// The name for LHLO: the one given, else this host's, else an address literal (RFC 5321 §4.1.4).
fn lhlo(given: Option<String>) -> Result<String, Trouble> {
    let is_name =
        |name: &str| !name.is_empty() && name.len() <= 255 && name.bytes().all(|b| b.is_ascii_graphic());
    if let Some(name) = given {
        let usage = || {
            Trouble::new(
                Kind::Usage,
                lmtp_send::lmtp::Stage::Lhlo,
                format!("--lhlo '{}': not a host's name", name.escape_debug()),
            )
        };
        return if is_name(&name) { Ok(name) } else { Err(usage()) };
    }
    Ok(host_name().filter(|name| is_name(name)).unwrap_or_else(|| "[127.0.0.1]".into()))
}

/// This host's name.
pub fn host_name() -> Option<String> {
    hostname::get().ok()?.into_string().ok()
}
