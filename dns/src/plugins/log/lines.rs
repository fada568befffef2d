//! Lines on their way to the log.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use bowline_observe::metrics::Counter;

/// Lines that may wait: about 2 MB.
const WAITING: usize = 16_384;

/// What takes lines, and writes them in order on a thread of its own.
pub(super) struct Lines {
    /// None: the system gave no thread, or the end has come.
    queue: Option<SyncSender<String>>,
    thread: Option<JoinHandle<()>>,
    dropped: Arc<Counter>,
    write: fn(&str),
}

/// Writes a line to this program's log.
pub(super) fn print(line: &str) {
    tracing::info!("{line}");
}

impl Lines {
    /// Lines that are written by `write`. Those that are dropped are counted.
    pub(super) fn new(dropped: Arc<Counter>, write: fn(&str)) -> Lines {
        let (queue, lines) = sync_channel(WAITING);
        let missing = dropped.clone();
        let thread = std::thread::Builder::new().name("dns-log".into()).spawn(move || run(&lines, &missing, write));
        match thread {
            Ok(thread) => Lines { queue: Some(queue), thread: Some(thread), dropped, write },
            Err(error) => {
                tracing::warn!(%error, "plugin/log: no thread for lines; the threads that answer write them");
                Lines { queue: None, thread: None, dropped, write }
            }
        }
    }

    /// One more line. Never waits, but where there is no thread.
    pub(super) fn put(&self, line: String) {
        let Some(queue) = &self.queue else { return (self.write)(&line) };
        if let Err(TrySendError::Full(_)) = queue.try_send(line) {
            self.dropped.inc();
        }
    }
}

impl Drop for Lines {
    /// What was put is written.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic; and if it did, nobody waits for it any more.
            let _ = thread.join();
        }
    }
}

fn run(lines: &Receiver<String>, dropped: &Counter, write: fn(&str)) {
    let mut told = dropped.get();
    for line in lines {
        write(&line);
        let now = dropped.get();
        if now > told {
            tracing::warn!("plugin/log: {} lines were dropped, as they came faster than they were read", now - told);
            told = now;
        }
    }
}

#[cfg(test)]
mod tests;
