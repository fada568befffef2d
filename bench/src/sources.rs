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
pub(crate) mod objects;
mod pace;
mod side;
pub(crate) mod writer;

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
use crate::report::{Row, Table};
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

/// A source with what is in it, and who writes to it.
pub(crate) struct Stage<'a> {
    bench: &'a Bench,
    lab: &'a Lab,
    pub(crate) servers: &'a Servers,
    /// Its name in rows.
    pub(crate) name: &'static str,
    from: From,
    pub(crate) writer: Writer,
    /// The processes behind it.
    pids: Vec<u32>,
    pub(crate) shape: Shape,
}

impl Stage<'_> {
    /// Loads the Services that are not there yet.
    fn load(&mut self, services: usize) -> Result<()> {
        self.bench.go_on(&format!("loading {services} Services into {}", self.name))?;
        let there = std::mem::replace(&mut self.shape.services, services);
        let shape = self.shape;
        let objects = (there..services).flat_map(|index| match objects::service(index, &shape.endpoints(index)) {
            Ok(objects) => objects.map(Ok).into(),
            Err(error) => vec![Err(error)],
        });
        self.writer.create_all(objects)?;
        // Some were there as one of many, and now lead to a server.
        shape.real().iter().try_for_each(|&of| self.writer.replace(&objects::slice(of, &shape.endpoints(of))?))
    }

    /// A new node for a program.
    fn side(&self, kind: Kind) -> Result<Side> {
        let side = Side::new(self.lab, kind, &format!("{}-{}", self.name.to_lowercase(), self.shape.services))?;
        self.writer.register(&objects::node(side.node.name(), side.node.v4())?)?;
        Ok(side)
    }

    /// How many Services there are, in words.
    pub(crate) fn what(&self) -> String {
        format!("{} Services from {}", self.shape.services, self.name)
    }

    /// One program, from its first sync to the last change.
    fn one(&self, side: &Side) -> Result<Measured> {
        self.bench.go_on(&format!("{}: {}", side.kind.name(), self.what()))?;
        let (running, sync) = compare::sync(side, &self.from, &self.shape)?;
        let changes = compare::changes(&running, self, effort(self.bench, side.kind))?;
        running.stop()?;
        Ok(Measured::new(side, sync, changes))
    }

    /// A thousand changes a second, for an agent that takes over what is programmed.
    fn keep_pace(&self, side: &Side, table: &mut Table) -> Result<()> {
        self.bench.go_on("a thousand changes a second")?;
        let running = side.start(&self.from)?;
        running.settle()?;
        pace::measure(&running, self, self.bench.pick(60, 10), table)?;
        running.stop()
    }

    /// Milliseconds of CPU that the processes behind it have taken.
    pub(crate) fn cpu(&self) -> Result<f64> {
        self.pids.iter().map(|&pid| cpu(pid)).sum()
    }
}

fn kubernetes(bench: &Bench, args: &SourcesArgs, lab: &Lab, servers: &Servers, table: &mut Table) -> Result<()> {
    let (control, elsewhere) = (lab.node("control")?, lab.node("elsewhere")?);
    let plain = elsewhere.pod("client")?;
    let place = Place::host(lab, &control)?;
    let etcd = Etcd::start(&place, &EtcdOptions::default())?;
    let api = ApiServer::start(&place, &etcd, &ApiServerOptions::default())?;
    // What is written from here on is written from where the API server is.
    join(&control.netns())?;
    let (writer, from) = (Writer::kubernetes(&api.admin())?, From::Kubernetes(api.admin()));
    writer.create_all(objects::namespaces()?.into_iter().map(Ok))?;
    let pids = [api.server().pid(), etcd.members()[0].server().pid()].into_iter().flatten().collect();
    let shape = Shape { services: 0, server: servers.pods[0].v4() };
    let mut stage = Stage { bench, lab, servers, name: "Kubernetes", from, writer, pids, shape };
    for &services in &args.services {
        stage.load(services)?;
        let (mut sides, mut measured) = (Vec::new(), Vec::new());
        for &kind in &args.programs {
            let side = stage.side(kind)?;
            match stage.one(&side) {
                Ok(one) => {
                    measured.push(one);
                    sides.push(side);
                }
                // A peer that can't is a result too; without ours there is none.
                Err(error) if kind != Kind::Bowline => {
                    eprintln!("{error:#}");
                    let what = format!("kube-proxy {}, {}", kind.name(), stage.what());
                    table.add(Row::plain(what, "", format!("failed: {}", error.root_cause())));
                }
                Err(error) => return Err(error),
            }
        }
        let [ours, peers @ ..] = &measured[..] else { continue };
        compare::rows(&stage.what(), ours, peers, table)?;
        bench.go_on("exchanges")?;
        exchange::measure(&stage, &plain, &sides, table)?;
        let ours = sides.iter().find(|side| side.kind == Kind::Bowline);
        if let (Some(side), true) = (ours, args.services.last() == Some(&services)) {
            stage.keep_pace(side, table)?;
        }
    }
    Ok(())
}

fn etcd(bench: &Bench, args: &SourcesArgs, lab: &Lab, servers: &Servers, table: &mut Table) -> Result<()> {
    let control = lab.node("etcd")?;
    let etcd = Etcd::start(&Place::host(lab, &control)?, &EtcdOptions::default())?;
    join(&control.netns())?;
    let url = etcd.urls().first().context("an etcd without a URL")?.clone();
    let (writer, from) = (Writer::etcd(&url)?, From::Etcd(url));
    writer.create_all(objects::namespaces()?.into_iter().map(Ok))?;
    let pids = etcd.members()[0].server().pid().into_iter().collect();
    let shape = Shape { services: 0, server: servers.pods[0].v4() };
    let mut stage = Stage { bench, lab, servers, name: "etcd", from, writer, pids, shape };
    for &services in &args.services {
        stage.load(services)?;
        let side = stage.side(Kind::Bowline)?;
        compare::rows(&stage.what(), &stage.one(&side)?, &[], table)?;
        if args.services.last() == Some(&services) {
            stage.keep_pace(&side, table)?;
        }
    }
    Ok(())
}

/// kube-proxy waits a second between two syncs; a change that comes later is programmed at once.
fn effort(bench: &Bench, kind: Kind) -> Effort {
    let (changes, pause) = match kind {
        Kind::Bowline => (bench.pick(500, 50), 20),
        Kind::Nftables | Kind::Iptables => (bench.pick(30, 5), 1_500),
    };
    Effort { changes, limit: Duration::from_secs(120), pause: Duration::from_millis(pause) }
}
