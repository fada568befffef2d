//! The language of templates: as much of Go's text/template as records need, compiled when the Corefile is read.
//!
//! ```text
//! text ─token─> actions ─parser─> nodes ─check (what fields there are)─> Template ─run (with a question)─> text
//! ```
//!
//! Text stands as it is; `{{ … }}` holds a pipeline (`.Name`, `index .Match 1`, `parseInt .Group.b 16 8 | printf "%d"`),
//! `if`, `else`, `with`, `range`, `break`, `continue`, `end`, a variable (`$x := …`) or a comment. What Go has besides
//! (`define`, `template`, `block`, `call`, `html`, `js`, `urlquery`) is refused by name.

mod check;
mod format;
mod function;
mod parser;
mod run;
#[cfg(test)]
mod tests;
mod token;
mod value;

pub use value::{Subject, Thing, Value};

/// What is wrong with a template, and where: the byte, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {at}: {message}")]
pub struct TemplateError {
    at: usize,
    message: String,
}

impl TemplateError {
    fn new(at: usize, message: impl Into<String>) -> TemplateError {
        TemplateError { at: at + 1, message: message.into() }
    }
}

/// Why a template gives no text for a question: an index beyond a list, a number that is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct RunError(String);

impl From<String> for RunError {
    fn from(message: String) -> RunError {
        RunError(message)
    }
}

impl From<&str> for RunError {
    fn from(message: &str) -> RunError {
        RunError(message.to_owned())
    }
}

/// A template that was compiled.
#[derive(Clone, Debug)]
pub struct Template {
    nodes: Vec<parser::Node>,
    /// The template, written as Go's metrics show it.
    pub shown: String,
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(source: &str) -> Result<Template, TemplateError> {
        let (tokens, shown) = token::read(source)?;
        let nodes = parser::parse(tokens, source.len())?;
        check::check(&nodes)?;
        Ok(Template { nodes, shown })
    }

    /// The text for a question.
    ///
    /// # Errors
    /// Why there is none: an index beyond a list, a number that is none.
    pub fn run(&self, subject: &dyn Subject) -> Result<String, RunError> {
        run::run(&self.nodes, subject)
    }
}
