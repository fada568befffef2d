//! The permissions of the agent's service account, and of the DNS's: all that they use, and nothing else.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bowline_lab::kubernetes::{ApiServer, ApiServerOptions, Deploy, Etcd, EtcdOptions, Overlay, Place};
use bowline_lab::{Lab, Node, cni_plugin, wait_for};
use serde_json::{Value, json};

use crate::common::{Agent, PATIENCE};

/// What may be done: `watch services`, `list endpointslices.discovery.k8s.io`.
type Deeds = BTreeSet<String>;

/// Who did what, for whom it was allowed: one line a request, with no object in it.
const AUDIT: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}]}"#;

/// The CRD of ServiceImport, as far as an API server needs it to serve some.
fn service_imports() -> String {
    let open = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "serviceimports.multicluster.x-k8s.io",
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/mcs-api"},
        },
        "spec": {
            "group": "multicluster.x-k8s.io",
            "scope": "Namespaced",
            "names": {"plural": "serviceimports", "singular": "serviceimport", "kind": "ServiceImport"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": open}],
        },
    })
    .to_string()
}

/// What an account may do in a namespace, by its own question to the API server.
fn granted(api: &ApiServer, account: &str) -> Deeds {
    let kubeconfig = api.account_kubeconfig("kube-system", account).unwrap();
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "default"},
    });
    let file = api.folder().join("review.json");
    std::fs::write(&file, review.to_string()).unwrap();
    let mut kubectl = api.kubectl_command(&["create", "--validate=false", "--output=json", "--filename"]).unwrap();
    let out = kubectl.arg(&file).arg("--kubeconfig").arg(kubeconfig).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    let review: Value = serde_json::from_slice(&out.stdout).unwrap();
    let mut deeds = Deeds::new();
    let words = |rule: &Value, field: &str| -> Vec<String> {
        let all = rule.get(field).and_then(Value::as_array).into_iter().flatten();
        all.map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    for rule in review.pointer("/status/resourceRules").unwrap().as_array().unwrap() {
        assert_eq!(words(rule, "resourceNames").len(), 0);
        for (verb, group) in
            words(rule, "verbs").iter().flat_map(|v| words(rule, "apiGroups").into_iter().map(move |g| (v, g)))
        {
            deeds.extend(words(rule, "resources").iter().map(|resource| deed(verb, &group, resource)));
        }
    }
    for rule in review.pointer("/status/nonResourceRules").unwrap().as_array().unwrap() {
        for verb in words(rule, "verbs") {
            deeds.extend(words(rule, "nonResourceURLs").iter().map(|url| format!("{verb} {url}")));
        }
    }
    deeds
}

fn deed(verb: &str, group: &str, resource: &str) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    format!("{verb} {resource}{dot}{group}")
}

/// What an account of kube-system did, by the API server's audit log; that something was forbidden is a failure.
fn done(log: &str, account: &str) -> Deeds {
    let account = format!("system:serviceaccount:kube-system:{account}");
    let mut deeds = Deeds::new();
    // The last line may not be whole yet.
    for event in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let text = |at: &str| event.pointer(at).and_then(Value::as_str).unwrap_or_default();
        if text("/user/username") != account || event["objectRef"].is_null() {
            continue;
        }
        assert_ne!(event.pointer("/responseStatus/code").and_then(Value::as_u64), Some(403), "{event}");
        let resource = match text("/objectRef/subresource") {
            "" => text("/objectRef/resource").to_owned(),
            part => format!("{}/{part}", text("/objectRef/resource")),
        };
        deeds.insert(deed(text("/verb"), text("/objectRef/apiGroup"), &resource));
    }
    deeds
}

