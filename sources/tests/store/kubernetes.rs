//! What Kubernetes' own API server makes of a Service, and what the store makes of it: the same, step by step.

use std::time::{Duration, Instant};

use bowline_lab::Lab;
use bowline_lab::kubernetes::{ApiServer, ApiServerOptions, Etcd, EtcdOptions, Place, SERVICE_CIDRS};
use bowline_sources::store::apply::DryRun;
use serde_json::Value;

use crate::ground::{Ground, object, run, service};

/// Specs that are applied one after the other to one Service. Addresses and ports that a test writes are in
/// the lower bands, where nothing is given.
const STEPS: &[&[&str]] = &[
    // Defaults, of each type.
    &[""],
    &["type: NodePort"],
    &["type: LoadBalancer"],
    &["type: LoadBalancer, externalTrafficPolicy: Local"],
    &["type: LoadBalancer, allocateLoadBalancerNodePorts: false"],
    &["type: ExternalName, externalName: a.example"],
    &["sessionAffinity: ClientIP"],
    &["sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 7}}"],
    &["ports: [{name: a, port: 53, protocol: UDP}, {name: b, port: 53, targetPort: dns}], type: NodePort"],
    &["externalIPs: [192.0.2.1]"],
    // Families.
    &["ipFamilyPolicy: PreferDualStack"],
    &["ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6]"],
    &["ipFamilies: [IPv6]"],
    &["ipFamilies: [IPv6, IPv4]"],
    &["ipFamilyPolicy: SingleStack, ipFamilies: [IPv6, IPv4]"],
    &["clusterIP: \"fd96::7\""],
    &["clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, \"fd96::7\"], ipFamilyPolicy: PreferDualStack"],
    &["clusterIP: 10.96.0.7, ipFamilies: [IPv6]"],
    // As Go's sloppy parser reads addresses.
    &["clusterIP: 10.96.00.7"],
    &["clusterIP: 10.96.00.7, clusterIPs: [10.96.00.7], ipFamilies: [IPv4]"],
    &["clusterIP: \"::ffff:10.96.0.7\""],
    &["externalIPs: [192.000.02.1, \"::ffff:192.0.2.2\", \"fd00:00000::00001\"]"],
    &["externalIPs: [192.0.2.0x1]"],
    &["type: LoadBalancer, loadBalancerSourceRanges: [\" 192.000.2.9/024 \", \"FD00::1/064\"]"],
    &["ports: [{port: 80, protocol: \"\"}]"],
    &["clusterIP: None, selector: {a: b}"],
    &["clusterIP: None"],
    &["clusterIP: None, ipFamilyPolicy: PreferDualStack, selector: {a: b}"],
    &["clusterIP: None, type: NodePort"],
    // From one to two and back.
    &["", "ipFamilyPolicy: PreferDualStack", "ipFamilyPolicy: SingleStack", "ipFamilyPolicy: RequireDualStack"],
    &["ipFamilyPolicy: RequireDualStack", ""],
    &["ipFamilyPolicy: RequireDualStack", "ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4]"],
    &["ipFamilyPolicy: RequireDualStack", "ipFamilies: [IPv6, IPv4], ipFamilyPolicy: RequireDualStack"],
    // What can't change, and what stays.
    &["clusterIP: 10.96.0.7", "clusterIP: 10.96.0.8", ""],
    &["clusterIP: 10.96.0.7", "clusterIP: None"],
    &["clusterIP: None", "clusterIP: 10.96.0.7"],
    &["clusterIP: 192.0.2.7"],
    &["type: NodePort", "type: ClusterIP", "type: LoadBalancer", "type: NodePort"],
    &[
        "type: NodePort, ports: [{port: 80, nodePort: 30007}]",
        "type: NodePort, ports: [{port: 80, nodePort: 30008}]",
        "type: ClusterIP",
    ],
    &["type: NodePort, ports: [{port: 80, nodePort: 30007}]", "ports: [{port: 80, nodePort: 30007}]"],
    &["type: NodePort, ports: [{port: 80, nodePort: 30007}]", "type: NodePort, ports: [{port: 81}]"],
    &["type: NodePort", "type: NodePort, ports: [{name: x, port: 80}, {name: z, port: 81}]"],
    &[
        "type: LoadBalancer, externalTrafficPolicy: Local",
        "type: LoadBalancer",
        "type: NodePort, externalTrafficPolicy: Local",
    ],
    &[
        "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 30007",
        "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 30008",
    ],
    &[
        "",
        "type: ExternalName, externalName: a.example",
        "",
        "type: ExternalName, externalName: a.example, clusterIP: 10.96.0.7",
    ],
    &[
        "type: LoadBalancer, loadBalancerClass: a.example/b",
        "type: LoadBalancer, loadBalancerClass: a.example/c",
        "type: ClusterIP",
    ],
    // What is refused.
    &["ports: [{port: 80, nodePort: 30007}]"],
    &["externalTrafficPolicy: Local"],
    &["healthCheckNodePort: 30007"],
    &["type: NodePort, ports: [{port: 80, nodePort: 29000}]"],
    &["type: NodePort, ports: [{name: a, port: 80, nodePort: 30007}, {name: b, port: 81, nodePort: 30007}]"],
    &["loadBalancerSourceRanges: [192.0.2.0/24]"],
    &["type: LoadBalancer, loadBalancerSourceRanges: [192.0.2.0]"],
    &["trafficDistribution: PreferClose", "trafficDistribution: Near"],
    &["sesionAffinity: ClientIP"],
    &["sessionAffinity: Sticky"],
    &["internalTrafficPolicy: Local", "internalTrafficPolicy: None"],
    &["selector: {\"a b\": c}"],
    &["ports: []"],
];

