//! `lmtp-send`: delivers mail by LMTP and tells the truth about every recipient.

mod transport;

fn main() {}
