//! One of those that are compared: a node of its own, a client in a pod of it, and the program that gives
//! that node its Services.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bowline_lab::kubernetes::binary;
use bowline_lab::{Lab, Node, Pod, Process, wait_for};
use clap::ValueEnum;
use serde_json::json;

use super::metric::{Histogram, LATENCY};
use crate::agent::{METRICS, bowline};
use crate::process::{cgroup_cpu, cgroup_pids, status_kb};
use crate::traffic::{Reach, monotonic};

/// The longest that a first sync may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Who takes less CPU than this in half a second, twice, in milliseconds, is at rest.
const REST: f64 = 10.0;

/// The programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Bowline's agent
    Bowline,
    /// kube-proxy in nftables mode
    Nftables,
    /// kube-proxy in iptables mode
    Iptables,
}

impl Kind {
    /// Its name in rows and hosts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Bowline => "bowline",
            Kind::Nftables => "nftables",
            Kind::Iptables => "iptables",
        }
    }
}

/// Where a program reads its state.
#[derive(Clone, Debug)]
pub(crate) enum From {
    /// An API server, by this kubeconfig.
    Kubernetes(PathBuf),
    /// An etcd at this URL.
    Etcd(String),
}

/// A node, and what stands for its pods.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) kind: Kind,
    pub(crate) node: Node,
    pub(crate) client: Pod,
    folder: PathBuf,
}

impl Side {
    /// A new node, named after the program.
    pub(crate) fn new(lab: &Lab, kind: Kind, tag: &str) -> Result<Side> {
        let name = format!("{}-{tag}", kind.name());
        let node = lab.node(&name)?;
        let client = node.pod("client")?;
        Ok(Side { kind, node, client, folder: lab.folder(&name)? })
    }

    /// Starts the program on the node. The first time, nothing is programmed there yet.
    pub(crate) fn start(&self, from: &From) -> Result<Running<'_>> {
        let group = self.node.cgroup().join("program");
        fs::create_dir_all(&group).with_context(|| format!("cannot make {}", group.display()))?;
        // In a cgroup of its own, whose CPU time has that of its children, running or not.
        let mut command = self.node.in_netns("sh");
        command.args(["-c", r#"echo $$ >"$0" || exit 1; exec "$@""#]).arg(group.join("cgroup.procs"));
        command.args(self.arguments(from)?);
        if self.kind == Kind::Iptables {
            command.env("PATH", self.legacy_iptables()?);
        }
        let log = self.folder.join("log");
        let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let spawned = monotonic();
        let process = self.node.spawn(&mut command)?;
        let children = Children::watch(process.pid(), group.clone());
        Ok(Running { side: self, process, group, log, spawned, children })
    }

    /// A PATH on which `iptables` is the one that programs x_tables. By way of nf_tables (its other half, and
    /// the default of distributions), a first sync of 10,000 Services takes minutes: a peer is shown at its best.
    fn legacy_iptables(&self) -> Result<String> {
        const LEGACY: &str = "/usr/sbin/xtables-legacy-multi";
        ensure!(Path::new(LEGACY).exists(), "no {LEGACY}, which the package iptables has");
        let folder = self.folder.join("bin");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for family in ["iptables", "ip6tables"] {
            for command in ["", "-save", "-restore"] {
                let link = folder.join(format!("{family}{command}"));
                symlink(LEGACY, &link).with_context(|| format!("cannot make {}", link.display()))?;
            }
        }
        Ok(format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default()))
    }

