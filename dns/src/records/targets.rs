//! What SRV answers are made of: the targets of a Service with their addresses and ports, sorted out when the
//! Service changes, so that an answer is written from front to back when asked.
//!
//! CoreDNS makes one SRV record for each pair of port and address, all of one weight (100 divided by their number),
//! and drops those that say the same twice: a dual-stack Pod with a hostname is one target with two addresses.

use std::collections::HashMap;
use std::net::IpAddr;

use bowline_cluster::object::{EndpointPort, Protocol, ServicePort, Str};

use smallvec::SmallVec;

use super::host::{Host, Labels};

/// A port as SRV records name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    /// Empty where it has none.
    pub(super) name: Str,
    /// None of a Service without ports, which exists all the same.
    pub(super) protocol: Option<Protocol>,
    /// None where there is none to tell: no SRV record then.
    pub(super) number: Option<u16>,
}

impl Port {
    const NONE: Port = Port { name: Str::new(), protocol: None, number: None };
}

/// Ports that belong together: those of a Service, or of a slice.
#[derive(Clone, Debug)]
struct PortSet {
    ports: Box<[Port]>,
    /// How many addresses have them, each as often as it was told.
    addresses: u32,
}

/// Which ports are asked for; an empty part means any. In lower case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter<'a> {
    pub(super) port: &'a [u8],
    pub(super) protocol: &'a [u8],
}

impl Filter<'_> {
    pub(super) fn is_any(&self) -> bool {
        self.port.is_empty() && self.protocol.is_empty()
    }

    fn fits(&self, port: &Port) -> bool {
        let protocol = port.protocol.map_or("", |protocol| protocol.as_str());
        (self.port.is_empty() || self.port.eq_ignore_ascii_case(port.name.as_bytes()))
            && (self.protocol.is_empty() || self.protocol.eq_ignore_ascii_case(protocol.as_bytes()))
    }
}

/// The targets of a Service, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets {
    sets: Box<[PortSet]>,
    groups: Box<[Group]>,
    addresses: Box<[Address]>,
    /// Labels of the targets that are not called by their address, one behind the other.
    names: Box<[u8]>,
    /// There is one target, the Service itself.
    own: bool,
    /// There is a port. Most questions need no more: it stands here, where no other memory is touched.
    has_ports: bool,
}

/// One target; begins where the one before it ends.
#[derive(Clone, Debug)]
struct Group {
    /// End in `addresses`.
    addresses: u32,
    /// End in `names`. Without labels there the target goes by its address.
    names: u32,
}

#[derive(Clone, Debug)]
struct Address {
    ip: IpAddr,
    set: u16,
    /// The target has it before, with other ports.
    again: bool,
}

/// A target on its way into an answer.
pub(super) struct Target<'a> {
    /// Its labels in front of the Service's; none where it is the Service itself.
    pub(super) host: Labels,
    addresses: &'a [Address],
    sets: &'a [PortSet],
}

impl Targets {
    /// How many pairs of an address and a port are asked for: what the weight of a record comes from.
    pub(super) fn count(&self, filter: Filter<'_>) -> u64 {
        let of = |set: &PortSet| set.ports.iter().filter(|port| filter.fits(port)).count() as u64;
        self.sets.iter().map(|set| u64::from(set.addresses) * of(set)).sum()
    }

    /// Whether any port is asked for.
    pub(super) fn has(&self, filter: Filter<'_>) -> bool {
        let fits = |set: &PortSet| set.ports.iter().any(|port| filter.fits(port));
        self.has_ports && (filter.is_any() || self.sets.iter().any(fits))
    }

    /// Whether all that have any port have one that is asked for.
    pub(super) fn is_whole(&self, filter: Filter<'_>) -> bool {
        filter.is_any() || self.sets.iter().all(|set| set.ports.iter().any(|port| filter.fits(port)))
    }

    /// Every target.
    pub(super) fn iter(&self) -> impl Iterator<Item = Target<'_>> {
        let mut before = Group { addresses: 0, names: 0 };
        self.groups.iter().map(move |group| {
            let start = std::mem::replace(&mut before, group.clone());
            let addresses = self.addresses.get(start.addresses as usize..group.addresses as usize).unwrap_or_default();
            let mut host = Labels::new();
            match (self.names.get(start.names as usize..group.names as usize), addresses.first()) {
                _ if self.own => {}
                (None | Some([]), Some(first)) => Host::Dashed(first.ip).push(&mut host),
                (name, _) => host.extend_from_slice(name.unwrap_or_default()),
            }
            Target { host, addresses, sets: &self.sets }
        })
    }

    /// The addresses that have a port that is asked for; some may come twice.
    pub(super) fn addresses<'a>(&'a self, filter: Filter<'a>) -> impl Iterator<Item = IpAddr> + 'a {
        let fits = move |address: &&Address| ports_of(&self.sets, address).any(|port| filter.fits(port));
        self.addresses.iter().filter(fits).map(|address| address.ip)
    }
}

fn ports_of<'a>(sets: &'a [PortSet], address: &Address) -> impl Iterator<Item = &'a Port> + use<'a> {
    sets.get(usize::from(address.set)).map(|set| &set.ports[..]).unwrap_or_default().iter()
}

