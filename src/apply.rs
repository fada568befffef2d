//! `bowline apply`: manifests into the state, as `kubectl apply` does it.

use std::collections::BTreeSet;

use bowline_cluster::selector::Selector;
use bowline_sources::store::apply::{DryRun, Outcome};
use bowline_sources::store::delete::Only;
use bowline_sources::store::{LAST_APPLIED, Resource, Store, StoreError};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::store::{ClusterArgs, FileArgs, StoreArgs, block_on, label, list, name, namespace, read, say, write};
use bowline_agent::log::tell;

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// What to apply.
    #[command(flatten)]
    files: FileArgs,
    /// Where to.
    #[command(flatten)]
    store: StoreArgs,
    /// Stores nothing: checks and merges (client), and also chooses addresses and looks for conflicts (server)
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_value = "none", default_missing_value = "client")]
    dry_run: DryRunArg,
    /// Also deletes what was applied before, fits -l, and is in none of these manifests
    #[arg(long)]
    prune: bool,
    /// Of the manifests, only objects with these labels: a=b,c!=d,e in (x,y),!f
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<Selector>,
    /// With --prune, whatever its labels
    #[arg(long)]
    all: bool,
    /// With --prune, only these kinds (group/version/kind, like core/v1/Service); by default all but Nodes and
    /// Namespaces
    #[arg(long, value_name = "KIND")]
    prune_allowlist: Vec<String>,
    /// Prints the objects instead of what was done
    #[arg(short, long, value_enum)]
    output: Option<ApplyOutput>,
    /// Settings.
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// `--dry-run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRunArg {
    /// It is done.
    #[value(alias = "false")]
    None,
    /// Nothing is given.
    #[value(alias = "true")]
    Client,
    /// All but stored.
    Server,
}

impl DryRunArg {
    /// As the store takes it.
    pub(crate) const fn get(self) -> DryRun {
        match self {
            DryRunArg::None => DryRun::No,
            DryRunArg::Client => DryRun::Client,
            DryRunArg::Server => DryRun::Server,
        }
    }

    /// What stands behind a message.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            DryRunArg::None => "",
            DryRunArg::Client => " (dry run)",
            DryRunArg::Server => " (server dry run)",
        }
    }
}

/// How `apply` shows what it has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ApplyOutput {
    /// Kind and name.
    Name,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// Applies; what can't be applied keeps nothing else from it.
pub(crate) fn run(args: &ApplyArgs) -> anyhow::Result<()> {
    let selector = args.selector.clone().unwrap_or_default();
    if args.files.filename.is_empty() {
        anyhow::bail!("what is to be applied? give -f FILE, -f FOLDER or -f -");
    }
    if args.prune && selector.is_empty() && !args.all {
        anyhow::bail!("--prune needs a selector (-l), or --all to delete whatever is in none of the manifests");
    }
    let allowed = args.prune_allowlist.iter().map(|kind| allowed(kind)).collect::<anyhow::Result<Vec<_>>>()?;
    let (store, settings) = (args.store.open()?, args.cluster.settings()?);
    let read = read(&args.files)?;
    for problem in &read.problems {
        tell(&format!("bowline: {problem}"));
    }
    let mut failed = read.problems.len();
    let documents: Vec<_> = read
        .documents
        .into_iter()
        .filter(|document| bowline_sources::store::fits(&selector, &document.value))
        .collect();
    block_on(async {
        let (mut applied, mut namespaces, mut unread) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for document in documents {
            let what = label(&document.value);
            let resource = Resource::of(&document.value);
            if !resource.is_read() && unread.insert(resource.label()) {
                tell(&format!(
                    "bowline: {}: {} is a kind that Bowline doesn't read; nothing comes of it",
                    document.origin,
                    resource.label()
                ));
            }
            namespaces.insert(namespace(&document.value).to_owned());
            match store.apply(&document.value, args.dry_run.get(), &settings).await {
                Ok(done) => {
                    match args.output {
                        None => say(&format!("{what} {}{}", outcome(&resource, done.outcome), args.dry_run.suffix()))?,
                        Some(ApplyOutput::Name) => say(&what)?,
                        _ => {}
                    }
                    applied.push(done.object);
                }
                Err(error) => {
                    tell(&format!("bowline: {}: {what}: {error}", document.origin));
                    // The others would wait as long, for the same.
                    if matches!(error, StoreError::Deadline { .. } | StoreError::Etcd(_)) {
                        anyhow::bail!("the rest is not tried");
                    }
                    failed += 1;
                }
            }
        }
        if args.prune && failed == 0 {
            let keep: BTreeSet<(String, String)> =
                applied.iter().map(|object| (namespace(object).to_owned(), label(object))).collect();
            failed += prune(&store, args, &selector, &allowed, &keep, &namespaces).await?;
        }
        let one = applied.len() == 1;
        match args.output {
            Some(ApplyOutput::Json) if !applied.is_empty() => {
                write(&(serde_json::to_string_pretty(&list(applied, one))? + "\n"))?;
            }
            Some(ApplyOutput::Yaml) if !applied.is_empty() => {
                write(&serde_saphyr::to_string(&list(applied, one))?)?;
            }
            _ => {}
        }
        match failed {
            0 => Ok(()),
            1 => anyhow::bail!("one object was refused"),
            n => anyhow::bail!("{n} objects were refused"),
        }
    })?
}

