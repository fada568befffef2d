//! What stands in a slice: the header, and the choices that a scheduler precomputes.

use bowline_ebpf::decide::hash;
use bowline_ebpf::layout::{AFFINITY, BUCKETS_A_BACKEND, Endpoint, HEADER, Header, Pick};

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

/// The most points that all backends together have on the ring: what a change costs is bounded by it.
const MAX_POINTS: usize = 1 << 18;

/// Buckets for a hashed client. Backends stand at many points of a ring and own the arc before each; so
/// one that goes moves its own buckets only, and all nodes agree, since the points depend on addresses.
fn buckets(backends: &[Endpoint], ids: &[u32]) -> Vec<u32> {
    if ids.is_empty() {
        return Vec::new();
    }
    let points_each = (MAX_POINTS / ids.len()).clamp(1, 128);
    let mut ring: Vec<(u32, u32)> = Vec::with_capacity(points_each * ids.len());
    for (backend, id) in backends.iter().zip(ids) {
        let seed = seed(backend);
        let point = |n: usize| hash(seed ^ (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        ring.extend((0..points_each).map(|n| (point(n), *id)));
    }
    ring.sort_unstable();
    // As many as fill a slice with its header, which is a power of two.
    let words = (ids.len() as u32).saturating_mul(BUCKETS_A_BACKEND).next_power_of_two().clamp(256, 1 << 18);
    let count = words - HEADER;
    let mut at = 0;
    (0..count)
        .map(|bucket| {
            let begin = ((u64::from(bucket) << 32) / u64::from(count)) as u32;
            while at < ring.len() && ring[at].0 < begin {
                at += 1;
            }
            ring[at % ring.len()].1
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
