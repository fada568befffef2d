//! Where maps are pinned: a folder for each layout and each set of sizes.
//!
//! ```text
//! <bpf-root>/layout-<version>-<sizes>/<map>
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bowline_sys::Map;

use super::{KernelError, path_error};
use crate::records::Records;

/// A folder of pinned maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// One of its maps.
    ///
    /// # Errors
    /// It isn't there, or what bpf(2) says.
    pub(crate) fn map(&self, name: &str) -> Result<Map, KernelError> {
        let path = self.0.join(name);
        Map::open(&path).map_err(path_error(&path, "opening the pinned map"))
    }

    /// The layout of its maps; None where it has none yet, since an agent was killed while it made them.
    ///
    /// # Errors
    /// As of [`Folder::map`].
    pub(crate) fn records(&self) -> Result<Option<Records>, KernelError> {
        let path = self.0.join("layout");
        let map = match Map::open(&path) {
            Ok(map) => map,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(path_error(&path, "opening the pinned map")(error)),
        };
        let value = map.get(&0u32.to_ne_bytes()).map_err(path_error(&path, "reading"))?;
        Ok(value.as_deref().and_then(Records::described_by))
    }

    /// Unpins all of it.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn remove(&self) -> Result<(), KernelError> {
        for entry in fs::read_dir(&self.0).map_err(path_error(&self.0, "listing"))?.flatten() {
            let path = entry.path();
            fs::remove_file(&path).map_err(path_error(&path, "unpinning"))?;
        }
        fs::remove_dir(&self.0).map_err(path_error(&self.0, "removing"))
    }
}

/// Whether a folder is named as [`Sizes::folder`](super::sizes::Sizes::folder) does, of this version or another.
fn is_layout(name: &str) -> bool {
    let parts = name.strip_prefix("layout-").and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(version, sizes)| {
        version.parse::<u32>().is_ok() && sizes.len() == 8 && sizes.chars().all(|c| c.is_ascii_hexdigit())
    })
}

/// The folders of layouts below a root.
///
/// # Errors
/// The root can't be listed.
pub(crate) fn folders(root: &Path) -> Result<Vec<Folder>, KernelError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).map_err(path_error(root, "listing"))?.flatten() {
        if is_layout(&entry.file_name().to_string_lossy()) {
            found.push(Folder(entry.path()));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

#[cfg(test)]
mod tests;
