//! A node with six Services, whose servers say who they are, and storms over all of them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bowline_lab::{Lab, Mode, Node, Pod, Process, Report, Storm, StormArgs, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);
/// An environment variable with the path of another `bowline`, which takes the turns of the other layout.
const BESIDE: &str = "BOWLINE_TEST_BESIDE";
/// Servers of each Service.
const SERVERS: usize = 4;

/// Repeatable numbers (xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `n`; 0 where `n` is 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        if n == 0 { 0 } else { self.0 % n }
    }
}

struct Service {
    name: &'static str,
    udp: bool,
    affinity: bool,
    v6: bool,
    /// Its servers never change: clients stay on one connection, or one socket, all the time.
    steady: bool,
    /// Which servers are in the manifest.
    on: [bool; SERVERS],
}

impl Service {
    fn vip(&self) -> SocketAddr {
        let last = self.name.as_bytes()[0];
        if self.v6 {
            SocketAddr::new(format!("fd00:10:96::{last:x}").parse().unwrap(), 80)
        } else {
            SocketAddr::new([10, 96, 1, last].into(), 80)
        }
    }
}

/// All storms of a test.
pub(crate) struct Storms(Vec<Storm>);

impl Storms {
    fn each(&self, say: impl Fn(&Storm) -> Result<()>) -> Result<()> {
        self.0.iter().try_for_each(say)
    }

    /// Waits until each storm has got so many more answers.
    pub(crate) fn wait_for_more(&self, answers: u64) -> Result<()> {
        self.each(|s| s.wait_for_more(answers))
    }

    /// Ends all; an error tells what failed, and a summary what was done.
    pub(crate) fn finish_without_failure(self) -> Result<String> {
        let reports: Vec<Report> = self.0.into_iter().map(Storm::finish).collect::<Result<_>>()?;
        let mut summary = Vec::new();
        for report in reports {
            ensure!(report.failed == 0, "{} failures: {:#?}", report.failed, report.failures);
            summary.push(format!("{} connects ({} answers)", report.connects, report.answers));
        }
        Ok(summary.join(", "))
    }
}

/// What has been written and is not yet known to be in the kernel.
enum Pending {
    Removed(String),
}

/// The ground of a test.
pub(crate) struct Ground {
    services: Vec<Service>,
    random: Random,
    folder: PathBuf,
    agent: Option<Process>,
    metrics: SocketAddr,
    health: SocketAddr,
    pending: Vec<Pending>,
    _servers: Vec<Process>,
    client: Pod,
    server: Pod,
    node: Node,
    lab: Lab,
}

impl Ground {
    /// A lab with one node, servers running, manifests written; no agent yet.
    pub(crate) fn new(tag: &str, number: u8) -> Result<Ground> {
        let lab = Lab::new(tag)?;
        let node = lab.node("node")?;
        let (server, client) = (node.pod("server")?, node.pod("client")?);
        let make = |name| Service { name, udp: false, affinity: false, v6: false, steady: false, on: [true; SERVERS] };
        let services = vec![
            make("a"),
            Service { affinity: true, ..make("b") },
            Service { udp: true, ..make("c") },
            Service { v6: true, ..make("d") },
            Service { steady: true, ..make("e") },
            Service { steady: true, udp: true, ..make("f") },
        ];
        let mut servers = Vec::new();
        for service in &services {
            for n in 0..SERVERS {
                let id = format!("{}-{n}", service.name);
                let port = port(service.name, n);
                let at = if service.v6 { server.address6(port) } else { server.address(port) };
                let (tcp, udp) = if service.udp { (vec![], vec![at]) } else { (vec![at], vec![]) };
                servers.push(server.serve(&id, &tcp, &udp)?);
            }
        }
        let folder = lab.folder("state")?;
        // Each test its own ports, since they run at the same time in one namespace.
        let port = 21_000 + u16::from(number) * 10;
        // Now and not under the storm, which leaves a compiler little time.
        next_agent()?;
        let ground = Ground {
            services,
            random: Random(0x9e37_79b9 + u64::from(number)),
            folder,
            agent: None,
            metrics: ([127, 0, 0, 1], port).into(),
            health: ([127, 0, 0, 1], port + 1).into(),
            pending: Vec::new(),
            _servers: servers,
            client,
            server,
            node,
            lab,
        };
        for index in 0..ground.services.len() {
            ground.write(index)?;
        }
        Ok(ground)
    }

