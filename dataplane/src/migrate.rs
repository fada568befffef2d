//! From one layout to another, under traffic.
//!
//! ```text
//! 1  the new maps, filled with the same ids and lives, stand beside the old
//! 2  programs that know both are put behind the hooks, one by one: those that recognise first
//! 3  a grace period: no old program runs
//! 4  what the old maps still hold of sockets and clients is copied
//! 5  programs that know the new alone; a grace period; the old maps are unpinned
//! ```
//! Killed at any point, the next agent finds both and goes through it again; what was done stays done.

use std::io;
use std::path::Path;

use bowline_ebpf::layout::{Affinity, AffinityKey, SocketKey, Translation};

use crate::kernel::{Folder, KernelError, Sizes, attach, load_programs, path_error};
use crate::records::{OURS, Records};
use crate::table::Readable;
use bowline_sys::Rcu;

/// Opens the maps of a folder to read the Services from them.
pub(crate) fn readable(folder: &Folder, records: Records) -> Result<Readable, KernelError> {
    Ok(Readable {
        records,
        frontends: folder.map("frontends")?,
        names: folder.map("names")?,
        services: folder.map("services")?,
        slots: folder.map("slots")?,
        backends: folder.map("backends")?,
    })
}

/// The maps of another layout, or of other sizes, that programs behind hooks use.
#[derive(Debug)]
pub(crate) struct Previous {
    /// Where they are.
    pub(crate) folder: Folder,
    /// How they are laid out.
    pub(crate) records: Records,
}

/// Steps 2 to 5. `previous` has the Services that are served now; `others` are what still older agents left in
/// use that were killed in the middle of this. Returns the programs that are attached now.
pub(crate) fn switch(
    root: &Path,
    cgroup: &Path,
    sizes: &Sizes,
    folder: &Folder,
    previous: &Previous,
    others: &[Previous],
) -> Result<aya::Ebpf, KernelError> {
    let rcu = Rcu::new().map_err(path_error(root, "preparing to wait for grace periods"))?;
    let grace = || rcu.grace_period().map_err(path_error(root, "waiting for a grace period"));
    let all = || std::iter::once(previous).chain(others);
    let both = load_programs(folder, sizes, Some((&previous.folder, &previous.records)))?;
    // Before anything is exchanged: what the kernel refuses changes nothing.
    let new = load_programs(folder, sizes, None)?;
    attach(&both, root, cgroup)?;
    grace()?;
    for old in all() {
        copy(folder, old).map_err(path_error(&old.folder.0, "copying sockets and clients"))?;
    }
    attach(&new, root, cgroup)?;
    grace()?;
    for old in all() {
        old.folder.remove()?;
    }
    Ok(new)
}

/// Copies what isn't there yet, entry by entry. A socket that closes meanwhile is forgotten in the old map
/// first, so what is gone from there after it was copied is taken back.
fn copy(folder: &Folder, old: &Previous) -> io::Result<()> {
    let open = |folder: &Folder, name| folder.map(name).map_err(|error| io::Error::other(error.to_string()));
    let records = &old.records;
    let (from, to) = (open(&old.folder, "sockets")?, open(folder, "sockets")?);
    from.each_key(|key| {
        let Some(value) = from.get(key)? else { return Ok(()) };
        let ours = OURS.bytes(&records.read::<SocketKey>(key));
        if to.put_new(&ours, &OURS.bytes(&records.read::<Translation>(&value)))? && from.get(key)?.is_none() {
            to.remove(&ours)?;
        }
        Ok(())
    })?;
    let (from, to) = (open(&old.folder, "affinity")?, open(folder, "affinity")?);
    from.each_key(|key| {
        let Some(value) = from.get(key)? else { return Ok(()) };
        let ours = OURS.bytes(&records.read::<AffinityKey>(key));
        to.put_new(&ours, &OURS.bytes(&records.read::<Affinity>(&value))).map(|_| ())
    })
}
