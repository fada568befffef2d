//! The objects that Bowline reads, as compact records: Kubernetes' own kinds, trimmed to what is used.
//!
//! Field names follow the Kubernetes API (core/v1, discovery/v1); units and byte order are given where
//! a type does not say them. Strings are shared (`Str`): the same text is stored once.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

pub mod endpoints;

pub use endpoints::{Conditions, Endpoint, Endpoints};

/// A shared, immutable string. One word wide, unlike `Arc<str>`: a cluster holds some million of them.
pub type Str = arcstr::ArcStr;

/// Labels or a selector: sorted by key, no key twice.
pub type Labels = Box<[(Str, Str)]>;

/// The kinds that are read. Others are noted and left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// core/v1 Service.
    Service,
    /// discovery.k8s.io/v1 EndpointSlice.
    EndpointSlice,
    /// core/v1 Endpoints.
    Endpoints,
    /// core/v1 Pod.
    Pod,
    /// core/v1 Node.
    Node,
    /// core/v1 Namespace.
    Namespace,
    /// networking.k8s.io/v1 NetworkPolicy.
    NetworkPolicy,
    /// multicluster.x-k8s.io ServiceImport.
    ServiceImport,
    /// networking.k8s.io/v1 ServiceCIDR.
    ServiceCidr,
    /// bowline.dev/v1 PodAddresses.
    PodAddresses,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 10] = [
        Kind::Service,
        Kind::EndpointSlice,
        Kind::Endpoints,
        Kind::Pod,
        Kind::Node,
        Kind::Namespace,
        Kind::NetworkPolicy,
        Kind::ServiceImport,
        Kind::ServiceCidr,
        Kind::PodAddresses,
    ];

    /// Whether its objects belong to no namespace.
    pub const fn is_cluster_wide(self) -> bool {
        matches!(self, Kind::Node | Kind::Namespace | Kind::ServiceCidr)
    }

    /// The name of the resource, as paths of the API write it.
    pub const fn plural(self) -> &'static str {
        match self {
            Kind::Service => "services",
            Kind::EndpointSlice => "endpointslices",
            Kind::Endpoints => "endpoints",
            Kind::Pod => "pods",
            Kind::Node => "nodes",
            Kind::Namespace => "namespaces",
            Kind::NetworkPolicy => "networkpolicies",
            Kind::ServiceImport => "serviceimports",
            Kind::ServiceCidr => "servicecidrs",
            Kind::PodAddresses => "podaddresses",
        }
    }

    /// The name as `kind:` writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Service => "Service",
            Kind::EndpointSlice => "EndpointSlice",
            Kind::Endpoints => "Endpoints",
            Kind::Pod => "Pod",
            Kind::Node => "Node",
            Kind::Namespace => "Namespace",
            Kind::NetworkPolicy => "NetworkPolicy",
            Kind::ServiceImport => "ServiceImport",
            Kind::ServiceCidr => "ServiceCIDR",
            Kind::PodAddresses => "PodAddresses",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Namespace and name of an object; cluster-wide kinds have an empty namespace.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// `metadata.namespace`.
    pub namespace: Str,
    /// `metadata.name`.
    pub name: Str,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What tells one object from every other of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// `kind`.
    pub kind: Kind,
    /// Namespace and name.
    pub name: ObjectName,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// Any of the objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A Service.
    Service(Arc<Service>),
    /// An EndpointSlice.
    EndpointSlice(Arc<EndpointSlice>),
    /// An Endpoints.
    Endpoints(Arc<Mirror>),
    /// A Pod.
    Pod(Arc<Pod>),
    /// A Node.
    Node(Arc<Node>),
    /// A Namespace.
    Namespace(Arc<Namespace>),
    /// A NetworkPolicy.
    NetworkPolicy(Arc<NetworkPolicy>),
    /// A ServiceImport.
    ServiceImport(Arc<ServiceImport>),
    /// A ServiceCIDR.
    ServiceCidr(Arc<ServiceCidr>),
    /// A PodAddresses.
    PodAddresses(Arc<PodAddresses>),
}

