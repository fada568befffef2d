//! `bowline-bench sources`: the same state from Kubernetes and from etcd, on real servers, and kube-proxy
//! beside Bowline on the same API server and the same changes.
//!
//! ```text
//! objects    what is loaded, and what changes in it
//! writer     writes it to the API server or to etcd
//! side       a node with a program: Bowline, or kube-proxy in one of its modes
//! compare    its first sync, changes one after another; the rows of them side by side
//! exchange   a TCP exchange through a Service with each in place, and directly
//! pace       a thousand changes a second
//! metric     network programming latency, as programs say it
//! ```
//! One program runs at a time: what one takes is not the other's lack.

mod compare;
mod exchange;
mod metric;
mod objects;
mod pace;
mod side;
mod writer;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bowline_lab::kubernetes::{ApiServer, ApiServerOptions, Etcd, EtcdOptions, Place};
use bowline_lab::{Lab, Node, Pod, Process};
use clap::{Args, ValueEnum};

use self::compare::{Effort, Measured};
use self::objects::Shape;
use self::side::{From, Kind, Side};
use self::writer::Writer;
use crate::Bench;
use crate::process::cpu;
use crate::report::Table;
use crate::traffic::{Listen, ServeArgs, join};

/// What is compared.
#[derive(Clone, Debug, Args)]
pub(crate) struct SourcesArgs {
    /// How many Services, of 10 endpoints each; one after the other
    #[arg(long, value_delimiter = ',', value_name = "N", default_values_t = [1_000, 10_000])]
    services: Vec<usize>,
    /// Only from these
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SOURCE", default_values_t = [Source::Kubernetes, Source::Etcd])]
    from: Vec<Source>,
    /// Only these programs
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PROGRAM", default_values_t = [Kind::Bowline, Kind::Nftables, Kind::Iptables])]
    programs: Vec<Kind>,
}

/// Where the state comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Source {
    /// A real kube-apiserver on a real etcd
    Kubernetes,
    /// A real etcd alone; kube-proxy does not read that
    Etcd,
}

/// Two servers that say who they are, in pods of a node that nothing else is on.
pub(crate) struct Servers {
    pub(crate) pods: [Pod; 2],
    _node: Node,
    _processes: [Process; 2],
}

impl Servers {
    fn start(lab: &Lab) -> Result<Servers> {
        let node = lab.node("servers")?;
        let pods = [node.pod("a")?, node.pod("b")?];
        let start = |id: u8, pod: &Pod| ServeArgs::start(pod, id, 1, &[Listen::at(pod, pod.address(8080))]);
        let processes = [start(0, &pods[0])?, start(1, &pods[1])?];
        Ok(Servers { pods, _node: node, _processes: processes })
    }
}

/// A time in milliseconds, with three digits or so.
pub(crate) fn ms(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.1} ms"),
        value if value < 1_000.0 => format!("{value:.0} ms"),
        value => format!("{:.1} s", value / 1e3),
    }
}

/// Runs everything and adds the rows.
pub(crate) fn measure(bench: &Bench, args: &SourcesArgs, lab: &Lab, table: &mut Table) -> Result<()> {
    ensure!(args.services.iter().all(|&n| (10..=60_000).contains(&n)), "--services: 10 to 60000");
    ensure!(args.services.is_sorted(), "--services: the fewest first; each loads what the one before has not");
    let servers = Servers::start(lab)?;
    if args.from.contains(&Source::Kubernetes) {
        kubernetes(bench, args, lab, &servers, table).context("from Kubernetes")?;
    }
    if args.from.contains(&Source::Etcd) && args.programs.contains(&Kind::Bowline) {
        etcd(bench, args, lab, &servers, table).context("from etcd")?;
    }
    Ok(())
}

