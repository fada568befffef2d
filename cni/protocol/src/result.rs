//! What an ADD made: interfaces, addresses, routes and name servers.

mod json;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A result in the terms of version 1.1.0; [`CniResult::to_version`] and [`CniResult::from_json`] speak the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Value", try_from = "Value")]
pub struct CniResult {
    /// Interfaces, in the container and on the node.
    pub interfaces: Vec<Interface>,
    /// Addresses.
    pub ips: Vec<IpConfig>,
    /// Routes in the container.
    pub routes: Vec<Route>,
    /// Name servers for the container.
    pub dns: Dns,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address; empty: it has none.
    pub mac: String,
    /// Its MTU in bytes (from 1.1.0).
    pub mtu: Option<u32>,
    /// The network namespace that it is in, as the runtime spells it; empty: the node's.
    pub sandbox: String,
    /// A socket to it, as vhost-user has one (from 1.1.0); mostly empty.
    pub socket_path: String,
    /// Its place on the PCI bus (from 1.1.0); mostly empty.
    pub pci_id: String,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpConfig {
    /// The address with its prefix length.
    pub address: IpNet,
    /// The gateway of its family.
    pub gateway: Option<IpAddr>,
    /// Which of the result's interfaces has it, from 0.
    pub interface: Option<u32>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub dst: IpNet,
    /// By which gateway; None: that of the address of its family.
    pub gw: Option<IpAddr>,
    /// The MTU of its way in bytes (from 1.1.0).
    pub mtu: Option<u32>,
    /// The maximum segment size that TCP announces, in bytes (from 1.1.0).
    pub advmss: Option<u32>,
    /// Smaller comes first (from 1.1.0).
    pub priority: Option<u32>,
    /// The routing table (from 1.1.0).
    pub table: Option<u32>,
    /// The scope, as rtnetlink numbers it (from 1.1.0).
    pub scope: Option<u32>,
}

impl Route {
    /// A route with nothing but a destination and a gateway.
    pub fn new(dst: IpNet, gw: Option<IpAddr>) -> Route {
        Route { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}

/// Name servers, as resolv.conf has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dns {
    /// Addresses of servers, the first asked first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Domains that short names are looked for in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Dns::default()
    }
}
