//! Objects of kinds that nothing here reads: said once for each kind.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// More kinds than this are said as one.
const MAX: usize = 200;

/// Says that objects of this kind are left out, unless it was said before.
pub(crate) fn say(kind: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() > MAX || said.contains(kind) {
        return;
    }
    said.insert(kind.to_owned());
    if said.len() > MAX {
        tracing::info!("there are objects of still more kinds that Bowline doesn't read; they are left out");
    } else {
        tracing::info!("objects of kind {kind} are left out: Bowline doesn't read them");
    }
}
