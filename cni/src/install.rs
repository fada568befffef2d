//! The plugin and its configuration, where a container runtime looks for them.
//!
//! ```text
//! <bin dir>/bowline-cni              the plugin
//! <bin dir>/loopback                 the same, where there is none
//! <conf dir>/05-bowline.conflist     the network; others are set aside: NAME.bowline-aside
//! ```
//! A file appears whole: it is written under a name that no runtime reads, in the same folder, and renamed. containerd 1.6
//! does not notice a file that comes from another folder.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

/// The name of the plugin.
pub const PLUGIN: &str = "bowline-cni";
/// The name of the configuration's file: it sorts before those of others.
pub const CONFLIST: &str = "05-bowline.conflist";
/// What is put behind the names of others' files.
pub const ASIDE: &str = ".bowline-aside";
/// What the runtimes read.
const READ: [&str; 3] = ["conf", "conflist", "json"];

/// Where to.
#[derive(Clone, Debug)]
pub struct Install {
    /// The folder of configurations.
    pub conf_dir: PathBuf,
    /// The folder of plugins.
    pub bin_dir: PathBuf,
    /// The plugin's file that is put there.
    pub plugin: PathBuf,
    /// Whether others' configurations are set aside.
    pub exclusive: bool,
    /// Where the plugin finds the agent, unless in the usual places.
    pub apart: Option<Apart>,
    /// The folder in which is noted what was installed.
    pub folder: PathBuf,
}

/// Where a plugin finds an agent that is not at the usual places.
#[derive(Clone, Debug)]
pub struct Apart {
    /// The agent's socket.
    pub socket: PathBuf,
    /// The folder of what was deleted while it was away.
    pub tombstones: PathBuf,
}

/// What was installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Files that are ours.
    pub files: Vec<PathBuf>,
    /// Folders in which others' were set aside.
    pub conf_dirs: Vec<PathBuf>,
}

/// What could not be done, and with which file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}: {error}", path.display())]
pub struct InstallError {
    /// The file.
    pub path: PathBuf,
    /// What was tried.
    pub what: &'static str,
    /// What the system said.
    pub error: io::Error,
}

fn at<'a>(path: &'a Path, what: &'static str) -> impl FnOnce(io::Error) -> InstallError + 'a {
    move |error| InstallError { path: path.to_owned(), what, error }
}

impl Install {
    /// The network's configuration: of 1.0.0 for old runtimes, which fail every pod otherwise, and of 1.1.0 for those that
    /// choose by `cniVersions`.
    pub fn conflist(&self) -> String {
        let mut plugin = json!({
            "type": PLUGIN,
            "capabilities": {
                "portMappings": true, "bandwidth": true, "ips": true, "ipRanges": true, "mac": true, "dns": true,
            },
        });
        if let (Some(Apart { socket, tombstones }), Some(plugin)) = (&self.apart, plugin.as_object_mut()) {
            plugin.insert("socket".into(), json!(socket));
            plugin.insert("tombstones".into(), json!(tombstones));
        }
        let list = json!({
            "cniVersion": "1.0.0",
            "cniVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
            "name": "bowline",
            "plugins": [plugin],
        });
        format!("{list:#}\n")
    }

