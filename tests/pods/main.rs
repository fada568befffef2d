//! Pods' network by the real agent and the real plugin, without Kubernetes: nodes are hosts of a lab, containers are network
//! namespaces, and the state is a folder that the nodes share, or an etcd.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod containerd;
mod faults;
mod flannel;
mod ground;
mod libcni;
mod nodes;
mod routers;
