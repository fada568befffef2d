//! Schedulers against their definitions.
#![allow(clippy::unwrap_used, reason = "a test ends where its ground is missing")]

use super::*;
use crate::plan::endpoint;
use bowline_cluster::object::{Family, Protocol, Scheduler};
use std::collections::HashMap;

fn plan(scheduler: Scheduler, count: u8) -> PortPlan {
    PortPlan {
        port: "".into(),
        protocol: Protocol::Tcp,
        family: Family::V4,
        frontends: Vec::new(),
        backends: (1..=count).map(|n| endpoint([10, 0, 0, n].into(), 80)).collect(),
        scheduler,
        affinity: None,
        stand_in: None,
    }
}

#[test]
fn round_robin_has_each_backend_once() {
    assert_eq!(choices(&plan(Scheduler::Rr, 3), &[7, 8, 9]), [7, 8, 9]);
    assert!(choices(&plan(Scheduler::Sh, 0), &[]).is_empty());
}

#[test]
fn source_hashing_is_even_and_moves_only_what_it_must() {
    let all: Vec<u32> = (1..=10).collect();
    let before = choices(&plan(Scheduler::Sh, 10), &all);
    let mut count: HashMap<u32, usize> = HashMap::new();
    for id in &before {
        *count.entry(*id).or_default() += 1;
    }
    assert_eq!(count.len(), 10);
    for (id, n) in count {
        assert!(n > before.len() / 30 && n < before.len() / 4, "backend {id} has {n} of {} buckets", before.len());
    }
    let many: Vec<u32> = (1..=10_000).collect();
    let mut large = plan(Scheduler::Sh, 0);
    large.backends = many.iter().map(|n| endpoint(std::net::Ipv4Addr::from(0x0a00_0000 + n).into(), 80)).collect();
    let chosen = choices(&large, &many);
    assert_eq!(chosen.len(), (1 << 18) - 4, "bounded for a huge Service, and no word is wasted");
    let distinct: std::collections::HashSet<_> = chosen.into_iter().collect();
    assert_eq!(distinct.len(), 10_000, "each has its share");
    let mut fewer = plan(Scheduler::Sh, 10);
    fewer.backends.remove(4);
    let mut ids = all;
    ids.remove(4);
    let after = choices(&fewer, &ids);
    for (b, a) in before.iter().zip(&after) {
        assert!(a == b || *b == 5, "a bucket of backend {b} moved although only backend 5 went");
    }
}
