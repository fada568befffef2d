//! Manifests into objects: the API server's defaults and checks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

use std::net::IpAddr;

use super::*;
use bowline_cluster::object::{
    Conditions, EndpointSlice, Family, FamilyPolicy, Node, Pod, Protocol, Scheduler, Service, ServiceType, TargetPort,
};

mod checks;

fn read(text: &str) -> Manifest {
    manifest("test.yaml", text.as_bytes(), &Strings::default())
}

fn objects(text: &str) -> Vec<Object> {
    let manifest = read(text);
    assert_eq!(manifest.problems, [], "{text}");
    manifest.objects
}

fn keys(objects: &[Object]) -> Vec<String> {
    objects.iter().map(|object| object.key().to_string()).collect()
}

fn service(text: &str) -> Service {
    match objects(text).pop() {
        Some(Object::Service(service)) => Service::clone(&service),
        other => panic!("{other:?}"),
    }
}

fn slice(text: &str) -> EndpointSlice {
    match objects(text).pop() {
        Some(Object::EndpointSlice(slice)) => EndpointSlice::clone(&slice),
        other => panic!("{other:?}"),
    }
}

fn pod(text: &str) -> Pod {
    match objects(text).pop() {
        Some(Object::Pod(pod)) => Pod::clone(&pod),
        other => panic!("{other:?}"),
    }
}

/// A Service with these lines in its spec.
fn with_spec(spec: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n{spec}")
}

#[test]
fn defaults_are_the_api_servers() {
    let service = service(&with_spec("  ports:\n  - port: 80\n  sessionAffinity: ClientIP\n"));
    assert_eq!(service.name.to_string(), "default/web");
    assert_eq!((service.kind, service.headless, service.affinity), (ServiceType::ClusterIp, false, Some(10_800)));
    let port = &service.ports[0];
    assert_eq!((port.protocol, &port.target, &*port.name), (Protocol::Tcp, &TargetPort::Number(80), ""));
    assert_eq!((service.selector, service.family_policy, service.scheduler), (None, None, None));
    assert!(service.cluster_ips.is_empty() && service.families.is_empty() && !service.publish_not_ready);
}

#[test]
fn a_service_is_read_whole() {
    let text = "
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  creationTimestamp: 2026-03-01T10:00:00Z
  labels: {b: '2', a: '1'}
  annotations: {bowline.dev/scheduler: sh, other: x}
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, 'fd00::10']
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  publishNotReadyAddresses: yes
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}
  unknownField: [1, 2.5, {}]
  ports:
  - {name: http, port: 80, targetPort: web, nodePort: 30080}
  - {name: dns, port: 80, protocol: UDP, targetPort: 5353}
";
    let service = service(text);
    assert_eq!(service.created, Some(1_772_359_200));
    let labels: Vec<_> = service.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!((labels, service.scheduler), (vec!["a=1".to_string(), "b=2".to_string()], Some(Scheduler::Sh)));
    assert_eq!(service.cluster_ips, ["10.96.0.10".parse::<IpAddr>().unwrap(), "fd00::10".parse().unwrap()]);
    assert_eq!(service.families, [Family::V4, Family::V6]);
    assert_eq!(service.family_policy, Some(FamilyPolicy::RequireDualStack));
    assert_eq!((service.kind, service.affinity, service.publish_not_ready), (ServiceType::NodePort, Some(5), true));
    assert_eq!((&service.ports[0].target, service.ports[0].node_port), (&TargetPort::Name("web".into()), 30080));
    assert_eq!((service.ports[1].protocol, &service.ports[1].target), (Protocol::Udp, &TargetPort::Number(5353)));
}

#[test]
fn headless_and_external_services() {
    assert!(service(&with_spec("  clusterIP: None\n")).headless);
    assert!(service(&with_spec("  clusterIPs:\n  - None\n")).headless);
    let external = service(&with_spec("  type: ExternalName\n  externalName: db.example.com.\n"));
    assert_eq!((external.kind, external.external_name.as_deref()), (ServiceType::ExternalName, Some("db.example.com")));
}

