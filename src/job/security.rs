//! TLS and AUTH: what was asked for, with certificates and the password read.

use std::fmt::Display;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Instant;
use std::{env, fs, io};

use lmtp_send::lmtp::auth::Mechanism;
use lmtp_send::lmtp::{Secret, Stage, printable};

use crate::cli::{AuthenticationArgs, MechanismName, Settings, TlsArgs, TlsMode};
use crate::exit::Kind;
use crate::local_error::LocalError;
use crate::process;
use crate::stop::{PASSWORD, Stop};
use crate::system;
use crate::transport::{Fingerprint, Identity, Tls, TlsError, TlsOptions, Verify};
use crate::wait::{self, Wanted};

/// The longest password, in octets.
const MAX_PASSWORD: usize = 4096;

/// The longest file of certificates or keys that is read through a FIFO, in octets.
const MAX_PEM: usize = 16 << 20;

/// Who we are to the server.
#[derive(Debug)]
pub struct Credentials {
    /// The user; may be empty with EXTERNAL.
    pub user: String,
    /// Empty with EXTERNAL.
    pub password: Secret,
    /// The mechanism asked for; without one the strongest that is offered.
    pub mechanism: Option<Mechanism>,
    /// The password may be sent in clear.
    pub insecure: bool,
}

/// When TLS is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// By STARTTLS if the server offers it; nothing is verified.
    IfOffered,
    /// By STARTTLS, or there is no session.
    Required,
    /// With the first octet.
    AtOnce,
}

/// When and how TLS is used, `None`: not at all.
pub type Security = Option<(Start, Tls)>;

/// What is to be done about TLS; and what is worth a warning.
///
/// # Errors
///
/// [`LocalError`] where a file is wrong or missing.
pub fn tls(options: &TlsArgs, settings: &Settings) -> Result<(Security, Option<String>), LocalError> {
    let start = match options.tls.unwrap_or(TlsMode::Off) {
        TlsMode::Off => return unused(options, settings).map(|()| (None, None)),
        TlsMode::Opportunistic => Start::IfOffered,
        TlsMode::Starttls => Start::Required,
        TlsMode::Implicit => Start::AtOnce,
    };
    let asked = TlsOptions::new(verify(options)?).identity(identity(options)?).name(options.tls_name.clone());
    if let Some(name) = asked.bad_name() {
        let text = format!("--tls-name '{}': no certificate can have this name", printable(name.as_bytes()));
        return Err(LocalError::new(Kind::Usage, Stage::Tls, text));
    }
    // Opportunistic TLS is for whoever answers, as Postfix' `may` is.
    let of_anybody = TlsOptions::new(Verify::Nothing).identity(asked.identity.clone());
    let (asked, warning) = match start {
        Start::IfOffered => (of_anybody, not_used(options)),
        Start::Required | Start::AtOnce => (asked, None),
    };
    let tls = Tls::new(asked).map_err(|e| unusable(&e))?.with_authorities(options.tls_ca.clone());
    Ok((Some((start, tls)), warning))
}

/// `options` with a copy in memory in place of each file that TLS is to read and that is a FIFO, read within the time
/// limit; and the copies, which last as long as they are kept.
///
/// # Errors
///
/// [`LocalError`] where a FIFO cannot be read to its end in time.
pub fn without_fifos(
    options: &TlsArgs,
    until: Instant,
    stop: &Stop,
) -> Result<(TlsArgs, Vec<fs::File>), LocalError> {
    let (mut options, mut copies) = (options.clone(), Vec::new());
    // Opportunistic TLS reads no authorities.
    let ca = options.tls_ca.as_mut().filter(|_| options.tls != Some(TlsMode::Opportunistic));
    let identity = [options.tls_cert.as_mut(), options.tls_key.as_mut()];
    for file in ca.into_iter().chain(identity.into_iter().flatten()) {
        if !fs::metadata(&*file).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
            continue;
        }
        let copy = copied(file, until, stop).map_err(|e| unreadable(file, &e))?;
        *file = format!("/dev/fd/{}", copy.as_raw_fd()).into();
        copies.push(copy);
    }
    Ok((options, copies))
}

