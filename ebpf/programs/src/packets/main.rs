//! The programs for packets of pods, at the devices of a node: tcx, or clsact before Linux 6.6.
//!
//! ```text
//! from_pod    ingress of the node's end of a pod's wire     what the pod sends
//! from_link   ingress of a link of the node                 what comes for pods
//!
//! maps        the maps, and the counts
//! skb         a packet's bytes, read and written
//! deliver     to a pod of this node, or where the routes lead
//! ```
//!
//! What is decided here never meets netfilter: it goes from device to device. What the programs have no answer to, they leave
//! to the node's network stack: TCX_NEXT, as if there were none of them.
#![no_std]
#![no_main]

mod deliver;
mod maps;
mod skb;

use aya_ebpf::{macros::classifier, programs::TcContext};
use bowline_ebpf::packet::header::{ETH_ARP, ETH_IPV4, ETH_IPV6, Ethernet, Packet, stays_on_link};
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
    if stays_on_link(&packet.destination) {
        return to_node();
    }
    match maps::local(&packet.destination) {
        Some(local) if local.index == 0 => to_node(),
        Some(local) => to_pod(&ctx, &packet, local),
        None => to_route(&ctx, &packet),
    }
}

#[classifier]
fn from_link(ctx: TcContext) -> i32 {
    let Ok(ethernet) = ctx.load::<Ethernet>(0) else { return NEXT };
    let mut packet = Packet::default();
    // What is not for this node in the first place is none of its business.
    if skb::is_others(&ctx)
        || ethernet.kind != ETH_IPV4 && ethernet.kind != ETH_IPV6
        || !skb::read(&ctx, ethernet.kind, &mut packet)
    {
        return NEXT;
    }
    match maps::local(&packet.destination) {
        Some(local) if local.index != 0 => to_pod(&ctx, &packet, local),
        _ => NEXT,
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
