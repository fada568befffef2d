//! `bowline-lab-cluster` as people use it: up, again up, kubectl, a command on a node, down, and no trace left;
//! a cluster that was only half made is removed too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bowline_lab::wait_for;

const PATIENCE: Duration = Duration::from_secs(120);

/// Each compares what there is before and after.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs it for a cluster of this name.
fn cluster(name: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowline-lab-cluster"));
    command.args(["--name", name]).args(args).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn ok(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Removes its cluster after a panic too, and what a run that was killed has left of it.
struct Named(&'static str);

impl Named {
    fn new(name: &'static str) -> Named {
        ok(cluster(name, &["down"]));
        Named(name)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        cluster(self.0, &["down"]);
    }
}

/// What there is on the machine of the kinds that a cluster makes. Other tests run at the same time: what
/// belongs to their labs, whose names begin with "bowl-", is left out, and so is what they share with nobody.
fn machine() -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut add = |what: &str, name: String| {
        if !name.contains("bowl-") {
            seen.insert(format!("{what} {name}"));
        }
    };
    // Without the numbers, which are given anew.
    for mount in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        add("mount", mount.split(' ').skip(3).take(2).collect::<Vec<_>>().join(" "));
        if mount.contains(" - cgroup") {
            let hierarchy = mount.split(' ').nth(4).unwrap();
            list(Path::new(hierarchy)).into_iter().for_each(|name| add("cgroup", format!("{hierarchy}/{name}")));
        }
    }
    let home = std::env::var("HOME").unwrap_or("/root".into());
    let folders = [
        "/run",
        "/run/netns",
        "/run/containerd",
        "/run/lock",
        "/var/lib",
        "/var/lib/cni",
        "/var/log",
        "/opt",
        "/etc",
        "/etc/cni",
        "/usr/libexec",
        "/sys/fs/bpf",
        "/sys/class/net",
        "/dev/shm",
        &home,
    ];
    for folder in folders.iter().copied().chain([std::env::temp_dir().to_str().unwrap()]) {
        // Files in /tmp are anybody's.
        let of_clusters = |name: &String| folder != "/tmp" || name.contains("cluster");
        list(Path::new(folder))
            .into_iter()
            .filter(of_clusters)
            .for_each(|name| add("file", format!("{folder}/{name}")));
    }
    for process in list(Path::new("/proc")).into_iter().filter(|name| name.parse::<u32>().is_ok()) {
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
        let (name, cgroups) = (read("comm").trim().to_owned(), read("cgroup"));
        let kinds = ["kube", "etcd", "containerd", "coredns", "runc", "agnhost", "busybox"];
        if kinds.iter().any(|kind| name.starts_with(kind)) && !cgroups.contains("bowl-") && !read("cmdline").is_empty()
        {
            add("process", format!("{process} {name}"));
        }
    }
    seen
}

fn list(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn comes_and_goes_without_a_trace() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let named = Named::new("trace");
    let before = machine();
    let said = ok(cluster("trace", &["up", "--services", "kube-proxy", "--dns", "coredns", "--bowline", "/bin/true"]));
    assert!(said.contains("kubectl"), "{said}");
    let again = ok(cluster("trace", &["up"]));
    assert!(again.contains("running already"), "{again}");

    let nodes = ok(cluster("trace", &["kubectl", "get", "nodes", "-o", "name"]));
    assert_eq!(nodes, "node/node-1\nnode/node-2\n");
    assert_eq!(ok(cluster("trace", &["node", "node-2", "hostname"])), "node-2\n");
    // A pod with a volume and a port, which leave the most behind.
    let pod =
        ["kubectl", "run", "--image=bowline.test/busybox:lab", "--port=80", "pod", "--command", "--", "sleep", "99999"];
    ok(cluster("trace", &pod));
    ok(cluster("trace", &["kubectl", "wait", "--for=condition=Ready", "pod/pod", "--timeout=120s"]));
    assert_eq!(ok(cluster("trace", &["kubectl", "exec", "pod", "--", "echo", "hello"])), "hello\n");
    // kubectl reads the files of where it is called.
    let folder = std::env::temp_dir().join(format!("bowl-{}-files", std::process::id()));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("map.yaml"), "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowline-lab-cluster"));
    command.args(["--name", "trace", "kubectl", "apply", "-f", "map.yaml"]).current_dir(&folder);
    let applied = command.output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    ok(applied);

    assert!(machine().len() > before.len() + 20, "the comparison sees a cluster");
    ok(cluster("trace", &["down"]));
    let mut left = Vec::new();
    // A process that was killed is there until it is waited for, by whoever that falls to.
    let gone = wait_for("no trace", Duration::from_secs(10), || {
        left = machine().difference(&before).cloned().collect();
        left.is_empty()
    });
    assert!(gone.is_ok(), "{left:#?}");
    assert!(!cluster("trace", &["kubectl", "version"]).status.success());
    assert!(ok(cluster("trace", &["down"])).contains("no cluster"));
    drop(named);
}

#[test]
fn half_made_is_told_and_removed() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let named = Named::new("half");
    let before = machine();
    let mut up = Command::new(env!("CARGO_BIN_EXE_bowline-lab-cluster"));
    up.args(["--name", "half", "up", "--services", "none", "--bowline", "/bin/true"]).stdout(Stdio::null());
    let mut up = up.spawn().unwrap();
    let folder = std::env::temp_dir().join("bowline-cluster-half");
    let kubelet = folder.join("node-1/var/log/containerd.log");
    wait_for("a cluster that is being made", PATIENCE, || kubelet.exists()).unwrap();
    up.kill().unwrap();
    up.wait().unwrap();

    let refused = cluster("half", &["up"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("not whole") && said.contains("cluster-down"), "{said}");
    ok(cluster("half", &["down"]));
    let mut left = Vec::new();
    let gone = wait_for("no trace", Duration::from_secs(10), || {
        left = machine().difference(&before).cloned().collect();
        left.is_empty()
    });
    assert!(gone.is_ok(), "{left:#?}");
    drop(named);
}
