//! The smaller kinds (Pod, Node, Namespace, ServiceImport, ServiceCIDR): what a Service or the agent needs
//! of them.

use std::net::IpAddr;

use super::fields::{Field, Read};
use super::flannel;
use super::object::Metadata;
use bowline_cluster::address;
use bowline_cluster::intern::Strings;
use bowline_cluster::object::{ContainerPort, Family, Namespace, Node, Pod, PodAddresses, ServiceCidr, ServiceImport};

pub(super) fn pod(root: &Field<'_, '_, '_>, metadata: &Metadata<'_, '_, '_>, strings: &Strings) -> Read<Pod> {
    let mut pod = Pod {
        name: metadata.name.clone(),
        labels: metadata.labels(strings)?,
        ips: Vec::new(),
        node: None,
        hostname: None,
        subdomain: None,
        ready: false,
        terminating: metadata.field.get("deletionTimestamp").is_some(),
        finished: false,
        ports: Box::default(),
    };
    if let Some(spec) = root.map_at("spec")? {
        pod.node = spec.shared_at("nodeName", strings)?;
        pod.hostname = spec.shared_at("hostname", strings)?;
        pod.subdomain = spec.shared_at("subdomain", strings)?;
        let mut ports = Vec::new();
        container_ports(&spec, "containers", strings, &mut ports)?;
        container_ports(&spec, "initContainers", strings, &mut ports)?;
        pod.ports = ports.into();
    }
    if let Some(status) = root.map_at("status")? {
        pod.ips = pod_ips(&status)?;
        pod.finished = matches!(status.text_at("phase")?, Some("Succeeded" | "Failed"));
        pod.ready = ready(&status)?.unwrap_or(!pod.ips.is_empty());
    }
    Ok(pod)
}

pub(super) fn pod_addresses(
    root: &Field<'_, '_, '_>,
    metadata: &Metadata<'_, '_, '_>,
    strings: &Strings,
) -> Read<PodAddresses> {
    let mut told = PodAddresses { name: metadata.name.clone(), node: None, ips: Vec::new() };
    if let Some(spec) = root.map_at("spec")? {
        told.node = spec.shared_at("nodeName", strings)?;
    }
    if let Some(status) = root.map_at("status")? {
        told.ips = pod_ips(&status)?;
    }
    Ok(told)
}

/// Adds the named ports. Init containers count only while they go on running beside the others.
fn container_ports(spec: &Field<'_, '_, '_>, key: &str, strings: &Strings, ports: &mut Vec<ContainerPort>) -> Read<()> {
    let Some(containers) = spec.get(key) else { return Ok(()) };
    for container in containers.list()? {
        let container = container.map()?;
        if key == "initContainers" && container.text_at("restartPolicy")? != Some("Always") {
            continue;
        }
        let Some(list) = container.get("ports") else { continue };
        for port in list.list()? {
            let port = port.map()?;
            let Some(number) = port.get("containerPort") else {
                return port.missing("containerPort", "is missing; write a number from 1 to 65535");
            };
            let number = number.port()?;
            if let Some(name) = port.shared_at("name", strings)?
                && let Some(protocol) = port.protocol_at()?
            {
                ports.push(ContainerPort { name, protocol, port: number });
            }
        }
    }
    Ok(())
}

fn pod_ips(status: &Field<'_, '_, '_>) -> Read<Vec<IpAddr>> {
    let mut ips: Vec<IpAddr> = Vec::new();
    if let Some(list) = status.get("podIPs") {
        for element in list.list()? {
            let element = element.map()?;
            let Some(field) = element.get("ip").filter(|field| !field.is_empty_text()) else { continue };
            let ip = field.address()?;
            if ips.iter().any(|other| Family::of(other) == Family::of(&ip)) {
                return field
                    .err(format!("is a second {} address; a Pod has at most one of each family", Family::of(&ip)));
            }
            ips.push(ip);
        }
    }
    if let Some(field) = status.get("podIP").filter(|field| !field.is_empty_text()) {
        let ip = field.address()?;
        match ips.first() {
            None => ips.push(ip),
            Some(first) if *first != ip => {
                return field.err(format!("is {ip} but podIPs begins with {first}; write the same in both"));
            }
            Some(_) => {}
        }
    }
    Ok(ips)
}

