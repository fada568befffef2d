//! Which connection a question takes.
//!
//! Many servers answer what comes by one connection in the order in which it came, so a question has a connection to
//! itself wherever that can be: one at which nothing waits, else a new one, whichever is there first. Only where no
//! more can be opened do questions share, and only where a server shows that it takes no more.
//!
//! ```text
//! question ─> idle? ─> take it
//!               └ no ─> queue <── a connection that has given its answer
//!                        │  └──── a connection that was opened for whoever waits
//!                        └ as many are open as may be ─> the one at which the fewest wait
//! ```

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::connection::{self, CONNECT, Connection};
use super::{Upstream, UpstreamError, pool};

/// Connections to one upstream, of all threads.
const MOST: usize = 1024;
/// What a thread may open in any case.
const LEAST: usize = 4;
/// Connections that a thread opens at a time: handshakes take CPU, and many that wait are served by others meanwhile.
const OPENING: usize = 64;
/// New connections that brought nothing, one after the other, beside others that do: so a server shows that it takes
/// no more.
const ENOUGH: u32 = 3;
/// How long that is believed.
const BELIEVED: Duration = Duration::from_secs(5);

/// Connections to upstreams, of the process.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// What upstreams may take: half of the files that the process may open.
fn share_of_files() -> usize {
    static SHARE: OnceLock<usize> = OnceLock::new();
    *SHARE.get_or_init(|| {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        files.map_or(usize::MAX, |files| usize::try_from(files / 2).unwrap_or(usize::MAX))
    })
}

/// Connections that one upstream may have.
#[cfg(test)]
pub(super) fn bound() -> usize {
    share_of_files().min(MOST)
}

/// Whether each question that this thread has for it has a connection, alone or with others, and no more is opened.
#[cfg(test)]
pub(super) fn is_settled(upstream: &Arc<Upstream>) -> bool {
    pool::with(upstream, |pool| pool.connections.queue.is_empty() && pool.connections.opening == 0)
}

/// A connection that is open or being opened, as it is counted.
pub(super) struct Counted(Arc<Upstream>);

