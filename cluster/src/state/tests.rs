//! State against Kubernetes' rules, and against itself: the order of changes must never matter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::object::{
    Conditions, ContainerPort, Endpoint, EndpointPort, Endpoints, Family, FamilyPolicy, Labels, Namespace, Protocol,
    ServicePort, TargetPort,
};

mod addresses;
mod endpoints;
mod model;

fn name(text: &str) -> ObjectName {
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    ObjectName { namespace: Str::from(namespace), name: Str::from(name) }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let mut labels: Vec<_> = pairs.iter().map(|(key, value)| (Str::from(*key), Str::from(*value))).collect();
    labels.sort();
    labels.into()
}

fn port(name: &str, port: u16, target: TargetPort) -> ServicePort {
    ServicePort { name: Str::from(name), protocol: Protocol::Tcp, port, target, node_port: 0 }
}

/// A Service on port 80 that selects `app: NAME`.
fn service(text: &str) -> Service {
    let name = name(text);
    Service {
        created: None,
        labels: Labels::default(),
        kind: ServiceType::ClusterIp,
        headless: false,
        cluster_ips: Vec::new(),
        families: Vec::new(),
        family_policy: None,
        ports: [port("", 80, TargetPort::Number(8080))].into(),
        selector: Some(labels(&[("app", &name.name)])),
        affinity: None,
        publish_not_ready: false,
        external_name: None,
        scheduler: None,
        internal_local: false,
        prefers_near: false,
        external: None,
        name,
    }
}

/// A ready Pod with the label `app: APP`.
fn pod(text: &str, app: &str, ips: &[&str]) -> Pod {
    Pod {
        name: name(text),
        labels: labels(&[("app", app), ("tier", "any")]),
        ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        node: Some(Str::from("node-1")),
        hostname: None,
        subdomain: None,
        ready: true,
        terminating: false,
        finished: false,
        ports: Box::default(),
    }
}

fn slice(text: &str, service: &str, ip: &str) -> EndpointSlice {
    EndpointSlice {
        name: name(text),
        labels: labels(&[("kubernetes.io/service-name", service)]),
        service: Some(Str::from(service)),
        family: Some(Family::V4),
        ports: [EndpointPort { name: Str::default(), protocol: Protocol::Tcp, port: Some(8080) }].into(),
        endpoints: [Endpoint::at(ip.parse().unwrap(), Conditions::default())].into_iter().collect(),
        hidden: false,
    }
}

trait IntoObject {
    fn object(self) -> Object;
}
impl IntoObject for Service {
    fn object(self) -> Object {
        Object::Service(Arc::new(self))
    }
}
impl IntoObject for Pod {
    fn object(self) -> Object {
        Object::Pod(Arc::new(self))
    }
}
impl IntoObject for EndpointSlice {
    fn object(self) -> Object {
        Object::EndpointSlice(Arc::new(self))
    }
}

fn put(object: impl IntoObject) -> Change {
    Change::Put(object.object(), Origin::from("test.yaml"))
}

fn delete(kind: Kind, text: &str) -> Change {
    Change::Delete(ObjectKey { kind, name: name(text) })
}

fn some(changes: impl Into<Vec<Change>>) -> Update {
    Update::Some { changes: changes.into(), read_at: Instant::now(), triggered: Vec::new() }
}

fn state(ranges: &[&str]) -> State {
    let service_cidrs = ranges.iter().map(|range| range.parse().unwrap()).collect();
    State::new(Options { service_cidrs, complete: true })
}

fn ips(state: &State, service: &str) -> Vec<String> {
    state.snapshot.services[&name(service)].cluster_ips.iter().map(ToString::to_string).collect()
}

fn names(names: &[&str]) -> BTreeSet<ObjectName> {
    names.iter().map(|text| name(text)).collect()
}

#[test]
fn a_whole_read_takes_away_what_is_not_in_it_and_tells_only_what_differs() {
    let mut state = state(&["10.96.0.0/12"]);
    assert!(!state.synced());
    let same = slice("same-1", "same", "10.0.0.1");
    state.apply(Update::All(vec![
        put(service("same")),
        put(same.clone()),
        put(service("goes")),
        put(service("moves")),
    ]));
    assert!(state.synced());
    let mut moved = service("moves");
    moved.affinity = Some(10);
    let applied = state.apply(Update::All(vec![put(service("same")), put(same), put(moved)]));
    assert_eq!(applied.changed.services, names(&["goes", "moves"]));
    assert_eq!(state.snapshot().services.len(), 2);
}

#[test]
fn what_is_equal_changes_nothing() {
    let mut state = state(&["10.96.0.0/12"]);
    let all = || vec![put(service("a")), put(pod("p", "a", &["10.0.0.1"])), put(slice("b-1", "b", "10.0.0.2"))];
    state.apply(Update::All(all()));
    let revision = state.snapshot().revision;
    assert_eq!(state.apply(Update::All(all())), Applied::default());
    assert_eq!(state.apply(some(all())), Applied::default());
    assert_eq!(state.snapshot().revision, revision);
}

