//! What the maps say of the node: its links, its addresses, and where pods are seen with their own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bowline_ebpf::packet::layout::{Address, Link as Record, Local, mapped};
use ipnet::IpNet;

use super::object::Program;
use super::pods::{address, bytes};
use super::{KernelError, Packets, detach};

/// A link of the node, over which pods' packets come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index in the node's network namespace.
    pub index: u32,
    /// What is at its other end.
    pub kind: LinkKind,
    /// The address that pods' packets get which leave the cluster here; None: they keep their own.
    pub v4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub v6: Option<Ipv6Addr>,
}

/// What is at the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// The world, and other nodes.
    Uplink,
    /// Pods alone: those of other nodes by a tunnel (VXLAN), or of another network of this node by its bridge.
    Pods,
}

impl Link {
    fn addresses(&self) -> [Address; 2] {
        [self.v4.map_or([0; 4], |v4| address(v4.into())), self.v6.map_or([0; 4], |v6| address(v6.into()))]
    }
}

fn addresses(record: &Record) -> impl Iterator<Item = Address> + use<> {
    let v4 = (record.v4 != 0).then(|| mapped(record.v4));
    v4.into_iter().chain((record.v6 != [0; 4]).then_some(record.v6))
}

/// The key of a network in `inside`.
fn prefix(network: &IpNet) -> [u8; 20] {
    let length = match network {
        IpNet::V4(v4) => 96 + u32::from(v4.prefix_len()),
        IpNet::V6(v6) => u32::from(v6.prefix_len()),
    };
    let mut key = [0; 20];
    key[..4].copy_from_slice(&length.to_ne_bytes());
    key[4..].copy_from_slice(&bytes(address(network.network())));
    key
}

impl Packets {
    /// Attaches the programs at a link of the node, which is of Ethernet. Again with the same index: what it says of that now
    /// holds instead; flows that there are keep the address that they have. Its addresses are the node's own.
    ///
    /// # Errors
    /// The device is gone, or the kernel's. Then the link is as if it had been removed.
    pub fn put_link(&mut self, link: &Link) -> Result<(), KernelError> {
        let put = self.write_link(link);
        if put.is_err() {
            self.remove_link(link.index)?;
        }
        put
    }

    fn write_link(&mut self, link: &Link) -> Result<(), KernelError> {
        let [v4, v6] = link.addresses();
        for address in [v4, v6].into_iter().filter(|address| *address != [0; 4]) {
            self.local.put(&bytes(address), &Local::default().to_bytes()).map_err(self.in_map("local", "writing"))?;
        }
        let key = link.index.to_ne_bytes();
        match link.kind {
            LinkKind::Uplink => {
                let record = Record { v6, v4: v4[3] };
                self.links.put(&key, &record.to_bytes()).map_err(self.in_map("links", "writing"))?;
                self.attach(Program::TO_LINK, link.index)?;
            }
            LinkKind::Pods => {
                self.links.remove(&key).map_err(self.in_map("links", "writing"))?;
                detach(&self.root, Program::TO_LINK.name, link.index, Program::TO_LINK.hook)?;
            }
        }
        self.attach(Program::FROM_LINK, link.index)
    }

    /// Takes them away. What pods send over it from now on keeps its addresses, so answers get no further than they would
    /// without Bowline.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_link(&mut self, index: u32) -> Result<(), KernelError> {
        for program in [Program::TO_LINK, Program::FROM_LINK] {
            detach(&self.root, program.name, index, program.hook)?;
        }
        self.links.remove(&index.to_ne_bytes()).map_err(self.in_map("links", "writing")).map(drop)
    }

    /// The indices of the links that the maps know, in order: for one who starts, and compares them with what there is.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn links(&self) -> Result<Vec<u32>, KernelError> {
        let all = self.links.entries().map_err(self.in_map("links", "reading"))?;
        let mut indices: Vec<u32> =
            all.into_iter().map(|(key, _)| key.try_into().map_or(0, u32::from_ne_bytes)).collect();
        indices.sort_unstable();
        Ok(indices)
    }

    /// Says which addresses are the node's own, beside those of its links: no pod has them, and what is for them goes to the
    /// node itself. What was said before and isn't any more no longer holds.
    ///
    /// # Errors
    /// The map is full, or the kernel's.
    pub fn set_node_addresses(&mut self, addresses_now: &[IpAddr]) -> Result<(), KernelError> {
        let mut wanted: Vec<[u8; 16]> = addresses_now.iter().map(|one| bytes(address(*one))).collect();
        for (_, value) in self.links.entries().map_err(self.in_map("links", "reading"))? {
            wanted.extend(addresses(&Record::from_bytes(&value)).map(bytes));
        }
        let write = self.in_map("local", "writing");
        for key in &wanted {
            self.local.put(key, &Local::default().to_bytes()).map_err(&write)?;
        }
        for (key, value) in self.local.entries().map_err(&write)? {
            let is_node = Local::from_bytes(&value).index == 0;
            if is_node && !wanted.iter().any(|wanted| wanted[..] == key[..]) {
                self.local.remove(&key).map_err(&write)?;
            }
        }
        Ok(())
    }

    /// Says in which networks pods are seen with their own addresses: those of pods, mostly, of nodes, and others that are not
    /// to be masqueraded. The difference to what was said before is written; flows that there are stay as they are.
    ///
    /// # Errors
    /// The map is full, or the kernel's.
    pub fn set_inside(&mut self, networks: &[IpNet]) -> Result<(), KernelError> {
        let wanted: Vec<[u8; 20]> = networks.iter().map(prefix).collect();
        let write = self.in_map("inside", "writing");
        for key in &wanted {
            self.inside.put(key, &1_u32.to_ne_bytes()).map_err(&write)?;
        }
        self.inside
            .each_key(|key| {
                if wanted.iter().any(|wanted| wanted[..] == *key) { Ok(()) } else { self.inside.remove(key).map(drop) }
            })
            .map_err(&write)
    }
}
