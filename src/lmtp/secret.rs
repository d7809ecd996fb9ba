//! Passwords, and whatever is made of them.
//!
//! A [`Secret`] cannot be printed, copied or serialised by mistake, and its octets are overwritten when it is
//! dropped. It does not keep the memory from being swapped out, and knows nothing of copies that were made
//! before it got hold of the octets: hand it the buffer that was read into.

use std::fmt;

use zeroize::Zeroizing;

/// Octets that nobody may see: a password, or an answer that contains or proves one.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The octets themselves, for those who compute with them or send them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are no octets at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for Secret {
    fn from(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::from("hunter2".to_owned());
        assert_eq!(secret.expose(), b"hunter2");
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(format!("{:#?}", Some(&secret)), "Some(\n    [redacted],\n)");
    }

    #[test]
    fn ownership_is_taken_without_a_copy_left_behind() {
        let text = "hunter2".to_owned();
        let at = text.as_ptr();
        assert_eq!(Secret::from(text).expose().as_ptr(), at);
    }
}
