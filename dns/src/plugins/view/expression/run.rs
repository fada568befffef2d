//! An expression, run for a question.

use super::RunError;
use super::parser::{Expr, Node};
use super::value::Value;
use crate::plugin::Query;
use crate::plugins::shared::pattern;

/// The longest list that a range makes, and the most items that lists of lists are gone through.
const LONGEST: i64 = 10_000;
const STEPS: usize = 100_000;

/// The value of an expression.
pub(super) fn run(expr: &Expr, query: &Query) -> Result<Value, RunError> {
    Run { query, variables: Vec::new(), items: Vec::new(), steps: 0 }.value(expr)
}

struct Run<'a> {
    query: &'a Query,
    variables: Vec<Value>,
    items: Vec<Value>,
    steps: usize,
}

impl Run<'_> {
    fn value(&mut self, expr: &Expr) -> Result<Value, RunError> {
        self.steps += 1;
        if self.steps > STEPS {
            return Err("the expression takes too long".into());
        }
        match &expr.node {
            Node::Literal(value) => Ok(value.clone()),
            Node::List(items) => self.values(items).map(Value::List),
            Node::Call(function, args) => {
                let args = self.values(args)?;
                function.call(&args, self.query)
            }
            Node::Within(of, net) => {
                let of = self.value(of)?;
                let address = of.text()?.parse::<std::net::IpAddr>().map_err(|_| format!("{of} is no address"))?;
                Ok(Value::Bool(net.contains(&address.to_canonical())))
            }
            Node::Matches(of, pattern) => Ok(Value::Bool(pattern.is_match(self.value(of)?.text()?))),
            Node::Not(of) => Ok(Value::Bool(!self.value(of)?.truth()?)),
            Node::Minus(of) => match self.value(of)? {
                Value::Int(number) => Ok(Value::Int(number.wrapping_neg())),
                other => Ok(Value::Float(-other.float()?)),
            },
            Node::Binary(sign, left, right) => self.binary(sign, left, right),
            Node::Conditional(parts) => {
                let [condition, yes, no] = &**parts;
                let taken = if self.value(condition)?.truth()? { yes } else { no };
                self.value(taken)
            }
            Node::Index(list, at) => {
                let (list, at) = (self.value(list)?, self.value(at)?.int()?);
                let list = list.list()?;
                let place = if at < 0 { at + list.len() as i64 } else { at };
                let item = usize::try_from(place).ok().and_then(|place| list.get(place));
                Ok(item.cloned().ok_or_else(|| format!("index {at} is out of range: there are {}", list.len()))?)
            }
            Node::Slice(of, from, to) => self.slice(of, from.as_deref(), to.as_deref()),
            Node::Each(each, list, of) => self.each(each, list, of),
            Node::Item => Ok(self.items.last().cloned().unwrap_or(Value::Nil)),
            Node::Let(value, body) => {
                let value = self.value(value)?;
                self.variables.push(value);
                let value = self.value(body);
                self.variables.pop();
                value
            }
            Node::Variable(place) => Ok(self.variables.get(*place).cloned().unwrap_or(Value::Nil)),
        }
    }

    fn values(&mut self, exprs: &[Expr]) -> Result<Vec<Value>, RunError> {
        exprs.iter().map(|expr| self.value(expr)).collect()
    }

    fn slice(&mut self, of: &Expr, from: Option<&Expr>, to: Option<&Expr>) -> Result<Value, RunError> {
        let of = self.value(of)?;
        let length = match &of {
            Value::Text(text) => text.chars().count(),
            other => other.list()?.len(),
        };
        let mut bound = |expr: Option<&Expr>, default: usize| match expr {
            None => Ok(default),
            Some(expr) => self.value(expr)?.int().map(|at| {
                let at = if at < 0 { at.saturating_add(length as i64) } else { at };
                usize::try_from(at).unwrap_or(0).min(length)
            }),
        };
        let (from, to) = (bound(from, 0)?, bound(to, length)?);
        let count = to.saturating_sub(from);
        Ok(match of {
            Value::Text(text) => Value::Text(text.chars().skip(from).take(count).collect()),
            Value::List(list) => Value::List(list.into_iter().skip(from).take(count).collect()),
            other => other,
        })
    }

    fn each(&mut self, each: &str, list: &Expr, of: &Expr) -> Result<Value, RunError> {
        let Value::List(list) = self.value(list)? else { return Err(format!("{each} takes a list").into()) };
        let mut found = Vec::new();
        let count = list.len();
        for item in list {
            self.items.push(item);
            let value = self.value(of);
            let item = self.items.pop().unwrap_or(Value::Nil);
            let value = value?;
            match each {
                "map" => found.push(value),
                _ if value.truth()? => found.push(item),
                _ => {}
            }
        }
        Ok(match each {
            "all" => Value::Bool(found.len() == count),
            "any" => Value::Bool(!found.is_empty()),
            "none" => Value::Bool(found.is_empty()),
            "count" => Value::Int(found.len() as i64),
            _ => Value::List(found),
        })
    }

    fn binary(&mut self, sign: &str, left: &Expr, right: &Expr) -> Result<Value, RunError> {
        let left = self.value(left)?;
        // What decides needs no more.
        match sign {
            "and" | "&&" if !left.truth()? => return Ok(left),
            "or" | "||" if left.truth()? => return Ok(left),
            "??" if left != Value::Nil => return Ok(left),
            _ => {}
        }
        let right = self.value(right)?;
        let order = |is: fn(std::cmp::Ordering) -> bool| left.order(&right).map(|order| order.is_some_and(is));
        Ok(match sign {
            "and" | "&&" | "or" | "||" => Value::Bool(right.truth()?),
            "??" => right,
            "==" => Value::Bool(left.is(&right)),
            "!=" => Value::Bool(!left.is(&right)),
            "<" => Value::Bool(order(std::cmp::Ordering::is_lt)?),
            "<=" => Value::Bool(order(std::cmp::Ordering::is_le)?),
            ">" => Value::Bool(order(std::cmp::Ordering::is_gt)?),
            ">=" => Value::Bool(order(std::cmp::Ordering::is_ge)?),
            "in" => Value::Bool(right.list()?.iter().any(|item| item.is(&left))),
            "contains" => Value::Bool(left.text()?.contains(right.text()?)),
            "startsWith" => Value::Bool(left.text()?.starts_with(right.text()?)),
            "endsWith" => Value::Bool(left.text()?.ends_with(right.text()?)),
            "matches" => {
                Value::Bool(pattern::compile(right.text()?).map_err(|error| error.to_string())?.is_match(left.text()?))
            }
            ".." => range(left.int()?, right.int()?)?,
            _ => arithmetic(sign, &left, &right)?,
        })
    }
}

