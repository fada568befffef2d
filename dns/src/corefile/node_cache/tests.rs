//! NodeLocal DNSCache's own template, filled in as node-cache does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use super::{Settings, fill, is_template};
use crate::corefile::kube_dns::KubeDns;
use crate::corefile::{Corefile, parse};

const TEMPLATE: &str = include_str!("../../../tests/corefiles/nodelocal.Corefile");

fn settings(local: &[&str]) -> Settings {
    Settings {
        local: local.iter().map(|address| address.parse().unwrap()).collect(),
        port: 53,
        cluster_dns: Some("10.96.7.7".parse().unwrap()),
        domain: "cluster.local".to_string(),
    }
}

fn asked(stub: &[(&str, &str)], upstream: &[&str]) -> KubeDns {
    KubeDns {
        stub_domains: stub.iter().map(|(domain, server)| (domain.to_string(), vec![server.to_string()])).collect(),
        upstream_nameservers: upstream.iter().map(ToString::to_string).collect(),
        ..KubeDns::default()
    }
}

fn read(text: &str) -> Corefile {
    parse(text, "Corefile", Path::new(""), &|_| None).unwrap()
}

fn args(corefile: &Corefile, block: usize, directive: &str) -> String {
    let mut directives = corefile.blocks[block].directives.iter();
    directives.find(|found| found.name == directive).unwrap().args.join(" ")
}

#[test]
fn the_template_of_kubernetes() {
    assert!(is_template(TEMPLATE));
    let text = fill(TEMPLATE, "Corefile.base", &settings(&["169.254.20.10", "10.96.0.10"]), &asked(&[], &[])).unwrap();
    assert!(!is_template(&text));
    assert_eq!(text.lines().count(), TEMPLATE.lines().count());
    let corefile = read(&text);
    let keys: Vec<&str> = corefile.blocks.iter().map(|block| block.keys[0].text.as_str()).collect();
    assert_eq!(keys, ["cluster.local:53", "in-addr.arpa:53", "ip6.arpa:53", ".:53"]);
    for block in 0..4 {
        assert_eq!(args(&corefile, block, "bind"), "169.254.20.10 10.96.0.10");
    }
    assert_eq!(args(&corefile, 0, "forward"), ". 10.96.7.7");
    assert_eq!(args(&corefile, 0, "health"), "169.254.20.10:8080");
    assert_eq!(args(&corefile, 3, "forward"), ". /etc/resolv.conf");
}

#[test]
fn both_families() {
    let template =
        "a {\nhealth __PILLAR__LOCAL__DNS__:8080\nready [__PILLAR__LOCAL__DNS__]:8181\nbind __PILLAR__LOCAL__DNS__\n}";
    let corefile = read(&fill(template, "C", &settings(&["fd00::a", "fd00::b"]), &asked(&[], &[])).unwrap());
    assert_eq!(args(&corefile, 0, "health"), "[fd00::a]:8080");
    assert_eq!(args(&corefile, 0, "ready"), "[fd00::a]:8181");
    assert_eq!(args(&corefile, 0, "bind"), "fd00::a fd00::b");
}

#[test]
fn stub_domains_are_blocks_of_their_own() {
    let asked = asked(&[("b.example", "10.0.0.2:5353"), ("a.example", "10.0.0.1")], &[]);
    let mut settings = settings(&["169.254.20.10", "10.96.0.10"]);
    settings.port = 1053;
    let corefile = read(&fill(TEMPLATE, "Corefile.base", &settings, &asked).unwrap());
    assert_eq!(corefile.blocks.len(), 6);
    assert_eq!(corefile.blocks[4].keys[0].text, "a.example:1053");
    assert_eq!(args(&corefile, 4, "forward"), ". 10.0.0.1");
    assert_eq!(args(&corefile, 5, "forward"), ". 10.0.0.2:5353");
    assert_eq!(args(&corefile, 5, "bind"), "169.254.20.10 10.96.0.10");
    assert_eq!(args(&corefile, 5, "cache"), "30");
}

#[test]
fn upstream_servers_of_ones_own_are_asked_over_udp() {
    let template = ".:53 {\n    forward . __PILLAR__UPSTREAM__SERVERS__ {\n            force_tcp\n    }\n    loop\n}\n";
    let by_default = read(&fill(template, "C", &settings(&["169.254.20.10"]), &asked(&[], &[])).unwrap());
    assert_eq!(by_default.blocks[0].directives[0].body()[0].name, "force_tcp");
    let own = read(&fill(template, "C", &settings(&["169.254.20.10"]), &asked(&[], &["1.1.1.1", "9.9.9.9"])).unwrap());
    assert_eq!(args(&own, 0, "forward"), ". 1.1.1.1 9.9.9.9");
    assert_eq!(own.blocks[0].directives[0].body, None);
    assert_eq!(own.blocks[0].directives[1].place.line, 5, "lines keep their numbers");
    let others = template.replace("force_tcp", "force_tcp\nmax_fails 1");
    let others = read(&fill(&others, "C", &settings(&["169.254.20.10"]), &asked(&[], &["1.1.1.1"])).unwrap());
    assert_eq!(others.blocks[0].directives[0].body().len(), 2);
}

#[test]
fn what_can_not_be_filled_is_told_with_its_line() {
    let mut settings = settings(&["169.254.20.10"]);
    let told = fill(". {\nlog __PILLAR__OTHER__ x\n}", "C", &settings, &asked(&[], &[])).unwrap_err().to_string();
    assert!(told.starts_with("C:2: __PILLAR__OTHER__ is no placeholder"), "{told}");
    settings.cluster_dns = None;
    let told = fill(TEMPLATE, "Corefile.base", &settings, &asked(&[], &[])).unwrap_err().to_string();
    assert!(
        told.starts_with("Corefile.base:10: __PILLAR__CLUSTER__DNS__ stands for") && told.contains("-upstreamsvc"),
        "{told}"
    );
}
