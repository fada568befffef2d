//! The maps of packets. Their sizes are set by the loader; these are only what a reader of the object sees.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{HashMap, PerCpuArray},
    macros::btf_map,
};
use bowline_ebpf::packet::layout::{Address, Local, Veth};
use bowline_ebpf::packet::verdict::PacketVerdict;

#[btf_map(name = "veths")]
static VETHS: HashMap<u32, Veth, 1024, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
#[btf_map(name = "local")]
static LOCAL: HashMap<Address, Local, 4096, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
#[btf_map(name = "packet_verdicts")]
static VERDICTS: PerCpuArray<u64, { PacketVerdict::ALL.len() }> = PerCpuArray::new();

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
