//! A folder of manifests as a source: `*.yaml`, `*.yml` and `*.json`, in it and in folders below.
//!
//! The kernel tells what changes (inotify); a full look every minute finds what it can't tell (network
//! file systems). Whatever an editor does must come out as one step from the old objects to the new:
//! - a file that is closed after writing, or renamed into place, is read at once;
//! - one that is written to and left open is read when it has been quiet for 100 ms, but only for what was added: what it
//!   had stays until it is closed (`open`);
//! - one that is gone is given up after 100 ms, as some editors move a file away and write it anew;
//! - hidden files and editors' own (`.*`, `*~`, `*.swp`, `#*#`) are left out, but symlinks are followed,
//!   so a mounted ConfigMap works.
//!
//! What was read is not kept: for each document a hash, and the names of its objects (`records`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bowline_cluster::source::{Change, Origin, Problem, Sink, Source, Stop, Update};
use bowline_cluster::span;

mod open;
mod read;
mod records;
mod scan;
mod watch;

use open::Open;
use records::{Content, Records};
use scan::Listing;
use watch::{Heard, Watches};

/// How long a file must be left alone before it is read unclosed or given up.
const QUIET: Duration = Duration::from_millis(100);

/// How long the first listing waits for files that are being written.
const FIRST: Duration = Duration::from_secs(5);

/// How long `run` sleeps at most: how late it sees [`Stop`], or a folder that is back.
const NAP: Duration = Duration::from_millis(500);

/// How often everything is looked at where inotify works, and where it doesn't.
const RESCAN: Duration = Duration::from_secs(60);
const RESCAN_UNWATCHED: Duration = Duration::from_secs(2);

/// A folder of manifests.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    records: Records,
    /// Files to look at when they have been quiet until then.
    pending: BTreeMap<Origin, Instant>,
    /// Files of `pending` whose time has come; if they are gone, they are given up.
    expired: BTreeSet<Origin>,
    open: Open,
    /// Since when the first listing waits for files that are being written.
    waits: Option<Instant>,
    /// The problems last told.
    told: Vec<Problem>,
    /// What the last listing could not look into.
    unlisted: Vec<Problem>,
    listed: bool,
    away: bool,
}

impl Files {
    /// The folder `dir`; it need not be there yet.
    pub fn new(dir: PathBuf) -> Files {
        Files {
            dir,
            records: Records::default(),
            pending: BTreeMap::new(),
            expired: BTreeSet::new(),
            open: Open::default(),
            waits: None,
            told: Vec::new(),
            unlisted: Vec::new(),
            listed: false,
            away: false,
        }
    }

    /// Lists the folder and takes in what differs from what is known.
    fn rescan(&mut self, watches: &mut Watches, sink: &dyn Sink) -> Result<(), Problem> {
        let read_at = Instant::now();
        let listing = match scan::list(&self.dir, watches) {
            Ok(listing) => listing,
            Err(error) => return self.not_there(&error, sink),
        };
        if std::mem::take(&mut self.away) {
            sink.update(Update::Back);
        }
        if !self.listed {
            // All is read now, whatever was heard of it while that waited.
            self.pending.clear();
        }
        let changed = self.compare(&listing);
        self.unlisted = listing.problems;
        if self.listed {
            self.take(changed, read_at, sink);
            return Ok(());
        }
        let contents = read::files(changed, &self.records);
        if self.waits_for(&contents) {
            return Ok(());
        }
        let changes = self.changes_of(contents);
        tracing::info!(
            dir = %self.dir.display(),
            files = listing.files.len(),
            objects = changes.len(),
            others = self.records.others(),
            "read the folder"
        );
        sink.update(Update::All(changes));
        self.listed = true;
        self.tell_problems(sink);
        Ok(())
    }

    /// Whether the first listing is yet to wait for a file that is being written: what another agent served last goes on
    /// meanwhile.
    fn waits_for(&mut self, contents: &[(Origin, Content)]) -> bool {
        let is_open = |content: &Content| matches!(content, Content::Read(.., Some(true)));
        let Some((file, _)) = contents.iter().find(|(_, content)| is_open(content)) else { return false };
        let since = *self.waits.get_or_insert_with(|| {
            tracing::info!(%file, "somebody writes to it now; waiting for its end, {} at most", span::human(FIRST));
            Instant::now()
        });
        since.elapsed() < FIRST
    }

    fn not_there(&mut self, error: &io::Error, sink: &dyn Sink) -> Result<(), Problem> {
        let problem =
            |message| Problem { origin: Origin::from(self.dir.to_string_lossy()), object: None, field: None, message };
        if error.kind() == io::ErrorKind::NotADirectory && !self.listed && self.dir.exists() {
            return Err(problem("is no folder; give the folder that the manifests are in".to_string()));
        }
        if !self.away {
            self.away = true;
            sink.update(Update::Away(problem(format!("the folder can't be read: {error}")).to_string()));
        }
        Ok(())
    }

    /// The files that differ from what is known of them. Those that are gone are given up later.
    fn compare(&mut self, listing: &Listing) -> BTreeMap<Origin, u64> {
        let changed = listing.files.iter().filter(|(file, (stamp, _))| self.records.stamp(file) != Some(*stamp));
        let changed = changed.filter(|(file, _)| !self.pending.contains_key(*file));
        let changed = changed.map(|(file, (_, size))| (file.clone(), *size)).collect();
        let deadline = Instant::now() + QUIET;
        for file in self.records.files() {
            if !listing.files.contains_key(file) && !listing.hides(Path::new(&**file)) {
                self.pending.entry(file.clone()).or_insert(deadline);
            }
        }
        changed
    }

