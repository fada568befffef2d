//! What each port of a Service needs in the kernel, by kube-proxy's rules. Pure: a function of the
//! Service and its slices.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bowline_cluster::object::{
    EndpointSlice, Family, ObjectName, Protocol, Scheduler, Service, ServicePort, ServiceType, Str,
};
use bowline_cluster::snapshot::Snapshot;
use bowline_ebpf::layout::{Endpoint, Pick};

/// One port of a Service in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// Name of the Service's port; empty where there is but one.
    pub port: Str,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The family of front ends and backends.
    pub family: Family,
    /// The addresses and ports that clients use.
    pub frontends: Vec<Endpoint>,
    /// Where they lead: sorted, none twice.
    pub backends: Vec<Endpoint>,
    /// How one is chosen.
    pub scheduler: Scheduler,
    /// Seconds that a client stays with its backend.
    pub affinity: Option<u32>,
    /// What takes its traffic while it is well.
    pub stand_in: Option<Endpoint>,
}

/// Ports of the node that lead to pods, by the names under which the tables have them.
pub type HostPorts = BTreeMap<ObjectName, Vec<PortPlan>>;

/// The name under which the tables have a port of the node; no Service has such a namespace.
pub fn host_port_name(at: &str) -> ObjectName {
    ObjectName { namespace: Str::from("hostPort"), name: Str::from(at) }
}

/// A port of the node that leads to one of a pod, for the node's own processes. All addresses are of one family.
pub fn host_port(protocol: Protocol, at: &[SocketAddr], pod: SocketAddr) -> PortPlan {
    PortPlan {
        port: Str::default(),
        protocol,
        family: Family::of(&pod.ip()),
        frontends: at.iter().map(|at| endpoint(at.ip(), at.port())).collect(),
        backends: vec![endpoint(pod.ip(), pod.port())],
        scheduler: Scheduler::Rr,
        affinity: None,
        stand_in: None,
    }
}

/// What a Service needs, and what of it can't be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Its ports.
    pub ports: Vec<PortPlan>,
    /// What is asked for and not done, with what is done instead.
    pub remarks: Vec<String>,
}

/// How the kernel reads a slice of a scheduler; None: the scheduler isn't there yet.
pub fn pick(scheduler: Scheduler) -> Option<Pick> {
    match scheduler {
        Scheduler::Rr => Some(Pick::Turn),
        Scheduler::Random => Some(Pick::Random),
        Scheduler::Sh => Some(Pick::Client),
        Scheduler::Wrr
        | Scheduler::Lc
        | Scheduler::Wlc
        | Scheduler::Dh
        | Scheduler::Sed
        | Scheduler::Nq
        | Scheduler::Maglev => None,
    }
}

/// An address and a port as the maps hold them.
pub fn endpoint(address: IpAddr, port: u16) -> Endpoint {
    let bytes = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    Endpoint::from_bytes(bytes, port.to_be())
}

/// What of a Service is not done yet, and needs kube-proxy beside: a sentence each. Nothing for a Service
/// that is no business of a proxy.
pub fn not_served(service: &Service) -> Vec<String> {
    let mut missing = Vec::new();
    if !service.has_cluster_ip() || service.is_hidden() {
        return missing;
    }
    let external = service.external.as_deref();
    if service.kind == ServiceType::NodePort {
        missing.push("node ports are not served yet; its clusterIP is".to_owned());
    }
    if service.kind == ServiceType::LoadBalancer {
        missing.push("node ports and load balancer addresses are not served yet; its clusterIP is".to_owned());
    }
    if external.is_some_and(|external| !external.ips.is_empty()) {
        missing.push("externalIPs are not served yet; its clusterIP is".to_owned());
    }
    if service.internal_local {
        missing.push("internalTrafficPolicy Local is not kept yet; endpoints of all nodes are used".to_owned());
    }
    if service.prefers_near {
        missing.push("trafficDistribution is not kept yet; endpoints of all zones are used".to_owned());
    }
    for port in service.ports.iter().filter(|port| port.protocol == Protocol::Sctp) {
        missing.push(format!("port {}/SCTP is not served yet", port.port));
    }
    missing
}

/// Plans a Service. One that isn't there, is headless or for another proxy needs nothing.
pub fn plan(snapshot: &Snapshot, name: &ObjectName) -> Plan {
    let Some(service) = snapshot.services.get(name) else { return Plan::default() };
    if !service.has_cluster_ip() || service.is_hidden() {
        return Plan::default();
    }
    let mut plan = Plan::default();
    let mut scheduler = service.scheduler.unwrap_or_default();
    if pick(scheduler).is_none() {
        plan.remarks.push(format!("scheduler {scheduler} is not there yet; rr is used"));
        scheduler = Scheduler::Rr;
    }
    plan.remarks.extend(not_served(service));
    for port in service.ports.iter().filter(|port| port.protocol != Protocol::Sctp) {
        for family in [Family::V4, Family::V6] {
            let frontends: Vec<Endpoint> = service
                .cluster_ips
                .iter()
                .filter(|ip| Family::of(ip) == family && snapshot.owns(name, **ip, port.port, port.protocol))
                .map(|ip| endpoint(*ip, port.port))
                .collect();
            if frontends.is_empty() {
                continue;
            }
            plan.ports.push(PortPlan {
                port: port.name.clone(),
                protocol: port.protocol,
                family,
                frontends,
                backends: backends(port, family, snapshot.slices_of(name).map(|s| &**s)),
                scheduler,
                affinity: service.affinity,
                stand_in: None,
            });
        }
    }
    plan
}

/// The endpoints that take traffic: those that are ready, and where there is none, those that are
/// terminating and still serving.
fn backends<'a>(port: &ServicePort, family: Family, slices: impl Iterator<Item = &'a EndpointSlice>) -> Vec<Endpoint> {
    let mut ready = Vec::new();
    let mut serving = Vec::new();
    for slice in slices.filter(|s| s.family == Some(family) && !s.hidden) {
        let joined = slice.ports.iter().filter(|p| p.name == port.name && p.protocol == port.protocol);
        for number in joined.filter_map(|p| p.port) {
            for e in &slice.endpoints {
                if e.conditions.ready {
                    ready.push(endpoint(e.address, number));
                } else if e.conditions.serving && e.conditions.terminating {
                    serving.push(endpoint(e.address, number));
                }
            }
        }
    }
    let mut chosen = if ready.is_empty() { serving } else { ready };
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

#[cfg(test)]
mod tests;
