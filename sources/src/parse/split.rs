//! Cuts a file into pieces that stand for themselves: documents, and the items of lists.
//!
//! Pieces are what is parsed in parallel, and what is parsed again when a file changes: a piece whose
//! bytes are the same means the same. Cutting must be cheap and needs no understanding of what is
//! inside: YAML is cut at the lines that separate documents and at those with the dash of a list's item,
//! JSON at the brackets. The text may come in parts, so that a big file is never in memory as a whole.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Envelope, Fault};

#[cfg(test)]
mod tests;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Yaml,
    Json,
}

impl Format {
    /// JSON where the first thing is a brace. What looks like JSON and isn't may still be YAML.
    pub(crate) fn of(text: &[u8]) -> Format {
        match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => Format::Json,
            _ => Format::Yaml,
        }
    }
}

/// One piece of the text given to [`Splitter::split`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) bytes: Range<usize>,
    /// Line of the file on which it begins, from 0.
    pub(crate) line: u32,
    /// Number of its document in the file, from 0.
    pub(crate) document: u32,
    /// It is an item of a list (in YAML with its dash).
    pub(crate) item: bool,
}

/// Where the cutting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Ahead of a document.
    Document,
    /// Ahead of an item of a list; in YAML its dash has this indent.
    Item(usize),
    /// Behind the items, within what else the list has.
    Tail,
}

/// Cuts one file.
#[derive(Debug)]
pub(crate) struct Splitter {
    format: Format,
    place: Place,
    line: u32,
    document: u32,
    /// Kind and version of the documents that are lists.
    pub(crate) lists: BTreeMap<u32, Envelope>,
}

impl Splitter {
    pub(crate) fn new(format: Format) -> Splitter {
        Splitter { format, place: Place::Document, line: 0, document: 0, lists: BTreeMap::new() }
    }

    /// Appends the pieces that are whole in `text`, and returns how many bytes are done with: the rest is
    /// to be offered again, with more behind it or with `last`.
    pub(crate) fn split(&mut self, text: &[u8], last: bool, pieces: &mut Vec<Piece>) -> Result<usize, Fault> {
        match self.format {
            Format::Yaml => Ok(self.split_yaml(text, last, pieces)),
            Format::Json => self.split_json(text, last, pieces),
        }
    }

    fn split_yaml(&mut self, text: &[u8], last: bool, pieces: &mut Vec<Piece>) -> usize {
        // What is known of the piece that begins at `start`.
        let (mut start, mut start_line) = (0, self.line);
        let (mut content, mut marker, mut items) = (false, false, false);
        let mut envelope = Envelope::default();
        let (mut at, mut number) = (0, self.line);
        while at < text.len() {
            let end = match memchr::memchr(b'\n', &text[at..]) {
                Some(length) => at + length + 1,
                None if last => text.len(),
                None => break,
            };
            let line = &text[at..end];
            let boundary = is_marker(line, b"---") || is_marker(line, b"...");
            if boundary {
                let ends = line[0] == b'.';
                if self.place != Place::Document || content || marker {
                    let end = if ends && self.place == Place::Document { end } else { at };
                    if self.place != Place::Tail && content_or_item(content, self.place) {
                        pieces.push(self.piece(start..end, start_line));
                    }
                    self.end_document();
                    (start, start_line) = (at, number);
                    items = false;
                    envelope = Envelope::default();
                }
                marker = !ends;
                // What follows the marker on its line belongs to the document.
                content = !ends && line[3..].iter().any(|byte| !byte.is_ascii_whitespace());
                if ends {
                    (start, start_line) = (end, number + 1);
                }
            } else if let Some(indent) = indent_of(line) {
                let dash = is_dash(&line[indent..]);
                match self.place {
                    Place::Item(column) if dash && indent == column => {
                        if at > start {
                            pieces.push(self.piece(start..at, start_line));
                        }
                        (start, start_line) = (at, number);
                    }
                    Place::Item(column) if indent <= column => {
                        pieces.push(self.piece(start..at, start_line));
                        self.place = Place::Tail;
                        (start, start_line) = (at, number);
                        self.note_list(line);
                    }
                    Place::Item(_) => {}
                    Place::Tail => {
                        self.note_list(line);
                        (start, start_line) = (end, number + 1);
                    }
                    Place::Document if items && dash => {
                        self.place = Place::Item(indent);
                        self.lists.insert(self.document, std::mem::take(&mut envelope));
                        (start, start_line) = (at, number);
                    }
                    Place::Document => {
                        content |= line[0] != b'%';
                        items = indent == 0 && top_level(line, b"items") == Some(b"");
                        note(&mut envelope, line);
                    }
                }
            }
            at = end;
            number += 1;
        }
        if last && at == text.len() {
            if self.place != Place::Tail && content_or_item(content, self.place) && start < at {
                pieces.push(self.piece(start..at, start_line));
            }
            (start, start_line) = (at, number);
        }
        self.line = start_line;
        start
    }

