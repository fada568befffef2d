//! The commands beside `node`: get, check, cleanup, completions, man, help.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::manifest::{service, simple};
use common::{Agent, Client, Ground, at, attached, bowline, bowline_in, server, server6, tcp1};

const SUBCOMMANDS: [&str; 10] =
    ["node", "dns", "apply", "delete", "diff", "get", "check", "cleanup", "completions", "man"];

/// Two Services in two namespaces, of two families.
fn two(ground: &Ground) {
    let store = simple("db", at("fd00:10:96::1", 5432)).udp().affinity(60).scheduler("sh").to([server6(1)]).yaml();
    let text = simple("web", at("10.96.1.1", 80)).to([server(1), server(2)]).yaml()
        + &store.replace("metadata: {", "metadata: {namespace: store, ");
    ground.agent.apply("two.yaml", &text, "both are there", |ports| {
        ports.backends("web").len() == 2 && ports.backends("db").len() == 1
    });
}

#[test]
fn get_shows_what_the_kernel_has_whether_an_agent_runs_or_not() {
    let mut ground = Ground::new("get", 2);
    let root = ground.node.bpf_root().to_str().unwrap().to_owned();
    let get = |words: &str| {
        let args: Vec<&str> = words.split_whitespace().chain(["--bpf-root", &root]).collect();
        bowline(&[&["get"], &args[..]].concat()).ok()
    };
    assert_eq!(get("services").lines().count(), 1, "a head and no row");
    assert_eq!(get("services -o json").trim(), "[]");
    two(&ground);
    for _ in 0..2 {
        let words = |text: String| -> Vec<Vec<String>> {
            text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
        };
        let table = words(get("services"));
        assert_eq!(
            table[0],
            ["NAMESPACE", "NAME", "PORT", "FRONTEND", "PROTOCOL", "SCHEDULER", "AFFINITY", "BACKENDS"]
        );
        assert_eq!(table[1], ["default", "web", "-", "10.96.1.1:80", "TCP", "rr", "-", "2"]);
        assert_eq!(table[2], ["store", "db", "-", "[fd00:10:96::1]:5432", "UDP", "sh", "60s", "1"]);
        let wide = words(get("services -o wide"));
        assert_eq!(wide[0][8..], ["FAMILY", "ID", "GENERATION", "TURN"]);
        assert_eq!((wide[1][8].as_str(), wide[2][8].as_str()), ("IPv4", "IPv6"));

        let table = words(get("backends"));
        assert_eq!(table[0], ["NAMESPACE", "SERVICE", "PORT", "BACKEND", "PROTOCOL", "STATE"]);
        assert_eq!(table[1], ["default", "web", "-", "10.1.0.2:8001", "TCP", "active"]);
        assert_eq!(table[3], ["store", "db", "-", "[fd00:1::2]:8001", "UDP", "active"]);
        assert_eq!(words(get("backends -o wide"))[0][6..], ["ID", "LIFE"]);

        // One Service, one namespace, other words for the same.
        assert_eq!(words(get("svc web")).len(), 2);
        assert_eq!(words(get("service -n store")).len(), 2);
        assert_eq!(words(get("backend -n nowhere")).len(), 1);

        let json: serde_json::Value = serde_json::from_str(&get("services -o json")).unwrap();
        assert_eq!((&json[0]["name"], &json[1]["affinity_seconds"]), (&"web".into(), &60.into()));
        let json: serde_json::Value = serde_json::from_str(&get("backends -o json db")).unwrap();
        assert_eq!((&json[0]["service"], &json[0]["address"]), (&"db".into(), &"fd00:1::2".into()));
        let yaml = get("services -o yaml");
        assert!(yaml.contains("name: web") && yaml.contains("protocol: UDP"), "{yaml}");
        if !ground.agent.is_running() {
            break;
        }
        ground.agent.kill();
    }
    // Nothing there: what to do.
    let elsewhere = format!("{root}-nothing");
    let said = bowline(&["get", "services", "--bpf-root", &elsewhere]).failed();
    assert!(
        said.contains("nothing is installed") && said.contains("bowline node") && said.contains(&elsewhere),
        "{said}"
    );
}

