//! Takes away what labs made, by name: processes first, then namespaces (veths and bridges go with
//! them), cgroups from the leaves, bpffs folders, temporary folders.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{BPFFS, NETNS};
use crate::wait_for;

/// Removes all whose name `wanted` knows. Goes on after an error, and returns the first.
pub(crate) fn matching(hierarchies: &[PathBuf], folders: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let mut result = Ok(());
    let mut each = |dir: &Path, remove: fn(&Path) -> Result<()>| {
        for path in named(dir, &wanted) {
            let removed = remove(&path).with_context(|| format!("cannot remove {}", path.display()));
            if result.is_ok() {
                result = removed;
            }
        }
    };
    for cgroups in hierarchies {
        each(cgroups, kill_all);
    }
    each(Path::new(NETNS), |path| {
        // Another sweep may have been quicker.
        let _ = unmount(path, UnmountFlags::DETACH);
        Ok(gone(fs::remove_file(path))?)
    });
    each(Path::new(BPFFS), |path| Ok(gone(remove_tree(path, true))?));
    for cgroups in hierarchies {
        each(cgroups, remove_cgroups);
    }
    each(folders, |path| Ok(gone(fs::remove_dir_all(path))?));
    result
}

fn named(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_name().to_str().is_some_and(&wanted)).map(|e| e.path()).collect()
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|err| if err.kind() == ErrorKind::NotFound { Ok(()) } else { Err(err) })
}

/// Removes a folder of a file system whose folders have no tree removal of their own: in bpffs the
/// files are unlinked, in cgroup2 they vanish with their folder.
fn remove_tree(dir: &Path, unlink: bool) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            gone(remove_tree(&entry.path(), unlink))?;
        } else if unlink {
            gone(fs::remove_file(entry.path()))?;
        }
    }
    fs::remove_dir(dir)
}

/// Removes a cgroup and those below. It is busy for a moment after its last process.
fn remove_cgroups(cgroup: &Path) -> Result<()> {
    let mut result = Ok(());
    let removed = wait_for(&format!("cgroup {} to be free", cgroup.display()), Duration::from_secs(20), || {
        result = gone(remove_tree(cgroup, false));
        !matches!(&result, Err(err) if err.kind() == ErrorKind::ResourceBusy)
    });
    result.map_err(anyhow::Error::from).and(removed)
}

/// Ends every process in a cgroup and below, and waits until they are gone.
fn kill_all(cgroup: &Path) -> Result<()> {
    wait_for(&format!("the end of the processes in {}", cgroup.display()), Duration::from_secs(20), || {
        let mut pids = Vec::new();
        processes(cgroup, &mut pids);
        for pid in pids.iter().filter_map(|&pid| Pid::from_raw(pid)) {
            // It may have ended by itself meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        pids.is_empty()
    })
}

fn processes(cgroup: &Path, pids: &mut Vec<i32>) {
    let listed = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    pids.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()));
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            processes(&entry.path(), pids);
        }
    }
}
