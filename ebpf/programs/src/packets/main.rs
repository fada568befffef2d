//! The programs for packets of pods, at the devices of a node: tcx, or clsact before Linux 6.6.
//!
//! ```text
//! from_pod    ingress of the node's end of a pod's wire     what the pod sends
//! from_link   ingress of a link of the node                 what comes for pods
//! to_link     egress of a link to the world                 what leaves: pods' packets get the node's address
//!
//! maps        the maps, and the counts
//! skb         a packet's bytes, read
//! write       and written
//! errors      what others tell of a packet that was translated
//! flows       which flow a packet is of; new ones
//! deliver     to a pod of this node, or where the routes lead
//! ```
//!
//! What is decided here never meets netfilter: it goes from device to device. What the programs have no answer to, they leave
//! to the node's network stack: TCX_NEXT, as if there were none of them.
#![no_std]
#![no_main]
#![allow(
    clippy::needless_borrows_for_generic_args,
    reason = "a key given by value is copied on the kernel's stack of 512 bytes"
)]

mod deliver;
mod errors;
mod flows;
mod maps;
mod skb;
mod write;

use aya_ebpf::{macros::classifier, programs::TcContext};
use bowline_ebpf::packet::flow::{Made, REPLY, SYN, may_begin, may_enter, sent_as};
use bowline_ebpf::packet::header::{
    Behind, ETH_ARP, ETH_IPV4, ETH_IPV6, Ethernet, Packet, SCTP, TCP, stays_on_link, stays_on_node,
};
use bowline_ebpf::packet::layout::{Address, HOST_PORTS, Link, Tuple, is_v4, mapped, same};
use bowline_ebpf::packet::source::{self, Source};
use bowline_ebpf::packet::verdict::PacketVerdict;
use deliver::{NEXT, to_pod, to_route};
use maps::{Work, count};

/// TC_ACT_SHOT.
const SHOT: i32 = 2;

#[inline(always)]
fn drop(verdict: PacketVerdict) -> i32 {
    count(verdict);
    SHOT
}

#[inline(always)]
fn to_node() -> i32 {
    count(PacketVerdict::ToNode);
    NEXT
}

#[classifier]
fn from_pod(ctx: TcContext) -> i32 {
    let Some(veth) = maps::veth(skb::device(&ctx)) else { return drop(PacketVerdict::UnknownPod) };
    let Ok(ethernet) = ctx.load::<Ethernet>(0) else { return drop(PacketVerdict::Malformed) };
    let Some(Work { packet, to, inner }) = maps::work() else { return drop(PacketVerdict::Malformed) };
    if ethernet.kind == ETH_ARP {
        let Ok(arp) = ctx.load::<[u16; 9]>(14) else { return drop(PacketVerdict::Malformed) };
        let is_wrong = source::of_arp(veth, &ethernet, &arp) as u8 == Source::Wrong as u8;
        return if is_wrong { drop(PacketVerdict::Spoofed) } else { to_node() };
    } else if ethernet.kind != ETH_IPV4 && ethernet.kind != ETH_IPV6 {
        return drop(PacketVerdict::NotIp);
    }
    if !skb::read(&ctx, ethernet.kind, packet) {
        return drop(PacketVerdict::Malformed);
    }
    match source::of_packet(veth, &ethernet, packet) {
        Source::Own => {}
        Source::Link => {
            let Ok(kind) = ctx.load::<u8>(packet.behind as usize) else { return drop(PacketVerdict::Malformed) };
            return if source::is_of_host(kind) { to_node() } else { drop(PacketVerdict::Spoofed) };
        }
        Source::Wrong => return drop(PacketVerdict::Spoofed),
    }
    if stays_on_node(&packet.tuple.destination) {
        return to_node();
    }
    let local = maps::local(&packet.tuple.destination);
    let is_for_node = local.is_some_and(|local| local.index == 0);
    if is_for_node || veth.flags & HOST_PORTS != 0 {
        if !skb::read_transport(&ctx, packet) {
            return drop(PacketVerdict::Malformed);
        }
        // What leaves the node is translated as it leaves.
        if matches!(packet.kind, Behind::Error) && local.is_some() {
            let local =
                if errors::translate(&ctx, packet, inner, to) { maps::local(&packet.tuple.destination) } else { local };
            return match local {
                Some(local) if local.index != 0 => to_pod(&ctx, packet, local, None),
                _ => to_node(),
            };
        }
        let verdict = find_or_enter(&ctx, packet, to, is_for_node);
        if verdict.drops() {
            return drop(verdict);
        }
        if verdict as u32 != PacketVerdict::ToNode as u32 {
            return match maps::local(&to.destination) {
                Some(local) if local.index != 0 => to_pod(&ctx, packet, local, Some(to)),
                Some(_) => to_node(),
                None => to_route(&ctx, packet, Some(to)),
            };
        }
    }
    match local {
        Some(local) if local.index == 0 => to_node(),
        Some(local) => to_pod(&ctx, packet, local, None),
        None => to_route(&ctx, packet, None),
    }
}

