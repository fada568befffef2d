//! What a thread keeps open, by upstream; and the questions that wait there for their answers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;

use super::check::{Asked, Came, Verdict};
use super::connections::Connections;
use super::udp::Socket;
use super::{AnswerError, Upstream, UpstreamError, ids};

/// The open sockets and connections of one thread to one upstream.
pub(super) struct Pool {
    upstream: Weak<Upstream>,
    pub(super) sockets: Vec<Rc<Socket>>,
    pub(super) connections: Connections,
}

impl Pool {
    fn new(upstream: Weak<Upstream>) -> Pool {
        Pool { upstream, sockets: Vec::new(), connections: Connections::default() }
    }
}

thread_local!(static POOLS: RefCell<HashMap<u64, Pool>> = RefCell::default());

/// Runs `act` on this thread's pool of an upstream.
pub(super) fn with<T>(upstream: &Arc<Upstream>, act: impl FnOnce(&mut Pool) -> T) -> T {
    POOLS.with_borrow_mut(|pools| {
        if !pools.contains_key(&upstream.number) {
            // Of those that a reload has left behind, nothing is kept open.
            pools.retain(|_, pool| pool.upstream.strong_count() > 0);
            pools.insert(upstream.number, Pool::new(Arc::downgrade(upstream)));
        }
        match pools.get_mut(&upstream.number) {
            Some(pool) => act(pool),
            // Not reached: it was put there above.
            None => act(&mut Pool::new(Weak::new())),
        }
    })
}

/// How long a better answer is waited for behind a message that may be none: a forger's comes before the true one.
const GRACE: Duration = Duration::from_millis(250);

struct Waiter {
    asked: Asked,
    answer: oneshot::Sender<Result<Vec<u8>, UpstreamError>>,
    /// What it is told when the grace is over. That it is the same question is seen by the place of this in memory.
    doubt: Option<Rc<Result<Vec<u8>, UpstreamError>>>,
}

/// The questions that wait at one socket or connection, by id.
#[derive(Default)]
pub(super) struct Waiting(RefCell<HashMap<u16, Waiter, foldhash::fast::RandomState>>);

/// A question that waits; it no longer does when this is dropped.
pub(super) struct Pending {
    waiting: Rc<Waiting>,
    /// The id it has there.
    pub(super) id: u16,
    pub(super) answer: oneshot::Receiver<Result<Vec<u8>, UpstreamError>>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Where it was told, its id may be another's by now.
        if matches!(self.answer.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
            self.waiting.0.borrow_mut().remove(&self.id);
        }
    }
}

/// Questions that one socket or connection may have out: ids are drawn at random until one is free.
pub(super) const MOST: usize = 16_384;

impl Waiting {
    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// Puts a question in line under an id that no other has; None if there are too many.
    pub(super) fn enter(self: &Rc<Waiting>, asked: Asked) -> Option<Pending> {
        let mut waiting = self.0.borrow_mut();
        if waiting.len() >= MOST {
            return None;
        }
        let mut id = ids::id();
        while waiting.contains_key(&id) {
            id = ids::id();
        }
        let (sender, answer) = oneshot::channel();
        waiting.insert(id, Waiter { asked, answer: sender, doubt: None });
        Some(Pending { waiting: self.clone(), id, answer })
    }

    /// Gives a message to the question that it answers. What has nobody's id is ignored.
    pub(super) fn take(self: &Rc<Waiting>, upstream: &Upstream, message: &[u8], came: Came) {
        let Some(id) = message.first_chunk().map(|id| u16::from_be_bytes(*id)) else { return };
        let mut waiting = self.0.borrow_mut();
        let Some(waiter) = waiting.get_mut(&id) else { return };
        let malformed = |flaw| Err(UpstreamError::Malformed(upstream.address(), flaw));
        let (outcome, flaw) = match waiter.asked.judge(message, came) {
            Verdict::Answer(answer) => (Ok(answer), None),
            Verdict::Cut(answer, _) => (Ok(answer), Some(AnswerError::Cut)),
            Verdict::Malformed(error) => (malformed(AnswerError::Wire(error)), Some(AnswerError::Wire(error))),
            Verdict::Stub(answer) => return self.doubt(upstream, waiter, id, Ok(answer), AnswerError::Cut),
            Verdict::Foreign => {
                return self.doubt(upstream, waiter, id, malformed(AnswerError::Foreign), AnswerError::Foreign);
            }
        };
        if let Some(flaw) = flaw {
            upstream.flawed(flaw);
        }
        if let Some(waiter) = waiting.remove(&id) {
            // A question that no longer waits needs no answer.
            let _ = waiter.answer.send(outcome);
        }
    }

    /// Has a question go on waiting for its answer, but not for long.
    fn doubt(
        self: &Rc<Waiting>,
        upstream: &Upstream,
        waiter: &mut Waiter,
        id: u16,
        outcome: Result<Vec<u8>, UpstreamError>,
        flaw: AnswerError,
    ) {
        if waiter.doubt.is_some() {
            return;
        }
        upstream.flawed(flaw);
        let doubt = Rc::new(outcome);
        waiter.doubt = Some(doubt.clone());
        let waiting = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(GRACE).await;
            let Some(waiting) = waiting.upgrade() else { return };
            let mut waiting = waiting.0.borrow_mut();
            let is_same = |waiter: &Waiter| waiter.doubt.as_ref().is_some_and(|other| Rc::ptr_eq(other, &doubt));
            if waiting.get(&id).is_some_and(is_same)
                && let Some(waiter) = waiting.remove(&id)
            {
                let _ = waiter.answer.send((*doubt).clone());
            }
        });
    }

    /// Tells all that wait why they wait in vain.
    pub(super) fn fail(&self, trouble: &UpstreamError) {
        for (_, waiter) in self.0.borrow_mut().drain() {
            let _ = waiter.answer.send(Err(trouble.clone()));
        }
    }
}
