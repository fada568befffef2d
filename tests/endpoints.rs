//! Where the traffic of a Service goes: EndpointSlices by kube-proxy's rules, and endpoints from Pods by
//! those of Kubernetes' controller.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::net::SocketAddr;

use bowline_lab::{Mode, Storm, StormArgs};
use common::manifest::{pod, service, simple, slice};
use common::{Ground, SERVER, SERVER6, at, server, server6, tcp, tcp1, udp1};

const VIP: &str = "10.96.1.1";

/// One endpoint at the address of the servers, with more fields in flow style.
fn endpoint(more: &str) -> String {
    format!("[{{addresses: [{SERVER}]{more}}}]")
}

/// A Service `web` on port 80, without endpoints.
fn web() -> String {
    service("web", &format!("clusterIP: {VIP}, ports: [{{port: 80}}]"))
}

/// A slice of `web` with server `s-N` and its conditions.
fn one(n: u16, conditions: &str) -> String {
    let conditions = if conditions.is_empty() { String::new() } else { format!(", conditions: {{{conditions}}}") };
    slice(&format!("web-{n}"), "web", &endpoint(&conditions), &format!("[{{port: {}}}]", 8000 + n), "IPv4")
}

fn to(servers: &[u16]) -> Vec<SocketAddr> {
    servers.iter().map(|n| server(*n)).collect()
}

/// Puts `web` with these slices, and waits until these servers are its backends.
#[track_caller]
fn expect(ground: &Ground, slices: &str, servers: &[u16]) {
    let what = format!("web has the backends {servers:?}");
    ground.agent.apply("web.yaml", &(web() + slices), &what, |ports| ports.backends("web") == to(servers));
}

#[test]
fn slices_are_joined_by_their_label_and_the_name_of_the_port() {
    let ground = Ground::new("joined", 4);
    let (agent, client) = (&ground.agent, &ground.client);
    let web = service(
        "web",
        &format!(
            "clusterIP: {VIP}, ports: [{{name: a, port: 80}}, {{name: b, port: 81}}, {{name: b-udp, port: 81, protocol: UDP}}]"
        ),
    );
    // The name joins; the number of the slice counts; a name with another protocol is another port.
    let ports = "[{name: b, port: 8002}, {name: a, port: 8001}, {name: b-udp, protocol: TCP, port: 8003}, {name: c, port: 8004}]";
    let mine = slice("any-name", "web", &endpoint(""), ports, "IPv4");
    // Of another Service, of nobody, and of a Service of the same name elsewhere.
    let ports = "[{name: a, port: 8004}, {name: b, port: 8004}]";
    let others = slice("web-9", "other", &endpoint(""), ports, "IPv4")
        + &slice("web-8", "web", &endpoint(""), ports, "IPv4").replace("kubernetes.io/service-name", "app")
        + &slice("web-7", "web", &endpoint(""), ports, "IPv4")
            .replace("metadata: {", "metadata: {namespace: elsewhere, ");
    agent.serve("web.yaml", &(web + &mine + &others), "web", 2);
    agent.barrier();
    let port = |name: &str| agent.get().of("web").find(|port| port.port_name == name).unwrap().backends();
    assert_eq!([port("a"), port("b"), port("b-udp")], [to(&[1]), to(&[2]), vec![]]);
    assert_eq!([tcp1(client, at(VIP, 80)), tcp1(client, at(VIP, 81))], ["s-1", "s-2"]);
    // The slice may come later, be changed and go.
    agent.serve(
        "late.yaml",
        &slice("late", "web", &endpoint(""), "[{name: b-udp, protocol: UDP, port: 8003}]", "IPv4"),
        "web",
        3,
    );
    assert_eq!(udp1(client, at(VIP, 81)), "s-3");
    agent.remove("late.yaml");
    agent.wait("the late slice is gone", |agent| agent.get().backends("web").len() == 2);
}

