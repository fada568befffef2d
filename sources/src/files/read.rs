//! Reads files, many at a time.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::available_parallelism;

use rustix::fs::OFlags;

use super::records::{Content, Records};
use super::scan::Stamp;
use crate::parse::MAX_FILE;
use crate::parse::stream::{self, WINDOW};
use bowline_cluster::source::Origin;

/// From so many files on they are read on all cores.
const MANY: usize = 16;

/// On how many threads to read: two do most of it, and each keeps memory of its own.
pub(super) fn threads() -> usize {
    // Asking takes longer than reading a file.
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| available_parallelism().map_or(1, |cores| cores.get().min(4)))
}

/// Reads these files (with their sizes, where known). The contents come in no order.
pub(super) fn files(files: BTreeMap<Origin, u64>, records: &Records) -> Vec<(Origin, Content)> {
    let threads = threads();
    let (big, small): (Vec<_>, Vec<_>) = files.into_iter().partition(|(_, size)| *size > 4 * WINDOW as u64);
    let alone = |(origin, _)| {
        let content = file(&origin, records, threads);
        (origin, content)
    };
    let mut contents: Vec<_> = big.into_iter().map(alone).collect();
    if small.len() < MANY || threads < 2 {
        contents.extend(small.into_iter().map(alone));
        return contents;
    }
    let left = Mutex::new(small.into_iter());
    let work = || {
        let mut done = Vec::new();
        loop {
            let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((origin, _)) = next else { return done };
            let content = file(&origin, records, 1);
            done.push((origin, content));
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        contents.extend(work());
        for worker in workers {
            // A parser that panics would be a defect; what it had is read at the next listing.
            contents.extend(worker.join().unwrap_or_default());
        }
    });
    contents
}

/// Reads one file. Of what is known of it already, only the hashes are taken.
pub(super) fn file(origin: &Origin, records: &Records, threads: usize) -> Content {
    read(origin, records, threads).unwrap_or_else(Content::from)
}

fn read(origin: &Origin, records: &Records, threads: usize) -> io::Result<Content> {
    // A named pipe would block.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&**origin)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Content::Gone);
    }
    if metadata.len() > MAX_FILE as u64 {
        return Err(io::Error::other("it is bigger than 256 MiB; write it as several files"));
    }
    let known = records.known(origin);
    let options =
        stream::Options { json_only: origin.ends_with(".json"), threads, known: &|hash| known.contains(&hash) };
    let pieces = stream::read(&file, &options, &records.hasher, &records.strings)?;
    // Taken before the first byte was read: a write meanwhile makes another one.
    Ok(Content::Read(Stamp::of(&metadata), pieces, bowline_sys::open::is_written(&file)))
}
