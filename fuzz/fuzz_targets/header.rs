//! See `tests/drivers/header.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lmtp_send_fuzz::header::drive(data));
