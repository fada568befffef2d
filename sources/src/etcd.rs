//! etcd as a source: all objects listed at one revision, then watched from there.
//!
//! One connection at a time, to one endpoint. Whatever ends it, the next one goes on where it stopped:
//!
//! ```text
//! connect ─> is it the past we know? ─yes─> watch from the newest change we have taken in
//!    ^           │ no, or nothing known          │ ended, silent, no leader: next endpoint, after a while
//!    │           v                               │ compacted, or another past: forget it
//!    │        list at one revision ─> watch      │
//!    └───────────────────────────────────────────┘
//! ```
//!
//! - Reads are linearizable: a member that lags or has lost the others does not answer them, so nothing older
//!   than what was told is ever listed. What the cluster says with a quorum is the truth, even if it is another
//!   one than before; `past` says when that is believed.
//! - A watch is silent for long where nothing changes, so it is asked for its progress. One that does not
//!   answer is given up.
//! - A connection that ends while it works is made anew before anyone is told; only if that fails, or if it was
//!   silent, the source is away.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use crate::backoff::{Backoff, chance};
use crate::remote::Mirror;
use bowline_cluster::source::{Origin, Problem, Sink, Source, Stop};
use bowline_etcd::{Connection, ErrorKind, EtcdError, Location};

mod compare;
mod list;
mod past;
mod watch;

use compare::Comparing;
use past::Past;

/// How late a stop is seen at most.
const NAP: Duration = Duration::from_millis(200);

/// A connection that has worked for so long owes nothing to the failures before it.
const SETTLED: Duration = Duration::from_secs(1);

/// The one collection: what is below `objects/`.
const OBJECTS: usize = 0;

/// An etcd.
#[derive(Clone, Debug)]
pub struct Etcd {
    location: Location,
    sync_period: Duration,
}

impl Etcd {
    /// The etcd at this place; it need not be there yet.
    pub fn new(location: Location) -> Etcd {
        Etcd { location, sync_period: bowline_cluster::source::SYNC_PERIOD }
    }

    /// Compares what is held with what etcd has at least this often, but not more often than once a second.
    #[must_use]
    pub fn compared_every(mut self, period: Duration) -> Etcd {
        self.sync_period = period;
        self
    }
}

impl Source for Etcd {
    fn name(&self) -> String {
        self.location.to_string()
    }

    fn run(&mut self, sink: &dyn Sink, stop: &Stop) -> Result<(), Problem> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| Problem {
            origin: Origin::from(self.name()),
            object: None,
            field: None,
            message: format!("can't start: {error}"),
        })?;
        let mut follower = Follower {
            location: &self.location,
            mirror: Mirror::new(sink, &["objects"]),
            past: Past::default(),
            works_since: None,
            excused: false,
            comparing: Comparing::every(self.sync_period),
        };
        runtime.block_on(async {
            tokio::select! {
                never = follower.follow() => match never {},
                () = stopped(stop) => {}
            }
        });
        // A name that is being looked up holds a thread, for as long as the resolver takes.
        runtime.shutdown_background();
        Ok(())
    }
}

async fn stopped(stop: &Stop) {
    while !stop.is_stopped() {
        tokio::time::sleep(NAP).await;
    }
}

/// Follows one etcd from connection to connection.
struct Follower<'a> {
    location: &'a Location,
    mirror: Mirror<'a>,
    past: Past,
    /// Since when this connection is up to date; None before.
    works_since: Option<Instant>,
    /// The last connection's end was not told.
    excused: bool,
    comparing: Comparing,
}

impl Follower<'_> {
    async fn follow(&mut self) -> Infallible {
        let endpoints = self.location.endpoints();
        let mut turn = (chance() * endpoints.len() as f64) as usize;
        let mut backoff = Backoff::default();
        loop {
            let error = match self.session(&endpoints[turn % endpoints.len()]).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            let worked = self.works_since.take().map(|since| since.elapsed());
            if worked.is_some_and(|time| time >= SETTLED) {
                backoff.reset();
            }
            self.tell(&error, worked.is_some());
            turn += 1;
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Tells that the source is away, unless it may well be back at once.
    fn tell(&mut self, error: &EtcdError, worked: bool) {
        tracing::debug!(source = %self.location, %error, "trying again");
        // What came before it is told before it.
        self.mirror.flush();
        let excusable = match error.kind {
            ErrorKind::Silent => false,
            ErrorKind::Compacted | ErrorKind::Token => true,
            _ => worked,
        };
        if excusable && (worked || !self.excused) {
            self.excused = true;
        } else {
            self.mirror.away(OBJECTS, error.to_string());
        }
    }

    /// One connection, until it ends.
    async fn session(&mut self, endpoint: &str) -> Result<Infallible, EtcdError> {
        let mut connection = self.location.connect_to(endpoint).await?;
        self.past.check(endpoint, (connection.cluster_id, connection.revision), Instant::now())?;
        loop {
            let from = match self.past.resume() {
                Some(from) => from,
                None => self.list(&mut connection).await?,
            };
            match self.watch(&mut connection, from).await {
                Err(error) if error.kind == ErrorKind::Compacted => {
                    tracing::info!(source = %self.location, %error, "listing anew");
                }
                result => return result,
            }
        }
    }

    /// All that had changed is taken in.
    fn works(&mut self) {
        self.works_since.get_or_insert_with(Instant::now);
        self.excused = false;
        self.mirror.back(OBJECTS);
    }

    fn put(&mut self, kv: &etcd_client::KeyValue) {
        let origin = Origin::from(String::from_utf8_lossy(kv.key()));
        match self.location.keys().read(kv.key()) {
            Ok(Some(key)) => {
                self.mirror.put_at(OBJECTS, &origin, key, kv.value(), kv.mod_revision().unsigned_abs());
            }
            Ok(None) => {
                let path = origin.strip_prefix(&self.location.keys().objects()).unwrap_or_default();
                crate::left_out::say(path.split('/').next().unwrap_or_default());
            }
            Err(message) => self.mirror.misplaced(OBJECTS, &origin, &message),
        }
    }

    fn delete(&mut self, kv: &etcd_client::KeyValue) {
        match self.location.keys().read(kv.key()) {
            Ok(Some(key)) => self.mirror.delete(OBJECTS, &key),
            Ok(None) => {}
            Err(_) => self.mirror.replace(OBJECTS, &Origin::from(String::from_utf8_lossy(kv.key()))),
        }
    }
}

/// The answer to a request, in time.
async fn answer<T>(
    connection: &Connection,
    request: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, EtcdError> {
    match tokio::time::timeout(bowline_etcd::REQUEST_TIMEOUT, request).await {
        Ok(result) => result.map_err(|error| connection.explain(&error)),
        Err(_) => Err(EtcdError::silent(&connection.endpoint, bowline_etcd::REQUEST_TIMEOUT)),
    }
}
