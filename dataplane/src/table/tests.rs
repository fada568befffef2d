//! The table on maps of the real kernel (so as root): whatever happened before, the kernel ends as after
//! a fresh start on the final state, and nothing is leaked.
#![allow(clippy::unwrap_used, reason = "a test ends where its ground is missing")]

use super::*;
use crate::kernel::{Folder, Sizes, make_maps};
use crate::migrate::readable;
use crate::place::make_root;
use crate::plan::endpoint;
use crate::records::OURS;
use bowline_cluster::object::Scheduler;
use bowline_sys::Mapped;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of pinned maps that goes with the value.
struct Pins(Folder, Sizes);

impl Pins {
    fn new(sizes: Sizes) -> Pins {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bowline-table-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let root = PathBuf::from(crate::place::BPFFS).join(name);
        make_root(&root).unwrap();
        let folder = Folder(root.join("maps"));
        make_maps(&folder, &sizes).unwrap();
        Pins(folder, sizes)
    }

    fn found(&self) -> Vec<FoundPort> {
        readable(&self.0, OURS).unwrap().read().unwrap()
    }

    /// A table over the maps, as an agent that starts has it.
    fn table(&self) -> Table {
        let found = Found { ports: self.found(), in_place: true };
        let map = |name| self.0.map(name).unwrap();
        let store = Store {
            frontends: map("frontends"),
            names: map("names"),
            services: Mapped::new(map("services")),
            slots: Mapped::new(map("slots")),
            backends: Mapped::new(map("backends")),
            slot_limit: self.1.slots,
            first_life: 0,
        };
        Table::new(store, found).unwrap()
    }

    /// What a client of the maps sees, whatever the ids.
    fn seen(&self) -> BTreeMap<String, String> {
        let ports = self.found().into_iter().filter(|p| !p.frontends.is_empty());
        ports
            .map(|p| {
                let backends: Vec<_> =
                    p.backends.iter().map(|(_, life, e)| (*e, bowline_ebpf::layout::is_alive(*life))).collect();
                let stand_in = p.stand_in.map(|(_, life, e)| (e, bowline_ebpf::layout::is_alive(life)));
                let what =
                    format!("{:?} {} {} {} {backends:?} {stand_in:?}", p.frontends, p.how, p.affinity, p.word.length());
                (format!("{} {:?}", p.name, p.key), what)
            })
            .collect()
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = self.0.remove();
        let _ = std::fs::remove_dir(self.0.0.parent().unwrap());
    }
}

fn sizes() -> Sizes {
    Sizes { frontends: 64, services: 32, backends: 128, slots: 1 << 14, sockets: 8, affinity: 8 }
}

/// Applies plans that are at hand.
fn apply(table: &mut Table, plans: Vec<(ObjectName, Vec<PortPlan>)>) -> Vec<(ObjectName, TableError)> {
    let plans: BTreeMap<_, _> = plans.into_iter().collect();
    let names = plans.keys().cloned().collect();
    let plan = &mut |name: &ObjectName| plans[name].clone();
    let mut refused = table.come(&names, plan);
    refused.extend(table.go(&names, plan));
    refused
}

fn name(n: u8) -> ObjectName {
    ObjectName { namespace: "ns".into(), name: format!("s{n}").into() }
}

/// A Service's state: its backends, scheduler, affinity, and whether it has a second port.
#[derive(Clone, Debug)]
struct Want {
    backends: Vec<u8>,
    scheduler: Scheduler,
    affinity: Option<u32>,
    second: bool,
    vip: u8,
    /// The last byte of its stand-in's address.
    stand_in: Option<u8>,
}

fn plans(n: u8, want: &Want) -> Vec<PortPlan> {
    let mut backends: Vec<Endpoint> = want.backends.iter().map(|b| endpoint([10, 0, n, *b].into(), 80)).collect();
    backends.sort_unstable();
    backends.dedup();
    let port = |port: &str, number| PortPlan {
        port: port.into(),
        protocol: Protocol::Tcp,
        family: Family::V4,
        frontends: vec![endpoint([10, 96, want.vip, n].into(), number)],
        backends: backends.clone(),
        scheduler: want.scheduler,
        affinity: want.affinity,
        stand_in: want.stand_in.map(|last| endpoint([169, 254, 20, last].into(), 53)),
    };
    let mut ports = vec![port("a", 80)];
    if want.second {
        ports.push(port("b", 81));
    }
    ports
}

fn want() -> impl Strategy<Value = Option<Want>> {
    let scheduler = prop_oneof![4 => Just(Scheduler::Rr), 1 => Just(Scheduler::Sh), 1 => Just(Scheduler::Random)];
    let some = (
        prop::collection::vec(1u8..12, 0..8),
        scheduler,
        prop::option::of(1u32..3),
        any::<bool>(),
        0u8..2,
        prop::option::of(1u8..3),
    )
        .prop_map(|(backends, scheduler, affinity, second, vip, stand_in)| Want {
            backends,
            scheduler,
            affinity,
            second,
            vip,
            stand_in,
        });
    prop_oneof![1 => Just(None), 5 => some.prop_map(Some)]
}

