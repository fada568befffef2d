#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::json;

use super::*;

/// Applies manifests of a kind one after the other, with what others do in between.
fn merged(kind: &str, last: Value, new: Value, live: Value) -> Value {
    let of = |mut value: Value| {
        value["kind"] = kind.into();
        value
    };
    let mut merged = merge(Some(&of(last)), &of(new), Some(&of(live)));
    merged.as_object_mut().unwrap().remove("kind");
    merged
}

#[test]
fn set_remove_and_leave() {
    let last = json!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"x": 1, "y": {"p": 1}}});
    let new = json!({"metadata": {"labels": {"a": "2"}}, "spec": {"z": 3}});
    let live = json!({"metadata": {"labels": {"a": "1", "b": "1", "theirs": "1"}}, "spec": {"x": 9, "y": {"p": 1, "q": 2}, "t": 1}});
    assert_eq!(
        merged("ConfigMap", last, new, live),
        json!({"metadata": {"labels": {"a": "2", "theirs": "1"}}, "spec": {"z": 3, "t": 1}})
    );
}

#[test]
fn null_removes() {
    let live = json!({"spec": {"a": 1, "b": {"c": 1, "d": 2}}});
    let new = json!({"spec": {"a": null, "b": {"c": null}, "e": {"f": null}}});
    assert_eq!(merged("ConfigMap", json!({}), new, live), json!({"spec": {"b": {"d": 2}, "e": {}}}));
}

#[test]
fn ports_keep_what_the_store_gave_them() {
    let manifest =
        json!({"spec": {"ports": [{"port": 80, "name": "web"}, {"port": 53, "name": "dns", "protocol": "UDP"}]}});
    let live = json!({"spec": {"ports": [
        {"port": 80, "protocol": "TCP", "name": "http", "nodePort": 30001},
        {"port": 53, "protocol": "UDP", "name": "dns", "nodePort": 30002},
        {"port": 53, "protocol": "TCP", "name": "theirs", "nodePort": 30003},
    ]}});
    let last = json!({"spec": {"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}});
    assert_eq!(
        merged("Service", last.clone(), manifest.clone(), live.clone())["spec"]["ports"],
        json!([
            {"port": 80, "protocol": "TCP", "name": "web", "nodePort": 30001},
            {"port": 53, "protocol": "UDP", "name": "dns", "nodePort": 30002},
            {"port": 53, "protocol": "TCP", "name": "theirs", "nodePort": 30003},
        ])
    );
    // A port that has left the manifest goes.
    let fewer = json!({"spec": {"ports": [{"port": 80}]}});
    assert_eq!(merged("Service", last, fewer, live)["spec"]["ports"].as_array().unwrap().len(), 2);
}

#[test]
fn containers_are_merged_and_other_lists_set() {
    let live = json!({"spec": {"containers": [
        {"name": "a", "image": "x", "args": ["1", "2"], "env": [{"name": "E", "value": "1"}], "imagePullPolicy": "Always"},
        {"name": "side"},
    ]}});
    let last = json!({"spec": {"containers": [{"name": "a", "image": "x", "args": ["1", "2"], "env": [{"name": "E", "value": "1"}]}]}});
    let new = json!({"spec": {"containers": [{"name": "a", "image": "y", "args": ["3"], "env": [{"name": "F", "value": "2"}]}]}});
    assert_eq!(
        merged("Pod", last, new, live)["spec"]["containers"],
        json!([
            {"name": "a", "image": "y", "args": ["3"], "env": [{"name": "F", "value": "2"}], "imagePullPolicy": "Always"},
            {"name": "side"},
        ])
    );
}

#[test]
fn a_status_is_not_wiped() {
    let status = json!({"podIPs": [{"ip": "10.1.0.2"}]});
    let with = json!({"spec": {}, "status": status});
    for new in [json!({"spec": {}}), json!({"spec": {}, "status": null})] {
        assert_eq!(merged("Pod", with.clone(), new, with.clone())["status"], status);
    }
    let other = json!({"status": {"podIPs": [{"ip": "10.1.0.3"}]}});
    assert_eq!(merged("Pod", with.clone(), other.clone(), with)["status"], other["status"]);
}

#[test]
fn a_manifest_says_nothing_of_what_is_ours() {
    let written = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "generation": 2,
        "creationTimestamp": null, "managedFields": [], "annotations": {LAST_APPLIED: "{}", "mine": "1"}}});
    assert_eq!(clean(&written), json!({"metadata": {"name": "a", "annotations": {"mine": "1"}}}));
    let mut object = json!({"metadata": {"name": "a"}});
    set_last_applied(&mut object, &clean(&written));
    assert_eq!(last_applied(&object), Some(clean(&written)));
    object["metadata"]["annotations"][LAST_APPLIED] = "not JSON".into();
    assert_eq!(last_applied(&object), None);
}
