//! What a template computes with.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// What a template can ask for fields of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// The dot at the start.
    Root,
    /// `.Message`.
    Message,
    /// `.Question`.
    Question,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Thing(Thing),
    /// Text, a number, or a truth value.
    Plain,
    /// A list of such, or of questions.
    List,
    /// By name.
    Map,
    /// It shows when it runs.
    Unknown,
}

impl Thing {
    /// Its name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Thing::Root => "the question",
            Thing::Message => ".Message",
            Thing::Question => ".Question",
        }
    }

    /// Its fields.
    pub(super) fn fields(self) -> &'static [(&'static str, Kind)] {
        use Kind::{List, Map, Plain};
        match self {
            Thing::Root => &[
                ("Name", Plain),
                ("Zone", Plain),
                ("Class", Plain),
                ("Type", Plain),
                ("Remote", Plain),
                ("Regex", Plain),
                ("Match", List),
                ("Group", Map),
                ("Message", Kind::Thing(Thing::Message)),
                ("Question", Kind::Thing(Thing::Question)),
            ],
            Thing::Message => &[
                ("Id", Plain),
                ("Response", Plain),
                ("Opcode", Plain),
                ("Authoritative", Plain),
                ("Truncated", Plain),
                ("RecursionDesired", Plain),
                ("RecursionAvailable", Plain),
                ("Zero", Plain),
                ("AuthenticatedData", Plain),
                ("CheckingDisabled", Plain),
                ("Rcode", Plain),
                ("Question", List),
            ],
            Thing::Question => &[("Name", Plain), ("Qtype", Plain), ("Qclass", Plain)],
        }
    }
}

/// What a template is run with.
pub trait Subject {
    /// A field; None where there is none of that name.
    fn field(&self, of: Thing, name: &str) -> Option<Value>;
    /// What is known under a label (`.Meta "plugin/label"`); empty where nothing is.
    fn meta(&self, label: &str) -> String;
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value: `nil`, or what a map does not have.
    Nothing,
    /// true, false.
    Bool(bool),
    /// A number: Go's int and uint alike.
    Number(i128),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// By name.
    Map(BTreeMap<String, Value>),
    /// What has fields.
    Thing(Thing),
}

impl Value {
    /// Whether `if` takes it for true: what is not empty, not 0 and not nothing.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Nothing => false,
            Value::Bool(truth) => *truth,
            Value::Number(number) => *number != 0,
            Value::Text(text) => !text.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::Thing(_) => true,
        }
    }

    /// What it is called in messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Nothing => "nil",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Thing(thing) => thing.name(),
        }
    }
}

impl fmt::Display for Value {
    /// As Go prints it.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nothing => to.write_str("<no value>"),
            Value::Bool(truth) => write!(to, "{truth}"),
            Value::Number(number) => write!(to, "{number}"),
            Value::Text(text) => to.write_str(text),
            Value::List(list) => {
                to.write_char('[')?;
                for (n, item) in list.iter().enumerate() {
                    write!(to, "{}{item}", if n > 0 { " " } else { "" })?;
                }
                to.write_char(']')
            }
            Value::Map(map) => {
                to.write_str("map[")?;
                for (n, (name, item)) in map.iter().enumerate() {
                    write!(to, "{}{name}:{item}", if n > 0 { " " } else { "" })?;
                }
                to.write_char(']')
            }
            Value::Thing(thing) => to.write_str(thing.name()),
        }
    }
}
