//! What the API server refuses is refused, and what is told names the field and what to do.

use super::*;
use bowline_cluster::object::LoadBalancer;

/// The only problem of a manifest, without its place and object.
fn refusal(text: &str) -> String {
    let manifest = read(text);
    assert_eq!((manifest.objects.len(), manifest.problems.len()), (0, 1), "{text}: {manifest:?}");
    let problem = &manifest.problems[0];
    format!("{}: {}", problem.field.as_deref().unwrap_or(""), problem.message)
}

#[test]
fn services() {
    let cases = [
        ("  ports: []\n", "spec.ports: is empty"),
        ("  ports:\n  - port: 0\n", "spec.ports[0].port: is 0; write a number from 1 to 65535"),
        ("  ports:\n  - port: '80'\n", "spec.ports[0].port: is a string; write a number"),
        ("  ports:\n  - port: 80.5\n", "spec.ports[0].port: is no whole number"),
        ("  ports:\n  - name: a\n", "spec.ports[0].port: is missing"),
        ("  ports:\n    port: 80\n", "spec.ports: is a map; write a list"),
        ("  ports:\n  - port: 80\n    protocol: HTTP\n", "spec.ports[0].protocol: is \"HTTP\"; write TCP, UDP or SCTP"),
        ("  ports:\n  - port: 80\n    targetPort: 70000\n", "spec.ports[0].targetPort: is 70000"),
        ("  ports:\n  - port: 80\n    targetPort: Web\n", "spec.ports[0].targetPort: \"Web\" is no name here"),
        ("  ports:\n  - port: 80\n    targetPort: '80'\n", "spec.ports[0].targetPort: \"80\" is no name here"),
        ("  ports:\n  - port: 80\n    name: UP\n", "spec.ports[0].name: \"UP\" is no name here"),
        ("  ports:\n  - port: 80\n    name: 80\n", "spec.ports[0].name: is a number; put it in quotes"),
        ("  ports:\n  - port: 80\n  - port: 81\n", "spec.ports[0].name: is missing; a Service of several ports"),
        ("  ports:\n  - {port: 80, name: a}\n  - {port: 81, name: a}\n", "spec.ports[1].name: \"a\" is there twice"),
        ("  ports:\n  - {port: 80, name: a}\n  - {port: 80, name: b}\n", "spec.ports[1].port: 80/TCP is there twice"),
        ("  ports: [{port: 80}]\n  type: Ingress\n", "spec.type: is \"Ingress\"; write ClusterIP, NodePort"),
        ("  ports: [{port: 80}]\n  clusterIP: 10.96.0\n", "spec.clusterIP: \"10.96.0\" is no IP address"),
        ("  ports: [{port: 80}]\n  clusterIP: 127.0.0.1\n", "spec.clusterIP: 127.0.0.1 can't be the address"),
        ("  ports: [{port: 80}]\n  clusterIPs: [10.0.0.1, 10.0.0.2]\n", "spec.clusterIPs: has two IPv4 addresses"),
        ("  ports: [{port: 80}]\n  clusterIPs: [None, 10.0.0.2]\n", "spec.clusterIPs: has None beside addresses"),
        (
            "  ports: [{port: 80}]\n  clusterIP: 10.0.0.1\n  clusterIPs: [10.0.0.2]\n",
            "spec.clusterIPs: begins with \"10.0.0.2\" but clusterIP is \"10.0.0.1\"",
        ),
        ("  ports: [{port: 80}]\n  clusterIP: None\n  type: NodePort\n", "spec.clusterIP: is None, which only"),
        ("  ports: [{port: 80}]\n  ipFamilies: [IPv5]\n", "spec.ipFamilies[0]: is \"IPv5\"; write IPv4 or IPv6"),
        ("  ports: [{port: 80}]\n  ipFamilies: [IPv4, IPv4]\n", "spec.ipFamilies[1]: IPv4 is there twice"),
        (
            "  ports: [{port: 80}]\n  ipFamilies: [IPv6]\n  clusterIP: 10.0.0.1\n",
            "spec.ipFamilies: has IPv6 where clusterIPs has 10.0.0.1",
        ),
        (
            "  ports: [{port: 80}]\n  ipFamilies: [IPv4]\n  clusterIPs: [10.0.0.1, 'fd00::1']\n",
            "spec.ipFamilies: has fewer",
        ),
        ("  ports: [{port: 80}]\n  ipFamilyPolicy: Dual\n", "spec.ipFamilyPolicy: is \"Dual\"; write SingleStack"),
        (
            "  ports: [{port: 80}]\n  sessionAffinity: Cookie\n",
            "spec.sessionAffinity: is \"Cookie\"; write None or ClientIP",
        ),
        (
            "  ports: [{port: 80}]\n  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}\n",
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: is 86401; write a number from 1 to 86400",
        ),
        ("  ports: [{port: 80}]\n  selector: {app: 1}\n", "spec.selector.app: is a number; put it in quotes"),
        ("  ports: [{port: 80}]\n  selector: {app: yes}\n", "spec.selector.app: is true or false; put it in quotes"),
        (
            "  ports: [{port: 80}]\n  publishNotReadyAddresses: 1\n",
            "spec.publishNotReadyAddresses: is a number; write true or false",
        ),
        ("  type: ExternalName\n", "spec.externalName: is missing"),
        ("  type: ExternalName\n  externalName: a_b\n", "spec.externalName: \"a_b\" is no DNS name"),
    ];
    for (spec, want) in cases {
        let refusal = refusal(&with_spec(spec));
        assert!(refusal.starts_with(want), "{spec}: {refusal}");
    }
}

