//! The words of a Corefile with its imports put in: of the file, the files and the snippets that it names,
//! one after the other.

use super::SetupError;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::lexer::{self, Token};
use super::limits::{MAX_FILE, MAX_IMPORT_DEPTH, MAX_IMPORTS, MAX_TEXT, MAX_WORDS};
use super::{CorefileError, SourceLine, environment, file, glob};

/// A file that words come from.
#[derive(Debug)]
struct Source {
    name: Arc<str>,
    /// What imports in it are relative to.
    folder: PathBuf,
    /// What CoreDNS has as the file's name: nothing for the Corefile, the whole path for what it imports.
    token_file: Arc<str>,
}

/// Words of one file or snippet that are being read.
struct Part {
    /// The snippet or file, for messages and to notice what imports itself.
    import: String,
    source: Rc<Source>,
    tokens: Rc<[Token]>,
    next: usize,
}

/// What one import stands for. The last part is read first; there is at least one.
type Frame = Vec<Part>;

struct Snippet {
    source: Rc<Source>,
    tokens: Rc<[Token]>,
    place: SourceLine,
}

/// A word, its environment variables put in.
pub(super) struct Word {
    pub(super) text: String,
    /// As it stands in the file.
    pub(super) raw: String,
    pub(super) place: SourceLine,
    pub(super) token_file: Arc<str>,
}

