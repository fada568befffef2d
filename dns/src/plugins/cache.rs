//! `cache`: keeps answers for as long as they live.
//!
//! ```text
//! question ─> store ─┬─ hit: the kept bytes, TTLs set to what is left     (the fast way: nothing is allocated)
//!                    └─ miss ─> flight: one question for all that ask the same ─> next plugin ─> judge ─> store
//! ```
//!
//! There is one store for the process, bounded in bytes (`store::LIMIT`); each directive has its share of it, bounded
//! by its CAPACITY. What a hit may be, how long it lives and which flags it shows is as in CoreDNS.
//!
//! Differences: answers made of the cluster's state are never kept, as names of a cluster change by watch and not by
//! TTL; they get the same TTLs as if they were. A zone's transfer passes as it is: CoreDNS sets its TTLs to 5. Options
//! of `disable` hold for refreshed answers too. An answer that came later takes the place of a denial kept before it.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bowline_cluster::span::exact;

use crate::address::Address;
use crate::fast::{Fast, Step};
use crate::plugin::zones::Zones;
use crate::plugin::{Block, Next, Plugin, Query};
use crate::reply::{Body, Outcome, Reply, Serving};
use crate::wire::{Class, Message, Name, Opcode, Rcode, Type};

mod entry;
mod flight;
mod judge;
mod metrics;
mod refresh;
mod settings;
mod setup;
mod store;
#[cfg(test)]
mod tests;

use entry::{Entry, Key, Kind};
use flight::{Landed, Role};
use judge::Judged;
use metrics::Series;
use settings::Settings;
pub use setup::set_up;
use store::{Found, Share, Store};

const NAME: &str = "cache";

struct Cache(Arc<Inner>);

struct Inner {
    settings: Settings,
    zones: Zones,
    store: Arc<Store>,
    share: Arc<Share>,
    metrics: Arc<bowline_observe::metrics::Registry>,
    /// By the address of the server.
    series: OnceLock<Vec<(Address, Series)>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.store.sweep(&self.share);
    }
}

/// A question that is looked up, and what its answer depends on.
struct Asked {
    name: Name,
    rtype: Type,
    class: Class,
    dnssec_ok: bool,
    checking_disabled: bool,
    /// AD: the client understands it (RFC 6840 §5.7).
    authentic: bool,
}

impl Asked {
    fn new(query: &Query) -> Asked {
        Asked {
            name: query.name().to_lower(),
            rtype: query.rtype(),
            class: query.class(),
            dnssec_ok: query.dnssec_ok(),
            checking_disabled: query.flags.cd(),
            authentic: query.flags.ad(),
        }
    }

    fn key<'a>(&'a self, share: &Share) -> Key<'a> {
        let (rtype, class) = (self.rtype, self.class);
        Key {
            share: share.number,
            name: self.name.as_wire(),
            rtype,
            class,
            bits: bits(self.dnssec_ok, self.checking_disabled),
        }
    }
}

fn bits(dnssec_ok: bool, checking_disabled: bool) -> u8 {
    u8::from(dnssec_ok) | u8::from(checking_disabled) << 1
}

/// Whether a question may be looked up at all.
fn is_kept(query: &Query) -> bool {
    query.flags.opcode() == Opcode::QUERY && !matches!(query.rtype(), Type::AXFR | Type::IXFR)
}

