//! LMTP (RFC 2033): addresses, commands, replies, extensions, and the session that puts them in order.
//!
//! Everything here works on octets; time and transport are the caller's, behind [`Transport`].

pub mod auth;
pub mod reply;
pub mod secret;
pub mod stage;
pub mod transport;

pub use reply::{EnhancedCode, Reply};
pub use secret::Secret;
pub use stage::Stage;
pub use transport::{Moved, Transport};
