//! The protocol half of `lmtp-send`: a complete LMTP client session with a reply for every recipient
//! (RFC 2033), the envelope that is read from a message's headers (RFC 5322), and the message itself.
//!
//! Nothing here knows a command line, a socket or a clock; the compiler guards that wall.

pub mod envelope;
pub mod lmtp;
pub mod message;
mod scan;
