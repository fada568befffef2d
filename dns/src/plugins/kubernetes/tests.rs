//! `kubernetes`, by both ways, with the fragments of CoreDNS's README.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::{Duration, SystemTime};

use bowline_cluster::follow::{Changed, Follower, Told};
use bowline_cluster::intern::Strings;
use bowline_cluster::object::Object;
use bowline_cluster::source::{Asked, Triggered};
use bowline_sources::parse;

use super::*;
use crate::plugin::Services;
use crate::plugins::testing::{ask, ask_fast, build, dnssec_question, publish, question, refused, services, shown};
use crate::server::Instance;
use crate::wire::{Message, Type};

const OBJECTS: &str = r#"
{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"}}
---
{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","labels":{"team":"core"}}}
---
{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"default"},"spec":{"clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1","fd00:96::1"],"ports":[{"name":"http","port":80},{"name":"https","port":443}]}}
---
{"apiVersion":"v1","kind":"Service","metadata":{"name":"db","namespace":"default"},"spec":{"clusterIP":"None","ports":[{"name":"sql","port":5432}]}}
---
{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"db-1","namespace":"default","labels":{"kubernetes.io/service-name":"db"}},"addressType":"IPv4","ports":[{"name":"sql","port":5432}],"endpoints":[{"addresses":["10.244.0.1"],"hostname":"db-0","zone":"us-west-2a"},{"addresses":["10.244.0.2"],"hostname":"db-1"},{"addresses":["10.244.0.3"],"conditions":{"ready":false}}]}
---
{"apiVersion":"v1","kind":"Service","metadata":{"name":"out","namespace":"default"},"spec":{"type":"ExternalName","externalName":"db.example.com"}}
---
{"apiVersion":"v1","kind":"Service","metadata":{"name":"alias","namespace":"default"},"spec":{"type":"ExternalName","externalName":"web.default.svc.cluster.local"}}
---
{"apiVersion":"v1","kind":"Service","metadata":{"name":"self","namespace":"default"},"spec":{"type":"ExternalName","externalName":"self.default.svc.cluster.local"}}
---
{"apiVersion":"v1","kind":"Service","metadata":{"name":"nowhere","namespace":"default"},"spec":{"type":"ExternalName","externalName":"none.default.svc.cluster.local"}}
---
{"apiVersion":"v1","kind":"Service","metadata":{"name":"kube-dns","namespace":"kube-system"},"spec":{"clusterIP":"10.96.0.10","ports":[{"name":"dns","protocol":"UDP","port":53},{"name":"dns-tcp","port":53}]}}
---
{"apiVersion":"v1","kind":"Pod","metadata":{"name":"client","namespace":"default","labels":{"app":"x"}},"status":{"podIP":"127.0.0.1"}}
"#;

fn instance(corefile: &str, services: &Arc<Services>) -> Instance {
    build(corefile, Path::new("/"), services).unwrap()
}

/// A server with this directive, which knows the objects.
fn with(directive: &str) -> Instance {
    let services = services();
    let instance = instance(&format!(". {{\n{directive}\nwhoami\n}}\n"), &services);
    publish(&services, OBJECTS);
    instance
}

/// The answer, which must be the same by both ways where the fast way has one.
fn both(instance: &Instance, name: &str, rtype: Type) -> Message {
    for asked in [question(name, rtype), dnssec_question(name, rtype)] {
        if let Some(fast) = ask_fast(instance, &asked) {
            assert_eq!(fast, ask(instance, &asked), "{name} {rtype}");
        }
    }
    ask(instance, &question(name, rtype))
}

/// `whoami` answers with no answers and something more: it shows what was passed on.
fn is_passed_on(message: &Message) -> bool {
    message.rcode() == Rcode::NOERROR && message.answers.is_empty() && !message.additionals.is_empty()
}

/// kubeadm's directive.
const KUBEADM: &str = "kubernetes cluster.local in-addr.arpa ip6.arpa {\n\
    pods insecure\nfallthrough in-addr.arpa ip6.arpa\nttl 30\n}";

