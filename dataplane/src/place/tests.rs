//! Against this machine's file systems, so as root.
#![allow(clippy::unwrap_used, reason = "a test ends where its ground is missing")]

use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of its own, which goes with what is mounted at it or right below.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("bowline-place-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(fs::canonicalize(path).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for mount in mounts().iter().rev().filter(|mount| mount.at.starts_with(&self.0)) {
            let _ = unmount(&mount.at, UnmountFlags::DETACH);
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_mounted(path: &Path) -> bool {
    mounts().iter().any(|mount| mount.at == path)
}

#[test]
fn what_was_made_for_a_place_that_never_served_goes_again() {
    let folder = Folder::new();
    // Folders, and the file system in them.
    let root = folder.0.join("a b/pins");
    let made = make_root(&root).unwrap();
    assert!(is_mounted(&root) && is_bpffs(&root));
    drop(made);
    assert!(!is_mounted(&root) && !folder.0.join("a b").exists());
    // In a file system that is there.
    let other = folder.0.join("bpf");
    fs::create_dir(&other).unwrap();
    mount("bpf", &other, "bpf", MountFlags::empty(), None).unwrap();
    let root = other.join("x/y");
    drop(make_root(&root).unwrap());
    assert!(!other.join("x").exists() && is_mounted(&other));
    // What others have put there stays, and what was there before does.
    let made = make_root(&root).unwrap();
    fs::create_dir(other.join("x/theirs")).unwrap();
    drop(made);
    assert!(!root.exists() && other.join("x/theirs").exists());
    drop(make_root(&other.join("x/theirs")).unwrap());
    assert!(other.join("x/theirs").exists());
    // A place that can't be made: nothing is left on the way to it.
    fs::write(folder.0.join("file"), "").unwrap();
    assert!(make_root(&folder.0.join("file/pins")).is_err());
    make_root(&root).unwrap().keep();
    assert!(root.exists());
}

#[test]
fn only_what_was_mounted_here_is_unmounted_and_only_when_it_is_empty() {
    let folder = Folder::new();
    let (ours, theirs) = (folder.0.join("ours"), folder.0.join("theirs"));
    make_root(&ours).unwrap().keep();
    fs::create_dir(ours.join("x")).unwrap();
    remove_root(&ours).unwrap();
    assert!(is_mounted(&ours), "another's folder is in it");
    fs::remove_dir(ours.join("x")).unwrap();
    remove_root(&ours).unwrap();
    assert!(!is_mounted(&ours));
    // Theirs, as the place itself and around it.
    fs::create_dir(&theirs).unwrap();
    mount("bpf", &theirs, "bpf", MountFlags::empty(), None).unwrap();
    remove_root(&theirs).unwrap();
    assert!(is_mounted(&theirs));
    make_root(&theirs.join("pins")).unwrap().keep();
    remove_root(&theirs.join("pins")).unwrap();
    assert!(is_mounted(&theirs) && !theirs.join("pins").exists());
}

#[test]
fn a_path_has_one_spelling() {
    let folder = Folder::new();
    let real = folder.0.join("real");
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, folder.0.join("link")).unwrap();
    for (spelt, wanted) in [
        (folder.0.join("link"), real.clone()),
        (folder.0.join("link/"), real.clone()),
        (folder.0.join("./link/not/there/"), real.join("not/there")),
        (folder.0.join("real/../real"), real.clone()),
    ] {
        assert_eq!(resolve(&spelt), wanted, "{}", spelt.display());
        assert!(!resolve(&spelt).to_string_lossy().ends_with('/'));
    }
    assert!(resolve(Path::new("here")).is_absolute());
}

#[test]
fn the_lock_file_names_its_place_and_goes_with_the_lock() {
    let folder = Folder::new();
    let root = folder.0.join("pins");
    fs::create_dir(&root).unwrap();
    // Any folder stands in for a cgroup.
    let cgroup = folder.0.clone();
    let files = || -> Vec<PathBuf> {
        let entries = fs::read_dir("/run/bowline").into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| fs::read(path).is_ok_and(|owner| owner == root.as_os_str().as_bytes())).collect()
    };
    let lock = Lock::take(&cgroup, &root).unwrap().unwrap();
    assert_eq!(files().len(), 1);
    let taken = |result: Result<Option<Lock>, LockError>| matches!(result, Err(LockError::Taken { .. }));
    assert!(taken(Lock::take(&cgroup, &folder.0.join("other"))), "the cgroup");
    assert!(taken(Lock::root(&root)), "the folder");
    assert!(matches!(Lock::is_free(&cgroup), Err(LockError::Taken { .. })));
    assert_eq!(remove_stale(&root, Some(&cgroup)), Vec::<PathBuf>::new(), "it is held");
    drop(lock);
    assert_eq!(files(), Vec::<PathBuf>::new());
    assert!(Lock::is_free(&cgroup).is_ok());
    // No folder, no lock; and no file is left.
    assert!(Lock::take(&cgroup, &folder.0.join("other")).unwrap().is_none());
    assert!(Lock::is_free(&cgroup).is_ok());
    // One that a killed agent left, in a cgroup that is gone.
    let left = PathBuf::from(format!("/run/bowline/cgroup-test-{}.lock", std::process::id()));
    fs::create_dir_all("/run/bowline").unwrap();
    fs::write(&left, root.as_os_str().as_bytes()).unwrap();
    assert_eq!(remove_stale(&folder.0.join("other"), None), Vec::<PathBuf>::new(), "another place's stays");
    assert_eq!(remove_stale(&root, None), [left]);
}
