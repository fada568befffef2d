//! Where the cluster is read from, and written to.
//!
//! ```text
//! files       a folder of manifests      ─┐
//! etcd        objects below a prefix      ├─> parse ─> Update ─> Sink (bowline-cluster)
//! kubernetes  an API server               │
//! saved       the copy on this disk      ─┘
//!
//! state_ref   which of them, as `--state` says it
//! store       what `bowline apply` does: checks an object and writes it into etcd with what it claims
//! ```
//!
//! Only the agent and the commands know this crate; what they hand on is `bowline-cluster`'s.

mod backoff;
pub mod etcd;
pub mod files;
pub mod kubernetes;
mod left_out;
pub mod manifest;
pub mod parse;
mod remote;
pub mod saved;
pub mod state_ref;
pub mod store;
