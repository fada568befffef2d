//! What is read of a cluster: kinds that come later, objects that others leave out, Pods of one node.

use bowline_cluster::state::Options;
use bowline_sources::kubernetes::{Kubernetes, Wanted};

use crate::battery::{Place, Running, name, service};
use crate::place::Site;

const CRD: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: serviceimports.multicluster.x-k8s.io
  annotations: {api-approved.kubernetes.io: https://github.com/kubernetes-sigs/mcs-api}
spec:
  group: multicluster.x-k8s.io
  scope: Namespaced
  names: {plural: serviceimports, singular: serviceimport, kind: ServiceImport, listKind: ServiceImportList}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

const IMPORT: &str = "apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceImport
metadata:
  name: web
spec:
  type: ClusterSetIP
  ips: [10.42.42.42]
  ports: [{port: 80, protocol: TCP}]
";

#[test]
fn a_kind_that_is_installed_later_and_removed() {
    let site = Site::new();
    let running = Running::synced(site.source());
    assert_eq!(running.problems(), []);
    let crd = site.apply(CRD);
    site.until_served("/apis/multicluster.x-k8s.io/v1alpha1/serviceimports");
    site.apply(IMPORT);
    running.until("the import", |snapshot| snapshot.service_imports.contains_key(&name("web")));
    // One that the server takes and we don't.
    site.apply(&IMPORT.replace("10.42.42.42", "nowhere"));
    running.until_problems("one", |problems| {
        problems.len() == 1 && problems[0].object.as_deref() == Some("ServiceImport default/web")
    });
    assert!(running.snapshot().service_imports.contains_key(&name("web")), "the last good version stays");
    site.remove(&crd);
    running.until("none", |snapshot| snapshot.service_imports.is_empty());
    running.until_problems("none", <[_]>::is_empty);
    site.until_gone(&crd);
    site.apply(CRD);
    site.until_served("/apis/multicluster.x-k8s.io/v1alpha1/serviceimports");
    site.apply(IMPORT);
    running.until("it again", |snapshot| snapshot.service_imports.contains_key(&name("web")));
}

#[test]
fn objects_for_other_proxies_are_in_the_snapshot() {
    let site = Site::new();
    let label = |label: &str| {
        service("a", "10.0.0.1").replace("metadata:\n", &format!("metadata:\n  labels: {{{label}: x}}\n"))
    };
    let running = Running::synced(site.source());
    for hiding in ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"] {
        site.apply(&label(hiding));
        running.until(hiding, |snapshot| {
            snapshot
                .services
                .get(&name("a"))
                .is_some_and(|service| service.is_hidden() && service.labels.iter().any(|(key, _)| key == hiding))
        });
    }
    site.apply(&slice("a", "10.1.0.1").replace("labels:\n", "labels:\n    service.kubernetes.io/headless: \"\"\n"));
    running.until("a hidden slice", |snapshot| snapshot.slices_of(&name("a")).any(|slice| slice.hidden));
}

fn slice(service: &str, address: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}-1\n  labels:\n    \
         kubernetes.io/service-name: {service}\naddressType: IPv4\nports: [{{port: 8080, protocol: TCP}}]\n\
         endpoints: [{{addresses: [{address}]}}]\n"
    )
}

