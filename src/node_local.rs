//! The flags of the DNS server in the agent; node-cache's own have its names.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use bowline_agent::node_local::{DNS, DOMAIN, KUBE_DNS, NodeLocalConfig};
use bowline_cluster::object::ObjectName;
use clap::{ArgAction, Args};

/// Where NodeLocal DNSCache's manifest mounts the Corefile with placeholders.
const BASE: &str = "/etc/coredns/Corefile.base";
/// The DNS server in the agent.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "DNS on the node")]
pub(crate) struct NodeLocalArgs {
    /// Also serves DNS by this Corefile, in NodeLocal DNSCache's place; SIGUSR1 reads it again
    ///
    /// It listens on --localip. While it is ready it takes this node's traffic for --dns-service, UDP and TCP; otherwise
    /// that goes to the Service's endpoints. Placeholders of NodeLocal DNSCache (__PILLAR__...) are filled in.
    #[arg(long, value_name = "FILE", visible_alias = "conf", alias = "corefile")]
    dns: Option<PathBuf>,
    /// The Corefile with placeholders, read in --dns's place [default: /etc/coredns/Corefile.base, where --dns names no
    /// file that is there]
    #[arg(long, value_name = "FILE")]
    basecorefile: Option<PathBuf>,
    /// Addresses of the node on which it listens
    #[arg(long, value_name = "IP,IP", value_delimiter = ',', default_value = "169.254.20.10", value_parser = bowline_agent::address::ip)]
    localip: Vec<IpAddr>,
    /// The dummy interface that has these addresses
    #[arg(long, value_name = "NAME", default_value = "nodelocaldns", value_parser = interface_name)]
    interfacename: String,
    /// Makes that interface, and removes it at the end
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value_t = true, action = ArgAction::Set
    )]
    setupinterface: bool,
    /// Leaves the interface at the end
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value_t = false, action = ArgAction::Set
    )]
    skipteardown: bool,
    /// The Service whose traffic it takes on this node
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = "kube-system/kube-dns", value_parser = object_name)]
    dns_service: ObjectName,
    /// The Service whose address stands for __PILLAR__CLUSTER__DNS__, in the same namespace
    #[arg(long, value_name = "NAME", default_value = KUBE_DNS)]
    upstreamsvc: String,
    /// The cluster's domain, for __PILLAR__DNS__DOMAIN__
    #[arg(long, value_name = "DOMAIN", default_value = DOMAIN)]
    cluster_domain: String,
    /// Folder with the ConfigMap kube-dns: its stubDomains and upstreamNameservers
    #[arg(long, value_name = "DIR")]
    kubednscm: Option<PathBuf>,
    /// The port of server blocks that name none
    #[arg(long = "dns.port", value_name = "PORT", default_value_t = DNS)]
    port: u16,
    /// Threads that answer; as many as there are processors by default
    #[arg(long, value_name = "N")]
    dns_threads: Option<usize>,
    /// Writes the process's number there
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// What node-cache has and nothing here needs.
    #[command(flatten)]
    ignored: Ignored,
}

/// Flags of node-cache that are accepted and do nothing.
#[derive(Clone, Debug, Args)]
struct Ignored {
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    setupiptables: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    setupebtables: Option<String>,
    #[arg(long, hide = true)]
    syncinterval: Option<String>,
    #[arg(long, hide = true)]
    initialdelay: Option<String>,
    #[arg(long, hide = true)]
    metrics_listen_address: Option<String>,
    #[arg(long, hide = true)]
    health_port: Option<String>,
}

fn object_name(text: &str) -> Result<ObjectName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ObjectName { namespace: namespace.into(), name: name.into() })
        }
        _ => Err("write NAMESPACE/NAME".to_owned()),
    }
}

/// As the kernel takes it (IFNAMSIZ).
fn interface_name(text: &str) -> Result<String, String> {
    let fits = (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
    if fits && text != "." && text != ".." {
        Ok(text.to_owned())
    } else {
        Err("an interface's name has 1 to 15 letters, digits, - and _".to_owned())
    }
}

impl NodeLocalArgs {
    /// The Corefile; None where there is to be no DNS server.
    fn conf(&self) -> Option<PathBuf> {
        match (&self.basecorefile, &self.dns) {
            (Some(base), _) => Some(base.clone()),
            (None, Some(conf)) if !conf.exists() && Path::new(BASE).exists() => Some(BASE.into()),
            (None, conf) => conf.clone(),
        }
    }

    /// What they ask for; None where there is to be no DNS server.
    pub(crate) fn config(&self) -> Option<NodeLocalConfig> {
        Some(NodeLocalConfig {
            conf: self.conf()?,
            localip: self.localip.clone(),
            interfacename: self.interfacename.clone(),
            setupinterface: self.setupinterface,
            skipteardown: self.skipteardown,
            dns_service: self.dns_service.clone(),
            upstreamsvc: self.upstreamsvc.clone(),
            cluster_domain: self.cluster_domain.clone(),
            kubednscm: self.kubednscm.clone(),
            port: self.port,
            threads: self.dns_threads,
            pidfile: self.pidfile.clone(),
        })
    }

    /// Says which flags do nothing, and why.
    pub(crate) fn tell_ignored(&self) {
        let Ignored { setupiptables, setupebtables, syncinterval, initialdelay, metrics_listen_address, health_port } =
            &self.ignored;
        let given = [
            ("setupiptables", setupiptables, "sockets are led to the server; there are no rules"),
            ("setupebtables", setupebtables, "sockets are led to the server; there are no rules"),
            ("syncinterval", syncinterval, "there are no rules to look after"),
            ("initialdelay", initialdelay, "there are no rules to wait for"),
            ("metrics-listen-address", metrics_listen_address, "the agent's metrics are at --metrics-bind-address"),
            ("health-port", health_port, "the Corefile's health has its own"),
        ];
        for (flag, _, why) in given.into_iter().filter(|(_, value, _)| value.is_some()) {
            tracing::info!(flag, "a flag of node-cache that does nothing here: {why}");
        }
    }
}

#[cfg(test)]
mod tests;
