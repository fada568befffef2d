//! What of the kernel is used only where it is there ([`bowline_ebpf::features`]): tried, each by a program of a few
//! instructions, since distributions give old versions new features and leave features out of new ones.

use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported};
use bowline_ebpf::features::{LOOP, MPTCP, SET_RETVAL};
use bowline_sys::{load_program, programs_at};

/// A feature, and how it is tried.
pub(crate) struct Feature {
    /// Its bit in the word that the programs read.
    pub(crate) bit: u32,
    /// What it is called.
    pub(crate) name: &'static str,
    /// The first version of Linux that has it, for people.
    pub(crate) since: (u32, u32),
    /// What is otherwise without it.
    pub(crate) without: &'static str,
    /// Whether this kernel takes a program with it.
    is_there: fn() -> bool,
}

fn is_taken(instructions: &[u64]) -> bool {
    // BPF_PROG_TYPE_CGROUP_SOCK_ADDR, at BPF_CGROUP_INET4_CONNECT.
    load_program(18, 10, "", instructions).is_ok()
}

/// One instruction (linux/bpf.h, `struct bpf_insn`).
const fn insn(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    code as u64 | (to as u64) << 8 | (from as u64) << 12 | (offset as u16 as u64) << 16 | (value as u32 as u64) << 32
}
/// `to = value`
const fn set(to: u8, value: i32) -> u64 {
    insn(0xb7, to, 0, 0, value)
}
const fn call(helper: i32) -> u64 {
    insn(0x85, 0, 0, 0, helper)
}
const EXIT: u64 = insn(0x95, 0, 0, 0, 0);

/// All of them.
pub(crate) const FEATURES: [Feature; 3] = [
    Feature {
        bit: SET_RETVAL,
        name: "bpf_set_retval",
        since: (5, 18),
        without: "a connection to a Service without endpoints fails with EPERM, not ECONNREFUSED",
        is_there: || is_taken(&[set(1, -111), call(187), set(0, 0), EXIT]),
    },
    Feature {
        bit: LOOP,
        name: "bpf_loop",
        since: (5, 17),
        without: "a UDP socket that used more than 16 VIPs leaves entries behind",
        // A call with a function to call back takes more than instructions; what the verifier says of one without tells.
        is_there: || is_helper_supported(ProgramType::CgroupSock, BpfHelper::BPF_FUNC_loop).unwrap_or(false),
    },
    Feature {
        bit: MPTCP,
        name: "bpf_skc_to_mptcp_sock",
        since: (5, 19),
        without: "what is remembered of paths that MPTCP connections open later stays as long as the maps",
        // The whole call: kernels without MPTCP know the helper, and refuse what it returns.
        is_there: || {
            let socket = insn(0x79, 1, 1, 64, 0);
            let skip_if_none = insn(0x15, 1, 0, 1, 0);
            is_taken(&[socket, skip_if_none, call(196), set(0, 1), EXIT])
        },
    },
];

/// What this kernel has of [`FEATURES`].
pub(crate) fn features() -> u32 {
    let has = |feature: &&Feature| may_have(feature.since) && (feature.is_there)();
    FEATURES.iter().filter(has).fold(0, |all, feature| all | feature.bit)
}

/// Whether packets of a device meet programs by links, tcx, and not only as filters. No matter of the programs, so no bit.
pub(crate) fn has_tcx() -> bool {
    const LOOPBACK: u32 = 1;
    const BPF_TCX_INGRESS: u32 = 46;
    may_have((6, 6)) && programs_at(LOOPBACK, BPF_TCX_INGRESS).is_ok()
}

/// Whether the kernel may have what came with this version: the pretended one, if there is any, isn't older.
fn may_have(since: (u32, u32)) -> bool {
    std::env::var(PRETENDED).map_or(true, |release| version(&release) >= since)
}

/// An environment variable (`5.15`) that makes it do without what later kernels have; the tests use it.
const PRETENDED: &str = "BOWLINE_KERNEL_VERSION";

/// Major and minor version of the running kernel, or of the one that is pretended.
pub(crate) fn kernel_version() -> (u32, u32) {
    let release = std::env::var(PRETENDED);
    version(&release.unwrap_or_else(|_| rustix::system::uname().release().to_string_lossy().into_owned()))
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests;
