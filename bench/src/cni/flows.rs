//! What passes between pods, beside the same between namespaces that are wired by hand: on one node, over a link that both
//! nodes are on, and by VXLAN. In turns, by one client.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bowline_lab::{Host, Lab, Node};

use super::side::{Ours, node_object};
use crate::Bench;
use crate::report::{Row, Table};
use crate::stats::median;
use crate::traffic::{ClientArgs, Listen, Mode, ServeArgs, StreamArgs};

/// Of what is wired by hand.
const GOAL: f64 = 0.98;
const ASK: u16 = 7100;
const SINK: u16 = 7200;

/// A client's place and a server's.
struct Way {
    name: &'static str,
    client: Listen,
    server: Listen,
}

impl Way {
    fn of(name: &'static str, client: Listen, server: Listen) -> Way {
        Way { name, client: Listen { address: server.address, ..client }, server }
    }

    /// The same to another port.
    fn to(&self, port: u16) -> (Listen, Listen) {
        let at = |place: &Listen| Listen { address: (place.address.ip(), port).into(), ..place.clone() };
        (at(&self.client), at(&self.server))
    }
}

/// Measures each of them.
pub(super) fn measure(bench: &Bench, lab: &Lab, table: &mut Table) -> Result<()> {
    let names = ["routed-1", "routed-2", "tunnel-1", "tunnel-2", "hand-1", "hand-2", "hand-3", "hand-4"];
    let nodes = names.into_iter().map(|name| lab.node(name)).collect::<Result<Vec<Node>>>()?;
    let [routed1, routed2, tunnel1, tunnel2, hand1, hand2, hand3, hand4] = &nodes[..] else { return Ok(()) };
    let routed = pair(lab, [routed1, routed2], "routed", &[])?;
    let tunnels = pair(lab, [tunnel1, tunnel2], "tunnels", &["--tunnel", "always"])?;
    vxlan(hand3, hand4)?;
    vxlan(hand4, hand3)?;
    let pods = [routed[0].pod("a")?, routed[0].pod("b")?, routed[1].pod("c")?];
    let far = [tunnels[0].pod("a")?, tunnels[1].pod("b")?];
    let by_hand = [hand1.pod("a")?, hand1.pod("b")?, hand2.pod("c")?, hand3.pod("a")?, hand4.pod("b")?];
    for pod in &by_hand[3..] {
        // What is left of 1500 beside the tunnels' headers, as ours have it.
        ip(pod, "link set eth0 mtu 1450")?;
    }
    let hand = |name, client: usize, server: usize| {
        let at = |pod: usize| Listen {
            netns: Some(by_hand[pod].netns()),
            ..Listen::at(&by_hand[pod], by_hand[pod].address(ASK))
        };
        Way::of(name, at(client), at(server))
    };
    let ways = [
        Way::of("on one node", pods[0].at(routed1, ASK), pods[1].at(routed1, ASK)),
        hand("", 0, 1),
        Way::of("routed", pods[0].at(routed1, ASK), pods[2].at(routed2, ASK)),
        hand("", 0, 2),
        Way::of("by VXLAN", far[0].at(tunnel1, ASK), far[1].at(tunnel2, ASK)),
        hand("", 3, 4),
    ];
    let servers: Vec<Listen> = ways.iter().map(|way| way.server.clone()).fold(Vec::new(), |mut all, one| {
        if !all.iter().any(|other: &Listen| other.to_string() == one.to_string()) {
            all.push(one);
        }
        all
    });
    let _serves = ServeArgs::start(routed1, 1, bench.server_cpu, &servers)?;
    let modes = [(Mode::Udp, "UDP request, response", 400), (Mode::Tcp, "TCP connect, request, close", 200)];
    for (mode, what, exchanges) in modes {
        bench.go_on(what)?;
        let way = ways.iter().map(|way| way.client.clone()).collect();
        let rounds = bench.pick(300, 5);
        let args = ClientArgs { mode, way, rounds, exchanges: bench.pick(exchanges, 50), limit: bench.pick(60, 10) };
        // Of times the reference's over ours, so that more is better.
        let rounds = args.run(routed1)?;
        rows(
            what,
            &ways,
            &rounds,
            |times, ours| times[ours + 1] / times[ours],
            |time| format!("{:.2} µs", time / 1e3),
            table,
        )?;
    }
    bench.go_on("TCP stream")?;
    let (from, to) = ways.iter().map(|way| way.to(SINK)).unzip();
    let rounds = StreamArgs { from, to, rounds: bench.pick(60, 3), time: bench.pick(150, 50) }.run(routed1)?;
    let text = |speed| format!("{:.2} GB/s", speed / 1e9);
    rows("TCP stream", &ways, &rounds, |speeds, ours| speeds[ours] / speeds[ours + 1], text, table)
}

fn rows(
    what: &str,
    ways: &[Way],
    rounds: &[Vec<f64>],
    ratio: impl Fn(&[f64], usize) -> f64,
    text: impl Fn(f64) -> String,
    table: &mut Table,
) -> Result<()> {
    for ours in (0..ways.len()).step_by(2) {
        let ratios: Vec<f64> = rounds.iter().map(|round| ratio(round, ours)).collect();
        let of = |way: usize| median(&rounds.iter().map(|round| round[way]).collect::<Vec<_>>()).context("no rounds");
        let (spread, this, that) = (median(&ratios).context("no rounds")?, of(ours)?, of(ours + 1)?);
        let row = Row::plain(
            format!("{what}, {}, of the same by hand", ways[ours].name),
            format!("{:.3} ({:.3} to {:.3}), {}", spread.value, spread.low, spread.high, text(this.value)),
            text(that.value),
        );
        table.add(row.goal(format!(">= {GOAL}"), spread.value >= GOAL));
    }
    Ok(())
}

/// Two nodes with agents that know each other.
fn pair<'a>(lab: &Lab, nodes: [&'a Node; 2], name: &str, flags: &[&str]) -> Result<[Ours<'a>; 2]> {
    let state = lab.folder(&format!("{name}-nodes"))?;
    fs::write(state.join("nodes.yaml"), nodes.map(node_object).concat())?;
    let [one, two] = nodes;
    Ok([Ours::start(lab, one, &state, flags)?, Ours::start(lab, two, &state, flags)?])
}

/// A tunnel from a node to another by hand, and the way to its pods.
fn vxlan(node: &Node, other: &Node) -> Result<()> {
    let [.., number] = other.v4().octets();
    let (own, others) = (node.v4(), other.v4());
    ip(node, &format!("link add vx type vxlan id 9 dstport 4789 local {own} dev eth0 nolearning"))?;
    ip(node, &format!("link set vx address {} mtu 1450 up", mac(node)))?;
    let far = format!("10.{number}.0.0");
    ip(node, &format!("neigh add {far} lladdr {} dev vx nud permanent", mac(other)))?;
    bridge(node, &format!("fdb add {} dev vx dst {others}", mac(other)))?;
    ip(node, &format!("route replace {far}/16 via {far} dev vx onlink"))
}

fn mac(node: &Node) -> String {
    let [.., number] = node.v4().octets();
    format!("02:00:00:00:00:{number:02x}")
}

fn ip(host: &Host, words: &str) -> Result<()> {
    run(host, "ip", words)
}

fn bridge(host: &Host, words: &str) -> Result<()> {
    run(host, "bridge", words)
}

fn run(host: &Host, program: impl AsRef<Path>, words: &str) -> Result<()> {
    let mut command: Command = host.in_netns(program);
    let out = command.args(words.split(' ')).output()?;
    ensure!(out.status.success(), "{words}: {}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}
