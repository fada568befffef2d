//! `bowline node --dns`: the DNS server in the agent takes its node's questions to the Service of the cluster's DNS
//! while it is well, and the Service's endpoints answer them otherwise.
//!
//! ```text
//! server pod   `bowline dns` at port 53: the endpoint of kube-system/kube-dns; who.test is 10.0.0.2
//! node         `bowline node --dns` at 169.254.20.10 and fd00:a9fe::10; who.test is 10.0.0.1
//! client pod   asks 10.96.0.10 and fd00:10:96::a by dig
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod ground;
#[path = "../common/libraries.rs"]
mod libraries;
mod resolvers;

use std::time::{Duration, Instant};

use bowline_lab::Host;
use common::{put, run};
use ground::{Dns, HERE, LOCAL, THERE, VIPS, dig, hosts, who};
use rustix::process::Signal;

fn interfaces(host: &Host) -> String {
    host.output("ip", &["-o", "addr", "show"]).unwrap()
}

#[test]
fn it_takes_the_services_questions_by_udp_and_tcp_in_both_families() {
    let block =
        ". {{\n kubernetes cluster.local\n health\n ready\n prometheus\n".replace("{{", "{") + &hosts(HERE) + "}\n";
    let mut dns = Dns::new("dns", &block);
    // The host has a resolver of its own, as systemd's.
    let stub = [common::at("127.0.0.53", 53)];
    let _stub = dns.ground.node.serve("stub", &stub, &stub).unwrap();
    dns.ground.agent.start();
    dns.wait_for(HERE);
    let ground = &dns.ground;
    for vip in VIPS {
        for how in ["+notcp", "+tcp"] {
            assert_eq!(dig(&ground.client, &format!("@{vip} {how} who.test")), HERE, "{vip} {how}");
            let name = "kube-dns.kube-system.svc.cluster.local";
            assert_eq!(dig(&ground.client, &format!("@{vip} {how} {name}")), VIPS[0]);
            // The node's own processes are led there too.
            assert_eq!(dig(&ground.node, &format!("@{vip} {how} who.test")), HERE, "{vip} {how}");
        }
    }
    for address in LOCAL.split(',') {
        assert_eq!(dig(&ground.client, &format!("@{address} who.test")), HERE, "who asks it by its own address");
    }
    assert_eq!(ground.agent.metric("bowline_dns_takes_service"), Some(1.0));
    assert!(ground.agent.metric("bowline_verdicts_total{verdict=\"stand_in\"}").unwrap() >= 12.0);
    let root = ground.node.bpf_root().to_str().unwrap();
    let shown: serde_json::Value =
        serde_json::from_str(&common::bowline(&["get", "services", "-o", "json", "--bpf-root", root]).ok()).unwrap();
    for port in shown.as_array().unwrap() {
        let stand_in = &port["stand_in"];
        match port["port_name"].as_str().unwrap() {
            "metrics" => assert!(stand_in.is_null(), "{port}"),
            _ => assert_eq!((&stand_in["port"], &stand_in["alive"]), (&53.into(), &true.into()), "{port}"),
        }
        assert_eq!(port["backends"].as_array().unwrap().len(), 1, "the endpoints stay as they are: {port}");
    }
    // Nowhere else: no open resolver, no clash.
    let listening = ground.node.output("ss", &["-Hlnut"]).unwrap();
    for line in listening.lines() {
        let at = line.split_whitespace().nth(4).unwrap();
        let (address, port) = at.rsplit_once(':').unwrap();
        let is_local = LOCAL.split(',').any(|local| address.trim_matches(['[', ']']) == local);
        match port {
            "53" => assert!(is_local || address == "127.0.0.53", "{line}"),
            "8080" | "8181" | "9153" => assert!(is_local, "{line}"),
            "10249" | "10256" => {}
            _ => panic!("{line}"),
        }
    }
    for page in ["8080/health", "8181/ready"] {
        let (port, path) = page.split_once('/').unwrap();
        let at = common::at("169.254.20.10", port.parse().unwrap());
        assert_eq!(ground.node.http(at, &format!("/{path}")).unwrap().trim(), "OK");
    }
    // It goes without a trace, and the endpoints answer.
    assert!(interfaces(&ground.node).contains("nodelocaldns"));
    dns.ground.agent.stop();
    assert_eq!(who(&dns.ground), THERE);
    assert!(!interfaces(&dns.ground.node).contains("nodelocaldns"));
    // And without --dns the Service has no stand-in any more.
    dns.ground.agent.flags(&[]);
    dns.ground.agent.start();
    assert_eq!(who(&dns.ground), THERE);
    assert!(
        !common::bowline(&[
            "get",
            "services",
            "-o",
            "json",
            "--bpf-root",
            dns.ground.node.bpf_root().to_str().unwrap()
        ])
        .ok()
        .contains("169.254")
    );
}

