//! A fast reader for the YAML that machines write: block style, one line a scalar, plain ASCII.
//!
//! It reads that or declines; it never refuses. What it declines (anchors, tags, flow collections with
//! something in them, text over several lines, numbers of unusual form, anything that might be an error)
//! serde-saphyr reads, and says what is wrong. A differential test holds both to the same result. Why
//! there are two: docs/decisions/0002-reading-yaml.md.

use std::borrow::Cow;

use super::tape::{Tape, Value};

#[cfg(test)]
mod tests;

/// Deeper documents are declined; also bounds the recursion.
const MAX_DEPTH: u32 = 48;

/// Maps with more keys are declined: looking for a key written twice costs their square.
const MAX_KEYS: usize = 64;

/// The document, or None where this reader declines it.
pub(crate) fn read(text: &[u8]) -> Option<Tape<'_>> {
    if !text.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let mut reader =
        Reader { rest: text, line: Line::default(), next_number: 0, tape: Tape::with_room_for(text.len()) };
    reader.advance()?;
    if reader.line.text.starts_with("---") {
        let marker = without_comment(&reader.line.text[3..]);
        if reader.line.indent > 0 || !marker.is_empty() {
            return None;
        }
        reader.advance()?;
    }
    if reader.line.end {
        return None;
    }
    let indent = reader.line.indent;
    reader.node(indent, 0)?;
    reader.line.end.then_some(reader.tape)
}

/// The line that is being read; blank lines and comments never are.
#[derive(Clone, Copy, Default)]
struct Line<'a> {
    /// Columns before the text.
    indent: usize,
    /// Without the indent and the line feed.
    text: &'a str,
    number: u32,
    /// There is no such line: the document is over.
    end: bool,
}

struct Reader<'a> {
    /// What comes after the line.
    rest: &'a str,
    line: Line<'a>,
    next_number: u32,
    tape: Tape<'a>,
}

impl<'a> Reader<'a> {
    /// Takes the next line of the text as it is.
    fn take_raw(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = match self.rest.as_bytes().iter().position(|byte| *byte == b'\n') {
            Some(at) => (&self.rest[..at], &self.rest[at + 1..]),
            None => (self.rest, ""),
        };
        self.rest = rest;
        self.next_number += 1;
        Some(line)
    }

    /// Goes to the next line with something on it. None declines the document.
    fn advance(&mut self) -> Option<()> {
        loop {
            let number = self.next_number;
            let Some(raw) = self.take_raw() else {
                self.line = Line { end: true, number, ..Line::default() };
                return Some(());
            };
            let indent = raw.bytes().take_while(|byte| *byte == b' ').count();
            let text = &raw[indent..];
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if indent == 0 && (text.starts_with("...") || text.starts_with('%')) {
                return None;
            }
            self.line = Line { indent, text, number, end: false };
            return Some(());
        }
    }

