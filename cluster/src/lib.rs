//! What the cluster is: its objects, one snapshot of them, and the sources they come from.
//!
//! ```text
//! folder ─> parse ─> Change ─┐
//! etcd   ──────────> Change ─┼─> State (defaults, addresses, endpoints) ─> Snapshot + names of what changed
//! k8s    ──────────> Change ─┘
//! ```
//!
//! A [`source::Source`] turns what it watches into [`source::Update`]s and hands them to a
//! [`source::Sink`]. A [`state::State`] applies them, does what an API server would have done where
//! there is none, and gives out immutable [`snapshot::Snapshot`]s. It knows nobody: the dataplane and
//! the DNS server read snapshots.

pub mod address;
pub mod etcd;
pub mod intern;
mod left_out;
pub mod manifest;
pub mod object;
pub mod parse;
pub mod saved;
pub mod snapshot;
pub mod source;
pub mod span;
pub mod state;
pub mod store;
pub mod tls;
