//! What is measured of each server, and the rows: ours, the peers' from the same run, the ratio, the goal.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bowline_lab::Lab;
use bowline_lab::kubernetes::Place;

use super::load::{self, LoadArgs, Summary};
use super::scene::{Kind, Scene};
use super::servers::{Memory, Program, Running, ends_with, message};
use super::watch::Watch;
use super::{DnsArgs, Part};
use crate::Bench;
use crate::report::{Row, Table};
use crate::sources::writer::Writer;
use crate::stats::{median, percentile};

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

/// Clients that ask for what the upstream is asked each time: as many questions as its socket has room for, while the
/// generator has its CPU.
const MISSING: usize = 200;

/// How a server is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    pub(super) clients: usize,
    pub(super) seconds: f64,
    /// Questions a second; None: as many as are answered.
    pub(super) rate: Option<f64>,
    /// A wrong answer ends the run; so does a missing one, but for a peer's, which is told in the table.
    pub(super) strict: bool,
}

impl Demand {
    fn of(clients: usize, seconds: f64, rate: Option<f64>) -> Demand {
        Demand { clients, seconds, rate, strict: true }
    }
}

/// One load on one server, by a thread on the second CPU.
fn ask(server: &Running, questions: &Path, demand: Demand) -> Result<Summary> {
    let args = LoadArgs {
        server: server.address,
        questions: questions.to_owned(),
        clients: demand.clients,
        seconds: demand.seconds,
        rate: demand.rate,
        edns: None,
        sockets: load::Kind::Auto,
        pid: Some(server.pid()?),
        cpu: Some(1),
        aside: Some(super::in_order::SLOW.to_owned()),
    };
    // The thread stays on its CPU; this one doesn't.
    let summary = std::thread::scope(|scope| scope.spawn(|| load::run(&args)).join());
    let summary = summary.map_err(|_| anyhow::anyhow!("the load has panicked"))??;
    let checked = match server.program {
        _ if !demand.strict => Ok(()),
        Program::Bare | Program::Bowline => summary.check(),
        Program::Beside | Program::Coredns | Program::Unbound => summary.check_answers(),
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

/// Clients.
const CLIENTS: usize = 1000;

/// How often servers take turns: a machine's speed changes by the minute, and by more than what is to be seen.
const TURNS: u32 = 5;

/// One load on each server, in turns; for each what came of its turns.
pub(super) fn in_turns(bench: &Bench, loads: &[(&Running, &Path)], demand: Demand) -> Result<Vec<Vec<Summary>>> {
    let turns = bench.pick(TURNS, 1);
    let demand = Demand { seconds: demand.seconds / f64::from(turns), ..demand };
    let mut all: Vec<Vec<Summary>> = loads.iter().map(|_| Vec::new()).collect();
    for _ in 0..turns {
        for ((server, questions), summaries) in loads.iter().zip(&mut all) {
            summaries.push(ask(server, questions, demand)?);
        }
    }
    Ok(all)
}

/// Starts of each server, whose median counts.
const STARTS: usize = 3;

/// The median of what turns say.
pub(super) fn middle(turns: &[Summary], of: impl Fn(&Summary) -> f64) -> f64 {
    median(&turns.iter().map(of).collect::<Vec<_>>()).map_or(0.0, |median| median.value)
}

/// The programs that are compared: ours, the build beside it, and these, unless it is to be alone.
pub(super) fn programs(bench: &Bench, args: &DnsArgs, peers: &[Program]) -> Vec<Program> {
    let mut programs = vec![Program::Bowline];
    programs.extend(bench.beside.as_ref().map(|_| Program::Beside));
    programs.extend(peers.iter().filter(|_| !args.alone));
    programs
}

/// The bare socket loop: what the kernel leaves to anybody.
pub(super) struct Bare {
    running: Running,
    questions: PathBuf,
    turns: Vec<Summary>,
}

impl Bare {
    pub(super) fn start(bench: &Bench, lab: &Lab) -> Result<Bare> {
        let place = Place::machine(lab)?;
        let questions = lab.folder("bare")?.join("questions");
        let names: String =
            (0..8_200).map(|n| format!("web-{n}.shop-{}.svc.cluster.local. A NOERROR\n", n % 100)).collect();
        std::fs::write(&questions, names)?;
        let running = Running::start(bench, Program::Bare, &place, "", &message("a", 1), |answer| !answer.is_empty())?;
        Ok(Bare { running, questions, turns: Vec::new() })
    }

    /// Questions a second and core; asked for now where nobody took turns with it.
    pub(super) fn end(mut self, bench: &Bench, args: &DnsArgs, table: &mut Table) -> Result<()> {
        if self.turns.is_empty() {
            let load = (&self.running, &*self.questions);
            let demand = Demand::of(CLIENTS, args.seconds, None);
            self.turns = in_turns(bench, &[load], demand)?.pop().unwrap_or_default();
        }
        let qps = thousands(middle(&self.turns, per_core));
        table.add(Row::plain("bare socket loop, questions a second and core", qps, "the limit for all"));
        self.running.stop()
    }
}

/// What was measured of a server on the cluster's names.
struct Measured {
    program: Program,
    /// Seconds from its start to the first right answer.
    first: f64,
    memory: Memory,
    /// As many questions as are answered, still, by kind.
    rates: Vec<(Kind, Vec<Summary>)>,
    /// At a fixed rate.
    latency: Vec<Summary>,
    with_changes: Option<Summary>,
    late: Lateness,
}

/// Until a change is answered, in milliseconds, sorted.
#[derive(Default)]
struct Lateness {
    /// Since the API server has said that it is written.
    since_write: Vec<f64>,
    /// Since another watch of that server told of it.
    since_watch: Vec<f64>,
}

impl Lateness {
    fn of(times: &[f64]) -> String {
        let at = |share| percentile(times, share).unwrap_or_default();
        format!("p50 {:.2}, p99 {:.2} ms of {}", at(0.5), at(0.99), times.len())
    }
}

impl Measured {
    fn loads(&self) -> impl Iterator<Item = &Summary> {
        self.rates.iter().flat_map(|(_, turns)| turns).chain(&self.latency).chain(&self.with_changes)
    }

    fn rate(&self, kind: Kind) -> Option<f64> {
        let (_, turns) = self.rates.iter().find(|(other, _)| *other == kind)?;
        Some(middle(turns, per_core))
    }
}

/// Names of the cluster.
pub(super) fn cluster(bench: &Bench, args: &DnsArgs, scene: &Scene, bare: &mut Bare, table: &mut Table) -> Result<()> {
    let mut all = Vec::new();
    for program in programs(bench, args, &[Program::Coredns]) {
        all.push(by_itself(bench, args, scene, program).with_context(|| program.name())?);
    }
    if args.parts.contains(&Part::Cluster) {
        side_by_side(bench, args, scene, bare, &mut all)?;
    }
    report(scene, bare, &all, table);
    Ok(())
}

fn start(bench: &Bench, scene: &Scene, program: Program) -> Result<Running> {
    let corefile = KUBEADM.replace("KUBECONFIG", &scene.api.admin().display().to_string());
    let probe = message(&Scene::name(0), 1);
    let ip = crate::sources::objects::address(0).ip();
    Running::start(bench, program, &scene.place, &corefile, &probe, |answer| ends_with(answer, ip))
}

/// What depends on nobody else running: memory, start, changes.
fn by_itself(bench: &Bench, args: &DnsArgs, scene: &Scene, program: Program) -> Result<Measured> {
    bench.go_on(&format!("{}: {}", program.name(), scene.what()))?;
    let mut starts: Vec<(f64, Memory)> = Vec::new();
    let running = loop {
        let running = start(bench, scene, program)?;
        // Memory after the first list has settled.
        std::thread::sleep(Duration::from_secs(2));
        starts.push((running.first.as_secs_f64(), running.memory()?));
        if starts.len() == bench.pick(STARTS, 1) {
            break running;
        }
        running.stop()?;
    };
    let of = |number: &dyn Fn(&(f64, Memory)) -> f64| {
        median(&starts.iter().map(number).collect::<Vec<_>>()).map_or(0.0, |median| median.value)
    };
    let first = of(&|(first, _)| *first);
    let memory = Memory { resident: of(&|(_, memory)| memory.resident), own: of(&|(_, memory)| memory.own) };
    let (mut with_changes, mut late) = (None, Lateness::default());
    if args.parts.contains(&Part::Changes) {
        late = lateness(scene, running.address, bench.pick(200, 20))?;
        with_changes = Some(changing(args, scene, &running, &scene.questions(Kind::A)?)?);
    }
    running.stop()?;
    Ok(Measured { program, first, memory, rates: Vec::new(), latency: Vec::new(), with_changes, late })
}

/// Rates and latency: all run, and are asked in turns.
fn side_by_side(bench: &Bench, args: &DnsArgs, scene: &Scene, bare: &mut Bare, all: &mut [Measured]) -> Result<()> {
    let running: Vec<Running> = all.iter().map(|m| start(bench, scene, m.program)).collect::<Result<_>>()?;
    for kind in Kind::ALL {
        bench.go_on(&format!("{}, in turns", kind.name()))?;
        let questions = scene.questions(kind)?;
        let mut loads: Vec<_> = running.iter().map(|server| (server, &*questions)).collect();
        if kind == Kind::A {
            loads.push((&bare.running, &bare.questions));
        }
        let mut turns = in_turns(bench, &loads, Demand::of(CLIENTS, args.seconds, None))?;
        if kind == Kind::A {
            bare.turns = turns.pop().unwrap_or_default();
        }
        all.iter_mut().zip(turns).for_each(|(measured, turns)| measured.rates.push((kind, turns)));
    }
    bench.go_on("latency, in turns")?;
    let questions = scene.questions(Kind::A)?;
    let loads: Vec<_> = running.iter().map(|server| (server, &*questions)).collect();
    let turns = in_turns(bench, &loads, Demand::of(CLIENTS, args.seconds, Some(RATE)))?;
    all.iter_mut().zip(turns).for_each(|(measured, turns)| measured.latency = turns);
    running.into_iter().try_for_each(Running::stop)
}

fn report(scene: &Scene, bare: &Bare, all: &[Measured], table: &mut Table) {
    let [ours, peers @ ..] = all else { return };
    let peer = peers.iter().find(|peer| peer.program == Program::Coredns);
    let beside = peers.iter().find(|peer| peer.program == Program::Beside);
    let of_peer = |number: &dyn Fn(&Measured) -> String| {
        peer.map_or(String::new(), |peer| format!("{} {}", peer.program.name(), number(peer)))
    };
    // The row of the build beside, for a number of which less is better.
    let less = |table: &mut Table, shown: &dyn Fn(&Measured) -> String, number: &dyn Fn(&Measured) -> f64| {
        if let Some(beside) = beside {
            table.add(Row::beside(shown(beside), number(beside) / number(ours)));
        }
    };
    let limit = middle(&bare.turns, per_core);
    for (kind, _) in &ours.rates {
        let rate = ours.rate(*kind).unwrap_or_default();
        let theirs = peer.and_then(|peer| peer.rate(*kind));
        let reference = theirs.map_or(String::new(), |theirs| {
            format!("CoreDNS {}: {:.1} x; {:.2} of the bare loop", thousands(theirs), rate / theirs, rate / limit)
        });
        let row = Row::plain(format!("{}, a second and core", kind.name()), thousands(rate), reference);
        let enough = theirs.is_none_or(|theirs| rate / theirs >= GOAL_RATIO);
        table.add(match kind {
            Kind::A => row.goal("180k, 8 x CoreDNS", enough && rate >= GOAL_A),
            // kubeadm's Corefile has CoreDNS keep these: it answers from its cache.
            Kind::Ptr => row,
            _ => row.goal("8 x CoreDNS", enough),
        });
        if let Some(theirs) = beside.and_then(|beside| beside.rate(*kind)) {
            table.add(Row::beside(thousands(theirs), rate / theirs));
        }
    }
    if !ours.latency.is_empty() {
        let at = |m: &Measured, of: fn(&Summary) -> f64| middle(&m.latency, of);
        let percentiles = |m: &Measured| {
            let (p50, p99, p999) = (at(m, |load| load.p50), at(m, |load| load.p99), at(m, |load| load.p999));
            format!("p50 {p50:.0}, p99 {p99:.0}, p99.9 {p999:.0} us")
        };
        let row = Row::plain("latency of A at 15k a second", percentiles(ours), of_peer(&percentiles));
        let met = peer.is_none_or(|peer| at(ours, |load| load.p99) * 5.0 <= at(peer, |load| load.p99));
        table.add(row.goal("p99 1/5 of CoreDNS's", met));
        less(table, &percentiles, &|m| at(m, |load| load.p50));
    }
    let own = |m: &Measured| format!("{:.1} MB", m.memory.own);
    let row = Row::plain(format!("memory of its own (RssAnon), {}", scene.what()), own(ours), of_peer(&own));
    table.add(row.goal("40 MB", ours.memory.own <= GOAL_MEMORY));
    less(table, &own, &|m| m.memory.own);
    let resident = |m: &Measured| format!("{:.1} MB", m.memory.resident);
    table.add(Row::plain("with pages of the program file (VmRSS)", resident(ours), of_peer(&resident)));
    less(table, &resident, &|m| m.memory.resident);
    let first = |m: &Measured| format!("{:.2} s", m.first);
    table.add(Row::plain("start to the first right answer, from the API server", first(ours), of_peer(&first)));
    less(table, &first, &|m| m.first);
    if ours.with_changes.is_some() {
        let rate = |m: &Measured| m.with_changes.as_ref().map_or(String::new(), |load| thousands(per_core(load)));
        table.add(Row::plain("A with 100 changes a second", rate(ours), of_peer(&rate)));
        less(table, &rate, &|m| m.with_changes.as_ref().map_or(0.0, |load| 1.0 / per_core(load)));
        let since_write = |m: &Measured| Lateness::of(&m.late.since_write);
        table.add(Row::plain("API write answered -> new answer", since_write(ours), of_peer(&since_write)));
        less(table, &since_write, &|m| percentile(&m.late.since_write, 0.5).unwrap_or_default());
        let since_watch = |m: &Measured| Lateness::of(&m.late.since_watch);
        let row = Row::plain("a watch of the API tells -> new answer", since_watch(ours), of_peer(&since_watch));
        let p99 = percentile(&ours.late.since_watch, 0.99).unwrap_or_default();
        table.add(row.goal("p99 1 ms", p99 <= GOAL_LATE));
        less(table, &since_watch, &|m| percentile(&m.late.since_watch, 0.5).unwrap_or_default());
    }
    let lost = |m: &Measured| {
        let count = |of: fn(&Summary) -> u64| m.loads().map(of).sum::<u64>();
        format!("{} of {}", count(|load| load.lost), count(|load| load.sent))
    };
    table.add(Row::plain("without an answer within 2 s, of all asked", lost(ours), of_peer(&lost)));
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
        let summary = ask(running, questions, Demand::of(CLIENTS, args.seconds, None));
        done.store(true, Ordering::Relaxed);
        writing.join().map_err(|_| anyhow::anyhow!("the writer has panicked"))??;
        summary
    })
}

