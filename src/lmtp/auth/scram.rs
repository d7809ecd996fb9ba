//! SCRAM (RFC 5802, RFC 7677), the client's half, without channel binding.
//!
//! Three types in a row: [`First`] has sent its nonce, [`Last`] has sent the proof, and what `Last` checks is the
//! server's own proof. Neither can be skipped or used twice.
//!
//! User and password are prepared by SASLprep (RFC 4013). What SASLprep refuses goes as it is, as in
//! PostgreSQL: characters younger than Unicode 3.2 and passwords that are not UTF-8 are in use, servers that do
//! not prepare at all know them, and the others just say no. Only keys in our own hands are overwritten after
//! use; what the hash functions leave on the stack is not.

use std::borrow::Cow;
use std::num::NonZeroU32;

use data_encoding::BASE64;
use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use super::{AuthError, decode};
use crate::lmtp::Secret;
use crate::lmtp::reply::printable;

/// The fewest iterations accepted. RFC 7677 §4 has servers ask for no less; one that asks for 1 could
/// search a word list for the password with next to no work for each try (Cyrus SASL refuses it too).
const MIN_ITERATIONS: u32 = 4_096;
/// The most iterations done, since no time limit can interrupt them: some three seconds on a slow machine.
/// Dovecot and PostgreSQL ask for 4,096; the most that is advised is 1,300,000 (OWASP, for SHA-1).
const MAX_ITERATIONS: u32 = 2_000_000;
/// `n,,`: no channel binding, no authorization identity (RFC 5802 §7, gs2-header).
const GS2_HEADER: &str = "n,,";
/// The longest digest, in octets: SHA-256.
const MAX_DIGEST: usize = 32;

/// The hash functions of one SCRAM mechanism.
pub struct Hash {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

/// SCRAM-SHA-1.
pub static SHA1: Hash = Hash {
    digest: &digest::SHA1_FOR_LEGACY_USE_ONLY,
    hmac: hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
    pbkdf2: pbkdf2::PBKDF2_HMAC_SHA1,
};

/// SCRAM-SHA-256.
pub static SHA256: Hash =
    Hash { digest: &digest::SHA256, hmac: hmac::HMAC_SHA256, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256 };

/// The client's first message was made; the server's first is due.
pub struct First<'s> {
    hash: &'static Hash,
    password: &'s Secret,
    nonce: String,
    /// The client's first message without its gs2-header.
    bare: String,
}

/// The proof was made; the server's is due.
pub struct Last {
    server_key: hmac::Key,
    /// All messages so far, which both proofs are over.
    messages: String,
}

impl<'s> First<'s> {
    /// The exchange for `user`, with the client's first message.
    pub fn start(hash: &'static Hash, user: &str, password: &'s Secret, nonce: String) -> (Self, Secret) {
        let user = prepare(user).replace('=', "=3D").replace(',', "=2C");
        let bare = format!("n={user},r={nonce}");
        let message = format!("{GS2_HEADER}{bare}").into();
        (Self { hash, password, nonce, bare }, message)
    }

    /// Takes the server's first message; returns the client's final one.
    pub fn prove(self, challenge: &[u8]) -> Result<(Last, Secret), AuthError> {
        let text = text_of(challenge)?;
        let server = ServerFirst::parse(text, &self.nonce)?;
        let binding = BASE64.encode(GS2_HEADER.as_bytes());
        let unproven = format!("c={binding},r={}", server.nonce);
        let messages = format!("{},{text},{unproven}", self.bare);
        let (client_key, server_key) = self.keys(&server);
        let stored_key = digest::digest(self.hash.digest, &client_key);
        let mut proof = client_key;
        let signature = hmac::sign(&hmac::Key::new(self.hash.hmac, stored_key.as_ref()), messages.as_bytes());
        proof.iter_mut().zip(signature.as_ref()).for_each(|(octet, other)| *octet ^= other);
        let message = format!("{unproven},p={}", BASE64.encode(&proof)).into();
        Ok((Last { server_key, messages }, message))
    }

    /// ClientKey and ServerKey (RFC 5802 §3).
    fn keys(&self, server: &ServerFirst<'_>) -> (Zeroizing<Vec<u8>>, hmac::Key) {
        let mut salted = Zeroizing::new([0; MAX_DIGEST]);
        let (salted, _) = salted.split_at_mut(self.hash.digest.output_len().min(MAX_DIGEST));
        let password = prepare_password(self.password);
        pbkdf2::derive(self.hash.pbkdf2, server.iterations, &server.salt, &password, salted);
        let salted = hmac::Key::new(self.hash.hmac, salted);
        let client_key = Zeroizing::new(hmac::sign(&salted, b"Client Key").as_ref().to_vec());
        let server_key = hmac::Key::new(self.hash.hmac, hmac::sign(&salted, b"Server Key").as_ref());
        (client_key, server_key)
    }
}

