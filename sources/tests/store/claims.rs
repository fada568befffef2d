//! What no two objects may share: given, refused, given back, and never twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bowline_lab::kubernetes::{Etcd, EtcdOptions, Place};
use bowline_lab::{Lab, wait_for};
use bowline_sources::store::StoreError;
use bowline_sources::store::apply::{DryRun, Outcome};
use rustix::process::Signal;
use serde_json::Value;

use crate::ground::{Ground, PATIENCE, object, run, service, text};

#[test]
fn addresses_and_ports_left_out_are_given_and_given_back() {
    let ground = Ground::with("10.96.0.0/16 fd00:96::/112", "");
    let spec = "type: LoadBalancer, externalTrafficPolicy: Local, ipFamilyPolicy: PreferDualStack";
    let spec = ground.apply(&service("web", spec)).object["spec"].clone();
    let ips: Vec<IpAddr> = spec["clusterIPs"].as_array().unwrap().iter().map(|ip| text(ip).parse().unwrap()).collect();
    assert!(ips[0].is_ipv4() && ips[1].is_ipv6() && spec["clusterIP"] == spec["clusterIPs"][0]);
    // From the upper band: people write the lower addresses and ports.
    assert!(ips[0] > "10.96.1.0".parse::<IpAddr>().unwrap(), "{ips:?}");
    let (node_port, health) = (&spec["ports"][0]["nodePort"], &spec["healthCheckNodePort"]);
    assert!(node_port.as_u64().unwrap() >= 30_086 && health.as_u64().unwrap() >= 30_086, "{spec}");
    let claims = ground.claims();
    let wanted = [
        format!("addresses/{}", ips[0]),
        format!("addresses/{}", ips[1]),
        format!("healthcheckports/{health}"),
        format!("nodeports/TCP/{node_port}"),
    ];
    assert_eq!(claims.keys().cloned().collect::<Vec<_>>(), wanted);
    assert!(claims.values().all(|name| name == "web"));
    let value: Value = serde_json::from_str(&ground.raw("claims/addresses/")[&ips[0].to_string()]).unwrap();
    assert_eq!(value, serde_json::json!({"kind": "Service", "namespace": "default", "name": "web"}));

    // Kept when applied again, given back as the type changes.
    assert_eq!(
        ground.apply(&service("web", "type: NodePort, ipFamilyPolicy: PreferDualStack")).object["spec"]["clusterIPs"],
        spec["clusterIPs"]
    );
    assert_eq!(ground.claims().keys().cloned().collect::<Vec<_>>(), [&wanted[..2], &wanted[3..]].concat());
    ground.apply(&service("web", "type: ClusterIP, ipFamilyPolicy: PreferDualStack"));
    assert_eq!(ground.claims().keys().cloned().collect::<Vec<_>>(), wanted[..2]);
    ground.apply(&service("web", "ipFamilyPolicy: SingleStack"));
    assert_eq!(ground.claims().keys().cloned().collect::<Vec<_>>(), wanted[..1]);
    ground.apply(&service("web", "type: ExternalName, externalName: a.example"));
    assert_eq!(ground.claims(), BTreeMap::new());
    let back = ground.apply(&service("web", "type: ClusterIP")).object;
    assert_eq!(ground.claims().len(), 1, "{back}");
    ground.delete("svc", "web").unwrap();
    assert_eq!(ground.claims(), BTreeMap::new());
}

