//! The objects of a manifest as they are written, for who stores them whole: each as a JSON value, beside
//! what the reader of objects says of it. What the reader refuses does not come out.

use serde_json::Value;

use super::split::{Format, Splitter};
use super::yaml::{self, Unreadable};
use super::{Envelope, MAX_FILE, MAX_PIECE};
use bowline_cluster::intern::Strings;
use bowline_cluster::source::{Origin, Problem};

#[cfg(test)]
mod tests;

/// Lists in lists deeper than this are refused, as the reader of objects does.
const MAX_LISTS: u32 = 4;

/// One object as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The file, and the line on which its document or item begins.
    pub origin: Origin,
    /// The object; a map.
    pub value: Value,
}

/// What a manifest holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    /// Its objects, in order. Objects of kinds that aren't read have a kind, an apiVersion and a name; no
    /// more is known of them.
    pub documents: Vec<Document>,
    /// What was refused.
    pub problems: Vec<Problem>,
}

/// How much of an object must be well for it to come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// All that the reader of objects looks at, to store it.
    Whole,
    /// Its kind and name, to delete it.
    Name,
}

/// Reads a manifest: YAML or JSON, one object or many. `file` stands in the problems; where it ends in
/// `.json`, what isn't JSON is refused.
pub fn documents(file: &str, text: &[u8]) -> Documents {
    objects(file, text, Wanted::Whole)
}

/// The same, for who only wants to know which objects are meant: whatever else is wrong with them, they come out if they
/// have a kind and a name.
pub fn named(file: &str, text: &[u8]) -> Documents {
    objects(file, text, Wanted::Name)
}

