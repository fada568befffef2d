//! Who claims which address, and the search for one that is free.
//!
//! A Service without a written address has an order of its own of all addresses of the range: the first is
//! what the hash of its name picks, the others follow in steps that the same hash gives. It has the first of
//! them that no manifest writes and no older Service has
//! ([decision 13](../../../docs/decisions/0013-the-next-address-of-a-name.md)). That is a function of the
//! objects alone, so all nodes agree.
//!
//! It claims every address that it passed over, so that it is found when one of those becomes free; a change
//! therefore looks at the few Services that passed over an address of it, and at no others.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::object::{Family, ObjectName, Service};

/// How old a Service is; who sorts first is older.
pub(super) type Age = (i64, ObjectName);

/// The age of a Service.
pub(super) fn age(service: &Service) -> Age {
    (service.created.unwrap_or(i64::MAX), service.name.clone())
}

/// One Service's claim to one address; claims sort so that the first one has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    address: IpAddr,
    /// Found by the hash, not written in the manifest.
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
pub(super) struct Claims {
    claims: BTreeSet<Claim>,
    /// Services for which the range of the family has nothing left. They claim nothing: it would be all of it.
    waiting: BTreeSet<(Family, Age)>,
}

/// What a search has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Placed {
    /// The address; None where older Services and manifests have all.
    pub(super) address: Option<IpAddr>,
    /// Services that must search again.
    pub(super) disturbed: Vec<ObjectName>,
}

impl Claims {
    /// An address that the manifest writes.
    pub(super) fn write(&mut self, address: IpAddr, service: &Service) {
        self.claims.insert(Claim::new(address, false, service));
    }

    /// No longer.
    pub(super) fn unwrite(&mut self, address: IpAddr, service: &Service) {
        self.claims.remove(&Claim::new(address, false, service));
    }

    /// The claims to one address, the strongest first.
    pub(super) fn of(&self, address: IpAddr) -> impl Iterator<Item = &Claim> {
        let nobody = ObjectName::default();
        let from = Claim { address, assigned: false, created: i64::MIN, service: nobody };
        self.claims.range(from..).take_while(move |claim| claim.address == address)
    }

    /// The oldest Service that waits for an address of this family.
    pub(super) fn waiting(&self, family: Family) -> Option<&ObjectName> {
        self.oldest(family).map(|(_, (_, name))| name)
    }

    fn oldest(&self, family: Family) -> Option<&(Family, Age)> {
        let from = (family, (i64::MIN, ObjectName::default()));
        self.waiting.range(from..).next().filter(|(of, _)| *of == family)
    }

    /// Finds the Service's address in the range. Right only once every older Service that must search has.
    pub(super) fn place(&mut self, range: &IpNet, service: &Service) -> Placed {
        let family = Family::of(&range.addr());
        let place = (family, age(service));
        let older_waits = self.oldest(family).is_some_and(|oldest| *oldest < place);
        // What is not enough for an older one has nothing for a younger one.
        let found = if older_waits { None } else { self.search(range, service) };
        let Some((index, address)) = found else {
            let disturbed = self.withdraw(range, service, 0);
            self.waiting.insert(place);
            return Placed { address: None, disturbed };
        };
        let waited = self.waiting.remove(&place);
        let before = self.of(address).next().map(|claim| claim.service.clone());
        for address in probes(range, &service.name).take(index + 1) {
            self.claims.insert(Claim::new(address, true, service));
        }
        let mut disturbed = self.withdraw(range, service, index + 1);
        disturbed.extend(before.filter(|name| *name != service.name));
        // There may be more than the one that it got.
        disturbed.extend(self.waiting(family).filter(|_| waited).cloned());
        Placed { address: Some(address), disturbed }
    }

    /// The first address that may be the Service's, and how many come before it.
    fn search(&self, range: &IpNet, service: &Service) -> Option<(usize, IpAddr)> {
        let is_free = |address: IpAddr| {
            let claim = Claim::new(address, true, service);
            self.of(address).next().is_none_or(|first| claim <= *first)
        };
        probes(range, &service.name).enumerate().find(|(_, address)| is_free(*address))
    }

    /// Takes back what the Service claims from this step of its search on; who must search again for that.
    fn withdraw(&mut self, range: &IpNet, service: &Service, from: usize) -> Vec<ObjectName> {
        let mut disturbed = Vec::new();
        let mut withdrew = false;
        for address in probes(range, &service.name).skip(from) {
            if !self.claims.remove(&Claim::new(address, true, service)) {
                break;
            }
            withdrew = true;
            disturbed.extend(self.of(address).filter(|claim| claim.assigned).map(|claim| claim.service.clone()));
        }
        disturbed.extend(self.waiting(Family::of(&range.addr())).filter(|_| withdrew).cloned());
        disturbed
    }

    /// The Service searches no more; who must search again for that.
    pub(super) fn leave(&mut self, range: &IpNet, service: &Service) -> Vec<ObjectName> {
        self.waiting.remove(&(Family::of(&range.addr()), age(service)));
        self.withdraw(range, service, 0)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.waiting.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.claims.len()
    }
}

/// How many addresses of a range can be given: all but the network, the first (`kubernetes` has that one) and the
/// last.
pub(super) fn usable(range: &IpNet) -> u128 {
    match u32::from(range.max_prefix_len() - range.prefix_len()) {
        0 | 1 => 0,
        bits => 1_u128.checked_shl(bits).unwrap_or(0).wrapping_sub(3),
    }
}

/// All addresses of a range in the order in which this name tries them, each once. The first is FNV-1a (64 bits)
/// of `namespace/name` modulo their number; the step to the next is the same hash's upper half modulo that number,
/// made bigger until both have no divisor in common.
///
/// This must never change: nodes of two versions would disagree.
pub(super) fn probes(range: &IpNet, name: &ObjectName) -> impl Iterator<Item = IpAddr> + use<> {
    let bytes = name.namespace.bytes().chain([b'/']).chain(name.name.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let (network, count) = (range.network(), usable(range));
    let mut at = u128::from(hash).checked_rem(count);
    let mut step = None;
    let mut left = count;
    std::iter::from_fn(move || {
        let offset = at?;
        left -= 1;
        at = (left > 0).then(|| {
            let step = *step.get_or_insert_with(|| step_of(hash, count));
            if offset >= count - step { offset - (count - step) } else { offset + step }
        });
        Some(match network {
            IpAddr::V4(network) => {
                Ipv4Addr::from_bits(network.to_bits().wrapping_add(u32::try_from(offset + 2).ok()?)).into()
            }
            IpAddr::V6(network) => Ipv6Addr::from_bits(network.to_bits().wrapping_add(offset + 2)).into(),
        })
    })
}

/// A step that leads to each of `count` places, of which there are at least two.
fn step_of(hash: u64, count: u128) -> u128 {
    let mut step = 1 + u128::from(hash >> 32) % (count - 1);
    // Ends at the latest with count - 1.
    while divisor(count, step) != 1 {
        step += 1;
    }
    step
}

/// The greatest that both have.
fn divisor(mut a: u128, mut b: u128) -> u128 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
