//! Who we are to the server: tokens that expire, certificates that are replaced, permissions that lack.

use std::fs;
use std::path::{Path, PathBuf};

use bowline_cluster::source::Source;
use bowline_lab::kubernetes::{ApiServerOptions, Authority, Credential, EtcdOptions};
use bowline_sources::kubernetes::{Access, Kubernetes, Wanted};

use crate::battery::{Event, Place, Running, service};
use crate::place::Site;

fn with(kubeconfig: PathBuf) -> Box<dyn Source> {
    Box::new(Kubernetes::new(Access { kubeconfig: Some(kubeconfig), ..Access::default() }, Wanted::default()))
}

/// Replaces a file at once.
fn replace(path: &Path, text: impl AsRef<[u8]>) {
    let next = path.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, path).unwrap();
}

/// Makes the server know this token of the user `agent`, and no other.
fn expect_token(site: &mut Site, token: &str) {
    let tokens = site.api.folder().join("tokens.csv");
    let text = fs::read_to_string(&tokens).unwrap();
    let others: String = text.lines().filter(|line| !line.contains("agent")).map(|line| format!("{line}\n")).collect();
    fs::write(&tokens, format!("{others}{token},agent,agent\n")).unwrap();
    site.api.kill().unwrap();
    site.api.restart().unwrap();
}

#[test]
fn a_token_that_expires_and_is_replaced() {
    let mut site = Site::new();
    let file = site.api.folder().join("agent.token");
    let (first, second) = ("the-first-token", "the-second-token");
    fs::write(&file, format!("{first}\n")).unwrap();
    let kubeconfig = site.api.kubeconfig("agent", Credential::TokenFile(&file)).unwrap();
    expect_token(&mut site, first);
    let running = Running::synced(with(kubeconfig));
    expect_token(&mut site, second);
    running.until_reason("401");
    replace(&file, second);
    running.until_event(Event::Back);
    site.put("a", &service("a", "10.0.0.1"));
    running.until_ip("a", Some("10.0.0.1"));
    for reason in running.reasons() {
        assert!(!reason.contains(first) && !reason.contains(second), "{reason}");
    }
}

#[test]
fn a_plugin_that_fails_and_is_mended_and_never_quoted() {
    let mut site = Site::new();
    let plugin = site.api.folder().join("plugin");
    let token = "a-token-of-a-plugin";
    expect_token(&mut site, token);
    let script = |end: &str| {
        format!(
            "#!/bin/sh\necho '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"{token}\"}}{end}\n"
        )
    };
    replace(&plugin, script("}'; exit 7"));
    let kubeconfig = site.api.folder().join("plugin.kubeconfig");
    let mut config: serde_json::Value = serde_json::from_str(&fs::read_to_string(site.api.admin()).unwrap()).unwrap();
    config["users"][0]["user"] = serde_json::json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": plugin, "interactiveMode": "Never",
    }});
    fs::write(&kubeconfig, config.to_string()).unwrap();
    make_executable(&plugin);
    let running = Running::start(with(kubeconfig));
    let reason = running.until_away();
    assert!(reason.contains("plugin has failed: exit status: 7"), "{reason}");
    replace(&plugin, script("' ; exit 0"));
    make_executable(&plugin);
    running.until_reason("is no ExecCredential");
    replace(&plugin, script("}'"));
    make_executable(&plugin);
    running.until_synced();
    assert!(running.reasons().iter().all(|reason| !reason.contains(token)), "{:?}", running.reasons());
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_certificate_and_its_authority_that_are_replaced() {
    let mut site = Site::new();
    let kubeconfig = site.api.client_kubeconfig("agent", "agent", &[]).unwrap();
    let running = Running::synced(with(kubeconfig));
    // The server first: it has a new certificate, and trusts others, which the agent doesn't have yet.
    let folder = site.place.folder("rotated").unwrap();
    let authority = Authority::new(&folder, "Kubernetes of a lab, rotated").unwrap();
    let serving = authority.server("serving", &["localhost"], &[site.api.address().ip()]).unwrap();
    let own = authority.client("kubelet-client", "kube-apiserver", &["system:masters"]).unwrap();
    let agent = authority.client("agent", "agent", &[]).unwrap();
    let old = site.api.folder().to_owned();
    let trusted_before = fs::read(old.join("ca.crt")).unwrap();
    site.api.kill().unwrap();
    running.until_event(Event::Away);
    replace(&old.join("ca.crt"), fs::read(authority.certificate()).unwrap());
    for (certificate, name) in [(serving, "serving"), (own, "kubelet-client")] {
        replace(&old.join(format!("{name}.crt")), fs::read(certificate.certificate).unwrap());
        replace(&old.join(format!("{name}.key")), fs::read(certificate.key).unwrap());
    }
    site.api.restart().unwrap();
    site.reconnect();
    // The agent's kubeconfig names the same file of the authority, but its own certificate is an old one.
    running.until_reason("401");
    replace(&old.join("ca.crt"), trusted_before);
    running.until_reason("invalid peer certificate");
    replace(&old.join("ca.crt"), fs::read(authority.certificate()).unwrap());
    replace(&old.join("agent.key"), fs::read(agent.key).unwrap());
    replace(&old.join("agent.crt"), fs::read(agent.certificate).unwrap());
    running.until_event(Event::Back);
    site.put("a", &service("a", "10.0.0.1"));
    running.until_ip("a", Some("10.0.0.1"));
}

