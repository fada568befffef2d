//! Plans by kube-proxy's rules.
#![allow(clippy::unwrap_used, reason = "a test ends where its ground is missing")]

use super::*;
use bowline_cluster::object::{Conditions, EndpointPort, Service, ServiceType, TargetPort};
use bowline_cluster::snapshot::SliceKey;
use std::sync::Arc;

fn name() -> ObjectName {
    ObjectName { namespace: "ns".into(), name: "web".into() }
}

fn port(name: &str, protocol: Protocol, port: u16) -> ServicePort {
    ServicePort { name: name.into(), protocol, port, target: TargetPort::Number(port), node_port: 0 }
}

fn service() -> Service {
    Service {
        name: name(),
        created: None,
        labels: Box::default(),
        kind: ServiceType::ClusterIp,
        headless: false,
        cluster_ips: vec!["10.96.0.9".parse().unwrap(), "fd00::9".parse().unwrap()],
        families: vec![Family::V4, Family::V6],
        family_policy: None,
        ports: Box::new([port("http", Protocol::Tcp, 80)]),
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

fn conditions(ready: bool, serving: bool, terminating: bool) -> Conditions {
    Conditions { ready, serving, terminating }
}

fn slice(name: &str, port: &str, number: Option<u16>, endpoints: &[(&str, Conditions)]) -> EndpointSlice {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(address, conditions)| bowline_cluster::object::Endpoint::at(address.parse().unwrap(), *conditions))
        .collect();
    EndpointSlice {
        name: ObjectName { namespace: "ns".into(), name: name.into() },
        labels: Box::default(),
        service: Some("web".into()),
        family: endpoints.first().map(|e| Family::of(&e.address)),
        ports: Box::new([EndpointPort { name: port.into(), protocol: Protocol::Tcp, port: number }]),
        endpoints: endpoints.into_iter().collect(),
        hidden: false,
    }
}

fn planned(service: Service, slices: Vec<EndpointSlice>) -> Plan {
    let mut snapshot = Snapshot::default();
    snapshot.services.insert(name(), Arc::new(service));
    for s in slices {
        let key = SliceKey { namespace: "ns".into(), service: "web".into(), name: s.name.name.clone() };
        snapshot.slices.insert(key, Arc::new(s));
    }
    plan(&snapshot, &name())
}

fn backends(plan: &Plan) -> Vec<Endpoint> {
    plan.ports[0].backends.clone()
}

const READY: Conditions = Conditions { ready: true, serving: true, terminating: false };

#[test]
fn a_port_and_a_family_each() {
    let mut s = service();
    s.ports = Box::new([port("http", Protocol::Tcp, 80), port("dns", Protocol::Udp, 53)]);
    let p = planned(s, vec![slice("a", "http", Some(8080), &[("10.0.0.1", READY)])]);
    assert_eq!(p.ports.len(), 4);
    assert_eq!(p.ports[0].frontends, [endpoint("10.96.0.9".parse().unwrap(), 80)]);
    assert_eq!(backends(&p), [endpoint("10.0.0.1".parse().unwrap(), 8080)]);
    assert!(p.ports[1..].iter().all(|p| p.backends.is_empty()), "joined by the port's name and the family");
    assert!(p.remarks.is_empty());
}

#[test]
fn headless_external_and_foreign_services_need_nothing() {
    let headless = Service { headless: true, cluster_ips: vec![], ..service() };
    let external = Service { kind: ServiceType::ExternalName, cluster_ips: vec![], ..service() };
    let proxied =
        Service { labels: Box::new([("service.kubernetes.io/service-proxy-name".into(), "x".into())]), ..service() };
    let hidden = Service { labels: Box::new([("service.kubernetes.io/headless".into(), "".into())]), ..service() };
    for s in [headless, external, proxied, hidden] {
        assert_eq!(planned(s, vec![]), Plan::default());
    }
    assert_eq!(plan(&Snapshot::default(), &name()), Plan::default());
}

#[test]
fn a_slice_that_its_labels_hide_takes_no_traffic() {
    let shown = slice("a", "http", Some(80), &[("10.0.0.1", READY)]);
    let hidden = EndpointSlice { hidden: true, ..slice("b", "http", Some(80), &[("10.0.0.2", READY)]) };
    assert_eq!(backends(&planned(service(), vec![shown, hidden])), [endpoint("10.0.0.1".parse().unwrap(), 80)]);
}

#[test]
fn ready_ones_and_otherwise_those_that_still_serve() {
    let of = |list: &[(&str, Conditions)]| {
        let p = planned(service(), vec![slice("a", "http", Some(80), list)]);
        backends(&p).iter().map(|e| e.bytes()[15]).collect::<Vec<_>>()
    };
    let leaving = conditions(false, true, true);
    let dead = conditions(false, false, true);
    let starting = conditions(false, false, false);
    assert_eq!(of(&[("10.0.0.1", READY), ("10.0.0.2", leaving), ("10.0.0.3", dead), ("10.0.0.4", starting)]), [1]);
    assert_eq!(of(&[("10.0.0.2", leaving), ("10.0.0.3", dead), ("10.0.0.4", starting)]), [2]);
    assert_eq!(of(&[("10.0.0.3", dead), ("10.0.0.4", starting)]), [0u8; 0]);
}

#[test]
fn an_address_in_two_slices_is_one_backend() {
    let unready = conditions(false, false, false);
    let p = planned(
        service(),
        vec![
            slice("b", "http", Some(80), &[("10.0.0.2", READY), ("10.0.0.1", unready)]),
            slice("a", "http", Some(80), &[("10.0.0.1", READY)]),
            slice("c", "http", None, &[("10.0.0.9", READY)]),
            slice("d", "other", Some(80), &[("10.0.0.8", READY)]),
        ],
    );
    let want: Vec<_> = ["10.0.0.1", "10.0.0.2"].iter().map(|a| endpoint(a.parse().unwrap(), 80)).collect();
    assert_eq!(backends(&p), want, "sorted, once, ready because one slice says so");
}

#[test]
fn what_is_not_there_yet_is_said() {
    let mut s = service();
    s.scheduler = Some(Scheduler::Maglev);
    s.ports = Box::new([port("a", Protocol::Tcp, 80), port("b", Protocol::Sctp, 81)]);
    let p = planned(s, vec![]);
    assert_eq!(p.remarks, ["scheduler maglev is not there yet; rr is used", "port 81/SCTP is not served yet"]);
    assert!(p.ports.iter().all(|p| p.scheduler == Scheduler::Rr && p.protocol == Protocol::Tcp));
    let p = planned(Service { kind: ServiceType::NodePort, ..service() }, vec![]);
    assert_eq!((p.ports.len(), p.remarks.len()), (2, 1), "served at its clusterIP, and said so");
    for scheduler in Scheduler::ALL {
        let works = matches!(scheduler, Scheduler::Rr | Scheduler::Random | Scheduler::Sh);
        assert_eq!(pick(scheduler).is_some(), works, "{scheduler}");
    }
}
