//! What files there are, and by what to see that one has changed.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::watch::Watches;
use super::{is_ignored, is_manifest};
use bowline_cluster::source::{Origin, Problem};

/// Folders in folders deeper than this are left out; symlinks can make any depth.
const MAX_DEPTH: usize = 32;

/// What a change of a file changes, its times and inode, in one number. Two writes within a tick of the
/// file system's clock look alike; inotify tells those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(u64);

impl Stamp {
    pub(super) fn of(file: &Metadata) -> Stamp {
        let modified = (file.mtime(), file.mtime_nsec());
        let changed = (file.ctime(), file.ctime_nsec());
        let mut hasher = DefaultHasher::new();
        (file.dev(), file.ino(), file.size(), modified, changed).hash(&mut hasher);
        Stamp(hasher.finish())
    }
}

/// All files of the folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// With their sizes in bytes.
    pub(super) files: BTreeMap<Origin, (Stamp, u64)>,
    /// What could not be looked into.
    pub(super) problems: Vec<Problem>,
    hidden: Vec<PathBuf>,
}

impl Listing {
    /// Whether the file may be there and just can't be seen.
    pub(super) fn hides(&self, file: &Path) -> bool {
        self.hidden.iter().any(|folder| file.starts_with(folder))
    }

    fn refuse(&mut self, path: PathBuf, message: String) {
        self.problems.push(Problem {
            origin: Origin::from(path.to_string_lossy()),
            object: None,
            field: None,
            message,
        });
        self.hidden.push(path);
    }
}

/// A folder to list, and the folders it is in, by device and inode: symlinks can make circles.
struct Folder {
    path: PathBuf,
    above: Vec<(u64, u64)>,
}

/// Lists the folder and those below; each is watched before it is listed, so that no change falls between.
pub(super) fn list(dir: &Path, watches: &mut Watches) -> io::Result<Listing> {
    let mut listing = Listing::default();
    watches.begin();
    let mut folders = vec![Folder { path: dir.to_path_buf(), above: Vec::new() }];
    let mut root = true;
    while let Some(folder) = folders.pop() {
        let result = list_folder(&folder, watches, &mut listing, &mut folders);
        match result {
            Err(error) if root => return Err(error),
            // Gone since its parent was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => listing.refuse(folder.path, format!("the folder can't be read: {error}")),
            Ok(()) => {}
        }
        root = false;
    }
    watches.finish();
    Ok(listing)
}

fn list_folder(
    folder: &Folder,
    watches: &mut Watches,
    listing: &mut Listing,
    folders: &mut Vec<Folder>,
) -> io::Result<()> {
    watches.add(&folder.path);
    let mut above = None;
    for entry in std::fs::read_dir(&folder.path)? {
        let entry = entry?;
        let name = entry.file_name();
        let path = entry.path();
        let Some(name) = name.to_str() else {
            if name.to_string_lossy().ends_with("ml") || name.to_string_lossy().ends_with(".json") {
                listing.refuse(path, "the file's name is not UTF-8; rename it".to_string());
            }
            continue;
        };
        if is_ignored(name) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_file() && !is_manifest(name) {
            continue;
        }
        // Follows symlinks; one that leads nowhere is no file.
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if metadata.is_dir() {
            let mut above = match &above {
                Some(above) => above,
                None => above.insert(with_own(folder)?),
            }
            .clone();
            if above.len() > MAX_DEPTH || above.contains(&(metadata.dev(), metadata.ino())) {
                listing.refuse(path, "the folder leads back to itself or is too deep; it is left out".to_string());
                continue;
            }
            above.shrink_to_fit();
            folders.push(Folder { path, above });
        } else if metadata.is_file() && is_manifest(name) {
            let Some(origin) = path.to_str() else { continue };
            listing.files.insert(Origin::from(origin), (Stamp::of(&metadata), metadata.len()));
        }
    }
    Ok(())
}

fn with_own(folder: &Folder) -> io::Result<Vec<(u64, u64)>> {
    let metadata = std::fs::metadata(&folder.path)?;
    let mut above = folder.above.clone();
    above.push((metadata.dev(), metadata.ino()));
    Ok(above)
}
