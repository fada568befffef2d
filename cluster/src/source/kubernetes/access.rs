//! How to reach a cluster: from a kubeconfig or a pod's service account, and `--apiserver`.
//!
//! Everything is read from its files each time a connection is made, so that what was rotated counts.
//! No text made here shows a token, a key, or what a plugin printed.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::Uri;
use kube_client::Config;
use kube_client::config::{AuthInfo, Cluster, Context, Kubeconfig, KubeconfigError};
use kube_client::config::{NamedAuthInfo, NamedCluster, NamedContext};

#[cfg(test)]
mod tests;

/// Where a pod has the credentials of its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How to reach a cluster: what `kubernetes[:KUBECONFIG][?context=NAME&apiserver=URL,URL]` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The kubeconfig. Without one: those that `KUBECONFIG` names, else the pod's service account, else
    /// `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; None for its current one.
    pub context: Option<String>,
    /// `https://HOST:PORT` of API servers, tried in turn, in the place of the kubeconfig's.
    pub apiservers: Vec<Uri>,
    /// Certificate, key and CA to reach `apiservers` with, without a kubeconfig.
    pub tls: Option<[PathBuf; 3]>,
    /// In a pod, whether the address of the Service `kubernetes` will do. Not for what makes that address
    /// work.
    pub allow_service_address: bool,
}

/// Why a cluster can't be reached; without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AccessError {
    /// Waiting won't help.
    #[error("{0}")]
    Never(String),
    /// The files may be mended.
    #[error("{0}")]
    Now(String),
}

/// What there is to connect with.
pub(super) struct Login {
    /// With the kubeconfig's own URL.
    pub(super) config: Config,
    /// To be tried in turn; never empty.
    pub(super) urls: Vec<Uri>,
    pub(super) files: Files,
}

/// The variables of the environment that count, by name.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<OsString>;

/// Reads `https://HOST:PORT,https://...`, as `--apiserver` has it.
pub fn apiservers(text: &str) -> Result<Vec<Uri>, String> {
    text.split(',').map(apiserver).collect()
}

fn apiserver(text: &str) -> Result<Uri, String> {
    let bad = |why: &str| format!("{text:?} is no URL of an API server: {why}; write https://HOST:PORT");
    if text.contains('@') {
        return Err("the URL of an API server has a user in it; credentials belong in the kubeconfig".to_owned());
    }
    let uri: Uri = text.parse().map_err(|error: http::uri::InvalidUri| bad(&error.to_string()))?;
    if uri.scheme_str() != Some("https") {
        return Err(bad("it doesn't begin with https://"));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(bad("it names no host"));
    }
    if uri.query().is_some() || !matches!(uri.path(), "" | "/") {
        return Err(bad("something follows the host and port"));
    }
    Ok(uri)
}

impl FromStr for Access {
    type Err = String;

    /// Reads it with or without the `kubernetes` before it.
    fn from_str(text: &str) -> Result<Access, String> {
        let text = text.strip_prefix("kubernetes").unwrap_or(text);
        let (file, parameters) = text.split_once('?').unwrap_or((text, ""));
        let mut access = Access::default();
        match file.strip_prefix(':') {
            Some("") => return Err("no file follows the colon; write kubernetes:KUBECONFIG, or kubernetes".to_owned()),
            Some(file) => access.kubeconfig = Some(PathBuf::from(file)),
            None if file.is_empty() => {}
            None => return Err(format!("{file:?} is unclear; write kubernetes:KUBECONFIG, or kubernetes")),
        }
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("context", name)) if !name.is_empty() => access.context = Some(name.to_owned()),
                Some(("apiserver", urls)) if !urls.is_empty() => access.apiservers = apiservers(urls)?,
                // What it says may be a secret that went astray.
                _ => {
                    return Err("a parameter after ? is not known or empty; write context=NAME, apiserver=URL,URL, \
                                with & between them"
                        .to_owned());
                }
            }
        }
        Ok(access)
    }
}

/// As `--state` writes it.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("kubernetes")?;
        if let Some(file) = &self.kubeconfig {
            write!(f, ":{}", file.display())?;
        }
        let context = self.context.as_ref().map(|name| format!("context={name}"));
        let urls: Vec<_> = self.apiservers.iter().map(|url| url.to_string().trim_end_matches('/').to_owned()).collect();
        let urls = (!urls.is_empty()).then(|| format!("apiserver={}", urls.join(",")));
        let parameters: Vec<_> = context.into_iter().chain(urls).collect();
        if parameters.is_empty() { Ok(()) } else { write!(f, "?{}", parameters.join("&")) }
    }
}

