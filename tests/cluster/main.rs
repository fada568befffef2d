//! Bowline in a real Kubernetes of two nodes, in the place of kube-proxy: Services, probes, the API server's
//! own address; Deployments that change under load; the agent killed and upgraded meanwhile; and in the place of
//! CoreDNS.
//!
//! All tests share one cluster, one at a time. `BOWLINE_TEST_SERVICES=kube-proxy` runs them on kube-proxy
//! instead, `BOWLINE_TEST_DNS=coredns` on CoreDNS, to see which of two is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "../common/resolver.rs"]
mod resolver;

mod agent;
mod basics;
mod dns;
mod ground;
mod load;
mod pods;
mod rollouts;
