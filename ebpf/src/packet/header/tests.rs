//! Headers, byte by byte.

use super::*;

fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    assert_eq!(bytes.len(), N * 4);
    std::array::from_fn(|at| u32::from_ne_bytes(bytes[at * 4..at * 4 + 4].try_into().unwrap()))
}

fn v4(version: u8, length: u16, fragment: u16) -> (bool, Packet) {
    let [l, m] = length.to_be_bytes();
    let [f, g] = fragment.to_be_bytes();
    let bytes = [version, 0, l, m, 0xab, 0xcd, f, g, 64, 17, 0, 0, 10, 1, 0, 2, 10, 1, 0, 3];
    let mut packet = Packet::default();
    (Packet::read_v4(&words(&bytes), &mut packet), packet)
}

#[test]
fn an_ipv4_header_is_read() {
    let (is_whole, packet) = v4(0x45, 1000, 0x4000);
    assert!(is_whole && packet.is_v4() && !packet.has_extension());
    assert_eq!(packet.tuple.source, mapped(u32::from_ne_bytes([10, 1, 0, 2])));
    assert_eq!(packet.tuple.destination, mapped(u32::from_ne_bytes([10, 1, 0, 3])));
    assert_eq!((packet.behind, packet.length, packet.id), (34, 1000, 0xabcd));
    assert_eq!((packet.tuple.protocol, packet.ttl, packet.part), (UDP, 64, Part::Whole));
    let (is_whole, with_options) = v4(0x47, 1000, 0);
    assert!(is_whole);
    assert_eq!(with_options.behind, 42);
    assert!(v4(0x45, 0, 0).0, "it is longer than can be told");
    assert_eq!(v4(0x45, 1000, 0x2000).1.part, Part::First);
    assert_eq!(v4(0x45, 1000, 0x2010).1.part, Part::Later);
    assert_eq!(v4(0x45, 1000, 0x0010).1.part, Part::Later, "the last");
    for (version, length) in [(0x44, 1000), (0x65, 1000), (0x45, 19), (0x46, 23)] {
        assert!(!v4(version, length, 0).0, "{version:x} {length}");
    }
}

