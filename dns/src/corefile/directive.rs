//! A directive, and how a plugin's set-up reads it.
//!
//! ```text
//! forward . 10.0.0.1 {      name "forward", args [".", "10.0.0.1"]
//!     max_fails 3           body: a Directive of its own, name "max_fails", args ["3"]
//! }
//! ```

use std::str::FromStr;
use std::time::Duration;

use super::nearest::nearest;
use super::{CorefileError, SourceLine, duration};

/// A line of a server block, or of a directive's block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directive {
    /// Its first word.
    pub name: String,
    /// The further words of its line; an empty word (`""`) is one.
    pub args: Vec<String>,
    /// The lines in its `{ }`; None where there is none.
    pub body: Option<Vec<Directive>>,
    /// Where its name stands.
    pub place: SourceLine,
}

impl Directive {
    /// An error of this directive.
    pub fn error(&self, message: impl Into<String>) -> CorefileError {
        CorefileError { place: self.place.clone(), directive: self.name.clone(), message: message.into() }
    }

    /// Its lines in braces; none where it has no braces.
    pub fn body(&self) -> &[Directive] {
        self.body.as_deref().unwrap_or_default()
    }

    /// The argument at `index`, from 0.
    pub fn arg(&self, index: usize) -> Option<&str> {
        self.args.get(index).map(String::as_str)
    }

    /// # Errors
    /// It has arguments.
    pub fn no_args(&self) -> Result<(), CorefileError> {
        self.args_between(0, 0).map(|_| ())
    }

    /// Its only argument.
    ///
    /// # Errors
    /// It has none, or more.
    pub fn one_arg(&self) -> Result<&str, CorefileError> {
        self.args_between(1, 1).map(|args| args.first().map_or("", String::as_str))
    }

    /// Its arguments, of which there are at least `least` and at most `most` (`usize::MAX`: any number).
    ///
    /// # Errors
    /// There are fewer or more.
    pub fn args_between(&self, least: usize, most: usize) -> Result<&[String], CorefileError> {
        let count = self.args.len();
        if (least..=most).contains(&count) {
            return Ok(&self.args);
        }
        let wanted = match (least, most) {
            (0, 0) => "no argument".to_string(),
            (1, 1) => "one argument".to_string(),
            (least, usize::MAX) => format!("at least {least} argument{}", if least == 1 { "" } else { "s" }),
            (least, most) if least == most => format!("{least} arguments"),
            (least, most) => format!("{least} to {most} arguments"),
        };
        let has = if count == 0 { "none".to_string() } else { format!("{count}: {}", self.args.join(" ")) };
        Err(self.error(format!("takes {wanted}, has {has}")))
    }

    /// # Errors
    /// It has lines in braces, even none.
    pub fn no_body(&self) -> Result<(), CorefileError> {
        if self.body.is_some() { Err(self.error("takes no { }; remove it")) } else { Ok(()) }
    }

    /// The argument at `index` as a `T`; `what` says what it is to be, with its bounds ("a number from 1 to 9").
    ///
    /// # Errors
    /// It isn't there, or is no `T`.
    pub fn parse<T: FromStr>(&self, index: usize, what: &str) -> Result<T, CorefileError> {
        let arg = self.arg(index).ok_or_else(|| self.error(format!("{what} is missing")))?;
        arg.parse().map_err(|_| self.error(format!("{arg:?} is not {what}")))
    }

    /// The argument at `index` as a span of time in Go's form (`5s`, `1m30s`, `100ms`), which is never negative.
    ///
    /// # Errors
    /// It isn't there, or is no such span.
    pub fn duration(&self, index: usize) -> Result<Duration, CorefileError> {
        let arg = self.arg(index).ok_or_else(|| self.error("a duration such as 5s is missing"))?;
        duration::parse(arg)
            .ok_or_else(|| self.error(format!("{arg:?} is not a duration; write it as 5s, 1m30s or 100ms")))
    }

    /// This option, a line of a directive's braces, is none of `known`.
    pub fn unknown_option(&self, known: &[&str]) -> CorefileError {
        match nearest(&self.name, known.iter().copied()) {
            Some(near) => self.error(format!("is no option here; did you mean {near}?")),
            None if known.is_empty() => self.error("is no option here; there are none"),
            None => self.error(format!("is no option here; known are {}", known.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests;
