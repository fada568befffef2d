//! Rows change and reach: a file is renamed over a Service's manifest in which one endpoint differs; how
//! long until the kernel has it, and until another process connects to the new endpoint.

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bowline_lab::Lab;

use crate::Bench;
use crate::agent::Agent;
use crate::manifests::{Files, Folder, Format, Shape};
use crate::report::{Row, Table};
use crate::stats::percentile;
use crate::traffic::{Listen, ProbeArgs, ServeArgs, monotonic};

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

/// One endpoint changed, until the kernel has it, at three sizes.
pub(crate) fn to_kernel(bench: &Bench, lab: &Lab, table: &mut Table) -> Result<()> {
    let node = lab.node("change")?;
    let sizes: &[usize] = bench.pick(&[10, 1_000, 10_000], &[10, 200]);
    let mut medians = Vec::new();
    for &services in sizes {
        bench.go_on(&format!("changes among {services} Services"))?;
        let shape = Shape { services, endpoints: 10, format: Format::Yaml, files: Files::Many };
        let mut folder = Folder::write(lab, &format!("change-{services}"), shape)?;
        let agent = Agent::start(&node, folder.path())?;
        agent.ready()?;
        let (mut times, mut maps, mut reads) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..bench.pick(3_000, 200) {
            // All over the folder: 7919 is a prime, so every Service has its turn.
            let service = number * 7919 % services;
            let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 200, 0, 0).to_bits() + number as u32);
            let change = folder.replace(service, number % 10, address.into())?;
            change.publish()?;
            let line = agent.line("programmed")?;
            ensure!(line.number("services")? == 1, "a change of one Service changed several");
            times.push(line.number("since_event_us")? as f64);
            maps.push(line.number("microseconds")? as f64);
            let began = Instant::now();
            fs::read(change.path())?;
            reads.push(began.elapsed().as_nanos() as f64 / 1e3);
            // A cluster isn't a tight loop: the agent shall go to sleep in between.
            std::thread::sleep(Duration::from_millis(1));
        }
        let (count, times, maps, reads) = (times.len(), Times::new(times), Times::new(maps), Times::new(reads));
        let (p50, p99) = (times.at(0.5)?, times.at(0.99)?);
        medians.push(p50);
        let measured = format!("p99 {p99:.0} µs, p50 {p50:.0} µs (maps {:.0} µs), {count} changes", maps.at(0.5)?);
        let reference =
            format!("open, read, close that file: p99 {:.0} µs, p50 {:.0} µs", reads.at(0.99)?, reads.at(0.5)?);
        let row = Row::plain(format!("Event read to kernel, {services} Services"), measured, reference);
        table.add(row.goal(format!("p99 <= {GOAL_KERNEL:.0} µs"), p99 <= GOAL_KERNEL));
        agent.remove()?;
    }
    if let (Some(first), Some(last)) = (medians.first(), medians.last()) {
        let ratio = last / first;
        let row = Row::plain("- flat: p50 with the most of p50 with the fewest", format!("{ratio:.2}"), "1");
        table.add(row.goal(format!("<= {GOAL_FLAT}"), ratio <= GOAL_FLAT));
    }
    Ok(())
}

/// One endpoint changed, until a client reaches it.
pub(crate) fn to_client(bench: &Bench, lab: &Lab, table: &mut Table) -> Result<()> {
    let node = lab.node("reach")?;
    let (client, a, b) = (node.pod("client")?, node.pod("a")?, node.pod("b")?);
    let mut servers = Vec::new();
    for (id, pod) in [(0, &a), (1, &b)] {
        servers.push(ServeArgs::start(pod, id, 1, &[Listen::at(pod, pod.address(8080))])?);
    }
    let cases = [
        (Files::Many, Format::Yaml, "a file for each Service, YAML", 10.0, bench.pick(300, 20)),
        (Files::One, Format::Yaml, "all in one file, YAML", 500.0, bench.pick(20, 5)),
        (Files::One, Format::Json, "all in one file, JSON", 500.0, bench.pick(20, 5)),
    ];
    for (files, format, name, goal, changes) in cases {
        bench.go_on(&format!("rename to client, {name}"))?;
        let services = bench.services();
        let shape = Shape { services, endpoints: 10, format, files };
        let folder_name = format!("reach-{}-{files:?}", format.name());
        let mut folder = Folder::write(lab, &folder_name, shape)?;
        folder.serve(services / 2, a.v4().into())?.publish()?;
        let agent = Agent::start(&node, folder.path())?;
        agent.ready()?;
        let mut probe = ProbeArgs::new(Folder::address(services / 2)).start(&client)?;
        let first = probe.next()?;
        let (mut last, mut times) = (first, Vec::new());
        for number in 1..=changes {
            let pod = if number % 2 == 0 { &a } else { &b };
            let change = folder.serve(services / 2, pod.v4().into())?;
            let renamed = monotonic();
            change.publish()?;
            last = probe.next()?;
            ensure!(usize::from(last.id) == number % 2, "an old backend answered again");
            ensure!(last.failed == 0, "{} connections failed", last.failed);
            times.push((last.at - renamed) as f64 / 1e6);
            // As in `to_kernel`; and what the last change left to do is done.
            std::thread::sleep(Duration::from_millis(5));
        }
        let interval = (last.at - first.at) as f64 / (last.probes - first.probes) as f64 / 1e6;
        let times = Times::new(times);
        let (p50, p99) = (times.at(0.5)?, times.at(0.99)?);
        let measured = format!("p99 {p99:.1} ms, p50 {p50:.1} ms, {changes} changes");
        let reference = match files {
            Files::Many => format!("a probe every {interval:.2} ms"),
            Files::One => format!("read those {} MB: {:.0} ms", folder.bytes() / 1_000_000, read_one(folder.path())?),
        };
        let row = Row::plain(format!("Rename to client, {services} Services, {name}"), measured, reference);
        table.add(row.goal(format!("p99 <= {goal} ms"), p99 <= goal));
        drop(probe);
        agent.remove()?;
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
