//! Which addresses of the node's networks are given: pure, all of it in memory. What is on disk is `log.rs`.
//!
//! ```text
//! free ─ give ─> held ─ release ─> resting ─ REST later ─> free
//! ```
//! Addresses are given in turn, so that the one that was given back last comes last; and none within [`REST`] of that, as
//! long as there are others: somebody may still send to it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::attachment::Key;

/// How long an address that was given back rests.
pub const REST: Duration = Duration::from_secs(60);

/// Why there is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The node has no network for pods yet.
    #[error("the node has no podCIDR: its Node object has none yet, or was not read yet")]
    NoNetwork,
    /// All are held.
    #[error("no address is free in {network}: {held} are held")]
    Full {
        /// Which network, or which part of it was asked for.
        network: String,
        /// How many are held in it.
        held: usize,
    },
    /// The address that is asked for is held.
    #[error("{address} is asked for, and {by} has it")]
    Held {
        /// Which.
        address: IpAddr,
        /// By whom.
        by: Key,
    },
    /// The same, by a pod of another network.
    #[error("{0} is asked for, and a pod of the network before this one has it ({FOLDER})", FOLDER = crate::host_local::FOLDER)]
    Others(IpAddr),
    /// The address that is asked for is in none of the node's networks.
    #[error("{0} is asked for, and is in none of the node's networks for pods ({1})")]
    Outside(String, String),
}

/// From where to where addresses are to be: both ends count, and are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: IpAddr,
    /// The last.
    pub last: IpAddr,
}

impl Range {
    /// All addresses of a network that are given: not its own, not the first, which other plugins give to a gateway, and
    /// not a broadcast address.
    fn of(network: &IpNet) -> Range {
        let (first, last) = (number(network.network()), number(network.broadcast()));
        let is_v4 = network.addr().is_ipv4();
        let (first, last) = match (last - first, is_v4) {
            // A single address, or a pair of them (RFC 3021).
            (0 | 1, _) => (first, last),
            (_, true) => (first + 2, last - 1),
            (_, false) => (first + 2, last),
        };
        Range { first: address(first, is_v4), last: address(last.max(first), is_v4) }
    }

    /// What is in both.
    fn and(&self, other: &Range) -> Option<Range> {
        let is_v4 = self.first.is_ipv4();
        if is_v4 != other.first.is_ipv4() {
            return None;
        }
        let first = number(self.first).max(number(other.first));
        let last = number(self.last).min(number(other.last));
        (first <= last).then(|| Range { first: address(first, is_v4), last: address(last, is_v4) })
    }
}

/// What is asked for beside "any address": the capabilities `ips` and `ipRanges`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// These, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// One of these, where not empty, in the families that they are of.
    pub ranges: Vec<Range>,
}

/// The node's addresses for pods.
#[derive(Debug, Default)]
pub struct Pool {
    networks: Vec<IpNet>,
    held: HashMap<IpAddr, Key>,
    /// Those that pods of another network have.
    others: HashSet<IpAddr>,
    resting: HashSet<IpAddr>,
    /// In the order in which they were given back.
    rests: VecDeque<(Instant, IpAddr)>,
    /// The last that was given, of each network.
    last: HashMap<IpNet, IpAddr>,
}

impl Pool {
    /// The networks from which is given; what is held in others stays held.
    pub fn set_networks(&mut self, networks: &[IpNet]) {
        self.networks = networks.iter().map(IpNet::trunc).collect();
    }

    /// The networks.
    pub fn networks(&self) -> &[IpNet] {
        &self.networks
    }

    /// Pods of another network have these; not those that are held here.
    pub fn set_others(&mut self, others: HashSet<IpAddr>) {
        self.others = others;
    }

    /// How many are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Who has an address.
    pub fn holder(&self, address: IpAddr) -> Option<&Key> {
        self.held.get(&address)
    }

    /// Notes what is held already. What another has by then stays that one's: false.
    pub fn hold(&mut self, key: &Key, addresses: &[IpAddr]) -> bool {
        let is_free = addresses.iter().all(|address| self.held.get(address).is_none_or(|by| by == key));
        if is_free {
            for address in addresses {
                self.held.insert(*address, key.clone());
                self.rouse(address);
                // Those that follow are given first.
                if let Some(network) = self.networks.iter().find(|network| network.contains(address)) {
                    let last = self.last.entry(*network).or_insert(*address);
                    *last = (*last).max(*address);
                }
            }
        }
        is_free
    }

