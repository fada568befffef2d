//! Nodes whose agents give pods their network, and containers that are attached by the plugin that they have installed.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bowline_lab::{Lab, Node, Process, cni_plugin, lab_net, wait_for};
use serde_json::{Value, json};

use crate::common::Agent;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A node with its agent and its folders.
pub(crate) struct Site {
    pub(crate) agent: Agent,
    pub(crate) node: Arc<Node>,
    /// What the agent has on disk for pods' network: below it `net.d`, `bin` and `cni.sock`.
    pub(crate) folder: PathBuf,
}

impl Site {
    /// Its agent is not started. `more` are flags besides the usual ones.
    pub(crate) fn new(lab: &Lab, name: &str, more: &[&str]) -> Site {
        let node = Arc::new(lab.node(name).unwrap());
        let mut agent = Agent::new(lab, &node);
        let folder = lab.folder(&format!("{name}-cni")).unwrap();
        let at = |path: &str| folder.join(path).to_str().unwrap().to_owned();
        let flags = [
            "--pod-network".to_owned(),
            format!("--cni-state-dir={}", at("state")),
            format!("--cni-conf-dir={}", at("net.d")),
            format!("--cni-bin-dir={}", at("bin")),
            format!("--cni-socket={}", at("cni.sock")),
            format!("--cni-plugin={}", cni_plugin().unwrap().display()),
            format!("--state-dir={}", at("disk")),
            format!("--node-ip={},{}", node.v4(), node.v6()),
        ];
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        agent.flags(&flags);
        Site { agent, node, folder }
    }

    /// The plugin's configuration, as a runtime makes it of the list that was installed.
    pub(crate) fn config(&self) -> Value {
        let list = fs::read_to_string(self.folder.join("net.d/05-bowline.conflist")).unwrap();
        let list: Value = serde_json::from_str(&list).unwrap();
        let mut plugin = list["plugins"][0].clone();
        plugin["name"] = list["name"].clone();
        plugin["cniVersion"] = json!("1.1.0");
        plugin["tombstones"] = json!(self.folder.join("tombstones"));
        plugin
    }

    /// A call of the installed plugin, not started.
    pub(crate) fn plugin(&self, command: &str, container: &str, netns: &str, args: &str) -> Command {
        let mut plugin = Command::new(self.folder.join("bin/bowline-cni"));
        plugin.env_clear().env("CNI_COMMAND", command).env("CNI_CONTAINERID", container).env("CNI_IFNAME", "eth0");
        plugin.env("CNI_NETNS", netns).env("CNI_ARGS", args).env("CNI_PATH", self.folder.join("bin"));
        plugin.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        plugin
    }

    /// Calls it to its end: its result, or its error.
    pub(crate) fn call(
        &self,
        command: &str,
        container: &str,
        netns: &str,
        args: &str,
        config: &Value,
    ) -> Result<Value, Value> {
        let mut child = self.plugin(command, container, netns, args).spawn().unwrap();
        serde_json::to_writer(child.stdin.take().unwrap(), config).unwrap();
        let out = child.wait_with_output().unwrap();
        let said = serde_json::from_slice(&out.stdout).unwrap_or(Value::Null);
        if out.status.success() { Ok(said) } else { Err(said) }
    }

    /// A new container that is attached as this pod of the namespace "default".
    #[track_caller]
    pub(crate) fn container<'a>(&'a self, pod: &str) -> Container<'a> {
        self.container_with(pod, &json!({}))
    }

    /// The same with more in its configuration.
    #[track_caller]
    pub(crate) fn container_with<'a>(&'a self, pod: &str, more: &Value) -> Container<'a> {
        let mut container = Container::new(self, pod);
        container.take_lo_up();
        let mut config = self.config();
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}");
        let result = self.call("ADD", &container.id, &container.netns(), &args, &config);
        container.take(&result.unwrap_or_else(|error| panic!("{pod}: {error}\n{}", self.agent.log())));
        container
    }

    /// The ends of wires that are there.
    pub(crate) fn wires(&self) -> usize {
        let said = self.node.output("ip", &["-o", "link", "show", "type", "veth"]).unwrap();
        said.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|name| name.starts_with("bow"))).count()
    }

    /// What `bowline get addresses` shows.
    pub(crate) fn held(&self) -> Vec<IpAddr> {
        let mut command = self.node.in_netns(env!("CARGO_BIN_EXE_bowline"));
        command.args(["get", "addresses", "-o", "json"]).arg("--cni-state-dir").arg(self.folder.join("state"));
        let said = crate::common::run(&mut command).ok();
        let rows: Value = serde_json::from_str(&said).unwrap();
        rows.as_array().unwrap().iter().map(|row| row["address"].as_str().unwrap().parse().unwrap()).collect()
    }
}

