//! The ConfigMap of kube-dns: stub domains, upstream servers and federations; and the Corefile that does
//! what it asks for. NodeLocal DNSCache reads it too: see [`super::node_cache`].

use super::SetupError;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Map, Value};

use super::file;
use crate::wire::Name;

/// The keys that kube-dns reads.
const KEYS: [&str; 3] = ["stubDomains", "upstreamNameservers", "federations"];
/// More servers than these `forward` does not take.
const MAX_SERVERS: usize = 15;

/// What the ConfigMap asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KubeDns {
    /// Zones and the servers that know them (`10.0.0.1`, `10.0.0.1:5353`, `[fd00::1]:53`, `tls://10.0.0.1`).
    pub stub_domains: BTreeMap<String, Vec<String>>,
    /// The servers for all other names outside of the cluster; none: those of /etc/resolv.conf.
    pub upstream_nameservers: Vec<String>,
    /// Names of federations and their domains. Kubernetes has no federations any more.
    pub federations: BTreeMap<String, String>,
    /// What was left out, and why.
    pub warnings: Vec<String>,
}

impl KubeDns {
    /// Reads the objects of a manifest, each with where it stands; `file` is where all of them stand. Those that are no
    /// ConfigMaps don't matter; of several ConfigMaps the one called `kube-dns` is meant.
    ///
    /// # Errors
    /// There is none, or what is wrong with it.
    pub fn from_objects(file: &str, objects: &[(String, Value)]) -> Result<KubeDns, SetupError> {
        let maps: Vec<_> = objects.iter().filter(|(_, object)| object["kind"] == "ConfigMap").collect();
        let named = maps.iter().find(|(_, map)| map["metadata"]["name"] == "kube-dns");
        let Some((origin, map)) = named.or(maps.first().filter(|_| maps.len() == 1)) else {
            return Err(format!("{file}: holds no ConfigMap called kube-dns").into());
        };
        let mut data = BTreeMap::new();
        for (key, value) in map["data"].as_object().unwrap_or(&Map::new()) {
            if !KEYS.contains(&key.as_str()) || value.is_null() {
                data.insert(key.clone(), String::new());
                continue;
            }
            let Some(value) = value.as_str() else {
                return Err(format!("{}: data.{key} is not a string; ConfigMaps hold JSON as a string", origin).into());
            };
            data.insert(key.clone(), value.to_string());
        }
        Ok(KubeDns::from_data(&data).map_err(|reason| format!("{origin}: {reason}"))?)
    }

    /// Reads a folder into which the ConfigMap is mounted. A folder that isn't there asks for nothing.
    ///
    /// # Errors
    /// A file in it can't be read, or what is wrong with it.
    pub fn from_folder(folder: &Path) -> Result<KubeDns, SetupError> {
        let mut data = BTreeMap::new();
        for key in KEYS {
            let path = folder.join(key);
            if path.exists() {
                data.insert(
                    key.to_string(),
                    file::read(&path).map_err(|error| format!("{}: {error}", path.display()))?,
                );
            }
        }
        Ok(KubeDns::from_data(&data).map_err(|reason| format!("{}: {reason}", folder.display()))?)
    }

    fn from_data(data: &BTreeMap<String, String>) -> Result<KubeDns, SetupError> {
        let mut asked = KubeDns::default();
        for (key, text) in data {
            if !KEYS.contains(&key.as_str()) {
                asked.warnings.push(format!("{key:?} is no key that kube-dns knows; it is left out, as kube-dns does"));
                continue;
            }
            let value: Value = match text.trim() {
                "" | "null" => continue,
                // As kube-dns's own flag had it.
                text if key == "federations" && !text.starts_with('{') => pairs(text),
                text => serde_json::from_str(text).map_err(|error| format!("{key} is not JSON: {error}"))?,
            };
            match key.as_str() {
                "stubDomains" => asked.read_stub_domains(&value)?,
                "upstreamNameservers" => {
                    let servers = texts(&value).ok_or("upstreamNameservers is not a list of addresses")?;
                    asked.upstream_nameservers = asked.servers("upstreamNameservers", servers)?;
                }
                _ => asked.read_federations(&value)?,
            }
        }
        Ok(asked)
    }

    fn read_stub_domains(&mut self, value: &Value) -> Result<(), SetupError> {
        let domains = value.as_object().ok_or("stubDomains is not a map of domains to lists of servers")?;
        for (domain, servers) in domains {
            if !is_domain(domain) {
                return Err(format!("stubDomains: {domain:?} is not a domain name").into());
            }
            let what = format!("stubDomains: {domain}");
            let servers = texts(servers).ok_or_else(|| format!("{what}: is not a list of addresses"))?;
            let servers = self.servers(&what, servers)?;
            if servers.is_empty() {
                self.warnings.push(format!("{what}: is left out, for no server is left"));
            } else {
                self.stub_domains.insert(domain.clone(), servers);
            }
        }
        Ok(())
    }