#[test]
fn endpoints_come_from_slices_and_pods_from_this_node() {
    let site = Site::new();
    let source = Kubernetes::new(site.access(), Wanted::of_node("here"));
    let running = Running::with(Box::new(source), Options::default());
    running.until_synced();
    site.apply(&(service("a", "10.0.0.1") + "  selector:\n    app: a\n"));
    // Nobody makes tokens for Pods here.
    site.apply("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: default\n");
    for (pod, node) in [("here", "here"), ("there", "there")] {
        site.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {pod}\n  labels:\n    app: a\nspec:\n  nodeName: {node}\n  \
             automountServiceAccountToken: false\n  containers:\n  - name: c\n    image: none\n"
        ));
    }
    running.until("the Pod of this node", |snapshot| snapshot.pods.contains_key(&name("here")));
    site.apply(&slice("a", "10.1.0.1"));
    let addresses = |snapshot: &bowline_cluster::snapshot::Snapshot| -> Vec<String> {
        snapshot.slices_of(&name("a")).flat_map(|slice| &slice.endpoints).map(|e| e.address.to_string()).collect()
    };
    running.until("an endpoint", |snapshot| addresses(snapshot) == ["10.1.0.1"]);
    site.apply(&slice("a", "10.1.0.2"));
    running.until("another", |snapshot| addresses(snapshot) == ["10.1.0.2"]);
    assert_eq!(running.snapshot().pods.len(), 1);
    site.remove("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/a-1");
    running.until("none", |snapshot| addresses(snapshot).is_empty());
    site.remove("/api/v1/namespaces/default/pods/here?gracePeriodSeconds=0");
    running.until("no Pod", |snapshot| snapshot.pods.is_empty());
}

/// As after the API server has gone back to an older version, or is newer than the agent.
#[test]
fn what_a_newer_api_has_stored_is_served_as_far_as_it_is_understood() {
    let mut site = Site::new();
    let metadata = |name: &str| {
        serde_json::json!({
            "name": name, "namespace": "default", "uid": format!("0b0f0000-0000-4000-8000-{:012}", name.len()),
            "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {"bowline.dev/scheduler": "fastest"},
        })
    };
    site.store(
        "services/specs",
        &serde_json::json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata("newer"),
            "spec": {
                "type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "selector": {"app": "newer"},
                "sessionAffinity": "Cookie", "internalTrafficPolicy": "Near",
                "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81, "protocol": "QUIC"}],
            },
        }),
    );
    let mut slice = serde_json::json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata("newer-a"),
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.1.0.1"]}],
        "ports": [{"name": "a", "port": 80, "protocol": "TCP"}, {"name": "b", "port": 81, "protocol": "QUIC"}],
    });
    slice["metadata"]["labels"] = serde_json::json!({"kubernetes.io/service-name": "newer"});
    site.store("endpointslices", &slice);
    slice["addressType"] = "Name".into();
    slice["metadata"]["name"] = "newer-bb".into();
    site.store("endpointslices", &slice);
    let running = Running::synced(site.source());
    let snapshot = running.snapshot();
    let service = &snapshot.services[&name("newer")];
    assert_eq!((service.ports.len(), service.ports[0].port, service.affinity), (1, 80, None));
    assert_eq!((service.internal_local, service.scheduler), (false, None));
    assert_eq!(snapshot.slices_of(&name("newer")).flat_map(|slice| &slice.endpoints).count(), 1);
    let told: Vec<_> =
        running.problems().iter().map(|problem| (problem.object.clone(), problem.field.clone())).collect();
    let mut fields: Vec<_> = told.iter().map(|(_, field)| field.as_deref().unwrap()).collect();
    fields.sort_unstable();
    let expected = [
        "addressType",
        "metadata.annotations.bowline.dev/scheduler",
        "ports[1].protocol",
        "ports[1].protocol",
        "spec.internalTrafficPolicy",
        "spec.ports[1].protocol",
        "spec.sessionAffinity",
    ];
    assert_eq!(fields, expected, "{:?}", running.problems());
    assert!(running.problems().iter().all(|problem| problem.message.contains("and the rest is served")));
    // Changes of it are served as well, and what is mended is no longer told.
    let wrong = service_of("known", "10.0.0.1", "bowline.dev/scheduler: fastest");
    site.put("known", &wrong);
    running.until_ip("known", Some("10.0.0.1"));
    site.put("known", &wrong.replace("10.0.0.1", "10.0.0.2"));
    running.until_ip("known", Some("10.0.0.2"));
    running.until_problems("one more", |problems| problems.len() == expected.len() + 1);
    site.put("known", &wrong.replace("fastest", "random"));
    running.until_problems("it is mended", |problems| problems.len() == expected.len());
}

fn service_of(name: &str, ip: &str, annotation: &str) -> String {
    service(name, ip).replace("metadata:\n", &format!("metadata:\n  annotations: {{{annotation}}}\n"))
}
