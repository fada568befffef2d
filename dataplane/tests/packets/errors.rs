//! ICMP errors about flows that are translated, and datagrams in pieces.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use bowline_cluster::object::Protocol;
use bowline_dataplane::packets::{HostPort, PacketSizes, PacketVerdict as V, Packets};
use bowline_lab::{Host, wait_for};

use crate::ground::{
    Ground, PATIENCE, addresses, ask_ping, ask_udp, connect, count, exchange, inside, ip, listen, ping, udp,
    wait_for_count,
};

const PORT: u16 = 8080;

fn put(packets: &mut Packets, pod: IpAddr) {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        packets.put_host_port(&HostPort { host_ip: None, port: PORT, protocol, pod, pod_port: 5000 }).unwrap();
    }
}

/// Whether a datagram is refused by the other side.
fn is_refused(client: &UdpSocket) -> bool {
    client.send(b"?").is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

fn connected(host: &Host, from: IpAddr, to: SocketAddr) -> UdpSocket {
    let client = udp(host, from, 0);
    client.connect(to).unwrap();
    client
}

#[test]
fn a_narrow_link_further_on_is_told_to_the_pod() {
    let ground = Ground::new("narrow");
    let packets = ground.masqueraded(PacketSizes::default());
    let far = ground.outside.pod("far").unwrap();
    ip(&ground.outside, "link set pod2 mtu 1300");
    for (pod, world) in addresses(&ground.a).into_iter().zip(addresses(&far)) {
        let server = udp(&far, world, 0);
        let client = connected(&ground.a, pod, server.local_addr().unwrap());
        let large = [0; 1400];
        let told = || client.send(&large).is_err_and(|error| error.raw_os_error() == Some(90));
        wait_for("EMSGSIZE", PATIENCE, told).unwrap();
        assert!(ip(&ground.a, &format!("route get {world}")).contains("mtu 1300"));
        let server = listen(&far, world, 0);
        let mut ends = connect(&ground.a, server.local_addr().unwrap(), &server);
        exchange(&mut ends, 1 << 20);
        assert!(addresses(&ground.node).contains(&ends.1.peer_addr().unwrap().ip()));
    }
    drop(packets);
}

#[test]
fn a_closed_port_refuses() {
    let ground = Ground::new("closed");
    let mut packets = ground.masqueraded(PacketSizes::default());
    addresses(&ground.a).into_iter().for_each(|pod| put(&mut packets, pod));
    for family in [0, 1] {
        let [a, b, node, world] =
            [&*ground.a, &*ground.b, &*ground.node, &*ground.outside].map(|host| addresses(host)[family]);
        // Masqueraded, from two pods with one port: only one keeps it.
        for (host, from) in [(&*ground.a, a), (&*ground.b, b)] {
            let client = udp(host, from, 45_000);
            client.connect((world, 9)).unwrap();
            wait_for("the world refuses", PATIENCE, || is_refused(&client)).unwrap();
        }
        // By a port of the node: from the world, from a pod, from the pod itself.
        for (host, from) in [(&*ground.outside, world), (&*ground.b, b), (&*ground.a, a)] {
            let client = connected(host, from, (node, PORT).into());
            wait_for("the pod refuses", PATIENCE, || is_refused(&client)).unwrap();
            let error = inside(host, || std::net::TcpStream::connect((node, PORT)).unwrap_err());
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
    }
}

#[test]
fn what_is_too_large_for_the_pods_wire_is_told_in_the_clients_words() {
    let ground = Ground::new("words");
    let mut packets = ground.masqueraded(PacketSizes::default());
    ip(&ground.node, "link set pod2 mtu 1300");
    packets.put_pod(&bowline_dataplane::packets::PodWire { mtu: 1300, ..ground.wire_a() }).unwrap();
    for family in [0, 1] {
        let [pod, node, world] = [&*ground.a, &*ground.node, &*ground.outside].map(|host| addresses(host)[family]);
        put(&mut packets, pod);
        let client = connected(&ground.outside, world, (node, PORT).into());
        let large = [0; 1400];
        let told = || client.send(&large).is_err_and(|error| error.raw_os_error() == Some(90));
        wait_for("EMSGSIZE", PATIENCE, told).unwrap();
        let server = listen(&ground.a, pod, 5000);
        exchange(&mut connect(&ground.outside, (node, PORT).into(), &server), 1 << 20);
    }
}

#[test]
fn datagrams_in_pieces_are_translated_as_one() {
    let ground = Ground::new("pieces");
    let mut packets = ground.masqueraded(PacketSizes::default());
    ground.forbid_forwarding();
    let large: Vec<u8> = (0..20_000).map(|at| (at % 251) as u8).collect();
    for family in [0, 1] {
        let [a, b, node, world] =
            [&*ground.a, &*ground.b, &*ground.node, &*ground.outside].map(|host| addresses(host)[family]);
        put(&mut packets, a);
        // Two pods with one port, so that one gets another.
        for (host, from) in [(&*ground.a, a), (&*ground.b, b)] {
            let server = udp(&ground.outside, world, 46_000);
            let client = udp(host, from, 46_001);
            assert_eq!(ask_udp(&client, (world, 46_000).into(), &server, &large).ip(), node);
            ask_ping(&ping(host, from, 77), world, 10_000);
        }
        let server = udp(&ground.a, a, 5000);
        for (host, from) in [(&*ground.outside, world), (&*ground.b, b), (&*ground.a, a)] {
            ask_udp(&udp(host, from, 0), (node, PORT).into(), &server, &large);
        }
        // And from the node itself, which has pieces of its own.
        let own = udp(&ground.node, node, 0);
        let server = udp(&ground.outside, world, 0);
        ask_udp(&own, server.local_addr().unwrap(), &server, &large);
        let server = udp(&ground.b, b, 0);
        ask_udp(&own, server.local_addr().unwrap(), &server, &large);
    }
    assert_eq!(count(&packets, V::FragmentLost), 0);
}

#[test]
fn a_piece_without_its_first_does_not_leave_untranslated() {
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};
    let ground = Ground::new("piece");
    let packets = ground.masqueraded(PacketSizes::default());
    let (from, to) = (ground.a.v4().octets(), ground.outside.v4().octets());
    // The last fragment of a UDP datagram; the kernel fills in length and sum.
    let mut packet = vec![0x45, 0, 0, 0, 0x12, 0x34, 0, 100, 64, 17, 0, 0];
    packet.extend([from, to].concat());
    packet.extend([0; 8]);
    inside(&ground.a, || {
        let raw = rustix::net::Protocol::from_raw(255.try_into().unwrap());
        let socket = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(raw)).unwrap();
        sendto(&socket, &packet, SendFlags::empty(), &ground.outside.address(0)).unwrap();
    });
    wait_for_count(&packets, V::FragmentLost, 0);
}
