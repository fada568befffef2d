//! The table of Services.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;

use bowline_dataplane::inspect::{FrontendView, ServiceView, StandInView};

use super::services_table;

fn service(name: &str, stand_in: Option<StandInView>) -> ServiceView {
    ServiceView {
        namespace: "kube-system".into(),
        name: name.into(),
        port_name: "dns".into(),
        protocol: "UDP",
        family: "IPv4",
        id: 1,
        scheduler: "rr",
        affinity_seconds: None,
        generation: 1,
        turn: 0,
        frontends: vec![FrontendView { address: IpAddr::from([10, 96, 0, 10]), port: 53 }],
        backends: Vec::new(),
        stand_in,
    }
}

#[test]
fn a_stand_in_is_shown_where_there_is_one() {
    let dns = |alive| StandInView { address: IpAddr::from([169, 254, 20, 10]), port: 53, alive };
    assert!(!services_table(&[service("a", None)], false).contains("STAND-IN"));
    let text =
        services_table(&[service("a", Some(dns(true))), service("b", None), service("c", Some(dns(false)))], true);
    let lines: Vec<&str> = text.lines().collect();
    let column = lines[0].find("STAND-IN").unwrap();
    let cells: Vec<_> = lines[1..].iter().map(|line| line[column..].split_whitespace().next().unwrap()).collect();
    assert_eq!(cells, ["169.254.20.10:53", "-", "169.254.20.10:53(away)"], "{text}");
    let family = lines[0].find("FAMILY").unwrap();
    assert!(lines[1..].iter().all(|line| line[family..].starts_with("IPv4")), "{text}");
}
