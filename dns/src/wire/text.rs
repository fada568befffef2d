//! The presentation form of records (RFC 1035 §5.1): read from zone files and single lines, and shown as dig and
//! CoreDNS's library show it.
mod codec;
mod fields;
mod generate;
mod location;
mod parameters;
mod prefixes;
mod show;
#[cfg(test)]
mod tests;
mod token;
pub mod zone;

use super::{Class, Data, Name, Record, Type};
use token::{Entries, Entry, Token};

/// What is wrong with a text that is to be a record, or a part of one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct TextError(String);

impl From<String> for TextError {
    fn from(message: String) -> TextError {
        TextError(message)
    }
}

impl From<&str> for TextError {
    fn from(message: &str) -> TextError {
        TextError(message.to_owned())
    }
}

/// The TTL of a record that names none, in seconds.
const DEFAULT_TTL: u32 = 3600;

/// Reads one record: "name \[ttl\] \[class\] type data". A relative name is below `origin`, or below the root. The TTL
/// is 3600 and the class IN unless given. What follows the record on further lines is ignored.
///
/// # Errors
/// What is wrong with it.
pub fn record_from_text(text: &str, origin: Option<&Name>) -> Result<Record, TextError> {
    let root = Name::root();
    let origin = origin.unwrap_or(&root);
    let entry = Entries::new(text.trim_start().as_bytes()).next().ok_or("no record")?;
    let entry = entry.map_err(|problem| problem.message)?;
    record(&entry, &Context { origin, owner: None, ttl: Some(DEFAULT_TTL) }).map(|(record, _)| record)
}

/// Reads the data of a record of this type; a relative name is below `origin`.
///
/// # Errors
/// What is wrong with it.
pub fn data_from_text(rtype: Type, text: &str, origin: Option<&Name>) -> Result<Data, TextError> {
    let root = Name::root();
    let Some(entry) = Entries::new(text.trim_start().as_bytes()).next() else { return Ok(Data::default()) };
    let entry = entry.map_err(|problem| problem.message)?;
    fields::read(rtype, &entry.tokens, origin.unwrap_or(&root))
}

/// Reads base64 with its padding.
pub(crate) fn bytes_from_base64(text: &str) -> Option<Vec<u8>> {
    codec::from_base64(text.as_bytes())
}

/// Reads a TTL: seconds, or numbers with the units s, m, h, d, w, as "1h30m".
pub fn ttl_from_text(text: &str) -> Option<u32> {
    let (mut sum, mut number, mut digits) = (0_u32, 0_u32, false);
    for byte in text.bytes() {
        let unit = match byte.to_ascii_lowercase() {
            digit @ b'0'..=b'9' => {
                number = number.checked_mul(10)?.checked_add(u32::from(digit - b'0'))?;
                digits = true;
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86400,
            b'w' => 604_800,
            _ => return None,
        };
        sum = sum.checked_add(number.checked_mul(unit)?)?;
        number = 0;
    }
    if digits { sum.checked_add(number) } else { None }
}

/// What a line takes from the lines before it.
struct Context<'a> {
    origin: &'a Name,
    /// The owner of a line that begins with a blank.
    owner: Option<&'a Name>,
    ttl: Option<u32>,
}

/// Reads an entry that is a record. Tells the TTL that was written, if one was.
fn record(entry: &Entry, context: &Context<'_>) -> Result<(Record, Option<u32>), TextError> {
    let mut tokens = entry.tokens.as_slice();
    let name = if entry.is_indented {
        context.owner.cloned().ok_or("the first record begins with a blank, so its owner is unknown")?
    } else {
        let (owner, rest) = tokens.split_first().ok_or("no record")?;
        tokens = rest;
        name(owner, context.origin).map_err(|problem| format!("owner {owner}: {problem}"))?
    };
    let (mut ttl, mut class) = (None, None);
    let rtype = loop {
        let (token, rest) = tokens.split_first().ok_or("the record ends before its type")?;
        tokens = rest;
        let word = token.word().unwrap_or_default();
        match (word.parse::<Type>(), word.parse::<Class>(), ttl_from_text(word)) {
            // "NONE" is a class; "ANY" is one if a type follows.
            (Ok(rtype), ..) if rtype != Type::NONE && !(rtype == Type::ANY && is_type(rest.first())) => break rtype,
            (_, Ok(given), _) if class.is_none() => class = Some(given),
            (.., Some(given)) if ttl.is_none() => ttl = Some(given),
            _ => return Err(format!("{token} is no type, class or TTL").into()),
        }
    };
    let data = fields::read(rtype, tokens, context.origin).map_err(|problem| format!("{rtype}: {problem}"))?;
    let implied = context.ttl.or(class.map(|_| 0));
    let now = ttl.or(implied).ok_or("no TTL: write one, or $TTL above")?;
    Ok((Record { name, rtype, class: class.unwrap_or(Class::IN), ttl: now, data }, ttl))
}

fn is_type(token: Option<&Token>) -> bool {
    token.and_then(Token::word).is_some_and(|word| word.parse::<Type>().is_ok())
}

/// Reads a name; "@" is the origin, and a name without its final dot is below it.
fn name(token: &Token, origin: &Name) -> Result<Name, TextError> {
    if !token.is_quoted && token.text == b"@" {
        return Ok(origin.clone());
    }
    let read = Name::parse_bytes(&token.text).map_err(|problem| problem.to_string())?;
    let escapes = token.text.iter().rev().skip(1).take_while(|byte| **byte == b'\\').count();
    if token.text.ends_with(b".") && escapes % 2 == 0 {
        return Ok(read);
    }
    let front = read.as_wire().split_last().map_or(&[][..], |(_, front)| front);
    Ok(Name::join(front, origin).map_err(|error| error.to_string())?)
}