#[derive(Clone, Debug)]
enum Step {
    /// Services change together.
    Change(Vec<(u8, Option<Want>)>),
    /// The agent goes without a word, and another takes over.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let changes = prop::collection::vec((0u8..6, want()), 1..4);
    prop_oneof![5 => changes.prop_map(Step::Change), 1 => Just(Step::Restart)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_history_ends_as_a_fresh_start(steps in prop::collection::vec(step(), 1..25)) {
        let place = Pins::new(sizes());
        let mut table = place.table();
        let mut last: BTreeMap<u8, Option<Want>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Restart => {
                    table = place.table();
                    // As an agent does at its start: all that is, and away with what isn't.
                    let mut all: BTreeMap<ObjectName, Vec<PortPlan>> =
                        table.names().map(|name| (name.clone(), Vec::new())).collect();
                    all.extend(last.iter().filter_map(|(n, w)| w.as_ref().map(|w| (name(*n), plans(*n, w)))));
                    prop_assert!(apply(&mut table, all.into_iter().collect()).is_empty());
                }
                Step::Change(changes) => {
                    let changes: BTreeMap<u8, Option<Want>> = changes.into_iter().collect();
                    let now = changes.iter().map(|(n, w)| (name(*n), w.as_ref().map_or_else(Vec::new, |w| plans(*n, w))));
                    let refused = apply(&mut table, now.collect());
                    prop_assert!(refused.is_empty(), "{refused:?}");
                    last.extend(changes);
                }
            }
        }
        table.settle().unwrap();
        let fresh = Pins::new(sizes());
        let mut other = fresh.table();
        let all = last.iter().filter_map(|(n, w)| w.as_ref().map(|w| (name(*n), plans(*n, w))));
        prop_assert!(apply(&mut other, all.collect()).is_empty());
        prop_assert_eq!(place.seen(), fresh.seen());
        prop_assert_eq!(table.usage().frontends, other.usage().frontends);
        prop_assert_eq!(table.usage().services, other.usage().services);
        prop_assert_eq!(table.usage().backends, other.usage().backends);
        prop_assert_eq!(table.usage().slots, other.usage().slots);
        // And an agent that starts now finds just that.
        let again = place.table();
        prop_assert_eq!(again.usage().slots, other.usage().slots);
        prop_assert_eq!(again.usage().backends, other.usage().backends);
    }
}

fn some(backends: &[u8]) -> Want {
    Want {
        backends: backends.to_vec(),
        scheduler: Scheduler::Rr,
        affinity: None,
        second: false,
        vip: 0,
        stand_in: None,
    }
}

#[test]
fn the_same_again_writes_nothing() {
    let place = Pins::new(sizes());
    let mut table = place.table();
    let plan = plans(1, &some(&[1, 2, 3]));
    apply(&mut table, vec![(name(1), plan.clone())]);
    let before = place.found();
    apply(&mut table, vec![(name(1), plan.clone())]);
    assert_eq!(place.found(), before);
    apply(&mut place.table(), vec![(name(1), plan)]);
    assert_eq!(place.found(), before, "nor after a restart: generation, ids and lives stay");
}

#[test]
fn a_backend_that_stays_keeps_its_id_and_its_life() {
    let place = Pins::new(sizes());
    let mut table = place.table();
    apply(&mut table, vec![(name(1), plans(1, &some(&[1, 2, 3])))]);
    let before = place.found()[0].backends.clone();
    apply(&mut table, vec![(name(1), plans(1, &some(&[2, 3, 4])))]);
    let after = place.found()[0].backends.clone();
    assert_eq!(after[..2], before[1..]);
    table.settle().unwrap();
    apply(&mut table, vec![(name(1), plans(1, &some(&[1, 2, 3, 4])))]);
    let (id, life, _) = place.found()[0].backends[0];
    assert_eq!(id, before[0].0, "the id is free again after a grace period");
    assert!(life > before[0].1 && life % 2 == 1, "in another life");
}

#[test]
fn an_id_is_not_used_again_before_a_grace_period() {
    let place = Pins::new(sizes());
    let mut table = place.table();
    apply(&mut table, vec![(name(1), plans(1, &some(&[1])))]);
    let first = place.found()[0].backends[0].0;
    for n in 0..20u8 {
        apply(&mut table, vec![(name(1), plans(1, &some(&[10 + n])))]);
        let now = place.found()[0].backends[0].0;
        let waiting = table.retired.iter().any(|(_, r)| matches!(r, Retired::Backends(ids) if ids.contains(&now)));
        assert!(!waiting, "change {n}: id {now} is in use and still waits (the first was {first})");
    }
}

