//! Pods' packets leave the cluster under the node's address, each flow under a port of its own.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use bowline_dataplane::packets::{PacketSizes, PacketVerdict as V, now};
use bowline_lab::{Host, wait_for};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect as connect_socket, socket, socket_with};

use crate::ground::{
    Ground, PATIENCE, addresses, ask_ping, ask_udp, connect, count, exchange, inside, listen, ping, udp, wait_for_count,
};

const SECOND: u64 = 1_000_000_000;

#[test]
fn pods_are_seen_with_the_nodes_address_outside_and_with_their_own_inside() {
    let ground = Ground::new("masq");
    let mut packets = ground.packets(PacketSizes::default());
    ground.serve(&mut packets, true);
    ground.forbid_forwarding();
    let ways = addresses(&ground.a).into_iter().zip(addresses(&ground.node)).zip(addresses(&ground.outside));
    for ((pod, node), world) in ways.clone() {
        let server = udp(&ground.outside, world, 0);
        let client = udp(&ground.a, pod, 0);
        let seen = ask_udp(&client, server.local_addr().unwrap(), &server, b"?");
        assert_eq!(seen, SocketAddr::new(node, client.local_addr().unwrap().port()));
        let server = listen(&ground.outside, world, 0);
        let mut ends = connect(&ground.a, server.local_addr().unwrap(), &server);
        assert_eq!(ends.1.peer_addr().unwrap().ip(), node);
        exchange(&mut ends, 1 << 20);
        ask_ping(&ping(&ground.a, pod, 7), world, 100);
        ask_ping(&ping(&ground.b, addresses(&ground.b)[usize::from(world.is_ipv6())], 7), world, 100);
    }
    assert_eq!(count(&packets, V::Masqueraded), 8);
    // One that is inside sees the pod itself; what was begun before goes on.
    let server = listen(&ground.outside, ground.outside.v4().into(), 0);
    let mut before = connect(&ground.a, server.local_addr().unwrap(), &server);
    packets.set_inside(&["192.168.0.0/24".parse().unwrap(), "fd01::/64".parse().unwrap()]).unwrap();
    exchange(&mut before, 1 << 16);
    for ((pod, _), world) in ways.clone() {
        let (client, server) = (udp(&ground.a, pod, 0), udp(&ground.outside, world, 0));
        let seen = ask_udp(&client, server.local_addr().unwrap(), &server, b"?");
        assert_eq!(seen, client.local_addr().unwrap());
    }
    // And no longer once that is taken back.
    packets.set_inside(&["fd01::/64".parse().unwrap()]).unwrap();
    for ((pod, node), world) in ways {
        let (client, server) = (udp(&ground.a, pod, 0), udp(&ground.outside, world, 0));
        let seen = ask_udp(&client, server.local_addr().unwrap(), &server, b"?");
        assert_eq!(seen.ip(), if pod.is_ipv4() { node } else { pod });
    }
}

#[test]
fn flows_to_one_peer_have_ports_of_their_own() {
    let ground = Ground::new("ports");
    let packets = ground.masqueraded(PacketSizes::default());
    for (turn, world) in addresses(&ground.outside).into_iter().enumerate() {
        let server = udp(&ground.outside, world, 0);
        let to = server.local_addr().unwrap();
        let mut seen = BTreeSet::new();
        let mut clients = Vec::new();
        // Two pods with the same ports.
        for port in 40_000..40_100 {
            for pod in [&ground.a, &ground.b] {
                let client = udp(pod, addresses(pod)[turn], port);
                assert!(seen.insert(ask_udp(&client, to, &server, &port.to_be_bytes())), "{port}: another's tuple");
                clients.push(client);
            }
        }
        // Each stays with its own.
        for (at, client) in clients.iter().enumerate() {
            assert!(seen.contains(&ask_udp(client, to, &server, &at.to_be_bytes())));
        }
        assert_eq!(seen.len(), 200);
    }
    assert_eq!(count(&packets, V::NoPort), 0);
}

