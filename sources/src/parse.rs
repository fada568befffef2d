//! The bytes of a manifest into objects.
//!
//! ```text
//! bytes ─split─> pieces ─plain | yaml | json─> tape ─object─> objects and faults
//! ```
//!
//! A piece is one document or one item of a list; `split` cuts a file into them. Three readers turn a
//! piece into the same flat `tape`, and one reader of objects does the API server's checks and defaults
//! on it. A bad piece takes no other with it. Memory and recursion are bounded whatever the bytes are: a
//! piece has at most [`MAX_PIECE`] bytes, a file at most [`MAX_FILE`].

use std::hash::RandomState;
use std::time::SystemTime;

use smallvec::SmallVec;

use bowline_cluster::intern::Strings;
use bowline_cluster::object::{Object, ObjectKey};
use bowline_cluster::source::{Origin, Problem};

pub mod document;
pub(crate) mod endpoints;
mod fields;
mod flannel;
mod json;
mod object;
mod others;
mod plain;
mod service;
mod slice;
mod split;
pub(crate) mod stream;
mod tape;
#[cfg(test)]
mod tests;
mod yaml;

pub(crate) use object::time;
use split::Format;
use tape::Tape;
use yaml::Unreadable;

/// The biggest file that is read, in bytes: 256 MiB.
pub const MAX_FILE: usize = 256 << 20;

/// The biggest document, or item of a list, in bytes: 16 MiB.
pub const MAX_PIECE: usize = 16 << 20;

/// What is wrong with a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Lines from the start of the piece.
    pub(crate) line: u32,
    pub(crate) object: Option<String>,
    pub(crate) field: Option<String>,
    pub(crate) message: String,
}

impl Fault {
    /// As a problem of this file, where the piece begins on `line` (from 0).
    pub(crate) fn problem(&self, file: &str, line: u32) -> Problem {
        self.problem_at(Origin::from(format!("{file}:{}", u64::from(line) + u64::from(self.line) + 1)))
    }

    /// As a problem of what stands there.
    pub(crate) fn problem_at(&self, origin: Origin) -> Problem {
        Problem { origin, object: self.object.clone(), field: self.field.clone(), message: self.message.clone() }
    }
}

/// `kind` and `apiVersion` of a list; empty where they are not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) kind: String,
    pub(crate) version: String,
}

/// Who has written an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// Somebody who is told what is wrong with it: all of it must be understood.
    Person,
    /// A server has checked and stored it. What this version doesn't know of it is of a newer API.
    Server,
}

/// What a piece holds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) objects: SmallVec<[Object; 1]>,
    /// Apart, as there seldom is any and thousands of these are in memory at once.
    pub(crate) trouble: Option<Box<Trouble>>,
    /// Objects of kinds that are not read.
    pub(crate) others: u32,
    /// Something is there of which not even the name could be read.
    pub(crate) unreadable: bool,
    /// It is not even well-formed.
    malformed: bool,
    /// An item can't be read without knowing what list it is in.
    needs_list: bool,
}

/// What is wrong in a piece.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble {
    pub(crate) faults: Vec<Fault>,
    /// Objects that are there but refused.
    pub(crate) refused: Vec<ObjectKey>,
}

impl Found {
    pub(crate) fn faults(&self) -> &[Fault] {
        self.trouble.as_ref().map_or(&[], |trouble| &trouble.faults)
    }

    fn malformed(unreadable: &Unreadable) -> Found {
        let message = format!("can't be read: {}", unreadable.reason);
        let fault = Fault { line: unreadable.line, object: None, field: None, message };
        let mut found = Found { malformed: true, ..Found::default() };
        found.refuse(fault, None);
        found
    }

    /// Something of an object is not understood that is served all the same.
    fn note(&mut self, fault: Fault) {
        self.trouble.get_or_insert_default().faults.push(fault);
    }

