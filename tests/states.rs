//! What an agent says of the states it reads: several clusters, policies that nothing enforces, Services that
//! need kube-proxy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::manifest::{service, simple};
use common::{Ground, at, bowline, put, server, tcp1};

const POLICY: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny}\n\
                      spec: {podSelector: {}, policyTypes: [Ingress]}\n";

#[test]
fn several_clusters_are_kept_apart_and_a_dead_one_delays_no_other() {
    let mut ground = Ground::without_agent("several-clusters", 1);
    let east = ground.lab.folder("east").unwrap();
    let dead = ground.lab.folder("none").unwrap().join("dead");
    put(&east.join("e.yaml"), &simple("elsewhere", at("10.96.1.2", 80)).to([server(1)]).yaml());
    ground.agent.put("a.yaml", &simple("here", at("10.96.1.1", 80)).to([server(1)]).yaml());
    ground.agent.flags(&[
        "--state",
        &format!("east=files:{}", east.display()),
        "--state",
        &format!("dead=files:{}", dead.display()),
    ]);
    ground.agent.spawn();
    ground.agent.wait("ready, with a remark", |agent| {
        agent.readyz().is_ok_and(|page| page.starts_with("ok; dead: the state cannot be read"))
    });
    // The kernel serves the node's own cluster alone.
    assert_eq!(tcp1(&ground.client, at("10.96.1.1", 80)), "s-1");
    assert!(ground.agent.get().is_there("here") && !ground.agent.get().is_there("elsewhere"));
    let agent = &ground.agent;
    let count = |cluster| agent.metric(&format!("bowline_objects{{cluster=\"{cluster}\",kind=\"Service\"}}"));
    assert_eq!((count("local"), count("east"), count("dead")), (Some(1.0), Some(1.0), Some(0.0)));
    let up = |cluster| agent.metric(&format!("bowline_source_up{{cluster=\"{cluster}\"}}"));
    assert_eq!((up("local"), up("east"), up("dead")), (Some(1.0), Some(1.0), Some(0.0)));
    // A change in one of them is the other's no business; one that comes back is read.
    put(&east.join("f.yaml"), &service("more", "ports: [{port: 80}]"));
    agent.wait_for_metric("bowline_objects{cluster=\"east\",kind=\"Service\"}", 2.0);
    std::fs::create_dir(&dead).unwrap();
    agent.wait("all are read", |agent| agent.readyz().is_ok_and(|page| page == "ok\n"));
}

#[test]
fn two_clusters_of_one_name_and_none_at_all_are_refused() {
    let ended = bowline(&["node", "--state", "files:/tmp", "--state", "files:/tmp"]).failed();
    assert!(ended.contains("two --state are called local"), "{ended}");
    assert!(bowline(&["node"]).failed().contains("--state is missing"));
}

#[test]
fn a_policy_that_nothing_enforces_is_told() {
    let ground = Ground::new("policies", 0);
    let series = "bowline_network_policies_not_enforced{cluster=\"local\"}";
    assert_eq!(ground.agent.metric(series), Some(0.0));
    ground.agent.put("p.yaml", POLICY);
    ground.agent.wait_for_metric(series, 1.0);
    assert!(ground.agent.has_line(&["NetworkPolicy is not enforced", "default/deny"]));
    ground.agent.remove("p.yaml");
    ground.agent.wait_for_metric(series, 0.0);
    let refused = bowline(&["node", "--state", "files:/tmp", "--require-network-policy"]).failed();
    assert!(refused.contains("--require-network-policy: this version enforces no NetworkPolicy"), "{refused}");
}

#[test]
fn check_lists_what_needs_kube_proxy_and_what_is_not_enforced() {
    let lab = bowline_lab::Lab::new("check-state").unwrap();
    let folder = lab.folder("state").unwrap();
    put(&folder.join("plain.yaml"), &service("plain", "ports: [{port: 80}]"));
    let state = format!("files:{}", folder.display());
    let said = bowline(&["check", "--state", &state]).ok();
    assert!(said.contains("no Service of 1 needs kube-proxy"), "{said}");
    let all = service("node-port", "type: NodePort, ports: [{port: 80, nodePort: 30080}]")
        + &service("outside", "externalIPs: [192.0.2.1], ports: [{port: 80}]")
        + &service("inside", "internalTrafficPolicy: Local, ports: [{port: 80}]")
        + &service("near", "trafficDistribution: PreferClose, ports: [{port: 80}]")
        + &service("sctp", "ports: [{port: 80, protocol: SCTP}]")
        + "---\n"
        + POLICY;
    put(&folder.join("all.yaml"), &all);
    let said = bowline(&["check", "--state", &state]).ok();
    let row = |name: &str| said.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}:\n{said}"));
    assert!(row("default/node-port").contains("node ports"));
    assert!(row("default/outside").contains("externalIPs"));
    assert!(row("default/inside").contains("internalTrafficPolicy"));
    assert!(row("default/near").contains("trafficDistribution"));
    assert!(row("default/sctp").contains("SCTP"));
    assert!(row("default/deny").contains("not enforced"));
    assert!(!said.contains("default/plain") && !said.contains("refused"), "{said}");
}

/// A kind that nobody reads is said once, however many objects of it there are and however often they are read.
#[test]
fn kinds_that_nobody_reads_are_said_once_each() {
    let mut ground = Ground::without_agent("left-out", 0);
    let other = |version: &str, kind: &str, name: &str| {
        format!("---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{}}\n")
    };
    let ingress = |name: &str| other("networking.k8s.io/v1", "Ingress", name);
    ground.agent.put("a.yaml", &(ingress("a") + &ingress("b") + &other("apps/v1", "Deployment", "a")));
    ground.agent.start();
    let said = |agent: &common::Agent, kind: &str| {
        let line = format!("objects of kind {kind} are left out: Bowline doesn't read them");
        agent.log().lines().filter(|found| found.contains(&line)).count()
    };
    let kinds = ["networking.k8s.io/v1 Ingress", "apps/v1 Deployment", "apps/v1 DaemonSet"];
    assert_eq!(kinds.map(|kind| said(&ground.agent, kind)), [1, 1, 0], "{}", ground.agent.log());
    // Read again, as a file that has changed and as a new one; another kind has a line of its own.
    ground.agent.put("a.yaml", &(ingress("a") + &ingress("c") + &other("apps/v1", "Deployment", "b")));
    ground.agent.put("b.yaml", &(ingress("d") + &other("apps/v1", "DaemonSet", "a")));
    ground.agent.barrier();
    assert_eq!(kinds.map(|kind| said(&ground.agent, kind)), [1, 1, 1], "{}", ground.agent.log());
    assert_eq!(ground.agent.metric("bowline_problems{cluster=\"local\"}"), Some(0.0));
}
