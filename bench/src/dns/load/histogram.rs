//! Latencies, counted in buckets that are never wider than 1/128 of their value.

use std::time::Duration;

/// Buckets to each power of two.
const STEPS: u64 = 128;

#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    longest: u64,
}

impl Histogram {
    pub(super) fn new() -> Histogram {
        Histogram { buckets: vec![0; bucket(u64::MAX) + 1], count: 0, longest: 0 }
    }

    pub(super) fn add(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanoseconds)] += 1;
        self.count += 1;
        self.longest = self.longest.max(nanoseconds);
    }

    /// A latency that this share (0 to 1) of all doesn't exceed: the highest of its bucket; 0 of none.
    pub(super) fn percentile(&self, share: f64) -> Duration {
        let rank = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        Duration::from_nanos(at.map_or(0, highest).min(self.longest))
    }
}

/// Values below 128 have a bucket each; above, the first eight bits of a value and its length name the bucket.
fn bucket(value: u64) -> usize {
    let shift = u64::from((u64::BITS - value.leading_zeros()).saturating_sub(8));
    (shift * STEPS + (value >> shift)) as usize
}

/// The highest value of a bucket.
fn highest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / STEPS).saturating_sub(1);
    let low = (bucket - shift * STEPS) << shift;
    low + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_at_most_a_128th_wide() {
        let mut before = 0;
        for value in (0..300).chain((0..56).flat_map(|s| [(129 << s) - 1, 129 << s, (255 << s) + 1])).chain([u64::MAX])
        {
            let highest = highest(bucket(value));
            assert!(highest >= value && highest - value <= value / 128, "{value}: {highest}");
            assert_eq!(bucket(highest), bucket(value));
            assert!(highest == u64::MAX || bucket(highest + 1) == bucket(value) + 1);
            before = before.max(bucket(value));
        }
        assert_eq!(before, bucket(u64::MAX));
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.percentile(0.5), Duration::ZERO);
        for value in 1..=100_000 {
            histogram.add(Duration::from_nanos(value));
        }
        for (share, expected) in [(0.5, 50_000), (0.9, 90_000), (0.999, 99_900), (1.0, 100_000)] {
            let got = histogram.percentile(share).as_nanos() as u64;
            assert!((expected..=expected + expected / 128).contains(&got), "{share}: {got}");
        }
    }
}
