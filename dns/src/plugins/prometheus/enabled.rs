//! `coredns_plugin_enabled`: which plugins serve which zone, from when they do until no instance has them any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::address::Address;
use crate::plugin::{Block, Kept};
use crate::wire::Name;
use bowline_observe::metrics::Registry;

const NAME: &str = "coredns_plugin_enabled";
const HELP: &str = "A metric that indicates whether a plugin is enabled on per server and zone basis.";

/// Values of the labels server, zone, view, name.
type Key = [String; 4];
/// How many instances have it: over a reload two.
type Counts = Mutex<BTreeMap<Key, usize>>;

/// What one `prometheus` shows.
pub(super) struct Enabled {
    registry: Arc<Registry>,
    counts: Arc<Counts>,
    /// What there is to show, and whether it is shown.
    mine: Mutex<(Vec<Key>, bool)>,
}

fn labels([server, zone, view, name]: &Key) -> [(&str, &str); 4] {
    [("server", server), ("zone", zone), ("view", view), ("name", name)]
}

impl Enabled {
    pub(super) fn new(registry: Arc<Registry>, kept: &Kept) -> Enabled {
        Enabled { registry, counts: kept.get(NAME, Counts::default), mine: Mutex::default() }
    }

    /// The block serves this zone here; not shown yet.
    pub(super) fn add(&self, address: &Address, zone: &Name, view: &str, block: &Block) {
        let (server, zone) = (address.to_string(), zone.to_string());
        let mut mine = self.mine.lock().unwrap_or_else(PoisonError::into_inner);
        let names = block.plugins.iter().map(|plugin| plugin.name().to_owned());
        mine.0.extend(names.map(|name| [server.clone(), zone.clone(), view.to_owned(), name]));
    }

    /// The instance serves.
    pub(super) fn show(&self) {
        let mut mine = self.mine.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &mine.0 {
            *counts.entry(key.clone()).or_default() += 1;
            self.registry.gauge(NAME, HELP, &labels(key)).set(1.0);
        }
        mine.1 = true;
    }
}

impl Drop for Enabled {
    fn drop(&mut self) {
        let (keys, is_shown) = &*self.mine.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys.iter().filter(|_| *is_shown) {
            if let Some(count) = counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(key);
                    self.registry.forget(NAME, &labels(key));
                }
            }
        }
    }
}
