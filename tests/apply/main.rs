//! The commands that write to a state in etcd and read it: the real binary, a real etcd.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod apply;
mod delete;
mod diff;
mod example;
mod get;
mod ground;
mod wait;
