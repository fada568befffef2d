//! What the maps say of a pod: under its device's index who it is, under each of its addresses where it is.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bowline_ebpf::packet::layout::{Address, HAS_QUEUE, HOST_PORTS, Local, Mac, Veth, mapped};

use super::{KernelError, Packets};

/// A pod's wire: a pair of devices, one in the node, one in the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodWire {
    /// The index of the node's end.
    pub index: u32,
    /// The Ethernet address of the node's end.
    pub host_mac: [u8; 6],
    /// That of the pod's end.
    pub pod_mac: [u8; 6],
    /// The pod's IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// The pod's IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// The largest packet that the wire takes, from the IP header on; 65535 at most counts.
    pub mtu: u32,
    /// Whether there is a queue at the node's end, as for a limit of bandwidth, which all that is for the pod has to pass.
    pub has_queue: bool,
}

/// An address as the maps have it.
pub(super) fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(v4) => mapped(u32::from_ne_bytes(v4.octets())),
        IpAddr::V6(v6) => words(v6.octets()),
    }
}

/// And as people have it.
pub(super) fn ip(address: Address) -> IpAddr {
    let v6 = Ipv6Addr::from(bytes(address));
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

fn words(bytes: [u8; 16]) -> Address {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = bytes.try_into().map_or(0, u32::from_ne_bytes);
    }
    words
}

/// The bytes of an address: the key of `local`.
pub(super) fn bytes(address: Address) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, word) in bytes.chunks_exact_mut(4).zip(address) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

fn mac(bytes: [u8; 6]) -> Mac {
    [0, 2, 4].map(|at| u16::from_ne_bytes([bytes[at], bytes[at + 1]]))
}

fn mac_bytes(mac: Mac) -> [u8; 6] {
    let [[a, b], [c, d], [e, f]] = mac.map(u16::to_ne_bytes);
    [a, b, c, d, e, f]
}

impl PodWire {
    fn veth(&self, flags: u32) -> Veth {
        let v6 = self.v6.map_or([0; 4], |v6| words(v6.octets()));
        let v4 = self.v4.map_or(0, |v4| u32::from_ne_bytes(v4.octets()));
        Veth { v6, v4, mac: mac(self.pod_mac), pad: 0, flags }
    }

    fn local(&self) -> Local {
        Local {
            index: self.index,
            mtu: self.mtu.try_into().unwrap_or(u16::MAX),
            flags: if self.has_queue { HAS_QUEUE } else { 0 },
            mac: mac(self.pod_mac),
            host_mac: mac(self.host_mac),
        }
    }
}

/// The addresses of a pod, as the maps have them.
fn addresses(veth: &Veth) -> impl Iterator<Item = Address> + use<> {
    let v4 = (veth.v4 != 0).then(|| mapped(veth.v4));
    let v6 = (veth.v6 != [0; 4]).then_some(veth.v6);
    v4.into_iter().chain(v6)
}

impl Packets {
    fn veth(&self, index: u32) -> Result<Option<Veth>, KernelError> {
        let value = self.veths.get(&index.to_ne_bytes()).map_err(self.in_map("veths", "reading"))?;
        Ok(value.as_deref().map(Veth::from_bytes))
    }

    /// Says of the pod with this address, if it is there, that it has a port of the node.
    pub(super) fn note_host_port(&self, address: Address) -> Result<(), KernelError> {
        let Some(local) = self.local_at(address)?.filter(|local| local.index != 0) else { return Ok(()) };
        let Some(mut veth) = self.veth(local.index)? else { return Ok(()) };
        veth.flags |= HOST_PORTS;
        let write = self.in_map("veths", "writing");
        self.veths.put(&local.index.to_ne_bytes(), &veth.to_bytes()).map_err(write)
    }

    fn local_at(&self, address: Address) -> Result<Option<Local>, KernelError> {
        let value = self.local.get(&bytes(address)).map_err(self.in_map("local", "reading"))?;
        Ok(value.as_deref().map(Local::from_bytes))
    }

    /// Writes what the maps say of a pod: where it is before what it may send.
    pub(super) fn write_pod(&self, pod: &PodWire) -> Result<(), KernelError> {
        let before = self.veth(pod.index)?;
        let mut veth = pod.veth(before.map_or(0, |veth| veth.flags));
        if veth.flags & HOST_PORTS == 0 && self.has_host_port(&addresses(&veth).collect::<Vec<_>>())? {
            veth.flags |= HOST_PORTS;
        }
        let local = pod.local().to_bytes();
        for address in addresses(&veth) {
            self.local.put(&bytes(address), &local).map_err(self.in_map("local", "writing"))?;
        }
        let write = self.in_map("veths", "writing");
        self.veths.put(&pod.index.to_ne_bytes(), &veth.to_bytes()).map_err(write)?;
        let kept: Vec<Address> = addresses(&veth).collect();
        let gone = before.iter().flat_map(addresses).filter(|address| !kept.contains(address));
        let gone = self.forget_addresses(pod.index, gone)?;
        self.forget_flows_of(&gone)
    }

    /// Takes out of the maps what they say of the pods behind devices.
    pub(super) fn forget_pods(&self, indices: &[u32]) -> Result<(), KernelError> {
        let mut gone = HashSet::new();
        for index in indices {
            if let Some(veth) = self.veth(*index)? {
                gone.extend(self.forget_addresses(*index, addresses(&veth))?);
            }
        }
        self.forget_flows_of(&gone)?;
        for index in indices {
            self.veths.remove(&index.to_ne_bytes()).map_err(self.in_map("veths", "writing"))?;
        }
        Ok(())
    }

    /// Forgets addresses, as far as they are still behind this device: another pod may have one by now. Says which those are.
    fn forget_addresses(
        &self,
        index: u32,
        all: impl Iterator<Item = Address>,
    ) -> Result<HashSet<Address>, KernelError> {
        let mut gone = HashSet::new();
        for address in all {
            if self.local_at(address)?.is_some_and(|local| local.index == index) {
                self.local.remove(&bytes(address)).map_err(self.in_map("local", "writing"))?;
                gone.insert(address);
            }
        }
        Ok(gone)
    }

    fn forget_flows_of(&self, pods: &HashSet<Address>) -> Result<(), KernelError> {
        if !pods.is_empty() {
            self.forget_flows(|flow| flow.ends().iter().any(|address| pods.contains(address)))?;
        }
        Ok(())
    }

    /// What the maps say of pods, in the order of their devices: for one who starts, and compares it with what there is.
    ///
    /// # Errors
    /// The maps can't be read.
    pub fn pods(&self) -> Result<Vec<PodWire>, KernelError> {
        let mut pods = Vec::new();
        for (key, value) in self.veths.entries().map_err(self.in_map("veths", "reading"))? {
            let (index, veth) = (key.try_into().map_or(0, u32::from_ne_bytes), Veth::from_bytes(&value));
            let mut local = None;
            for address in addresses(&veth) {
                local = local.or(self.local_at(address)?.filter(|local| local.index == index));
            }
            let local = local.unwrap_or_default();
            pods.push(PodWire {
                index,
                host_mac: mac_bytes(local.host_mac),
                pod_mac: mac_bytes(veth.mac),
                v4: (veth.v4 != 0).then(|| veth.v4.to_ne_bytes().into()),
                v6: (veth.v6 != [0; 4]).then(|| bytes(veth.v6).into()),
                mtu: local.mtu.into(),
                has_queue: local.flags & HAS_QUEUE != 0,
            });
        }
        pods.sort_by_key(|pod| pod.index);
        Ok(pods)
    }
}
