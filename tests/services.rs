//! Services: addresses, ports, schedulers, affinity, and who has an address that two claim.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bowline_lab::Host;
use common::manifest::{service, simple, slice};
use common::{Ground, SERVER, SERVER6, ask, at, server, server6, tcp, tcp1, udp1};

#[test]
fn a_cluster_ip_works_for_v4_v6_and_both_by_tcp_and_udp() {
    let ground = Ground::new("families", 2);
    let (agent, client) = (&ground.agent, &ground.client);
    let (four, six) = (at("10.96.1.1", 80), at("fd00:10:96::1", 80));
    agent.serve("four.yaml", &simple("four", four).to([server(1)]).yaml(), "four", 1);
    agent.serve("six.yaml", &simple("six", six).to([server6(2)]).yaml(), "six", 1);
    agent.serve("u4.yaml", &simple("u4", at("10.96.1.1", 53)).udp().to([server(2)]).yaml(), "u4", 1);
    agent.serve("u6.yaml", &simple("u6", at("fd00:10:96::1", 53)).udp().to([server6(1)]).yaml(), "u6", 1);

    let both = service(
        "both",
        "clusterIPs: [10.96.1.2, \"fd00:10:96::2\"], clusterIP: 10.96.1.2, ipFamilyPolicy: RequireDualStack, \
         ports: [{name: t, port: 80}, {name: u, port: 80, protocol: UDP}]",
    );
    let ports = "[{name: t, port: 8001}, {name: u, port: 8002, protocol: UDP}]";
    let both = both
        + &slice("both-4", "both", &format!("[{{addresses: [{SERVER}]}}]"), ports, "IPv4")
        + &slice("both-6", "both", &format!("[{{addresses: [\"{SERVER6}\"]}}]"), ports, "IPv6");
    agent.serve("both.yaml", &both, "both", 4);

    assert_eq!([tcp1(client, four), tcp1(client, six)], ["s-1", "s-2"]);
    assert_eq!([udp1(client, at("10.96.1.1", 53)), udp1(client, at("fd00:10:96::1", 53))], ["s-2", "s-1"]);
    for vip in [at("10.96.1.2", 80), at("fd00:10:96::2", 80)] {
        assert_eq!([tcp1(client, vip), udp1(client, vip)], ["s-1", "s-2"], "{vip}");
    }
    // A front end is an address, a port and a protocol: nobody serves what isn't one.
    for nobody in [at("10.96.1.1", 81), at("10.96.1.1", 53), at("10.96.1.3", 80)] {
        assert_ne!(&tcp1(client, nobody)[..2], "s-", "{nobody}");
    }
    assert_eq!(agent.metric("bowline_problems{cluster=\"local\"}"), Some(0.0));
}

#[test]
fn a_service_has_any_number_of_ports_each_mapped_to_its_own() {
    let ground = Ground::new("ports", 3);
    let (agent, client) = (&ground.agent, &ground.client);
    const PORTS: u16 = 300;
    let list = |line: &dyn Fn(u16) -> String| format!("[{}]", (0..PORTS).map(line).collect::<Vec<_>>().join(", "));
    let outer = list(&|n| format!("{{name: p{n}, port: {}}}", 1000 + n));
    let inner = list(&|n| format!("{{name: p{n}, port: {}}}", 8001 + n % 3));
    let text = service("many", &format!("clusterIP: 10.96.1.1, ports: {outer}"))
        + &slice("many-1", "many", &format!("[{{addresses: [{SERVER}]}}]"), &inner, "IPv4");
    agent.serve("many.yaml", &text, "many", PORTS.into());
    assert_eq!(agent.get().of("many").count(), usize::from(PORTS));
    for n in [0, 1, 2, 150, 151, 298, 299] {
        assert_eq!(tcp1(client, at("10.96.1.1", 1000 + n)), format!("s-{}", 1 + n % 3), "port {n}");
    }
}