#[test]
fn what_another_holds_is_refused_with_who_holds_it() {
    let ground = Ground::new();
    let one = "clusterIP: 10.96.0.10, type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 30002, ports: [{port: 80, nodePort: 30001}]";
    ground.apply(&service("one", one));
    for (spec, said) in [
        ("clusterIP: 10.96.0.10", "spec.clusterIPs: 10.96.0.10 belongs to Service default/one"),
        ("type: NodePort, ports: [{port: 80, nodePort: 30001}]", "port 30001/TCP belongs to Service default/one"),
        ("type: NodePort, ports: [{port: 80, nodePort: 30002}]", "port 30002 belongs to Service default/one"),
        (
            "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 30001",
            "port 30001/TCP belongs to Service default/one",
        ),
        (
            "clusterIP: 192.0.2.1",
            "192.0.2.1 is no address of the Service ranges; write one of 10.96.0.0/12, fd00:10:96::/112",
        ),
        ("clusterIP: 10.96.0.0", "10.96.0.0 is no address of the Service ranges"),
        ("type: NodePort, ports: [{port: 80, nodePort: 29999}]", "29999 is no node port; write one of 30000-32767"),
    ] {
        let refused = ground.refused(&service("two", spec));
        assert!(refused.contains(said), "{said}: {refused}");
    }
    // UDP is another port.
    ground.apply(&service("udp", "type: NodePort, ports: [{port: 80, nodePort: 30001, protocol: UDP}]"));
    // Once the first one is gone, it is free.
    ground.delete("svc", "one").unwrap();
    ground.apply(&service("two", one));
}

#[test]
fn what_was_given_cannot_be_changed() {
    let ground = Ground::new();
    ground.apply(&service("web", "clusterIP: 10.96.0.10"));
    assert!(ground.refused(&service("web", "clusterIP: 10.96.0.11")).contains("was 10.96.0.10 and can't change"));
    assert!(ground.refused(&service("web", "clusterIP: None")).contains("was 10.96.0.10 and can't change"));
    // Left out, it stays; so do ports that others have added to.
    assert_eq!(ground.apply(&service("web", "")).object["spec"]["clusterIP"], "10.96.0.10");
    assert_eq!(ground.claims().len(), 1);
    // A node port may move.
    ground.apply(&service("np", "type: NodePort, ports: [{port: 80, nodePort: 30005}]"));
    ground.apply(&service("np", "type: NodePort, ports: [{port: 80, nodePort: 30006}]"));
    assert_eq!(ground.raw("claims/nodeports/").into_keys().collect::<Vec<_>>(), ["TCP/30006"]);
}

#[test]
fn ranges_of_service_cidrs_count_too() {
    let ground = Ground::with("10.96.0.0/30", "");
    // Of four addresses, one can be given: network, `kubernetes`, one, broadcast.
    assert_eq!(ground.apply(&service("a", "")).object["spec"]["clusterIP"], "10.96.0.2");
    let full = ground.refused(&service("b", ""));
    assert!(full.contains("all addresses of 10.96.0.0/30 are taken"), "{full}");
    assert!(ground.refused(&service("six", "ipFamilies: [IPv6]")).contains("the cluster has no IPv6 range"));
    ground.apply("{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: more}, spec: {cidrs: [10.97.0.0/24, \"fd00:97::/112\"]}}");
    assert!(text(&ground.apply(&service("b", "")).object["spec"]["clusterIP"]).starts_with("10.97.0."));
    assert!(
        text(&ground.apply(&service("six", "ipFamilies: [IPv6]")).object["spec"]["clusterIP"]).starts_with("fd00:97::")
    );
    assert_eq!(ground.apply(&service("c", "clusterIP: 10.97.0.9")).object["spec"]["clusterIP"], "10.97.0.9");
}

#[test]
fn the_first_settings_count() {
    let ground = Ground::with("10.96.0.0/24", "");
    ground.apply(&service("a", ""));
    let later = ground.set(Default::default());
    let stored = run(later.store().settings(&later.settings)).unwrap();
    assert_eq!(stored.service_cluster_ip_range, ["10.96.0.0/24".parse().unwrap()]);
    let told = later.settings.differences(&stored);
    assert!(
        told[0].starts_with(
            "--service-cluster-ip-range 10.96.0.0/12,fd00:10:96::/112 does not count: the cluster has 10.96.0.0/24"
        ),
        "{told:?}"
    );
    assert!(text(&later.apply(&service("b", "")).object["spec"]["clusterIP"]).starts_with("10.96.0."));
    assert_eq!(serde_json::from_str::<Value>(&later.raw("cluster")[""]).unwrap()["nodePortRange"], "30000-32767");
}

