//! Which way packets go: from pod to pod, to and from the world, to and from the node, and not at all.

use std::net::{IpAddr, SocketAddrV6};

use bowline_dataplane::cleanup::cleanup;
use bowline_dataplane::packets::{PacketSizes, PacketVerdict as V, PodWire};
use bowline_lab::wait_for;

use crate::ground::{
    Ground, PATIENCE, addresses, ask_udp, connect, count, exchange, inside, ip, listen, udp, wait_for_count,
};

#[test]
fn pods_of_a_node_reach_each_other_past_its_firewall() {
    let ground = Ground::new("pods");
    let packets = ground.served();
    ground.forbid_forwarding();
    for (a, b) in addresses(&ground.a).into_iter().zip(addresses(&ground.b)) {
        let before = count(&packets, V::ToPod);
        let server = udp(&ground.b, b, 0);
        let from = ask_udp(&udp(&ground.a, a, 0), server.local_addr().unwrap(), &server, b"?");
        assert_eq!(from.ip(), a, "it is seen as itself");
        let server = listen(&ground.b, b, 0);
        exchange(&mut connect(&ground.a, server.local_addr().unwrap(), &server), 1 << 20);
        assert!(count(&packets, V::ToPod) >= before + 10);
    }
    assert_eq!(count(&packets, V::Spoofed), 0);
}

#[test]
fn pods_and_the_world_reach_each_other_past_the_nodes_firewall() {
    let ground = Ground::new("world");
    let packets = ground.served();
    ground.forbid_forwarding();
    for (a, world) in addresses(&ground.a).into_iter().zip(addresses(&ground.outside)) {
        let before = [V::ToLink, V::ToPod].map(|verdict| count(&packets, verdict));
        let (pod, server) = (udp(&ground.a, a, 0), udp(&ground.outside, world, 0));
        let from = ask_udp(&pod, server.local_addr().unwrap(), &server, b"?");
        assert_eq!(from, pod.local_addr().unwrap(), "nothing is masqueraded");
        ask_udp(&server, from, &pod, b"!");
        let server = listen(&ground.outside, world, 0);
        exchange(&mut connect(&ground.a, server.local_addr().unwrap(), &server), 1 << 20);
        let server = listen(&ground.a, a, 0);
        exchange(&mut connect(&ground.outside, server.local_addr().unwrap(), &server), 1 << 20);
        let after = [V::ToLink, V::ToPod].map(|verdict| count(&packets, verdict));
        assert!(after[0] >= before[0] + 20 && after[1] >= before[1] + 20, "{before:?} {after:?}");
    }
}

#[test]
fn a_node_and_its_pods_reach_each_other() {
    let ground = Ground::new("node");
    let packets = ground.served();
    ground.forbid_forwarding();
    for (a, node) in addresses(&ground.a).into_iter().zip(addresses(&ground.node)) {
        let before = count(&packets, V::ToNode);
        let (pod, server) = (udp(&ground.a, a, 0), udp(&ground.node, node, 0));
        let from = ask_udp(&pod, server.local_addr().unwrap(), &server, b"?");
        ask_udp(&server, from, &pod, b"!");
        let server = listen(&ground.node, node, 0);
        exchange(&mut connect(&ground.a, server.local_addr().unwrap(), &server), 1 << 20);
        assert!(count(&packets, V::ToNode) >= before + 10);
    }
}

#[test]
fn a_pod_cannot_send_as_another() {
    let ground = Ground::new("spoof");
    let packets = ground.served();
    let targets = addresses(&ground.b);
    for ((address, target), own) in ["10.9.9.9", "fd00:9::9"].into_iter().zip(targets).zip(addresses(&ground.a)) {
        let prefix = if target.is_ipv4() { "/32" } else { "/128 nodad" };
        ip(&ground.a, &format!("addr add {address}{prefix} dev eth0"));
        let server = udp(&ground.b, target, 0);
        let before = count(&packets, V::Spoofed);
        let thief = udp(&ground.a, address.parse::<IpAddr>().unwrap(), 0);
        thief.send_to(b"I am somebody else", server.local_addr().unwrap()).unwrap();
        wait_for_count(&packets, V::Spoofed, before);
        // And nothing but the pod's own gets there.
        ask_udp(&udp(&ground.a, own, 0), server.local_addr().unwrap(), &server, b"?");
    }
    // Nor with another Ethernet address, be it IP or ARP.
    let before = count(&packets, V::Spoofed);
    ip(&ground.a, "link set eth0 address 02:00:00:00:00:99");
    let _ = udp(&ground.a, ground.a.v4().into(), 0).send_to(b"?", ground.b.address(9));
    wait_for_count(&packets, V::Spoofed, before);
}

