//! One question at a time: a client that asks what is being asked, on whichever thread, waits for that answer. Only clients
//! wait, and they hold up nobody, so none can wait for itself.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::entry::Key;
use crate::reply::QueryError;

/// What came of the question.
#[derive(Clone, Debug)]
pub(super) enum Landed {
    /// The answer is kept.
    Kept,
    /// There is none.
    Failed(QueryError),
    /// There is one that can't be kept.
    Other,
}

type Waiting = Vec<oneshot::Sender<Landed>>;

type Flights = HashMap<Box<[u8]>, Waiting, foldhash::fast::RandomState>;

/// Those of all threads. Only what is not kept comes here, so the lock is short and seldom wanted twice.
fn flights() -> MutexGuard<'static, Flights> {
    static FLIGHTS: LazyLock<Mutex<Flights>> = LazyLock::new(Mutex::default);
    FLIGHTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A question that is being asked. The others are told when it lands, or is dropped.
pub(super) struct Flight {
    /// Empty once it has landed.
    key: Box<[u8]>,
}

/// What a question is to do.
pub(super) enum Role {
    /// Asks.
    First(Flight),
    /// Waits.
    Further(oneshot::Receiver<Landed>),
}

/// Joins whoever asks the same.
pub(super) fn join(key: &Key<'_>) -> Role {
    let mut bytes = Vec::with_capacity(9 + key.name.len());
    bytes.extend_from_slice(&key.share.to_be_bytes());
    bytes.extend_from_slice(&key.rtype.0.to_be_bytes());
    bytes.extend_from_slice(&key.class.0.to_be_bytes());
    bytes.push(key.bits);
    bytes.extend_from_slice(key.name);
    let key: Box<[u8]> = bytes.into();
    let mut flights = flights();
    match flights.get_mut(&key) {
        Some(waiting) => {
            let (sender, landing) = oneshot::channel();
            waiting.push(sender);
            Role::Further(landing)
        }
        None => {
            flights.insert(key.clone(), Vec::new());
            Role::First(Flight { key })
        }
    }
}

impl Flight {
    /// Tells all that wait.
    pub(super) fn land(mut self, landed: Landed) {
        self.tell(&landed);
    }

    fn tell(&mut self, landed: &Landed) {
        // Once: from then on the key may be another's.
        let key = std::mem::take(&mut self.key);
        if key.is_empty() {
            return;
        }
        let waiting = flights().remove(&key);
        for one in waiting.into_iter().flatten() {
            // A question that has gone needs no word.
            let _ = one.send(landed.clone());
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.tell(&Landed::Other);
    }
}
