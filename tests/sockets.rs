//! At the socket: connect, send, receive, getpeername, close; who is served and who isn't; what becomes of
//! a Service without endpoints.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::net::SocketAddr;

use bowline_lab::Host;
use common::manifest::simple;
use common::{Client, Ground, Seen, ask, ask_outside, at, bowline_in, server, server6, tcp1, udp1};

/// Serves `name` on this address by TCP or UDP to servers of the ground, of the address's family.
#[track_caller]
fn put(ground: &Ground, name: &str, udp: bool, vip: SocketAddr, servers: &[u16]) {
    let endpoints = servers.iter().map(|n| if vip.is_ipv4() { server(*n) } else { server6(*n) });
    let service = simple(name, vip).to(endpoints);
    let service = if udp { service.udp() } else { service };
    ground.agent.serve(&format!("{name}.yaml"), &service.yaml(), name, servers.len());
}

fn only(mut seen: Vec<Seen>) -> Seen {
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

/// The address as an IPv6 socket names it.
fn mapped(vip: SocketAddr) -> SocketAddr {
    match vip {
        SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        SocketAddr::V6(_) => vip,
    }
}

#[test]
fn without_an_endpoint_tcp_is_refused_at_once_and_udp_at_its_first_send_or_receive() {
    let ground = Ground::new("none", 1);
    let client = &ground.client;
    for (n, address) in ["10.96.1.1", "fd00:10:96::1"].into_iter().enumerate() {
        let (tcp, udp) = (at(address, 80), at(address, 53));
        put(&ground, &format!("t-{n}"), false, tcp, &[]);
        put(&ground, &format!("u-{n}"), true, udp, &[]);
        let began = std::time::Instant::now();
        for flags in ["", "--mapped"] {
            assert_eq!(only(ask(client, &format!("connect --target {tcp} {flags}"))).failure(), "connect ECONNREFUSED");
            // Resolvers connect UDP sockets to sort addresses, and look which address is theirs.
            let peer = only(ask(client, &format!("peer --udp {udp} {flags}")));
            assert_eq!((peer.errno.clone(), peer.from), (None, Some(peer.target)), "{peer:?}");
            let seen = only(ask(client, &format!("udp --connected --target {udp} {flags}")));
            assert!(["send ECONNREFUSED", "receive ECONNREFUSED"].contains(&seen.failure().as_str()), "{seen:?}");
            assert_eq!(only(ask(client, &format!("udp --target {udp} {flags}"))).failure(), "send ECONNREFUSED");
        }
        // The clients give up after 5 s each: nobody waited.
        assert!(began.elapsed().as_secs() < 5);
    }
    assert!(ground.agent.metric("bowline_verdicts_total{verdict=\"no_endpoint\"}").unwrap() >= 16.0);

    // An endpoint comes: the next call goes there, on a socket that was refused before too.
    let udp = at("10.96.1.1", 53);
    let (mut socket, seen) = Client::start(client, &format!("udp --target {udp}"));
    assert_eq!(seen[0].failure(), "send ECONNREFUSED");
    put(&ground, "t-0", false, at("10.96.1.1", 80), &[1]);
    put(&ground, "u-0", true, udp, &[1]);
    assert_eq!([tcp1(client, at("10.96.1.1", 80)), socket.again()[0].who()], ["s-1", "s-1"]);
    // And goes: the socket is refused again.
    put(&ground, "u-0", true, udp, &[]);
    assert_eq!(socket.again()[0].failure(), "send ECONNREFUSED");
}

#[test]
fn the_application_sees_the_address_that_it_asked_for() {
    let ground = Ground::new("vip", 2);
    for (n, address) in ["10.96.1.1", "fd00:10:96::1"].into_iter().enumerate() {
        let (tcp, udp) = (at(address, 80), at(address, 53));
        put(&ground, &format!("t-{n}"), false, tcp, &[1]);
        put(&ground, &format!("u-{n}"), true, udp, &[2]);
        for flags in ["", "--mapped"] {
            let wanted = |vip| Some(if flags.is_empty() { vip } else { mapped(vip) });
            for host in [&*ground.client as &Host, &*ground.server, &**ground.node] {
                // getpeername of a connection, of a connected UDP socket.
                let seen = only(ask(host, &format!("connect --target {tcp} {flags}")));
                assert_eq!((seen.who().as_str(), seen.from), ("s-1", wanted(tcp)), "{flags} {}", host.name());
                let seen = only(ask(host, &format!("peer --udp {udp} {flags}")));
                assert_eq!((seen.errno, seen.from), (None, wanted(udp)), "{flags} {}", host.name());
                // recvmsg without connect, and on a connected socket.
                for connected in ["", "--connected"] {
                    let seen = only(ask(host, &format!("udp {connected} --target {udp} {flags}")));
                    assert_eq!((seen.who().as_str(), seen.from), ("s-2", wanted(udp)), "{flags} {}", host.name());
                }
            }
        }
    }
    // Who asks a backend itself sees the backend, though others reach it by a Service.
    for seen in [
        only(ask(&ground.client, &format!("udp --target {}", server(2)))),
        only(ask(&ground.client, &format!("udp --connected --target {}", server(2)))),
        only(ask(&ground.client, &format!("connect --target {}", server(2)))),
    ] {
        assert_eq!((seen.who().as_str(), seen.from), ("s-2", Some(server(2))));
    }
}

#[test]
fn processes_below_the_cgroup_root_are_served_in_every_namespace_and_no_others() {
    let ground = Ground::new("cgroup", 1);
    let (tcp, udp) = (at("10.96.1.1", 80), at("10.96.1.1", 53));
    put(&ground, "t", false, tcp, &[1]);
    put(&ground, "u", true, udp, &[1]);
    let late = ground.node.pod("late").unwrap();
    for host in [&*ground.client as &Host, &late, &**ground.node] {
        assert_eq!([tcp1(host, tcp), udp1(host, udp)], ["s-1", "s-1"], "{}", host.name());
    }
    // In the same namespaces, from outside the cgroup.
    for host in [&*ground.client as &Host, &**ground.node] {
        let seen = only(ask_outside(host, &format!("connect --target {tcp} --timeout 200")));
        assert!(seen.name.is_none() && seen.errno.is_some(), "{seen:?}");
        let seen = only(ask_outside(host, &format!("udp --target {udp} --timeout 200")));
        assert!(seen.name.is_none() && seen.errno.is_some(), "{seen:?}");
    }
    assert_eq!(only(ask_outside(&ground.client, &format!("connect --target {}", server(1)))).who(), "s-1");
}

#[test]
fn an_unconnected_udp_socket_keeps_its_backend_as_long_as_that_is_in_the_set() {
    let ground = Ground::new("keeps", 4);
    for (name, vip) in [("four", at("10.96.1.1", 53)), ("six", at("fd00:10:96::1", 53))] {
        put(&ground, name, true, vip, &[1, 2, 3]);
        let (mut socket, first) = Client::start(&ground.client, &format!("udp --target {vip} --mapped"));
        let first = first[0].clone();
        assert_eq!(first.from, Some(mapped(vip)));
        for _ in 0..5 {
            assert_eq!(socket.again()[0], first);
            // Others take their turns meanwhile.
            udp1(&ground.client, vip);
        }
        let mine: u16 = first.who()[2..].parse().unwrap();
        let others: Vec<u16> = (1..=3).filter(|n| *n != mine).collect();
        // The set changes around it.
        put(&ground, name, true, vip, &[mine, others[0]]);
        assert_eq!(socket.again()[0], first);
        put(&ground, name, true, vip, &[mine, others[1], 4]);
        assert_eq!(socket.again()[0], first);
        // Its backend goes: another, which it keeps too when the first is back.
        put(&ground, name, true, vip, &[others[1], 4]);
        let next = socket.again().remove(0);
        assert!(next.who() != first.who() && next.errno.is_none() && next.from == Some(mapped(vip)), "{next:?}");
        put(&ground, name, true, vip, &[1, 2, 3, 4]);
        for _ in 0..5 {
            assert_eq!(socket.again()[0], next);
        }
        assert!(ground.agent.metric("bowline_verdicts_total{verdict=\"kept\"}").unwrap() >= 12.0);
    }
}

#[test]
fn one_socket_gets_every_answer_from_the_service_it_asked_and_leaves_nothing_behind() {
    let ground = Ground::new("several", 2);
    // 24 Services, each with a backend of its own: only that tells answers apart.
    let backends: Vec<SocketAddr> = (0..24).map(|n| ground.server.address(9000 + n)).collect();
    let _server = ground.server.serve("s-all", &[], &backends).unwrap();
    let vips: Vec<SocketAddr> = (0..24).map(|n| at("10.96.1.1", 1000 + n)).collect();
    let text: String = (vips.iter().zip(&backends).enumerate())
        .map(|(n, (vip, backend))| simple(&format!("u-{n}"), *vip).udp().to([*backend]).yaml())
        .collect();
    ground.agent.put("many.yaml", &text);
    ground.agent.wait("24 Services are there", |agent| {
        let ports = agent.get();
        (0..24).all(|n| ports.is_there(&format!("u-{n}")) && ports.backends(&format!("u-{n}")).len() == 1)
    });
    put(&ground, "t", false, at("10.96.1.1", 80), &[1, 2]);
    assert_eq!(ground.agent.count("sockets"), 0);
    for used in [1, 2, 4, 24] {
        let targets: String = vips[..used].iter().map(|vip| format!(" --target {vip}")).collect();
        let (mut socket, first) = Client::start(&ground.client, &format!("udp{targets} --repeat 1"));
        for seen in [first, socket.again(), socket.again()] {
            for (n, seen) in seen.iter().enumerate() {
                assert_eq!((seen.who().as_str(), seen.from), ("s-all", Some(vips[n])), "{used} Services");
            }
        }
        assert!(ground.agent.count("sockets") >= used);
        socket.end();
        ground.agent.wait_for_count("sockets", 0);
    }
    // Connections leave nothing either; while they are open there is one entry for each.
    let (mut open, _) = Client::start(&ground.client, "connect --target 10.96.1.1:80 --target 10.96.1.1:80");
    assert_eq!(ground.agent.count("sockets"), 2);
    assert!(open.again().iter().all(|seen| seen.errno.is_none()));
    open.end();
    ground.agent.wait_for_count("sockets", 0);
    let (socket, _) = Client::start(&ground.client, "udp --connected --target 10.96.1.1:1001");
    assert_eq!(ground.agent.count("sockets"), 1);
    socket.end();
    ground.agent.wait_for_count("sockets", 0);
}

#[test]
fn two_services_that_share_a_backend_answer_each_by_its_own_address() {
    let ground = Ground::new("shared", 1);
    let vips = [at("10.96.1.1", 53), at("10.96.1.2", 53)];
    for (name, vip) in ["one", "two"].into_iter().zip(vips) {
        put(&ground, name, true, vip, &[1]);
    }
    // One socket each: no question which of them is meant.
    for vip in vips {
        let seen = only(ask(&ground.client, &format!("udp --target {vip}")));
        assert_eq!((seen.who().as_str(), seen.from), ("s-1", Some(vip)));
    }
    // One socket asks both in turn, and waits for each answer.
    let targets = format!("--target {} --target {}", vips[0], vips[1]);
    for seen in ask(&ground.client, &format!("udp {targets} --repeat 3")) {
        assert_eq!((seen.who().as_str(), seen.from), ("s-1", Some(seen.target)), "{seen:?}");
    }
}

#[test]
fn a_socket_that_is_connected_again_forgets_its_first_connection() {
    let ground = Ground::new("again", 3);
    let (t1, t2, u1, u2) = (at("10.96.1.1", 80), at("10.96.1.2", 80), at("10.96.1.1", 53), at("10.96.1.2", 53));
    put(&ground, "t1", false, t1, &[1]);
    put(&ground, "t2", false, t2, &[2]);
    put(&ground, "u1", true, u1, &[1]);
    put(&ground, "u2", true, u2, &[2]);
    // TCP after a disconnect, UDP as it is: each time the new peer, by its own address; a backend that is
    // asked directly is itself.
    for (udp, first, second) in [("", t1, t2), ("--udp", u1, u2)] {
        let seen = ask(
            &ground.client,
            &format!("reconnect {udp} --target {first} --target {second} --target {} --target {first}", server(1)),
        );
        let saw: Vec<_> = seen.iter().map(|seen| (seen.who(), seen.from.unwrap())).collect();
        let wanted = [("s-1", first), ("s-2", second), ("s-1", server(1)), ("s-1", first)];
        assert_eq!(saw, wanted.map(|(name, from)| (name.to_owned(), from)));
        ground.agent.wait_for_count("sockets", 0);
    }
    // While it is open: one entry for the Service it is connected to, none for one that it isn't.
    let targets = |last: SocketAddr| format!("udp --connected --target {u1} --target {u2} --target {last}");
    let (socket, _) = Client::start(&ground.client, &targets(u1));
    assert_eq!(ground.agent.count("sockets"), 1);
    socket.end();
    let (socket, seen) = Client::start(&ground.client, &targets(server(3)));
    assert_eq!((seen[2].who().as_str(), seen[2].from), ("s-3", Some(server(3))));
    ground.agent.wait_for_count("sockets", 0);
    socket.end();
}

#[test]
fn on_an_older_kernel_a_refusal_is_eperm_and_check_says_so() {
    let mut ground = Ground::without_agent("older", 1);
    ground.agent.environment("BOWLINE_KERNEL_VERSION", "5.15");
    ground.agent.start();
    let (tcp, udp) = (at("10.96.1.1", 80), at("10.96.1.1", 53));
    put(&ground, "t", false, tcp, &[]);
    put(&ground, "u", true, udp, &[]);
    assert_eq!(only(ask(&ground.client, &format!("connect --target {tcp}"))).failure(), "connect EPERM");
    assert_eq!(only(ask(&ground.client, &format!("udp --target {udp}"))).failure(), "send EPERM");
    // A UDP connect succeeds there too, and fails later.
    let seen = only(ask(&ground.client, &format!("udp --connected --target {udp}")));
    assert!(seen.failure().ends_with(" ECONNREFUSED"), "{seen:?}");
    // All else is as on a newer one, sockets with several Services included.
    put(&ground, "t", false, tcp, &[1]);
    put(&ground, "u", true, udp, &[1]);
    put(&ground, "v", true, at("10.96.1.1", 54), &[1]);
    assert_eq!([tcp1(&ground.client, tcp), udp1(&ground.client, udp)], ["s-1", "s-1"]);
    ask(&ground.client, "udp --target 10.96.1.1:53 --target 10.96.1.1:54 --target 10.96.1.1:53");
    ground.agent.wait_for_count("sockets", 0);

    let check = |version: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bowline"));
        let out = command.arg("check").env("BOWLINE_KERNEL_VERSION", version).output().unwrap();
        (out.status.success(), String::from_utf8(out.stdout).unwrap())
    };
    let (fit, text) = check("5.15");
    assert!(fit && text.contains("EPERM, not ECONNREFUSED") && text.contains("5.18"), "{text}");
    let (fit, text) = check("5.18");
    assert!(fit && !text.contains("EPERM"), "{text}");
    // What can be told by trying is not told by a number; but that nobody has tested such a kernel is.
    let (fit, text) = check("5.13");
    let line = text.lines().find(|line| line.contains("kernel")).unwrap();
    assert!(fit && line.starts_with("note") && text.contains("6.1 is the oldest that is tested"), "{text}");
    let (fit, text) = check("6.1");
    assert!(fit && text.lines().any(|line| line.starts_with("ok") && line.contains("Linux 6.1")), "{text}");
    ground.agent.stop();
    bowline_in(&ground.node, &["cleanup"]).ok();
}

