//! One size, one program: its first sync, and changes one after another; and rows of them side by side.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::metric::Histogram;
use super::objects::{self, ENDPOINTS, Shape};
use super::side::{Cost, From, Kind, Running, Side, asker};
use super::{Stage, ms};
use crate::report::{Row, Table};
use crate::stats::percentile;
use crate::traffic::{ProbeArgs, monotonic};

/// Milliseconds from a write to a client, at the 99th percentile.
pub(crate) const GOAL_CHANGE: f64 = 10.0;
/// Seconds of a first sync.
const GOAL_SYNC: f64 = 2.0;
/// Millions of bytes of VmRSS.
const GOAL_MEMORY: f64 = 40.0;

/// How many changes a program is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) changes: usize,
    /// After which no more are, but for the first five.
    pub(crate) limit: Duration,
    /// Between one that was seen and the next.
    pub(crate) pause: Duration,
}

/// A first sync.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sync {
    /// Milliseconds from the start of the process until the first, the middle and the last Service answer.
    pub(crate) reached: f64,
    /// When it then rests.
    pub(crate) cost: Cost,
}

/// Changes of one endpoint, one after another.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    /// Milliseconds, sorted: from just before the write until a client reached the new endpoint.
    reach: Vec<f64>,
    /// Until the write was answered.
    write: Vec<f64>,
    /// What the program says of the same.
    latency: Histogram,
    /// Connections of the client meanwhile, and how many failed.
    probes: u64,
    failed: u64,
    /// Milliseconds of CPU a change, and what it has then.
    cpu: f64,
    cost: Cost,
}

/// All of one program.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    kind: Kind,
    sync: Sync,
    changes: Changes,
}

/// Starts a program and waits until it has programmed everything and rests.
pub(crate) fn sync<'a>(side: &'a Side, from: &From, shape: &Shape) -> Result<(Running<'a>, Sync)> {
    let asker = asker(side, &shape.real().map(objects::address))?;
    let mut running = side.start(from)?;
    let reached = running.wait_until_reached(&asker)?;
    running.settle()?;
    let cost = running.cost()?;
    Ok((running, Sync { reached, cost }))
}

/// Changes the one endpoint of a Service to and fro.
pub(crate) fn changes(running: &Running<'_>, stage: &Stage<'_>, effort: Effort) -> Result<Changes> {
    let Stage { writer, servers, shape, .. } = stage;
    let service = shape.changing();
    let args = ProbeArgs::new(objects::address(service)).patient();
    let args = if running.side.kind == Kind::Bowline { args } else { args.slow() };
    let mut probe = args.start(&running.side.client)?;
    let first = probe.next()?;
    let (mut last, mut reach, mut write) = (first, Vec::new(), Vec::new());
    let (before, cpu, began) = (running.latency()?, running.cost()?.cpu, Instant::now());
    while reach.len() < effort.changes && (reach.len() < 5 || began.elapsed() < effort.limit) {
        let next = 1 - usize::from(last.id);
        let slice = objects::slice(service, &[IpAddr::from(servers.pods[next].v4())])?.triggered()?;
        let from = monotonic();
        writer.replace(&slice)?;
        write.push((monotonic() - from) as f64 / 1e6);
        last = probe.next()?;
        ensure!(usize::from(last.id) == next, "an old endpoint answered again");
        reach.push((last.at - from) as f64 / 1e6);
        std::thread::sleep(effort.pause);
    }
    let cost = running.cost()?;
    let cpu = (cost.cpu - cpu) / reach.len() as f64;
    let latency = running.latency()?.since(&before);
    for times in [&mut reach, &mut write] {
        times.sort_by(f64::total_cmp);
    }
    let (probes, failed) = (last.probes + last.failed, last.failed);
    let changes = Changes { reach, write, latency, probes, failed, cpu, cost };
    // Put back as it was: the next program starts with the same.
    writer.replace(&objects::slice(service, &shape.endpoints(service))?)?;
    Ok(changes)
}

impl Measured {
    /// Of one side; shown at once to whoever waits.
    pub(crate) fn new(side: &Side, sync: Sync, changes: Changes) -> Measured {
        let name = side.kind.name();
        eprintln!("  {name}: first sync {}, write to client p50 {}", ms(sync.reached), each(&changes.reach, 0.5));
        Measured { kind: side.kind, sync, changes }
    }
}

/// A number of ours, and the peers' with how many times ours they are.
fn beside(ours: f64, peers: &[Measured], number: impl Fn(&Measured) -> f64, show: impl Fn(f64) -> String) -> String {
    let cells = peers.iter().map(|peer| {
        let theirs = number(peer);
        format!("{} {} ({} x)", peer.kind.name(), show(theirs), times(theirs / ours))
    });
    cells.collect::<Vec<_>>().join(", ")
}

fn times(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.1}") } else { format!("{ratio:.0}") }
}

