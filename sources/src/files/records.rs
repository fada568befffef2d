//! What is known of each file: a hash of every document, and whose objects are in it.
//!
//! An object that stands in two files is the one's that sorts first. The other file's document is noted as
//! a contender: when the first gives the object up, that file is read again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::RandomState;
use std::ops::Bound;

use smallvec::SmallVec;

use super::scan::Stamp;
use crate::parse::stream::ReadPiece;
use crate::parse::{Fault, Trouble};
use bowline_cluster::intern::Strings;
use bowline_cluster::object::ObjectKey;
use bowline_cluster::source::{Change, Origin, Problem};

/// What came of reading a file.
#[derive(Debug)]
pub(super) enum Content {
    /// With whether somebody has it open for writing, where the kernel can tell.
    Read(Stamp, Vec<ReadPiece>, Option<bool>),
    /// There is no such file.
    Gone,
    /// It is there and can't be read, for this reason.
    Failed(String),
}

impl Content {
    /// How many pieces were read.
    pub(super) fn pieces(&self) -> usize {
        match self {
            Content::Read(_, pieces, _) => pieces.len(),
            Content::Gone | Content::Failed(_) => 0,
        }
    }
}

/// All files.
#[derive(Debug, Default)]
pub(super) struct Records {
    files: BTreeMap<Origin, Record>,
    holders: HashMap<ObjectKey, Origin>,
    /// Files that have an object of which another is the holder.
    contenders: BTreeSet<(ObjectKey, Origin)>,
    /// Objects that a file gave up and that nobody has taken yet.
    orphans: BTreeSet<ObjectKey>,
    /// Files that were read when more was known of them than now; to be read again.
    stale: BTreeSet<Origin>,
    /// Files with something to tell as a problem.
    troubled: BTreeSet<Origin>,
    pub(super) hasher: RandomState,
    pub(super) strings: Strings,
}

#[derive(Debug, Default)]
struct Record {
    stamp: Option<Stamp>,
    documents: Box<[Document]>,
    /// Objects whose last good version stays, though the file has none now.
    kept: Box<[ObjectKey]>,
    failed: Option<Box<str>>,
}

/// One piece of a file.
#[derive(Debug)]
struct Document {
    hash: u64,
    line: u32,
    others: u32,
    entries: SmallVec<[Entry; 1]>,
    trouble: Option<Box<Trouble>>,
}

#[derive(Debug)]
struct Entry {
    key: ObjectKey,
    /// This document's is the version that counts.
    held: bool,
}

impl Records {
    /// Makes room for so many objects.
    pub(super) fn reserve(&mut self, objects: usize) {
        self.holders.reserve(objects);
    }

