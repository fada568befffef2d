//! The API server's part: which addresses a Service has.
//!
//! A Service that names no clusterIP gets, for each of its families, the address that a fixed hash of
//! its namespace and name picks from the range. There is no memory and no second try: every node that
//! reads the same objects finds the same addresses. The price is that two names can meet. Then the
//! address is whose manifest writes it, else the older one's; the other has none until that one goes.
//!
//! "Older" is the earlier `creationTimestamp` (one without counts as youngest), then the name
//! (namespace/name) that sorts first.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::Options;
use crate::object::{Family, FamilyPolicy, ObjectName, Service, ServiceType};
use crate::snapshot::Frontend;
use crate::source::{Origin, Problem};

/// One Service's claim to one address; claims sort so that the first one has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    address: IpAddr,
    /// Picked by the hash, not written in the manifest.
    assigned: bool,
    created: i64,
    pub(super) service: ObjectName,
}

impl Claim {
    fn new(address: IpAddr, assigned: bool, service: &Service) -> Claim {
        Claim { address, assigned, created: service.created.unwrap_or(i64::MAX), service: service.name.clone() }
    }
}

/// Who claims which address.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeSet<Claim>);

impl Claims {
    pub(super) fn insert(&mut self, address: IpAddr, assigned: bool, service: &Service) {
        self.0.insert(Claim::new(address, assigned, service));
    }

    pub(super) fn remove(&mut self, address: IpAddr, assigned: bool, service: &Service) {
        self.0.remove(&Claim::new(address, assigned, service));
    }

