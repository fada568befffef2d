//! Its own command: containers get their network, beside CNI's reference plugins; and what passes through it, beside wires
//! made by hand.
//!
//! ```text
//! runtime    calls a list's plugins, each a process          calls   ADD and DEL, timed
//! side       those that are compared, each on its own node   flows   what pods' packets cost
//! ```

mod calls;
mod flows;
mod runtime;
mod side;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bowline_lab::Lab;
use clap::Args;

use self::calls::{Held, Times};
use self::side::{Ours, Side, node_object};
use crate::Bench;
use crate::agent::{Line, bowline};
use crate::report::{Row, Table};
use crate::stats::percentile;

/// A container's ADD, and its DEL, in milliseconds, at the median.
const GOAL: f64 = 3.0;
/// Of 250 pods, in kB.
const MEMORY_GOAL: u64 = 2048;
/// Of the plugin, in bytes.
const SIZE_GOAL: u64 = 1_000_000;

#[derive(Debug, Args)]
pub(crate) struct CniArgs {
    /// Pods that are held meanwhile
    #[arg(long, value_delimiter = ',', default_values_t = [0, 250])]
    held: Vec<usize>,
    /// Callers at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8])]
    callers: Vec<usize>,
    /// Calls alone, without what passes through
    #[arg(long, conflicts_with = "flows")]
    calls: bool,
    /// What passes through alone
    #[arg(long)]
    flows: bool,
}

/// Measures all of it.
pub(crate) fn measure(bench: &Bench, args: &CniArgs, lab: &Lab, table: &mut Table) -> Result<()> {
    if !args.flows {
        calls(bench, args, lab, table).context("ADD and DEL")?;
        plugin(bench, table).context("the plugin")?;
    }
    if !args.calls {
        flows::measure(bench, lab, table).context("what passes through")?;
        flows::translated(bench, lab, table).context("translated flows")?;
    }
    Ok(())
}

fn calls(bench: &Bench, args: &CniArgs, lab: &Lab, table: &mut Table) -> Result<()> {
    let nodes = ["ours", "ours-far", "bridge", "chain", "floor", "far"].map(|name| lab.node(name));
    let [ours, ours_far, bridge, chain, floor, far] = nodes;
    let (ours, ours_far, bridge, chain, floor, far) = (ours?, ours_far?, bridge?, chain?, floor?, far?);
    let state = lab.folder("cni-nodes")?;
    fs::write(state.join("nodes.yaml"), node_object(&ours) + &node_object(&ours_far))?;
    let (ours, ours_far) = (Ours::start(lab, &ours, &state, &[])?, Ours::start(lab, &ours_far, &state, &[])?);
    let alone = ours.agent.status_kb("VmRSS")?;
    let mut sides = vec![Side::ours(&ours, &ours_far, false)?, Side::ours(&ours, &ours_far, true)?];
    sides.push(Side::reference(lab, &bridge, &far, false)?);
    sides.push(Side::reference(lab, &chain, &far, true)?);
    sides.push(Side::floor(&floor, &far)?);
    let (rounds, limit) = (bench.pick(400, 10), Duration::from_secs(bench.pick(12, 4)));
    let mut full = None;
    for &held in &args.held {
        let held = bench.pick(held, held.min(10));
        // Of each side, in the order of the callers.
        let mut all = Vec::new();
        for side in &sides {
            bench.go_on(&format!("{}, {held} pods held", side.name))?;
            let held = Held::new(side, held)?;
            let times = args.callers.iter().map(|&callers| {
                let rounds = (rounds / callers).max(5);
                drop(ours.agent.logged());
                let times = calls::measure(side, callers, rounds, limit);
                let mut times = times.with_context(|| format!("{}, {callers} at once", side.name))?;
                times.in_agent = in_agent(&ours.agent.logged());
                Ok(times)
            });
            all.push((side.name, times.collect::<Result<Vec<Times>>>()?));
            if side.name == "ours" && held.count() > 0 {
                full = Some((held.count(), ours.agent.status_kb("VmRSS")?));
            }
            held.end()?;
        }
        for (place, &callers) in args.callers.iter().enumerate() {
            rows(held, callers, &all, place, table)?;
        }
    }
    if let Some((pods, full)) = full {
        let more = full.saturating_sub(alone);
        let row = Row::plain(
            format!("VmRSS of the agent with {pods} pods, more than with none"),
            format!("{:.1} MB", more as f64 / 1024.0),
            format!("with none {:.1} MB", alone as f64 / 1024.0),
        );
        table.add(row.goal("<= 2 MB", more <= MEMORY_GOAL));
    }
    Ok(())
}