impl Access {
    /// With these for what it doesn't say itself: the flags `--kubeconfig` and `--apiserver`.
    #[must_use]
    pub fn or(mut self, kubeconfig: Option<&Path>, apiservers: &[Uri]) -> Access {
        if self.kubeconfig.is_none() {
            self.kubeconfig = kubeconfig.map(Path::to_owned);
        }
        if self.apiservers.is_empty() {
            self.apiservers = apiservers.to_vec();
        }
        self
    }

    /// Reads everything anew. May run a plugin of the kubeconfig's later on, when credentials are asked for.
    pub(super) fn read(&self, environment: Environment<'_>) -> Result<Login, AccessError> {
        let (mut kubeconfig, mut paths) = self.kubeconfig(environment)?;
        if self.context.is_some() {
            kubeconfig.current_context.clone_from(&self.context);
        }
        for file in files_of(&kubeconfig) {
            paths.push(PathBuf::from(file));
        }
        // Before the files are read: what changes in between is noticed.
        let files = Files::look(paths);
        let context = kubeconfig.current_context.clone();
        let context = kubeconfig.contexts.iter().find(|named| Some(&named.name) == context.as_ref());
        let cluster = context.and_then(|named| named.context.as_ref()).map(|context| context.cluster.clone());
        let cluster = kubeconfig.clusters.iter().find(|named| Some(&named.name) == cluster.as_ref());
        if cluster.and_then(|named| named.cluster.as_ref()).is_some_and(|cluster| cluster.proxy_url.is_some()) {
            return now("the kubeconfig has a proxy-url; proxies are not supported, give an API server that can be \
                        reached directly");
        }
        let mut config = Config::try_from(kubeconfig).map_err(|error| AccessError::Now(describe(&error)))?;
        // Kube's own reading of it is up to a minute late, and stumbles over a newline at its end.
        if let (None, Some(file)) = (&config.auth_info.token, config.auth_info.token_file.take()) {
            let token = std::fs::read_to_string(&file)
                .map_err(|error| AccessError::Now(format!("the token in {file} can't be read: {error}")))?;
            config.auth_info.token = Some(token.trim().into());
        }
        let urls = if self.apiservers.is_empty() {
            vec![config.cluster_url.clone()]
        } else {
            // Another name than that of the URL is meant for the kubeconfig's own.
            config.tls_server_name = None;
            self.apiservers.clone()
        };
        if let Some(user) =
            urls.iter().find_map(|url| url.authority()).filter(|authority| authority.as_str().contains('@'))
        {
            let host = user.host();
            return now(format!("the URL of {host} has a user in it; write the credentials as the kubeconfig's user"));
        }
        Ok(Login { config, urls, files })
    }

