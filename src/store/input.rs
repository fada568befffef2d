//! Manifests from files, folders and standard input.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bowline_cluster::source::Problem;
use bowline_sources::parse::document::{self, Document, Documents};
use bowline_sources::store::Resource;
use clap::Args;
use serde_json::Value;

/// Where manifests are.
#[derive(Clone, Debug, Args)]
pub(crate) struct FileArgs {
    /// A file of manifests, a folder of them (*.yaml, *.yml, *.json), or - for standard input; several times
    #[arg(short, long, value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,
    /// Also the folders below
    #[arg(short = 'R', long)]
    recursive: bool,
    /// The namespace of objects that name none
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
}

/// The objects of all manifests, each with its namespace, and what was refused of them.
///
/// # Errors
/// A file can't be read.
pub(crate) fn read(args: &FileArgs) -> anyhow::Result<Documents> {
    read_by(args, document::documents)
}

/// The same, where only kind and name count.
///
/// # Errors
/// A file can't be read.
pub(crate) fn read_names(args: &FileArgs) -> anyhow::Result<Documents> {
    read_by(args, document::named)
}

fn read_by(args: &FileArgs, reader: fn(&str, &[u8]) -> Documents) -> anyhow::Result<Documents> {
    let mut all = Documents::default();
    for path in files(args)? {
        let (name, text) = if path.as_os_str() == "-" {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text).context("reading standard input")?;
            ("-".to_owned(), text)
        } else {
            let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            (path.display().to_string(), text)
        };
        let read = reader(&name, &text);
        all.problems.extend(read.problems);
        for document in read.documents {
            match place(document, args.namespace.as_deref()) {
                Ok(document) => all.documents.push(document),
                Err(problem) => all.problems.push(*problem),
            }
        }
    }
    if all.documents.is_empty() && all.problems.is_empty() {
        anyhow::bail!("no objects are in what was given");
    }
    Ok(all)
}

/// Gives an object its namespace.
fn place(mut document: Document, wanted: Option<&str>) -> Result<Document, Box<Problem>> {
    let resource = Resource::of(&document.value);
    let own = super::namespace(&document.value).to_owned();
    if !resource.namespaced {
        return Ok(document);
    }
    match wanted {
        Some(wanted) if !own.is_empty() && own != wanted => {
            return Err(Box::new(Problem {
                origin: document.origin.clone(),
                object: Some(super::label(&document.value)),
                field: Some("metadata.namespace".to_owned()),
                message: format!("is {own:?}, but --namespace is {wanted:?}; leave out one of them"),
            }));
        }
        _ if own.is_empty() => document.value["metadata"]["namespace"] = Value::from(wanted.unwrap_or("default")),
        _ => {}
    }
    Ok(document)
}

fn files(args: &FileArgs) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in &args.filename {
        let text = path.to_string_lossy();
        if text.starts_with("http://") || text.starts_with("https://") {
            anyhow::bail!("-f {text}: is no file; fetch it first: curl -fsS {text} | bowline apply -f -");
        }
        if text == "-" {
            files.push(path.clone());
        } else if path.is_dir() {
            let before = files.len();
            folder(path, args.recursive, &mut files)?;
            if files.len() == before {
                let below = if args.recursive { "" } else { " (-R looks into the folders below it, too)" };
                anyhow::bail!("-f {}: has no *.yaml, *.yml or *.json{below}", path.display());
            }
        } else {
            anyhow::ensure!(path.exists(), "-f {}: there is no such file", path.display());
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// In the order of their names, so that what a folder means doesn't depend on its file system.
fn folder(path: &Path, recursive: bool, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let reading = || format!("reading {}", path.display());
    let entries: BTreeSet<PathBuf> = std::fs::read_dir(path)
        .with_context(reading)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .with_context(reading)?;
    for entry in entries {
        let ending = entry.extension().and_then(|ending| ending.to_str());
        if entry.is_dir() {
            // A link to a folder could lead around in a circle.
            if recursive && !entry.is_symlink() {
                folder(&entry, recursive, files)?;
            }
        } else if matches!(ending, Some("yaml" | "yml" | "json")) {
            files.push(entry);
        }
    }
    Ok(())
}
