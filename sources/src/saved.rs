//! The snapshot on disk: what a cluster was like when its source could last be read, for a start without it.
//!
//! ```text
//! {"bowline":"snapshot","format":1,"source":"etcd:…","saved":"2026-03-01T10:00:00Z","objects":2}
//! {"apiVersion":"v1","kind":"Service",…}                           one object a line, as Kubernetes
//! {"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice",…}    writes it (see crate::manifest)
//! {"sha256":"…"}                                                   of every byte above
//! ```
//!
//! It holds what the snapshot holds, but for the slices that [`bowline_cluster::state`] makes of Pods: they are made
//! again. Addresses that State gave are written like any other, and so stay. An upgraded Bowline reads what an
//! older one wrote, as it reads manifests; who adds a field that must not be missed raises [`FORMAT`].
//!
//! How old it is, the file's modification time says: [`touch`] it while the state is still so.
//!
//! A file that is not whole, not of this source, too old or too big is refused as a whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest::{Context, Digest, SHA256};
use serde::{Deserialize, Serialize};

use crate::manifest;
use crate::parse::{MAX_FILE, MAX_PIECE};
use bowline_cluster::object::Object;
use bowline_cluster::snapshot::Snapshot;
use bowline_cluster::source::Change;
use bowline_cluster::state::is_made;

mod read;
#[cfg(test)]
mod tests;

pub use read::{fuzz, read};

/// The format that is written, and the only one that is read.
pub const FORMAT: u32 = 1;

/// A snapshot that was read.
#[derive(Debug)]
pub struct Loaded {
    /// Every object, in no order that means anything; for [`bowline_cluster::source::Update::All`]. Their origin is
    /// the file with the line.
    pub changes: Vec<Change>,
    /// Time since the state was last known to be so; 0 for a file of the future (the clock was set back).
    pub age: Duration,
    /// When it was written, in RFC 3339.
    pub saved: String,
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    bowline: String,
    format: u32,
    source: String,
    saved: String,
    /// How many lines of objects follow.
    objects: u64,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
struct Footer {
    sha256: String,
}

/// Writes a snapshot of what `source` (its name, without secrets) has, in place of the one that was there;
/// returns its size in bytes. Blocks until it is on the disk, also the change of its folder.
///
/// The file is only ever there as a whole: it is made beside its place, readable for its owner alone, and
/// renamed. Its folder must be there. An error names the file; then the one before it is still there.
pub fn write(path: &Path, source: &str, snapshot: &Snapshot) -> io::Result<u64> {
    let failed = |error: io::Error| {
        io::Error::new(error.kind(), format!("the snapshot {} can't be written: {error}", path.display()))
    };
    let (folder, temporary) = beside(path).map_err(failed)?;
    let written = write_beside(&temporary, source, snapshot).and_then(|bytes| {
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()?;
        Ok(bytes)
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

/// Notes that the state is still the one that was written. An error names the file.
pub fn touch(path: &Path) -> io::Result<()> {
    File::open(path).and_then(|file| file.set_modified(SystemTime::now())).map_err(|error| {
        io::Error::new(error.kind(), format!("the snapshot {} can't be marked as current: {error}", path.display()))
    })
}

/// The folder of a file, and where the next version of it is made.
fn beside(path: &Path) -> io::Result<(&Path, PathBuf)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no name of a file; name one"));
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".new");
    Ok((folder, folder.join(temporary)))
}

fn write_beside(temporary: &Path, source: &str, snapshot: &Snapshot) -> io::Result<u64> {
    // One that was left behind may be readable for others.
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    let header = header(source, objects(snapshot).count() as u64);
    let bytes = write_to(&file, &header, objects(snapshot))?;
    file.sync_all()?;
    Ok(bytes)
}

fn header(source: &str, objects: u64) -> Header {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let saved = manifest::rfc3339(i64::try_from(now).unwrap_or(i64::MAX));
    Header { bowline: "snapshot".to_owned(), format: FORMAT, source: source.to_owned(), saved, objects }
}

/// What is saved of a snapshot.
fn objects(snapshot: &Snapshot) -> impl Iterator<Item = Object> {
    // One that is in both is written once.
    let imported = snapshot.imported.values().filter(|slice| slice.service.is_none());
    let slices = snapshot.slices.values().filter(|slice| !is_made(slice)).chain(imported);
    (snapshot.namespaces.values().cloned().map(Object::Namespace))
        .chain(snapshot.service_cidrs.values().cloned().map(Object::ServiceCidr))
        .chain(snapshot.nodes.values().cloned().map(Object::Node))
        .chain(snapshot.services.values().cloned().map(Object::Service))
        .chain(slices.cloned().map(Object::EndpointSlice))
        .chain(snapshot.endpoints.values().cloned().map(Object::Endpoints))
        // As they are written, and what their nodes say of them.
        .chain(
            snapshot
                .pods
                .iter()
                .filter(|(name, _)| !snapshot.told_pods.contains_key(*name))
                .map(|(_, pod)| Object::Pod(pod.clone())),
        )
        .chain(snapshot.told_pods.values().filter_map(|(_, written)| written.clone()).map(Object::Pod))
        .chain(snapshot.told_pods.values().map(|(told, _)| Object::PodAddresses(told.clone())))
        .chain(snapshot.service_imports.values().cloned().map(Object::ServiceImport))
        .chain(snapshot.network_policies.values().cloned().map(Object::NetworkPolicy))
}

/// Writes a whole file, one line at a time; its size.
fn write_to(out: impl Write, header: &Header, objects: impl Iterator<Item = Object>) -> io::Result<u64> {
    let mut out = Sealing::new(BufWriter::with_capacity(64 << 10, out));
    out.line(|line| serde_json::to_writer(line, header).map_err(io::Error::from))?;
    for object in objects {
        out.line(|line| manifest::write(&object, line))
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", object.key())))?;
    }
    let footer = Footer { sha256: hex(&out.context.clone().finish()) };
    out.line(|line| serde_json::to_writer(line, &footer).map_err(io::Error::from))?;
    out.out.flush()?;
    Ok(out.bytes as u64)
}

/// Lines on their way into a file, and the checksum of them.
struct Sealing<W> {
    out: W,
    context: Context,
    line: Vec<u8>,
    bytes: usize,
}

impl<W: Write> Sealing<W> {
    fn new(out: W) -> Sealing<W> {
        Sealing { out, context: Context::new(&SHA256), line: Vec::new(), bytes: 0 }
    }

    fn line(&mut self, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
        self.line.clear();
        write(&mut self.line)?;
        self.line.push(b'\n');
        self.bytes += self.line.len();
        if self.line.len() > MAX_PIECE || self.bytes > MAX_FILE {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "it takes more than the 16 MiB of an object or the 256 MiB of a file that would be read again; \
                 a start without the source will have no state",
            ));
        }
        self.context.update(&self.line);
        self.out.write_all(&self.line)
    }
}

fn hex(digest: &Digest) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