/// What was done with an object, in a word; nobody makes anything of those that are not read.
fn outcome(resource: &Resource, outcome: Outcome) -> &'static str {
    match outcome {
        _ if resource.is_read() => outcome.as_str(),
        Outcome::Created => "stored, not read",
        Outcome::Configured => "stored anew, not read",
        Outcome::Unchanged => "stored already, not read",
    }
}

/// `core/v1/Service`, `apps/v1/Deployment`, or what `get` takes.
fn allowed(text: &str) -> anyhow::Result<Resource> {
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        [group, version, kind] => {
            let group = if group == "core" { "" } else { group };
            let slash = if group.is_empty() { "" } else { "/" };
            Ok(Resource::named(&format!("{group}{slash}{version}"), kind))
        }
        _ => Resource::parse(text).map_err(|error| anyhow::anyhow!("--prune-allowlist: {error}")),
    }
}

/// Deletes what was applied once and is in no manifest now; how much of it could not be deleted.
async fn prune(
    store: &Store,
    args: &ApplyArgs,
    selector: &Selector,
    allowed: &[Resource],
    keep: &BTreeSet<(String, String)>,
    namespaces: &BTreeSet<String>,
) -> anyhow::Result<usize> {
    let mut failed = 0;
    for (resource, object) in store.everything().await? {
        let may_go = match allowed {
            [] => !resource.is("Node") && !resource.is("Namespace"),
            list => list.iter().any(|allowed| allowed.folder() == resource.folder()),
        };
        let was_applied = object["metadata"]["annotations"][LAST_APPLIED].is_string();
        let here = !resource.namespaced || namespaces.contains(namespace(&object));
        let kept = keep.contains(&(namespace(&object).to_owned(), label(&object)));
        if !may_go || !was_applied || !here || kept || !bowline_sources::store::fits(selector, &object) {
            continue;
        }
        let only = Only { uid: object["metadata"]["uid"].as_str().map(ToOwned::to_owned), version: None };
        match store.delete(&resource, namespace(&object), name(&object), &only, args.dry_run.get()).await {
            Ok(Value::Null) | Err(StoreError::NotFound(_)) => {}
            Ok(_) if args.output.is_some_and(|output| output != ApplyOutput::Name) => {}
            Ok(_) if args.output.is_some() => say(&label(&object))?,
            Ok(_) => say(&format!("{} pruned{}", label(&object), args.dry_run.suffix()))?,
            Err(error) => {
                tell(&format!("bowline: {}: {error}", label(&object)));
                failed += 1;
            }
        }
    }
    Ok(failed)
}
