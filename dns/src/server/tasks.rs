//! The tasks of a thread that answers, and what they share: how many run, how many questions wait, how many connections
//! are open.

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::Server;
use crate::address::Transport;
use crate::caught;
use bowline_observe::metrics::Counter;

/// A server that may be replaced while its sockets stay.
pub(super) type Slot = Arc<ArcSwap<Server>>;

/// Ends when its sender is dropped.
pub(super) type Ended = watch::Receiver<()>;

/// Questions that may wait for their answer (from an upstream, say), whatever they came by, at all threads together. More
/// are dropped, as a full socket would, or their connection is closed: clients ask again, and memory stays bounded.
const WAITING: usize = 8192;
/// What a thread has of both at least, where there are many threads.
const LEAST: usize = 256;

/// The tasks of a thread, counted so that its end can wait for them. A panic in one that listens ends the process, one
/// in a question's or a connection's ends that alone.
#[derive(Clone)]
pub(super) struct Tasks(Rc<Counted>);

struct Counted {
    /// How many threads there are, for this thread's share.
    threads: usize,
    /// `coredns_panics_total`.
    panics: Arc<Counter>,
    count: Cell<usize>,
    /// Those among them that are questions.
    waiting: Cell<usize>,
    none_left: Notify,
}

struct Ticket(Rc<Counted>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        if self.0.count.get() == 0 {
            self.0.none_left.notify_waiters();
        }
    }
}

/// A question that is let in among those that wait. When this is dropped, another one may be.
pub(super) struct Admitted(Rc<Counted>);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

impl Tasks {
    /// Of one of so many threads.
    pub(super) fn of_one_of(threads: usize, panics: Arc<Counter>) -> Tasks {
        let (count, waiting, none_left) = (Cell::new(0), Cell::new(0), Notify::new());
        Tasks(Rc::new(Counted { threads, panics, count, waiting, none_left }))
    }
    /// What of `all` is this thread's.
    pub(super) fn share(&self, all: usize) -> usize {
        (all / self.0.threads.max(1)).max(LEAST)
    }
    /// Runs what listens, on this thread: it is needed for as long as its listener is open.
    pub(super) fn listen(&self, task: impl Future<Output = ()> + 'static) {
        let ticket = self.ticket();
        tokio::task::spawn_local(async move {
            let _ticket = ticket;
            task.await;
        });
    }
    /// Runs the task of a question or a connection, on this thread.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let ticket = self.ticket();
        caught::spawn_local(task, ticket, self.0.panics.clone());
    }
    fn ticket(&self) -> Ticket {
        self.0.count.set(self.0.count.get() + 1);
        Ticket(self.0.clone())
    }
    /// What comes of `work` for one question; None, and counted, if it panicked.
    pub(super) fn catch<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let done = caught::catch(work);
        if done.is_none() {
            self.0.panics.inc();
        }
        done
    }
    /// Lets in one more question that must wait; None where too many do.
    pub(super) fn enter(&self) -> Option<Admitted> {
        let waiting = self.0.waiting.get();
        (waiting < self.share(WAITING)).then(|| {
            self.0.waiting.set(waiting + 1);
            Admitted(self.0.clone())
        })
    }
    /// How many run.
    pub(super) fn count(&self) -> usize {
        self.0.count.get()
    }
    /// Waits until none runs.
    pub(super) async fn finished(&self) {
        while self.count() > 0 {
            let none_left = self.0.none_left.notified();
            if self.count() > 0 {
                none_left.await;
            }
        }
    }
}

/// One of those that are open, until it is dropped.
pub(super) struct Open(Rc<Cell<usize>>);

impl Open {
    pub(super) fn one_of(count: &Rc<Cell<usize>>) -> Open {
        count.set(count.get() + 1);
        Open(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// An IPv4 address that a socket of IPv6 shows mapped, as itself.
pub(super) fn plain_address(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Between whom a connection is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) transport: Transport,
}
