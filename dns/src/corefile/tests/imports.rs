//! Snippets and imported files.

use std::fs;
use std::path::Path;

use super::{env, is, is_refused, read, short};
use crate::corefile::{self, Corefile, CorefileError};

#[test]
fn snippets() {
    is("(s) {\nlog\nerrors\n}\n. {\nimport s\nwhoami\n}", ".: log; errors; whoami;");
    is("(s) { log\n}\na {\nimport s\n}\nb {\nimport s\nimport s\n}", "a: log;\nb: log; log;");
    is(
        "(s) {\nmax_fails 3\n}\n. {\nforward . a {\nimport s\nimport s\nexpire 1s\n}\n}",
        ".: forward . a {max_fails 3; max_fails 3; expire 1s; };",
    );
    is("(s) {\nforward . a {\nmax_fails 1\n}\n}\n. {\nimport s\n}", ".: forward . a {max_fails 1; };");
    is("(s) {\nlog {$PORT}\n}\n. {\nimport s\n}", ".: log 5300;");
    is("(s) {\n}\n. {\nimport s\nlog\n}", ".: log;");
    is("(a) {\nimport b\n}\n(b) {\nlog\n}\n. {\nimport a\n}", ".: log;");
    is("(s) {\na {\nlog\n}\n}\nimport s\nb {\n}", "a: log;\nb:");
    is("(s) {\na,\nb\n}\nimport s\n{\nlog\n}", "a b: log;");
    is(". {\nlog import\n}", ".: log import;");
    let corefile = read("(s) {\nlog\n}\n\n. {\nimport s\n}").unwrap();
    assert_eq!(corefile.blocks[0].directives[0].place.line, 2);
}

#[test]
fn snippets_that_are_wrong() {
    is_refused("(s) {\n}\n(s) {\n}\n", "Corefile:3: the snippet (s) is already defined at Corefile:1; rename one");
    is_refused("(s)\nlog\n", "Corefile:1: the snippet (s) has no block; write (s) {");
    is_refused("(s) {\nlog {\n}\n", "Corefile:1: the block of the snippet (s) is never closed: add a }");
    is_refused("(s) (t) {\n}\n", "Corefile:1: (s): a snippet's name stands alone before its {");
    is_refused("(s) {\nimport s\n}\n. {\nimport s\n}", "Corefile:2: import: (s) imports itself: (s) -> (s)");
    is_refused(
        "(a) {\nimport b\nlog\n}\n(b) {\nimport a\n}\n. {\nimport a\n}",
        "Corefile:6: import: (a) imports itself: (a) -> (b) -> (a)",
    );
    is_refused(
        ". {\nimport\n}",
        "Corefile:2: import: what to import is missing: name a snippet, a file or a pattern with one *",
    );
    is_refused(
        ". {\nimport \"\"\n}",
        "Corefile:2: import: what to import is empty; name a snippet, a file or a pattern with one *",
    );
    is_refused(
        ". {\nimport a b\n}",
        "Corefile:2: import: takes one argument; write an import for each snippet, file or pattern",
    );
}

fn in_folder(files: &[(&str, &str)]) -> Result<(Corefile, tempfile::TempDir), (CorefileError, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    match corefile::read(&folder.path().join("Corefile"), &env) {
        Ok(corefile) => Ok((corefile, folder)),
        Err(problem) => Err((problem, folder)),
    }
}

#[test]
fn files_are_relative_to_who_imports_them() {
    let (corefile, folder) = in_folder(&[
        ("Corefile", "import zones/*.server\n. {\nimport sub/one\nlog\n}\nimport end"),
        ("sub/one", "import two\nimport ../end-of-sub"),
        ("sub/two", "cache 30"),
        ("end-of-sub", "errors"),
        ("zones/b.server", "b {\nlog\n}"),
        ("zones/a.server", "a {\nimport ../sub/two\n}\n"),
        ("zones/c.override", "c {\n}"),
        ("end", "z {\n}"),
    ])
    .unwrap();
    assert_eq!(short(&corefile), "a: cache 30;\nb: log;\n.: cache 30; errors; log;\nz:\n");
    let path = folder.path().join("sub/two");
    assert_eq!(corefile.blocks[2].directives[0].place.to_string(), format!("{}:1", path.display()));
    assert_eq!(corefile.files[0], folder.path().join("Corefile"));
    assert_eq!(corefile.files.len(), 7, "each file once: {:?}", corefile.files);
}

#[test]
fn a_snippet_of_a_file_serves_all_after_it() {
    let (corefile, _folder) = in_folder(&[
        ("Corefile", "import snippets/common\n. {\nimport common\n}"),
        ("snippets/common", "(common) {\nimport more\n}"),
        ("snippets/more", "log"),
    ])
    .unwrap();
    assert_eq!(short(&corefile), ".: log;\n");
}

#[test]
fn a_pattern_without_files_warns_and_a_missing_file_is_an_error() {
    let (corefile, _folder) =
        in_folder(&[("Corefile", ". {\nimport custom/*.override\n}\nimport custom/*.server")]).unwrap();
    let warnings: Vec<String> = corefile.warnings.iter().map(|warning| warning.message.clone()).collect();
    assert_eq!(warnings, ["import: no file matches custom/*.override", "import: no file matches custom/*.server"]);
    let (problem, folder) = in_folder(&[("Corefile", ". {\nimport absent\n}")]).unwrap_err();
    let path = folder.path().display();
    assert_eq!(
        problem.to_string(),
        format!("{path}/Corefile:2: import: there is no snippet (absent) above, and no file {path}/absent")
    );
}

#[test]
fn what_can_not_be_imported() {
    for (import, reason) in [
        ("folder", "it is a folder"),
        ("/dev/zero", "it is a pipe or a device"),
        ("*/*", "more than one wildcard"),
        ("[ab]", "more than one wildcard"),
        ("Corefile", "imports itself"),
        ("loop", "imports itself"),
        ("unclosed", "unclosed:1: the quote that begins here is never closed"),
    ] {
        let (problem, _folder) = in_folder(&[
            ("Corefile", &format!(". {{\nimport {import}\n}}")),
            ("folder/file", ""),
            ("loop", "import l*p"),
            ("unclosed", "\""),
        ])
        .unwrap_err();
        assert!(problem.to_string().contains(reason), "{import}: {problem}");
    }
    let problem = corefile::read(Path::new("/absent/Corefile"), &env).unwrap_err();
    assert!(problem.to_string().starts_with("/absent/Corefile: can't be read: No such file"), "{problem}");
}

#[test]
fn bytes_that_are_no_text_may_stand_in_comments() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Corefile");
    fs::write(&path, b"# caf\xe9\n. {\nlog\n}\n").unwrap();
    assert_eq!(short(&corefile::read(&path, &env).unwrap()), ".: log;\n");
}
