//! What is attached on this node: ADD, DEL, CHECK, GC and STATUS, and what is found at a start.
//!
//! ```text
//!           log.held          wired                     log.going                 link gone, log.gone
//! ADD ─ address ─> Held ─ wire ─> answered ... DEL ─> Going ─ its ports ─> answered ─ Reaper: link, packets ─> free
//! ```
//! An address is held from before anything is made until its link is gone. What was begun when the agent was killed is
//! found again by the names of links, which follow from the container's id alone.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bowline_cni_protocol::{CniError, PortMapping};
use bowline_net::{ENODEV, Link, Net, Route};
use ipnet::IpNet;

use crate::addresses::{AddressError, Pool, Wanted};
use crate::attachment::{Attachment, Key, PREFIX};
use crate::datapath::{Datapath, PodWire};
use crate::host_local;
use crate::log::{Attached, Log, Stage, Written};
use crate::ready::Ready;
use crate::wiring::{self, WireError};

/// The group of links that are being removed (IFLA_GROUP): one of ours.
const GOING: u32 = 0x626f_7767;

/// How long a link of an attachment may be away without a DEL before it is taken for gone: the runtime's DEL is on its way.
const AWAY: Duration = Duration::from_secs(60);

/// Hears of pods that come and go.
pub type Listener = Box<dyn Fn(&Attachment, bool) + Send + Sync>;

/// Where things stand.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder of the log.
    pub folder: PathBuf,
    /// Where the network before this one has its addresses ([`crate::host_local`]).
    pub host_local: PathBuf,
}

