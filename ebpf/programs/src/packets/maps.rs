//! The maps of packets. Their sizes are set by the loader; these are only what a reader of the object sees.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{HashMap, LpmTrie, LruHashMap, PerCpuArray, lpm_trie::Key},
    macros::btf_map,
};
use bowline_ebpf::packet::header::{Behind, Packet, Part};
use bowline_ebpf::packet::layout::{
    Address, Datagram, Flow, HostPortKey, Link, Local, Ports, Target, Tuple, Veth, any,
};
use bowline_ebpf::packet::verdict::PacketVerdict;

const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map(name = "veths")]
static VETHS: HashMap<u32, Veth, 1024, NO_PREALLOC> = HashMap::new();
#[btf_map(name = "local")]
static LOCAL: HashMap<Address, Local, 4096, NO_PREALLOC> = HashMap::new();
#[btf_map(name = "links")]
static LINKS: HashMap<u32, Link, 64, NO_PREALLOC> = HashMap::new();
#[btf_map(name = "inside")]
static INSIDE: LpmTrie<Address, u32, 1024, NO_PREALLOC> = LpmTrie::new();
#[btf_map(name = "host_ports")]
static HOST_PORTS: HashMap<HostPortKey, Target, 4096, NO_PREALLOC> = HashMap::new();
#[btf_map(name = "flows")]
pub static FLOWS: HashMap<Tuple, Flow, 262144, NO_PREALLOC> = HashMap::new();
#[btf_map(name = "fragments")]
pub static FRAGMENTS: LruHashMap<Datagram, Ports, 8192> = LruHashMap::new();
#[btf_map(name = "packet_verdicts")]
static VERDICTS: PerCpuArray<u64, { PacketVerdict::ALL.len() }> = PerCpuArray::new();

/// What is known of a packet while a program has it.
#[repr(C)]
pub struct Work {
    pub packet: Packet,
    /// What it becomes.
    pub to: Tuple,
    /// What an ICMP error is about.
    pub inner: Packet,
}

/// One a CPU, where no two programs for packets are in the middle of one at once. In a map and not on the stack, since the
/// verifier follows what a program puts on its stack, value by value: each way through the headers would be another state, and
/// everything behind them be gone through once for each.
#[btf_map(name = "work")]
static WORK: PerCpuArray<Work, 1> = PerCpuArray::new();

/// The room for a packet.
#[inline(always)]
pub fn work<'a>() -> Option<&'a mut Work> {
    // SAFETY: the element is this CPU's own, and asked for once a program. The packets are written first; `to` is plain
    // numbers.
    WORK.get_ptr_mut(0).map(|work| unsafe {
        (&raw mut (*work).packet).write(Packet::default());
        (&raw mut (*work).inner.kind).write(Behind::Unread);
        (&raw mut (*work).inner.part).write(Part::Whole);
        &mut *work
    })
}

/// Counts a verdict.
#[inline(always)]
pub fn count(verdict: PacketVerdict) {
    if let Some(counter) = VERDICTS.get_ptr_mut(verdict as u32) {
        // SAFETY: the element is this CPU's own, and programs for packets don't interrupt one another on one CPU often
        // enough to matter for a count.
        unsafe { *counter += 1 }
    }
}

/// The pod behind a device.
#[inline(always)]
pub fn veth<'a>(device: u32) -> Option<&'a Veth> {
    // SAFETY: the element stays until the program has ended (RCU). A writer may exchange it meanwhile, never its bytes.
    VETHS.get_ptr(&device).map(|veth| unsafe { &*veth })
}

/// Where an address of this node is.
#[inline(always)]
pub fn local<'a>(address: &Address) -> Option<&'a Local> {
    // SAFETY: as in `veth`.
    LOCAL.get_ptr(address).map(|local| unsafe { &*local })
}

/// A link over which pods reach the world.
#[inline(always)]
pub fn link<'a>(device: u32) -> Option<&'a Link> {
    // SAFETY: as in `veth`.
    LINKS.get_ptr(&device).map(|link| unsafe { &*link })
}

/// Whether pods are seen there with their own addresses.
#[inline(always)]
pub fn is_inside(address: &Address) -> bool {
    INSIDE.get(&Key::new(128, *address)).is_some()
}

/// The pod that has a port of the node: by this address, or by any.
#[inline(always)]
pub fn host_port<'a>(to: &Tuple) -> Option<&'a Target> {
    let mut key = HostPortKey { address: to.destination, port: to.destination_port, protocol: to.protocol, pad: 0 };
    let found = HOST_PORTS.get_ptr(&key).or_else(|| {
        key.address = any(&to.destination);
        HOST_PORTS.get_ptr(&key)
    });
    // SAFETY: as in `veth`.
    found.map(|target| unsafe { &*target })
}
