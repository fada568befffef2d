//! What runtimes really give.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};

use super::*;

fn read(json: &Value) -> RuntimeConfig {
    RuntimeConfig::read(&Field::at("runtimeConfig", json), "net").unwrap()
}

/// What containerd 1.6 gives, byte for byte (go-cni 1.1.6; 1.1.14 of containerd 2 writes the same): its structures have no
/// names for JSON.
#[test]
fn containerds_spelling_is_read() {
    let conf = include_str!("../../fuzz/seeds/input/containerd-1.6.json");
    let conf: Value = serde_json::from_str(conf).unwrap();
    let read = read(&conf["runtimeConfig"]);
    let web = PortMapping { host_port: 8080, container_port: 80, protocol: Protocol::Tcp, host_ip: None };
    assert_eq!(read.port_mappings, [web], "the one with host port 0 asks for nothing");
    let bandwidth = Bandwidth {
        ingress_rate: 1_000_000,
        ingress_burst: 2_147_483_647,
        egress_rate: 2_000_000,
        egress_burst: 2_147_483_647,
    };
    assert_eq!(read.bandwidth, Some(bandwidth));
    let range = IpRange { subnet: "10.22.0.0/16".parse().unwrap(), range_start: None, range_end: None, gateway: None };
    assert_eq!(read.ip_ranges, [vec![range]]);
    assert_eq!(read.dns.nameservers, ["10.96.0.10"]);
    assert_eq!(read.dns.search, ["default.svc.cluster.local"]);
    assert_eq!(read.dns.options, ["ndots:5"]);
    assert_eq!(read.aliases, [""; 0]);
    assert_eq!(read.cgroup_path.as_deref(), Some("/kubepods/besteffort/pod1/2f"));
}

#[test]
fn the_conventions_spelling_is_read_alike() {
    let theirs = json!({
        "portMappings": [{"HostPort": 53, "ContainerPort": 5353, "Protocol": "UDP", "HostIP": "::1"}],
        "bandwidth": {"IngressRate": 1}, "ipRanges": [{"Subnet": "10.1.0.0/16", "RangeStart": "10.1.0.9"}],
        "dns": {"Servers": ["10.0.0.1"]}
    });
    let ours = json!({
        "portMappings": [{"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "::1"}],
        "bandwidth": {"ingressRate": 1, "egressRate": 0}, "ipRanges": [[{"subnet": "10.1.0.0/16", "rangeStart": "10.1.0.9"}]],
        "dns": {"servers": ["10.0.0.1"]}
    });
    assert_eq!(read(&theirs), read(&ours));
    // And as we hand it on.
    assert_eq!(read(&serde_json::to_value(read(&ours)).unwrap()), read(&ours));
}

#[test]
fn null_is_nothing_everywhere() {
    let nulls = json!({"portMappings": null, "bandwidth": null, "ips": null, "ipRanges": null, "mac": null, "dns": null,
        "aliases": null, "cgroupPath": null, "io.kubernetes.cri.pod-annotations": null});
    assert!(read(&nulls).is_empty());
    assert!(read(&json!({"ipRanges": [null, []], "mac": "", "cgroupPath": "", "portMappings": []})).is_empty());
}

#[test]
fn protocols_are_read_in_any_case() {
    let mapping = |protocol: Value| {
        let conf = json!({"portMappings": [{"hostPort": 1, "containerPort": 2, "protocol": protocol}]});
        read(&conf).port_mappings[0].protocol
    };
    for (text, protocol) in
        [("tcp", Protocol::Tcp), ("UDP", Protocol::Udp), ("Sctp", Protocol::Sctp), ("", Protocol::Tcp)]
    {
        assert_eq!(mapping(text.into()), protocol);
    }
    assert_eq!(mapping(Value::Null), Protocol::Tcp);
}

#[test]
fn a_flat_list_of_ranges_is_a_set_a_family() {
    let flat = json!({"ipRanges": [{"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"}, {"subnet": "10.2.0.0/24"}]});
    let sets = read(&flat).ip_ranges;
    let subnets = |set: &[IpRange]| set.iter().map(|range| range.subnet.to_string()).collect::<Vec<_>>();
    assert_eq!(
        sets.iter().map(|set| subnets(set)).collect::<Vec<_>>(),
        [vec!["10.1.0.0/24", "10.2.0.0/24"], vec!["fd00::/64"]]
    );
}

#[test]
fn addresses_come_with_and_without_a_prefix_length() {
    let ips = read(&json!({"ips": ["10.1.0.9/24", "10.1.0.8", "fd00::9/64", "fd00::8"]})).ips;
    assert_eq!(ips.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.1.0.9", "10.1.0.8", "fd00::9", "fd00::8"]);
}

#[test]
fn hardware_addresses_are_of_one_interface() {
    for good in ["02:00:00:00:00:01", "C2-B0-57-49-47-F1"] {
        assert_eq!(good.parse::<Mac>().unwrap().to_string(), good.to_lowercase().replace('-', ":"));
    }
    for bad in [
        "",
        "02:00:00:00:00",
        "02:00:00:00:00:01:02",
        "00:00:00:00:00:00",
        "ff:ff:ff:ff:ff:ff",
        "2:0:0:0:0:1",
        "+2:00:00:00:00:01",
    ] {
        assert_eq!(bad.parse::<Mac>(), Err(()), "{bad}");
    }
}

#[test]
fn aliases_are_a_list_or_one_a_network() {
    assert_eq!(read(&json!({"aliases": ["web", "www"]})).aliases, ["web", "www"]);
    assert_eq!(read(&json!({"aliases": {"net": ["web"], "other": ["x"]}})).aliases, ["web"]);
    assert_eq!(read(&json!({"aliases": {"other": ["x"]}})).aliases, [""; 0]);
}