fn rows(held: usize, callers: usize, all: &[(&str, Vec<Times>)], place: usize, table: &mut Table) -> Result<()> {
    let how = if callers == 1 { "one at a time".to_owned() } else { format!("{callers} at once") };
    let [(_, ours), others @ ..] = all else { return Ok(()) };
    type Of = fn(&Times) -> &Vec<f64>;
    let parts: [(&str, Of); 2] = [("ADD", |times| &times.add), ("DEL", |times| &times.del)];
    for ((what, of), in_agent) in parts.into_iter().zip(&ours[place].in_agent) {
        let [p50, p99] = both(of(&ours[place]))?;
        let others: Vec<String> = others
            .iter()
            .map(|(name, times)| {
                let [of50, of99] = both(of(&times[place]))?;
                let ratio = of50 / p50;
                Ok(format!("{name} p50 {of50:.1} ms, p99 {of99:.1} ms ({ratio:.1} x)"))
            })
            .collect::<Result<_>>()?;
        let count = of(&ours[place]).len();
        let name = format!("{what}, {how}, {held} pods held");
        let row = Row::plain(name, format!("p50 {p50:.2} ms, p99 {p99:.2} ms, {count} calls"), others.join("; "));
        table.add(if callers == 1 { row.goal("p50 <= 3 ms", p50 <= GOAL) } else { row });
        if let Ok([p50, p99]) = both(in_agent) {
            table.add(Row::plain("- of that in the agent", format!("p50 {p50:.2} ms, p99 {p99:.2} ms"), ""));
        }
    }
    let said = |of: &dyn Fn(&Times) -> String| {
        let [(_, ours), others @ ..] = all else { return Default::default() };
        let others: Vec<String> = others.iter().map(|(name, times)| format!("{name} {}", of(&times[place]))).collect();
        (of(&ours[place]), others.join("; "))
    };
    let (lost, of_others) = said(&|times| format!("{} of {}", times.lost, times.add.len()));
    let name = "- first packets of new pods to another node without an answer";
    table.add(Row::plain(name, lost, of_others).goal("0", ours[place].lost == 0));
    if callers == 1 {
        let text = |times: &Times| {
            both(&times.gone).map_or_else(|_| String::new(), |[p50, p99]| format!("p50 {p50:.1} ms, p99 {p99:.1} ms"))
        };
        let (gone, of_others) = said(&text);
        table.add(Row::plain("- from DEL's answer until no link is left", gone, of_others));
    } else {
        let (left, of_others) = said(&|times| times.left.to_string());
        let name = "- links left a second after the last DEL";
        table.add(Row::plain(name, left, of_others).goal("0", ours[place].left == 0));
    }
    Ok(())
}

/// How long each ADD and each DEL took, by the log: from its request until its reply.
fn in_agent(lines: &[Line]) -> [Vec<f64>; 2] {
    ["ADD", "DEL"].map(|command| {
        let of = lines.iter().filter(|line| line.text("command") == command);
        of.filter_map(|line| Some(line.number("took_us").ok()? as f64 / 1e3)).collect()
    })
}

/// Median and 99th percentile.
fn both(times: &[f64]) -> Result<[f64; 2]> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let of = |share| percentile(&sorted, share).context("nothing was measured");
    Ok([of(0.5)?, of(0.99)?])
}

/// How large the plugin is, and how long it takes to start.
fn plugin(bench: &Bench, table: &mut Table) -> Result<()> {
    let plugin = bowline()?.with_file_name("bowline-cni");
    let size = fs::metadata(&plugin).with_context(|| plugin.display().to_string())?.len();
    let bridge = ["/usr/lib/cni/bridge", "/opt/cni/bin/bridge"];
    let bridge = bridge.into_iter().find(|path| fs::metadata(path).is_ok()).context("no reference plugin is there")?;
    let reference = fs::metadata(bridge)?.len();
    let row = Row::plain(
        "Size of bowline-cni",
        format!("{:.0} kB", size as f64 / 1e3),
        format!("bridge {:.0} kB", reference as f64 / 1e3),
    );
    table.add(row.goal("<= 1 MB", size <= SIZE_GOAL));
    let (ours, others, nothing) = (plugin.as_os_str(), bridge.as_ref(), "/bin/true".as_ref());
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..bench.pick(300, 20) {
        for (program, times) in [ours, others, nothing].into_iter().zip(&mut times) {
            let began = Instant::now();
            let mut command = Command::new(program);
            command.env("CNI_COMMAND", "VERSION").stdin(Stdio::null()).stdout(Stdio::null());
            ensure!(command.status()?.success(), "{program:?} VERSION");
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    let [ours, others, nothing] = times.map(|times| both(&times));
    let text = |[p50, p99]: [f64; 2]| format!("p50 {p50:.2} ms, p99 {p99:.2} ms");
    table.add(Row::plain(
        "- its start-up alone (VERSION)",
        text(ours?),
        format!("bridge {}; /bin/true {}", text(others?), text(nothing?)),
    ));
    Ok(())
}
