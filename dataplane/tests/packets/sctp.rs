//! SCTP, by packets that are made by hand, each with a sum of its own; and by sockets, where the kernel has them.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use bowline_cluster::object::Protocol;
use bowline_dataplane::packets::{HostPort, PacketSizes, PacketVerdict as V};
use bowline_lab::Host;
use rustix::fd::OwnedFd;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, ipproto, listen, recv, sendto,
    socket_with,
};

use crate::ground::{Ground, PATIENCE, addresses, count, inside, wait_for_count};

/// CRC32c (RFC 9260, appendix A).
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// A packet with so many bytes of data; `sums` says whether it has a sum.
fn packet(from: u16, to: u16, bytes: usize, sums: bool) -> Vec<u8> {
    let mut packet = [from.to_be_bytes(), to.to_be_bytes()].concat();
    packet.extend([1, 2, 3, 4, 0, 0, 0, 0]);
    // A chunk of data.
    packet.extend([0, 3]);
    packet.extend((16 + bytes as u16).to_be_bytes());
    packet.extend([0; 12]);
    packet.extend((0..bytes).map(|at| (at % 251) as u8));
    if sums {
        let sum = crc(&packet).to_le_bytes();
        packet[8..12].copy_from_slice(&sum);
    }
    packet
}

/// Packets of SCTP in a host, past its kernel's own.
struct Raw(OwnedFd, bool);

impl Raw {
    fn new(host: &Host, is_v4: bool) -> Raw {
        let family = if is_v4 { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket =
            inside(host, || socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::SCTP)).unwrap());
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).unwrap();
        Raw(socket, is_v4)
    }

    fn send(&self, packet: &[u8], to: IpAddr) {
        sendto(&self.0, packet, SendFlags::empty(), &SocketAddr::new(to, 0)).unwrap();
    }

    /// The next that carries data for this port; a kernel with SCTP has its own to say. Its sum is right, or none.
    fn receive(&self, port: u16, sums: bool) -> (SocketAddr, Vec<u8>) {
        let mut room = vec![0; 65536];
        loop {
            let (length, _, from) = rustix::net::recvfrom(&self.0, &mut room[..], RecvFlags::empty()).unwrap();
            // With the IP header, of IPv4 alone.
            let packet = &room[if self.1 { 20 } else { 0 }..length];
            if packet[2..4] != port.to_be_bytes() || packet[12] != 0 {
                continue;
            }
            let mut bare = packet.to_vec();
            bare[8..12].fill(0);
            let sum = if sums { crc(&bare).to_le_bytes() } else { [0; 4] };
            assert_eq!(packet[8..12], sum, "the sum of {} bytes", packet.len());
            let from: SocketAddr = from.unwrap().try_into().unwrap();
            return (SocketAddr::new(from.ip(), u16::from_be_bytes([packet[0], packet[1]])), packet[12..].to_vec());
        }
    }
}

/// Asks and answers; returns from whom the question came.
fn ask(client: (&Raw, u16), to: SocketAddr, server: (&Raw, u16), bytes: usize, sums: bool) -> SocketAddr {
    let question = packet(client.1, to.port(), bytes, sums);
    client.0.send(&question, to.ip());
    let (from, came) = server.0.receive(server.1, sums);
    assert_eq!(came, question[12..]);
    let answer = packet(server.1, from.port(), bytes + 4, sums);
    server.0.send(&answer, from.ip());
    let (answered, came) = client.0.receive(client.1, sums);
    assert_eq!(came, answer[12..]);
    assert_eq!(answered, to, "the answer comes from where was asked");
    from
}

fn host_port(port: u16, pod: IpAddr, pod_port: u16) -> HostPort {
    HostPort { host_ip: None, port, protocol: Protocol::Sctp, pod, pod_port }
}

