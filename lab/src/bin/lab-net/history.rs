//! Which servers may answer when: what the driver of a storm tells of those that come and go.
//!
//! A server that is taken out is `removing` before the change, `removed` after it, and `added` before it
//! is put back. Between `removing` and `removed`, and after `added`, it may answer or not.

use std::collections::HashMap;
use std::time::Instant;

/// An absence of a server.
#[derive(Clone, Copy)]
struct Absence {
    /// From here on it may be gone.
    leaving: Instant,
    /// From here on it is.
    gone: Option<Instant>,
    /// From here on it may be back.
    back: Option<Instant>,
}

/// The last absence of every server that ever had one.
#[derive(Default)]
pub(crate) struct History {
    last: HashMap<String, Absence>,
}

impl History {
    /// Takes one line of the driver; false: not one of ours.
    pub(crate) fn tell(&mut self, line: &str, now: Instant) -> bool {
        let Some((word, name)) = line.split_once(' ') else { return false };
        let open = self.last.get_mut(name).filter(|absence| absence.back.is_none());
        match (word, open) {
            ("removing", Some(_)) | ("added", None) => {}
            ("removing", None) => {
                self.last.insert(name.to_owned(), Absence { leaving: now, gone: None, back: None });
            }
            ("removed", Some(absence)) => absence.gone = Some(now),
            ("removed", None) => {
                self.last.insert(name.to_owned(), Absence { leaving: now, gone: Some(now), back: None });
            }
            ("added", Some(absence)) => absence.back = Some(now),
            _ => return false,
        }
        true
    }

    /// Whether the server was gone for the whole of a connect from `began` to `ended`.
    pub(crate) fn was_gone(&self, name: &str, began: Instant, ended: Instant) -> bool {
        self.last.get(name).is_some_and(|absence| {
            absence.gone.is_some_and(|gone| gone < began) && absence.back.is_none_or(|back| ended < back)
        })
    }

    /// Whether the server may have been out at any moment from `began` to `ended`.
    pub(crate) fn may_have_left(&self, name: &str, began: Instant, ended: Instant) -> bool {
        self.last
            .get(name)
            .is_some_and(|absence| absence.leaving <= ended && absence.back.is_none_or(|back| began <= back))
    }
}

#[cfg(test)]
mod tests;
