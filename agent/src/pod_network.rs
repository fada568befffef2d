//! Pods' network in the agent: it follows the cluster first of all, its programs are the dataplane's, and pods may start
//! once the Services are in the kernel.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use bowline_cluster::follow::{Follower, Told};
use bowline_cluster::object::{ObjectName, Protocol};
use bowline_cni::attachment::Attachment;
use bowline_cni::datapath::{Datapath, NodeLink, PodWire};
use bowline_cni::install::Install;
use bowline_cni::network::{self, Handle, Network};
use bowline_cni::ready::Ready;
use bowline_cni_protocol::PortMapping;
use bowline_dataplane::packets::{self, HostPort, LinkKind, PacketSizes, PacketVerdict, Packets};
use bowline_dataplane::plan::{PortPlan, host_port, host_port_name};
use bowline_sources::state_ref::StateRef;
use ipnet::IpNet;

use crate::kernel::Kernel;
use crate::node_condition::{NodeCondition, SetCondition};
use crate::tell_pods::TellPods;

/// Why no pod has a network yet.
const NO_NETWORK: &str = "this node's Node object has no podCIDRs yet; who gives them: kube-controller-manager's \
    --allocate-node-cidrs, the Node's manifest, or --pod-cidr here";

/// How pods' network is made on this node.
#[derive(Clone, Debug)]
pub struct PodNetworkConfig {
    /// Addresses, wires and ways.
    pub network: network::Config,
    /// Plugin and configuration for the container runtime; None: they are somebody else's matter.
    pub install: Option<Install>,
    /// How large the maps for packets are.
    pub sizes: PacketSizes,
    /// Whether the condition NetworkUnavailable of the Node is set to False, in Kubernetes.
    pub set_condition: bool,
}

/// Pods' network, as long as it lives.
pub(crate) struct PodNetwork {
    _network: Network,
    _tell: Option<TellPods>,
    _condition: Option<SetCondition>,
    shared: Arc<Shared>,
}

struct Shared {
    handle: Handle,
    ready: Arc<Ready>,
    install: Option<Install>,
    installed: AtomicBool,
    /// What is known is what the disk had.
    from_disk: AtomicBool,
    /// Whether the Node says that pods have a network; None: that is no matter of ours.
    condition: Option<NodeCondition>,
    /// One at a time puts things in place.
    installing: Mutex<()>,
    programs: Arc<Programs>,
    kernel: Arc<Kernel>,
}

/// What follows the cluster for it, and what it is asked.
#[derive(Clone)]
pub(crate) struct PodNetworkHandle(Arc<Shared>);

impl PodNetwork {
    /// Takes over what there is; pods that run go on. The maps are below `bpf_root`, which is there.
    pub(crate) fn start(
        config: PodNetworkConfig,
        state: &StateRef,
        bpf_root: &std::path::Path,
        kernel: Arc<Kernel>,
    ) -> anyhow::Result<PodNetwork> {
        let PodNetworkConfig { network: config, install, sizes, set_condition } = config;
        if let Some(install) = &install {
            let plugin = &install.plugin;
            anyhow::ensure!(
                plugin.is_file(),
                "{}: the CNI plugin is not there; build it (`make build`), or name it by --cni-plugin",
                plugin.display()
            );
        }
        let packets = Packets::open(bpf_root, sizes).context("the programs for pods' packets")?;
        let inner = Inner { packets, ports: Vec::new(), addresses: Vec::new(), has_retired: None };
        let programs = Arc::new(Programs { inner: Mutex::new(inner), kernel: kernel.clone() });
        let ready = Arc::new(Ready::default());
        let folder = config.folder.clone();
        let (tell, pods) = TellPods::start(state, &config.node)?.unzip();
        let set = if set_condition { SetCondition::start(state, &config.node)? } else { None };
        let (set, condition) = set.unzip();
        let listener = Box::new(move |attachment: &Attachment, is_there: bool| {
            pods.iter().for_each(|pods| pods.note(attachment, is_there));
        });
        let network = Network::start(config, programs.clone(), ready.clone(), listener)
            .with_context(|| format!("pods' network, with what is attached in {}", folder.display()))?;
        let handle = network.handle();
        let shared = Shared {
            handle,
            ready,
            install,
            installed: AtomicBool::new(false),
            from_disk: AtomicBool::new(false),
            condition,
            installing: Mutex::default(),
            programs,
            kernel,
        };
        Ok(PodNetwork { _network: network, _tell: tell, _condition: set, shared: Arc::new(shared) })
    }

