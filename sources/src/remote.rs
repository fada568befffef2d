//! What sources have in common that read a server: lists and watches, told as one state.
//!
//! A source has one or several collections (etcd: all objects; Kubernetes: one a resource). Each is listed
//! and then watched, and listed again when its watch can't go on:
//!
//! ```text
//! begin  put put put ...  end    put delete put ...    begin  put put ...  end
//! `------ a listing ------´      `---- a watch ----´   `- listed again -´
//! ```
//!
//! The first `end` of the last collection tells [`Update::All`]; before it nothing is told, so a list that
//! breaks off is never served. A later listing tells what differs step by step and deletes at its `end` what
//! it did not have: the objects are never in memory twice. What is kept here is which objects there are, not
//! what they say.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use crate::parse::{self, Envelope, Sent};
use bowline_cluster::intern::Strings;
use bowline_cluster::object::{Object, ObjectKey};
use bowline_cluster::source::{Change, Drift, Origin, Problem, Sink, Triggered, Update};

/// How many changes are told at once at most.
const BATCH: usize = 1024;

/// Which collection of a [`Mirror`]: its place in the list it was made with.
pub(crate) type Collection = usize;

/// How many reasons are told at most before it is back.
const MAX_REASONS: usize = 16;

/// How many objects share a string before the ones nobody uses are swept.
const SWEEP: usize = 100_000;

/// What is kept of an object that is there.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The listing in which it was seen last.
    listing: u32,
    /// The comparison in which it was found last.
    comparison: u32,
    /// Its `resourceVersion`; 0 where it has none, or one that is no number.
    version: u64,
}

/// An object that the server, asked for names and versions alone, has otherwise than we hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) key: ObjectKey,
    /// Its version here; None where it is not known.
    ours: Option<u64>,
    /// Its version there; None where it is not there.
    theirs: Option<u64>,
}

#[derive(Debug, Default)]
struct Shelf {
    name: &'static str,
    /// The objects that are there, the refused among them.
    known: HashMap<ObjectKey, Known>,
    /// What stands there without being anybody's, and the listing in which it was seen last.
    misplaced: HashMap<Origin, u32>,
    /// Which listing it is; what was seen in an older one goes at `end`.
    listing: u32,
    /// Between `begin` and `end`.
    is_listing: bool,
    /// Which comparison it is.
    comparison: u32,
    /// Up to which revision its changes are in what is known.
    settled: u64,
    /// The newest version of an object that is there: it proves that a server has the same past up to there.
    witness: Option<(u64, ObjectKey)>,
    /// Its first listing, until every collection has had one.
    first: Vec<Change>,
    complete: bool,
    away: Option<String>,
    /// What stands in the way of this collection alone.
    problem: Option<Problem>,
}

impl Shelf {
    /// Of several changes of one object in its first listing, keeps the last; deletes need not be told.
    fn keep_last(&mut self) {
        let mut seen = HashSet::with_capacity(self.known.len());
        let mut kept = Vec::with_capacity(self.known.len() + BATCH);
        for change in std::mem::take(&mut self.first).into_iter().rev() {
            match &change {
                Change::Put(object, _) if seen.insert(object.key()) => kept.push(change),
                Change::Put(..) => {}
                Change::Delete(key) => drop(seen.insert(key.clone())),
            }
        }
        kept.reverse();
        self.first = kept;
    }
}

/// Takes in what a server tells and passes it on to a [`Sink`].
pub(crate) struct Mirror<'s> {
    sink: &'s dyn Sink,
    strings: Strings,
    shelves: Vec<Shelf>,
    told_all: bool,
    queue: Vec<Change>,
    read_at: Option<Instant>,
    triggered: Vec<Triggered>,
    refused: BTreeMap<Subject, Vec<Problem>>,
    problems_differ: bool,
    away: bool,
    /// Why it is away, as far as that was told.
    reasons: Vec<String>,
    swept: usize,
}

/// Whose a problem is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Object(ObjectKey),
    /// Something whose name could not be read.
    Origin(Origin),
}

