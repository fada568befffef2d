//! Files that somebody still writes to.
//!
//! A file that is open for writing may not be whole. What it has more than before is taken once it is quiet: some keep a
//! file open for ever. But as long as something that it had is missing or another, or it ends within a line, its earlier
//! version stays until it is closed. That has an end too: [`PATIENCE`] after the last write it is taken as it is, and said.
//!
//! Whether a file is open, the kernel says, by a lease; where it can't (a network file system), it is open from a write that
//! was heard of until a close is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::QUIET;
use super::records::{Content, Records};
use super::scan::Stamp;
use bowline_cluster::source::Origin;
use bowline_cluster::span;

/// How long after the last write a file that lacks something is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// When to look again at a file whose close was heard of.
const CLOSING: Duration = Duration::from_millis(5);

/// What is known of who writes.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Written to since the last close that was heard of.
    written: BTreeSet<Origin>,
    /// Not taken: by what one sees whether it was written to since, and when that is over.
    held: BTreeMap<Origin, (Stamp, Instant)>,
}

impl Open {
    /// Somebody wrote to it, and has not closed it yet.
    pub(super) fn written(&mut self, file: &Origin) {
        self.written.insert(file.clone());
    }

    /// Somebody has closed it, or moved it into place.
    pub(super) fn closed(&mut self, file: &Origin) {
        self.written.remove(file);
        self.held.remove(file);
    }

    /// Whether somebody has it open for writing.
    fn is_open(&self, file: &Origin) -> bool {
        let asked = reader(file).and_then(|file| bowline_sys::open::is_written(&file));
        asked.unwrap_or_else(|| self.written.contains(file))
    }

    /// When to look again at a file that is held back; None if it isn't, or is to be read now.
    pub(super) fn again(&mut self, file: &Origin, now: Instant) -> Option<Instant> {
        let (stamp, until) = *self.held.get(file)?;
        let same = std::fs::metadata(&**file).is_ok_and(|metadata| Stamp::of(&metadata) == stamp);
        if now >= until || !same || !self.is_open(file) {
            return None;
        }
        Some(until.min(now + QUIET))
    }

    /// Whether what was read is to be taken (None), or when to look again.
    pub(super) fn judge(
        &mut self,
        file: &Origin,
        content: &Content,
        records: &Records,
        now: Instant,
    ) -> Option<Instant> {
        let is_open = match content {
            Content::Read(_, _, open) => open.unwrap_or_else(|| self.written.contains(file)),
            Content::Gone | Content::Failed(_) => false,
        };
        let (true, Content::Read(stamp, pieces, _)) = (is_open, content) else {
            self.closed(file);
            return None;
        };
        if !reader(file).is_some_and(|mut file| is_cut(&mut file)) && records.only_adds(file, pieces) {
            self.held.remove(file);
            return None;
        }
        let until = match self.held.get(file) {
            Some((same, until)) if same == stamp => *until,
            _ => now + PATIENCE,
        };
        if now >= until {
            tracing::warn!(
                %file,
                "somebody has it open for writing, and has written nothing for {}; it is taken as it is",
                span::human(PATIENCE)
            );
            self.held.remove(file);
            return None;
        }
        if self.held.insert(file.clone(), (*stamp, until)).is_none() {
            tracing::info!(%file, "somebody writes to it: what it had stays until it is closed");
        }
        // A close is told a moment before the kernel has done it.
        Some(now + if self.written.contains(file) { QUIET } else { CLOSING })
    }
}

/// The file, to ask about it; None if it can't be opened.
fn reader(file: &Origin) -> Option<File> {
    // A named pipe would block.
    let flags = OFlags::NONBLOCK.bits() as i32;
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(&**file).ok()
}

/// Whether it is empty or ends within a line.
fn is_cut(file: &mut File) -> bool {
    let mut last = [0];
    let read = file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last));
    read.is_err() || last != *b"\n"
}
