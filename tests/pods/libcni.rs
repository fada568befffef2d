//! The library that containerd, CRI-O and podman call plugins by, in its newest release, as its own tool `cnitool`: the list
//! that the agent installs, our plugin in a chain with others, and below another.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use bowline_lab::kubernetes::binary;
use bowline_lab::{Lab, wait_for};
use serde_json::{Value, json};

use crate::ground::{Container, PATIENCE, Site};

/// Where distributions have the reference plugins.
const REFERENCE: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// `cnitool` on a node.
struct Tool<'a> {
    site: &'a Site,
    /// What libcni remembers of attachments, in the place of /var/lib.
    memory: PathBuf,
    /// The folder of lists.
    lists: PathBuf,
    /// More environment.
    capabilities: Value,
}

impl<'a> Tool<'a> {
    /// For the list that is installed.
    fn new(site: &'a Site) -> Tool<'a> {
        let memory = site.folder.join("memory");
        fs::create_dir_all(&memory).unwrap();
        Tool { site, memory, lists: site.folder.join("net.d"), capabilities: Value::Null }
    }

    /// For a list of ours: `plugins` of this version, under the name "chain".
    fn of(site: &'a Site, version: &str, plugins: &[Value]) -> Tool<'a> {
        let lists = site.folder.join("lists");
        fs::create_dir_all(&lists).unwrap();
        let list = json!({"cniVersion": version, "name": "chain", "plugins": plugins});
        fs::write(lists.join("10-chain.conflist"), list.to_string()).unwrap();
        Tool { lists, ..Tool::new(site) }
    }

    /// What it prints, or why it fails.
    fn run(&self, command: &str, network: &str, netns: &str) -> Result<String, String> {
        let mut tool = self.site.node.command("unshare");
        tool.args(["--mount", "--", "sh", "-c", "mount --bind \"$0\" /var/lib && exec \"$@\""]).arg(&self.memory);
        tool.arg(binary("cnitool").unwrap()).args([command, network, netns]);
        let folders = std::iter::once(self.site.folder.join("bin")).chain(REFERENCE.map(PathBuf::from));
        tool.env("CNI_PATH", std::env::join_paths(folders).unwrap()).env("NETCONFPATH", &self.lists);
        if !self.capabilities.is_null() {
            tool.env("CAP_ARGS", self.capabilities.to_string());
        }
        let out = tool.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        if out.status.success() { Ok(said) } else { Err(said + &String::from_utf8_lossy(&out.stderr)) }
    }

    #[track_caller]
    fn add(&self, network: &str, container: &mut Container<'_>) -> Value {
        let said = self.run("add", network, &container.netns());
        let said = said.unwrap_or_else(|error| panic!("{error}\n{}", self.site.agent.log()));
        let result: Value = serde_json::from_str(&said).unwrap();
        container.take(&result);
        result
    }

    #[track_caller]
    fn ok(&self, command: &str, network: &str, container: &Container<'_>) {
        let done = self.run(command, network, &container.netns());
        assert!(done.is_ok(), "{command}: {done:?}\n{}", self.site.agent.log());
    }
}

fn one_node(lab: &Lab) -> Site {
    let mut site = Site::new(lab, "one", &["--pod-cidr", "10.244.1.0/24,fd44:0:0:1::/64"]);
    site.agent.start();
    let list = site.folder.join("net.d/05-bowline.conflist");
    wait_for("the list that is installed", PATIENCE, || list.is_file()).unwrap();
    site
}

fn ours(site: &Site) -> Value {
    // Without capabilities: what is asked of the chain is then the others' to do.
    json!({"type": "bowline-cni", "socket": site.folder.join("cni.sock"), "tombstones": site.folder.join("tombstones")})
}

#[track_caller]
fn nothing_is_left(site: &Site) {
    let left = wait_for("nothing left", PATIENCE, || site.wires() == 0 && site.held().is_empty());
    assert!(left.is_ok(), "{} wires, held: {:?}\n{}", site.wires(), site.held(), site.agent.log());
}

#[test]
fn the_list_that_is_installed() {
    let lab = Lab::new("pods-libcni").unwrap();
    let mut site = one_node(&lab);
    let tool = Tool::new(&site);
    let server = site.container("server");
    let _serves = server.serve("server", 80);
    let mut one = Container::new(&site, "one");
    tool.ok("status", "bowline", &one);
    // The highest of its versions that the library knows.
    let result = tool.add("bowline", &mut one);
    assert_eq!((result["cniVersion"].as_str(), result["ips"].as_array().map(Vec::len)), (Some("1.1.0"), Some(2)));
    for address in &server.addresses {
        one.wait_for((*address, 80).into(), "server");
    }
    tool.ok("check", "bowline", &one);
    // The same again is the same.
    assert_eq!(tool.add("bowline", &mut one), result);
    let route = one.command("ip").args(["route", "del", "default"]).status().unwrap();
    assert!(route.success());
    let error = tool.run("check", "bowline", &one.netns()).unwrap_err();
    assert!(error.contains("route to 0.0.0.0/0"), "{error}");
    tool.ok("del", "bowline", &one);
    wait_for("one wire", PATIENCE, || site.wires() == 1 && site.held().len() == 2).unwrap();
    tool.ok("del", "bowline", &one);
    // Its collection names nothing that is to stay, and deletes what this library has added. A pod of another runtime has a
    // link, and stays.
    tool.add("bowline", &mut one);
    tool.ok("gc", "bowline", &one);
    wait_for("one wire", PATIENCE, || site.wires() == 1 && site.held().len() == 2).unwrap();
    let mut two = Container::new(&site, "two");
    tool.add("bowline", &mut two);
    two.wait_for((server.addresses[0], 80).into(), "server");
    tool.ok("del", "bowline", &two);
    server.del();
    nothing_is_left(&site);
    drop((server, one, two));
    site.agent.kill();
    let (tool, new) = (Tool::new(&site), Container::new(&site, "new"));
    for command in ["status", "add"] {
        let error = tool.run(command, "bowline", &new.netns()).unwrap_err();
        assert!(error.contains("the agent does not answer"), "{command}: {error}");
    }
}

#[test]
fn each_version_has_its_result() {
    let lab = Lab::new("pods-versions").unwrap();
    let site = one_node(&lab);
    for (version, key) in [("0.4.0", "version"), ("1.0.0", "interface"), ("1.1.0", "mtu")] {
        let tool = Tool::of(&site, version, &[ours(&site)]);
        let mut one = Container::new(&site, "one");
        let result = tool.add("chain", &mut one);
        assert_eq!(result["cniVersion"], version);
        assert_eq!(result["interfaces"][1]["name"], "eth0");
        // What came with a version: an address says its family until 0.4.0, an interface its MTU from 1.1.0 on.
        assert_eq!(result["ips"][0]["version"].is_null(), key != "version", "{result}");
        assert_eq!(result["interfaces"][0]["mtu"].is_null(), key != "mtu", "{result}");
        tool.ok("check", "chain", &one);
        let status = tool.run("status", "chain", &one.netns());
        assert!(status.is_ok(), "a library asks nothing before 1.1.0: {status:?}");
        tool.ok("del", "chain", &one);
        nothing_is_left(&site);
    }
}

#[test]
fn the_reference_plugins_after_it() {
    let lab = Lab::new("pods-chain").unwrap();
    let site = one_node(&lab);
    // Without portmap: packets of our pods pass the node's netfilter by, so ports of the node are ours to lead.
    let chain = [
        ours(&site),
        json!({"type": "bandwidth", "capabilities": {"bandwidth": true}}),
        json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "517"}}),
    ];
    let mut tool = Tool::of(&site, "1.0.0", &chain);
    tool.capabilities = json!({
        "bandwidth": {"ingressRate": 80_000_000, "ingressBurst": 8_000_000},
    });
    let server = site.container("server");
    let _serves = server.serve("server", 80);
    let mut one = Container::new(&site, "one");
    let result = tool.add("chain", &mut one);
    // The last of the chain says what the first has said.
    assert_eq!(result["ips"].as_array().map(Vec::len), Some(2), "{result}");
    one.wait_for((server.addresses[0], 80).into(), "server");
    let link = result["interfaces"][0]["name"].as_str().unwrap().to_owned();
    let queues = site.node.output("tc", &["qdisc", "show", "dev", &link]).unwrap();
    assert!(queues.contains("tbf"), "{queues}");
    // What other pods send to it passes that queue too, once it is seen.
    let passed = || {
        let said = site.node.output("tc", &["-s", "qdisc", "show", "dev", &link]).unwrap();
        let (_, sent) = said.split_once("tbf").unwrap().1.split_once(" bytes ").unwrap();
        sent.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    wait_for("packets in the queue", PATIENCE, || {
        let before = passed();
        one.wait_for((server.addresses[0], 80).into(), "server");
        passed() >= before + 3
    })
    .unwrap();
    let set = one.command("cat").arg("/proc/sys/net/core/somaxconn").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&set.stdout), "517\n");
    tool.ok("check", "chain", &one);
    tool.ok("del", "chain", &one);
    server.del();
    nothing_is_left(&site);
}

