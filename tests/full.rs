//! Full maps: a change that doesn't fit is refused, counted and told; it hurts no other Service, and is
//! made up for when something goes or when the sizes are raised.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::net::SocketAddr;

use common::manifest::simple;
use common::{Client, Ground, at, server, tcp1};

fn vip(name: &str) -> SocketAddr {
    at("10.96.1.1", u16::from(name.as_bytes()[0]))
}

fn text(name: &str, servers: &[u16]) -> String {
    simple(name, vip(name)).to(servers.iter().map(|n| server(*n))).yaml()
}

/// What makes a map full: the Services a and b fit in, c doesn't.
struct Case {
    map: &'static str,
    flag: &'static str,
    size: &'static str,
    /// What the message says that fits.
    capacity: u32,
    servers: [&'static [u16]; 3],
}

/// Plays through a case: a and b first, then c, which is refused; then a goes.
fn is_refused_and_made_up_for(case: &Case) {
    let mut ground = Ground::without_agent(case.map, 3);
    ground.agent.flags(&[case.flag, case.size]);
    ground.agent.start();
    let [a, b, c] = case.servers;
    ground.agent.serve("a.yaml", &text("a", a), "a", a.len());
    ground.agent.serve("b.yaml", &text("b", b), "b", b.len());
    let before = ground.agent.get();

    let counter = format!("bowline_changes_refused_full_total{{map=\"{}\"}}", case.map);
    assert_eq!(ground.agent.metric(&counter).unwrap_or(0.0), 0.0);
    ground.agent.put("c.yaml", &text("c", c));
    ground.agent.wait("it is counted", |agent| agent.metric(&counter).is_some_and(|n| n >= 1.0));
    ground.agent.wait_for_line(&[
        "WARN",
        "default/c",
        &format!("map {} is full", case.map),
        &case.capacity.to_string(),
        case.flag,
    ]);
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 1.0);

    // The others stand as they stood, and serve.
    assert_eq!(ground.agent.get(), before);
    assert!([tcp1(&ground.client, vip("a")), tcp1(&ground.client, vip("b"))].iter().all(|name| name.starts_with("s-")));
    assert!(!tcp1(&ground.client, vip("c")).starts_with("s-"));
    // A restart on full maps is no worse.
    let (mut held, first) = Client::start(&ground.client, &format!("connect --target {}", vip("b")));
    let before = ground.agent.get();
    ground.agent.kill();
    ground.agent.start();
    assert_eq!(ground.agent.get(), before);
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 1.0);

    // One goes: there is room, and nothing else has to happen.
    ground.agent.remove("a.yaml");
    ground.agent.wait("c is there", |agent| {
        let ports = agent.get();
        ports.is_there("c") && ports.backends("c").len() == c.len() && ports.one("a").is_none()
    });
    assert!(tcp1(&ground.client, vip("c")).starts_with("s-"));
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 0.0);
    let (was, is) = (before, ground.agent.get());
    assert_eq!(was.one("b").unwrap().backends, is.one("b").unwrap().backends);
    assert_eq!(held.again(), first);

    // With room for all: a migration to other maps, under the same connection.
    ground.agent.put("a.yaml", &text("a", a));
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 1.0);
    ground.agent.stop();
    ground.agent.flags(&[case.flag, "1024"]);
    ground.agent.start();
    let all = ground.agent.get();
    assert_eq!(["a", "b", "c"].map(|name| all.backends(name).len()), [a.len(), b.len(), c.len()]);
    assert_eq!(all.one("b").unwrap().backends, is.one("b").unwrap().backends, "ids and lives are carried over");
    assert_eq!(ground.agent.metric("bowline_problems{cluster=\"local\"}"), Some(0.0));
    assert_eq!(held.again(), first);
}

#[test]
fn full_backends_are_refused_counted_and_told_and_made_up_for() {
    is_refused_and_made_up_for(&Case {
        map: "backends",
        flag: "--max-backends",
        size: "4",
        capacity: 3,
        servers: [&[1], &[2, 3], &[1]],
    });
}

