//! Whether the threads that answer do so: each is asked, and says so when it comes round to it. One that hangs, or is
//! held up by a question, does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::{UnboundedSender, WeakUnboundedSender};

use super::worker::Command;

/// One thread.
#[derive(Clone)]
struct Thread {
    /// Weak: a pulse must not keep it from ending.
    commands: WeakUnboundedSender<Command>,
    /// The number of the last beat that it answered.
    answered: Arc<AtomicU64>,
    /// The number of the last beat that it was asked for.
    asked: u64,
}

/// Feels the pulse of a server's threads.
#[derive(Clone)]
pub struct Pulse(Vec<Thread>);

impl Pulse {
    pub(super) fn new<'a>(threads: impl Iterator<Item = &'a UnboundedSender<Command>>) -> Pulse {
        let thread = |commands: &UnboundedSender<Command>| Thread {
            commands: commands.downgrade(),
            answered: Arc::default(),
            asked: 0,
        };
        Pulse(threads.map(thread).collect())
    }

    /// Asks every thread anew. Returns whether all have answered what they were asked before; never waits.
    pub fn beat(&mut self) -> bool {
        let mut all = !self.0.is_empty();
        for thread in &mut self.0 {
            if thread.answered.load(Ordering::Acquire) != thread.asked {
                all = false;
                continue; // One question at a time: its inbox must not grow while it hangs.
            }
            all &= thread.asked != 0;
            thread.asked += 1;
            let beat = Command::Beat(thread.answered.clone(), thread.asked);
            all &= thread.commands.upgrade().is_some_and(|commands| commands.send(beat).is_ok());
        }
        all
    }
}
