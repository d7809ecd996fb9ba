//! How an exchange stands on the wire: base64 in lines (RFC 4954 §4).

use data_encoding::{BASE64, BASE64_NOPAD};

use super::AuthError;
use crate::lmtp::Secret;

/// The longest line of an exchange, in octets, its line end included (RFC 4954 §4).
pub const MAX_AUTH_LINE: usize = 12_288;

/// The line that gives up an exchange; the server answers it with 501 (RFC 4954 §4).
pub const CANCEL: &[u8] = b"*";

/// A response as the line to be sent, without its line end.
///
/// # Errors
///
/// [`AuthError::TooLong`] beyond [`MAX_AUTH_LINE`].
pub fn encode(response: &Secret) -> Result<Secret, AuthError> {
    if BASE64.encode_len(response.expose().len()) > MAX_AUTH_LINE - b"\r\n".len() {
        return Err(AuthError::TooLong);
    }
    Ok(BASE64.encode(response.expose()).into())
}

/// What any base64 has in it that holds `password`, wherever in it that stands: a text without these does not
/// tell it.
pub fn stems(password: &Secret) -> impl Iterator<Item = Secret> + '_ {
    // Octets before it move it, and share a character with it.
    [(0, 0), (1, 2), (2, 3)].into_iter().map(|(before, shared)| {
        let octets = Secret::from([&vec![0; before], password.expose()].concat());
        let text = Secret::from(BASE64_NOPAD.encode(octets.expose()));
        let whole = octets.expose().len() * 8 / 6;
        text.expose().get(shared..whole).unwrap_or_default().to_vec().into()
    })
}

/// An initial response as the argument that goes behind the mechanism's name: as [`encode`], but `=` when it
/// is empty, so that it is there at all (RFC 4954 §4).
///
/// # Errors
///
/// As [`encode`].
pub fn encode_initial(response: &Secret) -> Result<Secret, AuthError> {
    if response.is_empty() { Ok(b"=".to_vec().into()) } else { encode(response) }
}

/// The octets of a challenge, which is the text of a 334 reply and may be empty, or of a part of one.
///
/// # Errors
///
/// [`AuthError::NotBase64`] for anything that is not exactly base64 (RFC 4648 §4: padded, without white space
/// or stray bits); [`AuthError::TooLong`] beyond [`MAX_AUTH_LINE`].
pub fn decode(text: &str) -> Result<Vec<u8>, AuthError> {
    if text.len() > MAX_AUTH_LINE {
        return Err(AuthError::TooLong);
    }
    // The crate takes several pieces in a row, each with its padding; that would be two texts for one meaning.
    let one_piece = !text.trim_end_matches('=').contains('=');
    let octets = BASE64.decode(text.as_bytes()).ok().filter(|_| one_piece);
    octets.ok_or(AuthError::NotBase64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        text.to_owned().into()
    }

    #[test]
    fn the_examples_of_rfc_4954() {
        assert_eq!(encode(&secret("test\0test\x001234")).unwrap().expose(), b"dGVzdAB0ZXN0ADEyMzQ=");
        assert_eq!(encode_initial(&secret("")).unwrap().expose(), b"=");
        assert_eq!(encode(&secret("")).unwrap().expose(), b"");
        let challenge = decode("PENCeUxFREJoU0NnbmhNWitOMjNGNndAZWx3b29kLmlubm9zb2Z0LmNvbT4=").unwrap();
        assert_eq!(challenge, b"<CByLEDBhSCgnhMZ+N23F6w@elwood.innosoft.com>");
        assert_eq!(decode("").unwrap(), b"");
    }

    #[test]
    fn only_strict_base64_is_taken() {
        for text in
            ["=", "QQ", "QQ=", "QR==", "Q Q=", " QQ==", "QQ==\n", "QQ==QQ==", "QQ-_", "Username:", "é"]
        {
            assert_eq!(decode(text), Err(AuthError::NotBase64), "{text:?}");
        }
    }

    #[test]
    fn lines_have_a_limit() {
        assert!(encode(&vec![b'x'; 9_213].into()).is_ok());
        assert_eq!(encode(&vec![b'x'; 9_215].into()).err(), Some(AuthError::TooLong));
        assert_eq!(decode(&"QQQQ".repeat(MAX_AUTH_LINE / 4 + 1)), Err(AuthError::TooLong));
    }
}
