//! Rows change and reach: a file is renamed over a Service's manifest in which one endpoint differs; how
//! long until the kernel has it, and until another process connects to the new endpoint.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bowline_lab::{Lab, Node, Pod, Process};

use crate::Bench;
use crate::agent::Agent;
use crate::manifests::{Files, Folder, Format, Shape};
use crate::report::{Row, Table};
use crate::stats::percentile;
use crate::traffic::{Listen, Probe, ProbeArgs, Seen, ServeArgs, monotonic};

/// Microseconds from the moment the event is read until the kernel has the change.
const GOAL_KERNEL: f64 = 200.0;
/// How much longer it may take with the most Services than with the fewest.
const GOAL_FLAT: f64 = 1.5;

/// Sorted times of one kind.
struct Times(Vec<f64>);

impl Times {
    fn new(mut times: Vec<f64>) -> Times {
        times.sort_by(f64::total_cmp);
        Times(times)
    }

    fn at(&self, share: f64) -> Result<f64> {
        percentile(&self.0, share).context("nothing was measured")
    }
}

/// An agent of one build, and the changes that it was told of. Times in microseconds.
struct Told<'a> {
    folder: Folder,
    agent: Agent<'a>,
    times: Vec<f64>,
    maps: Vec<f64>,
    reads: Vec<f64>,
}

impl<'a> Told<'a> {
    fn start(lab: &Lab, node: &'a Node, shape: Shape, build: &Path) -> Result<Told<'a>> {
        let folder = Folder::write(lab, &format!("{}-{}", node.name(), shape.services), shape)?;
        let agent = Agent::start(node, folder.path(), build)?;
        agent.ready()?;
        Ok(Told { folder, agent, times: Vec::new(), maps: Vec::new(), reads: Vec::new() })
    }

    fn change(&mut self, service: usize, index: usize, address: Ipv4Addr) -> Result<()> {
        let change = self.folder.replace(service, index, address.into())?;
        change.publish()?;
        let line = self.agent.line("programmed")?;
        ensure!(line.number("services")? == 1, "a change of one Service changed several");
        self.times.push(line.number("since_event_us")? as f64);
        self.maps.push(line.number("microseconds")? as f64);
        let began = Instant::now();
        fs::read(change.path())?;
        self.reads.push(began.elapsed().as_nanos() as f64 / 1e3);
        Ok(())
    }
}

/// One endpoint changed, until the kernel has it, at three sizes.
pub(crate) fn to_kernel(bench: &Bench, lab: &Lab, table: &mut Table) -> Result<()> {
    let builds = bench.builds()?;
    let nodes = bench.nodes(lab, "change")?;
    let sizes: &[usize] = bench.pick(&[10, 1_000, 10_000], &[10, 200]);
    let mut medians = Vec::new();
    for &services in sizes {
        bench.go_on(&format!("changes among {services} Services"))?;
        let shape = Shape { services, endpoints: 10, format: Format::Yaml, files: Files::Many };
        let told = nodes.iter().zip(&builds).map(|(node, build)| Told::start(lab, node, shape, build));
        let mut all = told.collect::<Result<Vec<_>>>()?;
        for number in 0..bench.pick(3_000, 200) {
            // All over the folder: 7919 is a prime, so every Service has its turn.
            let service = number * 7919 % services;
            let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 200, 0, 0).to_bits() + number as u32);
            for told in &mut all {
                told.change(service, number % 10, address)?;
                // A cluster isn't a tight loop: the agent shall go to sleep in between.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let mut percentiles = Vec::new();
        for told in all {
            let (count, times) = (told.times.len(), Times::new(told.times));
            let (maps, reads) = (Times::new(told.maps), Times::new(told.reads));
            let (p50, p99) = (times.at(0.5)?, times.at(0.99)?);
            percentiles.push((p50, p99));
            told.agent.remove()?;
            if percentiles.len() > 1 {
                continue;
            }
            medians.push(p50);
            let measured = format!("p99 {p99:.0} µs, p50 {p50:.0} µs (maps {:.0} µs), {count} changes", maps.at(0.5)?);
            let reference =
                format!("open, read, close that file: p99 {:.0} µs, p50 {:.0} µs", reads.at(0.99)?, reads.at(0.5)?);
            let row = Row::plain(format!("Event read to kernel, {services} Services"), measured, reference);
            table.add(row.goal(format!("p99 <= {GOAL_KERNEL:.0} µs"), p99 <= GOAL_KERNEL));
        }
        if let [(ours, _), (p50, p99)] = percentiles[..] {
            table.add(Row::beside(format!("p99 {p99:.0} µs, p50 {p50:.0} µs"), p50 / ours));
        }
    }
    if let (Some(first), Some(last)) = (medians.first(), medians.last()) {
        let ratio = last / first;
        let row = Row::plain("- flat: p50 with the most of p50 with the fewest", format!("{ratio:.2}"), "1");
        table.add(row.goal(format!("<= {GOAL_FLAT}"), ratio <= GOAL_FLAT));
    }
    Ok(())
}

/// A node whose client asks who answers.
struct Reached<'a> {
    pods: [Pod; 2],
    folder: Folder,
    agent: Agent<'a>,
    probe: Probe,
    first: Seen,
    last: Seen,
    times: Vec<f64>,
    /// They end when dropped.
    _servers: Vec<Process>,
}

