//! Medians, percentiles, and how far a median can be trusted.

/// The value below which a share (0 to 1) of the sorted values lies, by the nearest rank; None of none.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).checked_sub(1)?).copied()
}

/// A median with the interval that holds the true one in 95 of 100 cases, whatever the distribution:
/// by order statistics, 0.98 sqrt(n) ranks to both sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Median {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The median of values in any order; None of none.
pub(crate) fn median(values: &[f64]) -> Option<Median> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let n = sorted.len() as f64;
    let low = ((n / 2.0 - 0.98 * n.sqrt()).floor().max(0.0)) as usize;
    let high = ((n / 2.0 + 0.98 * n.sqrt()).ceil() as usize).min(last);
    let value = (sorted[last / 2] + sorted[sorted.len() / 2]) / 2.0;
    Some(Median { value, low: sorted[low], high: sorted[high] })
}

#[cfg(test)]
mod tests;