#[test]
fn a_full_table_of_sockets_is_told_and_hurts_only_what_needs_it() {
    let mut ground = Ground::without_agent("full", 2);
    ground.agent.flags(&["--max-sockets", "4"]);
    ground.agent.start();
    let (tcp, udp) = (at("10.96.1.1", 80), at("10.96.1.1", 53));
    put(&ground, "t", false, tcp, &[1, 2]);
    put(&ground, "u", true, udp, &[1, 2]);
    let targets = format!(" --target {tcp}").repeat(8);
    let (mut open, seen) = Client::start(&ground.client, &format!("connect{targets}"));
    // A connection needs no entry to work; only its peer's name is lost.
    assert!(seen.iter().all(|seen| seen.name.is_some()), "{seen:?}");
    assert_eq!(ground.agent.count("sockets"), 4);
    assert!(ground.agent.metric("bowline_verdicts_total{verdict=\"untracked\"}").unwrap() >= 4.0);
    // A datagram's answer could not be told from a stranger's: it is refused, not lost.
    assert_eq!(only(ask(&ground.client, &format!("udp --target {udp}"))).failure(), "send ENOBUFS");
    assert!(ground.agent.metric("bowline_verdicts_total{verdict=\"sockets_full\"}").unwrap() >= 1.0);
    // Established connections don't care, and room comes back.
    assert!(open.again().iter().all(|seen| seen.name.is_some()));
    open.end();
    ground.agent.wait_for_count("sockets", 0);
    assert!(udp1(&ground.client, udp).starts_with("s-"));
}

