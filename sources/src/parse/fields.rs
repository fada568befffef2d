//! Reads fields out of a [`Node`], and says which one is wrong: the checks that kinds share.

use std::cell::RefCell;
use std::net::IpAddr;

use ipnet::IpNet;

use super::tape::{Node, Value};
use bowline_cluster::address;
use bowline_cluster::intern::Strings;
use bowline_cluster::object::{Labels, Protocol, Str};

/// Why an object is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Lines from the start of the document.
    pub(super) line: u32,
    /// Path of the field from the object's root; empty for the object itself.
    pub(super) field: String,
    /// What is wrong and what to do.
    pub(super) message: String,
}

pub(super) type Read<T> = Result<T, Refusal>;

/// What a value is called in messages.
fn kind_of(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Int(_) | Value::Number => "a number",
        Value::Text(_) => "a string",
        Value::Map => "a map",
        Value::Seq => "a list",
    }
}

/// A place of a document, and how one comes to it from the root of the object.
#[derive(Clone, Copy)]
pub(super) struct Field<'p, 't, 'a> {
    node: Node<'t, 'a>,
    step: Step<'p>,
    above: Option<&'p Field<'p, 't, 'a>>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    /// With what is noted of an object that a server has stored; None where it was written by hand.
    Root(Option<&'p RefCell<Vec<Refusal>>>),
    Key(&'p str),
    Index(usize),
}

impl<'p, 't, 'a> Field<'p, 't, 'a> {
    pub(super) fn root(node: Node<'t, 'a>, notes: Option<&'p RefCell<Vec<Refusal>>>) -> Field<'p, 't, 'a> {
        Field { node, step: Step::Root(notes), above: None }
    }

    /// Where notes go; None where nothing may be left at a note.
    fn notes(&self) -> Option<&'p RefCell<Vec<Refusal>>> {
        match (self.above, self.step) {
            (Some(above), _) => above.notes(),
            (None, Step::Root(notes)) => notes,
            (None, _) => None,
        }
    }

    /// This field has a value of which this version doesn't know what it means. Written by hand it is refused. What a
    /// server has stored is of a newer API: that is noted, and the rest is served, as if `known` were written there.
    pub(super) fn unknown<T>(&self, written: &str, allowed: &str, known: T, instead: &str) -> Read<T> {
        let Some(notes) = self.notes() else { return self.err(format!("is {written:?}; write {allowed}")) };
        let message = format!("is {written:?}, which this version doesn't know; {instead}, and the rest is served");
        notes.borrow_mut().push(self.refuse(message));
        Ok(known)
    }

    /// The same of a field of this one.
    pub(super) fn unknown_at<T>(&self, key: &str, written: &str, allowed: &str, known: T, instead: &str) -> Read<T> {
        let node = self.get(key).map_or(self.node, |field| field.node);
        Field { node, step: Step::Key(key), above: Some(self) }.unknown(written, allowed, known, instead)
    }

    /// The field of this name; None where it is left out or null. Of two (JSON allows it), the last.
    pub(super) fn get<'s>(&'s self, key: &'s str) -> Option<Field<'s, 't, 'a>> {
        let found = self.node.entries().filter(|(k, _)| *k == key).last()?.1;
        (*found.value() != Value::Null).then_some(Field { node: found, step: Step::Key(key), above: Some(self) })
    }

    pub(super) fn node(&self) -> Node<'t, 'a> {
        self.node
    }

    fn refuse(&self, message: impl Into<String>) -> Refusal {
        let mut field = String::new();
        self.path(&mut field);
        Refusal { line: self.node.line(), field, message: message.into() }
    }

    fn path(&self, out: &mut String) {
        let Some(above) = self.above else { return };
        above.path(out);
        match self.step {
            Step::Root(_) => {}
            Step::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
            Step::Index(index) => {
                out.push('[');
                out.push_str(&index.to_string());
                out.push(']');
            }
        }
    }

    /// A refusal of this field.
    pub(super) fn err<T>(&self, message: impl Into<String>) -> Read<T> {
        Err(self.refuse(message))
    }

    /// A refusal of a field of this one that is left out.
    pub(super) fn missing<T>(&self, key: &str, message: impl Into<String>) -> Read<T> {
        Field { node: self.node, step: Step::Key(key), above: Some(self) }.err(message)
    }

    fn wrong_type<T>(&self, wanted: &str) -> Read<T> {
        self.err(format!("is {}; write {wanted}", kind_of(self.node.value())))
    }

    /// A map. An element of a list that is null is one without fields, as in Go.
    pub(super) fn map(self) -> Read<Self> {
        if matches!(self.node.value(), Value::Map | Value::Null) { Ok(self) } else { self.wrong_type("a map") }
    }

    /// The field of this name, a map.
    pub(super) fn map_at<'s>(&'s self, key: &'s str) -> Read<Option<Field<'s, 't, 'a>>> {
        self.get(key).map(Field::map).transpose()
    }

    /// The elements of a list.
    pub(super) fn list<'s>(&'s self) -> Read<impl Iterator<Item = Field<'s, 't, 'a>>> {
        if *self.node.value() != Value::Seq {
            return self.wrong_type("a list");
        }
        let elements = self.node.elements().enumerate();
        Ok(elements.map(|(index, node)| Field { node, step: Step::Index(index), above: Some(self) }))
    }

    pub(super) fn text(&self) -> Read<&'t str> {
        match self.node.value() {
            Value::Text(text) => Ok(text),
            Value::Int(_) | Value::Number | Value::Bool(_) => {
                self.err(format!("is {}; put it in quotes to make it a string", kind_of(self.node.value())))
            }
            _ => self.wrong_type("a string"),
        }
    }

    /// The string in the field of this name; None where it is left out or empty.
    pub(super) fn text_at(&self, key: &str) -> Read<Option<&'t str>> {
        Ok(self.get(key).map(|field| field.text()).transpose()?.filter(|text| !text.is_empty()))
    }

    pub(super) fn flag_at(&self, key: &str) -> Read<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(field) => match field.node.value() {
                Value::Bool(value) => Ok(Some(*value)),
                _ => field.wrong_type("true or false"),
            },
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, from: i64, to: i64) -> Read<i64> {
        match self.node.value() {
            Value::Int(number) if (from..=to).contains(number) => Ok(*number),
            Value::Int(number) => self.err(format!("is {number}; write a number from {from} to {to}")),
            Value::Number => self.err(format!("is no whole number; write one from {from} to {to}")),
            _ => self.wrong_type(&format!("a number from {from} to {to}, without quotes")),
        }
    }

    /// A port, 1 to 65535.
    pub(super) fn port(&self) -> Read<u16> {
        self.number(1, 65535).map(|number| number as u16)
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self.node.value(), Value::Int(_) | Value::Number)
    }

    pub(super) fn is_empty_text(&self) -> bool {
        matches!(self.node.value(), Value::Text(text) if text.is_empty())
    }

    /// Whether it is text of blanks only.
    pub(super) fn is_blank(&self) -> bool {
        matches!(self.node.value(), Value::Text(text) if text.trim().is_empty())
    }

    pub(super) fn address(&self) -> Read<IpAddr> {
        let text = self.text()?;
        match address::parse(text) {
            Some(address) => Ok(address),
            None => self.err(format!("{text:?} is no IP address; write one like 10.0.0.1 or fd00::1")),
        }
    }

    /// A range of addresses.
    pub(super) fn range(&self) -> Read<IpNet> {
        let text = self.text()?;
        match address::parse_range(text) {
            Some(range) => Ok(range),
            None => self.err(format!("{text:?} is no range of addresses; write one like 10.244.0.0/24")),
        }
    }

    /// A map of strings, sorted.
    pub(super) fn labels(&self, strings: &Strings) -> Read<Labels> {
        if *self.node.value() != Value::Map {
            return self.wrong_type("a map");
        }
        let mut labels = Vec::with_capacity(self.node.entries().count());
        for (key, node) in self.node.entries() {
            let value = match node.value() {
                Value::Null => "",
                _ => Field { node, step: Step::Key(key), above: Some(self) }.text()?,
            };
            labels.push((strings.get(key), strings.get(value)));
        }
        // Of a key written twice the last counts, as in `get`.
        labels.reverse();
        labels.sort_by(|a, b| a.0.cmp(&b.0));
        labels.dedup_by(|a, b| a.0 == b.0);
        Ok(labels.into())
    }

    /// None where it isn't known.
    fn protocol(&self) -> Read<Option<Protocol>> {
        match self.text()? {
            "TCP" => Ok(Some(Protocol::Tcp)),
            "UDP" => Ok(Some(Protocol::Udp)),
            "SCTP" => Ok(Some(Protocol::Sctp)),
            other => self.unknown(other, "TCP, UDP or SCTP", None, "the port is left out"),
        }
    }

    /// The protocol of a port; None where it isn't known and the port is to be left out.
    pub(super) fn protocol_at(&self) -> Read<Option<Protocol>> {
        let written = self.get("protocol").filter(|field| !field.is_empty_text());
        written.map_or(Ok(Some(Protocol::Tcp)), |field| field.protocol())
    }

    /// A name by the rules of `form`.
    pub(super) fn name(&self, form: Form) -> Read<&'t str> {
        let text = self.text()?;
        if form.fits(text) { Ok(text) } else { self.err(format!("{text:?} is no name here; write {}", form.rule())) }
    }

    /// A shared string; None where the field is left out or empty.
    pub(super) fn shared_at(&self, key: &str, strings: &Strings) -> Read<Option<Str>> {
        Ok(self.text_at(key)?.map(|text| strings.get(text)))
    }
}

