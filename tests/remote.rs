//! An agent whose state is on a server: a real etcd, a real API server. What it does while that is away, and
//! what it keeps on disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "../sources/tests/kubernetes/crooked.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared by test programs")]
mod crooked;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use bowline_lab::kubernetes::{ApiServer, ApiServerOptions, Etcd, EtcdOptions, Place};
use common::manifest::simple;
use common::{Ended, Ground, at, bowline_in, server, tcp1};
use crooked::{Act, Crooked};
use rustix::process::Signal;

const STALE: &str = "bowline_source_away_seconds{cluster=\"local\"}";

/// A node with an etcd on it, from which its agent reads.
struct OnEtcd {
    ground: Ground,
    etcd: Etcd,
    state: String,
    disk: PathBuf,
}

impl OnEtcd {
    fn new(tag: &str) -> OnEtcd {
        let mut ground = Ground::without_agent(tag, 2);
        let place = Place::host(&ground.lab, &ground.node).unwrap();
        let etcd = Etcd::start(&place, &EtcdOptions::default()).unwrap();
        let state = format!("etcd:{}", etcd.urls().join(","));
        let folder = ground.lab.folder("disk").unwrap().join("made");
        ground.agent.state(&state);
        ground.agent.flags(&["--state-dir", folder.to_str().unwrap(), "--node-ip", "192.168.0.1"]);
        OnEtcd { ground, etcd, state, disk: folder.join("local.snapshot") }
    }

    /// A command on the node, on its state.
    fn bowline(&self, args: &[&str]) -> Ended {
        let mut command = self.ground.node.in_netns(env!("CARGO_BIN_EXE_bowline"));
        common::run(command.args(args).args(["--state", &self.state]))
    }

    fn apply(&self, text: &str) {
        let file = self.ground.lab.folder("manifests").unwrap().join("apply.yaml");
        fs::write(&file, text).unwrap();
        self.bowline(&["apply", "-f", file.to_str().unwrap()]).ok();
    }

    /// As after the machine has started anew: no agent, nothing in the kernel.
    fn reboot(&mut self) {
        if self.ground.agent.is_running() {
            self.ground.agent.stop();
        }
        bowline_in(&self.ground.node, &["cleanup"]).ok();
    }
}

#[test]
fn an_agent_on_etcd_serves_what_was_applied_and_goes_on_while_etcd_is_away() {
    let mut on = OnEtcd::new("on-etcd");
    on.apply(&simple("web", at("10.96.1.1", 80)).to([server(1)]).yaml());
    on.ground.agent.start();
    assert_eq!(tcp1(&on.ground.client, at("10.96.1.1", 80)), "s-1");
    let nodes = on.bowline(&["get", "nodes"]).ok();
    assert!(nodes.lines().any(|line| line.starts_with("node ") && line.contains("Ready")), "{nodes}");
    assert!(nodes.contains("10.244.0.0/24"), "{nodes}");

    on.etcd.members_mut()[0].kill().unwrap();
    let agent = &on.ground.agent;
    agent.wait("it says how old", |agent| {
        agent.readyz().is_ok_and(|page| page.starts_with("ok; served as last known")) && agent.metric(STALE) > Some(0.2)
    });
    assert_eq!(tcp1(&on.ground.client, at("10.96.1.1", 80)), "s-1");
    on.etcd.members_mut()[0].start().unwrap();
    agent.wait("it is read again", |agent| agent.readyz().is_ok_and(|page| page == "ok\n"));
    assert_eq!(agent.metric(STALE), Some(0.0));
    on.apply(&simple("web", at("10.96.1.2", 80)).to([server(2)]).yaml().replace("web", "more"));
    agent.wait("a change arrives", |agent| agent.get().is_there("more"));
    assert_eq!(tcp1(&on.ground.client, at("10.96.1.2", 80)), "s-2");
}

