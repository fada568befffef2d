//! What no two objects may share, and which object has which of it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Resource;
use bowline_cluster::address;
use bowline_cluster::object::Protocol;
use bowline_etcd::Keys;

/// One thing that one object may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// A Service address.
    Address(IpAddr),
    /// A port of every node. TCP and UDP don't get into each other's way.
    NodePort(Protocol, u16),
    /// A port of every node for health checks, which are TCP.
    HealthCheckPort(u16),
    /// A range of pod addresses.
    PodCidr(IpNet),
}

impl Claim {
    pub(super) fn key(&self, keys: &Keys) -> String {
        match *self {
            Claim::Address(address) => keys.address(address),
            Claim::NodePort(protocol, port) => keys.node_port(protocol, port),
            Claim::HealthCheckPort(port) => keys.health_check_port(port),
            Claim::PodCidr(cidr) => keys.pod_cidr(cidr),
        }
    }

    /// The claim of a key; None for a key that is none.
    pub(super) fn parse(key: &str, keys: &Keys) -> Option<Claim> {
        let below = |prefix: String| key.strip_prefix(&*prefix).map(ToString::to_string);
        if let Some(text) = below(keys.addresses()) {
            return text.parse().ok().map(Claim::Address);
        }
        if let Some(text) = below(keys.node_ports()) {
            let (name, port) = text.split_once('/')?;
            let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|p| p.as_str() == name)?;
            return port.parse().ok().map(|port| Claim::NodePort(protocol, port));
        }
        if let Some(text) = below(keys.health_check_ports()) {
            return text.parse().ok().map(Claim::HealthCheckPort);
        }
        below(keys.pod_cidrs())?.parse().ok().map(Claim::PodCidr)
    }

    /// What else must be free, as it would mean the same port of a node.
    pub(super) fn rival(&self) -> Option<Claim> {
        match *self {
            Claim::NodePort(Protocol::Tcp, port) => Some(Claim::HealthCheckPort(port)),
            Claim::HealthCheckPort(port) => Some(Claim::NodePort(Protocol::Tcp, port)),
            _ => None,
        }
    }

    /// The field that has it, and what to write instead when somebody else has it.
    pub(super) fn field(&self) -> (&'static str, &'static str) {
        match self {
            Claim::Address(_) => ("spec.clusterIPs", "write another address, or none to be given one"),
            Claim::NodePort(..) => ("spec.ports[].nodePort", "write another port, or none to be given one"),
            Claim::HealthCheckPort(_) => ("spec.healthCheckNodePort", "write another port, or none to be given one"),
            Claim::PodCidr(_) => ("spec.podCIDRs", "write another range, or none to be given one"),
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Claim::Address(address) => write!(f, "{address}"),
            Claim::NodePort(protocol, port) => write!(f, "port {port}/{protocol}"),
            Claim::HealthCheckPort(port) => write!(f, "port {port}"),
            Claim::PodCidr(cidr) => write!(f, "{cidr}"),
        }
    }
}

/// Who has a claim; the value of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    #[serde(default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) name: String,
}

impl Holder {
    pub(super) fn text(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// Its key as an object; None for what no object of ours can be.
    pub(super) fn key(&self, keys: &Keys) -> Option<(Resource, String)> {
        let resource = Resource::named("v1", &self.kind);
        let known = matches!(&*self.kind, "Service" | "Node") && !self.name.is_empty();
        let key = keys.any_object(&resource.folder(), &self.namespace, &self.name);
        known.then_some((resource, key))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        write!(f, "{} {}{slash}{}", self.kind, self.namespace, self.name)
    }
}

/// What an object has.
pub(super) fn of(resource: &Resource, object: &Value) -> BTreeSet<Claim> {
    let spec = &object["spec"];
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(ToString::to_string).collect()
    };
    let port = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    let mut claims = BTreeSet::new();
    if resource.is("Service") && spec["type"] != "ExternalName" {
        let mut addresses = texts(&spec["clusterIPs"]);
        addresses.extend(spec["clusterIP"].as_str().map(ToString::to_string));
        claims.extend(addresses.iter().filter_map(|text| address::parse(text)).map(Claim::Address));
        for element in spec["ports"].as_array().into_iter().flatten() {
            claims.extend(port(&element["nodePort"]).map(|port| Claim::NodePort(protocol(element), port)));
        }
        claims.extend(port(&spec["healthCheckNodePort"]).map(Claim::HealthCheckPort));
    }
    if resource.is("Node") {
        let mut ranges = texts(&spec["podCIDRs"]);
        ranges.extend(spec["podCIDR"].as_str().map(ToString::to_string));
        let ranges = ranges.iter().filter_map(|text| address::parse_range(text));
        claims.extend(ranges.map(Claim::PodCidr));
    }
    claims
}

fn protocol(port: &Value) -> Protocol {
    match port["protocol"].as_str() {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}
