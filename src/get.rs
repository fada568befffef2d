//! `bowline get`: what a state has, or, without one, what the kernel has.

mod kernel;
mod state;
mod table;

use std::path::PathBuf;

use bowline_cluster::store::Selector;
use bowline_dataplane::place;
use clap::{Args, ValueEnum};

use crate::store::{Found, StoreArgs};

/// Arguments of `get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// What to show: kinds with commas between (services,pods), then names; or KIND/NAME
    ///
    /// Of the kernel: services, or backends.
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
    /// Folder of the pinned maps
    #[arg(long, value_name = "DIR", default_value = place::DEFAULT_ROOT)]
    bpf_root: PathBuf,
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
                "the kernel has services and backends, no {word}; those of the cluster are in its state: give --state \
                 etcd:URL,URL, or set BOWLINE_STATE"
            )
        })
    };
    let [first, names @ ..] = &args.what[..] else { anyhow::bail!("what is to be shown?") };
    let backends = kernel::What::named(first) == Some(kernel::What::Backends);
    let found = if args.kernel || backends { Found::Nothing } else { args.store.find()? };
    match found {
        Found::Etcd(location) => state::run(args, &args.store.store(location)),
        Found::Nothing => {
            anyhow::ensure!(names.len() < 2, "of the kernel one name is shown at a time");
            kernel::run(args, of_kernel(first)?, names.first().map(String::as_str))
        }
    }
}