    fn refuse(&mut self, fault: Fault, object: Option<ObjectKey>) {
        // Whose it is can't be told, so it may be anyone's.
        self.unreadable |= object.is_none();
        let trouble = self.trouble.get_or_insert_default();
        trouble.faults.push(fault);
        trouble.refused.extend(object);
    }
}

/// Reads one piece.
fn piece(text: &[u8], format: Format, item: bool, list: Option<&Envelope>, strings: &Strings) -> Found {
    match tape(text, format) {
        Ok(tape) => object::read(&tape, item, list, Writer::Person, strings),
        Err(unreadable) => Found::malformed(&unreadable),
    }
}

fn tape(text: &[u8], format: Format) -> Result<Tape<'_>, Unreadable> {
    match format {
        Format::Json => json::read(text),
        Format::Yaml => plain::read(text).map_or_else(|| yaml::read(text), Ok),
    }
}

/// One object as a server sent it.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) found: Found,
    /// `metadata.resourceVersion`.
    pub(crate) version: Option<Box<str>>,
    /// When the change that made it began, where the object says so (a slice does).
    pub(crate) triggered: Option<SystemTime>,
}

/// Reads one object, JSON or YAML, that is not stored yet. `list` is what it is an item of, for those that don't say what
/// they are.
pub(crate) fn sent(text: &[u8], list: Option<&Envelope>, strings: &Strings) -> Sent {
    one(text, list, Writer::Person, strings)
}

/// The same of an object that a server has stored: what isn't known of it is told, and the rest is served.
pub(crate) fn stored(text: &[u8], list: Option<&Envelope>, strings: &Strings) -> Sent {
    one(text, list, Writer::Server, strings)
}

fn one(text: &[u8], list: Option<&Envelope>, writer: Writer, strings: &Strings) -> Sent {
    let format = match text.trim_ascii_start().first() {
        Some(b'{') => Format::Json,
        _ => Format::Yaml,
    };
    match tape(text, format) {
        Ok(tape) => {
            let (version, triggered) = object::marks(&tape);
            Sent { found: object::read(&tape, false, list, writer, strings), version, triggered }
        }
        Err(unreadable) => Sent { found: Found::malformed(&unreadable), version: None, triggered: None },
    }
}

/// What a manifest holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Its objects, in order.
    pub objects: Vec<Object>,
    /// What was refused.
    pub problems: Vec<Problem>,
    /// How many objects of kinds that are not read it has.
    pub others: u64,
}

/// Reads a manifest that is in memory: YAML or JSON, one object or many. `origin` stands in the problems;
/// where it ends in `.json`, what isn't JSON is refused. Never panics, whatever the bytes are.
pub fn manifest(origin: &str, text: &[u8], strings: &Strings) -> Manifest {
    let options = stream::Options { json_only: origin.ends_with(".json"), threads: 1, known: &|_| false };
    let mut manifest = Manifest::default();
    match stream::read(std::io::Cursor::new(text), &options, &RandomState::new(), strings) {
        Ok(pieces) => {
            for piece in pieces {
                let Some(found) = piece.found else { continue };
                manifest.problems.extend(found.faults().iter().map(|fault| fault.problem(origin, piece.line)));
                manifest.objects.extend(found.objects);
                manifest.others += u64::from(found.others);
            }
        }
        Err(error) => manifest.problems.push(Problem {
            origin: Origin::from(origin),
            object: None,
            field: None,
            message: format!("can't be read: {error}"),
        }),
    }
    manifest
}

/// What the fuzzers call: reads any bytes twice, as YAML or JSON and as JSON alone.
///
/// # Panics
/// Never, or there is a defect: what it checks is that the same bytes mean the same.
#[doc(hidden)]
pub fn fuzz(text: &[u8]) {
    for origin in ["fuzz.yaml", "fuzz.json"] {
        let read = || manifest(origin, text, &Strings::default());
        assert_eq!(read(), read(), "the same bytes were read in two ways");
    }
}
