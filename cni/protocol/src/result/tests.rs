//! Results in each version, both ways.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;

use super::*;
use crate::error::CniError;
use crate::version::Version;

/// What the newest version has, each thing once.
fn whole() -> Value {
    json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": "veth1", "mac": "02:00:00:00:00:02", "mtu": 1400},
            {"name": "eth0", "mac": "02:00:00:00:00:01", "mtu": 1400, "sandbox": "/run/netns/one", "socketPath": "/run/vhost",
             "pciID": "0000:00:1f.6"}
        ],
        "ips": [
            {"address": "10.1.0.9/24", "gateway": "169.254.1.1", "interface": 1},
            {"address": "fd00::9/128", "interface": 1}
        ],
        "routes": [
            {"dst": "0.0.0.0/0", "gw": "169.254.1.1", "mtu": 1400, "advmss": 1360, "priority": 10, "table": 254, "scope": 0},
            {"dst": "::/0"}
        ],
        "dns": {"nameservers": ["10.96.0.10"], "domain": "a.b", "search": ["c.d"], "options": ["ndots:5"]}
    })
}

/// The same as 1.0.0 has it.
fn without_what_is_new() -> Value {
    let mut json = whole();
    json["cniVersion"] = "1.0.0".into();
    json["interfaces"] = json!([
        {"name": "veth1", "mac": "02:00:00:00:00:02"},
        {"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/one"}
    ]);
    json["routes"] = json!([{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}, {"dst": "::/0"}]);
    json
}

/// The same as 0.3.0 to 0.4.0 have it.
fn with_families(version: &str) -> Value {
    let mut json = without_what_is_new();
    json["cniVersion"] = version.into();
    json["ips"][0]["version"] = "4".into();
    json["ips"][1]["version"] = "6".into();
    json
}

/// The same as 0.1.0 and 0.2.0 have it.
fn old(version: &str) -> Value {
    json!({
        "cniVersion": version,
        "ip4": {"ip": "10.1.0.9/24", "gateway": "169.254.1.1", "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}]},
        "ip6": {"ip": "fd00::9/128", "routes": [{"dst": "::/0"}]},
        "dns": whole()["dns"]
    })
}

fn in_each_version() -> Vec<(Version, Value)> {
    let mut all = vec![(Version::V1_1_0, whole()), (Version::V1_0_0, without_what_is_new())];
    all.extend(
        [Version::V0_3_0, Version::V0_3_1, Version::V0_4_0].map(|version| (version, with_families(version.as_str()))),
    );
    all.extend([Version::V0_1_0, Version::V0_2_0].map(|version| (version, old(version.as_str()))));
    assert_eq!(all.len(), Version::ALL.len());
    all
}

#[test]
fn each_version_is_printed_in_its_shape() {
    let result = CniResult::from_json(&whole(), "").unwrap();
    for (version, want) in in_each_version() {
        assert_eq!(result.to_version(version), want);
    }
}

#[test]
fn each_version_is_read() {
    let full = CniResult::from_json(&whole(), "").unwrap();
    for (version, json) in in_each_version() {
        let mut want = full.clone();
        if version < Version::V1_1_0 {
            for interface in &mut want.interfaces {
                (interface.mtu, interface.socket_path, interface.pci_id) = (None, String::new(), String::new());
            }
            want.routes = want.routes.into_iter().map(|route| Route::new(route.dst, route.gw)).collect();
        }
        if version < Version::V0_3_0 {
            want.interfaces.clear();
            want.ips.iter_mut().for_each(|ip| ip.interface = None);
        }
        assert_eq!(CniResult::from_json(&json, "").unwrap(), want, "{version}");
        assert_eq!(want.to_version(version), json, "{version}");
    }
}

#[test]
fn before_0_3_0_there_is_one_address_a_family() {
    let ip = |text: &str| IpConfig { address: text.parse().unwrap(), gateway: None, interface: None };
    let result = CniResult { ips: vec![ip("fd00::1/64"), ip("fd00::2/64")], ..CniResult::default() };
    let want = json!({"cniVersion": "0.2.0", "ip6": {"ip": "fd00::1/64"}, "dns": {}});
    assert_eq!(result.to_version(Version::V0_2_0), want);
}

#[test]
fn an_empty_result_says_only_its_version_and_dns() {
    for version in Version::ALL {
        let want = json!({"cniVersion": version.as_str(), "dns": {}});
        assert_eq!(CniResult::default().to_version(version), want);
        assert_eq!(CniResult::from_json(&want, ""), Ok(CniResult::default()));
    }
}

#[test]
fn what_go_writes_for_none_is_none() {
    let json = json!({
        "cniVersion": "0.4.0",
        "interfaces": [{"name": "eth0", "mac": "", "mtu": 0}],
        "ips": [{"version": "4", "address": "10.1.0.9/24", "gateway": "", "interface": -1}],
        "routes": [{"dst": "0.0.0.0/0", "gw": null, "priority": 0}],
        "dns": {"nameservers": null}
    });
    let read = CniResult::from_json(&json, "").unwrap();
    assert_eq!((read.interfaces[0].mtu, read.ips[0].gateway, read.ips[0].interface), (None, None, None));
    assert_eq!(read.routes, [Route::new("0.0.0.0/0".parse().unwrap(), None)]);
    assert!(CniResult::from_json(&json!({"interfaces": null, "ips": null, "routes": null, "dns": null}), "").is_ok());
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let table = [
        (json!("x"), 6, "prevResult: \"x\" is not an object"),
        (json!({"cniVersion": "3.0.0"}), 1, "cniVersion \"3.0.0\" is not supported: use one from 0.1.0 to 1.1.0"),
        (json!({"cniVersion": 1}), 6, "prevResult.cniVersion: 1 is not a string"),
        (json!({"interfaces": [{}]}), 6, "prevResult.interfaces[0].name: is missing"),
        (json!({"interfaces": {}}), 6, "prevResult.interfaces: an object is not a list"),
        (json!({"ips": [{}]}), 6, "prevResult.ips[0].address: is missing"),
        (
            json!({"ips": [{"address": "10.1.0.1"}]}),
            6,
            "prevResult.ips[0].address: \"10.1.0.1\" is not an address with a prefix length",
        ),
        (
            json!({"ips": [{"address": "10.1.0.1/24", "gateway": "x"}]}),
            6,
            "prevResult.ips[0].gateway: \"x\" is not an IP address",
        ),
        (
            json!({"ips": [{"address": "10.1.0.1/24", "interface": 0}]}),
            6,
            "prevResult.ips[0].interface: there are 0 interfaces",
        ),
        (json!({"ip4": {"ip": 7}}), 6, "prevResult.ip4.ip: 7 is not a string"),
        (json!({"ip6": {"ip": "::1/64", "routes": [{}]}}), 6, "prevResult.ip6.routes[0].dst: is missing"),
        (
            json!({"routes": [{"dst": "default"}]}),
            6,
            "prevResult.routes[0].dst: \"default\" is not a prefix such as 0.0.0.0/0",
        ),
        (
            json!({"routes": [{"dst": "::/0", "mtu": -1}]}),
            6,
            "prevResult.routes[0].mtu: -1 is not a number (0 to 4294967295)",
        ),
    ];
    for (json, code, wrong) in table {
        let error = CniResult::from_json(&json, "prevResult").unwrap_err();
        assert_eq!(error, CniError::new(code, format!("result: {wrong}")), "{json}");
    }
}
