//! One agent a place: the one that holds the locks on its cgroup and on its folder works there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Where the files stand that are locked.
const RUN: &str = "/run/bowline";

/// Held while an agent works in its place.
#[derive(Debug)]
pub struct Lock {
    _cgroup: Option<LockFile>,
    _root: File,
}

/// The locked file of a cgroup; it goes with this value.
#[derive(Debug)]
struct LockFile {
    file: File,
    path: PathBuf,
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // While it is locked: an agent that opened it meanwhile sees that it is gone, and makes another.
        let _ = fs::remove_file(&self.path);
        // Others' files keep it.
        let _ = fs::remove_dir(RUN);
    }
}

/// Another agent works there.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another agent has it.
    #[error("{}: another agent works here (pid {pid}); stop it first, or give this one a place of its own by --cgroup-root and --bpf-root", path.display())]
    Taken {
        /// Cgroup or folder.
        path: PathBuf,
        /// The other's process id, as /proc/locks has it.
        pid: String,
    },
    /// It can't be locked.
    #[error("{}: {error}", path.display())]
    Io {
        /// Cgroup or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> LockError {
    let path = path.to_owned();
    move |error| LockError::Io { path, error }
}

impl Lock {
    /// Locks cgroup and folder; ends with the value, or with the process. For the cgroup a file below /run
    /// is locked: the cgroup's own folder can be opened, and so locked, by any process. None: the folder was taken
    /// away in this moment, by an agent that ended.
    ///
    /// # Errors
    /// [`LockError::Taken`] names the other's process.
    pub fn take(cgroup: &Path, root: &Path) -> Result<Option<Lock>, LockError> {
        let mut of_cgroup = lock_cgroup(cgroup)?;
        let Some(Lock { _root, .. }) = Lock::root(root)? else { return Ok(None) };
        // Which place it belongs to, for a cleanup that can't see the cgroup any more.
        let LockFile { file, path } = &mut of_cgroup;
        let named = file.set_len(0).and_then(|()| file.write_all(root.as_os_str().as_bytes()));
        named.map_err(io_error(path))?;
        Ok(Some(Lock { _cgroup: Some(of_cgroup), _root }))
    }

    /// Locks the folder alone. None: it is not there any more.
    ///
    /// # Errors
    /// As of [`Lock::take`].
    pub fn root(root: &Path) -> Result<Option<Lock>, LockError> {
        let file = match File::open(root) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(root)(error)),
        };
        lock(&file, root)?;
        Ok(is_at(&file, root).then_some(Lock { _cgroup: None, _root: file }))
    }

    /// Fails if an agent works on this cgroup.
    ///
    /// # Errors
    /// As of [`Lock::take`].
    pub(crate) fn is_free(cgroup: &Path) -> Result<(), LockError> {
        let Ok(file) = File::open(file_of(cgroup)?) else { return Ok(()) };
        lock(&file, cgroup)
    }
}

fn file_of(cgroup: &Path) -> Result<PathBuf, LockError> {
    let inode = fs::metadata(cgroup).map_err(io_error(cgroup))?.ino();
    Ok(Path::new(RUN).join(format!("cgroup-{inode}.lock")))
}

fn lock_cgroup(cgroup: &Path) -> Result<LockFile, LockError> {
    let path = file_of(cgroup)?;
    loop {
        fs::create_dir_all(RUN).map_err(io_error(Path::new(RUN)))?;
        let file = match File::options().create(true).truncate(false).write(true).mode(0o600).open(&path) {
            Ok(file) => file,
            // The folder was removed meanwhile, by an agent that ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io_error(&path)(error)),
        };
        lock(&file, cgroup)?;
        if is_at(&file, &path) {
            return Ok(LockFile { file, path });
        }
    }
}

fn lock(file: &File, path: &Path) -> Result<(), LockError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(LockError::Taken { path: path.to_owned(), pid: holder(file) }),
        Err(error) => Err(io_error(path)(error.into())),
    }
}

/// Whether an open file is still the one at a path.
fn is_at(file: &File, path: &Path) -> bool {
    let same = |(a, b): (fs::Metadata, fs::Metadata)| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata().ok().zip(fs::metadata(path).ok()).is_some_and(same)
}

/// Removes the lock files that killed agents of this folder have left, and that of this cgroup. Those that
/// an agent holds stay. Returns which.
pub(crate) fn remove_stale(root: &Path, cgroup: Option<&Path>) -> Vec<PathBuf> {
    let of_cgroup = cgroup.and_then(|cgroup| file_of(cgroup).ok());
    let mut removed = Vec::new();
    for entry in fs::read_dir(RUN).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let Ok(owner) = fs::read(&path) else { continue };
        // Those of older versions don't say which place they belong to.
        let is_ours = owner == root.as_os_str().as_bytes() || owner.is_empty() && of_cgroup.as_ref() == Some(&path);
        let Some(file) = is_ours.then(|| File::open(&path).ok()).flatten() else { continue };
        if lock(&file, &path).is_ok() && is_at(&file, &path) && fs::remove_file(&path).is_ok() {
            removed.push(path);
        }
    }
    if !removed.is_empty() {
        // Others' files keep it.
        let _ = fs::remove_dir(RUN);
    }
    removed
}

/// The process that holds the lock on a folder: /proc/locks has `major:minor:inode` in its sixth column.
fn holder(folder: &File) -> String {
    let Ok(meta) = folder.metadata() else { return "unknown".into() };
    let inode = format!(":{}", meta.ino());
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let mine = locks.lines().filter(|l| l.contains("FLOCK"));
    let fields = mine.map(|l| l.split_whitespace().collect::<Vec<_>>());
    let found = fields.into_iter().find(|f| f.get(5).is_some_and(|id| id.ends_with(&inode)));
    found.and_then(|f| f.get(4).map(|pid| (*pid).to_owned())).unwrap_or_else(|| "unknown".into())
}
