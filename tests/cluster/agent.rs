//! The agent is killed and upgraded while Services are used and Deployments change.

use std::path::{Path, PathBuf};
use std::process::Command;

use bowline_lab::amount;
use bowline_lab::kubernetes::{POD_NETWORK, Services};

use crate::ground::{Ground, bowline, finish, storms, wait_for_more};

#[test]
fn killed_under_load() {
    let mut ground = Ground::new();
    let program = bowline();
    take_turns(&mut ground, "kill", amount(10, 4), |_| program.clone());
}

/// Back and forth between this build and one with another layout of every map.
#[test]
fn upgraded_under_load() {
    let mut ground = Ground::new();
    let (here, next) = (bowline(), Services::Bowline { program: next_agent(), flags: vec![POD_NETWORK.into()] });
    take_turns(&mut ground, "upgrade", amount(6, 3), |turn| if turn % 2 == 0 { next.clone() } else { here.clone() });
}

/// Kills the agents of all nodes, changes a Deployment while they are away, starts the next; again and again.
fn take_turns(ground: &mut Ground, name: &str, turns: usize, next: impl Fn(usize) -> Services) {
    let namespace = ground.namespace(name);
    namespace.serve("web", 3);
    namespace.client("client", "node-1");
    let storms = storms(&namespace, &["client"], &namespace.addresses("web"), "web");
    // The namespace would hold the ground.
    std::mem::forget(namespace);
    for turn in 0..turns {
        for node in ground.cluster_mut().nodes_mut() {
            node.services.server_mut().kill().unwrap();
            node.services.set(next(turn));
        }
        wait_for_more(&storms, 50);
        // New pods, which wait for their network until an agent is there. None goes: it would be asked in vain while no
        // agent is there to tell.
        let replicas = format!("--replicas={}", 4 + turn);
        ground.kubectl(&["-n", name, "scale", "deployment/web", &replicas]);
        ground.cluster_mut().start_services().unwrap();
        ground.kubectl(&["-n", name, "rollout", "status", "--timeout=180s", "deployment/web"]);
        wait_for_more(&storms, 100);
    }
    // Now all that come and go are told.
    ground.kubectl(&["-n", name, "scale", "deployment/web", "--replicas=2"]);
    ground.kubectl(&["-n", name, "rollout", "restart", "deployment/web"]);
    ground.kubectl(&["-n", name, "rollout", "status", "--timeout=180s", "deployment/web"]);
    wait_for_more(&storms, 500);
    let report = finish(storms);
    ground.kubectl(&["delete", "namespace", name, "--timeout=180s"]);
    println!("{turns} turns: {} connects to {} pods, {} failed", report.connects, report.names.len(), report.failed);
    assert_eq!(report.failed, 0, "{:#?}", report.failures);
    // Those that came while no agent was there were found by the next.
    assert!(report.names.len() >= 3 + turns, "{:?}", report.names);
}

/// The agent with another layout of every map, built once into a target folder of its own.
fn next_agent() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join("target/layout-next");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--features", "layout-next", "--bin", "bowline", "--target-dir"]).arg(&target);
    assert!(cargo.current_dir(root).status().unwrap().success(), "the agent with the other layout does not build");
    target.join("debug/bowline")
}
