//! Configurations that runtimes give, and those that they must not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;

use super::*;
use crate::result::CniResult;

/// A configuration with this key in it.
fn with(key: &str, value: Value) -> Value {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "bowline-cni"});
    conf.as_object_mut().unwrap().insert(key.into(), value);
    conf
}

#[test]
fn every_key_is_read_and_comes_to_the_agent() {
    let text = include_str!("../../fuzz/seeds/input/cri-o.json");
    let json: Value = serde_json::from_str(text).unwrap();
    let conf = NetConf::from_json(&json).unwrap();
    assert_eq!(conf.cni_version, Version::V1_1_0);
    assert_eq!((&*conf.name, &*conf.kind), ("bowline", "bowline-cni"));
    assert_eq!(conf.mtu, Some(1400));
    assert_eq!(conf.add_timeout(), Some(Duration::from_secs(30)));
    assert_eq!((conf.dns.nameservers.as_slice(), &*conf.dns.domain), (&["10.96.0.10".to_owned()][..], "cluster.local"));
    let ipam = conf.ipam.as_ref().unwrap();
    assert!(ipam.is_delegated());
    assert_eq!((&*ipam.kind, &ipam.config), ("host-local", &json["ipam"]));
    assert_eq!(conf.args.as_ref(), Some(&json["args"]));
    assert_eq!(conf.prev_result.as_ref(), Some(&json["prevResult"]));
    assert!(CniResult::from_json(conf.prev_result.as_ref().unwrap(), "prevResult").is_ok());

    let sent = serde_json::to_string(&conf).unwrap();
    assert_eq!(serde_json::from_str::<NetConf>(&sent).unwrap(), conf);
}

#[test]
fn keys_are_found_in_any_case_and_null_is_none() {
    let conf = json!({"CNIVersion": "0.4.0", "Name": "net", "MTU": null, "ipam": null, "runtimeConfig": null,
        "dns": {"nameservers": null}, "capabilities": null, "unknown": [{}]});
    let conf = NetConf::from_json(&conf).unwrap();
    assert_eq!((conf.cni_version, &*conf.name), (Version::V0_4_0, "net"));
    assert_eq!((conf.mtu, conf.ipam), (None, None));
    // Where both are there, the right one counts.
    let both = json!({"NAME": "wrong", "name": "right"});
    assert_eq!(NetConf::from_json(&both).unwrap().name, "right");
}

#[test]
fn without_a_version_it_is_the_first() {
    for conf in [json!({"name": "net"}), json!({"name": "net", "cniVersion": ""})] {
        assert_eq!(NetConf::from_json(&conf).unwrap().cni_version, Version::V0_1_0);
    }
}

