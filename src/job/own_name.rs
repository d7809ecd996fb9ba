//! Who we are: this host's name, and the user's.

use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lmtp_send::client::own_name::{ADDRESS_LITERAL, domain_name};
use lmtp_send::lmtp::{Address, ReversePath, Stage};

use crate::exit::Kind;
use crate::local_error::LocalError;
use crate::stop::Stop;
use crate::wait::{self, Wanted};

/// The longest answer of getent(1), in octets.
const MAX_ANSWER: usize = 64 * 1024;
/// How long the resolver may take for this host's name: mail goes out without the domain too.
const LOOK_UP: Duration = Duration::from_secs(5);
/// This host's canonical name, once it has been asked for.
static CANONICAL: OnceLock<Option<String>> = OnceLock::new();
/// The name of our uid, once it has been found.
static USER: OnceLock<String> = OnceLock::new();

/// The name for LHLO: the one given, else this host's, else an address literal (RFC 5321 §4.1.4).
///
/// # Errors
///
/// [`LocalError`] where the one given is none.
pub fn lhlo(given: Option<String>, until: Instant, stop: &Stop) -> Result<String, LocalError> {
    let is_name =
        |name: &str| !name.is_empty() && name.len() <= 255 && name.bytes().all(|b| b.is_ascii_graphic());
    match given {
        None => Ok(canonical(until, stop).unwrap_or_else(|| ADDRESS_LITERAL.into())),
        Some(name) if is_name(&name) => Ok(name),
        Some(name) => {
            let text = format!("--lhlo '{}': not a host name", name.escape_debug());
            Err(LocalError::new(Kind::Usage, Stage::Lhlo, text))
        }
    }
}

/// This host's name, where it is a domain name, with the domain that is known by now.
pub fn host_name() -> Option<String> {
    CANONICAL.get().cloned().unwrap_or_else(|| own().map(|name| with_domain(name, &hosts(), |_| None)))
}

/// This host's canonical name, as `hostname -f` has it: where the system's own name has no dot, hosts(5) and then the
/// resolver are asked for one that has. Found out once, before `until`.
fn canonical(until: Instant, stop: &Stop) -> Option<String> {
    let asked = |name: &str| resolved(name, until, stop);
    CANONICAL.get_or_init(|| own().map(|name| with_domain(name, &hosts(), asked))).clone()
}

/// The system's own name, where it is a domain name.
fn own() -> Option<String> {
    hostname::get().ok()?.to_str().and_then(domain_name)
}

fn hosts() -> String {
    std::fs::read("/etc/hosts").map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
}

/// `name`, or its canonical name. Nobody is asked where there is a dot in it already, or `hosts` knows it.
fn with_domain(name: String, hosts: &str, ask: impl FnOnce(&str) -> Option<String>) -> String {
    if name.contains('.') || name == "localhost" {
        return name;
    }
    let lines = hosts.lines().filter_map(|line| line.split('#').next());
    let known = lines.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
    let known = known.filter(|names| names.iter().any(|known| known.eq_ignore_ascii_case(&name)));
    let canonical: Vec<&str> = known.filter_map(|names| names.first().copied()).collect();
    let found = match canonical.as_slice() {
        [] => ask(&name),
        [first, ..] => Some(canonical.iter().find(|name| name.contains('.')).unwrap_or(first).to_string()),
    };
    found.as_deref().and_then(domain_name).filter(|found| found.contains('.')).unwrap_or(name)
}

/// The canonical name that the system's resolver has for `name`, as getent(1) tells it behind the first address.
fn resolved(name: &str, until: Instant, stop: &Stop) -> Option<String> {
    let now = Instant::now();
    let until = now.checked_add(LOOK_UP).map_or(until, |most| most.min(until));
    let mut getent = stop.command("getent");
    let asked = getent.args(["ahosts", name]).stderr(Stdio::null());
    let (answer, _) = wait::output(asked, Wanted::All, MAX_ANSWER, until, stop).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.lines().find_map(|line| line.split_whitespace().nth(2).map(str::to_owned))
}

/// Who runs this, at this host.
///
/// # Errors
///
/// [`LocalError`] where that cannot be found out before `until`; it says what is missing.
pub fn own_address(until: Instant, stop: &Stop) -> Result<ReversePath, LocalError> {
    let user =
        std::env::var("LOGNAME").ok().filter(|name| !name.is_empty()).or_else(|| user_name(until, stop));
    address(user.as_deref(), canonical(until, stop).as_deref()).map_err(|missing| {
        if stop.is_requested() {
            return LocalError::input(Kind::Stopped, "stopped by a signal while the sender was looked up");
        }
        let text = format!(
            "no sender: the header has none in From, Sender or Resent- fields, and {missing}; give --from"
        );
        LocalError::input(Kind::Config, text)
    })
}