/// How long it takes until a change is answered.
fn lateness(scene: &Scene, server: SocketAddr, times: usize) -> Result<Lateness> {
    let index = scene.headless().next().context("no headless Service")?;
    let slice = scene.change(index, &scene.addresses(index))?;
    let watch = Watch::start(&scene.api.admin(), slice.namespace.as_deref().unwrap_or_default(), &slice.name)?;
    let socket = UdpSocket::bind((scene.place.address(), 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let question = message(&Scene::name(index), 1);
    let mut answer = [0; 4096];
    let mut late = Lateness::default();
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
        let answered = Instant::now();
        let told = watch.saw(&format!("\"{new}\""))?;
        let milliseconds = |since: Instant| answered.saturating_duration_since(since).as_secs_f64() * 1e3;
        late.since_write.push(milliseconds(written));
        late.since_watch.push(milliseconds(told));
        std::thread::sleep(Duration::from_millis(20));
    }
    scene.writer.replace(&slice)?;
    late.since_write.sort_by(f64::total_cmp);
    late.since_watch.sort_by(f64::total_cmp);
    Ok(late)
}

/// Names that are forwarded: from the cache, and asked each time.
pub(super) fn forwarded(bench: &Bench, args: &DnsArgs, lab: &Lab, table: &mut Table) -> Result<()> {
    let place = Place::machine(lab)?;
    let folder = lab.folder("forwarded")?;
    let upstream = super::servers::Upstream::start(&place, &folder)?;
    let (hit, miss) = (folder.join("hit"), folder.join("miss"));
    let kept: String = (0..1000).map(|n| format!("www-{n}.names.test. A NOERROR 192.0.2.1\n")).collect();
    std::fs::write(&hit, kept)?;
    std::fs::write(&miss, "????????????.names.test. A NOERROR 192.0.2.1\n")?;
    let mut running = Vec::new();
    for program in programs(bench, args, &[Program::Coredns, Program::Unbound]) {
        let configuration = upstream.configuration(program);
        let probe = message("www-0.names.test", 1);
        let right = [192, 0, 2, 1];
        running.push(Running::start(bench, program, &place, &configuration, &probe, |answer| {
            answer.windows(right.len()).any(|window| window == right)
        })?);
    }
    let what = [
        ("forwarded, in the cache, a second and core", &hit, CLIENTS),
        ("forwarded, asked each time, a second and core", &miss, MISSING),
    ];
    // Every name once, so that all are there.
    let once = Demand::of(CLIENTS, 1.0, Some(5_000.0));
    running.iter().try_for_each(|server| ask(server, &hit, once).map(drop))?;
    for (what, questions, clients) in what {
        bench.go_on(&format!("{what}, in turns"))?;
        let loads: Vec<_> = running.iter().map(|server| (server, &**questions)).collect();
        let turns = in_turns(bench, &loads, Demand::of(clients, args.seconds, None))?;
        let rates: Vec<f64> = turns.iter().map(|turns| middle(turns, per_core)).collect();
        let Some(ours) = rates.first() else { continue };
        let all: Vec<_> = running.iter().map(|server| server.program).zip(rates.iter().copied()).skip(1).collect();
        let peers: Vec<_> = all.iter().filter(|(program, _)| *program != Program::Beside).collect();
        let names = peers.iter().map(|(program, rate)| format!("{} {}", program.name(), thousands(*rate)));
        let row = Row::plain(what, thousands(*ours), names.collect::<Vec<_>>().join(", "));
        table.add(row.goal("ahead", peers.iter().all(|(_, peer)| ours > peer)));
        if let Some((_, theirs)) = all.iter().find(|(program, _)| *program == Program::Beside) {
            table.add(Row::beside(thousands(*theirs), ours / theirs));
        }
    }
    running.into_iter().try_for_each(Running::stop)
}