impl Object {
    /// Its kind and name.
    pub fn key(&self) -> ObjectKey {
        let (kind, name) = match self {
            Object::Service(o) => (Kind::Service, &o.name),
            Object::EndpointSlice(o) => (Kind::EndpointSlice, &o.name),
            Object::Endpoints(o) => (Kind::Endpoints, &o.name),
            Object::Pod(o) => (Kind::Pod, &o.name),
            Object::Node(o) => (Kind::Node, &o.name),
            Object::Namespace(o) => (Kind::Namespace, &o.name),
            Object::NetworkPolicy(o) => (Kind::NetworkPolicy, &o.name),
            Object::ServiceImport(o) => (Kind::ServiceImport, &o.name),
            Object::ServiceCidr(o) => (Kind::ServiceCidr, &o.name),
            Object::PodAddresses(o) => (Kind::PodAddresses, &o.name),
        };
        ObjectKey { kind, name: name.clone() }
    }
}

/// Transport protocol of a port. Default TCP, as in Kubernetes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP: read, not yet served.
    Sctp,
}

impl Protocol {
    /// The name as manifests write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        }
    }
    /// The IANA number (`IPPROTO_*`).
    pub const fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An address family, as `ipFamilies` and `addressType` write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: &IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
    /// The name as manifests write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a backend is chosen: IPVS's schedulers and two more. All have a name here; which of them work
/// now, the dataplane says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheduler {
    /// Round robin.
    #[default]
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connections.
    Lc,
    /// Weighted least connections.
    Wlc,
    /// Destination hashing.
    Dh,
    /// Source hashing.
    Sh,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Uniformly at random.
    Random,
    /// Maglev consistent hashing.
    Maglev,
}

impl Scheduler {
    /// Every scheduler, in the order in which messages list them.
    pub const ALL: [Scheduler; 10] = [
        Scheduler::Rr,
        Scheduler::Wrr,
        Scheduler::Lc,
        Scheduler::Wlc,
        Scheduler::Dh,
        Scheduler::Sh,
        Scheduler::Sed,
        Scheduler::Nq,
        Scheduler::Random,
        Scheduler::Maglev,
    ];
    /// IPVS's name for it, as the annotation `bowline.dev/scheduler` writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheduler::Rr => "rr",
            Scheduler::Wrr => "wrr",
            Scheduler::Lc => "lc",
            Scheduler::Wlc => "wlc",
            Scheduler::Dh => "dh",
            Scheduler::Sh => "sh",
            Scheduler::Sed => "sed",
            Scheduler::Nq => "nq",
            Scheduler::Random => "random",
            Scheduler::Maglev => "maglev",
        }
    }
    /// The scheduler of that name.
    pub fn named(name: &str) -> Option<Scheduler> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `spec.type` of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ServiceType {
    /// Reached by its cluster IP.
    #[default]
    ClusterIp,
    /// That, and by a port of every node.
    NodePort,
    /// That, and by the addresses of a load balancer.
    LoadBalancer,
    /// A name for another name.
    ExternalName,
}

/// `spec.ipFamilyPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FamilyPolicy {
    /// One family.
    SingleStack,
    /// Both where the cluster has both.
    PreferDualStack,
    /// Both, or refused.
    RequireDualStack,
}

/// `targetPort`: a number, or the name of a container's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// A port number, host byte order.
    Number(u16),
    /// A named container port, resolved pod by pod.
    Name(Str),
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`; empty where there is but one.
    pub name: Str,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`, host byte order, never 0.
    pub port: u16,
    /// `targetPort`; defaults to `port`.
    pub target: TargetPort,
    /// `nodePort`; 0 where there is none.
    pub node_port: u16,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.creationTimestamp`, seconds since 1970; who is older keeps a disputed address.
    pub created: Option<i64>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `spec.type`.
    pub kind: ServiceType,
    /// `spec.clusterIP: None`.
    pub headless: bool,
    /// `spec.clusterIPs`, primary first, at most one a family; in a folder filled in by
    /// [`crate::state`] where the manifest leaves it out.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.ipFamilies`; in a snapshot after defaulting, never empty but for ExternalName.
    pub families: Vec<Family>,
    /// `spec.ipFamilyPolicy`, as written.
    pub family_policy: Option<FamilyPolicy>,
    /// `spec.ports`.
    pub ports: Box<[ServicePort]>,
    /// `spec.selector`; None where there is none.
    pub selector: Option<Labels>,
    /// `spec.sessionAffinity: ClientIP` and its time-out in seconds (1 to 86400).
    pub affinity: Option<u32>,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// `spec.externalName`.
    pub external_name: Option<Str>,
    /// The annotation `bowline.dev/scheduler`.
    pub scheduler: Option<Scheduler>,
    /// `spec.internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// `spec.trafficDistribution`, or the annotation `service.kubernetes.io/topology-mode`, asks for endpoints
    /// near the client.
    pub prefers_near: bool,
    /// How it is reached from outside, other than by the node ports of its ports; few Services have it.
    pub external: Option<Box<External>>,
}

