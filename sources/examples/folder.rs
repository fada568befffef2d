//! How long it takes to read a big folder, and how much memory that leaves in use.
//!
//! `cargo run --release -p bowline-cluster --example folder -- FORMAT LAYOUT [SERVICES]`, where FORMAT is
//! `yaml` or `json`, and LAYOUT `one` (all in one file), `list` (all in one `kind: List`) or `many` (a
//! file for each Service). Ten endpoints a Service, as kubectl prints them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bowline_cluster::source::{Sink, Source, Stop, Update};
use bowline_cluster::state::{Options, State};
use bowline_sources::files::Files;

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
    let (Some(format), Some(layout)) = (args.first(), args.get(1)) else {
        return Err("usage: folder yaml|json one|list|many [SERVICES]".into());
    };
    let services = args.get(2).map_or(Ok(10_000), |n| n.parse())?;
    let dir = tempfile::tempdir()?;
    let bytes = generate(dir.path(), format, layout, services)?;
    println!("{services} Services, {} MB of {format}, {layout}", bytes / 1_000_000);
    let before = resident_kb()?;

    let (applied, arrivals) = channel();
    let sink = Measuring { state: Mutex::new(State::new(Options { complete: true, ..Options::default() })), applied };
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let start = Instant::now();
        let (mut files, sink, stop_too) = (Files::new(dir.path().to_path_buf()), &sink, stop.clone());
        scope.spawn(move || files.run(sink, &stop_too));
        let result = measure(start, before, dir.path(), format, layout, services, &arrivals);
        stop.stop();
        result
    })?;
    let snapshot = lock(&sink.state).snapshot();
    println!("in the snapshot: {} Services, {} slices", snapshot.services.len(), snapshot.slices.len());
    Ok(())
}

fn measure(
    start: Instant,
    before: u64,
    dir: &Path,
    format: &str,
    layout: &str,
    services: usize,
    arrivals: &std::sync::mpsc::Receiver<Arrival>,
) -> Result<(), Failure> {
    let first = arrivals.recv_timeout(Duration::from_secs(60))?;
    println!(
        "read and parsed {} ms, applied {} ms later",
        (first.given - start).as_millis(),
        (first.done - first.given).as_millis()
    );
    std::thread::sleep(Duration::from_millis(200));
    println!("VmRSS {} kB before, {} kB after, peak {} kB", before, resident_kb()?, status_kb("VmHWM:")?);
    let mut times = Vec::new();
    for round in 0..if layout == "many" { 200 } else { 10 } {
        let changed = services / 2 + round;
        let path =
            if layout == "many" { dir.join(file_name(changed, format)) } else { dir.join(format!("all.{format}")) };
        let old = fs::read_to_string(&path)?;
        let address = endpoint(changed, 3);
        let new = old.replacen(&address, &format!("10.200.{}.{}", round / 250, round % 250 + 1), 1);
        let temporary = dir.join(".next");
        fs::write(&temporary, new)?;
        let renamed = Instant::now();
        fs::rename(&temporary, &path)?;
        let arrival = arrivals.recv_timeout(Duration::from_secs(60))?;
        let Some(read_at) = arrival.read_at else { return Err("the change came as a whole listing".into()) };
        times.push((arrival.done - read_at, arrival.done - renamed));
    }
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!(
        "one endpoint changed, event read -> applied: p50 {:?}, p99 {:?}; from the rename: p50 {:?}",
        at(50).0,
        at(99).0,
        at(50).1
    );
    println!("VmRSS {} kB then", resident_kb()?);
    Ok(())
}

struct Arrival {
    read_at: Option<Instant>,
    given: Instant,
    done: Instant,
}

struct Measuring {
    state: Mutex<State>,
    applied: Sender<Arrival>,
}

