//! What the kernel tells of the folder's changes, by inotify.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::{is_ignored, is_manifest};
use bowline_cluster::source::Origin;

/// Something that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The file is whole: it was closed after writing, or moved into place.
    Closed(Origin),
    /// The file was written to, and was not closed yet.
    Written(Origin),
    /// The file is changed in another way, or is gone.
    Touched(Origin),
    /// Folders or symlinks changed, or something was missed: list everything.
    Rescan,
}

/// The watches: one a folder, and one on the folder above the root, to see the root itself come and go.
#[derive(Debug)]
pub(super) struct Watches {
    inotify: Option<OwnedFd>,
    folders: HashMap<i32, PathBuf>,
    /// Those of the listing that is going on.
    seen: HashSet<i32>,
    parent: Option<(i32, PathBuf)>,
    root: PathBuf,
    /// A folder could not be watched.
    lacking: bool,
}

impl Watches {
    pub(super) fn open(root: &Path) -> Watches {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        if let Err(error) = &inotify {
            tracing::warn!(%error, "no inotify: changes of the folder are looked for every 2s");
        }
        Watches {
            inotify: inotify.ok(),
            folders: HashMap::new(),
            seen: HashSet::new(),
            parent: None,
            root: root.to_path_buf(),
            lacking: false,
        }
    }

    /// Whether every folder is watched.
    pub(super) fn complete(&self) -> bool {
        self.inotify.is_some() && !self.lacking
    }

    /// A listing begins.
    pub(super) fn begin(&mut self) {
        self.seen.clear();
        self.lacking = false;
        self.parent = None;
        let (Some(inotify), Some(_)) = (&self.inotify, self.root.file_name()) else { return };
        let parent = match self.root.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
        // Without it, a root that was replaced is found by the next listing.
        self.parent = inotify::add_watch(inotify, parent, flags).ok().map(|wd| (wd, parent.to_path_buf()));
        self.seen.extend(self.parent.as_ref().map(|(wd, _)| *wd));
    }

    /// Watches a folder.
    pub(super) fn add(&mut self, folder: &Path) {
        let Some(inotify) = &self.inotify else { return };
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        match inotify::add_watch(inotify, folder, flags) {
            Ok(wd) => {
                self.folders.insert(wd, folder.to_path_buf());
                self.seen.insert(wd);
            }
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {}
            Err(error) => {
                if !self.lacking {
                    let folder = folder.display();
                    tracing::warn!(
                        %folder, %error,
                        "the folder can't be watched, changes are looked for every 2 s; raise fs.inotify.max_user_watches"
                    );
                }
                self.lacking = true;
            }
        }
    }

    /// The listing is over: folders that were not in it are no longer watched.
    pub(super) fn finish(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        let seen = &self.seen;
        self.folders.retain(|wd, _| {
            let stays = seen.contains(wd);
            if !stays {
                // Fails for a folder that is gone, as its watch is.
                let _ = inotify::remove_watch(inotify, *wd);
            }
            stays
        });
    }

    /// Waits for news; returns what was heard, and when.
    pub(super) fn wait(&self, timeout: Duration) -> (Vec<Heard>, Instant) {
        let Some(inotify) = &self.inotify else {
            std::thread::sleep(timeout);
            return (Vec::new(), Instant::now());
        };
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        // An interrupted wait is a short one.
        let _ = poll(&mut [PollFd::new(inotify, PollFlags::IN)], Some(&timeout));
        let read_at = Instant::now();
        let mut heard = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        // Ends with the error that says there is no more now.
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            heard.extend(self.interpret(event.wd(), event.events(), name));
        }
        (heard, read_at)
    }

    fn interpret(&self, wd: i32, events: ReadFlags, name: Option<&OsStr>) -> Option<Heard> {
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            return Some(Heard::Rescan);
        }
        let of_root = self.parent.as_ref().is_some_and(|(parent, _)| *parent == wd) && name == self.root.file_name();
        if of_root && !self.folders.contains_key(&wd) {
            return Some(Heard::Rescan);
        }
        let folder = self.folders.get(&wd)?;
        if events.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::IGNORED) {
            return Some(Heard::Rescan);
        }
        let name = name?.to_str()?;
        let moved =
            events.intersects(ReadFlags::CREATE | ReadFlags::DELETE | ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO);
        // `..data` is what the links of a mounted ConfigMap go through.
        if name.starts_with("..") && moved {
            return Some(Heard::Rescan);
        }
        if is_ignored(name) {
            return None;
        }
        if !is_manifest(name) {
            // A folder, or a symlink to one.
            let path = folder.join(name);
            let link = || std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink());
            let rescan = moved && (events.contains(ReadFlags::ISDIR) || link() || self.watches(&path));
            return rescan.then_some(Heard::Rescan);
        }
        if events.contains(ReadFlags::ISDIR) {
            return moved.then_some(Heard::Rescan);
        }
        let file = Origin::from(folder.join(name).to_str()?);
        if events.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO) {
            Some(Heard::Closed(file))
        } else if events.contains(ReadFlags::MODIFY) {
            Some(Heard::Written(file))
        } else {
            Some(Heard::Touched(file))
        }
    }

    fn watches(&self, folder: &Path) -> bool {
        self.folders.values().any(|watched| watched == folder)
    }
}