fn copied(path: &Path, until: Instant, stop: &Stop) -> io::Result<fs::File> {
    let octets = wait::read(path, MAX_PEM, until, stop)?;
    let mut copy = system::nameless_file()?;
    copy.write_all(&octets)?;
    copy.rewind()?;
    Ok(copy)
}

fn verify(options: &TlsArgs) -> Result<Verify, LocalError> {
    if let Some(text) = &options.tls_fingerprint {
        let usage = |e| LocalError::new(Kind::Usage, Stage::Tls, format!("--tls-fingerprint: {e}"));
        return Ok(Verify::Pin(text.parse::<Fingerprint>().map_err(usage)?));
    }
    Ok(if options.tls_insecure.is_some() {
        Verify::Nothing
    } else {
        Verify::Chain { ca: options.tls_ca.clone() }
    })
}

fn identity(options: &TlsArgs) -> Result<Option<Identity>, LocalError> {
    match (&options.tls_cert, &options.tls_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(Identity::new(certificate, key))),
        _ => Err(LocalError::new(Kind::Usage, Stage::Tls, "--tls-cert and --tls-key must be given together")),
    }
}

/// What opportunistic TLS makes no use of.
fn not_used(options: &TlsArgs) -> Option<String> {
    let given = [
        ("--tls-ca", options.tls_ca.is_some()),
        ("--tls-name", options.tls_name.is_some()),
        ("--tls-fingerprint", options.tls_fingerprint.is_some()),
    ];
    let given: Vec<&str> = given.iter().filter(|(_, given)| *given).map(|(option, _)| *option).collect();
    let text = format!("--tls opportunistic verifies no certificate: {} is ignored", given.join(", "));
    (!given.is_empty()).then_some(text)
}

/// A file that we may not read is told apart from one that is wrong.
fn unusable(error: &TlsError) -> LocalError {
    if let TlsError::Unreadable { file, error } = error {
        return unreadable(file, error);
    }
    LocalError::new(Kind::Config, Stage::Tls, error)
}

fn unreadable(file: &Path, error: &io::Error) -> LocalError {
    let text = format!("cannot read {}", process::unusable(file, error));
    LocalError::new(process::kind(error, Kind::Config), Stage::Tls, text)
}

/// Options of TLS without TLS are a mistake that would send mail in clear, if they were typed. A configuration may hold
/// them for those who ask for TLS.
fn unused(options: &TlsArgs, settings: &Settings) -> Result<(), LocalError> {
    let given = [
        ("tls-ca", options.tls_ca.is_some()),
        ("tls-cert", options.tls_cert.is_some()),
        ("tls-key", options.tls_key.is_some()),
        ("tls-name", options.tls_name.is_some()),
        ("tls-fingerprint", options.tls_fingerprint.is_some()),
        ("tls-insecure", options.tls_insecure.is_some()),
    ];
    let typed = given.iter().any(|(option, given)| *given && settings.origin(option).is_none());
    if typed && options.tls.is_none() {
        let text = "TLS options need --tls: give --tls starttls, implicit, opportunistic or off";
        return Err(LocalError::new(Kind::Usage, Stage::Tls, text));
    }
    Ok(())
}

