//! From a client's options to a session that takes messages: connection, TLS, greeting, LHLO, AUTH.

use std::io;
#[cfg(feature = "tls")]
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::own_name::{self, ADDRESS_LITERAL};
use super::socket::Socket;
use super::timeouts::Clock;
use super::{Error, Timeouts};
#[cfg(feature = "tls")]
use crate::lmtp::Insecure;
use crate::lmtp::auth::Mechanism;
use crate::lmtp::{Cause, Event, Moved, Observer, Secret, Session, SessionError, Stage, Transport};
#[cfg(feature = "tls")]
use crate::tls::{Handshake, Secured, Tls};

/// All that a session needs to be opened.
pub(super) struct Options {
    pub(super) server: ServerAddress,
    pub(super) lhlo: Option<String>,
    pub(super) timeouts: Timeouts,
    pub(super) login: Option<Login>,
    pub(super) listener: SharedObserver,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<(TlsStart, Tls)>,
}

/// When encryption begins.
#[cfg(feature = "tls")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsStart {
    /// With the first octet.
    AtOnce,
    /// By STARTTLS (RFC 3207), without which there is no session.
    Starttls,
}

type Listening = dyn FnMut(Event<'_>) + Send;

/// Whoever listens to the sessions of a client, one after the other.
#[derive(Clone, Default)]
pub(super) struct SharedObserver(pub(super) Option<Arc<Mutex<Listening>>>);

impl Observer for SharedObserver {
    fn observe(&mut self, event: Event<'_>) {
        if let Some(listener) = &self.0 {
            listener.lock().unwrap_or_else(PoisonError::into_inner)(event);
        }
    }
}

/// Where the server is.
pub(super) enum ServerAddress {
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
        !matches!(self.server, ServerAddress::Given { .. })
    }

    /// Whether others could overhear what is said.
    fn is_clear(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return false;
        }
        matches!(self.server, ServerAddress::Tcp(..))
    }

    /// The host that the server's certificate is to be for, if nothing else is said.
    #[cfg(feature = "tls")]
    fn host(&self) -> &str {
        if let ServerAddress::Tcp(host, _) = &self.server { host } else { "localhost" }
    }

    /// Whether nothing is read from the connection while it is written to.
    pub(super) fn is_blocking(&self) -> bool {
        matches!(self.server, ServerAddress::Given { blocking: true, .. })
    }
}

/// A connection of any kind.
pub(super) struct ClientTransport {
    ends: Box<dyn Transport + Send>,
    #[cfg(feature = "tls")]
    tls: Option<Handshake>,
}

/// No connection: a handshake has failed.
#[cfg(feature = "tls")]
struct Gone;

#[cfg(feature = "tls")]
impl Transport for Gone {
    fn enter(&mut self, _: Stage) {}

    fn exchange(&mut self, _: &[u8], _: &mut [u8]) -> io::Result<Moved> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn pending(&mut self, _: &mut [u8]) -> io::Result<Moved> {
        Err(io::ErrorKind::NotConnected.into())
    }
}

impl Transport for ClientTransport {
    fn enter(&mut self, stage: Stage) {
        self.ends.enter(stage);
    }

    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        self.ends.exchange(out, input)
    }

    fn offer(&mut self, out: &[u8]) -> io::Result<usize> {
        self.ends.offer(out)
    }

    fn pending(&mut self, input: &mut [u8]) -> io::Result<Moved> {
        self.ends.pending(input)
    }

    #[cfg(feature = "tls")]
    fn secure(&mut self) -> Result<(), Insecure> {
        let nothing = || Insecure::NotVerified("TLS was not asked for".into());
        let (config, name) = self.tls.take().ok_or_else(nothing)?;
        let plain = mem::replace(&mut self.ends, Box::new(Gone));
        self.ends = Box::new(Secured::handshake(plain, &config, name)?);
        Ok(())
    }
}

/// Opens a session.
pub(super) fn open(options: &Options) -> Result<Session<ClientTransport, SharedObserver>, Error> {
    #[cfg_attr(not(feature = "tls"), allow(unused_mut, reason = "it is only encrypted"))]
    let mut link = connect(options)?;
    #[cfg(feature = "tls")]
    let starts = encrypt_at_once(options, &mut link)?;
    let name = options.lhlo.clone().or_else(own_name::host_name).unwrap_or_else(|| ADDRESS_LITERAL.into());
    let mut session = Session::open_observed(link, &name, options.listener.clone())?;
    #[cfg(feature = "tls")]
    if starts == Some(TlsStart::Starttls) {
        session.starttls()?;
    }
    if let Some(login) = &options.login {
        let clear = options.is_clear() && !login.in_clear;
        let done = authenticate(&mut session, login, clear);
        if done.is_err() {
            session.close();
        }
        done?;
    }
    Ok(session)
}

fn connect(options: &Options) -> Result<ClientTransport, Error> {
    let clock = Clock::start(options.timeouts);
    let unreachable = |server: String, error| Error::Unreachable { server, error };
    let ends: Box<dyn Transport + Send> = match &options.server {
        ServerAddress::Tcp(host, port) => {
            let socket = Socket::tcp(host, *port, clock);
            Box::new(socket.map_err(|error| unreachable(format!("{host}:{port}"), error))?)
        }
        ServerAddress::Unix(path) => {
            let socket = Socket::unix(path, clock);
            Box::new(socket.map_err(|error| unreachable(path.display().to_string(), error))?)
        }
        ServerAddress::Given { ends, .. } => {
            ends.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(Error::StreamUsed)?
        }
    };
    Ok(ClientTransport {
        ends,
        #[cfg(feature = "tls")]
        tls: None,
    })
}

/// Makes the connection ready for TLS, and encrypts it where that comes first.
#[cfg(feature = "tls")]
fn encrypt_at_once(options: &Options, link: &mut ClientTransport) -> Result<Option<TlsStart>, Error> {
    let Some((start, tls)) = &options.tls else { return Ok(None) };
    link.tls = Some(tls.for_host(options.host())?);
    if *start == TlsStart::AtOnce {
        link.enter(Stage::Tls);
        link.secure().map_err(|insecure| match insecure {
            Insecure::Lost(error) => SessionError::from_io(Stage::Tls, &error),
            Insecure::NotVerified(why) => {
                SessionError { stage: Stage::Tls, cause: Cause::NotSecure { why, reply: None } }
            }
        })?;
    }
    Ok(Some(*start))
}

/// Authenticates by the mechanism asked for, else by the strongest that is offered and may be used; `clear`:
/// others could overhear a password.
fn authenticate(
    session: &mut Session<ClientTransport, SharedObserver>,
    login: &Login,
    clear: bool,
) -> Result<(), SessionError> {
    let offer = session.extensions().argument("AUTH").map(str::to_owned);
    let Some(offer) = offer else { return Err(impossible("the server does not offer AUTH".into())) };
    let none =
        |_| impossible(format!("this client may use none of the mechanisms that the server offers: {offer}"));
    let chosen = Mechanism::choose(&offer, login.mechanism, !clear).map_err(none)?;
    session.authenticate(chosen, &login.user, &login.password)
}

fn impossible(why: String) -> SessionError {
    SessionError { stage: Stage::Auth, cause: Cause::NotSecure { why, reply: None } }
}
