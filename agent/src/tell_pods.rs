//! Pods of this node, told to the other nodes where no kubelet does: in etcd, or in a file of the folder that is the state.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bowline_cluster::object::{ObjectName, Str};
use bowline_cluster::source::Stop;
use bowline_cni::attachment::{Attachment, Key, PodName};
use bowline_sources::manifest;
use bowline_sources::state_ref::{StateKind, StateRef};
use bowline_sources::store::pods::{PodIps, Teller, object};
use tokio::sync::watch;

/// The folder of the state in which each node has a file.
const STATUS: &str = "status";
/// How long after a file that could not be written it is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// An interface, and its addresses.
type Interface = (Key, Vec<IpAddr>);

/// Whose network the pods of a node have, by name.
pub(crate) struct Pods {
    told: watch::Sender<PodIps>,
    /// All interfaces of each, in the order in which they came.
    attached: Mutex<BTreeMap<ObjectName, Vec<Interface>>>,
}

impl Pods {
    /// One more, or one less, is attached. A pod's addresses are those of its first interface; of a container that took the
    /// place of one whose end nobody has told yet, its own.
    pub(crate) fn note(&self, attachment: &Attachment, is_there: bool) {
        let Some(PodName { namespace, name, .. }) = &attachment.pod else { return };
        let name = ObjectName { namespace: Str::from(namespace.as_str()), name: Str::from(name.as_str()) };
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        let all = attached.entry(name.clone()).or_default();
        all.retain(|(key, _)| *key != attachment.key);
        if is_there {
            all.push((attachment.key.clone(), attachment.addresses.clone()));
        }
        let newest = all.last().map(|(key, _)| key.container.clone());
        let ips = all.iter().find(|(key, _)| Some(&key.container) == newest.as_ref()).map(|(_, ips)| ips.clone());
        if all.is_empty() {
            attached.remove(&name);
        }
        drop(attached);
        self.told.send_if_modified(|pods| match ips {
            Some(ips) => pods.insert(name, ips.clone()).is_none_or(|before| before != ips),
            None => pods.remove(&name).is_some(),
        });
    }
}

/// Tells them until the end. Dropped, it waits for what is being told.
pub(crate) struct TellPods {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    /// Ends the wait for the next change.
    end: watch::Sender<PodIps>,
}

impl TellPods {
    /// For a state that has nobody else for it: None for Kubernetes.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(state: &StateRef, node: &str) -> io::Result<Option<(TellPods, Pods)>> {
        let (sender, pods) = watch::channel(PodIps::new());
        let stop = Stop::default();
        let (stopping, node) = (stop.clone(), node.to_owned());
        let tell: Box<dyn FnOnce() + Send> = match &state.kind {
            StateKind::Kubernetes(_) => return Ok(None),
            StateKind::Files(folder) => {
                let file = folder.join(STATUS).join(format!("{node}.yaml"));
                Box::new(move || in_file(&file, &node, pods, &stopping))
            }
            StateKind::Etcd(location) => {
                let teller = Teller::new(location.clone(), node);
                Box::new(move || in_etcd(&teller, pods, &stopping))
            }
        };
        let thread = thread::Builder::new().name("tell-pods".into()).spawn(tell)?;
        let pods = Pods { told: sender.clone(), attached: Mutex::default() };
        Ok(Some((TellPods { stop, thread: Some(thread), end: sender.clone() }, pods)))
    }
}

impl Drop for TellPods {
    fn drop(&mut self) {
        self.stop.stop();
        self.end.send_modify(|_| {});
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn in_etcd(teller: &Teller, pods: watch::Receiver<PodIps>, stop: &Stop) {
    let kept = teller.run(stop, pods, |error| match error {
        Some(error) => tracing::warn!(%error, "this node's pods can't be told to the others; trying again"),
        None => tracing::debug!("this node's pods are told to the others"),
    });
    if let Err(error) = kept {
        tracing::error!(%error, "this node's pods are not told to the others");
    }
}

fn in_file(file: &Path, node: &str, mut pods: watch::Receiver<PodIps>, stop: &Stop) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
    loop {
        let wanted = pods.borrow_and_update().clone();
        let written = write(file, node, &wanted);
        if let Err(error) = &written {
            tracing::warn!(file = %file.display(), %error, "this node's pods can't be told to the others; trying again");
        }
        let is_over = runtime.block_on(async {
            match written {
                Ok(()) => pods.changed().await.is_err(),
                Err(_) => tokio::time::timeout(AGAIN, pods.changed()).await.is_ok_and(|changed| changed.is_err()),
            }
        });
        if is_over || stop.is_stopped() {
            return;
        }
    }
}

/// Writes it whole, under a name that the source leaves out until it is.
fn write(file: &Path, node: &str, pods: &PodIps) -> io::Result<()> {
    let Some(folder) = file.parent() else { return Ok(()) };
    if pods.is_empty() && !file.exists() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    let new: PathBuf = folder.join(format!(".{node}.new"));
    let mut out = io::BufWriter::new(File::create(&new)?);
    writeln!(out, "# Pods of the node {node}, as its agent has wired them. It writes this file anew.")?;
    for (name, ips) in pods {
        writeln!(out, "---")?;
        manifest::write(&object(node, name, ips), &mut out)?;
        writeln!(out)?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&new, file)
}