/// Who we are to the server, if that is to be said; and what is worth a warning.
///
/// # Errors
///
/// [`LocalError`] where there is no password, or it cannot be read.
pub fn credentials(
    options: &AuthenticationArgs,
    until: Instant,
    stop: &Stop,
) -> Result<(Option<Credentials>, Option<String>), LocalError> {
    let mechanism = options.auth.map(MechanismName::mechanism);
    let user = options.user.clone().unwrap_or_default();
    if mechanism.is_some_and(|mechanism| !mechanism.needs_password()) {
        let password = Secret::from(Vec::new());
        return Ok((
            Some(Credentials { user, password, mechanism, insecure: options.auth_insecure.is_some() }),
            None,
        ));
    }
    if options.user.is_none() {
        let given = [
            ("--password-file", options.password_file.is_some()),
            ("--password-command", options.password_command.is_some()),
            ("--auth", mechanism.is_some()),
        ];
        return match given.iter().find(|(_, given)| *given) {
            None => Ok((None, None)),
            Some((option, _)) => {
                Err(LocalError::new(Kind::Usage, Stage::Auth, format!("{option} needs --user")))
            }
        };
    }
    let (password, warning) = password(options, until, stop)?;
    Ok((Some(Credentials { user, password, mechanism, insecure: options.auth_insecure.is_some() }), warning))
}

fn password(
    options: &AuthenticationArgs,
    until: Instant,
    stop: &Stop,
) -> Result<(Secret, Option<String>), LocalError> {
    if let Some(path) = &options.password_file {
        let octets = wait::read(path, MAX_PASSWORD, until, stop).map_err(|e| {
            let text = format!("--password-file {}", process::unusable(path, &e));
            LocalError::new(process::kind(&e, Kind::Config), Stage::Auth, text)
        })?;
        return Ok((first_line(octets), readable_by_others(path)));
    }
    if let Some(command) = &options.password_command {
        return Ok((first_line(run(command, until, stop)?), None));
    }
    let password = env::var_os(PASSWORD).ok_or_else(|| {
        config(format!("--user without a password: give --password-file, --password-command or {PASSWORD} in the environment"))
    })?;
    Ok((first_line(password.into_vec()), None))
}

fn config(text: String) -> LocalError {
    LocalError::new(Kind::Config, Stage::Auth, text)
}

/// The first line that `command` prints, waiting no longer than `until`.
fn run(command: &str, until: Instant, stop: &Stop) -> Result<Vec<u8>, LocalError> {
    let failed = |kind, why: &dyn Display| {
        LocalError::new(kind, Stage::Auth, format!("--password-command '{command}': {why}"))
    };
    let split = shell_words::split(command).map_err(|e| failed(Kind::Config, &e))?;
    let (program, arguments) = split.split_first().ok_or_else(|| failed(Kind::Config, &"it is empty"))?;
    let mut child = stop.command(program);
    let _waiting = stop.waiting(|| "waiting for --password-command".to_owned());
    let ran = wait::output(child.args(arguments), Wanted::FirstLine, MAX_PASSWORD, until, stop);
    let (octets, status) = ran.map_err(|e| {
        let is_denied = e.kind() == io::ErrorKind::PermissionDenied && program.contains('/');
        let why = if is_denied { process::denied(Path::new(program)) } else { process::why(&e) };
        failed(process::kind(&e, Kind::Config), &format!("running '{program}': {why}"))
    })?;
    if status.success() { Ok(octets) } else { Err(failed(Kind::Config, &format!("it failed: {status}"))) }
}

fn first_line(mut octets: Vec<u8>) -> Secret {
    let end = octets.iter().position(|b| *b == b'\n').unwrap_or(octets.len());
    let end = if end > 0 && octets.get(end - 1) == Some(&b'\r') { end - 1 } else { end };
    octets.get_mut(end..).unwrap_or_default().fill(0);
    octets.truncate(end);
    octets.into()
}

fn readable_by_others(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o044 != 0)
        .then(|| format!("{}: this password file can be read by others (chmod 600)", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_the_first_line() {
        for (octets, password) in [("a b\nc", "a b"), ("a\r\n", "a"), ("a", "a"), ("\n", ""), ("", "")] {
            assert_eq!(first_line(octets.into()).expose(), password.as_bytes());
        }
    }
}