/// The flow of a packet, or a new one if it is for a port of the node that a pod has. Says [`PacketVerdict::ToNode`] where there
/// is none.
#[inline(always)]
fn find_or_enter(ctx: &TcContext, packet: &Packet, to: &mut Tuple, is_for_node: bool) -> PacketVerdict {
    let made = flows::find(packet, to);
    if made & !REPLY == Made::HostPort as u32 || made != 0 && is_for_node {
        return if packet.can_become(to) { PacketVerdict::ToPod } else { PacketVerdict::Untranslatable };
    }
    if made != 0 {
        // It is masqueraded as it leaves.
        return PacketVerdict::ToNode;
    }
    if !is_for_node || !may_enter(packet) {
        return PacketVerdict::ToNode;
    }
    let Some(target) = maps::host_port(&packet.tuple) else { return PacketVerdict::ToNode };
    *to = packet.tuple;
    to.destination = target.address;
    to.destination_port = target.port;
    if !packet.can_become(to) {
        return PacketVerdict::Untranslatable;
    }
    // A pod that asks itself must not be answered by itself: the answer would never leave it.
    let is_itself = same(&to.source, &to.destination);
    if is_itself {
        to.source = packet.tuple.destination;
    }
    let verdict = flows::begin(ctx, packet, to, Made::HostPort, is_itself);
    if !verdict.drops() {
        count(verdict);
    }
    verdict
}

/// Reads a packet that isn't a pod's. False: it is none that is of any business here.
#[inline(always)]
fn read(ctx: &TcContext, packet: &mut Packet) -> bool {
    let Ok(ethernet) = ctx.load::<Ethernet>(0) else { return false };
    (ethernet.kind == ETH_IPV4 || ethernet.kind == ETH_IPV6) && skb::read(ctx, ethernet.kind, packet)
}

/// The address that pods' packets of this family get at a link; None: they keep their own.
#[inline(always)]
fn outside_address(link: &Link, like: &Address) -> Option<Address> {
    if is_v4(like) {
        if link.v4 == 0 { None } else { Some(mapped(link.v4)) }
    } else if link.v6[0] == 0 {
        None
    } else {
        Some(link.v6)
    }
}

#[classifier]
fn from_link(ctx: TcContext) -> i32 {
    let Some(Work { packet, to, inner }) = maps::work() else { return NEXT };
    // What is not for this node in the first place is none of its business.
    if skb::is_others(&ctx) || !read(&ctx, packet) {
        return NEXT;
    }
    let Some(local) = maps::local(&packet.tuple.destination) else { return NEXT };
    if local.index == 0 {
        return for_node(&ctx, packet, inner, to);
    }
    // Nobody out there has an address of this node or of its pods, nor one of another link: whether such a packet is let in is
    // for the network stack to say, by its filter of sources (rp_filter).
    if stays_on_link(&packet.tuple.source) || maps::local(&packet.tuple.source).is_some() {
        return NEXT;
    }
    if !maps::is_inside(&packet.tuple.source)
        && let Some(link) = maps::link(skb::device(&ctx))
        && outside_address(link, &packet.tuple.source).is_some()
    {
        let verdict = note_direct(&ctx, packet, to);
        if verdict.drops() {
            return drop(verdict);
        }
    }
    to_pod(&ctx, packet, local, None)
}

