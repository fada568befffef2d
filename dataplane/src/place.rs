//! Where an agent works: the cgroup whose processes it serves and the folder of a bpf file system that
//! keeps its maps and links. One agent a place.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statfs};
use rustix::mount::{MountFlags, mount};

use crate::kernel::{KernelError, path_error};

/// Where the bpf file system is mounted by habit.
pub const BPFFS: &str = "/sys/fs/bpf";
/// The default folder.
pub const DEFAULT_ROOT: &str = "/sys/fs/bpf/bowline";
/// Where the files stand that are locked.
const RUN: &str = "/run/bowline";
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// The unified cgroup hierarchy, wherever it is mounted; None where it isn't.
pub fn find_cgroup_root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let is_unified = right.split(' ').next() == Some("cgroup2");
        is_unified.then(|| left.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}

/// Whether a path lies on the unified hierarchy.
pub fn is_cgroup(path: &Path) -> bool {
    statfs(path).is_ok_and(|s| s.f_type == CGROUP2_SUPER_MAGIC)
}

/// Whether a path lies on a bpf file system.
pub fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|s| s.f_type == BPF_FS_MAGIC)
}

/// Makes the folder, and mounts a bpf file system if it would not lie on one.
///
/// # Errors
/// No permission, mostly.
pub fn make_root(root: &Path) -> Result<(), KernelError> {
    let existing = root.ancestors().find(|a| a.exists()).unwrap_or(Path::new("/"));
    if !is_bpffs(existing) {
        let at = if root.starts_with(BPFFS) { Path::new(BPFFS) } else { root };
        fs::create_dir_all(at).map_err(path_error(at, "creating the folder"))?;
        mount("bpf", at, "bpf", MountFlags::empty(), None)
            .map_err(|error| path_error(at, "mounting the bpf file system")(error.into()))?;
        tracing::info!(path = %at.display(), "mounted the bpf file system");
    }
    fs::create_dir_all(root).map_err(path_error(root, "creating the folder"))
}

/// Held while an agent works in its place.
#[derive(Debug)]
pub struct Lock {
    _files: [File; 2],
}

/// Somebody else works there.
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

impl Lock {
    /// Locks cgroup and folder; ends with the value, or with the process. For the cgroup a file below /run
    /// is locked: the cgroup's own folder can be opened, and so locked, by anybody.
    ///
    /// # Errors
    /// [`LockError::Taken`] names the other's process.
    pub fn take(cgroup: &Path, root: &Path) -> Result<Lock, LockError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| LockError::Io { path, error }
        };
        let inode = fs::metadata(cgroup).map_err(io(cgroup))?.ino();
        let run = Path::new(RUN);
        fs::create_dir_all(run).map_err(io(run))?;
        let file = run.join(format!("cgroup-{inode}.lock"));
        let mut options = File::options();
        let for_cgroup = options.create(true).truncate(false).write(true).mode(0o600).open(&file).map_err(io(&file))?;
        let for_root = File::open(root).map_err(io(root))?;
        for (path, locked) in [(cgroup, &for_cgroup), (root, &for_root)] {
            match flock(locked, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(LockError::Taken { path: path.to_owned(), pid: holder(locked) });
                }
                Err(error) => return Err(io(path)(error.into())),
            }
        }
        Ok(Lock { _files: [for_cgroup, for_root] })
    }
}

/// Who holds the lock on a folder: /proc/locks has `major:minor:inode` in its sixth column.
fn holder(folder: &File) -> String {
    let Ok(meta) = folder.metadata() else { return "unknown".into() };
    let inode = format!(":{}", meta.ino());
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let mine = locks.lines().filter(|l| l.contains("FLOCK"));
    let fields = mine.map(|l| l.split_whitespace().collect::<Vec<_>>());
    let found = fields.into_iter().find(|f| f.get(5).is_some_and(|id| id.ends_with(&inode)));
    found.and_then(|f| f.get(4).map(|pid| (*pid).to_owned())).unwrap_or_else(|| "unknown".into())
}