#[test]
fn a_front_end_moves_without_a_gap() {
    let place = Pins::new(sizes());
    let mut table = place.table();
    apply(&mut table, vec![(name(1), plans(1, &some(&[1])))]);
    let mine = plans(1, &some(&[1]));
    let mut theirs = plans(2, &some(&[2]));
    theirs[0].frontends = mine[0].frontends.clone();
    // The one that loses it is named first: its front end is the other's before it would be removed.
    apply(&mut table, vec![(name(1), Vec::new()), (name(2), theirs)]);
    table.settle().unwrap();
    let found = place.found();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, name(2));
    assert_eq!(found[0].frontends, [FrontendKey::of(&mine[0].frontends[0], 6)]);
}

#[test]
fn what_is_gone_is_served_until_it_goes() {
    let place = Pins::new(sizes());
    let mut table = place.table();
    apply(&mut table, vec![(name(1), plans(1, &some(&[1])))]);
    let before = place.seen();
    let names = BTreeSet::from([name(1), name(2)]);
    let plan = &mut |of: &ObjectName| if *of == name(2) { plans(2, &some(&[2])) } else { Vec::new() };
    assert!(table.come(&names, plan).is_empty());
    let between = place.seen();
    assert_eq!(between.len(), 2, "what comes is there");
    assert!(before.iter().all(|(key, what)| between.get(key) == Some(what)), "and what goes still is");
    assert!(table.go(&names, plan).is_empty());
    table.settle().unwrap();
    assert_eq!(place.found().len(), 1);
    assert_eq!(place.found()[0].name, name(2));
}

#[test]
fn a_full_map_refuses_the_change_and_hurts_nobody_else() {
    let place = Pins::new(Sizes { backends: 5, ..sizes() });
    let mut table = place.table();
    assert!(apply(&mut table, vec![(name(1), plans(1, &some(&[1, 2, 3])))]).is_empty());
    let before = place.seen();
    let refused =
        apply(&mut table, vec![(name(1), plans(1, &some(&[1, 2, 3, 4, 5]))), (name(2), plans(2, &some(&[1])))]);
    assert_eq!(refused.len(), 1);
    let (service, error) = &refused[0];
    assert_eq!(service, &name(1));
    assert!(matches!(error, TableError::Full { map: "backends", capacity: 4, flag: "--max-backends" }), "{error}");
    let key = before.keys().next().unwrap();
    assert_eq!(place.seen()[key], before[key], "the refused one is as it was");
    assert_eq!(place.seen().len(), 2, "the other came");
    // Something goes: the refused one is named to be tried again.
    apply(&mut table, vec![(name(2), Vec::new())]);
    table.grace.wait(table.retired.back().unwrap().0).unwrap();
    assert_eq!(table.retry(), BTreeSet::from([name(1)]));
}

#[test]
fn a_refused_change_takes_nothing_away() {
    let place = Pins::new(Sizes { backends: 11, ..sizes() });
    let mut table = place.table();
    let old = plans(1, &some(&[1, 2, 3, 4, 5, 6]));
    apply(&mut table, vec![(name(1), old.clone())]);
    let before = place.seen();
    // Another port name: the new port does not fit beside the old one.
    let mut renamed = old;
    renamed[0].port = "other".into();
    assert_eq!(apply(&mut table, vec![(name(1), renamed.clone())]).len(), 1);
    assert_eq!(place.seen(), before);
}

#[test]
fn other_sizes_of_the_arena_leave_what_stands() {
    let mut place = Pins::new(sizes());
    let mut table = place.table();
    for n in 0..6 {
        apply(&mut table, vec![(name(n), plans(n, &some(&[1, 2, 3, 4, 5])))]);
    }
    let before = place.seen();
    drop(table);
    place.1.slots = 40;
    let mut table = place.table();
    assert_eq!(place.seen(), before);
    assert_eq!(apply(&mut table, vec![(name(7), plans(7, &some(&[1])))]).len(), 1, "but nothing more fits");
    assert_eq!(place.seen(), before);
}

#[test]
fn every_map_that_can_be_full_says_so() {
    let cases: [(Sizes, &str); 3] = [
        (Sizes { services: 3, ..sizes() }, "services"),
        (Sizes { frontends: 2, ..sizes() }, "frontends"),
        (Sizes { slots: 16, ..sizes() }, "slots"),
    ];
    for (sizes, want) in cases {
        let place = Pins::new(sizes);
        let mut table = place.table();
        let refused: Vec<_> =
            (1..=4).flat_map(|n| apply(&mut table, vec![(name(n), plans(n, &some(&[1, 2])))])).collect();
        assert_eq!(refused.len(), 2, "{want}: {refused:?}");
        assert!(refused.iter().all(|(_, e)| matches!(e, TableError::Full { map, .. } if *map == want)), "{refused:?}");
        assert_eq!(place.seen().len(), 2);
        for n in 1..=4 {
            apply(&mut table, vec![(name(n), Vec::new())]);
        }
        table.settle().unwrap();
        let usage = table.usage();
        let used = (usage.frontends.0, usage.services.0, usage.backends.0, usage.slots.0);
        assert_eq!(used, (0, 0, 0, 0), "{want}: nothing of a refused change stays");
        assert!(place.seen().is_empty());
    }
}
