//! The records of one set of options, kept up to date while anybody uses them.

use std::sync::{Arc, Mutex, Once, PoisonError};

use arc_swap::ArcSwap;
use bowline_cluster::snapshot::Snapshot;
use bowline_cluster::state::Applied;

use crate::feed::{Feed, Follower};
use crate::records::{Keeper, Options, Records};

/// Follows the state. Directives with the same options share one, over reloads too.
pub(super) struct Cluster {
    keeper: Mutex<Keeper>,
    published: Arc<ArcSwap<Records>>,
    begun: Once,
}

impl Cluster {
    pub(super) fn new(options: Options) -> Cluster {
        let keeper = Keeper::new(options);
        let published = keeper.published().clone();
        Cluster { keeper: Mutex::new(keeper), published, begun: Once::new() }
    }

    /// Begins to follow, unless it does already.
    pub(super) fn follow(cluster: &Arc<Cluster>, feed: &Feed) {
        cluster.begun.call_once(|| {
            let follower: Arc<dyn Follower> = cluster.clone();
            feed.follow(&follower);
        });
    }

    pub(super) fn published(&self) -> &Arc<ArcSwap<Records>> {
        &self.published
    }
}

impl Follower for Cluster {
    fn changed(&self, snapshot: &Snapshot, _: Option<&Applied>) {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner).update(snapshot);
    }
}
