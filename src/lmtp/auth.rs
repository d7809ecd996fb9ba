//! AUTH (RFC 4954): the SASL exchanges of a client, as state machines over decoded challenges.
//!
//! An [`Exchange`] is begun for a [`Mechanism`], answers each 334 by [`Exchange::step`], and is asked by
//! [`Exchange::finish`] whether a 235 may be believed: with SCRAM only once the server has proved that it knows
//! the password. All responses are [`Secret`]s, for most contain the password or prove it; [`encode`] and
//! [`decode`] put them into lines. Nothing is sent here, nothing is computed before it is asked for, and nothing
//! decides whether a connection is safe enough for a mechanism that [`is_clear`](Mechanism::is_clear).
//!
//! What is not spoken: channel binding (`-PLUS`), authorization identities other than with EXTERNAL, and additional
//! data in the text of 235, which RFC 4954 §4 forbids: it goes in a 334 that is answered by an empty line.

mod cram_md5;
mod line;
mod mechanism;
#[cfg(feature = "scram")]
mod scram;

use std::fmt;
use std::mem;

use data_encoding::BASE64;

use super::Secret;

pub use line::{CANCEL, MAX_AUTH_LINE, decode, encode, encode_initial, stems};
pub use mechanism::{Mechanism, NoMechanism, UnknownMechanism};

/// One authentication in progress.
#[must_use = "a 235 is to be believed only when `finish` agrees"]
pub struct Exchange<'s> {
    mechanism: Mechanism,
    state: Expected<'s>,
}

