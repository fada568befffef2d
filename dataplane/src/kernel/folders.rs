//! Where maps are pinned: a folder for each layout and each set of sizes, of sockets and of packets.
//!
//! ```text
//! <bpf-root>/layout-<version>-<sizes>/<map>
//! <bpf-root>/packets-<version>-<sizes>/<map>
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

/// How folders of maps of packets are named.
pub(crate) const PACKETS: &str = "packets-";
/// How folders of maps of sockets are.
pub(super) const LAYOUT: &str = "layout-";

/// A short mark that tells the sizes of maps from others.
pub(crate) fn mark(sizes: &[(&'static str, u32)]) -> u32 {
    let bytes = sizes.iter().flat_map(|(_, n)| n.to_ne_bytes());
    bytes.fold(0x811c_9dc5, |h: u32, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

/// The name of a folder of maps.
pub(crate) fn name_of(kind: &str, version: u32, sizes: &[(&'static str, u32)]) -> String {
    format!("{kind}{version}-{:08x}", mark(sizes))
}

/// Whether a folder is named as [`name_of`] does, of this version or another.
fn is_named(kind: &str, name: &str) -> bool {
    let parts = name.strip_prefix(kind).and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(version, sizes)| {
        version.parse::<u32>().is_ok() && sizes.len() == 8 && sizes.chars().all(|c| c.is_ascii_hexdigit())
    })
}

/// The folders of layouts of sockets below a root.
///
/// # Errors
/// The root can't be listed.
pub(crate) fn folders(root: &Path) -> Result<Vec<Folder>, KernelError> {
    folders_of(root, LAYOUT)
}

/// The folders of one kind below a root.
///
/// # Errors
/// The root can't be listed.
pub(crate) fn folders_of(root: &Path, kind: &str) -> Result<Vec<Folder>, KernelError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).map_err(path_error(root, "listing"))?.flatten() {
        if is_named(kind, &entry.file_name().to_string_lossy()) {
            found.push(Folder(entry.path()));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

#[cfg(test)]
mod tests;
