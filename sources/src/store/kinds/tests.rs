#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use bowline_cluster::object::Kind;

#[test]
fn a_kind_is_found_by_each_of_its_names() {
    for word in ["services", "service", "svc", "Service", "SERVICES", "services.v1", "services.v1."] {
        assert_eq!(Resource::parse(word).unwrap().kind, "Service", "{word}");
    }
    for word in ["netpol", "networkpolicies.networking.k8s.io", "networkpolicy.v1.networking.k8s.io"] {
        assert_eq!(Resource::parse(word).unwrap().kind, "NetworkPolicy", "{word}");
    }
    assert!(Resource::parse("widgets").unwrap_err().contains("widgets.example.com"));
    assert_eq!(Resource::parse("widgets.example.com").unwrap().folder(), "widgets.example.com");
}

#[test]
fn kinds_of_other_groups_have_folders_of_their_own() {
    let knative = Resource::named("serving.knative.dev/v1", "Service");
    assert_eq!(
        (knative.folder(), knative.label()),
        ("services.serving.knative.dev".into(), "service.serving.knative.dev".into())
    );
    assert_eq!(Resource::parse("services.serving.knative.dev").unwrap().folder(), knative.folder());
    assert_eq!(Resource::named("example.com/v1", "Policy").plural, "policies");
    assert_eq!(Resource::named("example.com/v1", "Bus").plural, "buses");
    assert_eq!(Resource::named("apps/v1", "Deployment").label(), "deployment.apps");
}

#[test]
fn the_kinds_that_sources_read_stand_where_they_look() {
    for kind in Kind::ALL {
        let row = Resource::known().find(|resource| resource.kind == kind.as_str()).unwrap();
        assert_eq!((row.folder(), row.namespaced), (kind.plural().to_string(), !kind.is_cluster_wide()));
    }
}

#[test]
fn no_name_means_two_kinds() {
    let mut names: Vec<String> = Resource::known()
        .flat_map(|r| {
            [vec![r.plural.to_string(), r.kind.to_lowercase()], r.short.iter().map(ToString::to_string).collect()]
                .concat()
        })
        .collect();
    names.sort();
    let mut once = names.clone();
    once.dedup();
    // A word may be singular and plural of one kind, nothing else.
    assert_eq!(names.len() - once.len(), 2, "endpoints, podaddresses");
}
