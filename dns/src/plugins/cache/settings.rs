//! What a directive says: how long answers live, and what is done when they no longer do.

use std::fmt;
use std::time::{Duration, Instant};

use bowline_cluster::span::exact;

use super::entry::{Entry, Kind};
use super::judge::Judged;
use crate::fast::Fast;
use crate::plugin::zones::Zones;
use crate::reply::classify;
use crate::wire::Message;

/// Seconds that answers without a TTL of their own live.
const LEAST: u32 = 5;

/// How long answers of a kind live, in seconds, and how many are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) capacity: usize,
    pub(super) most: u32,
    pub(super) least: u32,
}

impl Bounds {
    fn of(&self, ttl: u32) -> u32 {
        ttl.max(self.least).min(self.most)
    }
}

/// When what is stale is refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Behind the answer.
    Immediate,
    /// Before the answer, for at most this long; zero: as long as that takes.
    Verify(Duration),
}

/// A directive's options.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) success: Bounds,
    pub(super) denial: Bounds,
    /// Seconds that failures live.
    pub(super) servfail: u32,
    /// Questions without a gap that make an answer worth fetching before it expires; 0: none is.
    pub(super) prefetch: u32,
    pub(super) prefetch_gap: Duration,
    /// What must be left of an answer's life.
    pub(super) prefetch_percent: u32,
    /// How long answers are used after their life; None: not at all.
    pub(super) stale: Option<Duration>,
    pub(super) mode: Mode,
    /// TTL of stale answers.
    pub(super) stale_ttl: u32,
    /// Between refreshes that fail.
    pub(super) recheck: Duration,
    pub(super) prefer_positive: bool,
    pub(super) keep_ttl: bool,
    /// `disable`, by kind.
    pub(super) excepted: [Zones; 2],
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            success: Bounds { capacity: 10_000, most: 3600, least: LEAST },
            denial: Bounds { capacity: 10_000, most: 1800, least: LEAST },
            servfail: LEAST,
            prefetch: 0,
            prefetch_gap: Duration::from_secs(60),
            prefetch_percent: 10,
            stale: None,
            mode: Mode::Immediate,
            stale_ttl: 0,
            recheck: Duration::ZERO,
            prefer_positive: false,
            keep_ttl: false,
            excepted: Default::default(),
        }
    }
}

impl Settings {
    /// How long an answer lives, in seconds. All its records get this TTL.
    pub(super) fn ttl(&self, judged: &Judged) -> u32 {
        self.bounded(judged.kind, judged.least_ttl)
    }

    fn bounded(&self, kind: classify::Kind, least: Option<u32>) -> u32 {
        use classify::Kind;
        match kind {
            Kind::ServerError => self.servfail,
            Kind::NameError | Kind::NoData => self.denial.of(least.unwrap_or(LEAST)),
            Kind::NoError => self.success.of(least.unwrap_or(LEAST)),
            _ => self.success.of(LEAST),
        }
    }

    /// Gives an answer that is not kept the TTLs of one that is.
    pub(super) fn limit_ttls(&self, message: &mut Message) {
        let kind = classify::Kind::of(Some(message));
        let ttl = self.bounded(kind, message.records().map(|record| record.ttl).min());
        message.records_mut().for_each(|record| record.ttl = ttl);
    }

    /// The TTLs that no bound changes.
    pub(super) fn watched_ttls(&self) -> (u32, u32) {
        (self.success.least.max(self.denial.least), self.success.most.min(self.denial.most))
    }

    /// Where answers of a kind are not kept.
    pub(super) fn excepted(&self, kind: Kind) -> &Zones {
        &self.excepted[kind as usize]
    }

    /// Whether no answer to this question is ever kept.
    pub(super) fn keeps_nothing(&self, fast: &Fast<'_>) -> bool {
        self.excepted.iter().all(|zones| zones.take(fast))
    }

    pub(super) fn stale_seconds(&self) -> i64 {
        self.stale.map_or(0, |stale| stale.as_secs() as i64)
    }

    /// Whether an entry is to be fetched anew before it expires; `more`: questions that it has not counted yet.
    pub(super) fn is_due(&self, entry: &Entry, now: Instant, more: u32) -> bool {
        if self.prefetch == 0 || entry.hits() + more < self.prefetch {
            return false;
        }
        let threshold = (u64::from(self.prefetch_percent) * u64::from(entry.ttl)).div_ceil(100);
        entry.left(now) <= threshold as i64
    }
}

fn seconds(count: u32) -> String {
    exact(Duration::from_secs(count.into()))
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { success, denial, .. } = self;
        write!(
            f,
            "answers for {} to {}, denials for {} to {}",
            seconds(success.least),
            seconds(success.most),
            seconds(denial.least),
            seconds(denial.most)
        )?;
        match self.stale {
            Some(stale) => write!(f, "; stale ones for {} more", exact(stale)),
            None => Ok(()),
        }
    }
}
