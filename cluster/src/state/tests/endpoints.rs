//! Endpoints from Pods.

use super::*;

fn addresses(state: &State, service: &str) -> Vec<String> {
    let snapshot = state.snapshot();
    let name = name(service);
    let endpoints = snapshot.slices_of(&name).flat_map(|slice| &slice.endpoints);
    endpoints.map(|endpoint| endpoint.address.to_string()).collect()
}

fn one_pod(change: impl FnOnce(&mut Service, &mut Pod)) -> Endpoints {
    let mut state = state(&["10.96.0.0/12"]);
    let (mut service, mut pod) = (service("a"), pod("p", "a", &["10.0.0.1"]));
    change(&mut service, &mut pod);
    state.apply(some([put(service), put(pod)]));
    state.snapshot().slices_of(&name("a")).next().map(|slice| slice.endpoints.clone()).unwrap_or_default()
}

#[test]
fn pods_that_match_are_endpoints() {
    let mut state = state(&["10.96.0.0/12"]);
    state.apply(some([put(service("a")), put(pod("p2", "a", &["10.0.0.2"])), put(pod("p1", "a", &["10.0.0.1"]))]));
    let applied = state.apply(some([
        put(pod("other", "b", &["10.0.0.3"])),
        put(pod("elsewhere/p", "a", &["10.0.0.4"])),
        put(pod("no-address", "a", &[])),
    ]));
    assert_eq!(applied.changed.services, names(&[]), "none of these is its");
    assert_eq!(addresses(&state, "a"), ["10.0.0.1", "10.0.0.2"]);
    let snapshot = state.snapshot();
    let slice = snapshot.slices_of(&name("a")).next().unwrap().clone();
    assert_eq!((&*slice.name.name, slice.ports[0].port), ("a:ipv4:000001", Some(8080)));
    let first = slice.endpoints.iter().next().unwrap();
    assert_eq!((first.pod, first.node.map(|s| &**s)), (Some("p1"), Some("node-1")));
    let applied = state.apply(some([delete(Kind::Pod, "p1")]));
    assert_eq!((applied.changed.services, addresses(&state, "a")), (names(&["a"]), vec!["10.0.0.2".to_string()]));
}

#[test]
fn a_pod_that_leaves_the_selector_leaves_the_endpoints() {
    let mut state = state(&["10.96.0.0/12"]);
    state.apply(some([put(service("a")), put(service("b")), put(pod("p", "a", &["10.0.0.1"]))]));
    let applied = state.apply(some([put(pod("p", "b", &["10.0.0.1"]))]));
    assert_eq!(applied.changed.services, names(&["a", "b"]));
    assert_eq!((addresses(&state, "a").len(), addresses(&state, "b").len()), (0, 1));
}

#[test]
fn conditions_are_the_controllers() {
    let conditions = |change: fn(&mut Service, &mut Pod)| {
        one_pod(change).iter().next().map(|endpoint| {
            let Conditions { ready, serving, terminating } = endpoint.conditions;
            (ready, serving, terminating)
        })
    };
    assert_eq!(conditions(|_, _| ()), Some((true, true, false)));
    assert_eq!(conditions(|_, pod| pod.ready = false), Some((false, false, false)));
    assert_eq!(conditions(|_, pod| pod.terminating = true), Some((false, true, true)));
    assert_eq!(
        conditions(|service, pod| (service.publish_not_ready, pod.ready) = (true, false)),
        Some((true, false, false))
    );
    assert_eq!(conditions(|_, pod| pod.finished = true), None);
}

#[test]
fn a_hostname_counts_in_the_subdomain_of_the_service() {
    let hostname = |subdomain: &str| {
        let endpoints = one_pod(|_, pod| {
            pod.hostname = Some(Str::from("db-0"));
            pod.subdomain = Some(Str::from(subdomain));
        });
        endpoints.iter().next().unwrap().hostname.map(ToString::to_string)
    };
    assert_eq!((hostname("a").as_deref(), hostname("b")), (Some("db-0"), None));
}

#[test]
fn an_empty_selector_and_an_external_name_select_nothing() {
    assert!(one_pod(|service, _| service.selector = Some(Labels::default())).is_empty());
    assert!(one_pod(|service, _| service.selector = None).is_empty());
    assert!(one_pod(|service, _| service.kind = ServiceType::ExternalName).is_empty());
    assert_eq!(one_pod(|service, _| service.headless = true).len(), 1);
}

