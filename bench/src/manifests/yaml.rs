//! YAML as kubectl writes it: block style, keys sorted, quotes only where they are needed.

use std::fmt::Write;

use serde_json::Value;

/// A document without its `---`.
pub(super) fn document(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0);
    out
}

/// The lines of a mapping or sequence that is not empty; the first is not indented, so that it can stand
/// behind a `- `.
fn block(out: &mut String, value: &Value, depth: usize) {
    let mut first = true;
    let mut begin = |out: &mut String| {
        if !std::mem::take(&mut first) {
            out.extend(std::iter::repeat_n(' ', depth));
        }
    };
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                begin(out);
                out.push_str(key);
                out.push(':');
                match value {
                    Value::Object(map) if !map.is_empty() => nested(out, value, depth + 2),
                    Value::Array(list) if !list.is_empty() => nested(out, value, depth),
                    _ => scalar(out, value),
                }
            }
        }
        Value::Array(list) => {
            for value in list {
                begin(out);
                match value {
                    Value::Object(map) if !map.is_empty() => {
                        out.push_str("- ");
                        block(out, value, depth + 2);
                    }
                    _ => {
                        out.push('-');
                        scalar(out, value);
                    }
                }
            }
        }
        _ => scalar(out, value),
    }
}

fn nested(out: &mut String, value: &Value, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', depth));
    block(out, value, depth);
}

fn scalar(out: &mut String, value: &Value) {
    // Writing to a string does not fail.
    let _ = match value {
        Value::String(text) if is_plain(text) => writeln!(out, " {text}"),
        // JSON is YAML.
        _ => writeln!(out, " {value}"),
    };
}

/// Whether a text is read back as the same text without quotes.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "./-".contains(c))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.parse::<f64>().is_err()
        && !["true", "false", "null", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str())
}
