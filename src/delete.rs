//! `bowline delete`: objects out of the state, with what they were given.

use std::collections::BTreeSet;

use bowline_cluster::selector::Selector;
use bowline_sources::store::delete::Only;
use bowline_sources::store::{Resource, Store, StoreError};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::apply::DryRunArg;
use crate::store::{FileArgs, StoreArgs, block_on, name, namespace, read_names, say};
use bowline_agent::log::tell;

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Kind and names (service web db), or TYPE/NAME (service/web pod/a)
    #[arg(value_name = "KIND NAME|KIND/NAME")]
    what: Vec<String>,
    /// Which manifests name them.
    #[command(flatten)]
    files: FileArgs,
    /// Where from.
    #[command(flatten)]
    store: StoreArgs,
    /// Those of the kind with these labels: a=b,c!=d,e in (x,y),!f
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<Selector>,
    /// All of the kind, in the namespace
    #[arg(long)]
    all: bool,
    /// With -l or --all, in every namespace
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// What isn't there is no error
    #[arg(long)]
    ignore_not_found: bool,
    /// Deletes nothing, and says what would go
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_value = "none", default_missing_value = "client")]
    dry_run: DryRunArg,
    /// Prints kind/name instead of what was done
    #[arg(short, long, value_enum)]
    output: Option<DeleteOutput>,
}

/// How `delete` shows what it has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeleteOutput {
    /// Kind and name.
    Name,
}

/// Something to delete.
struct Object {
    resource: Resource,
    namespace: String,
    name: String,
}

/// Deletes; what can't be deleted keeps nothing else from it.
pub(crate) fn run(args: &DeleteArgs) -> anyhow::Result<()> {
    let by_file = !args.files.filename.is_empty();
    if by_file != args.what.is_empty() {
        anyhow::bail!("what is to be deleted? give -f FILE, or a kind and names: bowline delete service web");
    }
    let store = args.store.open()?;
    let (mut objects, mut failed) = (Vec::new(), 0);
    if by_file {
        let read = read_names(&args.files)?;
        for problem in &read.problems {
            tell(&format!("bowline: {problem}"));
        }
        failed = read.problems.len();
        for document in &read.documents {
            match resource(&document.value) {
                Ok(resource) => objects.push(Object {
                    resource,
                    namespace: namespace(&document.value).to_owned(),
                    name: name(&document.value).to_owned(),
                }),
                Err(error) => {
                    tell(&format!("bowline: {}: {error}", document.origin));
                    failed += 1;
                }
            }
        }
    }
    block_on(async {
        if !by_file {
            objects = named(&store, args).await?;
            if objects.is_empty() {
                say("No resources found")?;
            }
        }
        let mut gone = BTreeSet::new();
        for object in objects {
            failed += delete(&store, args, &object, &mut gone).await?;
        }
        match failed {
            0 => Ok(()),
            1 => anyhow::bail!("one object was not deleted"),
            n => anyhow::bail!("{n} objects were not deleted"),
        }
    })?
}

/// What an object of a manifest is; its kind will do.
fn resource(object: &Value) -> Result<Resource, String> {
    match (object["apiVersion"].as_str(), object["kind"].as_str()) {
        (None | Some(""), Some(kind)) => Resource::parse(kind),
        _ => Ok(Resource::of(object)),
    }
}

