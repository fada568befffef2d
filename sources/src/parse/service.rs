//! core/v1 Service, with the API server's defaults and checks.

use std::net::IpAddr;

use super::fields::{Field, Form, Read, rfc3339};
use super::object::Metadata;
use bowline_cluster::address;
use bowline_cluster::intern::Strings;
use bowline_cluster::object::{
    External, Family, FamilyPolicy, LoadBalancer, Scheduler, Service, ServicePort, ServiceType, Str, TargetPort,
};

/// The annotation that chooses a scheduler.
const SCHEDULER: &str = "bowline.dev/scheduler";

/// The annotation that asks for endpoints of the client's zone.
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";

/// `timeoutSeconds` of sessionAffinity where it is left out: three hours.
const AFFINITY_SECONDS: u32 = 10_800;

pub(super) fn read(root: &Field<'_, '_, '_>, metadata: &Metadata<'_, '_, '_>, strings: &Strings) -> Read<Service> {
    let scheduler = scheduler(metadata)?;
    let created = match metadata.field.get("creationTimestamp") {
        None => None,
        Some(field) => match rfc3339(field.text()?) {
            None => return field.err("is no time; write one like 2026-01-31T12:00:00Z, or leave it out"),
            time => time,
        },
    };
    let Some(spec) = root.map_at("spec")? else {
        return root.missing("spec", "is missing; write the Service's ports there");
    };
    let kind = match spec.text_at("type")? {
        None | Some("ClusterIP") => ServiceType::ClusterIp,
        Some("NodePort") => ServiceType::NodePort,
        Some("LoadBalancer") => ServiceType::LoadBalancer,
        Some("ExternalName") => ServiceType::ExternalName,
        Some(other) => {
            let allowed = "ClusterIP, NodePort, LoadBalancer or ExternalName";
            spec.unknown_at("type", other, allowed, ServiceType::ClusterIp, "it is taken for ClusterIP")?
        }
    };
    let external_name = external_name(&spec, kind)?;
    let (headless, cluster_ips) =
        if kind == ServiceType::ExternalName { (false, Vec::new()) } else { cluster_ips(&spec)? };
    if headless && kind != ServiceType::ClusterIp {
        return spec.missing("clusterIP", "is None, which only a Service of type ClusterIP may have");
    }
    let families = families(&spec, &cluster_ips)?;
    let family_policy = match spec.text_at("ipFamilyPolicy")? {
        None => None,
        Some("SingleStack") => Some(FamilyPolicy::SingleStack),
        Some("PreferDualStack") => Some(FamilyPolicy::PreferDualStack),
        Some("RequireDualStack") => Some(FamilyPolicy::RequireDualStack),
        Some(other) => {
            let allowed = "SingleStack, PreferDualStack or RequireDualStack";
            spec.unknown_at("ipFamilyPolicy", other, allowed, None, "it is left out")?
        }
    };
    let (ports, written) = ports(&spec, strings)?;
    if written == 0 && !headless && kind != ServiceType::ExternalName {
        return spec.missing("ports", "is empty; a Service needs a port, unless clusterIP is None");
    }
    Ok(Service {
        name: metadata.name.clone(),
        created,
        labels: metadata.labels(strings)?,
        kind,
        headless,
        cluster_ips,
        families: if kind == ServiceType::ExternalName { Vec::new() } else { families },
        family_policy,
        ports,
        selector: spec.get("selector").map(|field| field.labels(strings)).transpose()?.filter(|s| !s.is_empty()),
        affinity: affinity(&spec)?,
        publish_not_ready: spec.flag_at("publishNotReadyAddresses")?.unwrap_or(false),
        external_name,
        scheduler,
        internal_local: policy_is_local(&spec, "internalTrafficPolicy")?,
        prefers_near: prefers_near(metadata, &spec)?,
        external: external(root, &spec)?,
    })
}

fn prefers_near(metadata: &Metadata<'_, '_, '_>, spec: &Field<'_, '_, '_>) -> Read<bool> {
    if spec.text_at("trafficDistribution")?.is_some() {
        return Ok(true);
    }
    let Some(annotations) = metadata.field.map_at("annotations")? else { return Ok(false) };
    Ok(matches!(annotations.text_at(TOPOLOGY_MODE)?, Some("Auto" | "auto")))
}