#[test]
fn claims_of_what_is_not_there_are_taken_over() {
    let ground = Ground::new();
    // The object was deleted by etcdctl: its claims are left.
    ground.apply(&service("one", "clusterIP: 10.96.0.10, type: NodePort, ports: [{port: 80, nodePort: 30001}]"));
    ground.delete_raw("objects/services/default/one");
    ground.apply(&service("two", "clusterIP: 10.96.0.10, type: NodePort, ports: [{port: 80, nodePort: 30001}]"));
    assert!(ground.claims().values().all(|name| name == "two"), "{:?}", ground.claims());
    // The holder is there, but has it no more.
    ground.apply(&service("three", "clusterIP: 10.96.0.11"));
    let raw = ground.raw("objects/services/default/")["three"].replace("10.96.0.11", "10.96.0.12");
    ground.put_raw("objects/services/default/three", &raw);
    ground.apply(&service("four", "clusterIP: 10.96.0.11"));
    assert_eq!(ground.claims()["addresses/10.96.0.11"], "four");
    // What was put by hand gets its claims when it is applied.
    ground.apply(&service("three", ""));
    ground
        .apply("{apiVersion: v1, kind: Service, metadata: {name: three, labels: {a: b}}, spec: {ports: [{port: 80}]}}");
    assert_eq!(ground.claims()["addresses/10.96.0.12"], "three");
    assert!(ground.refused(&service("five", "clusterIP: 10.96.0.12")).contains("default/three"));
    // Deleting an object never takes another's claim.
    let raw = ground.raw("objects/services/default/")["three"].replace("10.96.0.12", "10.96.0.10");
    ground.put_raw("objects/services/default/three", &raw);
    ground.delete("svc", "three").unwrap();
    assert_eq!(ground.claims()["addresses/10.96.0.10"], "two");
}

/// What all objects have, each with its claim; panics where one is doubly held or leaked.
fn consistent(ground: &Ground) -> usize {
    let mut held: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in ground.raw("objects/services/default/") {
        let object: Value = serde_json::from_str(&value).unwrap();
        let spec = &object["spec"];
        let mut claims: BTreeSet<String> =
            spec["clusterIPs"].as_array().unwrap().iter().map(|ip| format!("addresses/{}", text(ip))).collect();
        for port in spec["ports"].as_array().unwrap().iter().filter(|port| port["nodePort"].is_number()) {
            claims.insert(format!("nodeports/{}/{}", text(&port["protocol"]), port["nodePort"]));
        }
        if spec["healthCheckNodePort"].is_number() {
            claims.insert(format!("healthcheckports/{}", spec["healthCheckNodePort"]));
        }
        for claim in claims {
            if let Some(other) = held.insert(claim.clone(), key.clone()) {
                panic!("{claim} is held by {other} and {key}");
            }
        }
    }
    assert_eq!(ground.claims(), held, "claims and objects differ");
    held.len()
}

