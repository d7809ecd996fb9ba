//! LMTP (RFC 2033): addresses, commands, replies, extensions, and the session that puts them in order.
//!
//! Everything here works on octets; time and transport are the caller's, behind [`Transport`].

pub mod address;
pub mod auth;
pub mod content;
pub mod extension;
pub mod failure;
pub mod outcome;
pub mod parameter;
pub mod reply;
pub mod secret;
pub mod session;
pub mod stage;
pub mod transport;
pub mod wire;

pub use address::{Address, InvalidAddress, ReversePath, drop_repeated};
pub use content::Content;
pub use extension::{Extensions, Limits};
pub use failure::{Cause, Failure};
pub use outcome::{Fate, Outcome, Settled};
pub use parameter::{InvalidParameter, Parameter};
pub use reply::{EnhancedCode, Malformed, Reply, printable};
pub use secret::Secret;
pub use session::{Event, Go, Session, Transaction};
pub use stage::Stage;
pub use transport::{Insecure, Moved, Transport};