impl<'a> Reached<'a> {
    fn start(bench: &Bench, lab: &Lab, node: &'a Node, shape: Shape, build: &Path) -> Result<Reached<'a>> {
        let tag = format!("{}-{:?}", shape.format.name(), shape.files).to_lowercase();
        let [client, a, b] = ["client", "a", "b"].map(|name| node.pod(&format!("{name}-{tag}")));
        let (client, pods) = (client?, [a?, b?]);
        let mut servers = Vec::new();
        for (id, pod) in (0..).zip(&pods) {
            servers.push(ServeArgs::start(pod, id, 1, &[Listen::at(pod, pod.address(8080))])?);
        }
        let mut folder = Folder::write(lab, &format!("{}-{tag}", node.name()), shape)?;
        folder.serve(bench.services() / 2, pods[0].v4().into())?.publish()?;
        let agent = Agent::start(node, folder.path(), build)?;
        agent.ready()?;
        let mut probe = ProbeArgs::new(Folder::address(bench.services() / 2)).start(&client)?;
        let first = probe.next()?;
        Ok(Reached { pods, folder, agent, probe, last: first, first, times: Vec::new(), _servers: servers })
    }

    fn change(&mut self, bench: &Bench, number: usize) -> Result<()> {
        let address = self.pods[number % 2].v4();
        let change = self.folder.serve(bench.services() / 2, address.into())?;
        let renamed = monotonic();
        change.publish()?;
        self.last = self.probe.next()?;
        ensure!(usize::from(self.last.id) == number % 2, "an old backend answered again");
        ensure!(self.last.failed == 0, "{} connections failed", self.last.failed);
        self.times.push((self.last.at - renamed) as f64 / 1e6);
        Ok(())
    }
}

/// One endpoint changed, until a client reaches it.
pub(crate) fn to_client(bench: &Bench, lab: &Lab, table: &mut Table) -> Result<()> {
    let builds = bench.builds()?;
    let nodes = bench.nodes(lab, "reach")?;
    let cases = [
        (Files::Many, Format::Yaml, "a file for each Service, YAML", 10.0, bench.pick(300, 20)),
        (Files::One, Format::Yaml, "all in one file, YAML", 500.0, bench.pick(20, 5)),
        (Files::One, Format::Json, "all in one file, JSON", 500.0, bench.pick(20, 5)),
    ];
    for (files, format, name, goal, changes) in cases {
        bench.go_on(&format!("rename to client, {name}"))?;
        let services = bench.services();
        let shape = Shape { services, endpoints: 10, format, files };
        let reached = nodes.iter().zip(&builds).map(|(node, build)| Reached::start(bench, lab, node, shape, build));
        let mut all = reached.collect::<Result<Vec<_>>>()?;
        for number in 1..=changes {
            for reached in &mut all {
                reached.change(bench, number)?;
                // As in `to_kernel`; and what the last change left to do is done.
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let mut percentiles = Vec::new();
        for reached in all {
            let Reached { folder, agent, probe, first, last, times, .. } = reached;
            let interval = (last.at - first.at) as f64 / (last.probes - first.probes) as f64 / 1e6;
            let times = Times::new(times);
            let (p50, p99) = (times.at(0.5)?, times.at(0.99)?);
            percentiles.push((p50, p99));
            drop(probe);
            agent.remove()?;
            if percentiles.len() > 1 {
                continue;
            }
            let measured = format!("p99 {p99:.1} ms, p50 {p50:.1} ms, {changes} changes");
            let reference = match files {
                Files::Many => format!("a probe every {interval:.2} ms"),
                Files::One => {
                    format!("read those {} MB: {:.0} ms", folder.bytes() / 1_000_000, read_one(folder.path())?)
                }
            };
            let row = Row::plain(format!("Rename to client, {services} Services, {name}"), measured, reference);
            table.add(row.goal(format!("p99 <= {goal} ms"), p99 <= goal));
        }
        if let [(ours, _), (p50, p99)] = percentiles[..] {
            table.add(Row::beside(format!("p99 {p99:.1} ms, p50 {p50:.1} ms"), p50 / ours));
        }
    }
    Ok(())
}

/// Milliseconds to read all files of a folder, the best of three.
fn read_one(dir: &std::path::Path) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let began = Instant::now();
        for entry in fs::read_dir(dir)? {
            fs::read(entry?.path())?;
        }
        best = best.min(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(best)
}
