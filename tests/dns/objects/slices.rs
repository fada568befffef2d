//! EndpointSlices.

use serde_json::{Value, json};

use super::Object;

/// An EndpointSlice of a Service, with ports as "name:port/protocol".
pub(crate) fn slice(namespace: &str, name: &str, service: &str, ports: &[&str], endpoints: &[Value]) -> Object {
    let is_six = endpoints.iter().any(|endpoint| endpoint["addresses"][0].as_str().is_some_and(|ip| ip.contains(':')));
    let port = |text: &&str| {
        let (name, rest) = text.split_once(':').unwrap();
        let (port, protocol) = rest.split_once('/').unwrap_or((rest, "TCP"));
        json!({"name": name, "port": port.parse::<u16>().unwrap(), "protocol": protocol})
    };
    Object::new("discovery.k8s.io/v1", "EndpointSlice", namespace, name)
        .label("kubernetes.io/service-name", service)
        .with("addressType", if is_six { "IPv6".into() } else { "IPv4".into() })
        .with("ports", ports.iter().map(port).collect())
        .with("endpoints", endpoints.into())
}

/// A ready endpoint; `more` has further fields, which replace these.
pub(crate) fn endpoint(address: &str, more: Value) -> Value {
    let mut endpoint = json!({"addresses": [address], "conditions": {"ready": true}});
    if let Value::Object(more) = more {
        endpoint.as_object_mut().unwrap().extend(more);
    }
    endpoint
}

fn plain(address: &str) -> Value {
    endpoint(address, json!({}))
}

fn host(address: &str, hostname: &str) -> Value {
    endpoint(address, json!({"hostname": hostname}))
}

fn of_pod(address: &str, pod: &str) -> Value {
    endpoint(address, json!({"targetRef": {"kind": "Pod", "namespace": "shop", "name": pod}}))
}

fn unready(address: &str) -> Value {
    endpoint(address, json!({"conditions": {"ready": false}}))
}

fn of_cluster(slice: Object, service: &str, cluster: &str) -> Object {
    let key = "multicluster.kubernetes.io/";
    let mut slice = slice.label(&format!("{key}service-name"), service).label(&format!("{key}source-cluster"), cluster);
    if let Some(labels) = slice.value["metadata"]["labels"].as_object_mut() {
        labels.remove("kubernetes.io/service-name");
    }
    slice
}

