//! The files that an import's pattern names.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// More files than these for one pattern are refused.
const MAX_MATCHES: usize = 10_000;

/// Whether a word is a pattern rather than a path.
pub(super) fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '[', ']'])
}

/// The paths that match `pattern`, sorted by name folder for folder. A folder that can't be read matches nothing.
pub(super) fn matches(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    if pattern.matches('*').count() > 1 || pattern.matches('?').count() > 1 || pattern.contains(['[', ']']) {
        return Err(format!("the pattern {pattern} has more than one wildcard; use one *"));
    }
    let mut found = vec![folder.to_path_buf()];
    for component in Path::new(pattern).components() {
        let mut next = Vec::new();
        for path in &found {
            match component {
                Component::Normal(name) if is_pattern(&name.to_string_lossy()) => {
                    next.extend(entries(path, &name.to_string_lossy())?);
                }
                _ => next.push(path.join(component)),
            }
            if next.len() > MAX_MATCHES {
                return Err(format!("the pattern {pattern} matches more than {MAX_MATCHES} files"));
            }
        }
        found = next;
    }
    found.retain(|path| fs::symlink_metadata(path).is_ok());
    Ok(found)
}

fn entries(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let folder_or_here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(folder_or_here) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        if is_match(&name.to_string_lossy(), pattern) {
            names.push(name);
        }
        if names.len() > MAX_MATCHES {
            return Err(format!("the pattern {pattern} matches more than {MAX_MATCHES} files"));
        }
    }
    names.sort_unstable();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Whether a name matches a pattern with at most one `*` (any letters) and one `?` (one letter).
fn is_match(name: &str, pattern: &str) -> bool {
    let one_by_one = |name: &[char], pattern: &str| {
        name.len() == pattern.chars().count() && name.iter().zip(pattern.chars()).all(|(n, p)| p == '?' || *n == p)
    };
    let name: Vec<char> = name.chars().collect();
    match pattern.split_once('*') {
        None => one_by_one(&name, pattern),
        Some((front, back)) => {
            let (front_size, back_size) = (front.chars().count(), back.chars().count());
            name.len() >= front_size + back_size
                && one_by_one(&name[..front_size], front)
                && one_by_one(&name[name.len() - back_size..], back)
        }
    }
}

#[cfg(test)]
mod tests;
