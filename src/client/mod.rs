//! The client: sends a message, and returns the outcome for each recipient.
//!
//! ```no_run
//! use lmtp_send::{Client, Envelope};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let envelope = Envelope::parse("me@example.org", "joe@example.net, ann@example.net")?;
//!     let message = "Subject: hello\n\nHello, both.\n";
//!     let outcomes = Client::tcp("mailbox.example.net", 24).send(&envelope, message)?;
//!     for (recipient, outcome) in envelope.recipients().iter().zip(&outcomes) {
//!         println!("{recipient}: {outcome}");
//!     }
//!     Ok(())
//! }
//! ```
//!
//! A [`Client`] holds the server's address and the settings. [`Client::send`] opens a session for one message,
//! [`Client::connect`] one for several. An [`Error`] means that nothing was sent to any recipient. Whatever happens after
//! that is in the [`Outcome`]s, one for each recipient. The client opens further transactions and sessions by itself: for
//! recipients beyond what a server accepts in one transaction, and for those of a session that ended before their turn.
//!
//! Nothing is tried again after a delay, and an uncertain outcome is never tried again within the same call. Both are left to
//! the caller, who knows whether a second copy does harm.

mod connection;
mod data;
mod envelope;
mod opening;
mod outcome;
pub mod own_name;
pub(crate) mod socket;
mod stream;
mod timeouts;

use std::fmt;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

pub use connection::Connection;
pub use data::MailData;
pub use envelope::Envelope;
#[cfg(feature = "header")]
pub use envelope::NoEnvelope;
pub use outcome::{Outcome, Reason};
pub use timeouts::Timeouts;

use crate::lmtp::auth::Mechanism;
use crate::lmtp::{Event, Secret, SessionError, Transport};
#[cfg(feature = "tls")]
use crate::tls::{Tls, TlsError};
#[cfg(feature = "tls")]
use opening::TlsStart;
use opening::{Login, Options, ServerAddress, SharedObserver};
use stream::Blocking;

/// A server's address, and the settings for sessions with it.
///
/// ```no_run
/// use std::time::Duration;
/// use lmtp_send::{Client, Timeouts};
///
/// let mut timeouts = Timeouts::default();
/// timeouts.reply = Duration::from_secs(30);
/// let client = Client::unix("/run/dovecot/lmtp").timeouts(timeouts).lhlo("me.example.org");
/// let mut connection = client.connect()?;
/// # Ok::<(), lmtp_send::client::Error>(())
/// ```
#[must_use = "no connection is opened before `send` or `connect`"]
pub struct Client {
    options: Options,
}

