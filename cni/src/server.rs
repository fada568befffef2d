//! The agent's end of the plugin's socket: each call on a thread of its own, at most [`CALLS`] at a time.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bowline_cni_protocol::wire::{receive_request, send_reply};
use bowline_cni_protocol::{
    CniError, CniResult, Command, Interface, IpConfig, IpRange, Mac, Reply, Request, Route, tombstone,
};
use ipnet::IpNet;

use crate::addresses::{Range, Wanted};
use crate::attachment::{Attachment, Key, PodName};
use crate::pods::{Ask, Pods};
use crate::wiring::{everything, gateway};

/// At most so many calls at a time; more are refused, to be tried again.
pub const CALLS: usize = 256;

/// How long an ADD waits for what it needs, unless its configuration says otherwise. A kubelet gives up after 2 to 4
/// minutes.
const ADD: Duration = Duration::from_secs(55);
/// And other calls.
const OTHER: Duration = Duration::from_secs(25);
/// How long a plugin may take to say what it wants.
const SAY: Duration = Duration::from_secs(5);

/// The socket, and who listens. Dropped, it listens no more; calls that are at work are waited for.
pub struct Server {
    socket: PathBuf,
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

struct Inner {
    pods: Arc<Pods>,
    tombstones: PathBuf,
    stop: AtomicBool,
    /// How many calls are at work.
    calls: Mutex<usize>,
    /// One less is.
    ended: Condvar,
    /// One collection at a time: two would look at one list.
    collecting: Mutex<()>,
}

impl Inner {
    fn calls(&self) -> MutexGuard<'_, usize> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Listens at a path, which only root may open. What was there before is replaced.
    ///
    /// # Errors
    /// The folder or the socket can't be made.
    pub fn start(socket: &Path, tombstones: &Path, pods: Arc<Pods>) -> io::Result<Server> {
        if let Some(folder) = socket.parent() {
            fs::create_dir_all(folder)?;
        }
        // Under another name first: whoever connects finds one that listens, with its permissions.
        let new = socket.with_extension("new");
        let _ = fs::remove_file(&new);
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        fs::rename(&new, socket)?;
        let inner = Arc::new(Inner {
            pods,
            tombstones: tombstones.to_owned(),
            stop: AtomicBool::new(false),
            calls: Mutex::new(0),
            ended: Condvar::new(),
            collecting: Mutex::new(()),
        });
        let accepting = inner.clone();
        let thread = thread::Builder::new().name("cni".into()).spawn(move || accept(&listener, &accepting))?;
        Ok(Server { socket: socket.to_owned(), inner, thread: Some(thread) })
    }
}

impl Server {
    /// How many calls are at work.
    pub(crate) fn calls(&self) -> usize {
        *self.inner.calls()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Release);
        // Wakes the thread; an agent that has taken the path over by now gets one connection more.
        let _ = UnixStream::connect(&self.socket);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        drop(self.inner.ended.wait_timeout_while(self.inner.calls(), OTHER, |calls| *calls > 0));
    }
}

/// One call less at its end, however that comes.
struct Call(Arc<Inner>);

impl Drop for Call {
    fn drop(&mut self) {
        *self.0.calls() -= 1;
        self.0.ended.notify_all();
    }
}

fn accept(listener: &UnixListener, inner: &Arc<Inner>) {
    // Whoever calls from here on waits until that is done.
    replay(&inner.tombstones, &inner.pods, |_| true);
    for stream in listener.incoming() {
        if inner.stop.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else {
            // Out of files: others close theirs.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        let is_one_too_many = {
            let mut calls = inner.calls();
            *calls += 1;
            *calls > CALLS
        };
        let call = Call(inner.clone());
        if is_one_too_many {
            let error = CniError::new(CniError::TRY_AGAIN_LATER, format!("{CALLS} calls are at work"));
            let _ = send_reply(&stream, &Reply::Failed(error), Instant::now() + SAY);
            continue;
        }
        let spawned = thread::Builder::new().name("cni-call".into()).spawn(move || {
            answer(&call.0, &stream);
            drop(call);
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "a call of the CNI plugin got no thread");
        }
    }
}

