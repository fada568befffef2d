#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

// What the rules are is tested against a real API server, in tests/store/kubernetes.rs; here, what
// that one doesn't tell apart.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::store::{Claim, Settings};

fn spec(value: Value) -> ServiceSpec {
    serde_json::from_value(value).unwrap()
}

/// Completes and fills, with these claims of others.
fn given(new: Value, old: Option<Value>, taken: &[Claim]) -> Result<Value, String> {
    let (mut new, old) = (spec(new), old.map(spec));
    let say = |refusals: Vec<Refusal>| refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    complete(&mut new, old.as_ref(), &vec![Family::V4, Family::V6]).map_err(say)?;
    let (settings, taken, held) = (Settings::default(), taken.iter().copied().collect(), BTreeSet::new());
    let mut picker = Picker::new(&settings, &[], &held, &taken);
    fill(&mut new, &mut picker).map_err(|refusal| refusal.to_string())?;
    Ok(serde_json::to_value(new).unwrap())
}

#[test]
fn two_protocols_of_a_port_share_a_node_port_where_they_can() {
    let manifest = json!({"type": "NodePort", "ports": [
        {"name": "a", "port": 53, "protocol": "UDP", "nodePort": 30053}, {"name": "b", "port": 53}, {"name": "c", "port": 80},
    ]});
    let ports = |value: Value| -> Vec<i64> {
        value["ports"].as_array().unwrap().iter().map(|port| port["nodePort"].as_i64().unwrap()).collect()
    };
    let free = ports(given(manifest.clone(), None, &[]).unwrap());
    assert_eq!(free[..2], [30053, 30053]);
    assert_ne!(free[2], 30053);
    let taken = ports(given(manifest, None, &[Claim::NodePort(Protocol::Tcp, 30053)]).unwrap());
    assert_ne!(taken[1], 30053);
}

#[test]
fn a_health_check_port_is_no_tcp_node_port() {
    let all_but_one = |one: u16| (30_000..=32_767).filter(move |port| *port != one);
    let taken: Vec<Claim> = all_but_one(30_100).map(Claim::HealthCheckPort).collect();
    let manifest = json!({"type": "NodePort", "ports": [{"port": 80}]});
    assert_eq!(given(manifest, None, &taken).unwrap()["ports"][0]["nodePort"], 30_100);
    let taken: Vec<Claim> = all_but_one(30_200).map(|port| Claim::NodePort(Protocol::Tcp, port)).collect();
    let local = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "allocateLoadBalancerNodePorts": false,
        "ports": [{"port": 80}]});
    assert_eq!(given(local.clone(), None, &taken).unwrap()["healthCheckNodePort"], 30_200);
    // UDP is in nobody's way.
    let udp: Vec<Claim> = (30_000..=32_767).map(|port| Claim::NodePort(Protocol::Udp, port)).collect();
    assert!(given(local, None, &udp).is_ok());
}

#[test]
fn what_is_written_twice_is_refused() {
    let same = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30100,
        "ports": [{"port": 80, "nodePort": 30100}]});
    assert!(given(same, None, &[]).unwrap_err().contains("is one of the nodePorts"));
    let out = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]});
    assert!(given(out, None, &[]).unwrap_err().contains("30000-32767"));
}
