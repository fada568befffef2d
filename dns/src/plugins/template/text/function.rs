//! The functions of templates.

use super::RunError;
use std::cmp::Ordering;

use super::format;
use super::value::Value;

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    And,
    Or,
    Not,
    Len,
    Index,
    Slice,
    Print,
    Printf,
    Println,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    ParseInt,
}

/// Each with its name and the fewest and most values it takes.
const FUNCTIONS: [(&str, Function, usize, usize); 16] = [
    ("and", Function::And, 1, usize::MAX),
    ("or", Function::Or, 1, usize::MAX),
    ("not", Function::Not, 1, 1),
    ("len", Function::Len, 1, 1),
    ("index", Function::Index, 1, usize::MAX),
    ("slice", Function::Slice, 1, 3),
    ("print", Function::Print, 0, usize::MAX),
    ("printf", Function::Printf, 1, usize::MAX),
    ("println", Function::Println, 0, usize::MAX),
    ("eq", Function::Eq, 2, usize::MAX),
    ("ne", Function::Ne, 2, 2),
    ("lt", Function::Lt, 2, 2),
    ("le", Function::Le, 2, 2),
    ("gt", Function::Gt, 2, 2),
    ("ge", Function::Ge, 2, 2),
    ("parseInt", Function::ParseInt, 3, 3),
];

impl Function {
    /// The function of that name.
    pub(super) fn named(name: &str) -> Result<Function, RunError> {
        if let Some((_, function, ..)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) {
            return Ok(*function);
        }
        if ["call", "html", "js", "urlquery"].contains(&name) {
            return Err(format!("{name} is known from Go, but not supported here").into());
        }
        let known: Vec<_> = FUNCTIONS.iter().map(|(known, ..)| *known).collect();
        Err(format!("there is no function {name}; known are {}", known.join(", ")).into())
    }