/// The condition Ready, where there is one.
fn ready(status: &Field<'_, '_, '_>) -> Read<Option<bool>> {
    let Some(list) = status.get("conditions") else { return Ok(None) };
    for condition in list.list()? {
        let condition = condition.map()?;
        if condition.text_at("type")? == Some("Ready") {
            return Ok(Some(condition.text_at("status")? == Some("True")));
        }
    }
    Ok(None)
}

pub(super) fn node(root: &Field<'_, '_, '_>, metadata: &Metadata<'_, '_, '_>, strings: &Strings) -> Read<Node> {
    let mut node = Node {
        name: metadata.name.clone(),
        labels: metadata.labels(strings)?,
        internal_ips: Vec::new(),
        pod_cidrs: Vec::new(),
        flannel: flannel::read(metadata, strings)?,
    };
    if let Some(status) = root.map_at("status")?
        && let Some(list) = status.get("addresses")
    {
        for element in list.list()? {
            let element = element.map()?;
            if element.text_at("type")? == Some("InternalIP")
                && let Some(text) = element.text_at("address")?
            {
                // An API server takes any text here; kube-proxy skips what is no address.
                node.internal_ips.extend(address::parse(text));
            }
        }
    }
    if let Some(spec) = root.map_at("spec")? {
        if let Some(list) = spec.get("podCIDRs") {
            for element in list.list()? {
                node.pod_cidrs.push(element.range()?);
            }
        }
        if let Some(field) = spec.get("podCIDR").filter(|field| !field.is_empty_text())
            && node.pod_cidrs.is_empty()
        {
            node.pod_cidrs.push(field.range()?);
        }
    }
    Ok(node)
}

pub(super) fn namespace(metadata: &Metadata<'_, '_, '_>, strings: &Strings) -> Read<Namespace> {
    Ok(Namespace { name: metadata.name.clone(), labels: metadata.labels(strings)? })
}

pub(super) fn service_import(
    root: &Field<'_, '_, '_>,
    metadata: &Metadata<'_, '_, '_>,
    strings: &Strings,
) -> Read<ServiceImport> {
    let Some(spec) = root.map_at("spec")? else {
        return root.missing("spec", "is missing; write the type and the ports there");
    };
    let headless = match spec.text_at("type")? {
        Some("ClusterSetIP") => false,
        Some("Headless") => true,
        None => return spec.missing("type", "is missing; write ClusterSetIP or Headless"),
        Some(other) => {
            spec.unknown_at("type", other, "ClusterSetIP or Headless", false, "it is taken for ClusterSetIP")?
        }
    };
    let mut ips = Vec::new();
    if let Some(list) = spec.get("ips") {
        for element in list.list()? {
            ips.push(element.address()?);
        }
    }
    Ok(ServiceImport { name: metadata.name.clone(), headless, ips, ports: super::slice::ports(&spec, strings)? })
}

pub(super) fn service_cidr(root: &Field<'_, '_, '_>, metadata: &Metadata<'_, '_, '_>) -> Read<ServiceCidr> {
    let mut cidrs: Vec<ipnet::IpNet> = Vec::new();
    let spec = root.map_at("spec")?;
    if let Some(list) = spec.as_ref().and_then(|spec| spec.get("cidrs")) {
        for element in list.list()? {
            let range = element.range()?;
            if cidrs.iter().any(|other| Family::of(&other.addr()) == Family::of(&range.addr())) {
                return element.err(format!("{range} is a second range of its family; write at most one of each"));
            }
            cidrs.push(range);
        }
    }
    if cidrs.is_empty() {
        return root.missing("spec.cidrs", "is empty; write the ranges, like [10.96.0.0/12]");
    }
    Ok(ServiceCidr { name: metadata.name.clone(), cidrs })
}
