//! The connections below a session.

#[allow(dead_code, unused_imports, reason = "nothing starts TLS yet")]
mod tls;
