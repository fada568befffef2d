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

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::kernel::{Folder, KernelError, Sizes, attach, load_programs, path_error};
use crate::records::{OURS, Records};
use crate::sys;
use crate::table::Readable;

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

/// Steps 2 to 5. Returns the programs that are attached now.
pub(crate) fn switch(
    root: &Path,
    cgroup: &Path,
    sizes: &Sizes,
    folder: &Folder,
    previous: &(Folder, Records),
) -> Result<aya::Ebpf, KernelError> {
    let (old, records) = previous;
    let mut both = load_programs(folder, sizes, Some((old, records)))?;
    attach(&mut both, root, cgroup)?;
    sys::grace_period().map_err(path_error(root, "waiting for a grace period"))?;
    copy(folder, old, records).map_err(path_error(&old.0, "copying sockets and clients"))?;
    let mut new = load_programs(folder, sizes, None)?;
    attach(&mut new, root, cgroup)?;
    sys::grace_period().map_err(path_error(root, "waiting for a grace period"))?;
    old.remove()?;
    Ok(new)
}

/// Copies what isn't there yet. A socket that closes meanwhile is forgotten in the old map first, so what
/// is gone from there after the copy is taken back.
fn copy(folder: &Folder, old: &Folder, records: &Records) -> io::Result<()> {
    let open = |folder: &Folder, name| folder.map(name).map_err(|error| io::Error::other(error.to_string()));
    let (from, to) = (open(old, "sockets")?, open(folder, "sockets")?);
    let mut copied = BTreeSet::new();
    for (key, value) in from.entries()? {
        let ours = OURS.socket_key(&records.read_socket_key(&key));
        if to.put_new(&ours, &OURS.translation(&records.read_translation(&value)))? {
            copied.insert((key, ours));
        }
    }
    for (key, ours) in copied {
        if from.get(&key)?.is_none() {
            to.remove(&ours)?;
        }
    }
    let (from, to) = (open(old, "affinity")?, open(folder, "affinity")?);
    for (key, value) in from.entries()? {
        let ours = OURS.affinity_key(&records.read_affinity_key(&key));
        to.put_new(&ours, &OURS.affinity(&records.read_affinity(&value)))?;
    }
    Ok(())
}
