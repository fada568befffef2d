//! Every folder of deploy/ that can be applied, on a real API server.

use bowline_lab::Lab;
use bowline_lab::kubernetes::{ApiServer, ApiServerOptions, Etcd, EtcdOptions, Place};
use serde_json::Value;

use crate::overlay::Deploy;

const FOLDERS: [&str; 4] = ["base", "overlays/beside-kube-proxy", "overlays/alone", "cleanup"];
const AGENT: [&str; 6] =
    ["get", "daemonset", "bowline", "--namespace=kube-system", "--output=json", "--ignore-not-found"];

/// Each is taken as it is, without a warning or an unknown field; and the ports of its probes are the agent's.
#[test]
fn an_api_server_takes_every_manifest() {
    let lab = Lab::new("manifests").unwrap();
    let place = Place::machine(&lab).unwrap();
    let etcd = Etcd::start(&place, &EtcdOptions::default()).unwrap();
    let api = ApiServer::start(&place, &etcd, &ApiServerOptions::default()).unwrap();
    let deploy = Deploy::new(&lab);
    for folder in FOLDERS {
        for how in ["--dry-run=server", "--dry-run=none"] {
            let path = deploy.path(folder);
            let out = api
                .kubectl_command(&["apply", "--validate=strict", how, "--kustomize", &path])
                .unwrap()
                .output()
                .unwrap();
            let said = String::from_utf8(out.stderr).unwrap();
            assert!(out.status.success() && said.is_empty(), "{folder}, {how}: {said}");
        }
        let agent = api.kubectl(&AGENT).unwrap();
        if !agent.is_empty() && folder != "cleanup" {
            looked_at(&api, folder, &serde_json::from_str(&agent).unwrap());
            api.kubectl(&["delete", "daemonset", "bowline", "--namespace=kube-system"]).unwrap();
        }
    }
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
