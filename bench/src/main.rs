//! What is claimed of Bowline, measured on this machine: one table, each number beside its reference in
//! the same run, the goal, and whether it is met. README.md says what each row means.
//!
//! ```text
//! main       which rows, the table
//! exchange   rows tcp, udp: an exchange through a Service's address beside the same without Bowline
//! change     rows change, reach: from a change of a manifest to the kernel, and to a client
//! start      rows start, memory: a cold start with everything, and what stays in memory
//! agent      runs an agent in a lab's node and reads its log
//! cni        its own command: containers get their network, beside the reference plugins
//! dns        its own commands: DNS servers under load
//! sources    its own command: from Kubernetes and etcd, beside kube-proxy
//! manifests  writes folders of many Services
//! traffic    the programs that run in hosts: server, client, probers
//! process    what a process takes: memory, CPU
//! report     rows of the table; stats: medians and their spread
//! ```

mod agent;
mod change;
mod cni;
mod dns;
mod exchange;
mod manifests;
mod process;
mod report;
mod sources;
mod start;
mod stats;
mod traffic;

use std::future::poll_fn;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bowline_lab::{Lab, Node};
use clap::{Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::cni::CniArgs;
use crate::dns::DnsArgs;
use crate::dns::in_order::InOrderArgs;
use crate::dns::load::LoadArgs;
use crate::report::Table;
use crate::sources::SourcesArgs;
use crate::traffic::{ClientArgs, ProbeArgs, ReachArgs, ServeArgs, StreamArgs};

/// Measures what Bowline claims, and prints one table
///
/// Everything happens in network namespaces and cgroups of its own, which are taken away again. Needs
/// root, a release build of `bowline` beside this program, and a machine that does nothing else.
#[derive(Debug, Parser)]
#[command(name = "bowline-bench", version)]
struct Cli {
    /// A smoke run: few Services, rounds and changes; its numbers mean little
    #[arg(long, global = true)]
    quick: bool,
    /// Only these rows
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ROW")]
    rows: Vec<Part>,
    /// The server's CPU in the rows tcp and udp; the client has 0. On one CPU there are no wake-ups over
    /// CPUs, which cost most of an exchange and vary most: what Bowline adds shows larger and clearer
    #[arg(long, default_value_t = 1, value_name = "N")]
    server_cpu: usize,
    /// Another build of `bowline`, measured beside in turns: rows with a number to compare have the ratio
    #[arg(long, global = true, value_name = "FILE")]
    beside: Option<PathBuf>,
    /// Print each row as a JSON object too
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Groups of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// TCP through a Service's address beside direct
    Tcp,
    /// UDP on unconnected sockets, the same
    Udp,
    /// One endpoint changed: until the kernel has it
    Change,
    /// One endpoint changed: until a client reaches it
    Reach,
    /// Cold start until everything is in the kernel
    Start,
    /// Memory then
    Memory,
}

/// Another table, and what this program does inside a lab's hosts.
#[derive(Debug, Subcommand)]
enum Command {
    /// Compares with kube-proxy, on a real API server; and reads the same from a real etcd
    ///
    /// Needs the programs that `scripts/setup kubernetes` builds. Takes a quarter of an hour, since
    /// kube-proxy takes its time with 10,000 Services.
    Sources(SourcesArgs),
    /// Compares the DNS server with CoreDNS and unbound, on a real API server
    ///
    /// Needs the programs that `scripts/setup kubernetes` builds, unbound and knotd.
    Dns(DnsArgs),
    DnsLoad(LoadArgs),
    /// Compares pods' network with CNI's reference plugins, and with wires made by hand
    ///
    /// Needs Debian's containernetworking-plugins, or others in /opt/cni/bin.
    Cni(CniArgs),
    #[command(hide = true)]
    Stream(StreamArgs),
    #[command(hide = true)]
    InOrder(InOrderArgs),
    #[command(hide = true)]
    Serve(ServeArgs),
    #[command(hide = true)]
    Client(ClientArgs),
    #[command(hide = true)]
    Probe(ProbeArgs),
    #[command(hide = true)]
    Reach(ReachArgs),
    #[command(hide = true)]
    Get {
        address: std::net::SocketAddr,
        path: String,
    },
}

/// What all rows have in common: how many of everything, and whether somebody wants an end.
#[derive(Debug)]
struct Bench {
    quick: bool,
    server_cpu: usize,
    beside: Option<PathBuf>,
    interrupted: Arc<AtomicBool>,
}

impl Bench {
    /// The size that the goals speak of, or the one of a smoke run.
    fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// The builds that are measured: ours, and the one beside it where there is one.
    ///
    /// # Errors
    /// Ours isn't there.
    fn builds(&self) -> Result<Vec<PathBuf>> {
        Ok(std::iter::once(agent::bowline()?).chain(self.beside.clone()).collect())
    }

    /// A node for each of them.
    fn nodes(&self, lab: &Lab, name: &str) -> Result<Vec<Node>> {
        (0..self.builds()?.len()).map(|n| lab.node(&format!("{name}-{n}"))).collect()
    }

    /// How many Services are loaded.
    fn services(&self) -> usize {
        self.pick(10_000, 200)
    }

    /// # Errors
    /// The run was interrupted: everything up to the lab is taken down by returning.
    fn go_on(&self, next: &str) -> Result<()> {
        ensure!(!self.interrupted.load(Ordering::Relaxed), "interrupted");
        eprintln!("measuring: {next}");
        Ok(())
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Some(Command::Serve(args)) => traffic::serve(args),
        Some(Command::Client(args)) => traffic::client(args),
        Some(Command::Probe(args)) => traffic::probe(args),
        Some(Command::Reach(args)) => traffic::reach(args),
        Some(Command::Stream(args)) => traffic::stream(args),
        Some(Command::Cni(args)) => measure(&cli, |bench, lab, table| cni::measure(bench, args, lab, table)),
        Some(Command::Get { address, path }) => traffic::get(*address, path),
        Some(Command::InOrder(args)) => dns::in_order::serve(args),
        Some(Command::DnsLoad(args)) => dns::load::main(args),
        Some(Command::Dns(args)) => measure(&cli, |bench, lab, table| dns::measure(bench, args, lab, table)),
        Some(Command::Sources(_)) if cli.beside.is_some() => {
            Err(anyhow::anyhow!("sources measures one build: run it once for each, BOWLINE names the build"))
        }
        Some(Command::Sources(args)) => measure(&cli, |bench, lab, table| sources::measure(bench, args, lab, table)),
        None => measure(&cli, |bench, lab, table| {
            let wanted = |part| cli.rows.is_empty() || cli.rows.contains(&part);
            rows(bench, lab, &wanted, table)
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bowline-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: &Cli, rows: impl FnOnce(&Bench, &Lab, &mut Table) -> Result<()>) -> Result<()> {
    let began = Instant::now();
    let beside = cli.beside.as_ref().map(|file| {
        let found = file.canonicalize().with_context(|| format!("--beside {}", file.display()))?;
        ensure!(found.is_file(), "--beside {}: not a file", file.display());
        anyhow::Ok(found)
    });
    let (beside, interrupted) = (beside.transpose()?, interruptible()?);
    let bench = Bench { quick: cli.quick, server_cpu: cli.server_cpu, beside, interrupted };
    let mut table = Table::new()?;
    let lab = Lab::new("bench")?;
    let measured = rows(&bench, &lab, &mut table);
    drop(lab);
    // What was measured before a failure is worth seeing.
    print!("{table}");
    if cli.json {
        table.json(&mut std::io::stdout())?;
    }
    if cli.quick {
        println!("A smoke run: the goals are for the full one.");
    }
    println!("{:.0} s", began.elapsed().as_secs_f64());
    measured
}

fn rows(bench: &Bench, lab: &Lab, wanted: &dyn Fn(Part) -> bool, table: &mut Table) -> Result<()> {
    if wanted(Part::Tcp) || wanted(Part::Udp) {
        exchange::measure(bench, lab, wanted(Part::Tcp), wanted(Part::Udp), table).context("exchanges")?;
    }
    if wanted(Part::Change) {
        change::to_kernel(bench, lab, table).context("changes to the kernel")?;
    }
    if wanted(Part::Reach) {
        change::to_client(bench, lab, table).context("changes to a client")?;
    }
    if wanted(Part::Start) {
        start::cold(bench, lab, table).context("cold start")?;
    }
    if wanted(Part::Memory) {
        start::memory(bench, lab, table).context("memory")?;
    }
    Ok(())
}

/// Makes SIGINT and SIGTERM a wish and no death, so that the lab is taken away. Whatever runs in it ends
/// by the same Ctrl-C, so nothing waits long.
fn interruptible() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let signals = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        let (mut int, mut term) = signals;
        runtime.block_on(poll_fn(|cx| match (int.poll_recv(cx), term.poll_recv(cx)) {
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            _ => Poll::Ready(()),
        }));
        flag.store(true, Ordering::Relaxed);
    });
    Ok(interrupted)
}