#[test]
fn kubeadms_directive() {
    let instance = with(KUBEADM);
    let answer = both(&instance, "WEB.default.svc.Cluster.local.", Type::A);
    assert_eq!(shown(&answer), ["WEB.default.svc.Cluster.local. A 10.96.0.1"]);
    assert!(answer.flags.aa() && !answer.flags.ra() && answer.answers[0].ttl == 30);
    assert_eq!(shown(&both(&instance, "web.default.svc.cluster.local.", Type::AAAA)).len(), 1);
    let srv = both(&instance, "_http._tcp.web.default.svc.CLUSTER.local.", Type::SRV);
    let target = "_http._tcp.web.default.svc.CLUSTER.local. SRV 0 50 80 web.default.svc.CLUSTER.local.";
    assert_eq!((shown(&srv), srv.additionals.len()), (vec![target.to_owned()], 2));
    let headless = both(&instance, "db.default.svc.cluster.local.", Type::A);
    assert_eq!(headless.answers.len(), 2);
    assert_eq!(shown(&both(&instance, "db-1.db.default.svc.cluster.local.", Type::A)).len(), 1);
    let ptr = shown(&both(&instance, "2.0.244.10.in-addr.arpa.", Type::PTR));
    assert_eq!(ptr, ["2.0.244.10.in-addr.arpa. PTR db-1.db.default.svc.cluster.local."]);
    assert_eq!(shown(&both(&instance, "1-2-3-4.default.pod.cluster.local.", Type::A)).len(), 1);
    // No such name: the SOA says how long that holds, and reverse zones fall through.
    for name in ["none.default.svc.cluster.local.", "www.example.com.cluster.local.", "a.b.none.svc.cluster.local."] {
        let answer = both(&instance, name, Type::A);
        assert_eq!((answer.rcode(), answer.authorities.len()), (Rcode::NXDOMAIN, 1));
        assert_eq!(answer.authorities[0].ttl, 30);
        assert!(ask_fast(&instance, &question(name, Type::A)).is_some());
    }
    assert!(is_passed_on(&both(&instance, "9.9.9.9.in-addr.arpa.", Type::PTR)));
    assert!(is_passed_on(&both(&instance, "example.com.", Type::A)));
    let txt = shown(&both(&instance, "dns-version.cluster.local.", Type::TXT));
    assert_eq!(txt, ["dns-version.cluster.local. TXT \"1.1.0\""]);
    assert_eq!(both(&instance, "cluster.local.", Type::AXFR).rcode(), Rcode::REFUSED);
}

#[test]
fn before_the_state_was_read_nothing_is_said_not_to_exist() {
    let services = services();
    // The wait for it has a test of its own.
    services.feed.wait_at_start(std::time::Duration::ZERO);
    let text = ". {\nkubernetes cluster.local in-addr.arpa {\nfallthrough\n}\nwhoami\n}\n";
    let instance = instance(text, &services);
    for (name, rtype) in [
        ("web.default.svc.cluster.local.", Type::A),
        ("cluster.local.", Type::SOA),
        ("dns-version.cluster.local.", Type::TXT),
        ("1.0.96.10.in-addr.arpa.", Type::PTR),
    ] {
        assert_eq!(both(&instance, name, rtype).rcode(), Rcode::SERVFAIL, "{name}");
    }
    assert!(is_passed_on(&both(&instance, "example.com.", Type::A)));
    publish(&services, OBJECTS);
    assert_eq!(both(&instance, "web.default.svc.cluster.local.", Type::A).answers.len(), 1);
}

