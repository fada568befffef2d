//! A packet's bytes, written by the kernel's helpers, which take care of packets in pieces, of copies, and of sums: those in
//! the headers, those that the device will still have to make, and the one that it has made over the whole packet.

use aya_ebpf::{
    bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM},
    helpers::{bpf_csum_diff, bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_skb_store_bytes},
    programs::TcContext,
};
use bowline_ebpf::packet::header::{Behind, ICMPV6, IP, Packet, Part, SCTP, TCP, UDP};
use bowline_ebpf::packet::layout::{Address, Mac, Tuple, same};
use bowline_ebpf::packet::sctp::sum_after;

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
        let word = |ttl: u8| u64::from(u16::from_be_bytes([ttl, packet.tuple.protocol]).to_be());
        replace_in_ip(ctx, IP, word(packet.ttl), word(ttl), 2) && store(ctx, IP + 8, &ttl, 0)
    } else {
        // Nothing in an IPv6 packet sums the hop limit, so the packet's own sum changes.
        store(ctx, IP + 7, &ttl, BPF_F_RECOMPUTE_CSUM)
    }
}

/// Says in an IPv4 header's sum that `size` bytes changed. The sum of a whole IPv4 header never changes.
#[inline(always)]
fn replace_in_ip(ctx: &TcContext, ip: u32, from: u64, to: u64, size: u64) -> bool {
    // SAFETY: the helper takes the program's own context.
    unsafe { bpf_l3_csum_replace(ctx.skb.skb, ip + 10, from, to, size) == 0 }
}

/// Where the sum of what is behind IP is, with flags of how it is changed; 0: it has none, or it is in another fragment.
#[inline(always)]
fn sum(packet: &Packet) -> (u32, u64) {
    if let Part::Later = packet.part {
        return (0, 0);
    }
    match packet.tuple.protocol {
        TCP => (packet.behind + 16, 0),
        // No sum is told by zero, and a sum of zero by its complement.
        UDP => (packet.behind + 6, u64::from(BPF_F_MARK_MANGLED_0)),
        ICMPV6 => (packet.behind + 2, 0),
        _ => (0, 0),
    }
}

/// Exchanges an address, which is at `at`, in the header and in the sums.
#[inline(always)]
fn set_address(ctx: &TcContext, packet: &Packet, at: u32, from: &Address, to: &Address) -> bool {
    let (sum, flags) = sum(packet);
    let flags = flags | u64::from(BPF_F_PSEUDO_HDR);
    if packet.is_v4() {
        let (from, to) = (from[3], to[3]);
        // SAFETY: the helper takes the program's own context.
        let is_summed = sum == 0
            || unsafe { bpf_l4_csum_replace(ctx.skb.skb, sum, u64::from(from), u64::from(to), flags | 4) == 0 };
        is_summed && replace_in_ip(ctx, IP, u64::from(from), u64::from(to), 4) && store(ctx, at, &to, 0)
    } else {
        // SAFETY: both are 16 bytes; the helper takes the program's own context.
        let is_summed = sum == 0
            || unsafe {
                let (from, to) = ((&raw const *from).cast_mut().cast(), (&raw const *to).cast_mut().cast());
                let difference = bpf_csum_diff(from, 16, to, 16, 0);
                bpf_l4_csum_replace(ctx.skb.skb, sum, 0, difference as u64, flags) == 0
            };
        // BPF_F_PSEUDO_HDR takes the sum's change from the packet's own sum; this adds the address's. So both are right on
        // kernels without BPF_F_IPV6, too.
        is_summed && store(ctx, at, to, BPF_F_RECOMPUTE_CSUM)
    }
}

/// Exchanges a port or an identifier, which is at `at`.
#[inline(always)]
fn set_port(ctx: &TcContext, sum: u32, flags: u64, at: u32, from: u16, to: u16) -> bool {
    // SAFETY: the helper takes the program's own context.
    let summed = unsafe { bpf_l4_csum_replace(ctx.skb.skb, sum, u64::from(from), u64::from(to), flags | 2) };
    summed == 0 && store(ctx, at, &to, 0)
}