/// An API server of a node, which writes an audit log, and has the CRD of ServiceImport.
fn audited(lab: &Lab, node: &Node, streams: bool) -> (Etcd, ApiServer, PathBuf) {
    let place = Place::host(lab, node).unwrap();
    let etcd = Etcd::start(&place, &EtcdOptions::default()).unwrap();
    let (policy, log) = (lab.folder("audit").unwrap().join("policy.yaml"), lab.folder("audit").unwrap().join("log"));
    fs::write(&policy, AUDIT).unwrap();
    let flags = vec![
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", log.display()),
        "--audit-log-mode=blocking".into(),
        format!("--feature-gates=WatchList={streams}"),
    ];
    let api = ApiServer::start(&place, &etcd, &ApiServerOptions { rbac: true, flags, ..Default::default() }).unwrap();
    api.apply(&service_imports()).unwrap();
    api.kubectl(&["wait", "--for=condition=Established", "crd/serviceimports.multicluster.x-k8s.io"]).unwrap();
    api.kubectl(&["create", "serviceaccount", "nobody", "--namespace=kube-system"]).unwrap();
    (etcd, api, log)
}

/// What an account may do that not everybody may, and what everybody may.
fn own(api: &ApiServer, account: &str) -> (Deeds, Deeds) {
    let (ours, everybodys) = (granted(api, account), granted(api, "nobody"));
    assert!(everybodys.is_subset(&ours));
    (ours.difference(&everybodys).cloned().collect(), everybodys)
}

fn watches(may: &Deeds) -> Deeds {
    may.iter().filter(|deed| deed.starts_with("watch ")).cloned().collect()
}

/// Once with a server that streams lists and once with one that doesn't: the agent then lists.
#[test]
fn the_agent_may_do_what_it_does_and_nothing_else() {
    let mut used = Deeds::new();
    let mut may = Deeds::new();
    for streams in [true, false] {
        let lab = Lab::new("permissions").unwrap();
        let node = Arc::new(lab.node("worker-1").unwrap());
        let (_etcd, api, log) = audited(&lab, &node, streams);
        api.kubectl(&["apply", "--kustomize", &Deploy::new(&lab).unwrap().path("overlays/alone")]).unwrap();
        let everybodys;
        (may, everybodys) = own(&api, "bowline");

        let mut agent = Agent::new(&lab, &node);
        let kubeconfig = api.account_kubeconfig("kube-system", "bowline").unwrap();
        agent.state(&format!("kubernetes:{}", kubeconfig.display()));
        agent.flags(&["--state-dir", lab.folder("state").unwrap().to_str().unwrap()]);
        agent.start();
        let read = || done(&fs::read_to_string(&log).unwrap(), "bowline");
        // A list is noted when it ends, which may be after its watch has begun.
        agent.wait("it does all that it may", |_| {
            let done = read();
            watches(&may).is_subset(&done) && (streams || may.is_subset(&done))
        });
        used.extend(read().difference(&everybodys).cloned());
        agent.stop();
        if streams {
            the_condition_network_unavailable(&lab, &api, &mut agent, &log, &may);
        }
    }
    assert_eq!(used, may, "used on the left, granted on the right");
}