/// What CoreDNS makes of an ExternalName, by the type that is asked for.
#[test]
fn external_names() {
    let services = services();
    let text = ". {\nkubernetes cluster.local\nhosts /nonexistent {\n10.9.9.9 db.example.com\nfallthrough\n}\n}\n";
    let instance = instance(text, &services);
    publish(&services, OBJECTS);
    let asked = |name: &str, rtype| both(&instance, &format!("{name}.default.svc.cluster.local."), rtype);
    let out = ["out.default.svc.cluster.local. CNAME db.example.com.", "db.example.com. A 10.9.9.9"];
    assert_eq!(shown(&asked("out", Type::A)), out);
    assert_eq!(shown(&asked("out", Type::CNAME)), &out[..1]);
    // The target has no address of the family: the alias is all there is.
    assert_eq!(shown(&asked("out", Type::AAAA)), &out[..1]);
    let alias = [
        "alias.default.svc.cluster.local. CNAME web.default.svc.cluster.local.",
        "web.default.svc.cluster.local. A 10.96.0.1",
    ];
    assert_eq!(shown(&asked("alias", Type::A)), alias);
    // A target of the zone without an address, and one that is the name itself, are nothing.
    for (name, rtype) in
        [("nowhere", Type::A), ("self", Type::A), ("out", Type::TXT), ("out", Type::SRV), ("out", Type::HTTPS)]
    {
        let answer = asked(name, rtype);
        assert_eq!((answer.rcode(), answer.answers.len(), answer.authorities.len()), (Rcode::NOERROR, 0, 1), "{name}");
    }
    assert_eq!(asked("x.out", Type::A).rcode(), Rcode::NXDOMAIN);
}

