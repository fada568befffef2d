//! What the headers of a packet say: Ethernet, IPv4 (RFC 791), IPv6 and its extension headers (RFC 8200), and what of the
//! protocol behind them tells flows apart. Headers come as words that lie as in the packet; a word's bytes are in network order.

use super::layout::{Address, Mac, Tuple, is_v4, mapped};

/// Where the IP header is: behind that of Ethernet.
pub const IP: u32 = 14;

/// EtherTypes, as they lie in the packet.
pub const ETH_IPV4: u16 = 0x0800_u16.to_be();
/// IPv6's.
pub const ETH_IPV6: u16 = 0x86dd_u16.to_be();
/// ARP's.
pub const ETH_ARP: u16 = 0x0806_u16.to_be();

/// `IPPROTO_ICMP`.
pub const ICMP: u8 = 1;
/// `IPPROTO_TCP`.
pub const TCP: u8 = 6;
/// `IPPROTO_UDP`.
pub const UDP: u8 = 17;
/// `IPPROTO_ICMPV6`.
pub const ICMPV6: u8 = 58;
/// `IPPROTO_SCTP`.
pub const SCTP: u8 = 132;
const DCCP: u8 = 33;
const UDPLITE: u8 = 136;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// So many extension headers are looked behind.
pub const MAX_EXTENSIONS: u32 = 4;

/// An Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Ethernet {
    /// To whom.
    pub destination: Mac,
    /// From whom.
    pub source: Mac,
    /// What follows.
    pub kind: u16,
}

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// All of it.
    #[default]
    Whole = 0,
    /// The first fragment, with the ports.
    First = 1,
    /// Another fragment.
    Later = 2,
}

/// What is behind the IP header, as far as translation goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Behind {
    /// It was not looked at.
    #[default]
    Unread = 0,
    /// Ports that can be exchanged: TCP, UDP, and SCTP that is whole.
    Ports = 1,
    /// An ICMP echo that asks: its identifier is a port of the source.
    Asks = 2,
    /// An ICMP echo that answers: its identifier is a port of the destination.
    Answers = 3,
    /// An ICMP error: about a packet, whose beginning is in it.
    Error = 4,
    /// Nothing that can be exchanged, and nothing that depends on the addresses.
    Fixed = 5,
    /// Nothing that can be exchanged, and a sum over the addresses that can't be followed.
    Sealed = 6,
    /// It is a later fragment, whose first one is not known.
    Lost = 7,
}

/// What is known of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from and where it goes. Its ports are zero until they are read ([`Packet::transport`]).
    pub tuple: Tuple,
    /// Where the header behind IP's begins, from the beginning of the packet.
    pub behind: u32,
    /// Bytes from the IP header on.
    pub length: u32,
    /// The datagram that it is a fragment of, as it lies in the packet.
    pub id: u32,
    /// The first word of the IP header, as it lies in the packet.
    pub first: u32,
    /// What is behind the IP header.
    pub kind: Behind,
    /// The flags of TCP; 0 of anything else.
    pub tcp: u8,
    /// How many routers it may still pass.
    pub ttl: u8,
    /// Which part of a datagram it is.
    pub part: Part,
}

impl Packet {
    /// Of the 20 bytes that every IPv4 header has. False: it is none, and `into` means nothing.
    #[inline(always)]
    pub fn read_v4(words: &[u32; 5], into: &mut Packet) -> bool {
        let first = u32::from_be(words[0]);
        let (version, words_long) = (first >> 28, first >> 24 & 0xf);
        let second = u32::from_be(words[1]);
        let third = u32::from_be(words[2]);
        let (more, offset) = (second & 0x2000 != 0, second & 0x1fff);
        into.first = words[0];
        into.tuple.source = mapped(words[3]);
        into.tuple.destination = mapped(words[4]);
        into.behind = IP + words_long * 4;
        into.length = first & 0xffff;
        into.id = second >> 16;
        into.tuple.protocol = (third >> 16 & 0xff) as u8;
        into.ttl = (third >> 24) as u8;
        into.part = part(offset != 0, more);
        // One that will be cut into segments may be longer than its header can tell, and then tells 0 (BIG TCP).
        version == 4 && words_long >= 5 && (into.length == 0 || into.length >= words_long * 4)
    }

    /// Of an IPv6 header. False: it is none. [`Packet::extension`] goes on from there.
    #[inline(always)]
    pub fn read_v6(words: &[u32; 10], into: &mut Packet) -> bool {
        let second = u32::from_be(words[1]);
        into.first = words[0];
        into.tuple.source = [words[2], words[3], words[4], words[5]];
        into.tuple.destination = [words[6], words[7], words[8], words[9]];
        into.behind = IP + 40;
        into.length = 40 + (second >> 16);
        into.id = 0;
        into.tuple.protocol = (second >> 8 & 0xff) as u8;
        into.ttl = (second & 0xff) as u8;
        into.part = Part::Whole;
        // An IPv4 address in the form of IPv6 would be taken for one of IPv4.
        u32::from_be(words[0]) >> 28 == 6 && !is_v4(&into.tuple.source) && !is_v4(&into.tuple.destination)
    }

