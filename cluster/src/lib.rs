//! What the cluster is: its objects, one snapshot of them, and what changes.
//!
//! ```text
//! source ─> Update ─> State (defaults, addresses, endpoints) ─> Snapshot + names of what changed
//! ```
//!
//! A [`source::Source`] (they stand in `bowline-sources`) turns what it watches into [`source::Update`]s and hands
//! them to a [`source::Sink`]. A [`state::State`] applies them, does what an API server would have done where there is
//! none, and gives out immutable [`snapshot::Snapshot`]s. What changed is told to
//! [`follow::Follower`]s, in their order. This crate reads nothing and knows nobody: whoever follows
//! the cluster (the dataplane, the DNS server, the plugin for pods) needs no more than this.

pub mod address;
pub mod follow;
pub mod intern;
pub mod label;
pub mod object;
pub mod selector;
pub mod snapshot;
pub mod source;
pub mod span;
pub mod state;
