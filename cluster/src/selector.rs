//! Label selectors as kubectl writes them: `a=b,c!=d,e in (x,y),f notin (z),g,!h`.

use std::fmt;
use std::str::FromStr;

use crate::label::{is_qualified_name, is_value};
use crate::object::Str;

#[cfg(test)]
mod tests;

/// Requirements, all of which hold; none at all selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Selector {
    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether these labels (sorted by key) fit.
    pub fn fits_labels(&self, labels: &[(Str, Str)]) -> bool {
        self.fits(|key| {
            let at = labels.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
            labels.get(at).map(|(_, value)| &**value)
        })
    }

    /// Whether labels fit of which `value_of` gives the value.
    pub fn fits<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|Requirement { key, test }| {
            let value = value_of(key);
            match test {
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.iter().any(|wanted| wanted == value)),
                Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|wanted| wanted != value)),
            }
        })
    }
}

/// Why a text is no selector, and how one is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError(String);

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SelectorError {}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Selector, SelectorError> {
        let parts = split(text)?;
        let requirements = parts.into_iter().map(requirement).collect::<Result<_, _>>()?;
        Ok(Selector(requirements))
    }
}

/// At the commas that are in no brackets.
fn split(text: &str) -> Result<Vec<&str>, SelectorError> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, char) in text.char_indices() {
        match char {
            '(' if !inside => inside = true,
            ')' if inside => inside = false,
            '(' | ')' => return Err(wrong(text, "has brackets that don't match")),
            ',' if !inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(wrong(text, "has brackets that don't match"));
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    Ok(parts)
}

fn wrong(text: &str, what: &str) -> SelectorError {
    SelectorError(format!("the selector {text:?} {what}; write like a=b,c!=d,e in (x,y),f,!g"))
}

fn requirement(text: &str) -> Result<Requirement, SelectorError> {
    let text = text.trim();
    let (key, test) = if let Some(open) = text.find('(') {
        let mut words = text[..open].split_whitespace();
        let (key, operator, more) = (words.next(), words.next(), words.next());
        let values = text[open + 1..].trim().strip_suffix(')');
        let (Some(key), Some(operator), None, Some(values)) = (key, operator, more, values) else {
            return Err(wrong(text, "can't be read"));
        };
        let values = values.split(',').map(|value| value.trim().to_string()).collect();
        match operator {
            "in" => (key, Test::In(values)),
            "notin" => (key, Test::NotIn(values)),
            _ => return Err(wrong(text, "has neither in nor notin before the bracket")),
        }
    } else if let Some((key, value)) = text.split_once("!=") {
        (key, Test::NotIn(vec![value.trim().to_string()]))
    } else if let Some((key, value)) = text.split_once('=') {
        (key, Test::In(vec![value.strip_prefix('=').unwrap_or(value).trim().to_string()]))
    } else if let Some(key) = text.strip_prefix('!') {
        (key, Test::Missing)
    } else {
        (text, Test::Exists)
    };
    let key = key.trim();
    if !is_qualified_name(key) {
        return Err(wrong(text, &format!("has {key:?} where the key of a label should be")));
    }
    if let Test::In(values) | Test::NotIn(values) = &test
        && let Some(value) = values.iter().find(|value| !is_value(value))
    {
        return Err(wrong(text, &format!("has {value:?}, which no label can have")));
    }
    Ok(Requirement { key: key.to_string(), test })
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Requirement { key, test }) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            match test {
                Test::Exists => write!(f, "{comma}{key}"),
                Test::Missing => write!(f, "{comma}!{key}"),
                Test::In(values) if values.len() == 1 => write!(f, "{comma}{key}={}", values[0]),
                Test::NotIn(values) if values.len() == 1 => write!(f, "{comma}{key}!={}", values[0]),
                Test::In(values) => write!(f, "{comma}{key} in ({})", values.join(",")),
                Test::NotIn(values) => write!(f, "{comma}{key} notin ({})", values.join(",")),
            }?;
        }
        Ok(())
    }
}
