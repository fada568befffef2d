//! What a thread keeps open, by upstream; and the questions that wait there for their answers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use tokio::sync::oneshot;

use super::check::{Asked, Verdict};
use super::stream::Connection;
use super::udp::Socket;
use super::{Trouble, Upstream, ids};

/// The open sockets and connections of one thread to one upstream.
pub(super) struct Pool {
    upstream: Weak<Upstream>,
    pub(super) sockets: Vec<Rc<Socket>>,
    pub(super) connections: Vec<Rc<Connection>>,
}

thread_local!(static POOLS: RefCell<HashMap<u64, Pool>> = RefCell::default());

/// Runs `act` on this thread's pool of an upstream.
pub(super) fn with<T>(upstream: &Arc<Upstream>, act: impl FnOnce(&mut Pool) -> T) -> T {
    POOLS.with_borrow_mut(|pools| {
        if !pools.contains_key(&upstream.number) {
            // Of those that a reload has left behind, nothing is kept open.
            pools.retain(|_, pool| pool.upstream.strong_count() > 0);
            let upstream_of = Arc::downgrade(upstream);
            pools.insert(upstream.number, Pool { upstream: upstream_of, sockets: Vec::new(), connections: Vec::new() });
        }
        match pools.get_mut(&upstream.number) {
            Some(pool) => act(pool),
            // Not reached: it was put there above.
            None => act(&mut Pool { upstream: Weak::new(), sockets: Vec::new(), connections: Vec::new() }),
        }
    })
}

struct Waiter {
    asked: Asked,
    answer: oneshot::Sender<Result<Vec<u8>, Trouble>>,
}

/// The questions that wait at one socket or connection, by id.
#[derive(Default)]
pub(super) struct Waiting(RefCell<HashMap<u16, Waiter, foldhash::fast::RandomState>>);

/// A question that waits; it no longer does when this is dropped.
pub(super) struct Place {
    waiting: Rc<Waiting>,
    /// The id it has there.
    pub(super) id: u16,
    pub(super) answer: oneshot::Receiver<Result<Vec<u8>, Trouble>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.0.borrow_mut().remove(&self.id);
    }
}

/// Questions that one socket or connection may have out: ids are drawn at random until one is free.
pub(super) const MOST: usize = 16_384;

impl Waiting {
    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// Puts a question in line under an id that no other has; None if there are too many.
    pub(super) fn enter(self: &Rc<Waiting>, asked: Asked) -> Option<Place> {
        let mut waiting = self.0.borrow_mut();
        if waiting.len() >= MOST {
            return None;
        }
        let mut id = ids::id();
        while waiting.contains_key(&id) {
            id = ids::id();
        }
        let (sender, answer) = oneshot::channel();
        waiting.insert(id, Waiter { asked, answer: sender });
        Some(Place { waiting: self.clone(), id, answer })
    }

    /// Gives a message to the question that it answers. What answers none is ignored.
    pub(super) fn take(&self, upstream: &Upstream, message: &[u8], is_cut: bool) {
        let Some(id) = message.first_chunk().map(|id| u16::from_be_bytes(*id)) else { return };
        let mut waiting = self.0.borrow_mut();
        let Some(waiter) = waiting.get(&id) else { return };
        let outcome = match waiter.asked.judge(message, is_cut) {
            Verdict::Answer(answer) => Ok(answer),
            Verdict::Malformed => Err(Trouble::Malformed(upstream.address())),
            Verdict::Foreign => {
                tracing::debug!(upstream = %upstream.address(), "a message with the right id is no answer to its question");
                return;
            }
        };
        if let Some(waiter) = waiting.remove(&id) {
            // Who no longer waits needs no answer.
            let _ = waiter.answer.send(outcome);
        }
    }

    /// Tells all that wait why they wait in vain.
    pub(super) fn fail(&self, trouble: &Trouble) {
        for (_, waiter) in self.0.borrow_mut().drain() {
            let _ = waiter.answer.send(Err(trouble.clone()));
        }
    }
}
