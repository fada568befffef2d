//! What a pod may send: packets with its own addresses, ARP for its own address, and what IPv6 needs before it has one.

use super::header::{Ethernet, ICMPV6, Packet, stays_on_link};
use super::layout::{Address, Mac, Veth, is_v4, same};

/// What becomes of a packet by its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// It is the pod's.
    Own = 0,
    /// It is of the link only: the network stack deals with it, and it goes no further.
    Link = 1,
    /// It is somebody else's.
    Wrong = 2,
}

#[inline(always)]
fn is_mac(a: &Mac, b: &Mac) -> bool {
    a[2] == b[2] && a[1] == b[1] && a[0] == b[0]
}

/// A packet's.
#[inline(always)]
pub fn of_packet(veth: &Veth, ethernet: &Ethernet, packet: &Packet) -> Source {
    if !is_mac(&veth.mac, &ethernet.source) {
        return Source::Wrong;
    }
    if packet.is_v4() {
        return if veth.v4 != 0 && packet.tuple.source[3] == veth.v4 { Source::Own } else { Source::Wrong };
    }
    // The address of a pod without IPv6 is zero, which is what "unspecified" is.
    if same(&packet.tuple.source, &veth.v6) && !is_unspecified(&packet.tuple.source) {
        return Source::Own;
    }
    // Neighbour discovery and multicast listeners (RFC 4861, RFC 3810), from :: or the link-local address.
    let is_on_link = (is_unspecified(&packet.tuple.source) || is_link_local(&packet.tuple.source))
        && stays_on_link(&packet.tuple.destination)
        && packet.tuple.protocol == ICMPV6;
    // Neighbours of the same link are asked at their own address, too; that has hop limit 255, which no router lets arrive.
    let asks_neighbour = is_link_local(&packet.tuple.source) && packet.tuple.protocol == ICMPV6 && packet.ttl == 255;
    if is_on_link || asks_neighbour { Source::Link } else { Source::Wrong }
}

/// Whether an ICMPv6 message of this type is one that a pod may send from an address of the link: about itself as a neighbour or
/// a listener, or an echo. A pod is no router: what it advertised as one would change the node's routes (CVE-2020-10749).
#[inline(always)]
pub fn is_of_host(kind: u8) -> bool {
    // Echo; listeners (RFC 2710, 3810); who asks for routers; neighbours.
    matches!(kind, 128..=133 | 135 | 136 | 143)
}

#[inline(always)]
fn is_unspecified(address: &Address) -> bool {
    same(address, &[0; 4])
}

#[inline(always)]
fn is_link_local(address: &Address) -> bool {
    !is_v4(address) && u32::from_be(address[0]) >> 22 == 0xfe80 >> 6
}

/// An ARP message's for IPv4 over Ethernet (RFC 826): the 20 bytes behind the Ethernet header, up to the target.
#[inline(always)]
pub fn of_arp(veth: &Veth, ethernet: &Ethernet, halves: &[u16; 9]) -> Source {
    let sender_mac: Mac = [halves[4], halves[5], halves[6]];
    // As words lie in memory, little-endian or not.
    let sender = u32::from_be(u32::from(u16::from_be(halves[7])) << 16 | u32::from(u16::from_be(halves[8])));
    let is_ours = is_mac(&veth.mac, &ethernet.source) && is_mac(&veth.mac, &sender_mac);
    // 0.0.0.0 asks whether an address is taken (RFC 5227).
    if is_ours && veth.v4 != 0 && (sender == veth.v4 || sender == 0) { Source::Link } else { Source::Wrong }
}

#[cfg(test)]
mod tests;
