//! The cluster that `bowline dns` answers from, read by a thread of its own.
//!
//! What is read of it is what the Corefile needs. A reload that needs more, or another cluster, begins to read anew
//! beside the old: once the new one has been read whole, it takes the old one's place, and then the new Corefile serves.

use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bowline_dns::corefile::Corefile;
use bowline_dns::feed::Feed;
use bowline_dns::server::ServeError;
use bowline_sources::kubernetes::{Pods, Wanted};
use tokio::sync::mpsc;

use super::{ConfArgs, ServeArgs, wanted};
use bowline_cluster::follow::Row;

use bowline_agent::cluster::{self, Cluster};
use bowline_agent::metrics::Metrics;
use bowline_agent::reading::Reading;
use bowline_sources::state_ref::StateRef;

/// How long a reload waits for what it needs to be read whole. It may be tried again.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it looks whether that is so.
const LOOK: Duration = Duration::from_millis(20);

/// What is read now, and by which flags.
pub(super) struct Following {
    conf: ConfArgs,
    state_dir: OsString,
    max_age: Duration,
    feed: Arc<Feed>,
    /// Tells the main thread of an end that nothing can mend.
    fatal: mpsc::UnboundedSender<String>,
    /// None where the Corefile needs no cluster.
    current: Mutex<Option<Followed>>,
}

/// A cluster that is followed by a thread.
struct Followed {
    state: StateRef,
    wanted: Wanted,
    cluster: Arc<Cluster>,
    reading: Reading,
}

impl Followed {
    fn reads(&self, state: &StateRef, wanted: &Wanted) -> bool {
        let has_pods = wanted.pods == Pods::None || self.wanted.pods == wanted.pods;
        self.state == *state && (has_pods || state.is_read_whole())
    }

    fn end(self) {
        drop(self.reading);
        self.cluster.save(true);
    }
}

impl Following {
    /// Nothing is read yet.
    pub(super) fn new(args: &ServeArgs, feed: Arc<Feed>, fatal: mpsc::UnboundedSender<String>) -> Following {
        Following {
            conf: args.conf.clone(),
            state_dir: args.state_dir.clone(),
            max_age: args.state_max_age,
            feed,
            fatal,
            current: Mutex::default(),
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Followed>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to read what the Corefile needs, and to tell of it.
    ///
    /// # Errors
    /// The flags contradict each other, or the system gives no thread.
    pub(super) fn begin(&self, corefile: &Corefile) -> anyhow::Result<()> {
        if let Some(state) = self.conf.state(corefile)? {
            let followed = self.follow(state, wanted(corefile), Some(self.feed.clone()), self.fatal.clone())?;
            *self.current() = Some(followed);
        }
        Ok(())
    }

    /// Has what a new Corefile needs read whole, if it isn't read already. The answers come from it then.
    ///
    /// # Errors
    /// It could not be read in time; what was read before is in use as it was.
    pub(super) async fn widen(self: Arc<Following>, corefile: Corefile) -> Result<(), ServeError> {
        let not_yet = |error: anyhow::Error| ServeError::NotYet(format!("{error:#}"));
        let Some(state) = self.conf.state(&corefile).map_err(not_yet)? else { return Ok(()) };
        let wanted = wanted(&corefile);
        if self.current().as_ref().is_some_and(|current| current.reads(&state, &wanted)) {
            return Ok(());
        }
        tracing::info!(
            cluster = %state.name, pods = ?wanted.pods,
            "the new Corefile needs more of the cluster than is read; reading that, while the one before serves"
        );
        let (fatal, mut fatals) = mpsc::unbounded_channel();
        let next = self.follow(state, wanted, None, fatal).map_err(not_yet)?;
        let began = Instant::now();
        while !next.cluster.is_told() {
            let ended = fatals.try_recv().ok();
            if ended.is_some() || began.elapsed() >= PATIENCE {
                let why = ended.or_else(|| next.cluster.staleness()).unwrap_or_default();
                next.reading.stop();
                return Err(ServeError::NotYet(format!(
                    "it needs more of the cluster than is read now, and that could not be read: {why}; reload again once it can"
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
        let cluster = next.cluster.clone();
        let before = self.current().replace(next);
        if let Some(before) = before {
            // It waits for the thread. What it knows must not be told after what the next one knows.
            let _ = tokio::task::spawn_blocking(|| before.end()).await;
        }
        cluster.follow(self.feed.clone());
        let fatal = self.fatal.clone();
        tokio::spawn(async move {
            while let Some(why) = fatals.recv().await {
                // Nobody listens any more only when the end has come anyway.
                let _ = fatal.send(why);
            }
        });
        Ok(())
    }

    /// Ends the reading, and keeps on disk what is known.
    pub(super) fn end(&self) {
        let current = self.current().take();
        if let Some(followed) = current {
            followed.end();
        }
    }

    fn follow(
        &self,
        state: StateRef,
        wanted: Wanted,
        feed: Option<Arc<Feed>>,
        fatal: mpsc::UnboundedSender<String>,
    ) -> anyhow::Result<Followed> {
        let source = state.source(wanted.clone());
        let is_kept = state.is_remote() && !self.state_dir.is_empty();
        let disk = is_kept.then(|| cluster::disk(Path::new(&self.state_dir), &state.name, self.max_age));
        let options = state.options(&self.conf.states.service_cluster_ip_range);
        // On disk, what was read without Pods is another state: their names would not exist.
        let name = match wanted.pods {
            Pods::All if !state.is_read_whole() => format!("{} with all Pods", source.name()),
            _ => source.name(),
        };
        let mut row = Row::default();
        feed.into_iter().for_each(|feed| row.push(feed));
        let cluster = Arc::new(Cluster::new(&state.name, name, options, disk, row, Arc::new(Metrics::new())));
        // Nobody listens any more only when the end has come anyway.
        let ended = move |why| drop(fatal.send(why));
        let reading = Reading::start(&state.name, source, cluster.clone(), ended)?;
        Ok(Followed { state, wanted, cluster, reading })
    }
}
