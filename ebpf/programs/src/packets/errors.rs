//! ICMP errors about packets of flows: "too big", "unreachable", "time exceeded". What an error tells is told in the words of
//! the one that it is for, who knows nothing of how its packet was translated.

use aya_ebpf::programs::TcContext;
use bowline_ebpf::packet::header::{Behind, Packet, Part};
use bowline_ebpf::packet::layout::{Tuple, same};

use crate::{flows, skb, write};

/// Bytes of the header of an ICMP error, of both families; the packet that it is about follows.
const HEADER: u32 = 8;

/// Translates an error, if it is about a packet of a flow. False: it isn't, and is as it was.
#[inline(never)]
pub fn translate(ctx: &TcContext, packet: &mut Packet, inner: &mut Packet, to: &mut Tuple) -> bool {
    let at = packet.behind + HEADER;
    if !skb::read_at(ctx, at, packet.is_v4(), inner) || matches!(inner.part, Part::Later) {
        return false;
    }
    let Ok(halves) = ctx.load::<[u16; 4]>(inner.behind as usize) else { return false };
    inner.transport(&halves);
    // The flow is found by what an answer to that packet would be.
    let answer = inner.tuple.reversed();
    if matches!(inner.kind, Behind::Error)
        || !same(&packet.tuple.destination, &answer.destination)
        || !flows::peek(&answer, to)
    {
        return false;
    }
    let becomes = to.reversed();
    if !write::inner(ctx, packet, inner, at, &becomes) {
        return false;
    }
    // It comes from the other end, or from a router on the way, which stays.
    let is_end = same(&packet.tuple.source, &answer.source);
    to.source = if is_end { to.source } else { packet.tuple.source };
    to.source_port = 0;
    to.destination_port = 0;
    to.protocol = packet.tuple.protocol;
    write::translate(ctx, packet, to)
}
