//! The examples: each does what its comment says, on the nodes and pods that it names; and the demo.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bowline_lab::{Lab, Node, Pod, Process, wait_for};
use common::{Agent, PATIENCE, Port, ask, at, tcp, tcp1, udp1};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// The two nodes of the examples, a pod with servers on each, and a client on the first.
struct Cluster {
    agent: Agent,
    servers: Vec<Process>,
    client: Pod,
    pods: [Pod; 2],
    nodes: [Arc<Node>; 2],
    lab: Lab,
}

impl Cluster {
    /// With an agent on worker-1, on a folder that has these files.
    fn with(tag: &str, files: &[&str]) -> Cluster {
        let mut cluster = Cluster::without_agent(tag, files);
        cluster.agent.start();
        cluster
    }

    /// With one that isn't started.
    fn without_agent(tag: &str, files: &[&str]) -> Cluster {
        let lab = Lab::new(tag).unwrap();
        let nodes = ["worker-1", "worker-2"].map(|name| Arc::new(lab.node(name).unwrap()));
        let pods = [nodes[0].pod("pod").unwrap(), nodes[1].pod("pod").unwrap()];
        let client = nodes[0].pod("client").unwrap();
        let agent = Agent::new(&lab, &nodes[0]);
        for file in files {
            let name = file.replace('/', "-");
            fs::copy(examples().join(file), agent.folder.join(name)).unwrap();
        }
        Cluster { agent, servers: Vec::new(), client, pods, nodes, lab }
    }

    /// Starts servers `s-1` and `s-2` on the two pods, at these ports.
    fn serve(&mut self, ports: [u16; 2]) {
        for (n, (pod, port)) in self.pods.iter().zip(ports).enumerate() {
            let both = [pod.address(port), pod.address6(port)];
            self.servers.push(pod.serve(&format!("s-{}", n + 1), &both, &both).unwrap());
        }
    }

    #[track_caller]
    fn ports(&self, service: &str) -> Vec<Port> {
        assert_eq!(self.agent.metric("bowline_problems{cluster=\"local\"}"), Some(0.0), "{}", self.agent.log());
        self.agent.get().of(service).cloned().collect()
    }
}

fn addresses(list: &[&str]) -> Vec<SocketAddr> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn affinity_keeps_a_client_with_its_pod_for_ten_minutes() {
    let mut cluster = Cluster::with("ex-affinity", &["affinity.yaml"]);
    cluster.serve([8080, 8080]);
    let ports = cluster.ports("cart");
    assert_eq!(ports[0].frontends(), addresses(&["10.96.10.1:80"]));
    assert_eq!(ports[0].backends(), addresses(&["10.1.0.2:8080", "10.2.0.2:8080"]));
    assert_eq!((ports.len(), ports[0].affinity_seconds), (1, Some(600)));
    let answers = tcp(&cluster.client, at("10.96.10.1", 80), 6);
    assert_eq!(answers, vec![answers[0].clone(); 6]);
    assert_ne!(tcp1(&cluster.nodes[0], at("10.96.10.1", 80)), answers[0], "another client, another pod");
}

#[test]
fn dual_stack_has_an_address_of_each_family_and_a_port_that_differs_from_pod_to_pod() {
    let mut cluster = Cluster::with("ex-dual", &["dual-stack.yaml"]);
    cluster.serve([8080, 9090]);
    let ports = cluster.ports("wiki");
    let of = |family: &str| ports.iter().find(|port| port.family == family && port.port_name == "http").unwrap();
    assert_eq!(ports.len(), 2);
    assert_eq!(of("IPv4").frontends(), addresses(&["10.96.10.2:80"]));
    assert_eq!(of("IPv4").backends(), addresses(&["10.1.0.2:8080", "10.2.0.2:9090"]));
    assert_eq!(of("IPv6").frontends(), addresses(&["[fd00:10:96::2]:80"]));
    assert_eq!(of("IPv6").backends(), addresses(&["[fd00:1::2]:8080", "[fd00:2::2]:9090"]));
    for vip in ["10.96.10.2", "fd00:10:96::2"] {
        assert_eq!(tcp(&cluster.client, at(vip, 80), 4).into_iter().collect::<BTreeSet<_>>().len(), 2);
    }
    // "ipFamilyPolicy alone is enough": without addresses, one of each family.
    let text = fs::read_to_string(examples().join("dual-stack.yaml")).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.contains("clusterIP") && !line.contains("- 10.96.") && !line.contains("- fd00:10:96"));
    cluster.agent.put("dual-stack.yaml", &lines.map(|line| format!("{line}\n")).collect::<String>());
    cluster.agent.wait("other addresses", |agent| {
        let frontends = agent.get().frontends("wiki");
        frontends.len() == 2
            && frontends.iter().all(|vip| *vip != at("10.96.10.2", 80) && *vip != at("fd00:10:96::2", 80))
    });
    assert!(cluster.agent.get().frontends("wiki").iter().all(|vip| tcp1(&cluster.client, *vip).starts_with("s-")));
}