#[test]
fn every_label_of_the_selector_must_match() {
    let select = |pairs: &'static [(&str, &str)]| one_pod(|service, _| service.selector = Some(labels(pairs))).len();
    assert_eq!(select(&[("app", "a"), ("tier", "any")]), 1);
    assert_eq!(select(&[("app", "a"), ("tier", "other")]), 0);
    assert_eq!(select(&[("app", "a"), ("zone", "any")]), 0);
}

#[test]
fn pods_whose_named_ports_differ_have_slices_of_their_own() {
    let mut state = state(&["10.96.0.0/12"]);
    let mut service = service("a");
    let named = |name: &str| TargetPort::Name(Str::from(name));
    service.ports = [port("http", 80, named("web")), port("stats", 81, named("stats"))].into();
    let with_ports = |text: &str, ip: &str, ports: &[(&str, u16)]| {
        let mut pod = pod(text, "a", &[ip]);
        let ports = ports.iter().map(|(name, port)| ContainerPort {
            name: Str::from(*name),
            protocol: Protocol::Tcp,
            port: *port,
        });
        pod.ports = ports.collect();
        put(pod)
    };
    state.apply(some([
        put(service),
        with_ports("p1", "10.0.0.1", &[("web", 8080), ("stats", 9000)]),
        with_ports("p2", "10.0.0.2", &[("web", 3000), ("stats", 9000)]),
        with_ports("p3", "10.0.0.3", &[("web", 8080), ("stats", 9000)]),
        with_ports("p4", "10.0.0.4", &[("web", 8080)]),
    ]));
    let snapshot = state.snapshot();
    type Ports = Vec<(String, Option<u16>)>;
    let slices: Vec<(Ports, Vec<String>)> = snapshot
        .slices_of(&name("a"))
        .map(|slice| {
            let ports = slice.ports.iter().map(|port| (port.name.to_string(), port.port)).collect();
            (ports, slice.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect())
        })
        .collect();
    let http = |port| ("http".to_string(), Some(port));
    let stats = ("stats".to_string(), Some(9000));
    assert_eq!(slices.len(), 3);
    assert!(slices.contains(&(vec![http(8080), stats.clone()], vec!["10.0.0.1".into(), "10.0.0.3".into()])));
    assert!(slices.contains(&(vec![http(3000), stats], vec!["10.0.0.2".into()])));
    assert!(slices.contains(&(vec![http(8080)], vec!["10.0.0.4".into()])), "a port it lacks is left out");
}

#[test]
fn both_families_have_slices() {
    let mut state = state(&["10.96.0.0/12", "fd00::/108"]);
    let mut both = service("a");
    both.family_policy = Some(FamilyPolicy::PreferDualStack);
    state.apply(some([put(both), put(service("b")), put(pod("p", "a", &["10.0.0.1", "fd01::1"]))]));
    assert_eq!(addresses(&state, "a"), ["10.0.0.1", "fd01::1"]);
    let snapshot = state.snapshot();
    assert_eq!(
        snapshot.slices_of(&name("a")).map(|slice| slice.family).collect::<Vec<_>>(),
        [Some(Family::V4), Some(Family::V6)]
    );
}

#[test]
fn a_slice_of_its_own_takes_the_place_of_those_from_pods() {
    let mut state = state(&["10.96.0.0/12"]);
    state.apply(some([put(service("a")), put(pod("p", "a", &["10.0.0.1"]))]));
    let applied = state.apply(some([put(slice("a-1", "a", "10.0.0.9"))]));
    assert_eq!((applied.changed.services, addresses(&state, "a")), (names(&["a"]), vec!["10.0.0.9".to_string()]));
    state.apply(some([delete(Kind::EndpointSlice, "a-1")]));
    assert_eq!(addresses(&state, "a"), ["10.0.0.1"]);
}

#[test]
fn of_several_labels_the_rarest_is_looked_at() {
    let mut index = Labelled::default();
    let namespace = Str::from("default");
    for n in 0..100 {
        index.insert(&namespace, &labels(&[("common", "x")]), &Str::from(format!("p{n}")));
    }
    index.insert(&namespace, &labels(&[("rare", "x")]), &Str::from("p1"));
    assert_eq!(index.rarest(&namespace, &labels(&[("common", "x"), ("rare", "x")])), 1);
    assert_eq!(index.rarest(&namespace, &labels(&[("absent", "x"), ("common", "x")])), 0);
}
