//! `printf`: Go's verbs for text and whole numbers.

use super::RunError;
use super::value::Value;

/// The widest a value may be made.
const WIDEST: usize = 1000;

/// A verb with what stands in front of it.
#[derive(Default)]
struct Verb {
    verb: char,
    left: bool,
    zeros: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

/// A piece of a format.
enum Piece {
    Text(String),
    Verb(Verb),
}

/// The pieces of a format.
fn pieces(format: &str) -> Result<Vec<Piece>, RunError> {
    let mut pieces = Vec::new();
    let mut chars = format.chars().peekable();
    let mut text = String::new();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = chars.next_if(|flag| "+-# 0".contains(*flag)) {
            match flag {
                '-' => verb.left = true,
                '0' => verb.zeros = true,
                '+' => verb.plus = true,
                ' ' => verb.space = true,
                _ => verb.alternate = true,
            }
        }
        let mut number = || {
            let mut number = None;
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                let so_far: usize = number.unwrap_or(0);
                number = Some(so_far.saturating_mul(10).saturating_add(digit as usize - '0' as usize).min(WIDEST));
            }
            number
        };
        verb.width = number().unwrap_or(0);
        if chars.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            verb.precision = Some(digits.parse().unwrap_or(0).min(WIDEST));
        }
        verb.verb = chars.next().ok_or("the format ends with %")?;
        match verb.verb {
            '%' => text.push('%'),
            'v' | 's' | 'd' | 'q' | 'x' | 'X' | 'o' | 'b' | 'c' | 't' => {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(Piece::Verb(verb));
            }
            other => return Err(format!("%{other} is not here; known are %v %s %d %q %x %X %o %b %c %t %%").into()),
        }
    }
    pieces.push(Piece::Text(text));
    Ok(pieces)
}

/// Whether a format's verbs are known.
pub(super) fn check(format: &str) -> Result<(), RunError> {
    pieces(format).map(drop)
}

/// Go's Sprintf. What does not fit stands in the text as Go writes it.
pub(super) fn printf(format: &str, args: &[Value]) -> Result<String, RunError> {
    let mut out = String::new();
    let mut args = args.iter();
    for piece in pieces(format)? {
        match piece {
            Piece::Text(text) => out.push_str(&text),
            Piece::Verb(verb) => match args.next() {
                Some(value) => out.push_str(&verb.show(value)),
                None => out.push_str(&format!("%!{}(MISSING)", verb.verb)),
            },
        }
    }
    let extra: Vec<String> = args.map(ToString::to_string).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    Ok(out)
}

impl Verb {
    fn show(&self, value: &Value) -> String {
        let text = match (self.verb, value) {
            ('d' | 'v', Value::Number(number)) => self.number(*number, &number.unsigned_abs().to_string(), ""),
            ('x', Value::Number(number)) => self.number(*number, &format!("{:x}", number.unsigned_abs()), "0x"),
            ('X', Value::Number(number)) => self.number(*number, &format!("{:X}", number.unsigned_abs()), "0X"),
            ('o', Value::Number(number)) => self.number(*number, &format!("{:o}", number.unsigned_abs()), "0"),
            ('b', Value::Number(number)) => self.number(*number, &format!("{:b}", number.unsigned_abs()), "0b"),
            ('c', Value::Number(number)) => {
                u32::try_from(*number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}').to_string()
            }
            ('x', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('X', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
            ('q', Value::Text(text)) => format!("{:?}", self.cut(text)),
            ('s' | 'v', Value::Text(text)) => self.cut(text),
            ('t' | 'v', Value::Bool(truth)) => truth.to_string(),
            ('s', Value::Number(_) | Value::Bool(_)) | ('d' | 'o' | 'b' | 'c' | 't', Value::Text(_)) => {
                let kind = match value {
                    Value::Number(_) => "int",
                    Value::Bool(_) => "bool",
                    _ => "string",
                };
                return format!("%!{}({kind}={value})", self.verb);
            }
            _ => value.to_string(),
        };
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            text + &" ".repeat(missing)
        } else {
            let is_number = matches!(value, Value::Number(_)) && self.verb != 'c';
            let pad = if self.zeros && !is_number { "0" } else { " " };
            pad.repeat(missing) + &text
        }
    }

    fn cut(&self, text: &str) -> String {
        text.chars().take(self.precision.unwrap_or(usize::MAX)).collect()
    }

    /// A number with its sign and zeros.
    fn number(&self, number: i128, digits: &str, prefix: &str) -> String {
        let sign = match number {
            ..0 => "-",
            _ if self.plus => "+",
            _ if self.space => " ",
            _ => "",
        };
        let prefix = if self.alternate { prefix } else { "" };
        let taken = sign.len() + prefix.len();
        let least = match self.precision {
            Some(precision) => precision,
            None if self.zeros && !self.left => self.width.saturating_sub(taken),
            None => 0,
        };
        let zeros = "0".repeat(least.saturating_sub(digits.len()));
        format!("{sign}{prefix}{zeros}{digits}")
    }
}
