//! Which flow a packet is of, and new flows. A flow's two ways are there both or not at all, unless a program is between the
//! one and the other.

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_NOEXIST, bpf_sock_tuple},
    helpers::{bpf_get_prandom_u32, bpf_ktime_get_ns, bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release},
    programs::TcContext,
};
use bowline_ebpf::packet::flow::{Made, REPLY, TRIES, candidate, flags_after, is_stale};
use bowline_ebpf::packet::header::{Packet, TCP, UDP};
use bowline_ebpf::packet::layout::{Flow, Tuple, is_v4};
use bowline_ebpf::packet::verdict::PacketVerdict;

use crate::maps::FLOWS;

const EEXIST: i32 = -17;

/// It is there, both ways.
pub const OPENED: u32 = 0;
/// The way back is another flow's.
pub const TAKEN: u32 = 1;
/// The map is full.
pub const FULL: u32 = 2;
/// Another CPU has just made the same flow.
pub const THERE: u32 = 3;

/// The flow of a packet: what made it, and what the packet leaves with. 0: there is none. Notes that the packet came.
#[inline(never)]
pub fn find(packet: &Packet, to: &mut Tuple) -> u32 {
    let Some(flow) = FLOWS.get_ptr_mut(&packet.tuple) else { return 0 };
    // SAFETY: the element stays until the program has ended. Each word is written by one store; two CPUs that write at once
    // lose a flag at most, which a packet that comes again brings again.
    unsafe {
        let (flags, now) = ((*flow).flags, bpf_ktime_get_ns());
        let is_stale = is_stale((*flow).seen, now);
        let after = flags_after(flags, packet, (*flow).made & REPLY != 0, is_stale);
        if after != flags {
            (&raw mut (*flow).flags).write_volatile(after);
        }
        if is_stale {
            (&raw mut (*flow).seen).write_volatile(now);
        }
        *to = (*flow).to;
        (*flow).made
    }
}

/// What packets of a tuple leave with. False: there is no such flow. Notes nothing.
#[inline(always)]
pub fn peek(tuple: &Tuple, to: &mut Tuple) -> bool {
    let Some(flow) = FLOWS.get_ptr(tuple) else { return false };
    // SAFETY: the element stays until the program has ended.
    *to = unsafe { (*flow).to };
    true
}

/// What made the flow of a tuple; 0: there is none.
#[inline(always)]
pub fn made(tuple: &Tuple) -> u32 {
    // SAFETY: the element stays until the program has ended; one load.
    FLOWS.get_ptr(tuple).map_or(0, |flow| unsafe { (*flow).made })
}

/// Makes the flow of a packet: both ways, or nothing.
#[inline(never)]
pub fn open(packet: &Packet, to: &Tuple, made: Made) -> u32 {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let back = to.reversed();
    let mut flow = Flow { to: packet.tuple.reversed(), seen: now, flags: 0, made: made as u32 | REPLY };
    match FLOWS.insert(&back, &flow, u64::from(BPF_NOEXIST)) {
        Ok(()) => {}
        Err(EEXIST) => return TAKEN,
        Err(_) => return FULL,
    }
    flow.to = *to;
    flow.flags = flags_after(0, packet, false, false);
    flow.made = made as u32;
    match FLOWS.insert(&packet.tuple, &flow, u64::from(BPF_NOEXIST)) {
        Ok(()) => OPENED,
        Err(error) => {
            let _ = FLOWS.remove(&back);
            if error == EEXIST { THERE } else { FULL }
        }
    }
}

/// Makes a flow under a port of its own: `to` has the addresses, and the port that is tried first. Answers of flows with
/// `is_at_node` come to an address of the node, where no socket may wait for them.
#[inline(never)]
pub fn begin(ctx: &TcContext, packet: &Packet, to: &mut Tuple, made: Made, is_at_node: bool) -> PacketVerdict {
    if !choose_port(ctx, packet, to, matches!(made, Made::Moved), is_at_node) {
        return PacketVerdict::NoPort;
    }
    match open(packet, to, made) {
        OPENED => match made {
            Made::Masquerade => PacketVerdict::Masqueraded,
            Made::Moved => PacketVerdict::Moved,
            Made::Direct => PacketVerdict::Direct,
            Made::HostPort => PacketVerdict::HostPort,
        },
        FULL => PacketVerdict::FlowsFull,
        THERE if find(packet, to) != 0 => PacketVerdict::ToLink,
        // Another CPU was quicker, with this port or with the end of this flow. Whoever sends will send again.
        _ => PacketVerdict::NoPort,
    }
}

/// Finds a port, in `to`, under which no answers come to another flow or to a socket of the node. False: there is none. What is
/// done at each try is little, since the verifier goes through each.
#[inline(never)]
fn choose_port(ctx: &TcContext, packet: &Packet, to: &mut Tuple, is_moved: bool, is_at_node: bool) -> bool {
    let own = to.source_port;
    let has_ports = packet.has_ports();
    let mut back = to.reversed();
    let mut answers = Answers::to(to);
    // The node's own flow has its port already: it is another that it needs.
    let first = if is_moved { 1 } else { 0 };
    for turn in 0..TRIES {
        // SAFETY: a helper without arguments.
        let port = candidate(turn + first, own, unsafe { bpf_get_prandom_u32() });
        back.destination_port = port;
        if FLOWS.get_ptr(&back).is_none() && !(is_at_node && answers.have_socket(ctx, port)) {
            to.source_port = port;
            return true;
        }
        if !has_ports {
            return false;
        }
    }
    false
}

/// The answers to a flow, as sockets of the node would get them.
struct Answers {
    tuple: bpf_sock_tuple,
    length: u32,
    protocol: u8,
}

impl Answers {
    /// Of packets with this tuple, whatever its source's port.
    #[inline(always)]
    fn to(of: &Tuple) -> Answers {
        // SAFETY: all bytes zero are a value of it.
        let mut tuple: bpf_sock_tuple = unsafe { core::mem::zeroed() };
        let length = if is_v4(&of.source) {
            // SAFETY: fields of plain numbers.
            let v4 = unsafe { &mut tuple.__bindgen_anon_1.ipv4 };
            v4.saddr = of.destination[3];
            v4.daddr = of.source[3];
            v4.sport = of.destination_port;
            12
        } else {
            // SAFETY: as above.
            let v6 = unsafe { &mut tuple.__bindgen_anon_1.ipv6 };
            v6.saddr = of.destination;
            v6.daddr = of.source;
            v6.sport = of.destination_port;
            36
        };
        Answers { tuple, length, protocol: of.protocol }
    }

    /// Whether a socket of the node would get those to this port.
    #[inline(always)]
    fn have_socket(&mut self, ctx: &TcContext, port: u16) -> bool {
        /// BPF_F_CURRENT_NETNS.
        const HERE: u64 = -1_i64 as u64;
        // SAFETY: the tuple is valid and as long as said; the reference to a socket is given back at once.
        unsafe {
            if self.length == 12 {
                self.tuple.__bindgen_anon_1.ipv4.dport = port;
            } else {
                self.tuple.__bindgen_anon_1.ipv6.dport = port;
            }
            let tuple = &raw mut self.tuple;
            let socket = match self.protocol {
                TCP => bpf_sk_lookup_tcp(ctx.as_ptr(), tuple, self.length, HERE, 0),
                UDP => bpf_sk_lookup_udp(ctx.as_ptr(), tuple, self.length, HERE, 0),
                _ => return false,
            };
            if socket.is_null() {
                return false;
            }
            bpf_sk_release(socket.cast());
            true
        }
    }
}
