//! What stands in a slice: the header, and the choices that a scheduler precomputes.

use bowline_ebpf::decide::hash;
use bowline_ebpf::layout::{AFFINITY, BUCKETS_A_BACKEND, Endpoint, Header, Pick};

use crate::plan::{PortPlan, pick};

/// The header of a plan's slice.
pub(super) fn header(plan: &PortPlan) -> Header {
    let how = pick(plan.scheduler).unwrap_or(Pick::Turn) as u32;
    Header {
        how: if plan.affinity.is_some() { how | AFFINITY } else { how },
        affinity: plan.affinity.unwrap_or(0),
        backends: plan.backends.len() as u32,
    }
}

/// The choices of a plan whose backends have these ids, in the same order.
pub(super) fn choices(plan: &PortPlan, ids: &[u32]) -> Vec<u32> {
    match pick(plan.scheduler) {
        Some(Pick::Client) => buckets(&plan.backends, ids),
        _ => ids.to_vec(),
    }
}

/// Buckets for a hashed client: each goes to the backend that scores highest in it, so that a backend
/// that goes moves its own buckets only, and all nodes agree (highest random weight).
fn buckets(backends: &[Endpoint], ids: &[u32]) -> Vec<u32> {
    if ids.is_empty() {
        return Vec::new();
    }
    let count = (ids.len() as u32 * BUCKETS_A_BACKEND).next_power_of_two().clamp(256, 1 << 16);
    let seeds: Vec<u64> = backends.iter().map(seed).collect();
    (0..count)
        .map(|bucket| {
            let score = |seed: &u64| hash(seed ^ u64::from(bucket).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let best = seeds.iter().enumerate().max_by_key(|(i, s)| (score(s), *i)).map_or(0, |(i, _)| i);
            ids[best]
        })
        .collect()
}

fn seed(e: &Endpoint) -> u64 {
    // FNV-1a over the bytes of the address and the port.
    let bytes = e.bytes().into_iter().chain(e.port.to_ne_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests;
