//! The flags of pods' network.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use bowline_agent::pod_network::PodNetworkConfig;
use bowline_cni::flannel::NetConf;
use bowline_cni::host_local;
use bowline_cni::install::{Apart, Install, PLUGIN};
use bowline_cni::network::Config;
use bowline_cni::peers::{Tunnels, When};
use bowline_cni_protocol::{DEFAULT_SOCKET, DEFAULT_TOMBSTONES};
use clap::{Args, ValueEnum};
use ipnet::IpNet;

/// Where what is attached is noted.
#[derive(Clone, Debug, Args)]
pub(crate) struct AttachedArgs {
    /// Folder in which it is noted which pods have which addresses, and what was installed
    #[arg(long, value_name = "DIR", default_value = "/var/lib/bowline/cni")]
    pub(crate) cni_state_dir: PathBuf,
}

/// Pods' network.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Pods' network")]
pub(crate) struct PodNetworkArgs {
    /// Gives pods their network: puts the CNI plugin and its configuration in place once Services are served
    ///
    /// A node's pods get their addresses from its Node object's podCIDRs. Others' pods are reached by routes where
    /// their node is on the same link, otherwise by VXLAN.
    #[arg(long)]
    pod_network: bool,
    #[command(flatten)]
    attached: AttachedArgs,
    /// This node's networks for pods, one a family, where its Node object names none
    #[arg(long, value_name = "CIDR", value_delimiter = ',', requires = "pod_network")]
    pod_cidr: Vec<IpNet>,
    /// Networks that pods reach with their own addresses, beside nodes and pods; others see the node's
    #[arg(long, value_name = "CIDR", value_delimiter = ',', requires = "pod_network")]
    non_masquerade_cidrs: Vec<IpNet>,
    /// Longest packet of pods, in bytes; by default what the links to other nodes take, less the tunnels' overhead
    #[arg(long, value_name = "BYTES", requires = "pod_network", value_parser = clap::value_parser!(u32).range(1280..=65_535))]
    mtu: Option<u32>,
    /// When other nodes' pods are reached by VXLAN
    #[arg(long, value_enum, default_value_t = Tunnel::Auto, requires = "pod_network")]
    tunnel: Tunnel,
    /// Identifier of the VXLAN; the same on all nodes
    #[arg(long, value_name = "ID", default_value_t = Tunnels::default().id, requires = "pod_network", value_parser = clap::value_parser!(u32).range(1..=16_777_215))]
    vxlan_id: u32,
    /// UDP port of the VXLAN; the same on all nodes
    #[arg(long, value_name = "PORT", default_value_t = Tunnels::default().port, requires = "pod_network", value_parser = clap::value_parser!(u16).range(1..))]
    vxlan_port: u16,
    /// flannel's net-conf.json, in a cluster that comes from flannel: nodes that have moved and nodes that have not reach
    /// each other
    ///
    /// It says when other nodes' pods are reached by VXLAN, by which identifier and port, and which addresses all pods
    /// have. The nodes' ends of the VXLAN are those of flannel's annotations. The same on all nodes, and from then on.
    #[arg(long, value_name = "FILE", requires = "pod_network", conflicts_with_all = ["tunnel", "vxlan_id", "vxlan_port"])]
    flannel_net_conf: Option<PathBuf>,
    /// Folder in which the container runtime looks for networks; empty: nothing is put there nor into --cni-bin-dir
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d", requires = "pod_network")]
    cni_conf_dir: PathBuf,
    /// Folder in which the container runtime looks for plugins
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin", requires = "pod_network")]
    cni_bin_dir: PathBuf,
    /// Sets other networks' configurations aside; cleanup puts them back. Off for Istio, Multus and the like
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, requires = "pod_network")]
    cni_exclusive: bool,
    /// Sets the condition NetworkUnavailable of this node's Node object to False once pods get their network. Off where a
    /// cloud's route controller does
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, requires = "pod_network")]
    set_node_network_unavailable: bool,
    /// The plugin that is put in place; by default `bowline-cni` beside this program
    #[arg(long, value_name = "FILE", requires = "pod_network")]
    cni_plugin: Option<PathBuf>,
    /// Where the plugin finds this agent
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET, requires = "pod_network")]
    cni_socket: PathBuf,
}

/// When tunnels are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tunnel {
    /// Where a node is behind a router
    Auto,
    /// To every node
    Always,
    /// Never: nodes behind a router are not reached
    Never,
}

impl PodNetworkArgs {
    /// What they ask for; None: no network for pods.
    ///
    /// # Errors
    /// The plugin can't be found; flannel's configuration can't be read.
    pub(crate) fn config(&self, node: &str) -> anyhow::Result<Option<PodNetworkConfig>> {
        if !self.pod_network {
            return Ok(None);
        }
        for cidr in &self.pod_cidr {
            let is_usable = !matches!(cidr.addr(), IpAddr::V4(one) if one.is_multicast() || one.is_loopback());
            anyhow::ensure!(is_usable, "--pod-cidr {cidr}: no network for pods");
        }
        let plugin = match &self.cni_plugin {
            Some(plugin) => plugin.clone(),
            None => std::env::current_exe().context("finding this program")?.with_file_name(PLUGIN),
        };
        let is_usual = self.cni_socket.as_os_str() == DEFAULT_SOCKET;
        let folder = &self.attached.cni_state_dir;
        // Those of an agent at another socket are its own.
        let tombstones = if is_usual { DEFAULT_TOMBSTONES.into() } else { folder.join("tombstones") };
        let install = (!self.cni_conf_dir.as_os_str().is_empty()).then(|| Install {
            conf_dir: self.cni_conf_dir.clone(),
            bin_dir: self.cni_bin_dir.clone(),
            plugin,
            exclusive: self.cni_exclusive,
            apart: (!is_usual).then(|| Apart { socket: self.cni_socket.clone(), tombstones: tombstones.clone() }),
            folder: folder.clone(),
        });
        let when = match self.tunnel {
            Tunnel::Auto => When::Auto,
            Tunnel::Always => When::Always,
            Tunnel::Never => When::Never,
        };
        let mut tunnels = Tunnels { id: self.vxlan_id, port: self.vxlan_port, when, mtu: None, flannel: false };
        let mut non_masquerade_cidrs = self.non_masquerade_cidrs.clone();
        let mut mtu = self.mtu;
        if let Some(file) = &self.flannel_net_conf {
            let flannel = NetConf::read(file).context("--flannel-net-conf")?;
            tunnels = flannel.tunnels;
            non_masquerade_cidrs.extend(flannel.networks);
            mtu = mtu.or(flannel.mtu);
        }
        Ok(Some(PodNetworkConfig {
            network: Config {
                node: node.to_owned(),
                folder: folder.clone(),
                socket: self.cni_socket.clone(),
                tombstones: tombstones.clone(),
                host_local: host_local::FOLDER.into(),
                tunnels,
                non_masquerade_cidrs,
                pod_cidrs: self.pod_cidr.clone(),
                mtu,
            },
            install,
            sizes: Default::default(),
            set_condition: self.set_node_network_unavailable,
        }))
    }
}
