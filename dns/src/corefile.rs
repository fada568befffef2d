//! The Corefile: what an operator writes to say which zones are served, and by which plugins.
//!
//! ```text
//! text ─lexer─> tokens ─stream (imports, snippets)─> parser (blocks, directives, environment) ─> Corefile
//! ```
//!
//! The grammar is that of CoreDNS 1.14.7 (caddy's `caddyfile`). It is accepted whole; what CoreDNS takes
//! but nobody can have meant (a zone called `example.org{`) is refused with advice. No input makes the
//! reader panic or work without bound: see [`limits`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod digest;
pub mod directive;
pub mod duration;
mod environment;
mod file;
mod glob;
pub mod key;
pub mod kube_dns;
mod lexer;
pub mod limits;
pub mod nearest;
pub mod node_cache;
mod parser;
pub mod reverse;
mod stream;
#[cfg(test)]
mod tests;

pub use directive::Directive;
pub use key::{Key, Scheme};

/// Where something stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceLine {
    /// The file, as it was given or imported.
    pub file: Arc<str>,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u32,
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// What is wrong with a Corefile, where, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct CorefileError {
    /// Where it is.
    pub place: SourceLine,
    /// The directive that is wrong; empty where it is none.
    pub directive: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl CorefileError {
    /// An error in what is no directive: a key, a brace, an import.
    pub fn at(place: &SourceLine, message: impl Into<String>) -> CorefileError {
        CorefileError { place: place.clone(), directive: String::new(), message: message.into() }
    }
}

impl fmt::Display for CorefileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CorefileError { place, directive, message } = self;
        if directive.is_empty() {
            write!(f, "{place}: {message}")
        } else {
            write!(f, "{place}: {directive}: {message}")
        }
    }
}

/// What is wrong with a part of what an operator wrote: a word of a directive, a file that it names. Who knows the place
/// makes a [`CorefileError`] of it ([`Directive::error`], [`CorefileError::at`]).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(String);

impl From<String> for SetupError {
    fn from(message: String) -> SetupError {
        SetupError(message)
    }
}

impl From<&str> for SetupError {
    fn from(message: &str) -> SetupError {
        SetupError(message.to_owned())
    }
}

impl From<bowline_tls::TlsError> for SetupError {
    fn from(error: bowline_tls::TlsError) -> SetupError {
        SetupError(error.into())
    }
}

impl From<SetupError> for String {
    fn from(error: SetupError) -> String {
        error.0
    }
}

/// Keys, and what is done with the questions for them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerBlock {
    /// What it answers for; at least one.
    pub keys: Vec<Key>,
    /// Its directives, in the order of the file.
    pub directives: Vec<Directive>,
}

/// A Corefile with its imports and environment put in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Corefile {
    /// Its server blocks; at least one.
    pub blocks: Vec<ServerBlock>,
    /// What is accepted but may not be meant.
    pub warnings: Vec<CorefileError>,
    /// All files that were read: the Corefile as it was given, then those it imports by their paths from the root.
    pub files: Vec<PathBuf>,
    /// SHA-512 of the parsed form, in hexadecimal: the same that CoreDNS's `reload` logs and exports.
    pub digest: String,
}

/// Reads the file at `path` and what it imports. `env` gives the values of environment variables.
///
/// # Errors
/// The first thing that is wrong, or why the file can't be read.
pub fn read(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Corefile, CorefileError> {
    read_with(path, env, &|text, _| Ok(text.to_owned()))
}

/// The same with a text that `prepare` makes of the file's: it gets the text, and the file's name for messages.
///
/// # Errors
/// As [`read`]'s, and what `prepare` says.
pub fn read_with(
    path: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    prepare: &dyn Fn(&str, &str) -> Result<String, CorefileError>,
) -> Result<Corefile, CorefileError> {
    let name = path.display().to_string();
    let text = file::read(path).map_err(|reason| {
        CorefileError::at(&SourceLine { file: name.as_str().into(), line: 0 }, format!("can't be read: {reason}"))
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut corefile = parse(&prepare(&text, &name)?, &name, folder, env)?;
    corefile.files.insert(0, path.to_path_buf());
    Ok(corefile)
}

/// Parses `text`, which stands in messages as `file`; imports are relative to `folder`.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(
    text: &str,
    file: &str,
    folder: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Corefile, CorefileError> {
    parser::parse(text, file, folder, env)
}

/// What the fuzzers call: reads any bytes as a Corefile, a template of NodeLocal DNSCache, and a ConfigMap of
/// kube-dns in JSON.
///
/// # Panics
/// Never, or there is a defect: what it checks is that what is accepted is whole, and the same each time.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let env = |name: &str| (name.len() < 4).then(|| format!("{name} {{$A}}"));
    let read = |text: &str| parse(text, "fuzz", Path::new("/nonexistent"), &env);
    let found = read(&text);
    assert_eq!(found, read(&text), "the same bytes were read in two ways");
    for block in found.iter().flat_map(|corefile| &corefile.blocks) {
        assert!(block.keys.iter().all(|key| !key.zones.is_empty()), "a block answers for nothing");
        for directive in &block.directives {
            let _ = (directive.duration(0), directive.unknown_option(&["forward", "cache"]), directive.no_args());
        }
    }
    let object = serde_json::from_slice(bytes).map(|object| ("fuzz.json".to_owned(), object));
    let asked = object.map(|object| kube_dns::KubeDns::from_objects("fuzz.json", &[object]));
    let asked = asked.ok().and_then(Result::ok).unwrap_or_default();
    if let Ok(corefile) = asked.corefile("cluster.local") {
        assert!(read(&corefile).is_ok(), "what kube-dns becomes is no Corefile:\n{corefile}");
    }
    let settings = node_cache::Settings {
        local: vec![std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()],
        port: 53,
        cluster_dns: None,
        domain: "cluster.local".to_string(),
    };
    if let Ok(filled) = node_cache::fill(&text, "fuzz", &settings, &asked) {
        assert!(!node_cache::is_template(&filled), "a placeholder was left");
    }
}
