//! The words of a zone file: one entry is a line, or several within parentheses.
use std::fmt;

/// A word. Its escapes are still in it, its quotes are not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub(super) text: Vec<u8>,
    pub(super) is_quoted: bool,
}

/// The words of one entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// Where it begins; lines count from 1.
    pub(super) line: u32,
    /// Whether it begins with a blank, and so has the owner of the one before.
    pub(super) is_indented: bool,
    pub(super) tokens: Vec<Token>,
}

/// What is wrong with the text itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TokenError {
    pub(super) line: u32,
    pub(super) message: String,
}

/// The entries of a text; empty ones are passed over.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a> {
    rest: &'a [u8],
    line: u32,
}

impl Token {
    /// The text, if it was written without quotes.
    pub(super) fn word(&self) -> Option<&str> {
        std::str::from_utf8(&self.text).ok().filter(|_| !self.is_quoted)
    }

    /// The bytes that are meant, escapes resolved; none if an escape is malformed.
    pub(super) fn unescaped(&self) -> Option<Vec<u8>> {
        let mut bytes = self.text.iter().copied();
        let mut plain = Vec::with_capacity(self.text.len());
        while let Some(byte) = bytes.next() {
            plain.push(if byte == b'\\' { crate::wire::name::unescape(&mut bytes)? } else { byte });
        }
        Some(plain)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "\"{}\"", String::from_utf8_lossy(&self.text).escape_debug())
    }
}

impl<'a> Entries<'a> {
    pub(super) fn new(text: &'a [u8]) -> Entries<'a> {
        Entries { rest: text, line: 1 }
    }

    /// The bytes that aren't read yet.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The line ends that were read.
    pub(super) fn lines(&self) -> u32 {
        self.line - 1
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.line += u32::from(*first == b'\n');
        Some(*first)
    }

    /// Reads up to a closing quote, or, of a word without quotes, up to what ends it.
    fn token(&mut self) -> Result<Token, TokenError> {
        let line = self.line;
        let problem = |message: &str| Err(TokenError { line, message: message.into() });
        let is_quoted = self.rest.first() == Some(&b'"');
        let mut inside = is_quoted;
        if is_quoted {
            self.take();
        }
        let mut text = Vec::new();
        while let Some(&byte) = self.rest.first() {
            match byte {
                b'"' => {
                    self.take();
                    if is_quoted {
                        return Ok(Token { text, is_quoted });
                    }
                    // As in key="some value".
                    inside = !inside;
                    continue;
                }
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' if !inside => break,
                b'\\' => {
                    text.extend(self.take());
                    match self.rest.first() {
                        None | Some(b'\n') => return problem("a backslash ends the line"),
                        Some(_) => {}
                    }
                }
                _ => {}
            }
            text.extend(self.take());
        }
        if inside { problem("a quote isn't closed") } else { Ok(Token { text, is_quoted }) }
    }

    /// Reads one entry, which may be empty.
    fn entry(&mut self) -> Result<Entry, TokenError> {
        let is_indented = matches!(self.rest.first(), Some(b' ' | b'\t'));
        let mut entry = Entry { line: self.line, is_indented, tokens: Vec::new() };
        // The line of the parenthesis that is open.
        let mut open = None;
        while let Some(&byte) = self.rest.first() {
            match byte {
                b'\n' => {
                    self.take();
                    if open.is_none() {
                        break;
                    }
                }
                b' ' | b'\t' | b'\r' => {
                    self.take();
                }
                b';' => {
                    let end = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
                    self.rest = self.rest.get(end..).unwrap_or_default();
                }
                b'(' if open.is_some() => {
                    return Err(TokenError { line: self.line, message: "a parenthesis within parentheses".into() });
                }
                b'(' => {
                    open = Some(self.line);
                    self.take();
                }
                b')' if open.take().is_none() => {
                    return Err(TokenError { line: self.line, message: "\")\" without \"(\"".into() });
                }
                b')' => {
                    self.take();
                }
                _ => entry.tokens.push(self.token()?),
            }
        }
        match open {
            Some(line) => Err(TokenError { line, message: "\"(\" isn't closed".into() }),
            None => Ok(entry),
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, TokenError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            match self.entry() {
                Ok(entry) if entry.tokens.is_empty() => {}
                Err(problem) => {
                    self.rest = &[];
                    return Some(Err(problem));
                }
                entry => return Some(entry),
            }
        }
        None
    }
}