impl Plugin for Cache {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serves(&self, block: &Block, at: &[(Address, Name)]) {
        let view = block.config.view.as_ref().map_or("", |view| &view.name);
        let zones: Vec<String> = self.0.zones.names().iter().map(ToString::to_string).collect();
        let mut series: Vec<(Address, Series)> = Vec::new();
        for (address, _) in at {
            if !series.iter().any(|(known, _)| known == address) {
                series.push((*address, Series::new(&self.0.metrics, address, &zones.join(","), view)));
            }
        }
        // Set up once.
        let _ = self.0.series.set(series);
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        if !is_kept(query) || self.0.zones.of(query.name()).is_none() {
            return next.run(query);
        }
        Box::pin(self.0.answer(query, next))
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        let inner = &*self.0;
        if !inner.zones.take(fast) {
            return Step::Pass;
        }
        let Some(series) = fast.server.and_then(|address| inner.series(address)) else { return Step::Slow };
        let plain = fast.plain;
        let dnssec_ok = plain.edns().is_some_and(|(_, dnssec_ok)| dnssec_ok);
        let bits = bits(dnssec_ok, plain.checking_disabled());
        let (share, rtype) = (inner.share.number, plain.rtype());
        let key = Key { share, name: plain.name(), rtype, class: Class::IN, bits };
        // The cluster's zone is excepted in most Corefiles: no memory is touched for it.
        let found = if inner.settings.keeps_nothing(fast) { Found::default() } else { inner.store.find(&key) };
        let now = Instant::now();
        let Some((entry, kind)) = inner.choose(&found, now) else {
            if matches!(rtype, Type::AXFR | Type::IXFR) {
                return Step::Slow;
            }
            // Answers of others are to be kept, which the long way does.
            fast.ttls = Some(inner.settings.watched_ttls());
            return match (fast.count(&series.requests), fast.count(&series.misses)) {
                (Step::Pass, Step::Pass) => Step::Pass,
                _ => Step::Slow,
            };
        };
        let left = entry.left(now);
        if left <= 0 || inner.settings.is_due(entry, now, 1) || (fast.shuffle && !entry.is_shuffled_in_place()) {
            return Step::Slow;
        }
        if fast.count(&series.requests) != Step::Pass || fast.count(series.hits(kind)) != Step::Pass {
            return Step::Slow;
        }
        let shuffle = fast.shuffle;
        let understands = dnssec_ok || fast.packet.get(3).is_some_and(|flags| flags & 0x20 != 0);
        let ttl = if inner.settings.keep_ttl { entry.ttl } else { left as u32 };
        let Some(body) = fast.relay(NAME, entry.flags(understands), &entry.body, entry.counts) else {
            return Step::Slow;
        };
        entry.write_ttls(body, ttl);
        if shuffle {
            entry.shuffle(body);
        }
        if inner.settings.prefetch > 0 {
            entry.asked(inner.settings.prefetch_gap, now);
        }
        Step::Answered
    }

    fn describe(&self) -> String {
        self.0.settings.to_string()
    }
}

impl Inner {
    fn series(&self, address: &Address) -> Option<&Series> {
        let series = self.series.get()?;
        series.iter().find(|(known, _)| known == address).map(|(_, series)| series)
    }

    fn find(&self, asked: &Asked) -> Found {
        self.store.find(&asked.key(&self.share))
    }

