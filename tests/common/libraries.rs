//! `resolve.c`, built against glibc and against musl.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The compilers, and what makes programs of theirs run anywhere.
const COMPILERS: [(&str, &[&str]); 2] = [("cc", &[]), ("musl-gcc", &["-static"])];

/// Builds both in this folder, under these names: glibc's, then musl's.
pub(crate) fn build(folder: &Path, names: [&str; 2]) -> [PathBuf; 2] {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/resolve.c");
    std::array::from_fn(|n| {
        let (compiler, flags) = COMPILERS[n];
        let program = folder.join(names[n].trim_start_matches('/'));
        let out = Command::new(compiler).args(["-O2", "-Wall", "-o"]).arg(&program).arg(&source).args(flags).output();
        let out = out.unwrap_or_else(|error| panic!("{compiler}: {error}; run 'scripts/setup test'"));
        assert!(out.status.success(), "{out:?}");
        program
    })
}
