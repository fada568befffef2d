//! Which names an address has: the ClusterIPs of Services, and the endpoints of all slices.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bowline_cluster::object::ObjectName;
use imbl::OrdMap;

/// Addresses with whose they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Pointers {
    /// ClusterIPs with their Services.
    services: OrdMap<IpAddr, Arc<Owner>>,
    /// ClusterSetIPs with their ServiceImports.
    imports: OrdMap<IpAddr, Arc<Owner>>,
    /// Ready endpoints with the Services that their slices name, by family: an IPv4 endpoint takes 16 bytes.
    v4: OrdMap<Ipv4Addr, Arc<Owner>>,
    v6: OrdMap<Ipv6Addr, Arc<Owner>>,
}

/// Whose an address is. Most have one owner, whose record its addresses share.
#[derive(Debug)]
pub(super) struct Owner {
    name: ObjectName,
    /// The next by name.
    next: Option<Arc<Owner>>,
}

impl Owner {
    pub(super) fn new(name: ObjectName) -> Arc<Owner> {
        Arc::new(Owner { name, next: None })
    }

    fn names(owner: Option<&Arc<Owner>>) -> impl Iterator<Item = &ObjectName> {
        std::iter::successors(owner, |owner| owner.next.as_ref()).map(|owner| &owner.name)
    }
}

impl Pointers {
    /// The Services with this ClusterIP, by name.
    pub(super) fn services(&self, ip: IpAddr) -> impl Iterator<Item = &ObjectName> {
        Owner::names(self.services.get(&ip))
    }

    /// The ServiceImports with this address, by name.
    pub(super) fn imports(&self, ip: IpAddr) -> impl Iterator<Item = &ObjectName> {
        Owner::names(self.imports.get(&ip))
    }

    /// The Services that have a ready endpoint with this address, by name.
    pub(super) fn endpoints(&self, ip: IpAddr) -> impl Iterator<Item = &ObjectName> {
        Owner::names(match ip {
            IpAddr::V4(ip) => self.v4.get(&ip),
            IpAddr::V6(ip) => self.v6.get(&ip),
        })
    }

    /// Changes the ClusterIPs of one Service. Both lists are sorted, here and below.
    pub(super) fn set_service(&mut self, owner: &Arc<Owner>, before: &[IpAddr], after: &[IpAddr]) {
        differing(before, after).for_each(|ip| remove(&mut self.services, ip, owner));
        differing(after, before).for_each(|ip| insert(&mut self.services, ip, owner));
    }

    /// Changes the addresses of one ServiceImport.
    pub(super) fn set_import(&mut self, owner: &Arc<Owner>, before: &[IpAddr], after: &[IpAddr]) {
        differing(before, after).for_each(|ip| remove(&mut self.imports, ip, owner));
        differing(after, before).for_each(|ip| insert(&mut self.imports, ip, owner));
    }

    /// Changes the ready endpoints of one Service.
    pub(super) fn set_endpoints(&mut self, owner: &Arc<Owner>, before: &[IpAddr], after: &[IpAddr]) {
        for ip in differing(before, after) {
            match ip {
                IpAddr::V4(ip) => remove(&mut self.v4, ip, owner),
                IpAddr::V6(ip) => remove(&mut self.v6, ip, owner),
            }
        }
        for ip in differing(after, before) {
            match ip {
                IpAddr::V4(ip) => insert(&mut self.v4, ip, owner),
                IpAddr::V6(ip) => insert(&mut self.v6, ip, owner),
            }
        }
    }
}

fn insert<Ip: Ord + Copy>(map: &mut OrdMap<Ip, Arc<Owner>>, ip: Ip, owner: &Arc<Owner>) {
    let owners = match map.get(&ip) {
        None => owner.clone(),
        others => listed(Owner::names(others).filter(|name| **name != owner.name).chain([&owner.name]))
            .unwrap_or_else(|| owner.clone()),
    };
    map.insert(ip, owners);
}

fn remove<Ip: Ord + Copy>(map: &mut OrdMap<Ip, Arc<Owner>>, ip: Ip, owner: &Arc<Owner>) {
    match listed(Owner::names(map.get(&ip)).filter(|name| **name != owner.name)) {
        Some(owners) => drop(map.insert(ip, owners)),
        None => drop(map.remove(&ip)),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a ObjectName>) -> Option<Arc<Owner>> {
    let mut names: Vec<&ObjectName> = names.collect();
    names.sort_unstable();
    names.into_iter().rev().fold(None, |next, name| Some(Arc::new(Owner { name: name.clone(), next })))
}

/// Those of `these` that the sorted `others` don't have.
fn differing<'a>(these: &'a [IpAddr], others: &'a [IpAddr]) -> impl Iterator<Item = IpAddr> + 'a {
    these.iter().copied().filter(|ip| others.binary_search(ip).is_err())
}
