//! Those that are compared: each a node of its own, a way to give its containers their network, and a server on another node
//! that they are to reach at once.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use bowline_lab::{Host, Lab, Node, Process};
use serde_json::{Value, json};

use super::runtime::{Container, Runtime};
use crate::agent::{Agent, bowline};
use crate::traffic::{Listen, ServeArgs};

/// Where distributions have the reference plugins.
const REFERENCE: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];
const ECHO: u16 = 7000;

/// The network namespace of a container.
#[derive(Debug)]
pub(super) struct Netns {
    pub(super) path: PathBuf,
}

impl Netns {
    /// Its name begins as the node's: it goes with the lab.
    pub(super) fn new(node: &Node, name: &str) -> Result<Netns> {
        let of_node = node.netns();
        let of_node = of_node.file_name().and_then(|name| name.to_str()).context("a node without a name")?;
        let name = format!("{of_node}.{name}");
        let status = Command::new("ip").args(["netns", "add", &name]).status().context("cannot start ip")?;
        ensure!(status.success(), "ip netns add {name}: {status}");
        Ok(Netns { path: Path::new("/run/netns").join(name) })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let name = self.path.file_name().unwrap_or_default();
        let _ = Command::new("ip").args(["netns", "del"]).arg(name).stderr(Stdio::null()).status();
    }
}

/// One that is compared.
pub(super) struct Side<'a> {
    pub(super) name: &'static str,
    pub(super) node: &'a Node,
    runtime: Runtime,
    /// Whether the runtime asks for a port of the node and a bandwidth.
    has_features: bool,
    /// Whether its addresses come from the caller.
    is_floor: bool,
    /// On another node.
    pub(super) server: SocketAddr,
    _server: Process,
}

/// A node with an agent that gives pods their network.
pub(super) struct Ours<'a> {
    pub(super) agent: Agent<'a>,
    pub(super) node: &'a Node,
    folder: PathBuf,
}

/// The Node object of a node of the lab, whose pods have networks of its number.
pub(super) fn node_object(node: &Node) -> String {
    let number = number(node);
    format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {}}}\nspec: {{podCIDRs: [10.{}.0.0/20, 'fd44:0:0:{number}::/64']}}\n\
         status: {{addresses: [{{type: InternalIP, address: {}}}, {{type: InternalIP, address: '{}'}}]}}\n---\n",
        node.name(),
        100 + u32::from(number),
        node.v4(),
        node.v6()
    )
}

fn number(node: &Node) -> u8 {
    let [.., number] = node.v4().octets();
    number
}

impl<'a> Ours<'a> {
    /// Starts an agent on a folder of manifests that has the Node objects.
    pub(super) fn start(lab: &Lab, node: &'a Node, state: &Path, more: &[&str]) -> Result<Ours<'a>> {
        let folder = lab.folder(&format!("{}-cni", node.name()))?;
        let at = |path: &str| folder.join(path).display().to_string();
        let plugin = bowline()?.with_file_name("bowline-cni");
        ensure!(plugin.is_file(), "{} is not there: scripts/plugin builds it", plugin.display());
        let mut flags = vec![
            "--pod-network".to_owned(),
            format!("--cni-state-dir={}", at("state")),
            format!("--cni-conf-dir={}", at("net.d")),
            format!("--cni-bin-dir={}", at("bin")),
            format!("--cni-socket={}", at("cni.sock")),
            format!("--cni-plugin={}", plugin.display()),
            format!("--state-dir={}", at("disk")),
            format!("--node-ip={},{}", node.v4(), node.v6()),
        ];
        flags.extend(more.iter().map(|&flag| flag.to_owned()));
        let agent = Agent::with(node, state, &bowline()?, &flags)?;
        agent.line("the CNI plugin and its configuration are in place")?;
        Ok(Ours { agent, node, folder })
    }

    /// A runtime of this node.
    pub(super) fn runtime(&self) -> Result<Runtime> {
        let list = self.folder.join("net.d/05-bowline.conflist");
        let list: Value = serde_json::from_slice(&fs::read(&list)?).with_context(|| format!("{}", list.display()))?;
        let mut plugin = list["plugins"][0].clone();
        plugin["tombstones"] = json!(self.folder.join("tombstones"));
        Runtime::new("bowline", &[plugin], &[self.folder.join("bin")])
    }

    /// A container of this node, attached, with its address.
    pub(super) fn pod(&self, name: &str) -> Result<Pod> {
        Pod::new(self.node, name, &self.runtime()?)
    }
}

/// A container that is attached.
pub(super) struct Pod {
    pub(super) netns: Netns,
    pub(super) address: std::net::IpAddr,
}

impl Pod {
    /// Has a runtime attach it.
    pub(super) fn new(node: &Node, name: &str, runtime: &Runtime) -> Result<Pod> {
        let netns = Netns::new(node, name)?;
        let container = Container { id: name, netns: &netns.path, args: "" };
        let result = inside(node, || runtime.add(&container))?;
        let address = result["ips"][0]["address"].as_str().and_then(|cidr| cidr.split('/').next());
        Ok(Pod { netns, address: address.context("a result without an address")?.parse()? })
    }