    fn end_document(&mut self) {
        self.place = Place::Document;
        self.document += 1;
    }

    fn piece(&self, bytes: Range<usize>, line: u32) -> Piece {
        Piece { bytes, line, document: self.document, item: matches!(self.place, Place::Item(_)) }
    }

    fn note_list(&mut self, line: &[u8]) {
        note(self.lists.entry(self.document).or_default(), line);
    }

    fn split_json(&mut self, text: &[u8], last: bool, pieces: &mut Vec<Piece>) -> Result<usize, Fault> {
        let mut done = 0;
        let mut at = skip_space(text, 0);
        let cut = |splitter: &mut Splitter, done: &mut usize, to: usize| {
            splitter.line += text[*done..to].iter().filter(|byte| **byte == b'\n').count() as u32;
            *done = to;
        };
        loop {
            cut(self, &mut done, at);
            let Some(first) = text.get(at) else {
                return if last && self.place != Place::Document { Err(self.broken_json(text, at)) } else { Ok(done) };
            };
            let step = match (self.place, first) {
                (Place::Document, b'{') => self.scan_object(text, at + 1, last, true),
                (Place::Document, _) => return Err(self.broken_json(text, at)),
                (Place::Tail, _) => self.scan_object(text, at, last, false),
                (Place::Item(_), b',') => {
                    at = skip_space(text, at + 1);
                    continue;
                }
                (Place::Item(_), b']') => {
                    self.place = Place::Tail;
                    at = skip_space(text, at + 1);
                    continue;
                }
                (Place::Item(_), b'}' | b':') => return Err(self.broken_json(text, at)),
                (Place::Item(_), _) => match value_end(text, at, last) {
                    Some(end) => Scanned::Object(end),
                    None => Scanned::Short,
                },
            };
            match step {
                Scanned::Object(end) => {
                    if self.place != Place::Tail {
                        pieces.push(self.piece(at..end, self.line));
                    }
                    if !matches!(self.place, Place::Item(_)) {
                        self.end_document();
                    }
                    at = skip_space(text, end);
                }
                Scanned::Items(start) => {
                    self.place = Place::Item(0);
                    at = skip_space(text, start);
                }
                Scanned::Short if last => return Err(self.broken_json(text, text.len())),
                Scanned::Short => return Ok(done),
                Scanned::Broken(at) => return Err(self.broken_json(text, at)),
            }
        }
    }

    /// Goes through an object's keys from within it, to its end or to the items of a list.
    fn scan_object(&mut self, text: &[u8], from: usize, last: bool, stop_at_items: bool) -> Scanned {
        let mut envelope = Envelope::default();
        let mut at = from;
        loop {
            at = skip_space(text, at);
            match text.get(at) {
                None => return Scanned::Short,
                Some(b'}') => {
                    if !stop_at_items {
                        self.merge_list(envelope);
                    }
                    return Scanned::Object(at + 1);
                }
                Some(b',') => {
                    at += 1;
                    continue;
                }
                Some(b'"') => {}
                Some(_) => return Scanned::Broken(at),
            }
            let Some(key_end) = value_end(text, at, last) else { return Scanned::Short };
            let key = &text[at + 1..key_end - 1];
            at = skip_space(text, key_end);
            match text.get(at) {
                None => return Scanned::Short,
                Some(b':') => at = skip_space(text, at + 1),
                Some(_) => return Scanned::Broken(at),
            }
            if stop_at_items && key == b"items" && text.get(at) == Some(&b'[') {
                self.merge_list(envelope);
                return Scanned::Items(at + 1);
            }
            let Some(end) = value_end(text, at, last) else { return Scanned::Short };
            envelope.note(key, text[at..end].trim_ascii_end());
            at = end;
        }
    }

