#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn parsed(text: &str) -> NetConf {
    NetConf::parse(text.as_bytes()).unwrap()
}

fn refused(text: &str) -> String {
    NetConf::parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn what_flannel_ships_and_its_variants() {
    // Of kube-flannel.yml.
    let shipped = r#"{"Network": "10.244.0.0/16", "EnableNFTables": false, "Backend": {"Type": "vxlan"}}"#;
    let tunnels = Tunnels { id: 1, port: 8472, when: When::Always, mtu: None, flannel: true };
    assert_eq!(parsed(shipped), NetConf { networks: vec!["10.244.0.0/16".parse().unwrap()], tunnels, mtu: None });
    let full = r#"{"network": "10.1.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00::/48", "SubnetLen": 24,
        "backend": {"Port": 4789, "VNI": 77, "MTU": 1400, "directRouting": true, "GBP": false, "Learning": true,
        "MacPrefix": "0E-2A", "type": "VXLAN"}}"#;
    let networks = ["10.1.0.0/16", "fd00::/48"].map(|one| one.parse().unwrap()).to_vec();
    let tunnels = Tunnels { id: 77, port: 4789, when: When::Auto, mtu: Some(1400), flannel: true };
    assert_eq!(parsed(full), NetConf { networks, tunnels, mtu: Some(1330) });
    let routes = r#"{"EnableIPv4": false, "Network": "", "EnableIPv6": true, "IPv6Network": "fd00::/48", "Backend": {"Type": "host-gw"}}"#;
    assert!(refused(routes).starts_with("Network: \"\" is no range"));
    let routes = routes.replace("\"Network\": \"\", ", "");
    assert_eq!(parsed(&routes).tunnels.when, When::Never);
    assert_eq!(parsed(&routes).networks, ["fd00::/48".parse().unwrap()]);
}

#[test]
fn what_can_not_be_had_is_said_with_its_field_and_line() {
    let with = |backend: &str| format!("{{\n  \"Network\": \"10.244.0.0/16\",\n  \"Backend\": {backend}\n}}");
    for (text, field, said, line) in [
        (with(r#"{"Type": "wireguard", "PSK": "x"}"#), "Backend: Type:", "have flannel use vxlan first", 3),
        (with("{}"), "Backend: Type:", "is flannel's backend udp", 3),
        (with(r#"{"Type": "vxlan", "VNI": "1"}"#), "Backend: VNI:", "invalid type: string", 3),
        (with(r#"{"Type": "vxlan", "VNI": 16777216}"#), "Backend: VNI:", "write a number from 1", 3),
        (with(r#"{"Type": "vxlan", "Port": 70000}"#), "Backend: Port:", "70000", 3),
        (with(r#"{"Type": "vxlan", "GBP": true}"#), "Backend: GBP:", "do without", 3),
        (with(r#"{"Type": "vxlan", "Vni2": 1}"#), "Backend: Vni2:", "no key", 3),
        ("{\"Network\": \"10.244.0.0/16\"}".into(), "Backend:", "is missing", 1),
        ("{\"Backend\": {\"Type\": \"vxlan\"}}".into(), "Network:", "is missing", 1),
        ("{\n\n\"Network\": \"fd00::/48\"}".into(), "Network:", "no range of its family", 3),
        ("{\n\"Netwerk\": \"10.0.0.0/8\"}".into(), "Netwerk:", "no key", 2),
        ("[]".into(), "invalid type: sequence", "flannel's net-conf.json", 1),
        ("{\"Network\": ".into(), "", "EOF", 1),
    ] {
        let error = refused(&text);
        assert!(error.starts_with(field) && error.contains(said), "{text}: {error}");
        assert!(error.contains(&format!(" at line {line} ")), "{text}: {error}");
    }
}

#[test]
fn a_file_is_named() {
    let error = NetConf::read(Path::new("/nonexistent/net-conf.json")).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/net-conf.json: "), "{error}");
}