#[test]
fn full_services_are_refused_counted_and_told_and_made_up_for() {
    is_refused_and_made_up_for(&Case {
        map: "services",
        flag: "--max-services",
        size: "3",
        capacity: 2,
        servers: [&[1], &[2], &[3]],
    });
}

#[test]
fn full_frontends_are_refused_counted_and_told_and_made_up_for() {
    is_refused_and_made_up_for(&Case {
        map: "frontends",
        flag: "--max-frontends",
        size: "2",
        capacity: 2,
        servers: [&[1], &[2], &[3]],
    });
}

#[test]
fn full_slots_are_refused_counted_and_told_and_made_up_for() {
    is_refused_and_made_up_for(&Case {
        map: "slots",
        flag: "--max-slots",
        size: "16",
        capacity: 16,
        servers: [&[1], &[2], &[3]],
    });
}

#[test]
fn a_change_that_does_not_fit_leaves_its_service_as_it_was_and_others_can_change() {
    let mut ground = Ground::without_agent("grow", 5);
    ground.agent.flags(&["--max-backends", "5"]);
    ground.agent.start();
    ground.agent.serve("a.yaml", &text("a", &[1, 2]), "a", 2);
    ground.agent.serve("b.yaml", &text("b", &[3]), "b", 1);
    let before = ground.agent.get();
    ground.agent.put("a.yaml", &text("a", &[1, 2, 4, 5]));
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 1.0);
    assert_eq!(ground.agent.get().one("a"), before.one("a"), "all of the change or nothing");
    // There is room for one, and b may have it.
    ground.agent.serve("b.yaml", &text("b", &[3, 5]), "b", 2);
    let served = ground.agent.metric("bowline_map_entries{map=\"backends\"}");
    assert_eq!(served, Some(4.0), "nothing of what was refused is kept");
    // A smaller change of it fits once b has given its own back.
    ground.agent.put("a.yaml", &text("a", &[1, 2, 4]));
    let counter = "bowline_changes_refused_full_total{map=\"backends\"}";
    ground.agent.wait("that is refused too", |agent| agent.metric(counter).is_some_and(|n| n >= 2.0));
    ground.agent.put("b.yaml", &text("b", &[3]));
    ground.agent.wait("a has grown", |agent| agent.get().backends("a") == [server(1), server(2), server(4)]);
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 0.0);
    // Taken away while it is refused: nothing is left of it, nor of the complaint.
    ground.agent.put("a.yaml", &text("a", &[1, 2, 4, 5]));
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 1.0);
    ground.agent.remove("a.yaml");
    ground.agent.wait_for_metric("bowline_problems{cluster=\"local\"}", 0.0);
    ground.agent.wait("only b is left", |agent| agent.get().0.len() == 1);
    ground.agent.barrier();
    ground.agent.wait_for_metric("bowline_map_entries{map=\"backends\"}", 1.0);
}

#[test]
fn a_full_table_of_affinity_forgets_the_oldest_client_and_refuses_nobody() {
    let mut ground = Ground::without_agent("lru", 2);
    ground.agent.flags(&["--max-affinity", "1"]);
    ground.agent.start();
    let all: Vec<String> = ["a", "b", "c", "d"]
        .iter()
        .map(|name| simple(name, vip(name)).spec("sessionAffinity: ClientIP").to([server(1), server(2)]).yaml())
        .collect();
    ground.agent.put("all.yaml", &all.concat());
    ground.agent.wait("four Services", |agent| ["a", "b", "c", "d"].iter().all(|s| agent.get().backends(s).len() == 2));
    for _ in 0..50 {
        for name in ["a", "b", "c", "d"] {
            assert!(tcp1(&ground.client, vip(name)).starts_with("s-"));
        }
    }
    assert_eq!(ground.agent.metric("bowline_problems{cluster=\"local\"}"), Some(0.0));
}
