//! What a running program of the kernel may still read is used again only after an RCU grace period.
//! A thread waits for those, so that no change does.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::sys;

/// Waits for grace periods in the background.
#[derive(Debug)]
pub(crate) struct Grace {
    asked: u64,
    done: u64,
    ask: Sender<u64>,
    answers: Receiver<io::Result<u64>>,
}

impl Grace {
    /// Starts the thread; it ends with this value.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start() -> io::Result<Grace> {
        let (ask, asked) = channel::<u64>();
        let (answer, answers) = channel();
        thread::Builder::new().name("grace".into()).spawn(move || {
            while let Ok(mut number) = asked.recv() {
                // Whatever was asked for before the period begins is served by it.
                while let Ok(later) = asked.try_recv() {
                    number = later;
                }
                if answer.send(sys::grace_period().map(|()| number)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Grace { asked: 0, done: 0, ask, answers })
    }

    /// Asks for a period that begins after now and returns its number: when it has ended, what was taken
    /// away before this call is read by nobody.
    pub(crate) fn after_now(&mut self) -> u64 {
        self.asked += 1;
        // Without the thread nothing is ever free again, which `wait` reports.
        let _ = self.ask.send(self.asked);
        self.asked
    }

    /// The number of the last period that has ended.
    pub(crate) fn done(&mut self) -> u64 {
        while let Ok(answer) = self.answers.try_recv() {
            if let Ok(number) = answer {
                self.done = number;
            }
        }
        self.done
    }

    /// Returns when period `number` has ended.
    ///
    /// # Errors
    /// What membarrier(2) said, or that the thread is gone.
    pub(crate) fn wait(&mut self, number: u64) -> io::Result<()> {
        while self.done() < number {
            match self.answers.recv() {
                Ok(Ok(number)) => self.done = number,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(io::Error::other("the thread that waits for grace periods has ended")),
            }
        }
        Ok(())
    }
}
