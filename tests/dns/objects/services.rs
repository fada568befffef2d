//! Services and ServiceImports.

use serde_json::{Value, json};

use super::{LONG, Object};

/// A Service with these ports, as "name:port/protocol"; a missing name or protocol is left out.
fn service(namespace: &str, name: &str, ports: &[&str]) -> Object {
    let object = Object::new("v1", "Service", namespace, name).label("app", name);
    if ports.is_empty() { object.spec("type", json!("ClusterIP")) } else { object.spec("ports", ports_of(ports)) }
}

fn ports_of(ports: &[&str]) -> Value {
    let port = |text: &&str| {
        let (name, rest) = text.split_once(':').unwrap();
        let (port, protocol) = rest.split_once('/').unwrap_or((rest, "TCP"));
        let mut value = json!({"port": port.parse::<u16>().unwrap(), "protocol": protocol});
        if !name.is_empty() {
            value["name"] = name.into();
        }
        value
    };
    ports.iter().map(port).collect()
}

/// A Service with cluster IPs, of the families that they have.
pub(crate) fn cluster_ip(namespace: &str, name: &str, ips: &[&str], ports: &[&str]) -> Object {
    let families: Vec<_> = ips.iter().map(|ip| if ip.contains(':') { "IPv6" } else { "IPv4" }).collect();
    let policy = if ips.len() > 1 { "RequireDualStack" } else { "SingleStack" };
    let object = service(namespace, name, ports).spec("clusterIP", json!(ips[0])).spec("clusterIPs", json!(ips));
    object.spec("ipFamilies", json!(families)).spec("ipFamilyPolicy", json!(policy))
}

pub(crate) fn headless(namespace: &str, name: &str, ports: &[&str]) -> Object {
    service(namespace, name, ports).spec("clusterIP", json!("None"))
}

pub(crate) fn external_name(namespace: &str, name: &str, target: &str) -> Object {
    let object = Object::new("v1", "Service", namespace, name).label("app", name);
    object.spec("type", json!("ExternalName")).spec("externalName", json!(target))
}

fn import(namespace: &str, name: &str, kind: &str, ips: &[&str], ports: &[&str]) -> Object {
    let object = Object::new("multicluster.x-k8s.io/v1alpha1", "ServiceImport", namespace, name);
    object.spec("type", json!(kind)).spec("ips", json!(ips)).spec("ports", ports_of(ports))
}

