//! Series that say which server a question came to. A block may listen at several addresses, which only the server of
//! a question knows; so each is looked up when the first question comes, and found without a lock from then on.

use std::sync::{Arc, OnceLock};

use crate::address::Address;
use bowline_observe::metrics::{Counter, Registry};

/// A counter with the label `server`, and mostly `view`.
pub struct ByServer {
    name: &'static str,
    help: &'static str,
    has_view: bool,
    first: Link,
}

/// The list only grows, by one for each address: readers need no lock.
type Link = OnceLock<Box<Entry>>;

struct Entry {
    address: Address,
    counter: Arc<Counter>,
    next: Link,
}

impl ByServer {
    /// The counter of that name.
    pub const fn new(name: &'static str, help: &'static str) -> ByServer {
        ByServer { name, help, has_view: true, first: OnceLock::new() }
    }

    /// The same without the label `view`.
    pub const fn without_view(name: &'static str, help: &'static str) -> ByServer {
        ByServer { name, help, has_view: false, first: OnceLock::new() }
    }

    /// The counter of a server, if it is there already.
    pub fn get(&self, address: &Address) -> Option<&Counter> {
        let mut link = &self.first;
        loop {
            let entry = link.get()?;
            if entry.address == *address {
                return Some(&entry.counter);
            }
            link = &entry.next;
        }
    }

    /// The counter of a server. A plugin belongs to one block, so its view is always the same.
    pub fn of(&self, registry: &Registry, address: &Address, view: &str) -> &Counter {
        let mut link = &self.first;
        loop {
            let entry = link.get_or_init(|| {
                let labels = [("server", &*address.to_string()), ("view", view)];
                let labels = if self.has_view { &labels[..] } else { &labels[..1] };
                let counter = registry.counter(self.name, self.help, labels);
                Box::new(Entry { address: *address, counter, next: OnceLock::new() })
            });
            if entry.address == *address {
                return &entry.counter;
            }
            link = &entry.next;
        }
    }
}