    /// What follows the cluster, and is asked.
    pub(crate) fn handle(&self) -> PodNetworkHandle {
        PodNetworkHandle(self.shared.clone())
    }
}

impl PodNetworkHandle {
    /// Looks after what no change brings about.
    pub(crate) fn tend(&self) {
        self.open();
        let mut programs = self.0.programs.lock();
        programs.retire_others();
        if let Err(error) = programs.packets.expire(packets::now()) {
            tracing::warn!(%error, "flows whose time is over can't be forgotten");
        }
    }

    /// Why pods can't start here yet, once Services are served.
    pub(crate) fn why_not(&self) -> Option<&'static str> {
        if self.0.installed.load(Ordering::Acquire) {
            None
        } else if !self.0.handle.has_networks() {
            Some(NO_NETWORK)
        } else {
            Some("the CNI plugin and its configuration are not in place")
        }
    }

    /// How often each verdict was given to a packet.
    pub(crate) fn verdicts(&self) -> Vec<(PacketVerdict, u64)> {
        self.0.programs.lock().packets.counts()
    }

    /// How many pods are attached, and how many addresses are held.
    pub(crate) fn usage(&self) -> (usize, usize) {
        let pods = self.0.handle.pods();
        (pods.list().len(), pods.usage().0)
    }

    /// Lets pods start, once Services are in the kernel, and shows the runtime its network.
    fn open(&self) {
        let shared = &self.0;
        // What an agent before this one left in the kernel serves while the state can't be read.
        let serves = shared.kernel.is_ready() || shared.from_disk.load(Ordering::Acquire) && shared.kernel.is_serving();
        if !serves || shared.installed.load(Ordering::Acquire) {
            return;
        }
        let _alone = shared.installing.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.installed.load(Ordering::Acquire) {
            return;
        }
        shared.ready.set(None);
        if !shared.handle.has_networks() {
            return;
        }
        let Some(install) = &shared.install else {
            return shared.is_installed();
        };
        match install.put() {
            Ok(_) => {
                shared.is_installed();
                tracing::info!(
                    conf_dir = %install.conf_dir.display(), bin_dir = %install.bin_dir.display(),
                    "the CNI plugin and its configuration are in place"
                );
            }
            Err(error) => tracing::error!(%error, "the CNI plugin can't be put in place; tried again"),
        }
    }
}

impl Shared {
    /// From now on pods start here.
    fn is_installed(&self) {
        self.installed.store(true, Ordering::Release);
        self.condition.iter().for_each(NodeCondition::is_up);
    }
}

impl Follower for PodNetworkHandle {
    fn come(&self, told: &Told<'_>) {
        self.0.handle.come(told);
    }

    fn go(&self, told: &Told<'_>) {
        self.0.from_disk.store(told.is_from_disk, Ordering::Release);
        self.0.condition.iter().for_each(|condition| condition.told(told));
        self.open();
    }
}

/// The dataplane's programs for packets.
struct Programs {
    inner: Mutex<Inner>,
    /// Whose hooks lead the node's own calls: those meet no device.
    kernel: Arc<Kernel>,
}

struct Inner {
    packets: Packets,
    /// Ports of the node, and the pods' addresses that they lead to.
    ports: Vec<(PortMapping, Vec<IpAddr>)>,
    /// The node's addresses.
    addresses: Vec<IpAddr>,
    /// Whether maps of other versions are gone; None: they may be in use yet.
    has_retired: Option<bool>,
}

impl Programs {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the kernel consistent; going on is better than ending.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn retire_others(&mut self) {
        if self.has_retired == Some(false) {
            match self.packets.retire_others() {
                Ok(()) => self.has_retired = Some(true),
                Err(error) => tracing::warn!(%error, "maps for packets of another version are left; tried again"),
            }
        }
    }

    fn remove_pods(&mut self, indices: &[u32]) {
        if let Err(error) = self.packets.remove_pods(indices) {
            tracing::warn!(?indices, %error, "the programs of pods that are gone");
        }
    }

    /// Takes ports of the node away from the pods with such addresses.
    fn remove_host_ports(&mut self, is_meant: impl Fn(IpAddr) -> bool) {
        for port in self.packets.host_ports().unwrap_or_default().iter().filter(|port| is_meant(port.pod)) {
            if let Err(error) = self.packets.remove_host_port(port) {
                tracing::warn!(port = port.port, %error, "a port of the node still leads to a pod that is gone");
            }
        }
    }

