//! Regular expressions as CoreDNS reads them: Go's syntax (RE2), of which the `regex` crate's differs in a few places.
//! Names are matched in lower case, as text.

use crate::corefile::SetupError;
use regex::{Regex, RegexBuilder};

#[cfg(test)]
mod tests;

/// The longest pattern in bytes, as CoreDNS bounds it.
const LONGEST: usize = 10_000;
/// The most bytes that a compiled pattern may take.
const SIZE: usize = 4 << 20;

/// Compiles a pattern.
///
/// # Errors
/// What is wrong with it, naming the pattern.
pub fn compile(pattern: &str) -> Result<Regex, SetupError> {
    if pattern.len() > LONGEST {
        return Err(format!("the regular expression has {} bytes; at most {LONGEST} are allowed", pattern.len()).into());
    }
    let wrong = |why: &str| SetupError::from(format!("{pattern:?} is no regular expression: {why}"));
    let translated = translate(pattern).map_err(|why| wrong(&why.to_string()))?;
    RegexBuilder::new(&translated).size_limit(SIZE).build().map_err(|error| {
        // The last line of several says what is wrong, the others draw it.
        let text = error.to_string();
        wrong(text.lines().last().unwrap_or_default().trim_start_matches("error: "))
    })
}

/// Writes Go's syntax in the crate's.
fn translate(pattern: &str) -> Result<String, SetupError> {
    let mut rest = pattern;
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match (c, in_class) {
            ('\\', _) => escape(after, in_class, &mut out)?,
            ('[', false) => {
                in_class = true;
                let (negated, after) = after.strip_prefix('^').map_or(("", after), |after| ("^", after));
                out.push('[');
                out.push_str(negated);
                // A bracket in the first place is meant as one.
                after.strip_prefix(']').map_or(after, |after| {
                    out.push_str("\\]");
                    after
                })
            }
            (']', true) => {
                in_class = false;
                out.push(']');
                after
            }
            ('[', true) => match after.strip_prefix(':').and_then(|named| named.find(":]")) {
                Some(end) => {
                    out.push_str(&rest[..end + 4]);
                    &rest[end + 4..]
                }
                None => {
                    out.push_str("\\[");
                    after
                }
            },
            // The crate knows operations of sets; Go takes these for what they are.
            ('&' | '~', true) => {
                out.extend(['\\', c]);
                after
            }
            ('-', true) if after.starts_with('-') => {
                out.push_str("-\\-");
                &after[1..]
            }
            ('{', false) if !begins_repetition(after) => {
                out.push_str("\\{");
                after
            }
            _ => {
                out.push(c);
                after
            }
        };
    }
    Ok(out)
}

/// Whether `{` and this is a repetition: `{2}`, `{2,}`, `{2,3}`. Anything else is text.
fn begins_repetition(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match inside.split_once(',') {
        None => is_number(inside),
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
    }
}

/// Translates an escape; gives what follows it. Classes are those of ASCII, as Go has them.
fn escape<'a>(after: &'a str, in_class: bool, out: &mut String) -> Result<&'a str, SetupError> {
    let c = after.chars().next().ok_or("it ends with a backslash")?;
    let rest = &after[c.len_utf8()..];
    let class = match c {
        'd' => "0-9",
        's' => r"\t\n\f\r ",
        'w' => "0-9A-Za-z_",
        'D' => "^0-9",
        'S' => r"^\t\n\f\r ",
        'W' => "^0-9A-Za-z_",
        'Q' if !in_class => {
            let (literal, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
            out.push_str(&regex::escape(literal));
            return Ok(rest);
        }
        'C' => return Err("\\C (one byte) is not here; use . for one character".into()),
        // The crate takes these for ends of words.
        '<' | '>' => {
            out.push(c);
            return Ok(rest);
        }
        '0'..='7' => {
            let digits = after.bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
            if c == '0' || digits > 1 {
                let code = u32::from_str_radix(&after[..digits], 8).unwrap_or(0);
                out.push_str(&format!("\\x{{{code:x}}}"));
                return Ok(&after[digits..]);
            }
            return Err(format!("\\{c} refers to a group, which needs another kind of matcher").into());
        }
        _ => {
            out.extend(['\\', c]);
            return Ok(rest);
        }
    };
    if in_class && !class.starts_with('^') {
        out.push_str(class);
    } else {
        out.push_str(&format!("[{class}]"));
    }
    Ok(rest)
}
