//! The API server's part: which addresses a Service has.
//!
//! A Service that names no clusterIP gets, for each of its families, an address of the range that only its own
//! name and the objects that are there decide (`claims`): every node that reads the same objects finds the same
//! addresses, without a memory.
//!
//! "Older" is the earlier `creationTimestamp` (one without counts as youngest), then the name
//! (namespace/name) that sorts first.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::Options;
use super::claims::{Claims, usable};
use crate::object::{Family, FamilyPolicy, ObjectName, Service, ServiceType};
use crate::snapshot::Frontend;
use crate::source::{Origin, Problem};

/// Where an address of a Service comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Written(IpAddr),
    /// One of this range is to be found for it.
    Assigned(IpNet),
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
    /// The addresses that its manifest writes.
    pub(super) fn written(&self) -> impl Iterator<Item = IpAddr> {
        self.wishes.iter().filter_map(|wish| match wish {
            Wish::Written(address) => Some(*address),
            Wish::Assigned(_) => None,
        })
    }

    /// The ranges of which it wants an address.
    pub(super) fn ranges(&self) -> impl Iterator<Item = &IpNet> {
        self.wishes.iter().filter_map(|wish| match wish {
            Wish::Written(_) => None,
            Wish::Assigned(range) => Some(range),
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
        match range(options, *family) {
            Some(range) if usable(range) > 0 => plan.wishes.push(Wish::Assigned(*range)),
            Some(range) => plan.refused.push((
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

/// A Service with every address it gets.
pub(super) struct Settled {
    /// What the manifest writes of addresses and families comes first in it.
    pub(super) service: Arc<Service>,
    /// What older Services have of what it claims.
    pub(super) lost: Vec<Frontend>,
    pub(super) problems: Vec<Problem>,
    /// Younger Services that must be completed again, since its address was theirs or is free now.
    pub(super) disturbed: Vec<ObjectName>,
}

/// Completes a Service against the claims of all, once every older one is. `find` looks up another Service, settled or not.
pub(super) fn settle<'a>(
    service: &Arc<Service>,
    origin: &Origin,
    options: &Options,
    claims: &mut Claims,
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
    let (mut lost, mut disturbed) = (Vec::new(), Vec::new());
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
            Wish::Assigned(range) => {
                let placed = claims.place(&range, service);
                disturbed.extend(placed.disturbed);
                match placed.address {
                    Some(address) => cluster_ips.push(address),
                    None => refuse(
                        "spec.clusterIP".to_string(),
                        format!(
                            "all {} addresses of {range} that can be given are taken by manifests and older Services; \
                             give a wider --service-cluster-ip-range, or write a clusterIP of your choice",
                            usable(&range)
                        ),
                    ),
                }
            }
        }
    }
    let service = if service.cluster_ips == cluster_ips && service.families == plan.families {
        service.clone()
    } else {
        Arc::new(Service { cluster_ips, families: plan.families, ..Service::clone(service) })
    };
    Settled { service, lost, problems, disturbed }
}
