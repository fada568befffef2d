//! A live cluster, as docs/deploy.md leads through it: Bowline comes beside kube-proxy, kube-proxy goes, Bowline is
//! updated, and is taken away; under load, from processes of both nodes and from a pod.

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bowline_lab::kubernetes::{Cluster, ClusterNode, ClusterOptions, Deploy, Dns, Image, Overlay, Services, binary};
use bowline_lab::{Lab, Storm, StormArgs, lab_net, wait_for};
use serde_json::Value;

use crate::image;

const PATIENCE: Duration = Duration::from_secs(120);
const VIP: &str = "10.96.100.100:80";
const PODS: [&str; 5] =
    ["get", "pods", "--namespace=kube-system", "--output=json", "--selector=app.kubernetes.io/component=node"];

/// Four servers on two nodes behind a Service, and a pod that asks.
fn web(image: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: default}}
spec: {{clusterIP: 10.96.100.100, selector: {{app: web}}, ports: [{{port: 80}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: default}}
spec:
  replicas: 4
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints:
        - {{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule,
            labelSelector: {{matchLabels: {{app: web}}}}}}
      containers:
        - name: web
          image: {image}
          args: [serve, --id=web-$(POD_IP), "--tcp=0.0.0.0:80"]
          env: [{{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: default}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: client, image: {image}, command: [sleep, infinity]}}]
"#
    )
}

/// The load, and what it must not see.
struct Storms(Vec<(String, Storm)>);

impl Storms {
    fn start(cluster: &Cluster) -> Storms {
        let args = || StormArgs::new().threads(2).pause(2).target(VIP.parse().unwrap(), "web");
        let nodes = cluster.nodes().iter();
        let mut storms: Vec<_> =
            nodes.map(|node| (node.machine.name().to_owned(), Storm::start(&node.machine, &args()).unwrap())).collect();
        let exec = ["exec", "--stdin", "--namespace=default", "client", "--", "/lab-net"];
        let exec = cluster.api().kubectl_command(&exec).unwrap();
        storms.push(("client".into(), Storm::start_by(exec, &args()).unwrap()));
        Storms(storms)
    }

    /// Each has gone on, and nothing has failed.
    #[track_caller]
    fn go_on(&mut self) {
        for (_, storm) in &self.0 {
            storm.wait_for_more(100).unwrap();
        }
        if self.0.iter().any(|(_, storm)| storm.count().unwrap().failed > 0) {
            Storms(std::mem::take(&mut self.0)).finish();
        }
    }

    #[track_caller]
    fn finish(self) {
        let reports = self.0.into_iter().map(|(who, storm)| (who, storm.finish().unwrap()));
        let failed: Vec<_> = reports
            .filter(|(who, report)| {
                println!("{who}: {} connections, {} failed, {:.1} s", report.connects, report.failed, report.seconds);
                report.failed > 0
            })
            .collect();
        assert!(failed.is_empty(), "{failed:#?}");
    }
}

/// Clusters one at a time: two are too much for a small machine.
pub(crate) static ALONE: Mutex<()> = Mutex::new(());

/// `kubectl apply` of an overlay.
pub(crate) fn apply(cluster: &Cluster, overlay: &str) {
    cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "--kustomize", overlay]).unwrap();
}

#[track_caller]
pub(crate) fn rolled_out(cluster: &Cluster, daemonset: &str) {
    let timeout = format!("--timeout={}s", PATIENCE.as_secs());
    let rollout = ["rollout", "status", "--namespace=kube-system", daemonset, &timeout];
    if let Err(error) = cluster.kubectl(&rollout) {
        let pods = cluster.kubectl(&["describe", "pods", "--namespace=kube-system"]).unwrap();
        let logs = ["logs", "--namespace=kube-system", "--prefix", "--selector=app.kubernetes.io/part-of=bowline"];
        panic!("{error}\n{pods}\n{}", cluster.kubectl(&logs).unwrap_or_default());
    }
}

/// The pods of the agent.
fn agents(cluster: &Cluster) -> Vec<Value> {
    let pods: Value = serde_json::from_str(&cluster.kubectl(&PODS).unwrap()).unwrap();
    pods["items"].as_array().unwrap().clone()
}

fn names(pods: &[Value]) -> Vec<String> {
    pods.iter().map(|pod| pod.pointer("/metadata/name").unwrap().as_str().unwrap().to_owned()).collect()
}

fn curl(node: &ClusterNode, url: &str) -> anyhow::Result<String> {
    node.machine.output("curl", &["-sf", "-m5", url])
}

