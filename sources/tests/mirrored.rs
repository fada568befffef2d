//! Endpoints beside a Service without a selector: from the manifest to the slices that are made of them, as the
//! mirroring controller makes them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::Instant;

use bowline_cluster::intern::Strings;
use bowline_cluster::object::{Kind, Object, ObjectKey, ObjectName, Str};
use bowline_cluster::source::{Change, Origin, Update};
use bowline_cluster::state::{Applied, Options, State};
use bowline_sources::{manifest, parse};

fn name(name: &str) -> ObjectName {
    ObjectName { namespace: Str::from("default"), name: Str::from(name) }
}

fn names(of: &[&str]) -> BTreeSet<ObjectName> {
    of.iter().map(|one| name(one)).collect()
}

fn state() -> State {
    State::new(Options { service_cidrs: vec!["10.96.0.0/12".parse().unwrap()], complete: true })
}

fn addresses(state: &State, service: &str) -> Vec<String> {
    let snapshot = state.snapshot();
    let name = name(service);
    let endpoints = snapshot.slices_of(&name).flat_map(|slice| &slice.endpoints);
    endpoints.map(|endpoint| endpoint.address.to_string()).collect()
}

fn put(text: &str) -> Change {
    let read = parse::manifest("test.yaml", text.as_bytes(), &Strings::default());
    assert_eq!(read.problems, [], "{text}");
    Change::Put(read.objects.into_iter().next().unwrap(), Origin::from("test.yaml"))
}

fn delete(kind: Kind, of: &str) -> Change {
    Change::Delete(ObjectKey { kind, name: name(of) })
}

fn some(changes: impl Into<Vec<Change>>) -> Update {
    Update::Some { changes: changes.into(), read_at: Instant::now(), triggered: Vec::new() }
}

/// Endpoints of the name.
fn by_hand(name: &str, rest: &str) -> Change {
    put(&format!("apiVersion: v1\nkind: Endpoints\nmetadata: {{name: {name}}}\n{rest}"))
}

/// A Service of the name, with this in its spec too.
fn service(name: &str, more: &str) -> Change {
    let spec = format!("{{ports: [{{port: 80, targetPort: 8080}}]{more}}}");
    put(&format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {spec}"))
}

fn bare(name: &str) -> Change {
    service(name, "")
}

/// A slice of the Service `a`, by this manager.
fn slice(name: &str, ip: &str, manager: &str) -> Change {
    let labels = format!("{{kubernetes.io/service-name: a, endpointslice.kubernetes.io/managed-by: {manager}}}");
    put(&format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, labels: {labels}}}\n\
         addressType: IPv4\nports: [{{port: 8080}}]\nendpoints: [{{addresses: [{ip}]}}]"
    ))
}

/// A ready Pod with the label `app: a`.
const POD: &str = "apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: a}}
spec: {nodeName: node-1, containers: [{name: c, image: i}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.1}], conditions: [{type: Ready, status: 'True'}]}
";

const DATABASE: &str = "subsets:
- addresses: [{ip: 192.000.2.9}, {ip: 192.0.2.1, hostname: one, nodeName: n-1, targetRef: {kind: Pod, name: p-1}}]
  notReadyAddresses: [{ip: 192.0.2.3}, {ip: 'fd00::3'}]
  ports: [{name: sql, port: 5432}]
- addresses: [{ip: 192.0.2.3}, {ip: 192.0.2.4}]
  ports: [{port: 5432, name: sql, protocol: TCP}]
- addresses: [{ip: 192.0.2.5}]
  ports: [{name: sql, port: 5433}]
- addresses: [{ip: 192.0.2.6}]
";

#[test]
fn endpoints_beside_a_service_without_a_selector_are_mirrored() {
    let mut state = state();
    state.apply(some([bare("a")]));
    let applied = state.apply(some([by_hand("a", DATABASE)]));
    assert_eq!(applied.changed.services, names(&["a"]));
    let snapshot = state.snapshot();
    let name = name("a");
    let slices: Vec<String> = snapshot
        .slices_of(&name)
        .map(|slice| {
            let ports: Vec<_> = slice.ports.iter().map(|port| (&*port.name, port.port.unwrap())).collect();
            let of = |ready: bool| {
                let some = slice.endpoints.iter().filter(|endpoint| endpoint.conditions.ready == ready);
                some.map(|endpoint| endpoint.address.to_string()).collect::<Vec<_>>().join(" ")
            };
            format!("{} {ports:?}: {} not {}", slice.name.name, of(true), of(false))
        })
        .collect();
    assert_eq!(
        slices,
        [
            "a:ipv4:000001 []: 192.0.2.6 not ",
            "a:ipv4:000002 [(\"sql\", 5432)]: 192.0.2.1 192.0.2.4 192.0.2.9 not 192.0.2.3",
            "a:ipv4:000003 [(\"sql\", 5433)]: 192.0.2.5 not ",
            "a:ipv6:000001 [(\"sql\", 5432)]:  not fd00::3",
        ]
    );
    let second = snapshot.slices_of(&name).nth(1).unwrap().clone();
    let one = second.endpoints.iter().next().unwrap();
    assert_eq!((one.hostname, one.node.map(|node| &**node), one.pod), (Some("one"), Some("n-1"), Some("p-1")));
    let label = |key: &str| second.labels.iter().find(|(k, _)| k == key).map(|(_, value)| value.to_string());
    assert_eq!(label("kubernetes.io/service-name").as_deref(), Some("a"));
    assert_eq!(
        label("endpointslice.kubernetes.io/managed-by").as_deref(),
        Some("endpointslicemirroring-controller.k8s.io")
    );

    // What is on disk makes the same again.
    let mirror = snapshot.endpoints[&name].clone();
    let mut json = Vec::new();
    manifest::write(&Object::Endpoints(mirror.clone()), &mut json).unwrap();
    let read = parse::manifest("x.json", &json, &Strings::default());
    assert_eq!((read.objects, read.problems), (vec![Object::Endpoints(mirror)], vec![]));

    assert_eq!(state.apply(some([by_hand("a", DATABASE)])), Applied::default(), "the same again");
    let applied = state.apply(some([delete(Kind::Endpoints, "a")]));
    assert_eq!((applied.changed.services, addresses(&state, "a").len()), (names(&["a"]), 0));
}

