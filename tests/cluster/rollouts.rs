//! Rolling updates under load, in a cluster of 10,000 other Services (1,000 in the short form): by Bowline without a
//! failed request.
//! `make bench-rollouts` shows kube-proxy's failures beside: in the same cluster, which then takes it a quarter of
//! an hour.

use std::time::{Duration, Instant};

use bowline_lab::{amount, wait_for};
use serde_json::{Value, json};

use crate::ground::{Ground, Namespace, ask, bowline, finish, kube_proxy, storms, wait_for_more};

const ENDPOINTS: u32 = 10;
/// For kube-proxy's first sync of so many Services.
const MUCH_PATIENCE: Duration = Duration::from_secs(900);

#[test]
fn rolling_updates_among_many_services() {
    let mut ground = Ground::new();
    load_others(&ground, others());
    let (failed, connects, text) = updates(&ground, "bowline", "by-bowline");
    println!("{text}");
    if std::env::var_os("BOWLINE_TEST_PEER").is_some() {
        ground.cluster_mut().replace_services(&kube_proxy()).unwrap();
        let (_, _, text) = updates(&ground, "kube-proxy (nftables)", "by-kube-proxy");
        println!("{text}");
        ground.cluster_mut().replace_services(&bowline()).unwrap();
    }
    assert!(connects > 1_000, "{connects} connects");
    assert_eq!(failed, 0);
}

fn others() -> u32 {
    amount(10_000, 1_000)
}

/// Updates, one after the other: failures, connects, and a line about them.
fn updates(ground: &Ground, who: &str, namespace: &str) -> (u64, u64, String) {
    let namespace: Namespace<'_> = ground.namespace(namespace);
    namespace.serve("web", 4);
    namespace.client("client", "node-2");
    let addresses = namespace.addresses("web");
    // kube-proxy says that it is well before it has read all; then it takes its time.
    for node in ground.cluster().nodes() {
        for &address in &addresses {
            let what = format!("{who} on {} to serve {address}", node.machine.name());
            wait_for(&what, MUCH_PATIENCE, || ask(node, address).is_ok()).unwrap();
        }
    }
    let storms = storms(&namespace, &["client"], &addresses, "web");
    let began = Instant::now();
    let rollouts = amount(10, 3);
    for _ in 0..rollouts {
        namespace.kubectl(&["rollout", "restart", "deployment/web"]);
        namespace.rolled_out("web");
    }
    let seconds = began.elapsed().as_secs();
    // What the last update broke may show after it.
    wait_for_more(&storms, 500);
    let report = finish(storms);
    let mut text = format!(
        "{who}: {rollouts} rolling updates in {seconds} s among {} other Services: {} connects, {} failed",
        others(),
        report.connects,
        report.failed
    );
    for failure in report.failures.iter().take(5) {
        text += &format!("\n    {failure:?}");
    }
    (report.failed, report.connects, text)
}

/// Services with endpoints that nobody runs.
fn load_others(ground: &Ground, others: u32) {
    let began = Instant::now();
    let namespace = ground.namespace("others");
    // They stay: their end would take longer than the cluster's.
    std::mem::forget(namespace);
    let (mut services, mut slices) = (Vec::new(), Vec::new());
    for n in 0..others {
        let name = format!("other-{n}");
        services.push((
            "/api/v1/namespaces/others/services".to_owned(),
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                "spec": {"ports": [{"port": 80, "targetPort": 8080}]},
            }),
        ));
        let address = |e: u32| {
            let id = n * ENDPOINTS + e;
            format!("10.{}.{}.{}", 200 + (id >> 16), (id >> 8) & 255, id & 255)
        };
        let endpoints: Vec<Value> =
            (0..ENDPOINTS).map(|e| json!({"addresses": [address(e)], "conditions": {"ready": true}})).collect();
        slices.push((
            "/apis/discovery.k8s.io/v1/namespaces/others/endpointslices".to_owned(),
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
                "endpoints": endpoints,
                "ports": [{"port": 8080, "protocol": "TCP"}],
            }),
        ));
    }
    ground.cluster().api().create_all(&services).unwrap();
    ground.cluster().api().create_all(&slices).unwrap();
    println!("{others} Services of {ENDPOINTS} endpoints made in {} s", began.elapsed().as_secs());
}
