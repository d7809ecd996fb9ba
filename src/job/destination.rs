//! From what was typed to a destination. What belongs to another option is not looked up as a name, or waited for as
//! a socket that may yet come: it is refused with the option that was meant.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use lmtp_send::io_error::words;
use lmtp_send::lmtp::Stage;

use crate::cli::DestinationArgs;
use crate::exit::Kind;
use crate::local_error::LocalError;
use crate::transport::{Destination, split_host};

/// The port of LMTP (RFC 2033 §5 has none; this is what IANA has assigned).
const LMTP: u16 = 24;
/// Where services have their ports, services(5).
const SERVICES: &str = "/etc/services";
/// What other programs put before the path of a socket.
const SOCKET_PREFIXES: [&str; 5] = ["unix:", "local:", "lmtp:unix:", "lmtp+unix:", "file:"];
/// What other programs put before a host.
const HOST_PREFIXES: [&str; 6] = ["tcp:", "inet:", "lmtp:inet:", "inet6:", "lmtp:", "dns:"];

/// The destinations that the arguments name, of one kind.
///
/// # Errors
///
/// [`LocalError`] where one is none.
pub fn destinations(args: &DestinationArgs) -> Result<Vec<Destination>, LocalError> {
    if let Some(path) = &args.socket {
        return socket(path).map(|path| vec![Destination::Socket(path)]);
    }
    if let Some(dir) = &args.sink {
        return Ok(vec![Destination::Sink(dir.clone())]);
    }
    if let Some(command) = &args.exec {
        let words = shell_words::split(command)
            .map_err(|e| LocalError::new(Kind::Config, Stage::Connect, format!("--exec '{command}': {e}")))?;
        return Ok(vec![Destination::Exec(words)]);
    }
    let default = args.port.as_deref().map_or(Ok(LMTP), |text| port("--port", text))?;
    args.host.iter().map(|text| host(text, default)).collect()
}

fn host(text: &str, default: u16) -> Result<Destination, LocalError> {
    if let Some(meant) = not_a_host(text) {
        return Err(usage(format!("--host '{text}': {meant}")));
    }
    let (name, given) = split_host(text)
        .ok_or_else(|| usage(format!("--host '{text}': expected HOST, HOST:PORT, [IPv6] or [IPv6]:PORT")))?;
    let port = given.map_or(Ok(default), |given| port(&format!("--host '{text}'"), given))?;
    Ok(Destination::Host { name: name.to_owned(), port })
}

fn socket(path: &Path) -> Result<PathBuf, LocalError> {
    let Some(text) = path.to_str() else { return Ok(path.to_owned()) };
    if let Some(path) = prefixed_path(text).filter(|path| path.starts_with('/')) {
        return Ok(path.into());
    }
    match not_a_socket(text) {
        Some(meant) => Err(usage(format!("--socket '{text}': {meant}"))),
        None => Ok(path.to_owned()),
    }
}

/// What `text` is instead of a host, and the option for it.
fn not_a_host(text: &str) -> Option<String> {
    let path = |path: &str| Some(format!("this is the path of a socket; use --socket {path}"));
    if let Some(name) = text.strip_prefix('@').filter(|name| !name.is_empty()) {
        return Some(format!("this is an abstract socket; use --socket @{name}"));
    }
    if let Some(socket) = prefixed_path(text) {
        return path(socket);
    }
    if let Some(host) = prefixed_host(text) {
        return Some(format!("this is not a host name; use {host}"));
    }
    if text.contains('/') {
        return path(text);
    }
    text.contains('@').then(|| format!("this is an address; use --to {text}"))
}

/// What `text` is instead of a socket's path, and the option for it.
fn not_a_socket(text: &str) -> Option<String> {
    if text == "@" {
        return Some("the name of the abstract socket is missing".into());
    }
    if let Some(host) = prefixed_host(text) {
        return Some(format!("this is a host; use {host}"));
    }
    is_host(text)
        .then(|| format!("this is a host; use --host {text}, or --socket ./{text} for a file of that name"))
}

/// Whether `text` is a host, by more than a name that might be a file's.
pub fn is_host(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = split_host(text).is_some_and(|(_, port)| port.is_some_and(is_number));
    bare.parse::<IpAddr>().is_ok() || text == "localhost" || with_port && !text.contains('/')
}

/// The path in `unix:PATH` and what else it is written as; a host may have the name `unix`.
fn prefixed_path(text: &str) -> Option<&str> {
    let path = SOCKET_PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let path = path.strip_prefix("//").unwrap_or(path);
    (!path.is_empty() && !is_number(path)).then_some(path)
}