    /// Whether it could ever work.
    pub(super) fn check(&self, environment: Environment<'_>) -> Result<(), AccessError> {
        match self.place(environment) {
            Place::Pod { host } if !self.allow_service_address => {
                let own =
                    |url: &Uri| url.host().map(|host| host.trim_matches(['[', ']']).to_owned()) == Some(host.clone());
                if self.apiservers.is_empty() || self.apiservers.iter().any(own) {
                    return Err(AccessError::Never(format!(
                        "the API server's address in this pod, {host}, is that of a Service, which Bowline itself has \
                         to make work first; give --apiserver https://HOST:6443 with the address of a control-plane \
                         node, or of the load balancer before them"
                    )));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn place(&self, environment: Environment<'_>) -> Place {
        if let (None, Some(tls)) = (&self.kubeconfig, &self.tls) {
            return Place::Certificates(tls.clone());
        }
        let named = environment("KUBECONFIG").filter(|list| !list.is_empty());
        match (&self.kubeconfig, named, environment("KUBERNETES_SERVICE_HOST")) {
            (Some(file), _, _) => Place::Files(vec![file.clone()]),
            (None, Some(list), _) => {
                Place::Files(std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect())
            }
            (None, None, Some(host)) => Place::Pod { host: host.to_string_lossy().into_owned() },
            (None, None, None) => {
                let home = environment("HOME").map(PathBuf::from).unwrap_or_default();
                Place::Files(vec![home.join(".kube/config")])
            }
        }
    }

    /// The kubeconfig, or what would be one in a pod, and the files it was read from.
    fn kubeconfig(&self, environment: Environment<'_>) -> Result<(Kubeconfig, Vec<PathBuf>), AccessError> {
        self.check(environment)?;
        match self.place(environment) {
            Place::Files(files) => {
                let mut merged: Option<Kubeconfig> = None;
                for file in &files {
                    let next = Kubeconfig::read_from(file);
                    let next = match merged.take() {
                        Some(first) => next.and_then(|next| first.merge(next)),
                        None => next,
                    };
                    merged = Some(
                        next.map_err(|error| AccessError::Now(format!("{}: {}", file.display(), describe(&error))))?,
                    );
                }
                Ok((merged.unwrap_or_default(), files))
            }
            Place::Certificates([certificate, key, ca]) => {
                let path = |path: PathBuf| Some(path.to_string_lossy().into_owned());
                let Some(server) = self.apiservers.first() else {
                    return now("certificates are given, and no API server to reach with them");
                };
                let user =
                    AuthInfo { client_certificate: path(certificate), client_key: path(key), ..AuthInfo::default() };
                Ok((made("certificates", &server.to_string(), path(ca), user), Vec::new()))
            }
            Place::Pod { host } => {
                let port = environment("KUBERNETES_SERVICE_PORT")
                    .map_or("443".into(), |port| port.to_string_lossy().into_owned());
                let host = if host.contains(':') { format!("[{host}]") } else { host };
                Ok((service_account(Path::new(SERVICE_ACCOUNT), &format!("https://{host}:{port}")), Vec::new()))
            }
        }
    }
}

/// Where the credentials come from.
enum Place {
    Files(Vec<PathBuf>),
    Certificates([PathBuf; 3]),
    Pod { host: String },
}

/// The kubeconfig of a pod.
fn service_account(folder: &Path, server: &str) -> Kubeconfig {
    let file = |name: &str| Some(folder.join(name).to_string_lossy().into_owned());
    let user = AuthInfo { token_file: file("token"), ..AuthInfo::default() };
    made("service account", server, file("ca.crt"), user)
}

/// A kubeconfig with one cluster and one user.
fn made(name: &str, server: &str, certificate_authority: Option<String>, user: AuthInfo) -> Kubeconfig {
    let name = name.to_owned();
    let cluster = Cluster { server: Some(server.to_owned()), certificate_authority, ..Cluster::default() };
    let context = Context { cluster: name.clone(), user: Some(name.clone()), ..Context::default() };
    Kubeconfig {
        current_context: Some(name.clone()),
        clusters: vec![NamedCluster { name: name.clone(), cluster: Some(cluster), ..NamedCluster::default() }],
        auth_infos: vec![NamedAuthInfo { name: name.clone(), auth_info: Some(user), ..NamedAuthInfo::default() }],
        contexts: vec![NamedContext { name, context: Some(context), ..NamedContext::default() }],
        ..Kubeconfig::default()
    }
}

/// The files that a kubeconfig names.
fn files_of(kubeconfig: &Kubeconfig) -> Vec<&String> {
    let clusters = kubeconfig.clusters.iter().filter_map(|named| named.cluster.as_ref());
    let users = kubeconfig.auth_infos.iter().filter_map(|named| named.auth_info.as_ref());
    let of_users = users.flat_map(|user| [&user.client_certificate, &user.client_key, &user.token_file]);
    clusters.map(|cluster| &cluster.certificate_authority).chain(of_users).flatten().collect()
}

/// An error of kube's in words that show nothing of the file.
fn describe(error: &KubeconfigError) -> String {
    match error {
        // Its own words quote the lines around the mistake.
        KubeconfigError::Parse(error) => match error.location() {
            Some(at) => format!("is no kubeconfig: line {}, column {} can't be read", at.line(), at.column()),
            None => "is no kubeconfig".to_owned(),
        },
        error => error.to_string(),
    }
}

fn now<T>(reason: impl Into<String>) -> Result<T, AccessError> {
    Err(AccessError::Now(reason.into()))
}

/// Files, and what they were when they were looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files(Vec<(PathBuf, Option<Stamp>)>);

/// Differs when a file was written or replaced: device, inode, size, time of the last change.
type Stamp = (u64, u64, u64, i64, i64);

impl Files {
    fn look(paths: Vec<PathBuf>) -> Files {
        Files(paths.into_iter().map(|path| (stamp(&path), path)).map(|(stamp, path)| (path, stamp)).collect())
    }

    /// Whether one has changed since. A few system calls.
    pub(super) fn have_changed(&self) -> bool {
        self.0.iter().any(|(path, before)| stamp(path) != *before)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}