#[test]
fn endpointslice_leads_to_the_endpoint_that_is_ready() {
    let mut cluster = Cluster::with("ex-slice", &["endpointslice.yaml"]);
    cluster.serve([15432, 15432]);
    let ports = cluster.ports("db");
    assert_eq!((ports.len(), ports[0].port_name.as_str()), (1, "postgres"));
    assert_eq!(ports[0].frontends(), addresses(&["10.96.10.3:5432"]));
    assert_eq!(ports[0].backends(), addresses(&["10.1.0.2:15432"]));
    assert_eq!(tcp(&cluster.client, at("10.96.10.3", 5432), 3), ["s-1"; 3]);
}

#[test]
fn scheduler_hashes_the_client() {
    let mut cluster = Cluster::with("ex-scheduler", &["scheduler.yaml"]);
    cluster.serve([8080, 8080]);
    let ports = cluster.ports("cache");
    assert_eq!((ports.len(), ports[0].scheduler.as_str()), (1, "sh"));
    assert_eq!(ports[0].frontends(), addresses(&["10.96.10.5:80"]));
    assert_eq!(ports[0].backends(), addresses(&["10.1.0.2:8080", "10.2.0.2:8080"]));
    let answers = tcp(&cluster.client, at("10.96.10.5", 80), 8);
    assert!(answers[0].starts_with("s-") && answers.iter().all(|name| *name == answers[0]), "{answers:?}");
    // "with nothing remembered".
    assert_eq!(cluster.agent.count("affinity"), 0);
    // "`random` works too".
    let text = fs::read_to_string(examples().join("scheduler.yaml")).unwrap();
    cluster.agent.apply("scheduler.yaml", &text.replace("scheduler: sh", "scheduler: random"), "random", |ports| {
        ports.one("cache").is_some_and(|port| port.scheduler == "random")
    });
    assert_eq!(tcp(&cluster.client, at("10.96.10.5", 80), 40).into_iter().collect::<BTreeSet<_>>().len(), 2);
}

#[test]
fn udp_and_tcp_share_a_port_and_a_socket_keeps_its_pod() {
    let mut cluster = Cluster::with("ex-udp", &["udp.yaml"]);
    cluster.serve([5353, 5353]);
    let ports = cluster.ports("resolver");
    let seen: Vec<_> = ports.iter().map(|port| (port.port_name.as_str(), port.protocol.as_str())).collect();
    assert_eq!(seen, [("dns", "UDP"), ("dns-tcp", "TCP")]);
    for port in &ports {
        assert_eq!(port.frontends(), addresses(&["10.96.10.4:53"]));
        assert_eq!(port.backends(), addresses(&["10.1.0.2:5353", "10.2.0.2:5353"]));
    }
    let vip = at("10.96.10.4", 53);
    let answers = ask(&cluster.client, &format!("udp --target {vip} --repeat 5"));
    assert!(answers.iter().all(|seen| seen.who() == answers[0].who() && seen.from == Some(vip)), "{answers:?}");
    assert_ne!(udp1(&cluster.client, vip), answers[0].who(), "another socket, the next pod");
    assert_eq!(tcp(&cluster.client, vip, 2).into_iter().collect::<BTreeSet<_>>().len(), 2);
}