#[test]
fn endpoints_come_and_go_with_the_service_in_any_order() {
    let one = || by_hand("a", "subsets: [{addresses: [{ip: 192.0.2.1}], ports: [{port: 1}]}]");
    let mut state = state();
    state.apply(some([one()]));
    assert_eq!(addresses(&state, "a").len(), 0, "there is no Service");
    state.apply(some([bare("a")]));
    assert_eq!(addresses(&state, "a"), ["192.0.2.1"]);
    // With a selector, its Pods count.
    state.apply(some([service("a", ", selector: {app: a}"), put(POD)]));
    assert_eq!(addresses(&state, "a"), ["10.0.0.1"]);
    state.apply(some([service("a", ", clusterIP: None")]));
    assert_eq!(addresses(&state, "a"), ["192.0.2.1"], "headless too");
    // Slices of other people's stay beside them, but the controller's own are these.
    state.apply(some([slice("mine", "192.0.2.7", "me")]));
    assert_eq!(addresses(&state, "a"), ["192.0.2.1", "192.0.2.7"]);
    let mirrored = slice("a-x7k2p", "192.0.2.1", "endpointslicemirroring-controller.k8s.io");
    state.apply(some([delete(Kind::EndpointSlice, "mine"), mirrored]));
    assert_eq!(addresses(&state, "a"), ["192.0.2.1"], "once");
    state.apply(some([delete(Kind::EndpointSlice, "a-x7k2p")]));
    assert_eq!(addresses(&state, "a"), ["192.0.2.1"]);
    // A whole read without them takes them away.
    state.apply(Update::All(vec![bare("a")]));
    assert_eq!((addresses(&state, "a").len(), state.snapshot().endpoints.len()), (0, 0));
    state.apply(some([one(), delete(Kind::Service, "a")]));
    assert!(state.snapshot().slices.is_empty());
}

#[test]
fn what_is_not_to_be_mirrored_is_not() {
    let subsets = "subsets: [{addresses: [{ip: 192.0.2.1}], ports: [{port: 1}]}]";
    for metadata in [
        "labels: {endpointslice.kubernetes.io/skip-mirror: 'true'}",
        "annotations: {control-plane.alpha.kubernetes.io/leader: '{}'}",
    ] {
        let mut state = state();
        let text = format!("apiVersion: v1\nkind: Endpoints\nmetadata: {{name: a, {metadata}}}\n{subsets}");
        state.apply(some([bare("a"), put(&text)]));
        assert_eq!(addresses(&state, "a").len(), 0, "{metadata}");
    }
    let mut state = state();
    state.apply(some([bare("a"), by_hand("a", "subsets: null"), bare("b"), by_hand("b", "")]));
    assert!(state.snapshot().slices.is_empty());
}

#[test]
fn a_subset_has_a_thousand_addresses() {
    let ips = |from: usize, to: usize| {
        (from..to).map(|n| format!("{{ip: 10.7.{}.{}}}", n / 250, n % 250 + 1)).collect::<Vec<_>>().join(", ")
    };
    let text = format!(
        "subsets: [{{addresses: [{}], notReadyAddresses: [{}], ports: [{{port: 1}}]}}]",
        ips(0, 700),
        ips(700, 1012)
    );
    let mut state = state();
    let applied = state.apply(some([bare("a"), by_hand("a", &text)]));
    let ready = state.snapshot().slices.values().flat_map(|s| &s.endpoints).filter(|e| e.conditions.ready).count();
    assert_eq!((addresses(&state, "a").len(), ready), (1000, 700));
    let told = applied.reported[0].to_string();
    assert!(told.starts_with("test.yaml: Endpoints default/a: subsets: 12 addresses are left out"), "{told}");
    assert_eq!(state.apply(some([delete(Kind::Endpoints, "a")])).mended.len(), 1);
}
