//! flannel's configuration (`net-conf.json`), for a cluster that comes from flannel: in it this network is made so that nodes
//! which have moved and nodes which have not reach each other.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::peers::{OVERHEAD_V4, OVERHEAD_V6, Tunnels, When};

/// Of Linux, where flannel says none.
const PORT: u16 = 8472;
/// Of flannel.
const ID: u32 = 1;

/// What it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConf {
    /// All pods' networks: they see each other with their own addresses.
    pub networks: Vec<IpNet>,
    /// How nodes are reached.
    pub tunnels: Tunnels,
    /// The longest packet of pods, in bytes, where it says so.
    pub mtu: Option<u32>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum NetConfError {
    /// The file can't be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// What it says is wrong, or can't be had here.
    #[error("{}: {error}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Field, reason and line.
        error: serde_json::Error,
    },
}

impl NetConf {
    /// Reads a file.
    ///
    /// # Errors
    /// It can't be read; it is not what flannel takes; or its backend is none that can be had here.
    pub fn read(path: &Path) -> Result<NetConf, NetConfError> {
        let text = std::fs::read(path).map_err(|error| NetConfError::Read { path: path.to_owned(), error })?;
        NetConf::parse(&text).map_err(|error| NetConfError::Parse { path: path.to_owned(), error })
    }

    fn parse(text: &[u8]) -> serde_json::Result<NetConf> {
        serde_json::from_slice(text)
    }
}

/// As Go reads JSON: the case of keys doesn't count.
fn value<'de, A: MapAccess<'de>, T: Deserialize<'de>>(map: &mut A, field: &str) -> Result<T, A::Error> {
    map.next_value().map_err(|error| A::Error::custom(format_args!("{field}: {error}")))
}

fn wrong<T, E: serde::de::Error>(field: &str, what: impl fmt::Display) -> Result<T, E> {
    Err(E::custom(format_args!("{field}: {what}")))
}

impl<'de> Deserialize<'de> for NetConf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NetConf, D::Error> {
        deserializer.deserialize_map(Whole)
    }
}

struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = NetConf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flannel's net-conf.json: an object with Network and Backend")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NetConf, A::Error> {
        let (mut has_v4, mut has_v6, mut v4, mut v6, mut backend) = (true, false, None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.to_ascii_lowercase().as_str() {
                "enableipv4" => has_v4 = value(&mut map, "EnableIPv4")?,
                "enableipv6" => has_v6 = value(&mut map, "EnableIPv6")?,
                "network" => v4 = Some(network(&mut map, "Network", true)?),
                "ipv6network" => v6 = Some(network(&mut map, "IPv6Network", false)?),
                "backend" => backend = Some(value::<_, Backend>(&mut map, "Backend")?),
                // What each node gets is its Node object's to say; rules of the firewall stay as they are.
                "subnetlen" | "subnetmin" | "subnetmax" | "ipv6subnetlen" | "ipv6subnetmin" | "ipv6subnetmax"
                | "enablenftables" => {
                    let IgnoredAny = value(&mut map, &key)?;
                }
                _ => return wrong(&key, "is no key of flannel's that is known here; leave it out of the file"),
            }
        }
        let v4 = v4.filter(|_| has_v4);
        let v6 = v6.filter(|_| has_v6);
        if has_v4 && v4.is_none() {
            return wrong("Network", "is missing; write the range of all pods, or EnableIPv4: false");
        }
        if has_v6 && v6.is_none() {
            return wrong("IPv6Network", "is missing; write the range of all pods, or EnableIPv6: false");
        }
        let Some(backend) = backend else { return wrong("Backend", NONE) };
        let less = if has_v6 { OVERHEAD_V6 } else { OVERHEAD_V4 };
        Ok(NetConf {
            networks: v4.into_iter().chain(v6).collect(),
            tunnels: backend.tunnels,
            mtu: backend.mtu.map(|mtu| mtu.saturating_sub(less).max(1280)),
        })
    }
}

fn network<'de, A: MapAccess<'de>>(map: &mut A, field: &str, is_v4: bool) -> Result<IpNet, A::Error> {
    let text: String = value(map, field)?;
    match text.parse::<IpNet>() {
        Ok(network) if matches!(network.addr(), IpAddr::V4(_)) == is_v4 => Ok(network.trunc()),
        _ => {
            wrong(field, format_args!("{text:?} is no range of its family; write one like 10.244.0.0/16 or fd00::/48"))
        }
    }
}

const NONE: &str = "is missing, which is flannel's backend udp; it can't be taken over: have flannel use vxlan first";

struct Backend {
    tunnels: Tunnels,
    /// Of the interface between the nodes.
    mtu: Option<u32>,
}

impl<'de> Deserialize<'de> for Backend {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Backend, D::Error> {
        deserializer.deserialize_map(BackendFields)
    }
}

struct BackendFields;

impl<'de> Visitor<'de> for BackendFields {
    type Value = Backend;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with Type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Backend, A::Error> {
        let mut when = None;
        let (mut id, mut port, mut mtu, mut is_direct, mut unknown) = (ID, PORT, None, false, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.to_ascii_lowercase().as_str() {
                "type" => {
                    let name: String = value(&mut map, "Type")?;
                    when = Some(match name.to_ascii_lowercase().as_str() {
                        "vxlan" => When::Always,
                        "host-gw" => When::Never,
                        _ => return wrong("Type", Refused(&name)),
                    });
                }
                "vni" => {
                    id = value(&mut map, "VNI")?;
                    if !(1..1 << 24).contains(&id) {
                        return wrong("VNI", format_args!("is {id}; write a number from 1 to 16777215"));
                    }
                }
                "port" => {
                    port = value(&mut map, "Port")?;
                    if port == 0 {
                        port = PORT;
                    }
                }
                "mtu" => mtu = Some(value::<_, u32>(&mut map, "MTU")?).filter(|mtu| *mtu != 0),
                "directrouting" => is_direct = value(&mut map, "DirectRouting")?,
                "gbp" => {
                    if value(&mut map, "GBP")? {
                        return wrong("GBP", "policy groups are not spoken here; have flannel do without them first");
                    }
                }
                // Who is where is told, never learned; the others are Windows'.
                "learning" | "macprefix" | "name" | "dnsserverlist" => {
                    let IgnoredAny = value(&mut map, &key)?;
                }
                _ => {
                    let IgnoredAny = value(&mut map, &key)?;
                    unknown.get_or_insert(key);
                }
            }
        }
        let Some(when) = when else { return wrong("Type", NONE) };
        if let Some(key) = unknown {
            return wrong(&key, "is no key of this backend that is known here; leave it out of the file");
        }
        let when = if is_direct && when == When::Always { When::Auto } else { when };
        Ok(Backend { tunnels: Tunnels { id, port, when, mtu, flannel: true }, mtu })
    }
}

/// A backend that is none of ours.
struct Refused<'a>(&'a str);

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is a backend that can't be taken over, only vxlan and host-gw can: have flannel use vxlan first (its \
             net-conf.json, and a restart of flannel on all nodes), or move all nodes in one go, without this file",
            self.0
        )
    }
}

#[cfg(test)]
mod tests;