    fn merge_list(&mut self, envelope: Envelope) {
        let list = self.lists.entry(self.document).or_default();
        if !envelope.kind.is_empty() {
            list.kind = envelope.kind;
        }
        if !envelope.version.is_empty() {
            list.version = envelope.version;
        }
    }

    fn broken_json(&self, text: &[u8], at: usize) -> Fault {
        let message = match text.get(at) {
            Some(byte) => format!("is not readable from here: {:?} stands where JSON can't have it", char::from(*byte)),
            None => "ends in the middle of an object; write it whole".to_string(),
        };
        Fault { line: self.line, object: None, field: None, message }
    }
}

enum Scanned {
    /// A whole value, to here.
    Object(usize),
    /// A list whose items begin here.
    Items(usize),
    /// The text ends within it.
    Short,
    /// No JSON, from here.
    Broken(usize),
}

impl Envelope {
    fn note(&mut self, key: &[u8], value: &[u8]) {
        let field = match key {
            b"kind" => &mut self.kind,
            b"apiVersion" => &mut self.version,
            _ => return,
        };
        let value = value.trim_ascii();
        let inner = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        if inner.len() <= 256 {
            *field = String::from_utf8_lossy(inner).into_owned();
        }
    }
}

/// Notes what a line at the left edge says of a list.
fn note(envelope: &mut Envelope, line: &[u8]) {
    for key in [&b"kind"[..], b"apiVersion"] {
        if let Some(value) = top_level(line, key) {
            envelope.note(key, value);
        }
    }
}

/// What follows a key at the left edge.
fn top_level<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    Some(line.strip_prefix(key)?.strip_prefix(b":")?.trim_ascii())
}

fn content_or_item(content: bool, place: Place) -> bool {
    content || matches!(place, Place::Item(_))
}

/// Columns before the text; None for blank lines and comments.
fn indent_of(line: &[u8]) -> Option<usize> {
    let indent = line.iter().take_while(|byte| **byte == b' ').count();
    match line.get(indent) {
        None | Some(b'\n' | b'#') => None,
        Some(b'\r') if line.len() == indent + 2 => None,
        Some(_) => Some(indent),
    }
}

fn is_dash(text: &[u8]) -> bool {
    text[0] == b'-' && text.get(1).is_none_or(u8::is_ascii_whitespace)
}

fn is_marker(line: &[u8], marker: &[u8]) -> bool {
    line.starts_with(marker) && line.get(3).is_none_or(u8::is_ascii_whitespace)
}

fn skip_space(text: &[u8], from: usize) -> usize {
    text[from..].iter().position(|byte| !byte.is_ascii_whitespace()).map_or(text.len(), |at| from + at)
}

/// Where the value that begins here ends; None where the text ends first. Brackets are counted, not
/// matched: whether it is JSON, its reader says.
fn value_end(text: &[u8], from: usize, last: bool) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = from;
    loop {
        match text.get(at)? {
            b'"' => {
                at += 1;
                loop {
                    at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
                    if text[at] == b'"' {
                        break;
                    }
                    at += 2;
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            _ => {
                // A number or a word.
                let length = text[at..].iter().position(|byte| b",:]}\"{[ \t\r\n".contains(byte));
                return match length {
                    Some(length) => Some(at + length.max(1)),
                    None if last => Some(text.len()),
                    None => None,
                };
            }
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}
