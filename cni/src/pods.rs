//! What is attached on this node: ADD, DEL, CHECK, GC and STATUS, and what is found at a start.
//!
//! ```text
//!           log.held          wired                     log.going                 link gone, log.gone
//! ADD ─ address ─> Held ─ wire ─> answered ... DEL ─> Going ─ its ports ─> answered ─ Reaper: link, packets ─> free
//!
//! start    what the log and the links say, brought together
//! add      ADD, and nothing of it where it fails
//! del      DEL, GC, and the end of what got no DEL
//! reap     links removed, several at once
//! shape    the MTU, which wires that are there follow
//! ```
//! An address is held from before anything is made until its link is gone. What was begun when the agent was killed is
//! found again by the names of links, which follow from the container's id alone.

mod add;
mod del;
mod reap;
mod shape;
mod start;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bowline_cni_protocol::CniError;
use bowline_net::{Net, Route};
use ipnet::IpNet;

use crate::addresses::{AddressError, Pool};
use crate::attachment::{Attachment, Key};
use crate::datapath::Datapath;
use crate::log::{Attached, Log, Stage};
use crate::ready::Ready;
use crate::wiring;

pub use add::Ask;

/// Hears of pods that come and go.
pub type Listener = Box<dyn Fn(&Attachment, bool) + Send + Sync>;

/// All attachments of a node.
pub struct Pods {
    state: Mutex<State>,
    /// An attachment is no longer at work, or is gone.
    changed: Condvar,
    nets: Mutex<Vec<Net>>,
    datapath: Arc<dyn Datapath>,
    ready: Arc<Ready>,
    listener: Listener,
    host_local: PathBuf,
}

struct State {
    pool: Pool,
    log: Log,
    attached: Attached,
    /// The numbers of the node's ends.
    indices: HashMap<Key, u32>,
    /// Wires whose MTU is still another than the node's, since somebody was at work on them.
    late: HashSet<Key>,
    /// Links that have a queue, ours or of a plugin behind us (bandwidth).
    queued: HashSet<u32>,
    /// Somebody is at work on these.
    busy: HashSet<Key>,
    /// Links that are to be removed, with their attachments.
    reap: Vec<Key>,
    /// Since when the links of these are away.
    away: HashMap<Key, Instant>,
    mtu: u32,
    /// The node's addresses: what its own packets to pods are from.
    sources: Vec<IpAddr>,
    ended: bool,
}

/// While it lives, nobody else works on an attachment.
struct Busy<'a> {
    pods: &'a Pods,
    key: Key,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.pods.lock().busy.remove(&self.key);
        self.pods.changed.notify_all();
    }
}

/// A conversation with the kernel that goes back to the others after use.
struct Lent<'a> {
    pods: &'a Pods,
    net: Option<Net>,
}

impl std::ops::Deref for Lent<'_> {
    type Target = Net;
    #[allow(clippy::expect_used, reason = "it is there until it is dropped")]
    fn deref(&self) -> &Net {
        self.net.as_ref().expect("lent")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.pods.nets.lock().unwrap_or_else(PoisonError::into_inner).extend(self.net.take());
    }
}

