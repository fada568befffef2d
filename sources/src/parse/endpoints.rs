//! core/v1 Endpoints, as the EndpointSlice mirroring controller reads it.
//!
//! Subsets with the same ports are one. An address that is ready in one and not in another is not. Of each subset the first
//! 1000 addresses count, the ready ones before the others, in the order of their text.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fields::{Field, Form, Read};
use super::object::Metadata;
use super::slice;
use bowline_cluster::intern::Strings;
use bowline_cluster::object::endpoints::{Builder, Conditions, Endpoint};
use bowline_cluster::object::{
    EndpointPort, EndpointSlice, Family, Labels, Mirror, ObjectName, Protocol, Str, is_hiding,
};

/// The label of an Endpoints that is not to be mirrored.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";

/// The annotation of an Endpoints by which old components elect a leader; it has no addresses.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// Labels of a mirrored slice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Name, protocol and number of each port.
type Ports = Vec<(Str, Protocol, Option<u16>)>;

/// The addresses of a subset, by text and Pod.
type Addresses<'t> = BTreeMap<(String, &'t str), Address<'t>>;

struct Address<'t> {
    endpoint: std::net::IpAddr,
    ready: bool,
    hostname: Option<&'t str>,
    node: Option<Str>,
    pod: Option<&'t str>,
}

pub(super) fn read(root: &Field<'_, '_, '_>, metadata: &Metadata<'_, '_, '_>, strings: &Strings) -> Read<Mirror> {
    let mut mirror = Mirror { name: metadata.name.clone(), slices: Box::default(), left_out: 0 };
    let own = metadata.labels(strings)?;
    let skipped = own.iter().any(|(key, value)| key == SKIP && value == "true");
    let elects = metadata.field.map_at("annotations")?.is_some_and(|annotations| annotations.get(LEADER).is_some());
    let Some(subsets) = root.get("subsets") else { return Ok(mirror) };
    let mut groups: BTreeMap<Ports, Addresses<'_>> = BTreeMap::new();
    for subset in subsets.list()? {
        let subset = subset.map()?;
        let mut ports: Ports = Vec::new();
        for port in slice::ports(&subset, strings)? {
            if port.port.is_none() {
                return subset.missing("ports", "have one without a number; write its port, from 1 to 65535");
            }
            ports.push((port.name, port.protocol, port.port));
        }
        ports.sort_unstable();
        let group = groups.entry(ports).or_default();
        for (key, ready) in [("addresses", true), ("notReadyAddresses", false)] {
            let Some(list) = subset.get(key) else { continue };
            for element in list.list()? {
                add(&element.map()?, ready, strings, group)?;
            }
        }
    }
    if skipped || elects {
        return Ok(mirror);
    }
    let labels = labels(&own, &metadata.name, strings);
    let mut slices = Vec::new();
    for (ports, addresses) in groups {
        let (mut v4, mut v6) = (Builder::default(), Builder::default());
        let ready = addresses.values().filter(|address| address.ready);
        let all = ready.chain(addresses.values().filter(|address| !address.ready));
        for address in all.take(Mirror::MAX) {
            let family = if address.endpoint.is_ipv4() { &mut v4 } else { &mut v6 };
            family.push(&Endpoint {
                address: address.endpoint,
                conditions: Conditions { ready: address.ready, ..Conditions::default() },
                hostname: address.hostname,
                node: address.node.as_ref(),
                zone: None,
                pod: address.pod,
            });
        }
        mirror.left_out += addresses.len().saturating_sub(Mirror::MAX);
        slices.extend(make(Family::V4, v4, &ports, &labels, &metadata.name));
        slices.extend(make(Family::V6, v6, &ports, &labels, &metadata.name));
    }
    number(&mut slices);
    mirror.slices = slices.into_iter().map(Arc::new).collect();
    Ok(mirror)
}

fn add<'t>(element: &Field<'_, 't, '_>, ready: bool, strings: &Strings, addresses: &mut Addresses<'t>) -> Read<()> {
    let Some(field) = element.get("ip").filter(|field| !field.is_empty_text()) else {
        return element.missing("ip", "is missing; write the endpoint's address");
    };
    let endpoint = slice::usable(&field)?;
    let hostname = match element.get("hostname").filter(|field| !field.is_empty_text()) {
        Some(field) => Some(field.name(Form::Label)?),
        None => None,
    };
    let pod = match element.map_at("targetRef")? {
        Some(target) if target.text_at("kind")? == Some("Pod") => target.text_at("name")?,
        _ => None,
    };
    let node = element.shared_at("nodeName", strings)?;
    let address = Address { endpoint, ready, hostname, node, pod };
    addresses
        .entry((endpoint.to_string(), pod.unwrap_or_default()))
        .and_modify(|known| known.ready &= ready)
        .or_insert(address);
    Ok(())
}

/// Those of the Endpoints, and whose slice it is and who made it.
fn labels(own: &Labels, name: &ObjectName, strings: &Strings) -> Labels {
    let made = [(SERVICE_NAME, name.name.clone()), (Mirror::MANAGED_BY.0, strings.get(Mirror::MANAGED_BY.1))];
    let mut labels: Vec<(Str, Str)> =
        own.iter().filter(|(key, _)| made.iter().all(|(made, _)| key != made)).cloned().collect();
    labels.extend(made.map(|(key, value)| (strings.get(key), value)));
    labels.sort_by(|a, b| a.0.cmp(&b.0));
    labels.into()
}

fn make(
    family: Family,
    endpoints: Builder,
    ports: &Ports,
    labels: &Labels,
    name: &ObjectName,
) -> Option<EndpointSlice> {
    let endpoints = endpoints.build();
    let port = |(name, protocol, port): &(Str, Protocol, Option<u16>)| EndpointPort {
        name: name.clone(),
        protocol: *protocol,
        port: *port,
    };
    (!endpoints.is_empty()).then(|| EndpointSlice {
        name: name.clone(),
        labels: labels.clone(),
        service: Some(name.name.clone()),
        family: Some(family),
        ports: ports.iter().map(port).collect(),
        endpoints,
        hidden: labels.iter().any(|(key, _)| is_hiding(key)),
    })
}

/// Gives them names as those made from Pods have: `SERVICE:ipv4:000001`.
fn number(slices: &mut [EndpointSlice]) {
    slices.sort_by_key(|slice| slice.family);
    let mut counts = BTreeMap::new();
    for slice in slices {
        let count = counts.entry(slice.family).or_insert(0);
        *count += 1;
        let tag = if slice.family == Some(Family::V6) { "ipv6" } else { "ipv4" };
        slice.name.name = Str::from(format!("{}:{tag}:{count:06}", slice.name.name));
    }
}
