//! One map by its descriptor: keys and values are bytes, of the sizes that the kernel says it has.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::{bpf, create_map, info, open_pin};

const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_MAP_GET_NEXT_KEY: libc::c_int = 4;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_NOEXIST: u64 = 1;

/// How far a walk through a map has come ([`Map::batch`]); at first, and at the end of the map, at its beginning.
#[derive(Debug, Default)]
pub struct Cursor(Option<u32>);

impl Cursor {
    /// Whether the next batch is the first.
    pub fn is_at_beginning(&self) -> bool {
        self.0.is_none()
    }
}

#[repr(C)]
#[derive(Default)]
struct ElementAttr {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// A map of the kernel.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    id: u32,
    kind: u32,
    key_size: usize,
    value_size: usize,
    max_entries: u32,
}

impl Map {
    /// The map behind a descriptor.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Map> {
        // The head of `struct bpf_map_info`.
        #[repr(C)]
        #[derive(Default)]
        struct Raw {
            kind: u32,
            id: u32,
            key_size: u32,
            value_size: u32,
            max_entries: u32,
            flags: u32,
        }
        let mut raw = Raw::default();
        info(fd.as_raw_fd(), &mut raw)?;
        Ok(Map {
            fd,
            id: raw.id,
            kind: raw.kind,
            key_size: raw.key_size as usize,
            value_size: raw.value_size as usize,
            max_entries: raw.max_entries,
        })
    }

    /// A new array of zeros; it goes with the last descriptor of it.
    pub fn array(value_size: u32, entries: u32) -> io::Result<Map> {
        const ARRAY: u32 = 2;
        Map::from_fd(create_map(ARRAY, 4, value_size, entries, 0)?)
    }

    /// The map that is pinned at a path.
    pub fn open(path: &Path) -> io::Result<Map> {
        Map::from_fd(open_pin(path)?)
    }

    /// The same map by another descriptor.
    pub fn again(&self) -> io::Result<Map> {
        Map::from_fd(self.fd.try_clone()?)
    }

    /// The kernel's id of the map.
    pub fn id(&self) -> u32 {
        self.id
    }
    /// `enum bpf_map_type`.
    pub fn kind(&self) -> u32 {
        self.kind
    }
    /// Bytes of a key.
    pub fn key_size(&self) -> usize {
        self.key_size
    }
    /// Bytes of a value.
    pub fn value_size(&self) -> usize {
        self.value_size
    }
    /// How many entries fit.
    pub fn max_entries(&self) -> u32 {
        self.max_entries
    }
    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn is_per_cpu(&self) -> bool {
        const PERCPU_HASH: u32 = 5;
        const PERCPU_ARRAY: u32 = 6;
        matches!(self.kind, PERCPU_HASH | PERCPU_ARRAY)
    }

    fn attr(&self, key: &[u8], value: *const u8, flags: u64) -> io::Result<ElementAttr> {
        if key.len() != self.key_size {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a key of {} bytes for a map whose keys have {}", key.len(), self.key_size),
            ));
        }
        Ok(ElementAttr {
            map: self.fd.as_raw_fd() as u32,
            pad: 0,
            key: key.as_ptr() as u64,
            value: value as u64,
            flags,
        })
    }

    /// Looks a key up. The value of a map with one value a CPU is all of them, each padded to 8 bytes.
    pub fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let size =
            if self.is_per_cpu() { self.value_size.next_multiple_of(8) * possible_cpus() } else { self.value_size };
        let mut value = vec![0u8; size];
        let mut attr = self.attr(key, value.as_mut_ptr(), 0)?;
        match bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) {
            Ok(_) => Ok(Some(value)),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn update(&self, key: &[u8], value: &[u8], flags: u64) -> io::Result<()> {
        if value.len() != self.value_size || self.is_per_cpu() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a value of {} bytes for a map whose values have {}", value.len(), self.value_size),
            ));
        }
        let mut attr = self.attr(key, value.as_ptr(), flags)?;
        bpf(BPF_MAP_UPDATE_ELEM, &mut attr).map(|_| ())
    }

    /// Writes an entry, atomically for those that look it up.
    ///
    /// # Errors
    /// E2BIG where a hash is full.
    pub fn put(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.update(key, value, 0)
    }

    /// Writes an entry if there is none; says whether it did.
    pub fn put_new(&self, key: &[u8], value: &[u8]) -> io::Result<bool> {
        match self.update(key, value, BPF_NOEXIST) {
            Ok(()) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Removes an entry; says whether there was one.
    pub fn remove(&self, key: &[u8]) -> io::Result<bool> {
        let mut attr = self.attr(key, std::ptr::null(), 0)?;
        match bpf(BPF_MAP_DELETE_ELEM, &mut attr) {
            Ok(_) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Hands every key to `each`, which may remove it. A key may come twice, since one that is removed
    /// meanwhile makes the kernel begin again; it ends after four times what the map can hold.
    pub fn each_key(&self, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut at: Option<Vec<u8>> = None;
        let mut next = vec![0u8; self.key_size];
        for _ in 0..u64::from(self.max_entries) * 4 {
            let mut attr = ElementAttr {
                map: self.fd.as_raw_fd() as u32,
                pad: 0,
                key: at.as_ref().map_or(0, |k| k.as_ptr() as u64),
                value: next.as_mut_ptr() as u64,
                flags: 0,
            };
            match bpf(BPF_MAP_GET_NEXT_KEY, &mut attr) {
                Ok(_) => each(&next)?,
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
                Err(e) => return Err(e),
            }
            at.get_or_insert_with(|| next.clone()).copy_from_slice(&next);
        }
        Ok(())
    }

    /// Hands the next entries to `each`, up to so many, of a hash in which a bucket has fewer. One that comes or goes meanwhile
    /// may be told or not; the others are told once in a walk.
    ///
    /// # Errors
    /// ENOSPC: a bucket has more than `most`.
    pub fn batch(&self, cursor: &mut Cursor, most: u32, mut each: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        #[repr(C)]
        struct BatchAttr {
            from: u64,
            to: u64,
            keys: u64,
            values: u64,
            count: u32,
            map: u32,
            element_flags: u64,
            flags: u64,
        }
        if self.is_per_cpu() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut keys = vec![0u8; self.key_size * most as usize];
        let mut values = vec![0u8; self.value_size * most as usize];
        let (mut from, mut to) = (cursor.0.unwrap_or_default(), 0_u32);
        let mut attr = BatchAttr {
            from: if cursor.0.is_some() { std::ptr::from_mut(&mut from) as u64 } else { 0 },
            to: std::ptr::from_mut(&mut to) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: most,
            map: self.fd.as_raw_fd() as u32,
            element_flags: 0,
            flags: 0,
        };
        *cursor = match bpf(BPF_MAP_LOOKUP_BATCH, &mut attr) {
            Ok(_) => Cursor(Some(to)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Cursor::default(),
            Err(error) => return Err(error),
        };
        let entries = keys.chunks_exact(self.key_size).zip(values.chunks_exact(self.value_size));
        entries.take(attr.count as usize).for_each(|(key, value)| each(key, value));
        Ok(())
    }

    /// Every entry whose value could still be read, in the order of the keys.
    pub fn entries(&self) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut entries = BTreeMap::new();
        self.each_key(|key| {
            if let Some(value) = self.get(key)? {
                entries.insert(key.to_vec(), value);
            }
            Ok(())
        })?;
        Ok(entries.into_iter().collect())
    }
}

/// How many CPUs the kernel keeps values for (/sys/devices/system/cpu/possible).
fn possible_cpus() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit([',', '-']).next().and_then(|n| n.parse::<usize>().ok());
    last.map_or(1, |n| n + 1)
}