#[test]
fn permissions_that_lack_are_named_and_waited_for() {
    let site = Site::with(&ApiServerOptions { rbac: true, ..ApiServerOptions::default() }, &EtcdOptions::default());
    let allow = |core: &str, more: &str| {
        site.apply(&format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: agent\nrules:\n\
             - apiGroups: [\"\"]\n  resources: [{core}]\n  verbs: [list, watch]\n\
             - apiGroups: [discovery.k8s.io]\n  resources: [endpointslices]\n  verbs: [list, watch]\n\
             - apiGroups: [multicluster.x-k8s.io]\n  resources: [serviceimports]\n  verbs: [list, watch]\n\
             - apiGroups: [networking.k8s.io]\n  resources: [{more}]\n  verbs: [list, watch]\n"
        ));
    };
    allow("services, nodes", "servicecidrs");
    site.apply(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata:\n  name: agent\nroleRef:\n  \
         apiGroup: rbac.authorization.k8s.io\n  kind: ClusterRole\n  name: agent\nsubjects:\n- kind: User\n  name: agent\n  \
         apiGroup: rbac.authorization.k8s.io\n",
    );
    let running = Running::start(with(site.api.client_kubeconfig("agent", "agent", &[]).unwrap()));
    let reason = running.until_away();
    assert!(reason.contains("verbs list and watch on namespaces"), "{reason}");
    assert!(!running.events().iter().any(|event| matches!(event, Event::All(_))));
    allow("services, nodes, namespaces", "servicecidrs");
    running.until_event(Event::Back);
    running.until_synced();
    // No ServiceImports are nobody's fault; that NetworkPolicies can't be read is told.
    running.until_problems("one", |problems| {
        let [problem] = problems else { return false };
        problem.to_string().contains("verbs list and watch on networkpolicies.networking.k8s.io")
    });
    site.apply(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\nspec:\n  podSelector: {}\n",
    );
    allow("services, nodes, namespaces", "servicecidrs, networkpolicies");
    running.until_problems("none", <[_]>::is_empty);
    running.until("the policy", |snapshot| snapshot.network_policies.len() == 1);
}

/// As microk8s has it: a certificate of X.509's version 1, and beside it a server without a scheme, an authority as
/// data with text around it, and empty fields.
#[test]
fn a_kubeconfig_with_a_certificate_of_version_1_and_a_server_without_a_scheme() {
    let mut site = Site::new();
    site.put("a", &service("a", "10.0.0.1"));
    let folder = site.api.folder().to_owned();
    let openssl = |command: &str| {
        let out = std::process::Command::new("openssl").args(command.split(' ')).current_dir(&folder).output().unwrap();
        assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    };
    openssl("req -new -newkey rsa:2048 -nodes -keyout v1.key -out v1.csr -subj /O=system:masters/CN=agent");
    openssl("x509 -req -in v1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out v1.crt -days 2");
    openssl("x509 -in ca.crt -text -out ca.text");
    let base64 = |name: &str| {
        let out = std::process::Command::new("base64").arg(folder.join(name)).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let config = serde_json::json!({
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {
            "server": site.api.address().to_string(), "certificate-authority-data": base64("ca.text"), "tls-server-name": "",
        }}],
        "users": [{"name": "c", "user": {"client-certificate-data": base64("v1.crt"), "client-key": "v1.key", "token": ""}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    });
    let path = folder.join("v1.kubeconfig");
    fs::write(&path, config.to_string()).unwrap();
    let running = Running::synced(with(path));
    assert_eq!(running.ip("a").as_deref(), Some("10.0.0.1"));
    site.put("a", &service("a", "10.0.0.2"));
    running.until_ip("a", Some("10.0.0.2"));
}

/// The server's own certificate named as its authority, as Go takes it.
#[test]
fn a_server_s_own_certificate_as_its_authority() {
    let mut site = Site::new();
    let serving = site.api.folder().join("serving.crt");
    let mut config: serde_json::Value = serde_json::from_str(&fs::read_to_string(site.api.admin()).unwrap()).unwrap();
    config["clusters"][0]["cluster"]["certificate-authority"] = serde_json::json!(serving);
    let path = site.api.folder().join("own.kubeconfig");
    fs::write(&path, config.to_string()).unwrap();
    let running = Running::synced(with(path));
    site.put("a", &service("a", "10.0.0.1"));
    running.until_ip("a", Some("10.0.0.1"));
}
