//! Where the report is written: standard output, or the file that was named; and how it is said that it could not be.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use lmtp_send::io_error::words;
use lmtp_send::lmtp::Stage;

use crate::exit::Kind;
use crate::job::Output;
use crate::local_error::LocalError;
use crate::process::{self, Access, is_closed_stream, was_closed};
use crate::stop::Stop;
use crate::wait::Writer;

/// What the report is written to.
pub struct ReportWriter {
    pub name: String,
    pub writer: Writer,
}

impl ReportWriter {
    pub fn open(output: &Output, until: Instant, stop: &Arc<Stop>) -> Result<Option<Self>, LocalError> {
        if output.report.is_none() {
            return Ok(None);
        }
        if let Some(path) = output.report_file.as_ref().filter(|path| !is_closed_stream(path)) {
            let name = path.display().to_string();
            let _waiting = stop.waiting(|| format!("opening {name} for the report"));
            let writer = Writer::append(path, until, stop).map_err(|e| not_opened(path, &e))?;
            return Ok(Some(Self { name, writer }));
        }
        if was_closed(rustix::stdio::stdout(), Access::Write) {
            return Err(lost(CLOSED));
        }
        Ok(Some(Self { name: STDOUT.into(), writer: Writer::stdout(stop) }))
    }
}

/// Writes `text` to standard output.
///
/// # Errors
///
/// Why that could not be done, in words.
pub fn print(text: &str, until: Instant, stop: &Arc<Stop>) -> Result<(), String> {
    if was_closed(rustix::stdio::stdout(), Access::Write) {
        return Err(CLOSED.into());
    }
    Writer::stdout(stop).write(text.as_bytes(), until).map_err(|e| format!("{STDOUT}: {}", why(&e)))
}

/// What standard output is called in a diagnostic.
const STDOUT: &str = "standard output";
const CLOSED: &str = "standard output is closed";

/// Why something could not be written.
pub fn why(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::TimedOut {
        "it was not read in time".into()
    } else if error.kind() == io::ErrorKind::Interrupted {
        "it was not read before a signal ended the run".into()
    } else {
        words(error)
    }
}

fn not_opened(path: &Path, error: &io::Error) -> LocalError {
    let name = path.display();
    if error.kind() == io::ErrorKind::Interrupted {
        return LocalError::new(Kind::Stopped, Stage::Input, format!("{name}: stopped by a signal"));
    }
    if error.kind() == io::ErrorKind::TimedOut {
        return lost(&format!("{name}: {}", why(error)));
    }
    let kind = process::kind(error, Kind::InputOutput);
    LocalError { kind, ..lost(&process::unusable(path, error)) }
}

pub fn lost(text: &str) -> LocalError {
    LocalError::new(Kind::InputOutput, Stage::Input, format!("the report could not be written: {text}"))
}
