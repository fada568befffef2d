//! Nodes register, get their pod ranges, and are alive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bowline_cluster::source::Stop;
use bowline_sources::store::node::{Event, Registration};
use serde_json::{Value, json};

use crate::ground::{Ground, PATIENCE, run, text};

fn registration(ground: &Ground, name: &str) -> Registration {
    Registration {
        location: ground.location(),
        name: name.to_string(),
        labels: BTreeMap::from([("rack".to_string(), "7".to_string())]),
        addresses: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        version: "1.2.3".to_string(),
        settings: ground.settings.clone(),
        ttl: Duration::from_secs(3),
    }
}

/// Runs registrations until `done` says that what they have told is enough; returns that.
fn until(registrations: &[Registration], done: impl Fn(&[Vec<Event>]) -> bool) -> Vec<Vec<Event>> {
    let (stop, told) = (Stop::default(), Mutex::new(vec![Vec::new(); registrations.len()]));
    std::thread::scope(|scope| {
        for (n, registration) in registrations.iter().enumerate() {
            let (stop, told) = (stop.clone(), &told);
            scope.spawn(move || registration.run(&stop, |event| told.lock().unwrap()[n].push(event)).unwrap());
        }
        let began = Instant::now();
        while !done(&told.lock().unwrap()) && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.stop();
    });
    let told = told.into_inner().unwrap();
    assert!(done(&told), "{told:?}");
    told
}

fn has_registered(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Registered { .. }))
}

#[test]
fn a_node_registers_with_what_it_is() {
    let ground = Ground::with("10.96.0.0/16", "10.244.0.0/16 fd00:244::/48");
    // Somebody has said something of the node before.
    ground.apply("{apiVersion: v1, kind: Node, metadata: {name: node, labels: {theirs: x}}, status: {addresses: [{type: ExternalIP, address: 203.0.113.1}, {type: InternalIP, address: 192.0.2.9}]}}");
    let given = ground.get("node", "node")["spec"].clone();
    assert_eq!(given, json!({"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24", "fd00:244::/64"]}));
    let told = until(&[registration(&ground, "node")], |told| has_registered(&told[0]));
    let cidrs = ["10.244.0.0/24", "fd00:244::/64"].map(|range| range.parse().unwrap()).to_vec();
    assert_eq!(told[0], [Event::Registered { pod_cidrs: cidrs }]);
    let node = ground.get("node", "node");
    assert_eq!(node["spec"], given);
    let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let labels = json!({"theirs": "x", "rack": "7", "kubernetes.io/hostname": "node", "kubernetes.io/os": "linux", "kubernetes.io/arch": arch});
    assert_eq!(node["metadata"]["labels"], labels);
    let addresses = node["status"]["addresses"].as_array().unwrap();
    let of =
        |kind: &str| addresses.iter().filter(|a| a["type"] == kind).map(|a| text(&a["address"])).collect::<Vec<_>>();
    assert_eq!((of("InternalIP"), of("ExternalIP")), (vec!["192.0.2.7", "2001:db8::7"], vec!["203.0.113.1"]));
    assert_eq!(node["status"]["conditions"][0]["status"], "True");
    // It is alive until the lease runs out: the agent has ended without a word.
    let alive = run(ground.store().alive_nodes()).unwrap();
    assert_eq!(alive["node"].version, "1.2.3");
    let began = Instant::now();
    while !run(ground.store().alive_nodes()).unwrap().is_empty() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(ground.claims().len(), 2, "the ranges stay with the Node");
    ground.delete("node", "node").unwrap();
    assert_eq!(ground.claims(), BTreeMap::new());
}

#[test]
fn fifty_nodes_at_once_never_get_the_same_range() {
    let ground = Ground::with("10.96.0.0/16", "10.244.0.0/18 fd00:244::/58");
    let nodes: Vec<Registration> = (0..50).map(|n| registration(&ground, &format!("n-{n}"))).collect();
    let began = Instant::now();
    let told = until(&nodes, |told| told.iter().all(|events| has_registered(events)));
    println!("50 nodes registered in {:?}", began.elapsed());
    let mut seen = BTreeSet::new();
    for events in &told {
        let Some(Event::Registered { pod_cidrs }) = events.first() else { panic!("{events:?}") };
        assert_eq!(pod_cidrs.len(), 2);
        assert!(pod_cidrs.iter().all(|cidr| seen.insert(*cidr)), "{pod_cidrs:?} is given twice");
    }
    let claims = ground.claims();
    assert_eq!(claims.len(), 100);
    for (name, node) in ground.raw("objects/nodes/") {
        let node: Value = serde_json::from_str(&node).unwrap();
        for cidr in node["spec"]["podCIDRs"].as_array().unwrap() {
            assert_eq!(claims[&format!("podcidrs/{}", text(cidr))], name);
        }
    }
}

