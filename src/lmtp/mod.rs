//! LMTP (RFC 2033): addresses, commands, replies, extensions, and the session that puts them in order.
//!
//! Everything here works on octets; time and transport are the caller's, behind [`Transport`].

pub mod content;
pub mod reply;
pub mod stage;
pub mod transport;
pub mod wire;

pub use content::Content;
pub use reply::{EnhancedCode, Reply};
pub use stage::Stage;
pub use transport::{Moved, Transport};
