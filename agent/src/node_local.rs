//! The DNS server in the agent, in NodeLocal DNSCache's place: on addresses of the node's own, on the snapshot that the
//! kernel has too, and in front of the cluster's DNS servers while it is well.
//!
//! ```text
//! socket ─> address of the Service ─┬─ while it is well ─> this server, 169.254.20.10
//!                                   └─ otherwise ────────> the Service's endpoints
//! ```

use std::future::ready;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context;
use bowline_dataplane::stand_in::{self, StandIn};
use bowline_dns::corefile::{self, Corefile};
use bowline_dns::feed::Feed;
use bowline_dns::plugin::Services;
use bowline_dns::server::{Ahead, Prepare, Running, Settings};
use bowline_observe::metrics::Gauge;
use bowline_sources::kubernetes::{Pods, Wanted};

use bowline_sources::state_ref::StateRef;

mod config;
mod guard;
pub mod interface;
mod template;

pub use config::{DNS, DOMAIN, KUBE_DNS, NodeLocalConfig};
use guard::{Guard, Shared};
use interface::Interface;
pub use template::Template;

/// A DNS server that isn't started yet.
pub struct NodeLocal {
    config: NodeLocalConfig,
    template: Arc<Template>,
    /// The cluster's state, as the agent publishes it.
    pub feed: Arc<Feed>,
    /// Whether all Pods are read, from the start on.
    reads_all_pods: Arc<OnceLock<bool>>,
    /// The Corefile that was read to see what it needs, where it is no template: the server starts by the same.
    read: Mutex<Option<Corefile>>,
}

impl NodeLocal {
    /// What the config asks for. Nothing is made yet.
    pub fn new(config: NodeLocalConfig) -> NodeLocal {
        let feed = Arc::new(Feed::default());
        let template = Arc::new(Template::new(&config, feed.clone()));
        NodeLocal { config, template, feed, reads_all_pods: Arc::default(), read: Mutex::default() }
    }

    /// What takes the Service's traffic while it is well.
    pub fn stand_in(&self) -> StandIn {
        self.config.stand_in()
    }

