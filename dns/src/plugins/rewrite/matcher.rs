//! How a rule says which names it is for: `exact`, `prefix`, `suffix`, `substring`, `regex`. Names are text in lower
//! case with the final dot.

use crate::corefile::SetupError;
use regex::Regex;

use crate::plugins::shared::pattern;

/// What a name must be like.
#[derive(Clone, Debug)]
pub(super) enum Matcher {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Substring(String),
    Regex(Regex),
}

/// The words for them.
const KINDS: [&str; 5] = ["exact", "prefix", "suffix", "substring", "regex"];

/// A name as rules compare it: lower case, with the final dot.
pub(super) fn normal(text: &str) -> String {
    let escapes = text.trim_end_matches('.').bytes().rev().take_while(|byte| *byte == b'\\').count();
    let ends = text.ends_with('.') && escapes % 2 == 0;
    text.to_ascii_lowercase() + if ends { "" } else { "." }
}

impl Matcher {
    /// Of a kind and its text, which is taken as it stands.
    pub(super) fn read(kind: &str, text: String) -> Result<Matcher, SetupError> {
        Ok(match kind.to_ascii_lowercase().as_str() {
            "exact" => Matcher::Exact(text),
            "prefix" => Matcher::Prefix(text),
            "suffix" => Matcher::Suffix(text),
            "substring" => Matcher::Substring(text),
            "regex" => Matcher::Regex(pattern::compile(&text)?),
            _ => return Err(format!("{kind:?} is no way to match names; known are {}", KINDS.join(", ")).into()),
        })
    }

    /// Of a kind and a name, which is written in full; patterns are taken as they stand.
    pub(super) fn of_name(kind: &str, name: &str) -> Result<Matcher, SetupError> {
        let text = if kind.eq_ignore_ascii_case("regex") { name.to_owned() } else { normal(name) };
        Matcher::read(kind, text)
    }

    /// Whether a name is like it.
    pub(super) fn is_match(&self, name: &str) -> bool {
        match self {
            Matcher::Exact(text) => name == text,
            Matcher::Prefix(text) => name.starts_with(text.as_str()),
            Matcher::Suffix(text) => name.ends_with(text.as_str()),
            Matcher::Substring(text) => name.contains(text.as_str()),
            Matcher::Regex(pattern) => pattern.is_match(name),
        }
    }

    /// The name with `to` in place of what is matched; None if nothing is. A pattern stands for all of the name.
    pub(super) fn replaced(&self, name: &str, to: &str) -> Option<String> {
        match self {
            Matcher::Exact(text) => (name == text).then(|| to.to_owned()),
            Matcher::Prefix(text) => name.strip_prefix(text.as_str()).map(|rest| format!("{to}{rest}")),
            Matcher::Suffix(text) => name.strip_suffix(text.as_str()).map(|front| format!("{front}{to}")),
            Matcher::Substring(text) => name.contains(text.as_str()).then(|| name.replace(text.as_str(), to)),
            Matcher::Regex(pattern) => expanded(pattern, name, to),
        }
    }

    /// Whether `to` asks for groups that the pattern does not have.
    ///
    /// # Errors
    /// It does.
    pub(super) fn check(&self, to: &str) -> Result<(), SetupError> {
        let Matcher::Regex(pattern) = self else { return Ok(()) };
        let groups = pattern.captures_len() - 1;
        match references(to).filter_map(|(_, _, group)| group).find(|group| *group > groups) {
            Some(group) => Err(format!("{to:?} asks for {{{group}}}, but {pattern:?} has {groups} groups",).into()),
            None => Ok(()),
        }
    }
}

/// The places of `{…}` in a text, with the number in it where it is one.
fn references(text: &str) -> impl Iterator<Item = (usize, usize, Option<usize>)> {
    text.match_indices('{').filter_map(move |(begin, _)| {
        let length = text[begin..].find('}')?;
        let inside = &text[begin + 1..begin + length];
        let is_number = !inside.is_empty() && inside.bytes().all(|byte| byte.is_ascii_digit());
        let is_plain = is_number && (inside == "0" || !inside.starts_with('0'));
        Some((begin, begin + length + 1, inside.parse().ok().filter(|_| is_plain)))
    })
}

/// `to` with the groups of what a pattern finds in a text in place of `{0}`, `{1}` …; None if it finds nothing.
fn expanded(pattern: &Regex, text: &str, to: &str) -> Option<String> {
    let found = pattern.captures(text)?;
    let (mut out, mut from) = (String::new(), 0);
    for (begin, end, group) in references(to) {
        let Some(group) = group.filter(|group| *group < found.len()) else { continue };
        out.push_str(&to[from..begin]);
        out.push_str(found.get(group).map_or("", |group| group.as_str()));
        from = end;
    }
    out.push_str(&to[from..]);
    Some(out)
}
