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
//! flows       which flow a packet is of; new ones
//! deliver     to a pod of this node, or where the routes lead
//! ```
//!
//! What is decided here never meets netfilter: it goes from device to device. What the programs have no answer to, they leave
//! to the node's network stack: TCX_NEXT, as if there were none of them.
#![no_std]
#![no_main]

mod deliver;
mod flows;
mod maps;
mod skb;
mod write;

use aya_ebpf::{macros::classifier, programs::TcContext};
use bowline_ebpf::packet::flow::{Made, REPLY, SYN, may_begin, sent_as};
use bowline_ebpf::packet::header::{Behind, ETH_ARP, ETH_IPV4, ETH_IPV6, Ethernet, Packet, TCP, stays_on_link};
use bowline_ebpf::packet::layout::{Address, Link, Tuple, is_v4, mapped};
use bowline_ebpf::packet::source::{self, Source};
use bowline_ebpf::packet::verdict::PacketVerdict;
use deliver::{NEXT, to_pod, to_route};
use maps::count;

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
    let mut packet = Packet::default();
    if ethernet.kind == ETH_ARP {
        let Ok(arp) = ctx.load::<[u16; 9]>(14) else { return drop(PacketVerdict::Malformed) };
        let is_wrong = source::of_arp(veth, &ethernet, &arp) as u8 == Source::Wrong as u8;
        return if is_wrong { drop(PacketVerdict::Spoofed) } else { to_node() };
    } else if ethernet.kind != ETH_IPV4 && ethernet.kind != ETH_IPV6 {
        return drop(PacketVerdict::NotIp);
    }
    if !skb::read(&ctx, ethernet.kind, &mut packet) {
        return drop(PacketVerdict::Malformed);
    }
    match source::of_packet(veth, &ethernet, &packet) {
        Source::Own => {}
        Source::Link => return to_node(),
        Source::Wrong => return drop(PacketVerdict::Spoofed),
    }
    if stays_on_link(&packet.tuple.destination) {
        return to_node();
    }
    match maps::local(&packet.tuple.destination) {
        Some(local) if local.index == 0 => to_node(),
        Some(local) => to_pod(&ctx, &packet, local),
        None => to_route(&ctx, &packet),
    }
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
    let mut packet = Packet::default();
    // What is not for this node in the first place is none of its business.
    if skb::is_others(&ctx) || !read(&ctx, &mut packet) {
        return NEXT;
    }
    let Some(local) = maps::local(&packet.tuple.destination) else { return NEXT };
    if local.index == 0 {
        return for_node(&ctx, &mut packet);
    }
    if !maps::is_inside(&packet.tuple.source)
        && let Some(link) = maps::link(skb::device(&ctx))
        && outside_address(link, &packet.tuple.source).is_some()
    {
        let verdict = note_direct(&ctx, &mut packet);
        if verdict.drops() {
            return drop(verdict);
        }
    }
    to_pod(&ctx, &packet, local)
}

/// What comes for the node itself: perhaps it is an answer to what a pod has sent under its address.
#[inline(always)]
fn for_node(ctx: &TcContext, packet: &mut Packet) -> i32 {
    if !skb::read_transport(ctx, packet) {
        return NEXT;
    }
    let mut to = Tuple::default();
    if !flows::find(packet, &mut to) {
        return NEXT;
    }
    if !write::translate(ctx, packet, &to) {
        return drop(PacketVerdict::Malformed);
    }
    match maps::local(&packet.tuple.destination) {
        Some(local) if local.index != 0 => to_pod(ctx, packet, local),
        _ => NEXT,
    }
}

/// What comes from the world to a pod's own address is remembered, so that its answers are told from what the pod begins.
#[inline(always)]
fn note_direct(ctx: &TcContext, packet: &mut Packet) -> PacketVerdict {
    let mut to = Tuple::default();
    if !skb::read_transport(ctx, packet) || !may_begin(packet) || flows::find(packet, &mut to) {
        return PacketVerdict::ToPod;
    }
    if let Behind::Lost = packet.kind {
        return PacketVerdict::FragmentLost;
    }
    let to = packet.tuple;
    match flows::open(packet, &to, Made::Direct) {
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
    let mut packet = Packet::default();
    let Some(link) = maps::link(skb::device(&ctx)) else { return NEXT };
    if !read(&ctx, &mut packet) || stays_on_link(&packet.tuple.destination) {
        return NEXT;
    }
    let Some(local) = maps::local(&packet.tuple.source) else { return NEXT };
    let is_pod = local.index != 0;
    if !skb::read_transport(&ctx, &mut packet) {
        return if is_pod { drop(PacketVerdict::Malformed) } else { NEXT };
    }
    let mut to = Tuple::default();
    if !flows::find(&packet, &mut to) {
        let Some(address) = outside_address(link, &packet.tuple.source) else { return NEXT };
        let made = if is_pod {
            if maps::is_inside(&packet.tuple.destination) || !may_begin(&packet) {
                return NEXT;
            }
            Made::Masquerade
        } else {
            if !is_in_the_way(&packet) {
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
        to = sent_as(&packet.tuple, &source, packet.tuple.source_port);
        let verdict = flows::begin(&ctx, &packet, &mut to, made);
        if verdict.drops() {
            return drop(verdict);
        }
        count(verdict);
    }
    if write::translate(&ctx, &mut packet, &to) { NEXT } else { drop(PacketVerdict::Malformed) }
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