    /// The collection that begins on this line, at this indent.
    fn node(&mut self, indent: usize, depth: u32) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        if is_item(self.line.text) { self.seq(indent, depth) } else { self.map(indent, depth) }
    }

    fn map(&mut self, indent: usize, depth: u32) -> Option<()> {
        let map = self.tape.push(Value::Map, self.line.number);
        let mut keys: [&str; MAX_KEYS] = [""; MAX_KEYS];
        let mut count = 0;
        while !self.line.end && self.line.indent == indent && !is_item(self.line.text) {
            let (key, rest) = split_key(self.line.text)?;
            if count == MAX_KEYS || keys[..count].contains(&key) {
                return None;
            }
            keys[count] = key;
            count += 1;
            self.tape.push(Value::Text(Cow::Borrowed(key)), self.line.number);
            self.entry(rest, indent, depth)?;
        }
        self.tape.close(map);
        (self.line.end || self.line.indent <= indent).then_some(())
    }

    /// The value of a map's key: what follows the colon, or the lines below.
    fn entry(&mut self, rest: &'a str, indent: usize, depth: u32) -> Option<()> {
        if !without_comment(rest).is_empty() {
            return self.scalar(rest.trim_start_matches(' '), indent);
        }
        let number = self.line.number;
        self.advance()?;
        // The items of a sequence may stand as far left as its key.
        let below =
            !self.line.end && (self.line.indent > indent || (self.line.indent == indent && is_item(self.line.text)));
        if below {
            self.node(self.line.indent, depth + 1)
        } else {
            self.tape.push(Value::Null, number);
            Some(())
        }
    }

    fn seq(&mut self, indent: usize, depth: u32) -> Option<()> {
        let seq = self.tape.push(Value::Seq, self.line.number);
        while !self.line.end && self.line.indent == indent && is_item(self.line.text) {
            let after = &self.line.text[1..];
            let rest = after.trim_start_matches(' ');
            if without_comment(after).is_empty() {
                return None;
            }
            if is_item(rest) || split_key(rest).is_some() {
                // A collection that begins on the line of the dash: as if it had a line of its own.
                self.line.indent = indent + 1 + (after.len() - rest.len());
                self.line.text = rest;
                self.node(self.line.indent, depth + 1)?;
            } else {
                self.scalar(rest, indent)?;
            }
        }
        self.tape.close(seq);
        (self.line.end || self.line.indent <= indent).then_some(())
    }

    /// A scalar to the end of its line, within a collection at `indent`; goes to the line behind it.
    fn scalar(&mut self, text: &'a str, indent: usize) -> Option<()> {
        let number = self.line.number;
        if text.starts_with('|') {
            let block = self.block(text, indent)?;
            self.tape.push(Value::Text(Cow::Owned(block)), number);
            return Some(());
        }
        let value = match text.as_bytes().first()? {
            b'"' => {
                let (value, rest) = double_quoted(text)?;
                is_nothing(rest).then_some(Value::Text(value))?
            }
            b'\'' => {
                let (value, rest) = single_quoted(text)?;
                is_nothing(rest).then_some(Value::Text(value))?
            }
            b'{' | b'[' => {
                let empty = without_comment(text);

                match empty {
                    "{}" => Value::Map,
                    "[]" => Value::Seq,
                    _ => return None,
                }
            }
            _ => {
                let plain = without_comment(text);
                if plain.contains(": ") || plain.ends_with(':') {
                    return None;
                }
                resolve(plain)?
            }
        };
        self.tape.push(value, number);
        self.advance()?;
        // Deeper lines would be the rest of the scalar, or an error.
        (self.line.end || self.line.indent <= indent).then_some(())
    }

    /// A literal block, `|` or `|-`.
    fn block(&mut self, header: &str, indent: usize) -> Option<String> {
        let strip = match header.trim_end_matches(' ') {
            "|" => false,
            "|-" => true,
            _ => return None,
        };
        let mut text = String::new();
        let mut block_indent = 0;
        loop {
            let before = (self.rest, self.next_number);
            let Some(raw) = self.take_raw() else { break };
            let spaces = raw.bytes().take_while(|byte| *byte == b' ').count();
            if spaces == raw.len() {
                // An empty line. Ahead of the text, or with spaces that would belong to it, it has rules
                // that are left to the other reader.
                if block_indent == 0 || spaces > block_indent {
                    return None;
                }
                text.push('\n');
                continue;
            }
            if block_indent == 0 && spaces > indent {
                block_indent = spaces;
            }
            if block_indent == 0 || spaces < block_indent {
                (self.rest, self.next_number) = before;
                break;
            }
            text.push_str(&raw[block_indent..]);
            text.push('\n');
        }
        text.truncate(text.trim_end_matches('\n').len());
        if block_indent == 0 {
            return None;
        }
        if !strip {
            text.push('\n');
        }
        self.advance()?;
        (self.line.end || self.line.indent <= indent).then_some(text)
    }
}

/// Whether a line is an item of a sequence.
fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

/// What stands before a comment, without spaces around it. A comment has a space before its `#`.
fn without_comment(text: &str) -> &str {
    let mut from = 0;
    while let Some(at) = text[from..].find('#') {
        let at = from + at;
        if at == 0 || text.as_bytes()[at - 1] == b' ' {
            return text[..at].trim_matches(' ');
        }
        from = at + 1;
    }
    text.trim_matches(' ')
}