/// What comes for the node itself: perhaps it is an answer to what a pod has sent under its address, or for a port that a pod has.
#[inline(always)]
fn for_node(ctx: &TcContext, packet: &mut Packet, inner: &mut Packet, to: &mut Tuple) -> i32 {
    if !skb::read_transport(ctx, packet) {
        return NEXT;
    }
    if matches!(packet.kind, Behind::Error) {
        if !errors::translate(ctx, packet, inner, to) {
            return NEXT;
        }
    } else {
        let verdict = find_or_enter(ctx, packet, to, true);
        if verdict.drops() {
            return drop(verdict);
        }
        if verdict as u32 == PacketVerdict::ToNode as u32 {
            return NEXT;
        }
        // What doesn't fit into the pod's wire is answered by the network stack; to the sender it must be about what it sent,
        // which `to_link` sees to.
        if !write::translate(ctx, packet, to) {
            return drop(PacketVerdict::Malformed);
        }
    }
    match maps::local(&packet.tuple.destination) {
        Some(local) if local.index != 0 => to_pod(ctx, packet, local, None),
        _ => NEXT,
    }
}

/// What comes from the world to a pod's own address is remembered, so that its answers are told from what the pod begins.
#[inline(always)]
fn note_direct(ctx: &TcContext, packet: &mut Packet, to: &mut Tuple) -> PacketVerdict {
    if !skb::read_transport(ctx, packet) || !may_begin(packet) || flows::find(packet, to) != 0 {
        return PacketVerdict::ToPod;
    }
    if let Behind::Lost = packet.kind {
        return PacketVerdict::FragmentLost;
    }
    *to = packet.tuple;
    match flows::open(packet, to, Made::Direct) {
        flows::FULL => PacketVerdict::FlowsFull,
        flows::OPENED => {
            count(PacketVerdict::Direct);
            PacketVerdict::ToPod
        }
        // Somebody has it already.
        _ => PacketVerdict::ToPod,
    }
}

#[classifier]
fn to_link(ctx: TcContext) -> i32 {
    let Some(Work { packet, to, inner }) = maps::work() else { return NEXT };
    let Some(link) = maps::link(skb::device(&ctx)) else { return NEXT };
    if !read(&ctx, packet) || stays_on_node(&packet.tuple.destination) {
        return NEXT;
    }
    let Some(local) = maps::local(&packet.tuple.source) else { return NEXT };
    let is_pod = local.index != 0;
    if !skb::read_transport(&ctx, packet) {
        return if is_pod { drop(PacketVerdict::Malformed) } else { NEXT };
    }
    if matches!(packet.kind, Behind::Error) {
        errors::translate(&ctx, packet, inner, to);
        return NEXT;
    }
    if flows::find(packet, to) == 0 {
        let Some(address) = outside_address(link, &packet.tuple.source) else { return NEXT };
        let made = if is_pod {
            if maps::is_inside(&packet.tuple.destination) || !may_begin(packet) {
                return NEXT;
            }
            Made::Masquerade
        } else {
            if !is_in_the_way(packet) {
                note_own(packet, to);
                return NEXT;
            }
            Made::Moved
        };
        match packet.kind {
            Behind::Lost if is_pod => return drop(PacketVerdict::FragmentLost),
            Behind::Sealed if is_pod => return drop(PacketVerdict::Untranslatable),
            Behind::Lost | Behind::Sealed => return NEXT,
            _ => {}
        }
        let source = if is_pod { address } else { packet.tuple.source };
        *to = sent_as(&packet.tuple, &source, packet.tuple.source_port);
        let verdict = flows::begin(&ctx, packet, to, made, true);
        if verdict.drops() {
            return drop(verdict);
        }
        count(verdict);
    }
    if !packet.can_become(to) {
        return drop(PacketVerdict::Untranslatable);
    }
    if write::translate(&ctx, packet, to) { NEXT } else { drop(PacketVerdict::Malformed) }
}

/// What the node itself sends by SCTP is remembered, so that no pod's flow gets the same port: whether a socket has it can't be
/// asked, as it can of TCP and UDP. Where there is no room, the node is not the one to suffer.
#[inline(always)]
fn note_own(packet: &Packet, to: &mut Tuple) {
    if packet.tuple.protocol == SCTP && packet.has_ports() {
        *to = packet.tuple;
        flows::open(packet, to, Made::Direct);
    }
}

/// Whether a packet of the node itself, which may be the first of its flow, would look like one of a flow of a pod's.
#[inline(always)]
fn is_in_the_way(packet: &Packet) -> bool {
    if packet.tuple.protocol == TCP && u32::from(packet.tcp) & SYN == 0 || !packet.has_ports() {
        return false;
    }
    let back = packet.tuple.reversed();
    flows::made(&back) == Made::Masquerade as u32 | REPLY
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
