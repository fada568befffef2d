//! What the commands share that write to a state and read it: `apply`, `delete`, `diff`, `get`.

mod input;
mod output;

use std::sync::Arc;
use std::time::Duration;

use bowline_etcd::Location;
use bowline_sources::state_ref::{StateKind, StateRef, StateRefError};
use bowline_sources::store::{Resource, Settings, Store};
use clap::Args;
use ipnet::IpNet;
use serde_json::Value;

use crate::cli;
use crate::states::Quietly;
use bowline_agent::log::tell;
pub(crate) use input::{FileArgs, read, read_names};
pub(crate) use output::{list, say, write};

/// The variable of the environment that says which state, where no flag does.
const STATE: &str = "BOWLINE_STATE";

/// As long as nobody waits.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Which state.
#[derive(Clone, Debug, Args)]
pub(crate) struct StoreArgs {
    /// The state: etcd:URL,URL?prefix=/bowline&cacert=FILE&cert=FILE&key=FILE&user=NAME&password-file=FILE
    ///
    /// As `bowline node` has it; else what BOWLINE_STATE says.
    #[arg(long, value_name = "SOURCE", value_parser = Quietly)]
    state: Option<StateRef>,
    /// How long to wait for etcd, for each object, before giving up (5s, 1m30s, a number of seconds; 0 for ever)
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = cli::span)]
    request_timeout: Duration,
}

/// What a command finds of a state.
#[derive(Debug)]
pub(crate) enum Found {
    /// An etcd.
    Etcd(Location),
    /// None is named, or one that only the environment names and that nobody can write to.
    Nothing,
}

impl StoreArgs {
    /// Where the state is; an error where a flag names one that can't be worked on.
    pub(crate) fn find(&self) -> anyhow::Result<Found> {
        let (state, by_flag) = match &self.state {
            Some(state) => (state.clone(), true),
            None => match std::env::var(STATE).ok().as_deref().and_then(|text| text.split_whitespace().next()) {
                None => return Ok(Found::Nothing),
                Some(text) => {
                    (text.parse().map_err(|error: StateRefError| anyhow::anyhow!("{STATE}: {error}"))?, false)
                }
            },
        };
        match state.kind {
            StateKind::Etcd(location) => Ok(Found::Etcd(location)),
            _ if !by_flag => Ok(Found::Nothing),
            other => Err(instead(&other)),
        }
    }

    /// The state, to work on.
    ///
    /// # Errors
    /// None is named, or one of another sort: says what to use there.
    pub(crate) fn open(&self) -> anyhow::Result<Store> {
        match self.find()? {
            Found::Etcd(location) => Ok(self.store(location)),
            Found::Nothing => match std::env::var(STATE).ok().and_then(|text| text.parse::<StateRef>().ok()) {
                Some(state) => Err(instead(&state.kind)),
                None => anyhow::bail!("which state? give --state etcd:URL,URL, or set {STATE}"),
            },
        }
    }

    /// The objects there.
    pub(crate) fn store(&self, location: Location) -> Store {
        let waiting = Arc::new(|said: &str| tell(&format!("bowline: {said}")));
        let patience = if self.request_timeout.is_zero() { FOR_EVER } else { self.request_timeout };
        Store::new(location, patience, waiting)
    }
}

/// Who writes to a state that isn't etcd.
fn instead(kind: &StateKind) -> anyhow::Error {
    match kind {
        StateKind::Files(folder) => {
            let folder = folder.display();
            anyhow::anyhow!("this works on a state in etcd; the state is a folder: edit the manifests in {folder}")
        }
        _ => anyhow::anyhow!("this works on a state in etcd; for a Kubernetes API server use kubectl"),
    }
}

/// What is stored for the whole cluster if there is nothing of it yet.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "A cluster's settings, which count if it has none yet")]
pub(crate) struct ClusterArgs {
    /// Ranges for Service addresses that manifests leave out, one a family; the first gives the default
    /// family
    #[arg(long, value_name = "CIDR", value_delimiter = ',', default_values_t = Settings::default().service_cluster_ip_range)]
    service_cluster_ip_range: Vec<IpNet>,
    /// Ports for Services of type NodePort and LoadBalancer
    #[arg(long, value_name = "FIRST-LAST", default_value = "30000-32767", value_parser = ports)]
    service_node_port_range: (u16, u16),
    /// Ranges from which nodes get theirs for pods, one a family
    #[arg(long, value_name = "CIDR", value_delimiter = ',', default_values_t = Settings::default().cluster_cidr)]
    cluster_cidr: Vec<IpNet>,
    /// Bits of a node's IPv4 range for pods
    #[arg(long, value_name = "BITS", default_value_t = Settings::default().node_cidr_mask_size_ipv4)]
    node_cidr_mask_size_ipv4: u8,
    /// Bits of a node's IPv6 range for pods
    #[arg(long, value_name = "BITS", default_value_t = Settings::default().node_cidr_mask_size_ipv6)]
    node_cidr_mask_size_ipv6: u8,
}

fn ports(text: &str) -> Result<(u16, u16), String> {
    let range = text.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    range.filter(|(from, to)| *from > 0 && from <= to).ok_or_else(|| "write two ports, like 30000-32767".to_owned())
}

impl ClusterArgs {
    /// As the store takes them.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let settings = Settings {
            service_cluster_ip_range: self.service_cluster_ip_range.clone(),
            cluster_cidr: self.cluster_cidr.clone(),
            node_cidr_mask_size_ipv4: self.node_cidr_mask_size_ipv4,
            node_cidr_mask_size_ipv6: self.node_cidr_mask_size_ipv6,
            node_port_range: self.service_node_port_range.0..=self.service_node_port_range.1,
        };
        settings.check().map_err(anyhow::Error::msg)?;
        Ok(settings)
    }
}

/// Runs the work of a command.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work))
}

/// The name of an object.
pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The namespace of an object; empty for a cluster-wide one.
pub(crate) fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

/// `service/web`.
pub(crate) fn label(object: &Value) -> String {
    format!("{}/{}", Resource::of(object).label(), name(object))
}