#[test]
fn a_sum_is_right_after_each_translation() {
    let ground = Ground::new("sctp");
    let mut packets = ground.masqueraded(PacketSizes::default());
    ground.forbid_forwarding();
    for family in [0, 1] {
        let [a, b, node, world] =
            [&*ground.a, &*ground.b, &*ground.node, &*ground.outside].map(|host| addresses(host)[family]);
        let raw = |host: &Host| Raw::new(host, family == 0);
        let (at_a, at_b, at_node, at_world) = (raw(&ground.a), raw(&ground.b), raw(&ground.node), raw(&ground.outside));
        packets.put_host_port(&host_port(8080, a, 2905)).unwrap();
        for (sums, turn) in [(true, 0), (false, 1)] {
            for bytes in [0, 4, 100, 1000, 1400] {
                let (port, far) = (40_000 + bytes as u16 + turn, SocketAddr::new(world, 5000 + turn));
                // From two pods with one port: one of them gets another.
                let first = ask((&at_a, port), far, (&at_world, far.port()), bytes, sums);
                let second = ask((&at_b, port), far, (&at_world, far.port()), bytes, sums);
                assert_eq!(first, SocketAddr::new(node, port));
                assert_eq!(second.ip(), node);
                assert!(second.port() >= 32_768 && second.port() != port);
                // The node's own, of which a pod's flow has the port.
                let moved = ask((&at_node, port), far, (&at_world, far.port()), bytes, sums);
                assert!(moved.port() != port && moved != second, "{moved}");
                // And the node first.
                let own = ask((&at_node, port + 3), far, (&at_world, far.port()), bytes, sums);
                assert_eq!(own.port(), port + 3);
                let other = ask((&at_a, port + 3), far, (&at_world, far.port()), bytes, sums);
                assert_ne!(other, own);
                assert_eq!(ask((&at_node, port + 3), far, (&at_world, far.port()), bytes, sums), own);
                // By a port of the node: from the world, from a pod, from the pod itself.
                let to = SocketAddr::new(node, 8080);
                for (host, from) in [(&at_world, world), (&at_b, b), (&at_a, node)] {
                    let seen = ask((host, port), to, (&at_a, 2905), bytes, sums);
                    assert_eq!(seen, SocketAddr::new(from, port));
                }
            }
        }
    }
    assert!(count(&packets, V::Moved) >= 20);
}

#[test]
fn pieces_keep_their_ports_or_go_nowhere() {
    let ground = Ground::new("sctppart");
    let mut packets = ground.masqueraded(PacketSizes::default());
    let (at_a, at_world) = (Raw::new(&ground.a, true), Raw::new(&ground.outside, true));
    let [a, node, world]: [IpAddr; 3] = [ground.a.v4().into(), ground.node.v4().into(), ground.outside.v4().into()];
    // Under the node's address, with the port that it has.
    let far = SocketAddr::new(world, 5000);
    assert_eq!(ask((&at_a, 2905), far, (&at_world, 5000), 4000, true), SocketAddr::new(node, 2905));
    packets.put_host_port(&host_port(2905, a, 2905)).unwrap();
    ask((&at_world, 7000), SocketAddr::new(node, 2905), (&at_a, 2905), 4000, true);
    // Where it would get another.
    packets.put_host_port(&host_port(8080, a, 2905)).unwrap();
    at_world.send(&packet(7001, 8080, 4000, true), node);
    wait_for_count(&packets, V::Untranslatable, 0);
    let to = SocketAddr::new(node, 8080);
    ask((&at_world, 7001), to, (&at_a, 2905), 100, true);
    let before = count(&packets, V::Untranslatable);
    at_world.send(&packet(7001, 8080, 4000, true), node);
    wait_for_count(&packets, V::Untranslatable, before);
    ask((&at_world, 7001), to, (&at_a, 2905), 100, true);
}

#[test]
fn a_pod_that_gets_the_port_gets_who_spoke_with_the_node() {
    let ground = Ground::new("sctpown");
    let mut packets = ground.masqueraded(PacketSizes::default());
    let (at_a, at_node, at_world) =
        (Raw::new(&ground.a, true), Raw::new(&ground.node, true), Raw::new(&ground.outside, true));
    let to = ground.node.address(2905);
    // A kernel without sockets of SCTP answers that it has none, which is no matter to the node's own.
    let own = ask((&at_world, 2905), to, (&at_node, 2905), 100, true);
    assert_eq!(own, ground.outside.address(2905));
    packets.put_host_port(&host_port(2905, ground.a.v4().into(), 3000)).unwrap();
    assert_eq!(ask((&at_world, 2905), to, (&at_a, 3000), 100, true), own);
}

