//! Pods.

use serde_json::json;

use super::Object;

/// A Pod in this phase with these addresses.
pub(crate) fn pod(namespace: &str, name: &str, phase: &str, ips: &[&str]) -> Object {
    let object = Object::new("v1", "Pod", namespace, name).label("app", name);
    let object = object.spec("containers", json!([{"name": "main", "image": "registry.example/none"}]));
    let all: Vec<_> = ips.iter().map(|ip| json!({"ip": ip})).collect();
    let mut status = json!({ "phase": phase });
    if let Some(first) = ips.first() {
        status["podIP"] = json!(first);
        status["podIPs"] = json!(all);
    }
    object.with("status", status)
}

pub(super) fn all() -> Vec<Object> {
    vec![
        pod("shop", "web-a", "Running", &["10.10.0.1"]),
        pod("shop", "web-b", "Running", &["10.10.0.2", "fd10::2"]),
        pod("shop", "six", "Running", &["fd10::7", "10.10.0.7"]),
        pod("shop", "waiting", "Pending", &[]),
        pod("shop", "done", "Succeeded", &["10.10.0.8"]),
        pod("shop", "failed", "Failed", &["10.10.0.9"]),
        pod("prod", "reused", "Running", &["10.10.0.8"]),
        // Two of the host's network.
        pod("prod", "host-a", "Running", &["192.0.2.77"]),
        pod("shop", "host-b", "Running", &["192.0.2.77"]),
        // Those that ask: autopath searches by their namespaces.
        pod("web", "client-1", "Running", &["127.0.0.1"]),
        pod("prod", "client-2", "Running", &["127.0.0.2"]),
        pod("svc", "a", "Running", &["10.12.0.9"]),
    ]
}
