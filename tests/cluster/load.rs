//! Deployments that grow and shrink under load.

use bowline_lab::wait_for;

use crate::ground::{Ground, PATIENCE, finish, storms, wait_for_more};

#[test]
fn scaled_up_and_down_under_load() {
    let ground = Ground::new();
    let namespace = ground.namespace("scale");
    namespace.serve("web", 2);
    namespace.client("client", "node-2");
    let storms = storms(&namespace, &["client"], &namespace.addresses("web"), "web");
    for replicas in [8, 1, 6, 2, 10, 3] {
        namespace.kubectl(&["scale", "deployment/web", &format!("--replicas={replicas}")]);
        namespace.rolled_out("web");
        // Those that go have ended as well, so that a connection to one of them would fail.
        let pods = || ground.get(&["-n", "scale", "pods", "-l", "app=web"])["items"].as_array().map(Vec::len);
        wait_for(&format!("{replicas} pods"), PATIENCE, || pods() == Some(replicas)).unwrap();
        wait_for_more(&storms, 200);
    }
    let report = finish(storms);
    println!("{} connects to {} pods, {} failed", report.connects, report.names.len(), report.failed);
    assert_eq!(report.failed, 0, "{:#?}", report.failures);
    assert!(report.names.len() >= 10, "{:?}", report.names);
}
