//! Many pods that come and go at once, through the kubelet and containerd: each has its own addresses, and nothing is left.

use std::collections::HashSet;
use std::time::Instant;

use bowline_lab::{amount, wait_for};
use serde_json::{Value, json};

use crate::ground::{Ground, PATIENCE};

/// What `bowline get WHAT` shows on a node.
fn shown(node: &bowline_lab::kubernetes::ClusterNode, what: &str) -> Vec<Value> {
    let program = env!("CARGO_BIN_EXE_bowline");
    let said = node.machine.output(program, &["get", what, "-o", "json"]).unwrap();
    serde_json::from_str(&said).unwrap()
}

fn wires(node: &bowline_lab::kubernetes::ClusterNode) -> usize {
    let said = node.machine.output("ip", &["-o", "link", "show", "type", "veth"]).unwrap();
    said.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|name| name.starts_with("bow"))).count()
}

/// The runtime finds Bowline's plugin alone, also in the part of `loopback`.
fn no_other_plugin(node: &bowline_lab::kubernetes::ClusterNode) {
    let ls = |folder: &str| node.machine.output("ls", &[folder]).unwrap();
    assert_eq!(ls("/opt/cni/bin"), "bowline-cni\nloopback\n");
    node.machine.output("cmp", &["/opt/cni/bin/bowline-cni", "/opt/cni/bin/loopback"]).unwrap();
    assert_eq!(ls("/var/lib/cni/net.d"), "05-bowline.conflist\n");
    let config = node.machine.output("cat", &["/var/lib/containerd/config.toml"]).unwrap();
    assert!(config.contains("bin_dir = \"/opt/cni/bin\"") && config.contains("conf_dir = \"/var/lib/cni/net.d\""));
    // The packages' own folder.
    assert_eq!(node.machine.output("sh", &["-c", "ls /usr/lib/cni 2>&- || true"]).unwrap(), "");
}

#[test]
fn many_come_and_go_at_once_and_nothing_is_left() {
    let ground = Ground::new();
    if !crate::ground::bowline().has_pod_network() || std::env::var_os("BOWLINE_TEST_SERVICES").is_some() {
        return;
    }
    ground.cluster().nodes().iter().for_each(no_other_plugin);
    let each = amount(100, 15);
    let before: Vec<usize> = ground.cluster().nodes().iter().map(wires).collect();
    let held: Vec<usize> = ground.cluster().nodes().iter().map(|node| shown(node, "addresses").len()).collect();
    let namespace = ground.namespace("many");
    let template = json!({
        "metadata": {"labels": {"app": "many"}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "topologySpreadConstraints": [{
                "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "many"}},
            }],
            "containers": [{"name": "pause", "image": bowline_lab::kubernetes::image("pause")}],
        },
    });
    let begun = Instant::now();
    namespace.apply(&[json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"},
        "spec": {"replicas": 2 * each, "selector": {"matchLabels": {"app": "many"}}, "template": template},
    })]);
    namespace.kubectl(&["rollout", "status", "--timeout=900s", "deployment/many"]);
    println!("{} pods are ready after {:.1} s", 2 * each, begun.elapsed().as_secs_f64());
    let pods = ground.get(&["-n", "many", "pods"]);
    let ips: Vec<&str> = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|pod| pod["status"]["podIPs"].as_array().unwrap())
        .map(|ip| ip["ip"].as_str().unwrap())
        .collect();
    assert_eq!(ips.len(), 4 * each);
    assert_eq!(ips.iter().collect::<HashSet<_>>().len(), ips.len(), "an address was given twice");
    for (node, before) in ground.cluster().nodes().iter().zip(&before) {
        assert_eq!(wires(node), before + each, "{}", node.machine.name());
        let named = shown(node, "pods").iter().filter(|pod| pod["pod"]["namespace"] == "many").count();
        assert_eq!(named, each);
    }
    let begun = Instant::now();
    namespace.kubectl(&["scale", "deployment/many", "--replicas=0"]);
    let left = || {
        let nodes = ground.cluster().nodes().iter();
        nodes.map(|node| (wires(node), shown(node, "addresses").len())).collect::<Vec<_>>()
    };
    let expected: Vec<(usize, usize)> = before.into_iter().zip(held).collect();
    let gone = wait_for("all are gone", PATIENCE, || left() == expected);
    assert!(gone.is_ok(), "{:?} in place of {expected:?}", left());
    println!("gone after {:.1} s", begun.elapsed().as_secs_f64());
}
