//! From a client's options to a session that takes messages: connection, TLS, greeting, LHLO, AUTH.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::socket::Socket;
use super::timeouts::Clock;
use super::{Error, Timeouts};
use crate::lmtp::auth::Mechanism;
use crate::lmtp::{Cause, Event, Moved, Observer, Secret, Session, SessionError, Stage, Transport};

/// All that a session needs to be opened.
pub(super) struct Options {
    pub(super) server: Server,
    pub(super) lhlo: Option<String>,
    pub(super) timeouts: Timeouts,
    pub(super) login: Option<Login>,
    pub(super) listener: Listener,
}

type Listening = dyn FnMut(Event<'_>) + Send;

/// Whoever listens to the sessions of a client, one after the other.
#[derive(Clone, Default)]
pub(super) struct Listener(pub(super) Option<Arc<Mutex<Listening>>>);

impl Observer for Listener {
    fn observe(&mut self, event: Event<'_>) {
        if let Some(listener) = &self.0 {
            listener.lock().unwrap_or_else(PoisonError::into_inner)(event);
        }
    }
}

/// Where the server is.
pub(super) enum Server {
    Tcp(String, u16),
    Unix(PathBuf),
    /// At the other end of a connection of the caller's, once.
    Given {
        ends: Mutex<Option<Box<dyn Transport + Send>>>,
        /// It is not written to and read from at once.
        blocking: bool,
    },
}

/// Who we are for the server.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Secret,
    pub(super) mechanism: Option<Mechanism>,
    pub(super) in_clear: bool,
}

impl Options {
    /// Whether a session can be opened after another.
    pub(super) fn can_reopen(&self) -> bool {
        !matches!(self.server, Server::Given { .. })
    }

    /// Whether nothing is read from the connection while it is written to.
    pub(super) fn is_blocking(&self) -> bool {
        matches!(self.server, Server::Given { blocking: true, .. })
    }
}

/// A connection of any kind.
pub(super) struct Link {
    ends: Box<dyn Transport + Send>,
}

impl Transport for Link {
    fn enter(&mut self, stage: Stage) {
        self.ends.enter(stage);
    }

    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        self.ends.exchange(out, input)
    }

    fn pending(&mut self, input: &mut [u8]) -> io::Result<Moved> {
        self.ends.pending(input)
    }
}

/// Opens a session.
pub(super) fn open(options: &Options) -> Result<Session<Link, Listener>, Error> {
    let link = connect(options)?;
    let name = options.lhlo.clone().unwrap_or_else(own_name);
    let mut session = Session::open_observed(link, &name, options.listener.clone())?;
    if let Some(login) = &options.login {
        let clear = matches!(options.server, Server::Tcp(..)) && !login.in_clear;
        let done = authenticate(&mut session, login, clear);
        if done.is_err() {
            session.close();
        }
        done?;
    }
    Ok(session)
}

fn connect(options: &Options) -> Result<Link, Error> {
    let clock = Clock::start(options.timeouts);
    let unreachable = |server: String, error| Error::Unreachable { server, error };
    let ends: Box<dyn Transport + Send> = match &options.server {
        Server::Tcp(host, port) => {
            let socket = Socket::tcp(host, *port, clock);
            Box::new(socket.map_err(|error| unreachable(format!("{host}:{port}"), error))?)
        }
        Server::Unix(path) => {
            let socket = Socket::unix(path, clock);
            Box::new(socket.map_err(|error| unreachable(path.display().to_string(), error))?)
        }
        Server::Given { ends, .. } => {
            ends.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(Error::StreamUsed)?
        }
    };
    Ok(Link { ends })
}

/// This host's name for LHLO (RFC 2033 §4.1, RFC 5321 §4.1.1.1), as far as it is one.
fn own_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().trim_end_matches('.').to_owned();
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
            && !label.starts_with('-')
    };
    if name.split('.').all(is_label) { name } else { "[127.0.0.1]".to_owned() }
}

/// Authenticates by the mechanism asked for, else by the strongest that is offered and may be used; `clear`:
/// others could overhear a password.
fn authenticate(
    session: &mut Session<Link, Listener>,
    login: &Login,
    clear: bool,
) -> Result<(), SessionError> {
    let offer = session.extensions().argument("AUTH").map(str::to_owned);
    let Some(offer) = offer else { return Err(impossible("the server does not offer AUTH".into())) };
    let may = |mechanism: Mechanism| !clear || !mechanism.is_clear();
    let is_usable = |name: &&str| Mechanism::parse(name).is_some_and(may);
    let usable: Vec<&str> = offer.split_whitespace().filter(is_usable).collect();
    let chosen = match login.mechanism {
        None => Mechanism::strongest(&usable),
        wanted => wanted.filter(|wanted| usable.iter().any(|name| Mechanism::parse(name) == Some(*wanted))),
    };
    let none = || impossible(format!("no mechanism may be used of those that the server offers: {offer}"));
    session.authenticate(chosen.ok_or_else(none)?, &login.user, &login.password)
}

fn impossible(why: String) -> SessionError {
    SessionError { stage: Stage::Auth, cause: Cause::NotSecure { why, reply: None } }
}