impl Last {
    /// Takes the server's final message; after this it is known to know the password.
    pub fn verify(self, challenge: &[u8]) -> Result<(), AuthError> {
        let text = text_of(challenge)?;
        let mut fields = text.split(',');
        let signature = fields.next().and_then(|field| field.strip_prefix("v="));
        let signature = signature.ok_or(AuthError::Malformed("the server's signature is missing"))?;
        let signature = decode(signature)?;
        extensions(fields)?;
        // In constant time, so that a server learns nothing from how long its guess takes.
        let verified = hmac::verify(&self.server_key, self.messages.as_bytes(), &signature);
        verified.map_err(|_| AuthError::WrongProof)
    }
}

/// The server's first message.
struct ServerFirst<'m> {
    nonce: &'m str,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl<'m> ServerFirst<'m> {
    /// RFC 5802 §7, server-first-message: the attributes' order is fixed, each stands there once.
    fn parse(text: &'m str, our_nonce: &str) -> Result<Self, AuthError> {
        let mut fields = text.split(',');
        let mut attribute = |name: &str| fields.next().and_then(|field| field.strip_prefix(name));
        let nonce = attribute("r=").ok_or(AuthError::Malformed("the nonce is missing"))?;
        let salt = attribute("s=").ok_or(AuthError::Malformed("the salt is missing"))?;
        let count = attribute("i=").ok_or(AuthError::Malformed("the iteration count is missing"))?;
        extensions(fields)?;
        let added = nonce.strip_prefix(our_nonce).ok_or(AuthError::WrongNonce)?;
        if added.is_empty() || !added.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(AuthError::WrongNonce);
        }
        let salt = decode(salt)?;
        if salt.is_empty() {
            return Err(AuthError::Malformed("the salt is empty"));
        }
        Ok(Self { nonce, salt, iterations: iterations(count)? })
    }
}

/// The iteration count, within what is accepted.
fn iterations(count: &str) -> Result<NonZeroU32, AuthError> {
    let plain = count.bytes().all(|octet| octet.is_ascii_digit()) && !count.starts_with('0');
    if !plain || count.is_empty() {
        return Err(AuthError::Malformed("the iteration count is not a number"));
    }
    let number = count.parse().ok().and_then(NonZeroU32::new);
    let accepted = number.filter(|n| (MIN_ITERATIONS..=MAX_ITERATIONS).contains(&n.get()));
    accepted.ok_or_else(|| AuthError::Iterations(count.chars().take(20).collect()))
}

/// The text of a message, unless it is one that ends the exchange: an error, or an extension that must be
/// understood (RFC 5802 §5.1, `e` and `m`).
fn text_of(challenge: &[u8]) -> Result<&str, AuthError> {
    let text = str::from_utf8(challenge).map_err(|_| AuthError::Malformed("it is not UTF-8"))?;
    if let Some(error) = text.strip_prefix("e=") {
        return Err(AuthError::Refused(printable(error.as_bytes())));
    }
    if text.starts_with("m=") { Err(AuthError::UnknownExtension) } else { Ok(text) }
}

/// Optional extensions are ignored, if they are that: `x=value`, none of them an attribute that has its place.
fn extensions<'m>(mut fields: impl Iterator<Item = &'m str>) -> Result<(), AuthError> {
    let is_extension = |field: &str| {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let letter = name.len() == 1 && name.bytes().all(|octet| octet.is_ascii_alphabetic());
        letter && !value.is_empty() && !"aceimnprsv".contains(name)
    };
    let all = fields.all(is_extension);
    if all { Ok(()) } else { Err(AuthError::Malformed("an attribute is out of order or repeated")) }
}

/// `text` after SASLprep, or as it is where SASLprep refuses it.
fn prepare(text: &str) -> Cow<'_, str> {
    stringprep::saslprep(text).unwrap_or(Cow::Borrowed(text))
}

/// As [`prepare`], for octets that may be no text at all.
fn prepare_password(password: &Secret) -> Zeroizing<Vec<u8>> {
    let octets = password.expose();
    let prepared = str::from_utf8(octets).map(|text| prepare(text).into_owned().into_bytes());
    Zeroizing::new(prepared.unwrap_or_else(|_| octets.to_vec()))
}