pub(super) fn all() -> Vec<Object> {
    let long_pod = "p".repeat(70);
    let many: Vec<_> = (1..=60).map(|n| plain(&format!("10.20.0.{n}"))).collect();
    let named: Vec<_> = (1..=45).map(|n| host(&format!("10.20.1.{n}"), &format!("member-{n}"))).collect();
    let named_six: Vec<_> = (1..=20).map(|n| host(&format!("fd20::1:{n:x}"), &format!("member-{n}"))).collect();
    let http = ["http:8080"];
    vec![
        slice(
            "shop",
            "web-1",
            "web",
            &["http:8080", "https:8443", "dns:5353/UDP", "dns-tcp:5353"],
            &[of_pod("10.10.0.1", "web-a"), of_pod("10.10.0.2", "web-b"), unready("10.10.0.3")],
        ),
        slice("shop", "dual-1", "dual", &http, &[plain("10.10.1.1")]),
        slice("shop", "dual-2", "dual", &http, &[plain("fd10::1:1")]),
        slice("shop", "six-1", "six", &["http:8080", "metrics:9090"], &[plain("fd10::2:1")]),
        slice("shop", "unnamed-1", "unnamed", &[":8080"], &[plain("10.10.2.1"), host("10.10.2.2", "chosen")]),
        slice("shop", "not-ready-1", "not-ready", &http, &[unready("10.10.2.5")]),
        slice("shop", "outside-1", "outside", &http, &[plain("10.10.2.6")]),
        slice(
            "shop",
            "headless-1",
            "headless",
            &["http:8080", "peer:7000"],
            &[host("10.10.3.1", "alpha"), host("10.10.3.2", "beta"), of_pod("10.10.3.3", "headless-c")],
        ),
        slice(
            "shop",
            "headless-2",
            "headless",
            &["http:8080", "peer:7000"],
            &[
                of_pod("10.10.3.4", &long_pod),
                endpoint("10.10.3.5", json!({"hostname": "gamma", "targetRef": {"kind": "Pod", "name": "headless-g"}})),
                endpoint("10.10.3.6", json!({"conditions": {}})),
                endpoint("10.10.3.7", json!({"conditions": {"ready": false, "serving": true, "terminating": true}})),
            ],
        ),
        slice(
            "shop",
            "headless-six-1",
            "headless-six",
            &http,
            &[plain("fd10::3:1"), plain("fd10:3::"), host("fd10::3:3", "six"), plain("2001:db8::1:0:0:1")],
        ),
        slice("shop", "headless-dual-1", "headless-dual", &http, &[host("10.10.4.1", "one"), plain("10.10.4.2")]),
        slice("shop", "headless-dual-2", "headless-dual", &http, &[host("fd10::4:1", "one"), plain("fd10::4:2")]),
        slice("shop", "headless-outside-1", "headless-outside", &http, &[plain("10.10.4.5"), host("10.10.4.6", "six")]),
        slice(
            "shop",
            "headless-no-ports-1",
            "headless-no-ports",
            &[],
            &[plain("10.10.5.1"), host("10.10.5.2", "bare")],
        ),
        slice("shop", "headless-not-ready-1", "headless-not-ready", &http, &[unready("10.10.5.5")]),
        // As the controller writes it for a Service that publishes addresses that aren't ready.
        slice(
            "shop",
            "publish-1",
            "publish",
            &http,
            &[endpoint("10.10.6.1", json!({"conditions": {"ready": true, "serving": false}})), plain("10.10.6.2")],
        ),
        slice("shop", "same-host-1", "same-host", &http, &[host("10.10.7.1", "twin"), host("10.10.7.2", "twin")]),
        // The same endpoint in two slices, while one is being replaced by the other.
        slice("shop", "same-host-2", "same-host", &http, &[host("10.10.7.2", "twin"), host("10.10.7.3", "other")]),
        slice("shop", "many-1", "many", &http, &many),
        slice("shop", "many-named-1", "many-named", &["http:8080", "https:8443"], &named),
        slice("shop", "many-named-2", "many-named", &["http:8080", "https:8443"], &named_six),
        slice(
            "shop",
            "zoned-1",
            "zoned",
            &http,
            &[
                endpoint("10.10.8.1", json!({"zone": "us-west-2a"})),
                endpoint("10.10.8.2", json!({"zone": "us-west-2b", "hostname": "bee"})),
                endpoint("10.10.8.3", json!({"zone": "corp.example.com"})),
                endpoint("10.10.8.4", json!({"zone": "US-West-2A"})),
                plain("10.10.8.5"),
            ],
        ),
        slice("shop", "mixed-ports-1", "mixed-ports", &["http:8080"], &[plain("10.10.9.1")]),
        slice("shop", "mixed-ports-2", "mixed-ports", &["http:9090", "extra:9091/UDP"], &[plain("10.10.9.2")]),
        // Selected by two Services: a PTR each.
        slice("prod", "web-1", "web", &http, &[plain("10.10.0.1"), plain("10.11.0.1")]),
        slice("prod", "db-1", "db", &["pg:5432"], &[host("10.11.1.1", "db-0"), host("10.11.1.2", "db-1")])
            .label("tier", "back"),
        // An endpoint that has a cluster IP's address, and slices of nobody.
        slice("prod", "odd-1", "db", &["pg:5432"], &[host("10.96.1.1", "odd")]),
        slice("prod", "lost-1", "lost", &http, &[plain("10.11.9.1")]),
        slice("web", "svc-1", "svc", &http, &[host("10.12.0.1", "tcp")]),
        slice("svc", "tcp-1", "tcp", &["tcp:80"], &[host("10.12.1.1", "svc"), host("10.12.1.2", "tcp")]),
        of_cluster(slice("shop", "mc-web-1", "", &http, &[plain("10.30.0.1")]), "web", "east"),
        of_cluster(slice("shop", "mc-imported-1", "", &http, &[host("10.30.0.2", "one")]), "imported", "east"),
        of_cluster(
            slice("prod", "mc-db-1", "", &["pg:5432"], &[host("10.30.1.1", "db-0"), plain("10.30.1.2")]),
            "db",
            "east",
        ),
        of_cluster(slice("prod", "mc-db-2", "", &["pg:5432"], &[host("10.30.2.1", "db-0")]), "db", "west"),
        of_cluster(slice("prod", "mc-db-3", "", &["pg:5432"], &[host("fd30::1", "db-0")]), "db", "west"),
    ]
}