#[test]
fn the_world_cannot_send_as_a_pod_of_the_node() {
    let ground = Ground::new("fake");
    let packets = ground.served();
    ground.forbid_forwarding();
    for ((pod, other), world) in
        addresses(&ground.a).into_iter().zip(addresses(&ground.b)).zip(addresses(&ground.outside))
    {
        let prefix = if pod.is_ipv4() { "/32" } else { "/128 nodad" };
        ip(&ground.outside, &format!("addr add {other}{prefix} dev lo"));
        let server = udp(&ground.a, pod, 0);
        let to = server.local_addr().unwrap();
        let before = count(&packets, V::ToPod);
        udp(&ground.outside, other, 0).send_to(b"I am a pod", to).unwrap();
        ask_udp(&udp(&ground.outside, world, 0), to, &server, b"?");
        assert_eq!(count(&packets, V::ToPod), before + 1);
    }
}

#[test]
fn a_pod_is_no_router_to_its_node() {
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with, sockopt};
    let ground = Ground::new("router");
    let packets = ground.served();
    let send = |kind: u8| {
        inside(&ground.a, || {
            let socket =
                socket_with(AddressFamily::INET6, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::ICMPV6));
            let socket = socket.unwrap();
            sockopt::set_ipv6_unicast_hops(&socket, Some(255)).unwrap();
            // The kernel makes the sum, and takes the link-local address.
            let mut message = vec![kind, 0, 0, 0, 64, 0, 7, 8];
            message.extend([0; 8]);
            let scope = rustix::net::netdevice::name_to_index(&socket, "eth0").unwrap();
            let node = SocketAddrV6::new("fe80::1".parse().unwrap(), 0, 0, scope);
            sendto(&socket, &message, SendFlags::empty(), &node).unwrap();
        });
    };
    let before = count(&packets, V::ToNode);
    send(128);
    wait_for_count(&packets, V::ToNode, before);
    let before = count(&packets, V::Spoofed);
    send(134);
    wait_for_count(&packets, V::Spoofed, before);
}

#[test]
fn what_is_too_large_for_a_pods_wire_is_answered() {
    let ground = Ground::new("large");
    let mut packets = ground.served();
    ip(&ground.node, "link set pod3 mtu 1400");
    let small = PodWire { mtu: 1400, ..ground.wire_b() };
    packets.put_pod(&small).unwrap();
    for (a, b) in addresses(&ground.a).into_iter().zip(addresses(&ground.b)) {
        let server = udp(&ground.b, b, 0);
        let client = udp(&ground.a, a, 0);
        client.connect(server.local_addr().unwrap()).unwrap();
        // The first is sent, and the answer to it is told at a later one.
        let large = [0; 1420];
        wait_for("a packet is refused as too large", PATIENCE, || client.send(&large).is_err()).unwrap();
        // TCP finds the way through.
        let server = listen(&ground.b, b, 0);
        exchange(&mut connect(&ground.a, server.local_addr().unwrap(), &server), 1 << 20);
    }
}

#[test]
fn it_goes_on_without_an_agent_and_the_next_one_adopts_it() {
    let ground = Ground::new("adopt");
    let packets = ground.served();
    let server = listen(&ground.outside, ground.outside.v4().into(), 0);
    let mut connection = connect(&ground.a, server.local_addr().unwrap(), &server);
    let pods = packets.pods().unwrap();
    assert_eq!(pods, [ground.wire_a(), ground.wire_b()]);
    let before = count(&packets, V::ToLink);
    drop(packets);
    exchange(&mut connection, 1 << 16);
    let mut packets = ground.packets(PacketSizes::default());
    assert_eq!(packets.pods().unwrap(), pods);
    assert!(count(&packets, V::ToLink) > before, "it was counted meanwhile");
    ground.serve(&mut packets, false);
    exchange(&mut connection, 1 << 16);
    packets.retire_others().unwrap();
    // Other sizes have other maps, which are there until the programs use them.
    let mut other = ground.packets(PacketSizes { pods: 100, ..PacketSizes::default() });
    ground.serve(&mut other, false);
    other.retire_others().unwrap();
    exchange(&mut connection, 1 << 16);
    let folders = std::fs::read_dir(ground.node.bpf_root()).unwrap().flatten();
    assert_eq!(folders.filter(|entry| entry.file_name().to_string_lossy().starts_with("packets-")).count(), 1);
}