#[test]
fn a_node_that_starts_without_etcd_serves_the_snapshot_on_disk_and_says_so() {
    let mut on = OnEtcd::new("from-disk");
    on.apply(&simple("web", at("10.96.1.1", 80)).to([server(1)]).yaml());
    on.ground.agent.start();
    on.etcd.members_mut()[0].stop().unwrap();
    on.ground.agent.wait("away", |agent| agent.metric(STALE) > Some(0.0));
    on.reboot();
    assert!(on.disk.exists());

    on.ground.agent.spawn();
    on.ground.agent.wait("it serves", |agent| {
        agent.readyz().is_ok_and(|page| page.starts_with("ok; served from the snapshot on disk"))
    });
    assert_eq!(tcp1(&on.ground.client, at("10.96.1.1", 80)), "s-1");
    assert!(on.ground.agent.has_line(&["serving the snapshot on disk", "services=1"]));
    on.etcd.members_mut()[0].start().unwrap();
    on.ground.agent.wait("it is read again", |agent| agent.readyz().is_ok_and(|page| page == "ok\n"));
    assert_eq!(tcp1(&on.ground.client, at("10.96.1.1", 80)), "s-1");

    // A kernel that serves is not set back: the agent is killed before what is new can be on disk.
    on.apply(&simple("new", at("10.96.1.2", 80)).to([server(2)]).yaml());
    on.ground.agent.wait("a change arrives", |agent| agent.get().is_there("new"));
    on.ground.agent.kill();
    let written = fs::read_to_string(&on.disk).unwrap();
    assert!(!written.contains("10.96.1.2"), "saved too soon for this test");
    on.etcd.members_mut()[0].stop().unwrap();
    on.ground.agent.spawn();
    on.ground.agent.wait("it has the old snapshot", |agent| {
        agent.readyz().is_ok_and(|page| page.contains("served from the snapshot on disk"))
    });
    assert_eq!(tcp1(&on.ground.client, at("10.96.1.2", 80)), "s-2");
}

#[test]
fn a_snapshot_that_is_damaged_or_too_old_is_refused_with_its_reason() {
    let mut on = OnEtcd::new("bad-disk");
    on.apply(&simple("web", at("10.96.1.1", 80)).to([server(1)]).yaml());
    on.ground.agent.start();
    on.reboot();
    on.etcd.members_mut()[0].stop().unwrap();
    let good = fs::read(&on.disk).unwrap();
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let old = SystemTime::now() - Duration::from_secs(90_000);
    for (bytes, age, words) in
        [(&damaged, None, "checksum"), (&good[..middle].to_vec(), None, "cut short"), (&good, Some(old), "old")]
    {
        fs::write(&on.disk, bytes).unwrap();
        if let Some(time) = age {
            File::options().write(true).open(&on.disk).unwrap().set_modified(time).unwrap();
        }
        on.ground.agent.spawn();
        on.ground.agent.wait_for_line(&["refused", "local.snapshot", words]);
        assert!(on.ground.agent.readyz().is_err());
        assert!(on.ground.agent.get().0.is_empty());
        on.ground.agent.stop();
    }
    // What was refused stands in no one's way.
    on.etcd.members_mut()[0].start().unwrap();
    on.ground.agent.start();
    assert_eq!(tcp1(&on.ground.client, at("10.96.1.1", 80)), "s-1");
}