#[test]
fn headless_and_external_name_put_nothing_into_the_kernel() {
    let ground = Ground::new("nothing", 1);
    let agent = &ground.agent;
    let endpoints = |name: &str| {
        slice(&format!("{name}-1"), name, &format!("[{{addresses: [{SERVER}]}}]"), "[{port: 8001}]", "IPv4")
    };
    agent.put("h.yaml", &(service("headless", "clusterIP: None, ports: [{port: 80}]") + &endpoints("headless")));
    agent.put(
        "e.yaml",
        &(service("outside", "type: ExternalName, externalName: db.example.com, ports: [{port: 80}]")
            + &endpoints("outside")),
    );
    agent.serve("web.yaml", &simple("web", at("10.96.1.1", 80)).to([server(1)]).yaml(), "web", 1);
    agent.barrier();
    let names: Vec<String> = agent.get().0.into_iter().map(|port| port.name).collect();
    assert_eq!(names, ["web", "zzz"]);
    for (map, entries) in [("services", 2.0), ("frontends", 2.0), ("backends", 1.0)] {
        assert_eq!(agent.metric(&format!("bowline_map_entries{{map=\"{map}\"}}")), Some(entries), "{map}");
    }
    assert_eq!(
        (
            agent.metric("bowline_objects{cluster=\"local\",kind=\"Service\"}"),
            agent.metric("bowline_problems{cluster=\"local\"}")
        ),
        (Some(4.0), Some(0.0))
    );

    // One that becomes headless gives back what it had.
    agent.put("web.yaml", &(service("web", "clusterIP: None, ports: [{port: 80}]") + &endpoints("web")));
    agent.wait("web is gone", |agent| agent.get().one("web").is_none());
    agent.wait_for_metric("bowline_map_entries{map=\"frontends\"}", 1.0);
}

/// A Service over all servers of a ground.
fn over(ground: &Ground, name: &str, vip: SocketAddr, servers: u16, scheduler: Option<&str>) {
    let service = simple(name, vip).to((1..=servers).map(server));
    let service = scheduler.map_or(service.clone(), |scheduler| service.scheduler(scheduler));
    ground.agent.serve(&format!("{name}.yaml"), &service.yaml(), name, servers.into());
}

/// Whether each of so many servers answers once before one answers again.
fn is_in_turn(answers: &[String], servers: usize) -> bool {
    (answers.iter().enumerate().skip(servers)).all(|(i, name)| *name == answers[i - servers])
        && answers.iter().collect::<std::collections::BTreeSet<_>>().len() == servers
}

#[test]
fn the_default_scheduler_is_rr_which_takes_the_backends_in_turn() {
    let ground = Ground::new("rr", 3);
    let (plain, named) = (at("10.96.1.1", 80), at("10.96.1.2", 80));
    over(&ground, "plain", plain, 3, None);
    over(&ground, "named", named, 3, Some("rr"));
    for vip in [plain, named] {
        let answers = tcp(&ground.client, vip, 12);
        assert!(is_in_turn(&answers, 3), "{answers:?}");
    }
    let ports = ground.agent.get();
    assert_eq!([&ports.one("plain").unwrap().scheduler, &ports.one("named").unwrap().scheduler], ["rr", "rr"]);
    assert_eq!(ports.one("plain").unwrap().turn, 12);
}

#[test]
fn random_spreads_over_all_backends_and_not_in_turn() {
    let ground = Ground::new("random", 3);
    let vip = at("10.96.1.1", 80);
    over(&ground, "web", vip, 3, Some("random"));
    let answers = tcp(&ground.client, vip, 300);
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    answers.iter().for_each(|name| *counts.entry(name).or_default() += 1);
    // 100 each, and 8 is the standard deviation.
    assert!(counts.len() == 3 && counts.values().all(|n| (40..=160).contains(n)), "{counts:?}");
    assert!(!is_in_turn(&answers, 3), "{answers:?}");
}