fn v6(next: u8, source: [u8; 16]) -> (bool, Packet) {
    let mut bytes = vec![0x60, 0, 0, 0, 1, 0, next, 63];
    bytes.extend(source);
    bytes.extend([0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    let mut packet = Packet::default();
    (Packet::read_v6(&words(&bytes), &mut packet), packet)
}

const POD: [u8; 16] = [0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

#[test]
fn an_ipv6_header_is_read_and_what_follows_it() {
    let (is_whole, mut packet) = v6(0, POD);
    assert!(is_whole && !packet.is_v4() && packet.has_extension());
    assert_eq!((packet.behind, packet.length, packet.ttl), (54, 296, 63));
    // Hop-by-hop of 16 bytes, then the first fragment of a UDP datagram.
    packet.extension(&words(&[44, 1, 0, 0, 0, 0, 0, 0]));
    assert!(packet.has_extension());
    assert_eq!((packet.behind, packet.tuple.protocol), (70, 44));
    let fragment = packet;
    packet.extension(&words(&[17, 0, 0, 1, 1, 2, 3, 4]));
    assert!(!packet.has_extension());
    assert_eq!((packet.behind, packet.tuple.protocol, packet.part), (78, UDP, Part::First));
    assert_eq!(packet.id, u32::from_ne_bytes([1, 2, 3, 4]));
    // What follows a later fragment's header is no header.
    let mut later = fragment;
    later.extension(&words(&[60, 0, 0x05, 0xa8, 1, 2, 3, 4]));
    assert_eq!(later.part, Part::Later);
    assert!(!later.has_extension());
    // A fragment that is all of the datagram (RFC 6946).
    let mut atomic = fragment;
    atomic.extension(&words(&[6, 0, 0, 0, 1, 2, 3, 4]));
    assert_eq!(atomic.part, Part::Whole);
    assert!(!v6(17, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 0, 2]).0, "IPv4 in the form of IPv6");
}

#[test]
fn what_is_for_the_link_alone() {
    let is = |text: &str| {
        stays_on_link(&match text.parse().unwrap() {
            std::net::IpAddr::V4(v4) => mapped(u32::from_ne_bytes(v4.octets())),
            std::net::IpAddr::V6(v6) => words(&v6.octets()),
        })
    };
    for on_link in [
        "0.0.0.0",
        "127.0.0.1",
        "169.254.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "febf::1",
        "ff02::1",
    ] {
        assert!(is(on_link), "{on_link}");
    }
    let of_node = |text: &str| {
        stays_on_node(&match text.parse().unwrap() {
            std::net::IpAddr::V4(v4) => mapped(u32::from_ne_bytes(v4.octets())),
            std::net::IpAddr::V6(v6) => words(&v6.octets()),
        })
    };
    assert!(of_node("169.254.1.1") && of_node("127.0.0.1") && of_node("fe80::1"));
    assert!(!of_node("169.254.169.254") && is("169.254.169.254") && !of_node("1.1.1.1"));
    for beyond in ["1.1.1.1", "10.0.0.1", "169.253.0.1", "223.255.255.255", "::2", "2001::1", "fd00::1", "fec0::1"] {
        assert!(!is(beyond), "{beyond}");
    }
}

#[test]
fn what_tells_flows_apart_is_read() {
    let read = |protocol: u8, bytes: [u8; 8]| {
        let mut packet = Packet::default();
        packet.tuple.protocol = protocol;
        packet.transport(&std::array::from_fn(|at| u16::from_ne_bytes([bytes[at * 2], bytes[at * 2 + 1]])));
        (packet.kind, packet.tuple.source_port.to_be(), packet.tuple.destination_port.to_be())
    };
    let bytes = [0x12, 0x34, 0, 80, 1, 2, 3, 4];
    for protocol in [TCP, UDP, SCTP] {
        assert_eq!(read(protocol, bytes), (Behind::Ports, 0x1234, 80));
    }
    assert_eq!(read(47, bytes), (Behind::Fixed, 0, 0), "GRE");
    assert_eq!(read(136, bytes), (Behind::Sealed, 0, 0));
    let icmp = |kind: u8| [kind, 0, 9, 9, 0xab, 0xcd, 0, 1];
    assert_eq!(read(ICMP, icmp(8)), (Behind::Asks, 0xabcd, 0));
    assert_eq!(read(ICMP, icmp(0)), (Behind::Answers, 0, 0xabcd));
    assert_eq!(read(ICMP, icmp(3)), (Behind::Error, 0, 0));
    assert_eq!(read(ICMP, icmp(128)), (Behind::Fixed, 0, 0));
    assert_eq!(read(ICMPV6, icmp(128)), (Behind::Asks, 0xabcd, 0));
    assert_eq!(read(ICMPV6, icmp(129)), (Behind::Answers, 0, 0xabcd));
    assert_eq!(read(ICMPV6, icmp(2)), (Behind::Error, 0, 0));
    assert_eq!(read(ICMPV6, icmp(143)), (Behind::Fixed, 0, 0));
}

#[test]
fn a_piece_of_sctp_keeps_its_ports() {
    let piece = |protocol: u8, part: Part| {
        let mut packet = Packet { part, ..Packet::default() };
        packet.tuple.protocol = protocol;
        packet.transport(&[1, 2, 3, 4]);
        let to = Tuple { destination: [7; 4], ..packet.tuple };
        assert!(packet.can_become(&to), "another address is no matter");
        (packet.kind, packet.can_become(&Tuple { destination_port: 9, ..to }))
    };
    for protocol in [TCP, UDP, SCTP] {
        assert_eq!(piece(protocol, Part::Whole), (Behind::Ports, true));
    }
    assert_eq!(piece(UDP, Part::First), (Behind::Ports, true));
    assert_eq!(piece(SCTP, Part::First), (Behind::Fixed, false));
}