#[test]
fn errors_about_sctp_are_told_in_its_own_words() {
    let ground = Ground::new("sctperr");
    let mut packets = ground.masqueraded(PacketSizes::default());
    for family in [0, 1] {
        let [a, node, world] = [&*ground.a, &*ground.node, &*ground.outside].map(|host| addresses(host)[family]);
        let raw = |host: &Host| Raw::new(host, family == 0);
        let (at_a, at_b, at_world) = (raw(&ground.a), raw(&ground.b), raw(&ground.outside));
        let (from_b, echoes) = (addresses(&ground.b)[family], Errors::new(&ground.b, family == 0));
        let far = SocketAddr::new(world, 5000);
        ask((&at_a, 4000), far, (&at_world, 5000), 100, true);
        let seen = ask((&at_b, 4000), far, (&at_world, 5000), 100, true);
        assert_ne!(seen.port(), 4000);
        // The world tells that it has no such port, in the words of what came to it.
        Errors::new(&ground.outside, family == 0).unreachable(node, (seen, far));
        echoes.about((SocketAddr::new(from_b, 4000), far));
        // And a pod what came by a port of the node.
        packets.put_host_port(&host_port(8080, a, 2905)).unwrap();
        let to = SocketAddr::new(node, 8080);
        let seen = ask((&at_world, 4001), to, (&at_a, 2905), 100, true);
        let echoes = Errors::new(&ground.outside, family == 0);
        Errors::new(&ground.a, family == 0).unreachable(world, (seen, SocketAddr::new(a, 2905)));
        echoes.about((SocketAddr::new(world, 4001), to));
    }
}

/// ICMP in a host.
struct Errors(Raw);

impl Errors {
    fn new(host: &Host, is_v4: bool) -> Errors {
        let (family, protocol) =
            if is_v4 { (AddressFamily::INET, ipproto::ICMP) } else { (AddressFamily::INET6, ipproto::ICMPV6) };
        let socket =
            inside(host, || socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol)).unwrap());
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).unwrap();
        Errors(Raw(socket, is_v4))
    }

    /// Tells that a port is unreachable, about the first bytes of a packet.
    fn unreachable(&self, whom: IpAddr, (from, to): (SocketAddr, SocketAddr)) {
        let mut error = if self.0.1 { vec![3, 3, 0, 0, 0, 0, 0, 0] } else { vec![1, 4, 0, 0, 0, 0, 0, 0] };
        match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                error.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 132, 0, 0]);
                error.extend([from.octets(), to.octets()].concat());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                error.extend([0x60, 0, 0, 0, 0, 20, 132, 64]);
                error.extend([from.octets(), to.octets()].concat());
            }
            _ => panic!("two families"),
        }
        error.extend(packet(from.port(), to.port(), 4, true));
        if self.0.1 {
            let sum = error.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
            let sum = (sum & 0xffff) + (sum >> 16);
            let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
            error[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        // Of ICMPv6 the kernel makes the sum.
        self.0.send(&error, whom);
    }

    /// Waits for such an error.
    fn about(&self, (from, to): (SocketAddr, SocketAddr)) {
        let mut room = vec![0; 2048];
        let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
        loop {
            let (length, _) = recv(&self.0.0, &mut room[..], RecvFlags::empty()).unwrap();
            let error = &room[if self.0.1 { 20 } else { 0 }..length];
            let wanted = if self.0.1 { [3, 3] } else { [1, 4] };
            if error[..2] != wanted {
                continue;
            }
            let (at, ip) = if self.0.1 { (12, 20) } else { (8, 40) };
            let addresses = match (from.ip(), to.ip()) {
                (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
                (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
                _ => panic!("two families"),
            };
            if error[8 + at..].starts_with(&addresses) && error[8 + ip..].starts_with(&ports) {
                return;
            }
        }
    }
}

/// A socket of SCTP in a host, at this address; None: this kernel has none.
fn socket(host: &Host, at: SocketAddr) -> Option<OwnedFd> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let made = inside(host, || socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::SCTP)));
    match made {
        Ok(socket) => {
            bind(&socket, &at).unwrap();
            Some(socket)
        }
        Err(error) => {
            let is_wanted = std::env::var("BOWLINE_TEST_NEEDS").is_ok_and(|needs| needs.contains("sctp"));
            assert!(!is_wanted, "this kernel has to have SCTP, since BOWLINE_TEST_NEEDS says so: {error}");
            None
        }
    }
}