/// The README's examples, and what else is accepted.
#[test]
fn every_option_is_read() {
    for directive in [
        "kubernetes cluster.local",
        "kubernetes 10.0.0.0/24 cluster.local {\npods verified\n}",
        "kubernetes cluster.local {\nnamespaces test staging\n}",
        "kubernetes cluster.local {\nnamespace_labels istio-injection=enabled\n}",
        "kubernetes cluster.local {\nlabels environment in (staging, qa),application=nginx\n}",
        "kubernetes cluster.local {\nendpoint https://k8s-endpoint:8443\ntls cert key cacert\n}",
        "kubernetes cluster.local {\nkubeconfig /etc/kubeconfig context\n}",
        "kubernetes cluster.local clusterset.local {\nmulticluster clusterset.local\n}",
        "kubernetes cluster.local {\nzonal\nendpoint_pod_names\nignore empty_service\nstartup_timeout 10s\n}",
        "kubernetes cluster.local {\nnoendpoints\nttl 0\napiserver_qps 5.5\napiserver_burst 3\n}",
        "kubernetes cluster.local {\napiserver_max_inflight 0\nfallthrough\npods disabled\n}",
    ] {
        assert_eq!(refused(&format!("cluster.local {{\n{directive}\n}}\n")), "accepted", "{directive}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let said = |directive: &str| refused(&format!("cluster.local {{\n{directive}\n}}\n"));
    let option = |option: &str| said(&format!("kubernetes {{\n{option}\n}}"));
    assert_eq!(option("ttl 3601"), "Corefile:3: ttl: 3601 is not a number of seconds from 0 to 3600");
    assert_eq!(option("pods maybe"), "Corefile:3: pods: maybe is not disabled, insecure or verified");
    assert_eq!(
        option("endpoint_pod_name"),
        "Corefile:3: endpoint_pod_name: is no option here; did you mean endpoint_pod_names?"
    );
    assert_eq!(option("ignore all"), "Corefile:3: ignore: all is not empty_service");
    assert!(option("tls a b").starts_with("Corefile:3: tls: takes 3 arguments"));
    assert!(option("labels a in (").starts_with("Corefile:3: labels: the selector"));
    assert!(option("apiserver_qps -1").starts_with("Corefile:3: apiserver_qps: -1 is not a number"));
    assert!(option("apiserver_burst -1").starts_with("Corefile:3: apiserver_burst: \"-1\" is not a whole number"));
    assert!(option("startup_timeout soon").starts_with("Corefile:3: startup_timeout: \"soon\" is not a duration"));
    let both = "namespaces a\nnamespace_labels a=b";
    assert_eq!(option(both), "Corefile:4: namespace_labels: stands beside namespaces; keep one of the two");
    assert!(option("zonal\nnoendpoints").starts_with("Corefile:3: zonal: needs endpoints"));
    let other = "Corefile:3: multicluster: clusterset.local. is none of the directive's zones; add it there";
    assert_eq!(option("multicluster clusterset.local"), other);
    assert!(said("kubernetes in-addr.arpa").starts_with("Corefile:2: kubernetes: has reverse zones only"));
    assert!(said("kubernetes\nkubernetes").starts_with("Corefile:3: kubernetes: stands twice"));
}

#[test]
fn a_reload_keeps_what_was_compiled() {
    let services = services();
    let text = ". {\nkubernetes cluster.local\n}\n";
    let (first, second) = (instance(text, &services), instance(text, &services));
    publish(&services, OBJECTS);
    let records = |instance: &Instance| {
        let server = instance.servers().values().next().unwrap().clone();
        let (_, block) = server.blocks().next().unwrap();
        block.plugins.iter().find_map(|plugin| plugin.cluster()).unwrap().load_full()
    };
    assert!(Arc::ptr_eq(&records(&first), &records(&second)));
    let other = instance(". {\nkubernetes cluster.local {\nttl 7\n}\n}\n", &services);
    // It follows from where the state is now.
    assert!(records(&other).is_synced() && !Arc::ptr_eq(&records(&first), &records(&other)));
}

#[test]
fn how_long_a_change_took_is_told_by_the_kind_of_its_service() {
    let services = services();
    let text = ". {\nkubernetes cluster.local\n}\n";
    let _instance = instance(text, &services);
    let slice = |name: &str, service: &str| {
        let text = format!(
            r#"{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{{"name":"{name}","namespace":"default",
            "labels":{{"kubernetes.io/service-name":"{service}"}}}},"addressType":"IPv4","endpoints":[]}}"#
        );
        let mut manifest = parse::manifest("slice.yaml", text.as_bytes(), &Strings::default());
        let Some(Object::EndpointSlice(slice)) = manifest.objects.pop() else { panic!("{:?}", manifest.problems) };
        // The clock of its writer may be ahead.
        [SystemTime::now() - Duration::from_millis(1500), SystemTime::now() + Duration::from_secs(60)]
            .map(|at| Triggered { slice: slice.clone(), at })
    };
    let changes = [slice("db-1", "db"), slice("web-1", "web"), slice("lost-1", "lost")].concat();
    publish(&services, OBJECTS);
    assert!(!services.metrics.page().contains("programming"), "nothing of it has said when it began");
    let snapshot = services.feed.snapshot().unwrap();
    services.feed.come(&Told { changed: Some(&Changed::default()), triggered: &changes, ..Told::whole(&snapshot) });
    let page = services.metrics.page();
    let name = "coredns_kubernetes_dns_programming_duration_seconds";
    for kind in ["headless_with_selector", "cluster_ip"] {
        for (le, count) in [("0.001", 1), ("1.024", 1), ("524.288", 2), ("+Inf", 2)] {
            let line = format!("{name}_bucket{{service_kind=\"{kind}\",le=\"{le}\"}} {count}\n");
            assert!(page.contains(&line), "{line}{page}");
        }
    }
    assert_eq!(page.matches(&format!("{name}_count")).count(), 2, "a slice of no Service is no answer: {page}");
}

#[test]
fn requests_to_the_api_server_are_counted() {
    let services = services();
    let took = Duration::from_millis(20);
    services.feed.asked(&Asked { host: "10.0.0.1:6443", status: Some(200), took });
    services.feed.asked(&Asked { host: "10.0.0.1:6443", status: None, took });
    let page = services.metrics.page();
    for line in [
        r#"requests_total{code="200",host="10.0.0.1:6443",method="GET"} 1"#,
        r#"requests_total{code="<error>",host="10.0.0.1:6443",method="GET"} 1"#,
        r#"request_duration_seconds_bucket{host="10.0.0.1:6443",verb="GET",le="0.01"} 0"#,
        r#"request_duration_seconds_bucket{host="10.0.0.1:6443",verb="GET",le="0.025"} 2"#,
    ] {
        assert!(page.contains(&format!("coredns_kubernetes_rest_client_{line}\n")), "{line}: {page}");
    }
}
