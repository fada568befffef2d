//! Kubeconfig files.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::certificates::{Certificate, write};

/// Who a client is.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// A bearer token, kept in the kubeconfig.
    Token(&'a str),
    /// A bearer token in a file, which clients read again from time to time.
    TokenFile(&'a Path),
    /// A client certificate, read from its files.
    Certificate(&'a Certificate),
}

/// Writes a kubeconfig with one context. JSON, which is YAML too.
pub fn kubeconfig(path: &Path, server: &str, authority: &Path, credential: Credential<'_>) -> Result<()> {
    let user = match credential {
        Credential::Token(token) => json!({"token": token}),
        Credential::TokenFile(file) => json!({"tokenFile": file}),
        Credential::Certificate(Certificate { certificate, key }) => {
            json!({"client-certificate": certificate, "client-key": key})
        }
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": "lab", "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "current-context": "lab",
    });
    write(path, &serde_json::to_string_pretty(&config)?)
}
