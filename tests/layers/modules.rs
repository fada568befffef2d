//! Which modules of a crate name which, as its sources say: paths that begin with `crate::` or, in a module's own file,
//! `super::`. Code for tests may know more, and is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// For each module at the top of a crate those that it names, each with a file where it does.
pub(crate) type Modules = BTreeMap<String, BTreeMap<String, PathBuf>>;

/// The modules of the crate whose root stands in the folder `src`.
pub(crate) fn of(src: &Path) -> Modules {
    let mut files = Vec::new();
    find(src, &mut files);
    let texts: Vec<(PathBuf, String)> =
        files.into_iter().map(|path| (path.clone(), strip(&std::fs::read_to_string(&path).unwrap()))).collect();
    let tests: BTreeSet<PathBuf> = texts.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let mut modules = Modules::new();
    for (path, text) in &texts {
        if tests.iter().any(|module| path.with_extension("").starts_with(module)) {
            continue;
        }
        let inner = path.strip_prefix(src).unwrap().with_extension("");
        let parts: Vec<String> = inner.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        if matches!(&*parts[0], "lib" | "main" | "bin") {
            continue;
        }
        let known = modules.entry(parts[0].clone()).or_default();
        for name in named(&without_tests(text), parts.len()) {
            known.entry(name).or_insert_with(|| path.clone());
        }
    }
    let all: BTreeSet<String> = modules.keys().cloned().collect();
    for (module, known) in &mut modules {
        known.retain(|name, _| name != module && all.contains(name));
    }
    modules
}

/// Modules that name each other in a circle, and where; None if there is no circle.
pub(crate) fn circle(modules: &Modules) -> Option<String> {
    let mut left: BTreeMap<&str, Vec<&str>> =
        modules.iter().map(|(name, known)| (&**name, known.keys().map(|known| &**known).collect())).collect();
    loop {
        let free: Vec<&str> = left
            .iter()
            .filter(|(_, known)| !known.iter().any(|one| left.contains_key(one)))
            .map(|(name, _)| *name)
            .collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|name| drop(left.remove(name)));
    }
    // Each of those left leads to another one: some time one comes again.
    let mut way = vec![*left.keys().next()?];
    loop {
        let last = *way.last().unwrap();
        let next = *left[last].iter().find(|one| left.contains_key(*one)).unwrap();
        if let Some(begin) = way.iter().position(|name| *name == next) {
            way.push(next);
            let steps = way[begin..].windows(2);
            let steps =
                steps.map(|pair| format!("{} names {} in {}", pair[0], pair[1], modules[pair[0]][pair[1]].display()));
            return Some(steps.collect::<Vec<_>>().join("\n"));
        }
        way.push(next);
    }
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Without comments and the contents of strings.
fn strip(text: &str) -> String {
    let mut stripped = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(raw) = raw_string(rest) {
            raw
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest[1..].find('\'').map_or(rest.len(), |end| end + 2)
        } else if next == '"' {
            let mut is_escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else {
            stripped.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        rest = &rest[skipped..];
    }
    stripped
}

/// How long the raw string is that a text begins with.
fn raw_string(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let marks = inner.len() - inner.trim_start_matches('#').len();
    let begins = inner[marks..].starts_with('"');
    let close = format!("\"{}", "#".repeat(marks));
    let start = text.len() - inner.len() + marks + 1;
    begins.then(|| text[start..].find(&close).map_or(text.len(), |end| start + end + close.len()))
}

const TEST: &str = "#[cfg(test)]";

/// Files (without their ending) and folders of the modules that a file declares for tests.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let own = path.with_extension("");
    let is_root = matches!(own.file_name().unwrap().to_str(), Some("lib" | "main" | "mod"));
    let folder = if is_root { own.parent().unwrap() } else { &own };
    let names = text.split(TEST).skip(1).filter_map(|after| {
        let item = after.split([';', '{']).next()?;
        Some(item.split_once("mod ")?.1.trim().to_owned())
    });
    names.map(|name| folder.join(name)).collect()
}

/// Without the items that are there for tests only.
fn without_tests(text: &str) -> String {
    let mut parts = text.split(TEST);
    let mut left = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find([';', '{']).unwrap_or(part.len());
        let is_block = part[end..].starts_with('{');
        // An import has braces, too, and ends with a semicolon.
        let end = if !is_block || part[..end].contains("use ") {
            part.find(';').map_or(part.len(), |end| end + 1)
        } else {
            let mut depth = 0;
            let close = part.char_indices().find(|(_, c)| {
                depth += i32::from(*c == '{') - i32::from(*c == '}');
                *c == '}' && depth == 0
            });
            close.map_or(part.len(), |(at, _)| at + 1)
        };
        left.push_str(&part[end..]);
    }
    left
}

/// The modules at the top that a file names, which stands so many folders below the root.
fn named(text: &str, depth: usize) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let root = format!("{}::", vec!["super"; depth].join("::"));
    for begin in ["crate::", &*root] {
        for (at, _) in text.match_indices(begin) {
            // `$crate::` is some other crate's, `super::super::` of fewer steps stays within.
            if text[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | ':')) {
                continue;
            }
            firsts(&text[at + begin.len()..], &mut names);
        }
    }
    // A file that deep has no such path; the text of a test may.
    names.remove("super");
    names
}

/// The first words of a path, or of each path in braces.
fn firsts(text: &str, into: &mut BTreeSet<String>) {
    let word =
        |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned();
    let Some(list) = text.strip_prefix('{') else {
        into.insert(word(text));
        return;
    };
    let mut depth = 0;
    let mut begins = true;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                into.insert(word(&list[at..]));
                begins = false;
            }
            _ => {}
        }
    }
}

#[test]
fn names_are_found() {
    let text = "use crate::a::{B, C};\nuse crate::{d, e::{F, g}};\n// crate::h\n#[cfg(test)]\nuse crate::i::{J, K};\n\
                use super::{l, m};\nfn n() { super::super::o::p(\"crate::q\"); $crate::r!(); }\n\
                #[cfg(test)]\nmod tests { fn s() { crate::t::u() } }\nfn v() { crate::w() }";
    let found = |depth| named(&without_tests(&strip(text)), depth).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(found(1), "a d e l m w");
    assert_eq!(found(2), "a d e o w");
}

#[test]
fn a_circle_is_named() {
    let modules = |arrows: &[(&str, &[&str])]| -> Modules {
        let known = |known: &[&str]| known.iter().map(|name| ((*name).to_owned(), PathBuf::from("x.rs"))).collect();
        arrows.iter().map(|(name, names)| ((*name).to_owned(), known(names))).collect()
    };
    assert_eq!(circle(&modules(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])), None);
    let found = circle(&modules(&[("a", &["b"]), ("b", &["c", "d"]), ("c", &[]), ("d", &["b"])]));
    assert_eq!(found.as_deref(), Some("b names d in x.rs\nd names b in x.rs"));
}
