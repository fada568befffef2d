//! A source that is read on a thread of its own: for as long as an agent runs, or once, whole.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use bowline_cluster::snapshot::Snapshot;
use bowline_cluster::source::{Problem, Sink, Source, Stop, Update};
use bowline_cluster::span;
use bowline_cluster::state::State;
use bowline_sources::kubernetes::Wanted;
use bowline_sources::state_ref::{StateKind, StateRef};
use ipnet::IpNet;

/// How long a state is waited for that is read once.
const PATIENCE: Duration = Duration::from_secs(15);
/// After which the wait is said.
const SAY: Duration = Duration::from_secs(1);

/// A source that is being read. Dropped, it is told to stop, and waited for.
#[derive(Debug)]
pub struct Reading {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Reading {
    /// Begins to read; what is read goes to `sink`. Where it ends before it is told to, whatever the reason, `ended` is
    /// told of it: an agent that follows nothing must not seem well.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        cluster: &str,
        mut source: Box<dyn Source>,
        sink: Arc<dyn Sink + Send + Sync>,
        ended: impl FnOnce(String) + Send + 'static,
    ) -> io::Result<Reading> {
        let (stop, name) = (Stop::default(), cluster.to_owned());
        let asked = stop.clone();
        let read = move || {
            let end = source.run(&*sink, &asked);
            if !asked.is_stopped() {
                let why = || format!("the thread that reads the state of {name} has ended");
                ended(end.err().map_or_else(why, |problem| problem.to_string()));
            }
        };
        let thread = Builder::new().name(format!("state-{cluster}")).spawn(read)?;
        Ok(Reading { stop, thread: Some(thread) })
    }

    /// Tells it to stop. Dropping it waits for that.
    pub fn stop(&self) {
        self.stop.stop();
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.stop.stop();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a source's thread had ended by itself");
        }
    }
}

/// Takes what a source tells until that is whole.
#[derive(Default)]
struct Once {
    read: Mutex<Read>,
    changed: Condvar,
}

#[derive(Default)]
struct Read {
    state: State,
    ended: Option<String>,
}

impl Sink for Once {
    fn update(&self, update: Update) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.state.apply(update);
        self.changed.notify_all();
    }
}

/// Reads a state once, whole: what it is, and what in it is refused. `say` is told of a wait.
///
/// # Errors
/// It can't be read within a quarter of a minute.
pub fn read_once(
    state: &StateRef,
    wanted: Wanted,
    ranges: &[IpNet],
    say: impl FnOnce(&str),
) -> anyhow::Result<(Snapshot, Vec<Problem>)> {
    let once = Arc::new(Once::default());
    let lock = || once.read.lock().unwrap_or_else(PoisonError::into_inner);
    lock().state = State::new(state.options(ranges));
    let mut state = state.clone();
    if let StateKind::Kubernetes(access) = &mut state.kind {
        // Whoever serves that address now, this doesn't wait to do it.
        access.allow_service_address = true;
    }
    let sink = once.clone();
    let reading = Reading::start(&state.name, state.source(wanted), once.clone(), move |why| {
        sink.read.lock().unwrap_or_else(PoisonError::into_inner).ended = Some(why);
        sink.changed.notify_all();
    })?;
    let begun = Instant::now();
    let mut say = Some(say);
    let mut read = lock();
    while !read.state.synced() && read.ended.is_none() && begun.elapsed() < PATIENCE {
        read = once.changed.wait_timeout(read, SAY).unwrap_or_else(PoisonError::into_inner).0;
        if !read.state.synced()
            && begun.elapsed() > SAY
            && let Some(say) = say.take()
        {
            say(&format!("reading {} ({} at most) ...", state.name, span::human(PATIENCE)));
        }
    }
    let is_late = begun.elapsed() >= PATIENCE;
    drop(read);
    // Once it has ended, whatever it had to tell of what it refused has come, too.
    drop(reading);
    let read = lock();
    match (&read.ended, read.state.synced()) {
        (_, true) => Ok((read.state.snapshot(), read.state.problems())),
        (Some(why), false) if !is_late => anyhow::bail!("{why}"),
        (_, false) => {
            let why = read.state.away().unwrap_or("it is slow");
            anyhow::bail!("it could not be read within {}: {why}", span::human(PATIENCE))
        }
    }
}
