//! The memory of a batch, in the form that recvmmsg(2) and sendmmsg(2) want it, and these two calls.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

use super::address::{CONTROL, Control, NAME, Name};
use super::{BATCH, ROOM};

/// A datagram's bytes. Without the second field every buffer would begin in the same set of the CPU's first
/// cache (whose ways are 4 KiB), and a batch would push itself out of it.
#[repr(C, align(64))]
pub(super) struct Buffer {
    pub(super) bytes: [u8; ROOM],
    spread: [u8; 128],
}

/// All zero is a valid value of every field. Pointers in the headers point into the same allocation, or, in
/// the iovecs of a sender's long datagrams, to what `Slots::point` was given.
#[repr(C)]
pub(super) struct Slots {
    headers: [libc::mmsghdr; BATCH],
    iovecs: [libc::iovec; BATCH],
    pub(super) names: [Name; BATCH],
    pub(super) controls: [Control; BATCH],
    pub(super) buffers: [Buffer; BATCH],
}

impl Slots {
    /// What the kernel said of a datagram that came: bytes of it, of its name, of its control messages, and
    /// whether it was cut.
    pub(super) fn received(&self, at: usize) -> (usize, usize, usize, bool) {
        let message = &self.headers[at];
        let header = &message.msg_hdr;
        let control = header.msg_controllen;
        let cut = header.msg_flags & libc::MSG_TRUNC != 0;
        (message.msg_len as usize, header.msg_namelen as usize, control, cut)
    }

    /// Makes a slot take a datagram again: the kernel has overwritten the lengths.
    pub(super) fn offer(&mut self, at: usize) {
        let header = &mut self.headers[at].msg_hdr;
        header.msg_namelen = NAME as libc::socklen_t;
        header.msg_controllen = CONTROL as _;
        self.iovecs[at].iov_len = ROOM;
    }

    /// Makes a slot send: lengths of the bytes, of the name and of the control messages, each within its room.
    pub(super) fn fill(&mut self, at: usize, bytes: usize, name: usize, control: usize) {
        let header = &mut self.headers[at].msg_hdr;
        header.msg_namelen = name.min(NAME) as libc::socklen_t;
        header.msg_controllen = control.min(CONTROL) as _;
        self.iovecs[at].iov_len = bytes.min(ROOM);
    }
}

/// Slots at a place that never moves. Every access goes by the one pointer, so that those which the kernel
/// is given stay valid beside it.
pub(super) struct Memory(NonNull<Slots>);

// SAFETY: `Memory` owns its allocation alone; nothing in it belongs to a thread.
unsafe impl Send for Memory {}
// SAFETY: behind a shared reference it is only read.
unsafe impl Sync for Memory {}

impl Memory {
    pub(super) fn new() -> Memory {
        let layout = Layout::new::<Slots>();
        // SAFETY: the layout's size is not zero. Zeroed, so that pages are only taken when used.
        let Some(slots) = NonNull::new(unsafe { alloc_zeroed(layout) }.cast::<Slots>()) else {
            handle_alloc_error(layout)
        };
        let mut memory = Memory(slots);
        for at in 0..BATCH {
            memory.link(at);
        }
        memory
    }

    /// Sets a slot's pointers to the slot's own memory.
    pub(super) fn link(&mut self, at: usize) {
        assert!(at < BATCH, "a batch has {BATCH} slots");
        let slots = self.0.as_ptr();
        // SAFETY: `slots` is valid and ours alone (`&mut self`), `at` is within each array, and no reference
        // to it lives here; addresses are taken without one, so that they keep the whole allocation's origin.
        unsafe {
            let iovec = &raw mut (*slots).iovecs[at];
            (*iovec).iov_base = (&raw mut (*slots).buffers[at].bytes).cast();
            (*iovec).iov_len = ROOM;
            let header = &raw mut (*slots).headers[at].msg_hdr;
            (*header).msg_name = (&raw mut (*slots).names[at]).cast();
            (*header).msg_namelen = NAME as libc::socklen_t;
            (*header).msg_iov = iovec;
            (*header).msg_iovlen = 1;
            (*header).msg_control = (&raw mut (*slots).controls[at]).cast();
            (*header).msg_controllen = CONTROL as _;
        }
    }

    pub(super) fn slots(&self) -> &Slots {
        // SAFETY: valid since `new`, changed only through `&mut self`.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn slots_mut(&mut self) -> &mut Slots {
        // SAFETY: as above, and `&mut self` makes it the only reference.
        unsafe { self.0.as_mut() }
    }

    /// Receives what waits, up to a batch; never waits. The slots are linked and offered.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        // SAFETY: the headers are BATCH valid ones. Each points to its name, iovec, buffer and control messages
        // in this allocation, with lengths of at most their rooms (`link`, `offer`); nobody else has access
        // until the call returns. No time-out is given.
        let count = unsafe {
            let headers = (&raw mut (*self.0.as_ptr()).headers).cast();
            libc::recvmmsg(socket.as_raw_fd(), headers, BATCH as libc::c_uint, libc::MSG_DONTWAIT as _, ptr::null_mut())
        };
        usize::try_from(count).map(|count| count.min(BATCH)).map_err(|_| io::Error::last_os_error())
    }

    /// Sends slots `first..end`, of which those in `long` have their bytes there; never waits. Returns how many
    /// went before the first that failed, or why that first one did.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        first: usize,
        end: usize,
        long: &[(usize, Vec<u8>)],
    ) -> io::Result<usize> {
        assert!(first <= end && end <= BATCH, "a batch has {BATCH} slots");
        let slots = self.slots_mut();
        for (at, bytes) in long {
            slots.iovecs[*at] = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        }
        // SAFETY: as in `receive`, for the headers `first..end`, filled by `fill`; sendmmsg only reads what they
        // point to. The bytes of `long` live longer than this call, and `relink` below takes the pointers away.
        let count = unsafe {
            let headers = (&raw mut (*self.0.as_ptr()).headers).cast::<libc::mmsghdr>().add(first);
            libc::sendmmsg(socket.as_raw_fd(), headers, (end - first) as libc::c_uint, libc::MSG_DONTWAIT as _)
        };
        let result = usize::try_from(count).map(|count| count.min(end - first)).map_err(|_| io::Error::last_os_error());
        self.relink(long);
        result
    }

    fn relink(&mut self, long: &[(usize, Vec<u8>)]) {
        let slots = self.0.as_ptr();
        for (at, _) in long {
            // SAFETY: as in `link`; the index was checked by the access in `send`.
            unsafe { (*slots).iovecs[*at].iov_base = (&raw mut (*slots).buffers[*at].bytes).cast() };
            self.slots_mut().iovecs[*at].iov_len = 0;
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout; `Slots` has nothing to drop.
        unsafe { dealloc(self.0.as_ptr().cast(), Layout::new::<Slots>()) };
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}
