//! What can be known of an expression before it runs: that its operators are given what they can work with.

use super::ExpressionError;
use super::parser::{Expr, Node};
use super::value::Kind;

/// # Errors
/// An operator or function is given what it can't take, or the whole is no truth value.
pub(super) fn check(expr: &Expr) -> Result<(), ExpressionError> {
    let kind = Check { variables: Vec::new() }.kind(expr)?;
    if kind.may_be(Kind::Bool) {
        return Ok(());
    }
    Err(ExpressionError::new(0, format!("it is {kind}, not true or false: no question would be taken")))
}

struct Check {
    variables: Vec<Kind>,
}

impl Check {
    fn kind(&mut self, expr: &Expr) -> Result<Kind, ExpressionError> {
        Ok(match &expr.node {
            Node::Literal(value) => value.kind(),
            Node::List(items) => {
                for item in items {
                    self.kind(item)?;
                }
                Kind::List
            }
            Node::Call(function, args) => {
                let (takes, _, gives) = function.signature();
                for (arg, wanted) in args.iter().zip(takes) {
                    let what = format!("{} takes {wanted} here", function.name());
                    self.must_be(arg, *wanted, &what)?;
                }
                gives
            }
            Node::Within(of, _) => self.must_be(of, Kind::Text, "incidr takes an address as text")?.then(Kind::Bool),
            Node::Matches(of, _) => self.must_be(of, Kind::Text, "matches compares text")?.then(Kind::Bool),
            Node::Not(of) => self.must_be(of, Kind::Bool, "not takes a truth value")?.then(Kind::Bool),
            Node::Minus(of) => self.must_be_number(of, "-")?,
            Node::Binary(sign, left, right) => self.binary(sign, left, right, expr.at)?,
            Node::Conditional(parts) => {
                let [condition, yes, no] = &**parts;
                self.must_be(condition, Kind::Bool, "? takes a truth value")?;
                let (yes, no) = (self.kind(yes)?, self.kind(no)?);
                if yes == no { yes } else { Kind::Any }
            }
            Node::Index(list, at) => {
                self.must_be(list, Kind::List, "an index is for lists")?;
                self.must_be(at, Kind::Int, "an index is a whole number")?.then(Kind::Any)
            }
            Node::Slice(of, from, to) => {
                for bound in [from, to].into_iter().flatten() {
                    self.must_be(bound, Kind::Int, "a bound is a whole number")?;
                }
                let kind = self.kind(of)?;
                if !kind.may_be(Kind::List) && kind != Kind::Text {
                    return Err(ExpressionError::new(of.at, format!("{kind} has no parts")));
                }
                kind
            }
            Node::Each(each, list, of) => {
                self.must_be(list, Kind::List, &format!("{each} takes a list"))?;
                match *each {
                    "map" => self.kind(of)?.then(Kind::List),
                    "filter" => self.must_be(of, Kind::Bool, "filter takes a truth value")?.then(Kind::List),
                    "count" => self.must_be(of, Kind::Bool, "count takes a truth value")?.then(Kind::Int),
                    _ => self.must_be(of, Kind::Bool, &format!("{each} takes a truth value"))?.then(Kind::Bool),
                }
            }
            Node::Item => Kind::Any,
            Node::Let(value, body) => {
                let value = self.kind(value)?;
                self.variables.push(value);
                let kind = self.kind(body);
                self.variables.pop();
                kind?
            }
            Node::Variable(place) => self.variables.get(*place).copied().unwrap_or(Kind::Any),
        })
    }

    fn must_be(&mut self, expr: &Expr, wanted: Kind, what: &str) -> Result<Kind, ExpressionError> {
        let kind = self.kind(expr)?;
        if kind.may_be(wanted) { Ok(kind) } else { Err(ExpressionError::new(expr.at, format!("{what}, not {kind}"))) }
    }

    fn must_be_number(&mut self, expr: &Expr, sign: &str) -> Result<Kind, ExpressionError> {
        let kind = self.kind(expr)?;
        if kind.may_be_number() {
            Ok(kind)
        } else {
            Err(ExpressionError::new(expr.at, format!("{sign} takes numbers, not {kind}")))
        }
    }

    fn binary(&mut self, sign: &str, left: &Expr, right: &Expr, at: usize) -> Result<Kind, ExpressionError> {
        match sign {
            "and" | "&&" | "or" | "||" => {
                self.must_be(left, Kind::Bool, &format!("{sign} takes truth values"))?;
                self.must_be(right, Kind::Bool, &format!("{sign} takes truth values"))?.then(Kind::Bool).ok()
            }
            "contains" | "startsWith" | "endsWith" | "matches" => {
                self.must_be(left, Kind::Text, &format!("{sign} compares text"))?;
                self.must_be(right, Kind::Text, &format!("{sign} compares text"))?.then(Kind::Bool).ok()
            }
            "in" => {
                self.kind(left)?;
                self.must_be(right, Kind::List, "in takes a list")?.then(Kind::Bool).ok()
            }
            ".." => {
                self.must_be(left, Kind::Int, "a range goes from a whole number")?;
                self.must_be(right, Kind::Int, "a range goes to a whole number")?.then(Kind::List).ok()
            }
            "??" => {
                let (left, right) = (self.kind(left)?, self.kind(right)?);
                Ok(if left == right { left } else { Kind::Any })
            }
            "+" | "<" | ">" | "<=" | ">=" | "==" | "!=" => {
                let (of, to) = (self.kind(left)?, self.kind(right)?);
                let are_numbers = of.may_be_number() && to.may_be_number();
                let are_texts = of.may_be(Kind::Text) && to.may_be(Kind::Text);
                let is_equality = matches!(sign, "==" | "!=");
                let has_nil = of == Kind::Nil || to == Kind::Nil;
                if !(are_numbers || are_texts || (is_equality && (has_nil || of.may_be(to)))) {
                    return Err(ExpressionError::new(at, format!("{sign} can't take {of} and {to}")));
                }
                Ok(match sign {
                    "+" if of == to => of,
                    "+" => Kind::Any,
                    _ => Kind::Bool,
                })
            }
            _ => {
                let (of, to) = (self.must_be_number(left, sign)?, self.must_be_number(right, sign)?);
                Ok(match sign {
                    "/" | "**" | "^" => Kind::Float,
                    _ if of == to => of,
                    _ => Kind::Any,
                })
            }
        }
    }
}

impl Kind {
    /// Another kind, once this one was looked at.
    fn then(self, other: Kind) -> Kind {
        other
    }

    fn ok(self) -> Result<Kind, ExpressionError> {
        Ok(self)
    }
}
