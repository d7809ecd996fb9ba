//! The drivers of the fuzz targets: each takes any octets, and panics where something does not hold that is
//! promised of all input.
//!
//! `fuzz/` builds this directory as a library, and has libFuzzer look for such octets; [`seeded`] tries some in
//! every run of the tests.

pub mod address;
pub mod header;
mod octets;
pub mod reply;
#[cfg(test)]
mod seeded;
pub mod session;
pub mod wire;