#[test]
fn sh_is_stable_for_a_client_and_differs_among_clients() {
    let ground = Ground::new("sh", 8);
    let vip = at("10.96.1.1", 80);
    over(&ground, "web", vip, 8, Some("sh"));
    let pods: Vec<_> = (0..6).map(|n| ground.node.pod(&format!("pod-{n}")).unwrap()).collect();
    let mut clients: Vec<&Host> = pods.iter().map(|pod| &**pod).collect();
    clients.extend([&*ground.client as &Host, &**ground.node]);
    let mut chosen = BTreeMap::new();
    for client in clients {
        let answers = tcp(client, vip, 10);
        assert!(answers[0].starts_with("s-") && answers.iter().all(|name| *name == answers[0]), "{answers:?}");
        chosen.insert(client.name(), answers[0].clone());
    }
    // By chance all 8 would agree once in two million times.
    assert!(chosen.values().any(|name| *name != chosen["client"]), "{chosen:?}");

    // Who stays keeps its clients when another goes.
    let gone = chosen["client"].clone();
    let rest = (1..=8).filter(|n| format!("s-{n}") != gone).map(server);
    ground.agent.serve("web.yaml", &simple("web", vip).scheduler("sh").to(rest).yaml(), "web", 7);
    for pod in &pods {
        let now = tcp1(pod, vip);
        if chosen[pod.name()] == gone {
            assert!(now.starts_with("s-") && now != gone, "{now}");
        } else {
            assert_eq!(now, chosen[pod.name()], "{}", pod.name());
        }
    }
}

#[test]
fn a_scheduler_that_is_not_there_yet_is_reported_and_rr_is_used() {
    let ground = Ground::new("schedulers", 3);
    for (n, scheduler) in ["wrr", "lc", "wlc", "dh", "sed", "nq", "maglev"].into_iter().enumerate() {
        let vip = at("10.96.1.1", 80 + n as u16);
        over(&ground, scheduler, vip, 3, Some(scheduler));
        ground.agent.wait_for_line(&[
            "WARN",
            &format!("default/{scheduler}"),
            &format!("scheduler {scheduler}"),
            "rr is used",
        ]);
        let answers = tcp(&ground.client, vip, 6);
        assert!(is_in_turn(&answers, 3), "{scheduler}: {answers:?}");
        ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", n as f64 + 1.0);
    }
    // And once only, until it is mended.
    over(&ground, "lc", at("10.96.1.1", 81), 2, Some("lc"));
    ground.agent.barrier();
    assert_eq!(ground.agent.log().matches("scheduler lc is not there yet").count(), 1);
    over(&ground, "lc", at("10.96.1.1", 81), 2, Some("random"));
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 6.0);
}

#[test]
fn a_word_that_is_no_scheduler_is_refused_with_the_list_and_the_last_good_version_stays() {
    let ground = Ground::new("unknown", 2);
    let vip = at("10.96.1.1", 80);
    over(&ground, "web", vip, 2, Some("random"));
    ground.agent.put("web.yaml", &simple("web", vip).scheduler("fastest").to([server(1)]).yaml());
    ground.agent.wait_for_line(&["web.yaml", "default/web", "bowline.dev/scheduler", "fastest", "rr, wrr, lc"]);
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 1.0);
    assert_eq!(ground.agent.get().one("web").unwrap().scheduler, "random");
    assert!(tcp1(&ground.client, vip).starts_with("s-"));
    over(&ground, "web", vip, 2, Some("sh"));
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 0.0);
}

