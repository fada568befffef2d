//! Any sequence of changes ends where a fresh State with the final set begins.

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Put(Object),
    Delete(ObjectKey),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => any_service().prop_map(|service| Op::Put(service.object())),
        2 => any_pod().prop_map(|pod| Op::Put(pod.object())),
        1 => (0..3u8, 0..5u8, 1..4u8).prop_map(|(n, service, ip)| {
            Op::Put(slice(&format!("slice-{n}"), &service_name(service), &format!("10.1.0.{ip}")).object())
        }),
        1 => (0..5u8).prop_map(|n| Op::Delete(key(Kind::Service, &service_name(n)))),
        1 => (0..4u8).prop_map(|n| Op::Delete(key(Kind::Pod, &format!("pod-{n}")))),
        1 => (0..3u8).prop_map(|n| Op::Delete(key(Kind::EndpointSlice, &format!("slice-{n}")))),
    ]
}

fn key(kind: Kind, text: &str) -> ObjectKey {
    ObjectKey { kind, name: name(text) }
}

fn service_name(n: u8) -> String {
    format!("service-{n}")
}

fn any_selector() -> impl Strategy<Value = Option<Labels>> {
    prop_oneof![
        Just(None),
        Just(Some(Labels::default())),
        (0..2u8).prop_map(|a| Some(labels(&[("app", &a.to_string())]))),
        (0..2u8, 0..2u8).prop_map(|(a, b)| Some(labels(&[("app", &a.to_string()), ("tier", &b.to_string())]))),
    ]
}

fn any_service() -> impl Strategy<Value = Service> {
    let addresses = prop_oneof![
        3 => Just(vec![]),
        1 => Just(vec!["10.0.0.2"]),
        1 => Just(vec!["10.0.0.3"]),
        1 => Just(vec!["192.0.2.1", "fd00::2"]),
    ];
    let policy = prop_oneof![
        Just(None),
        Just(Some(FamilyPolicy::SingleStack)),
        Just(Some(FamilyPolicy::PreferDualStack)),
        Just(Some(FamilyPolicy::RequireDualStack)),
    ];
    let ports = proptest::collection::btree_set(80..83u16, 1..3);
    let created = proptest::option::of(0..3i64);
    (0..5u8, addresses, policy, ports, created, any_selector(), 0..8u8).prop_map(
        |(n, addresses, policy, ports, created, selector, kind)| Service {
            cluster_ips: if kind == 0 { vec![] } else { addresses.iter().map(|ip| ip.parse().unwrap()).collect() },
            headless: kind == 0,
            kind: if kind == 1 { ServiceType::ExternalName } else { ServiceType::ClusterIp },
            family_policy: policy,
            ports: ports.into_iter().map(|p| port(&p.to_string(), p, TargetPort::Name(Str::from("web")))).collect(),
            created,
            selector,
            ..service(&service_name(n))
        },
    )
}

fn any_pod() -> impl Strategy<Value = Pod> {
    (0..4u8, 0..2u8, 0..2u8, any::<(bool, bool, bool)>(), 8080..8082u16).prop_map(|(n, app, tier, flags, web)| Pod {
        labels: labels(&[("app", &app.to_string()), ("tier", &tier.to_string())]),
        ready: flags.0,
        terminating: flags.1,
        finished: flags.2,
        ports: [ContainerPort { name: Str::from("web"), protocol: Protocol::Tcp, port: web }].into(),
        ..pod(&format!("pod-{n}"), "", &[&format!("10.2.0.{n}"), &format!("fd02::{n}")])
    })
}

fn change(op: &Op) -> Change {
    match op {
        Op::Put(object) => Change::Put(object.clone(), Origin::from("test.yaml")),
        Op::Delete(key) => Change::Delete(key.clone()),
    }
}

/// What a snapshot says of one Service.
type View = (Option<Arc<Service>>, Option<Arc<[crate::snapshot::Frontend]>>, Vec<Arc<EndpointSlice>>);