/// How a Service is reached from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct External {
    /// `spec.externalIPs`.
    pub ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress`.
    pub load_balancers: Vec<LoadBalancer>,
    /// `spec.externalTrafficPolicy: Local`.
    pub local: bool,
    /// `spec.healthCheckNodePort`; 0 where there is none.
    pub health_check_node_port: u16,
}

/// Where a load balancer takes the traffic of a Service. One that has an address and a name counts by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadBalancer {
    /// `ip`.
    Ip(IpAddr),
    /// `hostname`: a DNS name, without a dot at its end.
    Name(Str),
}

impl Service {
    /// Whether the service has addresses of its own (neither headless nor an ExternalName).
    pub fn has_cluster_ip(&self) -> bool {
        !self.headless && self.kind != ServiceType::ExternalName
    }

    /// Whether its labels hand it to another proxy, or to none. DNS answers for it all the same.
    pub fn is_hidden(&self) -> bool {
        self.labels.iter().any(|(key, _)| is_hiding(key))
    }
}

/// Whether a label of this key hides an object from the dataplane, as from kube-proxy (whatever its value).
pub fn is_hiding(key: &str) -> bool {
    matches!(key, "service.kubernetes.io/service-proxy-name" | "service.kubernetes.io/headless")
}

/// One port of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// `name`: joins it to the Service's port of that name.
    pub name: Str,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`, host byte order; None means "all ports" and serves no Service.
    pub port: Option<u16>,
}

/// An EndpointSlice. One with `addressType: FQDN` has no endpoints here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.labels`.
    pub labels: Labels,
    /// The label `kubernetes.io/service-name`, never empty; a slice without it belongs to no Service.
    pub service: Option<Str>,
    /// `addressType`; None for FQDN.
    pub family: Option<Family>,
    /// `ports`.
    pub ports: Box<[EndpointPort]>,
    /// `endpoints`.
    pub endpoints: Endpoints,
    /// Its labels hide it from the dataplane, as those of a Service do; DNS answers by it.
    pub hidden: bool,
}

impl EndpointSlice {
    /// The ServiceImport whose endpoints these are, by the label that KEP-1645 gives them.
    pub fn import(&self) -> Option<&Str> {
        self.label("multicluster.kubernetes.io/service-name").filter(|name| !name.is_empty())
    }

    /// The cluster that exported the endpoints; empty where no label says so.
    pub fn cluster(&self) -> &str {
        self.label("multicluster.kubernetes.io/source-cluster").map_or("", |name| name)
    }

    fn label(&self, key: &str) -> Option<&Str> {
        let at = self.labels.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        self.labels.get(at).map(|(_, value)| value)
    }
}

/// A core/v1 Endpoints, as the slices that Kubernetes' mirroring controller makes of it beside a Service without a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Namespace and name, which are those of the Service.
    pub name: ObjectName,
    /// In the order of their names; none where it asks not to be mirrored.
    pub slices: Box<[Arc<EndpointSlice>]>,
    /// How many addresses are left out, since a subset has more than [`Mirror::MAX`].
    pub left_out: usize,
}

impl Mirror {
    /// The label of a slice that was made from an Endpoints, by the controller or as it does.
    pub const MANAGED_BY: (&str, &str) =
        ("endpointslice.kubernetes.io/managed-by", "endpointslicemirroring-controller.k8s.io");

