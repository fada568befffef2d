//! `nearest`: endpoints on the client's own node, then in its zone, then the others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use bowline_cluster::follow::{Follower, Told};
use bowline_cluster::intern::Strings;
use bowline_cluster::source::{Change, Origin, Update};
use bowline_cluster::state::{Options, State};
use bowline_sources::parse;

use crate::address::Transport;
use crate::plugin::Request;
use crate::plugins::testing::{ask_fast, build, question, server, services};
use crate::server::Instance;
use crate::wire::{Message, Type};

const OBJECTS: &str = r#"
{"apiVersion":"v1","kind":"Node","metadata":{"name":"one","labels":{"topology.kubernetes.io/zone":"a"}},"spec":{"podCIDRs":["10.1.0.0/24"]},"status":{"addresses":[{"type":"InternalIP","address":"192.168.0.1"}]}}
---
{"apiVersion":"v1","kind":"Node","metadata":{"name":"two","labels":{"topology.kubernetes.io/zone":"a"}},"spec":{"podCIDRs":["10.2.0.0/24"]}}
---
{"apiVersion":"v1","kind":"Node","metadata":{"name":"three","labels":{"topology.kubernetes.io/zone":"b"}},"spec":{"podCIDRs":["10.3.0.0/24"]}}
---
{"apiVersion":"v1","kind":"Service","metadata":{"name":"db","namespace":"default"},"spec":{"clusterIP":"None","ports":[{"port":5432}]}}
---
{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"db-1","namespace":"default","labels":{"kubernetes.io/service-name":"db"}},"addressType":"IPv4","ports":[{"port":5432}],"endpoints":[{"addresses":["10.3.0.5"],"nodeName":"three","zone":"b"},{"addresses":["10.2.0.5"],"nodeName":"two","zone":"a"},{"addresses":["10.1.0.5"],"nodeName":"one","zone":"a"},{"addresses":["10.3.0.6"],"nodeName":"three","zone":"b"}]}
---
{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"default"},"spec":{"clusterIP":"10.96.0.7","ports":[{"port":80}]}}
---
{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"}}
"#;

fn instance() -> Instance {
    let services = services();
    let text = ". {\n loadbalance nearest\n kubernetes cluster.local\n whoami\n}\n";
    let instance = build(text, Path::new("/"), &services).unwrap();
    let manifest = parse::manifest("objects.yaml", OBJECTS.as_bytes(), &Strings::default());
    assert_eq!(manifest.problems, []);
    let mut state = State::new(Options::default());
    let put = |object| Change::Put(object, Origin::from("objects.yaml"));
    state.apply(Update::All(manifest.objects.into_iter().map(put).collect()));
    services.feed.come(&Told::whole(&state.snapshot()));
    instance
}

fn ask(instance: &Instance, client: &str) -> Vec<String> {
    let mut raw = Vec::new();
    question("db.default.svc.cluster.local.", Type::A).write(&mut raw);
    let from = format!("{client}:4000").parse().unwrap();
    let request = Request::new(raw, from, "127.0.0.1:53".parse().unwrap(), Transport::Udp);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = tokio::task::LocalSet::new().block_on(&runtime, server(instance).answer(request)).unwrap();
    let answer = Message::read(&answer).unwrap();
    answer.answers.iter().map(|record| record.data.to_ip(Type::A).unwrap().to_string()).collect()
}

#[test]
fn the_own_node_comes_first_then_the_own_zone() {
    let instance = instance();
    for _ in 0..20 {
        for (client, first, second) in [
            ("10.1.0.77", "10.1.0.5", "10.2.0.5"),
            ("10.2.0.77", "10.2.0.5", "10.1.0.5"),
            // A Pod in the node's own network.
            ("192.168.0.1", "10.1.0.5", "10.2.0.5"),
        ] {
            let found = ask(&instance, client);
            assert_eq!((found.len(), &*found[0], &*found[1]), (4, first, second), "{client}");
        }
    }
    // A ClusterIP is nowhere: there is nothing to put in order.
    assert!(ask_fast(&instance, &question("web.default.svc.cluster.local.", Type::A)).is_some());
    assert!(ask_fast(&instance, &question("db.default.svc.cluster.local.", Type::A)).is_none());
}

#[test]
fn among_equals_and_for_strangers_the_order_is_random() {
    let instance = instance();
    let firsts = |client: &str| (0..200).map(|_| ask(&instance, client).remove(0)).collect::<BTreeSet<_>>();
    assert_eq!(firsts("10.3.0.77").into_iter().collect::<Vec<_>>(), ["10.3.0.5", "10.3.0.6"]);
    assert_eq!(firsts("172.16.0.1").len(), 4);
}
