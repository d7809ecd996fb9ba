//! One integration binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says before how far it got"
)]

mod artefacts;
mod conversations;
mod disasters;
mod drivers;
mod interop;
mod interop_protocol;
mod mail_systems;
mod monitoring;
mod scripted;
mod servers;
