//! What is held, compared with what the server has: every `--config-sync-period`.
//!
//! A watch may lose events, behind a proxy or by a fault of the server's, and nothing tells so. So from time to time
//! the names and versions of all objects are asked for, in pages, and nothing of a page is kept that is as it should
//! be. What differs may be on its way: only what the watch has passed by, or what still differs after it has been
//! quiet for a while, is drift. Then the collection is listed again, which mends it.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep;

use super::connection::{Failure, Link, NAMES, Servers, jitter};
use super::follow::PAGE;
use super::resource::Resource;
use super::wire::Names;
use crate::remote::{Collection, Difference, Mirror, number};
use bowline_cluster::object::{ObjectKey, ObjectName, Str};
use bowline_cluster::source::Drift;

/// Comparisons of one collection are at least so far apart.
const LEAST: Duration = Duration::from_secs(1);
/// A watch that was quiet for so long has nothing more on its way.
const QUIET: Duration = Duration::from_secs(3);
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(250);
/// So many differences are looked at; where there are more, they are enough to list again.
const MOST: usize = 1000;
/// So many are named.
const NAMED: usize = 5;

/// How far the watch of a collection is: what its comparisons know of it, and tell it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The newest revision that it has come to.
    revision: Cell<u64>,
    /// When something came last.
    heard: Cell<Option<Instant>>,
    again: Notify,
}

impl Progress {
    /// Something came.
    pub(super) fn hear(&self) {
        self.heard.set(Some(Instant::now()));
    }

    /// It has come to this version; of a listing anew even if that is lower.
    pub(super) fn reach(&self, version: &str) {
        self.revision.set(number(Some(version)));
    }

    /// Until the collection is to be listed again.
    pub(super) async fn again(&self) {
        self.again.notified().await;
    }
}

/// What a comparison has found.
struct Compared {
    /// The listing that it was compared with.
    listing: u32,
    differences: Vec<Difference>,
    /// Of which revision the server's objects are.
    revision: u64,
}

/// Compares one collection for good.
pub(super) struct Comparer<'m, 's> {
    pub(super) servers: &'m Servers<'m, 's>,
    pub(super) mirror: &'m RefCell<Mirror<'s>>,
    pub(super) c: Collection,
    pub(super) resource: &'m Resource,
    pub(super) progress: &'m Progress,
    pub(super) period: Duration,
    /// Is not mended by a listing: an object that is kept otherwise than it is sent.
    pub(super) known: Vec<Difference>,
}

impl Comparer<'_, '_> {
    /// Never returns.
    pub(super) async fn run(mut self) {
        let period = self.period.max(LEAST);
        loop {
            // Not all nodes at the same moment.
            sleep(period.mul_f64(jitter())).await;
            let Some(link) = self.servers.current().await else { continue };
            if let Err(failure) = self.compare(&link).await {
                // Whether the server can be read, the watch tells.
                tracing::debug!(resource = self.resource.name(), url = %link.url, %failure, "can't compare");
            }
        }
    }

    async fn compare(&mut self, link: &Link) -> Result<(), Failure> {
        let Some(Compared { listing, mut differences, revision }) = self.differences(link).await? else {
            return Ok(());
        };
        self.known.retain(|known| differences.contains(known));
        differences.retain(|difference| !self.known.contains(difference));
        self.settle(listing, &mut differences, revision).await;
        if differences.is_empty() {
            return Ok(());
        }
        // What was gone here before it was gone there: then it is gone there now.
        let Some(again) = self.differences(link).await? else { return Ok(()) };
        differences.retain(|difference| again.listing == listing && again.differences.contains(difference));
        if differences.is_empty() {
            return Ok(());
        }
        let names = differences.iter().take(NAMED).map(|difference| difference.key.name.to_string()).collect();
        let drift = Drift { kind: self.resource.kind.plural(), objects: differences.len(), names };
        self.mirror.borrow().drifted(&drift);
        self.known.append(&mut differences);
        self.progress.again.notify_one();
        Ok(())
    }

    /// What differs now; None where that can't be told, or all is to be listed again anyhow.
    async fn differences(&self, link: &Link) -> Result<Option<Compared>, Failure> {
        let newest = self.servers.newest();
        let Some(listing) = self.mirror.borrow_mut().begin_comparison(self.c) else { return Ok(None) };
        let mut differences = Vec::new();
        let mut next: Option<Box<str>> = None;
        let revision = loop {
            let path = self.resource.page(PAGE, next.as_deref());
            let text = self.servers.get_whole(link, &path, NAMES).await?;
            let page: Names = serde_json::from_slice(&text)
                .map_err(|error| Failure::Broken(format!("sent what is no list: {error}")))?;
            let mut mirror = self.mirror.borrow_mut();
            for item in page.items.into_iter().flatten() {
                let (namespace, name) = (Str::from(&*item.metadata.namespace), Str::from(&*item.metadata.name));
                let key = ObjectKey { kind: self.resource.kind, name: ObjectName { namespace, name } };
                let difference = mirror.compare(self.c, key, number(Some(&item.metadata.resource_version)));
                differences.extend(difference.filter(|_| differences.len() < MOST));
            }
            let before = next.take();
            next = page.metadata.next.filter(|next| !next.is_empty());
            if next.is_none() {
                let room = MOST - differences.len();
                differences.extend(mirror.end_comparison(self.c).take(room));
                break number(Some(&page.metadata.resource_version));
            }
            if next == before {
                return Err(Failure::Broken("sent a page that is followed by itself".to_owned()));
            }
        };
        if revision > 0 && revision < newest {
            self.servers.doubt(link).await;
            return Ok(None);
        }
        Ok(Some(Compared { listing, differences, revision }))
    }

    /// Waits until what differs is not on its way any more, and keeps what still does.
    async fn settle(&self, listing: u32, differences: &mut Vec<Difference>, revision: u64) {
        let began = Instant::now();
        loop {
            let differ = |one: &Difference| self.mirror.borrow().still_differs(self.c, listing, one, revision);
            differences.retain(differ);
            let heard = self.progress.heard.get().map_or(began, |heard| heard.max(began));
            let is_past = revision > 0 && self.progress.revision.get() >= revision;
            if differences.is_empty() || is_past || heard.elapsed() > QUIET {
                return;
            }
            sleep(LOOK).await;
        }
    }
}