    fn write(&self, index: usize) -> Result<()> {
        let s = &self.services[index];
        let (family, protocol) = (if s.v6 { "IPv6" } else { "IPv4" }, if s.udp { "UDP" } else { "TCP" });
        let affinity = if s.affinity { "ClientIP" } else { "None" };
        let address = if s.v6 { self.server.address6(0).ip() } else { self.server.address(0).ip() };
        let mut text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {0}}}\nspec:\n  clusterIP: \"{1}\"\n  ipFamilies: [{family}]\n  \
             sessionAffinity: {affinity}\n  ports: [{{port: 80, protocol: {protocol}, name: p}}]\n",
            s.name,
            s.vip().ip()
        );
        // A slice a server, since all of them have one address.
        for n in (0..SERVERS).filter(|n| s.on[*n]) {
            text += &format!(
                "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {0}-{n}\n  \
                 labels: {{kubernetes.io/service-name: {0}}}\naddressType: {family}\nendpoints: [{{addresses: [\"{address}\"]}}]\n\
                 ports: [{{name: p, protocol: {protocol}, port: {1}}}]\n",
                s.name,
                port(s.name, n)
            );
        }
        let temporary = self.folder.join(format!(".{}", s.name));
        fs::write(&temporary, text)?;
        fs::rename(&temporary, self.folder.join(format!("{}.yaml", s.name)))?;
        Ok(())
    }

    /// Starts an agent, of the other layout if `next`, and waits until it is ready.
    pub(crate) fn start_agent(&mut self, next: bool) -> Result<()> {
        self.agent = Some(self.spawn(next)?);
        let health = self.health;
        wait_for("the agent is ready", PATIENCE, || get(health, "/readyz").is_ok_and(|page| page == "ok\n"))
    }

    fn spawn(&self, next: bool) -> Result<Process> {
        let binary = if next { next_agent()? } else { PathBuf::from(env!("CARGO_BIN_EXE_bowline")) };
        let mut command = Command::new(binary);
        command
            .args(["node", "-v", "0", "--state", &format!("files:{}", self.folder.display())])
            .args(["--metrics-bind-address", &self.metrics.to_string()])
            .args(["--healthz-bind-address", &self.health.to_string()])
            .arg("--cgroup-root")
            .arg(self.node.cgroup())
            .arg("--bpf-root")
            .arg(self.node.bpf_root())
            .stdin(Stdio::null());
        self.node.spawn(&mut command)
    }

    /// kill -9, after so many microseconds.
    pub(crate) fn kill_agent_after(&mut self, microseconds: u64) -> Result<()> {
        // A random moment is what is wanted here, not a condition.
        std::thread::sleep(Duration::from_micros(microseconds));
        self.agent.take().context("no agent runs")?.kill()
    }

    /// Starts an agent and kills it while it starts.
    pub(crate) fn start_agent_and_kill_it_after(&mut self, microseconds: u64, next: bool) -> Result<()> {
        self.agent = Some(self.spawn(next)?);
        self.kill_agent_after(microseconds)
    }

    /// Storms over all Services; over the steady ones only if `steady`.
    pub(crate) fn storms(&self, steady: bool) -> Result<Storms> {
        let args = |wanted: &dyn Fn(&Service) -> bool| {
            let chosen = self.services.iter().filter(|s| wanted(s));
            chosen.fold(StormArgs::new(), |args, s| args.target(s.vip(), s.name))
        };
        let start = |args: StormArgs| Storm::start(&self.client, &args);
        let mut storms = vec![
            start(args(&|s| !s.udp && !s.affinity && !s.steady))?,
            start(args(&|s| s.affinity).affinity())?,
            start(args(&|s| s.udp && !s.steady).mode(Mode::Udp))?,
            start(args(&|s| s.udp && !s.steady).mode(Mode::UdpConnected))?,
        ];
        if steady {
            storms.push(start(args(&|s| s.steady && !s.udp).exchanges(0))?);
            storms.push(start(args(&|s| s.steady && s.udp).mode(Mode::Udp).exchanges(0))?);
        }
        Ok(Storms(storms))
    }

    /// One change: a server goes or comes. Returns when the kernel has it. The number of changes.
    pub(crate) fn change(&mut self, storms: &Storms) -> Result<u64> {
        let before = self.programmed()?;
        self.begin_changes(storms, 1)?;
        let metrics = self.metrics;
        wait_for("the change is in the kernel", PATIENCE, || programmed(metrics).is_ok_and(|n| n > before))?;
        self.end_changes(storms)?;
        Ok(1)
    }

    /// Writes changes, without waiting for them.
    pub(crate) fn begin_changes(&mut self, storms: &Storms, count: u64) -> Result<()> {
        let mut begun = 0;
        while begun < count {
            let index = self.random.below(self.services.len() as u64) as usize;
            let n = self.random.below(SERVERS as u64) as usize;
            let service = &mut self.services[index];
            let id = format!("{}-{n}", service.name);
            if service.steady {
                continue;
            }
            let alone = service.on.iter().filter(|on| **on).count() == 1;
            if service.on[n] && alone {
                continue;
            }
            begun += 1;
            service.on[n] = !service.on[n];
            if service.on[n] {
                self.pending.retain(|Pending::Removed(name)| *name != id);
                storms.each(|s| s.added(&id))?;
            } else {
                storms.each(|s| s.removing(&id))?;
                self.pending.push(Pending::Removed(id));
            }
            self.write(index)?;
        }
        Ok(())
    }

    /// Everything written is in the kernel: says so to the storms.
    pub(crate) fn end_changes(&mut self, storms: &Storms) -> Result<()> {
        for Pending::Removed(name) in self.pending.drain(..) {
            storms.each(|s| s.removed(&name))?;
        }
        Ok(())
    }

    fn programmed(&self) -> Result<u64> {
        programmed(self.metrics)
    }

    /// How many layouts have maps.
    pub(crate) fn layout_folders(&self) -> Result<usize> {
        let entries = fs::read_dir(self.node.bpf_root())?.flatten();
        Ok(entries.filter(|e| e.file_name().to_string_lossy().starts_with("layout-")).count())
    }

    /// Fills no more than the Services need: nothing was leaked on the way.
    pub(crate) fn expect_no_leak(&mut self) -> Result<()> {
        let want: usize = self.services.iter().map(|s| s.on.iter().filter(|on| **on).count()).sum();
        let page = get(self.metrics, "/metrics")?;
        let entries = |map: &str| number(&page, &format!("bowline_map_entries{{map=\"{map}\"}}"));
        let services = self.services.len() as u64;
        ensure!(entries("services")? == services && entries("frontends")? == services, "{page}");
        ensure!(entries("backends")? >= want as u64 && entries("backends")? <= services * SERVERS as u64, "{page}");
        // Every storm has ended: no socket is left.
        let sockets = self.dump("sockets")?;
        ensure!(sockets == 0, "{sockets} entries of closed sockets in {}", self.lab.name());
        Ok(())
    }

    fn dump(&self, map: &str) -> Result<usize> {
        let root = self.node.bpf_root();
        let folder = fs::read_dir(root)?.flatten().find(|e| e.file_name().to_string_lossy().starts_with("layout-"));
        let path = folder.context("no maps")?.path().join(map);
        let output = Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(path).output()?;
        let entries: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        Ok(entries.as_array().map_or(0, Vec::len))
    }
}