#[test]
fn a_slice_is_read_whole_and_unset_conditions_mean_ready() {
    let text = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  labels:
    kubernetes.io/service-name: web
addressType: IPv4
ports:
- name: http
  port: 8080
- name: all
endpoints:
- addresses: [10.0.0.1, 10.0.0.99]
- addresses: [10.0.0.2]
  conditions: {ready: false, serving: true, terminating: true}
  hostname: web-0
  nodeName: node-1
  zone: zone-a
  targetRef: {kind: Pod, name: web-0-x}
- addresses: [10.0.0.3]
  conditions: {ready: null}
  targetRef: {kind: Other, name: x}
";
    let slice = slice(text);
    assert_eq!((slice.service.as_deref(), slice.family), (Some("web"), Some(Family::V4)));
    assert_eq!((slice.ports[0].port, slice.ports[1].port), (Some(8080), None));
    let endpoints: Vec<_> = slice.endpoints.iter().collect();
    let endpoint = endpoints[1];
    assert_eq!(endpoints[0].address.to_string(), "10.0.0.1", "only the first counts");
    assert_eq!(endpoints[0].conditions, Conditions { ready: true, serving: true, terminating: false });
    assert_eq!(endpoint.conditions, Conditions { ready: false, serving: true, terminating: true });
    assert_eq!((endpoint.hostname, endpoint.node.map(|s| &**s)), (Some("web-0"), Some("node-1")));
    assert_eq!((endpoint.zone.map(|s| &**s), endpoint.pod), (Some("zone-a"), Some("web-0-x")));
    assert_eq!((endpoints[2].conditions.ready, endpoints[2].pod), (true, None));
}

#[test]
fn a_slice_of_names_has_no_endpoints() {
    let text = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: FQDN\nendpoints:\n- addresses: [a.example]\n";
    let slice = slice(text);
    assert_eq!((slice.family, slice.endpoints.len(), slice.service), (None, 0, None));
}

#[test]
fn a_pod_is_read_whole() {
    let text = "
apiVersion: v1
kind: Pod
metadata:
  name: web-0
  deletionTimestamp: 2026-03-01T10:00:00Z
spec:
  nodeName: node-1
  hostname: web-0
  subdomain: web
  containers:
  - ports:
    - {name: http, containerPort: 8080}
    - {containerPort: 9090}
  initContainers:
  - restartPolicy: Always
    ports: [{name: proxy, containerPort: 15001, protocol: UDP}]
  - ports: [{name: never, containerPort: 1}]
status:
  phase: Running
  podIP: 10.0.0.1
  podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]
  conditions:
  - {type: Initialized, status: 'True'}
  - {type: Ready, status: 'False'}
";
    let pod = pod(text);
    assert_eq!((pod.ready, pod.terminating, pod.finished, pod.ips.len()), (false, true, false, 2));
    let ports: Vec<_> = pod.ports.iter().map(|port| (&*port.name, port.port)).collect();
    assert_eq!(ports, [("http", 8080), ("proxy", 15001)]);
    assert_eq!((pod.node.as_deref(), pod.subdomain.as_deref()), (Some("node-1"), Some("web")));
}

