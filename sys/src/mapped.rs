//! An array of the kernel mapped into this process, window by window as it is used: mapping fills the
//! pages at once, so the whole of a large array would count as resident.
//!
//! Access is by 32- and 64-bit atomics, so that the kernel's programs and this process share it without
//! a data race; no element is ever moved.

use std::io;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::Map;

/// Bytes of a window; a multiple of every page size.
const WINDOW: usize = 256 * 1024;

#[derive(Debug)]
struct Window(NonNull<libc::c_void>, usize);

// SAFETY: the memory belongs to the kernel's map, is valid until `drop`, and is only accessed by atomics.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: mapped by `Mapped::window` with this length; no reference into it outlives `Mapped`.
        let _ = unsafe { munmap(self.0.as_ptr(), self.1) };
    }
}

/// A mapped array. Offsets are in bytes from its first element; an access beyond its end, or not
/// aligned, reads zero and writes nothing.
#[derive(Debug)]
pub struct Mapped {
    map: Map,
    bytes: usize,
    windows: Vec<Option<Window>>,
}

impl Mapped {
    /// The array of a map that was made with BPF_F_MMAPABLE.
    pub fn new(map: Map) -> Mapped {
        let bytes = map.value_size().next_multiple_of(8) * map.max_entries() as usize;
        let windows = (0..bytes.div_ceil(WINDOW)).map(|_| None).collect();
        Mapped { map, bytes, windows }
    }

    /// The map.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Bytes that are mapped now.
    pub fn mapped_bytes(&self) -> usize {
        self.windows.iter().flatten().map(|w| w.1).sum()
    }

    /// Maps what is needed for `offset..offset + length`.
    ///
    /// # Errors
    /// Beyond the end, or what mmap(2) says.
    pub fn reach(&mut self, offset: usize, length: usize) -> io::Result<()> {
        let end = offset.checked_add(length).filter(|end| *end <= self.bytes);
        let Some(end) = end else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "beyond the end of a mapped array"));
        };
        for index in offset / WINDOW..end.div_ceil(WINDOW) {
            if self.windows[index].is_none() {
                self.windows[index] = Some(self.window(index)?);
            }
        }
        Ok(())
    }

    fn window(&self, index: usize) -> io::Result<Window> {
        let page = rustix::param::page_size();
        let length = WINDOW.min((self.bytes - index * WINDOW).next_multiple_of(page));
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe {
            mmap(ptr::null_mut(), length, protection, MapFlags::SHARED, self.map.fd().as_fd(), (index * WINDOW) as u64)?
        };
        NonNull::new(at).map(|at| Window(at, length)).ok_or_else(|| io::Error::other("mmap returned no address"))
    }

    fn at(&self, offset: usize, align: usize) -> Option<NonNull<u8>> {
        if !offset.is_multiple_of(align) || offset + align > self.bytes {
            return None;
        }
        let window = self.windows.get(offset / WINDOW)?.as_ref()?;
        // SAFETY: within the window, which is WINDOW long or ends with the array.
        Some(unsafe { window.0.cast::<u8>().add(offset % WINDOW) })
    }

    /// Reads a word of 32 bits.
    pub fn load32(&self, offset: usize) -> u32 {
        // SAFETY: aligned and mapped, by `at`; shared memory is read by an atomic.
        self.at(offset, 4).map_or(0, |p| unsafe { AtomicU32::from_ptr(p.cast().as_ptr()).load(Ordering::Relaxed) })
    }

    /// Writes a word of 32 bits.
    pub fn store32(&self, offset: usize, value: u32) {
        if let Some(p) = self.at(offset, 4) {
            // SAFETY: as in `load32`.
            unsafe { AtomicU32::from_ptr(p.cast().as_ptr()).store(value, Ordering::Relaxed) }
        }
    }

    /// Reads a word of 64 bits; sees all that was stored before the value that it finds was published.
    pub fn load64(&self, offset: usize) -> u64 {
        // SAFETY: as in `load32`.
        self.at(offset, 8).map_or(0, |p| unsafe { AtomicU64::from_ptr(p.cast().as_ptr()).load(Ordering::Acquire) })
    }

    /// Writes a word of 64 bits after all that was stored before it: whoever reads it sees all of that.
    pub fn publish64(&self, offset: usize, value: u64) {
        if let Some(p) = self.at(offset, 8) {
            // SAFETY: as in `load32`.
            unsafe { AtomicU64::from_ptr(p.cast().as_ptr()).store(value, Ordering::Release) }
        }
    }

    /// Reads bytes, whole words of 32 bits at a time.
    pub fn load(&self, offset: usize, into: &mut [u8]) {
        for (i, chunk) in into.chunks_exact_mut(4).enumerate() {
            chunk.copy_from_slice(&self.load32(offset + i * 4).to_ne_bytes());
        }
    }

    /// Writes bytes, whole words of 32 bits at a time; what doesn't fill a word is left out.
    pub fn store(&self, offset: usize, from: &[u8]) {
        for (i, chunk) in from.chunks_exact(4).enumerate() {
            self.store32(offset + i * 4, u32::from_ne_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]));
        }
    }
}
