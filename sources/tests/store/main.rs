//! Writing to a real etcd: objects and their claims, many writers at once, nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod apply;
mod claims;
mod ground;
mod kubernetes;
mod nodes;