impl<'s> Mirror<'s> {
    /// A mirror of these collections, that knows of no object yet.
    pub(crate) fn new(sink: &'s dyn Sink, names: &[&'static str]) -> Mirror<'s> {
        Mirror {
            sink,
            strings: Strings::default(),
            shelves: names.iter().map(|name| Shelf { name, ..Shelf::default() }).collect(),
            told_all: false,
            queue: Vec::new(),
            read_at: None,
            triggered: Vec::new(),
            refused: BTreeMap::new(),
            problems_differ: false,
            away: false,
            reasons: Vec::new(),
            swept: 0,
        }
    }

    /// A listing begins, or begins again: what an unfinished one brought is not told.
    pub(crate) fn begin(&mut self, c: Collection) {
        let shelf = &mut self.shelves[c];
        shelf.listing += 1;
        shelf.is_listing = true;
        if !self.told_all {
            shelf.first.clear();
            shelf.complete = false;
            // Nobody was told of these, nor will be of what was wrong with them.
            for (key, _) in std::mem::take(&mut shelf.known) {
                self.refuse(Subject::Object(key), Vec::new());
            }
        }
    }

    /// An object as the server sent it, of a listing or of a watch; returns its `resourceVersion`.
    ///
    /// `key` is whose place it stands at, where the server tells that apart from the object; an object of
    /// another name there is refused. `list` is what list it is an item of.
    pub(crate) fn put(
        &mut self,
        c: Collection,
        origin: &Origin,
        key: Option<ObjectKey>,
        text: &[u8],
        list: Option<&Envelope>,
    ) -> Option<Box<str>> {
        let sent = parse::stored(text, list, &self.strings);
        let version = sent.version.clone();
        self.take(c, origin, key, sent, number(version.as_deref()));
        version
    }

    /// The same of a server that tells an object's place and version beside it.
    pub(crate) fn put_at(&mut self, c: Collection, origin: &Origin, key: ObjectKey, text: &[u8], version: u64) {
        let sent = parse::stored(text, None, &self.strings);
        self.take(c, origin, Some(key), sent, version);
    }

    fn take(&mut self, c: Collection, origin: &Origin, key: Option<ObjectKey>, sent: Sent, number: u64) {
        self.read_at.get_or_insert_with(Instant::now);
        let Sent { found, triggered, .. } = sent;
        let mut problems: Vec<Problem> = found.faults().iter().map(|fault| fault.problem_at(origin.clone())).collect();
        let refused = found.trouble.as_ref().and_then(|trouble| trouble.refused.first().cloned());
        let refused: Option<ObjectKey> = key.clone().or(refused);
        if let Some(key) = key.as_ref().filter(|_| found.others > 0) {
            let message = format!("is of a kind that is not read, at the key of {key}; store it at its own");
            problems.push(problem(origin, None, &message));
        }
        self.replace(c, origin);
        let mut objects = found.objects;
        if objects.len() > 1 {
            problems.push(problem(origin, None, "holds several objects; store each at its own key"));
            objects.clear();
        }
        match objects.pop() {
            Some(object) => {
                let own = object.key();
                if let Some(key) = key.filter(|key| *key != own) {
                    let message = format!("is {own}, at the key of {key}; store it at its own (`bowline apply` does)");
                    problems.push(problem(origin, Some(own.to_string()), &message));
                    self.see(c, key.clone(), number);
                    self.refuse(Subject::Object(key), problems);
                    return;
                }
                self.see(c, own.clone(), number);
                self.refuse(Subject::Object(own), problems);
                // What a listing brings may have been there for long.
                if let (Some(at), Object::EndpointSlice(slice)) = (triggered, &object)
                    && !self.shelves[c].is_listing
                    && self.triggered.len() < BATCH
                {
                    self.triggered.push(Triggered { slice: slice.clone(), at });
                }
                self.tell(c, Change::Put(object, origin.clone()));
            }
            // The last good version of a refused object stays.
            None => match refused {
                Some(key) => {
                    self.see(c, key.clone(), number);
                    self.refuse(Subject::Object(key), problems);
                }
                None => self.misplace(c, origin, problems),
            },
        }
    }

    /// Something stands there that can be nobody's object, whatever it says.
    pub(crate) fn misplaced(&mut self, c: Collection, origin: &Origin, message: &str) {
        self.misplace(c, origin, vec![problem(origin, None, message)]);
    }

    /// What stood there is gone or another, if it was nobody's object.
    pub(crate) fn replace(&mut self, c: Collection, origin: &Origin) {
        if self.shelves[c].misplaced.remove(origin).is_some() {
            self.refuse(Subject::Origin(origin.clone()), Vec::new());
        }
    }

    fn misplace(&mut self, c: Collection, origin: &Origin, problems: Vec<Problem>) {
        if !problems.is_empty() {
            let shelf = &mut self.shelves[c];
            shelf.misplaced.insert(origin.clone(), shelf.listing);
            self.refuse(Subject::Origin(origin.clone()), problems);
        }
    }

    /// The object is gone, says a watch.
    pub(crate) fn delete(&mut self, c: Collection, key: &ObjectKey) {
        self.read_at.get_or_insert_with(Instant::now);
        self.refuse(Subject::Object(key.clone()), Vec::new());
        if self.shelves[c].known.remove(key).is_some() {
            self.tell(c, Change::Delete(key.clone()));
        }
    }

    /// The object is gone, says a watch, and sends it as it was last; returns its `resourceVersion`.
    pub(crate) fn delete_sent(&mut self, c: Collection, text: &[u8]) -> Option<Box<str>> {
        let Sent { found, version, .. } = parse::stored(text, None, &self.strings);
        let refused = found.trouble.into_iter().flat_map(|trouble| trouble.refused);
        for key in found.objects.iter().map(Object::key).chain(refused) {
            self.delete(c, &key);
        }
        self.settle(c, version.as_deref());
        version
    }

    /// The listing is whole: what it did not have is gone.
    pub(crate) fn end(&mut self, c: Collection) {
        let shelf = &mut self.shelves[c];
        let listing = shelf.listing;
        let gone: Vec<ObjectKey> =
            shelf.known.extract_if(|_, known| known.listing != listing).map(|(key, _)| key).collect();
        let replaced: Vec<Origin> =
            shelf.misplaced.iter().filter(|(_, seen)| **seen != listing).map(|(origin, _)| origin.clone()).collect();
        shelf.is_listing = false;
        shelf.complete = true;
        self.set_problem(c, None);
        for origin in replaced {
            self.replace(c, &origin);
        }
        for key in gone {
            self.refuse(Subject::Object(key.clone()), Vec::new());
            self.tell(c, Change::Delete(key));
        }
        self.flush();
    }

    /// What is known of this collection has all its changes up to this version: of a list, or of a deletion.
    pub(crate) fn settle(&mut self, c: Collection, version: Option<&str>) {
        let shelf = &mut self.shelves[c];
        shelf.settled = shelf.settled.max(number(version));
    }

    /// Up to which revision the changes of this collection are in what is known.
    pub(crate) fn settled(&self, c: Collection) -> u64 {
        self.shelves[c].settled
    }

    /// Of each collection the object that changed last, with its version; the newest first.
    pub(crate) fn witnesses(&self) -> Vec<(Collection, ObjectKey, u64)> {
        let of_shelf = |(c, shelf): (Collection, &Shelf)| {
            let (version, key) = shelf.witness.clone()?;
            // Where it is gone it proves nothing.
            shelf.known.get(&key).filter(|known| known.version == version)?;
            Some((c, key, version))
        };
        let mut witnesses: Vec<_> = self.shelves.iter().enumerate().filter_map(of_shelf).collect();
        witnesses.sort_by_key(|(_, _, version)| std::cmp::Reverse(*version));
        witnesses
    }

    /// The versions so far belong to another past.
    pub(crate) fn forget_versions(&mut self) {
        for shelf in &mut self.shelves {
            (shelf.settled, shelf.witness) = (0, None);
        }
    }

    /// A comparison with all that the server has begins. Not while the collection is being listed.
    pub(crate) fn begin_comparison(&mut self, c: Collection) -> Option<u32> {
        let shelf = &mut self.shelves[c];
        if shelf.is_listing || !shelf.complete || shelf.away.is_some() {
            return None;
        }
        shelf.comparison += 1;
        Some(shelf.listing)
    }

    /// The server has this object in this version; what there is to say where it is known otherwise.
    pub(crate) fn compare(&mut self, c: Collection, key: ObjectKey, theirs: u64) -> Option<Difference> {
        let shelf = &mut self.shelves[c];
        let ours = shelf.known.get_mut(&key).map(|known| {
            known.comparison = shelf.comparison;
            known.version
        });
        (ours != Some(theirs)).then_some(Difference { key, ours, theirs: Some(theirs) })
    }

    /// What is known, and was not compared: the server does not have it.
    pub(crate) fn end_comparison(&self, c: Collection) -> impl Iterator<Item = Difference> {
        let shelf = &self.shelves[c];
        let unseen = shelf.known.iter().filter(|(_, known)| known.comparison != shelf.comparison);
        unseen.map(|(key, known)| Difference { key: key.clone(), ours: Some(known.version), theirs: None })
    }

    /// Whether it still differs from what the server had at this revision, in a collection that was not listed again.
    pub(crate) fn still_differs(&self, c: Collection, listing: u32, difference: &Difference, revision: u64) -> bool {
        let shelf = &self.shelves[c];
        if shelf.listing != listing {
            return false;
        }
        match shelf.known.get(&difference.key) {
            None => difference.ours.is_none(),
            Some(known) => Some(known.version) != difference.theirs && known.version <= revision,
        }
    }

    /// Tells of a difference to what the server has.
    pub(crate) fn drifted(&self, drift: &Drift) {
        self.sink.drifted(drift);
    }

    /// The server does not have this collection, or not for us: it counts as listed and empty until it is.
    pub(crate) fn absent(&mut self, c: Collection, why: Option<Problem>) {
        self.begin(c);
        self.end(c);
        self.set_problem(c, why);
        self.flush();
    }

    /// The server does not let us have this collection: what is known of it stays, and counts as listed.
    pub(crate) fn hindered(&mut self, c: Collection, why: Problem) {
        if !self.shelves[c].complete {
            self.begin(c);
            self.end(c);
        }
        self.set_problem(c, Some(why));
        self.flush();
    }

    /// What stands in the way of a collection without making the source unreadable.
    fn set_problem(&mut self, c: Collection, problem: Option<Problem>) {
        let shelf = &mut self.shelves[c];
        self.problems_differ |= shelf.problem != problem;
        shelf.problem = problem;
    }

    /// Whether enough is queued to be told now.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= BATCH
    }

    /// Tells what is queued. To be called whenever nothing more is there to take in at once.
    pub(crate) fn flush(&mut self) {
        if self.told_all {
            self.flush_queue();
        } else if self.shelves.iter().all(|shelf| shelf.complete) {
            self.told_all = true;
            let mut all = Vec::with_capacity(self.shelves.iter().map(|shelf| shelf.first.len()).sum());
            self.shelves.iter_mut().for_each(|shelf| all.append(&mut std::mem::take(&mut shelf.first)));
            self.read_at = None;
            self.triggered.clear();
            self.sink.update(Update::All(all));
        }
        if !self.told_all {
            return;
        }
        if std::mem::take(&mut self.problems_differ) {
            let of_shelves = self.shelves.iter().filter_map(|shelf| shelf.problem.clone());
            let problems = self.refused.values().flatten().cloned().chain(of_shelves).collect();
            self.sink.update(Update::Problems(problems));
        }
        if self.strings.len() > self.swept + SWEEP {
            self.strings.sweep();
            self.swept = self.strings.len();
        }
    }

    fn flush_queue(&mut self) {
        let read_at = self.read_at.take().unwrap_or_else(Instant::now);
        let changes = std::mem::take(&mut self.queue);
        let triggered = std::mem::take(&mut self.triggered);
        if !changes.is_empty() {
            self.sink.update(Update::Some { changes, read_at, triggered });
        }
    }

    /// The collection can't be read since now.
    pub(crate) fn away(&mut self, c: Collection, reason: String) {
        self.shelves[c].away = Some(reason.clone());
        if !std::mem::replace(&mut self.away, true) {
            // What came before it is told before it.
            self.flush();
            self.reasons = vec![reason.clone()];
            self.sink.update(Update::Away(reason));
        }
    }

    /// The same, and tells why too where it is away already for another reason. Each reason once: servers may
    /// fail in turn.
    pub(crate) fn away_because(&mut self, c: Collection, reason: String) {
        self.away(c, reason.clone());
        if self.reasons.len() < MAX_REASONS && !self.reasons.contains(&reason) {
            self.reasons.push(reason.clone());
            self.sink.update(Update::Away(reason));
        }
    }

    /// The collection can be read again.
    pub(crate) fn back(&mut self, c: Collection) {
        self.shelves[c].away = None;
        if self.away && self.shelves.iter().all(|shelf| shelf.away.is_none()) {
            self.away = false;
            self.sink.update(Update::Back);
        }
    }

    /// The name of a collection.
    pub(crate) fn name(&self, c: Collection) -> &'static str {
        self.shelves[c].name
    }

    /// How many objects of a collection there are.
    pub(crate) fn count(&self, c: Collection) -> usize {
        self.shelves[c].known.len()
    }

    fn see(&mut self, c: Collection, key: ObjectKey, version: u64) {
        let shelf = &mut self.shelves[c];
        if version > 0 && shelf.witness.as_ref().is_none_or(|(newest, _)| *newest <= version) {
            shelf.witness = Some((version, key.clone()));
        }
        if !shelf.is_listing {
            shelf.settled = shelf.settled.max(version);
        }
        shelf.known.insert(key, Known { listing: shelf.listing, comparison: shelf.comparison, version });
    }

    fn tell(&mut self, c: Collection, change: Change) {
        if self.told_all {
            self.queue.push(change);
            if self.is_full() {
                self.flush_queue();
            }
        } else {
            let shelf = &mut self.shelves[c];
            shelf.first.push(change);
            // Others may be long in coming, while this one is watched.
            if shelf.first.len() > 2 * shelf.known.len() + BATCH {
                shelf.keep_last();
            }
        }
    }

    fn refuse(&mut self, subject: Subject, problems: Vec<Problem>) {
        let before = if problems.is_empty() {
            self.refused.remove(&subject)
        } else {
            self.refused.insert(subject.clone(), problems)
        };
        self.problems_differ |= before.as_ref() != self.refused.get(&subject);
    }
}

/// A `resourceVersion` as the number that it is.
pub(crate) fn number(version: Option<&str>) -> u64 {
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}

fn problem(origin: &Origin, object: Option<String>, message: &str) -> Problem {
    Problem { origin: origin.clone(), object, field: None, message: message.to_owned() }
}

#[cfg(test)]
mod tests;
