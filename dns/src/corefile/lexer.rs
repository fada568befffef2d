//! Text into words.
//!
//! Words are separated by white space. A `"` at the start of a word opens a quoted one, which may hold
//! white space and line ends; `\"` is the only escape in it. `#` begins a comment, even within a word. A
//! carriage return outside of quotes is as if it weren't there.

use super::limits::MAX_WORDS;

/// One word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub(super) text: String,
    /// The line on which it begins, from 1.
    pub(super) line: u32,
    /// Whether it is the first of its line. A quoted word over several lines ends on its last.
    pub(super) starts_line: bool,
}

/// What a text holds.
#[derive(Debug, Default)]
pub(super) struct Lexed {
    pub(super) tokens: Vec<Token>,
    /// Lines where words follow a comment that is glued to a word.
    pub(super) glued_comments: Vec<u32>,
}

/// Why a text has no words: a line, and a reason.
pub(super) type LexError = (u32, String);

pub(super) fn lex(text: &str) -> Result<Lexed, LexError> {
    let mut lexer = Lexer { lexed: Lexed::default(), line: 1, last_line: 0, glued: 0 };
    lexer.run(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    Ok(lexer.lexed)
}

struct Lexer {
    lexed: Lexed,
    line: u32,
    /// The line on which the last word ended.
    last_line: u32,
    /// The line of the last comment that is glued to a word; 0 for none.
    glued: u32,
}

impl Lexer {
    fn run(&mut self, text: &str) -> Result<(), LexError> {
        let mut word = String::new();
        let mut begun = self.line;
        let mut is_comment = false;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c == '\r' {
                continue;
            }
            if c.is_whitespace() {
                if !word.is_empty() {
                    self.push(std::mem::take(&mut word), begun, begun)?;
                    // CoreDNS ends a comment within a word at the next space. Whoever relies on it gets it.
                    if is_comment {
                        self.glued = self.line;
                    }
                    is_comment = false;
                }
                if c == '\n' {
                    self.line = self.line.saturating_add(1);
                    is_comment = false;
                }
                continue;
            }
            is_comment |= c == '#';
            if is_comment {
                continue;
            }
            if word.is_empty() {
                begun = self.line;
                if c == '"' {
                    let quoted = self.quoted(&mut chars)?;
                    self.push(quoted, begun, self.line)?;
                    continue;
                }
            }
            word.push(c);
        }
        if word.is_empty() { Ok(()) } else { self.push(word, begun, begun) }
    }

    /// The rest of a quoted word.
    fn quoted(&mut self, chars: &mut std::str::Chars<'_>) -> Result<String, LexError> {
        let begun = self.line;
        let mut word = String::new();
        let mut is_escaped = false;
        for c in chars {
            match c {
                '\\' if !is_escaped => {
                    is_escaped = true;
                    continue;
                }
                '"' if !is_escaped => return Ok(word),
                '\n' => self.line = self.line.saturating_add(1),
                _ => {}
            }
            // A backslash is one, but before a quote.
            if is_escaped && c != '"' {
                word.push('\\');
            }
            word.push(c);
            is_escaped = false;
        }
        Err((begun, "the quote that begins here is never closed: add a \"".to_string()))
    }

    fn push(&mut self, text: String, line: u32, end: u32) -> Result<(), LexError> {
        if self.lexed.tokens.len() >= MAX_WORDS {
            return Err((line, format!("the file has more than {MAX_WORDS} words")));
        }
        if self.glued == line && self.lexed.glued_comments.last() != Some(&line) {
            self.lexed.glued_comments.push(line);
        }
        self.lexed.tokens.push(Token { text, line, starts_line: line > self.last_line });
        self.last_line = end;
        Ok(())
    }
}