/// What the next challenge is expected to ask for.
enum Expected<'s> {
    /// LOGIN: the user, then the password.
    User(&'s str, &'s Secret),
    Password(&'s Secret),
    /// CRAM-MD5: the keyed challenge.
    Digest(&'s str, &'s Secret),
    /// SCRAM: the client's proof.
    #[cfg(feature = "scram")]
    Proof(scram::First<'s>),
    /// SCRAM: nothing; it brings the server's proof.
    #[cfg(feature = "scram")]
    ServerProof(scram::Last),
    /// Nothing; no challenge is expected.
    Done,
    /// Something was wrong: no success counts.
    Failed,
}

impl<'s> Exchange<'s> {
    /// Begins an exchange, and returns the initial response if the mechanism has one. It goes behind AUTH and
    /// the mechanism's name (see [`encode_initial`]), or, when that would make the line longer than 512 octets,
    /// is the answer to an empty challenge (RFC 4954 §4). `nonce` is called for SCRAM alone: [`random_nonce`].
    ///
    /// With EXTERNAL `user` may be empty, else it is the identity to act as; `password` is not looked at.
    ///
    /// # Errors
    ///
    /// [`AuthError::BadUser`] and [`AuthError::BadPassword`] for what the mechanism cannot carry; those of `nonce`.
    pub fn start(
        mechanism: Mechanism,
        user: &'s str,
        password: &'s Secret,
        nonce: impl FnOnce() -> Result<String, AuthError>,
    ) -> Result<(Self, Option<Secret>), AuthError> {
        check(mechanism, user, password)?;
        #[cfg(not(feature = "scram"))]
        let _ = nonce;
        let (state, response) = match mechanism {
            #[cfg(feature = "scram")]
            Mechanism::ScramSha256 => scram(&scram::SHA256, user, password, nonce()?),
            #[cfg(feature = "scram")]
            Mechanism::ScramSha1 => scram(&scram::SHA1, user, password, nonce()?),
            Mechanism::CramMd5 => (Expected::Digest(user, password), None),
            Mechanism::Plain => (Expected::Done, Some(plain(user, password))),
            Mechanism::Login => (Expected::User(user, password), None),
            Mechanism::External => (Expected::Done, Some(user.to_owned().into())),
        };
        Ok((Self { mechanism, state }, response))
    }

    /// The mechanism that was begun.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Answers a challenge. SCRAM's takes up to some seconds of computing, as the server requires.
    ///
    /// # Errors
    ///
    /// Any [`AuthError`] but those of [`Exchange::start`]; the exchange is then over, which the server is told by
    /// [`CANCEL`].
    pub fn step(&mut self, challenge: &[u8]) -> Result<Secret, AuthError> {
        let (next, response) = match mem::replace(&mut self.state, Expected::Failed) {
            // What the prompts say differs from server to server, and means nothing.
            Expected::User(user, password) => (Expected::Password(password), user.to_owned().into()),
            Expected::Password(password) => (Expected::Done, password.expose().to_vec().into()),
            Expected::Digest(user, password) => {
                (Expected::Done, cram_md5::respond(user, password, challenge))
            }
            #[cfg(feature = "scram")]
            Expected::Proof(first) => {
                let (last, response) = first.prove(challenge)?;
                (Expected::ServerProof(last), response)
            }
            #[cfg(feature = "scram")]
            Expected::ServerProof(last) => {
                last.verify(challenge)?;
                (Expected::Done, Vec::new().into())
            }
            Expected::Done | Expected::Failed => return Err(AuthError::Unexpected),
        };
        self.state = next;
        Ok(response)
    }

    /// Whether the server's 235 may be believed.
    ///
    /// # Errors
    ///
    /// [`AuthError::Unproven`] when SCRAM is not at its end: whoever says yes without having proved that it
    /// knows the password is not the server that the password was given for (RFC 5802 §9). The mechanisms
    /// that prove nothing take the server's word at any time.
    pub fn finish(self) -> Result<(), AuthError> {
        match self.state {
            #[cfg(feature = "scram")]
            Expected::Proof(_) | Expected::ServerProof(_) => Err(AuthError::Unproven),
            Expected::Failed => Err(AuthError::Unproven),
            Expected::User(..) | Expected::Password(_) | Expected::Digest(..) | Expected::Done => Ok(()),
        }
    }
}

impl fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// A nonce for SCRAM: 144 bits from the system, printable (RFC 5802 §5.1).
///
/// # Errors
///
/// [`AuthError::NoRandomness`] when the system gives none.
pub fn random_nonce() -> Result<String, AuthError> {
    let mut octets = [0; 18];
    getrandom::fill(&mut octets).map_err(|_| AuthError::NoRandomness)?;
    Ok(BASE64.encode(&octets))
}

/// Why an exchange cannot go on, or its success not be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthError {
    /// The user's name is one that the mechanism cannot carry; why.
    BadUser(&'static str),
    /// The password is one that the mechanism cannot carry; why.
    BadPassword(&'static str),
    /// The system gave no random octets.
    NoRandomness,
    /// A line would be, or is, longer than [`MAX_AUTH_LINE`].
    TooLong,
    /// A challenge, or a part of it, is not base64.
    NotBase64,
    /// A challenge came when none was due.
    Unexpected,
    /// A challenge does not have its mechanism's form; what is wrong.
    Malformed(&'static str),
    /// The server ended the exchange from within it; its words, printable (RFC 5802 §7, `e`).
    Refused(String),
    /// The server demands an extension of SCRAM (RFC 5802 §5.1, `m`); none is known.
    UnknownExtension,
    /// The server's nonce does not begin with ours, or adds nothing to it.
    WrongNonce,
    /// The server demands so few iterations that the password could be found, or so many that it would take
    /// minutes; how many.
    Iterations(String),
    /// The server's proof that it knows the password is wrong.
    WrongProof,
    /// The server said yes before it proved that it knows the password.
    Unproven,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadUser(why) => write!(f, "the user's name {why}"),
            Self::BadPassword(why) => write!(f, "the password {why}"),
            Self::NoRandomness => f.write_str("the system gives no random numbers"),
            Self::TooLong => write!(f, "a line longer than {MAX_AUTH_LINE} octets"),
            Self::NotBase64 => f.write_str("the server's challenge is not base64"),
            Self::Unexpected => f.write_str("the server asks for more after the exchange was complete"),
            Self::Malformed(what) => write!(f, "the server's challenge is malformed: {what}"),
            Self::Refused(error) => write!(f, "the server refused: {error}"),
            Self::UnknownExtension => f.write_str("the server requires an extension that is not supported"),
            Self::WrongNonce => f.write_str("the server's challenge does not belong to this exchange"),
            Self::Iterations(count) => write!(f, "the server requires {count} iterations, which is not safe"),
            Self::WrongProof => f.write_str("the server does not know the password: its proof is wrong"),
            Self::Unproven => f.write_str("the server did not prove that it knows the password"),
        }
    }
}

impl std::error::Error for AuthError {}

/// Begins SCRAM.
#[cfg(feature = "scram")]
fn scram<'s>(
    hash: &'static scram::Hash,
    user: &str,
    password: &'s Secret,
    nonce: String,
) -> (Expected<'s>, Option<Secret>) {
    let (first, response) = scram::First::start(hash, user, password, nonce);
    (Expected::Proof(first), Some(response))
}

/// RFC 4616 §2, without an authorization identity.
fn plain(user: &str, password: &Secret) -> Secret {
    // Made in one piece of memory: growing would leave parts of the password behind.
    [b"", user.as_bytes(), password.expose()].join(&b'\0').into()
}

/// NUL ends a string in PLAIN (RFC 4616 §2) and is forbidden in SCRAM (RFC 5802 §7); both want something.
fn check(mechanism: Mechanism, user: &str, password: &Secret) -> Result<(), AuthError> {
    if user.contains('\0') {
        return Err(AuthError::BadUser("contains a NUL"));
    }
    if !mechanism.needs_password() {
        return Ok(());
    }
    if user.is_empty() {
        return Err(AuthError::BadUser("is empty"));
    }
    if password.is_empty() {
        return Err(AuthError::BadPassword("is empty"));
    }
    let has_nul = password.expose().contains(&b'\0');
    if has_nul { Err(AuthError::BadPassword("contains a NUL")) } else { Ok(()) }
}

#[cfg(test)]
#[cfg(feature = "scram")]
mod tests;
