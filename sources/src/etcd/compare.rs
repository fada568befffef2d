//! What is held, compared with what etcd has: every `--config-sync-period`.
//!
//! A watch of etcd's tells every change in order, or says that it can't. But there are proxies in front of etcds, and
//! faults of both. So from time to time the keys and revisions of all objects are asked for, without their values.
//! What differs may be on its way: only what still does when the watch has passed by, and has been given some time
//! besides, is drift. Then all is listed anew, which mends it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Follower, OBJECTS, answer};
use crate::backoff::chance;
use crate::remote::Difference;
use bowline_cluster::source::Drift;
use bowline_etcd::{Connection, ErrorKind, EtcdError, MAX_MESSAGE, Pages};

/// Comparisons are at least so far apart.
const LEAST: Duration = Duration::from_secs(1);
/// What is on its way has so long to come, after the watch was seen to be further; less where it is compared more often.
const QUIET: Duration = Duration::from_secs(3);
/// So many differences are looked at; where there are more, they are enough to list again.
const MOST: usize = 1000;
/// So many of a kind are named.
const NAMED: usize = 5;

/// When what is held is compared.
pub(super) struct Comparing {
    period: Duration,
    due: Instant,
    /// What differed when it was compared last.
    suspects: Option<Suspects>,
    /// Is not mended by a listing.
    known: Vec<Difference>,
}

struct Suspects {
    /// The listing that they are of.
    listing: u32,
    differences: Vec<Difference>,
    /// Of which revision etcd's objects were.
    revision: i64,
    /// Since when the watch is past that.
    past: Option<Instant>,
}

impl Comparing {
    pub(super) fn every(period: Duration) -> Comparing {
        let period = period.max(LEAST);
        // Not all nodes at the same moment.
        let due = Instant::now() + period.mul_f64(0.5 + chance() / 2.0);
        Comparing { period, due, suspects: None, known: Vec::new() }
    }

    /// At least a second.
    pub(super) fn period(&self) -> Duration {
        self.period
    }
}

impl Follower<'_> {
    /// Compares, if it is time. To be called after each message of a watch: one comes every few seconds.
    ///
    /// # Errors
    /// The watch has lost something: all is to be listed again. Or etcd can't be asked.
    pub(super) async fn compare(&mut self, connection: &Connection) -> Result<(), EtcdError> {
        let now = Instant::now();
        let seen = self.past.seen();
        let Some(suspects) = &mut self.comparing.suspects else {
            if now >= self.comparing.due {
                let period = self.comparing.period;
                self.comparing.due = now + period.mul_f64(0.5 + chance() / 2.0);
                self.comparing.suspects = self.differences(connection).await?;
            }
            return Ok(());
        };
        if seen < suspects.revision || suspects.past.get_or_insert(now).elapsed() < QUIET.min(self.comparing.period) {
            return Ok(());
        }
        let Some(Suspects { listing, mut differences, .. }) = self.comparing.suspects.take() else { return Ok(()) };
        let again = self.differences(connection).await?.filter(|again| again.listing == listing);
        let again = again.map(|again| again.differences).unwrap_or_default();
        differences.retain(|difference| again.contains(difference));
        if differences.is_empty() {
            return Ok(());
        }
        let mut kinds: BTreeMap<&'static str, Vec<&Difference>> = BTreeMap::new();
        for difference in &differences {
            kinds.entry(difference.key.kind.plural()).or_default().push(difference);
        }
        for (kind, found) in kinds {
            let names = found.iter().take(NAMED).map(|difference| difference.key.name.to_string()).collect();
            self.mirror.drifted(&Drift { kind, objects: found.len(), names });
        }
        self.comparing.known.append(&mut differences);
        self.past.forget();
        Err(EtcdError::new(ErrorKind::Compacted, &connection.endpoint, "the watch has lost changes"))
    }

    /// What differs now and is not known to; None if nothing does, or that can't be told.
    async fn differences(&mut self, connection: &Connection) -> Result<Option<Suspects>, EtcdError> {
        let Some(listing) = self.mirror.begin_comparison(OBJECTS) else { return Ok(None) };
        let mut pages = Pages::below(&self.location.keys().objects(), true);
        let mut client = connection.client.kv_client().max_decoding_message_size(MAX_MESSAGE);
        let mut differences = Vec::new();
        while let Some((from, options)) = pages.next() {
            let page = answer(connection, client.get(from, Some(options))).await?;
            pages.read(&page);
            for kv in page.kvs() {
                let Ok(Some(key)) = self.location.keys().read(kv.key()) else { continue };
                let difference = self.mirror.compare(OBJECTS, key, kv.mod_revision().unsigned_abs());
                differences.extend(difference.filter(|_| differences.len() < MOST));
            }
        }
        let room = MOST - differences.len();
        differences.extend(self.mirror.end_comparison(OBJECTS).take(room));
        self.comparing.known.retain(|known| differences.contains(known));
        differences.retain(|difference| !self.comparing.known.contains(difference));
        let revision = pages.revision();
        Ok((!differences.is_empty()).then_some(Suspects { listing, differences, revision, past: None }))
    }
}
