//! A program that speaks LMTP on its standard input and output.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use lmtp_send::io_error::words;

use super::connect::Unreachable;
use super::stream::Stream;
use super::{Link, TimeLimits};
use crate::process::denied;
use crate::stop::Stop;

/// Starts the program that `command` names, with its arguments; no shell is run.
///
/// # Errors
///
/// [`Unreachable`] where it cannot be run.
pub fn start(command: &[String], limits: TimeLimits, stop: &Arc<Stop>) -> Result<Link, Unreachable> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| Unreachable::NoProgram("no program".into()))?;
    let spawned = stop.command(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|e| not_started(program, e))?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Unreachable::NoProgram(format!("'{program}' has no standard input and output")));
    };
    Stream::exec(child, input, output, limits, Arc::clone(stop))
        .map(Link::from)
        .map_err(Unreachable::Exhausted)
}

fn not_started(program: &str, error: io::Error) -> Unreachable {
    let cannot = |why: &str| format!("'{program}' cannot be run: {why}");
    if error.kind() == io::ErrorKind::NotFound {
        return Unreachable::NoProgram(missing(program));
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        return not_permitted(program, &path());
    }
    let why = cannot(&words(&error));
    let reason = Unreachable::new(error);
    if matches!(reason, Unreachable::Connect(_)) { Unreachable::NoProgram(why) } else { reason }
}

/// What to say where the system finds nothing to run: it says the same of a script whose interpreter is missing.
fn missing(program: &str) -> String {
    match candidates(program, &path()).into_iter().find(|file| file.is_file()) {
        Some(file) => {
            format!("'{program}' cannot be run: the interpreter that {} names is missing", file.display())
        }
        None if program.contains('/') => format!("there is no program '{program}'"),
        None => format!("there is no program '{program}' in PATH"),
    }
}

/// The system refuses as well where the program is missing and one of the directories may not be searched.
fn not_permitted(program: &str, path: &[PathBuf]) -> Unreachable {
    let cannot = |file: &Path| Unreachable::Denied(format!("'{program}' cannot be run: {}", denied(file)));
    let candidates = candidates(program, path);
    if let Some(file) = candidates.iter().find(|file| file.exists()) {
        return cannot(file);
    }
    match candidates.first() {
        Some(file) if program.contains('/') => cannot(file),
        _ => Unreachable::NoProgram(format!("{}{}", missing(program), unsearched(path))),
    }
}

/// The directories of PATH that may not be searched, for the end of a sentence.
fn unsearched(path: &[PathBuf]) -> String {
    let is_closed = |dir: &&PathBuf| {
        fs::metadata(dir.join(".")).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
    };
    path.iter().filter(is_closed).map(|dir| format!("; {}", denied(&dir.join("program")))).collect()
}

/// Where the system looks for `program`, what cannot be run left out where there are others.
fn candidates(program: &str, path: &[PathBuf]) -> Vec<PathBuf> {
    if program.contains('/') {
        return vec![program.into()];
    }
    let mut files: Vec<PathBuf> = path.iter().map(|dir| dir.join(program)).collect();
    let runs = |file: &PathBuf| fs::metadata(file).is_ok_and(|m| m.permissions().mode() & 0o111 != 0);
    files.sort_by_key(|file| !runs(file));
    files
}

/// The directories that programs are looked for in.
fn path() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}
