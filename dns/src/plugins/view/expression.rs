//! The language of `view`: the operators of expr-lang, its functions for text, numbers and lists, and CoreDNS's own for
//! questions. Compiled when the Corefile is read.
//!
//! ```text
//! text ─token─> tokens ─parser─> a tree ─kind (types)─> Expression ─run (with a query)─> true or not
//! ```
//!
//! What expr-lang has besides (maps, bytes, times, `if {}`, fields) is refused by name: no question has such.

use crate::plugin::Query;

mod function;
mod kind;
mod parser;
mod run;
#[cfg(test)]
mod tests;
mod token;
mod value;

/// What is wrong with an expression, and where: the character, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {at}: {message}")]
pub struct ExpressionError {
    at: usize,
    message: String,
}

impl ExpressionError {
    fn new(at: usize, message: impl Into<String>) -> ExpressionError {
        ExpressionError { at: at + 1, message: message.into() }
    }
}

/// Why an expression has no value for a question: an address that is none, an index beyond a list.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
struct RunError(String);

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

/// An expression that was compiled.
#[derive(Debug)]
pub struct Expression(parser::Expr);

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, and where; also that it is no truth value.
    pub fn parse(text: &str) -> Result<Expression, ExpressionError> {
        let tree = parser::parse(token::read(text)?, text.len())?;
        kind::check(&tree)?;
        Ok(Expression(tree))
    }

    /// Whether it is true for a question. An error while it runs (an address that is none) is false.
    pub fn is_true(&self, query: &Query) -> bool {
        matches!(run::run(&self.0, query), Ok(value::Value::Bool(true)))
    }
}
