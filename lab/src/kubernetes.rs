//! Real etcd, real Kubernetes, on this machine: for tests, benches and `make cluster`.
//!
//! [`Etcd`] and [`ApiServer`] run alone, on a loopback address of their own or in a host of a [`Lab`],
//! and go with it. All programs are those that `scripts/setup kubernetes` builds.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use bowline_lab::Lab;
//! use bowline_lab::kubernetes::{ApiServer, ApiServerOptions, Etcd, EtcdOptions, Place};
//! let lab = Lab::new("example")?;
//! let place = Place::machine(&lab)?;
//! let mut etcd = Etcd::start(&place, &EtcdOptions::default())?;
//! let api = ApiServer::start(&place, &etcd, &ApiServerOptions::default())?;
//! println!("{}", api.kubectl(&["get", "namespaces"])?);
//! etcd.members_mut()[0].kill()?; // and see what the others do
//! etcd.members_mut()[0].start()?;
//! # Ok(()) }
//! ```
//!
//! [`Lab`]: crate::Lab

mod api_server;
mod beyond;
mod certificates;
pub mod cluster;
mod control_plane;
mod deploy;
mod dns;
mod etcd;
mod images;
mod kubeconfig;
mod kubelet;
mod machine;
mod place;
mod server;
mod services;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

pub use api_server::{ADMIN, ApiServer, ApiServerOptions, SERVICE_CIDRS};
pub use certificates::{Authority, Certificate};
pub use cluster::{Cluster, ClusterNode, ClusterOptions};
pub use control_plane::{ControlPlane, POD_CIDRS};
pub use deploy::{Deploy, Overlay};
pub use dns::Dns;
pub use etcd::{Etcd, EtcdOptions, EtcdRelease, Member};
pub use images::{Image, image};
pub use kubeconfig::{Credential, kubeconfig};
pub use kubelet::{CLUSTER_DNS, Kubelet};
pub use machine::Machine;
pub use place::Place;
pub use server::Server;
pub use services::{POD_NETWORK, ServiceAgent, Services};

/// Long enough for a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A program that `scripts/setup kubernetes` has built: `kubectl`, `etcd`, ... Looked for in the folder
/// that BOWLINE_KUBERNETES_BIN names, else in target/kubernetes/bin of this repository.
pub fn binary(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("BOWLINE_KUBERNETES_BIN") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kubernetes/bin"),
    };
    let path = folder.join(name);
    if !path.is_file() {
        bail!("{name} is not in {}: run 'scripts/setup kubernetes', which builds it", folder.display());
    }
    Ok(path.canonicalize()?)
}
