//! Rows tcp and udp: exchanges through a Service's address with all Services loaded, beside the same
//! exchanges without Bowline, in turn.
//!
//! ```text
//! client, CPU 0                               server, CPU 1
//! pod, or cgroup `beside` ── node ── pod      listens twice: 8080 in the pod, 8081 in `beside`
//! ```
//! Both pods are on the agent's node. `beside` is the cgroup of another node, as deep as a pod's: sockets
//! made there run none of the agent's programs. So "direct" is a machine without Bowline, and the goal is
//! held against the dearest case, that of both ends on one node with Bowline.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use bowline_lab::{Lab, Node, Pod, Process};

use crate::Bench;
use crate::agent::Agent;
use crate::manifests::{Files, Folder, Format, Shape};
use crate::report::{Row, Table};
use crate::stats::median;
use crate::traffic::{ClientArgs, Listen, Mode, Rounds, ServeArgs};

/// Where the ways stand in a round; direct twice, so that each of the others has one beside it.
const DIRECT: usize = 0;
const BOTH: usize = 1;
const CLIENT: usize = 2;
const DIRECT_AGAIN: usize = 3;

/// Rounds of each kind, and where a slow machine ends before.
const ROUNDS: usize = 500;
const LIMIT: Duration = Duration::from_secs(40);

/// Of direct.
const GOAL: f64 = 0.98;

/// Runs of the client, where two builds take turns.
const TURNS: usize = 5;

/// A build's node, with a client and a server.
struct Side<'a> {
    client: Pod,
    ways: Vec<Listen>,
    agent: Agent<'a>,
    /// Ends when dropped.
    _server: Process,
}

impl<'a> Side<'a> {
    fn start(bench: &Bench, node: &'a Node, beside: &Pod, folder: &mut Folder, build: &Path) -> Result<Side<'a>> {
        let (client, server) = (node.pod("client")?, node.pod("server")?);
        folder.serve(bench.services() / 2, server.v4().into())?.publish()?;
        let agent = Agent::start(node, folder.path(), build)?;
        agent.ready()?;
        let listen = |port, cgroup: &Path| Listen { address: server.address(port), cgroup: cgroup.into(), netns: None };
        let listens = [listen(8080, server.cgroup()), listen(8081, beside.cgroup())];
        let _server = ServeArgs::start(&server, 1, bench.server_cpu, &listens)?;
        let vip = Folder::address(bench.services() / 2);
        let through = |port| Listen::at(&client, (vip.ip(), port).into());
        let direct = Listen::at(beside, server.address(8081));
        let ways = vec![direct.clone(), through(80), through(81), direct];
        Ok(Side { client, ways, agent, _server })
    }
}

/// Measures TCP, UDP or both.
pub(crate) fn measure(bench: &Bench, lab: &Lab, tcp: bool, udp: bool, table: &mut Table) -> Result<()> {
    let elsewhere = lab.node("elsewhere")?;
    let beside = elsewhere.pod("beside")?;
    let services = bench.services();
    let shape = Shape { services, endpoints: 10, format: Format::Json, files: Files::One };
    let builds = bench.builds()?;
    let nodes = bench.nodes(lab, "exchange")?;
    let mut sides = Vec::new();
    for (node, build) in nodes.iter().zip(&builds) {
        let mut folder = Folder::write(lab, node.name(), shape)?;
        sides.push(Side::start(bench, node, &beside, &mut folder, build)?);
    }
    let modes = [
        (Mode::Tcp, tcp, "TCP connect, request, close", 200, GOAL),
        (Mode::Udp, udp, "UDP sendto, recvfrom, one socket", 400, GOAL),
        (Mode::UdpFresh, udp, "UDP, a fresh socket each time", 200, 0.0),
    ];
    let turns = if sides.len() > 1 { TURNS } else { 1 };
    for (mode, wanted, name, exchanges, goal) in modes {
        if wanted {
            bench.go_on(name)?;
            let (rounds, exchanges) = (bench.pick(ROUNDS, 10).div_ceil(turns), bench.pick(exchanges, 100));
            let limit = LIMIT.as_secs().div_ceil(turns as u64);
            let mut all: Vec<Rounds> = sides.iter().map(|_| Rounds::default()).collect();
            for _ in 0..turns {
                for (side, all) in sides.iter().zip(&mut all) {
                    let way = side.ways.clone();
                    all.extend(ClientArgs { mode, way, rounds, exchanges, limit }.run(&side.client)?);
                }
            }
            let [ours, theirs @ ..] = &all[..] else { continue };
            rows(name, services, goal, ours, table).with_context(|| format!("{name}: no rounds"))?;
            if let Some(theirs) = theirs.first() {
                let (ours, theirs) = of_direct(ours).zip(of_direct(theirs)).context("no rounds")?;
                table.add(Row::beside(format!("{theirs:.3} of direct"), ours / theirs));
            }
        }
    }
    sides.into_iter().try_for_each(|side| side.agent.remove())
}

/// The speed through the Service's address, of direct.
fn of_direct(rounds: &Rounds) -> Option<f64> {
    let at = |way: usize| median(&rounds.iter().map(|round| round[way]).collect::<Vec<_>>());
    Some(at(DIRECT)?.value / at(BOTH)?.value)
}

fn rows(name: &str, services: usize, goal: f64, rounds: &Rounds, table: &mut Table) -> Option<()> {
    let row = |what: String, way: usize, beside: usize| {
        let times = |way: usize| rounds.iter().map(|round| round[way]).collect::<Vec<_>>();
        let pairs: Vec<f64> = rounds.iter().map(|round| round[beside] / round[way]).collect();
        let (this, that, spread) = (median(&times(way))?, median(&times(beside))?, median(&pairs)?);
        let ratio = that.value / this.value;
        let count = rounds.len();
        let measured =
            format!("{ratio:.3} ({:.3} to {:.3}), {:.2} µs, {count} rounds", spread.low, spread.high, this.value / 1e3);
        Some((ratio, Row::plain(what, measured, format!("direct: {:.2} µs", that.value / 1e3))))
    };
    let (ratio, both) = row(format!("{name}: through a VIP of {services}, of direct"), BOTH, DIRECT)?;
    table.add(if goal > 0.0 { both.goal(format!(">= {goal}"), ratio >= goal) } else { both });
    table.add(row("- the server's node without Bowline".into(), CLIENT, DIRECT_AGAIN)?.1);
    table.add(row("- control: direct, of direct".into(), DIRECT_AGAIN, DIRECT)?.1);
    Some(())
}