    /// Puts plugin and configuration in place, the configuration last: from then on the runtime has a network. What is
    /// there already and right stays.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn put(&self) -> Result<Installed, InstallError> {
        let bytes = fs::read(&self.plugin).map_err(at(&self.plugin, "reading the plugin"))?;
        let mut installed = installed(&self.folder);
        let plugin = self.bin_dir.join(PLUGIN);
        self.note(&mut installed, &plugin)?;
        write(&plugin, &bytes, 0o755)?;
        let loopback = self.bin_dir.join("loopback");
        // One that somebody has put there stays, also where ours was before.
        if is_ours(&loopback) || !loopback.exists() {
            self.note(&mut installed, &loopback)?;
            write(&loopback, &bytes, 0o755)?;
        }
        let conflist = self.conf_dir.join(CONFLIST);
        self.note(&mut installed, &conflist)?;
        if !installed.conf_dirs.contains(&self.conf_dir) {
            installed.conf_dirs.push(self.conf_dir.clone());
            self.save(&installed)?;
        }
        write(&conflist, self.conflist().as_bytes(), 0o644)?;
        if self.exclusive {
            self.set_aside()?;
        }
        Ok(installed)
    }

    /// Others' configurations: not read any more, and back after [`take_away`].
    fn set_aside(&self) -> Result<(), InstallError> {
        for path in others(&self.conf_dir).map_err(at(&self.conf_dir, "listing"))? {
            let mut aside = path.clone().into_os_string();
            aside.push(ASIDE);
            fs::rename(&path, &aside).map_err(at(&path, "setting it aside"))?;
            tracing::info!(file = %path.display(), "another network's configuration is set aside; cleanup puts it back");
        }
        Ok(())
    }

    fn note(&self, installed: &mut Installed, path: &Path) -> Result<(), InstallError> {
        if installed.files.iter().any(|one| one == path) {
            return Ok(());
        }
        installed.files.push(path.to_owned());
        self.save(installed)
    }

    fn save(&self, installed: &Installed) -> Result<(), InstallError> {
        let path = record(&self.folder);
        let text = serde_json::to_vec(installed).map_err(|error| at(&path, "encoding")(error.into()))?;
        write(&path, &text, 0o600)
    }
}

/// Configurations in a folder that runtimes read and that are not ours, in their order.
///
/// # Errors
/// The folder can't be read; one that isn't there has none.
pub fn others(conf_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(conf_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| {
        let is_read = path.extension().is_some_and(|extension| READ.iter().any(|read| extension == *read));
        is_read && path.file_name().is_some_and(|name| name != CONFLIST) && path.is_file()
    });
    found.sort();
    Ok(found)
}

fn record(folder: &Path) -> PathBuf {
    folder.join("installed.json")
}

/// What was installed; nothing where there is no record, or one that can't be read.
pub fn installed(folder: &Path) -> Installed {
    fs::read(record(folder)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Takes away what was installed, and puts others' configurations back. Tells `note` of each, and goes on after an error.
pub fn take_away(folder: &Path, mut note: impl FnMut(&Path, Result<(), InstallError>)) {
    let installed = installed(folder);
    // The configuration first: no runtime calls a plugin that is gone.
    let is_others = |path: &&PathBuf| path.ends_with("loopback") && path.exists() && !is_ours(path);
    for path in installed.files.iter().rev().filter(|path| !is_others(path)) {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => note(path, removed.map_err(at(path, "removing"))),
        }
    }
    for conf_dir in &installed.conf_dirs {
        let Ok(entries) = fs::read_dir(conf_dir) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let Some(before) = path.to_str().and_then(|path| path.strip_suffix(ASIDE)).map(PathBuf::from) else {
                continue;
            };
            // One that came back by itself is newer.
            let done = if before.exists() { fs::remove_file(&path) } else { fs::rename(&path, &before) };
            note(&before, done.map_err(at(&path, "putting it back")));
        }
    }
    let _ = fs::remove_file(record(folder));
}

/// Whether a plugin is ours, of whatever version: it has its name in it.
fn is_ours(plugin: &Path) -> bool {
    fs::read(plugin).is_ok_and(|bytes| bytes.windows(PLUGIN.len()).any(|window| window == PLUGIN.as_bytes()))
}

/// Writes a file whole, or leaves what is there; nothing where it has this already.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), InstallError> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(at(folder, "making the folder"))?;
    let mut new = path.as_os_str().to_owned();
    new.push(".bowline-new");
    let new = PathBuf::from(new);
    let mut file = File::create(&new).map_err(at(&new, "writing"))?;
    file.write_all(bytes).map_err(at(&new, "writing"))?;
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(at(&new, "setting its mode"))?;
    file.sync_all().map_err(at(&new, "writing"))?;
    drop(file);
    fs::rename(&new, path).map_err(at(path, "renaming"))?;
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(at(folder, "writing"))
}

#[cfg(test)]
mod tests;
