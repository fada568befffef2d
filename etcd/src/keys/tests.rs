//! Keys and what they name, there and back.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use super::*;

fn keys() -> Keys {
    Keys::new("/bowline").unwrap()
}

fn key(kind: Kind, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { kind, name: ObjectName { namespace: Str::from(namespace), name: Str::from(name) } }
}

#[test]
fn every_kind_has_a_key_and_is_read_from_it() {
    for kind in Kind::ALL {
        let object = key(kind, if kind.is_cluster_wide() { "" } else { "default" }, "a.b-c");
        for keys in [keys(), Keys::new("/").unwrap()] {
            assert_eq!(keys.read(keys.object(&object).as_bytes()), Ok(Some(object.clone())));
        }
    }
    assert_eq!(keys().object(&key(Kind::Service, "default", "web")), "/bowline/objects/services/default/web");
    assert_eq!(keys().object(&key(Kind::Node, "", "n1")), "/bowline/objects/nodes/n1");
}

#[test]
fn kinds_that_are_not_read_are_nobodys() {
    for (plural, namespace) in [("configmaps", "default"), ("clusterroles", "")] {
        let path = keys().any_object(plural, namespace, "x");
        assert_eq!(keys().read(path.as_bytes()), Ok(None));
    }
}

#[test]
fn another_form_is_refused_with_the_right_one() {
    for (path, says) in [
        ("/bowline/objects/services/web", "/bowline/objects/services/NAMESPACE/NAME"),
        ("/bowline/objects/services/default/web/x", "services/NAMESPACE/NAME"),
        ("/bowline/objects/services//web", "services/NAMESPACE/NAME"),
        ("/bowline/objects/services/default/", "names no Service"),
        ("/bowline/objects/nodes/default/n", "/bowline/objects/nodes/NAME"),
        ("/bowline/objects/nodes/", "names no Node"),
        ("/other/objects/nodes/n", "is no key of an object"),
    ] {
        let error = keys().read(path.as_bytes()).unwrap_err();
        assert!(error.contains(says), "{path}: {error}");
    }
    assert!(keys().read(b"/bowline/objects/nodes/\xff").is_err());
}

#[test]
fn claims_and_the_rest_stand_beside_the_objects() {
    let keys = keys();
    assert_eq!(keys.address("10.96.0.10".parse().unwrap()), "/bowline/claims/addresses/10.96.0.10");
    assert_eq!(keys.address("fd00:0::A".parse().unwrap()), "/bowline/claims/addresses/fd00::a");
    assert_eq!(keys.node_port(Protocol::Udp, 30_053), "/bowline/claims/nodeports/UDP/30053");
    assert_eq!(keys.health_check_port(32_000), "/bowline/claims/healthcheckports/32000");
    assert_eq!(keys.pod_cidr("10.244.1.0/24".parse().unwrap()), "/bowline/claims/podcidrs/10.244.1.0/24");
    assert_eq!(keys.alive("n1"), "/bowline/alive/n1");
    assert_eq!(keys.cluster(), "/bowline/cluster");
    assert_eq!(keys.resource("pods", None), "/bowline/objects/pods/");
    assert_eq!(keys.resource("pods", Some("default")), "/bowline/objects/pods/default/");
}
