//! `bowline get`: what a state has, or, without one, what the kernel has.

mod kernel;
mod pods;
mod state;
mod table;

use bowline_cluster::selector::Selector;
use clap::{Args, ValueEnum};

use crate::cli::PlaceArgs;
use crate::pod_network::AttachedArgs;
use crate::store::{Found, StoreArgs};

/// Arguments of `get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// What to show: kinds with commas between (services,pods), then names; or KIND/NAME
    ///
    /// Of this node: services and backends, as the kernel has them; pods, addresses and routes of pods' network.
    #[arg(required = true, value_name = "KIND [NAME]|KIND/NAME")]
    what: Vec<String>,
    /// Only this namespace; by default `default` of a state, all of the kernel
    #[arg(short, long)]
    namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Only objects with these labels: a=b,c!=d,e in (x,y),!f
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<Selector>,
    /// Then goes on, and shows each change
    #[arg(short, long)]
    watch: bool,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Which state; without one it is the kernel that is shown.
    #[command(flatten)]
    store: StoreArgs,
    /// Shows the kernel's, also where there is a state
    #[arg(long)]
    kernel: bool,
    /// Where the agent works: of the kernel what is pinned at its --bpf-root is shown, whatever its --cgroup-root.
    #[command(flatten)]
    place: PlaceArgs,
    /// Where what is attached is noted.
    #[command(flatten)]
    attached: AttachedArgs,
}

/// How `get` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A table.
    Table,
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kind and name of each.
    Name,
}

/// Prints what was asked for.
pub(crate) fn run(args: &GetArgs) -> anyhow::Result<()> {
    let of_kernel = |word: &str| {
        kernel::What::named(word).ok_or_else(|| {
            anyhow::anyhow!(
                "this node has services, backends, pods, addresses and routes, no {word}; those of the cluster are in its state: give --state \
                 etcd:URL,URL, or set BOWLINE_STATE"
            )
        })
    };
    let Some((first, names)) = args.what.split_first() else { anyhow::bail!("what is to be shown?") };
    let kind = first.split_once('/').map_or(first.as_str(), |(kind, _)| kind);
    let backends = kernel::What::named(kind) == Some(kernel::What::Backends);
    let of_node = pods::What::named(kind).filter(|what| *what != pods::What::Pods).is_some();
    let found = if args.kernel || backends || of_node { Found::Nothing } else { args.store.find()? };
    if let Found::Etcd(location) = found {
        return state::run(args, &args.store.store(location));
    }
    if let Some(what) = pods::What::named(kind) {
        let names: Vec<String> = match first.split_once('/') {
            Some((_, name)) => std::iter::once(name.to_owned()).chain(names.iter().cloned()).collect(),
            None => names.to_vec(),
        };
        return pods::run(args, what, &names);
    }
    let what = of_kernel(kind)?;
    if !args.what.iter().any(|word| word.contains('/')) {
        return kernel::run(args, what, names);
    }
    let mut named = Vec::new();
    for word in &args.what {
        let Some((kind, name)) = word.split_once('/') else {
            anyhow::bail!("{word:?} has no kind; write KIND/NAME for each");
        };
        anyhow::ensure!(of_kernel(kind)? == what, "of the kernel one kind is shown at a time: {kind:?} is another");
        named.push(name.to_owned());
    }
    kernel::run(args, what, &named)
}
