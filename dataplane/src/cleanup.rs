//! Takes away all that was ever installed in a place, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use crate::kernel::{Folder, KernelError, PACKETS, folders, folders_of, links, maps_in_use};
use crate::place::{Lock, LockError, is_bpffs, remove_root, remove_stale};

/// Why not all could be taken away.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// An agent works here.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The file system, or the kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// What was taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Links, folders of maps, files of locks.
    pub paths: Vec<PathBuf>,
}

/// Unpins links, which detaches them, and maps; removes the folder, and the lock files that killed agents left.
/// `cgroup` is where the agent worked, if that is still there: what is pinned is found without it. Refused while
/// an agent works there.
///
/// # Errors
/// An agent works there, or the file system refuses. What can be removed is.
pub fn cleanup(cgroup: Option<&Path>, root: &Path) -> Result<Removed, CleanupError> {
    let mut removed = Removed::default();
    let mut result = Ok(());
    if is_bpffs(root)
        && let Some(lock) = Lock::root(root)?
    {
        result = unpin(root, &mut removed.paths);
        // The file system can't be unmounted while its folder is open.
        drop(lock);
        result = result.and_then(|()| remove_root(root));
    }
    if removed.paths.is_empty()
        && let Some(cgroup) = cgroup
    {
        // Perhaps it is the other place that was meant.
        Lock::is_free(cgroup)?;
    }
    removed.paths.extend(remove_stale(root, cgroup));
    Ok(result.map(|()| removed)?)
}

/// Unpins all of a place. Goes on after an error, and returns the first.
fn unpin(root: &Path, removed: &mut Vec<PathBuf>) -> Result<(), KernelError> {
    let mut result = Ok(());
    let mut note = |path: &Path, done: Result<(), KernelError>| match done {
        Ok(()) => removed.push(path.to_owned()),
        Err(error) if result.is_ok() => result = Err(error),
        Err(_) => {}
    };
    links::detach_all(root, &mut note);
    for folder in folders(root)?.into_iter().chain(folders_of(root, PACKETS)?) {
        note(&folder.0, folder.remove());
    }
    result
}

/// What the start of an agent has pinned, which takes it away again when it is dropped: for a start that fails
/// before it serves. What a link uses stays, since it serves.
#[derive(Debug)]
pub(crate) struct Unserved {
    root: PathBuf,
    folder: Folder,
    stays: bool,
}

impl Unserved {
    /// Of an agent whose maps are in this folder.
    pub(crate) fn new(root: &Path, folder: &Folder) -> Unserved {
        Unserved { root: root.to_owned(), folder: folder.clone(), stays: false }
    }

    /// It serves: all stays.
    pub(crate) fn keep(mut self) {
        self.stays = true;
    }

    fn undo(&self) -> Result<(), KernelError> {
        let in_use = maps_in_use(&self.root)?;
        let is_used = |name: &&str| self.folder.map(name).is_ok_and(|map| in_use.contains(&map.id()));
        if self.folder.0.exists() && !["frontends", "sockets"].iter().any(is_used) {
            self.folder.remove()?;
        }
        // With a link in it, it stays.
        let _ = fs::remove_dir(links::folder(&self.root));
        Ok(())
    }
}

impl Drop for Unserved {
    fn drop(&mut self) {
        if !self.stays
            && let Err(error) = self.undo()
        {
            tracing::warn!(%error, "what this start has pinned stays; `bowline cleanup` takes it away");
        }
    }
}