    /// The addresses of the pod that has a port of the loopback's already. Packets know nothing of those, so that their
    /// table can't tell.
    fn owner_at_loopback(&self, port: &PortMapping, addresses: &[IpAddr]) -> Option<&[IpAddr]> {
        let at = |port: &PortMapping| (port.host_ip, port.host_port, port.protocol);
        let is_taken = |(one, to): &&(PortMapping, Vec<IpAddr>)| at(one) == at(port) && to != addresses;
        port.host_ip.filter(IpAddr::is_loopback)?;
        self.ports.iter().find(is_taken).map(|(_, to)| to.as_slice())
    }
}

/// The name under which the hooks' tables have a port of the node.
fn name_of(port: &PortMapping) -> ObjectName {
    let at = port.host_ip.map_or(String::new(), |ip| format!("{ip}:"));
    host_port_name(&format!("{at}{}.{}", port.host_port, protocol_of(port).as_str().to_lowercase()))
}

/// What a mapping says to the node's own processes: at the addresses of the node, and at its loopback.
fn for_sockets(port: &PortMapping, addresses: &[IpAddr], own: &[IpAddr]) -> Vec<PortPlan> {
    let protocol = protocol_of(port);
    if protocol == Protocol::Sctp {
        return Vec::new();
    }
    let host_ip = port.host_ip.filter(|ip| !ip.is_unspecified());
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let is_of = |pod: &&IpAddr| port.host_ip.is_none_or(|ip| ip.is_ipv4() == pod.is_ipv4());
    let plan = |pod: &IpAddr| {
        let mut at: Vec<IpAddr> = match host_ip {
            Some(ip) => vec![ip],
            None => own.iter().chain(&loopback).copied().collect(),
        };
        at.retain(|ip| ip.is_ipv4() == pod.is_ipv4());
        at.sort_unstable();
        at.dedup();
        let at: Vec<SocketAddr> = at.into_iter().map(|ip| SocketAddr::new(ip, port.host_port)).collect();
        host_port(protocol, &at, SocketAddr::new(*pod, port.container_port))
    };
    addresses.iter().filter(is_of).map(plan).filter(|plan| !plan.frontends.is_empty()).collect()
}

fn protocol_of(port: &PortMapping) -> Protocol {
    match port.protocol {
        bowline_cni_protocol::Protocol::Tcp => Protocol::Tcp,
        bowline_cni_protocol::Protocol::Udp => Protocol::Udp,
        bowline_cni_protocol::Protocol::Sctp => Protocol::Sctp,
    }
}

/// What a mapping says to packets, for each family. The loopback's don't come over any link.
fn host_ports(port: &PortMapping, addresses: &[IpAddr]) -> Vec<HostPort> {
    let host_ip = port.host_ip.filter(|ip| !ip.is_unspecified());
    if host_ip.is_some_and(|ip| ip.is_loopback()) {
        return Vec::new();
    }
    // "0.0.0.0" is all of IPv4 alone.
    let is_of = |pod: &&IpAddr| port.host_ip.is_none_or(|ip| ip.is_ipv4() == pod.is_ipv4());
    let protocol = protocol_of(port);
    let of =
        |pod: &IpAddr| HostPort { host_ip, port: port.host_port, protocol, pod: *pod, pod_port: port.container_port };
    addresses.iter().filter(is_of).map(of).collect()
}

/// Of a family, the address.
fn v4_of(addresses: &[IpAddr]) -> Option<std::net::Ipv4Addr> {
    addresses.iter().find_map(|one| if let IpAddr::V4(one) = one { Some(*one) } else { None })
}

fn v6_of(addresses: &[IpAddr]) -> Option<std::net::Ipv6Addr> {
    addresses.iter().find_map(|one| if let IpAddr::V6(one) = one { Some(*one) } else { None })
}

impl Datapath for Programs {
    fn put_pod(&self, wire: &PodWire) -> Result<(), String> {
        let PodWire { index, host_mac, pod_mac, addresses, mtu, has_queue } = wire;
        let wire = packets::PodWire {
            index: *index,
            host_mac: *host_mac,
            pod_mac: *pod_mac,
            v4: v4_of(addresses),
            v6: v6_of(addresses),
            mtu: *mtu,
            has_queue: *has_queue,
        };
        self.lock().packets.put_pod(&wire).map_err(|error| error.to_string())
    }