    fn arguments(&self, from: &From) -> Result<Vec<String>> {
        let text = |path: PathBuf| path.display().to_string();
        let mut args: Vec<String>;
        match (self.kind, from) {
            (Kind::Bowline, from) => {
                args = vec![text(bowline()?), "node".into()];
                args.push(match from {
                    From::Kubernetes(kubeconfig) => format!("--state=kubernetes:{}", kubeconfig.display()),
                    From::Etcd(url) => format!("--state=etcd:{url}"),
                });
                if let From::Etcd(_) = from {
                    // What it registers itself with: a lab's node has no route to the world to tell it by.
                    args.push(format!("--node-ip={}", self.node.v4()));
                }
                args.push(format!("--state-dir={}", self.folder.join("state").display()));
                args.push(format!("--hostname-override={}", self.node.name()));
                args.push(format!("--cgroup-root={}", self.node.cgroup().display()));
                args.push(format!("--bpf-root={}", self.node.bpf_root().display()));
                args.push(format!("--metrics-bind-address={METRICS}"));
            }
            (kind, From::Kubernetes(kubeconfig)) => {
                let config = json!({
                    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
                    "mode": kind.name(), "hostnameOverride": self.node.name(), "clusterCIDR": "10.0.0.0/10",
                    "clientConnection": {"kubeconfig": kubeconfig}, "metricsBindAddress": METRICS,
                    // What is the whole machine's, and not to be set from a network namespace.
                    "conntrack": {
                        "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
                    },
                });
                let file = self.folder.join("config");
                fs::write(&file, config.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
                args = vec![text(binary("kube-proxy")?), format!("--config={}", file.display())];
            }
            (kind, From::Etcd(_)) => bail!("kube-proxy ({}) reads no etcd", kind.name()),
        }
        Ok(args)
    }
}

/// What a program has taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Milliseconds of CPU, its children's too.
    pub(crate) cpu: f64,
    /// VmRSS and VmHWM in kB.
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    /// The most that one of its children ever had in memory, in kB: `nft`, `iptables-restore`.
    pub(crate) children: u64,
}

/// A program that runs; killed when dropped. What it has programmed stays.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    pub(crate) side: &'a Side,
    process: Process,
    group: PathBuf,
    log: PathBuf,
    /// Just before the process was made, see [`monotonic`].
    spawned: i64,
    children: Children,
}

impl Running<'_> {
    /// Milliseconds from the start of the process until all these addresses have answered a client of the
    /// node, who was there before.
    pub(crate) fn wait_until_reached(&mut self, asker: &Reach) -> Result<f64> {
        loop {
            if let Some(at) = asker.all(Duration::from_millis(200)).with_context(|| self.last_words())? {
                return Ok((at - self.spawned) as f64 / 1e6);
            }
            if let Some(status) = self.process.child.try_wait()? {
                bail!("{} has ended: {status}\n{}", self.side.node.name(), self.last_words());
            }
        }
    }

    /// Waits until it rests.
    pub(crate) fn settle(&self) -> Result<()> {
        let mut quiet = 0;
        let began = Instant::now();
        while quiet < 2 {
            let before = self.cost()?.cpu;
            std::thread::sleep(Duration::from_millis(500));
            quiet = if self.cost()?.cpu - before < REST { quiet + 1 } else { 0 };
            ensure!(began.elapsed() < PATIENCE, "{} never rests", self.side.node.name());
        }
        Ok(())
    }

    /// What it has taken until now.
    pub(crate) fn cost(&self) -> Result<Cost> {
        let pid = self.process.pid();
        let cost = || -> Result<Cost> {
            let (resident, peak) = (status_kb(pid, "VmRSS")?, status_kb(pid, "VmHWM")?);
            Ok(Cost { cpu: cgroup_cpu(&self.group)?, resident, peak, children: self.children.peak() })
        };
        cost().with_context(|| self.last_words())
    }

    /// Network programming latency, as it says itself.
    pub(crate) fn latency(&self) -> Result<Histogram> {
        let page = self.side.node.output(std::env::current_exe()?, &["get", METRICS, "/metrics"])?;
        Histogram::parse(&page, LATENCY)
    }

    /// SIGKILL, and waits for the end of its children.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.process.kill()?;
        wait_for("the end of a program's children", PATIENCE, || {
            cgroup_pids(&self.group).is_ok_and(|all| all.is_empty())
        })
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(12)..];
        format!("{}, last lines:\n    {}", self.side.node.name(), last.join("\n    "))
    }
}

/// Somebody who asks all the addresses of a first sync, in a client's pod.
pub(crate) fn asker(side: &Side, targets: &[SocketAddr]) -> Result<Reach> {
    Reach::start(&side.client, targets, PATIENCE)
}

/// Looks how much memory a program's children have: nobody keeps that for those that have ended.
#[derive(Debug)]
struct Children {
    peak: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
}

impl Children {
    fn watch(parent: u32, group: PathBuf) -> Children {
        let children = Children { peak: Arc::default(), end: Arc::default() };
        let (peak, end) = (children.peak.clone(), children.end.clone());
        std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let program = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
                for pid in cgroup_pids(&group).unwrap_or_default() {
                    // It may have ended since. Between fork and exec, its memory is the parent's.
                    if let (true, Ok(kb)) = (program(pid) != program(parent), status_kb(pid, "VmHWM")) {
                        peak.fetch_max(kb, Ordering::Relaxed);
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        children
    }

    fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}
