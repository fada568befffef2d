//! What is written is read as what it was, and is what Kubernetes would write.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

use proptest::prelude::*;

use super::*;
use crate::parse;
use bowline_cluster::intern::Strings;

fn text(object: &Object) -> String {
    let mut out = Vec::new();
    write(object, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn parsed(text: &str) -> Vec<Object> {
    let manifest = parse::manifest("test.json", text.as_bytes(), &Strings::default());
    assert_eq!(manifest.problems, [], "{text}");
    manifest.objects
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_as_what_it_was(object in generate::object()) {
        let text = text(&object);
        prop_assert!(!text.contains('\n'), "{}", text);
        prop_assert_eq!(parsed(&text), [object], "{}", text);
    }
}

/// What of each kind is written in full, in the order of the fields.
#[test]
fn it_is_what_kubernetes_writes() {
    let manifests = [
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"shop","creationTimestamp":"2026-03-01T10:00:00Z","labels":{"a":"1","b":"2"},"annotations":{"bowline.dev/scheduler":"sh"}},"spec":{"type":"LoadBalancer","clusterIP":"10.96.0.10","clusterIPs":["10.96.0.10","fd00::10"],"ipFamilies":["IPv4","IPv6"],"ipFamilyPolicy":"RequireDualStack","ports":[{"name":"http","port":80,"targetPort":8080,"nodePort":30080},{"name":"dns","protocol":"UDP","port":53,"targetPort":"dns"}],"selector":{"app":"web"},"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":60}},"publishNotReadyAddresses":true,"internalTrafficPolicy":"Local","externalIPs":["192.0.2.1"],"externalTrafficPolicy":"Local","healthCheckNodePort":30999},"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.2"},{"hostname":"lb.example.com"}]}}}"#,
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"db","namespace":"shop"},"spec":{"clusterIP":"None","ipFamilies":["IPv4"],"ports":[{"port":5432}],"selector":{"app":"db"}}}"#,
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"out","namespace":"shop"},"spec":{"type":"ExternalName","externalName":"db.example.com"}}"#,
        r#"{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"web-1","namespace":"shop","labels":{"kubernetes.io/service-name":"web","service.kubernetes.io/headless":""}},"addressType":"IPv4","ports":[{"name":"http","port":8080},{"name":"dns","protocol":"UDP"}],"endpoints":[{"addresses":["10.0.0.1"],"nodeName":"n-1","zone":"a","targetRef":{"kind":"Pod","name":"web-0"}},{"addresses":["10.0.0.2"],"conditions":{"ready":false,"serving":true,"terminating":true},"hostname":"web-1"}]}"#,
        r#"{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"out","namespace":"shop"},"addressType":"FQDN","endpoints":[]}"#,
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-0","namespace":"shop","deletionTimestamp":"1970-01-01T00:00:00Z","labels":{"app":"web"}},"spec":{"nodeName":"n-1","hostname":"web-0","subdomain":"web","containers":[{"ports":[{"name":"http","containerPort":8080},{"name":"dns","protocol":"UDP","containerPort":53}]}]},"status":{"phase":"Succeeded","podIPs":[{"ip":"10.0.0.1"},{"ip":"fd00::1"}],"conditions":[{"type":"Ready","status":"False"}]}}"#,
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"bare","namespace":"shop"},"spec":{},"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#,
        r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"n-1","labels":{"zone":"a"}},"spec":{"podCIDRs":["10.244.1.0/24","fd00:1::/64"]},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.1"}]}}"#,
        r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"n-2","annotations":{"flannel.alpha.coreos.com/backend-type":"vxlan","flannel.alpha.coreos.com/public-ip":"192.0.2.1","flannel.alpha.coreos.com/backend-data":"{\"VNI\":1,\"VtepMAC\":\"0a:58:0a:f4:01:00\"}","flannel.alpha.coreos.com/public-ipv6":"2001:db8::1","flannel.alpha.coreos.com/backend-v6-data":"{\"VNI\":1,\"VtepMAC\":\"0a:58:0a:f4:01:01\"}"}}}"#,
        r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","labels":{"a":"1"}}}"#,
        r#"{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"deny","namespace":"shop"}}"#,
        r#"{"apiVersion":"multicluster.x-k8s.io/v1alpha1","kind":"ServiceImport","metadata":{"name":"web","namespace":"shop"},"spec":{"type":"ClusterSetIP","ips":["10.0.0.1"],"ports":[{"name":"http","port":80}]}}"#,
        r#"{"apiVersion":"networking.k8s.io/v1","kind":"ServiceCIDR","metadata":{"name":"kubernetes"},"spec":{"cidrs":["10.96.0.0/12"]}}"#,
    ];
    for manifest in manifests {
        let objects = parsed(manifest);
        assert_eq!((objects.len(), text(&objects[0]).as_str()), (1, manifest));
    }
}

#[test]
fn times_are_written_in_every_year() {
    let times = [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (1_709_251_199, "2024-02-29T23:59:59Z"),
        (951_868_800, "2000-03-01T00:00:00Z"),
        (-62_167_219_200, "0000-01-01T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        (-62_167_219_201, "0000-01-01T23:58:59+23:59"),
        (253_402_300_800, "9999-12-31T00:01:00-23:59"),
        (i64::MIN, "0000-01-01T00:00:00+23:59"),
        (i64::MAX, "9999-12-31T23:59:59-23:59"),
    ];
    for (seconds, text) in times {
        assert_eq!(rfc3339(seconds), text);
    }
}