#[test]
fn a_scheduler_that_is_none_is_refused_with_the_list() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a, annotations: {bowline.dev/scheduler: best}}\nspec: {ports: [{port: 80}]}\n";
    assert_eq!(
        refusal(text),
        "metadata.annotations.bowline.dev/scheduler: is \"best\"; write one of rr, wrr, lc, wlc, dh, sh, sed, nq, random, maglev"
    );
}

#[test]
fn metadata_and_versions() {
    let cases = [
        ("apiVersion: v1\nkind: Service\n", "metadata: is missing"),
        ("apiVersion: v1\nkind: Service\nmetadata: {generateName: a-}\n", "metadata.name: is missing"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: Web}\n", "metadata.name: \"Web\" is no name here"),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: a.b}\n",
            "metadata.namespace: \"a.b\" is no name",
        ),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n", "spec: is missing"),
        ("kind: Service\nmetadata: {name: a}\n", "apiVersion: is missing"),
        ("apiVersion: v1\nmetadata: {name: a}\n", "kind: is missing"),
        ("apiVersion: v2\nkind: Service\nmetadata: {name: a}\n", "apiVersion: is v2; write the object in v1"),
        (
            "apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nmetadata: {name: a}\n",
            "apiVersion: is discovery.k8s.io/v1beta1; write the object in discovery.k8s.io/v1",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: a, creationTimestamp: now}\nspec: {}\n",
            "metadata.creationTimestamp: is no time",
        ),
        ("just text\n", ": is a string; write a map"),
        ("- a\n", ": is a list; write a map"),
    ];
    for (text, want) in cases {
        let refusal = refusal(text);
        assert!(refusal.starts_with(want), "{text}: {refusal}");
    }
}