#[test]
fn a_pod_that_is_removed_is_forgotten_and_another_may_have_its_address() {
    let ground = Ground::new("removed");
    let mut packets = ground.served();
    let (a, b) = (ground.wire_a(), ground.wire_b());
    // Pod b takes pod a's address before a goes.
    packets.put_pod(&PodWire { v4: a.v4, ..b }).unwrap();
    packets.remove_pod(a.index).unwrap();
    packets.remove_pod(a.index).unwrap();
    let [left] = packets.pods().unwrap()[..] else { panic!("{:?}", packets.pods()) };
    assert_eq!((left.index, left.v4, left.mtu), (b.index, a.v4, 1500), "its entry is not a's any more");
    packets.remove_pod(b.index).unwrap();
    assert_eq!(packets.pods().unwrap(), []);
    // And back at once.
    packets.put_pod(&b).unwrap();
    packets.remove_pod(b.index).unwrap();
    let pins: Vec<_> =
        std::fs::read_dir(ground.node.bpf_root().join("links")).into_iter().flatten().flatten().collect();
    assert!(pins.iter().all(|pin| !pin.file_name().to_string_lossy().starts_with("from_pod")), "{pins:?}");
}

#[test]
fn a_wire_that_was_prepared_lets_nothing_through_until_its_pod_is_there() {
    let ground = Ground::new("ready");
    let mut packets = ground.packets(PacketSizes::default());
    packets.set_node_addresses(&addresses(&ground.node)).unwrap();
    let wire = ground.wire_a();
    packets.prepare_wire(wire.index).unwrap();
    // So that the datagram doesn't wait in the pod for an answer to ARP, which is dropped, too.
    let mac = wire.host_mac.map(|byte| format!("{byte:02x}")).join(":");
    ip(&ground.a, &format!("neigh replace 10.1.0.1 lladdr {mac} dev eth0 nud permanent"));
    let (client, server) = (udp(&ground.a, ground.a.v4().into(), 0), udp(&ground.node, ground.node.v4().into(), 0));
    client.send_to(b"too early", server.local_addr().unwrap()).unwrap();
    wait_for_count(&packets, V::UnknownPod, 0);
    packets.put_pod(&wire).unwrap();
    ask_udp(&client, server.local_addr().unwrap(), &server, b"in time");
}

#[test]
fn a_wire_that_is_not_there_leaves_nothing() {
    let ground = Ground::new("nowhere");
    let mut packets = ground.packets(PacketSizes::default());
    let nowhere = PodWire { index: u32::MAX >> 1, ..ground.wire_a() };
    packets.put_pod(&nowhere).unwrap_err();
    assert_eq!(packets.pods().unwrap(), []);
}

#[test]
fn the_links_of_wires_that_are_gone_go_with_the_next_start() {
    let ground = Ground::new("gone");
    let (packets, index) = (ground.served(), ground.wire_a().index);
    let pin = ground.node.bpf_root().join(format!("links/from_pod@{index}"));
    drop(packets);
    ip(&ground.node, "link del pod2");
    wait_for("nothing is pinned for it", PATIENCE, || {
        drop(ground.packets(PacketSizes::default()));
        !pin.exists()
    })
    .unwrap();
    let mut packets = ground.packets(PacketSizes::default());
    assert_eq!(packets.pods().unwrap().len(), 2, "that the pod is gone is for others to say");
    packets.remove_pod(index).unwrap();
    assert_eq!(packets.pods().unwrap().len(), 1);
}

#[test]
fn a_cleanup_takes_all_of_it_away() {
    let ground = Ground::new("clean");
    let packets = ground.served();
    drop(packets);
    let removed = cleanup(None, ground.node.bpf_root()).unwrap();
    assert!(removed.paths.iter().any(|path| path.to_string_lossy().contains("/packets-")), "{removed:?}");
    assert!(
        removed.paths.iter().filter(|path| path.to_string_lossy().contains("/from_pod@")).count() == 2,
        "{removed:?}"
    );
    assert!(!ground.node.bpf_root().exists());
    // The way through the network stack is open again.
    let server = udp(&ground.b, ground.b.v4().into(), 0);
    ask_udp(&udp(&ground.a, ground.a.v4().into(), 0), server.local_addr().unwrap(), &server, b"?");
}
