//! Where a packet goes from here: to a pod of this node, or to where the node's routes lead. It passes a router, so its TTL is
//! one less. What a router answers instead of passing it on ("too big", "time exceeded", "unreachable") the network stack
//! answers: such a packet
//! is left to it as it is.

use aya_ebpf::{
    bindings::{bpf_fib_lookup as FibLookup, bpf_redir_neigh as NextHop},
    helpers::{bpf_fib_lookup, bpf_redirect, bpf_redirect_neigh, bpf_redirect_peer},
    programs::TcContext,
};
use bowline_ebpf::packet::header::{Packet, Part};
use bowline_ebpf::packet::layout::{HAS_QUEUE, Local, Tuple};
use bowline_ebpf::packet::verdict::PacketVerdict;

use crate::maps::count;
use crate::{skb, write};

/// TCX_NEXT, TC_ACT_UNSPEC: the next program, and then the network stack. Never 0, which ends the others' programs.
pub const NEXT: i32 = -1;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// BPF_FIB_LKUP_RET_SUCCESS: the neighbour is known.
const FOUND: i64 = 0;
/// BPF_FIB_LKUP_RET_NO_NEIGH: it is not yet.
const NO_NEIGHBOUR: i64 = 7;

#[inline(always)]
fn leave() -> i32 {
    count(PacketVerdict::ToNode);
    NEXT
}

/// To a pod of this node: into the pod's end of its wire at once, or through the queue that is at the node's end. With `to` it
/// becomes one of that tuple. Called where packets come in, since only from there the kernel takes them to the other end.
#[inline(never)]
pub fn to_pod(ctx: &TcContext, packet: &mut Packet, local: &Local, to: Option<&Tuple>) -> i32 {
    let length = skb::length_on_wire(ctx, packet);
    if packet.ttl <= 1 || length > u32::from(local.mtu) || length == 0 && !skb::fits(ctx, local.index) {
        return leave();
    }
    if !is_translated(ctx, packet, to)
        || !write::pass_router(ctx, packet)
        || !write::set_macs(ctx, &local.mac, &local.host_mac)
    {
        count(PacketVerdict::Malformed);
        return crate::SHOT;
    }
    count(PacketVerdict::ToPod);
    // SAFETY: helpers without pointers.
    unsafe {
        if local.flags & HAS_QUEUE == 0 {
            bpf_redirect_peer(local.index, 0) as i32
        } else {
            bpf_redirect(local.index, 0) as i32
        }
    }
}

#[inline(always)]
fn is_translated(ctx: &TcContext, packet: &mut Packet, to: Option<&Tuple>) -> bool {
    match to {
        Some(to) => write::translate(ctx, packet, to),
        None => true,
    }
}

/// To where the node's routes lead. With `to` it becomes one of that tuple, and the route is for that.
#[inline(never)]
pub fn to_route(ctx: &TcContext, packet: &mut Packet, to: Option<&Tuple>) -> i32 {
    if packet.ttl <= 1 {
        return leave();
    }
    let (source, destination) = match to {
        Some(to) => (to.source, to.destination),
        None => (packet.tuple.source, packet.tuple.destination),
    };
    // SAFETY: all bytes zero are a value of it; what the kernel reads of it is set.
    let mut way: FibLookup = unsafe { core::mem::zeroed() };
    way.l4_protocol = packet.tuple.protocol;
    if let Some(to) = to {
        way.sport = to.source_port;
        way.dport = to.destination_port;
    } else if !matches!(packet.part, Part::Later)
        && let Ok([source, destination]) = ctx.load::<[u16; 2]>(packet.behind as usize)
    {
        way.sport = source;
        way.dport = destination;
    }
    way.ifindex = skb::device(ctx);
    let length = skb::length_on_wire(ctx, packet);
    way.__bindgen_anon_1.tot_len = length as u16;
    if packet.is_v4() {
        way.family = AF_INET;
        way.__bindgen_anon_2.tos = (u32::from_be(packet.first) >> 16) as u8;
        way.__bindgen_anon_3.ipv4_src = source[3];
        way.__bindgen_anon_4.ipv4_dst = destination[3];
    } else {
        way.family = AF_INET6;
        way.__bindgen_anon_2.flowinfo = packet.first & 0x0fff_ffff_u32.to_be();
        way.__bindgen_anon_3.ipv6_src = source;
        way.__bindgen_anon_4.ipv6_dst = destination;
    }
    // SAFETY: `way` is valid for reading and writing, and as long as said.
    let found = unsafe { bpf_fib_lookup(skb::pointer(ctx), &raw mut way, size_of::<FibLookup>() as i32, 0) } as i64;
    let is_known = found == FOUND || found == NO_NEIGHBOUR;
    if !is_known || length == 0 && !skb::fits(ctx, way.ifindex) {
        return leave();
    }
    if !is_translated(ctx, packet, to) || !write::pass_router(ctx, packet) {
        count(PacketVerdict::Malformed);
        return crate::SHOT;
    }
    count(PacketVerdict::ToLink);
    // Also where the lookup has found the neighbour's address: sent by the neighbour's entry the kernel notices when that is
    // out of date, and asks anew.
    // SAFETY: all bytes zero are a value of it; the kernel has written the next hop where the destination was.
    unsafe {
        let mut next: NextHop = core::mem::zeroed();
        next.nh_family = u32::from(way.family);
        next.__bindgen_anon_1.ipv6_nh = way.__bindgen_anon_4.ipv6_dst;
        bpf_redirect_neigh(way.ifindex, &raw mut next, size_of::<NextHop>() as i32, 0) as i32
    }
}