    /// The stamp of a file when it was last read.
    pub(super) fn stamp(&self, file: &Origin) -> Option<Stamp> {
        self.files.get(file).and_then(|record| record.stamp)
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &Origin> {
        self.files.keys()
    }

    /// How many objects of kinds that are not read there are.
    pub(super) fn others(&self) -> u64 {
        self.files.values().flat_map(|record| &record.documents).map(|document| u64::from(document.others)).sum()
    }

    /// Whether these pieces only add to what the file has here: each of its documents is there as it was, and what is new can
    /// be read.
    pub(super) fn only_adds(&self, file: &Origin, pieces: &[ReadPiece]) -> bool {
        let here: HashSet<u64> = pieces.iter().map(|piece| piece.hash).collect();
        let before = self.files.get(file).map_or(&[][..], |record| &record.documents);
        let known: HashSet<u64> = before.iter().map(|document| document.hash).collect();
        let is_well = |piece: &ReadPiece| {
            known.contains(&piece.hash) || piece.found.as_ref().is_none_or(|found| found.trouble.is_none())
        };
        known.is_subset(&here) && pieces.iter().all(is_well)
    }

    /// The hashes of a file's documents that need not be parsed again.
    pub(super) fn known(&self, file: &Origin) -> HashSet<u64> {
        let Some(record) = self.files.get(file) else { return HashSet::new() };
        record.documents.iter().filter(|document| document.is_settled()).map(|document| document.hash).collect()
    }

    /// Everything that is wrong now.
    pub(super) fn problems(&self, out: &mut Vec<Problem>) {
        for file in &self.troubled {
            let Some(record) = self.files.get(file) else { continue };
            if let Some(reason) = &record.failed {
                let message = format!("the file can't be read, so what it had last stays: {reason}");
                out.push(Problem { origin: file.clone(), object: None, field: None, message });
            }
            for document in &record.documents {
                let faults = document.trouble.iter().flat_map(|trouble| &trouble.faults);
                out.extend(faults.map(|fault| fault.problem(file, document.line)));
                for entry in document.entries.iter().filter(|entry| !entry.held) {
                    let message = match self.holders.get(&entry.key) {
                        Some(holder) if holder != file => {
                            format!("is in {holder} too, which sorts first and counts; remove one of the two")
                        }
                        _ => "is in this file twice, and the first counts; remove one of the two".to_string(),
                    };
                    let object = Some(entry.key.to_string());
                    let fault = Fault { line: 0, object, field: None, message };
                    out.push(fault.problem(file, document.line));
                }
            }
        }
    }

    /// Takes in what a file is now.
    pub(super) fn absorb(&mut self, file: &Origin, content: Content, changes: &mut Vec<Change>) {
        match content {
            Content::Read(stamp, pieces, _) => self.replace(file, stamp, pieces, changes),
            Content::Failed(reason) => {
                self.files.entry(file.clone()).or_default().failed = Some(reason.into());
                self.troubled.insert(file.clone());
            }
            Content::Gone => {
                let Some(old) = self.files.remove(file) else { return };
                self.troubled.remove(file);
                for key in self.leave(file, &old) {
                    self.give_up(key);
                }
            }
        }
    }

    /// The objects of which this file is the holder; forgets where it is a contender.
    fn leave(&mut self, file: &Origin, old: &Record) -> Vec<ObjectKey> {
        let mut held = old.kept.to_vec();
        for entry in old.documents.iter().flat_map(|document| &document.entries) {
            if entry.held {
                held.push(entry.key.clone());
            } else {
                self.contenders.remove(&(entry.key.clone(), file.clone()));
            }
        }
        held
    }

    fn give_up(&mut self, key: ObjectKey) {
        self.holders.remove(&key);
        self.orphans.insert(key);
    }

    fn replace(&mut self, file: &Origin, stamp: Stamp, pieces: Vec<ReadPiece>, changes: &mut Vec<Change>) {
        let known = self.known(file);
        if pieces.iter().any(|piece| piece.found.is_none() && !known.contains(&piece.hash)) {
            self.stale.insert(file.clone());
            return;
        }
        let old = self.files.remove(file).unwrap_or_default();
        let held_before = self.leave(file, &old);
        // Where the documents are that need not be parsed again.
        let mut known: HashMap<u64, usize> = HashMap::with_capacity(old.documents.len());
        let settled = old.documents.iter().enumerate().filter(|(_, document)| document.is_settled());
        known.extend(settled.map(|(index, document)| (document.hash, index)));
        let mut documents = Vec::with_capacity(pieces.len());
        let mut here: HashSet<ObjectKey> = HashSet::with_capacity(pieces.len());
        let mut refused = HashSet::new();
        let mut unreadable = false;
        for piece in pieces {
            let document = match piece.found {
                None => {
                    let Some(same) = known.get(&piece.hash).and_then(|index| old.documents.get(*index)) else {
                        continue;
                    };
                    let mut document = same.again();
                    document.line = piece.line;
                    for entry in &mut document.entries {
                        // The same bytes twice in one file.
                        entry.held = here.insert(entry.key.clone());
                    }
                    document
                }
                Some(found) => {
                    unreadable |= found.unreadable;
                    refused.extend(found.trouble.iter().flat_map(|trouble| &trouble.refused).cloned());
                    let entries = found.objects.into_iter().map(|object| {
                        let key = object.key();
                        let held = here.insert(key.clone()) && self.claim(&key, file);
                        if held {
                            changes.push(Change::Put(object, file.clone()));
                        }
                        Entry { key, held }
                    });
                    Document {
                        hash: piece.hash,
                        line: piece.line,
                        others: found.others,
                        entries: entries.collect(),
                        trouble: found.trouble,
                    }
                }
            };
            documents.push(document);
        }
        let mut kept = Vec::new();
        for key in held_before {
            if here.contains(&key) {
                continue;
            }
            // A document that can't be read may be any of those that are missing now.
            if unreadable || refused.contains(&key) {
                kept.push(key);
            } else {
                self.give_up(key);
            }
        }
        if documents.iter().any(Document::is_troubled) {
            self.troubled.insert(file.clone());
        } else {
            self.troubled.remove(file);
        }
        let record = Record { stamp: Some(stamp), documents: documents.into(), kept: kept.into(), failed: None };
        self.files.insert(file.clone(), record);
    }

    /// Makes this file the holder of an object, unless one that sorts first is.
    fn claim(&mut self, key: &ObjectKey, file: &Origin) -> bool {
        match self.holders.get(key).cloned() {
            Some(holder) if holder < *file => {
                self.contenders.insert((key.clone(), file.clone()));
                return false;
            }
            Some(holder) if holder != *file => self.dispossess(&holder, key),
            _ => {}
        }
        self.orphans.remove(key);
        self.holders.insert(key.clone(), file.clone());
        true
    }

    /// Another file, which sorts first, now has the object of this one.
    fn dispossess(&mut self, file: &Origin, key: &ObjectKey) {
        let Some(record) = self.files.get_mut(file) else { return };
        let entries = record.documents.iter_mut().flat_map(|document| &mut document.entries);
        match entries.into_iter().find(|entry| entry.held && entry.key == *key) {
            Some(entry) => {
                entry.held = false;
                self.contenders.insert((key.clone(), file.clone()));
                self.troubled.insert(file.clone());
            }
            None => record.kept = record.kept.iter().filter(|kept| *kept != key).cloned().collect(),
        }
    }

    /// The next file to be read again: one that another dispossessed while it was read, or that has an
    /// object nobody holds. Not one of `tried` for that.
    pub(super) fn next_again(&mut self, tried: &BTreeSet<Origin>) -> Option<Origin> {
        if let Some(stale) = self.stale.pop_first() {
            return Some(stale);
        }
        let orphans = self.orphans.iter().filter(|key| !self.holders.contains_key(key));
        orphans.flat_map(|key| self.contenders_for(key)).find(|file| !tried.contains(*file)).cloned()
    }

    fn contenders_for<'a>(&'a self, key: &'a ObjectKey) -> impl Iterator<Item = &'a Origin> {
        let from = Bound::Included((key.clone(), Origin::default()));
        self.contenders.range((from, Bound::Unbounded)).take_while(move |(k, _)| k == key).map(|(_, file)| file)
    }

    /// Deletes what nobody holds.
    pub(super) fn delete_orphans(&mut self, changes: &mut Vec<Change>) {
        let orphans = std::mem::take(&mut self.orphans);
        changes.extend(orphans.into_iter().filter(|key| !self.holders.contains_key(key)).map(Change::Delete));
    }
}

impl Document {
    /// The same again. Copied, as the same bytes may stand in a file twice.
    fn again(&self) -> Document {
        Document {
            hash: self.hash,
            line: self.line,
            others: self.others,
            entries: self.entries.iter().map(|entry| Entry { key: entry.key.clone(), held: entry.held }).collect(),
            trouble: self.trouble.clone(),
        }
    }

    /// Everything in it counts, so that the same bytes mean the same again.
    fn is_settled(&self) -> bool {
        self.entries.iter().all(|entry| entry.held)
    }

    fn is_troubled(&self) -> bool {
        self.trouble.is_some() || !self.is_settled()
    }
}
