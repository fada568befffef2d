//! An expression in tokens.

use super::ExpressionError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Int(i64),
    Float(f64),
    /// An operator, a bracket, or a word that is an operator.
    Sign(&'static str),
}

#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) at: usize,
}

/// Longer ones first.
const SIGNS: [&str; 34] = [
    "::", "?.", "??", "**", "&&", "||", "==", "!=", "<=", ">=", "..", "?", ":", ",", ";", "%", "+", "-", "^", "&", "!",
    "=", "*", "<", ">", "/", "|", "(", ")", "[", "]", "{", "}", ".",
];
const WORDS: [&str; 11] =
    ["not", "in", "or", "and", "matches", "contains", "startsWith", "endsWith", "let", "if", "else"];

pub(super) fn read(text: &str) -> Result<Vec<Placed>, ExpressionError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        if let Some(comment) = rest.strip_prefix("/*") {
            let end = comment.find("*/").ok_or_else(|| ExpressionError::new(at, "the comment has no */"))?;
            at += end + 4;
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let (token, length) = token(rest, c, at)?;
        tokens.push(Placed { token, at });
        at += length;
    }
    Ok(tokens)
}

fn token(rest: &str, c: char, at: usize) -> Result<(Token, usize), ExpressionError> {
    let digit_behind = |text: &str| text[1..].starts_with(|c: char| c.is_ascii_digit());
    match c {
        '\'' | '"' => quoted(rest, c, at),
        '`' => {
            let end = rest[1..].find('`').ok_or_else(|| ExpressionError::new(at, "the text has no closing `"))?;
            Ok((Token::Text(rest[1..=end].to_owned()), end + 2))
        }
        '#' => {
            let name = word(&rest[1..]);
            if name.is_empty() {
                Ok((Token::Sign("#"), 1))
            } else {
                Err(ExpressionError::new(at, format!("#{name} is known from expr, but not supported here")))
            }
        }
        'b' | 'B' if rest[1..].starts_with(['\'', '"']) => {
            Err(ExpressionError::new(at, "bytes (b\"…\") are known from expr, but not supported here"))
        }
        '0'..='9' => number(rest, at),
        '.' if digit_behind(rest) => number(rest, at),
        _ if c.is_alphabetic() || c == '_' || c == '$' => {
            let name = word(rest);
            match WORDS.iter().find(|known| **known == name) {
                Some(known) => Ok((Token::Sign(known), name.len())),
                None => Ok((Token::Word(name.to_owned()), name.len())),
            }
        }
        _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            Some(sign) => Ok((Token::Sign(sign), sign.len())),
            None => Err(ExpressionError::new(at, format!("{c:?} has no meaning here"))),
        },
    }
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len());
    &text[..end]
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), ExpressionError> {
    let lower = rest.to_ascii_lowercase();
    let radix = match lower.get(..2) {
        Some("0x") => 16,
        Some("0o") => 8,
        Some("0b") => 2,
        _ => 10,
    };
    let run = |from: usize| {
        let is_digit = |byte: &u8| *byte == b'_' || char::from(*byte).is_digit(radix);
        from + lower.as_bytes()[from..].iter().take_while(|byte| is_digit(byte)).count()
    };
    let mut end = run(if radix == 10 { 0 } else { 2 });
    let mut is_float = false;
    if radix == 10 {
        // Two dots are a range.
        if lower[end..].starts_with('.') && !lower[end..].starts_with("..") {
            is_float = true;
            end = run(end + 1);
        }
        if lower[end..].starts_with('e') {
            is_float = true;
            end += 1 + usize::from(lower[end + 1..].starts_with(['+', '-']));
            end = run(end);
        }
    }
    let wrong = || ExpressionError::new(at, format!("{} is no number", &rest[..end]));
    if !word(&rest[end..]).is_empty() {
        return Err(wrong());
    }
    let digits = lower[..end].replace('_', "");
    let token = if is_float {
        Token::Float(digits.parse().map_err(|_| wrong())?)
    } else {
        let digits = if radix == 10 { &*digits } else { &digits[2..] };
        Token::Int(i64::from_str_radix(digits, radix).map_err(|_| wrong())?)
    };
    Ok((token, end))
}

fn quoted(rest: &str, quote: char, at: usize) -> Result<(Token, usize), ExpressionError> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((here, c)) = chars.next() {
        if c == quote {
            return Ok((Token::Text(text), here + 1));
        }
        if c != '\\' {
            text.push(c);
            continue;
        }
        let Some((_, escaped)) = chars.next() else { break };
        let mut code = |digits: usize, radix: u32| {
            let digits: String = chars.by_ref().take(digits).map(|(_, digit)| digit).collect();
            u32::from_str_radix(&digits, radix).ok().and_then(char::from_u32)
        };
        let found = match escaped {
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            '\\' | '\'' | '"' => Some(escaped),
            'x' => code(2, 16),
            'u' => code(4, 16),
            'U' => code(8, 16),
            _ => None,
        };
        text.push(found.ok_or_else(|| {
            ExpressionError::new(
                at + here,
                format!("\\{escaped} is no escape; write \\\\ for a backslash, as in '\\\\.'"),
            )
        })?);
    }
    Err(ExpressionError::new(at, "the text has no closing quote"))
}