/// As Multus and its like do: it calls what its own configuration has, with its own environment.
const META: &str = r#"#!/usr/bin/python3
import json, os, subprocess, sys
own = json.load(sys.stdin)
inner = dict(own["delegate"], name=own["name"], cniVersion=own["cniVersion"])
for key in ("runtimeConfig", "prevResult"):
    if key in own: inner[key] = own[key]
paths = [os.path.join(folder, inner["type"]) for folder in os.environ["CNI_PATH"].split(":")]
plugin = next(path for path in paths if os.path.exists(path))
sys.exit(subprocess.run([plugin], input=json.dumps(inner).encode()).returncode)
"#;

#[test]
fn below_another_plugin() {
    let lab = Lab::new("pods-meta").unwrap();
    let site = one_node(&lab);
    let meta = site.folder.join("bin/meta");
    fs::write(&meta, META).unwrap();
    fs::set_permissions(&meta, fs::Permissions::from_mode(0o755)).unwrap();
    let list = [json!({"type": "meta", "capabilities": {"ips": true}, "delegate": ours(&site)})];
    let mut tool = Tool::of(&site, "1.0.0", &list);
    tool.capabilities = json!({"ips": ["10.244.1.77"]});
    let server = site.container("server");
    let _serves = server.serve("server", 80);
    let mut one = Container::new(&site, "one");
    let result = tool.add("chain", &mut one);
    assert_eq!(result["ips"][0]["address"], "10.244.1.77/32", "{result}");
    one.wait_for((server.addresses[0], 80).into(), "server");
    tool.ok("check", "chain", &one);
    tool.ok("del", "chain", &one);
    server.del();
    nothing_is_left(&site);
    fs::remove_file(meta).unwrap();
}
