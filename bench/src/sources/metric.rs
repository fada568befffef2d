//! A histogram as programs show it on `/metrics`.

use anyhow::{Context, Result};

/// Network programming latency as Kubernetes defines it: from the change that made an EndpointSlice what
/// it is (its annotation) until the kernel has it. kube-proxy and Bowline show it by the same name.
pub(crate) const LATENCY: &str = "kubeproxy_network_programming_duration_seconds";

/// Counts by upper bound, all label sets together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Histogram {
    /// Upper bound and how many are not above it; the last bound is infinite.
    buckets: Vec<(f64, f64)>,
    sum: f64,
}

impl Histogram {
    /// Reads one from a page of metrics. One with labels isn't there before the first value: it is empty.
    pub(crate) fn parse(page: &str, name: &str) -> Result<Histogram> {
        let mut histogram = Histogram { buckets: Vec::new(), sum: 0.0 };
        for line in page.lines() {
            let Some((series, value)) = line.strip_prefix(name).and_then(|rest| rest.rsplit_once(' ')) else {
                continue;
            };
            let value: f64 = value.parse().with_context(|| line.to_owned())?;
            if series.starts_with("_sum") {
                histogram.sum += value;
            } else if series.starts_with("_bucket") {
                let bound = series.split_once("le=\"").and_then(|(_, rest)| rest.split_once('"'));
                let (bound, _) = bound.with_context(|| line.to_owned())?;
                let bound: f64 = bound.parse().with_context(|| line.to_owned())?;
                match histogram.buckets.iter_mut().find(|bucket| bucket.0 == bound) {
                    Some(bucket) => bucket.1 += value,
                    None => histogram.buckets.push((bound, value)),
                }
            }
        }
        histogram.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(histogram)
    }

    /// What has come since an earlier look.
    pub(crate) fn since(&self, earlier: &Histogram) -> Histogram {
        let before =
            |bound: f64| earlier.buckets.iter().find(|bucket| bucket.0 == bound).map_or(0.0, |bucket| bucket.1);
        let buckets = self.buckets.iter().map(|&(bound, count)| (bound, count - before(bound))).collect();
        Histogram { buckets, sum: self.sum - earlier.sum }
    }

    /// How many.
    pub(crate) fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |bucket| bucket.1)
    }

    /// Their mean, in the metric's unit; None of none.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.count() > 0.0).then(|| self.sum / self.count())
    }

    /// The bound below which a share (0 to 1) certainly lies: buckets say no more. None of none.
    pub(crate) fn bound(&self, share: f64) -> Option<f64> {
        let rank = share * self.count();
        self.buckets.iter().find(|bucket| bucket.1 > 0.0 && bucket.1 >= rank).map(|bucket| bucket.0)
    }
}

#[cfg(test)]
mod tests;