#[test]
fn an_address_in_two_slices_is_one_backend_until_the_last_one_drops_it() {
    let ground = Ground::new("two", 2);
    let twin = |name: &str| one(1, "").replace("web-1", name);
    expect(&ground, &(twin("a") + &twin("b") + &one(2, "")), &[1, 2]);
    let before = ground.agent.get();
    // Each twice in four: no server counts double.
    let answers = tcp(&ground.client, at(VIP, 80), 8);
    assert_eq!(answers.iter().filter(|name| *name == "s-1").count(), 4, "{answers:?}");
    ground.agent.put("web.yaml", &(web() + &twin("b") + &one(2, "")));
    ground.agent.barrier();
    let after = ground.agent.get();
    let (before, after) = (before.one("web").unwrap(), after.one("web").unwrap());
    assert_eq!((&before.backends, before.generation), (&after.backends, after.generation), "nothing has changed");
    // Once more in another slice, then not in this one; ready in one of both is ready.
    expect(
        &ground,
        &(twin("b").replace("addresses", "conditions: {ready: false}, addresses") + &twin("c") + &one(2, "")),
        &[1, 2],
    );
    expect(&ground, &one(2, ""), &[2]);
    assert_eq!(tcp(&ground.client, at(VIP, 80), 4), ["s-2"; 4]);
}

#[test]
fn slices_that_swap_endpoints_lose_no_connection() {
    let ground = Ground::new("swap", 3);
    let agent = &ground.agent;
    let file = |name: &str, n: u16| slice(name, "web", &endpoint(""), &format!("[{{port: {}}}]", 8000 + n), "IPv4");
    let all = |held: [u16; 3]| file("a", held[0]) + &file("b", held[1]) + &file("c", held[2]);
    agent.put("web.yaml", &web());
    agent.put("slices.yaml", &all([1, 2, 3]));
    agent.wait("three backends", |agent| agent.get().backends("web") == to(&[1, 2, 3]));
    let ids = |agent: &common::Agent| {
        let ports = agent.get();
        ports.one("web").unwrap().backends.iter().map(|b| (b.id, b.life, b.port)).collect::<Vec<_>>()
    };
    let before = ids(agent);
    let target = |mode| StormArgs::new().target(at(VIP, 80), "s").mode(mode);
    let storms = [
        Storm::start(&ground.client, &target(Mode::Tcp)).unwrap(),
        // Connections that are held: each answer must come from the server of the one before.
        Storm::start(&ground.client, &target(Mode::Tcp).exchanges(0).threads(3)).unwrap(),
    ];
    // In one step.
    let mut held = [1, 2, 3];
    for turn in 0..100 {
        held.swap(turn % 3, (turn + 1) % 3);
        agent.put("slices.yaml", &all(held));
        storms[0].wait_for_more(5).unwrap();
    }
    agent.barrier();
    // Step by step, as a controller does: first into the one, then out of the other.
    for turn in 0..10 {
        let both = format!("[{{port: {}}}]", 8000 + held[turn % 3]);
        agent.put("more.yaml", &slice("more", "web", &endpoint(""), &both, "IPv4"));
        agent.barrier();
        held.swap(turn % 3, (turn + 1) % 3);
        agent.put("slices.yaml", &all(held));
        agent.barrier();
        agent.remove("more.yaml");
    }
    storms[1].wait_for_more(10).unwrap();
    for storm in storms {
        let report = storm.finish().unwrap();
        assert_eq!(report.failed, 0, "{report:?}");
        assert!(report.answers > 100, "{report:?}");
    }
    assert_eq!(ids(agent), before, "the backends are the same, in the same life");
}

#[test]
fn ready_and_serving_unset_mean_true_and_terminating_unset_means_false() {
    let ground = Ground::new("unset", 3);
    // ready is unset: it takes traffic, and 3, which isn't ready, doesn't.
    expect(&ground, &(one(1, "") + &one(2, "serving: true") + &one(3, "ready: false")), &[1, 2]);
    expect(&ground, &(one(1, "ready: null, serving: null, terminating: null") + &one(3, "ready: false")), &[1]);
    // Nobody is ready. serving is unset on 1: it serves while it terminates. terminating is unset on 2: it
    // isn't one of those that end, it is just not ready.
    expect(&ground, &(one(1, "ready: false, terminating: true") + &one(2, "ready: false, serving: true")), &[1]);
    expect(&ground, &(one(1, "ready: false, terminating: true, serving: false") + &one(2, "ready: false")), &[]);
    assert_eq!(tcp1(&ground.client, at(VIP, 80)), "ECONNREFUSED");
}

