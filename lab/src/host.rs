//! Nodes and pods, and processes in them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, NETNS, check_name, run};
use crate::wait_for;

/// Addresses at once (no duplicate detection), many ports for storms, every refusal told.
const SYSCTLS: &str = "
net.ipv6.conf.all.disable_ipv6=0
net.ipv6.conf.default.disable_ipv6=0
net.ipv6.conf.all.accept_dad=0
net.ipv6.conf.default.accept_dad=0
net.ipv4.ip_local_port_range=1024 65535
net.ipv4.icmp_ratelimit=0
net.ipv6.icmp.ratelimit=0";
const FORWARDING: &str = "
net.ipv4.ip_forward=1
net.ipv6.conf.all.forwarding=1";

/// What a node and a pod have in common: a network namespace, a cgroup, an address of each family.
#[derive(Debug)]
pub struct Host {
    name: String,
    netns: String,
    cgroup: PathBuf,
    processes: PathBuf,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

impl Host {
    fn make(name: &str, netns: String, cgroup: PathBuf, v4: Ipv4Addr, v6: Ipv6Addr, sysctls: &[&str]) -> Result<Host> {
        let host = Host { name: name.to_owned(), netns, processes: cgroup.clone(), cgroup, v4, v6 };
        fs::create_dir(&host.cgroup).with_context(|| format!("cannot make {}", host.cgroup.display()))?;
        run(Command::new("ip").args(["netns", "add", &host.netns]))?;
        let script = r#"printf '%s\n' "$0" | while IFS== read -r key value; do
            [ -z "$key" ] || echo "$value" >"/proc/sys/$(echo "$key" | tr . /)" || exit 1; done"#;
        run(host.in_netns("sh").args(["-c", script, &sysctls.concat()]))?;
        Ok(host)
    }

    /// The name it was made with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its cgroup, in the unified hierarchy.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// The cgroup that its processes join: its own, or one below.
    pub(crate) fn processes(&self) -> &Path {
        &self.processes
    }

    /// The file of its network namespace.
    pub fn netns(&self) -> PathBuf {
        Path::new(NETNS).join(&self.netns)
    }

    /// Its IPv4 address.
    pub fn v4(&self) -> Ipv4Addr {
        self.v4
    }

    /// Its IPv6 address.
    pub fn v6(&self) -> Ipv6Addr {
        self.v6
    }

    /// Its IPv4 address with a port.
    pub fn address(&self, port: u16) -> SocketAddr {
        (self.v4, port).into()
    }

    /// Its IPv6 address with a port.
    pub fn address6(&self, port: u16) -> SocketAddr {
        (self.v6, port).into()
    }

    /// A command that runs in this host: in its cgroup and its network namespace. The process keeps its
    /// id through all of that, so the child's id is the program's.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ >"$1" || exit 1; shift; exec nsenter --net="$0" -- "$@""#]);
        command.arg(self.netns()).arg(self.processes.join("cgroup.procs")).arg(program.as_ref());
        command
    }

    /// As [`Host::command`], outside the host's cgroup: no socket program of an agent there sees it.
    pub fn in_netns(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.netns().display())).arg("--").arg(program.as_ref());
        command
    }

    /// Starts a command made by [`Host::command`]; it is killed when the [`Process`] is dropped.
    pub fn spawn(&self, command: &mut Command) -> Result<Process> {
        let what = format!("{command:?} in {}", self.name);
        let child = command.spawn().with_context(|| format!("cannot start {what}"))?;
        Ok(Process { child, what })
    }

    /// Runs a program in this host to its end and returns what it wrote; an error unless it succeeds.
    pub fn output(&self, program: impl AsRef<Path>, args: &[&str]) -> Result<String> {
        let mut command = self.command(program);
        let out =
            command.args(args).stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
        let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        ensure!(out.status.success(), "{command:?} in {}: {}: {stdout}{stderr}", self.name, out.status);
        Ok(stdout.into_owned())
    }

    fn ip(&self, lines: &[String]) -> Result<()> {
        ip(&self.netns, lines)
    }
}

/// A node of a lab.
#[derive(Debug)]
pub struct Node {
    host: Host,
    number: u8,
    pods: AtomicU8,
    bpf_root: PathBuf,
}

