//! Fetching anew what is about to expire (`prefetch`), or has (`serve_stale`).

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::entry::Entry;
use super::flight::{self, Landed, Role};
use super::judge::Judged;
use super::settings::Mode;
use super::{Asked, Inner, ask_next};
use crate::caught;
use crate::plugin::{Next, Query};
use crate::reply::{Body, Outcome, Reply};

/// Ends an entry's refresh, also if its task is dropped.
struct Refresh {
    entry: Arc<Entry>,
    recheck: std::time::Duration,
    succeeded: bool,
}

impl Drop for Refresh {
    fn drop(&mut self) {
        self.entry.end_refresh(self.recheck, self.succeeded);
    }
}

impl Inner {
    fn begin(&self, entry: &Arc<Entry>, is_stale: bool) -> Option<Refresh> {
        let recheck = if is_stale { self.settings.recheck } else { Default::default() };
        let begun = entry.begin_refresh(Instant::now());
        begun.then(|| Refresh { entry: entry.clone(), recheck, succeeded: false })
    }

    /// Refreshes what is stale; the outcome, if that is to be answered rather than what is stale.
    pub(super) async fn refresh_stale(
        self: &Arc<Inner>,
        query: &mut Query,
        next: Next<'_>,
        asked: &Asked,
        entry: &Arc<Entry>,
        now: Instant,
    ) -> Option<Outcome> {
        let Mode::Verify(time) = self.settings.mode else {
            self.refresh_behind(query, next, asked, entry, true);
            return None;
        };
        // Without a recheck time every question verifies, or waits for one that does; with one, the others get what is stale.
        let refresh = if self.settings.recheck.is_zero() { None } else { Some(self.begin(entry, true)?) };
        if time.is_zero() {
            let outcome = self.verify_once(query, next, asked).await;
            if let Some(mut refresh) = refresh {
                refresh.succeeded = outcome.is_some();
            }
            return outcome;
        }
        let (done, verified) = oneshot::channel();
        let (inner, behind) = (self.clone(), Behind::new(query, next));
        let (asked, stale) = (again(asked), entry.clone());
        let panics = query.server.services().panics.clone();
        let work = async move {
            let Behind { mut query, block, at } = behind;
            let next = Next { plugins: block.plugins.get(at..).unwrap_or_default() };
            let outcome = inner.verify_once(&mut query, next, &asked).await;
            if let Some(mut refresh) = refresh {
                refresh.succeeded = outcome.is_some();
            }
            inner.inherit(&asked, &stale);
            // The client may have got what is stale.
            let _ = done.send(outcome);
        };
        caught::spawn_local(work, (), panics);
        let outcome = tokio::time::timeout(time, verified).await.ok()?.ok()??;
        let _ = now;
        Some(outcome)
    }

    /// Verifies, or waits for a question that verifies the same.
    async fn verify_once(&self, query: &mut Query, next: Next<'_>, asked: &Asked) -> Option<Outcome> {
        match flight::join(&asked.key(&self.share)) {
            Role::First(flight) => {
                let outcome = self.verify(query, next, asked).await;
                flight.land(if outcome.is_some() { Landed::Kept } else { Landed::Other });
                outcome
            }
            Role::Further(_) if query.depth > 0 => self.verify(query, next, asked).await,
            Role::Further(landing) => {
                let Ok(Landed::Kept) = landing.await else { return None };
                let now = Instant::now();
                let found = self.find(asked);
                let chosen = self.choose(&found, now).map(|(entry, _)| entry.clone());
                drop(found);
                match chosen {
                    Some(entry) if entry.left(now) > 0 => Some(Ok(Some(self.reply_now(query, &entry, now)))),
                    // Verified, but it can't be kept.
                    _ => self.verify(query, next, asked).await,
                }
            }
        }
    }

    /// Asks the next plugin; its answer if it may take the place of what is stale. Only such an answer is kept.
    async fn verify(&self, query: &mut Query, next: Next<'_>, asked: &Asked) -> Option<Outcome> {
        let before = std::mem::replace(&mut query.refreshes, true);
        let outcome = ask_next(query, next).await;
        query.refreshes = before;
        let mut reply = outcome.ok().flatten()?;
        let address = *query.server.address();
        if self.settings.prefer_positive {
            let is_usable = judged(&mut reply, |judged, wire| judged.is_usable() && judged.is_for(wire, asked))?;
            self.keep(&mut reply, asked, &address);
            return is_usable.then_some(Ok(Some(reply)));
        }
        if !judged(&mut reply, |judged, wire| judged.refreshes(wire, asked))? {
            return None;
        }
        self.keep(&mut reply, asked, &address);
        Some(Ok(Some(reply)))
    }

    /// Refreshes an entry behind the answer, one task at a time.
    pub(super) fn refresh_behind(
        self: &Arc<Inner>,
        query: &Query,
        next: Next<'_>,
        asked: &Asked,
        entry: &Arc<Entry>,
        is_stale: bool,
    ) {
        let Some(mut refresh) = self.begin(entry, is_stale) else { return };
        if let Some(series) = self.series(query.server.address()) {
            series.prefetches.inc();
        }
        let behind = Behind::new(query, next);
        let (inner, asked) = (self.clone(), Asked { authentic: true, ..again(asked) });
        let panics = query.server.services().panics.clone();
        let work = async move {
            let Behind { mut query, block, at } = behind;
            let next = Next { plugins: block.plugins.get(at..).unwrap_or_default() };
            refresh.succeeded = if is_stale {
                inner.verify(&mut query, next, &asked).await.is_some()
            } else {
                inner.refresh(&mut query, next, &asked).await.1
            };
            if refresh.succeeded {
                inner.inherit(&asked, &refresh.entry);
            }
        };
        caught::spawn_local(work, (), panics);
    }

    /// What took an entry's place goes on with its count of questions.
    fn inherit(&self, asked: &Asked, before: &Arc<Entry>) {
        let found = self.find(asked);
        if let Some(entry) = found.denial().or(found.success())
            && !Arc::ptr_eq(entry, before)
        {
            entry.inherit(before.hits());
        }
    }
}

fn again(asked: &Asked) -> Asked {
    Asked { name: asked.name.clone(), ..*asked }
}

/// Looks at an answer in wire form; None if it can't be read.
fn judged(reply: &mut Reply, look: impl FnOnce(&Judged, &[u8]) -> bool) -> Option<bool> {
    match &reply.body {
        Body::Wire(wire) => Some(look(&Judged::new(wire)?, wire)),
        Body::Message(message) => {
            let mut wire = Vec::new();
            message.write(&mut wire);
            Some(look(&Judged::new(&wire)?, &wire))
        }
    }
}

/// A query of its own for a task, and where in its block the next plugin stands.
struct Behind {
    query: Query,
    block: Arc<crate::plugin::Block>,
    at: usize,
}

impl Behind {
    fn new(query: &Query, next: Next<'_>) -> Behind {
        let block = query.block.clone();
        let at = block.plugins.len().saturating_sub(next.plugins.len());
        let query = Query {
            request: query.request.clone(),
            question: query.question.clone(),
            edns: query.edns.clone(),
            flags: query.flags,
            zone: query.zone.clone(),
            server: query.server.clone(),
            block: block.clone(),
            metadata: query.metadata.clone(),
            depth: query.depth,
            refreshes: true,
            trace: None,
        };
        Behind { query, block, at }
    }
}