#[test]
fn a_backend_that_is_asked_directly_answers_as_itself() {
    let ground = Ground::new("itself", 2);
    for (one, two, backend, other) in [
        (at("10.96.1.1", 53), at("10.96.1.2", 53), server(1), server(2)),
        (at("fd00:10:96::1", 53), at("fd00:10:96::2", 53), server6(1), server6(2)),
    ] {
        let six = if one.is_ipv6() { "6" } else { "" };
        put(&ground, &format!("one{six}"), true, one, &[1]);
        // Two VIPs of one backend.
        put(&ground, &format!("two{six}"), true, two, &[1]);
        let orders: [&[SocketAddr]; 4] = [
            &[one, backend],
            &[backend, one],
            &[one, backend, other, one, backend, backend, one],
            &[one, two, backend, one, backend, two, backend, other],
        ];
        for order in orders {
            for flags in ["", "--mapped"] {
                let targets: String = order.iter().map(|target| format!(" --target {target}")).collect();
                for seen in ask(&ground.client, &format!("udp{targets} --repeat 3 {flags}")) {
                    let wanted = if flags.is_empty() { seen.target } else { mapped(seen.target) };
                    let who = if [other, mapped(other)].contains(&seen.target) { "s-2" } else { "s-1" };
                    assert_eq!((seen.who().as_str(), seen.from), (who, Some(wanted)), "{order:?} {flags}");
                }
            }
        }
    }
    ground.agent.wait_for_count("sockets", 0);
}