    fn read_federations(&mut self, value: &Value) -> Result<(), SetupError> {
        let federations = value.as_object().ok_or("federations is not a map of names to domains")?;
        for (name, domain) in federations {
            let domain = domain.as_str().filter(|domain| is_domain(domain) && is_domain(name));
            let domain = domain.ok_or_else(|| format!("federations: {name:?} has no domain name"))?;
            self.federations.insert(name.clone(), domain.to_string());
            self.warnings.push(format!(
                "federations: {name} ({domain}) is left out: Kubernetes has no federations any more; \
                 use multi-cluster services (multicluster in the kubernetes directive)"
            ));
        }
        Ok(())
    }

    /// The servers that can be asked. A name isn't: who would look it up?
    fn servers(&mut self, what: &str, servers: Vec<&str>) -> Result<Vec<String>, SetupError> {
        let mut kept = Vec::new();
        for server in servers {
            if is_server(server) {
                kept.push(server.to_string());
            } else if is_name(server) {
                self.warnings.push(format!("{what}: {server} is a name and is left out; write the server's address"));
            } else {
                return Err(format!(
                    "{what}: {server:?} is not an address; write 10.0.0.1, 10.0.0.1:5353 or [fd00::1]:53"
                )
                .into());
            }
        }
        if kept.len() > MAX_SERVERS {
            return Err(format!("{what}: has more than {MAX_SERVERS} servers").into());
        }
        Ok(kept)
    }

    /// The Corefile that does the same: kubeadm's, a block for each stub domain, and what was left out as
    /// comments. `domain` is the cluster's.
    ///
    /// # Errors
    /// A stub domain is the cluster's domain, or `domain` is none.
    pub fn corefile(&self, domain: &str) -> Result<String, SetupError> {
        if !is_domain(domain) {
            return Err(format!("the cluster's domain {domain:?} is not a domain name").into());
        }
        let is_cluster = |stub: &&String| stub.trim_end_matches('.').eq_ignore_ascii_case(domain.trim_end_matches('.'));
        if let Some(stub) = self.stub_domains.keys().find(is_cluster) {
            return Err(format!("stubDomains: {stub} is the cluster's own domain; remove it").into());
        }
        let upstream = match self.upstream_nameservers.as_slice() {
            [] => "/etc/resolv.conf".to_string(),
            servers => servers.join(" "),
        };
        let mut text = String::from("# Made from the ConfigMap of kube-dns.\n");
        for warning in &self.warnings {
            let _ = writeln!(text, "# {}", warning.replace(|c: char| c.is_control(), " "));
        }
        text.push_str(&MAIN.replace("DOMAIN", domain).replace("UPSTREAM", &upstream));
        for (stub, servers) in &self.stub_domains {
            text.push_str(&STUB.replace("DOMAIN", stub).replace("UPSTREAM", &servers.join(" ")));
        }
        Ok(text)
    }
}

/// `NAME=DOMAIN,NAME=DOMAIN` as a map.
fn pairs(text: &str) -> Value {
    let pair = |pair: &str| {
        let (name, domain) = pair.split_once('=').unwrap_or((pair, ""));
        (name.trim().to_owned(), Value::from(domain.trim()))
    };
    Value::Object(text.split(',').map(pair).collect())
}

/// kubeadm's Corefile.
const MAIN: &str = "\
.:53 {
    errors
    health {
        lameduck 5s
    }
    ready
    kubernetes DOMAIN in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus :9153
    forward . UPSTREAM {
        max_concurrent 1000
    }
    cache 30 {
        disable success DOMAIN
        disable denial DOMAIN
    }
    loop
    reload
    loadbalance
}
";

const STUB: &str = "\
DOMAIN:53 {
    errors
    cache 30
    loop
    forward . UPSTREAM
}
";

fn texts(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

/// A name that can stand in a Corefile as it is.
fn is_domain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.bytes().all(is_plain) && Name::parse(text).is_ok()
}

/// A name with or without a port.
fn is_name(text: &str) -> bool {
    let host = text.split_once(':').map_or(text, |(host, _)| host);
    is_domain(host) && host.parse::<IpAddr>().is_err()
}

/// An address with or without a port, as `forward` takes it.
fn is_server(text: &str) -> bool {
    let server = ["dns://", "tls://"].iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
    if server.parse::<IpAddr>().is_ok() {
        return true;
    }
    let Some((address, port)) = server.rsplit_once(':') else { return false };
    let address = match address.strip_prefix('[').and_then(|address| address.strip_suffix(']')) {
        Some(inner) => inner.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()),
        None => address.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4()),
    };
    address && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests;