impl Deref for Node {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Node {
    pub(crate) fn make(lab: &Lab, name: &str, number: u8) -> Result<(Node, Wire)> {
        let netns = format!("{}.{name}", lab.name());
        let (v4, v6) = (Ipv4Addr::new(192, 168, 0, number), Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, number.into()));
        let host = Host::make(name, netns.clone(), lab.cgroup().join(name), v4, v6, &[SYSCTLS, FORWARDING])?;
        // The gateway's addresses are on lo: every pod has a wire of its own to the node.
        host.ip(&[
            "link set lo up".into(),
            format!("link add eth0 type veth peer name node{number} netns {}", lab.wire_netns()),
            format!("addr add {v4}/24 dev eth0"),
            format!("addr add {v6}/64 dev eth0 nodad"),
            "link set eth0 up".into(),
            format!("addr add 10.{number}.0.1/32 dev lo"),
            format!("addr add fd00:{number}::1/128 dev lo nodad"),
        ])?;
        ip(&lab.wire_netns(), &[format!("link set node{number} master lan up")])?;
        let node = Node { host, number, pods: AtomicU8::new(0), bpf_root: lab.bpf().join(name) };
        Ok((node, Wire { netns, number, v4, v6 }))
    }

    /// From now on its processes join a cgroup of this name below its own.
    pub(crate) fn keep_processes_in(&mut self, name: &str) -> Result<()> {
        let processes = self.host.cgroup.join(name);
        fs::create_dir(&processes).with_context(|| format!("cannot make {}", processes.display()))?;
        self.host.processes = processes;
        Ok(())
    }

    /// A new pod on this node. The first has the addresses 10.<node's number>.0.2 and
    /// fd00:<node's number>::2, the next .3 and ::3.
    pub fn pod(&self, name: &str) -> Result<Pod> {
        check_name(name)?;
        let index = self.pods.fetch_add(1, Ordering::Relaxed);
        ensure!(index < 250, "a node has at most 250 pods");
        let (number, last) = (self.number, index + 2);
        let v4 = Ipv4Addr::new(10, number, 0, last);
        let v6: Ipv6Addr = format!("fd00:{number}::{last}").parse()?;
        let netns = format!("{}.{name}", self.host.netns);
        let host = Host::make(name, netns.clone(), self.host.cgroup.join(name), v4, v6, &[SYSCTLS])?;
        self.host.ip(&[
            format!("link add pod{last} type veth peer name eth0 netns {netns}"),
            format!("addr add fe80::1/64 dev pod{last} nodad"),
            format!("link set pod{last} up"),
            format!("route add {v4} dev pod{last} src {}", self.host.v4),
            format!("route add {v6} dev pod{last} src {}", self.host.v6),
        ])?;
        host.ip(&[
            "link set lo up".into(),
            format!("addr add {v4}/32 dev eth0"),
            format!("addr add {v6}/128 dev eth0 nodad"),
            "link set eth0 up".into(),
            format!("route add 10.{number}.0.1 dev eth0"),
            format!("route add default via 10.{number}.0.1 dev eth0"),
            "route add default via fe80::1 dev eth0".into(),
        ])?;
        Ok(Pod { host })
    }

    /// The node's own folder for an agent's pinned maps and links. It isn't there at first.
    pub fn bpf_root(&self) -> &Path {
        &self.bpf_root
    }
}

/// A pod of a node.
#[derive(Debug)]
pub struct Pod {
    host: Host,
}

impl Deref for Pod {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Pod {
    /// Its addresses, as `status.podIPs` lists them.
    pub fn ips(&self) -> [IpAddr; 2] {
        [self.host.v4.into(), self.host.v6.into()]
    }
}

/// A node as the other nodes need to know it.
#[derive(Debug)]
pub(crate) struct Wire {
    netns: String,
    number: u8,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

impl Wire {
    pub(crate) fn route_to(&self, other: &Wire) -> Result<()> {
        let number = other.number;
        ip(
            &self.netns,
            &[
                format!("route add 10.{number}.0.0/16 via {}", other.v4),
                format!("route add fd00:{number}::/32 via {}", other.v6),
            ],
        )
    }
}

/// Runs `ip` commands in a network namespace. One process for each: the family of an address decides
/// `-4` or `-6`, and the error names the one command that failed.
fn ip(netns: &str, lines: &[String]) -> Result<()> {
    for line in lines {
        let family = if line.contains("::") { "-6" } else { "-4" };
        run(Command::new("ip").args([family, "-n", netns]).args(line.split(' ')))?;
    }
    Ok(())
}

/// A process in a host; killed when dropped.
#[derive(Debug)]
pub struct Process {
    /// The child, for its pipes. Its id is the program's.
    pub child: Child,
    what: String,
}

impl Process {
    /// `what` names it in errors.
    pub(crate) fn new(child: Child, what: String) -> Process {
        Process { child, what }
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id() as i32).context("no process id")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.what))
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().and_then(|()| self.child.wait()).with_context(|| format!("cannot kill {}", self.what))?;
        Ok(())
    }

    /// Waits until it has ended.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let mut status = None;
        wait_for(&format!("the end of {}", self.what), deadline, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        })?;
        status.context("it ended without a status")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