/// Does one thing after the other with a UDP socket, and says whom it is connected to and who answered.
const STEPS: &str = r"
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
for step in sys.argv[1:]:
    what, at = step.split('=')
    at = (at.rsplit(':', 1)[0], int(at.rsplit(':', 1)[1]))
    if what == 'connect':
        s.connect(at)
        s.send(b'x')
    else:
        s.sendto(b'x', at)
    data, sender = s.recvfrom(100)
    try: peer = '%s:%d' % s.getpeername()
    except OSError: peer = '-'
    print(peer, '%s:%d' % sender)
";

#[test]
fn a_socket_that_connected_to_a_backend_itself_has_it_as_peer() {
    let ground = Ground::new("peer", 1);
    let (one, two, backend) = (at("10.96.1.1", 53), at("10.96.1.2", 53), server(1));
    put(&ground, "one", true, one, &[1]);
    put(&ground, "two", true, two, &[1]);
    let connect = |to: SocketAddr| (format!("connect={to}"), Some(to), to);
    let send = |to: SocketAddr| (format!("send={to}"), None, to);
    for steps in [
        &[connect(one), connect(backend), connect(one)][..],
        &[connect(backend), send(one), send(backend), send(one)],
        &[connect(one), send(backend), send(one), connect(backend)],
        &[send(one), connect(backend), send(two), connect(two), send(one)],
        &[send(one), send(two), send(one), connect(backend), connect(one), send(backend)],
    ] {
        let mut args = vec!["-c", STEPS];
        args.extend(steps.iter().map(|(step, ..)| step.as_str()));
        let said = ground.client.output("python3", &args).unwrap();
        let mut connected = None;
        let wanted = steps.iter().map(|(_, peer, sender)| {
            connected = peer.or(connected);
            format!("{} {sender}", connected.map_or("-".to_owned(), |peer| peer.to_string()))
        });
        assert_eq!(said.lines().collect::<Vec<_>>(), wanted.collect::<Vec<_>>(), "{steps:?}");
    }
    ground.agent.wait_for_count("sockets", 0);
}
