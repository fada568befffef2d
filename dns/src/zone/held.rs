//! A zone that is served while it is replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use tokio::sync::mpsc::UnboundedSender;

use super::{Copying, Zone};
use super::{WholeZone, WholeZoneError};
use crate::wire::Name;

/// Where a zone stands; several instances of a Corefile may share one.
pub type Slot = ArcSwapOption<Zone>;

/// A zone's place: it may be empty until the zone is read for the first time.
#[derive(Debug)]
pub struct Held {
    /// The zone's name.
    pub origin: Name,
    zone: Arc<Slot>,
    is_expired: AtomicBool,
    /// `transfer`, which tells the zone's secondaries.
    changed: Option<UnboundedSender<Name>>,
}

impl Held {
    /// A place for the zone of this name. Its changes are told to `changed`.
    pub fn new(origin: &Name, changed: Option<UnboundedSender<Name>>) -> Held {
        Held::shared(origin, changed, Arc::default())
    }

    /// The same with a slot that outlives this place.
    pub fn shared(origin: &Name, changed: Option<UnboundedSender<Name>>, zone: Arc<Slot>) -> Held {
        Held { origin: origin.clone(), zone, is_expired: AtomicBool::new(false), changed }
    }

    /// What is to be served: None before the zone was read, and after it has expired.
    pub fn get(&self) -> Option<Arc<Zone>> {
        self.zone.load_full().filter(|_| !self.is_expired.load(Ordering::Acquire))
    }

    /// The zone, expired or not.
    pub fn last(&self) -> Option<Arc<Zone>> {
        self.zone.load_full()
    }

    /// Its serial, once it was read.
    pub fn serial(&self) -> Option<u32> {
        self.zone.load().as_ref().map(|zone| zone.soa().serial)
    }

    /// Serves this from now on, and tells its secondaries.
    pub fn set(&self, zone: impl Into<Arc<Zone>>) {
        self.zone.store(Some(zone.into()));
        self.is_expired.store(false, Ordering::Release);
        self.tell();
    }

    /// Serves what another place of the same zone does.
    pub fn take(&self, other: &Held) {
        self.zone.store(other.zone.load_full());
        self.is_expired.store(other.is_expired.load(Ordering::Acquire), Ordering::Release);
    }

    /// Tells the secondaries to look.
    pub fn tell(&self) {
        if let Some(changed) = &self.changed {
            // `transfer` ends with the instance, as this does.
            let _ = changed.send(self.origin.clone());
        }
    }

    /// Its primary has it unchanged: what there is may be served on.
    pub fn renew(&self) {
        self.is_expired.store(false, Ordering::Release);
    }

    /// Serves nothing until there is news (RFC 1035 §3.3.13, EXPIRE).
    pub fn expire(&self) {
        self.is_expired.store(true, Ordering::Release);
    }

    /// All of it, for `transfer`.
    ///
    /// # Errors
    /// There is nothing to serve.
    pub fn whole(&self) -> Result<WholeZone, WholeZoneError> {
        let zone = self.get().ok_or_else(|| WholeZoneError::Away(self.origin.clone()))?;
        Ok(WholeZone { soa: zone.soa_record(), records: Box::new(Copying::new(zone)) })
    }
}