impl Counted {
    fn new(upstream: &Arc<Upstream>) -> Counted {
        upstream.connections.fetch_add(1, Ordering::Relaxed);
        OPEN.fetch_add(1, Ordering::Relaxed);
        Counted(upstream.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

type Give = oneshot::Sender<Result<Rc<Connection>, UpstreamError>>;
type Given = oneshot::Receiver<Result<Rc<Connection>, UpstreamError>>;

/// A question in the queue.
struct Wanting {
    /// Only by a connection that is new.
    fresh: bool,
    give: Give,
}

/// The connections of one thread to one upstream.
#[derive(Default)]
pub(super) struct Connections {
    all: Vec<Rc<Connection>>,
    /// Those at which nothing waits. The last used is the next taken, so that those too many grow old and go.
    idle: Vec<Rc<Connection>>,
    queue: VecDeque<Wanting>,
    /// Questions that wait at a new connection, and take any that has answered and is free.
    stalled: VecDeque<Give>,
    opening: usize,
    /// New ones in a row that brought nothing.
    failures: u32,
    /// How many the server takes, and until when that is believed.
    limit: Option<(usize, Instant)>,
}

/// A connection to ask by; a `fresh` one was not there before. Waits until one is open.
pub(super) async fn take(upstream: &Arc<Upstream>, fresh: bool) -> Result<Rc<Connection>, UpstreamError> {
    let given = match pool::with(upstream, |pool| pool.connections.find(upstream, fresh)) {
        Ok(connection) => return Ok(connection),
        Err(given) => given,
    };
    match timeout(CONNECT, given).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(UpstreamError::Closed(upstream.address())),
        Err(_) => Err(upstream.trouble(connection::too_late())),
    }
}

/// A connection that has answered and is free, as soon as there is one; none is opened for it.
pub(super) async fn free(upstream: &Arc<Upstream>) -> Option<Rc<Connection>> {
    let given = pool::with(upstream, |pool| {
        let (give, given) = oneshot::channel();
        match pool.connections.pop_proved(upstream, Instant::now()) {
            Some(idle) => drop(give.send(Ok(idle))),
            None => {
                let stalled = &mut pool.connections.stalled;
                stalled.retain(|give| !give.is_closed());
                stalled.push_back(give);
            }
        }
        given
    });
    given.await.ok()?.ok()
}

impl Connections {
    fn find(&mut self, upstream: &Arc<Upstream>, fresh: bool) -> Result<Rc<Connection>, Given> {
        let now = Instant::now();
        if !fresh && let Some(idle) = self.pop_idle(upstream, now) {
            return Ok(idle);
        }
        if !self.may_open(upstream, now)
            && let Some(least) = self.least()
        {
            self.remove_idle(upstream, &least);
            return Ok(least);
        }
        let (give, given) = oneshot::channel();
        self.queue.push_back(Wanting { fresh, give });
        self.open_more(upstream, now);
        Err(given)
    }

    fn may_open(&self, upstream: &Upstream, now: Instant) -> bool {
        let count = self.all.len() + self.opening;
        if let Some((most, until)) = self.limit
            && now < until
        {
            return count < most;
        }
        count < LEAST
            || upstream.connections.load(Ordering::Relaxed) < MOST && OPEN.load(Ordering::Relaxed) < share_of_files()
    }

    /// Opens as many as are waited for and may be.
    fn open_more(&mut self, upstream: &Arc<Upstream>, now: Instant) {
        while self.opening < self.queue.len().min(OPENING) && self.may_open(upstream, now) {
            self.opening += 1;
            tokio::task::spawn_local(connection::run(upstream.clone(), Counted::new(upstream)));
        }
        // For the others none will be opened.
        while self.queue.len() > self.opening && !self.may_open(upstream, now) {
            let Some(shared) = self.any() else { return };
            let Some(Wanting { give, .. }) = self.queue.pop_back() else { return };
            self.remove_idle(upstream, &shared);
            let _ = give.send(Ok(shared));
        }
    }

    /// The one at which the fewest wait, of those that have answered if there are some.
    fn least(&self) -> Option<Rc<Connection>> {
        let fit = self.all.iter().filter(|connection| !connection.is_retired());
        fit.min_by_key(|connection| (!connection.has_answered(), connection.waiting.count())).cloned()
    }

    /// One by chance, for many that share at once: none of them waits there yet.
    fn any(&self) -> Option<Rc<Connection>> {
        let chosen = self.all.get(fastrand::usize(..self.all.len().max(1)))?;
        if chosen.is_retired() { self.least() } else { Some(chosen.clone()) }
    }

    fn pop_idle(&mut self, upstream: &Upstream, now: Instant) -> Option<Rc<Connection>> {
        while let Some(connection) = self.idle.pop() {
            upstream.idle.fetch_sub(1, Ordering::Relaxed);
            if connection.is_fit(upstream, now) {
                return Some(connection);
            }
            connection.retire();
        }
        None
    }

    /// One that has answered: at another that is new, a question might wait as it does at its own.
    fn pop_proved(&mut self, upstream: &Upstream, now: Instant) -> Option<Rc<Connection>> {
        let fit = |connection: &&Rc<Connection>| connection.has_answered() && connection.is_fit(upstream, now);
        let proved = self.idle.iter().rfind(fit)?.clone();
        self.remove_idle(upstream, &proved);
        Some(proved)
    }

    fn remove_idle(&mut self, upstream: &Upstream, connection: &Rc<Connection>) {
        if let Some(at) = self.idle.iter().rposition(|other| Rc::ptr_eq(other, connection)) {
            self.idle.remove(at);
            upstream.idle.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// One is open now.
    pub(super) fn opened(&mut self, upstream: &Arc<Upstream>, connection: Rc<Connection>) {
        self.opening = self.opening.saturating_sub(1);
        self.all.push(connection.clone());
        self.give(upstream, connection, true);
        self.open_more(upstream, Instant::now());
    }

    /// One could not be opened.
    pub(super) fn failed(&mut self, upstream: &Arc<Upstream>, trouble: &UpstreamError) {
        self.opening = self.opening.saturating_sub(1);
        self.queue.retain(|wanting| !wanting.give.is_closed());
        match self.least() {
            // The server takes no more.
            Some(least) => {
                self.brought_nothing();
                if let Some(wanting) = self.queue.pop_front() {
                    self.remove_idle(upstream, &least);
                    let _ = wanting.give.send(Ok(least));
                }
            }
            None => {
                // Others may still come to be; after the last, nothing will.
                let told = if self.opening > 0 { 1 } else { self.queue.len() };
                for wanting in self.queue.drain(..told.min(self.queue.len())) {
                    let _ = wanting.give.send(Err(trouble.clone()));
                }
            }
        }
        self.open_more(upstream, Instant::now());
    }

    /// Nothing waits at this one any more.
    pub(super) fn freed(&mut self, upstream: &Arc<Upstream>, connection: Rc<Connection>) {
        self.give(upstream, connection, false);
    }

    fn give(&mut self, upstream: &Arc<Upstream>, mut connection: Rc<Connection>, is_new: bool) {
        let now = Instant::now();
        if !connection.is_fit(upstream, now) {
            return connection.retire();
        }
        let mut at = 0;
        while let Some(wanting) = self.queue.get(at) {
            if wanting.fresh && !is_new {
                at += 1;
                continue;
            }
            let Some(Wanting { give, .. }) = self.queue.remove(at) else { break };
            match give.send(Ok(connection)) {
                Err(Ok(back)) => connection = back,
                _ => return,
            }
        }
        while connection.has_answered()
            && let Some(give) = self.stalled.pop_front()
        {
            match give.send(Ok(connection)) {
                Err(Ok(back)) => connection = back,
                _ => return,
            }
        }
        let most = upstream.settings.max_open.unwrap_or(usize::MAX);
        if upstream.idle.fetch_add(1, Ordering::Relaxed) >= most {
            upstream.idle.fetch_sub(1, Ordering::Relaxed);
            return connection.retire();
        }
        self.idle.push(connection);
    }

    /// A new one has brought its first answer.
    pub(super) fn proved(&mut self) {
        self.failures = 0;
    }

    /// A new one was closed, or was silent, before its first answer.
    pub(super) fn brought_nothing(&mut self) {
        let answering = self.all.iter().filter(|connection| connection.has_answered()).count();
        if answering > 0 {
            self.failures += 1;
            if self.failures >= ENOUGH {
                self.failures = 0;
                self.limit = Some((answering, Instant::now() + BELIEVED));
            }
        }
    }

    /// One is closed.
    pub(super) fn closed(&mut self, upstream: &Arc<Upstream>, connection: &Rc<Connection>) {
        self.all.retain(|other| !Rc::ptr_eq(other, connection));
        self.remove_idle(upstream, connection);
        self.open_more(upstream, Instant::now());
    }
}
