//! Words into server blocks and directives.

use std::path::Path;

use super::digest::Digest;
use super::key::Key;
use super::limits::MAX_NESTING;
use super::stream::{Stream, Word};
use super::{Corefile, CorefileError, Directive, ServerBlock, SourceLine};

pub(super) fn parse(
    text: &str,
    file: &str,
    folder: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Corefile, CorefileError> {
    let stream = Stream::new(text, file, folder, env)?;
    let mut parser = Parser { stream, digest: Digest::default() };
    let mut blocks = Vec::new();
    while parser.stream.peek().is_some() {
        blocks.extend(parser.block()?);
    }
    if blocks.is_empty() {
        let place = SourceLine { file: file.into(), line: 1 };
        return Err(CorefileError::at(
            &place,
            "holds no server block; write one such as .:53 { forward . /etc/resolv.conf }",
        ));
    }
    let Stream { warnings, files, .. } = parser.stream;
    Ok(Corefile { blocks, warnings, files, digest: parser.digest.finish() })
}

struct Parser<'a> {
    stream: Stream<'a>,
    digest: Digest,
}

impl Parser<'_> {
    /// One server block, or a snippet, which gives none.
    fn block(&mut self) -> Result<Option<ServerBlock>, CorefileError> {
        let place = self.stream.place();
        let words = self.keys()?;
        let Some(first) = words.first() else {
            return match self.stream.peek() {
                // An import of nothing at the end.
                None => Ok(None),
                Some(_) => Err(CorefileError::at(&place, "a server block begins with a zone; write one before the {")),
            };
        };
        let snippet = |word: &Word| word.text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).map(str::to_string);
        if let (Some(name), 1) = (snippet(first), words.len()) {
            self.stream.define_snippet(&name, &first.place)?;
            return Ok(None);
        }
        if let Some(word) = words.iter().find(|word| snippet(word).is_some()) {
            return Err(CorefileError::at(
                &word.place,
                format!("{}: a snippet's name stands alone before its {{", word.text),
            ));
        }
        let mut keys = Vec::with_capacity(words.len());
        for word in &words {
            let (key, warning) = Key::parse(&word.text, &word.place)?;
            if let Some(warning) = warning {
                self.stream.warn(&word.place, warning);
            }
            keys.push(key);
        }
        let directives = self.directives()?;
        self.digest.end_block(words.iter().map(|word| word.text.as_str()));
        Ok(Some(ServerBlock { keys, directives }))
    }

    /// The words before a block. A comma at a word's end lets the next line go on.
    fn keys(&mut self) -> Result<Vec<Word>, CorefileError> {
        let mut words: Vec<Word> = Vec::new();
        let mut goes_on = true;
        loop {
            let is_more_wanted = goes_on && !words.is_empty();
            let place = self.stream.place();
            let Some(token) = self.stream.peek() else {
                if is_more_wanted {
                    return Err(CorefileError::at(
                        &place,
                        "the file ends after a comma; remove it, or write another zone",
                    ));
                }
                return Ok(words);
            };
            let starts_line = token.starts_line;
            match token.text.as_str() {
                "import" if starts_line && goes_on => {
                    self.stream.import()?;
                    continue;
                }
                "{" if is_more_wanted => {
                    return Err(CorefileError::at(
                        &place,
                        "a { follows a comma; remove the comma, or write another zone",
                    ));
                }
                "{" => return Ok(words),
                "}" => return Err(CorefileError::at(&place, "this } closes nothing; remove it")),
                _ if starts_line && !goes_on => return Ok(words),
                _ => {}
            }
            let Some(mut word) = self.stream.next()? else { return Ok(words) };
            if word.text.is_empty() {
                goes_on = is_more_wanted;
                continue;
            }
            goes_on = word.text.ends_with(',');
            if goes_on {
                word.text.pop();
            }
            words.push(word);
        }
    }

    /// The directives of a server block: in braces, or up to the end of the file.
    fn directives(&mut self) -> Result<Vec<Directive>, CorefileError> {
        let open = self.stream.is_next("{").then(|| self.stream.place());
        if open.is_some() {
            self.stream.next()?;
        }
        let mut directives = Vec::new();
        loop {
            let place = self.stream.place();
            match (self.stream.peek().map(|token| token.text.as_str()), &open) {
                (None, None) => return Ok(directives),
                (None, Some(open)) => {
                    return Err(CorefileError::at(open, "the { of this server block is never closed: add a }"));
                }
                (Some("}"), None) => {
                    return Err(CorefileError::at(&place, "this } closes nothing; remove it, or write a { before"));
                }
                (Some("}"), Some(_)) => {
                    self.stream.next()?;
                    return Ok(directives);
                }
                (Some("{"), _) => {
                    return Err(CorefileError::at(
                        &place,
                        "this { has no directive before it; put it at the end of the directive's line",
                    ));
                }
                (Some("import"), _) => self.stream.import()?,
                _ => directives.extend(self.directive()?),
            }
        }
    }

    /// A directive of a server block.
    fn directive(&mut self) -> Result<Option<Directive>, CorefileError> {
        let Some(word) = self.stream.next()? else { return Ok(None) };
        let mut line = Line { directive: word.text.clone(), nesting: 0 };
        self.digest.add(&word.text, &word, &word.raw);
        let directive = self.line(word, &mut line)?;
        if self.stream.is_same_line() {
            let place = self.stream.place();
            let what = if self.stream.is_next("}") { "this }" } else { "what follows here" };
            let message = format!("{what} must be on a line of its own");
            return Err(CorefileError { place, directive: directive.name, message });
        }
        Ok(Some(directive))
    }

    /// The rest of a line after its first word, with its block.
    fn line(&mut self, name: Word, line: &mut Line) -> Result<Directive, CorefileError> {
        let mut directive = Directive { name: name.text, args: Vec::new(), body: None, place: name.place };
        while self.stream.is_same_line() && !self.stream.is_next("}") {
            let is_block = self.stream.is_next("{");
            let Some(word) = self.stream.next()? else { break };
            self.digest.add(&line.directive, &word, &word.text);
            if !is_block {
                directive.args.push(word.text);
                continue;
            }
            line.nesting += 1;
            if line.nesting > MAX_NESTING {
                return Err(directive.error(format!("blocks nest deeper than {MAX_NESTING}")));
            }
            directive.body = Some(self.body(&directive, line)?);
            line.nesting -= 1;
            break;
        }
        Ok(directive)
    }

    /// The lines after a directive's `{`, with the `}`.
    fn body(&mut self, of: &Directive, line: &mut Line) -> Result<Vec<Directive>, CorefileError> {
        let mut body = Vec::new();
        loop {
            let place = self.stream.place();
            match self.stream.peek().map(|token| token.text.as_str()) {
                None => return Err(of.error("its { is never closed: add a }")),
                Some("import") => {
                    self.stream.import()?;
                    continue;
                }
                Some("{") => {
                    let message = "this { has no option before it; put it at the end of the option's line".to_string();
                    return Err(CorefileError { place, directive: of.name.clone(), message });
                }
                Some(_) => {}
            }
            let is_end = self.stream.is_next("}");
            let Some(word) = self.stream.next()? else { continue };
            self.digest.add(&line.directive, &word, &word.text);
            if is_end {
                return Ok(body);
            }
            body.push(self.line(word, line)?);
        }
    }
}

/// The directive of the server block that is being read, and how deep in its blocks.
struct Line {
    directive: String,
    nesting: usize,
}
