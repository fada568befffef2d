//! The flags that say what the agent tells of its node, where the state is in etcd.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bowline_agent::register::own_addresses;
use bowline_etcd::Location;
use bowline_sources::store::Settings;
use bowline_sources::store::node::{Registration, TTL};
use clap::Args;
use ipnet::IpNet;

/// What the agent says of its node. Names are the kubelet's and kube-controller-manager's.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Node, where the state is in etcd")]
pub(crate) struct NodeObjectArgs {
    /// Registers this node: its Node object, its pod ranges, and a lease that shows that it is alive
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    register_node: bool,
    /// This node's own addresses, at most one a family; by default those from which it reaches the world
    #[arg(long, value_name = "IP,IP", value_delimiter = ',')]
    node_ip: Vec<IpAddr>,
    /// Labels for the Node object
    #[arg(long, value_name = "KEY=VALUE,...", value_delimiter = ',', value_parser = label)]
    node_labels: Vec<(String, String)>,
    /// Ranges from which nodes get theirs for pods, one a family; counts if the cluster has none yet
    #[arg(long, value_name = "CIDR", value_delimiter = ',', default_values_t = Settings::default().cluster_cidr)]
    cluster_cidr: Vec<IpNet>,
    /// Bits of a node's IPv4 range for pods
    #[arg(long, value_name = "BITS", default_value_t = Settings::default().node_cidr_mask_size_ipv4)]
    node_cidr_mask_size_ipv4: u8,
    /// Bits of a node's IPv6 range for pods
    #[arg(long, value_name = "BITS", default_value_t = Settings::default().node_cidr_mask_size_ipv6)]
    node_cidr_mask_size_ipv6: u8,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is no label; write KEY=VALUE")),
    }
}

impl NodeObjectArgs {
    /// What keeps the node `name` registered there; None where it is not wanted.
    ///
    /// # Errors
    /// The flags don't fit together.
    pub(crate) fn registration(
        &self,
        location: &Location,
        name: &str,
        service_cluster_ip_range: &[IpNet],
    ) -> anyhow::Result<Option<Registration>> {
        if !self.register_node {
            return Ok(None);
        }
        let settings = Settings {
            service_cluster_ip_range: service_cluster_ip_range.to_vec(),
            cluster_cidr: self.cluster_cidr.clone(),
            node_cidr_mask_size_ipv4: self.node_cidr_mask_size_ipv4,
            node_cidr_mask_size_ipv6: self.node_cidr_mask_size_ipv6,
            ..Settings::default()
        };
        settings.check().map_err(anyhow::Error::msg)?;
        let addresses = if self.node_ip.is_empty() { own_addresses() } else { self.node_ip.clone() };
        if addresses.is_empty() {
            anyhow::bail!(
                "this host has no route to the world by which to tell its own address: give --node-ip IP, or \
                 --register-node=false"
            );
        }
        Ok(Some(Registration {
            location: location.clone(),
            name: name.to_owned(),
            labels: self.node_labels.iter().cloned().collect::<BTreeMap<_, _>>(),
            addresses,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings,
            ttl: TTL,
        }))
    }
}
