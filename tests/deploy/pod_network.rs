//! Nodes that have no network for pods until the DaemonSet gives them one, as `make cluster` has it.

use std::sync::PoisonError;

use bowline_lab::kubernetes::{Cluster, ClusterOptions, Dns, Services};
use bowline_lab::{Lab, wait_for};
use serde_json::Value;

use crate::cluster::{ALONE, rolled_out};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
/// Where the lab's containerd looks for networks.
const CONF_DIR: &str = "/var/lib/cni/net.d";

/// Of each node by its name: what a condition says, why, and since when.
fn conditions(cluster: &Cluster, kind: &str) -> Vec<[String; 4]> {
    let nodes: Value = serde_json::from_str(&cluster.kubectl(&["get", "nodes", "-o", "json"]).unwrap()).unwrap();
    let condition = |node: &Value| {
        let all = node.pointer("/status/conditions").unwrap().as_array().unwrap();
        let one = all.iter().find(|one| one["type"] == kind).unwrap_or(&Value::Null);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        [text(&node["metadata"]["name"]), text(&one["status"]), text(&one["reason"]), text(&one["lastTransitionTime"])]
    };
    nodes["items"].as_array().unwrap().iter().map(condition).collect()
}

/// When the agent of a node was started.
fn started(cluster: &Cluster, node: &str) -> String {
    let (node, label) = (format!("spec.nodeName={node}"), "app.kubernetes.io/component=node");
    let path = "jsonpath={.items[0].status.containerStatuses[0].state.running.startedAt}";
    cluster.kubectl(&["get", "pods", "-n", "kube-system", "-l", label, "--field-selector", &node, "-o", path]).unwrap()
}

#[test]
fn a_cluster_whose_network_services_and_dns_are_bowlines_alone() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::new("deploy-pods").unwrap();
    let program = || env!("CARGO_BIN_EXE_bowline").into();
    let (services, dns) = (Services::DaemonSet { program: program() }, Dns::Bowline { program: program() });
    let options = ClusterOptions { nodes: 2, services, dns, images: Vec::new(), verbose: true };
    let cluster = Cluster::start(lab, &options).unwrap();
    for [node, status, _, since] in conditions(&cluster, "Ready") {
        let started = started(&cluster, &node);
        assert!(status == "True" && !started.is_empty() && since >= started, "{node}: {since}, its agent: {started}");
    }
    for [node, status, reason, _] in conditions(&cluster, "NetworkUnavailable") {
        assert_eq!([&*status, &*reason], ["False", "BowlineIsUp"], "{node}");
    }
    let run = |name: &str, node: &str| {
        let spec = format!("{{\"spec\": {{\"nodeName\": \"{node}\", \"terminationGracePeriodSeconds\": 0}}}}");
        let image = "--image=bowline.test/busybox:lab";
        cluster.kubectl(&["run", name, image, "--overrides", &spec, "--command", "--", "sleep", "99999"]).unwrap();
    };
    run("one", "node-1");
    run("two", "node-2");
    cluster.kubectl_wait(&["--for=condition=Ready", "pod/one", "pod/two"]).unwrap();
    let at = |pod: &str| cluster.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.podIPs[*].ip}"]).unwrap();
    for address in at("two").split(' ') {
        cluster.kubectl(&["exec", "one", "--", "ping", "-c1", "-W5", address]).unwrap();
    }
    let name = "kubernetes.default.svc.cluster.local";
    wait_for("a name", PATIENCE, || {
        cluster
            .kubectl(&["exec", "two", "--", "nslookup", "-type=a", name])
            .is_ok_and(|said| said.contains("10.96.0.1"))
    })
    .unwrap();
    for node in cluster.nodes() {
        let files = |folder: &str| node.machine.output("ls", &[folder]).unwrap();
        assert_eq!(files("/opt/cni/bin"), "bowline-cni\nloopback\n");
        assert_eq!(files(CONF_DIR), "05-bowline.conflist\n");
    }
    // A new agent leaves running pods alone.
    cluster.kubectl(&["rollout", "restart", "--namespace=kube-system", "daemonset/bowline"]).unwrap();
    rolled_out(&cluster, "daemonset/bowline");
    cluster.kubectl(&["exec", "one", "--", "ping", "-c1", "-W5", at("two").split(' ').next().unwrap()]).unwrap();
    let get = ["exec", "--namespace=kube-system", "daemonset/bowline", "--", "bowline", "get", "pods", "--kernel"];
    assert!(cluster.kubectl(&get).unwrap().contains("eth0"));
}
