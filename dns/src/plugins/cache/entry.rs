//! An answer that is kept: its bytes behind the question, and where its TTLs stand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::judge::Judged;
use super::store::Share;
use crate::wire::walk::Section;
use crate::wire::{Class, Message, Rcode, Type};

/// What is kept apart, each with a capacity of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Answers and delegations.
    Success,
    /// NXDOMAIN, NODATA and failures.
    Denial,
}

impl Kind {
    pub(super) const ALL: [Kind; 2] = [Kind::Success, Kind::Denial];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Kind::Success => "success",
            Kind::Denial => "denial",
        }
    }
}

/// What an answer is kept under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    /// The directive.
    pub(super) share: u32,
    /// In lower case, in wire form.
    pub(super) name: &'a [u8],
    pub(super) rtype: Type,
    pub(super) class: Class,
    /// DO and CD.
    pub(super) bits: u8,
}

/// How the addresses of an answer may be put in another order in place (`loadbalance`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// There is nothing to shuffle.
    Single,
    /// So many records of so many bytes each, the last of the answer section, with equal owners.
    Run { start: usize, stride: usize, count: usize },
    /// Only the long way can.
    Complex,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) share: Arc<Share>,
    pub(super) kind: Kind,
    name: Box<[u8]>,
    rtype: Type,
    class: Class,
    bits: u8,
    /// RA, AD and the rcode.
    flags: u16,
    /// All records but OPT. Names in it may point into the question, which has the same length for every client.
    pub(super) body: Box<[u8]>,
    pub(super) counts: [u16; 3],
    /// Where TTLs stand in the body.
    ttls: Box<[u16]>,
    order: Order,
    /// How long it lives, in seconds.
    pub(super) ttl: u32,
    stored: Instant,
    /// It has what was asked for.
    pub(super) is_answering: bool,
    /// The last that had, if this one does not (`serve_stale_policy prefer_positive`).
    pub(super) last_good: Option<Arc<Entry>>,
    hits: AtomicU32,
    /// When it was asked for last, in milliseconds since it was stored.
    last_hit: AtomicU64,
    is_refreshed: AtomicBool,
    /// No further refresh before that, in milliseconds since it was stored.
    retry_after: AtomicU64,
}

impl Entry {
    /// Of a message in wire form, TTLs set. None if it is too long.
    pub(super) fn new(
        judged: &Judged,
        wire: &[u8],
        ttl: u32,
        key: &Key<'_>,
        share: Arc<Share>,
        kind: Kind,
    ) -> Option<Entry> {
        let start = judged.body_start;
        // OPT stands last, nearly always: then nothing points behind it.
        let end = match judged.opt {
            None => wire.len(),
            Some(opt) if opt.1 == wire.len() => opt.0,
            Some(_) => {
                let mut message = Message::read(wire).ok()?;
                message.edns = None;
                let mut bytes = Vec::new();
                message.write(&mut bytes);
                let judged = Judged::new(&bytes)?;
                return Entry::new(&judged, &bytes, ttl, key, share, kind);
            }
        };
        let body = wire.get(start..end)?;
        let mut counts = [0u16; 3];
        let mut ttls = Vec::new();
        for record in judged.records.iter().filter(|record| record.rtype != Type::OPT) {
            let section = match record.section {
                Section::Answer => 0,
                Section::Authority => 1,
                Section::Additional => 2,
            };
            counts[section] += 1;
            ttls.push(u16::try_from(record.ttl_at.checked_sub(start)?).ok()?);
        }
        Some(Entry {
            share,
            kind,
            name: key.name.into(),
            rtype: key.rtype,
            class: key.class,
            bits: key.bits,
            flags: u16::from_be_bytes([wire[2], wire[3]]) & 0x00af,
            body: body.into(),
            counts,
            ttls: ttls.into(),
            order: order(judged, wire),
            ttl,
            stored: Instant::now(),
            is_answering: judged.is_answering,
            last_good: None,
            hits: AtomicU32::new(0),
            last_hit: AtomicU64::new(0),
            is_refreshed: AtomicBool::new(false),
            retry_after: AtomicU64::new(0),
        })
    }

    pub(super) fn is(&self, key: &Key<'_>) -> bool {
        let Entry { share, rtype, class, bits, .. } = self;
        (share.number, *rtype, *class, *bits) == (key.share, key.rtype, key.class, key.bits) && *self.name == *key.name
    }

