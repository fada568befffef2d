//! examples/etcd: the tour says what its comments say, and agents serve what is applied.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bowline_lab::Lab;
use bowline_lab::kubernetes::{Etcd, EtcdOptions, Place};

use crate::common::{Agent, at, run, tcp};
use crate::ground::{Ground, words};

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/etcd")
}

#[test]
fn the_tour_shows_what_it_says_and_cleans_up() {
    let ground = Ground::new();
    let mut command = Command::new(example().join("tour"));
    command.env("BOWLINE", env!("CARGO_BIN_EXE_bowline")).env("BOWLINE_STATE", &ground.state);
    let text = run(&mut command).ok();
    let mut rest = &*text;
    for said in [
        "+  name: web\n",
        "service/web created\npod/web-1 created\npod/web-2 created\n",
        "service/web unchanged\npod/web-1 unchanged\npod/web-2 unchanged\n",
        "service/web ",
        "pod/web-1 ",
        "clusterIP: \"10.",
        "pod/web-1\npod/web-2\n",
        "pod/web-2 pruned\n",
        "service \"web\" deleted from tour namespace\n",
    ] {
        let found = rest.find(said);
        assert!(found.is_some(), "{said:?} is not in what is left of\n{text}");
        rest = &rest[found.unwrap() + said.len()..];
    }
    assert_eq!(ground.bowline("get services,pods -A -o name").ok(), "");
}

#[test]
fn agents_serve_what_is_applied() {
    let lab = Lab::new("apply-example").unwrap();
    let nodes = ["worker-1", "worker-2"].map(|name| Arc::new(lab.node(name).unwrap()));
    let pods = [nodes[0].pod("web-1").unwrap(), nodes[1].pod("web-2").unwrap()];
    let client = nodes[0].pod("client").unwrap();
    let _servers: Vec<_> = pods
        .iter()
        .enumerate()
        .map(|(n, pod)| pod.serve(&format!("s-{}", n + 1), &[pod.address(8080)], &[]).unwrap())
        .collect();
    let etcd = Etcd::start(&Place::host(&lab, &nodes[0]).unwrap(), &EtcdOptions::default()).unwrap();
    let state = format!("etcd:{}", etcd.urls().join(","));
    let bowline = |args: &[&str]| {
        let mut command = nodes[1].in_netns(env!("CARGO_BIN_EXE_bowline"));
        run(command.args(args).args(["--state", &state])).ok()
    };
    let mut agent = Agent::new(&lab, &nodes[0]);
    agent.state(&state);
    agent.flags(&["--node-ip", &nodes[0].v4().to_string()]);
    agent.start();
    let shop = example().join("shop.yaml");
    bowline(&["apply", "-f", shop.to_str().unwrap()]);
    let row = words(&bowline(&["get", "service", "web"])).remove(1);
    let vip = at(&row[2], 80);
    agent.wait("both pods are served", |agent| agent.get().is_there("web") && agent.get().backends("web").len() == 2);
    let mut answers = tcp(&client, vip, 4);
    answers.sort();
    assert_eq!(answers, ["s-1", "s-1", "s-2", "s-2"]);
    // The agent has registered its node.
    let node = words(&bowline(&["get", "nodes"])).remove(1);
    assert_eq!(node[..2], ["worker-1", "Ready"]);
    // Deleted, it is served no more.
    bowline(&["delete", "-f", shop.to_str().unwrap()]);
    agent.wait("it is gone", |agent| !agent.get().is_there("web"));
}

#[test]
fn every_file_of_the_example_is_tested() {
    let mut names: Vec<String> =
        fs::read_dir(example()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["shop.yaml", "tour"]);
    let readme = fs::read_to_string(example().join("../README.md")).unwrap();
    assert!(names.iter().all(|name| readme.contains(&format!("(etcd/{name})"))), "{readme}");
}
