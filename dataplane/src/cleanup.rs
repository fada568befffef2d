//! Takes away all that was ever installed in a place, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};

use crate::kernel::{KernelError, folders, path_error};
use crate::node::NodeError;
use crate::place::{BPFFS, Lock, is_bpffs};

/// What was taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Links and folders of maps.
    pub paths: Vec<PathBuf>,
}

/// Unpins links, which detaches them, and maps; removes the folder. Refused while an agent works there.
///
/// # Errors
/// An agent works there, or the file system refuses.
pub fn cleanup(cgroup: &Path, root: &Path) -> Result<Removed, NodeError> {
    let mut removed = Removed::default();
    if !root.exists() || !is_bpffs(root) {
        return Ok(removed);
    }
    let lock = Lock::take(cgroup, root)?;
    let links = root.join("links");
    if links.exists() {
        for entry in fs::read_dir(&links).map_err(path_error(&links, "listing"))?.flatten() {
            let path = entry.path();
            fs::remove_file(&path).map_err(path_error(&path, "unpinning"))?;
            removed.paths.push(path);
        }
        fs::remove_dir(&links).map_err(path_error(&links, "removing"))?;
    }
    for folder in folders(root)? {
        folder.remove()?;
        removed.paths.push(folder.0);
    }
    drop(lock);
    remove_root(root)?;
    Ok(removed)
}

fn remove_root(root: &Path) -> Result<(), KernelError> {
    if !root.starts_with(BPFFS) {
        // The agent mounted a file system of its own here; what else is in it keeps it.
        // The kernel itself puts these two into every bpf file system.
        let own = |name: &std::ffi::OsStr| name == "maps.debug" || name == "progs.debug";
        let mut left = fs::read_dir(root).map_err(path_error(root, "listing"))?.flatten();
        let empty = left.all(|entry| own(&entry.file_name()));
        if empty {
            unmount(root, UnmountFlags::empty())
                .map_err(|error| path_error(root, "unmounting the bpf file system")(error.into()))?;
        }
        return Ok(());
    }
    match fs::remove_dir(root) {
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
        result => result.map_err(path_error(root, "removing")),
    }
}