#[test]
fn a_pod_with_an_address_and_no_condition_is_ready() {
    let ready = |status: &str| pod(&format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\n{status}\n")).ready;
    assert!(ready("status: {podIP: 10.0.0.1}"));
    assert!(!ready("status: {phase: Pending}"));
    assert!(!ready("spec: {}"));
    assert!(pod("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {phase: Failed}\n").finished);
}

#[test]
fn nodes_and_namespaces_are_read() {
    let text = "
apiVersion: v1
kind: Node
metadata: {name: n.example, namespace: ignored, labels: {zone: a}}
spec: {podCIDRs: [10.244.1.7/24, 'fd00:1::/64']}
status:
  addresses: [{type: Hostname, address: n}, {type: InternalIP, address: 192.0.2.1}]
  conditions: [{type: Ready, status: 'True'}, {type: NetworkUnavailable, status: 'True'}]
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
";
    let objects = objects(text);
    assert_eq!(keys(&objects), ["Node n.example", "Namespace shop"]);
    let Object::Node(node) = &objects[0] else { panic!("{objects:?}") };
    let Node { internal_ips, pod_cidrs, network_unavailable, .. } = &**node;
    assert_eq!((internal_ips.len(), pod_cidrs[0].to_string(), pod_cidrs.len()), (1, "10.244.1.0/24".to_string(), 2));
    assert_eq!(*network_unavailable, Some(true));
}

#[test]
fn every_way_to_put_many_into_a_file_is_read() {
    let yaml = |name: &str| format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n");
    let json = |name: &str| format!(r#"{{"apiVersion": "v1", "kind": "Namespace", "metadata": {{"name": "{name}"}}}}"#);
    let want = ["Namespace a", "Namespace b"];
    let item = |name: &str| yaml(name).replace('\n', "\n  ").trim_end().to_string() + "\n";
    let texts = [
        format!("{}---\n{}", yaml("a"), yaml("b")),
        format!("---\n{}...\n---\n# c\n---\n{}---\n", yaml("a"), yaml("b")),
        format!("{}\n---\n{}", json("a"), json("b")),
        format!("{}\n{}", json("a"), json("b")),
        format!("\u{feff}{}---\r\n{}", yaml("a"), yaml("b").replace('\n', "\r\n")),
        format!("apiVersion: v1\nitems:\n- {}- {}kind: List\n", item("a"), item("b")),
        format!("apiVersion: v1\nkind: List\nitems: [{}, {}]\n", json("a"), json("b")),
        format!(r#"{{"kind": "List", "apiVersion": "v1", "items": [{}, {}]}}"#, json("a"), json("b")),
        // As the API server sends it: the kind stands in the list alone, in any order.
        "{\"kind\": \"NamespaceList\", \"apiVersion\": \"v1\", \"items\": [{\"metadata\": {\"name\": \"a\"}}, {\"metadata\": {\"name\": \"b\"}}]}".into(),
        "{\"items\": [{\"metadata\": {\"name\": \"a\"}}, {\"metadata\": {\"name\": \"b\"}}], \"kind\": \"NamespaceList\", \"apiVersion\": \"v1\"}".into(),
        "apiVersion: v1\nitems:\n- metadata:\n    name: a\n- metadata: {name: b}\nkind: NamespaceList\n".into(),
        "{items: [{metadata: {name: a}}, {metadata: {name: b}}], kind: NamespaceList, apiVersion: v1}".into(),
        format!("apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items: [{}]\n- {}", json("a"), item("b")),
    ];
    for text in texts {
        assert_eq!(keys(&objects(&text)), want, "{text}");
    }
}

#[test]
fn kinds_that_are_not_read_are_counted_and_left_alone() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\napiVersion: serving.knative.dev/v1\nkind: Service\n---\nkind: ConfigMap\napiVersion: v1\ndata: {a: 1}\n";
    let manifest = read(text);
    assert_eq!((manifest.objects.len(), manifest.problems.len(), manifest.others), (0, 0, 3));
}

#[test]
fn a_bad_object_takes_no_other_with_it_and_is_told_with_its_line() {
    let good = |name: &str| format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n");
    let bad = with_spec("  ports:\n  - port: 99999\n");
    let text = format!("{}---\n{bad}---\n[a\n---\n{}", good("a"), good("b"));
    let manifest = read(&text);
    assert_eq!(keys(&manifest.objects), ["Namespace a", "Namespace b"]);
    let told: Vec<_> = manifest.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told[0],
        "test.yaml:12: Service default/web: spec.ports[0].port: is 99999; write a number from 1 to 65535"
    );
    assert!(
        told[1].starts_with("test.yaml:14: can't be read: ") || told[1].starts_with("test.yaml:15: can't"),
        "{told:?}"
    );
    assert_eq!(told.len(), 2);
}

#[test]
fn an_alias_to_another_item_of_a_list_is_refused() {
    let item = |name: &str, labels: &str| {
        format!("- apiVersion: v1\n  kind: Namespace\n  metadata:\n    name: {name}\n    labels: {labels}\n")
    };
    let text = format!("apiVersion: v1\nkind: List\nitems:\n{}{}", item("a", "&l {x: z}"), item("b", "*l"));
    let manifest = read(&text);
    assert_eq!((keys(&manifest.objects), manifest.problems.len()), (vec!["Namespace a".to_string()], 1));
    assert_eq!(&*manifest.problems[0].origin, "test.yaml:13");
}

#[test]
fn the_line_of_a_json_item_is_told() {
    let text = "{\"kind\": \"List\", \"apiVersion\": \"v1\", \"items\": [\n{\"kind\": \"Pod\", \"apiVersion\": \"v1\",\n\"metadata\": {}}]}";
    let told = read(text).problems[0].to_string();
    assert!(told.starts_with("test.yaml:2: metadata.name: is missing"), "{told}");
}

#[test]
fn broken_json_keeps_what_came_before() {
    let text = r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}} {"apiVersion": "v1", "#;
    let manifest = manifest("a.json", text.as_bytes(), &Strings::default());
    assert_eq!((manifest.objects.len(), manifest.problems.len()), (1, 1));
}