    /// The claims to one address, the strongest first.
    pub(super) fn of(&self, address: IpAddr) -> impl Iterator<Item = &Claim> {
        let nobody = ObjectName::default();
        let from = Claim { address, assigned: false, created: i64::MIN, service: nobody };
        self.0.range(from..).take_while(move |claim| claim.address == address)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where an address of a Service comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Written(IpAddr),
    Assigned(IpAddr),
}

/// What a Service asks for, whoever else there is.
#[derive(Debug, Default)]
pub(super) struct Plan {
    families: Vec<Family>,
    wishes: Vec<Wish>,
    /// Field and message of what can't be given.
    refused: Vec<(&'static str, String)>,
}

impl Plan {
    /// The addresses it claims, and whether the hash picked them.
    pub(super) fn claims(self) -> impl Iterator<Item = (IpAddr, bool)> {
        self.wishes.into_iter().map(|wish| match wish {
            Wish::Written(address) => (address, false),
            Wish::Assigned(address) => (address, true),
        })
    }
}

/// Families and addresses by the API server's rules. Depends on the Service and the ranges alone.
pub(super) fn plan(service: &Service, options: &Options) -> Plan {
    let mut plan = Plan::default();
    if service.kind == ServiceType::ExternalName {
        return plan;
    }
    let written = &service.cluster_ips;
    plan.families =
        if service.families.is_empty() { written.iter().map(Family::of).collect() } else { service.families.clone() };
    if options.complete {
        complete_families(service, options, &mut plan);
    }
    if service.headless {
        return plan;
    }
    plan.wishes.extend(written.iter().map(|address| Wish::Written(*address)));
    if !options.complete || !plan.refused.is_empty() {
        return plan;
    }
    for family in &plan.families {
        if written.iter().any(|address| Family::of(address) == *family) {
            continue;
        }
        match range(options, *family).map(|range| (range, pick(range, &service.name))) {
            Some((_, Some(address))) => plan.wishes.push(Wish::Assigned(address)),
            Some((range, None)) => plan.refused.push((
                "spec.clusterIP",
                format!("{range} is too small to take an address from; give a wider --service-cluster-ip-range or write a clusterIP"),
            )),
            None => plan.refused.push(("spec.ipFamilies", no_range(*family))),
        }
    }
    plan
}

fn no_range(family: Family) -> String {
    format!(
        "there is no {family} range; give --service-cluster-ip-range one, or write the {family} address in clusterIPs"
    )
}

fn range(options: &Options, family: Family) -> Option<&IpNet> {
    options.service_cidrs.iter().find(|range| Family::of(&range.addr()) == family)
}

fn complete_families(service: &Service, options: &Options, plan: &mut Plan) {
    let families = &mut plan.families;
    let default = options.service_cidrs.first().map_or(Family::V4, |range| Family::of(&range.addr()));
    let selects = service.selector.as_ref().is_some_and(|selector| !selector.is_empty());
    let policy = service.family_policy.unwrap_or(if families.len() == 2 || (service.headless && !selects) {
        // Two families written ask for both. Who lists the endpoints of a headless Service by hand may
        // list either family.
        FamilyPolicy::RequireDualStack
    } else {
        FamilyPolicy::SingleStack
    });
    if families.is_empty() {
        families.push(default);
    }
    let other = if families[0] == Family::V4 { Family::V6 } else { Family::V4 };
    match (policy, families.len()) {
        (FamilyPolicy::SingleStack, 2) => plan.refused.push((
            "spec.ipFamilyPolicy",
            "is SingleStack, but two families are written; write PreferDualStack or RequireDualStack".to_string(),
        )),
        (FamilyPolicy::PreferDualStack, 1) if range(options, other).is_some() => families.push(other),
        (FamilyPolicy::RequireDualStack, 1) if range(options, other).is_some() || service.headless => {
            families.push(other);
        }
        (FamilyPolicy::RequireDualStack, 1) => {
            plan.refused.push(("spec.ipFamilyPolicy", format!("is RequireDualStack, but {}", no_range(other))));
        }
        _ => {}
    }
}

/// The address that belongs to this name in this range: FNV-1a (64 bits) of `namespace/name`, modulo the
/// addresses of the range without its network and last address and the first (`kubernetes` has that
/// one). This must never change: nodes of two versions would disagree. None where the range has no room.
pub(super) fn pick(range: &IpNet, name: &ObjectName) -> Option<IpAddr> {
    let bytes = name.namespace.bytes().chain([b'/']).chain(name.name.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let host_bits = u32::from(range.max_prefix_len() - range.prefix_len());
    let usable = 1_u128.checked_shl(host_bits).unwrap_or(0).wrapping_sub(3);
    if host_bits < 2 {
        return None;
    }
    let offset = 2 + u128::from(hash) % usable;
    Some(match range.network() {
        IpAddr::V4(network) => Ipv4Addr::from_bits(network.to_bits() + u32::try_from(offset).ok()?).into(),
        IpAddr::V6(network) => Ipv6Addr::from_bits(network.to_bits() + offset).into(),
    })
}

/// A Service with every address it gets.
pub(super) struct Settled {
    /// What the manifest writes of addresses and families comes first in it.
    pub(super) service: Arc<Service>,
    /// What older Services have of what it claims.
    pub(super) lost: Vec<Frontend>,
    pub(super) problems: Vec<Problem>,
}

/// Completes a Service against the claims of all. `find` looks up another Service, settled or not.
pub(super) fn settle<'a>(
    service: &Arc<Service>,
    origin: &Origin,
    options: &Options,
    claims: &Claims,
    find: impl Fn(&ObjectName) -> Option<&'a Service>,
) -> Settled {
    let plan = plan(service, options);
    let mut problems = Vec::new();
    let mut refuse = |field: String, message: String| {
        problems.push(Problem {
            origin: origin.clone(),
            object: Some(format!("Service {}", service.name)),
            field: Some(field),
            message,
        });
    };
    for (field, message) in plan.refused {
        refuse(field.to_string(), message);
    }
    let mut cluster_ips = Vec::with_capacity(plan.wishes.len());
    let mut lost = Vec::new();
    for wish in plan.wishes {
        match wish {
            Wish::Written(address) => {
                cluster_ips.push(address);
                let older: Vec<&Service> = claims
                    .of(address)
                    .take_while(|claim| claim.service != service.name)
                    .filter_map(|claim| find(&claim.service))
                    .collect();
                if older.is_empty() {
                    continue;
                }
                for (index, port) in service.ports.iter().enumerate() {
                    let same = |other: &&&Service| {
                        other.ports.iter().any(|p| (p.port, p.protocol) == (port.port, port.protocol))
                    };
                    if let Some(owner) = older.iter().find(same) {
                        lost.push(Frontend { ip: address, port: port.port, protocol: port.protocol });
                        refuse(
                            format!("spec.ports[{index}].port"),
                            format!(
                                "{} port {}/{} belongs to the older Service {}; change the port or the clusterIP of one of them",
                                address, port.port, port.protocol, owner.name
                            ),
                        );
                    }
                }
            }
            Wish::Assigned(address) => match claims.of(address).next() {
                Some(first) if first.service != service.name => refuse(
                    "spec.clusterIP".to_string(),
                    format!(
                        "the address for this name, {address}, belongs to Service {}; write a clusterIP of your choice",
                        first.service
                    ),
                ),
                _ => cluster_ips.push(address),
            },
        }
    }
    let service = if service.cluster_ips == cluster_ips && service.families == plan.families {
        service.clone()
    } else {
        Arc::new(Service { cluster_ips, families: plan.families, ..Service::clone(service) })
    };
    Settled { service, lost, problems }
}