    /// Whether an extension header follows, which is to be read.
    #[inline(always)]
    pub fn has_extension(&self) -> bool {
        let is = matches!(self.tuple.protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION);
        is && !is_v4(&self.tuple.source) && !matches!(self.part, Part::Later)
    }

    /// Goes behind an extension header, of which these are the first 8 bytes.
    #[inline(always)]
    pub fn extension(&mut self, words: &[u32; 2]) {
        let first = u32::from_be(words[0]);
        if self.tuple.protocol == FRAGMENT {
            self.part = part(first & 0xfff8 != 0, first & 1 != 0);
            self.id = words[1];
            self.behind += 8;
        } else {
            self.behind += ((first >> 16 & 0xff) + 1) * 8;
        }
        self.tuple.protocol = (first >> 24) as u8;
    }

    /// Whether [`Packet::transport`] is to be told the first 8 bytes behind the IP headers, which are always there. Other
    /// protocols may have less, and nothing is read of them.
    #[inline(always)]
    pub fn has_transport(&self) -> bool {
        matches!(self.tuple.protocol, TCP | UDP | SCTP | ICMP | ICMPV6)
    }

    /// Reads what tells flows apart, of the first 8 bytes behind the IP headers. Not of a later fragment.
    #[inline(always)]
    pub fn transport(&mut self, halves: &[u16; 4]) {
        let kind = halves[0].to_ne_bytes()[0];
        match self.tuple.protocol {
            TCP | UDP | SCTP => {
                self.tuple.source_port = halves[0];
                self.tuple.destination_port = halves[1];
                // How SCTP's sum changes with a port depends on how long it is, which a fragment doesn't tell.
                let is_long = self.tuple.protocol == SCTP && !matches!(self.part, Part::Whole);
                self.kind = if is_long { Behind::Fixed } else { Behind::Ports };
            }
            ICMP => {
                self.kind = match kind {
                    8 => Behind::Asks,
                    0 => Behind::Answers,
                    3 | 11 | 12 => Behind::Error,
                    _ => Behind::Fixed,
                }
            }
            ICMPV6 => {
                self.kind = match kind {
                    128 => Behind::Asks,
                    129 => Behind::Answers,
                    1..=4 => Behind::Error,
                    _ => Behind::Fixed,
                }
            }
            DCCP | UDPLITE => self.kind = Behind::Sealed,
            _ => self.kind = Behind::Fixed,
        }
        match self.kind {
            Behind::Asks => self.tuple.source_port = halves[2],
            Behind::Answers => self.tuple.destination_port = halves[2],
            _ => {}
        }
    }

    /// Whether a flow of such packets can get another port.
    #[inline(always)]
    pub fn has_ports(&self) -> bool {
        matches!(self.kind, Behind::Ports | Behind::Asks | Behind::Answers)
    }

    /// Whether it can become a packet of this tuple. Pieces of TCP and UDP can, since a difference is all that their sums need.
    #[inline(always)]
    pub fn can_become(&self, to: &Tuple) -> bool {
        let has_same = self.tuple.source_port == to.source_port && self.tuple.destination_port == to.destination_port;
        has_same || self.tuple.protocol != SCTP || matches!(self.part, Part::Whole)
    }

    /// Whether it is IPv4.
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        is_v4(&self.tuple.source)
    }
}

#[inline(always)]
fn part(is_later: bool, has_more: bool) -> Part {
    if is_later {
        Part::Later
    } else if has_more {
        Part::First
    } else {
        Part::Whole
    }
}

/// Whether a pod's packet to this address is the node's to answer or to drop: as [`stays_on_link`], but link-local IPv4
/// addresses beside the gateway's (169.254.1.1) are places beyond the node as well. Clouds have their metadata and their
/// resolvers there.
#[inline(always)]
pub fn stays_on_node(address: &Address) -> bool {
    let is_link_local = is_v4(address) && u32::from_be(address[3]) >> 16 == 0xa9fe;
    stays_on_link(address) && !(is_link_local && u32::from_be(address[3]) != 0xa9fe_0101)
}

/// Whether an address is no single host's beyond the link: multicast, broadcast, link-local, loopback, unspecified.
/// The network stack deals with those.
#[inline(always)]
pub fn stays_on_link(address: &Address) -> bool {
    let first = u32::from_be(address[0]);
    if is_v4(address) {
        let v4 = u32::from_be(address[3]);
        v4 >> 28 >= 0xe || v4 >> 24 == 127 || v4 >> 24 == 0 || v4 >> 16 == 0xa9fe
    } else {
        let short = address[0] == 0 && address[1] == 0 && address[2] == 0 && u32::from_be(address[3]) <= 1;
        first >> 24 == 0xff || first >> 22 == 0xfe80 >> 6 || short
    }
}

#[cfg(test)]
mod tests;
