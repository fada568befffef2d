//! Results as JSON, in each version's shape.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::{CniResult, Dns, Interface, IpConfig, Route};
use crate::error::CniError;
use crate::fields::{Field, FieldError, list_of};
use crate::version::Version;

impl CniResult {
    /// The result as a version prints it. What it has no place for is left out: before 0.3.0 all but one address of each
    /// family with the family's routes, before 1.1.0 an interface's mtu, socketPath and pciID and what a route has beside
    /// destination and gateway.
    pub fn to_version(&self, version: Version) -> Value {
        let mut object = Map::new();
        object.insert("cniVersion".into(), version.as_str().into());
        if version < Version::V0_3_0 {
            for (key, is_v6) in [("ip4", false), ("ip6", true)] {
                if let Some(ip) = self.ips.iter().find(|ip| ip.address.addr().is_ipv6() == is_v6) {
                    object.insert(key.into(), self.old_address(ip));
                }
            }
        } else {
            list(&mut object, "interfaces", self.interfaces.iter().map(|one| interface_json(one, version)));
            list(&mut object, "ips", self.ips.iter().map(|one| ip_json(one, version)));
            list(&mut object, "routes", self.routes.iter().map(|one| route_json(one, version)));
        }
        // Go prints it also when it says nothing, and programs rely on that.
        object.insert("dns".into(), dns_json(&self.dns));
        Value::Object(object)
    }

    /// An address in the shape before 0.3.0.
    fn old_address(&self, ip: &IpConfig) -> Value {
        let mut old = Map::new();
        old.insert("ip".into(), ip.address.to_string().into());
        put(&mut old, "gateway", ip.gateway.map(|gateway| gateway.to_string()));
        let is_v6 = ip.address.addr().is_ipv6();
        let routes = self.routes.iter().filter(|route| route.dst.addr().is_ipv6() == is_v6);
        list(&mut old, "routes", routes.map(|route| route_json(route, Version::V0_2_0)));
        Value::Object(old)
    }

    /// Reads a result of any version: a plugin's output, or a configuration's prevResult. Without a cniVersion its shape
    /// decides.
    ///
    /// # Errors
    /// Code 1 for a version that we don't speak, 6 for what is no result; the message names the field, from `path` on
    /// (`prevResult`; may be empty).
    pub fn from_json(json: &Value, path: &str) -> Result<CniResult, CniError> {
        let whole = Field::at(path, json);
        let decode = |error: FieldError| CniError::new(CniError::DECODE, format!("result: {error}"));
        let version = whole.get("cniVersion").map_err(decode)?;
        let version = version.map(|version| version.text()).transpose().map_err(decode)?;
        if let Some(version) = version.filter(|version| !version.is_empty()) {
            let spoken = version.parse::<Version>();
            spoken.map_err(|error| CniError::new(CniError::INCOMPATIBLE_VERSION, format!("result: {error}")))?;
        }
        read(&whole).map_err(decode)
    }
}

impl From<CniResult> for Value {
    fn from(result: CniResult) -> Value {
        result.to_version(Version::NEWEST)
    }
}

impl TryFrom<Value> for CniResult {
    type Error = CniError;

    fn try_from(json: Value) -> Result<CniResult, CniError> {
        CniResult::from_json(&json, "")
    }
}

fn put(object: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(key.into(), value.into());
    }
}