    /// As somebody's place to serve at, or to ask from.
    pub(super) fn at(&self, host: &Host, port: u16) -> Listen {
        Listen {
            address: (self.address, port).into(),
            cgroup: host.cgroup().into(),
            netns: Some(self.netns.path.clone()),
        }
    }
}

/// Runs something on a thread in a node's network namespace; processes that it starts are there too.
pub(super) fn inside<T: Send>(node: &Node, run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let netns = node.netns();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            crate::traffic::join(&netns)?;
            run()
        });
        thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked")))
    })
}

/// The reference plugins, as a runtime calls them.
pub(super) fn reference(plugins: &[Value]) -> Result<Runtime> {
    Runtime::new("reference", plugins, &REFERENCE.map(PathBuf::from))
}

/// The reference's bridge on a node; with masquerade, if asked for.
pub(super) fn bridge(lab: &Lab, node: &Node, masquerades: bool) -> Result<Value> {
    let number = number(node);
    Ok(json!({
        "type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": masquerades, "hairpinMode": true,
        "ipam": {
            "type": "host-local", "dataDir": lab.folder(&format!("{}-host-local", node.name()))?,
            "ranges": [[{"subnet": format!("10.{number}.16.0/20")}]],
        },
    }))
}

/// The reference's plugin for ports of the node.
pub(super) fn portmap() -> Value {
    json!({"type": "portmap", "capabilities": {"portMappings": true}})
}

/// What is asked for beside addresses. Each container has a port of the node of its own.
fn features(number: usize) -> Value {
    json!({
        "portMappings": [{"hostPort": 20_000 + number, "containerPort": 80, "protocol": "tcp"}],
        "bandwidth": {
            "ingressRate": 1_000_000_000, "ingressBurst": 100_000_000,
            "egressRate": 1_000_000_000, "egressBurst": 100_000_000,
        },
    })
}

impl<'a> Side<'a> {
    /// Ours; the server is a pod of another agent's node.
    pub(super) fn ours(ours: &Ours<'a>, far: &Ours<'_>, has_features: bool) -> Result<Side<'a>> {
        let name = if has_features { "ours with hostPort and bandwidth" } else { "ours" };
        let runtime = ours.runtime()?;
        let pod = far.pod(&format!("echo{}", u8::from(has_features)))?;
        let listen = pod.at(far.node, ECHO);
        let _server = ServeArgs::start(far.node, 1, 1, std::slice::from_ref(&listen))?;
        // It stays until the lab goes.
        std::mem::forget(pod.netns);
        Ok(Side { name, node: ours.node, runtime, has_features, is_floor: false, server: listen.address, _server })
    }

    /// The reference plugins; the server is a pod of another node of the lab, which routes to this node's.
    pub(super) fn reference(lab: &Lab, node: &'a Node, far: &Node, is_whole: bool) -> Result<Side<'a>> {
        let mut plugins = vec![bridge(lab, node, is_whole)?];
        let name = if is_whole {
            plugins.push(portmap());
            plugins.push(json!({"type": "bandwidth", "capabilities": {"bandwidth": true}}));
            "bridge + ipMasq + portmap + bandwidth"
        } else {
            "bridge + host-local"
        };
        let runtime = reference(&plugins)?;
        Ok(Side { has_features: is_whole, ..Side::beside(name, node, far, runtime, false)? })
    }

    /// Bare netlink in one process.
    pub(super) fn floor(node: &'a Node, far: &Node) -> Result<Side<'a>> {
        let folder = std::env::current_exe()?.with_file_name("examples");
        let found = folder.join("floor").is_file();
        ensure!(found, "{}/floor is not there: cargo build --release -p bowline-net --examples", folder.display());
        let runtime = Runtime::new("floor", &[json!({"type": "floor"})], &[folder])?;
        Side::beside("bare netlink", node, far, runtime, true)
    }

    fn beside(name: &'static str, node: &'a Node, far: &Node, runtime: Runtime, is_floor: bool) -> Result<Side<'a>> {
        let pod = far.pod(&format!("echo-{}", number(node)))?;
        let listen = Listen::at(&pod, pod.address(ECHO));
        let _server = ServeArgs::start(&pod, 1, 1, std::slice::from_ref(&listen))?;
        Ok(Side { name, node, runtime, has_features: false, is_floor, server: listen.address, _server })
    }

    /// The runtime for the container of this number.
    pub(super) fn runtime(&self, number: usize) -> Runtime {
        if self.has_features { self.runtime.asking(&features(number)) } else { self.runtime.clone() }
    }

    /// What is said to a plugin of the container of this number: the floor's addresses.
    pub(super) fn args(&self, count: usize) -> String {
        if !self.is_floor {
            return String::new();
        }
        let number = number(self.node);
        format!("10.{number}.{}.{},fd00:{number}::1:{count:x}", 16 + count / 250, 1 + count % 250)
    }
}