/// The forms that names have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// DNS-1123 label.
    Label,
    /// DNS-1123 subdomain.
    Subdomain,
    /// IANA service name, as container ports have.
    PortName,
}

impl Form {
    pub(super) fn fits(self, text: &str) -> bool {
        match self {
            Form::Label => is_label(text) && text.len() <= 63,
            Form::Subdomain => text.len() <= 253 && text.split('.').all(is_label),
            Form::PortName => {
                is_label(text)
                    && text.len() <= 15
                    && !text.contains("--")
                    && text.bytes().any(|byte| byte.is_ascii_lowercase())
            }
        }
    }

    fn rule(self) -> &'static str {
        match self {
            Form::Label => "up to 63 of a-z, 0-9 and -, with a letter or digit at both ends",
            Form::Subdomain => "up to 253 of a-z, 0-9, - and ., with a letter or digit at both ends of each part",
            Form::PortName => "up to 15 of a-z, 0-9 and single -, a letter among them, a letter or digit at both ends",
        }
    }
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(inner)
}

/// Seconds since 1970 of an RFC 3339 time, without fractions of a second; Go's liberties with it are taken too (an hour
/// of one digit, a comma before the fraction). None where it is none.
pub(super) fn rfc3339(text: &str) -> Option<i64> {
    if text.as_bytes().get(12) == Some(&b':') {
        let (date, time) = text.split_at_checked(11)?;
        return rfc3339(&format!("{date}0{time}"));
    }
    let digits = |range: std::ops::Range<usize>| -> Option<i64> {
        let part = text.get(range)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let bytes = text.as_bytes();
    let at = |index: usize, wanted: &[u8]| bytes.get(index).is_some_and(|byte| wanted.contains(byte));
    if !(at(4, b"-") && at(7, b"-") && at(10, b"Tt ") && at(13, b":") && at(16, b":")) {
        return None;
    }
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
    let long_month = 31 - i64::from(matches!(month, 4 | 6 | 9 | 11));
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days_of_month = if month == 2 { 28 + i64::from(leap) } else { long_month };
    if !(1..=12).contains(&month) || !(1..=days_of_month).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        rest = fraction.trim_start_matches(|char: char| char.is_ascii_digit());
        if rest.len() == fraction.len() {
            return None;
        }
    }
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let start = text.len() - rest.len();
            let sign = if at(start, b"+") { 1 } else { -1 };
            let (hours, minutes) = (digits(start + 1..start + 3)?, digits(start + 4..start + 6)?);
            if rest.len() != 6 || !at(start, b"+-") || !at(start + 3, b":") || hours > 24 || minutes > 59 {
                return None;
            }
            sign * (hours * 3600 + minutes * 60)
        }
    };
    // Days since 1970 in the Gregorian calendar, with years that begin in March.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days =
        y * 365 + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (m * 153 + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second - offset)
}
