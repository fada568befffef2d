//! What passes between pods, beside the same between namespaces that are wired by hand: on one node, over a link that both
//! nodes are on, and by VXLAN; and flows whose addresses are translated, beside iptables'. In turns, by one client.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bowline_lab::{Host, Lab, Node, Process};

use serde_json::json;

use super::side::{Ours, Pod, bridge, node_object, portmap, reference};
use crate::Bench;
use crate::report::{Row, Table};
use crate::stats::median;
use crate::traffic::{ClientArgs, Listen, Mode, ServeArgs, StreamArgs};

/// Of what is wired by hand.
const GOAL: f64 = 0.98;
/// Where servers answer; streams are received at the port beside.
const ASK: u16 = 7100;
const SINK: u16 = ASK + 1;
/// The node's port that leads to a pod's.
const PORT: u16 = 20_000;

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

    /// The same for a stream, at the port beside.
    fn stream(&self) -> (Listen, Listen) {
        let at =
            |place: &Listen| Listen { address: (place.address.ip(), place.address.port() + 1).into(), ..place.clone() };
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
    let _serves = serve(bench, routed1, ways.iter().map(|way| &way.server))?;
    compare(bench, routed1, &ways, "of the same by hand", GOAL, table)
}

/// Flows whose addresses are translated, beside iptables' masquerade and portmap: what a pod asks of a host that is no
/// node's, and what such a host asks of a node's port.
pub(super) fn translated(bench: &Bench, lab: &Lab, table: &mut Table) -> Result<()> {
    let [ours, theirs, world] = ["ours-nat", "iptables", "world"].map(|name| lab.node(name));
    let (ours, theirs, world) = (ours?, theirs?, world?);
    let state = lab.folder("nat-nodes")?;
    fs::write(state.join("nodes.yaml"), node_object(&ours))?;
    let agent = Ours::start(lab, &ours, &state, &[])?;
    let ports = json!({"portMappings": [
        {"hostPort": PORT, "containerPort": ASK, "protocol": "tcp"},
        {"hostPort": PORT, "containerPort": ASK, "protocol": "udp"},
        {"hostPort": PORT + 1, "containerPort": SINK, "protocol": "tcp"},
    ]});
    let chain = reference(&[bridge(lab, &theirs, true)?, portmap()])?;
    let pods =
        [Pod::new(&ours, "nat", &agent.runtime()?.asking(&ports))?, Pod::new(&theirs, "nat", &chain.asking(&ports))?];
    let [our, their] = [pods[0].at(&ours, ASK), pods[1].at(&theirs, ASK)];
    let beyond = Listen { netns: Some(world.netns()), ..Listen::at(&world, world.address(ASK)) };
    let port = |node: &Node, server: &Listen| {
        let client = Listen { address: node.address(PORT), ..beyond.clone() };
        Way { name: "to a node's port (hostPort)", client, server: server.clone() }
    };
    let ways = [
        Way::of("masqueraded", our.clone(), beyond.clone()),
        Way::of("", their.clone(), beyond.clone()),
        port(&ours, &our),
        port(&theirs, &their),
    ];
    let _serves = serve(bench, &world, ways.iter().map(|way| &way.server))?;
    compare(bench, &world, &ways, "of iptables'", 1.0, table)
}

/// One server for all ways.
fn serve<'w>(bench: &Bench, host: &Host, places: impl Iterator<Item = &'w Listen>) -> Result<Process> {
    let mut servers: Vec<Listen> = Vec::new();
    for place in places {
        if !servers.iter().any(|other| other.to_string() == place.to_string()) {
            servers.push(place.clone());
        }
    }
    ServeArgs::start(host, 1, bench.server_cpu, &servers)
}

/// Ours and the other's in turns, two ways at a time.
fn compare(bench: &Bench, host: &Host, ways: &[Way], of: &str, goal: f64, table: &mut Table) -> Result<()> {
    let modes = [(Mode::Udp, "UDP request, response", 400), (Mode::Tcp, "TCP connect, request, close", 200)];
    for (mode, what, exchanges) in modes {
        bench.go_on(&format!("{what}, {of}"))?;
        let way = ways.iter().map(|way| way.client.clone()).collect();
        let rounds = bench.pick(200, 5);
        let args = ClientArgs { mode, way, rounds, exchanges: bench.pick(exchanges, 50), limit: bench.pick(30, 10) };
        let rounds = args.run(host)?;
        // Of times the reference's over ours, so that more is better.
        let ratio = |times: &[f64], ours: usize| times[ours + 1] / times[ours];
        let text = |time| format!("{:.2} µs", time / 1e3);
        rows((what, of, goal), ways, &rounds, ratio, text, table)?;
    }
    bench.go_on(&format!("TCP stream, {of}"))?;
    let (from, to) = ways.iter().map(Way::stream).unzip();
    let rounds = StreamArgs { from, to, rounds: bench.pick(30, 3), time: bench.pick(150, 50) }.run(host)?;
    let text = |speed| format!("{:.2} GB/s", speed / 1e9);
    let ratio = |speeds: &[f64], ours: usize| speeds[ours] / speeds[ours + 1];
    rows(("TCP stream", of, goal), ways, &rounds, ratio, text, table)
}

fn rows(
    (what, of, goal): (&str, &str, f64),
    ways: &[Way],
    rounds: &[Vec<f64>],
    ratio: impl Fn(&[f64], usize) -> f64,
    text: impl Fn(f64) -> String,
    table: &mut Table,
) -> Result<()> {
    for ours in (0..ways.len()).step_by(2) {
        let ratios: Vec<f64> = rounds.iter().map(|round| ratio(round, ours)).collect();
        let middle =
            |way: usize| median(&rounds.iter().map(|round| round[way]).collect::<Vec<_>>()).context("no rounds");
        let (spread, this, that) = (median(&ratios).context("no rounds")?, middle(ours)?, middle(ours + 1)?);
        let row = Row::plain(
            format!("{what}, {}, {of}", ways[ours].name),
            format!("{:.3} ({:.3} to {:.3}), {}", spread.value, spread.low, spread.high, text(this.value)),
            text(that.value),
        );
        table.add(row.goal(format!(">= {goal}"), spread.value >= goal));
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
    run(node, "bridge", &format!("fdb add {} dev vx dst {others}", mac(other)))?;
    ip(node, &format!("route replace {far}/16 via {far} dev vx onlink"))
}

fn mac(node: &Node) -> String {
    let [.., number] = node.v4().octets();
    format!("02:00:00:00:00:{number:02x}")
}

fn ip(host: &Host, words: &str) -> Result<()> {
    run(host, "ip", words)
}

fn run(host: &Host, program: impl AsRef<Path>, words: &str) -> Result<()> {
    let mut command: Command = host.in_netns(program);
    let out = command.args(words.split(' ')).output()?;
    ensure!(out.status.success(), "{words}: {}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}
