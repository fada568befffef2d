//! A plugin of a kubeconfig (`exec`): run, and what it says taken. Nothing that it prints is ever shown.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use kube_client::config::{Cluster, ExecAuthCluster, ExecConfig};
use serde::Deserialize;
use serde_json::json;

use super::AccessError;
use super::kubeconfig::At;
use crate::parse::time;

/// The extension of a cluster that is meant for its plugins.
const EXTENSION: &str = "client.authentication.k8s.io/exec";
/// What it gives is asked for anew so long before it expires ...
const EARLY: Duration = Duration::from_secs(10);
/// ... but not before so long.
const LEAST: Duration = Duration::from_secs(30);

/// What a plugin has said.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Said {
    pub(super) token: Option<String>,
    pub(super) client_certificate_data: Option<String>,
    pub(super) client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

#[derive(Deserialize)]
struct Credential {
    status: Option<Said>,
}

impl Said {
    /// Until when it is good.
    pub(super) fn until(&self) -> Option<SystemTime> {
        let until = time(self.expiration_timestamp.as_deref()?)?;
        Some((until - EARLY).max(SystemTime::now() + LEAST))
    }
}

/// Runs it. `authority` is the cluster's, as PEM.
pub(super) fn run(
    exec: &ExecConfig,
    cluster: &Cluster,
    authority: Option<Vec<u8>>,
    at: &At,
) -> Result<Said, AccessError> {
    let Some(command) = exec.command.as_deref().filter(|command| !command.is_empty()) else {
        return Err(at.error("exec.command", "the kubeconfig's plugin has no command; name one"));
    };
    let mut spec = json!({"interactive": false});
    if exec.provide_cluster_info {
        let extension = cluster.extensions.iter().flatten().find(|extension| extension.name == EXTENSION);
        let cluster = ExecAuthCluster {
            server: cluster.server.clone(),
            insecure_skip_tls_verify: cluster.insecure_skip_tls_verify,
            certificate_authority_data: authority,
            proxy_url: None,
            tls_server_name: cluster.tls_server_name.clone(),
            config: extension.map(|extension| extension.extension.clone()),
        };
        let cluster = serde_json::to_value(cluster).map_err(|error| at.error("exec", error))?;
        spec["cluster"] = cluster;
    }
    let info = json!({"kind": "ExecCredential", "apiVersion": exec.api_version, "spec": spec});
    let pair = |pair: &HashMap<String, String>| Some((pair.get("name")?.clone(), pair.get("value")?.clone()));
    let environment: Vec<_> = exec.env.iter().flatten().filter_map(pair).collect();
    let bad = |text: &str| text.contains('\0');
    if environment.iter().any(|(name, value)| name.is_empty() || name.contains('=') || bad(name) || bad(value)) {
        return Err(at.error("exec.env", "has a name or a value that no environment can have"));
    }
    let run = Command::new(command)
        .args(exec.args.iter().flatten())
        .envs(environment)
        .env("KUBERNETES_EXEC_INFO", info.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let hint = exec.install_hint.as_deref().map(|hint| format!(" ({})", hint.trim())).unwrap_or_default();
    let out = run.map_err(|error| {
        at.error("exec.command", format!("the kubeconfig's plugin can't be started: {error}{hint}"))
    })?;
    if !out.status.success() {
        return Err(at.error("exec", format!("the kubeconfig's plugin has failed: {}", out.status)));
    }
    let no_credential = || at.error("exec", "what the kubeconfig's plugin has printed is no ExecCredential");
    let credential: Credential = serde_saphyr::from_slice(&out.stdout).map_err(|_| no_credential())?;
    credential.status.ok_or_else(|| at.error("exec", "the kubeconfig's plugin gave no credentials"))
}
