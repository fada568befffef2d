//! What the cluster's answers weigh on top of the snapshot, and what a change and an answer cost: 8,200 Services with
//! 147,600 endpoints, of which the given share in percent (10 by default) is headless.
//!
//! `cargo run --release -p bowline-dns --example records [HEADLESS%]`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline_cluster::intern::Strings;
use bowline_cluster::object::endpoints::Builder;
use bowline_cluster::object::{
    Conditions, Endpoint, EndpointPort, EndpointSlice, Family, Namespace, Object, ObjectName, Protocol, Service,
    ServicePort, ServiceType, Str, TargetPort,
};
use bowline_cluster::source::{Change, Origin, Update};
use bowline_cluster::state::{Options as StateOptions, State};
use bowline_dns::records::{Asked, Keeper, Options};
use bowline_dns::wire::{Name, Type};

const SERVICES: u32 = 8200;
const ENDPOINTS: u32 = 18;
const NAMESPACES: u32 = 82;

fn name_of(n: u32, strings: &Strings) -> ObjectName {
    let namespace = strings.get(&format!("namespace-{}", n % NAMESPACES));
    ObjectName { namespace, name: strings.get(&format!("service-{n}")) }
}

fn service(n: u32, headless: bool, strings: &Strings) -> Service {
    let port = |name: &str, port| ServicePort {
        name: strings.get(name),
        protocol: Protocol::Tcp,
        port,
        target: TargetPort::Number(port),
        node_port: 0,
    };
    Service {
        name: name_of(n, strings),
        created: None,
        labels: Box::default(),
        kind: ServiceType::ClusterIp,
        headless,
        cluster_ips: if headless { Vec::new() } else { vec![IpAddr::V4(Ipv4Addr::from(0x0a60_0000 + n + 1))] },
        families: vec![Family::V4],
        family_policy: None,
        ports: [port("http", 80), port("https", 443)].into(),
        selector: None,
        affinity: None,
        publish_not_ready: false,
        external_name: None,
        scheduler: None,
        internal_local: false,
        prefers_near: false,
        external: None,
    }
}

/// `turn` moves its endpoints on, as a roll-out does.
fn slice(n: u32, turn: u32, strings: &Strings) -> EndpointSlice {
    let service = name_of(n, strings);
    let mut endpoints = Builder::with_capacity(ENDPOINTS as usize);
    for e in 0..ENDPOINTS {
        let node = strings.get(&format!("node-{}", (n + e) % 500));
        let zone = strings.get(&format!("zone-{}", (n + e) % 3));
        endpoints.push(&Endpoint {
            address: IpAddr::V4(Ipv4Addr::from(0x0af4_0000 + n * ENDPOINTS + (e + turn) % ENDPOINTS + turn * 200_000)),
            conditions: Conditions::default(),
            hostname: None,
            node: Some(&node),
            zone: Some(&zone),
            pod: Some(&format!("{}-5d9f7c8b6-{e:05}", service.name)),
        });
    }
    let port = |name: &str, port| EndpointPort { name: strings.get(name), protocol: Protocol::Tcp, port: Some(port) };
    EndpointSlice {
        name: ObjectName { namespace: service.namespace.clone(), name: Str::from(format!("{}-abcde", service.name)) },
        labels: [(strings.get("kubernetes.io/service-name"), service.name.clone())].into(),
        service: Some(service.name),
        family: Some(Family::V4),
        ports: [port("http", 8080), port("https", 8443)].into(),
        endpoints: endpoints.build(),
        hidden: false,
    }
}

/// Resident memory, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap() * 4096
}

fn main() {
    let share: u32 = std::env::args().nth(1).map_or(10, |share| share.parse().unwrap());
    let headless = |n: u32| n % 100 < share;
    let strings = Strings::default();
    let put = |object| Change::Put(object, Origin::from("example"));
    let mut changes: Vec<Change> = (0..NAMESPACES)
        .map(|n| ObjectName { namespace: Str::default(), name: strings.get(&format!("namespace-{n}")) })
        .map(|name| put(Object::Namespace(Arc::new(Namespace { name, labels: Box::default() }))))
        .collect();
    for n in 0..SERVICES {
        changes.push(put(Object::Service(Arc::new(service(n, headless(n), &strings)))));
        changes.push(put(Object::EndpointSlice(Arc::new(slice(n, 0, &strings)))));
    }
    let mut state = State::new(StateOptions::default());
    state.apply(Update::All(changes));
    let zones = ["cluster.local", "in-addr.arpa", "ip6.arpa"].map(|zone| Name::parse(zone).unwrap());
    let mut keeper = Keeper::new(Options::new(&zones, &[]));
    let (before, begun) = (resident(), Instant::now());
    keeper.update(&state.snapshot(), None);
    let (took, grown) = (begun.elapsed(), resident() - before);
    println!("{SERVICES} Services, {} endpoints, {share}% headless", SERVICES * ENDPOINTS);
    println!("compiled in {took:?}, {:.1} MB on top of the snapshot", grown as f64 / 1e6);

    let mut times: Vec<Duration> = Vec::new();
    for turn in 1..=2000 {
        let changed = put(Object::EndpointSlice(Arc::new(slice(turn * 7919 % SERVICES, turn % 50 + 1, &strings))));
        let applied =
            state.apply(Update::Some { changes: vec![changed], read_at: Instant::now(), triggered: Vec::new() });
        let snapshot = state.snapshot();
        let begun = Instant::now();
        keeper.update(&snapshot, Some(&applied.changed));
        times.push(begun.elapsed());
    }
    times.sort();
    println!(
        "a change of {ENDPOINTS} endpoints: p50 {:?}, p99 {:?}",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
    println!("after 2000 changes: {:.1} MB", (resident().saturating_sub(before)) as f64 / 1e6);

    let records = keeper.published().load_full();
    let one = |front: fn(u32) -> String, rtype: Type, of: &dyn Fn(u32) -> bool| {
        let names: Vec<Name> = (0..SERVICES).filter(|n| of(*n)).map(|n| Name::parse(&front(n)).unwrap()).collect();
        let mut bytes = [0; 4096];
        let begun = Instant::now();
        let mut written = 0;
        for name in &names {
            let (zone, front) = records.options().find(name.as_wire()).unwrap();
            let answer = records.resolve(zone, &name.as_wire()[..front], rtype);
            written += answer.write(Asked { name: name.as_wire(), front }, &mut bytes).unwrap().bytes;
        }
        let each = begun.elapsed() / u32::try_from(names.len().max(1)).unwrap();
        println!("{rtype} of {}: {each:?}, {} bytes", front(1), written / names.len().max(1));
    };
    let of_service = |n: u32| format!("service-{n}.namespace-{}.svc.cluster.local", n % NAMESPACES);
    let has_ip = |n: u32| !headless(n);
    if share < 100 {
        one(of_service, Type::A, &has_ip);
        one(of_service, Type::SRV, &has_ip);
    }
    if share > 0 {
        one(of_service, Type::A, &headless);
        one(of_service, Type::SRV, &headless);
    }
    one(|n| format!("service-{n}.example.com.namespace-1.svc.cluster.local"), Type::A, &|_| true);
    one(|n| format!("service-{n}.example.com.cluster.local"), Type::A, &|_| true);
}