#[test]
fn a_snapshot_given_out_stays_as_it_was() {
    let mut state = state(&["10.96.0.0/12"]);
    state.apply(Update::All(vec![put(service("a"))]));
    let before = state.snapshot();
    state.apply(some([delete(Kind::Service, "a")]));
    assert!(before.services.contains_key(&name("a")));
    assert!(state.snapshot().services.is_empty());
}

#[test]
fn while_the_source_is_away_everything_stays() {
    let mut state = state(&["10.96.0.0/12"]);
    state.apply(Update::All(vec![put(service("a"))]));
    assert_eq!(state.apply(Update::Away("unplugged".into())), Applied::default());
    assert_eq!((state.away(), state.snapshot().services.len()), (Some("unplugged"), 1));
    state.apply(Update::Back);
    assert_eq!(state.away(), None);
}

#[test]
fn problems_of_the_source_are_reported_once_and_mended_once() {
    let mut state = state(&[]);
    let problem =
        Problem { origin: Origin::from("a.yaml:3"), object: None, field: None, message: "is torn".to_string() };
    let applied = state.apply(Update::Problems(vec![problem.clone()]));
    assert_eq!((applied.reported.len(), applied.mended.len()), (1, 0));
    assert_eq!(state.apply(Update::Problems(vec![problem.clone()])), Applied::default());
    assert_eq!(state.problems(), std::slice::from_ref(&problem));
    assert_eq!(state.apply(Update::Problems(Vec::new())).mended, [problem]);
}

#[test]
fn a_slice_that_changes_its_service_concerns_both() {
    let mut state = state(&[]);
    state.apply(Update::All(vec![put(slice("s", "a", "10.0.0.1"))]));
    let applied = state.apply(some([put(slice("s", "b", "10.0.0.1"))]));
    assert_eq!(applied.changed.services, names(&["a", "b"]));
    assert_eq!(state.snapshot().slices_of(&name("a")).count(), 0);
    assert_eq!(state.snapshot().slices_of(&name("b")).count(), 1);
}

#[test]
fn nodes_and_namespaces_are_kept() {
    let mut state = state(&[]);
    let node = |ip: &str| {
        let name = ObjectName { namespace: Str::default(), name: Str::from("n") };
        let internal_ips = vec![ip.parse().unwrap()];
        let node = Node { name, labels: Labels::default(), internal_ips, pod_cidrs: Vec::new(), flannel: None };
        Change::Put(Object::Node(Arc::new(node)), Origin::from("n.yaml"))
    };
    assert_eq!(state.apply(some([node("10.0.0.1")])).changed.nodes.len(), 1);
    assert_eq!(state.apply(some([node("10.0.0.1")])).changed, Changed::default());
    assert_eq!(state.apply(some([node("10.0.0.2")])).changed.nodes.len(), 1);
    let space = ObjectName { namespace: Str::default(), name: Str::from("shop") };
    let namespace = Object::Namespace(Arc::new(Namespace { name: space.clone(), labels: Labels::default() }));
    let applied = state.apply(some([Change::Put(namespace, Origin::from("n.yaml"))]));
    assert_eq!(applied.changed.namespaces, BTreeSet::from([space.clone()]));
    assert!(state.snapshot().namespaces.contains_key(&space));
    let gone = state.apply(Update::All(Vec::new())).changed;
    assert_eq!((gone.nodes.len(), gone.namespaces), (1, BTreeSet::from([space])));
    assert!(state.snapshot().nodes.is_empty() && state.snapshot().namespaces.is_empty());
}

/// As in a cluster, where nothing is in a namespace that is not there.
#[test]
fn a_namespace_is_there_while_something_is_in_it() {
    let mut state = state(&["10.96.0.0/12"]);
    let space = |name: &str| ObjectName { namespace: Str::default(), name: Str::from(name) };
    let own = name("a").namespace;
    let labels = |state: &State| state.snapshot.namespaces.get(&space(&own)).map(|namespace| namespace.labels.len());
    state.apply(Update::All(vec![put(service("a")), put(service("b")), put(pod("p", "a", &["10.0.0.1"]))]));
    assert_eq!(labels(&state), Some(1), "kubernetes.io/metadata.name");
    state.apply(some([delete(Kind::Service, "a"), delete(Kind::Pod, "p"), delete(Kind::Pod, "p")]));
    assert_eq!(labels(&state), Some(1));
    // One that is written counts, as long as it is.
    let namespace = Object::Namespace(Arc::new(Namespace { name: space(&own), labels: Labels::default() }));
    state.apply(some([Change::Put(namespace, Origin::from("n.yaml"))]));
    assert_eq!(labels(&state), Some(0));
    let revision = state.snapshot.revision;
    state.apply(some([put(service("b"))]));
    assert_eq!(state.snapshot.revision, revision);
    state.apply(Update::All(vec![put(service("b"))]));
    assert_eq!(labels(&state), Some(1));
    state.apply(some([delete(Kind::Service, "b")]));
    assert_eq!(labels(&state), None);

    // Where there is an API server, what it says counts.
    let mut state = State::new(Options::default());
    state.apply(Update::All(vec![put(service("a"))]));
    assert!(state.snapshot.namespaces.is_empty());
}

