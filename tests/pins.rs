//! What an agent leaves in the file systems: nothing after a start that fails, and nothing after a cleanup, whatever
//! became of its cgroup and wherever its pins are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bowline_lab::{Process, wait_for};
use common::manifest::simple;
use common::{Agent, Ground, PATIENCE, at, attached, bowline, server, tcp1};

/// The lock files of a place.
fn locks(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir("/run/bowline").into_iter().flatten().flatten().map(|entry| entry.path());
    let root = root.as_os_str().as_encoded_bytes();
    entries.filter(|path| fs::read(path).is_ok_and(|owner| owner == root)).collect()
}

fn is_mounted(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(4) == path.to_str())
}

/// A bpf file system of somebody's; unmounted when dropped.
struct Bpffs(PathBuf);

impl Bpffs {
    fn new(path: PathBuf) -> Bpffs {
        fs::create_dir(&path).unwrap();
        assert!(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&path).status().unwrap().success());
        Bpffs(path)
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).stderr(Stdio::null()).status();
    }
}

/// An agent with a cgroup of its own below the lab's, killed once it serves.
fn killed(ground: &Ground, cgroup: &Path, root: &Path) {
    fs::create_dir(cgroup).unwrap();
    let mut command = ground.node.command(env!("CARGO_BIN_EXE_bowline"));
    command.arg("node").arg("--state").arg(format!("files:{}", ground.agent.folder.display()));
    command.arg("--cgroup-root").arg(cgroup).arg("--bpf-root").arg(root);
    let mut agent: Process = ground.node.spawn(command.stderr(Stdio::null())).unwrap();
    let ready = || ground.node.http(at("127.0.0.1", 10256), "/readyz").is_ok();
    wait_for("the agent is ready", PATIENCE, ready).unwrap();
    agent.kill().unwrap();
}

fn cleanup(cgroup: &Path, root: &Path) -> String {
    bowline(&["cleanup", "--cgroup-root", cgroup.to_str().unwrap(), "--bpf-root", root.to_str().unwrap()]).ok()
}

#[test]
fn cleanup_needs_no_cgroup() {
    let ground = Ground::without_agent("nocgroup", 0);
    let (cgroup, root) = (ground.lab.cgroup().join("goes"), ground.node.bpf_root().to_owned());
    killed(&ground, &cgroup, &root);
    assert_eq!(locks(&root).len(), 1, "a killed agent leaves its lock file");
    fs::remove_dir(&cgroup).unwrap();
    let said = cleanup(&cgroup, &root);
    assert!(said.contains("links/connect4") && said.contains("layout-") && said.contains(".lock"), "{said}");
    assert!(!root.exists());
    assert_eq!(locks(&root), Vec::<PathBuf>::new());
    assert!(cleanup(&cgroup, &root).contains("nothing was installed"));

    // Made again under its name, or something else there: the same.
    killed(&ground, &cgroup, &root);
    fs::remove_dir(&cgroup).unwrap();
    let other = ground.lab.folder("no-cgroup").unwrap();
    cleanup(&other, &root);
    assert!(!root.exists() && locks(&root).is_empty());
    killed(&ground, &cgroup, &root);
    fs::remove_dir(&cgroup).unwrap();
    fs::create_dir(&cgroup).unwrap();
    cleanup(&cgroup, &root);
    assert!(!root.exists() && locks(&root).is_empty());
}

#[test]
fn cleanup_finds_what_is_pinned_in_another_bpf_file_system_and_leaves_that_mounted() {
    let mut ground = Ground::without_agent("otherfs", 1);
    let theirs = Bpffs::new(ground.lab.folder("fs").unwrap().join("a b"));
    let cgroup = ground.node.cgroup().to_owned();
    // Below its top, and as the top itself; also by another name.
    let link = ground.lab.folder("fs").unwrap().join("link");
    std::os::unix::fs::symlink(&theirs.0, &link).unwrap();
    for (root, named) in [
        (theirs.0.join("deep/pins"), theirs.0.join("deep/pins")),
        (theirs.0.clone(), theirs.0.clone()),
        (theirs.0.join("pins"), link.join("pins")),
    ] {
        ground.agent.at(&named);
        ground.agent.start();
        ground.agent.serve("web.yaml", &simple("web", at("10.96.1.1", 80)).to([server(1)]).yaml(), "web", 1);
        ground.agent.kill();
        assert_eq!((attached(&ground.node).len(), locks(&root).len()), (9, 1));
        let said = cleanup(&cgroup, &root);
        assert!(said.contains("links/connect4"), "{said}");
        assert_eq!(attached(&ground.node), Vec::<String>::new());
        assert!(is_mounted(&PathBuf::from(theirs.0.to_str().unwrap().replace(' ', "\\040"))));
        assert!(!root.join("links").exists() && (root == theirs.0 || !root.exists()));
        assert!(locks(&root).is_empty());
        assert!(cleanup(&cgroup, &root).contains("nothing was installed"));
    }
}

