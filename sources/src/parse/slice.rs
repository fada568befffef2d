//! discovery.k8s.io/v1 EndpointSlice.

use std::net::IpAddr;

use super::fields::{Field, Form, Read};
use super::object::Metadata;
use bowline_cluster::intern::Strings;
use bowline_cluster::object::endpoints::{Builder, Conditions, Endpoint, Endpoints};
use bowline_cluster::object::{EndpointPort, EndpointSlice, Family, is_hiding};

/// The label that says whose slice it is.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

pub(super) fn read(
    root: &Field<'_, '_, '_>,
    metadata: &Metadata<'_, '_, '_>,
    strings: &Strings,
) -> Read<EndpointSlice> {
    let labels = metadata.labels(strings)?;
    let service = labels.iter().find(|(key, value)| key == SERVICE_NAME && !value.is_empty());
    let service = service.map(|(_, value)| value.clone());
    let hidden = labels.iter().any(|(key, _)| is_hiding(key));
    let family = match root.text_at("addressType")? {
        Some("IPv4") => Some(Family::V4),
        Some("IPv6") => Some(Family::V6),
        Some("FQDN") => None,
        Some(other) => {
            let instead = "no endpoint of the slice is taken";
            root.unknown_at("addressType", other, "IPv4, IPv6 or FQDN", None, instead)?
        }
        None => return root.missing("addressType", "is missing; write IPv4, IPv6 or FQDN"),
    };
    let endpoints = match family {
        Some(family) => endpoints(root, family, strings)?,
        None => Endpoints::default(),
    };
    let ports = ports(root, strings)?;
    Ok(EndpointSlice { name: metadata.name.clone(), labels, service, family, ports, endpoints, hidden })
}

pub(super) fn ports(root: &Field<'_, '_, '_>, strings: &Strings) -> Read<Box<[EndpointPort]>> {
    let Some(list) = root.get("ports") else { return Ok(Box::default()) };
    let mut ports: Vec<EndpointPort> = Vec::with_capacity(list.list()?.count());
    for element in list.list()? {
        let element = element.map()?;
        let name = match element.get("name").filter(|field| !field.is_empty_text()) {
            Some(field) => field.name(Form::Label)?,
            None => "",
        };
        if ports.iter().any(|other| &*other.name == name) {
            return element.missing("name", format!("{name:?} is there twice; write another name"));
        }
        let Some(protocol) = element.protocol_at()? else { continue };
        let port = element.get("port").map(|field| field.port()).transpose()?;
        ports.push(EndpointPort { name: strings.get(name), protocol, port });
    }
    Ok(ports.into())
}

fn endpoints(root: &Field<'_, '_, '_>, family: Family, strings: &Strings) -> Read<Endpoints> {
    let Some(list) = root.get("endpoints") else { return Ok(Endpoints::default()) };
    let mut endpoints = Builder::with_capacity(list.list()?.count());
    for element in list.list()? {
        endpoint(&element.map()?, family, strings, &mut endpoints)?;
    }
    Ok(endpoints.build())
}

fn endpoint(element: &Field<'_, '_, '_>, family: Family, strings: &Strings, endpoints: &mut Builder) -> Read<()> {
    let mut address = None;
    if let Some(list) = element.get("addresses") {
        for field in list.list()? {
            let ip = usable(&field)?;
            if Family::of(&ip) != family {
                let message =
                    format!("{ip} is no {family} address, as addressType says; put it into a slice of its family");
                return field.err(message);
            }
            address = address.or(Some(ip));
        }
    }
    let Some(address) = address else {
        return element.missing("addresses", format!("is empty; write the endpoint's {family} address"));
    };
    let conditions = match element.map_at("conditions")? {
        None => Conditions::default(),
        Some(conditions) => Conditions {
            ready: conditions.flag_at("ready")?.unwrap_or(true),
            serving: conditions.flag_at("serving")?.unwrap_or(true),
            terminating: conditions.flag_at("terminating")?.unwrap_or(false),
        },
    };
    let hostname = match element.get("hostname").filter(|field| !field.is_empty_text()) {
        Some(field) => Some(field.name(Form::Label)?),
        None => None,
    };
    let pod = match element.map_at("targetRef")? {
        Some(target) if target.text_at("kind")? == Some("Pod") => target.text_at("name")?,
        _ => None,
    };
    let (node, zone) = (element.shared_at("nodeName", strings)?, element.shared_at("zone", strings)?);
    endpoints.push(&Endpoint { address, conditions, hostname, node: node.as_ref(), zone: zone.as_ref(), pod });
    Ok(())
}

/// An address to which traffic may go: Kubernetes refuses those that mean something else on each node.
pub(super) fn usable(field: &Field<'_, '_, '_>) -> Read<IpAddr> {
    let ip = field.address()?;
    let what = match ip {
        _ if ip.is_unspecified() => "the unspecified address",
        _ if ip.is_loopback() => "a loopback address",
        IpAddr::V4(v4) if v4.is_link_local() => "a link-local address",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "a link-local address",
        IpAddr::V4(v4) if v4.octets()[..3] == [224, 0, 0] => "a link-local multicast address",
        IpAddr::V6(v6) if v6.segments()[0] & 0xff0f == 0xff02 => "a link-local multicast address",
        _ => return Ok(ip),
    };
    field.err(format!("{ip} is {what}, which no endpoint can have; write the Pod's own address"))
}
