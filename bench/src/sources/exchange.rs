//! A TCP exchange through a Service with each program's rules in place, and directly, in turn.
//!
//! Each client is a pod of its own node, all ask one server, in a pod of one more node. "Direct" asks from a
//! node that no program has touched, by the server's own address. The programs themselves have ended by then:
//! what they have programmed works.

use std::time::Duration;

use anyhow::{Context, Result};
use bowline_lab::Pod;

use super::side::Side;
use super::{Stage, objects};
use crate::report::{Row, Table};
use crate::stats::median;
use crate::traffic::{ClientArgs, Listen, Mode};

/// When no more rounds begin.
const LIMIT: Duration = Duration::from_secs(30);

/// Adds the rows. Bowline is the first of the sides; `direct` is where no program has been.
pub(crate) fn measure(stage: &Stage<'_>, direct: &Pod, sides: &[Side], table: &mut Table) -> Result<()> {
    let bench = stage.bench;
    let vip = objects::address(stage.shape.services - 1);
    let way = |pod: &Pod, address| Listen { netns: Some(pod.netns()), ..Listen::at(pod, address) };
    let beside = way(direct, stage.servers.pods[0].address(8080));
    let mut ways = vec![beside.clone()];
    ways.extend(sides.iter().map(|side| way(&side.client, vip)));
    ways.push(beside);
    let last = ways.len() - 1;
    let (rounds, exchanges) = (bench.pick(400, 10), bench.pick(200, 100));
    let rounds = ClientArgs { mode: Mode::Tcp, way: ways, rounds, exchanges, limit: LIMIT.as_secs() }.run(direct)?;
    // Median of this way, of direct, and of their ratio by rounds.
    let cell = |way: usize| {
        let times: Vec<f64> = rounds.iter().map(|round| round[way]).collect();
        let pairs: Vec<f64> = rounds.iter().map(|round| round[0] / round[way]).collect();
        let (time, ratio) = (median(&times)?, median(&pairs)?);
        Some(format!("{:.3} ({:.3} to {:.3}), {:.1} µs", ratio.value, ratio.low, ratio.high, time.value / 1e3))
    };
    let cell = |way| cell(way).context("no rounds");
    let mut reference = Vec::new();
    for (index, side) in sides.iter().enumerate().skip(1) {
        reference.push(format!("{} {}", side.kind.name(), cell(index + 1)?));
    }
    let name = format!("TCP connect, request, close: through a VIP of {}, of direct", stage.shape.services);
    table.add(Row::plain(name, cell(1)?, reference.join("; ")));
    table.add(Row::plain("- control: direct, of direct", cell(last)?, format!("{} rounds", rounds.len())));
    Ok(())
}