impl Target<'_> {
    /// The numbers of the ports that are asked for, none twice.
    pub(super) fn ports<'a>(&'a self, filter: Filter<'a>) -> impl Iterator<Item = u16> + 'a {
        let all = move || {
            self.addresses.iter().enumerate().flat_map(move |(n, address)| {
                // Of addresses with the same ports the first tells them all.
                let is_first = self.addresses.iter().take(n).all(|before| before.set != address.set);
                ports_of(self.sets, address)
                    .filter(move |port| is_first && filter.fits(port))
                    .filter_map(|port| port.number)
            })
        };
        all()
            .enumerate()
            .filter(move |(n, number)| !all().take(*n).any(|before| before == *number))
            .map(|(_, number)| number)
    }

    /// The addresses that have such a port, none twice.
    pub(super) fn addresses<'a>(&'a self, filter: Filter<'a>) -> impl Iterator<Item = IpAddr> + 'a {
        let has_port = move |address: &Address| {
            ports_of(self.sets, address).any(|port| filter.fits(port) && port.number.is_some())
        };
        let is_new = move |n: usize, address: &Address| {
            !address.again || !self.addresses.iter().take(n).any(|before| before.ip == address.ip && has_port(before))
        };
        let addresses = self.addresses.iter().enumerate();
        addresses.filter(move |(n, address)| has_port(address) && is_new(*n, address)).map(|(_, address)| address.ip)
    }
}

fn endpoint_ports(ports: &[EndpointPort]) -> Vec<Port> {
    let port = |port: &EndpointPort| Port { name: port.name.clone(), protocol: Some(port.protocol), number: port.port };
    ports.iter().map(port).collect()
}

/// Sorts targets out.
#[derive(Default)]
pub(super) struct Builder {
    sets: Vec<PortSet>,
    names: Vec<Labels>,
    by_name: HashMap<Labels, u32, foldhash::fast::RandomState>,
    addresses: Vec<(u32, Address)>,
}

impl Builder {
    /// Notes the ports of a slice; without any there is one that has no number.
    pub(super) fn slice_ports(&mut self, ports: &[EndpointPort]) -> u16 {
        self.set(endpoint_ports(ports), true)
    }

    /// Notes the ports of a Service; without any there is one that has no number.
    pub(super) fn service_ports(&mut self, ports: &[ServicePort]) -> u16 {
        let ports = ports.iter().map(|port| Port {
            name: port.name.clone(),
            protocol: Some(port.protocol),
            number: Some(port.port),
        });
        self.set(ports.collect(), true)
    }

    /// Notes the ports of a ServiceImport, which does not exist without any.
    pub(super) fn import_ports(&mut self, ports: &[EndpointPort]) -> u16 {
        self.set(endpoint_ports(ports), false)
    }

    /// A port without a name, of a Pod.
    pub(super) fn pod_port(&mut self) -> u16 {
        self.set(vec![Port { number: Some(0), ..Port::NONE }], false)
    }

    fn set(&mut self, mut ports: Vec<Port>, needs_one: bool) -> u16 {
        if ports.is_empty() && needs_one {
            ports.push(Port::NONE);
        }
        let at = self.sets.iter().position(|set| *set.ports == *ports).unwrap_or_else(|| {
            self.sets.push(PortSet { ports: ports.into(), addresses: 0 });
            self.sets.len() - 1
        });
        // A Service has no more slices than this that differ in their ports: it has at most 65535 ports.
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    /// Adds an address of the target with these labels; none for the Service itself.
    pub(super) fn add(&mut self, host: &Labels, ip: IpAddr, set: u16) {
        if let Some(set) = self.sets.get_mut(usize::from(set)) {
            set.addresses += 1;
        }
        let next = self.names.len() as u32;
        let group = *self.by_name.entry(host.clone()).or_insert(next);
        if group == next {
            self.names.push(host.clone());
        }
        self.addresses.push((group, Address { ip, set, again: false }));
    }

    /// All that were added, by target.
    pub(super) fn build(mut self) -> Targets {
        let mut seen: HashMap<(u32, IpAddr), SmallVec<[u16; 2]>, foldhash::fast::RandomState> = HashMap::default();
        self.addresses.retain_mut(|(group, address)| {
            let sets = seen.entry((*group, address.ip)).or_default();
            let is_told = sets.contains(&address.set);
            address.again = !sets.is_empty();
            sets.push(address.set);
            !is_told
        });
        self.addresses.sort_by_key(|(group, _)| *group);
        let (mut groups, mut names) = (Vec::with_capacity(self.names.len()), Vec::new());
        let mut dashed = Labels::new();
        let mut rest = &self.addresses[..];
        for (group, name) in (0u32..).zip(&self.names) {
            let (own, others) = rest.split_at(rest.partition_point(|(at, _)| *at == group));
            rest = others;
            dashed.clear();
            if let Some((_, first)) = own.first() {
                Host::Dashed(first.ip).push(&mut dashed);
            }
            if *name != dashed {
                names.extend_from_slice(name);
            }
            let addresses = (self.addresses.len() - rest.len()) as u32;
            groups.push(Group { addresses, names: names.len() as u32 });
        }
        Targets {
            has_ports: self.sets.iter().any(|set| !set.ports.is_empty()),
            sets: self.sets.into(),
            groups: groups.into(),
            addresses: self.addresses.into_iter().map(|(_, address)| address).collect(),
            names: names.into(),
            own: self.names.iter().any(Labels::is_empty),
        }
    }
}
