//! Namespaces that no manifest writes. An API server has one for every object that is in it; in a folder, or in etcd,
//! people leave them out. Answers of the DNS depend on them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Applied, State};
use crate::object::{Namespace, ObjectName, Str};
use crate::snapshot::Snapshot;

/// What API servers put on each namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Names of what changed.
type Names = BTreeSet<ObjectName>;

/// How many Services and Pods there are in each namespace, and which namespaces are written.
#[derive(Debug, Default)]
pub(super) struct Implied {
    inside: HashMap<Str, usize>,
    written: HashMap<Str, Arc<Namespace>>,
}

impl State {
    /// A Service or a Pod came into this namespace.
    pub(super) fn entered(&mut self, namespace: &Str, applied: &mut Applied) {
        if self.options.complete {
            self.implied.enter(namespace, &mut self.snapshot, &mut applied.changed.namespaces);
        }
    }

    /// A Service or a Pod has left this namespace.
    pub(super) fn left(&mut self, namespace: &Str, applied: &mut Applied) {
        if self.options.complete {
            self.implied.leave(namespace, &mut self.snapshot, &mut applied.changed.namespaces);
        }
    }
}

impl Implied {
    fn enter(&mut self, namespace: &Str, snapshot: &mut Snapshot, changed: &mut Names) {
        *self.inside.entry(namespace.clone()).or_default() += 1;
        self.settle(namespace, snapshot, changed);
    }

    fn leave(&mut self, namespace: &Str, snapshot: &mut Snapshot, changed: &mut Names) {
        if let Some(count) = self.inside.get_mut(namespace) {
            *count -= 1;
            if *count == 0 {
                self.inside.remove(namespace);
            }
        }
        self.settle(namespace, snapshot, changed);
    }

    /// A Namespace is written, or is no longer.
    pub(super) fn write(
        &mut self,
        name: &Str,
        written: Option<Arc<Namespace>>,
        snapshot: &mut Snapshot,
        changed: &mut Names,
    ) {
        match written {
            Some(namespace) => self.written.insert(name.clone(), namespace),
            None => self.written.remove(name),
        };
        self.settle(name, snapshot, changed);
    }

    /// Whether somebody wrote it.
    pub(super) fn is_written(&self, name: &Str) -> bool {
        self.written.contains_key(name)
    }

    fn settle(&self, name: &Str, snapshot: &mut Snapshot, changed: &mut Names) {
        let key = ObjectName { namespace: "".into(), name: name.clone() };
        let wanted = match (self.written.get(name), snapshot.namespaces.get(&key)) {
            (Some(written), Some(there)) if written == there => return,
            (Some(written), _) => Some(written.clone()),
            (None, there) if self.inside.contains_key(name) => {
                let labels = Box::new([(NAME_LABEL.into(), name.clone())]);
                let implied = Arc::new(Namespace { name: key.clone(), labels });
                if there == Some(&implied) {
                    return;
                }
                Some(implied)
            }
            (None, None) => return,
            (None, Some(_)) => None,
        };
        changed.insert(key.clone());
        if let Some(namespace) = wanted {
            snapshot.namespaces.insert(key, namespace);
        } else {
            snapshot.namespaces.remove(&key);
        }
        snapshot.revision += 1;
    }
}