/// An agent that gives pods their network says so of a node that a cloud provider has registered without one; it needs, and
/// has, one permission more.
fn the_condition_network_unavailable(lab: &Lab, api: &ApiServer, agent: &mut Agent, log: &Path, before: &Deeds) {
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker-1"}, "spec": {"podCIDRs": ["10.1.0.0/24"], "podCIDR": "10.1.0.0/24"},
    });
    api.apply(&node.to_string()).unwrap();
    let taken_away = || {
        let conditions = r#"{"status": {"conditions": [{"type": "NetworkUnavailable", "status": "True", "reason": "NoRouteCreated"}]}}"#;
        api.kubectl(&["patch", "node", "worker-1", "--subresource=status", "--patch", conditions]).unwrap();
    };
    let condition = || {
        let node: Value =
            serde_json::from_str(&api.kubectl(&["get", "node", "worker-1", "-o", "json"]).unwrap()).unwrap();
        let all = node.pointer("/status/conditions").unwrap().as_array().unwrap();
        let one = all.iter().find(|one| one["type"] == "NetworkUnavailable").unwrap();
        (one["status"].as_str().unwrap().to_owned(), one["reason"].as_str().unwrap().to_owned())
    };
    let (gone, there) =
        (("True".to_owned(), "NoRouteCreated".to_owned()), ("False".to_owned(), "BowlineIsUp".to_owned()));
    let patched = || {
        let text = fs::read_to_string(log).unwrap();
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_it = |event: &Value| {
            event["verb"] == "patch" && event["user"]["username"] == "system:serviceaccount:kube-system:bowline"
        };
        events.filter(is_it).filter(|event| event["responseStatus"]["code"] == 200).count()
    };
    let folder = lab.folder("cni").unwrap();
    let at = |flag: &str, path: &str| format!("--cni-{flag}={}", folder.join(path).display());
    let plugin = format!("--cni-plugin={}", cni_plugin().unwrap().display());
    let disk = format!("--state-dir={}", folder.join("disk").display());
    let folders = [
        at("state-dir", "state"),
        at("conf-dir", "net.d"),
        at("bin-dir", "bin"),
        at("socket", "cni.sock"),
        plugin,
        disk,
    ];
    let flags: Vec<&str> = ["--pod-network"].into_iter().chain(folders.iter().map(String::as_str)).collect();

    taken_away();
    agent.flags(&flags);
    agent.start();
    agent.wait("it says what it is not allowed", |agent| agent.log().contains("the verb patch on nodes/status"));
    assert_eq!((condition(), patched()), (gone.clone(), 0));
    let overlay = Deploy::new(lab)
        .unwrap()
        .overlay("pods", &Overlay::new(&["overlays/alone"], "bowline:any").components(&["pod-network"]))
        .unwrap();
    api.kubectl(&["apply", "--kustomize", &overlay]).unwrap();
    agent.wait("the node has a network", |_| condition() == there);
    let more: Deeds = own(api, "bowline").0.difference(before).cloned().collect();
    assert_eq!(more, Deeds::from(["patch nodes/status".to_owned()]));
    // Neither its end nor its next start says anything.
    agent.stop();
    agent.start();
    assert_eq!((condition(), patched()), (there.clone(), 1));
    // Whoever takes it away is answered.
    taken_away();
    agent.wait("the node has a network again", |_| condition() == there);
    agent.stop();
    // Where somebody else sees to it.
    taken_away();
    agent.flags(&[&flags[..], &["--set-node-network-unavailable=false"]].concat());
    agent.start();
    agent.stop();
    assert_eq!((condition(), patched()), (gone, 2));
}

/// With the Corefile of deploy/dns; and with Pods verified, which takes a component of deploy/.
#[test]
fn the_dns_may_do_what_it_does_and_nothing_else() {
    let lab = Lab::new("dns-permissions").unwrap();
    let node = lab.node("worker-1").unwrap();
    let (_etcd, api, log) = audited(&lab, &node, false);
    let (deploy, folder) = (Deploy::new(&lab).unwrap(), lab.folder("dns").unwrap());
    let conf = folder.join("Corefile");
    let corefile = fs::read_to_string(deploy.path("dns/Corefile")).unwrap();
    let verified =
        deploy.overlay("verified", &Overlay::new(&["dns"], "bowline:any").components(&["verified-pods"])).unwrap();
    let both = [(deploy.path("dns"), corefile.clone()), (verified, corefile.replace("pods insecure", "pods verified"))];
    for (overlay, corefile) in both {
        api.kubectl(&["apply", "--kustomize", &overlay]).unwrap();
        let (may, everybodys) = own(&api, "bowline-dns");
        assert_eq!(may.contains("watch pods"), corefile.contains("verified"), "{may:?}");
        fs::write(&conf, corefile).unwrap();
        let kubeconfig = api.account_kubeconfig("kube-system", "bowline-dns").unwrap();
        let mut command = node.command(env!("CARGO_BIN_EXE_bowline"));
        command.args(["dns", "-conf"]).arg(&conf);
        command.arg("--state").arg(format!("kubernetes:{}", kubeconfig.display()));
        command.stdout(File::create(folder.join("log")).unwrap()).stderr(File::create(folder.join("errors")).unwrap());
        let mut server = node.spawn(&mut command).unwrap();
        let used =
            || done(&fs::read_to_string(&log).unwrap(), "bowline-dns").difference(&everybodys).cloned().collect();
        let watched = wait_for("it does all that it may", PATIENCE, || may.is_subset(&used()));
        assert!(watched.is_ok(), "{may:?}: {}", fs::read_to_string(folder.join("errors")).unwrap());
        assert_eq!(used(), may, "used on the left, granted on the right");
        server.kill().unwrap();
    }
}
