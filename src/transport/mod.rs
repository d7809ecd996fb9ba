//! How octets reach a server: everything that implements [`lmtp_send::lmtp::Transport`].

pub mod sink;
