//! Every folder of deploy/ that can be applied, on a real API server.

use bowline_lab::Lab;
use bowline_lab::kubernetes::{ApiServer, ApiServerOptions, Etcd, EtcdOptions, Place};
use serde_json::Value;

use crate::overlay::Deploy;

const FOLDERS: [&str; 6] = ["base", "overlays/beside-kube-proxy", "overlays/alone", "cleanup", "dns", "dns/service"];
const AGENT: [&str; 6] =
    ["get", "daemonset", "bowline", "--namespace=kube-system", "--output=json", "--ignore-not-found"];
/// Each component of deploy/, with what it changes.
const COMPONENTS: [(&str, &str); 5] = [
    ("coredns-corefile", "dns"),
    ("verified-pods", "dns"),
    ("pod-network", "overlays/alone"),
    ("from-flannel", "overlays/alone"),
    ("node-local-dns", "overlays/alone"),
];

/// Each is taken as it is, without a warning or an unknown field; and the ports of its probes are the agent's.
#[test]
fn an_api_server_takes_every_manifest() {
    let lab = Lab::new("manifests").unwrap();
    let place = Place::machine(&lab).unwrap();
    let etcd = Etcd::start(&place, &EtcdOptions::default()).unwrap();
    let api = ApiServer::start(&place, &etcd, &ApiServerOptions::default()).unwrap();
    let deploy = Deploy::new(&lab);
    for folder in FOLDERS {
        taken(&api, &deploy.path(folder));
        let agent = api.kubectl(&AGENT).unwrap();
        if !agent.is_empty() && folder != "cleanup" {
            looked_at(&api, folder, &serde_json::from_str(&agent).unwrap());
            api.kubectl(&["delete", "daemonset", "bowline", "--namespace=kube-system"]).unwrap();
        }
    }
    let dns = ["get", "deployment", "bowline-dns", "--namespace=kube-system", "--output=json"];
    dns_looked_at(&serde_json::from_str(&api.kubectl(&dns).unwrap()).unwrap());
    for (component, on) in COMPONENTS {
        taken(&api, &deploy.with_components(component, on, "bowline.test/bowline:any", &[component]));
    }
    all_components_are_taken();
}

/// Without a warning or an unknown field, dry and really.
fn taken(api: &ApiServer, path: &str) {
    for how in ["--dry-run=server", "--dry-run=none"] {
        let out =
            api.kubectl_command(&["apply", "--validate=strict", how, "--kustomize", path]).unwrap().output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.success() && said.is_empty(), "{path}, {how}: {said}");
    }
}

fn all_components_are_taken() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/components");
    let mut there: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    there.sort_unstable();
    let mut taken: Vec<_> = COMPONENTS.iter().map(|(component, _)| (*component).to_owned()).collect();
    taken.sort_unstable();
    assert_eq!(there, taken, "a new component needs its line above");
}

/// The DNS is found by the Service kube-dns, is no Deployment that kubeadm takes for its own, and may do nothing.
fn dns_looked_at(deployment: &Value) {
    assert_eq!(deployment.pointer("/metadata/labels/k8s-app"), None);
    let template = deployment.pointer("/spec/template").unwrap();
    assert_eq!(template.pointer("/metadata/labels/k8s-app").unwrap(), "kube-dns");
    let (pod, container) = (&template["spec"], template.pointer("/spec/containers/0").unwrap());
    assert_eq!(pod.pointer("/securityContext/runAsNonRoot").unwrap(), true);
    assert_eq!(container.pointer("/securityContext/capabilities").unwrap(), &serde_json::json!({"drop": ["ALL"]}));
    assert_eq!(container.pointer("/securityContext/readOnlyRootFilesystem").unwrap(), true);
    // Ports are those of the Corefile, and its end waits for the lameduck.
    let corefile = include_str!("../../deploy/dns/Corefile");
    let ports: Vec<_> = container["ports"].as_array().unwrap().iter().map(|port| &port["containerPort"]).collect();
    assert_eq!(ports, [53, 53, 9153, 8080, 8181].map(|port| serde_json::json!(port)).iter().collect::<Vec<_>>());
    assert!(
        corefile.starts_with(".:53 {") && corefile.contains("prometheus :9153") && corefile.contains("lameduck 5s")
    );
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > 10);
}

fn looked_at(api: &ApiServer, folder: &str, daemonset: &Value) {
    let pod = daemonset.pointer("/spec/template/spec").unwrap();
    let container = pod.pointer("/containers/0").unwrap();
    let entry =
        container["env"].as_array().unwrap().iter().find(|entry| entry["name"] == "HEALTHZ_BIND_ADDRESS").unwrap();
    let map = entry.pointer("/valueFrom/configMapKeyRef/name").unwrap().as_str().unwrap();
    let map = api.kubectl(&["get", "configmap", map, "--namespace=kube-system", "--output=json"]).unwrap();
    let map: Value = serde_json::from_str(&map).unwrap();
    let address = map.pointer("/data/healthz-bind-address").unwrap().as_str().unwrap();
    let port = container.pointer("/ports/0/containerPort").unwrap();
    assert!(address.ends_with(&format!(":{port}")), "{folder}: healthz on {address}, probed on {port}");
    // Each reference to the ConfigMap leads somewhere, and each of its keys is used.
    let keys: Vec<_> = container["env"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry.pointer("/valueFrom/configMapKeyRef/key")?.as_str())
        .collect();
    let mut there: Vec<_> = map["data"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut used = keys.clone();
    used.sort_unstable();
    there.sort_unstable();
    assert_eq!(there, used, "{folder}");
    assert_eq!(map.pointer("/data/apiserver").unwrap(), "", "{folder}: nobody's API server but the operator's");
    // Not privileged, and no more than it needs.
    let security = &container["securityContext"];
    assert_eq!(security.get("privileged"), None);
    assert_eq!(security["capabilities"], serde_json::json!({"drop": ["ALL"], "add": ["NET_ADMIN", "SYS_ADMIN"]}));
    assert_eq!(security["readOnlyRootFilesystem"], true);
}