#[test]
fn traffic_goes_to_ready_endpoints_and_where_none_is_to_serving_terminating_ones() {
    let ground = Ground::new("terminating", 4);
    let ending = |n: u16| one(n, "ready: false, serving: true, terminating: true");
    let dead = one(4, "ready: false, serving: false, terminating: true");
    expect(&ground, &(one(1, "ready: true") + &ending(2) + &ending(3) + &dead), &[1]);
    assert_eq!(tcp(&ground.client, at(VIP, 80), 4), ["s-1"; 4]);
    expect(&ground, &(ending(1) + &ending(2) + &ending(3) + &dead), &[1, 2, 3]);
    let mut answers = tcp(&ground.client, at(VIP, 80), 3);
    answers.sort();
    assert_eq!(answers, ["s-1", "s-2", "s-3"]);
    // One that is ready ends that.
    expect(&ground, &(ending(1) + &one(2, "ready: true") + &ending(3) + &dead), &[2]);
    expect(&ground, &dead, &[]);
}

#[test]
fn only_the_first_address_of_an_endpoint_counts() {
    let ground = Ground::new("first", 2);
    let text =
        slice("web-1", "web", &format!("[{{addresses: [{SERVER}, 10.1.0.77, 10.1.0.78]}}]"), "[{port: 8001}]", "IPv4");
    expect(&ground, &text, &[1]);
    assert_eq!(tcp(&ground.client, at(VIP, 80), 3), ["s-1"; 3]);
}

#[test]
fn slices_of_names_are_left_alone() {
    let ground = Ground::new("fqdn", 1);
    let names = slice("web-names", "web", "[{addresses: [web.example.com]}]", "[{port: 8009}]", "FQDN");
    expect(&ground, &(one(1, "") + &names), &[1]);
    ground.agent.barrier();
    assert_eq!(ground.agent.metric("bowline_problems{cluster=\"local\"}"), Some(0.0));
    expect(&ground, &names, &[]);
}

#[test]
fn a_service_with_a_selector_and_no_slice_gets_its_endpoints_from_pods() {
    let ground = Ground::new("pods", 3);
    let (agent, client) = (&ground.agent, &ground.client);
    // A port by number, one by name that differs from pod to pod, both families.
    let web = service(
        "web",
        "clusterIPs: [10.96.1.1, \"fd00:10:96::1\"], ipFamilyPolicy: RequireDualStack, selector: {app: web}, \
         ports: [{name: number, port: 80, targetPort: 8003}, {name: name, port: 81, targetPort: http}]",
    );
    let ips = format!("podIP: {SERVER}, podIPs: [{{ip: {SERVER}}}, {{ip: \"{SERVER6}\"}}]");
    let port = |n: u16| format!("{{name: http, containerPort: {}}}", 8000 + n);
    let two = pod("web-1", "web", &port(1), &ips) + &pod("web-2", "web", &port(2), &ips);
    agent.put("pods.yaml", &two);
    agent.serve("web.yaml", &web, "web", 6);
    let port_of = |name: &str, family: &str| {
        agent.get().of("web").find(|port| port.port_name == name && port.family == family).unwrap().backends()
    };
    assert_eq!(port_of("number", "IPv4"), [server(3)]);
    assert_eq!(port_of("name", "IPv4"), [server(1), server(2)]);
    assert_eq!(port_of("number", "IPv6"), [server6(3)]);
    assert_eq!(port_of("name", "IPv6"), [server6(1), server6(2)]);
    for vip in ["10.96.1.1", "fd00:10:96::1"] {
        let mut answers = tcp(client, at(vip, 81), 2);
        answers.sort();
        assert_eq!((tcp1(client, at(vip, 80)).as_str(), answers), ("s-3", vec!["s-1".to_owned(), "s-2".to_owned()]));
    }

    // Other labels, no address yet, one that has finished, one that is deleted: not of it.
    let others = pod("other", "other", &port(3), &ips)
        + &pod("new", "web", &port(3), "phase: Pending")
        + &pod("done", "web", &port(3), &format!("{ips}, phase: Succeeded"))
        + &pod("going", "web", &port(3), &ips)
            .replace("metadata: {", "metadata: {deletionTimestamp: \"2026-01-01T00:00:00Z\", ");
    agent.put("others.yaml", &others);
    agent.barrier();
    assert_eq!(port_of("name", "IPv4"), [server(1), server(2)]);

    // A pod comes and goes.
    agent.apply("pods.yaml", &pod("web-2", "web", &port(2), &ips), "web-1 is gone", |ports| {
        ports.of("web").filter(|port| port.port_name == "name").all(|port| port.backends.len() == 1)
    });
    assert_eq!(tcp1(client, at("10.96.1.1", 81)), "s-2");

    // A slice of its own takes their place; without it they are back.
    agent.serve("slice.yaml", &slice("web-x", "web", &endpoint(""), "[{name: name, port: 8001}]", "IPv4"), "web", 1);
    assert_eq!(tcp1(client, at("10.96.1.1", 81)), "s-1");
    agent.remove("slice.yaml");
    agent.wait("the endpoints from pods are back", |agent| agent.get().backends("web").len() == 4);
}