#[test]
fn cleanup_takes_away_all_that_was_installed_and_nothing_else() {
    let mut ground = Ground::new("cleanup", 2);
    two(&ground);
    let node = Arc::new(ground.lab.node("other").unwrap());
    let mut other = Agent::new(&ground.lab, &node);
    other.start();
    let foreign = |folder: &Path, name: &str| {
        let pin = folder.join(name);
        let words = ["type", "array", "key", "4", "value", "4", "entries", "1", "name", name];
        assert!(Command::new("bpftool").args(["map", "create"]).arg(&pin).args(words).status().unwrap().success());
        pin
    };
    // Somebody else's pins, inside the folder and beside it.
    let root = ground.node.bpf_root().to_owned();
    let pins = [foreign(&root, "inside"), foreign(root.parent().unwrap(), "beside")];
    let (mut held, first) = Client::start(&ground.client, "connect --target 10.96.1.1:80");

    // Refused while an agent works there.
    let said = bowline_in(&ground.node, &["cleanup"]).failed();
    assert!(said.contains(&format!("pid {}", ground.agent.pid())), "{said}");
    assert_eq!((attached(&ground.node).len(), tcp1(&ground.client, at("10.96.1.1", 80)).len()), (9, 3));

    ground.agent.stop();
    let maps = ground.agent.maps();
    let text = bowline_in(&ground.node, &["cleanup"]).ok();
    assert!(text.contains(&format!("removed {}", maps.display())) && text.contains("links/connect4"), "{text}");
    assert_eq!(attached(&ground.node), Vec::<String>::new());
    let left: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [pins[0].clone()], "the folder stays with what is in it");
    assert!(pins.iter().all(|pin| pin.exists()));
    assert_eq!(attached(&node).len(), 9, "the other agent's stay");
    assert!(other.metric("bowline_ready") == Some(1.0) && other.maps().exists());
    // Nobody serves the address now; what is open goes on.
    assert!(!tcp1(&ground.client, at("10.96.1.1", 80)).starts_with("s-"));
    assert_eq!(held.again()[0].who(), first[0].who());

    // Once more: there is nothing. Without strangers' pins the folder goes too.
    assert!(bowline_in(&ground.node, &["cleanup"]).ok().contains("nothing was installed"));
    fs::remove_file(&pins[0]).unwrap();
    ground.agent.start();
    assert!(tcp1(&ground.client, at("10.96.1.1", 80)).starts_with("s-"));
    ground.agent.kill();
    bowline_in(&ground.node, &["cleanup"]).ok();
    assert!(!root.exists());
    assert_eq!(attached(&ground.node), Vec::<String>::new());
}

/// Takes a mount away that a failed test would leave.
struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        // Where the test succeeds there is none.
        let _ = Command::new("umount").arg("-q").arg(&self.0).stderr(Stdio::null()).status();
    }
}

#[test]
fn a_bpf_file_system_is_mounted_where_there_is_none_and_taken_away_with_the_rest() {
    let mut ground = Ground::without_agent("bpffs", 1);
    let root = ground.lab.folder("here").unwrap().join("pins");
    let (cgroup, pins) = (ground.node.cgroup().to_str().unwrap().to_owned(), root.to_str().unwrap().to_owned());
    ground.agent.at(&root);
    let _unmount = Unmount(root.clone());
    ground.agent.start();
    let mounted = || fs::read_to_string("/proc/self/mountinfo").unwrap().lines().any(|line| line.contains(&pins));
    assert!(mounted());
    ground.agent.serve("web.yaml", &simple("web", at("10.96.1.1", 80)).to([server(1)]).yaml(), "web", 1);
    assert_eq!(tcp1(&ground.client, at("10.96.1.1", 80)), "s-1");
    ground.agent.stop();
    bowline(&["cleanup", "--cgroup-root", &cgroup, "--bpf-root", &pins]).ok();
    assert!(!mounted());
    assert_eq!(attached(&ground.node), Vec::<String>::new());
}

#[test]
fn check_says_whether_this_machine_is_fit_and_what_to_do() {
    let ground = Ground::without_agent("check", 0);
    let text = bowline(&["check"]).ok();
    for what in ["capabilities", "kernel", "bpf jit", "bpf file system", "cgroup v2", "programs"] {
        let line = text.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what} in {text}"));
        assert!(line.starts_with("ok") || line.starts_with("note"), "{line}");
    }
    assert!(text.contains("all 12 pass the verifier") && text.ends_with("This machine is fit.\n"), "{text}");
    // The unified hierarchy is found wherever it is mounted.
    let at = ground.lab.cgroup().parent().unwrap().display().to_string();
    assert!(text.contains(&format!("unified hierarchy at {at}")), "{text}");
    // It has changed nothing.
    let left = fs::read_dir("/sys/fs/bpf").unwrap().flatten();
    assert!(left.map(|e| e.file_name()).all(|name| name != format!("bowline-check-{}", std::process::id()).as_str()));

    let text = bowline(&["check", "--cgroup-root", ground.node.cgroup().to_str().unwrap()]).ok();
    assert!(text.contains("is on it"), "{text}");
    let text = bowline(&["check", "--cgroup-root", "/tmp"]);
    assert!(!text.status.success() && text.stdout.contains("FAIL") && text.stdout.contains("not fit yet"), "{text:?}");
    assert!(text.stdout.contains("name a folder of the hierarchy"), "{text:?}");
    // Without the capabilities that are needed.
    let out = Command::new("setpriv")
        .args(["--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups"])
        .arg(env!("CARGO_BIN_EXE_bowline"))
        .arg("check")
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(!out.status.success() && text.contains("missing CAP_NET_ADMIN, CAP_SYS_ADMIN"), "{text}");
    assert!(text.contains("run it as root"), "{text}");
}