impl Client {
    /// A server on TCP. `host` is a name or an address; the registered port is 24.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::new(ServerAddress::Tcp(host.into(), port))
    }

    /// A server on a Unix-domain socket.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::new(ServerAddress::Unix(path.into()))
    }

    /// A server at the other end of `stream`, such as a pipe or a TLS stream. The stream must block, and only its own time
    /// limits apply. It serves for one session.
    pub fn over(stream: impl Read + Write + Send + 'static) -> Self {
        Self::given(Blocking(stream), true)
    }

    /// A server at the other end of a [`Transport`] of your own, for one session.
    pub fn with_transport(transport: impl Transport + Send + 'static) -> Self {
        Self::given(transport, false)
    }

    fn given(transport: impl Transport + Send + 'static, blocking: bool) -> Self {
        Self::new(ServerAddress::Given { ends: Mutex::new(Some(Box::new(transport))), blocking })
    }

    fn new(server: ServerAddress) -> Self {
        let (timeouts, listener) = (Timeouts::default(), SharedObserver::default());
        Self {
            options: Options {
                server,
                lhlo: None,
                timeouts,
                login: None,
                listener,
                #[cfg(feature = "tls")]
                tls: None,
            },
        }
    }

    /// Sets the time limits. They do not apply to a stream of your own ([`over`](Self::over)).
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.options.timeouts = timeouts;
        self
    }

    /// Sets the name of this host for LHLO; the default is the system's host name.
    pub fn lhlo(mut self, name: impl Into<String>) -> Self {
        self.options.lhlo = Some(name.into());
        self
    }

    /// Authenticates with the strongest mechanism that the server offers. Over TCP without TLS, mechanisms that send the
    /// password itself are not used, unless [`in_clear`](Self::in_clear) allows it.
    pub fn login(mut self, user: impl Into<String>, password: impl Into<Secret>) -> Self {
        let (user, password) = (user.into(), password.into());
        self.options.login = Some(Login { user, password, mechanism: None, in_clear: false });
        self
    }

    /// Authenticates with this mechanism only. Call it after [`login`](Self::login).
    pub fn mechanism(mut self, mechanism: Mechanism) -> Self {
        self.options.login.iter_mut().for_each(|login| login.mechanism = Some(mechanism));
        self
    }

    /// Allows the password to be sent in clear over TCP. Call it after [`login`](Self::login).
    pub fn in_clear(mut self) -> Self {
        self.options.login.iter_mut().for_each(|login| login.in_clear = true);
        self
    }

    /// Encrypts the session by STARTTLS. If the server does not offer it, or it fails, no session is opened.
    ///
    /// ```no_run
    /// use lmtp_send::Client;
    /// use lmtp_send::tls::{Tls, TlsOptions};
    ///
    /// // By default the certificate must be for this host, and signed by an authority that the system trusts.
    /// let tls = Tls::new(TlsOptions::default())?;
    /// let client = Client::tcp("mailbox.example.net", 24).starttls(tls).login("me", "secret".to_owned());
    /// # Ok::<(), lmtp_send::tls::TlsError>(())
    /// ```
    #[cfg(feature = "tls")]
    pub fn starttls(mut self, tls: Tls) -> Self {
        self.options.tls = Some((TlsStart::Starttls, tls));
        self
    }

    /// Encrypts the session from the first octet on.
    #[cfg(feature = "tls")]
    pub fn implicit_tls(mut self, tls: Tls) -> Self {
        self.options.tls = Some((TlsStart::AtOnce, tls));
        self
    }

    /// Calls `listener` with everything that is sent and received. Passwords are shown as `[redacted]`, messages as a number
    /// of octets.
    pub fn observer(mut self, listener: impl FnMut(Event<'_>) + Send + 'static) -> Self {
        self.options.listener = SharedObserver(Some(Arc::new(Mutex::new(listener))));
        self
    }

    /// Opens a session for several messages.
    ///
    /// # Errors
    ///
    /// No session could be opened; nothing was sent.
    pub fn connect(self) -> Result<Connection, Error> {
        Connection::new(Arc::new(self.options))
    }

    /// Sends one message over a session of its own. Returns the outcome for each recipient, in the order of
    /// [`Envelope::recipients`].
    ///
    /// # Errors
    ///
    /// No session could be opened, or there is no recipient or no message; nothing was sent to any recipient.
    pub fn send<'m>(
        self,
        envelope: &Envelope,
        message: impl Into<MailData<'m>>,
    ) -> Result<Vec<Outcome>, Error> {
        let mut connection = self.connect()?;
        let outcomes = connection.deliver(envelope, message.into(), true)?;
        connection.close();
        Ok(outcomes)
    }
}

/// Why nothing was sent to any recipient.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The envelope names no recipient.
    NoRecipients,
    /// The message is empty.
    EmptyMessage,
    /// The server cannot be reached.
    Unreachable {
        /// The server.
        server: String,
        /// What the system says.
        error: io::Error,
    },
    /// The session was refused, or failed, before a message was sent.
    Session(SessionError),
    /// The session over your own stream has ended, and there is no other stream.
    StreamUsed,
    /// No certificate can have the server's name.
    #[cfg(feature = "tls")]
    Tls(TlsError),
}

#[cfg(feature = "tls")]
impl From<TlsError> for Error {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecipients => f.write_str("the envelope names no recipient"),
            Self::EmptyMessage => f.write_str("the message is empty"),
            Self::Unreachable { server, error } => write!(f, "{server}: cannot connect: {error}"),
            Self::Session(error) => write!(f, "{error}"),
            #[cfg(feature = "tls")]
            Self::Tls(error) => write!(f, "{error}"),
            Self::StreamUsed => {
                f.write_str("the session has ended, and its stream serves for one session only")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable { error, .. } => Some(error),
            Self::Session(error) => Some(error),
            #[cfg(feature = "tls")]
            Self::Tls(error) => Some(error),
            Self::NoRecipients | Self::EmptyMessage | Self::StreamUsed => None,
        }
    }
}

#[cfg(test)]
mod tests;
