//! What expressions compute with.

use super::RunError;
use std::cmp::Ordering;
use std::fmt;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
}

/// What kind of value something has, as far as it can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nil,
    Bool,
    Int,
    Float,
    Text,
    List,
    Any,
}

impl Kind {
    /// Whether it may be this.
    pub(super) fn may_be(self, other: Kind) -> bool {
        self == other || self == Kind::Any || other == Kind::Any
    }

    /// Whether it may be a number.
    pub(super) fn may_be_number(self) -> bool {
        matches!(self, Kind::Int | Kind::Float | Kind::Any)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Kind::Nil => "nil",
            Kind::Bool => "a truth value",
            Kind::Int => "a whole number",
            Kind::Float => "a number",
            Kind::Text => "text",
            Kind::List => "a list",
            Kind::Any => "anything",
        })
    }
}

impl Value {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Value::Nil => Kind::Nil,
            Value::Bool(_) => Kind::Bool,
            Value::Int(_) => Kind::Int,
            Value::Float(_) => Kind::Float,
            Value::Text(_) => Kind::Text,
            Value::List(_) => Kind::List,
        }
    }

    pub(super) fn is(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Int(a), Value::Float(b)) | (Value::Float(b), Value::Int(a)) => *a as f64 == *b,
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is(b)),
            _ => self == other,
        }
    }

    /// As a number with a fraction.
    pub(super) fn float(&self) -> Result<f64, RunError> {
        match self {
            Value::Int(number) => Ok(*number as f64),
            Value::Float(number) => Ok(*number),
            other => Err(format!("{} is no number", other.kind()).into()),
        }
    }

    pub(super) fn int(&self) -> Result<i64, RunError> {
        if let Value::Int(number) = self {
            Ok(*number)
        } else {
            Err(format!("{} is no whole number", self.kind()).into())
        }
    }

    pub(super) fn text(&self) -> Result<&str, RunError> {
        if let Value::Text(text) = self { Ok(text) } else { Err(format!("{} is no text", self.kind()).into()) }
    }

    pub(super) fn list(&self) -> Result<&[Value], RunError> {
        if let Value::List(list) = self { Ok(list) } else { Err(format!("{} is no list", self.kind()).into()) }
    }

    pub(super) fn truth(&self) -> Result<bool, RunError> {
        if let Value::Bool(truth) = self {
            Ok(*truth)
        } else {
            Err(format!("{} is no truth value", self.kind()).into())
        }
    }

    pub(super) fn order(&self, other: &Value) -> Result<Option<Ordering>, RunError> {
        match (self, other) {
            (Value::Int(a), Value::Int(b)) => Ok(Some(a.cmp(b))),
            (Value::Text(a), Value::Text(b)) => Ok(Some(a.cmp(b))),
            _ => Ok(self.float()?.partial_cmp(&other.float()?)),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => to.write_str("nil"),
            Value::Bool(truth) => write!(to, "{truth}"),
            Value::Int(number) => write!(to, "{number}"),
            Value::Float(number) => write!(to, "{number}"),
            Value::Text(text) => to.write_str(text),
            Value::List(list) => {
                let items: Vec<String> = list.iter().map(ToString::to_string).collect();
                write!(to, "[{}]", items.join(" "))
            }
        }
    }
}
