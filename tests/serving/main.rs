//! `bowline dns` as a process of its own: what it says, what floods do to it, what it does without its state, and what a
//! reload may ask for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod away;
mod cookies;
#[path = "../../sources/tests/kubernetes/crooked.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared by test programs")]
mod crooked;
mod drift;
mod errors;
mod flood;
mod forged;
mod forwarding;
mod late;
#[path = "../common/libraries.rs"]
mod libraries;
mod outlives;
mod reload;
mod server;
mod upstream;
mod words;