#[test]
fn cleanup_leaves_what_others_have() {
    let mut ground = Ground::new("others", 0);
    let node = Arc::new(ground.lab.node("other").unwrap());
    let mut other = Agent::new(&ground.lab, &node);
    other.start();
    other.kill();
    // Another killed agent's lock file and pins stay; so does a folder that only seems to be of a layout.
    let (root, others) = (ground.node.bpf_root().to_owned(), node.bpf_root().to_owned());
    ground.agent.kill();
    let seems = root.join("layout-of-mine");
    fs::create_dir(&seems).unwrap();
    cleanup(ground.node.cgroup(), &root);
    assert!(seems.exists() && fs::read_dir(&root).unwrap().count() == 1);
    assert_eq!((attached(&node).len(), locks(&others).len(), locks(&root).len()), (9, 1, 0));
    // An agent works on this cgroup, with other pins: that is said, as there is nothing else to do.
    other.start();
    let said = bowline(&[
        "cleanup",
        "--cgroup-root",
        node.cgroup().to_str().unwrap(),
        "--bpf-root",
        root.with_file_name("nothing").to_str().unwrap(),
    ]);
    assert!(said.failed().contains(&format!("pid {}", other.pid())));
}

#[test]
fn a_start_that_ends_before_it_serves_leaves_nothing() {
    let mut ground = Ground::without_agent("unserved", 0);
    let root = ground.node.bpf_root().to_owned();
    // It ends by itself: what is no folder never will be one.
    fs::remove_dir(&ground.agent.folder).unwrap();
    fs::write(&ground.agent.folder, "").unwrap();
    let plain = ground.lab.folder("plain").unwrap();
    for (root, mount) in [(root.clone(), None), (plain.join("a/pins"), Some(plain.join("a/pins")))] {
        ground.agent.at(&root);
        ground.agent.spawn();
        assert!(!ground.agent.ended().success());
        assert!(!root.exists() && locks(&root).is_empty(), "{}", ground.agent.log());
        assert!(!mount.is_some_and(|mount| is_mounted(&mount)));
    }
    assert!(plain.exists() && !plain.join("a").exists());
    // It is ended while it waits for its state.
    ground.agent.at(&root);
    fs::remove_file(&ground.agent.folder).unwrap();
    ground.agent.spawn();
    ground.agent.wait("it lives", |agent| agent.healthz().is_ok());
    assert!(root.exists() && locks(&root).len() == 1);
    ground.agent.stop();
    assert!(!root.exists() && locks(&root).is_empty());
    // Its DNS server can't start, when the maps are there already and the interface is made.
    fs::create_dir(&ground.agent.folder).unwrap();
    let corefile = ground.agent.folder.with_file_name("Corefile");
    fs::write(&corefile, ".:53 {\n    bind 192.0.2.1\n    whoami\n}\n").unwrap();
    ground.agent.flags(&["--dns", corefile.to_str().unwrap(), "--setupinterface=true"]);
    ground.agent.spawn();
    assert!(!ground.agent.ended().success());
    assert!(!root.exists() && locks(&root).is_empty(), "{}", ground.agent.log());
    let links = ground.node.output("ip", &["-o", "link"]).unwrap();
    assert!(!links.contains("nodelocaldns"), "{links}");
}

#[test]
fn a_start_that_fails_at_a_hook_leaves_nothing_and_what_served_goes_on() {
    let mut ground = Ground::without_agent("halfway", 1);
    let (root, vip) = (ground.node.bpf_root().to_owned(), at("10.96.1.1", 80));
    ground.agent.put("web.yaml", &simple("web", vip).to([server(1)]).yaml());
    // A program above that wants to be the only one of its hook: links can't be made there any more. The hook is
    // in the middle of all.
    let node = Arc::new(ground.lab.node("other").unwrap());
    let mut other = Agent::new(&ground.lab, &node);
    other.start();
    let program_of = |root: &Path, hook: &str| -> u64 {
        let pin = root.join("links").join(hook);
        let out = Command::new("bpftool").args(["-j", "link", "show", "pinned"]).arg(pin).output().unwrap();
        let shown: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{out:?}"));
        shown["prog_id"].as_u64().unwrap()
    };
    let id = program_of(node.bpf_root(), "sock_release").to_string();
    let alone = |what: &str| {
        let mut command = Command::new("bpftool");
        command.args(["cgroup", what]).arg(ground.lab.cgroup()).args(["cgroup_inet_sock_release", "id", &id]);
        assert!(command.status().unwrap().success(), "{command:?}");
    };
    alone("attach");
    ground.agent.spawn();
    assert!(!ground.agent.ended().success());
    assert!(ground.agent.has_line(&["sock_release"]), "{}", ground.agent.log());
    assert_eq!(attached(&ground.node), Vec::<String>::new());
    assert!(!root.exists() && locks(&root).is_empty());

    // One serves already, and its successor, with other maps, fails at that hook.
    alone("detach");
    ground.agent.start();
    ground.agent.kill();
    let maps = ground.agent.maps();
    fs::remove_file(root.join("links/sock_release")).unwrap();
    alone("attach");
    let hooks = ["recvmsg4", "getpeername6", "connect4", "sendmsg6"];
    let before = hooks.map(|hook| program_of(&root, hook));
    ground.agent.flags(&["--max-sockets", "4096"]);
    ground.agent.spawn();
    assert!(!ground.agent.ended().success());
    assert_eq!(hooks.map(|hook| program_of(&root, hook)), before, "{}", ground.agent.log());
    assert!(!root.join("links/sock_release").exists());
    let left: Vec<PathBuf> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left.iter().filter(|path| **path != root.join("links")).collect::<Vec<_>>(), [&maps]);
    assert_eq!(tcp1(&ground.client, vip), "s-1");
    // And once nothing is in its way, it takes over.
    alone("detach");
    ground.agent.start();
    assert_eq!(tcp1(&ground.client, vip), "s-1");
    assert_ne!(ground.agent.maps(), maps);
}
