//! Settings of the node without which it forwards nothing. They are set, and given back at cleanup.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::install;

const FORWARDING: [&str; 2] = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];

fn record(folder: &Path) -> PathBuf {
    folder.join("sysctls.json")
}

/// Where settings are: of the network namespace of the thread that looks, wherever they are mounted. In a container its own
/// /proc/sys is read-only, so that the host's is mounted beside (deploy/components/pod-network).
pub(crate) fn folder() -> &'static str {
    const BESIDE: &str = "/host/proc/sys";
    if Path::new(BESIDE).join("net").exists() { BESIDE } else { "/proc/sys" }
}

fn file(name: &str) -> PathBuf {
    Path::new(folder()).join(name)
}

fn read(name: &str) -> Option<String> {
    fs::read_to_string(file(name)).ok().map(|value| value.trim().to_owned())
}

/// What was there before, by setting: (before, ours).
type Before = BTreeMap<String, (String, String)>;

fn before(folder: &Path) -> Before {
    fs::read(record(folder)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Sets what is needed, in this thread's network namespace, and notes what was there before.
///
/// # Errors
/// A setting can't be written: the node would forward nothing.
pub(crate) fn set(folder: &Path) -> io::Result<()> {
    let mut wanted: Vec<(String, &str)> = Vec::new();
    // A node that forwards no longer listens to routers, unless it is told so: it would lose its own way out.
    let is_forwarding = read(FORWARDING[1]).is_none_or(|value| value == "1");
    if !is_forwarding {
        for entry in fs::read_dir(file("net/ipv6/conf")).into_iter().flatten().flatten() {
            let name = format!("net/ipv6/conf/{}/accept_ra", entry.file_name().to_string_lossy());
            if read(&name).as_deref() == Some("1") {
                wanted.push((name, "2"));
            }
        }
    }
    wanted.extend(FORWARDING.map(|name| (name.to_owned(), "1")));
    put(folder, wanted)
}

/// Has the node answer on an interface for addresses that are elsewhere, at once.
///
/// # Errors
/// As of [`set`].
pub(crate) fn set_proxy(folder: &Path, name: &str) -> io::Result<()> {
    let wanted = [
        (format!("net/ipv6/conf/{name}/proxy_ndp"), "1"),
        // Otherwise up to 0.8 s later.
        (format!("net/ipv4/neigh/{name}/proxy_delay"), "0"),
        (format!("net/ipv6/neigh/{name}/proxy_delay"), "0"),
    ];
    put(folder, wanted.to_vec())
}

fn put(folder: &Path, wanted: Vec<(String, &str)>) -> io::Result<()> {
    let mut noted = before(folder);
    for (name, value) in wanted {
        let Some(there) = read(&name) else { continue };
        if there == value {
            continue;
        }
        noted.entry(name.clone()).or_insert_with(|| (there, value.to_owned()));
        install::write(&record(folder), &serde_json::to_vec(&noted)?, 0o600).map_err(io::Error::other)?;
        let path = file(&name);
        fs::write(&path, value)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}; set it to {value}", path.display())))?;
        tracing::info!(setting = %name.replace('/', "."), value, "set; cleanup gives back what was there");
    }
    Ok(())
}

/// Gives back what was there before, unless somebody has set it otherwise since. Tells `note` of each.
pub(crate) fn give_back(folder: &Path, mut note: impl FnMut(&str)) {
    // The all-embracing ones first: they would set the others again.
    let noted = before(folder);
    let (all, others): (Vec<_>, Vec<_>) = noted.iter().partition(|(name, _)| FORWARDING.contains(&name.as_str()));
    for (name, (there, ours)) in all.into_iter().chain(others) {
        if read(name).as_deref() == Some(ours) && fs::write(file(name), there).is_ok() {
            note(&format!("{} = {there}", name.replace('/', ".")));
        }
    }
    let _ = fs::remove_file(record(folder));
}