fn answer(inner: &Inner, stream: &UnixStream) {
    let (request, netns) = match receive_request(stream, Instant::now() + SAY) {
        Ok(received) => received,
        // Somebody looked whether anybody listens.
        Err(error) => return tracing::debug!(%error, "a call of the CNI plugin was not understood"),
    };
    let begun = Instant::now();
    let reply = match carry_out(inner, &request, netns) {
        Ok(result) => Reply::Done { result },
        Err(error) => Reply::Failed(error),
    };
    let trace = request.traceparent.as_deref();
    let (command, container, ifname) = (request.command.as_str(), &request.container_id, &request.ifname);
    let took_us = begun.elapsed().as_micros() as u64;
    match &reply {
        Reply::Failed(error) => {
            tracing::warn!(
                command,
                container,
                ifname,
                traceparent = trace,
                took_us,
                code = error.code,
                "{}",
                error.msg
            );
        }
        Reply::Done { .. } if request.command == Command::Status => {}
        Reply::Done { .. } => {
            tracing::info!(command, container, ifname, traceparent = trace, took_us, "answered");
        }
    }
    if let Err(error) = send_reply(stream, &reply, Instant::now() + SAY) {
        tracing::warn!(command, container, %error, "the answer could not be given");
        // The runtime takes it for failed, and older ones send no DEL after that.
        if request.command == Command::Add && matches!(reply, Reply::Done { .. }) {
            let key = Key { container: container.clone(), ifname: ifname.clone() };
            let _ = inner.pods.del(&key, Instant::now() + OTHER);
        }
    }
}

fn carry_out(inner: &Inner, request: &Request, netns: Option<OwnedFd>) -> Result<Option<CniResult>, CniError> {
    let pods = &inner.pods;
    let key = Key { container: request.container_id.clone(), ifname: request.ifname.clone() };
    let now = Instant::now();
    let need = |netns: Option<OwnedFd>| {
        let absent =
            || CniError::new(CniError::INVALID_ENVIRONMENT, "CNI_NETNS: no network namespace came with the call");
        netns.ok_or_else(absent)
    };
    match request.command {
        Command::Add => {
            let netns = need(netns)?;
            // A call that was given up has left one while this agent runs, and ids are used again.
            replay(&inner.tombstones, pods, |one| *one == key);
            let deadline = now + request.config.add_timeout().unwrap_or(ADD).min(ADD);
            let ask = ask(request, key)?;
            let (attachment, _) = pods.add(ask, &netns, deadline)?;
            Ok(Some(result(request, &attachment)?))
        }
        Command::Del => pods.del(&key, now + OTHER).map(|()| None),
        Command::Check => {
            let netns = need(netns)?;
            pods.check(&key, &netns, now + OTHER).map(|_| None)
        }
        Command::Gc => {
            let valid: HashSet<Key> = request
                .config
                .valid_attachments
                .iter()
                .map(|one| Key { container: one.container_id.clone(), ifname: one.ifname.clone() })
                .collect();
            replay(&inner.tombstones, pods, |_| true);
            let _alone = inner.collecting.lock().unwrap_or_else(PoisonError::into_inner);
            let (freed, kept) = pods.gc(&request.config.name, &valid, now + OTHER)?;
            if freed + kept.len() > 0 {
                let kept: Vec<String> = kept.iter().map(ToString::to_string).collect();
                tracing::info!(freed, ?kept, "collected; what has a link is kept, though the runtime doesn't list it");
            }
            Ok(None)
        }
        Command::Status => pods.status(request.config.ipam.is_some()).map(|()| None),
        Command::Version => Ok(None),
    }
}

