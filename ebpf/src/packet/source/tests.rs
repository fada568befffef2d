//! Who may send what.

use super::*;
use crate::packet::header::{ETH_ARP, ETH_IPV4, TCP};
use crate::packet::layout::{Tuple, mapped};

const MAC: Mac = [1, 2, 3];
const V4: u32 = u32::from_ne_bytes([10, 1, 0, 2]);
const V6: Address = [1, 2, 3, 4];
const LINK_LOCAL: Address = [0xfe80_0000_u32.to_be(), 0, 0, 7];
const GROUP: Address = [0xff02_0000_u32.to_be(), 0, 0, 1];

fn pod() -> Veth {
    Veth { v6: V6, v4: V4, mac: MAC, pad: 0, flags: 0 }
}

fn sends(veth: &Veth, mac: Mac, source: Address, destination: Address, protocol: u8) -> Source {
    let ethernet = Ethernet { destination: [0; 3], source: mac, kind: ETH_IPV4 };
    of_packet(
        veth,
        &ethernet,
        &Packet { tuple: Tuple { source, destination, protocol, ..Tuple::default() }, ..Packet::default() },
    )
}

#[test]
fn a_pod_sends_with_its_own_addresses() {
    let to = mapped(1);
    assert_eq!(sends(&pod(), MAC, mapped(V4), to, TCP), Source::Own);
    assert_eq!(sends(&pod(), MAC, V6, [9; 4], TCP), Source::Own);
    assert_eq!(sends(&pod(), [1, 2, 4], mapped(V4), to, TCP), Source::Wrong);
    assert_eq!(sends(&pod(), MAC, mapped(V4 + 1), to, TCP), Source::Wrong);
    assert_eq!(sends(&pod(), MAC, [1, 2, 3, 5], [9; 4], TCP), Source::Wrong);
    // Zero is no address.
    let none = Veth { v4: 0, v6: [0; 4], ..pod() };
    assert_eq!(sends(&none, MAC, mapped(0), to, TCP), Source::Wrong);
    assert_eq!(sends(&none, MAC, [0; 4], [9; 4], TCP), Source::Wrong);
}

#[test]
fn neighbours_are_asked_before_there_is_an_address_and_nothing_else() {
    for from in [[0; 4], LINK_LOCAL] {
        assert_eq!(sends(&pod(), MAC, from, GROUP, ICMPV6), Source::Link);
        assert_eq!(sends(&pod(), [1, 2, 4], from, GROUP, ICMPV6), Source::Wrong);
        assert_eq!(sends(&pod(), MAC, from, GROUP, TCP), Source::Wrong);
        assert_eq!(sends(&pod(), MAC, from, [9; 4], ICMPV6), Source::Wrong, "beyond the link");
    }
    let ethernet = Ethernet { destination: [0; 3], source: MAC, kind: 0 };
    let tuple = Tuple { source: LINK_LOCAL, destination: [9; 4], protocol: ICMPV6, ..Tuple::default() };
    let solicit = Packet { tuple, ttl: 255, ..Packet::default() };
    assert_eq!(of_packet(&pod(), &ethernet, &solicit), Source::Link, "whether a neighbour is still there");
}

#[test]
fn arp_is_for_the_own_address() {
    let arp = |mac: Mac, sender_mac: Mac, sender: [u8; 4]| {
        let [a, b, c, d] = sender;
        let halves = [
            u16::from_ne_bytes([0, 1]),
            u16::from_ne_bytes([8, 0]),
            u16::from_ne_bytes([6, 4]),
            u16::from_ne_bytes([0, 1]),
            sender_mac[0],
            sender_mac[1],
            sender_mac[2],
            u16::from_ne_bytes([a, b]),
            u16::from_ne_bytes([c, d]),
        ];
        of_arp(&pod(), &Ethernet { destination: [0; 3], source: mac, kind: ETH_ARP }, &halves)
    };
    assert_eq!(arp(MAC, MAC, [10, 1, 0, 2]), Source::Link);
    assert_eq!(arp(MAC, MAC, [0, 0, 0, 0]), Source::Link, "asks whether it is taken");
    assert_eq!(arp(MAC, MAC, [10, 1, 0, 3]), Source::Wrong);
    assert_eq!(arp(MAC, [1, 2, 4], [10, 1, 0, 2]), Source::Wrong);
    assert_eq!(arp([1, 2, 4], MAC, [10, 1, 0, 2]), Source::Wrong);
}

#[test]
fn a_pod_is_no_router() {
    for kind in [133, 135, 136, 143] {
        assert!(is_of_host(kind), "{kind}");
    }
    // Advertises itself as a router, redirects, renumbers.
    for kind in [134, 137, 138, 1, 2] {
        assert!(!is_of_host(kind), "{kind}");
    }
}
