//! One rule, as a line of the Corefile writes it.

use crate::corefile::SetupError;
use std::sync::Arc;

use super::edns0::EdnsRule;
use super::matcher::{Matcher, normal};
use super::name::NameRule;
use super::response::{Alias, Response};
use crate::plugin::Query;
use crate::wire::name_text::NameText;
use crate::wire::{Class, Rcode, Type};

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// If it applies, no other does.
    pub(super) is_last: bool,
    field: Field,
}

#[derive(Debug)]
enum Field {
    Name(NameRule),
    Type(Type, Type),
    Class(Class, Class),
    Edns0(EdnsRule),
    /// Something is done to the answers for names.
    Answers(Matcher, Response),
    Alias(Arc<Alias>),
}

const FIELDS: &str = "name, type, class, edns0, ttl, rcode, cname";

impl Rule {
    /// Reads the words of a rule.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(words: &[String]) -> Result<Rule, SetupError> {
        let lower = |word: &String| word.to_ascii_lowercase();
        let (is_last, words) = match words.split_first() {
            Some((first, rest)) if lower(first) == "continue" => (false, rest),
            Some((first, rest)) if lower(first) == "stop" => (true, rest),
            _ => (true, words),
        };
        let Some((field, args)) = words.split_first() else {
            return Err(format!("says nothing of what to rewrite; known are {FIELDS}").into());
        };
        let field = match lower(field).as_str() {
            "name" => Field::Name(NameRule::read(args)?),
            "type" => {
                let (from, to) = pair::<Type>(args, "type of records")?;
                Field::Type(from, to)
            }
            "class" => {
                let (from, to) = pair::<Class>(args, "class")?;
                Field::Class(from, to)
            }
            "edns0" => Field::Edns0(EdnsRule::read(args)?),
            "ttl" => ttl(args)?,
            "rcode" => rcode(args)?,
            "cname" => Field::Alias(Arc::new(alias(args)?)),
            "answer" => return Err("answer stands behind a rule for names: name FROM TO answer …".into()),
            other => return Err(format!("{other:?} is nothing that can be rewritten; known are {FIELDS}").into()),
        };
        Ok(Rule { is_last, field })
    }

    /// The code of an EDNS option of somebody's own.
    pub(super) fn local_option(&self) -> Option<u16> {
        if let Field::Edns0(rule) = &self.field { rule.local_option() } else { None }
    }

    /// Whether it may apply to a plain question. `name` gives its name as text.
    pub(super) fn might_apply<'a>(&self, rtype: Type, name: impl FnOnce() -> &'a str) -> bool {
        match &self.field {
            Field::Name(rule) => rule.matcher.is_match(name()),
            Field::Answers(matcher, _) => matcher.is_match(name()),
            Field::Type(from, _) => *from == rtype,
            Field::Class(from, _) => *from == Class::IN,
            Field::Edns0(_) | Field::Alias(_) => true,
        }
    }

    /// Applies it to a question, and adds what is to be done to the answer; false if it is not for this question.
    ///
    /// # Errors
    /// The question would become none.
    pub(super) fn apply(&self, query: &mut Query, responses: &mut Vec<Response>) -> Result<bool, SetupError> {
        match &self.field {
            Field::Name(rule) => {
                let Some((name, mut more)) = rule.apply(NameText::of(query.name()).as_str())? else { return Ok(false) };
                query.question.name = name;
                responses.append(&mut more);
            }
            Field::Type(from, to) if query.rtype() == *from => query.question.rtype = *to,
            Field::Class(from, to) if query.class() == *from => query.question.class = *to,
            Field::Answers(matcher, response) if matcher.is_match(NameText::of(query.name()).as_str()) => {
                responses.push(response.clone());
            }
            Field::Edns0(rule) => return Ok(rule.apply(query, responses)),
            Field::Alias(alias) => responses.push(Response::Alias(alias.clone())),
            Field::Type(..) | Field::Class(..) | Field::Answers(..) => return Ok(false),
        }
        Ok(true)
    }
}

fn pair<T: std::str::FromStr>(args: &[String], what: &str) -> Result<(T, T), SetupError> {
    let [from, to] = args else {
        return Err(format!("needs two of what it rewrites: the {what} from which and to which").into());
    };
    let read = |text: &String| text.parse().map_err(|_| format!("{text:?} is no {what}"));
    Ok((read(from)?, read(to)?))
}

/// `[KIND] NAME SECONDS`, or a range `MIN-MAX` of which one end may be open.
fn ttl(args: &[String]) -> Result<Field, SetupError> {
    let (kind, name, range) = match args {
        [name, range] => ("exact", name, range),
        [kind, name, range] => (kind.as_str(), name, range),
        _ => return Err("a rule for ttl needs a name, and seconds or a range such as 30-300".into()),
    };
    let wrong = || format!("{range:?} is neither a number of seconds nor a range such as 30-300, 30- or -300");
    let seconds = |text: &str, open: u32| match text {
        "" => Ok(open),
        text if text.starts_with('+') => Err(wrong()),
        text => text.parse().map_err(|_| wrong()),
    };
    let (least, most) = match range.split_once('-') {
        None => {
            let seconds = range.parse().map_err(|_| wrong())?;
            (seconds, seconds)
        }
        Some(("", "")) => return Err(wrong().into()),
        // The highest TTL there is (RFC 2181 §8).
        Some((least, most)) => (seconds(least, 0)?, seconds(most, i32::MAX as u32)?),
    };
    if least > most {
        return Err(wrong().into());
    }
    Ok(Field::Answers(Matcher::of_name(kind, name)?, Response::Ttl { least, most }))
}

/// `[KIND] NAME FROM TO`, codes by name or number.
fn rcode(args: &[String]) -> Result<Field, SetupError> {
    let (kind, name, from, to) = match args {
        [name, from, to] => ("exact", name, from, to),
        [kind, name, from, to] => (kind.as_str(), name, from, to),
        _ => return Err("a rule for rcode needs a name, and the codes from which and to which".into()),
    };
    let code = |text: &String| {
        let by_number = text.parse().ok().filter(|number| *number <= 23).map(Rcode);
        by_number.or_else(|| text.parse().ok()).ok_or_else(|| format!("{text:?} is no response code"))
    };
    let response = Response::Rcode { from: code(from)?, to: code(to)? };
    Ok(Field::Answers(Matcher::of_name(kind, name)?, response))
}

/// `[KIND] FROM TO`. Only an exact name is written in full.
fn alias(args: &[String]) -> Result<Alias, SetupError> {
    let (kind, from, to) = match args {
        [from, to] => ("exact", from, to),
        [kind, from, to] => (kind.as_str(), from, to),
        _ => return Err("a rule for cname needs what an alias leads to, and where it is to lead".into()),
    };
    let is_exact = kind.eq_ignore_ascii_case("exact");
    let write = |text: &String| if is_exact { normal(text) } else { text.to_ascii_lowercase() };
    // The escapes of a pattern (`\D`) would change their meaning in lower case.
    let is_pattern = kind.eq_ignore_ascii_case("regex");
    let matcher = Matcher::read(kind, if is_pattern { from.clone() } else { write(from) })?;
    let to = write(to);
    matcher.check(&to)?;
    Ok(Alias { matcher, to })
}
