//! What stands at which key below the prefix; the layout is drawn in [`crate`].
//!
//! An object's key and its kind and name say the same: [`Keys::object`] and [`Keys::read`] are each
//! other's inverse. Kinds that are not read may be stored too, and have keys of the same form.

use std::net::IpAddr;

use ipnet::IpNet;

use bowline_cluster::object::{Kind, ObjectKey, ObjectName, Protocol, Str};

/// The keys below one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// With a `/` before it and none after it; empty for the root.
    prefix: String,
}

impl Keys {
    /// Keys below this prefix; a `/` before it is added, one after it is taken off.
    pub(super) fn new(prefix: &str) -> Result<Keys, String> {
        let names = prefix.strip_prefix('/').unwrap_or(prefix);
        let names = names.strip_suffix('/').unwrap_or(names);
        if names.is_empty() {
            return Ok(Keys { prefix: String::new() });
        }
        if names.split('/').any(str::is_empty) || names.contains(char::is_whitespace) {
            return Err("prefix= has an empty or a blank part; write /NAME or /NAME/NAME".to_owned());
        }
        Ok(Keys { prefix: format!("/{names}") })
    }

    /// The prefix: with a `/` before it and none after it, empty for the root.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What the keys of all objects begin with.
    pub fn objects(&self) -> String {
        format!("{}/objects/", self.prefix)
    }

    /// What the keys of all objects of a resource begin with; in one namespace, or in all.
    pub fn resource(&self, plural: &str, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) => format!("{}{plural}/{namespace}/", self.objects()),
            None => format!("{}{plural}/", self.objects()),
        }
    }

    /// The key of an object of any kind; `namespace` is empty for a cluster-wide one.
    pub fn any_object(&self, plural: &str, namespace: &str, name: &str) -> String {
        let slash = if namespace.is_empty() { "" } else { "/" };
        format!("{}{plural}/{namespace}{slash}{name}", self.objects())
    }

    /// The key of an object of a kind that is read.
    pub fn object(&self, object: &ObjectKey) -> String {
        self.any_object(object.kind.plural(), &object.name.namespace, &object.name.name)
    }

    /// Whose key it is; None for kinds that are not read. An error says what the key should look like.
    pub fn read(&self, key: &[u8]) -> Result<Option<ObjectKey>, String> {
        let objects = self.objects();
        let path = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(&objects));
        let mut parts = path.ok_or("is no key of an object")?.split('/');
        let plural = parts.next().unwrap_or_default();
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.plural() == plural) else { return Ok(None) };
        let name = match (kind.is_cluster_wide(), parts.next(), parts.next(), parts.next()) {
            (true, Some(name), None, None) => ObjectName { namespace: Str::default(), name: Str::from(name) },
            (false, Some(namespace), Some(name), None) if !namespace.is_empty() => {
                ObjectName { namespace: Str::from(namespace), name: Str::from(name) }
            }
            (true, ..) => return Err(format!("is no key of a {kind}; store it at {objects}{plural}/NAME")),
            (false, ..) => return Err(format!("is no key of a {kind}; store it at {objects}{plural}/NAMESPACE/NAME")),
        };
        if name.name.is_empty() {
            return Err(format!("names no {kind}"));
        }
        Ok(Some(ObjectKey { kind, name }))
    }

    /// Who holds a Service address.
    pub fn address(&self, address: IpAddr) -> String {
        format!("{}{address}", self.addresses())
    }

    /// What the keys of all claims of Service addresses begin with.
    pub fn addresses(&self) -> String {
        format!("{}/claims/addresses/", self.prefix)
    }

    /// Who holds a node port.
    pub fn node_port(&self, protocol: Protocol, port: u16) -> String {
        format!("{}{protocol}/{port}", self.node_ports())
    }

    /// What the keys of all claims of node ports begin with.
    pub fn node_ports(&self) -> String {
        format!("{}/claims/nodeports/", self.prefix)
    }

    /// Who holds a port for health checks; they come from the space of the node ports.
    pub fn health_check_port(&self, port: u16) -> String {
        format!("{}{port}", self.health_check_ports())
    }

    /// What the keys of all claims of ports for health checks begin with.
    pub fn health_check_ports(&self) -> String {
        format!("{}/claims/healthcheckports/", self.prefix)
    }

    /// Which node holds a range of pod addresses.
    pub fn pod_cidr(&self, cidr: IpNet) -> String {
        format!("{}{cidr}", self.pod_cidrs())
    }

    /// What the keys of all claims of pod ranges begin with.
    pub fn pod_cidrs(&self) -> String {
        format!("{}/claims/podcidrs/", self.prefix)
    }

    /// What a node says of itself while it is alive.
    pub fn alive(&self, node: &str) -> String {
        format!("{}{node}", self.all_alive())
    }

    /// What the keys of all nodes that are alive begin with.
    pub fn all_alive(&self) -> String {
        format!("{}/alive/", self.prefix)
    }

    /// What holds for the whole cluster.
    pub fn cluster(&self) -> String {
        format!("{}/cluster", self.prefix)
    }
}

#[cfg(test)]
mod tests;
