//! A packet's bytes, read and written by the kernel's helpers, which take care of packets in pieces and of copies.

use aya_ebpf::{EbpfContext, bindings::BPF_F_RECOMPUTE_CSUM, helpers::bpf_skb_store_bytes, programs::TcContext};
use bowline_ebpf::packet::header::{ETH_IPV4, IP, MAX_EXTENSIONS, Packet, TCP};
use bowline_ebpf::packet::layout::Mac;

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

/// Reads the IP headers. False: they are not whole.
#[inline(always)]
pub fn read(ctx: &TcContext, kind: u16, packet: &mut Packet) -> bool {
    if kind == ETH_IPV4 {
        match ctx.load::<[u32; 5]>(IP as usize) {
            Ok(words) => Packet::read_v4(&words, packet),
            Err(_) => false,
        }
    } else {
        let is_whole = match ctx.load::<[u32; 10]>(IP as usize) {
            Ok(words) => Packet::read_v6(&words, packet),
            Err(_) => false,
        };
        if !is_whole {
            return false;
        }
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

/// How long the packet is on the wire, or each of the segments that it will be cut into; from the IP header on.
#[inline(always)]
pub fn length_on_wire(ctx: &TcContext, packet: &Packet) -> u32 {
    let segment = segment(ctx);
    if segment == 0 {
        return packet.length;
    }
    let header = if packet.protocol == TCP {
        ctx.load::<u8>(packet.behind as usize + 12).map_or(20, |offset| u32::from(offset >> 4) * 4)
    } else {
        8
    };
    packet.behind - IP + header + segment
}

/// Writes bytes. False: they are not there.
#[inline(always)]
pub fn store<T>(ctx: &TcContext, at: u32, bytes: &T, flags: u32) -> bool {
    // SAFETY: `bytes` is valid for its size; the verifier checks that.
    unsafe {
        bpf_skb_store_bytes(ctx.skb.skb, at, (&raw const *bytes).cast(), size_of::<T>() as u32, u64::from(flags)) == 0
    }
}

/// Exchanges the Ethernet addresses.
#[inline(always)]
pub fn set_macs(ctx: &TcContext, destination: &Mac, source: &Mac) -> bool {
    let [a, b, c] = *destination;
    let [d, e, f] = *source;
    store(ctx, 0, &[a, b, c, d, e, f], 0)
}

/// Takes one from the TTL or hop limit, which is more than one.
#[inline(always)]
pub fn pass_router(ctx: &TcContext, packet: &Packet) -> bool {
    let ttl = packet.ttl - 1;
    if packet.is_v4() {
        let word = |ttl: u8| u64::from(u16::from_be_bytes([ttl, packet.protocol]).to_be());
        ctx.l3_csum_replace(IP as usize + 10, word(packet.ttl), word(ttl), 2).is_ok() && store(ctx, IP + 8, &ttl, 0)
    } else {
        // Nothing in an IPv6 packet sums the hop limit, so the packet's own sum changes.
        store(ctx, IP + 7, &ttl, BPF_F_RECOMPUTE_CSUM)
    }
}

/// The context as helpers want it.
#[inline(always)]
pub fn pointer(ctx: &TcContext) -> *mut core::ffi::c_void {
    ctx.as_ptr()
}