#[test]
fn every_version_is_read() {
    for version in Version::ALL {
        let conf = with("cniVersion", version.as_str().into());
        assert_eq!(NetConf::from_json(&conf).unwrap().cni_version, version);
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let runtime = |value: Value| with("runtimeConfig", value);
    let port = |value: Value| runtime(json!({"portMappings": [{"hostPort": 1, "containerPort": 1}, value]}));
    let gc = |value: Value| with("cni.dev/valid-attachments", json!([value]));
    let name = "is not a network's name: letters, digits, '_', '.' and '-', the first a letter or digit, 200 at most";
    let table = [
        (json!([]), 7, "a list is not an object".to_owned()),
        (json!({"cniVersion": "1.1.0"}), 7, "name: is missing".into()),
        (with("name", json!("a/b")), 7, format!("name: \"a/b\" {name}")),
        (with("name", json!("")), 7, format!("name: \"\" {name}")),
        (with("name", json!(1)), 7, "name: 1 is not a string".into()),
        (with("cniVersion", json!(1)), 7, "cniVersion: 1 is not a string".into()),
        (
            with("cniVersion", json!("2.0.0")),
            1,
            "cniVersion \"2.0.0\" is not supported: use one from 0.1.0 to 1.1.0".into(),
        ),
        (
            with("cniVersion", json!("1.1")),
            1,
            "cniVersion \"1.1\" is not supported: use one from 0.1.0 to 1.1.0".into(),
        ),
        (with("type", json!({})), 7, "type: an object is not a string".into()),
        (with("socket", json!("cni.sock")), 7, "socket: \"cni.sock\" is not a path from the root".into()),
        (with("tombstones", json!(["/"])), 7, "tombstones: a list is not a string".into()),
        (with("timeout", json!(0)), 7, "timeout: 0 is not a number of seconds (1 to 3600)".into()),
        (with("timeout", json!(1.5)), 7, "timeout: 1.5 is not a number of seconds (1 to 3600)".into()),
        (with("mtu", json!(67)), 7, "mtu: 67 is not an MTU (68 to 65535)".into()),
        (with("mtu", json!("1500")), 7, "mtu: \"1500\" is not an MTU (68 to 65535)".into()),
        (with("dns", json!([])), 7, "dns: a list is not an object".into()),
        (with("dns", json!({"search": "a"})), 7, "dns.search: \"a\" is not a list".into()),
        (with("ipam", json!("host-local")), 7, "ipam: \"host-local\" is not an object".into()),
        (with("ipam", json!({"type": 1})), 7, "ipam.type: 1 is not a string".into()),
        (with("capabilities", json!({"mac": 1})), 7, "capabilities.mac: 1 is not true or false".into()),
        (with("prevResult", json!("")), 7, "prevResult: \"\" is not an object".into()),
        (gc(json!({"ifname": "eth0"})), 7, "cni.dev/valid-attachments[0].containerID: is missing".into()),
        (
            gc(json!({"containerID": "a", "ifname": "e/"})),
            7,
            "cni.dev/valid-attachments[0].ifname: \"e/\" is not an interface's name".into(),
        ),
        (runtime(json!([])), 7, "runtimeConfig: a list is not an object".into()),
        (port(json!(80)), 7, "runtimeConfig.portMappings[1]: 80 is not an object".into()),
        (
            port(json!({"hostPort": 65536, "containerPort": 1})),
            7,
            "runtimeConfig.portMappings[1].hostPort: 65536 is not a port (1 to 65535)".into(),
        ),
        (
            port(json!({"HostPort": -1, "ContainerPort": 1})),
            7,
            "runtimeConfig.portMappings[1].hostPort: -1 is not a port (1 to 65535)".into(),
        ),
        (port(json!({"hostPort": 1})), 7, "runtimeConfig.portMappings[1].containerPort: is missing".into()),
        (
            port(json!({"hostPort": 1, "containerPort": 0})),
            7,
            "runtimeConfig.portMappings[1].containerPort: 0 is not a port (1 to 65535)".into(),
        ),
        (
            port(json!({"hostPort": 1, "containerPort": 1, "protocol": "icmp"})),
            7,
            "runtimeConfig.portMappings[1].protocol: \"icmp\" is not tcp, udp or sctp".into(),
        ),
        (
            port(json!({"hostPort": 1, "containerPort": 1, "hostIP": "eth0"})),
            7,
            "runtimeConfig.portMappings[1].hostIP: \"eth0\" is not an IP address".into(),
        ),
        (
            runtime(json!({"bandwidth": {"ingressRate": -7}})),
            7,
            "runtimeConfig.bandwidth.ingressRate: -7 is not a number of bits (0 to 18446744073709551615)".into(),
        ),
        (
            runtime(json!({"ips": ["10.1.0.0/33"]})),
            7,
            "runtimeConfig.ips[0]: \"10.1.0.0/33\" is not an IP address".into(),
        ),
        (
            runtime(json!({"ipRanges": [[{"subnet": "10.1.0.1"}]]})),
            7,
            "runtimeConfig.ipRanges[0][0].subnet: \"10.1.0.1\" is not a prefix such as 10.1.0.0/16".into(),
        ),
        (
            runtime(json!({"ipRanges": [{"subnet": "10.1.0.0/16", "rangeStart": "10.2.0.1"}]})),
            7,
            "runtimeConfig.ipRanges[0].rangeStart: \"10.2.0.1\" is not in the subnet 10.1.0.0/16".into(),
        ),
        (
            runtime(json!({"ipRanges": [[{"subnet": "10.1.0.0/16"}, {"subnet": "fd00::/64"}]]})),
            7,
            "runtimeConfig.ipRanges[0]: a list is not of one address family".into(),
        ),
        (
            runtime(json!({"mac": "01:00:00:00:00:01"})),
            7,
            "runtimeConfig.mac: \"01:00:00:00:00:01\" is not a hardware address such as 02:00:00:00:00:01".into(),
        ),
        (runtime(json!({"aliases": [1]})), 7, "runtimeConfig.aliases[0]: 1 is not a string".into()),
    ];
    for (conf, code, wrong) in table {
        let error = NetConf::from_json(&conf).unwrap_err();
        assert_eq!(error, CniError::new(code, format!("configuration: {wrong}")), "{conf}");
    }
}

#[test]
fn what_add_has_refused_can_be_removed() {
    let conf = with("runtimeConfig", json!({"portMappings": [{"hostPort": "x"}], "mac": 7}));
    assert!(NetConf::from_json(&conf).is_err());
    let removal = NetConf::for_removal(&conf).unwrap();
    assert_eq!((&*removal.name, &removal.runtime_config), ("net", &RuntimeConfig::default()));
    // And what is left of it comes to the agent.
    let sent = serde_json::to_value(&removal).unwrap();
    assert_eq!(NetConf::from_json(&sent).unwrap(), removal);
}

#[test]
fn attachments_are_found_under_both_names() {
    let one = vec![Attachment { container_id: "one".into(), ifname: "eth0".into() }];
    let list = json!([{"containerID": "one", "ifname": "eth0"}]);
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        assert_eq!(NetConf::from_json(&with(key, list.clone())).unwrap().valid_attachments, one);
    }
    for none in [json!(null), json!([])] {
        assert_eq!(NetConf::from_json(&with("cni.dev/valid-attachments", none)).unwrap().valid_attachments, []);
    }
}