/// Whether nothing but spaces and a comment follows a scalar's closing quote.
fn is_nothing(rest: &str) -> bool {
    rest.is_empty() || (rest.starts_with(' ') && without_comment(rest).is_empty())
}

/// Splits `key: value` into the key and what follows the colon. Only keys of plain words.
fn split_key(text: &str) -> Option<(&str, &str)> {
    let (key, rest) = if text.starts_with(['"', '\'']) {
        let quote = text.as_bytes()[0];
        let end = text.bytes().skip(1).position(|byte| byte == quote || byte == b'\\')? + 1;
        (text.as_bytes()[end] == quote).then_some((&text[1..end], &text[end + 1..]))?
    } else {
        let end = text
            .bytes()
            .position(|byte| !matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'/' | b'_' | b'-'))?;
        let key = &text[..end];
        (!key.is_empty() && matches!(resolve(key), Some(Value::Text(_)))).then_some((key, &text[end..]))?
    };
    let rest = rest.strip_prefix(':')?;
    (rest.is_empty() || rest.starts_with(' ')).then_some((key, rest))
}

fn single_quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let body = text.strip_prefix('\'')?;
    let mut from = 0;
    let end = loop {
        let at = from + body[from..].find('\'')?;
        if !body[at + 1..].starts_with('\'') {
            break at;
        }
        from = at + 2;
    };
    let inner = &body[..end];
    let value = if from == 0 { Cow::Borrowed(inner) } else { Cow::Owned(inner.replace("''", "'")) };
    Some((value, &body[end + 1..]))
}

fn double_quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let body = text.strip_prefix('"')?;
    let end = body.find(['"', '\\'])?;
    if body[end..].starts_with('"') {
        return Some((Cow::Borrowed(&body[..end]), &body[end + 1..]));
    }
    let mut value = String::with_capacity(body.len());
    let mut chars = body.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((Cow::Owned(value), &body[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                same @ ('"' | '\\' | '/') => same,
                _ => return None,
            }),
            char => value.push(char),
        }
    }
    None
}

/// What a plain scalar means, by the rules that serde-saphyr has for values without a type: the core
/// schema of YAML 1.2, and the words for true and false of 1.1, which Kubernetes takes too. None where
/// that isn't plain to see.
fn resolve(text: &str) -> Option<Value<'_>> {
    let bytes = text.as_bytes();
    let string = Value::Text(Cow::Borrowed(text));
    match bytes.first()? {
        b'a'..=b'z' | b'A'..=b'Z' => {
            let is = |words: &[&str]| bytes.len() <= 5 && words.iter().any(|word| text.eq_ignore_ascii_case(word));
            if is(&["true", "yes", "y", "on"]) {
                Some(Value::Bool(true))
            } else if is(&["false", "no", "n", "off"]) {
                Some(Value::Bool(false))
            } else if matches!(text, "null" | "Null" | "NULL") {
                Some(Value::Null)
            } else {
                Some(string)
            }
        }
        b'_' | b'/' => Some(string),
        b'~' if text == "~" => Some(Value::Null),
        b'-' => {
            let plain = matches!(bytes.get(1)?, b'1'..=b'9') && bytes.len() < 18;
            let digits = plain && bytes[1..].iter().all(u8::is_ascii_digit);
            if digits { text.parse().ok().map(Value::Int) } else { None }
        }
        b'0'..=b'9' => {
            let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == bytes.len() {
                return (digits < 18 && (bytes[0] != b'0' || digits == 1))
                    .then(|| text.parse().ok().map(Value::Int))?;
            }
            // No number has two dots, a sign within but for the exponent's, or any of these characters.
            let foreign = |byte: &u8| matches!(byte, b':' | b'/' | b'g'..=b'n' | b'p'..=b'w' | b'y' | b'z' | b'G'..=b'N' | b'P'..=b'W' | b'Y' | b'Z');
            let dots = bytes.iter().filter(|byte| **byte == b'.').count();
            let sign = bytes.windows(2).any(|pair| matches!(pair[1], b'-' | b'+') && !matches!(pair[0], b'e' | b'E'));
            (dots >= 2 || sign || bytes.iter().any(foreign)).then_some(string)
        }
        _ => None,
    }
}
