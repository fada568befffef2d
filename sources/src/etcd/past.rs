//! What has been taken in of a cluster's past, and whether what answers now has the same past.
//!
//! A revision alone does not tell: the servers may have been started on another folder of data, restored from
//! a backup, or built anew, with the same cluster id and a higher revision than the one that was seen. So the
//! newest change is kept as a *mark*. A watch begins with it, and is of the same past if it brings it again.
//!
//! A cluster of another id, or with a lower revision than was seen, is at first taken for the wrong one: some
//! member that was restored alone, a list of endpoints of two clusters. The others are asked. Where none has
//! the past we know for [`DOUBT`], the next that answers is believed, since it has a quorum, and is listed anew.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use etcd_client::{Event, EventType, KeyValue};

use bowline_etcd::{ErrorKind, EtcdError};

/// How long another cluster than before is not believed.
pub(super) const DOUBT: Duration = Duration::from_secs(10);

/// What has been taken in.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// The cluster's id, and the highest revision that it has shown.
    seen: Option<(u64, i64)>,
    /// The revision up to which everything was taken in: that of the listing, then the one before the newest
    /// change's, of which a part may be missing. Never a notice's: etcd before 3.4.25 and 3.5.8 may send one ahead
    /// of the changes that it claims to follow.
    whole: i64,
    /// Without it everything is to be listed.
    mark: Option<Mark>,
    /// Since when only other pasts have answered.
    doubt: Option<Instant>,
}

/// The newest change that was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) revision: i64,
    pub(super) key: Vec<u8>,
    /// A hash of the value; None if it was deleted.
    value: Option<u64>,
}

impl Mark {
    /// An object as it was listed, or put.
    pub(super) fn put(kv: &KeyValue) -> Mark {
        let mut hasher = DefaultHasher::new();
        kv.value().hash(&mut hasher);
        Mark { revision: kv.mod_revision(), key: kv.key().to_vec(), value: Some(hasher.finish()) }
    }

    /// A change; None for one without content, which etcd does not send.
    pub(super) fn of(event: &Event) -> Option<Mark> {
        let mark = Mark::put(event.kv()?);
        Some(if event.event_type() == EventType::Delete { Mark { value: None, ..mark } } else { mark })
    }
}

/// Where a watch begins.
#[derive(Clone, Debug)]
pub(super) struct From {
    /// The first revision; it was taken in already, so that the watch has something to say.
    pub(super) revision: i64,
    /// What it must bring again to be of the same past; None after a listing.
    pub(super) mark: Option<Mark>,
}

impl From {
    /// Right after everything up to this revision was taken in.
    pub(super) fn after(revision: i64) -> From {
        From { revision, mark: None }
    }

    /// Whether a change of this revision was taken in. One of the mark's may not have been: the connection
    /// may have broken in the middle of a revision.
    pub(super) fn has(&self, revision: i64) -> bool {
        revision < self.revision || (revision == self.revision && self.mark.is_none())
    }
}

/// What a first answer of a watch says of its past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    Another,
    /// The rest of the mark's revision is still to come.
    NotYet,
}

impl Past {
    /// Refuses an endpoint that shows another past than the one we know, by its cluster's id and revision
    /// (of a linearizable read), until there is nothing else to believe.
    pub(super) fn check(&mut self, endpoint: &str, now: (u64, i64), at: Instant) -> Result<(), EtcdError> {
        let Some((id, seen)) = self.seen else { return Ok(()) };
        let (cluster_id, revision) = now;
        if id == cluster_id && revision >= seen {
            self.doubt = None;
            return Ok(());
        }
        let differs = format!(
            "is at revision {revision} of cluster {cluster_id:x}, where revision {seen} of cluster {id:x} was seen before"
        );
        if at.saturating_duration_since(*self.doubt.get_or_insert(at)) < DOUBT {
            let reason =
                format!("{differs}; asking other endpoints first, for {}", bowline_cluster::span::human(DOUBT));
            return Err(EtcdError::new(ErrorKind::Unreachable, endpoint, reason));
        }
        tracing::warn!(%endpoint, "{differs}; no endpoint has that any more, so this is believed and listed anew");
        *self = Past::default();
        Ok(())
    }

    /// Where to go on; None to list.
    pub(super) fn resume(&self) -> Option<From> {
        let mark = self.mark.clone()?;
        Some(From { revision: mark.revision, mark: Some(mark) })
    }

    /// A listing at this revision begins: what is told from now on is of it.
    pub(super) fn listing(&mut self, cluster_id: u64, revision: i64) {
        *self = Past { seen: Some((cluster_id, revision)), ..Past::default() };
    }

    /// It is whole, and this is the newest object in it.
    pub(super) fn listed(&mut self, newest: Option<Mark>) {
        self.mark = newest;
        self.whole = self.seen.map_or(0, |(_, revision)| revision);
    }

    /// A change was taken in.
    pub(super) fn changed(&mut self, mark: Mark) {
        self.shown(mark.revision);
        self.whole = self.whole.max(mark.revision - 1);
        self.mark = Some(mark);
    }

    /// The cluster has shown that it is at this revision.
    pub(super) fn shown(&mut self, revision: i64) {
        if let Some((_, seen)) = &mut self.seen {
            *seen = revision.max(*seen);
        }
    }

    /// The newest revision that the cluster has shown.
    pub(super) fn seen(&self) -> i64 {
        self.seen.map_or(0, |(_, revision)| revision)
    }

    /// The revision up to which everything was taken in.
    pub(super) fn whole(&self) -> i64 {
        self.whole
    }

    /// What was taken in is of no use for what answers now.
    pub(super) fn forget(&mut self) {
        self.mark = None;
    }
}

/// Whether these changes, which come first, are of the past that has this mark.
pub(super) fn judge(mark: &Mark, changes: impl IntoIterator<Item = Mark>) -> Verdict {
    for change in changes {
        if change == *mark {
            return Verdict::Same;
        }
        if change.revision != mark.revision || change.key == mark.key {
            return Verdict::Another;
        }
    }
    Verdict::NotYet
}

#[cfg(test)]
mod tests;