    /// What answers of all that is kept for a question, if anything does.
    fn choose<'a>(&self, found: &'a Found, now: Instant) -> Option<(&'a Arc<Entry>, Kind)> {
        let is_live = |entry: &&Arc<Entry>| {
            let left = entry.left(now);
            left > 0 || -left < self.settings.stale_seconds()
        };
        let success = found.success();
        if self.settings.prefer_positive
            && let Some(entry) = success.and_then(Entry::answering).filter(is_live)
        {
            return Some((entry, Kind::Success));
        }
        let success = success.filter(is_live).map(|entry| (entry, Kind::Success));
        match found.denial().filter(is_live) {
            // A failure that may have passed must not hide what was known before it.
            Some(entry) if entry.rcode() == Rcode::SERVFAIL && success.is_some() => success,
            Some(entry) => Some((entry, Kind::Denial)),
            None => success,
        }
    }

    async fn answer(self: &Arc<Inner>, query: &mut Query, next: Next<'_>) -> Outcome {
        let asked = Asked::new(query);
        let now = Instant::now();
        let found = self.find(&asked);
        let chosen = self.choose(&found, now).map(|(entry, kind)| (entry.clone(), kind));
        drop(found);
        if query.is_dry() {
            query.note(|| match &chosen {
                Some((entry, _)) => format!("has it, for {} more", left(entry, now)),
                None => "does not have it".to_owned(),
            });
            return next.run(query).await;
        }
        let address = *query.server.address();
        let series = self.series(&address);
        if let Some(series) = series {
            series.requests.inc();
            match &chosen {
                Some((_, kind)) => series.hits(*kind).inc(),
                None => series.misses.inc(),
            }
        }
        let Some((entry, _)) = chosen else {
            return self.miss(query, next, &asked).await;
        };
        if entry.left(now) <= 0 {
            if let Some(outcome) = self.refresh_stale(query, next, &asked, &entry, now).await {
                return outcome;
            }
            if let Some(series) = series {
                series.served_stale.inc();
            }
            query.note(|| "answers with what is stale".to_owned());
            let ttl = if self.settings.keep_ttl && self.settings.stale_ttl == 0 {
                entry.ttl
            } else {
                self.settings.stale_ttl
            };
            return Ok(Some(reply(query, &entry, ttl)));
        }
        if self.settings.prefetch > 0 {
            entry.asked(self.settings.prefetch_gap, now);
            if self.settings.is_due(&entry, now, 0) {
                self.refresh_behind(query, next, &asked, &entry, false);
            }
        }
        Ok(Some(self.reply_now(query, &entry, now)))
    }

    /// The answer to a query from what is kept and lives.
    fn reply_now(&self, query: &mut Query, entry: &Entry, now: Instant) -> Reply {
        query.note(|| format!("has it, for {} more", left(entry, now)));
        let ttl = if self.settings.keep_ttl { entry.ttl } else { entry.left(now).max(0) as u32 };
        reply(query, entry, ttl)
    }

    /// Asks the next plugin, or waits for a question that asks it the same.
    async fn miss(self: &Arc<Inner>, query: &mut Query, next: Next<'_>, asked: &Asked) -> Outcome {
        if asked.rtype == Type::HINFO {
            // `loop` must see its probe come round.
            return self.refresh(query, next, asked).await.0;
        }
        match flight::join(&asked.key(&self.share)) {
            Role::First(flight) => {
                let (outcome, is_kept) = self.refresh(query, next, asked).await;
                flight.land(match &outcome {
                    Err(failure) => Landed::Failed(failure.clone()),
                    Ok(_) if is_kept => Landed::Kept,
                    Ok(_) => Landed::Other,
                });
                outcome
            }
            // What a plugin asks on the way to an answer may be what waits for that answer: aliases that lead in a circle.
            Role::Further(_) if query.depth > 0 => self.refresh(query, next, asked).await.0,
            Role::Further(landing) => {
                let landed = landing.await.unwrap_or(Landed::Other);
                if let Landed::Failed(failure) = landed {
                    return Err(failure);
                }
                let now = Instant::now();
                let found = self.find(asked);
                let chosen = self.choose(&found, now).map(|(entry, _)| entry.clone());
                drop(found);
                match chosen {
                    Some(entry) if entry.left(now) > 0 => Ok(Some(self.reply_now(query, &entry, now))),
                    // What can't be kept is asked for by each.
                    _ => self.refresh(query, next, asked).await.0,
                }
            }
        }
    }

    /// Asks the next plugin and keeps its answer; whether it was kept.
    async fn refresh(&self, query: &mut Query, next: Next<'_>, asked: &Asked) -> (Outcome, bool) {
        let outcome = ask_next(query, next).await;
        let Ok(Some(mut reply)) = outcome else { return (outcome, false) };
        let is_kept = self.keep(&mut reply, asked, query.server.address());
        (Ok(Some(reply)), is_kept)
    }

    /// Keeps an answer if it may be, and gives it the TTLs that it is kept with; whether it was kept.
    fn keep(&self, reply: &mut Reply, asked: &Asked, address: &Address) -> bool {
        if reply.further.is_some() {
            return false;
        }
        if reply.is_watched {
            if let Ok(message) = reply.message() {
                self.settings.limit_ttls(message);
            }
            return false;
        }
        let mut encoded = Vec::new();
        let wire = match &mut reply.body {
            Body::Wire(bytes) => bytes,
            Body::Message(message) => {
                let edns = message.edns.take();
                message.write(&mut encoded);
                message.edns = edns;
                &mut encoded
            }
        };
        let Some(judged) = Judged::new(wire) else { return false };
        let ttl = self.settings.ttl(&judged);
        judged.set_ttls(wire, ttl);
        let is_kept = self.put(&judged, wire, ttl, asked, address);
        // A client that does not ask for it does not get it (RFC 6840 §5.8).
        let hides_ad = !asked.dnssec_ok && !asked.authentic;
        match &mut reply.body {
            Body::Wire(bytes) if hides_ad => {
                if let Some(flags) = bytes.get_mut(3) {
                    *flags &= !0x20;
                }
            }
            Body::Wire(_) => {}
            Body::Message(message) => {
                message.records_mut().for_each(|record| record.ttl = ttl);
                if hides_ad {
                    message.flags.set_ad(false);
                }
            }
        }
        is_kept
    }

    fn put(&self, judged: &Judged, wire: &[u8], ttl: u32, asked: &Asked, address: &Address) -> bool {
        let Some(kind) = judged.kept_as() else { return false };
        let series = self.series(address);
        if ttl == 0 {
            return false;
        }
        if !judged.is_for(wire, asked) {
            if let Some(series) = series {
                series.drops.inc();
            }
            return false;
        }
        if self.settings.excepted(kind).of(&asked.name).is_some() {
            return false;
        }
        let Some(mut entry) = Entry::new(judged, wire, ttl, &asked.key(&self.share), self.share.clone(), kind) else {
            return false;
        };
        let is_answering = entry.is_answering;
        if self.settings.prefer_positive && kind == Kind::Success && !is_answering {
            entry.last_good = self.find(asked).success().and_then(Entry::answering).cloned();
        }
        let evicted = self.store.put(Arc::new(entry));
        if kind == Kind::Success && (!self.settings.prefer_positive || is_answering) {
            self.store.remove(&asked.key(&self.share), Kind::Denial);
        }
        if let Some(series) = series {
            series.evictions(kind).add(u64::from(evicted));
            for kind in Kind::ALL {
                series.entries(kind).set(self.share.count(kind) as f64);
            }
        }
        true
    }
}