fn policy_is_local(spec: &Field<'_, '_, '_>, key: &str) -> Read<bool> {
    match spec.text_at(key)? {
        None | Some("Cluster") => Ok(false),
        Some("Local") => Ok(true),
        Some(other) => spec.unknown_at(key, other, "Cluster or Local", false, "it is taken for Cluster"),
    }
}

/// None where there is nothing of the kind.
fn external(root: &Field<'_, '_, '_>, spec: &Field<'_, '_, '_>) -> Read<Option<Box<External>>> {
    let mut external = External {
        local: policy_is_local(spec, "externalTrafficPolicy")?,
        health_check_node_port: spec.get("healthCheckNodePort").map_or(Ok(0), |field| field.number(0, 65535))? as u16,
        ..External::default()
    };
    if let Some(list) = spec.get("externalIPs") {
        for element in list.list()? {
            // kube-proxy skips what is blank.
            if !element.is_blank() {
                external.ips.push(element.address()?);
            }
        }
    }
    if let Some(status) = root.map_at("status")?
        && let Some(balancer) = status.map_at("loadBalancer")?
        && let Some(list) = balancer.get("ingress")
    {
        for element in list.list()? {
            let element = element.map()?;
            if let Some(field) = element.get("ip").filter(|field| !field.is_empty_text()) {
                external.load_balancers.push(LoadBalancer::Ip(field.address()?));
            } else if let Some(field) = element.get("hostname").filter(|field| !field.is_empty_text()) {
                external.load_balancers.push(LoadBalancer::Name(Str::from(field.name(Form::Subdomain)?)));
            }
        }
    }
    Ok((external != External::default()).then(|| Box::new(external)))
}

fn scheduler(metadata: &Metadata<'_, '_, '_>) -> Read<Option<Scheduler>> {
    let Some(annotations) = metadata.field.map_at("annotations")? else { return Ok(None) };
    let Some(field) = annotations.get(SCHEDULER) else { return Ok(None) };
    let name = field.text()?;
    match Scheduler::named(name) {
        None => {
            let known: Vec<&str> = Scheduler::ALL.iter().map(|scheduler| scheduler.as_str()).collect();
            field.unknown(name, &format!("one of {}", known.join(", ")), None, "it is left out")
        }
        scheduler => Ok(scheduler),
    }
}

fn external_name(spec: &Field<'_, '_, '_>, kind: ServiceType) -> Read<Option<Str>> {
    if kind != ServiceType::ExternalName {
        return Ok(None);
    }
    let Some(text) = spec.text_at("externalName")? else {
        return spec.missing("externalName", "is missing; write the name this Service stands for");
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if !Form::Subdomain.fits(name) {
        return spec.missing("externalName", format!("{text:?} is no DNS name; write one like db.example.com"));
    }
    Ok(Some(Str::from(name)))
}

/// Whether it is headless, and its addresses.
fn cluster_ips(spec: &Field<'_, '_, '_>) -> Read<(bool, Vec<IpAddr>)> {
    let first = spec.text_at("clusterIP")?;
    let mut texts = Vec::new();
    let list = spec.get("clusterIPs");
    if let Some(list) = &list {
        for element in list.list()? {
            texts.extend(Some(element.text()?).filter(|text| !text.is_empty()));
        }
        let same = |one: &str, other: &str| {
            one == other
                || matches!((address::parse(one), address::parse(other)), (Some(one), Some(other)) if one == other)
        };
        if let (Some(first), Some(other)) =
            (first, texts.first().filter(|text| first.is_some_and(|first| !same(text, first))))
        {
            return list.err(format!("begins with {other:?} but clusterIP is {first:?}; write the same in both"));
        }
    }
    if texts.is_empty() {
        texts.extend(first);
    }
    let at = if list.is_some() { "clusterIPs" } else { "clusterIP" };
    if texts.contains(&"None") {
        return match texts.len() {
            1 => Ok((true, Vec::new())),
            _ => spec.missing(at, "has None beside addresses; write one or the other"),
        };
    }
    let mut ips: Vec<IpAddr> = Vec::with_capacity(texts.len());
    for text in texts {
        let Some(ip) = address::parse(text) else {
            return spec
                .missing(at, format!("{text:?} is no IP address; write one like 10.96.0.10, None, or leave it out"));
        };
        if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
            return spec.missing(at, format!("{ip} can't be the address of a Service; write one of the Service range"));
        }
        if ips.iter().any(|other| Family::of(other) == Family::of(&ip)) {
            return spec
                .missing(at, format!("has two {} addresses; write at most one of each family", Family::of(&ip)));
        }
        ips.push(ip);
    }
    Ok((false, ips))
}

