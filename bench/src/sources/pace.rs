//! Many changes a second for a while, all over the Services; and the same Service as before changing among
//! them, as a client sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde::Deserialize;

use super::compare::says;
use super::objects::{self, ENDPOINTS, Shape};
use super::side::Running;
use super::writer::Store;
use super::{Servers, Stage, ms};
use crate::agent::bowline;
use crate::report::{Row, Table};
use crate::stats::percentile;
use crate::traffic::{Probe, ProbeArgs, Seen, monotonic};

/// Changes a second.
const RATE: usize = 1_000;
/// How many writes may be under way at once.
const WRITERS: usize = 64;
/// Milliseconds after its write by which the last change is there.
const GOAL_LAST: f64 = 100.0;

/// What has been changed.
struct Work {
    shape: Shape,
    store: Store,
    next: AtomicUsize,
    total: usize,
    began: Instant,
    /// After that no change is begun.
    patience: Duration,
}

impl Work {
    /// The endpoints of a Service after the change of this number. All over the Services: 7919 is a prime.
    fn change(&self, number: usize) -> Option<(usize, Vec<IpAddr>)> {
        let service = number * 7919 % self.shape.services;
        let mut endpoints = self.shape.endpoints(service);
        *endpoints.get_mut(1 + number % (ENDPOINTS - 1))? = address(number).into();
        Some((service, endpoints))
    }

    /// One of the writers: takes the next change when its time has come.
    async fn write(&self) -> Result<()> {
        // A store that can't take so many is not waited for much longer.
        while self.began.elapsed() < self.patience {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.total {
                return Ok(());
            }
            let due = self.began + Duration::from_secs(1) * number as u32 / RATE as u32;
            tokio::time::sleep_until(due.into()).await;
            // The few Services with one endpoint are left out.
            if let Some((service, endpoints)) = self.change(number) {
                self.store.replace(&objects::slice(service, &endpoints)?.triggered()?).await?;
            }
        }
        Ok(())
    }

    /// How many changes were begun.
    fn written(&self) -> usize {
        self.next.load(Ordering::Relaxed).min(self.total)
    }
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 200, 0, 0).to_bits() + number as u32)
}