/// A connection with a port of choice.
fn connect_from(host: &Host, from: SocketAddr, to: SocketAddr) -> TcpStream {
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let stream = inside(host, || {
        let socket = socket(family, SocketType::STREAM, None).unwrap();
        bind(&socket, &from).unwrap();
        connect_socket(&socket, &to).unwrap();
        TcpStream::from(socket)
    });
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn no_port_is_shared_with_a_socket_of_the_node() {
    let ground = Ground::new("shared");
    let packets = ground.masqueraded(PacketSizes::default());
    let ways = addresses(&ground.a).into_iter().zip(addresses(&ground.node)).zip(addresses(&ground.outside));
    for ((pod, node), world) in ways {
        let server = udp(&ground.outside, world, 0);
        let to = server.local_addr().unwrap();
        // The node first.
        let of_node = udp(&ground.node, node, 41_000);
        assert_eq!(ask_udp(&of_node, to, &server, b"node").port(), 41_000);
        let of_pod = udp(&ground.a, pod, 41_000);
        assert_ne!(ask_udp(&of_pod, to, &server, b"pod").port(), 41_000);
        assert_eq!(ask_udp(&of_node, to, &server, b"node").port(), 41_000);
        // The pod first.
        let moved = count(&packets, V::Moved);
        let of_pod = udp(&ground.a, pod, 42_000);
        assert_eq!(ask_udp(&of_pod, to, &server, b"pod").port(), 42_000);
        let of_node = udp(&ground.node, node, 42_000);
        assert_ne!(ask_udp(&of_node, to, &server, b"node").port(), 42_000);
        assert_eq!(ask_udp(&of_pod, to, &server, b"pod").port(), 42_000);
        assert_eq!(count(&packets, V::Moved), moved + 1);

        let server = listen(&ground.outside, world, 0);
        let to = server.local_addr().unwrap();
        let accepted = |client: TcpStream| {
            let mut ends = (client, server.accept().unwrap().0);
            ends.1.set_read_timeout(Some(PATIENCE)).unwrap();
            exchange(&mut ends, 1 << 16);
            ends
        };
        let of_node = accepted(connect_from(&ground.node, (node, 43_000).into(), to));
        let of_pod = accepted(connect_from(&ground.a, (pod, 43_000).into(), to));
        assert_eq!(of_node.1.peer_addr().unwrap().port(), 43_000);
        assert_ne!(of_pod.1.peer_addr().unwrap().port(), 43_000);
        let of_pod = accepted(connect_from(&ground.a, (pod, 44_000).into(), to));
        let mut of_node = accepted(connect_from(&ground.node, (node, 44_000).into(), to));
        assert_eq!(of_pod.1.peer_addr().unwrap().port(), 44_000);
        assert_ne!(of_node.1.peer_addr().unwrap().port(), 44_000);
        exchange(&mut of_node, 1 << 16);
    }
}

#[test]
fn what_the_world_begins_with_a_pod_is_answered_by_the_pod_itself() {
    let ground = Ground::new("direct");
    let mut packets = ground.packets(PacketSizes::default());
    ground.serve(&mut packets, true);
    for (pod, world) in addresses(&ground.a).into_iter().zip(addresses(&ground.outside)) {
        let (client, server) = (udp(&ground.outside, world, 0), udp(&ground.a, pod, 0));
        ask_udp(&client, server.local_addr().unwrap(), &server, b"?");
        let server = listen(&ground.a, pod, 0);
        exchange(&mut connect(&ground.outside, server.local_addr().unwrap(), &server), 1 << 20);
        ask_ping(&ping(&ground.outside, world, 9), pod, 100);
    }
    assert_eq!(count(&packets, V::Masqueraded), 0);
    assert_eq!(count(&packets, V::Direct), 6);
}

#[test]
fn a_full_table_refuses_what_is_new_and_keeps_what_is_there() {
    let ground = Ground::new("full");
    let packets = ground.masqueraded(PacketSizes { flows: 8, ..PacketSizes::default() });
    let server = udp(&ground.outside, ground.outside.v4().into(), 0);
    let to = server.local_addr().unwrap();
    let clients: Vec<_> = (0..4).map(|_| udp(&ground.a, ground.a.v4().into(), 0)).collect();
    let seen: Vec<_> = clients.iter().map(|client| ask_udp(client, to, &server, b"?")).collect();
    let fifth = udp(&ground.a, ground.a.v4().into(), 0);
    fifth.send_to(b"?", to).unwrap();
    wait_for_count(&packets, V::FlowsFull, 0);
    let again: Vec<_> = clients.iter().map(|client| ask_udp(client, to, &server, b"?")).collect();
    assert_eq!(seen, again);
    let mut packets = packets;
    assert_eq!(packets.expire(now() + 121 * SECOND).unwrap(), 4, "no half of the fifth is there");
    ask_udp(&fifth, to, &server, b"?");
}

#[test]
fn flows_are_forgotten_by_their_time_and_with_their_pod() {
    let ground = Ground::new("expire");
    let mut packets = ground.masqueraded(PacketSizes::default());
    let mut connections = Vec::new();
    for (pod, world) in addresses(&ground.a).into_iter().zip(addresses(&ground.outside)) {
        let server = udp(&ground.outside, world, 0);
        let client = udp(&ground.a, pod, 0);
        ask_udp(&client, server.local_addr().unwrap(), &server, b"?");
        let listener = listen(&ground.outside, world, 0);
        let mut ends = connect(&ground.a, listener.local_addr().unwrap(), &listener);
        exchange(&mut ends, 1000);
        assert_eq!(packets.expire(now() + 25 * SECOND).unwrap(), 0);
        assert_eq!(packets.expire(now() + 31 * SECOND).unwrap(), 1, "a question and its answer stay half a minute");
        exchange(&mut ends, 1000);
        assert_eq!(packets.expire(now() + 4 * 24 * 3600 * SECOND).unwrap(), 0, "a connection stays for days");
        // Without an answer it is gone sooner.
        udp(&ground.a, pod, 0).send_to(b"?", SocketAddr::new(world, 9)).unwrap();
        let mut over = || packets.expire(now() + 31 * SECOND).unwrap() == 1;
        wait_for("a flow without an answer is forgotten", PATIENCE, &mut over).unwrap();
        connections.push(ends);
    }
    let server = udp(&ground.outside, ground.outside.v4().into(), 0);
    let client = udp(&ground.a, ground.a.v4().into(), 0);
    let begun = Instant::now();
    // What is still asked after two seconds is a stream.
    wait_for("two seconds of questions", PATIENCE, || {
        ask_udp(&client, server.local_addr().unwrap(), &server, b"?");
        begun.elapsed() > Duration::from_millis(2200)
    })
    .unwrap();
    assert_eq!(packets.expire(now() + 110 * SECOND).unwrap(), 0, "a stream stays two minutes");
    assert_eq!(packets.expire(now() + 122 * SECOND).unwrap(), 1);
    packets.remove_pod(ground.wire_a().index).unwrap();
    assert_eq!(packets.expire(u64::MAX).unwrap(), 0, "nothing of the pod is left");
}

#[test]
fn a_masqueraded_connection_outlives_the_agent() {
    let ground = Ground::new("lives");
    let packets = ground.masqueraded(PacketSizes::default());
    let server = listen(&ground.outside, ground.outside.v4().into(), 0);
    let mut ends = connect(&ground.a, server.local_addr().unwrap(), &server);
    exchange(&mut ends, 1 << 16);
    drop(packets);
    exchange(&mut ends, 1 << 16);
    let mut packets = ground.packets(PacketSizes::default());
    ground.serve(&mut packets, true);
    assert_eq!(packets.links().unwrap(), [ground.uplink(true).index]);
    exchange(&mut ends, 1 << 16);
}

/// A socket for packets of a protocol without ports that we know.
fn raw(host: &Host, protocol: u32) -> UdpSocket {
    let protocol = rustix::net::Protocol::from_raw(protocol.try_into().unwrap());
    let socket = inside(host, || {
        UdpSocket::from(
            socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol)).unwrap(),
        )
    });
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[test]
fn what_has_no_ports_is_masqueraded_once_a_peer_or_not_at_all() {
    const EXPERIMENTAL: u32 = 253;
    const UDPLITE: u32 = 136;
    let ground = Ground::new("other");
    let packets = ground.masqueraded(PacketSizes::default());
    let (client, server) = (raw(&ground.a, EXPERIMENTAL), raw(&ground.outside, EXPERIMENTAL));
    let mut room = [0; 100];
    client.send_to(b"question", ground.outside.address(0)).unwrap();
    let (length, from) = server.recv_from(&mut room).unwrap();
    assert_eq!((&room[20..length], from.ip()), (&b"question"[..], ground.node.v4().into()));
    server.send_to(b"answer", from).unwrap();
    let (length, from) = client.recv_from(&mut room).unwrap();
    assert_eq!((&room[20..length], from.ip()), (&b"answer"[..], ground.outside.v4().into()));
    // Another pod's answers could not be told from those.
    raw(&ground.b, EXPERIMENTAL).send_to(b"question", ground.outside.address(0)).unwrap();
    wait_for_count(&packets, V::NoPort, 0);
    // Its sum is over the addresses, and not where we could follow it.
    raw(&ground.a, UDPLITE).send_to(b"12345678", ground.outside.address(0)).unwrap();
    wait_for_count(&packets, V::Untranslatable, 0);
}
