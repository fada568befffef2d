//! `k8s_external`: addresses, SRV, PTR, the apex, and the zone as a whole.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use bowline_cluster::follow::{Follower, Told};
use bowline_cluster::intern::Strings;
use bowline_cluster::source::{Change, Origin, Update};
use bowline_cluster::state::{Options as StateOptions, State};
use bowline_sources::parse;

use super::*;
use crate::address::Transport;
use crate::plugin::Services;
use crate::plugins::testing::{ask, ask_by, build, question, refused, services, shown};
use crate::server::Instance;

const OBJECTS: &str = r#"
{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"}}
---
{"apiVersion":"v1","kind":"Service","metadata":{"name":"test","namespace":"default"},"spec":{"clusterIP":"10.96.0.1","externalIPs":["192.168.200.123"],"ports":[{"name":"http","port":80},{"name":"https","port":443}]},"status":{"loadBalancer":{"ingress":[{"ip":"198.51.100.1"},{"ip":"2001:db8::1"}]}}}
---
{"apiVersion":"v1","kind":"Service","metadata":{"name":"named","namespace":"default"},"spec":{"clusterIP":"10.96.0.3","ports":[{"name":"http","port":80},{"name":"https","port":443}]},"status":{"loadBalancer":{"ingress":[{"ip":"198.51.100.2","hostname":"other.example.net"},{"hostname":"lb.example.net"}]}}}
---
{"apiVersion":"v1","kind":"Service","metadata":{"name":"inner","namespace":"default"},"spec":{"clusterIP":"10.96.0.2","ports":[{"port":80}]}}
---
{"apiVersion":"v1","kind":"Service","metadata":{"name":"db","namespace":"default"},"spec":{"clusterIP":"None","ports":[{"name":"sql","port":5432}]}}
---
{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"db-1","namespace":"default","labels":{"kubernetes.io/service-name":"db"}},"addressType":"IPv4","ports":[{"name":"sql","port":5432}],"endpoints":[{"addresses":["10.244.0.1"],"hostname":"db-0"},{"addresses":["10.244.0.2"]}]}
"#;

fn publish(services: &Services) {
    let manifest = parse::manifest("objects.yaml", OBJECTS.as_bytes(), &Strings::default());
    assert_eq!(manifest.problems, []);
    let mut state = State::new(StateOptions::default());
    let put = |object| Change::Put(object, Origin::from("objects.yaml"));
    state.apply(Update::All(manifest.objects.into_iter().map(put).collect()));
    services.feed.come(&Told::whole(&state.snapshot()));
}

fn with(options: &str) -> Instance {
    let services = services();
    // Nothing reads a state here.
    services.feed.wait_at_start(std::time::Duration::ZERO);
    let text = format!(
        ". {{\ntransfer {{\nto *\n}}\nkubernetes cluster.local\n\
         k8s_external example.org 192.168.0.0/16 {{\n{options}\n}}\n\
         hosts {{\n203.0.113.9 lb.example.net\nfallthrough\n}}\nwhoami\n}}\n"
    );
    let instance = build(&text, Path::new("/"), &services).unwrap();
    assert_eq!(ask(&instance, &question("test.default.example.org.", Type::A)).rcode(), Rcode::SERVFAIL);
    publish(&services);
    instance
}

#[test]
fn services_answer_with_what_they_have_outside() {
    let instance = with("ttl 7");
    let answer = ask(&instance, &question("Test.default.example.org.", Type::A));
    assert_eq!(
        shown(&answer),
        ["Test.default.example.org. A 192.168.200.123", "Test.default.example.org. A 198.51.100.1"]
    );
    assert!(answer.flags.aa() && answer.answers[0].ttl == 7);
    assert_eq!(shown(&ask(&instance, &question("test.default.example.org.", Type::AAAA))).len(), 1);
    let srv = ask(&instance, &question("_http._tcp.test.default.example.org.", Type::SRV));
    let expected = ["_http._tcp.test.default.example.org. SRV 0 33 80 test.default.example.org."];
    assert_eq!((shown(&srv), srv.additionals.len()), (expected.map(str::to_owned).to_vec(), 3));
    let ptr = ask(&instance, &question("123.200.168.192.in-addr.arpa.", Type::PTR));
    assert_eq!(shown(&ptr), ["123.200.168.192.in-addr.arpa. PTR test.default.example.org."]);
    for (name, rtype, rcode) in [
        ("test.default.example.org.", Type::TXT, Rcode::NOERROR),
        ("default.example.org.", Type::A, Rcode::NOERROR),
        ("inner.default.example.org.", Type::A, Rcode::NXDOMAIN),
        ("db.default.example.org.", Type::A, Rcode::NXDOMAIN),
        ("test.other.example.org.", Type::A, Rcode::NXDOMAIN),
        ("a.b.c.test.default.example.org.", Type::A, Rcode::NXDOMAIN),
        ("1.0.168.192.in-addr.arpa.", Type::PTR, Rcode::NXDOMAIN),
    ] {
        let answer = ask(&instance, &question(name, rtype));
        assert_eq!((answer.rcode(), answer.authorities.len()), (rcode, 1), "{name} {rtype}");
    }
}

