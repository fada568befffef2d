//! Objects into Kubernetes JSON, which [`crate::parse`] reads back as equal records.
//!
//! What is written is what a record holds, and what has its default is left out: not the manifest that was
//! read, but one that means the same here. Where a record no longer knows which of two ways its manifest
//! said a thing, one of them is taken (a hidden slice has the label `service.kubernetes.io/headless`, a
//! finished Pod has Succeeded, a terminating one is being deleted since 1970).

use std::io;

use serde::{Serialize, Serializer};

use bowline_cluster::object::{Kind, Namespace, NetworkPolicy, Object, ObjectName, Str};

mod endpoints;
#[cfg(test)]
pub(crate) mod generate;
mod others;
mod service;
mod slice;
#[cfg(test)]
mod tests;

/// Writes one object as JSON, on one line and without an end of line. An error is one of `out`.
pub fn write(object: &Object, out: impl io::Write) -> io::Result<()> {
    fn json(out: impl io::Write, manifest: impl Serialize) -> io::Result<()> {
        serde_json::to_writer(out, &manifest).map_err(io::Error::from)
    }
    match object {
        Object::Service(service) => json(out, service::manifest(service)),
        Object::EndpointSlice(slice) => json(out, slice::manifest(slice)),
        Object::Endpoints(mirror) => json(out, endpoints::manifest(mirror)),
        Object::Pod(pod) => json(out, others::pod(pod)),
        Object::Node(node) => json(out, others::node(node)),
        Object::Namespace(namespace) => json(out, self::namespace(namespace)),
        Object::NetworkPolicy(policy) => json(out, network_policy(policy)),
        Object::ServiceImport(import) => json(out, others::service_import(import)),
        Object::ServiceCidr(cidr) => json(out, others::service_cidr(cidr)),
        Object::PodAddresses(told) => json(out, others::pod_addresses(told)),
    }
}

/// Seconds since 1970 in RFC 3339, as UTC. What lies up to a day outside of the years 0000 to 9999 is
/// written by an offset from UTC, as it was when it was read; what lies beyond, as the nearest that can be.
pub(crate) fn rfc3339(seconds: i64) -> String {
    const FIRST: i64 = -62_167_219_200;
    const LAST: i64 = 253_402_300_799;
    const OFFSET: i64 = (23 * 60 + 59) * 60;
    let (local, zone) = match seconds {
        ..FIRST => (seconds.saturating_add(OFFSET).max(FIRST), "+23:59"),
        FIRST..=LAST => (seconds, "Z"),
        _ => (seconds.saturating_sub(OFFSET).min(LAST), "-23:59"),
    };
    let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    // The Gregorian calendar with years that begin in March, so that the leap day is a year's last; in
    // eras of 400 years, which are all alike.
    let since = days + 719_468;
    let (era, day_of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * m + 2) / 5 + 1;
    let (month, later) = if m < 10 { (m + 3, 0) } else { (m - 9, 1) };
    let year = era * 400 + year_of_era + later;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}")
}

/// What every kind has; `Nothing` stands for parts that a kind doesn't have.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a, L, Spec = Nothing, Status = Nothing> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a, L>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<Spec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(Serialize)]
enum Nothing {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a, L> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<L>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Annotations<'a> {
    Service {
        #[serde(rename = "bowline.dev/scheduler")]
        scheduler: &'static str,
    },
    Node(others::FlannelAnnotations<'a>),
}

impl<'a, L> Metadata<'a, L> {
    fn new(name: &'a ObjectName, labels: Option<L>) -> Metadata<'a, L> {
        Metadata {
            name: &name.name,
            namespace: &name.namespace,
            creation_timestamp: None,
            deletion_timestamp: None,
            labels,
            annotations: None,
        }
    }
}

/// Labels or a selector.
struct Pairs<'a>(&'a [(Str, Str)]);

impl<'a> Pairs<'a> {
    /// None where there is none.
    fn some(pairs: &'a [(Str, Str)]) -> Option<Pairs<'a>> {
        (!pairs.is_empty()).then_some(Pairs(pairs))
    }
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (&**key, &**value)))
    }
}

/// The `apiVersion` in which a kind is read and written.
const fn api_version(kind: Kind) -> &'static str {
    match kind {
        Kind::Service | Kind::Endpoints | Kind::Pod | Kind::Node | Kind::Namespace => "v1",
        Kind::EndpointSlice => "discovery.k8s.io/v1",
        Kind::NetworkPolicy | Kind::ServiceCidr => "networking.k8s.io/v1",
        Kind::ServiceImport => "multicluster.x-k8s.io/v1alpha1",
        Kind::PodAddresses => "bowline.dev/v1",
    }
}

impl<'a, L, Spec, Status> Manifest<'a, L, Spec, Status> {
    fn new(kind: Kind, metadata: Metadata<'a, L>, spec: Option<Spec>, status: Option<Status>) -> Self {
        Manifest { api_version: api_version(kind), kind: kind.as_str(), metadata, spec, status }
    }
}

fn namespace(namespace: &Namespace) -> Manifest<'_, Pairs<'_>> {
    let metadata = Metadata::new(&namespace.name, Pairs::some(&namespace.labels));
    Manifest::new(Kind::Namespace, metadata, None, None)
}

fn network_policy(policy: &NetworkPolicy) -> Manifest<'_, Nothing> {
    Manifest::new(Kind::NetworkPolicy, Metadata::new(&policy.name, None), None, None)
}

/// For numbers and flags that are left out where they are 0 or false.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A list of what has a text.
fn texts<S: Serializer, T: std::fmt::Display>(list: &&[T], serializer: S) -> Result<S::Ok, S::Error> {
    struct Text<'a, T>(&'a T);
    impl<T: std::fmt::Display> Serialize for Text<'_, T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self.0)
        }
    }
    serializer.collect_seq(list.iter().map(Text))
}
