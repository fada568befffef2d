//! A node as a machine of its own: beside a network namespace and a cgroup it has a name, mounts, and
//! the folders in which a kubelet and a containerd keep things, so that all of these run with the paths
//! that they have on a real node, and what they mount and make goes with them.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Server;
use crate::lab::{BPFFS, hierarchies, run};
use crate::{Lab, Node};

/// The name of the file, in the node's folder, with the id of the process that holds the namespaces.
const HOLDER: &str = "holder.pid";

/// The cgroup below the node's that its own processes join: one that shares its controllers has none itself.
const PROCESSES: &str = "system";

/// What the machine must not see: the node has its own of these. `/run` alone is in memory.
const OWN_FOLDERS: [&str; 3] = ["/var/lib", "/var/log", "/opt"];

/// A node with its own mounts and host name. Everything in it ends with its lab.
#[derive(Debug)]
pub struct Machine {
    node: Node,
    folder: PathBuf,
    /// Keeps the namespaces.
    holder: Server,
}

impl Deref for Machine {
    type Target = Node;
    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Machine {
    /// A new machine of this lab.
    ///
    /// Below `/sys/fs/cgroup` it sees its own cgroups, in each hierarchy, and below `/sys/fs/bpf` its own
    /// folder: containers, and an agent with its default flags, stay on it.
    pub fn new(lab: &Lab, name: &str) -> Result<Machine> {
        let mut node = lab.node(name)?;
        node.keep_processes_in(PROCESSES)?;
        delegate(&node)?;
        let folder = lab.folder(name)?;
        let mut script = String::from("set -eu; hostname \"$1\"; mount -t tmpfs tmpfs /run\n");
        for own in OWN_FOLDERS {
            let own_folder = folder.join(own.trim_start_matches('/'));
            fs::create_dir_all(&own_folder).with_context(|| format!("cannot make {}", own_folder.display()))?;
            script += &format!("mount --bind {} {own}\n", own_folder.display());
        }
        let mut instead = cgroups(lab, name)?;
        fs::create_dir(node.bpf_root()).with_context(|| format!("cannot make {}", node.bpf_root().display()))?;
        instead.push((node.bpf_root().to_owned(), BPFFS.into()));
        // In the place of the mount, not over it: runc takes the first that it finds of two.
        script += "mkdir /run/instead\n";
        for (own, mount) in instead {
            let (own, mount) = (own.display(), mount.display());
            script += &format!("mount --bind {own} /run/instead; umount {mount}; mount --move /run/instead {mount}\n");
        }
        script += "mount --make-rshared /; rmdir /run/instead; mkdir /run/netns /run/lock\n";
        script += "touch \"$2\"; exec sleep infinity\n";

        let ready = folder.join("ready");
        let mut command = node.command("unshare");
        command.args(["--mount", "--uts", "--propagation", "private", "--", "sh", "-c", &script, "sh", name]);
        let mut holder = Server::new(format!("the namespaces of {name}"), folder.join("holder.log"));
        holder.start(command.arg(&ready))?;
        holder.wait_until("mounts", || ready.exists())?;
        let pid = holder.pid().context("the namespaces have no holder")?;
        fs::write(folder.join(HOLDER), pid.to_string()).context("cannot write the holder's id")?;
        Ok(Machine { node, folder, holder })
    }

    /// Its address of the family of this range of addresses.
    pub(crate) fn address_like(&self, cidr: &str) -> IpAddr {
        if cidr.contains(':') { self.v6().into() } else { self.v4().into() }
    }

    /// The folder on this machine with all that the node keeps: below it `/var/lib` and its like.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a file of the node's is on this machine; of those in [`Machine::folder`], such as `/var/lib/kubelet`.
    pub fn path(&self, of_node: &str) -> PathBuf {
        self.folder.join(of_node.trim_start_matches('/'))
    }

    /// Writes a file of the node's.
    pub(crate) fn write(&self, of_node: &str, text: &str) -> Result<()> {
        let path = self.path(of_node);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, text)).with_context(|| format!("cannot write {}", path.display()))
    }

    /// A command on the node, as somebody logged in there would run it. The child's id is the program's.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        command(self.node.processes(), self.holder.pid().unwrap_or_default(), program.as_ref())
    }

    /// Runs a program on the node to its end and returns what it printed; an error unless it succeeds.
    pub fn output(&self, program: impl AsRef<Path>, args: &[&str]) -> Result<String> {
        let mut command = self.command(program);
        let out =
            command.args(args).stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
        let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        ensure!(out.status.success(), "{args:?} on {}: {}: {stdout}{stderr}", self.node.name(), out.status);
        Ok(stdout.into_owned())
    }

    /// Runs `ip` on the node; the words are separated by blanks.
    pub(crate) fn ip(&self, args: &str) -> Result<()> {
        run(self.node.in_netns("ip").args(args.split(' ')))
    }

    pub(crate) fn let_go(&mut self) {
        self.holder.let_go();
    }
}

/// A command in a machine whose folder and cgroup these are, of a process other than that which made it.
pub(crate) fn command_by_folder(folder: &Path, cgroup: &Path, program: &Path) -> Result<Command> {
    let (path, cgroup) = (folder.join(HOLDER), &cgroup.join(PROCESSES));
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let pid = text.trim().parse().with_context(|| format!("{}: no process id", path.display()))?;
    // The id may belong to somebody else by now.
    let held = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    ensure!(held.lines().any(|line| line == text), "the node {} is not running", folder.display());
    Ok(command(cgroup, pid, program))
}

fn command(cgroup: &Path, holder: u32, program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"echo $$ >"$0" || exit 1; exec nsenter --target "$@""#]);
    command.arg(cgroup.join("cgroup.procs")).arg(holder.to_string());
    command.args(["--mount", "--uts", "--net", "--"]).arg(program);
    command
}

/// Gives the node's cgroup the controllers of the unified hierarchy, where it has some: containers have shares of the CPU.
fn delegate(node: &Node) -> Result<()> {
    let read = |cgroup: &Path, file: &str| {
        let path = cgroup.join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let above: Vec<&Path> = node.cgroup().ancestors().take(3).collect();
    for (depth, cgroup) in above.iter().rev().enumerate() {
        let shared = read(cgroup, "cgroup.subtree_control")?;
        for controller in read(cgroup, "cgroup.controllers")?.split_whitespace() {
            // The machine's own is left as it is but for what no container does without.
            let is_wanted = depth > 0 || ["cpu", "memory", "pids"].contains(&controller);
            if is_wanted && !shared.split_whitespace().any(|other| other == controller) {
                let path = cgroup.join("cgroup.subtree_control");
                fs::write(&path, format!("+{controller}"))
                    .with_context(|| format!("cannot add {controller} to {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// A cgroup for the node in each hierarchy; in the unified one it is there already.
fn cgroups(lab: &Lab, node: &str) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut all = Vec::new();
    for hierarchy in hierarchies()? {
        let own = hierarchy.join(lab.name()).join(node);
        fs::create_dir_all(&own).with_context(|| format!("cannot make {}", own.display()))?;
        // Of version 1: a new cpuset has no CPU and takes no process.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let mut path = hierarchy.clone();
            for part in [lab.name(), node] {
                let above = match fs::read_to_string(path.join(file)) {
                    Err(err) if err.kind() == io::ErrorKind::NotFound => break,
                    above => above.with_context(|| format!("cannot read {}", path.join(file).display()))?,
                };
                path.push(part);
                if hierarchy.join("cgroup.controllers").exists() {
                    break;
                }
                fs::write(path.join(file), above).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        all.push((own, hierarchy));
    }
    Ok(all)
}
