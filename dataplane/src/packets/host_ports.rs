//! What the maps say of ports of the node that pods have. What comes for one goes to the pod; a flow that is there stays with
//! its pod.

use std::net::IpAddr;

use bowline_cluster::object::Protocol;
use bowline_ebpf::packet::flow::Made;
use bowline_ebpf::packet::header::{SCTP, TCP, UDP};
use bowline_ebpf::packet::layout::{Address, HostPortKey, Target, any};

use super::pods::{address, bytes, ip};
use super::{KernelError, Packets};

/// A port of the node, and the pod that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// The node's address; None: all that it has of the pod's family.
    pub host_ip: Option<IpAddr>,
    /// The port there.
    pub port: u16,
    /// Which protocol's.
    pub protocol: Protocol,
    /// The pod's address.
    pub pod: IpAddr,
    /// The port there.
    pub pod_port: u16,
}

/// Why a pod can't have a port of the node.
#[derive(Debug, thiserror::Error)]
pub enum HostPortError {
    /// Addresses of two families.
    #[error(
        "hostPort {port}: hostIP {host_ip} and the pod's address {pod} are of two families: leave hostIP out, or name \
             an address of the pod's family"
    )]
    Family {
        /// The port.
        port: u16,
        /// The node's address.
        host_ip: IpAddr,
        /// The pod's.
        pod: IpAddr,
    },
    /// Another pod has it.
    #[error("hostPort {port} ({protocol}) belongs to the pod with address {owner} already: choose another port, or another hostIP",
            protocol = protocol.as_str())]
    Taken {
        /// The port.
        port: u16,
        /// Which protocol's.
        protocol: Protocol,
        /// The address of the pod that has it.
        owner: IpAddr,
    },
    /// The kernel's.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
        Protocol::Sctp => SCTP,
    }
}

fn protocol(number: u8) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|protocol| self::number(*protocol) == number)
}

impl HostPort {
    fn key(&self) -> HostPortKey {
        let pod = address(self.pod);
        let address = self.host_ip.map_or(any(&pod), address);
        HostPortKey { address, port: self.port.to_be(), protocol: number(self.protocol), pad: 0 }
    }

    fn target(&self) -> Target {
        Target { address: address(self.pod), port: self.pod_port.to_be(), pad: 0 }
    }

    fn read(key: &HostPortKey, target: &Target) -> Option<HostPort> {
        Some(HostPort {
            host_ip: (key.address != any(&key.address)).then(|| ip(key.address)),
            port: u16::from_be(key.port),
            protocol: protocol(key.protocol)?,
            pod: ip(target.address),
            pod_port: u16::from_be(target.port),
        })
    }
}

impl Packets {
    /// Gives a pod a port of the node; the same again changes nothing. The pod may come later.
    ///
    /// # Errors
    /// It can't have it, or the map is full.
    pub fn put_host_port(&mut self, host_port: &HostPort) -> Result<(), HostPortError> {
        let HostPort { host_ip, port, protocol, pod, .. } = *host_port;
        if let Some(host_ip) = host_ip.filter(|host_ip| host_ip.is_ipv4() != pod.is_ipv4()) {
            return Err(HostPortError::Family { port, host_ip, pod });
        }
        let target = host_port.target();
        let key = host_port.key().to_bytes();
        let write = self.in_map("host_ports", "writing");
        // First that the pod's answers are looked at, then that there is something to answer.
        self.note_host_port(target.address)?;
        if !self.host_ports.put_new(&key, &target.to_bytes()).map_err(&write)? {
            let there = self.host_ports.get(&key).map_err(&write)?.unwrap_or_default();
            let owner = Target::from_bytes(&there).address;
            if owner != target.address {
                return Err(HostPortError::Taken { port, protocol, owner: ip(owner) });
            }
            self.host_ports.put(&key, &target.to_bytes()).map_err(&write)?;
        }
        if protocol == Protocol::Sctp {
            // The node's own would keep it: who speaks SCTP comes with the same port again and again.
            let is_node = |address: Address| self.local.get(&bytes(address)).is_ok_and(|at| at.is_some());
            self.forget_flows(|flow| {
                flow.record.made == Made::Direct as u32
                    && (flow.key.protocol, flow.key.source_port) == (SCTP, port.to_be())
                    && is_node(flow.key.source)
            })?;
        }
        Ok(())
    }

    /// Takes it away again; nothing, if the pod doesn't have it. Connections go on; UDP doesn't, so that the next pod with this
    /// port gets all that comes for it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_host_port(&mut self, host_port: &HostPort) -> Result<(), KernelError> {
        let (key, target) = (host_port.key(), host_port.target());
        let at = self.in_map("host_ports", "writing");
        let there = self.host_ports.get(&key.to_bytes()).map_err(&at)?;
        if there.is_none_or(|there| Target::from_bytes(&there).address != target.address) {
            return Ok(());
        }
        self.host_ports.remove(&key.to_bytes()).map_err(&at)?;
        if key.protocol == UDP {
            self.forget_flows(|flow| {
                let (key, to) = (flow.key, flow.record.to);
                flow.record.made == Made::HostPort as u32
                    && (key.protocol, key.destination_port) == (UDP, host_port.port.to_be())
                    && to.destination == target.address
            })?;
        }
        Ok(())
    }

    /// All that the map says: for one who starts, and compares it with what there is.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn host_ports(&self) -> Result<Vec<HostPort>, KernelError> {
        let entries = self.host_ports.entries().map_err(self.in_map("host_ports", "reading"))?;
        let read = |(key, target): &(Vec<u8>, Vec<u8>)| {
            HostPort::read(&HostPortKey::from_bytes(key), &Target::from_bytes(target))
        };
        Ok(entries.iter().filter_map(read).collect())
    }

    /// Whether a pod with one of these addresses has a port of the node.
    pub(super) fn has_host_port(&self, pod: &[Address]) -> Result<bool, KernelError> {
        let entries = self.host_ports.entries().map_err(self.in_map("host_ports", "reading"))?;
        Ok(entries.iter().any(|(_, target)| pod.contains(&Target::from_bytes(target).address)))
    }
}
