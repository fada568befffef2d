//! Any YAML, by serde-saphyr: the reference, for what the plain reader declines and for what is wrong.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use super::tape::{Tape, Value};

/// Why a document can't be read: the line from its start, and the reason.
pub(crate) struct Unreadable {
    pub(crate) line: u32,
    pub(crate) reason: String,
}

/// Nodes a document may have after its aliases are put in: those of some 30,000 endpoints.
const MAX_NODES: usize = 1_000_000;

/// Deeper documents are refused; also bounds the recursion.
const MAX_DEPTH: usize = 64;

/// Reads one document. Aliases are put in; a document that grows beyond measure by them is refused.
pub(crate) fn read(text: &[u8]) -> Result<Tape<'_>, Unreadable> {
    let text = utf8(text)?;
    let root: Option<Spanned<Any<'_>>> =
        if may_be_deep(text) { on_a_deep_stack(|| parse(text))? } else { parse(text)? };
    let mut tape = Tape::with_room_for(text.len());
    match root {
        Some(root) => write(root, &mut tape),
        None => {
            tape.push(Value::Null, 0);
        }
    }
    Ok(tape)
}

/// Reads one document as a JSON value, numbers and all. The same rules and bounds.
pub(crate) fn value(text: &[u8]) -> Result<serde_json::Value, Unreadable> {
    let text = utf8(text)?;
    if may_be_deep(text) { on_a_deep_stack(|| parse(text)) } else { parse(text) }
}

fn utf8(text: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(text).map_err(|error| Unreadable {
        line: count_lines(&text[..error.valid_up_to()]),
        reason: "is not UTF-8 text; save the file as UTF-8".to_string(),
    })
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Unreadable> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: MAX_NODES, max_events: 4 * MAX_NODES, max_depth: MAX_DEPTH },
        duplicate_keys: DuplicateKeyPolicy::Error,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| Unreadable {
        line: error.location().map_or(0, |location| line(location.line())),
        reason: reason(&error),
    })
}

/// Why, in our words where people write it.
fn reason(error: &serde_saphyr::Error) -> String {
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key {key:?} stands here a second time; write each key of a map once")
        }
        serde_saphyr::Error::DuplicateMappingKey { key: None, .. } => {
            "a key stands here a second time; write each key of a map once".to_string()
        }
        other => other.to_string(),
    }
}

/// Whether a document could nest deeper than the stack of any thread surely bears: a level takes up to
/// 50 kB of it in a debug build.
fn may_be_deep(text: &str) -> bool {
    const SURE: usize = 16;
    let (mut indent, mut in_indent, mut brackets) = (0, true, 0_usize);
    text.bytes().any(|byte| {
        match byte {
            b'\n' => (indent, in_indent) = (0, true),
            b' ' | b'-' | b'?' if in_indent => indent += 1,
            b'[' | b'{' => brackets += 1,
            b']' | b'}' => brackets = brackets.saturating_sub(1),
            // Aliases nest what they stand for.
            b'&' => return true,
            _ => in_indent = false,
        }
        indent + brackets > SURE
    })
}

fn on_a_deep_stack<T: Send>(read: impl FnOnce() -> Result<T, Unreadable> + Send) -> Result<T, Unreadable> {
    let failed = |reason: &str| Unreadable { line: 0, reason: reason.to_string() };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(8 << 20).spawn_scoped(scope, read);
        let thread = thread.map_err(|error| failed(&format!("no thread to read it on: {error}")))?;
        thread.join().map_err(|_| failed("the YAML reader ended early; please report this document"))?
    })
}

fn count_lines(text: &[u8]) -> u32 {
    text.iter().filter(|byte| **byte == b'\n').count() as u32
}

/// serde-saphyr counts lines from 1, and says 0 where it doesn't know.
fn line(number: u64) -> u32 {
    u32::try_from(number.saturating_sub(1)).unwrap_or(0)
}

/// A value of any type, as serde hands it over.
enum Any<'a> {
    Scalar(Value<'a>),
    Map(Vec<(Spanned<Any<'a>>, Spanned<Any<'a>>)>),
    Seq(Vec<Spanned<Any<'a>>>),
}

fn write<'a>(any: Spanned<Any<'a>>, tape: &mut Tape<'a>) {
    let number = line(any.referenced.line());
    match any.value {
        Any::Scalar(value) => {
            tape.push(value, number);
        }
        Any::Map(entries) => {
            let map = tape.push(Value::Map, number);
            for (key, value) in entries {
                let number = line(key.referenced.line());
                tape.push(Value::Text(key_text(key.value)), number);
                write(value, tape);
            }
            tape.close(map);
        }
        Any::Seq(elements) => {
            let seq = tape.push(Value::Seq, number);
            for element in elements {
                write(element, tape);
            }
            tape.close(seq);
        }
    }
}

/// A key that is no string is none that any object of ours has; it only has to differ from those.
fn key_text(key: Any<'_>) -> Cow<'_, str> {
    match key {
        Any::Scalar(Value::Text(text)) => text,
        Any::Scalar(Value::Int(number)) => Cow::Owned(number.to_string()),
        Any::Scalar(Value::Bool(value)) => Cow::Owned(value.to_string()),
        _ => Cow::Borrowed(""),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Any<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor(std::marker::PhantomData))
    }
}

struct AnyVisitor<'a>(std::marker::PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for AnyVisitor<'a> {
    type Value = Any<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Any<'a>, E> {
        Ok(Any::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Any<'a>, E> {
        Ok(Any::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Any<'a>, E> {
        Ok(Any::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Any<'a>, E> {
        Ok(Any::Scalar(Value::Int(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Any<'a>, E> {
        Ok(Any::Scalar(i64::try_from(value).map_or(Value::Number, Value::Int)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Any<'a>, E> {
        Ok(Any::Scalar(Value::float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Any<'a>, E> {
        Ok(Any::Scalar(Value::Text(Cow::Owned(value.to_string()))))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Any<'a>, E> {
        Ok(Any::Scalar(Value::Text(Cow::Borrowed(value))))
    }

    fn visit_string<E>(self, value: String) -> Result<Any<'a>, E> {
        Ok(Any::Scalar(Value::Text(Cow::Owned(value))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Any<'a>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Any::Seq(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Any<'a>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Any::Map(entries))
    }
}