    /// Reads these files and says what changed.
    fn take(&mut self, files: BTreeMap<Origin, u64>, read_at: Instant, sink: &dyn Sink) {
        let mut contents = read::files(files, &self.records);
        let now = Instant::now();
        contents.retain(|(file, content)| match self.open.judge(file, content, &self.records, now) {
            None => true,
            Some(again) => {
                self.pending.insert(file.clone(), again);
                false
            }
        });
        let changes = self.changes_of(contents);
        if !changes.is_empty() {
            sink.update(Update::Some { changes, read_at, triggered: Vec::new() });
        }
        self.tell_problems(sink);
    }

    /// Takes what was read of files into the records; what changed by it.
    fn changes_of(&mut self, contents: Vec<(Origin, Content)>) -> Vec<Change> {
        let pieces = contents.iter().map(|(_, content)| content.pieces()).sum();
        let mut changes = Vec::with_capacity(if self.listed { 0 } else { pieces });
        if !self.listed {
            self.records.reserve(pieces);
        }
        for (file, content) in contents {
            if matches!(content, Content::Gone) && !self.expired.contains(&file) {
                self.pending.insert(file, Instant::now() + QUIET);
            } else {
                self.records.absorb(&file, content, &mut changes);
            }
        }
        // What one file no longer has, another may have had all along.
        let mut tried = BTreeSet::new();
        while let Some(file) = self.records.next_again(&tried) {
            let content = read::file(&file, &self.records, read::threads());
            self.records.absorb(&file, content, &mut changes);
            tried.insert(file);
        }
        self.records.delete_orphans(&mut changes);
        self.expired.clear();
        changes
    }

    fn tell_problems(&mut self, sink: &dyn Sink) {
        let mut problems = self.unlisted.clone();
        self.records.problems(&mut problems);
        if problems != self.told {
            self.told.clone_from(&problems);
            sink.update(Update::Problems(problems));
        }
    }

    /// Sorts what was heard: files to read now, and whether to list everything.
    fn hear(&mut self, heard: Vec<Heard>) -> (BTreeMap<Origin, u64>, bool) {
        let mut ready = BTreeMap::new();
        let mut rescan = false;
        for heard in heard {
            match heard {
                Heard::Rescan => rescan = true,
                Heard::Closed(file) => {
                    self.open.closed(&file);
                    self.pending.remove(&file);
                    ready.insert(file, 0);
                }
                Heard::Written(file) => {
                    self.open.written(&file);
                    ready.remove(&file);
                    self.pending.insert(file, Instant::now() + QUIET);
                }
                Heard::Touched(file) => {
                    ready.remove(&file);
                    self.pending.insert(file, Instant::now() + QUIET);
                }
            }
        }
        (ready, rescan)
    }

    /// Takes what has been quiet for long enough out of `pending`.
    fn quiet(&mut self, now: Instant) -> BTreeMap<Origin, u64> {
        let mut ready = BTreeMap::new();
        self.pending.retain(|file, deadline| {
            if *deadline > now {
                return true;
            }
            // What is held back is not read again and again, only when something has happened to it.
            if let Some(again) = self.open.again(file, now) {
                *deadline = again;
                return true;
            }
            // An empty file was cut short and is not written yet; it is read when it is closed.
            if std::fs::metadata(&**file).map_or(true, |metadata| metadata.len() > 0) {
                ready.insert(file.clone(), 0);
                self.expired.insert(file.clone());
            }
            false
        });
        ready
    }
}

impl Source for Files {
    fn name(&self) -> String {
        format!("files:{}", self.dir.display())
    }

    fn run(&mut self, sink: &dyn Sink, stop: &Stop) -> Result<(), Problem> {
        let mut watches = Watches::open(&self.dir);
        let mut rescan = true;
        let mut rescanned = Instant::now();
        while !stop.is_stopped() {
            let interval = if watches.complete() { RESCAN } else { RESCAN_UNWATCHED };
            if rescan || self.away || rescanned.elapsed() >= interval {
                self.rescan(&mut watches, sink)?;
                rescanned = Instant::now();
            }
            let next = self.pending.values().min().filter(|_| !self.away);
            let next = next.map_or(NAP, |at| at.saturating_duration_since(Instant::now()));
            let next = if self.listed || self.waits.is_none() { next } else { next.min(QUIET) };
            let (heard, read_at) = watches.wait(next.min(NAP));
            let (mut ready, list) = self.hear(heard);
            rescan = list || (!self.listed && self.waits.is_some());
            if self.away {
                continue;
            }
            ready.extend(self.quiet(Instant::now()));
            if !ready.is_empty() && self.listed {
                // A folder that goes takes its files with it: that is Away, and nothing is deleted.
                if self.dir.is_dir() { self.take(ready, read_at, sink) } else { rescan = true }
            }
        }
        Ok(())
    }
}

/// Whether a file's content counts.
fn is_manifest(name: &str) -> bool {
    !is_ignored(name) && [".yaml", ".yml", ".json"].iter().any(|end| name.len() > end.len() && name.ends_with(end))
}

/// Hidden files and those that editors keep beside the file.
fn is_ignored(name: &str) -> bool {
    name.starts_with('.')
        || name.ends_with('~')
        || name.ends_with(".swp")
        || (name.starts_with('#') && name.ends_with('#'))
}

impl From<io::Error> for Content {
    fn from(error: io::Error) -> Content {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Content::Gone,
            _ => Content::Failed(error.to_string()),
        }
    }
}