#[test]
fn the_guestbooks_manifests_lead_to_its_pods() {
    let files = ["guestbook/frontend.yaml", "guestbook/redis-leader.yaml", "guestbook/redis-follower.yaml"];
    let mut cluster = Cluster::without_agent("ex-guestbook", &files);
    // As nodes tell of its containers.
    let pods = ["frontend-1", "frontend-2", "frontend-3", "redis-leader-1", "redis-follower-1", "redis-follower-2"];
    let told = pods.iter().enumerate().map(|(n, pod)| {
        format!(
            "---\napiVersion: bowline.dev/v1\nkind: PodAddresses\nmetadata: {{name: {pod}, namespace: default}}\n\
             spec: {{nodeName: worker-1}}\nstatus: {{podIPs: [{{ip: 10.1.0.{}}}]}}\n",
            n + 2
        )
    });
    cluster.agent.put("told.yaml", &told.collect::<String>());
    cluster.agent.start();
    // The default of --service-cluster-ip-range, 10.96.0.0/12.
    let range = Ipv4Addr::new(10, 96, 0, 0)..=Ipv4Addr::new(10, 111, 255, 255);
    for (service, port, pods) in [("frontend", 80, 3), ("redis-leader", 6379, 1), ("redis-follower", 6379, 2)] {
        let ports = cluster.ports(service);
        assert_eq!(ports.len(), 1, "{service}");
        let vip = &ports[0].frontends[0];
        assert!(matches!(vip.address, IpAddr::V4(v4) if range.contains(&v4)) && vip.port == port, "{vip:?}");
        assert_eq!(ports[0].backends.len(), pods, "{service}: {:?}", ports[0].backends);
    }
}

#[test]
fn every_example_is_tested_and_all_go_together() {
    let mut found: Vec<String> =
        fs::read_dir(examples()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    found.retain(|name| name.ends_with(".yaml"));
    found.sort();
    let tested = ["affinity.yaml", "dual-stack.yaml", "endpointslice.yaml", "scheduler.yaml", "udp.yaml"];
    assert_eq!(found, tested, "a new example needs a test of what its comment says");
    let guestbook = ["guestbook/frontend.yaml", "guestbook/redis-leader.yaml", "guestbook/redis-follower.yaml"];
    let cluster = Cluster::with("ex-all", &[&tested[..], &guestbook].concat());
    assert_eq!(cluster.ports("wiki").len(), 2);
    // Each Service once, none in the way of another.
    let names: BTreeSet<String> = cluster.agent.get().0.into_iter().map(|port| port.name).collect();
    assert_eq!(names.len(), 8, "{names:?}");
    // The README lists them all.
    let readme = fs::read_to_string(examples().join("README.md")).unwrap();
    assert!(found.iter().all(|name| readme.contains(&format!("({name})"))), "{readme}");
}

/// A line `#? NAME TYPE [from IP] = DATA`, what is answered (or the code of an empty answer), or `… -> ADDRESS`, to whom
/// the question goes on.
fn asked(corefile: &Path, line: &str) {
    let (question, wanted, is_answered) = match (line.split_once(" = "), line.split_once(" -> ")) {
        (Some((question, wanted)), None) => (question, wanted, true),
        (None, Some((question, wanted))) => (question, wanted, false),
        _ => panic!("{}: {line}", corefile.display()),
    };
    let (question, from) = question.split_once(" from ").unwrap_or((question, "10.1.0.9"));
    let command = if is_answered { "query" } else { "explain" };
    let mut bowline = Command::new(env!("CARGO_BIN_EXE_bowline"));
    bowline.args(["dns", command, "--from", from, "--conf"]).arg(corefile);
    bowline.arg("--state").arg(format!("files:{}", examples().display())).args(question.split(' '));
    let said = common::run(&mut bowline).ok();
    let has = |line: &str| {
        let data = !line.starts_with(';') && line.split_whitespace().last() == Some(wanted);
        let code = line.strip_prefix(";; ").and_then(|line| line.strip_prefix(wanted));
        if is_answered { data || code.is_some_and(|rest| rest.starts_with(',')) } else { line.contains(wanted) }
    };
    assert!(said.lines().any(has), "{}: {line}: {said}", corefile.display());
}

#[test]
fn every_corefile_answers_what_its_comment_says() {
    let readme = fs::read_to_string(examples().join("README.md")).unwrap();
    let mut corefiles: Vec<PathBuf> =
        fs::read_dir(examples().join("dns")).unwrap().map(|entry| entry.unwrap().path()).collect();
    corefiles.push(examples().join("node-local/Corefile"));
    for path in corefiles {
        let conf = path.to_str().unwrap();
        let state = format!("files:{}", examples().display());
        common::bowline(&["dns", "check", "--conf", conf, "--state", &state]).ok();
        let text = fs::read_to_string(&path).unwrap();
        let questions: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("#? ")).collect();
        assert!(questions.len() >= 2, "{conf}");
        questions.iter().for_each(|line| asked(&path, line));
        let name = path.strip_prefix(examples()).unwrap().display();
        assert!(readme.contains(&format!("({name})")), "README.md does not name {name}");
    }
}