fn port(service: &str, n: usize) -> u16 {
    u16::from(service.as_bytes()[0]) * 10 + n as u16
}

fn programmed(metrics: SocketAddr) -> Result<u64> {
    number(&get(metrics, "/metrics")?, "bowline_network_programming_duration_seconds_count")
}

fn number(page: &str, series: &str) -> Result<u64> {
    let line = page.lines().find_map(|l| l.strip_prefix(series)).with_context(|| format!("no {series} in {page}"))?;
    Ok(line.trim().parse()?)
}

fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
    Ok(body.to_owned())
}

/// The agent with another layout of every map, built once into a target folder of its own; or another build of Bowline,
/// the last release for instance, that [`BESIDE`] names.
fn next_agent() -> Result<PathBuf> {
    if let Some(beside) = std::env::var_os(BESIDE) {
        return Ok(PathBuf::from(beside));
    }
    static BUILT: std::sync::OnceLock<Result<PathBuf, String>> = std::sync::OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = root.join("target/layout-next");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--locked", "--features", "layout-next", "--bin", "bowline", "--target-dir"])
            .arg(&target)
            .current_dir(root)
            .status()
            .map_err(|error| error.to_string())?;
        if status.success() { Ok(target.join("debug/bowline")) } else { Err(format!("cargo build: {status}")) }
    });
    match built {
        Ok(path) => Ok(path.clone()),
        Err(error) => bail!("the agent with the other layout does not build: {error}"),
    }
}
