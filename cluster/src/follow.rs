//! Whoever follows the cluster (the Services in the kernel, the DNS server, soon Pods' network and policies), and what
//! it is told of a change.
//!
//! ```text
//! State ─> Told ─┬─> come: front ends ─> … ─> names      whoever finds a name finds what stands behind it
//!                └─> go:   names ─> … ─> front ends      and never a name of what is gone
//! ```
//!
//! Followers stand in a row, the one that others build on first. Each change goes down the row once ([`Follower::come`])
//! and up once ([`Follower::go`]). It is told on the thread that read it, one change after another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use crate::object::ObjectName;
use crate::snapshot::Snapshot;
use crate::source::{Asked, Drift, Triggered};

/// What differs from the snapshot before, by name, as some of it has gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Services that changed or went, or whose slices or front ends did.
    pub services: BTreeSet<ObjectName>,
    /// ServiceImports that changed or went, or whose slices did.
    pub imports: BTreeSet<ObjectName>,
    /// Pods.
    pub pods: BTreeSet<ObjectName>,
    /// Namespaces.
    pub namespaces: BTreeSet<ObjectName>,
    /// Nodes.
    pub nodes: BTreeSet<ObjectName>,
    /// NetworkPolicies.
    pub policies: BTreeSet<ObjectName>,
}

/// One change of the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The cluster now.
    pub snapshot: &'a Snapshot,
    /// What differs from the one before; None where all of it may, as the follower or the knowledge is new.
    pub changed: Option<&'a Changed>,
    /// Whether it is what an agent before had written to disk, since the source can't be read.
    pub is_from_disk: bool,
    /// The moment at which the source heard of it; None where it was not a change that was heard of.
    pub read_at: Option<Instant>,
    /// Slices among the changes that say when the change began that made them.
    pub triggered: &'a [Triggered],
}

impl<'a> Told<'a> {
    /// A snapshot of which nothing was told before.
    pub fn whole(snapshot: &'a Snapshot) -> Told<'a> {
        Told { snapshot, changed: None, is_from_disk: false, read_at: None, triggered: &[] }
    }
}

/// Since when the source can't be read, and why.
pub type Away = Option<(Instant, String)>;

/// Follows the cluster.
pub trait Follower: Send + Sync {
    /// Serves what is new, and all that has changed. What goes may still be asked for.
    fn come(&self, told: &Told<'_>);

    /// Takes away what is gone: nobody that stands later in the row leads to it any more.
    fn go(&self, _told: &Told<'_>) {}

    /// The source can't be read since then, or can.
    fn away(&self, _away: &Away) {}

    /// The source has asked an API server something.
    fn asked(&self, _request: &Asked<'_>) {}

    /// The source has found objects otherwise than they were told; it tells them anew.
    fn drifted(&self, _drift: &Drift) {}
}

/// Followers in their row. They stay for as long as the cluster is read.
#[derive(Clone, Default)]
pub struct Row(Vec<Arc<dyn Follower>>);

impl Row {
    /// Adds one at the end: it may build on all that are there.
    pub fn push(&mut self, follower: Arc<dyn Follower>) {
        self.0.push(follower);
    }

    /// All of them, the one that others build on first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Follower>> {
        self.0.iter()
    }

    /// Tells a change: what comes in the order of the row, what goes in the reverse one.
    pub fn tell(&self, told: &Told<'_>) {
        self.0.iter().for_each(|follower| follower.come(told));
        self.0.iter().rev().for_each(|follower| follower.go(told));
    }
}

#[cfg(test)]
mod tests;