    pub(super) fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|(_, function, ..)| *function == self).map_or("", |(name, ..)| name)
    }

    /// Whether it takes so many values.
    pub(super) fn takes(self, count: usize) -> bool {
        FUNCTIONS.iter().any(|(_, function, least, most)| *function == self && (*least..=*most).contains(&count))
    }

    /// Its value. `and` and `or` are given no more than they look at.
    pub(super) fn call(self, args: &[Value]) -> Result<Value, RunError> {
        let compare = |is: fn(Ordering) -> bool| ordering(&args[0], &args[1]).map(|order| Value::Bool(is(order)));
        match self {
            Function::And | Function::Or => Ok(args.last().cloned().unwrap_or(Value::Nothing)),
            Function::Not => Ok(Value::Bool(!args[0].is_true())),
            Function::Len => len(&args[0]).map(Value::Number),
            Function::Index => args[1..].iter().try_fold(args[0].clone(), |of, at| index(&of, at)),
            Function::Slice => slice(args),
            Function::Print => Ok(Value::Text(print(args))),
            Function::Println => {
                let words: Vec<String> = args.iter().map(ToString::to_string).collect();
                Ok(Value::Text(words.join(" ") + "\n"))
            }
            Function::Printf => match &args[0] {
                Value::Text(text) => format::printf(text, &args[1..]).map(Value::Text),
                other => Err(format!("printf: the format is {}, not text", other.kind()).into()),
            },
            Function::Eq => {
                for other in &args[1..] {
                    if equal(&args[0], other)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            Function::Ne => equal(&args[0], &args[1]).map(|same| Value::Bool(!same)),
            Function::Lt => compare(Ordering::is_lt),
            Function::Le => compare(Ordering::is_le),
            Function::Gt => compare(Ordering::is_gt),
            Function::Ge => compare(Ordering::is_ge),
            Function::ParseInt => parse_int(args),
        }
    }
}

/// Go's Sprint: blanks between values of which neither is text.
fn print(args: &[Value]) -> String {
    let mut out = String::new();
    for (n, arg) in args.iter().enumerate() {
        let is_text = |value: &Value| matches!(value, Value::Text(_));
        if n > 0 && !is_text(arg) && !is_text(&args[n - 1]) {
            out.push(' ');
        }
        out.push_str(&arg.to_string());
    }
    out
}

fn len(of: &Value) -> Result<i128, RunError> {
    match of {
        Value::Text(text) => Ok(text.len() as i128),
        Value::List(list) => Ok(list.len() as i128),
        Value::Map(map) => Ok(map.len() as i128),
        other => Err(format!("len of {}", other.kind()).into()),
    }
}

fn index(of: &Value, at: &Value) -> Result<Value, RunError> {
    let beyond = |at: i128, length: usize| format!("index {at} is out of range: there are {length}");
    match (of, at) {
        (Value::List(list), Value::Number(at)) => {
            let item = usize::try_from(*at).ok().and_then(|at| list.get(at));
            Ok(item.cloned().ok_or_else(|| beyond(*at, list.len()))?)
        }
        (Value::Text(text), Value::Number(at)) => {
            let byte = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
            Ok(byte.map(|byte| Value::Number((*byte).into())).ok_or_else(|| beyond(*at, text.len()))?)
        }
        // What is not there is empty text, as all of a map's values are text.
        (Value::Map(map), Value::Text(name)) => Ok(map.get(name).cloned().unwrap_or(Value::Text(String::new()))),
        _ => Err(format!("{} has no item by {}", of.kind(), at.kind()).into()),
    }
}

fn slice(args: &[Value]) -> Result<Value, RunError> {
    let length = usize::try_from(len(&args[0])?).unwrap_or(0);
    let bound = |n: usize, default: usize| match args.get(n) {
        None => Ok(default),
        Some(Value::Number(at)) => usize::try_from(*at).map_err(|_| format!("slice: {at} is out of range")),
        Some(other) => Err(format!("slice: {} is no number", other.kind())),
    };
    let (from, to) = (bound(1, 0)?, bound(2, length)?);
    let beyond = || RunError::from(format!("slice: {from}:{to} is out of range: there are {length}"));
    match &args[0] {
        Value::Text(text) => text.get(from..to).map(|text| Value::Text(text.to_owned())).ok_or_else(beyond),
        Value::List(list) => list.get(from..to).map(|list| Value::List(list.to_vec())).ok_or_else(beyond),
        other => Err(format!("slice of {}", other.kind()).into()),
    }
}

fn equal(a: &Value, b: &Value) -> Result<bool, RunError> {
    match (a, b) {
        (Value::Nothing, _) | (_, Value::Nothing) => Ok(a == b),
        (Value::Bool(_), Value::Bool(_)) | (Value::Number(_), Value::Number(_)) | (Value::Text(_), Value::Text(_)) => {
            Ok(a == b)
        }
        _ => Err(format!("{} can't be compared to {}", a.kind(), b.kind()).into()),
    }
}

fn ordering(a: &Value, b: &Value) -> Result<Ordering, RunError> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Ok(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Ok(a.cmp(b)),
        _ => Err(format!("{} and {} have no order", a.kind(), b.kind()).into()),
    }
}

/// Go's strconv.ParseUint: text, base (0: as its prefix says), bits (0: 64).
fn parse_int(args: &[Value]) -> Result<Value, RunError> {
    let [Value::Text(text), Value::Number(base), Value::Number(bits)] = args else {
        return Err("parseInt takes text, a base and a number of bits".into());
    };
    let wrong = |why: &str| RunError::from(format!("parseInt: {text:?} {why}"));
    let bits = match *bits {
        0 => 64,
        bits @ 1..=64 => bits as u32,
        _ => return Err(wrong("can't have so many bits")),
    };
    let prefixed = |prefix: &str| text.get(..2).is_some_and(|front| front.eq_ignore_ascii_case(prefix));
    let (radix, digits) = match *base {
        0 if prefixed("0x") => (16, text[2..].replace('_', "")),
        0 if prefixed("0o") => (8, text[2..].replace('_', "")),
        0 if prefixed("0b") => (2, text[2..].replace('_', "")),
        0 if text.len() > 1 && text.starts_with('0') => (8, text[1..].replace('_', "")),
        0 => (10, text.replace('_', "")),
        base @ 2..=36 => (base as u32, text.clone()),
        _ => return Err(wrong("can't have that base")),
    };
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return Err(wrong("is no number"));
    }
    match u128::from_str_radix(&digits, radix) {
        Ok(number) if number >> bits == 0 => Ok(Value::Number(number as i128)),
        Ok(_) => Err(wrong(&format!("does not fit into {bits} bits"))),
        Err(_) => Err(wrong("is no number of that base")),
    }
}