#[test]
fn wrong_arguments_are_refused_with_what_to_write_instead() {
    let folder = std::env::temp_dir();
    let folder = folder.to_str().unwrap();
    let state = format!("files:{folder}");
    for (args, parts) in [
        (&["node"][..], &["--state"][..]),
        (&["node", "--state", "files:"], &["files:DIR"]),
        (&["node", "--state", "folder:x"], &["files:DIR", "etcd:URL"]),
        (&["node", "--state", &state, "--cgroup-root", folder], &["--cgroup-root", "cgroup v2", "bowline check"]),
        (&["node", "--state", &state, "--service-cluster-ip-range", "10.0.0.0"], &["--service-cluster-ip-range"]),
        (&["node", "--state", &state, "--max-slots", "0"], &["--max-slots", "8.."]),
        (&["get", "pods"], &["services", "backends"]),
        (&["completions", "dos"], &["bash"]),
    ] {
        let said = bowline(args).failed();
        assert!(parts.iter().all(|part| said.contains(part)), "{args:?}: {said}");
    }
}

#[test]
fn help_man_page_and_completions_know_every_subcommand_and_flag() {
    let help = bowline(&["--help"]).ok();
    let man = bowline(&["man"]).ok();
    assert!(man.starts_with(".ie") || man.contains(".TH bowline"), "{man}");
    for subcommand in SUBCOMMANDS {
        assert!(help.lines().any(|line| line.trim().starts_with(&format!("{subcommand} "))), "{subcommand} in {help}");
        assert!(man.contains(subcommand), "{subcommand} in {man}");
        let text = bowline(&[subcommand, "--help"]).ok();
        assert!(text.contains("Usage:"), "{text}");
    }
    // And no other.
    let commands = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let listed: Vec<&str> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(SUBCOMMANDS.iter().all(|s| listed.contains(s)) && listed.len() == SUBCOMMANDS.len() + 1, "{listed:?}");
    assert!(help.contains("Examples:") && help.contains("bowline node --state files:"), "{help}");

    let node = bowline(&["node", "--help"]).ok();
    let flags = [
        "--state",
        "--hostname-override",
        "--cgroup-root",
        "--bpf-root",
        "--service-cluster-ip-range",
        "--metrics-bind-address",
        "--healthz-bind-address",
        "--log-format",
        "-v",
        "--max-backends",
    ];
    for flag in flags {
        assert!(node.contains(flag), "{flag} in {node}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = bowline(&["completions", shell]).ok();
        for word in SUBCOMMANDS.iter().copied().chain(["hostname-override", "cgroup-root"]) {
            assert!(text.contains(word), "{word} for {shell}");
        }
    }
    // What bash makes of it.
    let script = format!(
        "source <({0} completions bash); COMP_WORDS=(bowline cl); COMP_CWORD=1; _bowline bowline cl bowline; echo \"${{COMPREPLY[*]}}\"",
        env!("CARGO_BIN_EXE_bowline")
    );
    let out = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "cleanup", "{out:?}");

    assert_eq!(bowline(&["--version"]).ok().trim(), format!("bowline {}", env!("CARGO_PKG_VERSION")));
    // Without arguments it teaches.
    let nothing = bowline(&[]);
    assert!(!nothing.status.success() && nothing.stderr.contains("Usage:"), "{nothing:?}");
}

#[test]
fn the_node_is_named_by_its_host_or_by_the_flag() {
    let mut ground = Ground::without_agent("named", 0);
    ground.agent.put("web.yaml", &service("web", "clusterIP: 10.96.1.1, ports: [{port: 80}]"));
    ground.agent.start();
    ground.agent.wait_for_line(&["starting", "node=node "]);
    ground.agent.stop();
    ground.agent.nameless();
    ground.agent.start();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    ground.agent.wait_for_line(&["starting", &format!("node={} ", host.trim())]);
}