    fn remove_pods(&self, pods: &[(u32, Vec<IpAddr>)]) {
        let gone: Vec<u32> = pods.iter().map(|(index, _)| *index).collect();
        let mut inner = self.lock();
        inner.remove_pods(&gone);
        // Of a pod whose record was lost nobody else knows its ports.
        inner.remove_host_ports(|pod| pods.iter().any(|(_, addresses)| addresses.contains(&pod)));
    }

    fn keep_pods(&self, indices: &[u32]) {
        let mut inner = self.lock();
        let known = inner.packets.pods().unwrap_or_default();
        let (kept, gone): (Vec<_>, Vec<_>) = known.into_iter().partition(|pod| indices.contains(&pod.index));
        inner.remove_pods(&gone.iter().map(|pod| pod.index).collect::<Vec<u32>>());
        let addresses = kept.iter().flat_map(|pod| [pod.v4.map(IpAddr::from), pod.v6.map(IpAddr::from)]);
        let addresses: Vec<IpAddr> = addresses.flatten().collect();
        inner.remove_host_ports(|pod| !addresses.contains(&pod));
    }

    fn put_port(&self, port: &PortMapping, addresses: &[IpAddr]) -> Result<(), String> {
        let mut inner = self.lock();
        if let Some(owner) = inner.owner_at_loopback(port, addresses) {
            return Err(format!("it belongs to the pod with the addresses {owner:?} already: choose another port"));
        }
        for one in host_ports(port, addresses) {
            inner.packets.put_host_port(&one).map_err(|error| error.to_string())?;
        }
        // At a start the table has them as they were, until it is known where the node is.
        if !inner.addresses.is_empty() {
            self.kernel.set_host_port(&name_of(port), for_sockets(port, addresses, &inner.addresses))?;
        }
        inner.ports.retain(|(one, _)| one != port);
        inner.ports.push((port.clone(), addresses.to_vec()));
        Ok(())
    }

    fn remove_port(&self, port: &PortMapping, addresses: &[IpAddr]) {
        let mut inner = self.lock();
        for one in host_ports(port, addresses) {
            if let Err(error) = inner.packets.remove_host_port(&one) {
                tracing::warn!(port = one.port, %error, "a port of the node still leads to a pod that is gone");
            }
        }
        let is_it = |(one, to): &(PortMapping, Vec<IpAddr>)| one == port && to == addresses;
        if inner.ports.iter().any(is_it) {
            inner.ports.retain(|one| !is_it(one));
            if let Err(error) = self.kernel.set_host_port(&name_of(port), Vec::new()) {
                tracing::warn!(port = port.host_port, %error, "a port of the node still leads to a pod that is gone");
            }
        }
    }

    fn set_links(&self, links: &[NodeLink], own: &[IpAddr]) -> bool {
        let mut inner = self.lock();
        let mut is_done = true;
        let wanted: BTreeSet<NodeLink> = links.iter().copied().collect();
        let there = inner.packets.links().unwrap_or_default();
        for index in there.into_iter().filter(|index| !wanted.iter().any(|link| link.index == *index)) {
            if let Err(error) = inner.packets.remove_link(index) {
                tracing::debug!(index, %error, "the programs of a link that is gone");
            }
        }
        if inner.addresses != own {
            own.clone_into(&mut inner.addresses);
            for (port, to) in &inner.ports {
                if let Err(error) = self.kernel.set_host_port(&name_of(port), for_sockets(port, to, own)) {
                    tracing::warn!(port = port.host_port, %error, "a port of the node is not had by its own processes");
                }
            }
        }
        if let Err(error) = inner.packets.set_node_addresses(own) {
            is_done = false;
            tracing::error!(%error, "the node's addresses in the map of pods' packets");
        }
        for link in &wanted {
            let v4 = v4_of(link.masquerade[0].as_slice());
            let v6 = v6_of(link.masquerade[1].as_slice());
            let kind = if link.to_pods { LinkKind::Pods } else { LinkKind::Uplink };
            let told = packets::Link { index: link.index, kind, v4, v6 };
            if let Err(error) = inner.packets.put_link(&told) {
                is_done = false;
                tracing::error!(index = link.index, %error, "a link without programs for pods' packets");
            }
        }
        // All pods were put at the start, and now all links: nothing needs the maps of an agent before this one.
        if is_done && inner.has_retired.is_none() {
            inner.has_retired = Some(false);
            inner.retire_others();
        }
        is_done
    }

    fn set_inside(&self, networks: &[IpNet]) {
        if let Err(error) = self.lock().packets.set_inside(networks) {
            tracing::error!(%error, "which networks pods' packets go to as they are");
        }
    }
}