#[test]
fn killed_or_stopped_it_is_passed_by_and_back_it_takes_them_again() {
    let mut dns = Dns::new("dns-killed", &(".".to_owned() + " {\n" + &hosts(HERE) + "}\n"));
    dns.ground.agent.start();
    dns.wait_for(HERE);
    for round in 0..3 {
        // A client that asks without pause, and as resolvers do asks again when nobody answers.
        let client = &dns.ground.client;
        let (asked, lost) = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let (begun, mut asked, mut lost) = (Instant::now(), 0, Vec::new());
                while asked < 20 || begun.elapsed() < Duration::from_secs(2) {
                    asked += 1;
                    let answer = dig(client, "+tries=2 +time=1 @10.96.0.10 who.test");
                    if answer != HERE && answer != THERE {
                        lost.push((begun.elapsed(), answer));
                    }
                }
                (asked, lost)
            });
            dns.ground.agent.kill();
            asking.join().unwrap()
        });
        assert!(lost.is_empty(), "round {round}, of {asked}: {lost:?}");
        assert_eq!(who(&dns.ground), THERE);
        dns.ground.agent.start();
        dns.wait_for(HERE);
    }
    // It hangs: nobody closes its sockets.
    let pid = rustix::process::Pid::from_raw(dns.ground.agent.pid() as i32).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    let stopped = Instant::now();
    dns.wait_for(THERE);
    let took = stopped.elapsed();
    rustix::process::kill_process(pid, Signal::CONT).unwrap();
    // One question may have been on its way to it, which dig waits for.
    assert!(took < Duration::from_secs(3), "{took:?}");
    dns.wait_for(HERE);
}

#[test]
fn what_is_not_ready_takes_nothing() {
    let wrong_port = format!(".:5300 {{\n{}}}\n", hosts(HERE));
    let mut dns = Dns::new("dns-ready", &wrong_port);
    dns.ground.agent.spawn();
    dns.wait_for(THERE);
    let why = |dns: &Dns| dns.ground.agent.readyz().unwrap_or_default();
    dns.ground.agent.wait("it says why", |_| why(&dns).contains("listens at 169.254.20.10:53"));
    assert!(why(&dns).starts_with("ok; "), "the node is ready all the same");
    assert_eq!(who(&dns.ground), THERE);
    // The Corefile is mended, and read again when asked.
    put(&dns.corefile, &format!(". {{\n{}}}\n", hosts(HERE)));
    let reload = |dns: &Dns| {
        let pid = rustix::process::Pid::from_raw(dns.ground.agent.pid() as i32).unwrap();
        rustix::process::kill_process(pid, Signal::USR1).unwrap();
    };
    reload(&dns);
    dns.wait_for(HERE);
    // One that is wrong leaves the old one whole.
    put(&dns.corefile, ". {\n nonsense\n}\n");
    reload(&dns);
    dns.ground.agent.wait_for_line(&["was not reloaded", "nonsense"]);
    assert_eq!(who(&dns.ground), HERE);
    // And an agent that starts with it says so and ends; the endpoints answer.
    dns.ground.agent.stop();
    dns.ground.agent.spawn();
    assert!(!dns.ground.agent.ended().success());
    dns.ground.agent.wait_for_line(&["node:2", "nonsense"]);
    assert_eq!(who(&dns.ground), THERE);
}