/// What an ADD asks for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What is to be attached; its addresses, `mtu` and the `mac` are filled in where they are left out.
    pub attachment: Attachment,
    /// Which addresses.
    pub wanted: Wanted,
    /// An MTU in the place of the node's.
    pub mtu: Option<u32>,
}

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
    /// What is on this node: by the log, by the links that are there, and by what the kernel's programs know. Takes away
    /// what was half made, and what was to go. Runs in the node's network namespace.
    ///
    /// # Errors
    /// The log or the kernel can't be used.
    pub fn open(
        place: &Place,
        datapath: Arc<dyn Datapath>,
        ready: Arc<Ready>,
        listener: Listener,
    ) -> std::io::Result<Pods> {
        let path = place.folder.join("attachments.log");
        let (log, attached, damaged) = Log::open(&path)?;
        for line in damaged {
            tracing::warn!("{line}; what it said is taken from the links that are there");
        }
        let net = Net::open()?;
        let mut state = State {
            pool: Pool::default(),
            log,
            attached,
            indices: HashMap::new(),
            busy: HashSet::new(),
            reap: Vec::new(),
            away: HashMap::new(),
            mtu: 1500,
            sources: Vec::new(),
            ended: false,
        };
        state.pool.set_others(host_local::held(&place.host_local));
        let links = net.links().map_err(std::io::Error::other)?;
        state.adopt(&links)?;
        // What is going has no packets and no ports any more, however far its DEL had come.
        let is_held = |key: &&Key| matches!(state.attached.get(*key), Some((_, Stage::Held)));
        let held: Vec<u32> = state.indices.keys().filter(is_held).map(|key| state.indices[key]).collect();
        datapath.keep_pods(&held);
        for (key, (attachment, stage)) in &state.attached {
            if let (Some(index), Stage::Held) = (state.indices.get(key), stage) {
                tell_datapath(datapath.as_ref(), attachment, *index);
                listener(attachment, true);
            }
        }
        tracing::info!(attachments = state.attached.len(), going = state.reap.len(), "pods' network: taken over");
        Ok(Pods {
            state: Mutex::new(state),
            changed: Condvar::new(),
            nets: Mutex::new(vec![net]),
            datapath,
            ready,
            listener,
            host_local: place.host_local.clone(),
        })
    }

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

    /// Attaches a container. The same question has the same answer.
    ///
    /// # Errors
    /// What a runtime is told. Then nothing is left of it.
    pub fn add(&self, ask: Ask, netns: &OwnedFd, deadline: Instant) -> Result<(Attachment, u32), CniError> {
        if wiring::is_own(netns.as_fd()).map_err(|error| failed("the container's network namespace", &error))? {
            let said = format!("{} is the node's own network namespace", ask.attachment.netns);
            return Err(CniError::new(CniError::INVALID_NETNS, said));
        }
        self.ready.wait(deadline).map_err(|why| CniError::new(CniError::TRY_AGAIN_LATER, why))?;
        let key = ask.attachment.key.clone();
        let busy = self.busy(&key, deadline, Some(&ask.attachment.netns))?;
        let net = self.net()?;
        let before = self.lock().attached.get(&key).map(|(attachment, _)| attachment.clone());
        let again = before.is_some();
        if let Some(before) = before {
            let index = self.lock().indices.get(&key).copied();
            if let Some(index) = index
                && wiring::check(&net, netns.as_fd(), &before).is_ok()
            {
                return Ok((before, index));
            }
            // It was begun and not ended, or in a namespace that is gone. Its addresses stay its own.
            self.cut(&net, &before)?;
        }
        let (attachment, written) = self.note(ask)?;
        let sources = self.lock().sources.clone();
        // The disk takes about as long as the kernel: both at once.
        let made = thread::scope(|scope| {
            let disk = thread::Builder::new().name("cni-disk".into()).spawn_scoped(scope, move || written.sync());
            let disk = disk.map_err(|error| failed("a thread", &error))?;
            let made = wiring::make(&net, netns.as_fd(), &attachment, &sources, |wire| self.datapath.put_pod(wire));
            let made = made.map_err(|error| of_wire(&error)).and_then(|wire| {
                self.lock().indices.insert(key.clone(), wire.index);
                self.open_ports(&attachment)?;
                Ok(wire.index)
            });
            let on_disk = disk.join().unwrap_or_else(|_| Err(std::io::Error::other("a thread panicked")));
            on_disk.map_err(|error| failed("the log of attachments", &error)).and(made)
        });
        let index = match made {
            Ok(index) => index,
            Err(error) => {
                self.undo(&net, &attachment);
                drop(busy);
                return Err(error);
            }
        };
        // While it is ours: a DEL that comes at once is told after this.
        (self.listener)(&attachment, true);
        drop(busy);
        tracing::info!(
            container = %key.container, ifname = %key.ifname, pod = attachment.pod.as_ref().map(tracing::field::display),
            addresses = ?attachment.addresses, link = %key.link(), again, "attached"
        );
        Ok((attachment, index))
    }

    /// Gives it addresses, and notes both.
    fn note(&self, ask: Ask) -> Result<(Attachment, Written), CniError> {
        let Ask { mut attachment, wanted, mtu } = ask;
        let mut state = self.lock();
        let state = &mut *state;
        let key = attachment.key.clone();
        attachment.mtu = mtu.unwrap_or(state.mtu);
        if attachment.delegated {
            if !state.pool.hold(&key, &attachment.addresses) {
                let said = format!("the addresses {:?} are held by another container", attachment.addresses);
                return Err(CniError::new(CniError::IPAM, said));
            }
            // Asked again, its plugin may give others.
            let before = state.attached.get(&key).map(|(before, _)| before.addresses.clone()).unwrap_or_default();
            let gone: Vec<IpAddr> = before.into_iter().filter(|one| !attachment.addresses.contains(one)).collect();
            state.pool.release(&key, &gone, Instant::now());
        } else if let Some((before, _)) = state.attached.get(&key) {
            attachment.addresses = before.addresses.clone();
        } else {
            attachment.addresses = state.pool.give(&key, &wanted, Instant::now()).map_err(of_address)?;
        }
        let written = match state.log.held(&attachment) {
            Ok(written) => written,
            Err(error) => {
                if !state.attached.contains_key(&key) {
                    state.pool.release(&key, &attachment.addresses, Instant::now());
                }
                return Err(failed("the log of attachments", &error));
            }
        };
        state.attached.insert(key, (attachment.clone(), Stage::Held));
        Ok((attachment, written))
    }

    fn open_ports(&self, attachment: &Attachment) -> Result<(), CniError> {
        for port in &attachment.ports {
            self.datapath.put_port(port, &attachment.addresses).map_err(|why| {
                let said = format!("hostPort {}/{:?}: {why}", port.host_port, port.protocol);
                CniError::new(CniError::FAILED, said)
            })?;
        }
        Ok(())
    }

    /// Takes a wire away that is to be made anew.
    fn cut(&self, net: &Net, attachment: &Attachment) -> Result<(), CniError> {
        self.close(attachment);
        match net.link(&attachment.key.link()) {
            Ok(None) => Ok(()),
            Ok(Some(link)) => match net.remove(link.index) {
                Err(error) if error.errno() != Some(ENODEV) => Err(failed("removing an earlier wire", &error)),
                _ => Ok(()),
            },
            Err(error) => Err(failed("finding an earlier wire", &error)),
        }
    }

    /// Its ports and its packets, no more.
    fn close(&self, attachment: &Attachment) {
        self.close_ports(attachment);
        self.forget(attachment);
    }

    fn close_ports(&self, attachment: &Attachment) {
        attachment.ports.iter().for_each(|port| self.datapath.remove_port(port, &attachment.addresses));
    }

    /// Its packets, no more. That is quick where its link is gone already; otherwise the kernel waits for every CPU.
    fn forget(&self, attachment: &Attachment) {
        let index = self.lock().indices.remove(&attachment.key);
        if let Some(index) = index {
            self.datapath.remove_pod(index, &attachment.addresses);
        }
    }

    /// Leaves nothing of an ADD that failed.
    fn undo(&self, net: &Net, attachment: &Attachment) {
        let link = net.link(&attachment.key.link()).ok().flatten();
        if let Some(link) = &link {
            self.datapath.remove_pod(link.index, &attachment.addresses);
        }
        match self.cut(net, attachment) {
            Ok(()) => self.lock().free(&attachment.key),
            // The reaper goes on with it.
            Err(error) => {
                tracing::warn!(container = %attachment.key.container, %error, "an attachment that failed is not away yet");
                let mut state = self.lock();
                state.going(&attachment.key);
                state.reap.push(attachment.key.clone());
            }
        }
        self.changed.notify_all();
    }

    /// Detaches a container. What was never attached is detached.
    ///
    /// # Errors
    /// What a runtime is told.
    pub fn del(&self, key: &Key, deadline: Instant) -> Result<(), CniError> {
        let _busy = self.busy(key, deadline, None)?;
        let found = self.lock().attached.get(key).cloned();
        let Some((attachment, Stage::Held)) = found else {
            let had = host_local::give_back(&self.host_local, key);
            if !had.is_empty() {
                tracing::info!(container = %key.container, addresses = ?had, "a pod of the network before this one has ended");
                self.lock().pool.set_others(host_local::held(&self.host_local));
            }
            return Ok(());
        };
        {
            let mut state = self.lock();
            if let Err(error) = state.log.going(key) {
                // It is taken away all the same: after a start without this line its link is missing.
                tracing::warn!(container = %key.container, %error, "the log of attachments");
            }
            if let Some((_, stage)) = state.attached.get_mut(key) {
                *stage = Stage::Going;
            }
        }
        self.close_ports(&attachment);
        (self.listener)(&attachment, false);
        tracing::info!(
            container = %key.container, ifname = %key.ifname, pod = attachment.pod.as_ref().map(tracing::field::display),
            addresses = ?attachment.addresses, "detached"
        );
        self.lock().reap.push(key.clone());
        self.changed.notify_all();
        Ok(())
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

    /// Detaches what is not among these, unless its link is there: whoever has a link has its address, whatever a list
    /// leaves out. Says how many were detached, and which were not.
    ///
    /// # Errors
    /// What a runtime is told; what could be done is done.
    pub fn gc(&self, network: &str, valid: &HashSet<Key>, deadline: Instant) -> Result<(usize, Vec<Key>), CniError> {
        let links = self.net()?.links().map_err(|error| failed("listing links", &error))?;
        let names: HashSet<&str> = links.iter().map(|link| link.name.as_str()).collect();
        let mut kept = Vec::new();
        let mut stale = Vec::new();
        let state = self.lock();
        for (key, (attachment, stage)) in state.attached.iter().filter(|(key, _)| !state.busy.contains(*key)) {
            let is_of_it = attachment.network == network || attachment.network.is_empty();
            if *stage == Stage::Held && is_of_it && !valid.contains(key) {
                if names.contains(key.link().as_str()) { kept.push(key.clone()) } else { stale.push(key.clone()) }
            }
        }
        drop(state);
        let mut freed = 0;
        for key in stale {
            // It may have come since the links were listed.
            match self.net()?.link(&key.link()) {
                Ok(None) => {
                    self.del(&key, deadline)?;
                    freed += 1;
                }
                _ => kept.push(key),
            }
        }
        Ok((freed, kept))
    }

    /// Whether an ADD would go well now.
    ///
    /// # Errors
    /// Why not, as STATUS says it.
    pub fn status(&self) -> Result<(), CniError> {
        self.ready.now().map_err(|why| CniError::new(CniError::NOT_AVAILABLE, why))?;
        if self.lock().pool.networks().is_empty() {
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

    /// The longest packet of pods, and the addresses that the node's packets to them are from. Wires that are there
    /// follow.
    pub fn set_shape(&self, mtu: u32, sources: &[IpAddr]) {
        let others = {
            let mut state = self.lock();
            sources.clone_into(&mut state.sources);
            if state.mtu == mtu {
                return;
            }
            tracing::info!(before = state.mtu, mtu, "the MTU of pods");
            state.mtu = mtu;
            let held = state.attached.iter().filter(|(_, (one, stage))| *stage == Stage::Held && one.mtu != mtu);
            held.map(|(key, _)| key.clone()).collect::<Vec<Key>>()
        };
        for key in others {
            if let Err(error) = self.resize(&key, mtu) {
                tracing::warn!(container = %key.container, ifname = %key.ifname, mtu, %error, "its MTU stays as it was");
            }
        }
    }

    /// Gives a wire another MTU, at both ends.
    fn resize(&self, key: &Key, mtu: u32) -> Result<(), CniError> {
        let _busy = self.busy(key, Instant::now() + Duration::from_secs(10), None)?;
        let found = self.lock().attached.get(key).cloned();
        let Some((mut attachment, Stage::Held)) = found else { return Ok(()) };
        // It may be out of our sight: then the runtime's path leads nowhere here.
        let netns = std::fs::File::open(&attachment.netns).map_err(|error| failed(&attachment.netns, &error))?;
        let pod = Net::open_in(netns.as_fd()).map_err(|error| failed(&attachment.netns, &error))?;
        let net = self.net()?;
        let ends = [(&*net, key.link()), (&pod, key.ifname.clone())];
        for (net, name) in ends {
            let link = net.link(&name).map_err(|error| failed(&name, &error))?;
            let index = link.map(|link| link.index).unwrap_or_default();
            net.set_mtu(index, mtu).map_err(|error| failed(&name, &error))?;
        }
        attachment.mtu = mtu;
        let mut state = self.lock();
        if let Err(error) = state.log.held(&attachment).and_then(|written| written.sync()) {
            tracing::warn!(container = %key.container, %error, "the log of attachments");
        }
        let index = state.indices.get(key).copied();
        state.attached.insert(key.clone(), (attachment.clone(), Stage::Held));
        drop(state);
        if let Some(index) = index {
            tell_datapath(self.datapath.as_ref(), &attachment, index);
        }
        Ok(())
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

    /// Looks after what nobody says: links that went without a DEL.
    pub fn tend(&self) {
        let Ok(net) = self.net() else { return };
        let Ok(links) = net.links() else { return };
        drop(net);
        let names: HashSet<String> = links.into_iter().map(|link| link.name).collect();
        let now = Instant::now();
        let mut gone = Vec::new();
        {
            let others = host_local::held(&self.host_local);
            let mut state = self.lock();
            let state = &mut *state;
            state.pool.set_others(others);
            for (key, (_, stage)) in &state.attached {
                let is_away = *stage == Stage::Held && !state.busy.contains(key) && !names.contains(&key.link());
                if !is_away {
                    state.away.remove(key);
                } else if now.duration_since(*state.away.entry(key.clone()).or_insert(now)) >= AWAY {
                    gone.push(key.clone());
                }
            }
            let attached = &state.attached;
            state.away.retain(|key, _| attached.contains_key(key) && !gone.contains(key));
        }
        for key in gone {
            tracing::warn!(container = %key.container, ifname = %key.ifname, "its network namespace is gone without a DEL");
            let _ = self.del(&key, now + Duration::from_secs(1));
        }
    }

    /// Removes links, several at once, and frees what they had. Runs on a thread of its own until [`Pods::end`].
    pub fn reap(&self) {
        loop {
            let mut state = self.lock();
            while state.reap.is_empty() && !state.ended {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.reap.is_empty() {
                return;
            }
            let keys = std::mem::take(&mut state.reap);
            drop(state);
            let left = match self.net() {
                Ok(net) => remove_links(&net, &keys),
                Err(_) => keys.iter().cloned().collect(),
            };
            for key in keys.iter().filter(|key| !left.contains(key)) {
                let gone = self.lock().attached.get(key).map(|(attachment, _)| attachment.clone());
                if let Some(attachment) = gone {
                    self.forget(&attachment);
                }
            }
            let mut state = self.lock();
            for key in &keys {
                if !left.contains(key) {
                    state.free(key);
                }
            }
            let is_ended = state.ended;
            state.reap.extend(left.iter().cloned());
            drop(state);
            self.changed.notify_all();
            if !left.is_empty() {
                if is_ended {
                    return;
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
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
    /// Brings together what the log says and the links that are there.
    fn adopt(&mut self, links: &[Link]) -> std::io::Result<()> {
        let ours: HashMap<&str, &Link> =
            links.iter().filter(|link| link.name.starts_with(PREFIX)).map(|link| (link.name.as_str(), link)).collect();
        let mut found = HashSet::new();
        for key in self.attached.keys().cloned().collect::<Vec<_>>() {
            let name = key.link();
            let Some((attachment, stage)) = self.attached.get(&key).cloned() else { continue };
            match ours.get(name.as_str()) {
                Some(link) => {
                    found.insert(name);
                    self.pool.hold(&key, &attachment.addresses);
                    self.indices.insert(key.clone(), link.index);
                    if stage == Stage::Going {
                        self.reap.push(key);
                    }
                }
                // After a reboot, or its container is gone.
                None => {
                    self.pool.hold(&key, &attachment.addresses);
                    self.free(&key);
                }
            }
        }
        for (name, link) in ours {
            if found.contains(name) || link.kind != "veth" {
                continue;
            }
            // Its record is lost: the link says whose it is, and what it has.
            if let Some(attachment) = Attachment::of_note(&link.alias)
                && attachment.key.link() == name
            {
                let key = attachment.key.clone();
                let attachment = Attachment { mtu: link.mtu, ..attachment };
                tracing::warn!(link = name, container = %key.container, "not in the log; taken over from the link");
                self.pool.hold(&key, &attachment.addresses);
                self.log.held(&attachment)?.sync()?;
                self.indices.insert(key.clone(), link.index);
                self.attached.insert(key, (attachment, Stage::Held));
            }
        }
        Ok(())
    }

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

/// Removes the links of these; gives those whose link is still there.
fn remove_links(net: &Net, keys: &[Key]) -> HashSet<Key> {
    let mut left = HashSet::new();
    let mut any = false;
    for key in keys {
        match net.link(&key.link()) {
            Ok(None) => {}
            Ok(Some(link)) => match net.set_group(link.index, GOING) {
                Ok(()) => {
                    any = true;
                    left.insert(key.clone());
                }
                Err(error) if error.errno() == Some(ENODEV) => {}
                Err(_) => drop(left.insert(key.clone())),
            },
            Err(_) => drop(left.insert(key.clone())),
        }
    }
    if !any {
        return left;
    }
    match net.remove_group(GOING) {
        Ok(()) => {}
        Err(error) if error.errno() == Some(ENODEV) => {}
        Err(error) => {
            tracing::warn!(%error, "links could not be removed together; one after another");
            for key in &left {
                if let Ok(Some(link)) = net.link(&key.link()) {
                    let _ = net.remove(link.index);
                }
            }
        }
    }
    left.retain(|key| !matches!(net.link(&key.link()), Ok(None)));
    left
}

/// Programs and ports of a pod that was there before.
fn tell_datapath(datapath: &dyn Datapath, attachment: &Attachment, index: u32) {
    let wire = PodWire {
        index,
        host_mac: attachment.key.macs().0,
        pod_mac: attachment.mac,
        addresses: attachment.addresses.clone(),
        mtu: attachment.mtu,
    };
    let told = datapath.put_pod(&wire);
    let told = told.and_then(|()| {
        let put = |port: &PortMapping| datapath.put_port(port, &attachment.addresses);
        attachment.ports.iter().try_for_each(put)
    });
    if let Err(error) = told {
        tracing::error!(container = %attachment.key.container, %error, "a pod that runs has lost its programs");
    }
}

fn failed(what: &str, error: &impl std::fmt::Display) -> CniError {
    CniError::new(CniError::FAILED, format!("{what}: {error}"))
}

fn of_wire(error: &WireError) -> CniError {
    let code = match error {
        WireError::Exists(_) => CniError::INVALID_ENVIRONMENT,
        _ => CniError::FAILED,
    };
    let name = if matches!(error, WireError::Exists(_)) { "CNI_IFNAME: " } else { "" };
    CniError::new(code, format!("{name}{error}"))
}

fn of_address(error: AddressError) -> CniError {
    let code = match error {
        AddressError::NoNetwork | AddressError::Full { .. } => CniError::TRY_AGAIN_LATER,
        AddressError::Held { .. } | AddressError::Others(_) => CniError::FAILED,
        AddressError::Outside(..) => CniError::INVALID_CONFIG,
    };
    CniError::new(code, error.to_string())
}