#[test]
fn slices() {
    let cases = [
        ("endpoints: []\n", "addressType: is missing"),
        ("addressType: IP\n", "addressType: is \"IP\""),
        ("addressType: IPv4\nendpoints: [{addresses: []}]\n", "endpoints[0].addresses: is empty"),
        (
            "addressType: IPv4\nendpoints: [{addresses: [10.0.0]}]\n",
            "endpoints[0].addresses[0]: \"10.0.0\" is no IP address",
        ),
        (
            "addressType: IPv4\nendpoints: [{addresses: ['fd00::1']}]\n",
            "endpoints[0].addresses[0]: fd00::1 is no IPv4 address",
        ),
        (
            "addressType: IPv4\nendpoints: [{addresses: [0.0.0.0]}]\n",
            "endpoints[0].addresses[0]: 0.0.0.0 is the unspecified",
        ),
        (
            "addressType: IPv4\nendpoints: [{addresses: [127.0.0.1]}]\n",
            "endpoints[0].addresses[0]: 127.0.0.1 is a loopback",
        ),
        (
            "addressType: IPv4\nendpoints: [{addresses: [169.254.1.1]}]\n",
            "endpoints[0].addresses[0]: 169.254.1.1 is a link-local",
        ),
        (
            "addressType: IPv4\nendpoints: [{addresses: [224.0.0.1]}]\n",
            "endpoints[0].addresses[0]: 224.0.0.1 is a link-local multicast",
        ),
        (
            "addressType: IPv6\nendpoints: [{addresses: ['fe80::1']}]\n",
            "endpoints[0].addresses[0]: fe80::1 is a link-local",
        ),
        ("addressType: IPv6\nendpoints: [{addresses: ['::1']}]\n", "endpoints[0].addresses[0]: ::1 is a loopback"),
        (
            "addressType: IPv6\nendpoints: [{addresses: ['ff02::1']}]\n",
            "endpoints[0].addresses[0]: ff02::1 is a link-local multicast",
        ),
        ("addressType: IPv4\nendpoints: [{addresses: [10.0.0.1], hostname: A_B}]\n", "endpoints[0].hostname: \"A_B\""),
        ("addressType: IPv4\nports: [{port: 1}, {port: 2}]\n", "ports[1].name: \"\" is there twice"),
        ("addressType: IPv4\nports: [{port: 65536}]\n", "ports[0].port: is 65536"),
    ];
    for (rest, want) in cases {
        let text = format!("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: a}}\n{rest}");
        let refusal = refusal(&text);
        assert!(refusal.starts_with(want), "{rest}: {refusal}");
    }
}

#[test]
fn pods_and_nodes() {
    let cases = [
        ("Pod", "status: {podIP: x}\n", "status.podIP: \"x\" is no IP address"),
        (
            "Pod",
            "status: {podIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.2}]}\n",
            "status.podIPs[1].ip: is a second IPv4 address",
        ),
        ("Pod", "status: {podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.1}]}\n", "status.podIP: is 10.0.0.2 but podIPs begins"),
        (
            "Pod",
            "spec: {containers: [{ports: [{name: a}]}]}\n",
            "spec.containers[0].ports[0].containerPort: is missing",
        ),
        ("Node", "spec: {podCIDRs: [10.0.0.0]}\n", "spec.podCIDRs[0]: \"10.0.0.0\" is no range of addresses"),
    ];
    for (kind, rest, want) in cases {
        let refusal = refusal(&format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}\n{rest}"));
        assert!(refusal.starts_with(want), "{rest}: {refusal}");
    }
}

