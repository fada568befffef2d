//! What an API server does to a Service before it stores it: defaults, families, what may not change, and
//! what is given where the manifest leaves it out. By the rules of Kubernetes 1.34; no I/O here.

use k8s_openapi::api::core::v1::{ClientIPConfig, ServiceSpec, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Refusal;
use super::apply::Picker;
use bowline_cluster::address;
use bowline_cluster::object::{Family, Protocol};

#[cfg(test)]
mod tests;

/// The families that the cluster has Service ranges of, the default one first.
pub(super) type Families = Vec<Family>;

const NONE: &str = "None";
const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";

/// Three hours, as Kubernetes has it.
const AFFINITY_SECONDS: i32 = 10_800;

fn kind(spec: &ServiceSpec) -> &str {
    spec.type_.as_deref().unwrap_or("ClusterIP")
}

fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref() == Some(NONE) || spec.cluster_ips.iter().flatten().any(|ip| ip == NONE)
}

fn has_addresses(spec: &ServiceSpec) -> bool {
    kind(spec) != "ExternalName"
}

fn has_node_ports(spec: &ServiceSpec) -> bool {
    matches!(kind(spec), "NodePort" | "LoadBalancer")
}

fn has_health_check(spec: &ServiceSpec) -> bool {
    kind(spec) == "LoadBalancer" && spec.external_traffic_policy.as_deref() == Some("Local")
}

fn is_external(spec: &ServiceSpec) -> bool {
    has_node_ports(spec) || (kind(spec) == "ClusterIP" && spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()))
}

fn ips(spec: &ServiceSpec) -> &[String] {
    spec.cluster_ips.as_deref().unwrap_or_default()
}

fn families(spec: &ServiceSpec) -> &[String] {
    spec.ip_families.as_deref().unwrap_or_default()
}

fn policy(spec: &ServiceSpec) -> &str {
    spec.ip_family_policy.as_deref().unwrap_or_default()
}

/// Empty strings and zeros mean what leaving out means.
fn normalize(spec: &mut ServiceSpec) {
    let empty = |text: &Option<String>| text.as_deref() == Some("");
    for text in [
        &mut spec.cluster_ip,
        &mut spec.type_,
        &mut spec.ip_family_policy,
        &mut spec.external_traffic_policy,
        &mut spec.internal_traffic_policy,
        &mut spec.session_affinity,
        &mut spec.external_name,
    ] {
        if empty(text) {
            *text = None;
        }
    }
    for list in [&mut spec.cluster_ips, &mut spec.ip_families] {
        if list.as_ref().is_some_and(Vec::is_empty) {
            *list = None;
        }
    }
    for port in spec.ports.iter_mut().flatten() {
        if port.node_port == Some(0) {
            port.node_port = None;
        }
    }
    if spec.health_check_node_port == Some(0) {
        spec.health_check_node_port = None;
    }
}

