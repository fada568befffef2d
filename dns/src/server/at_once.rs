//! The fast way for what comes by a connection: an answer that needs no task, whatever carries it.

use std::cell::RefCell;
use std::time::Instant;

use super::Server;
use super::tasks::Ends;
use crate::fast::{Fast, Plain, Step};

#[cfg(test)]
mod tests;

/// What a question that can be answered at once needs. One for all connections of a thread: most say nothing.
struct Scratch {
    plain: Plain,
    out: [u8; 4096],
    random: fastrand::Rng,
}

thread_local!(static SCRATCH: RefCell<Box<Scratch>> = RefCell::new(Box::new(Scratch {
    plain: Plain::default(),
    out: [0; 4096],
    random: fastrand::Rng::new(),
})));

/// The answer to a message, if the fast way has one.
pub(super) fn answer(server: &Server, message: &[u8], ends: Ends) -> Option<Vec<u8>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let Scratch { plain, out, random } = &mut **scratch;
        if !plain.read(message) {
            return None;
        }
        let began = Instant::now();
        let mut fast = Fast::new(plain, message, ends.from, ends.to, out, random);
        fast.by_stream(ends.transport);
        if server.fast(&mut fast) != Step::Answered {
            return None;
        }
        if let Some(meter) = fast.meter {
            meter.answered(&fast.answered(began.elapsed().as_secs_f64()));
        }
        Some(fast.answer().to_vec())
    })
}
