//! What is measured of each server, and the rows: ours, the peers' from the same run, the ratio, the goal.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bowline_lab::Lab;
use bowline_lab::kubernetes::Place;

use super::load::{self, LoadArgs, Summary};
use super::scene::{Kind, Scene};
use super::servers::{Memory, Program, Running, ends_with, message};
use super::{DnsArgs, Part};
use crate::Bench;
use crate::report::{Row, Table};
use crate::sources::writer::Writer;
use crate::stats::percentile;

/// Questions a second at which latency is measured.
const RATE: f64 = 15_000.0;
/// Questions a second and core that A of a Service shall reach.
const GOAL_A: f64 = 180_000.0;
/// So many times CoreDNS's.
const GOAL_RATIO: f64 = 8.0;
/// MB of the server with the state that it answers from.
const GOAL_MEMORY: f64 = 40.0;
/// Milliseconds from a change to the new answer, of 99 in 100.
const GOAL_LATE: f64 = 1.0;
/// Endpoints that change a second.
const CHANGES: usize = 100;

/// kubeadm's Corefile, at another port; KUBECONFIG stands for what a pod has by itself.
const KUBEADM: &str = ".:5300 {
    bind ADDRESS
    errors
    health ADDRESS:8080 {
       lameduck 5s
    }
    ready ADDRESS:8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       kubeconfig KUBECONFIG
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus ADDRESS:9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

/// One load on one server, by a thread on the second CPU. A wrong answer ends the run; so does a missing one, but for
/// a peer's, which is told in the table.
fn ask(server: &Running, questions: &Path, seconds: f64, rate: Option<f64>) -> Result<Summary> {
    let args = LoadArgs {
        server: server.address,
        questions: questions.to_owned(),
        clients: 1000,
        seconds,
        rate,
        edns: None,
        sockets: load::Kind::Auto,
        pid: Some(server.pid()?),
        cpu: Some(1),
    };
    // The thread stays on its CPU; this one doesn't.
    let summary = std::thread::scope(|scope| scope.spawn(|| load::run(&args)).join());
    let summary = summary.map_err(|_| anyhow::anyhow!("the load has panicked"))??;
    let checked = match server.program {
        Program::Bare | Program::Bowline => summary.check(),
        Program::Coredns | Program::Unbound => summary.check_answers(),
    };
    checked.with_context(|| questions.display().to_string())?;
    Ok(summary)
}

fn per_core(summary: &Summary) -> f64 {
    summary.qps_per_core.unwrap_or(summary.qps)
}

fn thousands(qps: f64) -> String {
    format!("{:.1}k", qps / 1e3)
}

/// The bare socket loop: what the kernel leaves to anybody.
pub(super) fn bare(bench: &Bench, args: &DnsArgs, lab: &Lab, table: &mut Table) -> Result<f64> {
    bench.go_on("the bare socket loop")?;
    let place = Place::machine(lab)?;
    let questions = lab.folder("bare")?.join("questions");
    let names: String =
        (0..8_200).map(|n| format!("web-{n}.shop-{}.svc.cluster.local. A NOERROR\n", n % 100)).collect();
    std::fs::write(&questions, names)?;
    let running = Running::start(Program::Bare, &place, "", &message("a", 1), |answer| !answer.is_empty())?;
    let summary = ask(&running, &questions, args.seconds, None)?;
    running.stop()?;
    let qps = per_core(&summary);
    table.add(Row::plain("bare socket loop, questions a second and core", thousands(qps), "the limit for all below"));
    Ok(qps)
}

/// What was measured of a server on the cluster's names.
struct Measured {
    program: Program,
    first: Duration,
    memory: Memory,
    /// By kind, still: as many questions as were answered.
    rates: Vec<(Kind, Summary)>,
    latency: Summary,
    /// With changes.
    with_changes: Option<Summary>,
    /// Milliseconds from a write to the API server to the first answer with it, sorted.
    late: Vec<f64>,
}

impl Measured {
    fn loads(&self) -> impl Iterator<Item = &Summary> {
        self.rates.iter().map(|(_, summary)| summary).chain([&self.latency]).chain(&self.with_changes)
    }
}

