//! `bowline dns --state kubernetes` while its API server is not there: before it was ever read, and after.

use std::sync::{Arc, Mutex};

use bowline_dns::wire::{Message, Rcode, Type};
use bowline_lab::Lab;
use bowline_lab::kubernetes::{ApiServer, ApiServerOptions, Etcd, EtcdOptions, Place};

use crate::server::{Dns, addresses};
use crate::upstream::{Upstream, answer, bytes};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.7.7, ports: [{port: 80}]}
";
const WEB: &str = "web.default.svc.cluster.local";
const NONE: &str = "none.default.svc.cluster.local";
const AWAY: &str = "bowline_dns_state_away_seconds";

#[test]
fn what_is_known_is_answered_and_what_is_not_known_yet_is_servfail() {
    let lab = Lab::new("dns-away").unwrap();
    let place = Place::machine(&lab).unwrap();
    let etcd = Etcd::start(&place, &EtcdOptions::default()).unwrap();
    let mut api = ApiServer::start(&place, &etcd, &ApiServerOptions::default()).unwrap();
    api.apply(SERVICE).unwrap();
    api.kill().unwrap();
    let leaked = Arc::new(Mutex::new(Vec::new()));
    let names = leaked.clone();
    let upstream = Upstream::start(move |socket, question, from| {
        names.lock().unwrap().push(Message::read(question).unwrap().questions[0].name.to_string());
        socket.send_to(&bytes(&answer(question, [192, 0, 2, 9])), from).unwrap();
    });
    let corefile = |ready: &str| {
        let zones = "cluster.local in-addr.arpa";
        let upstream = upstream.address;
        format!(
            ". {{\n    ready {{$READY}}{ready}\n    prometheus {{$METRICS}}\n    kubernetes {zones} {{\n        \
             fallthrough\n        startup_timeout 1s\n    }}\n    forward . {upstream} {{\n        max_fails 0\n    }}\n}}\n"
        )
    };
    let state = format!("kubernetes:{}", api.admin().display());
    let start = |name: &str, ready: &str| Dns::start(&place, name, &corefile(ready), &["--state", &state]);
    let mut plain = start("plain", "");
    let mut strict = start("strict", " {\n        stale 1s\n    }");

    // Nothing is known, also after the time that questions wait for it: nothing is denied, and nobody else is asked.
    for dns in [&plain, &strict] {
        for (name, rtype) in [(WEB, Type::A), (NONE, Type::A), ("cluster.local", Type::SOA)] {
            assert_eq!(dns.ask(name, rtype).rcode(), Rcode::SERVFAIL, "{name}");
        }
        assert_eq!(dns.ask("7.7.96.10.in-addr.arpa", Type::PTR).rcode(), Rcode::SERVFAIL);
        assert_eq!(addresses(&dns.ask("www.example.org", Type::A)), ["192.0.2.9"]);
        assert_eq!(dns.readiness(), 503);
    }
    let seen = leaked.lock().unwrap().clone();
    assert!(seen.iter().all(|name| name == "www.example.org."), "{seen:?}");

    api.restart().unwrap();
    for dns in [&mut plain, &mut strict] {
        dns.wait("it knows the cluster", |dns| addresses(&dns.ask(WEB, Type::A)) == ["10.96.7.7"]);
        dns.wait("it is ready", |dns| dns.readiness() == 200);
        assert_eq!(dns.metric(AWAY), 0.0);
    }

    api.kill().unwrap();
    strict.wait("it is no longer ready, as it was asked to", |dns| dns.readiness() == 503);
    plain.wait("it says how old its answers are", |dns| dns.metric(AWAY) > 1.0);
    assert_eq!(plain.readiness(), 200, "nobody asked for that");
    for dns in [&plain, &strict] {
        assert_eq!(addresses(&dns.ask(WEB, Type::A)), ["10.96.7.7"]);
        assert!(dns.log().contains("the state cannot be read; all that is known stays in force"), "{}", dns.log());
    }

    api.restart().unwrap();
    for dns in [&mut plain, &mut strict] {
        dns.wait("it can read again", |dns| dns.metric(AWAY) == 0.0 && dns.readiness() == 200);
    }
    plain.server.stop().unwrap();
    strict.server.stop().unwrap();
}