/// The options for the host in a URL or in `tcp:HOST:PORT`; a host may have the name `lmtp`.
fn prefixed_host(text: &str) -> Option<String> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let host = rest.split('/').next().unwrap_or(rest);
        let tls = matches!(scheme, "lmtps" | "smtps" | "tls" | "ssl" | "https");
        return Some(format!("--host {host}{}", if tls { " --tls implicit" } else { "" }));
    }
    let host = HOST_PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let is_service = !host.contains(['.', ':', '[']);
    (!host.is_empty() && !is_service).then(|| format!("--host {host}"))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The port that `text` is, or that the service of this name has.
fn port(option: &str, text: &str) -> Result<u16, LocalError> {
    if is_number(text) {
        return text
            .parse()
            .ok()
            .filter(|&port| port > 0)
            .ok_or_else(|| usage(format!("{option}: '{text}' is not a port from 1 to 65535")));
    }
    match fs::read(SERVICES) {
        Ok(services) => service(&String::from_utf8_lossy(&services), text).ok_or_else(|| {
            usage(format!("{option}: '{text}' is neither a port nor a service in {SERVICES}"))
        }),
        // Every system has these two, and a small one no file.
        Err(_) if text == "lmtp" => Ok(LMTP),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Err(usage(format!("{option}: '{text}' is not a port, and there is no {SERVICES}")))
        }
        Err(e) => {
            let text = format!("{option}: '{text}' cannot be looked up in {SERVICES}: {}", words(&e));
            Err(LocalError::new(Kind::Config, Stage::Connect, text))
        }
    }
}

/// The port over TCP of the service `name`, by its name or another that it has.
fn service(services: &str, name: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (first, port) = (words.next()?, words.next()?.strip_suffix("/tcp")?);
        (first == name || words.any(|other| other == name)).then(|| port.parse().ok())?
    })
}

fn usage(text: String) -> LocalError {
    LocalError::new(Kind::Usage, Stage::Connect, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_text(found: Result<impl std::fmt::Debug, LocalError>) -> String {
        let error = found.unwrap_err();
        assert_eq!(error.kind, Kind::Usage);
        error.text
    }

    #[test]
    fn what_is_no_host_is_answered_with_the_option_that_was_meant() {
        for (text, meant) in [
            ("/run/x", "--socket /run/x"),
            ("./x", "--socket ./x"),
            ("run/x", "--socket run/x"),
            ("unix:/run/x", "--socket /run/x"),
            ("unix:x", "--socket x"),
            ("unix:///run/x", "--socket /run/x"),
            ("lmtp:unix:private/dovecot-lmtp", "--socket private/dovecot-lmtp"),
            ("local:/run/x", "--socket /run/x"),
            ("@x", "--socket @x"),
            ("lmtp://h", "--host h"),
            ("lmtp://h:2003/", "--host h:2003"),
            ("lmtps://h", "--host h --tls implicit"),
            ("tcp:h:24", "--host h:24"),
            ("inet:mailbox.example.net", "--host mailbox.example.net"),
            ("lmtp:inet:h:24", "--host h:24"),
            ("lmtp:[::1]:24", "--host [::1]:24"),
            ("joe@example.net", "--to joe@example.net"),
        ] {
            let said = error_text(host(text, 24));
            assert!(said.starts_with(&format!("--host '{text}': ")) && said.ends_with(meant), "{said}");
        }
        for text in ["unix", "unix:24", "lmtp:24", "lmtp", "localhost", "[::1]:24", "a_b.example.net", "-x"] {
            assert!(host(text, 24).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_host_given_as_a_socket_is_answered_with_the_option_that_was_meant() {
        for (text, meant) in [
            ("host:24", "--host host:24"),
            ("127.0.0.1", "--host 127.0.0.1"),
            ("[::1]", "--host [::1]"),
            ("[::1]:24", "--host [::1]:24"),
            ("localhost", "--host localhost"),
            ("lmtp://h:24", "--host h:24"),
            ("tcp:h:24", "--host h:24"),
            ("@", "the name of the abstract socket is missing"),
        ] {
            let said = error_text(socket(Path::new(text)));
            assert!(said.starts_with(&format!("--socket '{text}': ")) && said.contains(meant), "{said}");
        }
        for (text, path) in [
            ("/run/a:24", "/run/a:24"),
            ("./host:24", "./host:24"),
            ("lmtp.sock", "lmtp.sock"),
            ("@name", "@name"),
            ("unix:/run/x", "/run/x"),
            ("unix:///run/x", "/run/x"),
        ] {
            assert_eq!(socket(Path::new(text)), Ok(path.into()));
        }
    }

    #[test]
    fn services_have_names() {
        let services = "# comment\ntcpmux 1/tcp\nlmtp 24/udp # not this\nlmtp\t24/tcp  local mail # lmtpd\n";
        for (name, port) in
            [("lmtp", Some(24)), ("mail", Some(24)), ("tcpmux", Some(1)), ("lmtpd", None), ("", None)]
        {
            assert_eq!(service(services, name), port, "{name}");
        }
    }
}