#[test]
fn session_affinity_keeps_a_client_with_its_backend_and_each_client_has_its_own() {
    let ground = Ground::new("affinity", 2);
    let (vip, vip6) = (at("10.96.1.1", 80), at("fd00:10:96::1", 80));
    let other = ground.node.pod("other").unwrap();
    let text = simple("web", vip).spec("sessionAffinity: ClientIP").to([server(1), server(2)]).yaml();
    ground.agent.serve("web.yaml", &text, "web", 2);
    let text = simple("six", vip6).udp().spec("sessionAffinity: ClientIP").to([server6(1), server6(2)]).yaml();
    ground.agent.serve("six.yaml", &text, "six", 2);
    assert_eq!(ground.agent.get().one("web").unwrap().affinity_seconds, Some(10_800), "the default time-out");

    // Round robin gives each new client the other backend.
    let (mine, others) = (tcp1(&ground.client, vip), tcp1(&other, vip));
    assert_ne!(mine, others);
    assert_eq!(tcp(&ground.client, vip, 5), vec![mine.clone(); 5]);
    assert_eq!(tcp(&other, vip, 5), vec![others; 5]);
    let (six, others) = (udp1(&ground.client, vip6), udp1(&other, vip6));
    assert_ne!(six, others);
    for _ in 0..4 {
        // Each time a new socket.
        assert_eq!(udp1(&ground.client, vip6), six);
    }
    assert!(ground.agent.metric("bowline_verdicts_total{verdict=\"affinity\"}").unwrap() >= 14.0);

    // The set may change around it; when its own backend goes, it gets another, and stays there.
    let rest = if mine == "s-1" { [server(2)] } else { [server(1)] };
    let text = simple("web", vip).spec("sessionAffinity: ClientIP").to(rest).yaml();
    ground.agent.serve("web.yaml", &text, "web", 1);
    let next = tcp1(&ground.client, vip);
    assert!(next != mine && next.starts_with("s-"), "{next}");
    let text = simple("web", vip).spec("sessionAffinity: ClientIP").to([server(1), server(2)]).yaml();
    ground.agent.serve("web.yaml", &text, "web", 2);
    assert_eq!(tcp(&ground.client, vip, 5), vec![next; 5]);
}

#[test]
fn session_affinity_ends_after_its_time_out_and_each_connection_renews_it() {
    let ground = Ground::new("timeout", 2);
    let (vip, long) = (at("10.96.1.1", 80), at("10.96.1.2", 80));
    for (name, vip, seconds) in [("web", vip, 2), ("long", long, 3600)] {
        let text = simple(name, vip).affinity(seconds).to([server(1), server(2)]).yaml();
        ground.agent.serve(&format!("{name}.yaml"), &text, name, 2);
        assert_eq!(ground.agent.get().one(name).unwrap().affinity_seconds, Some(seconds));
    }
    let kept = tcp1(&ground.client, long);
    let began = std::time::Instant::now();
    // Renewed without pause it outlives its time-out.
    let first = tcp1(&ground.client, vip);
    while began.elapsed().as_millis() < 2_500 {
        assert_eq!(tcp1(&ground.client, vip), first);
    }
    // Left alone for its time-out, the client is a new one: rr gives it the next backend, which is the
    // other of two, as nobody else asks. A pause that ends early renews it, so the pauses grow.
    let mut pause = std::time::Duration::from_millis(500);
    ground.agent.wait("affinity ends", |_| {
        std::thread::sleep(pause);
        pause += std::time::Duration::from_millis(500);
        tcp1(&ground.client, vip) != first
    });
    assert_eq!(tcp1(&ground.client, long), kept);
}

