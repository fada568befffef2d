//! Counts of what is said by HTTPS and QUIC. Each thread keeps the counters that it has used, so that to count a response is
//! neither a lock nor an allocation.

use std::cell::RefCell;
use std::sync::Arc;

use bowline_observe::metrics::Counter;

use super::Server;
use crate::address::Address;

/// A series with the labels `server` and `status`: its name and its help.
pub(super) type Responses = (&'static str, &'static str);

/// What tells counters apart: the series, the server, the code, and the registry.
type Key = (&'static str, Address, u16, usize);

thread_local!(static KNOWN: RefCell<Vec<(Key, Arc<Counter>)>> = const { RefCell::new(Vec::new()) });

/// Counts a response with this code; `text` is how the label shows it.
pub(super) fn count(
    server: &Server,
    address: &Address,
    (name, help): Responses,
    code: u16,
    text: impl FnOnce(u16) -> String,
) {
    let metrics = &server.services().metrics;
    let key = (name, *address, code, Arc::as_ptr(metrics).addr());
    KNOWN.with_borrow_mut(|known| {
        if let Some((_, counter)) = known.iter().find(|(found, _)| *found == key) {
            return counter.inc();
        }
        let labels = [("server", &*address.to_string()), ("status", &*text(code))];
        let counter = metrics.counter(name, help, &labels);
        counter.inc();
        known.push((key, counter));
    });
}
