//! What the kernel has now, for people: read from the pinned maps, whether an agent runs or not.

use std::net::IpAddr;
use std::path::Path;

use bowline_ebpf::layout::{AFFINITY, Endpoint, Pick, is_alive};
use bowline_sys::monotonic;
use serde::Serialize;

use crate::kernel::{Folder, KernelError, folders, maps_in_use, path_error};
use crate::migrate::readable;
use crate::table::FoundPort;

/// A front end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FrontendView {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendView {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its number in the map `backends`.
    pub id: u32,
    /// Its life; odd while it takes traffic.
    pub life: u32,
    /// Whether it takes traffic.
    pub active: bool,
}

/// One port of a Service as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceView {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The port's name; empty where there is but one.
    pub port_name: String,
    /// TCP or UDP.
    pub protocol: &'static str,
    /// IPv4 or IPv6.
    pub family: &'static str,
    /// Its number in the map `services`.
    pub id: u32,
    /// How a backend is chosen.
    pub scheduler: &'static str,
    /// Seconds of sessionAffinity ClientIP; null where there is none.
    pub affinity_seconds: Option<u32>,
    /// Changes since it was made, modulo 2^20.
    pub generation: u32,
    /// Choices that round robin has made.
    pub turn: u64,
    /// Where clients reach it.
    pub frontends: Vec<FrontendView>,
    /// Where they are led.
    pub backends: Vec<BackendView>,
    /// What takes all of it while it is alive; null where nothing does.
    pub stand_in: Option<StandInView>,
}

/// What stands in for a Service on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StandInView {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Whether it takes traffic now.
    pub alive: bool,
}

fn address(e: &Endpoint) -> IpAddr {
    let v6 = std::net::Ipv6Addr::from(e.bytes());
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

fn view(port: FoundPort, alive: bool) -> ServiceView {
    let scheduler = match port.how & 0xff {
        x if x == Pick::Random as u32 => "random",
        x if x == Pick::Client as u32 => "sh",
        _ => "rr",
    };
    ServiceView {
        namespace: port.name.namespace.to_string(),
        name: port.name.name.to_string(),
        port_name: port.key.port.to_string(),
        protocol: port.key.protocol.as_str(),
        family: port.key.family.as_str(),
        id: port.id,
        scheduler,
        affinity_seconds: (port.how & AFFINITY != 0).then_some(port.affinity),
        generation: port.word.generation(),
        turn: port.turn,
        frontends: port
            .frontends
            .iter()
            .map(|f| FrontendView { address: address(&Endpoint::new(f.address, 0)), port: u16::from_be(f.port) })
            .collect(),
        backends: port
            .backends
            .iter()
            .map(|(id, life, e)| BackendView {
                address: address(e),
                port: u16::from_be(e.port),
                id: *id,
                life: *life,
                active: is_alive(*life),
            })
            .collect(),
        stand_in: port.stand_in.filter(|(_, life, _)| is_alive(*life)).map(|(_, _, e)| StandInView {
            address: address(&e),
            port: u16::from_be(e.port),
            alive,
        }),
    }
}

/// The folder that serves now: the one whose maps the attached programs use, otherwise the only one.
fn serving(root: &Path) -> Result<Option<Folder>, KernelError> {
    let in_use = maps_in_use(root)?;
    let mut all = folders(root)?;
    let uses = |f: &Folder| f.map("frontends").is_ok_and(|m| in_use.binary_search(&m.id()).is_ok());
    if let Some(index) = all.iter().position(uses) {
        return Ok(Some(all.swap_remove(index)));
    }
    Ok(all.pop())
}

/// Every Service port in the kernel, in the order of their names; None where nothing is installed.
///
/// # Errors
/// The maps can't be read: no permission, mostly.
pub fn services(root: &Path) -> Result<Option<Vec<ServiceView>>, KernelError> {
    if !root.exists() {
        return Ok(None);
    }
    let Some(folder) = serving(root)? else { return Ok(None) };
    let Some(records) = folder.records()? else { return Ok(None) };
    let ports = readable(&folder, records)?.read().map_err(path_error(&folder.0, "reading"))?;
    // Layouts before the second have no such map.
    let until = folder.map("alive").ok().and_then(|map| map.get(&0u32.to_ne_bytes()).ok().flatten());
    let until = until.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes);
    let alive = monotonic() < until;
    // One without a front end is on its way out.
    let served = ports.into_iter().filter(|p| !p.frontends.is_empty());
    let mut views: Vec<ServiceView> = served.map(|port| view(port, alive)).collect();
    views.sort_by(|a, b| {
        let key = |v: &ServiceView| (v.namespace.clone(), v.name.clone(), v.port_name.clone(), v.protocol, v.family);
        key(a).cmp(&key(b))
    });
    Ok(Some(views))
}