fn families(spec: &Field<'_, '_, '_>, cluster_ips: &[IpAddr]) -> Read<Vec<Family>> {
    let mut families = Vec::new();
    let Some(list) = spec.get("ipFamilies") else { return Ok(families) };
    for element in list.list()? {
        let family = match element.text()? {
            "IPv4" => Family::V4,
            "IPv6" => Family::V6,
            other => return element.unknown(other, "IPv4 or IPv6", Vec::new(), "ipFamilies is left out"),
        };
        if families.contains(&family) {
            return element.err(format!("{family} is there twice; write each family once"));
        }
        families.push(family);
    }
    let differs = families.iter().zip(cluster_ips).find(|(family, ip)| **family != Family::of(ip));
    if let Some((family, ip)) = differs {
        return list.err(format!("has {family} where clusterIPs has {ip}; write both in the same order"));
    }
    if !families.is_empty() && families.len() < cluster_ips.len() {
        return list.err("has fewer families than clusterIPs has addresses; write one for each, or leave it out");
    }
    Ok(families)
}

/// The ports, and how many are written: one of an unknown protocol is left out.
fn ports(spec: &Field<'_, '_, '_>, strings: &Strings) -> Read<(Box<[ServicePort]>, usize)> {
    let Some(list) = spec.get("ports") else { return Ok(Default::default()) };
    let count = list.list()?.count();
    let mut ports: Vec<ServicePort> = Vec::with_capacity(count);
    for element in list.list()? {
        let element = element.map()?;
        let port = match element.get("port") {
            Some(field) => field.port()?,
            None => return element.missing("port", "is missing; write a number from 1 to 65535"),
        };
        let Some(protocol) = element.protocol_at()? else { continue };
        let name = match element.get("name").filter(|field| !field.is_empty_text()) {
            Some(field) => field.name(Form::Label)?,
            None if count > 1 => {
                return element.missing("name", "is missing; a Service of several ports needs a name for each");
            }
            None => "",
        };
        if ports.iter().any(|other| &*other.name == name) {
            return element.missing("name", format!("{name:?} is there twice; write another name"));
        }
        if ports.iter().any(|other| (other.port, other.protocol) == (port, protocol)) {
            return element.missing("port", format!("{port}/{protocol} is there twice; write each port once"));
        }
        let target = match element.get("targetPort").filter(|field| !field.is_empty_text()) {
            None => TargetPort::Number(port),
            Some(field) if field.is_number() => match field.number(0, 65535)? {
                0 => TargetPort::Number(port),
                number => TargetPort::Number(number as u16),
            },
            Some(field) => TargetPort::Name(strings.get(field.name(Form::PortName)?)),
        };
        let node_port = element.get("nodePort").map_or(Ok(0), |field| field.number(0, 65535))? as u16;
        ports.push(ServicePort { name: strings.get(name), protocol, port, target, node_port });
    }
    Ok((ports.into(), count))
}

fn affinity(spec: &Field<'_, '_, '_>) -> Read<Option<u32>> {
    match spec.text_at("sessionAffinity")? {
        None | Some("None") => return Ok(None),
        Some("ClientIP") => {}
        Some(other) => {
            return spec.unknown_at("sessionAffinity", other, "None or ClientIP", None, "it is taken for None");
        }
    }
    let Some(config) = spec.map_at("sessionAffinityConfig")? else { return Ok(Some(AFFINITY_SECONDS)) };
    let Some(client) = config.map_at("clientIP")? else { return Ok(Some(AFFINITY_SECONDS)) };
    match client.get("timeoutSeconds") {
        None => Ok(Some(AFFINITY_SECONDS)),
        Some(field) => Ok(Some(field.number(1, 86_400)? as u32)),
    }
}