#[test]
fn of_two_that_claim_an_address_and_port_the_older_keeps_it_and_the_other_follows() {
    let ground = Ground::new("conflict", 3);
    let (agent, client) = (&ground.agent, &ground.client);
    let born = |year: u32| format!("creationTimestamp: \"{year}-01-01T00:00:00Z\"");
    // Whatever their names are.
    for (old, young, address) in [("z-old", "a-young", "10.96.1.1"), ("a-old", "z-young", "10.96.1.2")] {
        let vip = at(address, 80);
        let web = |name: &str, year: u32, n: u16| simple(name, vip).metadata(&born(year)).to([server(n)]).yaml();
        // The younger is there first; the older takes the address from it.
        agent.serve("young.yaml", &web(young, 2026, 1), young, 1);
        assert_eq!(tcp1(client, vip), "s-1");
        agent.serve("old.yaml", &web(old, 2024, 2), old, 1);
        agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 1.0);
        let service = format!("Service default/{young}");
        let owner = format!("older Service default/{old}");
        agent.wait_for_line(&["WARN", "young.yaml", &service, "spec.ports[0].port", &owner]);
        agent.barrier();
        assert_eq!((agent.get().frontends(old), agent.get().frontends(young)), (vec![vip], vec![]));
        assert_eq!(tcp(client, vip, 3), ["s-2"; 3]);

        // Other ports of the same address, and the same port of the other protocol, are nobody's business.
        agent.serve("more.yaml", &simple("more", at(address, 81)).to([server(3)]).yaml(), "more", 1);
        agent.serve("udp.yaml", &simple("udp", vip).udp().to([server(3)]).yaml(), "udp", 1);
        agent.barrier();
        assert_eq!([tcp1(client, at(address, 81)), udp1(client, vip)], ["s-3", "s-3"]);
        assert_eq!(agent.metric("bowline_problems{cluster=\"local\"}"), Some(1.0));

        agent.remove("old.yaml");
        agent.wait("the younger takes over", |agent| agent.get().frontends(young) == [vip]);
        assert_eq!(tcp(client, vip, 3), ["s-1"; 3]);
        agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 0.0);
        agent.remove("young.yaml");
    }
}

#[test]
fn without_a_cluster_ip_a_service_gets_one_for_each_family_by_its_name() {
    let mut ground = Ground::without_agent("assigned", 1);
    ground.agent.flags(&["--service-cluster-ip-range", "10.100.0.0/16,fd00:100::/112"]);
    ground.agent.start();
    let text = service("web", "ipFamilyPolicy: PreferDualStack, ports: [{port: 80}]")
        + &slice("web-4", "web", &format!("[{{addresses: [{SERVER}]}}]"), "[{port: 8001}]", "IPv4")
        + &slice("web-6", "web", &format!("[{{addresses: [\"{SERVER6}\"]}}]"), "[{port: 8001}]", "IPv6");
    ground.agent.serve("web.yaml", &text, "web", 2);
    let before = ground.agent.get().frontends("web");
    assert_eq!(before.len(), 2);
    for vip in &before {
        let text = vip.to_string();
        assert!(text.starts_with("10.100.") || text.starts_with("[fd00:100::"), "{vip}");
        assert_eq!(tcp1(&ground.client, *vip), "s-1");
    }
    // By the name and the range alone: not by what was there before.
    let others: String = (0..20).map(|n| service(&format!("other-{n}"), "ports: [{port: 80}]")).collect();
    ground.agent.stop();
    ground.agent.put("a-others.yaml", &others);
    ground.agent.start();
    assert_eq!(ground.agent.get().frontends("web"), before);
    assert_eq!(ground.agent.get().frontends("other-7").len(), 1);
}

#[test]
fn where_the_range_is_full_an_address_is_refused_with_the_request_to_write_one() {
    let mut ground = Ground::without_agent("collide", 2);
    // A range with one address to give.
    ground.agent.flags(&["--service-cluster-ip-range", "10.100.0.0/30"]);
    ground.agent.start();
    let text = |name: &str, n: u16| {
        let ports = format!("[{{port: {}}}]", 8000 + n);
        service(name, "ports: [{port: 80}]")
            + &slice(&format!("{name}-1"), name, &format!("[{{addresses: [{SERVER}]}}]"), &ports, "IPv4")
    };
    ground.agent.serve("a.yaml", &text("a", 1), "a", 1);
    ground.agent.put("b.yaml", &text("b", 2));
    ground.agent.wait_for_line(&[
        "WARN",
        "b.yaml",
        "default/b",
        "all 1 addresses of 10.100.0.0/30",
        "write a clusterIP",
    ]);
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 1.0);
    assert!(ground.agent.get().one("b").is_none());
    let seen = ask(&ground.client, "connect --target 10.100.0.2:80 --times 3");
    assert!(seen.iter().all(|seen| seen.who() == "s-1"), "{seen:?}");
    ground.agent.remove("a.yaml");
    ground.agent.wait("b has it now", |agent| agent.get().frontends("b") == [at("10.100.0.2", 80)]);
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 0.0);
}
