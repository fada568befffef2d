//! Which ports a stand-in takes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use bowline_cluster::object::{Protocol, Scheduler};

fn port(at: &str, protocol: Protocol) -> PortPlan {
    let at: SocketAddr = at.parse().unwrap();
    PortPlan {
        port: "".into(),
        protocol,
        family: Family::of(&at.ip()),
        frontends: vec![endpoint(at.ip(), at.port())],
        backends: Vec::new(),
        scheduler: Scheduler::Rr,
        affinity: None,
        stand_in: None,
    }
}

#[test]
fn it_takes_its_port_by_both_protocols_in_the_families_that_it_has() {
    let name = |name: &str| ObjectName { namespace: "kube-system".into(), name: name.into() };
    let at: SocketAddr = "169.254.20.10:5353".parse().unwrap();
    let all = [StandIn { service: name("kube-dns"), port: 53, at: vec![at] }];
    let ports = [
        port("10.96.0.10:53", Protocol::Udp),
        port("10.96.0.10:53", Protocol::Tcp),
        port("10.96.0.10:9153", Protocol::Tcp),
        port("[fd00:10:96::a]:53", Protocol::Udp),
    ];
    let mut taken = ports.clone();
    put(&all, &name("kube-dns"), &mut taken);
    let local = Some(endpoint(at.ip(), 5353));
    assert_eq!(taken.each_ref().map(|plan| plan.stand_in), [local, local, None, None]);
    let mut other = ports.clone();
    put(&all, &name("other"), &mut other);
    assert_eq!(other, ports);
}
