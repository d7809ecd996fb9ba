//! What is sent.

use std::fmt;

use crate::lmtp::Content;
use crate::lmtp::content::Bytes;
use crate::message::Message;

/// A message: header, empty line and body. Line ends may be LF or CRLF; lines that begin with a dot need no care.
///
/// Octets and text in memory convert into it, and so does a [`Message`] from a file or a pipe, of any length.
pub struct MailData<'a>(Box<dyn Content + 'a>);

impl<'a> MailData<'a> {
    /// A message of another kind.
    #[must_use]
    pub fn new(content: impl Content + 'a) -> Self {
        Self(Box::new(content))
    }

    pub(super) fn content(&mut self) -> &mut dyn Content {
        self.0.as_mut()
    }
}

impl<'a> From<&'a [u8]> for MailData<'a> {
    fn from(octets: &'a [u8]) -> Self {
        Self::new(Bytes::new(octets))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for MailData<'a> {
    fn from(octets: &'a [u8; N]) -> Self {
        octets.as_slice().into()
    }
}

impl<'a> From<&'a Vec<u8>> for MailData<'a> {
    fn from(octets: &'a Vec<u8>) -> Self {
        octets.as_slice().into()
    }
}

impl<'a> From<&'a str> for MailData<'a> {
    fn from(text: &'a str) -> Self {
        text.as_bytes().into()
    }
}

impl<'a> From<&'a String> for MailData<'a> {
    fn from(text: &'a String) -> Self {
        text.as_bytes().into()
    }
}

impl<'a> From<&'a Message> for MailData<'a> {
    fn from(message: &'a Message) -> Self {
        Self::new(message.open())
    }
}

impl fmt::Debug for MailData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailData").field("octets", &self.0.octets()).finish_non_exhaustive()
    }
}