fn objects(file: &str, text: &[u8], wanted: Wanted) -> Documents {
    if text.len() > MAX_FILE {
        return broken(file, "is bigger than 256 MiB; write it as several files");
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    match Format::of(text) {
        // What begins like JSON may still be YAML.
        Format::Json => match read(file, text, Format::Json, wanted) {
            (_, false) if !file.ends_with(".json") => read(file, text, Format::Yaml, wanted).0,
            (documents, _) => documents,
        },
        Format::Yaml => read(file, text, Format::Yaml, wanted).0,
    }
}

fn broken(file: &str, message: &str) -> Documents {
    let problem = Problem { origin: Origin::from(file), object: None, field: None, message: message.to_string() };
    Documents { documents: Vec::new(), problems: vec![problem] }
}

/// One object, JSON or YAML, as it stands at a key of etcd.
pub(crate) fn one(text: &[u8]) -> Result<Value, String> {
    let format = Format::of(text);
    let read = match value(text, format) {
        Err(_) if format == Format::Json => value(text, Format::Yaml),
        read => read,
    };
    match read {
        Ok(value) if name(&value).is_some() => Ok(value),
        Ok(_) => Err("is no object: it has no kind, no apiVersion or no name".to_string()),
        Err(unreadable) => Err(format!("can't be read: {}", unreadable.reason)),
    }
}

/// The objects, and whether the whole is well-formed.
fn read(file: &str, text: &[u8], format: Format, wanted: Wanted) -> (Documents, bool) {
    let strings = Strings::default();
    let mut splitter = Splitter::new(format);
    let mut pieces = Vec::new();
    let fault = splitter.split(text, true, &mut pieces).err();
    let mut formed = fault.is_none();
    if pieces.iter().any(|piece| piece.bytes.len() > MAX_PIECE) {
        let message = "has a document or an item of more than 16 MiB; write it as several documents";
        return (broken(file, message), true);
    }
    let mut out = Documents::default();
    for piece in &pieces {
        let bytes = &text[piece.bytes.clone()];
        let list = splitter.lists.get(&piece.document).filter(|list| piece.item && !list.kind.is_empty());
        let found = super::piece(bytes, format, piece.item, list, &strings);
        formed &= !found.malformed;
        let minds = wanted == Wanted::Whole;
        if minds || found.malformed {
            out.problems.extend(found.faults().iter().map(|fault| fault.problem(file, piece.line)));
        }
        let origin = Origin::from(format!("{file}:{}", u64::from(piece.line) + 1));
        let mut refuse = |object: Option<String>, message: String| {
            out.problems.push(Problem { origin: origin.clone(), object, field: None, message });
        };
        if found.needs_list {
            refuse(None, "is in a list that has no kind; write `kind: List` and the kind of each item".to_string());
            continue;
        }
        let value = match value(bytes, format) {
            Ok(value) => value,
            // The reader has said so already, unless only this one minds.
            Err(unreadable) => {
                if !found.malformed {
                    refuse(None, format!("can't be read: {}", unreadable.reason));
                }
                continue;
            }
        };
        let mut values = Vec::new();
        match (value, piece.item && format == Format::Yaml) {
            // An item of a YAML list is read with its dash.
            (Value::Array(items), true) => items.into_iter().for_each(|item| flatten(item, list, 1, &mut values)),
            (value, _) => flatten(value, list, 0, &mut values),
        }
        // The reader has told what is wrong with them, but not always whose it is.
        if minds && !found.faults().is_empty() {
            values.retain(|value| super::sent(value.to_string().as_bytes(), None, &strings).found.faults().is_empty());
        }
        for value in values {
            let named = match wanted {
                Wanted::Whole => name(&value).is_some(),
                Wanted::Name => is_named(&value),
            };
            match named.then_some(()) {
                Some(()) => out.documents.push(Document { origin: origin.clone(), value }),
                None if wanted == Wanted::Name => refuse(
                    value.get("kind").and_then(Value::as_str).map(ToString::to_string),
                    "has no kind or no name, both strings; write them as kind and metadata.name".to_string(),
                ),
                None => refuse(
                    value.get("kind").and_then(Value::as_str).map(ToString::to_string),
                    "has no name; write it as metadata.name (generateName works only in Kubernetes)".to_string(),
                ),
            }
        }
    }
    if let Some(fault) = fault {
        out.problems.push(fault.problem(file, 0));
    }
    (out, formed)
}

/// The name of what has all that an object needs.
fn name(value: &Value) -> Option<&str> {
    let text = |value: Option<&'_ Value>| value.and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    let name = value.get("metadata")?.get("name")?.as_str()?;
    (!name.is_empty() && text(value.get("kind")) && text(value.get("apiVersion"))).then_some(name)
}

/// Whether it says what kind it is and what it is called.
fn is_named(value: &Value) -> bool {
    let text = |value: Option<&'_ Value>| value.and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    text(value.get("kind")) && text(value.get("metadata").and_then(|metadata| metadata.get("name")))
}

/// Takes lists apart; gives their items what those leave out.
fn flatten(mut value: Value, list: Option<&Envelope>, depth: u32, out: &mut Vec<Value>) {
    let Some(map) = value.as_object_mut() else {
        if !value.is_null() {
            out.push(value);
        }
        return;
    };
    if let Some(list) = list {
        if let Some(kind) = list.kind.strip_suffix("List").filter(|kind| !kind.is_empty()) {
            map.entry("kind").or_insert_with(|| kind.into());
        }
        if !list.version.is_empty() {
            map.entry("apiVersion").or_insert_with(|| list.version.clone().into());
        }
    }
    let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
    let envelope = Envelope { kind: text("kind"), version: text("apiVersion") };
    if envelope.kind.ends_with("List") && map.get("items").is_some_and(Value::is_array) {
        if let (true, Some(Value::Array(items))) = (depth < MAX_LISTS, map.remove("items")) {
            items.into_iter().for_each(|item| flatten(item, Some(&envelope), depth + 1, out));
        }
        return;
    }
    out.push(value);
}

/// One document or item.
fn value(text: &[u8], format: Format) -> Result<Value, Unreadable> {
    let mut value = written(text, format)?;
    integers(&mut value);
    Ok(value)
}

/// Numbers that are whole become integers, as the reader of objects takes them.
fn integers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(whole) = number.as_f64().and_then(super::tape::whole) {
                *value = whole.into();
            }
        }
        Value::Array(list) => list.iter_mut().for_each(integers),
        Value::Object(map) => map.values_mut().for_each(integers),
        _ => {}
    }
}

fn written(text: &[u8], format: Format) -> Result<Value, Unreadable> {
    match format {
        Format::Json => serde_json::from_slice(text).map_err(|error| Unreadable {
            line: u32::try_from(error.line().saturating_sub(1)).unwrap_or(0),
            reason: error.to_string(),
        }),
        Format::Yaml => yaml::value(text),
    }
}
