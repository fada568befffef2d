//! The arguments: one definition for parsing, --help, the man page and completions.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use bowline_agent::address::{self, Bind};
use bowline_agent::log::Format;
use bowline_dataplane::{Sizes, place};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::apply::ApplyArgs;
use crate::delete::DeleteArgs;
use crate::diff::DiffArgs;
use crate::dns::DnsArgs;
use crate::get::GetArgs;
use crate::node_local::NodeLocalArgs;
use crate::node_object::NodeObjectArgs;
use crate::pod_network::{AttachedArgs, PodNetworkArgs};
use crate::states::StateArgs;

/// Service addresses for a node, by programs in the kernel, and DNS for a cluster.
///
/// Bowline reads Services and their endpoints from a state and makes every process on this node reach
/// them: a connect() to a Service's address goes to one of its backends, at once and without a proxy in
/// the way. What it installs keeps working while no bowline process runs. By a Corefile it answers for the
/// Services' names too, in the node's agent or by itself.
#[derive(Debug, Parser)]
#[command(name = "bowline", version, arg_required_else_help = true, args_override_self = true, after_help = AFTER)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "Examples:
  bowline check                                   is this machine fit?
  bowline node --state files:/etc/bowline/state   serve the Services of a folder of manifests
  bowline node --state kubernetes --dns Corefile  and the node's DNS
  bowline dns --conf Corefile --state kubernetes  the cluster's DNS
  bowline dns check --conf Corefile               would it serve?
  bowline apply -f shop/                          put manifests into a state in etcd
  bowline get services                            what the state has; without one, the kernel
  bowline get backends -o wide                    and where it leads
  bowline cleanup                                 take all of it away

A state may be named by BOWLINE_STATE in place of --state.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the agent of this node
    ///
    /// Reads the state, programs the kernel, and follows every change. When it ends, or is killed, what
    /// the kernel has goes on; the next agent takes over without a gap. `bowline cleanup` takes it away.
    Node(Box<NodeArgs>),
    /// Runs the DNS server alone, or says what it would do
    ///
    /// Answers for the cluster from the state, and forwards the rest, as the Corefile says: CoreDNS's own, with the
    /// same plugins. SIGUSR1 reads the Corefile again; the new one serves, or the old one stays whole.
    Dns(Box<DnsArgs>),
    /// Puts manifests into a state in etcd, as `kubectl apply` does
    ///
    /// Objects are checked before they are stored. Fields that a manifest had when it was last applied and
    /// has no more are removed; those that others have set stay. Addresses and ports that a Service leaves
    /// out are given. An object with a metadata.resourceVersion is stored only if nobody has changed it since; where there is none,
    /// it is made.
    Apply(Box<ApplyArgs>),
    /// Deletes objects from a state in etcd, and gives back what they had
    Delete(Box<DeleteArgs>),
    /// Shows what `apply` would change; exits with 1 where something would
    Diff(Box<DiffArgs>),
    /// Shows what a state in etcd has, or, without a state, what the kernel has
    ///
    /// The kernel has services and backends, whether the agent runs or not.
    Get(Box<GetArgs>),
    /// Says whether this kernel and machine are fit, and what to do where they are not
    Check(CheckArgs),
    /// Takes away all that was ever installed here, and nothing else's
    ///
    /// Detaches the programs and removes the maps of one place. Give the --bpf-root that the agent had; what is
    /// there is found also when the cgroup is gone. Of pods' network it removes the plugin, its configuration, routes and
    /// tunnels; pods that run keep their wires. Refused while an agent runs.
    Cleanup(CleanupArgs),
    /// Prints completions for a shell
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Prints the man page
    Man,
}

/// Where the programs are attached and pinned.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlaceArgs {
    /// The cgroup whose processes are served, with all below it
    ///
    /// Found by itself: the unified hierarchy wherever it is mounted, which is every process.
    #[arg(long, value_name = "DIR")]
    pub(crate) cgroup_root: Option<PathBuf>,
    /// Folder for pinned maps and links; a bpf file system is mounted where there is none
    #[arg(long, value_name = "DIR", default_value = place::DEFAULT_ROOT)]
    pub(crate) bpf_root: PathBuf,
}

impl PlaceArgs {
    /// The folder for pins, in one spelling: by it what belongs to a place is known.
    pub(crate) fn bpf_root(&self) -> PathBuf {
        place::resolve(&self.bpf_root)
    }

