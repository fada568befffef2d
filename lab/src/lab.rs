//! A lab: its name, its folders, the wire between its nodes.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use crate::drive::lab_net;
use crate::host::{Node, Wire};
use crate::remove;

/// How the name of everything begins that a lab makes on the machine; the process id follows.
pub(crate) const PREFIX: &str = "bowl-";
/// The same for a lab that outlives its process; the name that it was given follows.
const LASTING: &str = "bowline-cluster-";
/// For looking at what a failed test left: if this variable is set, a lab is not removed when dropped.
const KEEP: &str = "BOWLINE_LAB_KEEP";
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
        check_root()?;
        let mut swept = Ok(());
        SWEEP.call_once(|| swept = Lab::sweep());
        swept?;
        Lab::make(format!("{PREFIX}{}-{}-{tag}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// A new empty lab that others find by its name. Still removed when dropped, until [`Lab::keep`].
    pub fn lasting(name: &str) -> Result<Lab> {
        check_name(name)?;
        check_root()?;
        Lab::make(format!("{LASTING}{name}"))
    }

    /// Lets a lasting lab stay until [`Lab::remove_lasting`].
    pub fn keep(self) {
        std::mem::forget(self);
    }

    /// The folder of the lasting lab of this name, if anything of it is there.
    pub fn find_lasting(name: &str) -> Result<Option<PathBuf>> {
        check_name(name)?;
        let paths = paths(&format!("{LASTING}{name}"))?;
        let there = paths.iter().any(|path| path.exists());
        let [_, _, folder] = paths;
        Ok(there.then_some(folder))
    }

    /// Removes the lasting lab of this name with the processes in it, or what there is of it.
    pub fn remove_lasting(name: &str) -> Result<()> {
        check_name(name)?;
        check_root()?;
        remove(&format!("{LASTING}{name}"))
    }

    fn make(name: String) -> Result<Lab> {
        mount_bpffs()?;
        let [cgroup, bpf, folder] = paths(&name)?;
        // Before there is a lab whose end would remove another of the same name.
        fs::create_dir(&cgroup).with_context(|| format!("cannot make {}", cgroup.display()))?;
        let lab = Lab { name, cgroup, bpf, folder, wires: Mutex::default() };
        for dir in [&lab.bpf, &lab.folder] {
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

    /// Has another process remove this lab after the end of this one, however that comes: for a lab in a
    /// static, which is never dropped.
    pub fn remove_at_exit(&self) -> Result<()> {
        let mut command = Command::new(lab_net()?);
        command.args(["sweep", "--after", &std::process::id().to_string()]);
        // A Ctrl-C is for us and not for it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        // Its input stays open as long as we are.
        std::mem::forget(child);
        Ok(())
    }

    /// Removes what labs of processes that are dead left on this machine, with the processes in it.
    pub fn sweep() -> Result<()> {
        let dead = |name: &str| {
            name.strip_prefix(PREFIX)
                .and_then(|rest| rest.split('-').next())
                .and_then(|pid| pid.parse::<u32>().ok())
                .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        };
        remove::matching(&hierarchies()?, &std::env::temp_dir(), dead)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::env::var_os(KEEP).is_some() {
            eprintln!("lab {}: not removed, since {KEEP} is set", self.name);
            return;
        }
        if let Err(err) = remove(&self.name) {
            eprintln!("lab {}: not all of it could be removed: {err:#}", self.name);
        }
    }
}

/// Where a lab of this full name is: its cgroup, its folder in bpffs, its folder.
fn paths(name: &str) -> Result<[PathBuf; 3]> {
    Ok([unified_hierarchy()?.join(name), Path::new(BPFFS).join(name), std::env::temp_dir().join(name)])
}

/// Removes all of the lab of this full name.
fn remove(name: &str) -> Result<()> {
    let mine = |other: &str| other == name || other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    remove::matching(&hierarchies()?, &std::env::temp_dir(), mine)
}

/// Where cgroup hierarchies are mounted, of both versions.
pub(crate) fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    let cgroups = mounts.lines().filter(|line| line.contains(" - cgroup"));
    Ok(cgroups.filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect())
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

fn check_root() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "a lab makes namespaces and cgroups: run it as root");
    Ok(())
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