fn mb(kb: u64) -> f64 {
    kb as f64 * 1.024e-3
}

/// Rows of one size: ours in the middle, the peers as the reference. `alone` is the reference where there are none.
pub(crate) fn rows(what: &str, ours: &Measured, peers: &[Measured], table: &mut Table) -> Result<()> {
    let at = |m: &Measured, share| percentile(&m.changes.reach, share).context("no changes were measured");
    let show = |m: &Measured| -> Result<String> {
        let count = m.changes.reach.len();
        Ok(format!("p99 {}, p50 {}, {count} changes", ms(at(m, 0.99)?), ms(at(m, 0.5)?)))
    };
    let mut reference = Vec::new();
    for peer in peers {
        let (ninety, half) = (at(peer, 0.99)? / at(ours, 0.99)?, at(peer, 0.5)? / at(ours, 0.5)?);
        reference.push(format!("{} {} ({} x, {} x)", peer.kind.name(), show(peer)?, times(ninety), times(half)));
    }
    let p99 = at(ours, 0.99)?;
    let row = Row::plain(format!("Write to client, {what}"), show(ours)?, reference.join("; "));
    table.add(row.goal(format!("p99 <= {GOAL_CHANGE} ms"), p99 <= GOAL_CHANGE));

    let writes = |m: &Measured| format!("p99 {}, p50 {}", each(&m.changes.write, 0.99), each(&m.changes.write, 0.5));
    let named = |text: &dyn Fn(&Measured) -> String| {
        peers.iter().map(|peer| format!("{} {}", peer.kind.name(), text(peer))).collect::<Vec<_>>().join("; ")
    };
    table.add(Row::plain("- of that the write itself, until it is answered", writes(ours), named(&writes)));

    let own = |m: &Measured| says(&m.changes.latency);
    let mean = ours.changes.latency.bound(0.99).context("the agent has counted no network programming latency")?;
    let row = Row::plain("- network programming latency, by their own metric", own(ours), named(&own));
    table.add(row.goal(format!("p99 <= {GOAL_CHANGE} ms"), mean * 1e3 <= GOAL_CHANGE));

    let failed = |m: &Measured| format!("{} of {}", m.changes.failed, m.changes.probes);
    table.add(Row::plain("- connections that failed meanwhile", failed(ours), named(&failed)));

    let cpu = |m: &Measured| m.changes.cpu;
    table.add(Row::plain("- CPU of a change", ms(cpu(ours)), beside(cpu(ours), peers, cpu, ms)));

    let reached = |m: &Measured| m.sync.reached;
    let seconds = reached(ours) / 1e3;
    let row = Row::plain(
        format!("First sync, {what} of {ENDPOINTS} endpoints"),
        ms(reached(ours)),
        beside(reached(ours), peers, reached, ms),
    );
    table.add(row.goal(format!("<= {GOAL_SYNC} s"), seconds <= GOAL_SYNC));
    let cpu = |m: &Measured| m.sync.cost.cpu;
    table.add(Row::plain("- CPU until it rests", ms(cpu(ours)), beside(cpu(ours), peers, cpu, ms)));

    let memory = |cost: &Cost| {
        let children = if cost.children > 0 { format!(", a child {:.0}", mb(cost.children)) } else { String::new() };
        format!("{:.1} MB, peak {:.0}{children}", mb(cost.resident), mb(cost.peak))
    };
    let beside_memory = |cost: &dyn Fn(&Measured) -> Cost| {
        let cells = peers.iter().map(|peer| {
            let ratio = cost(peer).resident as f64 / cost(ours).resident as f64;
            format!("{} {} ({} x)", peer.kind.name(), memory(&cost(peer)), times(ratio))
        });
        cells.collect::<Vec<_>>().join("; ")
    };
    for (what, cost) in [
        (format!("VmRSS after it, {what}"), &(|m: &Measured| m.sync.cost) as &dyn Fn(&Measured) -> Cost),
        ("- after the changes".into(), &|m| m.changes.cost),
    ] {
        let resident = mb(cost(ours).resident);
        let row = Row::plain(what, memory(&cost(ours)), beside_memory(cost));
        table.add(row.goal(format!("<= {GOAL_MEMORY} MB"), resident <= GOAL_MEMORY));
    }
    Ok(())
}

/// A percentile of sorted milliseconds.
fn each(sorted: &[f64], share: f64) -> String {
    percentile(sorted, share).map_or_else(|| "-".into(), ms)
}

/// A histogram in words. Buckets only have bounds.
pub(crate) fn says(latency: &Histogram) -> String {
    let bound = |share| latency.bound(share).map_or_else(|| "-".into(), |bound| ms(bound * 1e3));
    let mean = latency.mean().map_or_else(|| "-".into(), |mean| ms(mean * 1e3));
    format!("p99 <= {}, p50 <= {}, mean {mean} of {}", bound(0.99), bound(0.5), latency.count())
}
