//! The functions of expressions: CoreDNS's for questions, expr-lang's for text, numbers and lists.

use super::RunError;
use std::net::IpAddr;

use ipnet::IpNet;

use super::value::{Kind, Value};
use crate::plugin::Query;
use crate::wire::name_text::NameText;

/// Of a question: each takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Bufsize,
    Class,
    ClientIp,
    Do,
    Id,
    Name,
    Opcode,
    Port,
    Proto,
    ServerIp,
    ServerPort,
    Size,
    Type,
}

const OF: [(&str, Of, Kind); 13] = [
    ("bufsize", Of::Bufsize, Kind::Int),
    ("class", Of::Class, Kind::Text),
    ("client_ip", Of::ClientIp, Kind::Text),
    ("do", Of::Do, Kind::Bool),
    ("id", Of::Id, Kind::Int),
    ("name", Of::Name, Kind::Text),
    ("opcode", Of::Opcode, Kind::Int),
    ("port", Of::Port, Kind::Text),
    ("proto", Of::Proto, Kind::Text),
    ("server_ip", Of::ServerIp, Kind::Text),
    ("server_port", Of::ServerPort, Kind::Text),
    ("size", Of::Size, Kind::Int),
    ("type", Of::Type, Kind::Text),
];

/// Of its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Of(Of),
    InCidr,
    Metadata,
    Plain(&'static str),
}

use Kind::{Any, Bool, Int, List, Text};

/// expr-lang's: name, what they take (the last ones may be left out), how many they must have, what they give.
const PLAIN: [(&str, &[Kind], usize, Kind); 20] = [
    ("len", &[Any], 1, Int),
    ("lower", &[Text], 1, Text),
    ("upper", &[Text], 1, Text),
    ("trim", &[Text, Text], 1, Text),
    ("trimPrefix", &[Text, Text], 2, Text),
    ("trimSuffix", &[Text, Text], 2, Text),
    ("split", &[Text, Text], 2, List),
    ("replace", &[Text, Text, Text], 3, Text),
    ("join", &[List, Text], 1, Text),
    ("indexOf", &[Text, Text], 2, Int),
    ("lastIndexOf", &[Text, Text], 2, Int),
    ("hasPrefix", &[Text, Text], 2, Bool),
    ("hasSuffix", &[Text, Text], 2, Bool),
    ("int", &[Any], 1, Int),
    ("string", &[Any], 1, Text),
    ("abs", &[Any], 1, Any),
    ("min", &[Any, Any], 2, Any),
    ("max", &[Any, Any], 2, Any),
    ("first", &[List], 1, Any),
    ("last", &[List], 1, Any),
];

/// What expr-lang has besides.
const ELSEWHERE: [&str; 44] = [
    "one",
    "find",
    "findIndex",
    "findLast",
    "findLastIndex",
    "groupBy",
    "sortBy",
    "reduce",
    "sum",
    "mean",
    "median",
    "splitAfter",
    "repeat",
    "now",
    "duration",
    "date",
    "timezone",
    "ceil",
    "floor",
    "round",
    "concat",
    "flatten",
    "uniq",
    "take",
    "reverse",
    "sort",
    "keys",
    "values",
    "float",
    "toJSON",
    "fromJSON",
    "toBase64",
    "fromBase64",
    "toPairs",
    "fromPairs",
    "get",
    "bitand",
    "bitor",
    "bitxor",
    "bitnand",
    "bitshl",
    "bitshr",
    "bitushr",
    "bitnot",
];

