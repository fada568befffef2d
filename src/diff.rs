//! `bowline diff`: what `apply` would change.

mod lines;

use std::process::ExitCode;

use bowline_sources::store::LAST_APPLIED;
use bowline_sources::store::apply::DryRun;
use clap::Args;
use serde_json::Value;

use crate::store::{ClusterArgs, FileArgs, StoreArgs, block_on, label, namespace, read, write};
use bowline_agent::log::tell;

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// What would be applied.
    #[command(flatten)]
    files: FileArgs,
    /// Where to.
    #[command(flatten)]
    store: StoreArgs,
    /// Settings.
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Prints a unified diff. Exits with 0 where nothing would change, 1 where something would, 2 where it can't
/// be told.
pub(crate) fn run(args: &DiffArgs) -> ExitCode {
    match differs(args) {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(1),
        Err(error) => {
            tell(&format!("bowline: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn differs(args: &DiffArgs) -> anyhow::Result<bool> {
    if args.files.filename.is_empty() {
        anyhow::bail!("what is to be compared? give -f FILE, -f FOLDER or -f -");
    }
    let (store, settings) = (args.store.open()?, args.cluster.settings()?);
    let read = read(&args.files)?;
    for problem in &read.problems {
        tell(&format!("bowline: {problem}"));
    }
    let mut failed = read.problems.len();
    block_on(async {
        let mut differs = false;
        for document in read.documents {
            // What would be given is by chance, so it is not shown.
            match store.apply(&document.value, DryRun::Client, &settings).await {
                Ok(done) => {
                    let before = done.before.as_ref().map_or(Ok(String::new()), shown)?;
                    let name = format!("{}.{}", namespace(&done.object), label(&done.object).replace('/', "."));
                    let name = name.trim_start_matches('.').to_owned();
                    let diff = lines::unified(&before, &shown(&done.object)?, &name);
                    differs |= !diff.is_empty();
                    write(&diff)?;
                }
                Err(error) => {
                    tell(&format!("bowline: {}: {}: {error}", document.origin, label(&document.value)));
                    failed += 1;
                }
            }
        }
        anyhow::ensure!(failed == 0, "{failed} of the objects would be refused");
        Ok(differs)
    })?
}

/// An object as people compare it: without what always changes.
fn shown(object: &Value) -> anyhow::Result<String> {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["resourceVersion", "uid", "creationTimestamp", "generation"] {
            metadata.remove(field);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    Ok(serde_saphyr::to_string(&object)?)
}
