#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::json;

use super::*;

fn service(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut object = json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "b"},
        "spec": {"ports": [{"port": 80, "targetPort": "http"}], "selector": {"app": "x"}}});
    change(&mut object);
    check(&Resource::of(&object), &object).iter().map(ToString::to_string).collect()
}

#[test]
fn an_object_that_is_well_is_not_refused() {
    assert_eq!(service(|_| ()), Vec::<String>::new());
    assert_eq!(
        service(|object| object["metadata"]["labels"] = json!({"a.b/c": "", "d": "E_1.x"})),
        Vec::<String>::new()
    );
    assert_eq!(service(|object| object["status"] = json!({"loadBalancer": {}})), Vec::<String>::new());
    let map =
        json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "kube-root-ca.crt"}, "data": {"a": "1"}});
    assert_eq!(check(&Resource::of(&map), &map), []);
    let widget =
        json!({"kind": "Widget", "apiVersion": "example.com/v1", "metadata": {"name": "Any:name"}, "spec": {"x": [1]}});
    assert_eq!(check(&Resource::of(&widget), &widget), []);
}

#[test]
fn what_an_api_server_refuses_is_refused() {
    type Change = fn(&mut Value);
    let cases: &[(Change, &str)] = &[
        (|o| o["spec"]["sesionAffinity"] = "ClientIP".into(), "spec.sesionAffinity: is no field"),
        (|o| o["spec"]["ports"][0]["prot"] = "TCP".into(), "spec.ports[0].prot: is no field"),
        (|o| o["spec"]["ports"][0]["port"] = "80".into(), "can't be read"),
        (|o| o["spec"]["ports"][0]["port"] = 0.into(), "spec.ports[0].port"),
        (|o| o["metadata"]["labels"] = json!({"a b": "c"}), "metadata.labels[a b]: is no key"),
        (|o| o["metadata"]["labels"] = json!({"a": "-"}), "metadata.labels[a]: \"-\" is no value"),
        (|o| o["metadata"]["labels"] = json!({"a": 1}), "metadata.labels[a]: is no string"),
        (|o| o["spec"]["selector"] = json!({"a": "b/c"}), "spec.selector[a]"),
        (|o| o["metadata"]["annotations"] = json!({"a": "x".repeat(300_000)}), "metadata.annotations: are larger"),
        (|o| o["metadata"]["namespace"] = "A".into(), "metadata.namespace"),
        (|o| o["metadata"]["name"] = "A_b".into(), "metadata.name"),
    ];
    for (change, said) in cases {
        let refusals = service(change);
        assert!(refusals.iter().any(|refusal| refusal.starts_with(said)), "{said}: {refusals:?}");
    }
    let node = json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n", "namespace": "x"}});
    assert!(check(&Resource::of(&node), &node)[0].to_string().contains("belongs to no namespace"));
    let other = json!({"kind": "Widget", "apiVersion": "example.com/v1", "metadata": {"name": "a/b"}});
    assert!(check(&Resource::of(&other), &other)[0].to_string().starts_with("metadata.name"));
}
