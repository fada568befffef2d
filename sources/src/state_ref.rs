//! A cluster to be read, as `--state` names it.
//!
//! One string says it whole, so that it can stand in a flag, in BOWLINE_STATE, and several times:
//!
//! ```text
//! [NAME=]files:DIR
//! [NAME=]etcd:URL[,URL...][?prefix=P&cacert=FILE&cert=FILE&key=FILE&user=NAME&password-file=FILE]
//! [NAME=]kubernetes[:KUBECONFIG][?context=NAME&apiserver=URL,URL]
//! ```

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bowline_cluster::source::{SYNC_PERIOD, Source};
use bowline_cluster::state::Options;
use bowline_etcd::{Location, LocationError};
use ipnet::IpNet;

use crate::etcd::Etcd;
use crate::files::Files;
use crate::kubernetes::{Access, Kubernetes, Wanted};

#[cfg(test)]
mod tests;

/// The name of a cluster whose `--state` has none.
const UNNAMED: &str = "local";

/// Where one cluster's objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// A folder of manifests.
    Files(PathBuf),
    /// Objects in etcd.
    Etcd(Location),
    /// A Kubernetes API server.
    Kubernetes(Access),
}

/// A cluster, and where its objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRef {
    /// What it is called here.
    pub name: String,
    /// Where its objects come from.
    pub kind: StateKind,
    /// How often what is known of a server is compared with what it has.
    pub sync_period: Duration,
}

impl StateRef {
    /// Whether nobody but Bowline does the API server's and the endpoint controller's part there.
    fn is_bare(&self) -> bool {
        !matches!(self.kind, StateKind::Kubernetes(_))
    }

    /// Whether it is on a server, which may be away when the agent starts.
    pub fn is_remote(&self) -> bool {
        !matches!(self.kind, StateKind::Files(_))
    }

    /// Whether all that is wanted is read there, whatever was wanted before.
    pub fn is_read_whole(&self) -> bool {
        self.is_bare()
    }

    /// What a state of its objects has to do besides keeping them; `ranges` as `--service-cluster-ip-range`.
    pub fn options(&self, ranges: &[IpNet]) -> Options {
        Options { service_cidrs: ranges.to_vec(), complete: self.is_bare() }
    }

    /// What is wrong with the certificates and keys that it is reached with.
    pub fn troubles(&self) -> Vec<String> {
        let files = match &self.kind {
            StateKind::Etcd(location) => location.files(),
            StateKind::Kubernetes(Access { kubeconfig: None, tls: Some([certificate, key, ca]), .. }) => {
                bowline_tls::Files { authority: Some(ca.clone()), own: Some((certificate.clone(), key.clone())) }
            }
            _ => return Vec::new(),
        };
        match files.load() {
            Ok(_) => files.doubts(),
            Err(error) => vec![error.to_string()],
        }
    }

    /// What reads it. Folders and etcd are read whole, whatever is wanted.
    pub fn source(&self, wanted: Wanted) -> Box<dyn Source> {
        match &self.kind {
            StateKind::Files(folder) => Box::new(Files::new(folder.clone())),
            StateKind::Etcd(location) => Box::new(Etcd::new(location.clone()).compared_every(self.sync_period)),
            StateKind::Kubernetes(access) => {
                Box::new(Kubernetes::new(access.clone(), wanted).compared_every(self.sync_period))
            }
        }
    }
}

/// Why a text names no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StateRefError(String);

impl FromStr for StateRef {
    type Err = StateRefError;

    fn from_str(text: &str) -> Result<StateRef, StateRefError> {
        let (name, source) = match text.split_once('=') {
            Some((name, source)) if !name.contains([':', '?', ',']) => (name, source),
            _ => (UNNAMED, text),
        };
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 63 || !name.bytes().all(is_name) {
            return Err(StateRefError(format!("{name:?} is no name for a cluster; write up to 63 of a-z, 0-9 and -")));
        }
        let word = source.split([':', '?']).next().unwrap_or_default();
        let kind = match (word, source.split_once(':')) {
            ("files", Some((_, folder))) if !folder.is_empty() => StateKind::Files(folder.into()),
            ("etcd", Some((_, location))) => {
                StateKind::Etcd(location.parse().map_err(|error: LocationError| StateRefError(error.to_string()))?)
            }
            ("kubernetes", _) => StateKind::Kubernetes(source.parse().map_err(StateRefError)?),
            _ => {
                let what = "is no source; write files:DIR, etcd:URL,URL or kubernetes[:KUBECONFIG]";
                return Err(StateRefError(format!("`{word}` {what}")));
            }
        };
        Ok(StateRef { name: name.to_owned(), kind, sync_period: SYNC_PERIOD })
    }
}
