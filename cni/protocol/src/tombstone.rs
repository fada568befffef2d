//! What was to be removed while no agent answered.
//!
//! A DEL must succeed without the agent. The plugin leaves a tombstone: a file `CONTAINERID:IFNAME` in a folder. The agent
//! removes what it names, and then the tombstone:
//!
//! - at its start, **after** it has begun to listen: the plugin asks once more when its tombstone stands, so that none is
//!   written behind the agent's back;
//! - before each ADD, at least that of the same interface: a call that waited too long leaves a tombstone also while an
//!   agent runs, and runtimes other than Kubernetes use an id again;
//! - at a GC.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::names::{is_id, is_interface_name};

/// An interface that is to be removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tombstone {
    /// The container.
    pub container_id: String,
    /// The interface's name in it.
    pub ifname: String,
    /// The network's name; empty if the file's content could not be read.
    #[serde(default)]
    pub network: String,
}

/// Names that begin so are files that are being written.
const UNFINISHED: char = '.';

/// After this time whoever was writing a file is gone.
const ABANDONED: Duration = Duration::from_secs(60);

impl Tombstone {
    /// Neither an id nor an interface's name has a `:` in it.
    fn file_name(&self) -> String {
        format!("{}:{}", self.container_id, self.ifname)
    }
}

/// Leaves a tombstone; the folder is made if there is none. It is on the disk, whole, when this returns.
///
/// # Errors
/// Of the system.
pub fn write(folder: &Path, tombstone: &Tombstone) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let name = tombstone.file_name();
    let unfinished = folder.join(format!("{UNFINISHED}{name}.{}", std::process::id()));
    let written = write_whole(&unfinished, tombstone).and_then(|()| fs::rename(&unfinished, folder.join(name)));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written?;
    File::open(folder)?.sync_all()
}

fn write_whole(path: &Path, tombstone: &Tombstone) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&serde_json::to_vec(tombstone)?)?;
    file.sync_all()
}

/// The tombstones of a folder, in the order of their names; none if there is no folder. Files with other names are passed
/// over; unfinished ones whose writer is gone are removed.
///
/// # Errors
/// Of the system.
pub fn list(folder: &Path) -> io::Result<Vec<Tombstone>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut tombstones = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with(UNFINISHED) {
            let age = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            let age = age.and_then(|written| SystemTime::now().duration_since(written).ok());
            if age.is_some_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(entry.path());
            }
            continue;
        }
        let Some((id, ifname)) = name.split_once(':') else { continue };
        if is_id(id) && is_interface_name(ifname) {
            // Its name says what is to be removed; what is in it counts only for the network.
            let content = fs::read(entry.path()).unwrap_or_default();
            let network = serde_json::from_slice(&content).map(|read: Tombstone| read.network).unwrap_or_default();
            tombstones.push(Tombstone { container_id: id.to_owned(), ifname: ifname.to_owned(), network });
        }
    }
    tombstones.sort();
    Ok(tombstones)
}

/// Removes a tombstone; one that isn't there is removed.
///
/// # Errors
/// Of the system.
pub fn remove(folder: &Path, tombstone: &Tombstone) -> io::Result<()> {
    match fs::remove_file(folder.join(tombstone.file_name())) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
