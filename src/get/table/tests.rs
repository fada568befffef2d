#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;

use super::*;

#[test]
fn each_kind_has_as_many_cells_as_columns() {
    for resource in Resource::known() {
        let object = json!({"apiVersion": "v1", "kind": resource.kind, "metadata": {"name": "a"}});
        assert_eq!(cells(&resource, &object, &BTreeMap::new()).1.len(), columns(&resource).len(), "{resource:?}");
    }
}

#[test]
fn a_services_row() {
    let row = |spec: Value, status: Value| {
        let object = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec, "status": status});
        cells(&Resource::parse("svc").unwrap(), &object, &BTreeMap::new()).1[1..5].join(" ")
    };
    let ports = json!([{"port": 80, "protocol": "TCP", "nodePort": 30001}, {"port": 53, "protocol": "UDP"}]);
    assert_eq!(
        row(json!({"type": "NodePort", "clusterIP": "10.96.0.1", "ports": ports}), json!({})),
        "NodePort 10.96.0.1 <none> 80:30001/TCP,53/UDP"
    );
    assert_eq!(
        row(json!({"type": "LoadBalancer", "clusterIP": "10.96.0.1", "ports": []}), json!({})),
        "LoadBalancer 10.96.0.1 <pending> <none>"
    );
    let status = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "a.example"}]}});
    let balanced = json!({"type": "LoadBalancer", "clusterIP": "10.96.0.1", "externalIPs": ["192.0.2.9"]});
    assert_eq!(row(balanced, status), "LoadBalancer 10.96.0.1 192.0.2.1,a.example,192.0.2.9 <none>");
    assert_eq!(
        row(json!({"type": "ExternalName", "externalName": "a.example"}), json!({})),
        "ExternalName <none> a.example <none>"
    );
    assert_eq!(row(json!({"clusterIP": "None"}), json!({})), "ClusterIP None <none> <none>");
}

#[test]
fn columns_only_grow() {
    let mut table = Table::new(&[("NAME", false), ("AGE", true)], false, true, "x/".into());
    table.push(("shop".into(), vec!["a-long-name".into(), "1s".into()]));
    assert_eq!(table.more(), "NAMESPACE   NAME\nshop        x/a-long-name\n");
    table.push(("a-long-namespace".into(), vec!["b".into(), "1s".into()]));
    assert_eq!(table.more(), "a-long-namespace   x/b\n");
}
