//! What a runtime gives for one container (`runtimeConfig`; CONVENTIONS.md of CNI).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::fields::{Field, FieldError, list_of};
use crate::result::Dns;

/// The key `runtimeConfig`; what is not given is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeConfig {
    /// Ports of the node that lead to the container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<PortMapping>,
    /// How much the container may receive and send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// Addresses that the container is to have; a prefix length that stood behind one is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpAddr>,
    /// Sets of ranges, of each of which the container is to have an address. A set is of one family.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip_ranges: Vec<Vec<IpRange>>,
    /// The interface's hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Name servers for the container; its domain is empty.
    #[serde(skip_serializing_if = "Dns::is_empty")]
    pub dns: Dns,
    /// Further names of the container in this network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The container's cgroup, as the runtime spells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_path: Option<String>,
}

/// A port of the node that leads to one of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// 1 to 65535.
    pub host_port: u16,
    /// 1 to 65535.
    pub container_port: u16,
    /// TCP if the runtime names none.
    pub protocol: Protocol,
    /// The address of the node that it holds for; None: all.
    #[serde(default, rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "their names say all")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl FromStr for Protocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Protocol, ()> {
        match &*text.to_ascii_lowercase() {
            "tcp" | "" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            "sctp" => Ok(Protocol::Sctp),
            _ => Err(()),
        }
    }
}

/// Bounds of a container's traffic, seen from the container; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bandwidth {
    /// Bits a second that it may receive.
    pub ingress_rate: u64,
    /// Bits that it may receive at once.
    pub ingress_burst: u64,
    /// Bits a second that it may send.
    pub egress_rate: u64,
    /// Bits that it may send at once.
    pub egress_burst: u64,
}

/// A range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IpRange {
    /// The whole subnet.
    pub subnet: IpNet,
    /// The first address to give; None: the subnet's first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_start: Option<IpAddr>,
    /// The last address to give; None: the subnet's last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_end: Option<IpAddr>,
    /// The gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// A hardware address of six bytes, of one interface: neither all zeros nor a group's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl FromStr for Mac {
    type Err = ();

    fn from_str(text: &str) -> Result<Mac, ()> {
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit()));
            *byte = u8::from_str_radix(part.ok_or(())?, 16).map_err(drop)?;
        }
        let is_good = parts.next().is_none() && bytes != [0; 6] && bytes[0] & 1 == 0;
        if is_good { Ok(Mac(bytes)) } else { Err(()) }
    }
}

const AN_ADDRESS: &str = "an IP address";

impl RuntimeConfig {
    /// Whether the runtime gave nothing.
    pub fn is_empty(&self) -> bool {
        *self == RuntimeConfig::default()
    }

    pub(crate) fn read(field: &Field<'_>, network: &str) -> Result<RuntimeConfig, FieldError> {
        let mac = field.get("mac")?.map(|mac| mac.parse_filled("a hardware address such as 02:00:00:00:00:01"));
        let cgroup_path = field.get("cgroupPath")?.map(|path| path.text()).transpose()?;
        Ok(RuntimeConfig {
            port_mappings: list_of(field, "portMappings", port_mapping)?.into_iter().flatten().collect(),
            bandwidth: field.get("bandwidth")?.map(|bandwidth| Bandwidth::read(&bandwidth)).transpose()?,
            ips: list_of(field, "ips", address)?,
            ip_ranges: field.get("ipRanges")?.map(|list| ranges(&list)).transpose()?.unwrap_or_default(),
            mac: mac.transpose()?.flatten(),
            dns: field.get("dns")?.map(|dns| Dns::read(&dns)).transpose()?.unwrap_or_default(),
            aliases: aliases(field, network)?,
            cgroup_path: cgroup_path.filter(|path| !path.is_empty()).map(str::to_owned),
        })
    }
}

/// None for a host port of 0, which asks for nothing.
fn port_mapping(field: &Field<'_>) -> Result<Option<PortMapping>, FieldError> {
    const A_PORT: &str = "a port";
    let host = field.get("hostPort")?;
    let Some(host) = host.filter(|port| port.value().as_u64() != Some(0)) else { return Ok(None) };
    let protocol = field.get("protocol")?.map(|protocol| protocol.parse("tcp, udp or sctp")).transpose()?;
    Ok(Some(PortMapping {
        host_port: host.number(1, u16::MAX, A_PORT)?,
        container_port: field.need("containerPort")?.number(1, u16::MAX, A_PORT)?,
        protocol: protocol.unwrap_or(Protocol::Tcp),
        host_ip: field.get("hostIP")?.map(|ip| ip.parse_filled(AN_ADDRESS)).transpose()?.flatten(),
    }))
}

impl Bandwidth {
    fn read(field: &Field<'_>) -> Result<Bandwidth, FieldError> {
        let bits = |name: &str| {
            let number = field.get(name)?.map(|number| number.number(0, u64::MAX, "a number of bits")).transpose()?;
            Ok(number.unwrap_or(0))
        };
        Ok(Bandwidth {
            ingress_rate: bits("ingressRate")?,
            ingress_burst: bits("ingressBurst")?,
            egress_rate: bits("egressRate")?,
            egress_burst: bits("egressBurst")?,
        })
    }
}

/// An address, with or without a prefix length.
fn address(field: &Field<'_>) -> Result<IpAddr, FieldError> {
    match field.parse::<IpNet>(AN_ADDRESS) {
        Ok(net) => Ok(net.addr()),
        Err(_) => field.parse(AN_ADDRESS),
    }
}

/// Sets of ranges; of a flat list, as containerd writes it, those of a family are one set.
fn ranges(list: &Field<'_>) -> Result<Vec<Vec<IpRange>>, FieldError> {
    let (mut sets, mut flat) = (Vec::new(), [Vec::new(), Vec::new()]);
    for one in list.list()?.filter(|one| !one.value().is_null()) {
        if one.value().is_array() {
            let set: Vec<IpRange> = one.list()?.map(|range| IpRange::read(&range)).collect::<Result<_, _>>()?;
            if set.iter().any(|range| is_v6(range) != set.first().is_some_and(is_v6)) {
                return Err(one.is_not("of one address family"));
            }
            sets.push(set);
        } else {
            let range = IpRange::read(&one)?;
            flat[usize::from(is_v6(&range))].push(range);
        }
    }
    sets.extend(flat);
    sets.retain(|set| !set.is_empty());
    Ok(sets)
}

fn is_v6(range: &IpRange) -> bool {
    matches!(range.subnet, IpNet::V6(_))
}

impl IpRange {
    fn read(field: &Field<'_>) -> Result<IpRange, FieldError> {
        let subnet = field.need("subnet")?.parse::<IpNet>("a prefix such as 10.1.0.0/16")?;
        let inside = |name: &str| {
            let Some(one) = field.get(name)? else { return Ok(None) };
            match one.parse_filled::<IpAddr>(AN_ADDRESS)? {
                Some(ip) if !subnet.contains(&ip) => Err(one.is_not(format!("in the subnet {subnet}"))),
                ip => Ok(ip),
            }
        };
        Ok(IpRange {
            subnet: subnet.trunc(),
            range_start: inside("rangeStart")?,
            range_end: inside("rangeEnd")?,
            gateway: inside("gateway")?,
        })
    }
}

/// A list of names, or, as podman writes it, an object with a list a network.
fn aliases(field: &Field<'_>, network: &str) -> Result<Vec<String>, FieldError> {
    match field.get("aliases")? {
        Some(list) if list.value().is_array() => list.texts(),
        Some(networks) => list_of(&networks, network, |one| one.text().map(str::to_owned)),
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests;