#[test]
fn bombs_are_refused() {
    let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (name, of) in ('b'..='j').zip('a'..='i') {
        bomb += &format!("{name}: &{name} [*{of},*{of},*{of},*{of},*{of},*{of},*{of},*{of},*{of}]\n");
    }
    let deep_yaml = "[".repeat(100_000);
    let deep_block: String = (0..500).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    let deep_json = "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000);
    let deep_list = "- ".repeat(50_000);
    for text in [bomb, deep_yaml, deep_block, deep_json, deep_list] {
        let manifest = read(&text);
        assert_eq!((manifest.objects.len(), manifest.problems.len()), (0, 1), "{:.60}", text);
    }
    let lists = "{\"kind\":\"List\",\"apiVersion\":\"v1\",\"items\":[".repeat(10) + &"]}".repeat(10);
    assert!(read(&lists).problems[0].message.contains("too many lists"));
    let huge = format!("a: '{}'\n", "x".repeat(MAX_PIECE + 1));
    assert!(read(&huge).problems[0].message.contains("16 MiB"));
}

#[test]
fn a_file_of_many_windows_reads_the_same_on_any_number_of_threads() {
    let text: String = (0..3000)
        .map(|n| format!("---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: n-{n}\n  labels:\n    a: {n}\n"))
        .collect();
    assert!(text.len() > 3 * stream::WINDOW);
    let strings = Strings::default();
    let read = |threads| {
        let options = stream::Options { json_only: false, threads, known: &|_| false };
        let pieces =
            stream::read(std::io::Cursor::new(text.as_bytes()), &options, &RandomState::new(), &strings).unwrap();
        let faults = |piece: &stream::ReadPiece| {
            piece.found.as_ref().unwrap().faults().iter().map(|f| f.problem("f", piece.line)).collect()
        };
        pieces.iter().map(|piece| (piece.line, faults(piece))).collect::<Vec<(u32, Vec<Problem>)>>()
    };
    let one = read(1);
    assert_eq!(one.len(), 3000);
    assert_eq!(one, read(4));
}

#[test]
fn a_key_that_stands_twice_is_told_in_our_words_with_its_line() {
    for (text, line, key) in [
        ("kind: Service\napiVersion: v1\nmetadata:\n  name: a\n  name: b\nspec: {ports: [{port: 80}]}\n", 5, "name"),
        ("kind: Service\nkind: Pod\n", 2, "kind"),
        ("# first\n---\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n  - port: 80\n    port: 81\n", 8, "port"),
        ("kind: Service\nmetadata: {name: a, name: b}\n", 2, "name"),
        ("kind: Service\nspec:\n  selector:\n    \"app\": a\n    'app': a\n", 5, "app"),
    ] {
        let told: Vec<String> = read(text).problems.iter().map(ToString::to_string).collect();
        let wanted = format!("test.yaml:{line}: can't be read: the key {key:?} stands here a second time; write each");
        assert!(told.len() == 1 && told[0].starts_with(&wanted), "{text}: {told:?}");
    }
}
