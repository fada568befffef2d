//! How long it takes to read a big cluster from etcd, how much memory that takes, and how late a change comes.
//!
//! `cargo run --release -p bowline-cluster --example etcd -- fill etcd:URL [SERVICES]` writes Services with one
//! EndpointSlice of ten endpoints each; `… -- follow etcd:URL [CHANGES]` reads them, in a process of its own so
//! that its peak of memory is the source's, and then changes slices one by one.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bowline_cluster::source::{Sink, Source, Stop, Update};
use bowline_cluster::state::{Options, State};
use bowline_etcd::Location;
use bowline_sources::etcd::Etcd;
use etcd_client::{Txn, TxnOp};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (Some(what), Some(location)) = (args.first(), args.get(1)) else {
        return Err("usage: etcd fill|follow etcd:URL [COUNT]".into());
    };
    let location: Location = location.parse()?;
    let count = |default| args.get(2).map_or(Ok(default), |n| n.parse());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match what.as_str() {
        "fill" => runtime.block_on(fill(&location, count(10_000)?)),
        _ => follow(&location, count(1000)?, &runtime),
    }
}

async fn fill(location: &Location, services: usize) -> Result<(), Failure> {
    let connection = location.connect().await?;
    let numbers: Vec<usize> = (0..services).collect();
    for chunk in numbers.chunks(50) {
        let puts: Vec<TxnOp> = chunk.iter().flat_map(|n| [service(location, *n), slice(location, *n, 1)]).collect();
        connection.client.kv_client().txn(Txn::new().and_then(puts)).await?;
    }
    println!("{services} Services written");
    Ok(())
}

fn service(location: &Location, n: usize) -> TxnOp {
    let text = format!(
        r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"s-{n}","namespace":"default","labels":{{"app":"s-{n}"}}}},"spec":{{"clusterIP":"10.{}.{}.{}","clusterIPs":["10.{0}.{1}.{2}"],"type":"ClusterIP","selector":{{"app":"s-{n}"}},"ports":[{{"name":"http","port":80,"protocol":"TCP","targetPort":8080}}]}}}}"#,
        96 + n / 62_500,
        n / 250 % 250,
        n % 250 + 1
    );
    TxnOp::put(location.keys().any_object("services", "default", &format!("s-{n}")), text, None)
}

fn slice(location: &Location, n: usize, version: usize) -> TxnOp {
    let mut endpoints = String::new();
    for e in 0..10 {
        let _ = write!(
            endpoints,
            r#"{}{{"addresses":["10.{}.{}.{}"],"conditions":{{"ready":true,"serving":true,"terminating":false}},"nodeName":"node-{}","targetRef":{{"kind":"Pod","name":"s-{n}-{e}","namespace":"default"}},"zone":"zone-{}"}}"#,
            if e == 0 { "" } else { "," },
            128 + (n * 10 + e) / 62_500,
            (n * 10 + e) / 250 % 250,
            (n * 10 + e) % 250 + 1,
            (n + e) % 100,
            e % 3
        );
    }
    let text = format!(
        r#"{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{{"name":"s-{n}-x","namespace":"default","labels":{{"kubernetes.io/service-name":"s-{n}","version":"{version}"}}}},"addressType":"IPv4","ports":[{{"name":"http","port":{},"protocol":"TCP"}}],"endpoints":[{endpoints}]}}"#,
        8000 + version % 50_000
    );
    TxnOp::put(location.keys().any_object("endpointslices", "default", &format!("s-{n}-x")), text, None)
}

/// Applies what it is given, and says when it got it.
struct Measuring {
    state: Mutex<State>,
    arrived: Sender<(Instant, Instant)>,
}

impl Sink for Measuring {
    fn update(&self, update: Update) {
        let given = Instant::now();
        match &update {
            Update::Away(reason) => eprintln!("away: {reason}"),
            Update::Problems(problems) => eprintln!("problems: {problems:?}"),
            _ => {}
        }
        let is_changes = matches!(update, Update::All(_) | Update::Some { .. });
        self.state.lock().unwrap_or_else(PoisonError::into_inner).apply(update);
        if is_changes {
            let _ = self.arrived.send((given, Instant::now()));
        }
    }
}

fn follow(location: &Location, changes: usize, runtime: &tokio::runtime::Runtime) -> Result<(), Failure> {
    let before = status_kb("VmRSS:")?;
    let (arrived, arrivals) = channel();
    let state = State::new(Options { complete: true, ..Options::default() });
    let sink = Measuring { state: Mutex::new(state), arrived };
    let stop = Stop::default();
    let result = std::thread::scope(|scope| {
        let start = Instant::now();
        let (mut source, sink, stop_too) = (Etcd::new(location.clone()), &sink, stop.clone());
        scope.spawn(move || source.run(sink, &stop_too));
        let result = measure(location, changes, runtime, before, start, &arrivals);
        stop.stop();
        result
    });
    let snapshot = sink.state.lock().unwrap_or_else(PoisonError::into_inner).snapshot();
    println!("in the snapshot: {} Services, {} slices", snapshot.services.len(), snapshot.slices.len());
    result
}

fn measure(
    location: &Location,
    changes: usize,
    runtime: &tokio::runtime::Runtime,
    before: u64,
    start: Instant,
    arrivals: &Receiver<(Instant, Instant)>,
) -> Result<(), Failure> {
    let (given, done) = arrivals.recv_timeout(Duration::from_secs(60))?;
    println!("read and parsed in {} ms, applied {} ms later", (given - start).as_millis(), (done - given).as_millis());
    println!("VmRSS {before} kB before, {} kB after, VmHWM {} kB", status_kb("VmRSS:")?, status_kb("VmHWM:")?);
    let connection = runtime.block_on(location.connect())?;
    let (mut from_put, mut from_answer) = (Vec::new(), Vec::new());
    for n in 0..changes {
        let put = Txn::new().and_then([slice(location, n % 1000, n + 2)]);
        let begun = Instant::now();
        runtime.block_on(connection.client.kv_client().txn(put))?;
        let answered = Instant::now();
        let (given, _) = arrivals.recv_timeout(Duration::from_secs(10))?;
        from_put.push(given - begun);
        from_answer.push(given.saturating_duration_since(answered));
    }
    for (what, mut times) in [("put begun", from_put), ("put answered", from_answer)] {
        times.sort();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default().as_micros();
        println!("{what} -> Update given to the sink: p50 {} us, p99 {} us, of {}", at(50), at(99), times.len());
    }
    Ok(())
}

fn status_kb(field: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