#[test]
fn node_caches_corefile_and_flags_work_and_its_questions_to_the_service_reach_the_endpoints() {
    // As NodeLocal DNSCache forwards where it listens on its own address alone: to the Service itself.
    let corefile = "test:53 {\n    errors\n    bind __PILLAR__LOCAL__DNS__\n    template IN TXT here.test {\n        answer \
                    \"{{ .Name }} 5 IN TXT here\"\n        fallthrough\n    }\n    forward . __PILLAR__CLUSTER__DNS__\n}\n";
    let mut dns = Dns::new("dns-cache", corefile);
    let conf = dns.corefile.to_str().unwrap().to_owned();
    dns.ground.agent.flags(&["-localip", LOCAL, "-conf", &conf, "-upstreamsvc=kube-dns", "-setupiptables=false"]);
    dns.ground.agent.start();
    dns.ground.agent.wait_for_line(&["flag of node-cache", "setupiptables"]);
    dns.ground.agent.wait("it answers", |_| dig(&dns.ground.client, "@10.96.0.10 here.test TXT") == "\"here\"");
    assert_eq!(who(&dns.ground), THERE, "forwarded to the Service, and not to itself");
    let led = dns.ground.agent.metric("bowline_verdicts_total{verdict=\"stand_in\"}").unwrap();
    assert!(led < 1_000.0, "no loop: {led}");
}

#[test]
fn the_interface_is_its_own_and_is_kept_and_cleaned_up() {
    let mut dns = Dns::new("dns-link", &format!(". {{\n{}}}\n", hosts(HERE)));
    dns.ground.agent.start();
    dns.wait_for(HERE);
    // Another of the same name that somebody else has made is used, and stays.
    dns.ground.agent.kill();
    let mut cleanup = dns.ground.node.in_netns(env!("CARGO_BIN_EXE_bowline"));
    cleanup.arg("cleanup").arg("--cgroup-root").arg(dns.ground.node.cgroup());
    let cleaned = run(cleanup.arg("--bpf-root").arg(dns.ground.node.bpf_root())).ok();
    assert!(cleaned.contains("removed interface nodelocaldns"), "{cleaned}");
    assert!(!interfaces(&dns.ground.node).contains("nodelocaldns"));
    dns.ground.node.output("ip", &["link", "add", "nodelocaldns", "type", "bridge"]).unwrap();
    dns.ground.agent.start();
    dns.wait_for(HERE);
    // Whoever takes it away does not take it for long: NodeLocal DNSCache does at its end.
    dns.ground.node.output("ip", &["link", "del", "nodelocaldns"]).unwrap();
    dns.ground.agent.wait("the interface is there again", |_| {
        interfaces(&dns.ground.node).contains("nodelocaldns")
            && dig(&dns.ground.client, "@169.254.20.10 who.test") == HERE
    });
    // Now it is the agent's own: another agent, elsewhere on this machine, has one too.
    let mut other = Dns::new("dns-other", &format!(". {{\n{}}}\n", hosts(HERE)));
    let conf = other.corefile.to_str().unwrap().to_owned();
    other.ground.agent.flags(&[
        "--dns",
        &conf,
        "--localip",
        "169.254.20.99",
        "--interfacename",
        "dns0",
        "-skipteardown",
    ]);
    other.ground.agent.start();
    other.wait_for(HERE);
    assert_eq!(dig(&other.ground.client, "@169.254.20.99 who.test"), HERE);
    other.ground.agent.stop();
    assert!(interfaces(&other.ground.node).contains("dns0"), "-skipteardown");
    assert_eq!(who(&other.ground), THERE);
    assert_eq!(who(&dns.ground), HERE);
    dns.ground.agent.stop();
    assert!(!interfaces(&dns.ground.node).contains("nodelocaldns"));
}