    pub(super) fn key(&self) -> Key<'_> {
        let Entry { share, name, rtype, class, bits, .. } = self;
        Key { share: share.number, name, rtype: *rtype, class: *class, bits: *bits }
    }

    /// Bytes of memory, about.
    pub(super) fn size(&self) -> usize {
        // The allocator rounds each piece up.
        size_of::<Entry>() + 64 + self.name.len() + self.body.len() + 2 * self.ttls.len()
    }

    pub(super) fn rcode(&self) -> Rcode {
        Rcode(self.flags & 15)
    }

    /// Seconds that it still lives; 0 or less: it is stale for so long.
    pub(super) fn left(&self, now: Instant) -> i64 {
        i64::from(self.ttl) - now.saturating_duration_since(self.stored).as_secs() as i64
    }

    /// The flags of an answer made of it; AD for those that understand it. AA is set, as some resolvers of old take no
    /// other answers.
    pub(super) fn flags(&self, understands: bool) -> u16 {
        let flags = 0x0400 | self.flags;
        if understands { flags } else { flags & !0x20 }
    }

    /// It, or the one before it, if that has what was asked for.
    pub(super) fn answering(self: &Arc<Entry>) -> Option<&Arc<Entry>> {
        if self.is_answering { Some(self) } else { self.last_good.as_ref() }
    }

    /// Sets all TTLs of a copy of the body.
    pub(super) fn write_ttls(&self, body: &mut [u8], ttl: u32) {
        for at in &self.ttls {
            let at = usize::from(*at);
            if let Some(place) = body.get_mut(at..at + 4) {
                place.copy_from_slice(&ttl.to_be_bytes());
            }
        }
    }

    pub(super) fn is_shuffled_in_place(&self) -> bool {
        self.order != Order::Complex
    }

    /// Puts the addresses of a copy of the body in random order.
    pub(super) fn shuffle(&self, body: &mut [u8]) {
        let Order::Run { start, stride, count } = self.order else { return };
        let Some(run) = body.get_mut(start..start + stride * count) else { return };
        for n in (1..count).rev() {
            let other = fastrand::usize(..=n);
            if other != n {
                let (front, back) = run.split_at_mut(n * stride);
                front[other * stride..(other + 1) * stride].swap_with_slice(&mut back[..stride]);
            }
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.stored).as_millis() as u64
    }

    /// It was asked for. A gap begins the count anew.
    pub(super) fn asked(&self, gap: Duration, now: Instant) {
        let now = self.millis(now);
        let last = self.last_hit.swap(now, Ordering::Relaxed);
        if now.saturating_sub(last) > gap.as_millis() as u64 {
            self.hits.store(1, Ordering::Relaxed);
        } else {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often it was asked for without a gap.
    pub(super) fn hits(&self) -> u32 {
        self.hits.load(Ordering::Relaxed)
    }

    /// It takes the place of one that was asked for so often.
    pub(super) fn inherit(&self, hits: u32) {
        self.hits.store(hits, Ordering::Relaxed);
    }

    /// Whether it may be refreshed now; then nobody else does until the end.
    pub(super) fn begin_refresh(&self, now: Instant) -> bool {
        self.millis(now) >= self.retry_after.load(Ordering::Acquire) && !self.is_refreshed.swap(true, Ordering::AcqRel)
    }

    /// The end of a refresh; after a failure the next is at least `recheck` away.
    pub(super) fn end_refresh(&self, recheck: Duration, succeeded: bool) {
        let after = if succeeded || recheck.is_zero() { 0 } else { self.millis(Instant::now() + recheck) };
        self.retry_after.store(after, Ordering::Release);
        self.is_refreshed.store(false, Ordering::Release);
    }
}

/// What `loadbalance` has to do with an answer: it puts addresses behind all but MX, and shuffles both.
fn order(judged: &Judged, wire: &[u8]) -> Order {
    let is_moved = |rtype: Type| matches!(rtype, Type::A | Type::AAAA | Type::MX);
    let of = |section: Section| judged.records.iter().filter(move |record| record.section == section);
    if of(Section::Additional).filter(|record| is_moved(record.rtype)).count() > 1 {
        return Order::Complex;
    }
    let answers: Vec<_> = of(Section::Answer).collect();
    let moved = answers.iter().filter(|record| is_moved(record.rtype)).count();
    let tail = &answers[answers.len() - moved..];
    let (Some(first), true) = (tail.first(), moved < answers.len() || moved > 1) else { return Order::Single };
    let stride = first.data.end - first.name;
    let owner = wire.get(first.name..first.name + 2);
    let is_run = tail.iter().enumerate().all(|(n, record)| {
        record.rtype == first.rtype
            && record.rtype != Type::MX
            && record.name == first.name + n * stride
            && record.data.end - record.name == stride
            && record.ttl_at == record.name + 6
            && wire.get(record.name..record.name + 2) == owner
    });
    // Aliases stand in front as it is; all else may have to move.
    let is_led = answers[..answers.len() - moved].iter().all(|record| record.rtype == Type::CNAME);
    match (is_run && is_led, moved) {
        (true, 0 | 1) => Order::Single,
        (true, count) => Order::Run { start: first.name - judged.body_start, stride, count },
        (false, _) => Order::Complex,
    }
}