#[test]
fn the_name_of_a_load_balancer_is_an_alias() {
    let instance = with("ttl 7");
    let answer = ask(&instance, &question("named.default.example.org.", Type::A));
    // Once, though there are two ports; an address goes before a name of the same load balancer.
    let expected = [
        "named.default.example.org. A 198.51.100.2",
        "named.default.example.org. CNAME lb.example.net.",
        "lb.example.net. A 203.0.113.9",
    ];
    assert_eq!(shown(&answer), expected);
    // The alias has the TTL of `kubernetes`, as in CoreDNS.
    assert_eq!((answer.answers[0].ttl, answer.answers[1].ttl, answer.flags.aa()), (7, 5, true));
    let six = ask(&instance, &question("named.default.example.org.", Type::AAAA));
    assert_eq!(shown(&six), ["named.default.example.org. CNAME lb.example.net."]);
    let srv = ask(&instance, &question("_https._tcp.named.default.example.org.", Type::SRV));
    let expected = [
        "_https._tcp.named.default.example.org. SRV 0 50 443 named.default.example.org.",
        "_https._tcp.named.default.example.org. SRV 0 50 443 lb.example.net.",
    ];
    assert_eq!(shown(&srv), expected);
    let additionals: Vec<_> = srv.additionals.iter().map(|record| record.name.to_string()).collect();
    assert_eq!(additionals, ["named.default.example.org.", "lb.example.net."]);
    let other = ask(&instance, &question("named.default.example.org.", Type::CNAME));
    assert_eq!((other.rcode(), other.answers.len(), other.authorities.len()), (Rcode::NOERROR, 0, 1));
}

#[test]
fn the_apex_is_a_zones() {
    let instance = with("apex names");
    let soa = ask(&instance, &question("example.org.", Type::SOA));
    assert!(shown(&soa)[0].starts_with("example.org. SOA ns1.names.example.org. hostmaster.names.example.org. "));
    assert_eq!(shown(&ask(&instance, &question("example.org.", Type::NS))), ["example.org. NS ns1.names.example.org."]);
    for (name, rcode) in [
        ("names.example.org.", Rcode::NOERROR),
        ("ns2.names.example.org.", Rcode::NXDOMAIN),
        ("a.ns1.names.example.org.", Rcode::NXDOMAIN),
    ] {
        assert_eq!(ask(&instance, &question(name, Type::A)).rcode(), rcode, "{name}");
    }
}

#[test]
fn headless_services_answer_with_their_endpoints() {
    let instance = with("headless");
    assert_eq!(shown(&ask(&instance, &question("db.default.example.org.", Type::A))).len(), 2);
    let one = ask(&instance, &question("db-0.db.default.example.org.", Type::A));
    assert_eq!(shown(&one), ["db-0.db.default.example.org. A 10.244.0.1"]);
    let srv = ask(&instance, &question("_sql._tcp.db.default.example.org.", Type::SRV));
    assert_eq!(shown(&srv)[0], "_sql._tcp.db.default.example.org. SRV 0 50 5432 db-0.db.default.example.org.");
}

#[test]
fn what_is_not_there_falls_through_and_the_zone_is_given_whole() {
    let instance = with("fallthrough");
    assert!(!ask(&instance, &question("none.default.example.org.", Type::A)).additionals.is_empty(), "whoami");
    let zone = ask_by(&instance, &question("example.org.", Type::AXFR), Transport::Tcp);
    let text = shown(&zone).join("\n");
    assert_eq!((zone.answers[0].rtype, zone.answers.last().unwrap().rtype), (Type::SOA, Type::SOA));
    for line in [
        "test.default.example.org. A 192.168.200.123",
        "test.default.example.org. AAAA 2001:db8::1",
        "named.default.example.org. CNAME lb.example.net.",
        "named.default.example.org. SRV 0 25 80 lb.example.net.",
        "_https._tcp.test.default.example.org. SRV 0 33 443 test.default.example.org.",
    ] {
        assert_eq!(text.matches(line).count(), 1, "{line}: {text}");
    }
}

#[test]
fn what_is_wrong_is_told() {
    for (body, told) in [
        ("k8s_external", "needs kubernetes in the same block"),
        ("kubernetes\nk8s_external {\nttl 4000\n}", "4000 is not a number of seconds from 0 to 3600"),
        ("kubernetes\nk8s_external {\napex a..b\n}", "apex a..b: the name has an empty label"),
        ("kubernetes\nk8s_external {\nheadles\n}", "did you mean headless?"),
    ] {
        let problem = refused(&format!(". {{\n{body}\n}}\n"));
        assert!(problem.contains(told), "{body}: {problem}");
    }
}