/// Exchanges the ports of SCTP, whose sum is another's than IP's: so the packet's own sum takes up both.
#[inline(never)]
fn set_sctp_ports(ctx: &TcContext, packet: &Packet, to: &Tuple) -> bool {
    let at = packet.behind;
    // Ports, a tag, the sum.
    let Ok([from, _, sum]) = ctx.load::<[u32; 3]>(at as usize) else { return false };
    let ([a, b], [c, d]) = (to.source_port.to_ne_bytes(), to.destination_port.to_ne_bytes());
    let ports = u32::from_ne_bytes([a, b, c, d]);
    let sum = sum_after(sum, from, ports, (packet.length + IP).wrapping_sub(at));
    store(ctx, at, &ports, BPF_F_RECOMPUTE_CSUM) && store(ctx, at + 8, &sum, BPF_F_RECOMPUTE_CSUM)
}

/// Makes a packet one of another tuple. False: it isn't whole.
#[inline(never)]
pub fn translate(ctx: &TcContext, packet: &mut Packet, to: &Tuple) -> bool {
    let from = packet.tuple;
    let (source, destination) = if packet.is_v4() { (IP + 12, IP + 16) } else { (IP + 8, IP + 24) };
    if !same(&from.source, &to.source) && !set_address(ctx, packet, source, &from.source, &to.source) {
        return false;
    }
    if !same(&from.destination, &to.destination)
        && !set_address(ctx, packet, destination, &from.destination, &to.destination)
    {
        return false;
    }
    let at = packet.behind;
    if from.protocol == SCTP {
        let is_same = from.source_port == to.source_port && from.destination_port == to.destination_port;
        let is_set = is_same || set_sctp_ports(ctx, packet, to);
        packet.tuple = *to;
        return is_set;
    }
    let (sum, flags) = match packet.kind {
        Behind::Ports => sum(packet),
        Behind::Asks | Behind::Answers => (at + 2, 0),
        _ => (0, 0),
    };
    let is_echo = matches!(packet.kind, Behind::Asks | Behind::Answers);
    if sum != 0 {
        if from.source_port != to.source_port {
            let at = if is_echo { at + 4 } else { at };
            if !set_port(ctx, sum, flags, at, from.source_port, to.source_port) {
                return false;
            }
        }
        if from.destination_port != to.destination_port {
            let at = if is_echo { at + 4 } else { at + 2 };
            if !set_port(ctx, sum, flags, at, from.destination_port, to.destination_port) {
                return false;
            }
        }
    }
    packet.tuple = *to;
    true
}

/// Makes the packet that an ICMP error is about one of another tuple. It begins at `at`, and the error's own sum is over all of
/// it; the sum behind its IP header is nobody's concern. False: it isn't whole.
#[inline(never)]
pub fn inner(ctx: &TcContext, error: &Packet, inner: &Packet, at: u32, to: &Tuple) -> bool {
    let from = &inner.tuple;
    let sum = error.behind + 2;
    let (source, destination) = if inner.is_v4() { (at + 12, at + 16) } else { (at + 8, at + 24) };
    if !same(&from.source, &to.source) && !set_inner_address(ctx, inner, sum, at, source, &from.source, &to.source) {
        return false;
    }
    if !same(&from.destination, &to.destination)
        && !set_inner_address(ctx, inner, sum, at, destination, &from.destination, &to.destination)
    {
        return false;
    }
    if !inner.has_ports() {
        return true;
    }
    let is_echo = matches!(inner.kind, Behind::Asks | Behind::Answers);
    let (source, destination) = if is_echo { (4, 4) } else { (0, 2) };
    (from.source_port == to.source_port
        || set_port(ctx, sum, 0, inner.behind + source, from.source_port, to.source_port))
        && (from.destination_port == to.destination_port
            || set_port(ctx, sum, 0, inner.behind + destination, from.destination_port, to.destination_port))
}

#[inline(always)]
fn set_inner_address(
    ctx: &TcContext,
    inner: &Packet,
    sum: u32,
    ip: u32,
    at: u32,
    from: &Address,
    to: &Address,
) -> bool {
    if inner.is_v4() {
        let (from, to) = (from[3], to[3]);
        // The header's sum takes up what the address adds, so the error's stays.
        replace_in_ip(ctx, ip, u64::from(from), u64::from(to), 4) && store(ctx, at, &to, 0)
    } else {
        // SAFETY: both are 16 bytes; the helper takes the program's own context.
        let summed = unsafe {
            let (from, to) = ((&raw const *from).cast_mut().cast(), (&raw const *to).cast_mut().cast());
            let difference = bpf_csum_diff(from, 16, to, 16, 0);
            bpf_l4_csum_replace(ctx.skb.skb, sum, 0, difference as u64, 0)
        };
        summed == 0 && store(ctx, at, to, 0)
    }
}