/// Names of the cluster.
pub(super) fn cluster(bench: &Bench, args: &DnsArgs, scene: &Scene, bare: f64, table: &mut Table) -> Result<()> {
    let programs: &[Program] = if args.alone { &[Program::Bowline] } else { &[Program::Bowline, Program::Coredns] };
    let mut all = Vec::new();
    for program in programs {
        all.push(one(bench, args, scene, *program).with_context(|| program.name())?);
    }
    let [ours, peers @ ..] = &all[..] else { return Ok(()) };
    let peer = peers.first();
    let of_peer = |number: &dyn Fn(&Measured) -> String| {
        peer.map_or(String::new(), |peer| format!("{} {}", peer.program.name(), number(peer)))
    };
    for (kind, load) in &ours.rates {
        let rate = per_core(load);
        let theirs = peer.and_then(|peer| peer.rates.iter().find(|(other, _)| other == kind));
        let theirs = theirs.map(|(_, load)| per_core(load));
        let what = format!("{}, a second and core", kind.name());
        let reference = theirs.map_or(String::new(), |theirs| {
            format!("CoreDNS {}: {:.1} x; {:.2} of the bare loop", thousands(theirs), rate / theirs, rate / bare)
        });
        let row = Row::plain(what, thousands(rate), reference);
        let enough = theirs.is_none_or(|theirs| rate / theirs >= GOAL_RATIO);
        table.add(match kind {
            Kind::A => row.goal("180k, 8 x CoreDNS", enough && rate >= GOAL_A),
            _ => row.goal("8 x CoreDNS", enough),
        });
    }
    let percentiles = |m: &Measured| {
        let s = &m.latency;
        format!("p50 {:.0}, p99 {:.0}, p99.9 {:.0} us", s.p50, s.p99, s.p999)
    };
    let row = Row::plain("latency of A at 15k a second", percentiles(ours), of_peer(&percentiles));
    let met = peer.is_none_or(|peer| ours.latency.p99 * 5.0 <= peer.latency.p99);
    table.add(row.goal("p99 1/5 of CoreDNS's", met));
    let own = |m: &Measured| format!("{:.1} MB", m.memory.own);
    let row = Row::plain(format!("memory of its own (RssAnon), {}", scene.what()), own(ours), of_peer(&own));
    table.add(row.goal("40 MB", ours.memory.own <= GOAL_MEMORY));
    let resident = |m: &Measured| format!("{:.1} MB", m.memory.resident);
    table.add(Row::plain("with pages of the program file (VmRSS)", resident(ours), of_peer(&resident)));
    let first = |m: &Measured| format!("{:.2} s", m.first.as_secs_f64());
    table.add(Row::plain("start to the first right answer, from the API server", first(ours), of_peer(&first)));
    if ours.with_changes.is_some() {
        let rate = |m: &Measured| m.with_changes.as_ref().map_or(String::new(), |load| thousands(per_core(load)));
        table.add(Row::plain("A with 100 changes a second", rate(ours), of_peer(&rate)));
        let late =
            |m: &Measured| format!("p50 {:.1}, p99 {:.1} ms of {}", late_at(m, 0.5), late_at(m, 0.99), m.late.len());
        let row = Row::plain("API write answered -> new answer", late(ours), of_peer(&late));
        table.add(row.goal("p99 1 ms", late_at(ours, 0.99) <= GOAL_LATE));
    }
    let lost = |m: &Measured| {
        let count = |of: fn(&Summary) -> u64| m.loads().map(of).sum::<u64>();
        format!("{} of {}", count(|load| load.lost), count(|load| load.sent))
    };
    table.add(Row::plain("without an answer within 2 s, of all asked", lost(ours), of_peer(&lost)));
    Ok(())
}

fn late_at(m: &Measured, share: f64) -> f64 {
    percentile(&m.late, share).unwrap_or_default()
}

fn one(bench: &Bench, args: &DnsArgs, scene: &Scene, program: Program) -> Result<Measured> {
    bench.go_on(&format!("{}: {}", program.name(), scene.what()))?;
    let corefile = KUBEADM.replace("KUBECONFIG", &scene.api.admin().display().to_string());
    let probe = message(&Scene::name(0), 1);
    let ip = crate::sources::objects::address(0).ip();
    let running = Running::start(program, &scene.place, &corefile, &probe, |answer| ends_with(answer, ip))?;
    // Memory after the first list has settled.
    std::thread::sleep(Duration::from_secs(2));
    let memory = running.memory()?;
    let mut rates = Vec::new();
    if args.parts.contains(&Part::Cluster) {
        for kind in Kind::ALL {
            let questions = scene.questions(kind)?;
            rates.push((kind, ask(&running, &questions, args.seconds, None)?));
        }
    }
    let questions = scene.questions(Kind::A)?;
    let latency = ask(&running, &questions, args.seconds, Some(RATE))?;
    let (mut with_changes, mut late) = (None, Vec::new());
    if args.parts.contains(&Part::Changes) {
        late = lateness(scene, running.address, bench.pick(200, 20))?;
        with_changes = Some(changing(args, scene, &running, &questions)?);
    }
    let first = running.first;
    running.stop()?;
    Ok(Measured { program, first, memory, rates, latency, with_changes, late })
}