fn views(snapshot: &Snapshot) -> BTreeMap<ObjectName, View> {
    let of_slices =
        snapshot.slices.keys().map(|key| ObjectName { namespace: key.namespace.clone(), name: key.service.clone() });
    let all: BTreeSet<ObjectName> = snapshot.services.keys().cloned().chain(of_slices).collect();
    let view = |name: &ObjectName| {
        let slices = snapshot.slices_of(name).cloned().collect();
        (snapshot.services.get(name).cloned(), snapshot.lost.get(name).cloned(), slices)
    };
    all.into_iter().map(|name| (name.clone(), view(&name))).collect()
}

/// That what differs in a kind is told, and after a single change nothing else.
fn told<T: PartialEq + std::fmt::Debug>(
    old: &imbl::OrdMap<ObjectName, Arc<T>>,
    new: &imbl::OrdMap<ObjectName, Arc<T>>,
    told: &BTreeSet<ObjectName>,
    exactly: bool,
) -> Result<(), TestCaseError> {
    let differs = |name: &&ObjectName| old.get(*name) != new.get(*name);
    let differing: BTreeSet<_> = old.keys().chain(new.keys()).filter(differs).cloned().collect();
    prop_assert!(told.is_superset(&differing), "{differing:?} differ, {told:?} are told");
    prop_assert!(!exactly || *told == differing, "{differing:?} differ, {told:?} are told");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn order_and_batches_do_not_matter(
        batches in proptest::collection::vec((any::<bool>(), proptest::collection::vec(op(), 1..6)), 1..20),
    ) {
        let ranges = ["10.0.0.0/29", "fd00::/125"];
        let mut state = state(&ranges);
        let mut last = BTreeMap::new();
        let mut standing = BTreeSet::new();
        for (whole, ops) in &batches {
            let (old, before) = (state.snapshot(), views(&state.snapshot()));
            for op in ops {
                match op {
                    Op::Put(object) => drop(last.insert(object.key(), op.clone())),
                    Op::Delete(key) => drop(last.remove(key)),
                }
            }
            let update = if *whole {
                Update::All(last.values().map(change).collect())
            } else {
                some(ops.iter().map(change).collect::<Vec<_>>())
            };
            let applied = state.apply(update);

            // Exactly what differs is told. (A slice that changes within a batch and back may be told.)
            let after = views(&state.snapshot());
            let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
            for name in names {
                if before.get(name) != after.get(name) {
                    prop_assert!(applied.changed.services.contains(name), "{name} changed and is not told");
                } else if ops.len() == 1 {
                    prop_assert!(!applied.changed.services.contains(name), "{name} did not change and is told");
                }
            }
            let new = state.snapshot();
            let changed = &applied.changed;
            told(&old.pods, &new.pods, &changed.pods, ops.len() == 1)?;
            told(&old.namespaces, &new.namespaces, &changed.namespaces, ops.len() == 1)?;
            prop_assert!(changed.nodes.is_empty() && changed.imports.is_empty() && changed.policies.is_empty());
            for problem in applied.mended {
                prop_assert!(standing.remove(&problem));
            }
            for problem in applied.reported {
                prop_assert!(standing.insert(problem));
            }
            prop_assert_eq!(&standing, &state.problems().into_iter().collect());
        }

        let mut fresh = super::state(&ranges);
        fresh.apply(Update::All(last.values().rev().map(change).collect()));
        prop_assert_eq!(views(&fresh.snapshot()), views(&state.snapshot()));
        prop_assert_eq!(fresh.snapshot().pods, state.snapshot().pods);
        prop_assert_eq!(fresh.problems(), state.problems());

        // Nothing leaks.
        state.apply(Update::All(Vec::new()));
        let snapshot = &state.snapshot;
        prop_assert!(snapshot.services.is_empty() && snapshot.slices.is_empty() && snapshot.pods.is_empty());
        prop_assert!(snapshot.lost.is_empty() && state.services.is_empty() && state.slices.is_empty());
        prop_assert!(state.claims.is_empty() && state.pods.is_empty() && state.selectors.is_empty());
        prop_assert!(state.refused.is_empty());
    }
}
