//! `lmtp-send`: delivers mail by LMTP and tells the truth about every recipient.

#[allow(dead_code, reason = "nothing is connected yet")]
mod transport;

fn main() {}
