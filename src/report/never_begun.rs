//! A run that never began: its error in the diagnostics and in the report of each recipient, or for monitoring.

use std::sync::Arc;
use std::time::Instant;

use super::stderr::say;
use super::{GRACE, Report, Terms, line, monitor, print};
use crate::cli::ExitStyle;
use crate::delivery::{Conclusion, Record, Reporter};
use crate::exit::ServiceState;
use crate::job::Output;
use crate::local_error::LocalError;
use crate::stop::Stop;

/// Tells an error that kept the run from beginning, in the report of each recipient of each message, and returns the
/// exit code. `sender` is the reverse-path, empty where it is not known.
pub fn never_begun(terms: Terms, error: &LocalError, messages: &[String], sender: &str, to: &[String]) -> u8 {
    let Terms { policy, deadline, .. } = terms;
    let judgement = policy.judge_local_error(error.kind, error.reply.as_ref());
    if policy.style == ExitStyle::Monitor {
        unknown(&format!("{} {}", judgement.status, error.text), &terms.stop);
        return judgement.exit;
    }
    if !terms.output.quiet {
        let left = terms.begin_by.saturating_duration_since(Instant::now());
        say(&line::of_error(&policy, judgement, error), left.max(GRACE), &terms.stop);
    }
    // It has been said. What failed may have taken the whole deadline already: opening this report, for one.
    let output = Output { quiet: true, ..terms.output.clone() };
    let begin_by = terms.begin_by.min(Instant::now() + GRACE);
    let terms = Terms { output, deadline: deadline.min(GRACE), begin_by, ..terms };
    // Where not even the report can be opened, that is the error, and only the log hears it.
    let unreported = Output { report: None, report_file: None, ..terms.output.clone() };
    let opened = Report::open(terms.clone(), messages.len() > 1)
        .or_else(|_| Report::open(Terms { output: unreported, ..terms }, messages.len() > 1));
    if let Ok(mut report) = opened {
        let recipients: Vec<Option<&String>> =
            if to.is_empty() { vec![None] } else { to.iter().map(Some).collect() };
        for (number, message) in (0..).zip(messages) {
            let message: Arc<str> = message.as_str().into();
            for (at, recipient) in recipients.iter().enumerate() {
                report.record(Record {
                    message: Arc::clone(&message),
                    message_id: None,
                    sender: sender.into(),
                    recipient: recipient.map(|recipient| recipient.as_str().into()),
                    conclusion: Conclusion::LocalError(error.clone()),
                    server: None,
                    attempts: 0,
                    seconds: 0.0,
                    is_last: at + 1 == recipients.len(),
                    is_message: true,
                    number,
                });
            }
        }
    }
    judgement.exit
}

/// Tells monitoring that nothing is known of the server, and why.
pub fn unknown(text: &str, stop: &Arc<Stop>) {
    let _ = print(&format!("{}\n", monitor::plain(ServiceState::Unknown, text)), stop);
}