/// Everything but what is given: afterwards the families are known, and what is left out is what
/// [`fill`] gives. `old` is the Service as it is stored.
pub(super) fn complete(spec: &mut ServiceSpec, old: Option<&ServiceSpec>, has: &Families) -> Result<(), Vec<Refusal>> {
    normalize(spec);
    defaults(spec);
    singular_and_plural(spec, old);
    if let Some(old) = old {
        drop_what_the_type_ends(spec, old);
        keep_what_was_given(spec, old);
    }
    let mut refusals = Vec::new();
    if has_addresses(spec) {
        settle_families(spec, old, has, &mut refusals);
    }
    if let Some(old) = old {
        unchangeable(spec, old, &mut refusals);
    }
    validate(spec, &mut refusals);
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

fn defaults(spec: &mut ServiceSpec) {
    spec.type_.get_or_insert_with(|| "ClusterIP".into());
    match &**spec.session_affinity.get_or_insert_with(|| NONE.into()) {
        "ClientIP" => {
            let config = spec.session_affinity_config.get_or_insert_with(SessionAffinityConfig::default);
            let client = config.client_ip.get_or_insert_with(ClientIPConfig::default);
            client.timeout_seconds.get_or_insert(AFFINITY_SECONDS);
        }
        _ => spec.session_affinity_config = None,
    }
    for port in spec.ports.iter_mut().flatten() {
        port.protocol = port.protocol.take().filter(|text| !text.is_empty()).or_else(|| Some("TCP".into()));
        match &port.target_port {
            Some(IntOrString::Int(number)) if *number != 0 => {}
            Some(IntOrString::String(name)) if !name.is_empty() => {}
            _ => port.target_port = Some(IntOrString::Int(port.port)),
        }
    }
    if is_external(spec) {
        spec.external_traffic_policy.get_or_insert_with(|| "Cluster".into());
    }
    if has_addresses(spec) {
        spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".into());
    }
    if kind(spec) == "LoadBalancer" {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
}

/// `clusterIP` and `clusterIPs` say the same; people write one of them.
fn singular_and_plural(spec: &mut ServiceSpec, old: Option<&ServiceSpec>) {
    let same_list = old.is_some_and(|old| ips(old) == ips(spec));
    match (&spec.cluster_ip, ips(spec)) {
        (Some(one), []) => spec.cluster_ips = Some(vec![one.clone()]),
        // Taken back with only one of them mentioned.
        (None, list) if !list.is_empty() && old.is_some() && same_list => spec.cluster_ips = None,
        (None, [first, ..]) => spec.cluster_ip = Some(first.clone()),
        (Some(one), [first, ..]) if one != first => {
            let old_one = old.and_then(|old| old.cluster_ip.as_ref());
            if same_list {
                spec.cluster_ips = Some(vec![one.clone()]);
            } else if old_one == Some(one) {
                spec.cluster_ip = Some(first.clone());
            }
        }
        _ => {}
    }
}

/// A type without addresses or ports gives up those it was given, unless the writer changes them, too.
fn drop_what_the_type_ends(spec: &mut ServiceSpec, old: &ServiceSpec) {
    if has_addresses(old) && !has_addresses(spec) {
        if ips(spec) == ips(old) {
            (spec.cluster_ip, spec.cluster_ips) = (None, None);
        }
        if families(spec) == families(old) {
            spec.ip_families = None;
        }
        if policy(spec) == policy(old) {
            spec.ip_family_policy = None;
        }
        if spec.internal_traffic_policy == old.internal_traffic_policy {
            spec.internal_traffic_policy = None;
        }
    }
    if has_node_ports(old) && !has_node_ports(spec) {
        let had = |port: Option<i32>| old.ports.iter().flatten().any(|old| old.node_port == port);
        for port in spec.ports.iter_mut().flatten().filter(|port| had(port.node_port)) {
            port.node_port = None;
        }
    }
    if has_health_check(old) && !has_health_check(spec) && spec.health_check_node_port == old.health_check_node_port {
        spec.health_check_node_port = None;
    }
    if kind(old) == "LoadBalancer" && kind(spec) != "LoadBalancer" {
        if spec.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports {
            spec.allocate_load_balancer_node_ports = None;
        }
        if spec.load_balancer_class == old.load_balancer_class {
            spec.load_balancer_class = None;
        }
    }
    if is_external(old) && !is_external(spec) && spec.external_traffic_policy == old.external_traffic_policy {
        spec.external_traffic_policy = None;
    }
}

/// What a manifest leaves out stays as it was given.
fn keep_what_was_given(spec: &mut ServiceSpec, old: &ServiceSpec) {
    if has_addresses(spec) && has_addresses(old) {
        if spec.cluster_ip.is_none() && ips(spec).is_empty() {
            spec.cluster_ip.clone_from(&old.cluster_ip);
        }
        if spec.cluster_ip == old.cluster_ip && ips(spec).is_empty() {
            spec.cluster_ips.clone_from(&old.cluster_ips);
        }
        if spec.ip_families.is_none() && ips(spec).len() == ips(old).len() {
            spec.ip_families.clone_from(&old.ip_families);
        }
    }
    if has_node_ports(spec) && has_node_ports(old) {
        let used: Vec<i32> = spec.ports.iter().flatten().filter_map(|port| port.node_port).collect();
        for port in spec.ports.iter_mut().flatten().filter(|port| port.node_port.is_none()) {
            let before = old.ports.iter().flatten().find(|old| old.name == port.name && old.protocol == port.protocol);
            port.node_port = before.and_then(|old| old.node_port).filter(|port| !used.contains(port));
        }
    }
    if has_health_check(spec) && has_health_check(old) && spec.health_check_node_port.is_none() {
        spec.health_check_node_port = old.health_check_node_port;
    }
}

fn settle_families(spec: &mut ServiceSpec, old: Option<&ServiceSpec>, has: &Families, refusals: &mut Vec<Refusal>) {
    let old = old.filter(|old| has_addresses(old));
    // Who prefers both keeps what there was when it was made, whatever the cluster has since.
    if let Some(old) = old
        && policy(spec) == PREFER
        && policy(old) == PREFER
        && ips(spec) == ips(old)
        && families(spec) == families(old)
    {
        return;
    }
    let by_hand = is_headless(spec) && spec.selector.as_ref().is_none_or(std::collections::BTreeMap::is_empty);
    if spec.ip_family_policy.is_none() {
        let before = old.and_then(|old| old.ip_family_policy.clone());
        // Who lists the endpoints of a headless Service by hand may list either family.
        spec.ip_family_policy = Some(before.unwrap_or_else(|| if by_hand { REQUIRE } else { SINGLE }.into()));
    }
    let single = policy(spec) == SINGLE;
    if let Some(old) = old {
        // Single stack is clear intent: the second of each goes.
        if single && ips(spec) == ips(old) {
            spec.cluster_ips.iter_mut().for_each(|ips| ips.truncate(1));
        }
        if single && families(spec) == families(old) {
            spec.ip_families.iter_mut().for_each(|families| families.truncate(1));
        }
        let fewer = ips(spec).len() < ips(old).len() || families(spec).len() < families(old).len();
        if !single && fewer && !is_headless(spec) {
            let message = "must be SingleStack to give up the second address and family";
            refusals.push(Refusal::new("spec.ipFamilyPolicy", message));
        }
    }
    for (what, count) in [("addresses", ips(spec).len()), ("families", families(spec).len())] {
        if single && count > 1 {
            let message = format!("is SingleStack where two {what} are written; write {PREFER} or {REQUIRE}");
            refusals.push(Refusal::new("spec.ipFamilyPolicy", message));
        }
    }
    let none = |family: &str| format!("the cluster has no {family} range of Service addresses");
    let known = |family: &str| has.iter().any(|known| known.as_str() == family);
    let mut list = families(spec).to_vec();
    for (index, text) in ips(spec).iter().enumerate() {
        let Some(address) = address::parse(text) else { break };
        let family = Family::of(&address).as_str();
        match list.get(index) {
            None if !known(family) => {
                refusals.push(Refusal::new(format!("spec.clusterIPs[{index}]"), format!("{text}: {}", none(family))));
            }
            None => list.push(family.to_string()),
            Some(listed) if listed != family => {
                let message = format!("has {listed} where clusterIPs has {text}; write both in the same order");
                refusals.push(Refusal::new(format!("spec.ipFamilies[{index}]"), message));
            }
            Some(_) => {}
        }
    }
    let other = |first: &str| if first == "IPv4" { "IPv6" } else { "IPv4" };
    if !by_hand {
        if policy(spec) == REQUIRE && has.len() < 2 {
            let message = "is RequireDualStack, but the cluster has Service ranges of one family only";
            refusals.push(Refusal::new("spec.ipFamilyPolicy", message));
        }
        for (index, family) in list.iter().enumerate().filter(|(_, family)| !known(family)) {
            refusals.push(Refusal::new(format!("spec.ipFamilies[{index}]"), none(family)));
        }
    }
    if list.is_empty() {
        list.push(has.first().copied().unwrap_or(Family::V4).as_str().to_string());
    }
    if list.len() == 1 && !single && (by_hand || has.len() == 2) {
        list.push(other(&list[0]).to_string());
    }
    spec.ip_families = Some(list);
}

fn unchangeable(spec: &ServiceSpec, old: &ServiceSpec, refusals: &mut Vec<Refusal>) {
    let change = |field: &str, was: &str| {
        Refusal::new(field, format!("was {was} and can't change; delete the Service to make it anew"))
    };
    if has_addresses(spec) && has_addresses(old) {
        let pairs = ips(old).iter().zip(ips(spec)).enumerate();
        for (index, (was, _)) in pairs.filter(|(_, (was, now))| was != now) {
            refusals.push(change(&format!("spec.clusterIPs[{index}]"), was));
        }
        if !is_headless(spec) && !is_headless(old) {
            let pairs = families(old).iter().zip(families(spec)).enumerate();
            for (index, (was, _)) in pairs.filter(|(_, (was, now))| was != now) {
                refusals.push(change(&format!("spec.ipFamilies[{index}]"), was));
            }
        }
    }
    if has_health_check(spec)
        && has_health_check(old)
        && spec.health_check_node_port != old.health_check_node_port
        && let Some(was) = old.health_check_node_port
    {
        refusals.push(change("spec.healthCheckNodePort", &was.to_string()));
    }
    if kind(spec) == "LoadBalancer"
        && kind(old) == "LoadBalancer"
        && spec.load_balancer_class != old.load_balancer_class
    {
        refusals.push(change("spec.loadBalancerClass", old.load_balancer_class.as_deref().unwrap_or("left out")));
    }
}

fn validate(spec: &ServiceSpec, refusals: &mut Vec<Refusal>) {
    let mut refuse = |field: &str, message: &str| refusals.push(Refusal::new(field, message));
    if !has_addresses(spec) {
        for (field, set) in [
            ("spec.clusterIPs", !ips(spec).is_empty()),
            ("spec.ipFamilies", !families(spec).is_empty()),
            ("spec.ipFamilyPolicy", spec.ip_family_policy.is_some()),
        ] {
            if set {
                refuse(field, "a Service of type ExternalName has none; leave it out");
            }
        }
    }
    if !has_node_ports(spec) && spec.ports.iter().flatten().any(|port| port.node_port.is_some()) {
        refuse("spec.ports[].nodePort", "only a Service of type NodePort or LoadBalancer has them; leave it out");
    }
    let mut seen = Vec::new();
    for port in spec.ports.iter().flatten().filter(|port| port.node_port.is_some()) {
        let this = (&port.protocol, port.node_port);
        if seen.contains(&this) {
            refuse("spec.ports[].nodePort", "is there twice; write each port once");
        }
        seen.push(this);
    }
    if kind(spec) != "LoadBalancer" {
        for (field, set) in [
            ("spec.allocateLoadBalancerNodePorts", spec.allocate_load_balancer_node_ports.is_some()),
            ("spec.loadBalancerClass", spec.load_balancer_class.is_some()),
            ("spec.loadBalancerSourceRanges", spec.load_balancer_source_ranges.as_ref().is_some_and(|r| !r.is_empty())),
        ] {
            if set {
                refuse(field, "only a Service of type LoadBalancer has it; leave it out");
            }
        }
    }
    for range in spec.load_balancer_source_ranges.iter().flatten() {
        if address::parse_range(range.trim()).is_none() {
            refuse("spec.loadBalancerSourceRanges", &format!("{range:?} is no range; write one like 192.0.2.0/24"));
        }
    }
    if !is_external(spec) && spec.external_traffic_policy.is_some() {
        refuse(
            "spec.externalTrafficPolicy",
            "only a Service of type NodePort or LoadBalancer, or with externalIPs, has it; leave it out",
        );
    }
    if !has_health_check(spec) && spec.health_check_node_port.is_some() {
        refuse(
            "spec.healthCheckNodePort",
            "only a Service of type LoadBalancer with externalTrafficPolicy: Local has it; leave it out",
        );
    }
    let tcp = |port: i32| {
        let is = |p: &&_| (p as &&k8s_openapi::api::core::v1::ServicePort).node_port == Some(port);
        spec.ports.iter().flatten().any(|p| is(&p) && p.protocol.as_deref() == Some("TCP"))
    };
    if spec.health_check_node_port.is_some_and(tcp) {
        refuse("spec.healthCheckNodePort", "is one of the nodePorts, too; write another port");
    }
    if let Some(value) = spec.traffic_distribution.as_deref()
        && !matches!(value, "PreferClose" | "PreferSameZone" | "PreferSameNode")
    {
        let message = format!("is {value:?}; write PreferClose, PreferSameZone or PreferSameNode");
        refuse("spec.trafficDistribution", &message);
    }
}

/// Gives what is left out: addresses, node ports, the port for health checks.
pub(super) fn fill(spec: &mut ServiceSpec, picker: &mut Picker<'_>) -> Result<(), Refusal> {
    if has_addresses(spec) && !is_headless(spec) {
        let mut list = ips(spec).to_vec();
        for family in families(spec).iter().skip(list.len()) {
            let family = if family == "IPv6" { Family::V6 } else { Family::V4 };
            list.push(picker.address(family)?.to_string());
        }
        for (index, text) in list.iter().enumerate() {
            picker.check_address(index, text)?;
        }
        spec.cluster_ip = list.first().cloned();
        spec.cluster_ips = Some(list);
    }
    let wanted = spec.allocate_load_balancer_node_ports != Some(false) || kind(spec) != "LoadBalancer";
    if has_node_ports(spec) && wanted {
        let ports = spec.ports.get_or_insert_default();
        for index in 0..ports.len() {
            if ports[index].node_port.is_some() {
                continue;
            }
            let number = ports[index].port;
            // The same port of two protocols is the same port of a node, where that can be.
            let twin = ports.iter().find(|other| other.port == number && other.node_port.is_some());
            let twin = twin.and_then(|other| other.node_port).and_then(|port| u16::try_from(port).ok());
            let protocol = match ports[index].protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                _ => Protocol::Tcp,
            };
            let port = match twin.filter(|port| picker.may_have(protocol, *port)) {
                Some(port) => picker.take(protocol, port),
                None => picker.node_port(protocol)?,
            };
            ports[index].node_port = Some(port.into());
        }
    }
    for port in spec.ports.iter().flatten().filter_map(|port| port.node_port) {
        picker.check_port("spec.ports[].nodePort", port)?;
    }
    if has_health_check(spec) {
        let port = match spec.health_check_node_port {
            Some(port) => port,
            None => picker.health_check_port()?.into(),
        };
        picker.check_port("spec.healthCheckNodePort", port)?;
        spec.health_check_node_port = Some(port);
    }
    Ok(())
}