#[test]
fn times() {
    use super::super::fields::rfc3339;
    assert_eq!(rfc3339("1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(rfc3339("2024-02-29T23:59:59.123456Z"), Some(1_709_251_199));
    assert_eq!(rfc3339("2026-03-01T12:00:00+02:00"), Some(1_772_359_200));
    assert_eq!(rfc3339("1969-12-31T23:59:59Z"), Some(-1));
    assert_eq!(rfc3339("2024-02-29T23:59:59,5-01:30"), Some(1_709_256_599));
    assert_eq!(rfc3339("1970-01-01T1:00:00Z"), Some(3600));
    for text in [
        "",
        "2026",
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00+1:00",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00Zz",
        "2026-01-01T00:00:00é",
    ] {
        assert_eq!(rfc3339(text), None, "{text}");
    }
}

/// What an API server has stored at some time, and kube-proxy serves (kubernetes#108074).
#[test]
fn what_kubernetes_takes_is_read_as_it_reads_it() {
    let service = |spec: &str| {
        let read = read(&format!("apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\n{spec}"));
        assert_eq!(read.problems, [], "{spec}");
        match read.objects.into_iter().next() {
            Some(Object::Service(service)) => service,
            other => panic!("{spec}: {other:?}"),
        }
    };
    let ips = |spec: &str| service(spec).cluster_ips.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (spec, wanted) in [
        ("{ports: [{port: 80}], clusterIP: 10.96.003.008}", &["10.96.3.8"][..]),
        ("{ports: [{port: 80}], clusterIP: 10.96.003.008, clusterIPs: [10.96.003.008]}", &["10.96.3.8"]),
        ("{ports: [{port: 80}], clusterIP: 10.96.3.8, clusterIPs: [10.96.003.008]}", &["10.96.3.8"]),
        ("{ports: [{port: 80}], clusterIPs: ['::ffff:10.96.3.8', 'fd00:00000::01']}", &["10.96.3.8", "fd00::1"]),
        ("{ports: [{port: 80}], clusterIP: '', clusterIPs: ['']}", &[]),
        ("{ports: [{port: 80}], clusterIP: null, clusterIPs: null, externalIPs: null, selector: null}", &[]),
    ] {
        assert_eq!(ips(&format!("spec: {spec}\n")), wanted, "{spec}");
    }
    let outside = service(
        "spec: {ports: [{port: 80.0, protocol: '', nodePort: 3.008e4, targetPort: ''}], type: LoadBalancer,
         loadBalancerSourceRanges: [' 010.0.0.1/08 ', ''], externalIPs: [010.1.1.1, ' ', '']}
status: {loadBalancer: {ingress: [null, {}, {ip: '::ffff:192.000.002.1'}]}}
",
    );
    let port = &outside.ports[0];
    assert_eq!((port.port, port.protocol, port.node_port), (80, Protocol::Tcp, 30_080));
    let external = outside.external.as_deref().unwrap();
    assert_eq!(external.ips, ["10.1.1.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(external.load_balancers, [LoadBalancer::Ip("192.0.2.1".parse().unwrap())]);

    let json = br#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","creationTimestamp":null},"spec":{"ports":[{"port":8e1}]}}"#;
    assert_eq!(manifest("a.json", json, &Strings::default()).objects.len(), 1);

    let others = read(
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a}, addressType: IPv4, ports: null,
 endpoints: [{addresses: [010.001.000.009], conditions: null, targetRef: null}]}
---
{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: null}, status: {podIP: 010.1.0.9, podIPs: [{ip: 10.1.0.9}, null], conditions: [null]}}
---
{apiVersion: v1, kind: Node, metadata: {name: a}, spec: {podCIDRs: [010.244.000.5/024]},
 status: {addresses: [{type: InternalIP, address: 192.168.000.1}, {type: InternalIP, address: node-1.example}, null]}}
---
{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: a}, spec: {cidrs: [10.96.000.1/012]}}
",
    );
    assert_eq!(others.problems, []);
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let range = |text: &str| text.parse::<ipnet::IpNet>().unwrap();
    match &others.objects[..] {
        [Object::EndpointSlice(slice), Object::Pod(pod), Object::Node(node), Object::ServiceCidr(cidr)] => {
            assert_eq!(slice.endpoints.iter().map(|endpoint| endpoint.address).collect::<Vec<_>>(), [ip("10.1.0.9")]);
            assert_eq!(pod.ips, [ip("10.1.0.9")]);
            assert_eq!(
                (&node.internal_ips[..], &node.pod_cidrs[..]),
                (&[ip("192.168.0.1")][..], &[range("10.244.0.0/24")][..])
            );
            assert_eq!(cidr.cidrs, [range("10.96.0.0/12")]);
        }
        other => panic!("{other:?}"),
    }
}

