//! `rewrite name`: another name is asked for, and the answer is renamed.

use crate::corefile::SetupError;
use std::sync::Arc;

use super::matcher::{Matcher, normal};
use super::response::{Change, Response};
use crate::wire::Name;

/// A rule for names.
#[derive(Debug)]
pub(super) struct NameRule {
    pub(super) matcher: Matcher,
    to: String,
    /// The answer's names go back to the name that was asked for.
    is_undone: bool,
    responses: Vec<Response>,
}

impl NameRule {
    /// Reads `[KIND] FROM TO [answer …]`.
    pub(super) fn read(words: &[String]) -> Result<NameRule, SetupError> {
        let (kind, from, to, options) = match words {
            [from, to] => ("exact", from, to, &[][..]),
            [kind, from, to, options @ ..] => (kind.as_str(), from, to, options),
            _ => return Err("a rule for names needs what to match, and what to write in its place".into()),
        };
        let matcher = Matcher::of_name(kind, from)?;
        let to = normal(to);
        matcher.check(&to)?;
        let (is_auto, explicit) = answers(options)?;
        let mut responses = Vec::new();
        let is_suffix = matches!(matcher, Matcher::Suffix(_));
        if let (Matcher::Suffix(from), true) = (&matcher, is_auto) {
            let change = Arc::new(Change::Suffix { from: to.clone(), to: from.clone() });
            responses.extend([Response::Name(change.clone()), Response::Value(change)]);
        }
        responses.extend(explicit);
        let is_undone = matches!(matcher, Matcher::Exact(_)) || (is_auto && !is_suffix);
        Ok(NameRule { matcher, to, is_undone, responses })
    }

    /// The name to ask for, and what is done to the answer; None if the rule is not for this name.
    ///
    /// # Errors
    /// What the rule writes is no name.
    pub(super) fn apply(&self, text: &str) -> Result<Option<(Name, Vec<Response>)>, SetupError> {
        let Some(new) = self.matcher.replaced(text, &self.to) else { return Ok(None) };
        let name = Name::parse(&new).map_err(|error| format!("{text} becomes {new:?}: {error}"))?;
        let mut responses = Vec::new();
        if self.is_undone
            && let Ok(to) = Name::parse(text)
        {
            let change = Arc::new(Change::Remap { from: name.clone(), to });
            responses.extend([Response::Name(change.clone()), Response::Value(change)]);
        }
        responses.extend(self.responses.iter().cloned());
        Ok(Some((name, responses)))
    }
}

/// Reads `answer (auto | name FROM TO | value FROM TO)`, several of them; the further ones may leave `answer` out.
fn answers(words: &[String]) -> Result<(bool, Vec<Response>), SetupError> {
    let mut is_auto = false;
    let mut names = 0;
    let mut responses = Vec::new();
    let mut rest = words;
    let mut is_first = true;
    while let Some(word) = rest.first() {
        if word == "answer" {
            rest = &rest[1..];
        } else if is_first {
            return Err(format!("{word:?} has no meaning behind the names; options begin with answer").into());
        }
        is_first = false;
        match rest {
            // CoreDNS's page writes `answer name auto` too.
            [what, auto, after @ ..]
                if what == "name" && auto == "auto" && after.first().is_none_or(|w| w == "answer") =>
            {
                is_auto = true;
                rest = after;
            }
            [auto, after @ ..] if auto == "auto" => {
                is_auto = true;
                rest = after;
            }
            [what, from, to, after @ ..] if what == "name" || what == "value" => {
                let matcher = Matcher::read("regex", from.clone())?;
                let to = normal(to);
                matcher.check(&to)?;
                let change = Arc::new(Change::Pattern { matcher, to });
                if what == "name" {
                    names += 1;
                    responses.push(Response::Name(change));
                } else {
                    responses.push(Response::Value(change));
                }
                rest = after;
            }
            [what, ..] if what == "name" || what == "value" => {
                return Err(format!("answer {what} needs a pattern, and what to write in its place").into());
            }
            [other, ..] => return Err(format!("answer {other} is unknown; known are auto, name and value").into()),
            [] => return Err("answer needs auto, name or value".into()),
        }
    }
    if is_auto && names > 0 {
        return Err("answer auto and answer name exclude each other: both rename the answer".into());
    }
    Ok((is_auto, responses))
}