#[test]
fn an_agent_on_kubernetes_serves_its_services_and_goes_on_while_the_api_server_is_silent() {
    let mut ground = Ground::without_agent("on-kubernetes", 2);
    let place = Place::host(&ground.lab, &ground.node).unwrap();
    let etcd = Etcd::start(&place, &EtcdOptions::default()).unwrap();
    let api = ApiServer::start(&place, &etcd, &ApiServerOptions::default()).unwrap();
    let hidden = simple("hidden", at("10.96.1.9", 80))
        .metadata("labels: {service.kubernetes.io/service-proxy-name: other}")
        .to([server(1)]);
    api.apply(&(simple("web", at("10.96.1.1", 80)).to([server(1)]).yaml() + &hidden.yaml())).unwrap();
    ground.agent.state(&format!("kubernetes:{}", api.admin().display()));
    ground.agent.flags(&["--state-dir", ""]);
    ground.agent.start();
    assert_eq!(tcp1(&ground.client, at("10.96.1.1", 80)), "s-1");
    // Hidden from the dataplane, not from the snapshot: `kubernetes` is the third Service.
    assert!(!ground.agent.get().is_there("hidden"));
    assert_eq!(ground.agent.metric("bowline_objects{cluster=\"local\",kind=\"Service\"}"), Some(3.0));

    api.server().signal(Signal::STOP).unwrap();
    ground.agent.wait("it says how old", |agent| {
        agent.readyz().is_ok_and(|page| page.starts_with("ok; served as last known")) && agent.metric(STALE) > Some(0.2)
    });
    assert_eq!(tcp1(&ground.client, at("10.96.1.1", 80)), "s-1");
    api.server().signal(Signal::CONT).unwrap();
    ground.agent.wait("it is read again", |agent| agent.readyz().is_ok_and(|page| page == "ok\n"));
    api.apply(&simple("more", at("10.96.1.2", 80)).to([server(2)]).yaml()).unwrap();
    ground.agent.wait("a change arrives", |agent| agent.get().is_there("more"));
    assert_eq!(tcp1(&ground.client, at("10.96.1.2", 80)), "s-2");

    // From the annotation of a slice, as kube-proxy counts it.
    let count = "kubeproxy_network_programming_duration_seconds_count";
    let before = ground.agent.metric(count).unwrap();
    let stamp = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.%NZ"]).output().unwrap().stdout;
    let note = format!(
        "name: more-0, annotations: {{endpoints.kubernetes.io/last-change-trigger-time: \"{}\"}}",
        String::from_utf8(stamp).unwrap().trim()
    );
    let changed = simple("more", at("10.96.1.2", 80)).to([server(1)]).yaml().replace("name: more-0", &note);
    api.apply(&changed).unwrap();
    ground.agent.wait("the change is counted", |agent| agent.metric(count).unwrap() > before);
    assert_eq!(tcp1(&ground.client, at("10.96.1.2", 80)), "s-1");
}

/// Behind a proxy that loses changes, by the command's own flag.
#[test]
fn what_the_watch_of_an_agent_has_lost_is_served_within_the_period_counted_and_said() {
    let mut ground = Ground::without_agent("drift", 1);
    let place = Place::host(&ground.lab, &ground.node).unwrap();
    let etcd = Etcd::start(&place, &EtcdOptions::default()).unwrap();
    let api = ApiServer::start(&place, &etcd, &ApiServerOptions::default()).unwrap();
    api.apply(&simple("goes", at("10.96.1.1", 80)).to([server(1)]).yaml()).unwrap();
    let crooked = Crooked::at(&api, Some(&ground.node.netns()), |path| match path {
        // In pages: a watch of its own follows.
        path if path.contains("sendInitialEvents") => Act::Refuse(400, String::new()),
        path if path.contains("watch=true") => Act::Only(|line| !line.contains("\"name\":\"goes\"")),
        _ => Act::Pass,
    });
    let kubeconfig = crooked.access().kubeconfig.unwrap();
    ground.agent.state(&format!("kubernetes:{}", kubeconfig.display()));
    ground.agent.flags(&["--state-dir", "", "--config-sync-period", "1s"]);
    ground.agent.start();
    assert_eq!(tcp1(&ground.client, at("10.96.1.1", 80)), "s-1");
    api.kubectl(&["delete", "service", "goes", "--wait=false"]).unwrap();
    ground.agent.wait("it is gone", |agent| !agent.get().is_there("goes"));
    assert_eq!(ground.agent.metric("bowline_source_drift_total{cluster=\"local\",kind=\"services\"}"), Some(1.0));
    assert!(ground.agent.has_line(&["what is known is not what the server has", "services", "default/goes"]));
    assert!(ground.agent.readyz().is_ok_and(|page| page == "ok\n"));
}

#[test]
fn in_a_pod_the_address_of_the_api_server_must_be_given() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
    command.env("KUBERNETES_SERVICE_HOST", "10.96.0.1").env("KUBERNETES_SERVICE_PORT", "443");
    command.env_remove("KUBECONFIG");
    let ground = Ground::without_agent("in-a-pod", 0);
    command.args(["node", "--state", "kubernetes"]);
    command.arg("--cgroup-root").arg(ground.node.cgroup()).arg("--bpf-root").arg(ground.node.bpf_root());
    let said = common::run(&mut command).failed();
    assert!(said.contains("--apiserver"), "{said}");
}
