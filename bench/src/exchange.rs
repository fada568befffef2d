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

use std::time::Duration;

use anyhow::{Context, Result};
use bowline_lab::Lab;

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

/// Measures TCP, UDP or both.
pub(crate) fn measure(bench: &Bench, lab: &Lab, tcp: bool, udp: bool, table: &mut Table) -> Result<()> {
    let node = lab.node("exchange")?;
    let (client, server) = (node.pod("client")?, node.pod("server")?);
    let elsewhere = lab.node("elsewhere")?;
    let beside = elsewhere.pod("beside")?;

    let services = bench.services();
    let shape = Shape { services, endpoints: 10, format: Format::Json, files: Files::One };
    let mut folder = Folder::write(lab, "exchange", shape)?;
    folder.serve(services / 2, server.v4().into())?.publish()?;
    let agent = Agent::start(&node, folder.path())?;
    agent.ready()?;

    let listen =
        |port, cgroup: &std::path::Path| Listen { address: server.address(port), cgroup: cgroup.into(), netns: None };
    let _server = ServeArgs::start(
        &server,
        1,
        bench.server_cpu,
        &[listen(8080, server.cgroup()), listen(8081, beside.cgroup())],
    )?;
    let vip = Folder::address(services / 2);
    let through = |port| Listen::at(&client, (vip.ip(), port).into());
    let direct = Listen::at(&beside, server.address(8081));
    let ways = [direct.clone(), through(80), through(81), direct];

    let modes = [
        (Mode::Tcp, tcp, "TCP connect, request, close", 200, GOAL),
        (Mode::Udp, udp, "UDP sendto, recvfrom, one socket", 400, GOAL),
        (Mode::UdpFresh, udp, "UDP, a fresh socket each time", 200, 0.0),
    ];
    for (mode, wanted, name, exchanges, goal) in modes {
        if wanted {
            bench.go_on(name)?;
            let (rounds, exchanges) = (bench.pick(ROUNDS, 10), bench.pick(exchanges, 100));
            let rounds =
                ClientArgs { mode, way: ways.to_vec(), rounds, exchanges, limit: LIMIT.as_secs() }.run(&client)?;
            rows(name, services, goal, &rounds, table).with_context(|| format!("{name}: no rounds"))?;
        }
    }
    agent.remove()
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
