//! What a user of a cluster takes for granted.

use std::net::SocketAddr;

use bowline_lab::kubernetes::image;
use bowline_lab::{lab_net, wait_for};
use serde_json::{Value, json};

use crate::ground::{Ground, PATIENCE, PORT, ask, pod, service};

#[test]
fn nodes_are_ready_and_take_pods() {
    let ground = Ground::new();
    let nodes = ground.get(&["nodes"]);
    for node in nodes["items"].as_array().unwrap() {
        let conditions = node["status"]["conditions"].as_array().unwrap();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").unwrap();
        assert_eq!(ready["status"], "True", "{node}");
        assert_eq!(node["spec"]["podCIDRs"].as_array().unwrap().len(), 2, "dual stack");
    }
    let namespace = ground.namespace("pods");
    namespace.serve("web", 4);
    let pods = ground.get(&["-n", "pods", "pods"]);
    let pods = pods["items"].as_array().unwrap();
    for node in ["node-1", "node-2"] {
        assert_eq!(pods.iter().filter(|pod| pod["spec"]["nodeName"] == node).count(), 2, "two pods on {node}");
    }
    // Each is reached by the address of the Service, from each node.
    for node in ground.cluster().nodes() {
        for address in namespace.addresses("web") {
            let mut seen = std::collections::BTreeSet::new();
            let what = format!("all pods to answer at {address} on {}", node.machine.name());
            wait_for(&what, PATIENCE, || {
                seen.extend(ask(node, address).ok());
                seen.len() == 4
            })
            .unwrap();
        }
    }
}

/// Every address of every Service of the cluster, from processes of each node and from a pod on each.
#[test]
fn every_cluster_ip_is_reached_from_hosts_and_pods() {
    let ground = Ground::new();
    let namespace = ground.namespace("reach");
    namespace.serve("web", 2);
    namespace.client("client-1", "node-1");
    namespace.client("client-2", "node-2");
    let mut targets = Vec::new();
    let services = ground.get(&["services", "--all-namespaces"]);
    // Those of the rolling updates have nobody behind them.
    let real = |service: &&Value| service["metadata"]["namespace"] != "others";
    for service in services["items"].as_array().unwrap().iter().filter(real) {
        let ports = service["spec"]["ports"].as_array().unwrap();
        for ip in service["spec"]["clusterIPs"].as_array().unwrap() {
            for port in ports.iter().filter(|port| port["protocol"] == "TCP") {
                let ip = ip.as_str().unwrap().parse().unwrap();
                targets.push(SocketAddr::new(ip, port["port"].as_u64().unwrap() as u16).to_string());
            }
        }
    }
    // kubernetes, the DNS in both families with two ports, web in both.
    assert!(targets.len() >= 7, "{targets:?}");
    // busybox has no flag for the family; the address says it.
    let connect = |target: &str| format!("nc -w 10 {} </dev/null", split(target));
    let udp: Vec<_> = namespace.addresses("web").iter().map(SocketAddr::to_string).collect();
    let question = |target: &str| ["udp", "--target", target].map(str::to_owned);
    for node in ground.cluster().nodes() {
        for target in &targets {
            node.machine.output("busybox", &["sh", "-c", &format!("busybox {}", connect(target))]).unwrap();
        }
        for target in &udp {
            let args = question(target);
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            assert!(node.machine.output(lab_net().unwrap(), &args).unwrap().contains("web-10.244."));
        }
        let named = ["nslookup", "-type=a", "web.reach.svc.cluster.local", "10.96.0.10"];
        node.machine.output("busybox", &named).unwrap();
    }
    for client in ["client-1", "client-2"] {
        for target in &targets {
            namespace.exec(client, &["sh", "-c", &connect(target)]).unwrap();
        }
        for target in &udp {
            let args = question(target);
            let command = [&["/lab-net"][..], &args.iter().map(String::as_str).collect::<Vec<_>>()].concat();
            assert!(namespace.exec(client, &command).unwrap().contains("web-10.244."));
        }
        // By name, through the DNS behind its Service.
        namespace.exec(client, &["nc", "-w", "10", "web", &PORT.to_string(), "-e", "true"]).unwrap();
    }
}