/// Asks the next plugin, with AD set: the answer is kept for those that want to know too.
async fn ask_next(query: &mut Query, next: Next<'_>) -> Outcome {
    let flags = query.flags;
    query.flags.set_ad(true);
    let outcome = next.run(query).await;
    query.flags = flags;
    outcome
}

/// The answer to a query from an entry, in wire form.
fn reply(query: &Query, entry: &Entry, ttl: u32) -> Reply {
    let mut head = Message { id: query.request.message.id, ..Message::default() };
    head.flags = query.flags;
    head.flags.0 &= 0x0110; // RD and CD.
    head.flags.0 |= 0x8000 | entry.flags(query.dnssec_ok() || query.flags.ad());
    head.questions.push(query.question.clone());
    let mut bytes = Vec::with_capacity(64 + entry.body.len());
    head.write(&mut bytes);
    let start = bytes.len();
    bytes.extend_from_slice(&entry.body);
    entry.write_ttls(&mut bytes[start..], ttl);
    let mut counts = entry.counts;
    // The server makes it the client's; without one it would take the message apart.
    if query.request.message.edns.as_ref().is_some_and(|edns| edns.options.is_empty()) {
        bytes.extend_from_slice(&[0, 0, 41, 0, 0, 0, 0, 0, 0, 0, 0]);
        counts[2] += 1;
    }
    for (at, count) in bytes[6..12].chunks_exact_mut(2).zip(counts) {
        at.copy_from_slice(&count.to_be_bytes());
    }
    Reply::relayed(bytes, NAME)
}

/// How much longer an entry is good.
fn left(entry: &Entry, now: Instant) -> String {
    exact(std::time::Duration::from_secs(u64::try_from(entry.left(now)).unwrap_or_default()))
}
