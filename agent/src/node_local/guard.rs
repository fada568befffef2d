//! Says to the kernel that the DNS server is well, as long as it is: its plugins are ready and each of its threads
//! answers. The kernel believes that for a moment only, so a process that is killed or hangs takes nothing any more.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bowline_dataplane::stand_in;
use bowline_dns::feed::Feed;
use bowline_dns::server::{Instance, Pulse, Running};
use bowline_observe::metrics::Gauge;

/// How often it is looked after.
const BEAT: Duration = Duration::from_millis(50);
/// How long the kernel believes it: three beats may be late, as on a busy machine, before a question goes elsewhere.
const WELL: Duration = Duration::from_millis(200);
/// How often the interface is looked after, and a start that failed is tried again.
const SOMETIMES: Duration = Duration::from_secs(5);

/// What the guard and the agent both see.
#[derive(Default)]
pub(super) struct Shared {
    running: Mutex<Option<Arc<Running>>>,
    /// Why the server takes nothing now.
    why_not: Mutex<Option<String>>,
}

impl Shared {
    pub(super) fn running(&self) -> MutexGuard<'_, Option<Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(super) fn why_not(&self) -> MutexGuard<'_, Option<String>> {
        self.why_not.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The guard of a server.
pub(super) struct Guard {
    pub(super) shared: Arc<Shared>,
    pub(super) feed: Arc<Feed>,
    /// Where the server must listen to take anything.
    pub(super) at: Vec<SocketAddr>,
    /// To the kernel.
    pub(super) kernel: stand_in::Pulse,
    /// 1 while the server takes the Service's traffic.
    pub(super) takes: Arc<Gauge>,
    /// Starts the server where that had to wait; None: it must wait on.
    pub(super) start: Box<dyn Fn() -> anyhow::Result<Option<Running>> + Send>,
    /// Makes what of the interface is missing.
    pub(super) ensure: Box<dyn Fn() -> anyhow::Result<()> + Send>,
}

impl Guard {
    /// Until the sender of `end` is gone. Then the server takes nothing any more.
    pub(super) fn run(self, end: &Receiver<()>) {
        let mut threads: Option<Pulse> = None;
        let mut looked = Instant::now();
        let mut well_until = None;
        let mut failed = None;
        while end.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
            let sometimes = looked.elapsed() >= SOMETIMES;
            if sometimes {
                looked = Instant::now();
                if let Err(error) = (self.ensure)() {
                    tracing::warn!("{error:#}");
                }
            }
            let running = self.shared.running().clone();
            let (why_not, answers) = match running {
                None => (Some(self.start(sometimes, &mut failed)), false),
                Some(running) => {
                    let answers = threads.get_or_insert_with(|| running.pulse()).beat();
                    (self.not_ready(&running.instance()), answers)
                }
            };
            let now = Instant::now();
            match &why_not {
                Some(_) => {
                    self.kernel.stop();
                    well_until = None;
                }
                None if answers => {
                    self.kernel.well_for(WELL);
                    well_until = Some(now + WELL);
                }
                None => {}
            }
            let late = || "its threads are not answering".to_owned();
            self.say(why_not.or_else(|| well_until.is_none_or(|until| until <= now).then(late)));
        }
        self.kernel.stop();
        self.takes.set(0.0);
    }

    /// Starts the server, if nothing has to be waited for any more; says what is waited for. `failed`: why the last
    /// attempt did; the next comes when it is `again` time.
    fn start(&self, again: bool, failed: &mut Option<String>) -> String {
        if let Some(error) = failed.as_ref().filter(|_| !again) {
            return error.clone();
        }
        match (self.start)() {
            Ok(None) => "it starts once the state has been read".to_owned(),
            Ok(Some(running)) => {
                *self.shared.running() = Some(Arc::new(running));
                "it is starting".to_owned()
            }
            Err(error) => {
                let error = format!("{error:#}");
                if failed.as_ref() != Some(&error) {
                    tracing::error!(%error, "the DNS server can't be started; trying again");
                }
                failed.insert(error).clone()
            }
        }
    }

    fn not_ready(&self, instance: &Instance) -> Option<String> {
        if let Some(at) = self.at.iter().find(|at| !instance.listens_at(**at)) {
            return Some(format!("no server block of the Corefile listens at {at}"));
        }
        let is_stale = |longest| self.feed.away_since().is_some_and(|(since, _)| since.elapsed() >= longest);
        if instance.longest_stale().is_some_and(is_stale) {
            return Some("the state can't be read for longer than `ready` allows".to_owned());
        }
        instance.not_ready()
    }

    /// Notes how it stands, and tells when that changes.
    fn say(&self, why_not: Option<String>) {
        let mut before = self.shared.why_not();
        match (&*before, &why_not) {
            (Some(_), None) => tracing::info!("the DNS server here takes this node's questions to the Service"),
            (None, Some(why)) => tracing::warn!(%why, "the Service's endpoints take this node's questions"),
            (Some(before), Some(why)) if before != why => tracing::info!(%why, "the DNS server takes no questions yet"),
            _ => {}
        }
        self.takes.set(f64::from(u8::from(why_not.is_none())));
        *before = why_not;
    }
}
