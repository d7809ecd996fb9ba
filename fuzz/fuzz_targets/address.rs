//! See `tests/drivers/address.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lmtp_send_fuzz::address::drive(data));
