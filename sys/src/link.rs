//! Links: what joins a program of the kernel to a cgroup or a device. A link lives as long as a process has it open, or
//! it is pinned; its program can be exchanged.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::{bpf, info, program_info};

const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_LINK_DETACH: libc::c_int = 34;

// `enum bpf_link_type` and `enum bpf_attach_type` (linux/bpf.h).
const TYPE_CGROUP: u32 = 3;
const TYPE_XDP: u32 = 6;
const TYPE_TCX: u32 = 11;
const BPF_XDP: u32 = 37;

/// What a link says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// The program's id.
    pub program: u32,
    /// What it is attached to: the inode number of a cgroup's folder, or the index of a device; 0 once that is gone.
    pub target: u64,
    /// `enum bpf_attach_type`, which tells also which of the two `target` is.
    pub attach_type: u32,
}

/// Attaches a program (BPF_LINK_CREATE). `target` is the descriptor of a cgroup's folder, or the index of a device in
/// this thread's network namespace, as `attach_type` wants it.
///
/// # Errors
/// EINVAL where the kernel doesn't know `attach_type`, or the program isn't for it.
pub fn link_create(program: impl AsFd, target: u32, attach_type: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attr {
        program: u32,
        target: u32,
        attach_type: u32,
        flags: u32,
    }
    let program = program.as_fd().as_raw_fd() as u32;
    let fd = bpf(BPF_LINK_CREATE, &mut Attr { program, target, attach_type, flags: 0 })?;
    // SAFETY: the call returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Reads a link's info (`struct bpf_link_info`). Of a link of another kind than a cgroup's, tcx or XDP the target is 0.
pub fn link_info(link: impl AsFd) -> io::Result<LinkInfo> {
    #[repr(C)]
    #[derive(Default)]
    struct Raw {
        kind: u32,
        id: u32,
        program: u32,
        pad: u32,
        /// A union: u64 cgroup, u32 attach type; or u32 index, u32 attach type (XDP: none).
        words: [u32; 12],
    }
    let mut raw = Raw::default();
    info(link.as_fd().as_raw_fd(), &mut raw)?;
    let [first, second, third, ..] = raw.words;
    let (target, attach_type) = match raw.kind {
        // The programs are for little-endian machines alone.
        TYPE_CGROUP => (u64::from(first) | u64::from(second) << 32, third),
        TYPE_TCX => (u64::from(first), second),
        TYPE_XDP => (u64::from(first), BPF_XDP),
        _ => (0, 0),
    };
    Ok(LinkInfo { program: raw.program, target, attach_type })
}

/// Puts another program behind a link, in one step for everyone (BPF_LINK_UPDATE).
///
/// # Errors
/// ENOLINK where what the link was attached to is gone.
pub fn link_update(link: impl AsFd, program: impl AsFd) -> io::Result<()> {
    #[repr(C)]
    struct Attr {
        link: u32,
        program: u32,
        flags: u32,
        old: u32,
    }
    let mut attr =
        Attr { link: link.as_fd().as_raw_fd() as u32, program: program.as_fd().as_raw_fd() as u32, flags: 0, old: 0 };
    bpf(BPF_LINK_UPDATE, &mut attr)?;
    Ok(())
}

/// Takes a link's program away at once (BPF_LINK_DETACH). Closing or unpinning the last of a link does the same some time
/// later.
pub fn link_detach(link: impl AsFd) -> io::Result<()> {
    #[repr(C)]
    struct Attr {
        link: u32,
    }
    bpf(BPF_LINK_DETACH, &mut Attr { link: link.as_fd().as_raw_fd() as u32 })?;
    Ok(())
}

/// The programs that are attached, ours and others': their ids and names (BPF_PROG_QUERY). `target` and `attach_type` as of
/// [`link_create`].
///
/// # Errors
/// EINVAL where the kernel doesn't know `attach_type`.
pub fn programs_at(target: u32, attach_type: u32) -> io::Result<Vec<(u32, String)>> {
    #[repr(C)]
    #[derive(Default)]
    struct Query {
        target: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        ids: u64,
        count: u32,
    }
    let mut ids = vec![0u32; 64];
    let mut attr =
        Query { target, attach_type, ids: ids.as_mut_ptr() as u64, count: ids.len() as u32, ..Default::default() };
    bpf(BPF_PROG_QUERY, &mut attr)?;
    ids.truncate(attr.count as usize);
    ids.into_iter().map(|id| Ok((id, program_info(id, &mut [])?.1))).collect()
}