/// Changes the probed Service to and fro, and returns how long each took to reach the client, in milliseconds.
async fn flip(
    store: &Store,
    shape: &Shape,
    servers: &Servers,
    seen: &Receiver<Seen>,
    mut id: u8,
    pause: Duration,
    goes_on: impl Fn() -> bool,
) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    while times.is_empty() || goes_on() {
        id = 1 - id;
        let endpoint = IpAddr::from(servers.pods[usize::from(id)].v4());
        let slice = objects::slice(shape.changing(), &[endpoint])?.triggered()?;
        let from = monotonic();
        store.replace(&slice).await?;
        let last = loop {
            match seen.try_recv() {
                Ok(last) => break last,
                Err(std::sync::mpsc::TryRecvError::Empty) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => return Err(error).context("the prober has ended"),
            }
        };
        ensure!(last.id == id, "an old endpoint answered again");
        times.push((last.at - from) as f64 / 1e6);
        tokio::time::sleep(pause).await;
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn read(mut probe: Probe) -> Receiver<Seen> {
    let (sender, seen) = channel();
    std::thread::spawn(move || while probe.next().is_ok_and(|next| sender.send(next).is_ok()) {});
    seen
}

/// Adds the rows.
pub(crate) fn measure(running: &Running<'_>, stage: &Stage<'_>, seconds: usize, table: &mut Table) -> Result<()> {
    let Stage { writer, servers, shape, .. } = stage;
    let seen = read(ProbeArgs::new(objects::address(shape.changing())).patient().start(&running.side.client)?);
    let first = seen.recv().context("the prober did not start")?;
    let quiet = writer.runtime.block_on(async {
        let end = Instant::now() + Duration::from_secs(2);
        flip(&writer.store, shape, servers, &seen, first.id, Duration::from_millis(100), || Instant::now() < end).await
    })?;
    let id = if quiet.len() % 2 == 0 { first.id } else { 1 - first.id };
    let (latency, cpu, cpu_theirs) = (running.latency()?, running.cost()?.cpu, stage.cpu()?);
    let began = Instant::now();
    let work = Arc::new(Work {
        shape: *shape,
        store: writer.store.clone(),
        next: AtomicUsize::new(0),
        total: RATE * seconds,
        began,
        patience: Duration::from_secs(seconds as u64 * 3 / 2),
    });
    let done = AtomicBool::new(false);
    let (times, took, last) = writer.runtime.block_on(async {
        let all = async {
            let all = try_join_all((0..WRITERS).map(|_| work.write())).await;
            done.store(true, Ordering::Relaxed);
            all.map(|_| began.elapsed())
        };
        let goes_on = || !done.load(Ordering::Relaxed);
        let client = flip(&writer.store, shape, servers, &seen, id, Duration::from_millis(100), goes_on);
        let (took, times) = tokio::try_join!(all, client)?;
        // Written after all others: once it is there, so are they.
        let id = if times.len() % 2 == 0 { id } else { 1 - id };
        let last = flip(&writer.store, shape, servers, &seen, id, Duration::ZERO, || false).await?;
        anyhow::Ok((times, took, last))
    })?;
    let (cost, cpu_theirs) = (running.cost()?, stage.cpu()? - cpu_theirs);
    let latency = running.latency()?.since(&latency);
    let rate = work.written() as f64 / took.as_secs_f64();
    let at = |times: &[f64], share| percentile(times, share).context("nothing was seen");
    let name = format!("{rate:.0} changes a second for {:.0} s, {}", took.as_secs_f64(), stage.what());
    let measured = format!("write to client p99 {}, p50 {}", ms(at(&times, 0.99)?), ms(at(&times, 0.5)?));
    let reference = format!("without: p99 {}, p50 {}", ms(at(&quiet, 0.99)?), ms(at(&quiet, 0.5)?));
    let kept = rate >= 0.95 * RATE as f64;
    table.add(Row::plain(name, measured, reference).goal(format!(">= {:.0} a second", 0.95 * RATE as f64), kept));
    table.add(Row::plain("- network programming latency, by its own metric", says(&latency), String::new()));
    let last = at(&last, 1.0)?;
    let row = Row::plain("- the last change, write to client", ms(last), "no change is left out: see the next row");
    table.add(row.goal(format!("<= {GOAL_LAST} ms"), last <= GOAL_LAST));
    let (wrong, checked) = differences(running, &work)?;
    let row = Row::plain(
        "- Services whose backends in the kernel differ from what was written",
        wrong.to_string(),
        format!("of {checked}"),
    );
    table.add(row.goal("0", wrong == 0));
    let (share, each) = (|cpu: f64| cpu / took.as_secs_f64() / 10.0, |cpu: f64| cpu * 1e3 / work.written() as f64);
    let ours = cost.cpu - cpu;
    table.add(Row::plain(
        "- CPU of the agent",
        format!("{:.0} % of a CPU, {:.0} µs a change", share(ours), each(ours)),
        format!("{} itself: {:.0} %, {:.0} µs a change", stage.name, share(cpu_theirs), each(cpu_theirs)),
    ));
    let memory = format!("{:.1} MB, peak {:.0}", cost.resident as f64 * 1.024e-3, cost.peak as f64 * 1.024e-3);
    table.add(Row::plain("- VmRSS then", memory, String::new()));
    Ok(())
}

/// A line of `bowline get backends`.
#[derive(Deserialize)]
struct Backend {
    service: String,
    address: IpAddr,
}

/// How many of the changed Services the kernel has otherwise than they were written last.
fn differences(running: &Running<'_>, work: &Work) -> Result<(usize, usize)> {
    let mut wanted = BTreeMap::new();
    for number in 0..work.written() {
        if let Some((service, endpoints)) = work.change(number) {
            wanted.insert(format!("web-{service}"), endpoints.into_iter().collect::<BTreeSet<_>>());
        }
    }
    let out = std::process::Command::new(bowline()?)
        .args(["get", "backends", "-o", "json", "--bpf-root"])
        .arg(running.side.node.bpf_root())
        .output()?;
    let backends: Vec<Backend> = serde_json::from_slice(&out.stdout)
        .with_context(|| format!("bowline get backends: {}", String::from_utf8_lossy(&out.stderr)))?;
    let mut there: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for backend in backends {
        there.entry(backend.service).or_default().insert(backend.address);
    }
    Ok((wanted.iter().filter(|(name, set)| there.get(*name) != Some(set)).count(), wanted.len()))
}
