//! A zone file's records (RFC 1035 §5, RFC 2308 §4): $ORIGIN, $TTL, $INCLUDE and $GENERATE are done here.
use super::TextError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::generate::Generate;
use super::token::{Entries, Entry, Token};
use super::{Context, DEFAULT_TTL};
use crate::wire::{Name, Record};

/// How deep files may include others.
const DEEPEST: usize = 7;

/// What is wrong in a zone file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct ZoneError {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

/// An iterator over the records of a zone file. After an error there are no more.
#[derive(Debug)]
pub struct Records {
    /// The file and those that include it, innermost last.
    sources: Vec<Source>,
    owner: Option<Name>,
    files: Vec<PathBuf>,
    /// Where the last record stands.
    place: (Arc<str>, u32),
}

/// One file that is being read.
#[derive(Debug)]
struct Source {
    file: Arc<str>,
    text: Arc<[u8]>,
    /// Where the next entry begins, in bytes, and its line less 1.
    at: usize,
    lines: u32,
    origin: Name,
    ttl: Option<u32>,
    /// Whether the TTL is $TTL's, which no record's own TTL replaces.
    is_ttl_set: bool,
    generate: Option<(u32, Generate)>,
}

impl Records {
    /// Reads a zone file; relative names are below `origin` until the file says otherwise.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn open(path: &Path, origin: &Name) -> Result<Records, ZoneError> {
        let file: Arc<str> = path.to_string_lossy().into();
        let text = std::fs::read(path).map_err(|problem| ZoneError {
            file: Arc::clone(&file),
            line: 0,
            message: problem.to_string(),
        })?;
        let mut records = Records::from_text(text, &file, origin);
        records.files.push(path.to_path_buf());
        Ok(records)
    }

    /// Reads the text of a zone file. `file` is its name in errors, and what it includes is looked for beside it.
    pub fn from_text(text: impl Into<Arc<[u8]>>, file: &str, origin: &Name) -> Records {
        let (file, origin) = (file.into(), origin.clone());
        let source =
            Source { file, text: text.into(), at: 0, lines: 0, origin, ttl: None, is_ttl_set: false, generate: None };
        let place = (Arc::clone(&source.file), 0);
        Records { sources: vec![source], owner: None, files: Vec::new(), place }
    }

    /// The TTL, in seconds, of records that name none as long as the file has no $TTL; without it they are an error.
    #[must_use]
    pub fn with_default_ttl(mut self, ttl: u32) -> Records {
        if let Some(source) = self.sources.last_mut() {
            source.ttl = Some(ttl);
        }
        self
    }

    /// All files that were read so far, the included ones too.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What is wrong with the record that was read last.
    pub(crate) fn wrong(&self, message: String) -> ZoneError {
        let (file, line) = self.place.clone();
        ZoneError { file, line, message }
    }

    /// The next record, or nothing at the end.
    fn step(&mut self) -> Result<Option<Record>, ZoneError> {
        while let Some(source) = self.sources.last_mut() {
            let file = Arc::clone(&source.file);
            let wrong = |line: u32, error: TextError| {
                let file = Arc::clone(&file);
                ZoneError { file, line, message: error.to_string() }
            };
            if let Some((line, generate)) = &mut source.generate {
                let line = *line;
                self.place = (Arc::clone(&file), line);
                if let Some(text) = generate.line() {
                    return generated(&text.map_err(|error| wrong(line, error))?, &source.origin)
                        .map(Some)
                        .map_err(|error| wrong(line, format!("$GENERATE: {error}").into()));
                }
                source.generate = None;
            }
            let Some(entry) = source.entry()? else {
                self.sources.pop();
                continue;
            };
            let first = entry.tokens.first().and_then(Token::word).filter(|_| !entry.is_indented).unwrap_or_default();
            let done = match first.to_ascii_uppercase().as_str() {
                "$ORIGIN" => source.set_origin(&entry),
                "$TTL" => source.set_ttl(&entry),
                "$GENERATE" => Generate::new(&entry).map(|generate| source.generate = Some((entry.line, generate))),
                "$INCLUDE" => self.include(&entry),
                directive if directive.starts_with('$') => {
                    Err(format!("unknown directive {first}; known are $ORIGIN, $TTL, $INCLUDE and $GENERATE").into())
                }
                _ => {
                    let context = Context { origin: &source.origin, owner: self.owner.as_ref(), ttl: source.ttl };
                    let (record, given) = super::record(&entry, &context).map_err(|error| wrong(entry.line, error))?;
                    if given.is_some() && !source.is_ttl_set {
                        source.ttl = given;
                    }
                    self.owner = Some(record.name.clone());
                    self.place = (Arc::clone(&file), entry.line);
                    return Ok(Some(record));
                }
            };
            done.map_err(|error| wrong(entry.line, error))?;
        }
        Ok(None)
    }

    /// Begins to read a file that is included: "$INCLUDE file \[origin\]".
    fn include(&mut self, entry: &Entry) -> Result<(), TextError> {
        let depth = self.sources.len();
        let source = self.sources.last().ok_or("nothing is read")?;
        let (file, origin) = match entry.tokens.as_slice() {
            [_, file] => (file, source.origin.clone()),
            [_, file, origin] => (file, super::name(origin, &source.origin)?),
            _ => return Err("write $INCLUDE FILE or $INCLUDE FILE ORIGIN".into()),
        };
        if depth > DEEPEST {
            return Err(format!("files include each other more than {DEEPEST} deep").into());
        }
        let name = file.unescaped().ok_or_else(|| format!("{file} has a malformed escape"))?;
        let name = String::from_utf8(name).map_err(|_| format!("{file} isn't UTF-8"))?;
        let path = Path::new(&*source.file).parent().unwrap_or(Path::new("")).join(name);
        let text = std::fs::read(&path).map_err(|problem| format!("{}: {problem}", path.display()))?;
        let included = Source {
            file: path.to_string_lossy().into(),
            text: text.into(),
            at: 0,
            lines: 0,
            origin,
            ttl: source.ttl,
            is_ttl_set: source.is_ttl_set,
            generate: None,
        };
        self.sources.push(included);
        self.files.push(path);
        Ok(())
    }
}