fn ask(request: &Request, key: Key) -> Result<Ask, CniError> {
    let config = &request.config;
    let runtime = &config.runtime_config;
    let (_, own_mac) = key.macs();
    let arg = |name: &str| request.args.get(name).filter(|value| !value.is_empty()).cloned();
    let pod = match arg("K8S_POD_NAME") {
        Some(name) => Some(PodName {
            namespace: arg("K8S_POD_NAMESPACE").unwrap_or_else(|| "default".into()),
            name,
            uid: arg("K8S_POD_UID").unwrap_or_default(),
        }),
        None => by_container(&request.container_id),
    };
    let delegated = request.ipam.as_ref();
    let attachment = Attachment {
        key,
        network: config.name.clone(),
        netns: request.netns.clone().unwrap_or_default(),
        addresses: delegated.map(|given| given.ips.iter().map(|ip| ip.address.addr()).collect()).unwrap_or_default(),
        mac: runtime.mac.map_or(own_mac, |Mac(mac)| mac),
        mtu: 0,
        own_mtu: false,
        pod,
        ports: runtime.port_mappings.clone(),
        bandwidth: runtime.bandwidth,
        delegated: delegated.is_some(),
    };
    if attachment.mac[0] & 1 == 1 || attachment.mac == [0; 6] {
        let said = "configuration: runtimeConfig.mac: not the address of one interface";
        return Err(CniError::new(CniError::INVALID_CONFIG, said));
    }
    if delegated.is_some() && attachment.addresses.is_empty() {
        return Err(CniError::new(CniError::IPAM, "the plugin that `ipam` names has given no address"));
    }
    let mut wanted_ips = runtime.ips.clone();
    if let Some(ips) = arg("IP") {
        for ip in ips.split(',').map(str::trim) {
            // host-local takes both forms.
            let address = ip.parse::<IpNet>().map(|net| net.addr()).or_else(|_| ip.parse::<IpAddr>());
            wanted_ips.push(address.map_err(|_| {
                let said = format!("CNI_ARGS: IP: {ip:?} is no address");
                CniError::new(CniError::INVALID_ENVIRONMENT, said)
            })?);
        }
    }
    let ranges = runtime.ip_ranges.iter().flatten().map(range).collect();
    Ok(Ask { attachment, wanted: Wanted { addresses: wanted_ips, ranges }, mtu: config.mtu })
}

/// The pod that a container is by its own name, where the runtime says no other: `ctr` gives "NAMESPACE-NAME" of
/// containerd's namespaces, of which the usual one is "default". None of an id that is a number.
fn by_container(id: &str) -> Option<PodName> {
    let name = id.strip_prefix("default-").unwrap_or(id);
    let is_number = name.len() >= 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = !name.is_empty() && name.len() <= 63 && name.bytes().all(is_of_name);
    let is_name = is_name && !name.starts_with('-') && !name.ends_with('-');
    (is_name && !is_number).then(|| PodName { namespace: "default".into(), name: name.to_owned(), uid: String::new() })
}

fn range(range: &IpRange) -> Range {
    Range {
        first: range.range_start.unwrap_or_else(|| range.subnet.network()),
        last: range.range_end.unwrap_or_else(|| range.subnet.broadcast()),
    }
}

/// What a runtime is told of an attachment: what stands before us in a chain first, as it was.
fn result(request: &Request, attachment: &Attachment) -> Result<CniResult, CniError> {
    let mut result = match &request.config.prev_result {
        Some(before) => CniResult::from_json(before, "prevResult")?,
        None => CniResult::default(),
    };
    let text = |mac: [u8; 6]| Mac(mac).to_string();
    let host = Interface {
        name: attachment.key.link(),
        mac: text(attachment.key.macs().0),
        mtu: Some(attachment.mtu),
        ..Interface::default()
    };
    let pod = Interface {
        name: attachment.key.ifname.clone(),
        mac: text(attachment.mac),
        mtu: Some(attachment.mtu),
        sandbox: attachment.netns.clone(),
        ..Interface::default()
    };
    let at = result.interfaces.len() as u32 + 1;
    result.interfaces.extend([host, pod]);
    for address in &attachment.addresses {
        let hop = gateway(address);
        result.ips.push(IpConfig { address: (*address).into(), gateway: Some(hop), interface: Some(at) });
        result.routes.push(Route::new(everything(address), Some(hop)));
    }
    let dns = &request.config.runtime_config.dns;
    if result.dns.is_empty() {
        result.dns = if dns.is_empty() { request.config.dns.clone() } else { dns.clone() };
    }
    Ok(result)
}

/// Deletes what was deleted while no agent was there, or none answered in time.
fn replay(tombstones: &Path, pods: &Pods, is_meant: impl Fn(&Key) -> bool) {
    let listed = match tombstone::list(tombstones) {
        Ok(listed) => listed,
        Err(error) => {
            return tracing::warn!(folder = %tombstones.display(), %error, "what was deleted meanwhile can't be read");
        }
    };
    for one in listed {
        let key = Key { container: one.container_id.clone(), ifname: one.ifname.clone() };
        if !is_meant(&key) {
            continue;
        }
        let done = pods.del(&key, Instant::now() + OTHER);
        if done.is_ok() {
            let _ = tombstone::remove(tombstones, &one);
        }
        tracing::info!(container = %key.container, ifname = %key.ifname, done = done.is_ok(), "deleted while no agent was there");
    }
}
