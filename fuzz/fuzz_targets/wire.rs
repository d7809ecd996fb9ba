//! See `tests/drivers/wire.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lmtp_send_fuzz::wire::drive(data));
