//! How to reach a cluster: from a kubeconfig or a pod's service account, and `--apiserver`.
//!
//! Everything is read from its files each time a connection is made, so that what was rotated counts.
//! No text made here shows a token, a key, or what a plugin printed.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use kube_client::Config;
use kube_client::config::{AuthInfo, Cluster, Context, Kubeconfig};
use kube_client::config::{NamedAuthInfo, NamedCluster, NamedContext};
use rustls::client::danger::ServerCertVerifier;
use rustls::sign::CertifiedKey;
use secrecy::ExposeSecret;

use bowline_tls::Unpaired;
use kubeconfig::{At, Chosen, Named};

mod kubeconfig;
mod plugin;
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
    /// `https://HOST:PORT` (or `http://`) of API servers, tried in turn, in the place of the kubeconfig's.
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
    /// With the kubeconfig's own URL. Of the user it has only what stands in the headers of a request.
    pub(super) config: Config,
    /// To be tried in turn; never empty.
    pub(super) urls: Vec<Uri>,
    pub(super) trust: Arc<dyn ServerCertVerifier>,
    pub(super) identity: Option<Arc<CertifiedKey>>,
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
    // Without TLS: a `kubectl proxy`.
    if !matches!(uri.scheme_str(), Some("https" | "http")) {
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

    /// Reads everything anew, and runs the kubeconfig's plugin if it has one.
    pub(super) fn read(&self, environment: Environment<'_>) -> Result<Login, AccessError> {
        let (files, mut paths) = self.kubeconfig(environment)?;
        let Chosen { cluster, user, cluster_at, user_at } = kubeconfig::choose(&files, self.context.as_deref())?;
        let named = [&cluster.certificate_authority, &user.client_certificate, &user.client_key, &user.token_file];
        paths.extend(named.into_iter().flatten().map(PathBuf::from));
        // Before the files are read: what changes in between is noticed.
        let mut files = Files::look(paths);
        if cluster.proxy_url.is_some() {
            return Err(cluster_at
                .error("proxy-url", "proxies are not supported; give an API server that can be reached directly"));
        }
        let authority = pem(
            cluster.certificate_authority_data.as_deref(),
            cluster.certificate_authority.as_deref(),
            ("certificate-authority-data", "certificate-authority"),
            &cluster_at,
        )?;
        let skips = cluster.insecure_skip_tls_verify.unwrap_or_default();
        let says_tls = skips || authority.is_some() || is_certified(&user);
        let own = match &cluster.server {
            Some(server) => kubeconfig::server(server, says_tls).map_err(|what| cluster_at.error("server", what))?,
            None if self.apiservers.is_empty() => {
                return Err(cluster_at.error("server", "is missing; write https://HOST:PORT"));
            }
            None => self.apiservers[0].clone(),
        };
        let mut said = plugin::Said::default();
        if let Some(exec) = &user.exec {
            said = plugin::run(exec, &cluster, authority.as_ref().map(|(pem, _)| pem.clone()), &user_at)?;
            files.until = said.until();
        }
        let identity = identity(&user, &said, &user_at)?;
        let mut config = Config::new(own.clone());
        config.auth_info = headers(user, said, &user_at)?;
        let urls = if self.apiservers.is_empty() {
            // Another name than that of the URL is meant for the kubeconfig's own.
            config.tls_server_name = cluster.tls_server_name;
            vec![own]
        } else {
            self.apiservers.clone()
        };
        // Where nothing is encrypted, nobody need be trusted.
        let is_plain = urls.iter().all(|url| url.scheme_str() == Some("http"));
        let trust = match authority {
            _ if skips || is_plain => bowline_tls::anybody(),
            Some((pem, field)) => {
                let named = bowline_tls::in_pem(&pem).and_then(bowline_tls::named);
                named.map_err(|what| cluster_at.error(field, what))?
            }
            None => {
                let of_the_system = bowline_tls::of_the_system().and_then(bowline_tls::named);
                of_the_system
                    .map_err(|what| cluster_at.error("certificate-authority", format!("is missing, and {what}")))?
            }
        };
        Ok(Login { config, urls, trust, identity, files })
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

    /// The kubeconfigs, or what would be one in a pod, and the files they were read from.
    fn kubeconfig(&self, environment: Environment<'_>) -> Result<(Vec<Named>, Vec<PathBuf>), AccessError> {
        self.check(environment)?;
        let made = |kubeconfig| Ok((vec![(None, kubeconfig)], Vec::new()));
        match self.place(environment) {
            // Those that are not there, too: they may come.
            Place::Files(files) => Ok((kubeconfig::read(&files)?, files)),
            Place::Certificates([certificate, key, ca]) => {
                let path = |path: PathBuf| Some(path.to_string_lossy().into_owned());
                let Some(server) = self.apiservers.first() else {
                    return now("certificates are given, and no API server to reach with them");
                };
                let user =
                    AuthInfo { client_certificate: path(certificate), client_key: path(key), ..AuthInfo::default() };
                made(single("certificates", &server.to_string(), path(ca), user))
            }
            Place::Pod { host } => {
                let port = environment("KUBERNETES_SERVICE_PORT")
                    .map_or("443".into(), |port| port.to_string_lossy().into_owned());
                let host = if host.contains(':') { format!("[{host}]") } else { host };
                made(service_account(Path::new(SERVICE_ACCOUNT), &format!("https://{host}:{port}")))
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
    single("service account", server, file("ca.crt"), user)
}

/// A kubeconfig with one cluster and one user.
fn single(name: &str, server: &str, certificate_authority: Option<String>, user: AuthInfo) -> Kubeconfig {
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

/// Whether a user has a certificate, or may get one.
fn is_certified(user: &AuthInfo) -> bool {
    user.client_certificate.is_some() || user.client_certificate_data.is_some()
}

/// What a field has as base64, else what is in the file that the other names; and which of the two it was.
fn pem<'f>(
    data: Option<&str>,
    file: Option<&str>,
    (data_field, file_field): (&'f str, &'f str),
    at: &At,
) -> Result<Option<(Vec<u8>, &'f str)>, AccessError> {
    match (data, file) {
        (Some(data), _) => {
            let data: String = data.split_ascii_whitespace().collect();
            let what = "is no base64; write there what `base64 -w0 FILE` prints";
            Ok(Some((STANDARD.decode(data).map_err(|_| at.error(data_field, what))?, data_field)))
        }
        (None, Some(file)) => {
            let read =
                std::fs::read(file).map_err(|error| at.error(file_field, format!("{file} can't be read: {error}")))?;
            Ok(Some((read, file_field)))
        }
        (None, None) => Ok(None),
    }
}

/// The user's certificate and key, or those that the plugin gave.
fn identity(user: &AuthInfo, said: &plugin::Said, at: &At) -> Result<Option<Arc<CertifiedKey>>, AccessError> {
    let (certificate, key) = match (&said.client_certificate_data, &said.client_key_data) {
        (Some(certificate), Some(key)) => (
            Some((certificate.clone().into_bytes(), "exec: its clientCertificateData")),
            Some((key.clone().into_bytes(), "exec: its clientKeyData")),
        ),
        _ => {
            let key = user.client_key_data.as_ref().map(ExposeSecret::expose_secret).filter(|key| !key.is_empty());
            let fields = ("client-certificate-data", "client-certificate");
            let certificate = user.client_certificate_data.as_deref();
            (
                pem(certificate, user.client_certificate.as_deref(), fields, at)?,
                pem(key, user.client_key.as_deref(), ("client-key-data", "client-key"), at)?,
            )
        }
    };
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some((certificate, at_certificate)), Some((key, at_key))) => {
            let chain = bowline_tls::in_pem(&certificate).map_err(|what| at.error(at_certificate, what))?;
            let key = bowline_tls::key_in_pem(&key).map_err(|what| at.error(at_key, what))?;
            match bowline_tls::pair(chain, key) {
                Ok(own) => Ok(Some(Arc::new(own))),
                Err(Unpaired::Unreadable) => Err(at.error(at_certificate, "can't be read; make a new one")),
                Err(Unpaired::Another) => {
                    Err(at.error(at_key, "is not the key of client-certificate; give the two that belong together"))
                }
            }
        }
        (Some(_), None) => Err(at.error("client-key", "is missing; client-certificate needs it")),
        (None, Some(_)) => Err(at.error("client-certificate", "is missing; client-key needs it")),
    }
}

/// What the headers of a request are made of: nothing that can't stand in one.
fn headers(user: AuthInfo, said: plugin::Said, at: &At) -> Result<AuthInfo, AccessError> {
    let check = |text: &str, field: &str| match text.bytes().all(|byte| byte >= 0x20 && byte != 0x7F) {
        true => Ok(()),
        false => Err(at.error(field, "has a character that no token can have; write it in one line")),
    };
    let token = |text: &str, field: &str| {
        let text = text.trim();
        check(text, field).map(|()| (!text.is_empty()).then(|| text.to_owned()))
    };
    let mut made = AuthInfo {
        impersonate: user.impersonate,
        impersonate_uid: user.impersonate_uid,
        impersonate_groups: user.impersonate_groups,
        impersonate_user_extra: user.impersonate_user_extra,
        ..AuthInfo::default()
    };
    let own = user.token.as_ref().map_or(Ok(None), |text| token(text.expose_secret(), "token"))?;
    let of_provider = match &user.auth_provider {
        Some(provider) if provider.name == "oidc" => provider.config.get("id-token"),
        Some(_) => {
            let what = "no provider but oidc is supported, as in kubectl since 1.26; use a plugin (exec)";
            return Err(at.error("auth-provider", what));
        }
        None => None,
    };
    let found = match (own, &user.token_file, said.token, of_provider) {
        (Some(own), _, _, _) => Some(own),
        (None, Some(file), _, _) => {
            let text = std::fs::read_to_string(file);
            let text =
                text.map_err(|error| at.error("tokenFile", format!("the token in {file} can't be read: {error}")))?;
            token(&text, "tokenFile")?
        }
        (None, None, Some(said), _) => token(&said, "exec: its token")?,
        (None, None, None, Some(text)) => token(text, "auth-provider.config.id-token")?,
        (None, None, None, None) => None,
    };
    match (found, user.username, user.password) {
        (Some(found), _, _) => made.token = Some(found.into()),
        (None, Some(name), password) => {
            (made.username, made.password) = (Some(name), Some(password.unwrap_or_default()));
        }
        (None, None, _) => {}
    }
    let named = made.impersonate_groups.iter().flatten().chain(&made.impersonate).chain(&made.impersonate_uid);
    for text in named.chain(made.impersonate_user_extra.iter().flat_map(|extra| extra.values().flatten())) {
        check(text, "as")?;
    }
    Ok(made)
}

fn now<T>(reason: impl Into<String>) -> Result<T, AccessError> {
    Err(AccessError::Now(reason.into()))
}

/// Files, and what they were when they were looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    seen: Vec<(PathBuf, Option<Stamp>)>,
    /// Until when what a plugin gave is good.
    until: Option<SystemTime>,
}

/// Differs when a file was written or replaced: device, inode, size, time of the last change.
type Stamp = (u64, u64, u64, i64, i64);

impl Files {
    fn look(paths: Vec<PathBuf>) -> Files {
        let seen = paths.into_iter().map(|path| (stamp(&path), path)).map(|(stamp, path)| (path, stamp)).collect();
        Files { seen, until: None }
    }

    /// Whether one has changed since, or a plugin's credentials are no longer good. A few system calls.
    pub(super) fn have_changed(&self) -> bool {
        self.until.is_some_and(|until| SystemTime::now() >= until)
            || self.seen.iter().any(|(path, before)| stamp(path) != *before)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}