pub(super) fn all() -> Vec<Object> {
    let mut all = vec![
        cluster_ip("shop", "web", &["10.96.1.1"], &["http:80", "https:443", "dns:53/UDP", "dns-tcp:53"])
            .label("tier", "front"),
        cluster_ip("shop", "dual", &["10.96.1.2", "fd96::12"], &["http:80"]).label("tier", "front"),
        cluster_ip("shop", "six", &["fd96::13"], &["http:80", "metrics:9090"]),
        cluster_ip("shop", "six-first", &["fd96::14", "10.96.1.4"], &["http:80"]),
        cluster_ip("shop", "unnamed", &["10.96.1.5"], &[":8080"]),
        cluster_ip("shop", "udp", &["10.96.1.6"], &["syslog:514/UDP"]),
        cluster_ip("shop", "sctp", &["10.96.1.7"], &["m3ua:2905/SCTP"]),
        cluster_ip("shop", "empty", &["10.96.1.8"], &["http:80"]),
        cluster_ip("shop", "not-ready", &["10.96.1.9"], &["http:80"]),
        cluster_ip("shop", "outside", &["10.96.1.10"], &["http:80", "https:443"])
            .spec("type", json!("LoadBalancer"))
            .spec("externalIPs", json!(["203.0.113.50", "2001:db8:1::50"]))
            .with(
                "status",
                json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.51"}, {"hostname": "www.example.org"}]}}),
            ),
        cluster_ip("shop", "balanced", &["10.96.1.11"], &["http:80"])
            .spec("type", json!("LoadBalancer"))
            .with("status", json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.52"}, {"ip": "203.0.113.53"}]}})),
        cluster_ip("shop", "balanced-name", &["10.96.1.12"], &["http:80"])
            .spec("type", json!("LoadBalancer"))
            .with("status", json!({"loadBalancer": {"ingress": [{"hostname": "lb.example.org"}]}})),
        cluster_ip("shop", "node-port", &["10.96.1.13"], &["http:80"]).spec("type", json!("NodePort")),
        headless("shop", "headless", &["http:80", "peer:7000"]).label("tier", "back"),
        headless("shop", "headless-six", &["http:80"]),
        headless("shop", "headless-dual", &["http:80"]),
        headless("shop", "headless-outside", &["http:80"]).spec("externalIPs", json!(["203.0.113.60"])),
        headless("shop", "headless-no-ports", &[]),
        headless("shop", "headless-empty", &["http:80"]),
        headless("shop", "headless-not-ready", &["http:80"]),
        headless("shop", "publish", &["http:80"]).spec("publishNotReadyAddresses", json!(true)),
        headless("shop", "same-host", &["http:80"]),
        headless("shop", "many", &["http:80"]),
        headless("shop", "many-named", &["http:80", "https:443"]),
        headless("shop", "zoned", &["http:80"]),
        headless("shop", "mixed-ports", &["http:80"]),
        external_name("shop", "ext", "www.example.org"),
        external_name("shop", "ext-mixed", "alias.example.org"),
        external_name("shop", "ext-inside", "web.shop.svc.cluster.local"),
        external_name("shop", "ext-headless", "headless.shop.svc.cluster.local"),
        external_name("shop", "ext-chain", "ext.shop.svc.cluster.local"),
        external_name("shop", "ext-self", "ext-self.shop.svc.cluster.local"),
        external_name("shop", "ext-absent", "nowhere.example.org"),
        external_name("shop", "ext-refused", "a.refused.example"),
        external_name("shop", "ext-missing", "missing.shop.svc.cluster.local"),
        external_name("shop", "ext-v4only", "v4only.example.org"),
        external_name("shop", "ext-ip", "198.51.100.99"),
        external_name("shop", "ext-label", "localhost"),
        cluster_ip("prod", "web", &["10.96.2.1"], &["http:80"]),
        headless("prod", "db", &["pg:5432"]).label("tier", "back"),
        external_name("prod", "ext", "two.example.org"),
        cluster_ip("web", "shop", &["10.96.3.1"], &["http:80"]),
        cluster_ip("web", "svc", &["10.96.3.2"], &["http:80"]),
        cluster_ip("svc", "pod", &["10.96.4.1"], &["http:80"]),
        headless("svc", "tcp", &["tcp:80"]),
        cluster_ip("pod", "svc", &["10.96.5.1"], &["svc:80"]),
        cluster_ip(LONG, LONG, &["10.96.6.1"], &["http:80"]),
        cluster_ip("default", "dns-version", &["10.96.7.1"], &["http:80"]),
        // For the pods of CoreDNS itself: nothing selects this machine until a slice says so.
        cluster_ip("kube-system", "kube-dns", &["10.96.0.10"], &["dns:53/UDP", "dns-tcp:53"]),
    ];
    all.extend([
        import("shop", "web", "ClusterSetIP", &["10.97.0.1"], &["http:80", "https:443"]),
        import("shop", "dual", "ClusterSetIP", &["10.97.0.2", "fd97::2"], &["http:80"]),
        import("shop", "imported", "ClusterSetIP", &["10.97.0.3"], &["http:80"]),
        import("shop", "empty", "ClusterSetIP", &["10.97.0.4"], &["http:80"]),
        import("prod", "db", "Headless", &[], &["pg:5432"]),
        import("prod", "absent", "Headless", &[], &["pg:5432"]),
    ]);
    all
}