    /// The Corefile; an address that is not known yet is made up.
    ///
    /// # Errors
    /// What is wrong with it.
    fn corefile(&self) -> Result<Corefile, corefile::CorefileError> {
        let (template, filled) = (self.template.clone(), Arc::new(AtomicBool::new(false)));
        let is_template = filled.clone();
        let fill = move |text: &str, file: &str| {
            let made = template.fill_for_a_look(text, file)?;
            is_template.fetch_or(made != text, Ordering::Relaxed);
            Ok(made)
        };
        let corefile = Settings { prepare: Some(Arc::new(fill)), ..self.settings() }.read()?;
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) =
            (!filled.load(Ordering::Relaxed)).then(|| corefile.clone());
        Ok(corefile)
    }

    fn settings(&self) -> Settings {
        let template = self.template.clone();
        let fill = move |text: &str, file: &str| template.fill(text, file);
        let threads = self.config.threads;
        let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let prepare = Some(Arc::new(fill) as Prepare);
        let (conf, port) = (self.config.conf.clone(), self.config.port);
        Settings { conf, port, threads, prepare, ahead: Some(self.ahead()) }
    }

    /// What of a cluster it needs besides what the node does; `own` is the node's cluster.
    ///
    /// # Errors
    /// The Corefile is wrong.
    pub fn widen(&self, own: &StateRef, wanted: &mut Wanted) -> Result<(), corefile::CorefileError> {
        if crate::needs::needs_pods(&self.corefile()?).is_some() {
            wanted.pods = Pods::All;
        }
        // Once: there is one start.
        let _ = self.reads_all_pods.set(wanted.pods == Pods::All || own.is_read_whole());
        Ok(())
    }

    /// What is read of the cluster is the kernel's too, and stays as it was at the start.
    pub fn ahead(&self) -> Ahead {
        let reads_all = self.reads_all_pods.clone();
        Arc::new(move |corefile| {
            let needs = crate::needs::needs_pods(corefile).filter(|_| reads_all.get() != Some(&true));
            let why = "needs all Pods, and since its start this agent reads those of its node only; start it again";
            Box::pin(ready(needs.map_or(Ok(()), |directive| Err(directive.error(why).into()))))
        })
    }

    /// Makes the interface and starts the server, and the guard that has the kernel lead to it.
    ///
    /// # Errors
    /// The Corefile is wrong, an address is taken, or the kernel refuses the interface.
    pub fn start(
        self,
        bpf_root: PathBuf,
        kernel: stand_in::Pulse,
        takes: Arc<Gauge>,
    ) -> anyhow::Result<RunningNodeLocal> {
        if let Some(path) = &self.config.pidfile {
            let number = format!("{}\n", std::process::id());
            std::fs::write(path, number).with_context(|| format!("--pidfile {}", path.display()))?;
        }
        kernel.stop();
        let NodeLocalConfig { localip, interfacename, setupinterface, skipteardown, .. } = &self.config;
        let made = Interface { name: interfacename.clone(), addresses: localip.clone(), bpf_root: bpf_root.clone() };
        let is_made_here = *setupinterface;
        let ensure = move || if is_made_here { made.ensure() } else { Ok(()) };
        // Before it is made: a start that fails takes it away.
        let teardown = Teardown((is_made_here && !skipteardown).then_some(bpf_root));
        ensure()?;
        let services = Services::new(self.feed.clone(), localip.clone(), env!("CARGO_PKG_VERSION"));
        let services = Arc::new(services);
        let lost = services.dropped_log_lines();
        crate::log::on_loss(move |lines| lost.add(lines));
        let at = self.config.stand_in().at;
        let (settings, template, conf) = (self.settings(), self.template.clone(), self.config.conf.clone());
        let read = self.read;
        let start = move || -> anyhow::Result<Option<Running>> {
            if let Some(corefile) = read.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Ok(Some(Running::start_by(corefile, settings.clone(), services.clone())?));
            }
            let text = std::fs::read_to_string(&conf).with_context(|| format!("--dns {}", conf.display()))?;
            if template.must_wait(&text) {
                return Ok(None);
            }
            Ok(Some(Running::start(settings.clone(), services.clone())?))
        };
        let shared = Arc::new(Shared::default());
        *shared.running() = start()?.map(Arc::new);
        *shared.why_not() = Some("it is starting".to_owned());
        let (end, ended) = channel();
        let (start, ensure) = (Box::new(start), Box::new(ensure));
        let guard = Guard { shared: shared.clone(), feed: self.feed, at, kernel, takes, start, ensure };
        let guard = std::thread::Builder::new().name("bowline-dns-guard".into()).spawn(move || guard.run(&ended))?;
        Ok(RunningNodeLocal { end: Some(end), guard: Some(guard), shared, _teardown: teardown })
    }
}

/// Removes the interface of a place when dropped.
struct Teardown(Option<PathBuf>);

impl Drop for Teardown {
    fn drop(&mut self) {
        if let Some(bpf_root) = &self.0
            && let Err(error) = interface::remove(bpf_root)
        {
            tracing::warn!("{error:#}");
        }
    }
}

/// The DNS server while the agent runs. Dropped, the Service's traffic goes to its endpoints; what has come is answered;
/// the interface goes.
pub struct RunningNodeLocal {
    shared: Arc<Shared>,
    end: Option<Sender<()>>,
    guard: Option<JoinHandle<()>>,
    /// The last.
    _teardown: Teardown,
}

/// What others may do with it.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Handle {
    /// Why the Service's traffic doesn't come to it now; None: it does.
    pub fn why_not(&self) -> Option<String> {
        self.0.why_not().clone()
    }

    /// Reads the Corefile again; what comes of it is logged. Waits for it.
    pub fn reload(&self) {
        let running = self.0.running().clone();
        if let Some(running) = running {
            let _ = running.reload();
        }
    }
}

impl RunningNodeLocal {
    /// For others.
    pub fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }

    /// Ends it, and returns when it has ended.
    pub fn end(self) {}
}

impl Drop for RunningNodeLocal {
    fn drop(&mut self) {
        drop(self.end.take());
        if self.guard.take().is_some_and(|guard| guard.join().is_err()) {
            tracing::error!("the guard of the DNS server had ended by itself");
        }
        let running = self.shared.running().take();
        // Ends it: `lameduck`, then what has come.
        drop(running);
    }
}