/// KEP-1645: the endpoints of a ServiceImport come from other clusters, in slices with labels of their own.
#[test]
fn slices_of_other_clusters_are_found_by_their_service_import() {
    let imported = |import: &str| {
        let mut slice = slice("web-far", "none", "10.9.0.1");
        slice.service = None;
        slice.labels = labels(&[
            ("multicluster.kubernetes.io/service-name", import),
            ("multicluster.kubernetes.io/source-cluster", "far"),
        ]);
        slice
    };
    let found = |state: &State, import: &str| -> Vec<String> {
        let (snapshot, import) = (state.snapshot(), name(import));
        snapshot.imported_of(&import).map(|slice| format!("{} of {}", slice.name.name, slice.cluster())).collect()
    };
    let mut state = State::new(Options::default());
    state.apply(some([put(imported("web"))]));
    assert_eq!(found(&state, "web"), ["web-far of far"]);
    assert!(state.snapshot().slices.is_empty());
    state.apply(some([put(imported("shop"))]));
    assert_eq!((found(&state, "web"), found(&state, "shop")), (vec![], vec!["web-far of far".to_owned()]));
    // It is gone when it is deleted, and when a listing is without it.
    for gone in [some([delete(Kind::EndpointSlice, "web-far")]), Update::All(Vec::new())] {
        state.apply(some([put(imported("shop"))]));
        let before = state.snapshot();
        state.apply(gone);
        assert!(found(&state, "shop").is_empty());
        assert_eq!(before.imported.len(), 1);
    }
}

#[test]
fn a_pod_has_the_addresses_that_its_node_tells_as_long_as_it_tells() {
    let told = |ip: &str| {
        let ips = vec![ip.parse().unwrap()];
        Change::Put(
            Object::PodAddresses(Arc::new(PodAddresses { name: name("web-1"), node: Some(Str::from("two")), ips })),
            Origin::from("status/two.yaml"),
        )
    };
    let written = || put(pod("web-1", "web", &[]));
    let backends = |state: &State| {
        let snapshot = state.snapshot();
        let slices: Vec<_> = snapshot.slices_of(&name("web")).cloned().collect();
        slices.iter().flat_map(|slice| slice.endpoints.iter().map(|one| one.address)).collect::<Vec<IpAddr>>()
    };
    // In whatever order they come.
    for order in [[written(), told("10.0.0.7")], [told("10.0.0.7"), written()]] {
        let mut state = state(&["10.96.0.0/12"]);
        state.apply(Update::All(vec![put(service("web"))]));
        state.apply(some(order));
        let web = state.snapshot.pods[&name("web-1")].clone();
        assert_eq!((web.ips.clone(), web.node.as_deref()), (vec!["10.0.0.7".parse().unwrap()], Some("two")));
        assert!(web.ready && web.labels.iter().any(|(_, value)| &**value == "web"));
        assert_eq!(backends(&state), ["10.0.0.7".parse::<IpAddr>().unwrap()]);
        let changed = state.apply(some([told("10.0.0.8")])).changed;
        assert_eq!(changed.pods, names(&["web-1"]));
        assert_eq!(backends(&state), ["10.0.0.8".parse::<IpAddr>().unwrap()]);
        // A whole read of the same.
        let same = state.apply(Update::All(vec![put(service("web")), written(), told("10.0.0.8")])).changed;
        assert_eq!(same, Changed::default());
        // The node tells it no more, then the manifest goes.
        state.apply(some([delete(Kind::PodAddresses, "web-1")]));
        assert_eq!(state.snapshot.pods[&name("web-1")].ips, [] as [IpAddr; 0]);
        assert_eq!(backends(&state), [] as [IpAddr; 0]);
        state.apply(some([delete(Kind::Pod, "web-1")]));
        assert!(state.snapshot.pods.is_empty());
        // Nobody has written it: then it has no labels, and goes with its addresses.
        state.apply(some([told("10.0.0.9")]));
        assert_eq!(state.snapshot.pods[&name("web-1")].labels.len(), 0);
        state.apply(Update::All(vec![put(service("web"))]));
        assert!(state.snapshot.pods.is_empty());
    }
}
