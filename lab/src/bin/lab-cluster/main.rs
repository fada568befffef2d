//! `bowline-lab-cluster`: a real Kubernetes of several nodes on this machine, for trying Bowline out.
//! `make cluster` and `make cluster-down` call it.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bowline_lab::Lab;
use bowline_lab::kubernetes::{Cluster, ClusterOptions, Dns, Image, Services, cluster};
use clap::{Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(about = "A real Kubernetes of several nodes on this machine")]
struct Cli {
    /// The cluster's name: several may run side by side
    #[arg(long, default_value = "lab", global = true)]
    name: String,
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Subcommand)]
enum Cmd {
    /// Start a cluster
    Up(Up),
    /// Remove a cluster with all that it made, or what there is of it
    Down,
    /// Run kubectl as the cluster's administrator
    #[command(trailing_var_arg = true, disable_help_flag = true)]
    Kubectl {
        /// What kubectl is to do
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run a command on a node, or a shell
    #[command(trailing_var_arg = true)]
    Node {
        /// The node: node-1, node-2, ...
        node: String,
        /// The command and its arguments
        #[arg(allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

#[derive(clap::Args)]
struct Up {
    /// How many nodes
    #[arg(long, default_value_t = 2)]
    nodes: usize,
    /// Who serves the addresses of Services
    #[arg(long, value_enum, default_value_t = By::Bowline)]
    services: By,
    /// Who answers the cluster's DNS
    #[arg(long, value_enum, default_value_t = DnsBy::Bowline)]
    dns: DnsBy,
    /// The program `bowline`, with `bowline-cni` beside it [default: beside this program]
    #[arg(long)]
    bowline: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    /// Bowline's DaemonSet, which gives pods their network, too
    Bowline,
    /// `bowline node` as a process of each node, and the reference plugins for pods' network
    BowlineServices,
    /// kube-proxy with nftables
    KubeProxy,
    /// kube-proxy with iptables
    KubeProxyIptables,
    /// Nobody: addresses of Services lead nowhere
    None,
}

#[derive(Clone, Copy, ValueEnum)]
enum DnsBy {
    /// `bowline dns`, as deploy/dns has it
    Bowline,
    /// CoreDNS
    Coredns,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("bowline-lab-cluster: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Cmd::Up(args) => up(&cli.name, &args),
        Cmd::Down => down(&cli.name),
        Cmd::Kubectl { args } => replace(cluster::lasting_kubectl(&cli.name)?.args(args)),
        Cmd::Node { node, command } => {
            let (program, args) = command.split_first().map_or(("sh".into(), [].as_slice()), |(p, a)| (p.clone(), a));
            replace(cluster::lasting_command(&cli.name, &node, program.as_ref())?.args(args))
        }
    }
}

fn up(name: &str, args: &Up) -> Result<()> {
    if let Some(folder) = Lab::find_lasting(name)? {
        // An error if it is there but not whole, with what to do.
        cluster::lasting_kubeconfig(name)?;
        println!("The cluster {name:?} is running already, in {}.", folder.display());
        return usage(name);
    }
    let bowline = match &args.bowline {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("bowline"),
    };
    ensure!(bowline.is_file(), "{} is not there: cargo build --release, or name it by --bowline", bowline.display());
    let kube_proxy = |mode: &str| Services::KubeProxy { mode: mode.into() };
    let services = match args.services {
        By::Bowline => Services::DaemonSet { program: bowline.clone() },
        By::BowlineServices => Services::Bowline { program: bowline.clone(), flags: Vec::new() },
        By::KubeProxy => kube_proxy("nftables"),
        By::KubeProxyIptables => kube_proxy("iptables"),
        By::None => Services::None,
    };
    let dns = match args.dns {
        DnsBy::Bowline => Dns::Bowline { program: bowline.clone() },
        DnsBy::Coredns => Dns::CoreDns,
    };
    let began = Instant::now();
    println!("Starting a Kubernetes of {} nodes:", args.nodes);
    let images = vec![Image::bowline(bowline)];
    let options = ClusterOptions { nodes: args.nodes, services, dns, images, verbose: true };
    Cluster::start(Lab::lasting(name)?, &options)?.keep();
    println!("The cluster {name:?} is there, after {:.0} s.", began.elapsed().as_secs_f64());
    usage(name)
}

fn usage(name: &str) -> Result<()> {
    let me = std::env::current_exe()?;
    let here = std::env::current_dir()?;
    let me = me.strip_prefix(&here).unwrap_or(&me).display();
    let named = if name == "lab" { String::new() } else { format!(" --name {name}") };
    println!("\n    alias kubectl='{me}{named} kubectl'   # then: kubectl get pods --all-namespaces");
    println!("    {me}{named} node node-1 COMMAND       # as a process of that node");
    println!("    {me}{named} down                      # or: make cluster-down\n");
    Ok(())
}

fn down(name: &str) -> Result<()> {
    let there = Lab::find_lasting(name)?.is_some();
    Lab::remove_lasting(name).with_context(|| format!("the cluster {name:?} could not be removed"))?;
    println!(
        "{}",
        if there { format!("The cluster {name:?} is gone.") } else { format!("There is no cluster {name:?}.") }
    );
    Ok(())
}

/// This process becomes the command.
fn replace(command: &mut Command) -> Result<()> {
    Err(command.stdin(std::process::Stdio::inherit()).exec()).with_context(|| format!("cannot start {command:?}"))
}