fn range(from: i64, to: i64) -> Result<Value, RunError> {
    if to.saturating_sub(from) >= LONGEST {
        return Err(format!("{from}..{to} has more than {LONGEST} numbers").into());
    }
    Ok(Value::List((from..=to).map(Value::Int).collect()))
}

/// Whole numbers stay so, but for division and powers; they wrap as Go's do.
fn arithmetic(sign: &str, left: &Value, right: &Value) -> Result<Value, RunError> {
    if let (Value::Int(a), Value::Int(b)) = (left, right) {
        let whole = match sign {
            "+" => Some(a.wrapping_add(*b)),
            "-" => Some(a.wrapping_sub(*b)),
            "*" => Some(a.wrapping_mul(*b)),
            "%" => Some(a.checked_rem(*b).ok_or("division by 0")?),
            _ => None,
        };
        if let Some(whole) = whole {
            return Ok(Value::Int(whole));
        }
    }
    if let ("+", Value::Text(a), Value::Text(b)) = (sign, left, right) {
        return Ok(Value::Text(format!("{a}{b}")));
    }
    let (a, b) = (left.float()?, right.float()?);
    Ok(Value::Float(match sign {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" => a / b,
        "**" | "^" => a.powf(b),
        _ => return Err(format!("{sign} takes whole numbers").into()),
    }))
}
