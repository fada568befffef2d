//! A kubeconfig as client-go takes it: read from its files, checked, and completed.
//!
//! What is wrong is said with file and field before a library sees it, and never with what stands there.

use std::fmt;
use std::path::{Path, PathBuf};

use http::Uri;
use kube_client::config::{AuthInfo, Cluster, Kubeconfig};
use serde::Deserialize as _;
use serde_saphyr::DuplicateKeyPolicy;

use super::{AccessError, now};

/// A kubeconfig, and the file that it is from; none where it was made here.
pub(super) type Named = (Option<PathBuf>, Kubeconfig);

/// What a context leads to.
pub(super) struct Chosen {
    pub(super) cluster: Cluster,
    pub(super) user: AuthInfo,
    /// Where those stand, for messages.
    pub(super) cluster_at: At,
    pub(super) user_at: At,
}

/// A file and the beginning of a field's name.
#[derive(Clone, Debug, Default)]
pub(super) struct At(String);

impl At {
    fn new(file: Option<&Path>, field: &str) -> At {
        At(file.map_or_else(String::new, |file| format!("{}: ", file.display())) + field)
    }

    /// That something is wrong with this field.
    pub(super) fn error(&self, field: &str, what: impl fmt::Display) -> AccessError {
        AccessError::Now(format!("{}.{field}: {what}", self.0))
    }
}

/// Reads those files that are there, as client-go does, each by itself; an error if none is.
pub(super) fn read(files: &[PathBuf]) -> Result<Vec<Named>, AccessError> {
    let mut read = Vec::new();
    for file in files {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && files.len() > 1 => continue,
            Err(error) => return now(format!("{}: the kubeconfig can't be read: {error}", file.display())),
        };
        let mut kubeconfig = parse(bytes).map_err(|what| AccessError::Now(format!("{}: {what}", file.display())))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        make_absolute(&mut kubeconfig, folder);
        read.push((Some(file.clone()), kubeconfig));
    }
    if read.is_empty() {
        let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        return now(format!("{}: none of these kubeconfigs is there", names.join(", ")));
    }
    Ok(read)
}

/// Reads YAML or JSON in UTF-8 or, with its mark, in UTF-16.
fn parse(bytes: Vec<u8>) -> Result<Kubeconfig, String> {
    let text = text(bytes)?;
    // YAML wants no tabs where JSON may have them.
    if text.trim_start().starts_with('{')
        && let Ok(kubeconfig) = serde_json::from_str(&text)
    {
        return Ok(kubeconfig);
    }
    // As kubectl reads it, the last of two counts: a struct would refuse the second, so a map is read first.
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins };
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple_with_options(&text, options).map_err(unread)?;
    let Some(document) = documents.into_iter().find(|document| !document.is_null()) else {
        return Ok(Kubeconfig::default());
    };
    Kubeconfig::deserialize(document).map_err(|_| {
        // Read once more for the line.
        serde_saphyr::from_multiple::<Kubeconfig>(&text).map_or_else(unread, |_| "is no kubeconfig".to_owned())
    })
}

/// Where it can't be read; the library's own words quote the lines around.
fn unread(error: serde_saphyr::Error) -> String {
    match error.location() {
        Some(at) => format!("is no kubeconfig: line {}, column {} can't be read", at.line(), at.column()),
        None => "is no kubeconfig: it can't be read as YAML or JSON".to_owned(),
    }
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes[2..].as_chunks::<2>();
        let text = String::from_utf16(&pairs.iter().map(|pair| unit(*pair)).collect::<Vec<_>>());
        text.ok().filter(|_| rest.is_empty()).ok_or_else(|| "is cut off, or no UTF-16; save it as UTF-8".to_owned())
    };
    match *bytes {
        [0xFF, 0xFE, ..] => utf16(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => utf16(u16::from_be_bytes),
        _ => {
            let text = String::from_utf8(bytes).map_err(|_| "is no text in UTF-8; save it as that".to_owned())?;
            Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
        }
    }
}

/// Paths in a kubeconfig begin at its folder; of a plugin's command only if it is a path.
fn make_absolute(kubeconfig: &mut Kubeconfig, folder: &Path) {
    let join = |path: &mut Option<String>| {
        if let Some(path) = path.as_mut().filter(|path| !path.is_empty()) {
            *path = folder.join(&*path).to_string_lossy().into_owned();
        }
    };
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        join(&mut cluster.certificate_authority);
    }
    for user in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        [&mut user.client_certificate, &mut user.client_key, &mut user.token_file].into_iter().for_each(join);
        if let Some(exec) = user.exec.as_mut().filter(|exec| exec.command.as_ref().is_some_and(|c| c.contains('/'))) {
            join(&mut exec.command);
        }
    }
}

