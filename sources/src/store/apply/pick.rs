//! Gives what a manifest leaves out, from what is known to be taken. Whether it was known right, the
//! transaction says.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::store::settings::ports;
use crate::store::{Claim, Refusal, Settings, bands, random};
use bowline_cluster::address;
use bowline_cluster::object::{Family, Protocol};

/// Chooses for one object.
pub(in crate::store) struct Picker<'a> {
    settings: &'a Settings,
    ranges: Vec<IpNet>,
    /// What the object has already.
    held: &'a BTreeSet<Claim>,
    /// What others have, as far as it is known.
    taken: &'a BTreeSet<Claim>,
    chosen: BTreeSet<Claim>,
    exhausted: bool,
}

impl<'a> Picker<'a> {
    pub(in crate::store) fn new(
        settings: &'a Settings,
        more: &[IpNet],
        held: &'a BTreeSet<Claim>,
        taken: &'a BTreeSet<Claim>,
    ) -> Self {
        let ranges = settings.service_cluster_ip_range.iter().chain(more).map(IpNet::trunc).collect();
        Picker { settings, ranges, held, taken, chosen: BTreeSet::new(), exhausted: false }
    }

    /// What was chosen; all else was written.
    pub(super) fn chosen(self) -> BTreeSet<Claim> {
        self.chosen
    }

    /// Whether something could not be given: all that could be is known to be taken.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    pub(in crate::store) fn settings(&self) -> &Settings {
        self.settings
    }

    /// The families of the Service ranges, the default one first.
    pub(super) fn families(&self) -> Vec<Family> {
        let mut families: Vec<Family> = self.ranges.iter().map(|range| Family::of(&range.addr())).collect();
        families.dedup();
        let default = families.first().copied();
        families.sort_by_key(|family| (Some(*family) != default, *family));
        families.dedup();
        families
    }

    fn is_free(&self, claim: Claim) -> bool {
        let taken = |claim: &Claim| self.taken.contains(claim) && !self.held.contains(claim);
        let rival = claim.rival().is_some_and(|rival| taken(&rival) || self.chosen.contains(&rival));
        !taken(&claim) && !self.chosen.contains(&claim) && !self.held.contains(&claim) && !rival
    }

    fn give(&mut self, claim: Option<Claim>, exhausted: impl FnOnce() -> Refusal) -> Result<Claim, Refusal> {
        match claim {
            Some(claim) => {
                self.chosen.insert(claim);
                Ok(claim)
            }
            None => {
                self.exhausted = true;
                Err(exhausted())
            }
        }
    }

    /// An address of this family.
    pub(in crate::store) fn address(&mut self, family: Family) -> Result<IpAddr, Refusal> {
        let ranges: Vec<IpNet> = self.ranges.iter().filter(|r| Family::of(&r.addr()) == family).copied().collect();
        let free = |address: &IpAddr| !self.is_free(Claim::Address(*address));
        let found = ranges.iter().find_map(|range| bands::address(range, free, &mut random));
        let claim = self.give(found.map(Claim::Address), || {
            let ranges = list(&ranges);
            let message = format!("all addresses of {ranges} are taken; delete a Service, or apply a ServiceCIDR");
            Refusal::new("spec.clusterIPs", message)
        })?;
        match claim {
            Claim::Address(address) => Ok(address),
            _ => Err(Refusal::new("spec.clusterIPs", "no address was given")),
        }
    }

    /// Whether a written address may be a Service's.
    pub(in crate::store) fn check_address(&self, index: usize, text: &str) -> Result<(), Refusal> {
        let field = format!("spec.clusterIPs[{index}]");
        let Some(address) = address::parse(text) else {
            return Err(Refusal::new(field, format!("{text:?} is no IP address")));
        };
        let never = |range: &IpNet| {
            let last = range.addr().is_ipv4() && address == range.broadcast();
            address == range.network() || last
        };
        if self.held.contains(&Claim::Address(address)) {
            return Ok(());
        }
        match self.ranges.iter().find(|range| range.contains(&address)) {
            Some(range) if !never(range) => Ok(()),
            _ => {
                let ranges = list(&self.ranges);
                let message =
                    format!("{address} is no address of the Service ranges; write one of {ranges}, or leave it out");
                Err(Refusal::new(field, message))
            }
        }
    }

    /// Whether this node port can be given.
    pub(in crate::store) fn may_have(&self, protocol: Protocol, port: u16) -> bool {
        self.is_free(Claim::NodePort(protocol, port))
    }

    /// Gives this node port.
    pub(in crate::store) fn take(&mut self, protocol: Protocol, port: u16) -> u16 {
        self.chosen.insert(Claim::NodePort(protocol, port));
        port
    }

    /// A node port.
    pub(in crate::store) fn node_port(&mut self, protocol: Protocol) -> Result<u16, Refusal> {
        self.port(|port| Claim::NodePort(protocol, port), "spec.ports[].nodePort")
    }

    /// A port for health checks.
    pub(in crate::store) fn health_check_port(&mut self) -> Result<u16, Refusal> {
        self.port(Claim::HealthCheckPort, "spec.healthCheckNodePort")
    }

    fn port(&mut self, claim: impl Fn(u16) -> Claim, field: &str) -> Result<u16, Refusal> {
        let range = self.settings.node_port_range.clone();
        let port = bands::port(&range, |port| !self.is_free(claim(port)), &mut random);
        self.give(port.map(&claim), || {
            let message = format!("all ports of {} are taken; delete a Service that has some", ports::text(&range));
            Refusal::new(field, message)
        })?;
        Ok(port.unwrap_or_default())
    }

    /// Whether a written port may be a node port.
    pub(in crate::store) fn check_port(&self, field: &str, port: i32) -> Result<(), Refusal> {
        let range = &self.settings.node_port_range;
        let number = u16::try_from(port).ok();
        let is_held = |port: u16| {
            self.held.iter().any(|claim| match claim {
                Claim::NodePort(_, held) | Claim::HealthCheckPort(held) => *held == port,
                _ => false,
            })
        };
        if number.is_some_and(|port| range.contains(&port) || is_held(port)) {
            return Ok(());
        }
        let message = format!("{port} is no node port; write one of {}, or leave it out", ports::text(range));
        Err(Refusal::new(field, message))
    }

    /// A pod range of this pool.
    pub(in crate::store) fn pod_cidr(
        &mut self,
        pool: &IpNet,
        claimed: &[IpNet],
        attempt: u32,
    ) -> Result<IpNet, Refusal> {
        let mask = self.settings.mask_size(Family::of(&pool.addr()));
        let mut claimed = claimed.to_vec();
        claimed.sort();
        let overlaps =
            |range: &IpNet| claimed.binary_search(range).is_ok() || self.taken.contains(&Claim::PodCidr(*range));
        let found = bands::free_subnet(pool, mask, overlaps, attempt, &mut random);
        self.give(found.map(Claim::PodCidr), || {
            let count = bands::subnets(pool, mask);
            let message = format!(
                "all {count} ranges of /{mask} of the pool {pool} are taken; delete Nodes that are gone, or give \
                 this one a range of its own in its manifest"
            );
            Refusal::new("spec.podCIDRs", message)
        })?;
        found.ok_or_else(|| Refusal::new("spec.podCIDRs", "no range was given"))
    }
}

fn list(ranges: &[IpNet]) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
