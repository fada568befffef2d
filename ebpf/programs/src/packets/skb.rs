//! A packet's bytes, read by the kernel's helper, which takes care of packets in pieces.

use aya_ebpf::{
    EbpfContext, bindings::bpf_check_mtu_flags::BPF_MTU_CHK_SEGS, helpers::bpf_check_mtu, programs::TcContext,
};
use bowline_ebpf::packet::header::{Behind, ETH_IPV4, IP, MAX_EXTENSIONS, Packet, Part, TCP};
use bowline_ebpf::packet::layout::{Datagram, Ports};

use crate::maps::FRAGMENTS;

/// The device where the packet is.
#[inline(always)]
pub fn device(ctx: &TcContext) -> u32 {
    // SAFETY: the kernel hands a valid context; the verifier checks each load.
    unsafe { (&raw const (*ctx.skb.skb).ifindex).read_volatile() }
}

/// Whether the packet's Ethernet address is another host's, or a group's.
#[inline(always)]
pub fn is_others(ctx: &TcContext) -> bool {
    const PACKET_HOST: u32 = 0;
    // SAFETY: as in `device`.
    unsafe { (&raw const (*ctx.skb.skb).pkt_type).read_volatile() != PACKET_HOST }
}

/// Bytes of payload in each segment that the packet will be cut into; 0: it will not be.
#[inline(always)]
fn segment(ctx: &TcContext) -> u32 {
    // SAFETY: as in `device`.
    unsafe { (&raw const (*ctx.skb.skb).gso_size).read_volatile() }
}

/// Reads the packet's IP headers. False: they are not whole.
#[inline(always)]
pub fn read(ctx: &TcContext, kind: u16, packet: &mut Packet) -> bool {
    read_at(ctx, IP, kind == ETH_IPV4, packet)
}

/// Reads IP headers that are at `at`. False: they are not whole.
#[inline(never)]
pub fn read_at(ctx: &TcContext, at: u32, is_v4: bool, packet: &mut Packet) -> bool {
    if is_v4 {
        let is_whole = match ctx.load::<[u32; 5]>(at as usize) {
            Ok(words) => Packet::read_v4(&words, packet),
            Err(_) => false,
        };
        packet.behind += at - IP;
        is_whole
    } else {
        let is_whole = match ctx.load::<[u32; 10]>(at as usize) {
            Ok(words) => Packet::read_v6(&words, packet),
            Err(_) => false,
        };
        if !is_whole {
            return false;
        }
        packet.behind += at - IP;
        for _ in 0..MAX_EXTENSIONS {
            if !packet.has_extension() {
                break;
            }
            match ctx.load::<[u32; 2]>(packet.behind as usize) {
                Ok(words) => packet.extension(&words),
                Err(_) => return false,
            }
        }
        true
    }
}

/// Reads what tells flows apart. Of a datagram in pieces only the first has it: it is remembered for the others. False: it is
/// not whole.
#[inline(never)]
pub fn read_transport(ctx: &TcContext, packet: &mut Packet) -> bool {
    if let Part::Later = packet.part {
        let key = datagram(packet);
        match FRAGMENTS.get_ptr(&key) {
            // SAFETY: the element stays until the program has ended; it is copied at once.
            Some(ports) => unsafe {
                packet.tuple.source_port = (*ports).source;
                packet.tuple.destination_port = (*ports).destination;
                packet.kind = Behind::Fixed;
            },
            None => packet.kind = Behind::Lost,
        }
        return true;
    }
    if !read_first(ctx, packet) {
        return false;
    }
    if packet.tuple.protocol == TCP {
        let Ok(flags) = ctx.load::<u8>(packet.behind as usize + 13) else { return false };
        packet.tcp = flags;
    }
    if let Part::First = packet.part {
        let ports = Ports { source: packet.tuple.source_port, destination: packet.tuple.destination_port };
        let _ = FRAGMENTS.insert(&datagram(packet), &ports, 0);
    }
    true
}

/// Reads what the first bytes behind the IP headers say of flows. False: they are not there.
#[inline(always)]
pub fn read_first(ctx: &TcContext, packet: &mut Packet) -> bool {
    if packet.has_transport() {
        let Ok(halves) = ctx.load::<[u16; 4]>(packet.behind as usize) else { return false };
        packet.transport(&halves);
    } else {
        packet.transport(&[0; 4]);
    }
    true
}

#[inline(always)]
fn datagram(packet: &Packet) -> Datagram {
    let (source, destination) = (packet.tuple.source, packet.tuple.destination);
    Datagram { source, destination, id: packet.id, protocol: packet.tuple.protocol, pad: [0; 3] }
}

/// How long the packet is on the wire, or each of the segments that it will be cut into; from the IP header on. 0: it is cut
/// already, as SCTP's are ([`fits`]).
#[inline(always)]
pub fn length_on_wire(ctx: &TcContext, packet: &Packet) -> u32 {
    /// GSO_BY_FRAGS.
    const CUT: u32 = 0xffff;
    let segment = segment(ctx);
    if segment == 0 {
        return packet.length;
    }
    if segment == CUT {
        return 0;
    }
    let header = if packet.tuple.protocol == TCP {
        ctx.load::<u8>(packet.behind as usize + 12).map_or(20, |offset| u32::from(offset >> 4) * 4)
    } else {
        8
    };
    packet.behind - IP + header + segment
}

/// Whether the segments that a packet is cut into are such as a device takes.
#[inline(always)]
pub fn fits(ctx: &TcContext, device: u32) -> bool {
    let mut mtu = 0;
    // SAFETY: the number is valid for reading and writing.
    unsafe { bpf_check_mtu(pointer(ctx), device, &raw mut mtu, 0, u64::from(BPF_MTU_CHK_SEGS)) == 0 }
}

/// The context as helpers want it.
#[inline(always)]
pub fn pointer(ctx: &TcContext) -> *mut core::ffi::c_void {
    ctx.as_ptr()
}