/// What the context leads to: this one, or the current one. Of several of one name the first counts.
pub(super) fn choose(files: &[Named], context: Option<&str>) -> Result<Chosen, AccessError> {
    let names: Vec<_> = files.iter().flat_map(|(file, _)| file).map(|file| file.display().to_string()).collect();
    let names = names.join(", ");
    let current = || files.iter().find_map(|(_, file)| file.current_context.as_deref().filter(|name| !name.is_empty()));
    let Some(name) = context.or_else(current) else {
        return now(format!(
            "{names}: current-context is missing; set it, or name a context: kubernetes:FILE?context=NAME"
        ));
    };
    let found = files.iter().find_map(|(file, config)| {
        Some((file, config.contexts.iter().find(|named| named.name == name)?.context.clone()?))
    });
    let Some((file, context)) = found else {
        return now(format!(
            "{names}: there is no context {name:?}; name one that is there, as current-context or by ?context="
        ));
    };
    let at = At::new(file.as_deref(), &format!("contexts[{name}].context"));
    let cluster = files.iter().find_map(|(file, config)| {
        Some((file, config.clusters.iter().find(|named| named.name == context.cluster)?.cluster.clone()?))
    });
    let Some((file, cluster)) = cluster else {
        return Err(at.error("cluster", format!("there is no cluster {:?}", context.cluster)));
    };
    let cluster_at = At::new(file.as_deref(), &format!("clusters[{}].cluster", context.cluster));
    // Without a user nobody is one, as for client-go.
    let user_name = context.user.unwrap_or_default();
    let user = files.iter().find_map(|(file, config)| {
        Some((file, config.auth_infos.iter().find(|named| named.name == user_name)?.auth_info.clone()?))
    });
    let (file, user) = user.map_or_else(|| (None, AuthInfo::default()), |(file, user)| (file.clone(), user));
    let user_at = At::new(file.as_deref(), &format!("users[{user_name}].user"));
    let (cluster, user) = (of_cluster(cluster), of_user(user));
    Ok(Chosen { cluster, user, cluster_at, user_at })
}

/// What is empty isn't there, in Go.
fn of_cluster(mut cluster: Cluster) -> Cluster {
    let fields = [
        &mut cluster.server,
        &mut cluster.certificate_authority,
        &mut cluster.certificate_authority_data,
        &mut cluster.proxy_url,
        &mut cluster.tls_server_name,
    ];
    fields.into_iter().for_each(none_if_empty);
    cluster
}

fn of_user(mut user: AuthInfo) -> AuthInfo {
    let fields = [
        &mut user.username,
        &mut user.token_file,
        &mut user.client_certificate,
        &mut user.client_certificate_data,
        &mut user.client_key,
        &mut user.impersonate,
        &mut user.impersonate_uid,
    ];
    fields.into_iter().for_each(none_if_empty);
    user
}

fn none_if_empty(field: &mut Option<String>) {
    if field.as_ref().is_some_and(|text| text.trim().is_empty()) {
        *field = None;
    }
}

/// The URL of a server, completed as client-go does: what has no scheme is a host with or without a port, at which
/// TLS is spoken if anything is said of TLS.
pub(super) fn server(text: &str, says_tls: bool) -> Result<Uri, String> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', ':']) => (scheme.to_ascii_lowercase(), rest),
        _ => {
            let rest = text.strip_suffix('/').unwrap_or(text);
            if rest.contains('/') {
                return Err("has a path and no scheme; write https://HOST:PORT/PATH".to_owned());
            }
            (if says_tls { "https" } else { "http" }.to_owned(), rest)
        }
    };
    if !matches!(&*scheme, "http" | "https") {
        return Err("is neither https:// nor http://; write https://HOST:PORT".to_owned());
    }
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    if rest.split('/').next().unwrap_or_default().contains('@') {
        return Err("has a user in it; write the credentials as the kubeconfig's user".to_owned());
    }
    let bad = |what: &dyn fmt::Display| format!("is no URL of an API server: {what}; write https://HOST:PORT");
    let uri: Uri = format!("{scheme}://{rest}").parse().map_err(|error: http::uri::InvalidUri| bad(&error))?;
    let (host, authority) =
        (uri.host().unwrap_or_default(), uri.authority().map_or("", |authority| authority.as_str()));
    if host.is_empty() {
        return Err(bad(&"it names no host"));
    }
    let port = authority.strip_prefix(host).and_then(|rest| rest.strip_prefix(':'));
    if port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port == 0) || port.parse::<u16>().is_err()) {
        return Err(bad(&"its port is no number from 1 to 65535"));
    }
    Ok(uri)
}
