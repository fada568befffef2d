//! What may panic without ending the process: the work for one question, one connection, one refresh. Somebody waits for
//! its end there, and goes on. Whatever else panics, a listener or a plugin's task, would be silently gone: the process
//! ends with it, as the command's hook for panics sees by [`is_awaited`].

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bowline_observe::metrics::Counter;

#[cfg(test)]
mod tests;

thread_local!(static DEPTH: Cell<u32> = const { Cell::new(0) });

/// Whether a panic in this thread would be caught now.
pub fn is_awaited() -> bool {
    DEPTH.get() > 0
}

struct Entered;

impl Entered {
    fn new() -> Entered {
        DEPTH.set(DEPTH.get() + 1);
        Entered
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// What comes of `work`; None if it panicked.
pub fn catch<T>(work: impl FnOnce() -> T) -> Option<T> {
    let _entered = Entered::new();
    std::panic::catch_unwind(AssertUnwindSafe(work)).ok()
}

/// What comes of `work`; None if it panicked. It must not be polled after that.
pub(crate) fn catch_all<F: Future + ?Sized>(mut work: Pin<&mut F>) -> impl Future<Output = Option<F::Output>> {
    poll_fn(move |context| match catch(|| work.as_mut().poll(context)) {
        Some(Poll::Ready(output)) => Poll::Ready(Some(output)),
        Some(Poll::Pending) => Poll::Pending,
        None => Poll::Ready(None),
    })
}

/// Runs `work` on this thread, with what is kept while it runs. A panic ends it alone, and is counted.
pub(crate) fn spawn_local(work: impl Future<Output = ()> + 'static, kept: impl Sized + 'static, panics: Arc<Counter>) {
    // In a box: the task around it would take its size twice, and each question that waits is one.
    let mut work = Box::pin(work);
    tokio::task::spawn_local(async move {
        let _kept = kept;
        if catch_all(work.as_mut()).await.is_none() {
            panics.inc();
        }
    });
}
