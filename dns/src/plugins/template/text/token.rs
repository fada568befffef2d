//! A template in pieces: text, and the tokens of each action.

use super::TemplateError;

/// A token of an action.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A keyword or the name of a function.
    Word(String),
    /// `.Name`, without its dot.
    Field(String),
    /// A dot alone.
    Dot,
    /// `$x`, without its dollar.
    Variable(String),
    Text(String),
    Number(i128),
    /// `( ) | , := =`
    Sign(&'static str),
}

/// A token, where it stands, and whether it touches the one before.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) at: usize,
    pub(super) is_joined: bool,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// Its tokens, and where it begins.
    Action(Vec<Placed>, usize),
}

/// Takes a template to pieces; also gives it back as Go shows it, without blanks at the ends of actions.
pub(super) fn read(source: &str) -> Result<(Vec<Piece>, String), TemplateError> {
    let mut pieces = Vec::new();
    let mut shown = String::new();
    let mut at = 0;
    let mut trims = false;
    while at < source.len() {
        let rest = &source[at..];
        let (text, action) = match rest.find("{{") {
            Some(begin) => (&rest[..begin], Some(at + begin)),
            None => (rest, None),
        };
        let text = if trims { text.trim_start_matches(BLANK) } else { text };
        let Some(begin) = action else {
            push_text(text, &mut pieces, &mut shown);
            break;
        };
        let mut inside = begin + 2;
        // "{{- " eats the blanks in front of it.
        let eats = source[inside..].strip_prefix('-').is_some_and(|rest| rest.starts_with(BLANK));
        inside += usize::from(eats);
        push_text(if eats { text.trim_end_matches(BLANK) } else { text }, &mut pieces, &mut shown);
        let trimmed = source[inside..].trim_start_matches(BLANK);
        if trimmed.starts_with("/*") {
            let start = source.len() - trimmed.len();
            let end = trimmed.find("*/").ok_or_else(|| TemplateError::new(start, "the comment has no */"))?;
            let after = trimmed[end + 2..].trim_start_matches(BLANK);
            let (after, does) = after.strip_prefix('-').map_or((after, false), |after| (after, true));
            let after =
                after.strip_prefix("}}").ok_or_else(|| TemplateError::new(start, "a comment ends with */}}"))?;
            (at, trims) = (source.len() - after.len(), does);
            continue;
        }
        let (tokens, end, does) = action_tokens(source, begin, inside)?;
        shown.push_str("{{");
        shown.push_str(source[inside..end].trim_matches(BLANK));
        shown.push_str("}}");
        pieces.push(Piece::Action(tokens, begin));
        (at, trims) = (end + if does { 3 } else { 2 }, does);
    }
    Ok((pieces, shown))
}

const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

fn push_text(text: &str, pieces: &mut Vec<Piece>, shown: &mut String) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
        shown.push_str(text);
    }
}

/// The tokens from `at` up to the end of the action; where it ends, and whether it eats the blanks behind it.
fn action_tokens(source: &str, begin: usize, mut at: usize) -> Result<(Vec<Placed>, usize, bool), TemplateError> {
    let mut tokens: Vec<Placed> = Vec::new();
    let mut end_of_last = usize::MAX;
    loop {
        let rest = &source[at..];
        let Some(c) = rest.chars().next() else { return Err(TemplateError::new(begin, "the action has no }}")) };
        if rest.starts_with("}}") {
            return Ok((tokens, at, false));
        }
        if BLANK.contains(&c) {
            let after = rest.trim_start_matches(BLANK);
            if after.starts_with("-}}") {
                return Ok((tokens, source.len() - after.len(), true));
            }
            at = source.len() - after.len();
            continue;
        }
        let (token, length) = token(rest, at)?;
        tokens.push(Placed { token, at, is_joined: at == end_of_last });
        at += length;
        end_of_last = at;
    }
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// The token that begins here, and its length.
fn token(rest: &str, at: usize) -> Result<(Token, usize), TemplateError> {
    for sign in [":=", "=", "(", ")", "|", ","] {
        if rest.starts_with(sign) {
            return Ok((Token::Sign(sign), sign.len()));
        }
    }
    let mut chars = rest.chars();
    let first = chars.next().unwrap_or_default();
    let tail = chars.as_str();
    let begins_number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    match first {
        '.' if begins_number(tail) => Err(TemplateError::new(at, "numbers with a fraction are not here")),
        '.' => match word(tail) {
            "" => Ok((Token::Dot, 1)),
            name => Ok((Token::Field(name.to_owned()), 1 + name.len())),
        },
        '$' => Ok((Token::Variable(word(tail).to_owned()), 1 + word(tail).len())),
        '`' => {
            let end = tail.find('`').ok_or_else(|| TemplateError::new(at, "the text has no closing `"))?;
            Ok((Token::Text(tail[..end].to_owned()), end + 2))
        }
        '"' | '\'' => quoted(rest, first, at),
        _ if first.is_ascii_digit() || (matches!(first, '-' | '+') && begins_number(tail)) => number(rest, at),
        _ if first.is_alphabetic() || first == '_' => {
            let name = word(rest);
            Ok((Token::Word(name.to_owned()), name.len()))
        }
        _ => Err(TemplateError::new(at, format!("{first:?} has no meaning here"))),
    }
}

/// A text in quotes, or a character as its number.
fn quoted(rest: &str, quote: char, at: usize) -> Result<(Token, usize), TemplateError> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((here, c)) = chars.next() {
        if c == quote {
            let mut inside = text.chars();
            let token = match (quote, inside.next(), inside.next()) {
                ('"', ..) => Token::Text(text),
                (_, Some(only), None) => Token::Number(i128::from(u32::from(only))),
                _ => return Err(TemplateError::new(at, "there must be one character between ' and '")),
            };
            return Ok((token, here + 1));
        }
        if c != '\\' {
            text.push(c);
            continue;
        }
        let (_, escaped) = chars.next().ok_or_else(|| TemplateError::new(at, "the text has no closing quote"))?;
        let mut hex = |digits: usize| {
            let code: String = chars.by_ref().take(digits).map(|(_, digit)| digit).collect();
            u32::from_str_radix(&code, 16).ok().and_then(char::from_u32)
        };
        text.push(match escaped {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            '\\' | '"' | '\'' => escaped,
            'x' => hex(2).ok_or_else(|| TemplateError::new(at + here, "\\x needs two hexadecimal digits"))?,
            'u' => hex(4).ok_or_else(|| TemplateError::new(at + here, "\\u needs four hexadecimal digits"))?,
            other => return Err(TemplateError::new(at + here, format!("\\{other} is no escape"))),
        });
    }
    Err(TemplateError::new(at, "the text has no closing quote"))
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), TemplateError> {
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c))).unwrap_or(rest.len());
    let text = &rest[..end];
    let digits = text.trim_start_matches(['+', '-']).replace('_', "").to_ascii_lowercase();
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some(two) if two.starts_with('0') && two.ends_with(|c: char| c.is_ascii_digit()) => (8, &digits[1..]),
        _ => (10, &*digits),
    };
    match i64::from_str_radix(digits, radix) {
        Ok(number) if text.starts_with('-') => Ok((Token::Number(-i128::from(number)), end)),
        Ok(number) => Ok((Token::Number(number.into()), end)),
        Err(_) => Err(TemplateError::new(at, format!("{text} is no whole number"))),
    }
}
