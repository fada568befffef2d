//! The one module of the agent with unsafe code: bpf(2), mapped arrays, RCU grace periods. What leaves it
//! is safe to use with any argument.
#![allow(unsafe_code, reason = "system calls and memory shared with the kernel; this is the one place for them")]

mod map;
mod mapped;

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub(crate) use map::Map;
pub(crate) use mapped::Mapped;

const BPF_OBJ_GET: libc::c_int = 7;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_UPDATE: libc::c_int = 29;

/// bpf(2). `attr` is the part of `union bpf_attr` that the command reads (linux/bpf.h).
fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is valid for its size for reading and writing; pointers in it are valid by the
    // callers in this module, each of which passes live buffers of the sizes that the map has.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), mem::size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[repr(C)]
#[derive(Default)]
struct ObjectAttr {
    path: u64,
    fd: u32,
    flags: u32,
}

/// Opens what is pinned at a path (BPF_OBJ_GET).
pub(crate) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjectAttr { path: path.as_ptr() as u64, ..Default::default() };
    let fd = bpf(BPF_OBJ_GET, &mut attr)?;
    // SAFETY: the call returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[repr(C)]
#[derive(Default)]
struct InfoAttr {
    fd: u32,
    length: u32,
    info: u64,
}

fn info<T>(fd: i32, into: &mut T) -> io::Result<()> {
    let mut attr =
        InfoAttr { fd: fd as u32, length: mem::size_of::<T>() as u32, info: std::ptr::from_mut(into) as u64 };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(())
}

/// What a cgroup link says of itself (`struct bpf_link_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    /// The program's id.
    pub(crate) program: u32,
    /// Inode number of the cgroup's folder; 0 once the cgroup is gone.
    pub(crate) cgroup: u64,
    /// `enum bpf_attach_type`.
    pub(crate) attach_type: u32,
}

/// Reads a cgroup link's info.
pub(crate) fn link_info(link: impl AsFd) -> io::Result<LinkInfo> {
    #[repr(C)]
    #[derive(Default)]
    struct Raw {
        kind: u32,
        id: u32,
        program: u32,
        pad: u32,
        cgroup: u64,
        attach_type: u32,
        rest: [u32; 9],
    }
    let mut raw = Raw::default();
    info(link.as_fd().as_raw_fd(), &mut raw)?;
    Ok(LinkInfo { program: raw.program, cgroup: raw.cgroup, attach_type: raw.attach_type })
}

/// The ids of the maps that a program uses.
pub(crate) fn maps_of_program(id: u32) -> io::Result<Vec<u32>> {
    #[repr(C)]
    #[derive(Default)]
    struct ById {
        id: u32,
        next: u32,
        flags: u32,
    }
    // `struct bpf_prog_info` up to map_ids.
    #[repr(C)]
    #[derive(Default)]
    struct Raw {
        kind: u32,
        id: u32,
        tag: [u8; 8],
        jited: u32,
        xlated: u32,
        jited_at: u64,
        xlated_at: u64,
        load_time: u64,
        uid: u32,
        map_count: u32,
        map_ids: u64,
    }
    let mut attr = ById { id, ..Default::default() };
    let fd = bpf(BPF_PROG_GET_FD_BY_ID, &mut attr)?;
    // SAFETY: as in `open_pin`.
    let program = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let mut ids = vec![0u32; 64];
    let mut raw = Raw { map_count: ids.len() as u32, map_ids: ids.as_mut_ptr() as u64, ..Default::default() };
    info(program.as_raw_fd(), &mut raw)?;
    ids.truncate(raw.map_count as usize);
    Ok(ids)
}

/// Puts another program behind a link, in one step for everyone (BPF_LINK_UPDATE).
///
/// # Errors
/// ENOLINK where the link's cgroup is gone.
pub(crate) fn link_update(link: impl AsFd, program: impl AsFd) -> io::Result<()> {
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

/// Returns when every program that ran at the time of the call has ended (membarrier(2), an RCU grace
/// period; 8 to 22 ms).
pub(crate) fn grace_period() -> io::Result<()> {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: no pointers.
    match unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes all threads share one heap. The agent allocates little once it runs; several heaps would each
/// keep their own free memory. Called before there are threads.
pub(crate) fn one_heap() {
    // SAFETY: mallopt has no preconditions.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Gives memory that the heap holds but doesn't use back to the kernel.
pub(crate) fn trim_heap() {
    // SAFETY: malloc_trim has no preconditions.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests;