#[test]
fn a_pod_counts_when_it_is_ready_or_says_nothing_of_it() {
    let ground = Ground::new("ready", 4);
    let agent = &ground.agent;
    let status = |ready: &str| format!("podIP: {SERVER}, conditions: [{{type: Initialized, status: \"True\"}}{ready}]");
    let all = |two: &str| {
        let is =
            |text: &str| if text.is_empty() { String::new() } else { format!(", {{type: Ready, status: \"{text}\"}}") };
        let http = |n: u16| format!("{{name: http, containerPort: {}}}", 8000 + n);
        pod("web-1", "web", &http(1), &status(&is("True")))
            + &pod("web-2", "web", &http(2), &status(&is(two)))
            + &pod("web-3", "web", &http(3), &status(&is("")))
            + &pod("web-4", "web", &http(4), &status(&is("Unknown")))
    };
    let web = |more: &str| {
        service(
            "web",
            &format!("clusterIP: {VIP}, selector: {{app: web}}, ports: [{{port: 80, targetPort: http}}]{more}"),
        )
    };
    agent.put("web.yaml", &web(""));
    agent.apply("pods.yaml", &all("False"), "1 and 3 are ready", |ports| ports.backends("web") == to(&[1, 3]));
    agent.apply("pods.yaml", &all("True"), "2 is ready now", |ports| ports.backends("web") == to(&[1, 2, 3]));
    agent.apply("pods.yaml", &all("False"), "2 no more", |ports| ports.backends("web") == to(&[1, 3]));
    agent.apply("web.yaml", &web(", publishNotReadyAddresses: true"), "all are published", |ports| {
        ports.backends("web") == to(&[1, 2, 3, 4])
    });
    let mut answers = tcp(&ground.client, at(VIP, 80), 4);
    answers.sort();
    assert_eq!(answers, ["s-1", "s-2", "s-3", "s-4"]);
    agent.apply("web.yaml", &web(""), "again those that are ready", |ports| ports.backends("web") == to(&[1, 3]));
}

#[test]
fn where_every_pod_ends_those_that_still_serve_take_the_traffic() {
    let ground = Ground::new("ending", 2);
    let agent = &ground.agent;
    agent.put(
        "web.yaml",
        &service("web", &format!("clusterIP: {VIP}, selector: {{app: web}}, ports: [{{port: 80, targetPort: http}}]")),
    );
    let text = |n: u16, deleted: bool, ready: &str| {
        let status = format!("podIP: {SERVER}, conditions: [{{type: Ready, status: \"{ready}\"}}]");
        let text = pod(&format!("web-{n}"), "web", &format!("{{name: http, containerPort: {}}}", 8000 + n), &status);
        let mark = if deleted { "deletionTimestamp: \"2026-01-01T00:00:00Z\", " } else { "" };
        text.replace("metadata: {", &format!("metadata: {{{mark}"))
    };
    let cases: [(String, &[u16]); 4] = [
        (text(1, false, "True") + &text(2, true, "True"), &[1]),
        (text(1, true, "True") + &text(2, true, "True"), &[1, 2]),
        (text(1, true, "True") + &text(2, true, "False"), &[1]),
        (text(1, true, "False") + &text(2, true, "False"), &[]),
    ];
    for (pods, servers) in cases {
        let what = format!("{servers:?} serve");
        agent.apply("pods.yaml", &pods, &what, |ports| ports.is_there("web") && ports.backends("web") == to(servers));
        let answer = tcp1(&ground.client, at(VIP, 80));
        assert_eq!(answer == "ECONNREFUSED", servers.is_empty(), "{answer}");
    }
}

#[test]
fn a_change_of_one_service_leaves_the_others_as_they_are() {
    let ground = Ground::new("others", 2);
    let agent = &ground.agent;
    agent.serve("other.yaml", &simple("other", at("10.96.1.2", 80)).to(to(&[1, 2])).yaml(), "other", 2);
    let before = agent.get();
    expect(&ground, &one(1, ""), &[1]);
    expect(&ground, &(one(1, "") + &one(2, "")), &[1, 2]);
    agent.remove("web.yaml");
    agent.wait("web is gone", |agent| agent.get().one("web").is_none());
    assert_eq!(agent.get(), before);
}