    /// How many addresses of a subset are mirrored.
    pub const MAX: usize = 1000;
}

/// A named port of one of a Pod's containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPort {
    /// `name`.
    pub name: Str,
    /// `protocol`.
    pub protocol: Protocol,
    /// `containerPort`, host byte order.
    pub port: u16,
}

/// A Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `status.podIPs` (or podIP), at most one a family.
    pub ips: Vec<IpAddr>,
    /// `spec.nodeName`.
    pub node: Option<Str>,
    /// `spec.hostname` and `spec.subdomain`.
    pub hostname: Option<Str>,
    /// `spec.subdomain`.
    pub subdomain: Option<Str>,
    /// The condition Ready is True, or there is none and the Pod has an address.
    pub ready: bool,
    /// `metadata.deletionTimestamp` is set.
    pub terminating: bool,
    /// `status.phase` is Succeeded or Failed: it never takes traffic again.
    pub finished: bool,
    /// Named ports of its containers (and of its restartable init containers).
    pub ports: Box<[ContainerPort]>,
}

/// What a node says of a Pod whose network it has made, where no kubelet does: a kind of Bowline's own. The Pod of the same
/// name has these addresses, runs on that node, and is ready; a Pod that nobody has written is one without labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodAddresses {
    /// The Pod's namespace and name.
    pub name: ObjectName,
    /// `spec.nodeName`.
    pub node: Option<Str>,
    /// `status.podIPs`, at most one a family.
    pub ips: Vec<IpAddr>,
}

impl PodAddresses {
    /// The Pod with these addresses; `written` is what a manifest says of it.
    pub fn give_to(&self, written: Option<&Pod>) -> Pod {
        let new = || Pod {
            name: self.name.clone(),
            labels: Labels::default(),
            ips: Vec::new(),
            node: None,
            hostname: None,
            subdomain: None,
            ready: true,
            terminating: false,
            finished: false,
            ports: Box::default(),
        };
        let pod = written.cloned().unwrap_or_else(new);
        Pod { ips: self.ips.clone(), node: self.node.clone(), ready: true, finished: false, ..pod }
    }
}

/// A Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name; the namespace is empty.
    pub name: ObjectName,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `status.addresses` of type InternalIP.
    pub internal_ips: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<ipnet::IpNet>,
    /// What flannel says of it; None where flannel has never been.
    pub flannel: Option<Box<Flannel>>,
}

/// How flannel's nodes reach the pods of a node, as its annotations `flannel.alpha.coreos.com/...` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flannel {
    /// `backend-type`, like "vxlan" or "host-gw".
    pub backend: Str,
    /// `public-ip` and `backend-data`.
    pub v4: Option<FlannelEnd>,
    /// `public-ipv6` and `backend-v6-data`.
    pub v6: Option<FlannelEnd>,
}

/// Where packets to pods of one family are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlannelEnd {
    /// The node's address.
    pub address: IpAddr,
    /// The identifier of the VXLAN (0: it is not said) and the node's Ethernet address in it; None with other backends.
    pub vxlan: Option<(u32, [u8; 6])>,
}

/// A Namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name; the namespace is empty.
    pub name: ObjectName,
    /// `metadata.labels`.
    pub labels: Labels,
}

/// A NetworkPolicy. Its rules are not read yet: nothing enforces them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Namespace and name.
    pub name: ObjectName,
}

/// A ServiceImport (KEP-1645): a Service of the cluster set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceImport {
    /// Namespace and name.
    pub name: ObjectName,
    /// `spec.type` is Headless; otherwise it is ClusterSetIP.
    pub headless: bool,
    /// `spec.ips`.
    pub ips: Vec<IpAddr>,
    /// `spec.ports`: name, protocol, and number in host byte order.
    pub ports: Box<[EndpointPort]>,
}

/// A ServiceCIDR: a range of Service addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCidr {
    /// Its name; the namespace is empty.
    pub name: ObjectName,
    /// `spec.cidrs`, at most one a family.
    pub cidrs: Vec<ipnet::IpNet>,
}