#[test]
fn the_nodes_own_dns_server_answers_in_place_of_the_clusters_while_it_is_well() {
    let mut cluster = Cluster::without_agent("ex-local", &["node-local/kube-dns.yaml", "dual-stack.yaml"]);
    // The cluster's DNS server, which knows another name than the node's own.
    let corefile = cluster.lab.folder("dns").unwrap().join("Corefile");
    common::put(&corefile, ". {\n hosts {\n  10.0.0.2 who.test\n }\n}\n");
    let mut command = cluster.pods[1].command(env!("CARGO_BIN_EXE_bowline"));
    command.args(["dns", "--quiet", "--conf"]).arg(corefile).stdin(Stdio::null());
    cluster.servers.push(cluster.pods[1].spawn(&mut command).unwrap());
    let dig = |cluster: &Cluster, vip: &str, name: &str| {
        let mut command = cluster.client.command("dig");
        let out = command.args(["+short", "+tries=1", "+time=2", vip, name]).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(out.stdout).unwrap().lines().last().unwrap_or_default().to_owned()
    };
    let conf = examples().join("node-local/Corefile");
    cluster.agent.flags(&["--dns", conf.to_str().unwrap()]);
    cluster.agent.start();
    let name = "kube-dns.kube-system.svc.cluster.local";
    cluster.agent.wait("the node's own server answers", |_| dig(&cluster, "@10.96.0.10", name) == "10.96.0.10");
    assert_eq!(dig(&cluster, "@10.96.0.10", "wiki.default.svc.cluster.local"), "10.96.10.2");
    assert_eq!(dig(&cluster, "@169.254.20.10", name), "10.96.0.10");
    let root = cluster.nodes[0].bpf_root().to_str().unwrap().to_owned();
    let table = || common::bowline(&["get", "services", "--bpf-root", &root]).ok();
    let shown = table();
    let row = shown.lines().find(|line| line.contains("10.96.0.10:53") && line.contains("UDP")).unwrap();
    assert!(shown.contains("STAND-IN") && row.ends_with(" 169.254.20.10:53"), "{shown}");
    cluster.agent.stop();
    assert_eq!(dig(&cluster, "@10.96.0.10", "who.test"), "10.0.0.2");
    let shown = table();
    assert!(shown.contains("169.254.20.10:53(away)"), "{shown}");
}

/// The demo, with this build of the agent. Its exit status says whether all that it claims holds.
fn demo() -> Command {
    // A shell can't trap a signal that it was born ignoring, as what runs in a shell's background is.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(examples().join("guestbook/demo"));
    command.env("BOWLINE", env!("CARGO_BIN_EXE_bowline")).stdin(Stdio::null());
    command
}

/// What a lab of a process would have left: files, cgroups, mounts, programs.
fn left_of(pid: u32) -> Vec<String> {
    let name = format!("bowl-{pid}-");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let cgroups = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let cgroups = cgroups.map(|line| line.split(' ').nth(4).unwrap());
    let folders = cgroups.chain(["/run/netns", "/sys/fs/bpf", "/tmp"]);
    let entries = folders.flat_map(|folder| fs::read_dir(folder).unwrap().flatten());
    let files = entries.map(|entry| entry.path().display().to_string());
    let programs = fs::read_dir("/proc").unwrap().flatten().filter_map(|process| {
        let words = fs::read_to_string(process.path().join("cmdline")).ok()?;
        Some(format!("{} {}", process.path().display(), words.replace('\0', " ")))
    });
    let mounts = mounts.lines().map(str::to_owned);
    files.chain(programs).chain(mounts).filter(|left| left.contains(&name)).collect()
}

#[test]
fn the_demo_shows_what_it_claims_and_cleans_up() {
    let child = demo().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{text}\n{}", String::from_utf8_lossy(&out.stderr));
    let shown = ["bowline node", "ctr run --cni", "bowline get services", "bowline get pods", "bowline dns"];
    for said in shown.into_iter().chain(["frontend", "redis-leader", "redis-follower"]) {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert_eq!(left_of(pid), Vec::<String>::new());
}

#[test]
fn the_demo_cleans_up_after_ctrl_c() {
    let mut child = demo().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // By then it has agents, two containerd, and containers.
    let runs = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("redis-leader-1: redis-server")));
    assert!(runs.is_some(), "the demo came to no container");
    assert!(!left_of(child.id()).is_empty());
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    // Who reads no more must not hold it up.
    std::thread::spawn(move || lines.count());
    let mut status = None;
    wait_for("the demo ends", PATIENCE, || {
        status = child.try_wait().unwrap();
        status.is_some()
    })
    .unwrap();
    assert_eq!(status.unwrap().code(), Some(130));
    assert_eq!(left_of(child.id()), Vec::<String>::new());
}