impl Source {
    /// The next entry.
    fn entry(&mut self) -> Result<Option<Entry>, ZoneError> {
        let text = Arc::clone(&self.text);
        let mut entries = Entries::new(text.get(self.at..).unwrap_or_default());
        let lines = self.lines;
        let entry = entries.next();
        self.at = text.len() - entries.left();
        self.lines += entries.lines();
        match entry {
            Some(Ok(entry)) => Ok(Some(Entry { line: lines + entry.line, ..entry })),
            Some(Err(problem)) => {
                let file = Arc::clone(&self.file);
                Err(ZoneError { file, line: lines + problem.line, message: problem.message })
            }
            None => Ok(None),
        }
    }

    fn set_origin(&mut self, entry: &Entry) -> Result<(), TextError> {
        let [_, origin] = entry.tokens.as_slice() else { return Err("write $ORIGIN NAME".into()) };
        self.origin = super::name(origin, &self.origin).map_err(|problem| format!("$ORIGIN {origin}: {problem}"))?;
        Ok(())
    }

    fn set_ttl(&mut self, entry: &Entry) -> Result<(), TextError> {
        let [_, ttl] = entry.tokens.as_slice() else { return Err("write $TTL SECONDS".into()) };
        let seconds = ttl.word().and_then(super::ttl_from_text).ok_or_else(|| format!("{ttl} is no TTL"))?;
        (self.ttl, self.is_ttl_set) = (Some(seconds), true);
        Ok(())
    }
}

/// Reads a line that $GENERATE wrote. Its TTL doesn't come from $TTL: CoreDNS takes 3600 too.
fn generated(text: &[u8], origin: &Name) -> Result<Record, TextError> {
    let entry = Entries::new(text).next().ok_or("no record")?.map_err(|problem| problem.message)?;
    super::record(&entry, &Context { origin, owner: None, ttl: Some(DEFAULT_TTL) }).map(|(record, _)| record)
}

impl Iterator for Records {
    type Item = Result<Record, ZoneError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step().transpose();
        if let Some(Err(_)) = step {
            self.sources.clear();
        }
        step
    }
}