/// Written by hand they are refused, with the line; what a server has stored is served without them.
#[test]
fn values_of_a_newer_api_are_noted_and_the_rest_is_served() {
    let service = |spec: &str| format!("apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{{spec}}}\n");
    let slice =
        |text: &str| format!("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: a}}\n{text}\n");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{ports: [{name: x, containerPort: 1, protocol: QUIC}]}]}\n";
    let import =
        "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\nmetadata: {name: a}\nspec: {type: Wide}\n";
    let flannel = |more: &str| {
        format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: a, annotations: {{flannel.alpha.coreos.com/backend-type: vxlan, {more}}}}}\n"
        )
    };
    let endpoints = "apiVersion: v1\nkind: Endpoints\nmetadata: {name: a}\nsubsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 1, protocol: QUIC}]}]\n";
    for (text, fields) in [
        (service("type: Mesh, ports: [{port: 80}]"), &["spec.type"][..]),
        (service("ipFamilyPolicy: Triple, ports: [{port: 80}]"), &["spec.ipFamilyPolicy"]),
        (service("ipFamilies: [IPv4, IPv9], ports: [{port: 80}]"), &["spec.ipFamilies[1]"]),
        (service("sessionAffinity: Cookie, ports: [{port: 80}]"), &["spec.sessionAffinity"]),
        (
            service("internalTrafficPolicy: Near, externalTrafficPolicy: Far, ports: [{port: 80}]"),
            &["spec.internalTrafficPolicy", "spec.externalTrafficPolicy"],
        ),
        (service("ports: [{port: 80, protocol: QUIC}]"), &["spec.ports[0].protocol"]),
        (
            service("ports: [{port: 80}]")
                .replace("{name: a}", "{name: a, annotations: {bowline.dev/scheduler: best}}"),
            &["metadata.annotations.bowline.dev/scheduler"],
        ),
        (slice("addressType: MAC\nendpoints: [{addresses: [aa-bb]}]"), &["addressType"]),
        (slice("addressType: IPv4\nports: [{port: 1, protocol: QUIC}]"), &["ports[0].protocol"]),
        (pod.to_owned(), &["spec.containers[0].ports[0].protocol"]),
        (endpoints.to_owned(), &["subsets[0].ports[0].protocol"]),
        (import.to_owned(), &["spec.type"]),
        (
            flannel("flannel.alpha.coreos.com/public-ip: 'fd00::1'"),
            &["metadata.annotations.flannel.alpha.coreos.com/public-ip"],
        ),
        (
            flannel(
                "flannel.alpha.coreos.com/public-ip: 192.0.2.1, flannel.alpha.coreos.com/backend-data: '{\"VtepMAC\":\"0a:58\"}'",
            ),
            &["metadata.annotations.flannel.alpha.coreos.com/backend-data"],
        ),
    ] {
        let refused = manifest("a.yaml", text.as_bytes(), &Strings::default());
        assert!(refused.objects.is_empty() && refused.problems.len() == 1, "{text}: {refused:?}");
        assert!(refused.problems[0].origin.starts_with("a.yaml:"), "{text}: {refused:?}");
        let stored = stored(text.as_bytes(), None, &Strings::default()).found;
        let noted: Vec<_> = stored.faults().iter().map(|fault| fault.field.as_deref().unwrap()).collect();
        assert_eq!((stored.objects.len(), noted), (1, fields.to_vec()), "{text}: {stored:?}");
        assert!(stored.faults().iter().all(|fault| fault.object.is_some()), "{text}: {stored:?}");
        let refused = &stored.trouble.as_ref().unwrap().refused;
        assert!(refused.is_empty() && !stored.unreadable, "{text}: {stored:?}");
    }
    // What is wrong in any version is refused all the same, beside what is noted.
    let both = service("sessionAffinity: Cookie, ports: [{port: 0}]");
    let stored = stored(both.as_bytes(), None, &Strings::default()).found;
    assert!(stored.objects.is_empty() && stored.trouble.unwrap().refused.len() == 1);
}
