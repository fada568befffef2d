//! Where an agent works: the cgroup whose processes it serves and the folder of a bpf file system that
//! keeps its maps and links. One agent a place.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags};
use rustix::mount::{fsconfig_create, fsmount, fsopen, mount, unmount};

use crate::kernel::{KernelError, path_error};

mod lock;

pub(crate) use lock::remove_stale;
pub use lock::{Lock, LockError};

/// Where the bpf file system is mounted by habit.
pub const BPFFS: &str = "/sys/fs/bpf";
/// The default folder.
pub const DEFAULT_ROOT: &str = "/sys/fs/bpf/bowline";
/// The source that a file system has which was mounted here: only such a one is ever unmounted.
const OWN_MOUNT: &str = "bowline";
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// The unified cgroup hierarchy, wherever it is mounted; None where it isn't.
pub fn find_cgroup_root() -> Option<PathBuf> {
    mounts().into_iter().find(|mount| mount.kind == "cgroup2").map(|mount| mount.at)
}

/// Whether a path lies on the unified hierarchy.
pub fn is_cgroup(path: &Path) -> bool {
    statfs(path).is_ok_and(|s| s.f_type == CGROUP2_SUPER_MAGIC)
}

/// Whether a path lies on a bpf file system.
pub fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|s| s.f_type == BPF_FS_MAGIC)
}

/// The one spelling of a path, whether it is there or not: absolute, without symbolic links.
pub fn resolve(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let existing = absolute.ancestors().find_map(|a| Some((a, fs::canonicalize(a).ok()?)));
    match existing {
        Some((a, real)) => match absolute.strip_prefix(a) {
            Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
            _ => real,
        },
        None => absolute,
    }
}

/// A line of /proc/self/mountinfo.
struct Mounted {
    at: PathBuf,
    kind: String,
    source: String,
}

fn mounts() -> Vec<Mounted> {
    let lines = fs::read("/proc/self/mountinfo").unwrap_or_default();
    lines.split(|b| *b == b'\n').filter_map(mounted).collect()
}

fn mounted(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|b| *b == b' ');
    let at = PathBuf::from(OsStr::from_bytes(&unescape(fields.nth(4)?)));
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    let text = |field: Option<&[u8]>| field.map(|f| String::from_utf8_lossy(f).into_owned());
    Some(Mounted { at, kind: text(rest.next())?, source: text(rest.next())? })
}

/// A path as it is: in mountinfo, blanks and the like are `\040`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let code = (*first == b'\\').then(|| after.get(..3)).flatten();
        let code = code.and_then(|c| u8::from_str_radix(std::str::from_utf8(c).ok()?, 8).ok());
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    out
}

/// What was made for a place; dropped, it goes again as far as nothing stands in it. [`Made::keep`] lets it stay.
#[derive(Debug)]
pub struct Made {
    root: PathBuf,
    /// Outermost first.
    folders: Vec<PathBuf>,
    mounted: bool,
}

impl Made {
    /// It stays from now on.
    pub fn keep(mut self) {
        self.folders.clear();
        self.mounted = false;
    }

    fn folders(&mut self, path: &Path) -> Result<(), KernelError> {
        let missing: Vec<&Path> = path.ancestors().take_while(|a| !a.exists()).collect();
        for folder in missing.into_iter().rev().filter(|folder| !folder.as_os_str().is_empty()) {
            match fs::create_dir(folder) {
                Ok(()) => self.folders.push(folder.to_owned()),
                // Another agent was quicker.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(path_error(folder, "creating the folder")(error)),
            }
        }
        Ok(())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let is_inside = |folder: &&PathBuf| is_bpffs(folder);
        // Folders with anything in them stay.
        self.folders.iter().rev().filter(is_inside).for_each(|folder| drop(fs::remove_dir(folder)));
        if self.mounted
            && let Err(error) = remove_own_mount(&self.root)
        {
            tracing::warn!("{error}");
        }
        self.folders.iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

/// Makes the folder, and mounts a bpf file system if it would not lie on one.
///
/// # Errors
/// No permission, mostly. Then nothing is left of what was made.
pub fn make_root(root: &Path) -> Result<Made, KernelError> {
    let mut made = Made { root: root.to_owned(), folders: Vec::new(), mounted: false };
    let existing = root.ancestors().find(|a| a.exists()).unwrap_or(Path::new("/"));
    if !is_bpffs(existing) {
        let at = if root.starts_with(BPFFS) { Path::new(BPFFS) } else { root };
        made.folders(at)?;
        mount(OWN_MOUNT, at, "bpf", MountFlags::empty(), None)
            .map_err(|error| path_error(at, "mounting a bpf file system")(error.into()))?;
        made.mounted = true;
        tracing::info!(path = %at.display(), "mounted a bpf file system");
    }
    made.folders(root)?;
    Ok(made)
}

/// Removes the folder of a place where nothing is in it, and the file system that was mounted for it. What others
/// have put there stays, and so does what others have mounted.
pub(crate) fn remove_root(root: &Path) -> Result<(), KernelError> {
    if !mounts().iter().any(|mount| mount.at == root) {
        match fs::remove_dir(root) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(()),
            result => result.map_err(path_error(root, "removing"))?,
        }
    }
    remove_own_mount(root)
}

/// Unmounts the bpf file system that has this path, if it was mounted here and nothing is in it.
fn remove_own_mount(root: &Path) -> Result<(), KernelError> {
    let all = mounts();
    let Some(own) = all.iter().rev().find(|mount| root.starts_with(&mount.at)) else { return Ok(()) };
    if own.kind != "bpf" || own.source != OWN_MOUNT {
        return Ok(());
    }
    // The kernel itself puts these two into every bpf file system.
    let kernels = |name: &OsStr| name == "maps.debug" || name == "progs.debug";
    let mut left = fs::read_dir(&own.at).map_err(path_error(&own.at, "listing"))?.flatten();
    if left.all(|entry| kernels(&entry.file_name())) {
        drop(left);
        match unmount(&own.at, UnmountFlags::empty()) {
            // Another agent is just coming.
            Ok(()) | Err(rustix::io::Errno::BUSY) => {}
            Err(error) => return Err(path_error(&own.at, "unmounting the bpf file system")(error.into())),
        }
    }
    Ok(())
}

/// A bpf file system that is mounted nowhere: what is pinned in it goes with this value, or with the process.
#[derive(Debug)]
pub(crate) struct Nowhere {
    _mount: std::os::fd::OwnedFd,
    path: PathBuf,
}

impl Nowhere {
    /// Makes one.
    pub(crate) fn new() -> io::Result<Nowhere> {
        use std::os::fd::AsRawFd;
        let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        Ok(Nowhere { _mount: mount, path })
    }

    /// Its top.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests;