fn filled(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// Empty lists are left out.
fn list(object: &mut Map<String, Value>, key: &str, values: impl Iterator<Item = Value>) {
    let values: Vec<Value> = values.collect();
    if !values.is_empty() {
        object.insert(key.into(), values.into());
    }
}

fn interface_json(interface: &Interface, version: Version) -> Value {
    let mut object = Map::new();
    object.insert("name".into(), interface.name.as_str().into());
    put(&mut object, "mac", filled(&interface.mac));
    put(&mut object, "sandbox", filled(&interface.sandbox));
    if version >= Version::V1_1_0 {
        put(&mut object, "mtu", interface.mtu);
        put(&mut object, "socketPath", filled(&interface.socket_path));
        put(&mut object, "pciID", filled(&interface.pci_id));
    }
    Value::Object(object)
}

fn ip_json(ip: &IpConfig, version: Version) -> Value {
    let mut object = Map::new();
    if version < Version::V1_0_0 {
        object.insert("version".into(), if ip.address.addr().is_ipv6() { "6" } else { "4" }.into());
    }
    object.insert("address".into(), ip.address.to_string().into());
    put(&mut object, "gateway", ip.gateway.map(|gateway| gateway.to_string()));
    put(&mut object, "interface", ip.interface);
    Value::Object(object)
}

fn route_json(route: &Route, version: Version) -> Value {
    let mut object = Map::new();
    object.insert("dst".into(), route.dst.to_string().into());
    put(&mut object, "gw", route.gw.map(|gw| gw.to_string()));
    if version >= Version::V1_1_0 {
        put(&mut object, "mtu", route.mtu);
        put(&mut object, "advmss", route.advmss);
        put(&mut object, "priority", route.priority);
        put(&mut object, "table", route.table);
        put(&mut object, "scope", route.scope);
    }
    Value::Object(object)
}

fn dns_json(dns: &Dns) -> Value {
    let mut object = Map::new();
    let texts = |texts: &[String]| texts.iter().map(|text| Value::from(text.as_str())).collect::<Vec<_>>();
    list(&mut object, "nameservers", texts(&dns.nameservers).into_iter());
    put(&mut object, "domain", filled(&dns.domain));
    list(&mut object, "search", texts(&dns.search).into_iter());
    list(&mut object, "options", texts(&dns.options).into_iter());
    Value::Object(object)
}

const A_GATEWAY: &str = "an IP address";

fn read(whole: &Field<'_>) -> Result<CniResult, FieldError> {
    let mut result = CniResult {
        interfaces: list_of(whole, "interfaces", interface)?,
        ips: list_of(whole, "ips", ip)?,
        routes: list_of(whole, "routes", route)?,
        dns: whole.get("dns")?.map(|dns| Dns::read(&dns)).transpose()?.unwrap_or_default(),
    };
    for key in ["ip4", "ip6"] {
        let Some(old) = whole.get(key)? else { continue };
        let address = old.need("ip")?.parse::<IpNet>("an address with a prefix length")?;
        let gateway = gateway(&old, "gateway")?;
        result.ips.push(IpConfig { address, gateway, interface: None });
        result.routes.extend(list_of(&old, "routes", route)?);
    }
    let count = result.interfaces.len();
    if let Some(at) = result.ips.iter().position(|ip| ip.interface.is_some_and(|one| one as usize >= count)) {
        let path = whole.path_of(&format!("ips[{at}].interface"));
        return Err(FieldError { path, wrong: format!("there are {count} interfaces") });
    }
    Ok(result)
}

fn gateway(field: &Field<'_>, name: &str) -> Result<Option<IpAddr>, FieldError> {
    Ok(field.get(name)?.map(|one| one.parse_filled(A_GATEWAY)).transpose()?.flatten())
}

fn number(field: &Field<'_>, name: &str) -> Result<Option<u32>, FieldError> {
    field.get(name)?.map(|one| one.number(0, u32::MAX, "a number")).transpose()
}

/// The same, where Go writes 0 for none.
fn number_above_0(field: &Field<'_>, name: &str) -> Result<Option<u32>, FieldError> {
    Ok(number(field, name)?.filter(|number| *number > 0))
}

fn interface(field: &Field<'_>) -> Result<Interface, FieldError> {
    let text = |name: &str| Ok(field.get(name)?.map(|one| one.text()).transpose()?.unwrap_or_default().to_owned());
    Ok(Interface {
        name: field.need("name")?.text()?.to_owned(),
        mac: text("mac")?,
        mtu: number_above_0(field, "mtu")?,
        sandbox: text("sandbox")?,
        socket_path: text("socketPath")?,
        pci_id: text("pciID")?,
    })
}

fn ip(field: &Field<'_>) -> Result<IpConfig, FieldError> {
    Ok(IpConfig {
        address: field.need("address")?.parse("an address with a prefix length")?,
        gateway: gateway(field, "gateway")?,
        // Some plugins write -1 for none (types/040 of libcni read it so).
        interface: match field.get("interface")? {
            Some(one) if one.value().as_i64() == Some(-1) => None,
            Some(one) => Some(one.number(0, u32::MAX, "the number of an interface")?),
            None => None,
        },
    })
}

fn route(field: &Field<'_>) -> Result<Route, FieldError> {
    Ok(Route {
        dst: field.need("dst")?.parse("a prefix such as 0.0.0.0/0")?,
        gw: gateway(field, "gw")?,
        mtu: number_above_0(field, "mtu")?,
        advmss: number_above_0(field, "advmss")?,
        priority: number_above_0(field, "priority")?,
        table: number(field, "table")?,
        scope: number(field, "scope")?,
    })
}