/// A network namespace that stands for a container. Dropped, it is gone, without a DEL.
pub(crate) struct Container<'a> {
    site: &'a Site,
    /// CNI_CONTAINERID.
    pub(crate) id: String,
    name: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) result: Value,
}

impl<'a> Container<'a> {
    /// Not attached.
    pub(crate) fn new(site: &'a Site, name: &str) -> Container<'a> {
        let lab = site.node.netns().file_name().unwrap().to_str().unwrap().to_owned();
        let (id, name) = (format!("{name}-id"), format!("{lab}.{name}"));
        let added = Command::new("ip").args(["netns", "add", &name]).status().unwrap();
        assert!(added.success());
        Container { site, id, name, addresses: Vec::new(), result: Value::Null }
    }

    /// As a runtime does first, by the plugin `loopback` that was put in place.
    fn take_lo_up(&self) {
        let mut plugin = Command::new(self.site.folder.join("bin/loopback"));
        plugin.env_clear().env("CNI_COMMAND", "ADD").env("CNI_CONTAINERID", &self.id).env("CNI_IFNAME", "lo");
        plugin.env("CNI_NETNS", self.netns()).env("CNI_PATH", self.site.folder.join("bin"));
        let mut child = plugin.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let config = json!({"cniVersion": "1.0.0", "name": "lo", "type": "loopback"});
        serde_json::to_writer(child.stdin.take().unwrap(), &config).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Takes its addresses from the result of an ADD.
    pub(crate) fn take(&mut self, result: &Value) {
        let ips = result["ips"].as_array().unwrap().iter();
        let address = |ip: &Value| ip["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap();
        self.addresses = ips.map(address).collect();
        self.result = result.clone();
    }

    /// CNI_NETNS.
    pub(crate) fn netns(&self) -> String {
        Path::new("/run/netns").join(&self.name).to_str().unwrap().to_owned()
    }

    /// A command in it: in its network namespace and its node's cgroup.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.site.node.command("nsenter");
        command.arg(format!("--net={}", self.netns())).arg("--").arg(program.as_ref());
        command
    }

    /// A server in it that answers with `id` on this port, in all of its families, TCP and UDP.
    #[track_caller]
    pub(crate) fn serve(&self, id: &str, port: u16) -> Process {
        let mut command = self.command(lab_net().unwrap());
        command.args(["serve", "--id", id]).stdin(Stdio::null()).stdout(Stdio::piped());
        for address in &self.addresses {
            let at = SocketAddr::new(*address, port).to_string();
            command.args(["--tcp", &at, "--udp", &at]);
        }
        let mut process = self.site.node.spawn(&mut command).unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(process.child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        process
    }

    /// Who answers a connection from it, or how that failed.
    pub(crate) fn ask(&self, to: SocketAddr) -> String {
        self.asking("connect", to)
    }

    /// The same for a datagram.
    pub(crate) fn ask_udp(&self, to: SocketAddr) -> String {
        self.asking("udp", to)
    }

    fn asking(&self, how: &str, to: SocketAddr) -> String {
        let mut command = self.command(lab_net().unwrap());
        command.args([how, "--target", &to.to_string()]);
        let out = command.stdin(Stdio::null()).output().unwrap();
        let said: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
        match (said["name"].as_str(), said["errno"].as_str()) {
            (Some(name), _) => name.to_owned(),
            (None, Some(errno)) => errno.to_owned(),
            _ => format!("{said} {}", String::from_utf8_lossy(&out.stderr)),
        }
    }

    /// Waits until that one answers.
    #[track_caller]
    pub(crate) fn wait_for(&self, to: SocketAddr, who: &str) {
        let mut last = String::new();
        let waited = wait_for(&format!("{who} at {to}"), PATIENCE, || {
            last = self.ask(to);
            last == who
        });
        assert!(waited.is_ok(), "{to}: {last:?} in place of {who:?}\n{}", self.site.agent.log());
    }

    /// A DEL.
    #[track_caller]
    pub(crate) fn del(&self) {
        self.site.call("DEL", &self.id, &self.netns(), "", &self.site.config()).unwrap();
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status();
    }
}
