//! The plugin as runtimes start it: the real program, with real network namespaces, and an agent that the test plays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod agent;
mod away;
mod calls;
mod delegated;
mod loopback;
mod refused;
mod runtime;
