//! The cluster's answers, compiled from [`bowline_cluster::snapshot::Snapshot`] under the options of one `kubernetes`
//! directive.
//!
//! ```text
//! Snapshot ─> Keeper (what differs from the last one?) ─> Records, swapped whole ─> resolve ─> Answer ─┬─> bytes
//!                                                                                                      └─> records
//! ```
//!
//! [`Records`] never change: a [`Keeper`] makes the next from the last, compiles anew the Services that changed and
//! shares all else, so the cost of a change does not grow with the cluster. A question takes a look into one hash
//! table by the labels in front of the zone; A and AAAA answers lie there encoded, SRV answers sorted out, and most
//! names that do not exist are known as such after that look. Nothing is allocated on the way to any of these.
//! Rare names (endpoints of a Service, addresses of a zone, name servers) are put together when asked.
//!
//! The names and their answers are those of the Kubernetes specification, schema 1.1.0, and of CoreDNS beyond it:
//! where the specification says nothing, the odd corners are CoreDNS's, and say so where they stand.

mod bytes;
mod entry;
mod external;
mod found;
mod host;
mod keeper;
mod messages;
mod nameservers;
mod options;
mod pointers;
mod resolve;
mod rrset;
mod split;
mod targets;
#[cfg(test)]
mod tests;
mod transfer;

use std::net::IpAddr;
use std::sync::Arc;

use bowline_cluster::object::{ObjectName, Pod, Str};
use bowline_cluster::snapshot::Snapshot;
use foldhash::fast::RandomState;
use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, GenericHashSet, OrdSet};

pub use bytes::{Asked, Written};
pub use external::{At, Outside, Target};
pub use found::{Answer, Found, Sections};
pub use keeper::Keeper;
pub use options::{DEFAULT_TTL, Options, PodMode, Zone};
pub use rrset::{Near, Rrset};
pub use split::{Parts, PartsError};
pub use transfer::Transfer;

use entry::Keyed;
use pointers::Pointers;

/// Entries by the labels in front of the zone.
type Entries = GenericHashMap<Keyed, (), RandomState, DefaultSharedPtr>;

/// What the cluster answers at one moment. Cheap to clone: the parts are shared.
#[derive(Clone, Debug)]
pub struct Records {
    options: Arc<Options>,
    /// A whole read of the state is in here; before, nothing is known not to exist.
    synced: bool,
    /// Of the SOA: when what is answered changed last, in seconds since 1970 (modulo 2^32, RFC 1982).
    serial: u32,
    /// The same of multi-cluster zones.
    import_serial: u32,
    /// Services of exposed namespaces.
    services: Entries,
    /// ServiceImports of exposed namespaces.
    imports: Entries,
    /// Namespaces that are exposed.
    namespaces: GenericHashSet<Str, RandomState, DefaultSharedPtr>,
    pointers: Pointers,
    /// Pods by their first address; empty unless they are to be verified.
    pods: OrdSet<(IpAddr, ObjectName)>,
    snapshot: Snapshot,
}

impl Records {
    /// Before anything was read.
    pub fn new(options: Arc<Options>) -> Records {
        Records {
            options,
            synced: false,
            serial: 0,
            import_serial: 0,
            services: Entries::default(),
            imports: Entries::default(),
            namespaces: GenericHashSet::default(),
            pointers: Pointers::default(),
            pods: OrdSet::default(),
            snapshot: Snapshot::default(),
        }
    }

    /// Under which these are compiled.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The same, to keep.
    pub(crate) fn shared_options(&self) -> &Arc<Options> {
        &self.options
    }

    /// Whether a whole read of the state is in here. Until then every answer is [`Found::NotReady`].
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// The snapshot that these were compiled from.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The serial number of a zone's SOA.
    pub fn serial(&self, zone: &Zone) -> u32 {
        if zone.is_multicluster { self.import_serial } else { self.serial }
    }

    /// Whether names of this namespace exist: it does itself, and the options let it be seen.
    pub fn is_exposed(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }

    /// The namespace of the running Pods with this address; None where there is none, where Pods of several
    /// namespaces have it, and unless Pods are verified.
    pub fn namespace_at(&self, ip: IpAddr) -> Option<&Str> {
        let from = (ip, ObjectName::default());
        let mut here = self.pods.range(from..).take_while(|(at, _)| *at == ip).map(|(_, name)| &name.namespace);
        let first = here.next()?;
        here.all(|other| other == first).then_some(first)
    }

    /// The Pod with this address (of several on one node's address, the first by name). None unless Pods are
    /// verified; as CoreDNS, by a Pod's first address only.
    pub fn pod_at(&self, ip: IpAddr) -> Option<&Arc<Pod>> {
        let (at, name) = self.pods.get_next(&(ip, ObjectName::default()))?;
        if *at == ip { self.snapshot.pods.get(name) } else { None }
    }
}
