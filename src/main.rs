//! `lmtp-send`: delivers mail by LMTP and tells the truth about every recipient.

#[allow(dead_code, unused_imports, reason = "nothing is made of the arguments yet")]
mod cli;

fn main() {}
