//! Bowline in a real Kubernetes of two nodes, in the place of kube-proxy: Services, probes, the API server's
//! own address, DNS; Deployments that change under load; the agent killed and upgraded meanwhile.
//!
//! All tests share one cluster, one at a time. `BOWLINE_TEST_SERVICES=kube-proxy` runs them on kube-proxy
//! instead, to see which of two is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod agent;
mod basics;
mod ground;
mod load;
mod rollouts;
