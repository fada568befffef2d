//! deploy/, on real servers: an API server takes every manifest; the permissions are what the agent uses, and
//! no more; and in a real cluster the DaemonSet, on the image of the Containerfile, takes kube-proxy's place
//! under load, is updated and taken away again; and the DNS takes CoreDNS's place, and gives it back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

#[path = "../common/resolver.rs"]
mod resolver;

mod cluster;
mod dns;
mod image;
mod manifests;
mod permissions;
mod pod_network;