    /// The cgroup, as given or found.
    ///
    /// # Errors
    /// There is no unified hierarchy, or the folder is not on it.
    pub(crate) fn cgroup_root(&self) -> anyhow::Result<PathBuf> {
        match &self.cgroup_root {
            Some(path) if place::is_cgroup(path) => Ok(path.clone()),
            Some(path) => anyhow::bail!(
                "--cgroup-root {}: not a folder of a cgroup v2 hierarchy; `bowline check` shows where it is",
                path.display()
            ),
            None => place::find_cgroup_root().ok_or_else(|| {
                anyhow::anyhow!("no cgroup v2 hierarchy is mounted: mount -t cgroup2 none /sys/fs/cgroup")
            }),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Message and key=value pairs.
    Text,
    /// The same in CoreDNS's form: `[INFO] message`, without a time.
    Coredns,
    /// One JSON object a line.
    Json,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Format {
        match format {
            LogFormat::Text => Format::Text,
            LogFormat::Coredns => Format::Coredns,
            LogFormat::Json => Format::Json,
        }
    }
}

/// Arguments of `node`.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Where the objects come from.
    #[command(flatten)]
    pub(crate) states: StateArgs,
    /// Folder in which the last known state of each server is kept, to start without it; empty: none
    #[arg(long, value_name = "DIR", default_value = "/var/lib/bowline")]
    pub(crate) state_dir: OsString,
    /// How old a state from that folder may be to be served (24h, 90m, a number of seconds)
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = span)]
    pub(crate) state_max_age: Duration,
    /// Refuses to start where NetworkPolicies can't be enforced (this version enforces none)
    #[arg(long)]
    pub(crate) require_network_policy: bool,
    /// This node's name; the host's name by default
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname_override: Option<String>,
    /// Where and with which pins.
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Serves /metrics; without a port at 10249; empty: not
    #[arg(long, value_name = "IP[:PORT]", default_value = "127.0.0.1:10249", value_parser = address::metrics)]
    pub(crate) metrics_bind_address: Bind,
    /// Serves /healthz and /readyz; without a port at 10256; empty: not
    #[arg(long, value_name = "IP[:PORT]", default_value = "0.0.0.0:10256", value_parser = address::healthz)]
    pub(crate) healthz_bind_address: Bind,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// How much is logged: 0 what needs attention, 1 what was done, 2 and more for the curious
    #[arg(short, long, value_name = "LEVEL", default_value_t = 1)]
    pub(crate) v: u8,
    /// The DNS server.
    #[command(flatten)]
    pub(crate) node_local: NodeLocalArgs,
    /// Pods' network.
    #[command(flatten)]
    pub(crate) pod_network: PodNetworkArgs,
    /// What the agent says of its node.
    #[command(flatten)]
    pub(crate) node_object: NodeObjectArgs,
    /// Sizes of the maps.
    #[command(flatten)]
    pub(crate) sizes: SizeArgs,
}

/// Sizes of the maps. Another size is another set of maps; a restart migrates to it.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Sizes")]
pub(crate) struct SizeArgs {
    /// Addresses times ports of all Services
    #[arg(long, value_name = "N", default_value_t = Sizes::default().frontends, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub(crate) max_frontends: u32,
    /// Ports of all Services, each family apart
    #[arg(long, value_name = "N", default_value_t = Sizes::default().services, value_parser = clap::value_parser!(u32).range(2..=16_777_216))]
    pub(crate) max_services: u32,
    /// Backends of all Services
    #[arg(long, value_name = "N", default_value_t = Sizes::default().backends, value_parser = clap::value_parser!(u32).range(2..=16_777_216))]
    pub(crate) max_backends: u32,
    /// Words of the arena that holds the sets of backends; a power of two
    #[arg(long, value_name = "N", default_value_t = Sizes::default().slots, value_parser = clap::value_parser!(u32).range(8..=1_048_576))]
    pub(crate) max_slots: u32,
    /// Open sockets that went through a Service
    #[arg(long, value_name = "N", default_value_t = Sizes::default().sockets, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub(crate) max_sockets: u32,
    /// Clients that sessionAffinity remembers
    #[arg(long, value_name = "N", default_value_t = Sizes::default().affinity, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub(crate) max_affinity: u32,
}

impl From<SizeArgs> for Sizes {
    fn from(a: SizeArgs) -> Sizes {
        Sizes {
            frontends: a.max_frontends,
            services: a.max_services,
            backends: a.max_backends,
            slots: a.max_slots,
            sockets: a.max_sockets,
            affinity: a.max_affinity,
        }
    }
}

/// Arguments of `cleanup`.
#[derive(Debug, Args)]
pub(crate) struct CleanupArgs {
    /// Where the agent worked.
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Where what is attached is noted.
    #[command(flatten)]
    pub(crate) attached: AttachedArgs,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The cgroup that will be served; the unified hierarchy by default
    #[arg(long, value_name = "DIR")]
    pub(crate) cgroup_root: Option<PathBuf>,
    /// Also says whether this node is fit for pods' network
    #[arg(long)]
    pub(crate) pod_network: bool,
    /// Folder in which the container runtime looks for networks
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d", requires = "pod_network")]
    pub(crate) cni_conf_dir: PathBuf,
    /// Also says what of this state would not be served.
    #[command(flatten)]
    pub(crate) states: StateArgs,
}

#[cfg(test)]
mod tests;

/// A span of time as kubectl takes it (`5s`, `1m30s`), or a number of seconds.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let seconds = || text.parse().ok().map(Duration::from_secs);
    // A bound that no clock overflows: 290 years.
    let longest = Duration::from_secs(290 * 365 * 86_400);
    seconds()
        .or_else(|| bowline_dns::corefile::duration::parse(text))
        .map(|span| span.min(longest))
        .ok_or_else(|| "is no span of time; write one like 30s or 1m30s".to_owned())
}