/// An association from a host to a server: both ends, as streams.
fn associate(host: &Host, from: SocketAddr, to: SocketAddr, server: &TcpListener) -> (TcpStream, TcpStream) {
    let client = socket(host, from).unwrap();
    inside(host, || connect(&client, &to).unwrap());
    let ends = (TcpStream::from(client), server.accept().unwrap().0);
    for stream in [&ends.0, &ends.1] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    ends
}

/// Sends half a megabyte each way, in messages that fit into a socket's buffer.
fn exchange(ends: &(TcpStream, TcpStream)) {
    let sent: Vec<u8> = (0..1 << 19).map(|at| (at % 251) as u8).collect();
    for (mut from, mut to) in [(&ends.0, &ends.1), (&ends.1, &ends.0)] {
        let came = thread::scope(|scope| {
            scope.spawn(|| sent.chunks(1 << 15).for_each(|message| from.write_all(message).unwrap()));
            let mut came = vec![0; sent.len()];
            to.read_exact(&mut came).unwrap();
            came
        });
        assert!(came == sent, "what came is not what was sent");
    }
}

/// Real associations. This needs the kernel's module, which the machines of `make kernels` have: they say so by
/// BOWLINE_TEST_NEEDS, and there it fails without.
#[test]
fn sockets_of_sctp_speak_by_ports_of_the_node_and_from_under_its_address() {
    let ground = Ground::new("sctpreal");
    let mut packets = ground.masqueraded(PacketSizes::default());
    ground.forbid_forwarding();
    if socket(&ground.a, ground.a.address(0)).is_none() {
        eprintln!("NOT TRIED: this kernel has no sockets of SCTP; `make kernels` tries those that have");
        return;
    }
    let serve = |host: &Host, at: SocketAddr| {
        let server = socket(host, at).unwrap();
        listen(&server, 5).unwrap();
        TcpListener::from(server)
    };
    // Once as devices of one machine leave sums to each other, and once with sums in the packets.
    for sums in [false, true] {
        if sums {
            for (host, device) in [(&*ground.a, "eth0"), (&*ground.b, "eth0"), (&*ground.outside, "eth0")] {
                host.output("ethtool", &["-K", device, "tx", "off"]).unwrap();
            }
        }
        for family in [0, 1] {
            let [a, b, node, world] =
                [&*ground.a, &*ground.b, &*ground.node, &*ground.outside].map(|host| addresses(host)[family]);
            let port = 4000 + u16::from(sums);
            let far = SocketAddr::new(world, port);
            let server = serve(&ground.outside, far);
            let ends = [&*ground.a, &*ground.b]
                .map(|host| associate(host, SocketAddr::new(addresses(host)[family], port), far, &server));
            let seen: Vec<SocketAddr> = ends.iter().map(|ends| ends.1.peer_addr().unwrap()).collect();
            assert!(
                seen.iter().all(|one| one.ip() == node) && seen[0].port() == port && seen[1] != seen[0],
                "{seen:?}"
            );
            ends.iter().for_each(exchange);
            // By another port than the pod's.
            packets.put_host_port(&host_port(8080, a, 2905)).unwrap();
            let server = serve(&ground.a, SocketAddr::new(a, 2905));
            for (host, from, seen) in [(&*ground.outside, world, world), (&*ground.b, b, b), (&*ground.a, a, node)] {
                let ends = associate(host, SocketAddr::new(from, port + 2), (node, 8080).into(), &server);
                assert_eq!(ends.1.peer_addr().unwrap(), SocketAddr::new(seen, port + 2));
                assert_eq!(ends.0.peer_addr().unwrap(), SocketAddr::new(node, 8080));
                exchange(&ends);
            }
            // Nobody listens: that is told, by SCTP itself.
            drop(server);
            let refused = socket(&ground.outside, SocketAddr::new(world, 0)).unwrap();
            let error = inside(&ground.outside, || connect(&refused, &SocketAddr::new(node, 8080))).unwrap_err();
            assert_eq!(error, rustix::io::Errno::CONNREFUSED);
        }
    }
    assert_eq!(count(&packets, V::Untranslatable) + count(&packets, V::FragmentLost), 0);
}
