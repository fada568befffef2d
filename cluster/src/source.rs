//! What a source tells, and to whom: the contract between whatever reads the cluster (`bowline-sources`) and whatever
//! keeps it.
//!
//! A source reads the whole first, says so, and then tells every change as it comes. It recovers by
//! itself from whatever happens to what it reads; while that is away it says so and takes nothing back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::object::{EndpointSlice, Object, ObjectKey};

/// Where in a source an object stands: `dir/file.yaml`, for a problem with the line
/// (`dir/file.yaml:12`), or an etcd key.
pub type Origin = Arc<str>;

/// Something that was refused; all else goes on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// File and line (of the document), or key.
    pub origin: Origin,
    /// The object, as far as it could be read: `Service default/web`.
    pub object: Option<String>,
    /// The field (`spec.ports[0].port`), where one is to blame.
    pub field: Option<String>,
    /// What was wrong and what to do.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.origin)?;
        if let Some(object) = &self.object {
            write!(f, ": {object}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ": {field}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// One change to one object.
#[derive(Clone, Debug)]
pub enum Change {
    /// The object is now this.
    Put(Object, Origin),
    /// The object is gone.
    Delete(ObjectKey),
}

/// An EndpointSlice that says when the change began that made it: what Kubernetes' programming latencies, of the network
/// and of DNS, count from.
#[derive(Clone, Debug)]
pub struct Triggered {
    /// The slice as it is now.
    pub slice: Arc<EndpointSlice>,
    /// Its annotation `endpoints.kubernetes.io/last-change-trigger-time`, by another machine's clock.
    pub at: SystemTime,
}

/// What a source tells.
#[derive(Clone, Debug)]
pub enum Update {
    /// The whole of what the source has; objects of its that are not in it are gone. The first update
    /// of a source that has everything; again after each new listing.
    All(Vec<Change>),
    /// Changes since.
    Some {
        /// The changes, in order.
        changes: Vec<Change>,
        /// The moment at which the source heard of the first of them, before it read anything.
        read_at: Instant,
        /// Slices among them that say when the change began that made them.
        triggered: Vec<Triggered>,
    },
    /// The problems that stand in what the source reads now, all of them; an empty list when mended.
    Problems(Vec<Problem>),
    /// The source can't be read since now, for this reason; everything last known stays.
    Away(String),
    /// It can be read again.
    Back,
}

/// How often what is held is compared with what a server has, unless told otherwise: kube-proxy's.
pub const SYNC_PERIOD: Duration = Duration::from_secs(15 * 60);

/// A request to a server over HTTP that was answered, or failed. All are GETs.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The server, as its URL has it: `10.0.0.1:6443`.
    pub host: &'a str,
    /// The status of the answer; None where none came.
    pub status: Option<u16>,
    /// Until the head of the answer was there.
    pub took: Duration,
}

/// Objects that were found otherwise than the server has them, when that was compared. They are being read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Which ones: `services`.
    pub kind: &'static str,
    /// How many.
    pub objects: usize,
    /// Some of their names.
    pub names: Vec<String>,
}

/// Takes what sources tell. Called from the source's own thread.
pub trait Sink: Sync {
    /// Takes one update; returns when it is applied.
    fn update(&self, update: Update);

    /// Takes note of a request to a server over HTTP; nothing of it is in the state.
    fn asked(&self, _request: &Asked<'_>) {}

    /// Takes note that what was told was not what the server has. What mends it is told as any change is.
    fn drifted(&self, _drift: &Drift) {}
}

/// Tells a source to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for the end; a source sees it within a second.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    /// Whether the end was asked for.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that knows the cluster's objects and how they change.
pub trait Source: Send {
    /// As `--state` wrote it, without secrets.
    fn name(&self) -> String;
    /// Reads and watches until told to stop. An error is for what can never get better by waiting (a
    /// folder that isn't one); all else is told through the sink.
    fn run(&mut self, sink: &dyn Sink, stop: &Stop) -> Result<(), Problem>;
}