/// Whether connection tracking knows a connection to the servers with another address or port on one side than on
/// the other.
fn has_translated(node: &ClusterNode) -> bool {
    let table = node.machine.output("cat", &["/proc/net/nf_conntrack"]).unwrap();
    let all = |line: &str, key: &str| -> Vec<String> {
        line.split(' ').filter_map(|word| word.strip_prefix(key)).map(str::to_owned).collect()
    };
    table.lines().filter(|line| line.contains(" dport=80 ") || line.contains(" sport=80 ")).any(|line| {
        let (from, to) = (all(line, "src="), all(line, "dst="));
        let (from_port, to_port) = (all(line, "sport="), all(line, "dport="));
        from[0] != to[1] || to[0] != from[1] || from_port[0] != to_port[1] || to_port[0] != from_port[1]
    })
}

/// How many connections the agent of a node has sent to a backend, by its metrics.
fn scheduled(node: &ClusterNode, port: u16) -> u64 {
    let page = curl(node, &format!("http://127.0.0.1:{port}/metrics")).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("bowline_verdicts_total{verdict=\"scheduled\"} "));
    line.unwrap_or_else(|| panic!("no such metric: {page}")).parse().unwrap()
}

/// Whether the agent of a node answers for the Service kube-dns.
fn takes_dns(node: &ClusterNode) -> bool {
    let page = curl(node, "http://127.0.0.1:10249/metrics").unwrap_or_default();
    page.lines().any(|line| line.starts_with("bowline_dns_takes_service") && line.ends_with(" 1"))
}

