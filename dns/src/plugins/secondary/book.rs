//! The zones that are copied now: those of the Corefile, and those that catalogs list.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use super::catalog::Member;
use super::{Copy, keep};
use crate::fast::Fast;
use crate::wire::Name;
use crate::zone::Held;

/// All zones.
pub(super) struct Book {
    copies: ArcSwap<Vec<Arc<Copy>>>,
    listed: Mutex<Listed>,
    /// `transfer`, which tells the zones' own secondaries.
    changed: Option<UnboundedSender<Name>>,
}

#[derive(Default)]
struct Listed {
    /// By zone.
    zones: HashMap<Name, Owned>,
    /// What each catalog lists now.
    catalogs: HashMap<Name, Vec<Member>>,
}

/// A zone that is here because a catalog lists it.
struct Owned {
    catalog: Name,
    id: Vec<u8>,
    _task: Task,
}

/// Ends with whoever holds it.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Book {
    /// With the zones of the Corefile.
    pub(super) fn new(copies: Vec<Arc<Copy>>, changed: Option<UnboundedSender<Name>>) -> Book {
        Book { copies: ArcSwap::from_pointee(copies), listed: Mutex::default(), changed }
    }

    /// The zones.
    pub(super) fn all(&self) -> Arc<Vec<Arc<Copy>>> {
        self.copies.load_full()
    }

    /// The longest zone that a name is within.
    pub(super) fn of(&self, name: &Name) -> Option<Arc<Copy>> {
        let copies = self.copies.load();
        let within = copies.iter().filter(|copy| name.is_within(&copy.held.origin));
        within.max_by_key(|copy| copy.held.origin.label_count()).cloned()
    }

    /// Whether the name that is asked for is within one.
    pub(super) fn takes(&self, fast: &Fast<'_>) -> bool {
        self.copies.load().iter().any(|copy| fast.before(copy.held.origin.as_wire()).is_some())
    }

    /// A catalog lists these now: new ones are copied from its primaries, what it no longer lists goes.
    pub(super) fn list(&self, catalog: &Copy, members: Vec<Member>) {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut copies = self.copies.load().to_vec();
        let origin = &catalog.held.origin;
        let is_allowed = |zone: &Name| {
            catalog.catalog.as_ref().is_some_and(|allowed| allowed.names().is_empty() || allowed.of(zone).is_some())
        };
        let (members, refused): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| is_allowed(&member.zone));
        if !refused.is_empty() {
            tracing::warn!(catalog = %origin, zones = refused.len(), "zones that the catalog may not list are left out");
        }
        let is_gone =
            |zone: &Name, owned: &Owned| owned.catalog == *origin && !members.iter().any(|member| member.zone == *zone);
        let gone: Vec<Name> =
            listed.zones.iter().filter(|(zone, owned)| is_gone(zone, owned)).map(|(zone, _)| zone.clone()).collect();
        for zone in gone {
            tracing::info!(%zone, catalog = %origin, "the catalog no longer lists the zone");
            listed.zones.remove(&zone);
            copies.retain(|copy| copy.held.origin != zone);
        }
        for member in &members {
            let zone = &member.zone;
            let old = copies.iter().position(|copy| copy.held.origin == *zone);
            let keeps = match (old, listed.zones.get(zone)) {
                (None, _) => false,
                // One of the Corefile's own.
                (Some(_), None) => {
                    tracing::warn!(%zone, catalog = %origin, "the zone is served already; the catalog's is left out");
                    continue;
                }
                (Some(_), Some(owned)) if owned.catalog == *origin => {
                    if owned.id == member.id {
                        continue;
                    }
                    false
                }
                (Some(_), Some(owned)) => {
                    let theirs = listed.catalogs.get(&owned.catalog).into_iter().flatten();
                    let mut given =
                        theirs.filter(|theirs| theirs.zone == *zone && theirs.new_owner.as_ref() == Some(origin));
                    let Some(given) = given.next() else {
                        tracing::warn!(%zone, catalog = %origin, other = %owned.catalog, "another catalog has the zone");
                        continue;
                    };
                    // The same label: the same zone, whose data stay.
                    given.id == member.id && owned.id == member.id
                }
            };
            let held = Held::new(zone, self.changed.clone());
            if let Some(old) = old.map(|at| copies.remove(at)).filter(|_| keeps) {
                held.take(&old.held);
            }
            tracing::info!(%zone, catalog = %origin, "copying a zone that the catalog lists");
            let copy = Arc::new(Copy { held, from: catalog.from.clone(), news: Notify::new(), catalog: None });
            let task = Task(tokio::spawn(keep::run(copy.clone(), None)));
            copies.push(copy);
            listed.zones.insert(zone.clone(), Owned { catalog: origin.clone(), id: member.id.clone(), _task: task });
        }
        listed.catalogs.insert(origin.clone(), members);
        self.copies.store(Arc::new(copies));
    }
}