/// The address of `user` at `host`, the user in quotes where that is needed: directories have users such as
/// `CORP\joe` and `joe@corp.example`.
fn address(user: Option<&str>, host: Option<&str>) -> Result<ReversePath, &'static str> {
    let user = match (user, host) {
        (Some(user), Some(host)) => format!("{}@{host}", local_part(user)),
        (None, Some(_)) => return Err("this user has no name (LOGNAME, or the name of the uid)"),
        (Some(_), None) => return Err("this host has no domain name (hostname)"),
        (None, None) => {
            return Err(
                "neither this user (LOGNAME, or the name of the uid) nor this host (hostname) has a name",
            );
        }
    };
    ReversePath::parse(&user).map_err(|_| "the name of this user (LOGNAME) cannot be part of an address")
}

/// `user` as a local-part.
fn local_part(user: &str) -> String {
    let plain = Address::parse(user).is_ok_and(|address| address.domain().is_none());
    if plain { user.to_owned() } else { format!("\"{}\"", user.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// The full name of who runs this: of the variable NAME, else of passwd(5).
pub fn full_name() -> Option<String> {
    let given = std::env::var("NAME").ok().filter(|name| !name.is_empty());
    given.or_else(|| full_name_in(&std::fs::read_to_string("/etc/passwd").ok()?))
}

/// What stands before the first comma of the comment; `&` is the user's name with a capital (finger(1)).
fn full_name_in(passwd: &str) -> Option<String> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let mine = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let fields = mine.into_iter().find(|fields| fields.get(2) == Some(&uid.as_str()))?;
    let (user, comment) = (fields.first()?, fields.get(4)?);
    let mut letters = user.chars();
    let capital: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    let name = comment.split(',').next().unwrap_or_default().replace('&', &capital);
    (!name.is_empty()).then_some(name)
}

/// The name of our uid: in passwd(5), else as the system's name services know it.
fn user_name(until: Instant, stop: &Stop) -> Option<String> {
    let known = USER.get().cloned();
    known.or_else(|| looked_up(until, stop).map(|name| USER.get_or_init(|| name).clone()))
}

fn looked_up(until: Instant, stop: &Stop) -> Option<String> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let named = |passwd: &str| {
        let name = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == uid).then(|| name.to_owned())
        });
        name.filter(|name| !name.is_empty())
    };
    std::fs::read_to_string("/etc/passwd").ok().and_then(|passwd| named(&passwd)).or_else(|| {
        let mut getent = stop.command("getent");
        let asked = getent.args(["passwd", &uid]).stderr(Stdio::null());
        let (answer, _) = wait::output(asked, Wanted::All, MAX_ANSWER, until, stop).ok()?;
        named(&String::from_utf8_lossy(&answer))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_domain_gets_that_of_its_canonical_name() {
        let hosts = "127.0.0.1 localhost\n127.0.1.1 mailout.example.net mailout # x\n\
                     ::1 plain\n192.0.2.1 plain\n192.0.2.2 a two\n192.0.2.3 TWO.example.net Two\n";
        for (name, expected) in [
            ("mailout", "mailout.example.net"),
            ("MailOut", "mailout.example.net"),
            ("mailout.x", "mailout.x"),
            ("plain", "plain"),
            ("two", "TWO.example.net"),
            ("localhost", "localhost"),
        ] {
            let asked = |name: &str| panic!("the resolver is asked for {name}");
            assert_eq!(with_domain(name.into(), hosts, asked), expected);
        }
        for (answer, expected) in [
            (Some("other.example.net"), "other.example.net"),
            (Some("other.example.net."), "other.example.net"),
            (Some("other"), "other"),
            (Some("a..b"), "other"),
            (None, "other"),
        ] {
            let ask = |_: &str| answer.map(str::to_owned);
            assert_eq!(with_domain("other".into(), hosts, ask), expected);
        }
    }

    #[test]
    fn a_user_of_a_directory_is_a_local_part_in_quotes() {
        for (user, expected) in [
            ("joe", "joe@x.example"),
            ("joe@corp.example", r#""joe@corp.example"@x.example"#),
            (r"CORP\joe", r#""CORP\\joe"@x.example"#),
            ("joe.", r#""joe."@x.example"#),
            ("joe doe", r#""joe doe"@x.example"#),
            (r#"a"b"#, r#""a\"b"@x.example"#),
            ("MAILER-DAEMON", "MAILER-DAEMON@x.example"),
        ] {
            assert_eq!(address(Some(user), Some("x.example")).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn what_is_missing_for_an_own_address_is_named() {
        for (user, host, expected) in [
            (None, Some("x"), "this user has no name"),
            (Some("joe"), None, "this host has no domain name"),
            (None, None, "neither this user"),
            (Some("a\nb"), Some("x"), "the name of this user"),
        ] {
            let missing = address(user, host).unwrap_err();
            assert!(missing.starts_with(expected), "{missing}");
        }
    }
}
