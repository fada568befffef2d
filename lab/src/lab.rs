//! A lab: its name, its folders, the wire between its nodes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use crate::host::{Node, Wire};
use crate::remove;

/// How the name of everything begins that a lab makes on the machine; the process id follows.
pub(crate) const PREFIX: &str = "bowl-";
/// Where `ip netns` keeps namespaces.
pub(crate) const NETNS: &str = "/run/netns";
/// Where bpffs belongs.
pub(crate) const BPFFS: &str = "/sys/fs/bpf";
/// Nodes have the pod addresses 10.NUMBER.0.0/16; 10.96.0.0 and up is for Services.
const MAX_NODES: usize = 90;

/// Nodes and pods on this machine, removed when dropped.
#[derive(Debug)]
pub struct Lab {
    name: String,
    cgroup: PathBuf,
    bpf: PathBuf,
    folder: PathBuf,
    /// What is needed of each node to route to it.
    wires: Mutex<Vec<Wire>>,
}

impl Lab {
    /// A new empty lab. `tag` says what for: it becomes part of the names of namespaces, cgroups and
    /// folders. Needs root; mounts bpffs where it isn't; the first lab of a process sweeps.
    pub fn new(tag: &str) -> Result<Lab> {
        static SWEEP: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        check_name(tag)?;
        ensure!(rustix::process::geteuid().is_root(), "a lab makes namespaces and cgroups: run it as root");
        let mut swept = Ok(());
        SWEEP.call_once(|| swept = Lab::sweep());
        swept?;
        mount_bpffs()?;
        let name = format!("{PREFIX}{}-{}-{tag}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let lab = Lab {
            cgroup: unified_hierarchy()?.join(&name),
            bpf: Path::new(BPFFS).join(&name),
            folder: std::env::temp_dir().join(&name),
            wires: Mutex::default(),
            name,
        };
        for dir in [&lab.cgroup, &lab.bpf, &lab.folder] {
            fs::create_dir(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        // The wire between the nodes: a bridge in a namespace that belongs to none of them.
        lab.ip(&format!("netns add {}", lab.wire_netns()))?;
        lab.ip(&format!("-n {} link add lan up type bridge", lab.wire_netns()))?;
        Ok(lab)
    }

    /// A new node, with addresses of both families that all the lab's hosts reach. Nodes are numbered
    /// from 1; names are lower case letters, digits and '-'.
    pub fn node(&self, name: &str) -> Result<Node> {
        check_name(name)?;
        let mut wires = self.wires.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(wires.len() < MAX_NODES, "a lab has at most {MAX_NODES} nodes");
        let (node, wire) = Node::make(self, name, wires.len() as u8 + 1)?;
        for other in wires.iter() {
            other.route_to(&wire)?;
            wire.route_to(other)?;
        }
        wires.push(wire);
        Ok(node)
    }

    /// A new empty folder that goes with the lab.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// The lab's name, unique on this machine: everything it made has a name that begins so.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cgroup above those of all nodes.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    pub(crate) fn bpf(&self) -> &Path {
        &self.bpf
    }

    pub(crate) fn wire_netns(&self) -> String {
        format!("{}.LAN", self.name)
    }

    fn ip(&self, args: &str) -> Result<()> {
        run(Command::new("ip").args(args.split(' ')))
    }

    /// Removes what labs of processes that are dead left on this machine, with the processes in it.
    pub fn sweep() -> Result<()> {
        let dead = |name: &str| {
            name.strip_prefix(PREFIX)
                .and_then(|rest| rest.split('-').next())
                .and_then(|pid| pid.parse::<u32>().ok())
                .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        };
        remove::matching(&unified_hierarchy()?, &std::env::temp_dir(), dead)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let mine = |name: &str| name == self.name || name.strip_prefix(&self.name).is_some_and(|r| r.starts_with('.'));
        let parent = |path: &Path| path.parent().map(Path::to_path_buf).unwrap_or_default();
        if let Err(err) = remove::matching(&parent(&self.cgroup), &parent(&self.folder), mine) {
            eprintln!("lab {}: not all of it could be removed: {err:#}", self.name);
        }
    }
}

/// Where the unified cgroup hierarchy is mounted.
pub(crate) fn unified_hierarchy() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    mounts
        .lines()
        .find(|line| line.contains(" - cgroup2 "))
        .and_then(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .context("no cgroup2 is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup")
}

/// Mounts bpffs where it isn't, once for all processes that do this at the same time.
fn mount_bpffs() -> Result<()> {
    let lock = File::open("/sys/fs").context("cannot open /sys/fs")?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).context("cannot lock /sys/fs")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    if mounts.lines().any(|line| line.split(' ').nth(4) == Some(BPFFS)) {
        return Ok(());
    }
    run(Command::new("mount").args(["-t", "bpf", "bpf", BPFFS]))
}

/// Names become parts of interface, folder and bpffs names; bpffs refuses dots.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        !name.is_empty() && name.len() <= 63 && name.chars().all(fits),
        "{name:?}: use a-z, 0-9 and '-', at most 63"
    );
    Ok(())
}

/// Runs a command to its end; the error has its words.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    if !out.status.success() {
        bail!("{command:?}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}