impl Function {
    pub(super) fn named(name: &str) -> Result<Function, RunError> {
        if let Some((_, of, _)) = OF.iter().find(|(known, ..)| *known == name) {
            return Ok(Function::Of(*of));
        }
        match name {
            "incidr" => return Ok(Function::InCidr),
            "metadata" => return Ok(Function::Metadata),
            _ => {}
        }
        if let Some((known, ..)) = PLAIN.iter().find(|(known, ..)| *known == name) {
            return Ok(Function::Plain(known));
        }
        if ELSEWHERE.contains(&name) {
            return Err(format!("{name} is known from expr, but not supported here").into());
        }
        let known = OF.iter().map(|(known, ..)| *known).chain(["incidr", "metadata"]);
        let known = known.chain(PLAIN.iter().map(|(known, ..)| *known)).chain(["all", "any", "none", "count"]);
        let known: Vec<&str> = known.chain(["filter", "map"]).collect();
        Err(match crate::corefile::nearest::nearest(name, known.iter().copied()) {
            Some(near) => format!("there is no function {name}; did you mean {near}?").into(),
            None => format!("there is no function {name}; known are {}", known.join(", ")).into(),
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Function::Of(of) => OF.iter().find(|(_, known, _)| *known == of).map_or("", |(name, ..)| name),
            Function::InCidr => "incidr",
            Function::Metadata => "metadata",
            Function::Plain(name) => name,
        }
    }

    /// What it takes, how many of these it must have, and what it gives.
    pub(super) fn signature(self) -> (&'static [Kind], usize, Kind) {
        match self {
            Function::Of(of) => (&[], 0, OF.iter().find(|(_, known, _)| *known == of).map_or(Any, |(.., kind)| *kind)),
            Function::InCidr => (&[Text, Text], 2, Bool),
            Function::Metadata => (&[Text], 1, Text),
            Function::Plain(name) => {
                let known = PLAIN.iter().find(|(known, ..)| *known == name);
                known.map_or((&[], 0, Any), |(_, takes, least, gives)| (takes, *least, *gives))
            }
        }
    }

    /// Its value. There are as many arguments as [`Function::signature`] says.
    pub(super) fn call(self, args: &[Value], query: &Query) -> Result<Value, RunError> {
        match self {
            Function::Of(of) => Ok(of_query(of, query)),
            Function::InCidr => in_cidr(args[0].text()?, args[1].text()?).map(Value::Bool),
            Function::Metadata => Ok(Value::Text(query.metadata.get(args[0].text()?).cloned().unwrap_or_default())),
            Function::Plain(name) => plain(name, args),
        }
    }
}

fn of_query(of: Of, query: &Query) -> Value {
    let address = |address: IpAddr| Value::Text(address.to_canonical().to_string());
    let request = &query.request;
    match of {
        Of::Bufsize => Value::Int(query.size() as i64),
        Of::Class => Value::Text(query.class().to_string()),
        Of::ClientIp => address(request.from.ip()),
        Of::Do => Value::Bool(query.dnssec_ok()),
        Of::Id => Value::Int(request.message.id.into()),
        Of::Name => Value::Text(NameText::of(query.name()).as_str().to_owned()),
        Of::Opcode => Value::Int(request.message.flags.opcode().0.into()),
        Of::Port => Value::Text(request.from.port().to_string()),
        Of::Proto => Value::Text(request.transport.proto().to_owned()),
        Of::ServerIp => address(request.to.ip()),
        Of::ServerPort => Value::Text(request.to.port().to_string()),
        Of::Size => Value::Int(request.raw.len() as i64),
        Of::Type => Value::Text(query.rtype().to_string()),
    }
}

/// Whether an address is within a network.
pub(super) fn in_cidr(address: &str, net: &str) -> Result<bool, RunError> {
    let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is no address"))?;
    Ok(network(net)?.contains(&address.to_canonical()))
}

/// A network as text.
pub(super) fn network(net: &str) -> Result<IpNet, RunError> {
    Ok(net.parse().map_err(|_| format!("{net:?} is no network, such as 10.0.0.0/8"))?)
}

fn plain(name: &str, args: &[Value]) -> Result<Value, RunError> {
    let text = |n: usize| args.get(n).ok_or_else(|| format!("{name} needs more values"))?.text();
    let place = |place: Option<usize>| Value::Int(place.map_or(-1, |place| place as i64));
    let blank: &[char] = &[' ', '\t', '\r', '\n', '\u{b}', '\u{c}', '\u{85}', '\u{a0}'];
    Ok(match name {
        "len" => Value::Int(match &args[0] {
            Value::Text(text) => text.chars().count(),
            other => other.list()?.len(),
        } as i64),
        "lower" => Value::Text(text(0)?.to_lowercase()),
        "upper" => Value::Text(text(0)?.to_uppercase()),
        "trim" if args.len() == 1 => Value::Text(text(0)?.trim_matches(blank).to_owned()),
        "trim" => {
            let set: Vec<char> = text(1)?.chars().collect();
            Value::Text(text(0)?.trim_matches(&set[..]).to_owned())
        }
        "trimPrefix" => Value::Text(text(0)?.strip_prefix(text(1)?).unwrap_or(text(0)?).to_owned()),
        "trimSuffix" => Value::Text(text(0)?.strip_suffix(text(1)?).unwrap_or(text(0)?).to_owned()),
        "split" if text(1)?.is_empty() => Value::List(text(0)?.chars().map(|c| Value::Text(c.to_string())).collect()),
        "split" => Value::List(text(0)?.split(text(1)?).map(|part| Value::Text(part.to_owned())).collect()),
        "replace" => Value::Text(text(0)?.replace(text(1)?, text(2)?)),
        "join" => {
            let parts: Vec<String> = args[0].list()?.iter().map(ToString::to_string).collect();
            Value::Text(parts.join(if args.len() > 1 { text(1)? } else { "" }))
        }
        "indexOf" => place(text(0)?.find(text(1)?)),
        "lastIndexOf" => place(text(0)?.rfind(text(1)?)),
        "hasPrefix" => Value::Bool(text(0)?.starts_with(text(1)?)),
        "hasSuffix" => Value::Bool(text(0)?.ends_with(text(1)?)),
        "int" => match &args[0] {
            Value::Text(text) => Value::Int(text.parse().map_err(|_| format!("{text:?} is no whole number"))?),
            other => Value::Int(other.float()? as i64),
        },
        "string" => Value::Text(args[0].to_string()),
        "abs" => match &args[0] {
            Value::Int(number) => Value::Int(number.wrapping_abs()),
            other => Value::Float(other.float()?.abs()),
        },
        "min" | "max" => {
            let is_less = args[0].order(&args[1])?.is_some_and(std::cmp::Ordering::is_lt);
            args[usize::from(is_less != (name == "min"))].clone()
        }
        "first" => args[0].list()?.first().cloned().unwrap_or(Value::Nil),
        "last" => args[0].list()?.last().cloned().unwrap_or(Value::Nil),
        _ => return Err(format!("there is no function {name}").into()),
    })
}
