//! The objects that the sources are loaded with, and their changes.
//!
//! All Services have endpoints that nobody is behind, as most of a cluster's are never asked. Three lead to
//! a real server: the first, the middle one, which changes, and the last.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::manifests;
use crate::report::date;

/// Endpoints of a Service.
pub(crate) const ENDPOINTS: usize = 10;
/// How many namespaces [`manifests::objects`] spreads Services over.
const NAMESPACES: usize = 100;

/// An object, and what its path is made of.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) plural: &'static str,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) value: Value,
}

impl Object {
    fn new(plural: &'static str, mut value: Value) -> Result<Object> {
        let metadata =
            value.get_mut("metadata").and_then(Value::as_object_mut).context("an object without metadata")?;
        // The server's to give.
        for field in ["uid", "resourceVersion", "creationTimestamp"] {
            metadata.remove(field);
        }
        let text = |field| metadata.get(field).and_then(Value::as_str).map(str::to_owned);
        let (namespace, name) = (text("namespace"), text("name").context("an object without a name")?);
        Ok(Object { plural, namespace, name, value })
    }

    /// Its path in the API, below that of its group.
    pub(crate) fn path(&self) -> String {
        let Object { plural, namespace, name, .. } = self;
        match namespace {
            Some(namespace) => format!("namespaces/{namespace}/{plural}/{name}"),
            None => format!("{plural}/{name}"),
        }
    }

    /// Its key in etcd, below the prefix.
    pub(crate) fn key(&self) -> String {
        let Object { plural, namespace, name, .. } = self;
        match namespace {
            Some(namespace) => format!("objects/{plural}/{namespace}/{name}"),
            None => format!("objects/{plural}/{name}"),
        }
    }

    /// The same, written now because of a change now: what network programming latency is counted from.
    pub(crate) fn triggered(mut self) -> Result<Object> {
        let stamp = stamp(SystemTime::now())?;
        self.value["metadata"]["annotations"] = json!({"endpoints.kubernetes.io/last-change-trigger-time": stamp});
        Ok(self)
    }
}

/// RFC 3339, in UTC, to the nanosecond.
fn stamp(time: SystemTime) -> Result<String> {
    let since = time.duration_since(UNIX_EPOCH)?;
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days as i64);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    Ok(format!("{year}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:09}Z", since.subsec_nanos()))
}

/// So many Services, and who is behind the real ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) services: usize,
    pub(crate) server: Ipv4Addr,
}

impl Shape {
    /// The Services that lead to a server: the first, the one that changes, the last.
    pub(crate) fn real(&self) -> [usize; 3] {
        [0, self.services / 2, self.services - 1]
    }

    /// The Service that changes.
    pub(crate) fn changing(&self) -> usize {
        self.services / 2
    }

    /// What a Service's endpoints are at first.
    pub(crate) fn endpoints(&self, service: usize) -> Vec<IpAddr> {
        if self.real().contains(&service) { vec![self.server.into()] } else { manifests::endpoints(ENDPOINTS, service) }
    }
}

/// Where a Service is reached.
pub(crate) fn address(service: usize) -> SocketAddr {
    manifests::Folder::address(service)
}

/// A Service and its slice.
pub(crate) fn service(service: usize, endpoints: &[IpAddr]) -> Result<[Object; 2]> {
    let [mut first, second] = manifests::objects(service, endpoints);
    if let Some(first) = first.as_object_mut() {
        first.remove("status");
    }
    Ok([Object::new("services", first)?, Object::new("endpointslices", second)?])
}

/// The slice of a Service.
pub(crate) fn slice(of: usize, endpoints: &[IpAddr]) -> Result<Object> {
    let [_, slice] = service(of, endpoints)?;
    Ok(slice)
}

/// The namespaces of all Services.
pub(crate) fn namespaces() -> Result<Vec<Object>> {
    let namespace = |n| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("shop-{n}")}});
    (0..NAMESPACES).map(|n| Object::new("namespaces", namespace(n))).collect()
}

/// A node.
pub(crate) fn node(name: &str, address: Ipv4Addr) -> Result<Object> {
    Object::new(
        "nodes",
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
            "status": {"addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]},
        }),
    )
}

#[cfg(test)]
mod tests;