/// The load while endpoints of headless Services change.
fn changing(args: &DnsArgs, scene: &Scene, running: &Running, questions: &Path) -> Result<Summary> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let writer = Writer::kubernetes(&scene.api.admin())?;
            let began = Instant::now();
            let headless: Vec<usize> = scene.headless().collect();
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                let index = headless[count % headless.len()];
                let mut endpoints = scene.addresses(index);
                endpoints[0] = IpAddr::from([10, 250, (count >> 8) as u8, count as u8]);
                writer.replace(&scene.change(index, &endpoints)?)?;
                count += 1;
                let due = began + Duration::from_secs(1) * count as u32 / CHANGES as u32;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            // As they were, for the next server.
            headless.iter().try_for_each(|&index| writer.replace(&scene.change(index, &scene.addresses(index))?))?;
            anyhow::Ok(())
        });
        let summary = ask(running, questions, args.seconds, None);
        done.store(true, Ordering::Relaxed);
        writing.join().map_err(|_| anyhow::anyhow!("the writer has panicked"))??;
        summary
    })
}

/// How long after the API server's answer to a write a new answer comes, in milliseconds, sorted.
fn lateness(scene: &Scene, server: SocketAddr, times: usize) -> Result<Vec<f64>> {
    let index = scene.headless().next().context("no headless Service")?;
    let socket = UdpSocket::bind((scene.place.address(), 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let question = message(&Scene::name(index), 1);
    let mut answer = [0; 4096];
    let mut late = Vec::new();
    for turn in 0..times {
        let new = IpAddr::from([10, 251, (turn >> 8) as u8, turn as u8]);
        scene.writer.replace(&scene.change(index, &[new])?)?;
        let written = Instant::now();
        loop {
            socket.send_to(&question, server)?;
            let length = socket.recv(&mut answer).context("no answer")?;
            if ends_with(&answer[..length], new) {
                break;
            }
            ensure!(written.elapsed() < Duration::from_secs(60), "a change did not come within a minute");
            // The API server has to have a CPU too.
            std::thread::sleep(Duration::from_micros(50));
        }
        late.push(written.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(20));
    }
    scene.writer.replace(&scene.change(index, &scene.addresses(index))?)?;
    late.sort_by(f64::total_cmp);
    Ok(late)
}

/// Names that are forwarded: from the cache, and asked each time.
pub(super) fn forwarded(bench: &Bench, args: &DnsArgs, lab: &Lab, table: &mut Table) -> Result<()> {
    let place = Place::machine(lab)?;
    let folder = lab.folder("forwarded")?;
    let upstream = super::servers::Upstream::start(&place, &folder)?;
    let hit = folder.join("hit");
    let miss = folder.join("miss");
    let lines =
        |zone: &str| -> String { (0..1000).map(|n| format!("www-{n}.{zone}. A NOERROR 192.0.2.1\n")).collect() };
    std::fs::write(&hit, lines("kept.test"))?;
    std::fs::write(&miss, lines("fresh.test"))?;
    let programs = [Program::Bowline, Program::Coredns, Program::Unbound];
    let mut all = Vec::new();
    for program in programs.into_iter().filter(|program| !args.alone || *program == Program::Bowline) {
        bench.go_on(&format!("{}: forwarded names", program.name()))?;
        let configuration = upstream.configuration(program);
        let probe = message("www-0.kept.test", 1);
        let right = IpAddr::from([192, 0, 2, 1]);
        let running = Running::start(program, &place, &configuration, &probe, |answer| {
            ends_with(answer, right) || answer.windows(4).any(|window| window == [192, 0, 2, 1])
        })?;
        // Every name once, so that all are there.
        ask(&running, &hit, 1.0, Some(5_000.0))?;
        let kept = ask(&running, &hit, args.seconds, None)?;
        let fresh = ask(&running, &miss, args.seconds, None)?;
        running.stop()?;
        all.push((program, per_core(&kept), per_core(&fresh)));
    }
    let [(_, kept, fresh), peers @ ..] = &all[..] else { return Ok(()) };
    let reference = |of: &dyn Fn(&(Program, f64, f64)) -> f64| {
        peers.iter().map(|peer| format!("{} {}", peer.0.name(), thousands(of(peer)))).collect::<Vec<_>>().join(", ")
    };
    let ahead = |ours: f64, of: &dyn Fn(&(Program, f64, f64)) -> f64| peers.iter().all(|peer| ours > of(peer));
    let what = "forwarded, in the cache, a second and core";
    table
        .add(Row::plain(what, thousands(*kept), reference(&|peer| peer.1)).goal("ahead", ahead(*kept, &|peer| peer.1)));
    let what = "forwarded, asked each time, a second and core";
    table.add(
        Row::plain(what, thousands(*fresh), reference(&|peer| peer.2)).goal("ahead", ahead(*fresh, &|peer| peer.2)),
    );
    Ok(())
}