/// What was given is by chance; what was written is below it.
fn normal(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let address = |text: &Value| match text.as_str() {
        Some(text) if text.ends_with(".0.7") || text == "fd96::7" || text == "None" => Value::from(text),
        Some(text) => Value::from(if text.contains(':') { "IPv6" } else { "IPv4" }),
        None => Value::Null,
    };
    let port = |port: &Value| if port.as_u64() >= Some(30_086) { Value::from("given") } else { port.clone() };
    if let Some(list) = spec.get_mut("clusterIPs").and_then(Value::as_array_mut) {
        list.iter_mut().for_each(|ip| *ip = address(ip));
        spec["clusterIP"] = address(&spec["clusterIP"]);
    }
    for element in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if element.get("nodePort").is_some() {
            element["nodePort"] = port(&element["nodePort"]);
        }
    }
    if spec.get("healthCheckNodePort").is_some() {
        spec["healthCheckNodePort"] = port(&spec["healthCheckNodePort"]);
    }
    spec
}

#[test]
fn the_store_makes_of_a_service_what_kubernetes_makes() {
    let lab = Lab::new("store-api").unwrap();
    let place = Place::machine(&lab).unwrap();
    let etcd = Etcd::start(&place, &EtcdOptions::default()).unwrap();
    let api = ApiServer::start(&place, &etcd, &ApiServerOptions::default()).unwrap();
    let began = Instant::now();
    while api.kubectl(&["get", "namespace", "default"]).is_err() {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(200));
    }
    let ground = Ground::with(&SERVICE_CIDRS.replace(',', " "), "");
    let file = lab.folder("manifests").unwrap().join("m.yaml");
    let (mut compared, mut refused, mut differ) = (0, 0, Vec::new());
    for (scenario, steps) in STEPS.iter().enumerate() {
        let name = format!("web-{scenario}");
        for (n, spec) in steps.iter().enumerate() {
            let yaml = service(&name, spec);
            std::fs::write(&file, &yaml).unwrap();
            let theirs = api.kubectl(&["apply", "-o", "json", "-f", file.to_str().unwrap()]);
            let ours = run(ground.store().apply(&object_of(&yaml), DryRun::No, &ground.settings));
            let what = format!("step {n} of {steps:?}");
            match (theirs, ours) {
                (Ok(theirs), Ok(ours)) => {
                    let theirs: Value = serde_json::from_str(&theirs).unwrap();
                    let (theirs, ours) = (normal(&theirs["spec"]), normal(&ours.object["spec"]));
                    if theirs != ours {
                        differ.push(format!("{what}:\nKubernetes {theirs}\nBowline    {ours}"));
                    }
                    compared += 1;
                }
                (Err(_), Err(_)) => refused += 1,
                (Ok(_), Err(ours)) => differ.push(format!("{what}: only refused by Bowline: {ours}")),
                (Err(theirs), Ok(_)) => differ.push(format!("{what}: only refused by Kubernetes: {theirs:#}")),
            }
        }
        // What is written is written again by others.
        if steps.iter().any(|spec| spec.contains(":7") || spec.contains(".7") || spec.contains("30007")) {
            let _ = api.kubectl(&["delete", "--wait=false", "service", &name]);
        }
        let _ = ground.delete("service", &name);
    }
    println!("{compared} Services are the same, {refused} refused by both");
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(ground.claims().is_empty(), "{:?}", ground.claims());
}

/// As it is written: what the reader of objects would refuse is the store's to refuse here.
fn object_of(yaml: &str) -> Value {
    let read = bowline_sources::parse::document::documents("test.yaml", yaml.as_bytes());
    if read.problems.is_empty() {
        object(yaml)
    } else {
        serde_json::json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "-refused-by-the-reader"}})
    }
}
