//! The one module with unsafe code, beside the kernel programs: bpf(2), mapped arrays, RCU grace periods, batches
//! of datagrams and the sockets for them. What leaves it is safe to use with any argument.
#![allow(unsafe_code, reason = "system calls and memory shared with the kernel; this is the one place for them")]

pub mod datagrams;
pub mod interfaces;
mod link;
pub mod listen;
mod map;
mod mapped;
pub mod open;

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub use link::{LinkInfo, link_create, link_detach, link_info, link_update, programs_at};
pub use map::{Cursor, Map};
pub use mapped::Mapped;

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;

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
pub fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjectAttr { path: path.as_ptr() as u64, ..Default::default() };
    let fd = bpf(BPF_OBJ_GET, &mut attr)?;
    // SAFETY: the call returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Pins an object at a path (BPF_OBJ_PIN).
pub fn pin(object: impl AsFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let fd = object.as_fd().as_raw_fd() as u32;
    bpf(BPF_OBJ_PIN, &mut ObjectAttr { path: path.as_ptr() as u64, fd, flags: 0 }).map(|_| ())
}

/// Loads a program of a few instructions, as the kernel encodes them (BPF_PROG_LOAD): to see whether the kernel takes
/// it, or in tests. `name` is ASCII; the kernel keeps 15 bytes of it.
///
/// # Errors
/// What the kernel says: EINVAL or EACCES where its verifier refuses.
pub fn load_program(kind: u32, attach_type: u32, name: &str, instructions: &[u64]) -> io::Result<OwnedFd> {
    #[repr(C)]
    #[derive(Default)]
    struct Attr {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        attach_type: u32,
    }
    let mut attr = Attr {
        kind,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        attach_type,
        ..Default::default()
    };
    // The last byte stays zero.
    attr.name.iter_mut().take(15).zip(name.bytes()).for_each(|(to, byte)| *to = byte);
    let fd = bpf(BPF_PROG_LOAD, &mut attr)?;
    // SAFETY: as in `open_pin`.
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

/// The ids of the maps that a program uses.
pub fn maps_of_program(id: u32) -> io::Result<Vec<u32>> {
    let mut ids = vec![0u32; 64];
    let (count, _) = program_info(id, &mut ids)?;
    ids.truncate(count);
    Ok(ids)
}

/// Opens a program by its id.
pub fn program(id: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    #[derive(Default)]
    struct ById {
        id: u32,
        next: u32,
        flags: u32,
    }
    let fd = bpf(BPF_PROG_GET_FD_BY_ID, &mut ById { id, ..Default::default() })?;
    // SAFETY: as in `open_pin`.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The name of a program; the kernel keeps 15 bytes of it.
pub fn program_name(id: u32) -> io::Result<String> {
    program_info(id, &mut []).map(|(_, name)| name)
}

/// How many maps a program uses, whose ids go into `maps`, and its name.
pub(crate) fn program_info(id: u32, maps: &mut [u32]) -> io::Result<(usize, String)> {
    // `struct bpf_prog_info` up to the name.
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
        name: [u8; 16],
    }
    let program = program(id)?;
    let map_ids = if maps.is_empty() { 0 } else { maps.as_mut_ptr() as u64 };
    let mut raw = Raw { map_count: maps.len() as u32, map_ids, ..Default::default() };
    info(program.as_raw_fd(), &mut raw)?;
    let name = raw.name.split(|b| *b == 0).next().unwrap_or_default();
    Ok((raw.map_count as usize, String::from_utf8_lossy(name).into_owned()))
}

/// Waits for RCU grace periods: the kernel ends an update of a map of maps only when every program that ran
/// at its beginning has ended (kernel/bpf/syscall.c, maybe_wait_bpf_programs). membarrier(2) would do the
/// same, but not on kernels with nohz_full, nor with one CPU.
#[derive(Debug)]
pub struct Rcu {
    outer: Map,
    inner: OwnedFd,
}

impl Rcu {
    /// The two maps that it takes.
    pub fn new() -> io::Result<Rcu> {
        const ARRAY: u32 = 2;
        const ARRAY_OF_MAPS: u32 = 12;
        let inner = create_map(ARRAY, 4, 4, 1, 0)?;
        let outer = create_map(ARRAY_OF_MAPS, 4, 4, 1, inner.as_raw_fd() as u32)?;
        Ok(Rcu { outer: Map::from_fd(outer)?, inner })
    }

    /// Returns when every program that ran at the time of the call has ended; about 10 ms.
    pub fn grace_period(&self) -> io::Result<()> {
        self.outer.put(&0u32.to_ne_bytes(), &self.inner.as_raw_fd().to_ne_bytes())
    }
}

/// Makes a map of the kernel (BPF_MAP_CREATE); `inner` is what the maps of a map of maps look like.
fn create_map(kind: u32, key: u32, value: u32, entries: u32, inner: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    #[derive(Default)]
    struct Attr {
        kind: u32,
        key: u32,
        value: u32,
        entries: u32,
        flags: u32,
        inner: u32,
    }
    let mut attr = Attr { kind, key, value, entries, flags: 0, inner };
    let fd = bpf(BPF_MAP_CREATE, &mut attr)?;
    // SAFETY: as in `open_pin`.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Nanoseconds of the monotonic clock, which programs of the kernel read by bpf_ktime_get_ns().
pub fn monotonic() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for writing. It fails for no clock that exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The cookie of this thread's network namespace (SO_NETNS_COOKIE), which programs read by bpf_get_netns_cookie().
///
/// # Errors
/// There is no socket to be had, or the kernel (before 5.14) tells none.
pub fn netns_cookie() -> io::Result<u64> {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    let mut cookie = 0_u64;
    let mut length = mem::size_of::<u64>() as libc::socklen_t;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    let (value, room) = ((&raw mut cookie).cast(), &raw mut length);
    // SAFETY: `cookie` takes the 8 bytes that `length` says.
    match unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, SO_NETNS_COOKIE, value, room) } {
        0 => Ok(cookie),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes all threads share one heap. The agent allocates little once it runs; several heaps would each
/// keep their own free memory. Called before there are threads.
pub fn one_heap() {
    // SAFETY: mallopt has no preconditions.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Gives memory that the heap holds but doesn't use back to the kernel.
pub fn trim_heap() {
    // SAFETY: malloc_trim has no preconditions.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests;
