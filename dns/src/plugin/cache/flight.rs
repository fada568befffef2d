//! One question at a time: who asks on a thread what is being asked there waits for that answer. Only clients wait,
//! and they hold up nobody, so none can wait for itself.

use std::cell::RefCell;
use std::collections::HashMap;

use tokio::sync::oneshot;

use super::entry::Key;
use crate::reply::Failure;

/// What came of the question.
#[derive(Clone, Debug)]
pub(super) enum Landed {
    /// The answer is kept.
    Kept,
    /// There is none.
    Failed(Failure),
    /// There is one that can't be kept.
    Other,
}

type Waiting = Vec<oneshot::Sender<Landed>>;

thread_local!(static FLIGHTS: RefCell<HashMap<Box<[u8]>, Waiting, foldhash::fast::RandomState>> = RefCell::default());

/// A question that is being asked. The others are told when it lands, or is dropped.
pub(super) struct Flight {
    key: Box<[u8]>,
}

/// Who is to do what.
pub(super) enum Role {
    /// Asks.
    First(Flight),
    /// Waits.
    Further(oneshot::Receiver<Landed>),
}

/// Joins whoever asks the same on this thread.
pub(super) fn join(key: &Key<'_>) -> Role {
    let mut bytes = Vec::with_capacity(9 + key.name.len());
    bytes.extend_from_slice(&key.share.to_be_bytes());
    bytes.extend_from_slice(&key.rtype.0.to_be_bytes());
    bytes.extend_from_slice(&key.class.0.to_be_bytes());
    bytes.push(key.bits);
    bytes.extend_from_slice(key.name);
    let key: Box<[u8]> = bytes.into();
    FLIGHTS.with_borrow_mut(|flights| match flights.get_mut(&key) {
        Some(waiting) => {
            let (sender, landing) = oneshot::channel();
            waiting.push(sender);
            Role::Further(landing)
        }
        None => {
            flights.insert(key.clone(), Vec::new());
            Role::First(Flight { key })
        }
    })
}

impl Flight {
    /// Tells all that wait.
    pub(super) fn land(self, landed: Landed) {
        self.tell(&landed);
    }

    fn tell(&self, landed: &Landed) {
        let waiting = FLIGHTS.with_borrow_mut(|flights| flights.remove(&self.key));
        for one in waiting.into_iter().flatten() {
            // Who has gone needs no word.
            let _ = one.send(landed.clone());
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.tell(&Landed::Other);
    }
}
