//! Nodes that have no network for pods until the DaemonSet gives them one.

use std::fs;
use std::path::Path;
use std::sync::PoisonError;

use bowline_lab::kubernetes::{Cluster, ClusterOptions, Dns, Services};
use bowline_lab::{Lab, wait_for};
use serde_json::Value;

use crate::cluster::{ALONE, apply, rolled_out};
use crate::image;
use crate::overlay::Deploy;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
/// Where the lab's containerd looks for networks.
const CONF_DIR: &str = "/var/lib/cni/net.d";

fn ready(cluster: &Cluster) -> usize {
    let nodes: Value = serde_json::from_str(&cluster.kubectl(&["get", "nodes", "-o", "json"]).unwrap()).unwrap();
    let is_ready = |node: &&Value| {
        let conditions = node.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        conditions.filter(|one| one["type"] == "Ready").any(|one| one["status"] == "True")
    };
    nodes["items"].as_array().unwrap().iter().filter(is_ready).count()
}

#[test]
fn a_cluster_whose_network_services_and_dns_are_bowlines_alone() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::new("deploy-pods").unwrap();
    let archive = image::build(&lab);
    let deploy = Deploy::new(&lab);
    let dns = Dns::Bowline { program: env!("CARGO_BIN_EXE_bowline").into() };
    let options = ClusterOptions { nodes: 2, services: Services::Deployed, dns, images: Vec::new(), verbose: false };
    let cluster = Cluster::start(lab, &options).unwrap();
    for node in cluster.nodes() {
        node.kubelet.import(&node.machine, &archive).unwrap();
    }
    assert_eq!(ready(&cluster), 0);

    let apiserver = format!("apiserver={}", cluster.api().url());
    let overlay = deploy.with("pods", "overlays/alone", image::NAME, &[&apiserver], &["pod-network"]);
    // As an operator whose runtime looks elsewhere.
    let file = Path::new(&overlay).join("kustomization.yaml");
    let patch = format!(
        "patches:\n  - target: {{kind: DaemonSet, name: bowline}}\n    patch: |-\n      apiVersion: apps/v1\n      \
         kind: DaemonSet\n      metadata: {{name: bowline}}\n      spec: {{template: {{spec: {{volumes: [{{name: \
         cni-conf, hostPath: {{path: {CONF_DIR}}}}}]}}}}}}\n"
    );
    fs::write(&file, fs::read_to_string(&file).unwrap() + &patch).unwrap();
    apply(&cluster, &overlay);
    rolled_out(&cluster, "daemonset/bowline");
    wait_for("the nodes are ready", PATIENCE, || ready(&cluster) == 2).unwrap();
    // The cluster's DNS are pods like others.
    rolled_out(&cluster, &format!("deployment/{}", cluster.dns().deployment()));
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
        let files = node.machine.output("ls", &["/opt/cni/bin", CONF_DIR]).unwrap();
        assert!(files.contains("bowline-cni") && files.contains("loopback") && files.contains("05-bowline.conflist"));
    }
    // A new agent leaves running pods alone.
    cluster.kubectl(&["rollout", "restart", "--namespace=kube-system", "daemonset/bowline"]).unwrap();
    rolled_out(&cluster, "daemonset/bowline");
    cluster.kubectl(&["exec", "one", "--", "ping", "-c1", "-W5", at("two").split(' ').next().unwrap()]).unwrap();
    let get = ["exec", "--namespace=kube-system", "daemonset/bowline", "--", "bowline", "get", "pods", "--kernel"];
    assert!(cluster.kubectl(&get).unwrap().contains("eth0"));
}
