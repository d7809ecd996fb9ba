//! See `tests/drivers/session.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lmtp_send_fuzz::session::drive(data));