fn kubernetes(bench: &Bench, args: &SourcesArgs, lab: &Lab, servers: &Servers, table: &mut Table) -> Result<()> {
    let control = lab.node("control")?;
    let plain = lab.node("plain")?;
    let plain = (plain.pod("client")?, plain).0;
    let place = Place::host(lab, &control)?;
    let etcd = Etcd::start(&place, &EtcdOptions::default())?;
    let api = ApiServer::start(&place, &etcd, &ApiServerOptions::default())?;
    // What is written from here on is written from where the API server is.
    join(&control.netns())?;
    let writer = Writer::kubernetes(&api.admin())?;
    writer.create_all(objects::namespaces()?.into_iter().map(Ok))?;
    let from = From::Kubernetes(api.admin());
    let pids = [api.server().pid(), etcd.members()[0].server().pid()];
    let theirs = || pids.iter().flatten().map(|&pid| cpu(pid)).sum::<Result<f64>>();
    let mut loaded = 0;
    for &services in &args.services {
        let shape = load(bench, &writer, servers, &mut loaded, services, "Kubernetes")?;
        let mut sides = Vec::new();
        for &kind in &args.programs {
            let side = Side::new(lab, kind, &services.to_string())?;
            writer.register(&objects::node(side.node.name(), side.node.v4())?)?;
            sides.push(side);
        }
        let mut measured = Vec::new();
        let what = format!("{services} Services");
        for side in &sides {
            let name = side.kind.name();
            bench.go_on(&format!("{name}: first sync, {what} from Kubernetes"))?;
            let (running, sync) = compare::sync(side, &from, &shape)?;
            bench.go_on(&format!("{name}: changes"))?;
            let changes = compare::changes(&running, &writer, &shape, servers, effort(bench, side.kind))?;
            measured.push(Measured::new(side, sync, changes));
            running.stop()?;
        }
        if let [ours, peers @ ..] = &measured[..] {
            compare::rows(&format!("{what} from Kubernetes"), ours, peers, table)?;
        }
        bench.go_on("exchanges")?;
        let direct = (&plain, servers.pods[0].address(8080));
        let vip = objects::address(services - 1);
        exchange::measure(bench, direct, vip, &sides.iter().collect::<Vec<_>>(), &what, table)?;
        let ours = sides.iter().find(|side| side.kind == Kind::Bowline);
        if let (Some(side), true) = (ours, args.services.last() == Some(&services)) {
            bench.go_on("a thousand changes a second")?;
            let running = side.start(&from)?;
            running.settle()?;
            let theirs = ("API server and etcd", &theirs as pace::ServersCpu<'_>);
            pace::measure(&running, &writer, &shape, servers, bench.pick(60, 10), theirs, table)?;
            running.stop()?;
        }
    }
    Ok(())
}

fn etcd(bench: &Bench, args: &SourcesArgs, lab: &Lab, servers: &Servers, table: &mut Table) -> Result<()> {
    let control = lab.node("etcd")?;
    let etcd = Etcd::start(&Place::host(lab, &control)?, &EtcdOptions::default())?;
    join(&control.netns())?;
    let url = etcd.urls().first().context("an etcd without a URL")?.clone();
    let writer = Writer::etcd(&url)?;
    writer.create_all(objects::namespaces()?.into_iter().map(Ok))?;
    let from = From::Etcd(url);
    let pid = etcd.members()[0].server().pid();
    let theirs = || pid.map_or(Ok(0.0), cpu);
    let mut loaded = 0;
    for &services in &args.services {
        let shape = load(bench, &writer, servers, &mut loaded, services, "etcd")?;
        let side = Side::new(lab, Kind::Bowline, &format!("etcd-{services}"))?;
        let what = format!("{services} Services from etcd");
        bench.go_on(&format!("first sync, {what}"))?;
        let (running, sync) = compare::sync(&side, &from, &shape)?;
        bench.go_on("changes")?;
        let changes = compare::changes(&running, &writer, &shape, servers, effort(bench, Kind::Bowline))?;
        compare::rows(&what, &Measured::new(&side, sync, changes), &[], table)?;
        if args.services.last() == Some(&services) {
            bench.go_on("a thousand changes a second")?;
            let theirs = ("etcd", &theirs as pace::ServersCpu<'_>);
            pace::measure(&running, &writer, &shape, servers, bench.pick(60, 10), theirs, table)?;
        }
        running.stop()?;
    }
    Ok(())
}

/// Loads the Services that are not there yet.
fn load(
    bench: &Bench,
    writer: &Writer,
    servers: &Servers,
    loaded: &mut usize,
    services: usize,
    to: &str,
) -> Result<Shape> {
    bench.go_on(&format!("loading {services} Services into {to}"))?;
    let shape = Shape { services, server: servers.pods[0].v4() };
    let objects = (*loaded..services).flat_map(|index| match objects::service(index, &shape.endpoints(index)) {
        Ok(objects) => objects.map(Ok).into(),
        Err(error) => vec![Err(error)],
    });
    writer.create_all(objects)?;
    // Some were there as one of many, and now lead to a server.
    for index in shape.real() {
        writer.replace(&objects::slice(index, &shape.endpoints(index))?)?;
    }
    *loaded = services;
    Ok(shape)
}

/// kube-proxy waits a second between two syncs; a change that comes later is programmed at once.
fn effort(bench: &Bench, kind: Kind) -> Effort {
    let (changes, pause) = match kind {
        Kind::Bowline => (bench.pick(500, 50), 20),
        Kind::Nftables | Kind::Iptables => (bench.pick(30, 5), 1_500),
    };
    Effort { changes, limit: Duration::from_secs(150), pause: Duration::from_millis(pause) }
}