#[test]
fn many_writers_at_once_never_hold_the_same() {
    // Room for 29 Services; 60 want to be: addresses and ports run out while all write.
    let mut ground = Ground::with("10.96.0.0/27", "");
    ground.settings.node_port_range = 30_000..=30_029;
    let ground = &ground;
    let specs = [
        "type: NodePort",
        "type: LoadBalancer, externalTrafficPolicy: Local",
        "",
        "type: NodePort, ports: [{name: a, port: 53, protocol: UDP}, {name: b, port: 53}]",
    ];
    let failed: Vec<String> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..12)
            .map(|writer| {
                scope.spawn(move || {
                    let store = ground.store();
                    let mut failed = Vec::new();
                    run(async {
                        for round in 0..5 {
                            let name = format!("s-{writer}-{round}");
                            let manifest = object(&service(&name, specs[(writer + round) % specs.len()]));
                            match store.apply(&manifest, DryRun::No, &ground.settings).await {
                                Ok(_) => {}
                                Err(StoreError::Refused(refusals)) => failed.push(refusals[0].to_string()),
                                Err(error) => panic!("{name}: {error}"),
                            }
                            // Some go again meanwhile, some change their type.
                            if round == 2 {
                                let resource = bowline_sources::store::Resource::parse("svc").unwrap();
                                let name = format!("s-{writer}-0");
                                let _ =
                                    store.delete(&resource, "default", &name, &Default::default(), DryRun::No).await;
                            }
                            if round == 3 {
                                let manifest = object(&service(&format!("s-{writer}-1"), "type: ClusterIP"));
                                let _ = store.apply(&manifest, DryRun::No, &ground.settings).await;
                            }
                        }
                    });
                    failed
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    let held = consistent(ground);
    println!("{held} claims held, {} writes refused", failed.len());
    assert!(!failed.is_empty() && failed.iter().all(|said| said.contains("are taken")), "{failed:?}");
    // All can be given back.
    for name in ground.raw("objects/services/default/").into_keys() {
        ground.delete("svc", &name).unwrap();
    }
    assert_eq!(consistent(ground), 0);
}

#[test]
fn many_writers_of_the_same_written_address_have_one_winner() {
    let ground = &Ground::new();
    let won: Vec<bool> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..16)
            .map(|n| {
                scope.spawn(move || ground.try_apply(&service(&format!("s-{n}"), "clusterIP: 10.96.0.10")).is_ok())
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    assert_eq!(consistent(ground), 1);
}

#[test]
fn writers_whose_etcd_dies_and_comes_back_lose_and_double_nothing() {
    let lab = Lab::new("store-fault").unwrap();
    let mut etcd = Etcd::start(&Place::machine(&lab).unwrap(), &EtcdOptions::default()).unwrap();
    let ground = &Ground::on(&etcd);
    ground.apply(&service("first", ""));
    let (written, stop) = (&AtomicU32::new(0), &AtomicBool::new(false));
    let outcomes: Vec<(String, Outcome)> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                scope.spawn(move || {
                    let (store, mut outcomes) = (ground.store(), Vec::new());
                    run(async {
                        for n in 0.. {
                            if stop.load(Ordering::Relaxed) {
                                break;
                            }
                            let name = format!("s-{writer}-{n}");
                            let manifest = object(&service(&name, "type: NodePort"));
                            let done = store.apply(&manifest, DryRun::No, &ground.settings).await.unwrap();
                            outcomes.push((name, done.outcome));
                            written.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                    outcomes
                })
            })
            .collect();
        for _ in 0..3 {
            let before = written.load(Ordering::Relaxed);
            wait_for("they write", PATIENCE, || written.load(Ordering::Relaxed) > before + 20).unwrap();
            etcd.members_mut()[0].kill().unwrap();
            etcd.members_mut()[0].start().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    // Each was told that it has created its object, whatever became of the answer.
    assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Created), "{outcomes:?}");
    assert_eq!(ground.raw("objects/services/default/").len(), outcomes.len() + 1);
    println!("{} objects written while etcd died three times", outcomes.len());
    assert_eq!(consistent(ground), 2 * outcomes.len() + 1);
}

#[test]
fn a_member_that_falls_silent_is_left_for_another() {
    let lab = Lab::new("store-silent").unwrap();
    let options = EtcdOptions { members: 3, ..EtcdOptions::default() };
    let etcd = Etcd::start(&Place::machine(&lab).unwrap(), &options).unwrap();
    let ground = Ground::on(&etcd);
    let store = ground.store();
    run(async {
        let apply = async |name| store.apply(&object(&service(name, "")), DryRun::No, &ground.settings).await;
        apply("before").await.unwrap();
        // The store is connected to the first.
        etcd.members()[0].server().signal(Signal::STOP).unwrap();
        assert_eq!(apply("after").await.unwrap().outcome, Outcome::Created);
    });
    assert_eq!(consistent(&ground), 2);
}

#[test]
fn more_node_ports_than_one_transaction_takes_are_refused() {
    let ground = Ground::new();
    let spec = |count: u32| {
        let ports: Vec<String> = (1..=count).map(|port| format!("{{name: p{port}, port: {port}}}")).collect();
        format!("type: NodePort, ports: [{}]", ports.join(", "))
    };
    // Each is compared with a port for health checks, too.
    assert!(ground.refused(&service("many", &spec(64))).contains("make several objects of it"));
    ground.apply(&service("many", &spec(60)));
    assert_eq!(consistent(&ground), 61);
    ground.delete("service", "many").unwrap();
    assert_eq!(ground.claims().len(), 0);
}