#[test]
fn the_way_of_a_live_cluster() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::new("deploy").unwrap();
    let archive = image::build(&lab);
    let deploy = Deploy::new(&lab).unwrap();
    let lab_net = Image { name: "lab-net".into(), ..Image::of("lab-net", lab_net().unwrap()) };
    let (image, services) = (lab_net.full_name(), Services::KubeProxy { mode: "nftables".into() });
    let options = ClusterOptions { nodes: 2, services, dns: Dns::CoreDns, images: vec![lab_net], verbose: false };
    let mut cluster = Cluster::start(lab, &options).unwrap();
    for node in cluster.nodes() {
        node.kubelet.import(&node.machine, &archive).unwrap();
    }
    for node in cluster.nodes() {
        // Two minutes otherwise, and all are waited for below.
        for timeout in ["time_wait=1", "close=1"] {
            let timeout = format!("net.netfilter.nf_conntrack_tcp_timeout_{timeout}");
            node.machine.output("sysctl", &["-w", &timeout]).unwrap();
        }
    }
    cluster.apply(&web(&image)).unwrap();
    cluster.kubectl_wait(&["--for=condition=Available", "deployment/web"]).unwrap();
    cluster.kubectl_wait(&["--for=condition=Ready", "pod/client"]).unwrap();
    wait_for("kube-proxy serves it", PATIENCE, || {
        cluster
            .nodes()
            .iter()
            .all(|node| node.machine.lab_net(&["connect", "--target", VIP]).is_ok_and(|seen| seen.contains("web-")))
    })
    .unwrap();
    let mut storms = Storms::start(&cluster);
    storms.go_on();

    // Without the address of an API server it refuses, and kubectl shows why.
    apply(&cluster, &deploy.overlay("nameless", &Overlay::new(&["overlays/beside-kube-proxy"], image::NAME)).unwrap());
    let refusal = "/status/containerStatuses/0/lastState/terminated/message";
    wait_for("the agent says why it does not start", PATIENCE, || {
        let why = |pod: &Value| {
            pod.pointer(refusal).and_then(Value::as_str).is_some_and(|said| said.contains("is that of a Service"))
        };
        agents(&cluster).iter().filter(|pod| why(pod)).count() == 2
    })
    .unwrap();

    // Beside kube-proxy.
    let apiserver = format!("apiserver={}", cluster.api().url());
    apply(
        &cluster,
        &deploy
            .overlay("beside", &Overlay::new(&["overlays/beside-kube-proxy"], image::NAME).settings(&[&apiserver]))
            .unwrap(),
    );
    rolled_out(&cluster, "daemonset/bowline");
    storms.go_on();
    for node in cluster.nodes() {
        let before = scheduled(node, 10349);
        storms.go_on();
        assert!(scheduled(node, 10349) > before, "sockets go to Bowline first");
        curl(node, "http://127.0.0.1:10256/healthz").unwrap(); // kube-proxy's, untouched
    }

    // Alone. As long as connection tracking knows one that was translated, a direct one from the same port to the
    // same pod gets another port by kube-proxy's rules; without these it is dropped.
    wait_for("what was translated is over", PATIENCE, || cluster.nodes().iter().all(|node| !has_translated(node)))
        .unwrap();
    for node in cluster.nodes_mut() {
        node.services.server_mut().stop().unwrap();
        node.machine.output(binary("kube-proxy").unwrap(), &["--cleanup"]).unwrap();
    }
    apply(
        &cluster,
        &deploy.overlay("alone", &Overlay::new(&["overlays/alone"], image::NAME).settings(&[&apiserver])).unwrap(),
    );
    rolled_out(&cluster, "daemonset/bowline");
    storms.go_on();
    for node in cluster.nodes() {
        assert_eq!(curl(node, "http://127.0.0.1:10256/readyz").unwrap(), "ok\n");
    }
    // The API server by its Service, and DNS, from a pod that nothing else serves.
    cluster.kubectl(&["rollout", "restart", "--namespace=kube-system", "deployment/coredns"]).unwrap();
    rolled_out(&cluster, "deployment/coredns");
    let ask = ["exec", "--namespace=default", "client", "--", "nslookup", "web.default.svc.cluster.local"];
    wait_for("an answer of the cluster's DNS", PATIENCE, || {
        cluster.kubectl(&ask).is_ok_and(|said| said.contains("10.96.100.100"))
    })
    .unwrap();

    // An update, as each change of the ConfigMap is one; and one that is taken back.
    let before = names(&agents(&cluster));
    apply(
        &cluster,
        &deploy
            .overlay("updated", &Overlay::new(&["overlays/alone"], image::NAME).settings(&[&apiserver, "v=2"]))
            .unwrap(),
    );
    rolled_out(&cluster, "daemonset/bowline");
    let after = agents(&cluster);
    assert!(after.len() == 2 && names(&after).iter().all(|name| !before.contains(name)), "{before:?}, {after:?}");
    storms.go_on();
    cluster.kubectl(&["rollout", "undo", "--namespace=kube-system", "daemonset/bowline"]).unwrap();
    rolled_out(&cluster, "daemonset/bowline");
    storms.go_on();
    // What people look at, in the pod.
    let get = ["exec", "--namespace=kube-system", "daemonset/bowline", "--", "bowline", "get", "services"];
    assert!(cluster.kubectl(&get).unwrap().contains(VIP));
    let programs = ["exec", "--namespace=kube-system", "daemonset/bowline", "--", "ls", "/usr/local/bin"];
    assert_eq!(cluster.kubectl(&programs).unwrap(), "bowline\nbowline-cni\n");

    // Each agent takes its node's DNS, too, and gives it back.
    let node_dns = deploy
        .overlay(
            "node-dns",
            &Overlay::new(&["overlays/alone"], image::NAME).settings(&[&apiserver]).components(&["node-local-dns"]),
        )
        .unwrap();
    apply(&cluster, &node_dns);
    rolled_out(&cluster, "daemonset/bowline");
    wait_for("each node's own DNS", PATIENCE, || cluster.nodes().iter().all(takes_dns)).unwrap();
    assert!(cluster.kubectl(&ask).unwrap().contains("10.96.100.100"));
    let node = &cluster.nodes()[0];
    let page = curl(node, "http://169.254.20.10:9253/metrics").unwrap();
    assert!(page.contains("coredns_dns_requests_total{"), "{page}");
    storms.go_on();

    // Without the agent the kernel goes on.
    cluster.kubectl(&["delete", "--kustomize", &node_dns]).unwrap();
    wait_for("no agent is left", PATIENCE, || agents(&cluster).is_empty()).unwrap();
    storms.go_on();
    storms.finish();

    // Until it is cleaned.
    apply(&cluster, &deploy.overlay("clean", &Overlay::new(&["cleanup"], image::NAME)).unwrap());
    rolled_out(&cluster, "daemonset/bowline-cleanup");
    for node in cluster.nodes() {
        let left = node.machine.output("find", &["/sys/fs/bpf", "/var/lib/bowline", "-mindepth", "1"]).unwrap();
        assert_eq!(left, "", "left on {}", node.machine.name());
        let mut connect: Command = node.machine.command(bowline_lab::lab_net().unwrap());
        let out = connect.args(["connect", "--target", VIP, "--timeout", "1000"]).output().unwrap();
        assert!(!String::from_utf8_lossy(&out.stdout).contains("web-"), "still served: {out:?}");
    }
    cluster.kubectl(&["delete", "--kustomize", &deploy.path("clean")]).unwrap();
}