/// What the command line names.
async fn named(store: &Store, args: &DeleteArgs) -> anyhow::Result<Vec<Object>> {
    let parse = |word: &str| Resource::parse(word).map_err(anyhow::Error::msg);
    let namespace = args.files.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let object = |resource: &Resource, name: &str| Object {
        resource: resource.clone(),
        namespace: if resource.namespaced { namespace.clone() } else { String::new() },
        name: name.to_owned(),
    };
    let mut objects = Vec::new();
    if args.what.iter().any(|word| word.contains('/')) {
        for word in &args.what {
            let Some((kind, name)) = word.split_once('/') else {
                anyhow::bail!("{word:?} has no kind; write KIND/NAME for each");
            };
            objects.push(object(&parse(kind)?, name));
        }
        return Ok(objects);
    }
    let Some((kinds, names)) = args.what.split_first() else { return Ok(objects) };
    let selects = args.all || args.selector.as_ref().is_some_and(|selector| !selector.is_empty());
    if names.is_empty() && !selects {
        anyhow::bail!("which of the {kinds}? give names, -l SELECTOR, or --all");
    }
    if !names.is_empty() && selects {
        anyhow::bail!("names are given, and -l or --all; give one or the other");
    }
    for kind in kinds.split(',') {
        let resource = parse(kind)?;
        objects.extend(names.iter().map(|name| object(&resource, name)));
        if selects {
            let within = (!args.all_namespaces).then_some(&*namespace);
            let listed = store.list(&resource, within).await?;
            let fit = listed
                .objects
                .iter()
                .filter(|object| args.selector.as_ref().is_none_or(|s| bowline_sources::store::fits(s, object)));
            objects.extend(fit.map(|found| Object {
                resource: resource.clone(),
                namespace: crate::store::namespace(found).to_owned(),
                name: name(found).to_owned(),
            }));
        }
    }
    Ok(objects)
}

/// What was deleted: folder, namespace and name.
type Gone = BTreeSet<(String, String, String)>;

/// Deletes one, and of a Namespace what is in it; how many could not be deleted.
async fn delete(store: &Store, args: &DeleteArgs, object: &Object, gone: &mut Gone) -> anyhow::Result<usize> {
    let mut failed = 0;
    let mut list = Vec::new();
    if object.resource.is("Namespace") && may_go(store, object).await? {
        // What is in it goes first, as in Kubernetes.
        for (resource, found) in store.everything().await? {
            if resource.namespaced && namespace(&found) == object.name {
                let (namespace, name) = (namespace(&found).to_owned(), name(&found).to_owned());
                list.push(Object { resource, namespace, name });
            }
        }
    }
    for object in list.iter().chain([object]) {
        let label = object.resource.label();
        if failed > 0 && object.resource.is("Namespace") {
            tell(&format!("bowline: {label} \"{}\": stays, since not all that is in it is gone", object.name));
            return Ok(failed + 1);
        }
        let place = if object.resource.namespaced { object.namespace.clone() } else { String::new() };
        let key = (object.resource.folder(), place, object.name.clone());
        let deleted =
            store.delete(&object.resource, &object.namespace, &object.name, &Only::default(), args.dry_run.get()).await;
        match deleted {
            // Told already, with its Namespace.
            Ok(_) if gone.contains(&key) => {}
            Ok(_) => {
                gone.insert(key);
                told(args, object, &label)?;
            }
            Err(StoreError::NotFound(_)) if args.ignore_not_found || gone.contains(&key) => {}
            Err(error @ (StoreError::Deadline { .. } | StoreError::Etcd(_))) => return Err(error.into()),
            Err(StoreError::NotFound(what)) => {
                tell(&format!("bowline: {what} not found"));
                failed += 1;
            }
            Err(error) => {
                tell(&format!("bowline: {label} \"{}\": {error}", object.name));
                failed += 1;
            }
        }
    }
    Ok(failed)
}

/// Whether a Namespace is there and may be deleted; why not is said when it is tried.
async fn may_go(store: &Store, namespace: &Object) -> anyhow::Result<bool> {
    if Store::may_delete(&namespace.resource, &namespace.name).is_err() {
        return Ok(false);
    }
    match store.get(&namespace.resource, "", &namespace.name).await {
        Ok(_) | Err(StoreError::Stored { .. }) => Ok(true),
        Err(StoreError::NotFound(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Says that it is deleted.
fn told(args: &DeleteArgs, object: &Object, label: &str) -> anyhow::Result<()> {
    if args.output.is_some() {
        return say(&format!("{label}/{}", object.name));
    }
    let from = if object.resource.namespaced { format!(" from {} namespace", object.namespace) } else { String::new() };
    say(&format!("{label} \"{}\" deleted{from}{}", object.name, args.dry_run.suffix()))
}
