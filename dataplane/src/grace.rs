//! What a running program of the kernel may still read is used again only after an RCU grace period.
//! A thread waits for those, so that no change does.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use bowline_sys::Rcu;

/// Waits for grace periods in the background.
#[derive(Debug)]
pub(crate) struct Grace {
    asked: u64,
    /// The last period that the thread said anything of.
    answered: u64,
    done: u64,
    ask: Sender<u64>,
    answers: Receiver<(u64, io::Result<()>)>,
}

impl Grace {
    /// Starts the thread; it ends with this value.
    ///
    /// # Errors
    /// The kernel refuses what it takes, or no thread can be started.
    pub(crate) fn start() -> io::Result<Grace> {
        let rcu = Rcu::new()?;
        let (ask, asked) = channel::<u64>();
        let (answer, answers) = channel();
        thread::Builder::new().name("grace".into()).spawn(move || {
            while let Ok(mut number) = asked.recv() {
                // Whatever was asked for before the period begins is served by it.
                while let Ok(later) = asked.try_recv() {
                    number = later;
                }
                if answer.send((number, rcu.grace_period())).is_err() {
                    break;
                }
            }
        })?;
        Ok(Grace { asked: 0, answered: 0, done: 0, ask, answers })
    }

    /// Asks for a period that begins after now and returns its number: when it has ended, what was taken
    /// away before this call is no longer read.
    pub(crate) fn after_now(&mut self) -> u64 {
        self.asked += 1;
        // Without the thread nothing is ever free again, which `wait` reports.
        let _ = self.ask.send(self.asked);
        self.asked
    }

    /// The number of the last period that has ended.
    pub(crate) fn done(&mut self) -> u64 {
        while let Ok((number, result)) = self.answers.try_recv() {
            self.note(number, result);
        }
        self.done
    }

    fn note(&mut self, number: u64, result: io::Result<()>) {
        self.answered = number;
        match result {
            Ok(()) => self.done = number,
            Err(error) => tracing::warn!(%error, "no grace period; nothing is used again until there is one"),
        }
    }

    /// Returns when period `number` has ended.
    ///
    /// # Errors
    /// It did not end, or the thread is gone.
    pub(crate) fn wait(&mut self, number: u64) -> io::Result<()> {
        self.done();
        while self.answered < number {
            match self.answers.recv() {
                Ok((number, result)) => self.note(number, result),
                Err(_) => return Err(io::Error::other("the thread that waits for grace periods has ended")),
            }
        }
        if self.done < number { Err(io::Error::other("the kernel gave no grace period")) } else { Ok(()) }
    }
}
