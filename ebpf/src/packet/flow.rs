//! Flows: who is translated how, and for how long that is remembered. The times are those of Linux' connection tracking
//! (net/netfilter/nf_conntrack_proto_*.c).

use super::header::{Behind, ICMP, ICMPV6, Packet, SCTP, TCP, UDP};
use super::layout::{Address, Tuple};

/// What made a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Made {
    /// A pod's that leaves the cluster under the node's address.
    Masquerade = 1,
    /// The node's own, which got another port, since a pod's flow has its own.
    Moved = 2,
    /// From the world to a pod's own address, or the node's own of SCTP, so that its port is known to be taken; nothing is
    /// changed.
    Direct = 3,
    /// To a pod by a port of the node.
    HostPort = 4,
}

/// Bit of [`Flow::made`](super::layout::Flow): it is the way back.
pub const REPLY: u32 = 1 << 8;
/// Bit of [`Flow::flags`](super::layout::Flow): something came in this direction. Of the way back only.
pub const ANSWERED: u32 = 1 << 8;
/// Bit of [`Flow::flags`](super::layout::Flow): something came in this direction when the flow was two seconds old, or later.
pub const LASTS: u32 = 1 << 9;

/// Flags of TCP, as they are in its header.
pub const FIN: u32 = 0x01;
/// It begins.
pub const SYN: u32 = 0x02;
/// It is broken off.
pub const RST: u32 = 0x04;
/// It has what the other has sent.
pub const ACK: u32 = 0x10;

const SECOND: u64 = 1_000_000_000;

/// So many ports are tried for a new flow.
pub const TRIES: u32 = 32;

/// The port, in network order, that is tried for a flow at its nth try: its own, then any of the upper half.
#[inline(always)]
pub fn candidate(turn: u32, own: u16, random: u32) -> u16 {
    if turn == 0 { own } else { (0x8000 | (random & 0x7fff) as u16).to_be() }
}

/// A flow's tuple once its source is another's.
#[inline(always)]
pub fn sent_as(tuple: &Tuple, source: &Address, port: u16) -> Tuple {
    Tuple { source: *source, source_port: port, ..*tuple }
}

/// The flags of a direction after a packet, which came when its `seen` [was stale](is_stale), or not.
#[inline(always)]
pub fn flags_after(flags: u32, packet: &Packet, is_reply: bool, is_stale: bool) -> u32 {
    let tcp = u32::from(packet.tcp) & (FIN | SYN | RST | ACK);
    // A connection that begins anew is told by its SYN.
    let before = if tcp & SYN != 0 { 0 } else { flags };
    before | tcp | if is_reply { ANSWERED } else { 0 } | if is_stale { LASTS } else { 0 }
}

/// Whether a direction's `seen` is to be written now: every two seconds, so that CPUs don't fight for it. A new flow's says when
/// it was made, so the first time tells that it lasts.
#[inline(always)]
pub fn is_stale(seen: u64, now: u64) -> bool {
    now.wrapping_sub(seen) > 2 * SECOND
}

/// Whether a pod's packet without a flow may begin one that is masqueraded: an answer belongs to what came to the pod.
#[inline(always)]
pub fn may_begin(packet: &Packet) -> bool {
    !matches!(packet.kind, Behind::Answers | Behind::Error)
}

/// Whether a packet without a flow may begin one to a port of the node. A connection that the node itself has had at this port
/// goes on with the node.
#[inline(always)]
pub fn may_enter(packet: &Packet) -> bool {
    match packet.tuple.protocol {
        TCP => u32::from(packet.tcp) & (SYN | ACK) == SYN,
        UDP => matches!(packet.kind, Behind::Ports),
        SCTP => matches!(packet.kind, Behind::Ports | Behind::Fixed),
        _ => false,
    }
}

/// Nanoseconds after the last packet in either direction that a flow is remembered; `there` and `back` are the flags of its
/// directions.
pub fn timeout(protocol: u8, there: u32, back: u32) -> u64 {
    let is_answered = back & ANSWERED != 0;
    let seconds = match protocol {
        TCP if (there | back) & RST != 0 => 10,
        TCP if (there | back) & FIN != 0 => 120,
        TCP if is_answered && there & ACK != 0 => 5 * 24 * 3600,
        TCP => 120,
        SCTP if is_answered => 210,
        // One question and its answer (DNS) are over; what lasts is a stream.
        UDP if is_answered && (there | back) & LASTS != 0 => 120,
        SCTP | UDP | ICMP | ICMPV6 => 30,
        _ => 600,
    };
    seconds * SECOND
}

/// Nothing is forgotten sooner than so many nanoseconds after its last packet.
pub const SHORTEST: u64 = 10 * SECOND;

#[cfg(test)]
mod tests;