#[test]
fn a_pool_that_is_exhausted_is_named_with_its_size() {
    let ground = Ground::with("10.96.0.0/16", "10.244.0.0/23");
    let nodes: Vec<Registration> = (0..3).map(|n| registration(&ground, &format!("n-{n}"))).collect();
    let refused = |told: &[Vec<Event>]| {
        told.iter().flatten().find_map(|event| match event {
            Event::Refused(said) => Some(said.clone()),
            _ => None,
        })
    };
    let two = |told: &[Vec<Event>]| told.iter().filter(|events| has_registered(events)).count() == 2;
    let told = until(&nodes, |told| two(told) && refused(told).is_some());
    let said = refused(&told).unwrap();
    assert!(said.contains("all 2 ranges of /24 of the pool 10.244.0.0/23 are taken"), "{said}");
    assert_eq!((ground.claims().len(), ground.raw("objects/nodes/").len()), (2, 2));
    // One that is deleted makes room.
    let gone = ground.raw("objects/nodes/").into_keys().next().unwrap();
    ground.delete("node", &gone).unwrap();
    let waiting = (0..3)
        .map(|n| format!("n-{n}"))
        .find(|name| *name != gone && !ground.raw("objects/nodes/").contains_key(name))
        .unwrap();
    until(&[registration(&ground, &waiting)], |told| has_registered(&told[0]));
}

#[test]
fn written_ranges_are_kept_and_claimed() {
    let ground = Ground::with("10.96.0.0/16", "10.244.0.0/16");
    let node = |name: &str, range: &str| {
        format!("{{apiVersion: v1, kind: Node, metadata: {{name: {name}}}, spec: {{podCIDRs: [{range}]}}}}")
    };
    ground.apply(&node("a", "10.244.7.0/24"));
    ground.apply(&node("b", "172.16.0.0/20"));
    assert_eq!(ground.claims()["podcidrs/10.244.7.0/24"], "a");
    let told = until(&[registration(&ground, "a")], |told| has_registered(&told[0]));
    assert_eq!(told[0], [Event::Registered { pod_cidrs: vec!["10.244.7.0/24".parse().unwrap()] }]);
    for (range, said) in [
        ("10.244.7.0/24", "10.244.7.0/24 belongs to Node a"),
        ("172.16.8.0/24", "172.16.8.0/24 overlaps 172.16.0.0/20, which another Node has"),
        ("172.16.0.0/12", "overlaps 172.16.0.0/20"),
        ("10.244.0.0/20", "overlaps the cluster's pool 10.244.0.0/16 but is no /24 of it"),
        ("10.0.0.0/8", "overlaps the cluster's pool"),
    ] {
        let refused = ground.refused(&node("c", range));
        assert!(refused.contains(said), "{said}: {refused}");
    }
    assert!(ground.refused(&node("a", "10.244.8.0/24")).contains("was 10.244.7.0/24 and can't change"));
    // Overlapping ranges by hand, at once: one of them is stored.
    let stored: Vec<bool> = std::thread::scope(|scope| {
        let (ground, node) = (&ground, &node);
        let writers: Vec<_> = (0..8)
            .map(|n| {
                scope.spawn(move || {
                    ground.try_apply(&node(&format!("x-{n}"), &format!("172.20.0.0/{}", 16 + n))).is_ok()
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(stored.iter().filter(|stored| **stored).count(), 1, "{:?}", ground.claims());
}

#[test]
fn a_lost_lease_or_a_deleted_node_registers_anew() {
    let ground = Ground::with("10.96.0.0/16", "10.244.0.0/16");
    let count = |told: &[Vec<Event>]| told[0].iter().filter(|event| matches!(event, Event::Registered { .. })).count();
    let done = Mutex::new((false, false));
    let told = until(&[registration(&ground, "node")], |told| {
        let mut done = done.lock().unwrap();
        if count(told) == 1 && !done.0 {
            done.0 = true;
            // As if nothing was heard of the node for longer than its lease.
            run(async {
                let mut client = ground.location().connect().await.unwrap().client;
                let key = format!("{}/alive/node", ground.prefix);
                let lease = client.get(key, None).await.unwrap().kvs()[0].lease();
                client.lease_revoke(lease).await.unwrap();
            });
        }
        if count(told) == 2 && !done.1 {
            done.1 = true;
            ground.delete("node", "node").unwrap();
        }
        count(told) == 3
    });
    let cidr = Event::Registered { pod_cidrs: vec!["10.244.0.0/24".parse().unwrap()] };
    assert_eq!(told[0], [cidr.clone(), Event::Lost, cidr.clone(), Event::Deleted, cidr]);
    assert_eq!(ground.claims().len(), 1);
    assert!(ground.raw("alive/").contains_key("node"));
}

#[test]
fn a_node_object_of_another_shape_is_made_right() {
    let ground = Ground::with("10.96.0.0/16", "10.244.0.0/16");
    let odd = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node", "labels": "x"}, "status": [1]});
    ground.put_raw("objects/nodes/node", &odd.to_string());
    until(&[registration(&ground, "node")], |told| has_registered(&told[0]));
    assert_eq!(ground.get("node", "node")["metadata"]["labels"]["rack"], "7");
}

#[test]
fn a_flag_that_does_not_count_is_told() {
    let ground = Ground::with("10.96.0.0/16", "10.244.0.0/16");
    run(ground.store().settings(&ground.settings)).unwrap();
    let mut other = registration(&ground, "node");
    other.settings.cluster_cidr = vec!["10.9.0.0/16".parse().unwrap()];
    let told = until(&[other], |told| has_registered(&told[0]));
    assert_eq!(
        told[0][0],
        Event::Ignored(
            "--cluster-cidr 10.9.0.0/16 does not count: the cluster has 10.244.0.0/16 since it was set up".into()
        )
    );
}