    /// Gives an address of each family in which the node has networks.
    ///
    /// # Errors
    /// There is none. Then nothing is given.
    pub fn give(&mut self, key: &Key, wanted: &Wanted, now: Instant) -> Result<Vec<IpAddr>, AddressError> {
        if self.networks.is_empty() {
            return Err(AddressError::NoNetwork);
        }
        self.wake(now);
        let mut given = Vec::new();
        for is_v4 in [true, false] {
            let networks: Vec<IpNet> =
                self.networks.iter().filter(|network| network.addr().is_ipv4() == is_v4).copied().collect();
            let one = match wanted.addresses.iter().find(|address| address.is_ipv4() == is_v4) {
                Some(address) => self.this(*address, &networks)?,
                None if networks.is_empty() => continue,
                None => self.any(&networks, wanted, is_v4)?,
            };
            given.push(one);
        }
        for address in &given {
            self.held.insert(*address, key.clone());
            self.rouse(address);
            if let Some(network) = self.networks.iter().find(|network| network.contains(address)) {
                self.last.insert(*network, *address);
            }
        }
        Ok(given)
    }

    /// Takes addresses back; those that `key` doesn't hold stay.
    pub fn release(&mut self, key: &Key, addresses: &[IpAddr], now: Instant) {
        for address in addresses {
            if self.held.get(address) == Some(key) {
                self.held.remove(address);
                self.resting.insert(*address);
                self.rests.push_back((now, *address));
            }
        }
    }

    /// Those that have rested are free.
    fn wake(&mut self, now: Instant) {
        while let Some((since, address)) = self.rests.front().copied() {
            if now.duration_since(since) < REST {
                break;
            }
            self.rests.pop_front();
            self.resting.remove(&address);
        }
    }

    /// It rests no more.
    fn rouse(&mut self, address: &IpAddr) {
        if self.resting.remove(address) {
            self.rests.retain(|(_, other)| other != address);
        }
    }

    fn this(&self, address: IpAddr, networks: &[IpNet]) -> Result<IpAddr, AddressError> {
        if !networks.iter().any(|network| network.contains(&address)) {
            return Err(AddressError::Outside(address.to_string(), listed(&self.networks)));
        }
        match self.held.get(&address) {
            Some(by) => Err(AddressError::Held { address, by: by.clone() }),
            None if self.others.contains(&address) => Err(AddressError::Others(address)),
            None => Ok(address),
        }
    }

    fn any(&self, networks: &[IpNet], wanted: &Wanted, is_v4: bool) -> Result<IpAddr, AddressError> {
        let asked: Vec<Range> = wanted.ranges.iter().filter(|range| range.first.is_ipv4() == is_v4).copied().collect();
        let mut ranges = Vec::new();
        for network in networks {
            let whole = Range::of(network);
            if asked.is_empty() {
                ranges.push((*network, whole));
            } else {
                ranges.extend(asked.iter().filter_map(|range| Some((*network, range.and(&whole)?))));
            }
        }
        let [first, ..] = &asked[..] else {
            return self.of_ranges(&ranges).ok_or_else(|| self.full(listed(networks), &ranges));
        };
        let said = format!("{}-{}", first.first, first.last);
        if ranges.is_empty() {
            return Err(AddressError::Outside(said, listed(&self.networks)));
        }
        self.of_ranges(&ranges).ok_or_else(|| self.full(said, &ranges))
    }

    fn full(&self, network: String, ranges: &[(IpNet, Range)]) -> AddressError {
        let is_in = |address: &IpAddr| ranges.iter().any(|(network, _)| network.contains(address));
        AddressError::Full { network, held: self.held.keys().filter(|address| is_in(address)).count() }
    }

    fn of_ranges(&self, ranges: &[(IpNet, Range)]) -> Option<IpAddr> {
        ranges.iter().find_map(|(network, range)| self.next(network, range)).or_else(|| {
            // Only such as rest: the one that has rested longest.
            let is_in = |address: &IpAddr| {
                ranges.iter().any(|(network, range)| {
                    network.contains(address) && (number(range.first)..=number(range.last)).contains(&number(*address))
                })
            };
            let mut resting = self.rests.iter().map(|(_, address)| *address);
            resting.find(|address| is_in(address) && !self.others.contains(address))
        })
    }

    /// The next free one behind the last that was given. Looks at no more than are taken.
    fn next(&self, network: &IpNet, range: &Range) -> Option<IpAddr> {
        let is_v4 = range.first.is_ipv4();
        let (first, last) = (number(range.first), number(range.last));
        let begin = self.last.get(network).map_or(first, |last| number(*last).saturating_add(1));
        let begin = if (first..=last).contains(&begin) { begin } else { first };
        let room = (last - first).saturating_add(1);
        let looked_at = room.min((self.held.len() + self.resting.len() + self.others.len()) as u128 + 1);
        (0..looked_at).map(|step| first + (begin - first + step) % room).map(|number| address(number, is_v4)).find(
            |address| {
                !self.held.contains_key(address) && !self.resting.contains(address) && !self.others.contains(address)
            },
        )
    }
}

fn listed(networks: &[IpNet]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn address(number: u128, is_v4: bool) -> IpAddr {
    if is_v4 { std::net::Ipv4Addr::from(number as u32).into() } else { std::net::Ipv6Addr::from(number).into() }
}

#[cfg(test)]
mod tests;