impl Pods {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves it consistent: each step is noted after it is done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn net(&self) -> Result<Lent<'_>, CniError> {
        let spare = self.nets.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let net = match spare {
            Some(net) => net,
            None => Net::open().map_err(|error| failed("a netlink socket", &error))?,
        };
        Ok(Lent { pods: self, net: Some(net) })
    }

    /// Waits until nobody else works on this attachment. Of one that is to be made in a namespace: until nothing is being
    /// removed that has its name there.
    fn busy(&self, key: &Key, deadline: Instant, new_in: Option<&str>) -> Result<Busy<'_>, CniError> {
        let mut state = self.lock();
        loop {
            let is_going = new_in.is_some_and(|netns| state.is_going(key, netns));
            if !state.busy.contains(key) && !is_going {
                state.busy.insert(key.clone());
                return Ok(Busy { pods: self, key: key.clone() });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let what =
                    if is_going { "its earlier network is still being removed" } else { "another call is at work" };
                return Err(CniError::new(CniError::TRY_AGAIN_LATER, format!("{key}: {what}")));
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether an attachment is as it was made.
    ///
    /// # Errors
    /// What differs.
    pub fn check(&self, key: &Key, netns: &OwnedFd, deadline: Instant) -> Result<Attachment, CniError> {
        let _busy = self.busy(key, deadline, None)?;
        let found = self.lock().attached.get(key).cloned();
        let Some((attachment, Stage::Held)) = found else {
            return Err(CniError::new(CniError::CHECK_FAILED, format!("{key} was never added, or was deleted")));
        };
        wiring::check(&*self.net()?, netns.as_fd(), &attachment)
            .map_err(|error| CniError::new(CniError::CHECK_FAILED, format!("{key}: {error}")))?;
        Ok(attachment)
    }

    /// Whether an ADD would go well now, of one whose addresses another plugin gives (`is_delegated`), or we.
    ///
    /// # Errors
    /// Why not, as STATUS says it.
    pub fn status(&self, is_delegated: bool) -> Result<(), CniError> {
        self.ready.now().map_err(|why| CniError::new(CniError::NOT_AVAILABLE, why))?;
        if !is_delegated && self.lock().pool.networks().is_empty() {
            return Err(CniError::new(CniError::NOT_AVAILABLE, AddressError::NoNetwork.to_string()));
        }
        Ok(())
    }

    /// The networks of the node's pods.
    pub fn set_networks(&self, networks: &[IpNet]) {
        let mut state = self.lock();
        if state.pool.networks() != networks {
            tracing::info!(networks = ?networks, "pods' addresses come from here");
            state.pool.set_networks(networks);
        }
    }

    /// All attachments that are held.
    pub fn list(&self) -> Vec<Attachment> {
        let state = self.lock();
        let held = state.attached.values().filter(|(_, stage)| *stage == Stage::Held);
        held.map(|(attachment, _)| attachment.clone()).collect()
    }

    /// How many addresses are held, and the networks that they are of.
    pub fn usage(&self) -> (usize, Vec<IpNet>) {
        let state = self.lock();
        (state.pool.held(), state.pool.networks().to_vec())
    }

    /// The routes that are to be there, of all pods.
    pub(crate) fn routes(&self) -> Vec<Route> {
        let state = self.lock();
        let mut routes = Vec::new();
        for (key, (attachment, stage)) in &state.attached {
            if let (Some(index), Stage::Held) = (state.indices.get(key), stage) {
                routes.extend(wiring::routes_to(attachment, *index, &state.sources));
            }
        }
        routes
    }

    /// Nobody that asks waits any more for pods to be allowed.
    pub(crate) fn end_waits(&self) {
        self.ready.end();
    }

    /// Lets [`Pods::reap`] return once it has done what it has.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

impl State {
    /// Whether this attachment, or another one's interface of this name in the same namespace, is being removed.
    fn is_going(&self, key: &Key, netns: &str) -> bool {
        let mut going = self.attached.values().filter(|(_, stage)| *stage == Stage::Going);
        going.any(|(one, _)| one.key == *key || (one.key.ifname == key.ifname && one.netns == netns))
    }

    fn going(&mut self, key: &Key) {
        let _ = self.log.going(key);
        if let Some((_, stage)) = self.attached.get_mut(key) {
            *stage = Stage::Going;
        }
    }

    /// Nothing is left of it.
    fn free(&mut self, key: &Key) {
        let Some((attachment, _)) = self.attached.remove(key) else { return };
        self.indices.remove(key);
        self.pool.release(key, &attachment.addresses, Instant::now());
        let (log, attached) = (&mut self.log, &self.attached);
        if let Err(error) = log.gone(key, attached) {
            tracing::warn!(container = %key.container, %error, "the log of attachments; it is freed again at the next start");
        }
    }
}

fn failed(what: &str, error: &impl std::fmt::Display) -> CniError {
    CniError::new(CniError::FAILED, format!("{what}: {error}"))
}