impl Sink for Measuring {
    fn update(&self, update: Update) {
        let given = Instant::now();
        let read_at = match &update {
            Update::Some { read_at, .. } => Some(*read_at),
            Update::All(_) => None,
            other => return println!("{other:?}"),
        };
        lock(&self.state).apply(update);
        // Nobody listens any more at the end.
        let _ = self.applied.send(Arrival { read_at, given, done: Instant::now() });
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn resident_kb() -> Result<u64, Failure> {
    status_kb("VmRSS:")
}

fn status_kb(field: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn file_name(service: usize, format: &str) -> String {
    format!("service-{service:05}.{format}")
}

fn endpoint(service: usize, index: usize) -> String {
    let number = service * 10 + index;
    format!("10.{}.{}.{}", 128 + (number >> 16), (number >> 8) & 255, number & 255)
}

/// Writes the folder; returns its size. File by file, so that little stays in memory.
fn generate(dir: &Path, format: &str, layout: &str, services: usize) -> Result<usize, Failure> {
    use std::io::Write as _;
    let mut bytes = 0;
    let mut all = (layout != "many").then(|| fs::File::create(dir.join(format!("all.{format}")))).transpose()?;
    let mut text = String::new();
    for service in 0..services {
        let objects = if format == "yaml" { yaml(service) } else { json(service) };
        text.clear();
        match (format, layout) {
            ("yaml", "list") => {
                if service == 0 {
                    text.push_str("apiVersion: v1\nitems:\n");
                }
                for object in objects {
                    text.push_str("- ");
                    text.push_str(object.trim_end().replace('\n', "\n  ").as_str());
                    text.push('\n');
                }
                if service == services - 1 {
                    text.push_str("kind: List\nmetadata:\n  resourceVersion: \"\"\n");
                }
            }
            ("yaml", _) => objects.iter().for_each(|object| {
                text.push_str("---\n");
                text.push_str(object);
            }),
            (_, "list") => {
                text.push_str(if service == 0 { "{\n\"apiVersion\": \"v1\",\n\"items\": [\n" } else { ",\n" });
                text.push_str(&objects.join(",\n"));
                if service == services - 1 {
                    text.push_str("],\n\"kind\": \"List\"\n}\n");
                }
            }
            _ => text.push_str(&objects.concat()),
        }
        bytes += text.len();
        match &mut all {
            Some(all) => all.write_all(text.as_bytes())?,
            None => fs::write(dir.join(file_name(service, format)), &text)?,
        }
    }
    Ok(bytes)
}

fn yaml(service: usize) -> [String; 2] {
    let address = format!("10.96.{}.{}", service / 250, service % 250 + 1);
    let first = format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  creationTimestamp: \"2026-03-01T10:00:00Z\"\n  labels:\n    app: web-{service}\n  name: web-{service}\n  namespace: shop-{}\n  resourceVersion: \"{service}01\"\n  uid: 3f2b6c1e-7a54-4c0b-9a57-0a1b2c3{service:05}\nspec:\n  clusterIP: {address}\n  clusterIPs:\n  - {address}\n  internalTrafficPolicy: Cluster\n  ipFamilies:\n  - IPv4\n  ipFamilyPolicy: SingleStack\n  ports:\n  - name: http\n    port: 80\n    protocol: TCP\n    targetPort: 8080\n  selector:\n    app: web-{service}\n  sessionAffinity: None\n  type: ClusterIP\nstatus:\n  loadBalancer: {{}}\n",
        service % 100
    );
    let mut second = String::from("addressType: IPv4\napiVersion: discovery.k8s.io/v1\nendpoints:\n");
    for index in 0..10 {
        let node = (service + index) % 500;
        let _ = write!(
            second,
            "- addresses:\n  - {}\n  conditions:\n    ready: true\n    serving: true\n    terminating: false\n  nodeName: node-{node}\n  targetRef:\n    kind: Pod\n    name: web-{service}-6d4cf56db6-{index:05}\n    namespace: shop-{}\n    uid: 8c1d6f0a-1b2c-4d3e-8f90-{service:06}{index:06}\n  zone: zone-{}\n",
            endpoint(service, index),
            service % 100,
            node % 3
        );
    }
    let _ = write!(
        second,
        "kind: EndpointSlice\nmetadata:\n  creationTimestamp: \"2026-03-01T10:00:01Z\"\n  labels:\n    endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io\n    kubernetes.io/service-name: web-{service}\n  name: web-{service}-x7k2p\n  namespace: shop-{}\n  resourceVersion: \"{service}02\"\n  uid: 5e8d7c6b-1a2b-4c3d-9e8f-0a1b2c3{service:05}\nports:\n- name: http\n  port: 8080\n  protocol: TCP\n",
        service % 100
    );
    [first, second]
}

fn json(service: usize) -> [String; 2] {
    let address = format!("10.96.{}.{}", service / 250, service % 250 + 1);
    let namespace = format!("shop-{}", service % 100);
    let first = serde_json::json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "creationTimestamp": "2026-03-01T10:00:00Z", "labels": {"app": format!("web-{service}")},
            "name": format!("web-{service}"), "namespace": namespace, "resourceVersion": format!("{service}01"),
            "uid": format!("3f2b6c1e-7a54-4c0b-9a57-0a1b2c3{service:05}"),
        },
        "spec": {
            "clusterIP": address, "clusterIPs": [address], "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
            "selector": {"app": format!("web-{service}")}, "sessionAffinity": "None", "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    });
    let endpoints: Vec<_> = (0..10)
        .map(|index| {
            let node = (service + index) % 500;
            serde_json::json!({
                "addresses": [endpoint(service, index)],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": format!("node-{node}"),
                "targetRef": {
                    "kind": "Pod", "name": format!("web-{service}-6d4cf56db6-{index:05}"), "namespace": namespace,
                    "uid": format!("8c1d6f0a-1b2c-4d3e-8f90-{service:06}{index:06}"),
                },
                "zone": format!("zone-{}", node % 3),
            })
        })
        .collect();
    let second = serde_json::json!({
        "addressType": "IPv4", "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "endpoints": endpoints,
        "metadata": {
            "creationTimestamp": "2026-03-01T10:00:01Z",
            "labels": {
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": format!("web-{service}"),
            },
            "name": format!("web-{service}-x7k2p"), "namespace": namespace, "resourceVersion": format!("{service}02"),
            "uid": format!("5e8d7c6b-1a2b-4c3d-9e8f-0a1b2c3{service:05}"),
        },
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    });
    [first, second].map(|object| format!("{}\n", serde_json::to_string_pretty(&object).unwrap_or_default()))
}
