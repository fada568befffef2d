//! What the DNS server in the agent is to do.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use bowline_cluster::object::ObjectName;
use bowline_dataplane::stand_in::StandIn;

/// The port of the Service of the cluster's DNS servers.
pub const DNS: u16 = 53;
/// The cluster's domain, unless told otherwise.
pub const DOMAIN: &str = "cluster.local";
/// The Service of the cluster's DNS servers, and where it is.
pub const KUBE_DNS: &str = "kube-dns";
pub(super) const NAMESPACE: &str = "kube-system";

/// The DNS server in the agent. Names are those of node-cache's flags.
#[derive(Clone, Debug)]
pub struct NodeLocalConfig {
    /// The Corefile.
    pub conf: PathBuf,
    /// Addresses of the node on which it listens.
    pub localip: Vec<IpAddr>,
    /// The interface that has these addresses: 1 to 15 bytes (IFNAMSIZ).
    pub interfacename: String,
    /// Whether that interface is made, and removed at the end.
    pub setupinterface: bool,
    /// Whether it stays at the end.
    pub skipteardown: bool,
    /// The Service whose traffic it takes on this node.
    pub dns_service: ObjectName,
    /// The Service whose address stands for `__PILLAR__CLUSTER__DNS__`, in the same namespace.
    pub upstreamsvc: String,
    /// The cluster's domain, for `__PILLAR__DNS__DOMAIN__`.
    pub cluster_domain: String,
    /// Folder with the ConfigMap kube-dns.
    pub kubednscm: Option<PathBuf>,
    /// The port of server blocks that name none.
    pub port: u16,
    /// Threads that answer; None: as many as there are processors.
    pub threads: Option<usize>,
    /// Where the process's number is written.
    pub pidfile: Option<PathBuf>,
}

impl NodeLocalConfig {
    /// What takes the Service's traffic: of each family the first address.
    pub fn stand_in(&self) -> StandIn {
        let first = |v4: bool| self.localip.iter().find(|ip| ip.is_ipv4() == v4);
        let at = [first(true), first(false)].into_iter().flatten();
        let at = at.map(|ip| SocketAddr::new(*ip, self.port)).collect();
        StandIn { service: self.dns_service.clone(), port: DNS, at }
    }
}
