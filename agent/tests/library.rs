//! The agent as a library: started from a config in the process of the test, it serves, says how it is, and ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use bowline_agent::Config;
use bowline_agent::address::Bind;
use bowline_dataplane::Sizes;
use bowline_dataplane::node::Config as Place;
use bowline_lab::{Lab, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

fn web(server: SocketAddr) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{clusterIP: 10.96.1.1, ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{port: {}}}]
endpoints: [{{addresses: [{}]}}]
",
        server.port(),
        server.ip()
    )
}

#[test]
fn it_starts_from_a_config_serves_and_ends() {
    let lab = Lab::new("library").unwrap();
    let node = lab.node("node").unwrap();
    let (server, client) = (node.pod("server").unwrap(), node.pod("client").unwrap());
    let at = server.address(8001);
    let _server = server.serve("s-1", &[at], &[]).unwrap();
    let folder = lab.folder("state").unwrap();
    std::fs::write(folder.join("web.yaml"), web(at)).unwrap();
    let config = |state: &str| Config {
        pod_network: None,
        node: "node".to_owned(),
        states: vec![state.parse().unwrap()],
        service_cluster_ip_range: Vec::new(),
        state_dir: None,
        state_max_age: Duration::ZERO,
        dataplane: Place {
            bpf_root: node.bpf_root().to_owned(),
            cgroup_root: node.cgroup().to_owned(),
            sizes: Sizes::default(),
            stand_ins: Vec::new(),
        },
        metrics_bind_address: Bind::Off,
        healthz_bind_address: Bind::Off,
        node_local: None,
        registration: None,
    };
    let state = format!("files:{}", folder.display());
    let ask = || client.lab_net(&["connect", "--target", "10.96.1.1:80"]).unwrap_or_default();

    let running = bowline_agent::start(config(&state)).unwrap();
    wait_for("the agent to be ready", PATIENCE, || running.readiness().0).unwrap();
    assert_eq!(running.readiness().1, "ok");
    assert!(ask().contains("\"s-1\""), "{}", ask());
    assert!(running.metrics_page().contains("bowline_ready 1\n"));
    assert!(bowline_agent::start(config(&state)).is_err(), "a second one at the same place is refused");
    drop(running);
    assert!(ask().contains("\"s-1\""), "what the kernel has goes on: {}", ask());

    // What can never work ends what runs, and says why.
    let no_folder = format!("{state}/web.yaml");
    let mut running = bowline_agent::start(config(&no_folder)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let why = runtime.block_on(running.failure());
    assert!(why.contains("web.yaml"), "{why}");
}