/// `address:port` as two words.
fn split(target: &str) -> String {
    let target: SocketAddr = target.parse().unwrap();
    format!("{} {}", target.ip(), target.port())
}

/// Kubernetes' own client library in a pod, with the pod's service account: it asks by the address in
/// KUBERNETES_SERVICE_HOST. And the same by name.
#[test]
fn a_pod_reaches_the_api() {
    let ground = Ground::new();
    let namespace = ground.namespace("api");
    namespace.apply(&[
        pod("client", &json!({"image": image("agnhost"), "args": ["inclusterclient", "--poll-interval=1"]})),
        pod("curl", &json!({"image": image("busybox"), "command": ["/bin/sleep", "1000000"]})),
    ]);
    let mut log = String::new();
    wait_for("answers of the API", PATIENCE, || {
        log = ground.cluster().kubectl(&["-n", "api", "logs", "client"]).unwrap_or_default();
        log.matches("calling /healthz").count() >= 3
    })
    .unwrap();
    assert!(!log.contains("status=failed"), "{log}");
    namespace.kubectl(&["wait", "--for=condition=Ready", "--timeout=180s", "pod/curl"]);
    for host in ["kubernetes.default", "kubernetes.default.svc.cluster.local", "10.96.0.1"] {
        // The certificate is checked for this very name.
        let ask = "cd /var/run/secrets/kubernetes.io/serviceaccount; \
                   curl -sS -m 10 --cacert ca.crt -H \"Authorization: Bearer $(cat token)\" https://$0/version";
        let version: Value = serde_json::from_str(&namespace.exec("curl", &["sh", "-c", ask, host]).unwrap()).unwrap();
        assert_eq!(version["gitVersion"], "v1.34.4", "{host}: {version}");
    }
}

/// Readiness opens and closes the Service; a liveness probe that fails restarts the container.
#[test]
fn kubelet_probes_work() {
    let ground = Ground::new();
    let namespace = ground.namespace("probes");
    let listen = format!("[::]:{PORT}");
    let probe = |command: &[&str]| json!({"exec": {"command": command}, "periodSeconds": 1, "failureThreshold": 1});
    namespace.apply(&[
        pod(
            "gate",
            &json!({
                "image": image("lab-net"),
                "args": ["serve", "--tcp", listen, "--id", "gate-1"],
                "readinessProbe": probe(&["test", "-e", "/tmp/open"]),
                "livenessProbe": probe(&["test", "!", "-e", "/tmp/dead"]),
            }),
        ),
        service("gate", &json!({"app": "gate"})),
    ]);
    let running = ["wait", "--for=jsonpath={.status.phase}=Running", "--timeout=180s", "pod/gate"];
    namespace.kubectl(&running);
    let addresses = namespace.addresses("gate");
    let answered = |wanted: bool| {
        for node in ground.cluster().nodes() {
            for &address in &addresses {
                let what =
                    format!("{address} on {} to be {}", node.machine.name(), if wanted { "open" } else { "shut" });
                wait_for(&what, PATIENCE, || ask(node, address).is_ok() == wanted).unwrap();
            }
        }
    };
    answered(false);
    namespace.exec("gate", &["touch", "/tmp/open"]).unwrap();
    answered(true);
    namespace.exec("gate", &["rm", "/tmp/open"]).unwrap();
    answered(false);

    // The restart makes a new container, with neither of both files.
    namespace.exec("gate", &["touch", "/tmp/open"]).unwrap();
    answered(true);
    namespace.exec("gate", &["touch", "/tmp/dead"]).unwrap();
    wait_for("a restart", PATIENCE, || {
        let pod = ground.get(&["-n", "probes", "pod", "gate"]);
        pod["status"]["containerStatuses"][0]["restartCount"] == 1
    })
    .unwrap();
    namespace.kubectl(&running);
    answered(false);
    wait_for("the new container", PATIENCE, || namespace.exec("gate", &["touch", "/tmp/open"]).is_ok()).unwrap();
    answered(true);
}