pub(super) struct Stream<'a> {
    frames: Vec<Frame>,
    snippets: HashMap<String, Snippet>,
    env: &'a dyn Fn(&str) -> Option<String>,
    imports: usize,
    words: usize,
    text: usize,
    read: usize,
    /// Where the last word stood.
    last: SourceLine,
    pub(super) warnings: Vec<CorefileError>,
    /// What was imported, as paths from the root.
    pub(super) files: Vec<PathBuf>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        text: &str,
        file: &str,
        folder: &Path,
        env: &'a dyn Fn(&str) -> Option<String>,
    ) -> Result<Stream<'a>, CorefileError> {
        let source = Source { name: file.into(), folder: folder.to_path_buf(), token_file: "".into() };
        let mut stream = Stream {
            frames: Vec::new(),
            snippets: HashMap::new(),
            env,
            imports: 0,
            words: 0,
            text: 0,
            read: text.len(),
            last: SourceLine { file: source.name.clone(), line: 1 },
            warnings: Vec::new(),
            files: Vec::new(),
        };
        let tokens = stream.lex(text, &source)?;
        stream.frames.push(vec![Part { import: String::new(), source: Rc::new(source), tokens, next: 0 }]);
        Ok(stream)
    }

    /// The next word, which stays where it is.
    pub(super) fn peek(&mut self) -> Option<&Token> {
        while let Some(frame) = self.frames.last_mut() {
            match frame.last() {
                Some(part) if part.next < part.tokens.len() => break,
                Some(_) => drop(frame.pop()),
                None => drop(self.frames.pop()),
            }
        }
        self.part().and_then(|part| part.tokens.get(part.next))
    }

    /// What is being read.
    fn part(&self) -> Option<&Part> {
        self.frames.last().and_then(|frame| frame.last())
    }

    fn advance(&mut self) {
        if let Some(part) = self.frames.last_mut().and_then(|frame| frame.last_mut()) {
            part.next += 1;
        }
    }

    /// Whether the next word is this one, as it is written.
    pub(super) fn is_next(&mut self, text: &str) -> bool {
        self.peek().is_some_and(|token| token.text == text)
    }

    /// Whether the next word stands on the line of the last. It then is of the same part: a part that is
    /// read to its end stays, so that an import in its last line is still relative to it.
    pub(super) fn is_same_line(&self) -> bool {
        self.part().and_then(|part| part.tokens.get(part.next)).is_some_and(|token| !token.starts_line)
    }

    /// Where the next word is; where the last was, at the end.
    pub(super) fn place(&mut self) -> SourceLine {
        match self.peek().map(|token| token.line) {
            Some(line) => SourceLine { file: self.file(), line },
            None => self.last.clone(),
        }
    }

    /// Takes the next word.
    pub(super) fn next(&mut self) -> Result<Option<Word>, CorefileError> {
        let Some(token) = self.peek() else { return Ok(None) };
        let (raw, line) = (token.text.clone(), token.line);
        let place = SourceLine { file: self.file(), line };
        let token_file = self.part().map_or_else(|| "".into(), |part| part.source.token_file.clone());
        let mut unset = Vec::new();
        let text = environment::expand(&raw, self.env, &mut |name| unset.push(name.to_string()))
            .map_err(|message| CorefileError::at(&place, message))?;
        for name in unset {
            self.warn(&place, format!("the environment variable {name} is not set; nothing stands in its place"));
        }
        self.words += 1;
        self.text += text.len();
        if self.words > MAX_WORDS || self.text > MAX_TEXT {
            return Err(CorefileError::at(&place, "the Corefile grows beyond all measure here; import less often"));
        }
        self.advance();
        self.last = place.clone();
        Ok(Some(Word { text, raw, place, token_file }))
    }

    pub(super) fn warn(&mut self, place: &SourceLine, message: impl Into<String>) {
        const MOST: usize = 100;
        let problem = CorefileError::at(place, message);
        if self.warnings.len() < MOST && !self.warnings.contains(&problem) {
            self.warnings.push(problem);
        }
    }

    /// Takes `import` and its argument; what they name comes next.
    pub(super) fn import(&mut self) -> Result<(), CorefileError> {
        self.next()?;
        let place = self.last.clone();
        let wrong = |message: String| CorefileError { place: place.clone(), directive: "import".to_string(), message };
        if !self.is_same_line() {
            return Err(wrong("what to import is missing: name a snippet, a file or a pattern with one *".to_string()));
        }
        let name = self.next()?.map(|word| word.text).unwrap_or_default();
        if name.is_empty() {
            return Err(wrong("what to import is empty; name a snippet, a file or a pattern with one *".to_string()));
        }
        if self.is_same_line() {
            return Err(wrong("takes one argument; write an import for each snippet, file or pattern".to_string()));
        }
        self.imports += 1;
        if self.imports > MAX_IMPORTS {
            return Err(wrong(format!("more than {MAX_IMPORTS} imports")));
        }
        if let Some(snippet) = self.snippets.get(&name) {
            let (source, tokens) = (snippet.source.clone(), snippet.tokens.clone());
            let part = Part { import: format!("({name})"), source, tokens, next: 0 };
            return self.push(vec![part]).map_err(|error| wrong(error.into()));
        }
        let folder = self.part().map_or_else(PathBuf::new, |part| part.source.folder.clone());
        let paths = glob::matches(&folder, &name).map_err(wrong)?;
        if paths.is_empty() {
            if !glob::is_pattern(&name) {
                return Err(wrong(format!(
                    "there is no snippet ({name}) above, and no file {}",
                    folder.join(&name).display()
                )));
            }
            self.warn(&place, format!("import: no file matches {name}"));
        }
        self.imports += paths.len();
        let mut parts = Vec::new();
        for path in paths.iter().rev() {
            parts.push(self.file_part(path).map_err(|error| wrong(error.into()))?);
        }
        self.push(parts).map_err(|error| wrong(error.into()))
    }

    fn file_part(&mut self, path: &Path) -> Result<Part, SetupError> {
        let shown = path.display();
        let text = file::check(path)
            .and_then(|()| file::read(path))
            .map_err(|reason| format!("{shown} can't be read: {reason}"))?;
        self.read += text.len();
        if self.read > 4 * MAX_FILE {
            return Err(format!("the files together have more than {} bytes", 4 * MAX_FILE).into());
        }
        let whole = file::whole_path(path);
        let source = Source {
            name: shown.to_string().into(),
            folder: path.parent().unwrap_or(Path::new("")).to_path_buf(),
            token_file: whole.display().to_string().into(),
        };
        let tokens = self.lex(&text, &source).map_err(|problem| problem.to_string())?;
        if !self.files.contains(&whole) {
            self.files.push(whole.clone());
        }
        Ok(Part { import: whole.display().to_string(), source: Rc::new(source), tokens, next: 0 })
    }

    fn push(&mut self, frame: Frame) -> Result<(), SetupError> {
        // A frame of which all is read is still there where its last line is the import.
        let way: Vec<&str> =
            self.frames.iter().filter_map(|frame| frame.last()).map(|part| part.import.as_str()).collect();
        if let Some(part) = frame.iter().find(|part| way.contains(&part.import.as_str())) {
            let way = way.get(1..).unwrap_or_default().join(" -> ");
            return Err(format!("{0} imports itself: {way} -> {0}", part.import).into());
        }
        if self.frames.len() > MAX_IMPORT_DEPTH {
            return Err(format!("imports nest deeper than {MAX_IMPORT_DEPTH}").into());
        }
        self.frames.push(frame);
        Ok(())
    }

    /// Takes the block after a snippet's name, and keeps it for imports.
    pub(super) fn define_snippet(&mut self, name: &str, place: &SourceLine) -> Result<(), CorefileError> {
        if let Some(other) = self.snippets.get(name) {
            let message = format!("the snippet ({name}) is already defined at {}; rename one", other.place);
            return Err(CorefileError::at(place, message));
        }
        if !self.is_next("{") {
            return Err(CorefileError::at(place, format!("the snippet ({name}) has no block; write ({name}) {{")));
        }
        let source = self.part().map(|part| part.source.clone());
        self.next()?;
        let mut tokens: Vec<Token> = Vec::new();
        let mut depth = 1_usize;
        while let Some(token) = self.peek() {
            depth = match token.text.as_str() {
                "{" => depth + 1,
                "}" => depth - 1,
                _ => depth,
            };
            let mut token = token.clone();
            token.starts_line |= tokens.is_empty();
            // As it is written: variables are put in where it is imported.
            self.advance();
            if depth == 0 {
                break;
            }
            tokens.push(token);
        }
        let (0, Some(source)) = (depth, source) else {
            return Err(CorefileError::at(
                place,
                format!("the block of the snippet ({name}) is never closed: add a }}"),
            ));
        };
        self.snippets.insert(name.to_string(), Snippet { source, tokens: tokens.into(), place: place.clone() });
        Ok(())
    }

    fn file(&self) -> Arc<str> {
        self.part().map_or_else(|| self.last.file.clone(), |part| part.source.name.clone())
    }

    fn lex(&mut self, text: &str, source: &Source) -> Result<Rc<[Token]>, CorefileError> {
        let place = |line| SourceLine { file: source.name.clone(), line };
        let lexed = lexer::lex(text).map_err(|(line, message)| CorefileError::at(&place(line), message))?;
        for line in lexed.glued_comments {
            self.warn(
                &place(line),
                "a # within a word comments out the word's end only, as in CoreDNS; put a space before it",
            );
        }
        let mut tokens = lexed.tokens;
        if let Some(first) = tokens.first_mut() {
            first.starts_line = true;
        }
        Ok(tokens.into())
    }
}
