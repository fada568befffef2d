//! What a state has: tables as kubectl prints them, YAML, JSON, and each change as it comes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bowline_sources::store::list::Event;
use bowline_sources::store::node::Alive;
use bowline_sources::store::{Resource, Store, StoreError};
use serde_json::Value;

use super::table::{Table, cells, columns};
use super::{GetArgs, Output};
use crate::store::{block_on, label, list, write};
use bowline_agent::log::tell;

/// What was asked for of one kind.
struct Wanted {
    resource: Resource,
    /// Empty for all.
    names: Vec<String>,
}

/// The kinds and names of the command line.
fn wanted(args: &GetArgs) -> anyhow::Result<Vec<Wanted>> {
    let parse = |word: &str| Resource::parse(word).map_err(anyhow::Error::msg);
    let mut wanted: Vec<Wanted> = Vec::new();
    if args.what.iter().any(|word| word.contains('/')) {
        for word in &args.what {
            let Some((kind, name)) = word.split_once('/') else {
                anyhow::bail!("{word:?} has no kind; write KIND/NAME for each");
            };
            let resource = parse(kind)?;
            match wanted.iter_mut().find(|other| other.resource == resource) {
                Some(same) => same.names.push(name.to_owned()),
                None => wanted.push(Wanted { resource, names: vec![name.to_owned()] }),
            }
        }
        return Ok(wanted);
    }
    let Some((kinds, names)) = args.what.split_first() else { return Ok(wanted) };
    for kind in kinds.split(',').filter(|kind| !kind.is_empty()) {
        wanted.push(Wanted { resource: parse(kind)?, names: names.to_vec() });
    }
    Ok(wanted)
}

/// Prints what was asked for.
pub(super) fn run(args: &GetArgs, store: &Store) -> anyhow::Result<()> {
    let wanted = wanted(args)?;
    let named = wanted.iter().any(|wanted| !wanted.names.is_empty());
    if named && (args.all_namespaces || args.selector.is_some()) {
        anyhow::bail!("a name can't be given with -A or -l; leave out one of them");
    }
    if args.watch && wanted.len() > 1 {
        anyhow::bail!("-w follows one kind at a time");
    }
    block_on(async {
        match &wanted[..] {
            [one] if args.watch => watch(args, store, one).await,
            _ => show(args, store, &wanted).await,
        }
    })?
}

/// The namespace that is looked at; None for all.
fn namespace(args: &GetArgs) -> Option<&str> {
    (!args.all_namespaces).then(|| args.namespace.as_deref().unwrap_or("default"))
}

/// What there is of one kind, what is missing or can't be read, and the revision at which it was so.
async fn objects(args: &GetArgs, store: &Store, wanted: &Wanted) -> Result<(Vec<Value>, Vec<String>, i64), StoreError> {
    let mut failed = Vec::new();
    if !wanted.names.is_empty() {
        let mut found = Vec::new();
        for name in &wanted.names {
            match store.get(&wanted.resource, namespace(args).unwrap_or("default"), name).await {
                Ok(object) => found.push(object),
                Err(error @ (StoreError::NotFound(_) | StoreError::Stored { .. })) => {
                    failed.push(error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        return Ok((found, failed, 0));
    }
    let mut listed = store.list(&wanted.resource, namespace(args)).await?;
    failed.extend(listed.problems.iter().map(ToString::to_string));
    if let Some(selector) = &args.selector {
        listed.objects.retain(|object| bowline_sources::store::fits(selector, object));
    }
    Ok((listed.objects, failed, listed.revision))
}

async fn alive(store: &Store, resource: &Resource) -> Result<BTreeMap<String, Alive>, StoreError> {
    if resource.is("Node") { store.alive_nodes().await } else { Ok(BTreeMap::new()) }
}

async fn show(args: &GetArgs, store: &Store, wanted: &[Wanted]) -> anyhow::Result<()> {
    let (mut all, mut failed, mut tables) = (Vec::new(), Vec::new(), Vec::new());
    for one in wanted {
        let (objects, missing, _) = objects(args, store, one).await?;
        failed.extend(missing);
        if matches!(args.output, Output::Table | Output::Wide) && !objects.is_empty() {
            let alive = alive(store, &one.resource).await?;
            let mut table = table(args, &one.resource, wanted.len() > 1);
            for object in &objects {
                table.push(cells(&one.resource, object, &alive));
            }
            tables.push(table.render());
        }
        all.extend(objects);
    }
    let named = wanted.iter().any(|wanted| !wanted.names.is_empty());
    let one = named && wanted.iter().map(|wanted| wanted.names.len()).sum::<usize>() == 1;
    let text = match args.output {
        // One that isn't there has been told; a list is a list also when it is empty.
        Output::Json | Output::Yaml if one && all.is_empty() => String::new(),
        Output::Json => serde_json::to_string_pretty(&list(all, one))? + "\n",
        Output::Yaml => serde_saphyr::to_string(&list(all, one))?,
        Output::Name => all.iter().map(|object| label(object) + "\n").collect(),
        _ => tables.join("\n"),
    };
    if text.is_empty() && failed.is_empty() && !matches!(args.output, Output::Name) {
        match namespace(args).filter(|_| wanted.iter().any(|wanted| wanted.resource.namespaced)) {
            Some(namespace) => tell(&format!("No resources found in {namespace} namespace.")),
            None => tell("No resources found"),
        }
    }
    write(&text)?;
    let Some(last) = failed.pop() else { return Ok(()) };
    failed.iter().for_each(|problem| tell(&format!("bowline: {problem}")));
    anyhow::bail!(last)
}

fn table(args: &GetArgs, resource: &Resource, with_kind: bool) -> Table {
    let prefix = if with_kind { format!("{}/", resource.label()) } else { String::new() };
    let namespaces = args.all_namespaces && resource.namespaced;
    Table::new(columns(resource), args.output == Output::Wide, namespaces, prefix)
}

/// Shows what is there, then each change, until nobody reads it any more.
async fn watch(args: &GetArgs, store: &Store, wanted: &Wanted) -> anyhow::Result<()> {
    let resource = &wanted.resource;
    // A name is one of the list, so that nothing happens between looking and watching.
    let every = Wanted { resource: resource.clone(), names: Vec::new() };
    let (mut found, unreadable, revision) = objects(args, store, &every).await?;
    unreadable.iter().for_each(|problem| tell(&format!("bowline: {problem}")));
    let is_wanted = |object: &Value| {
        let fits = args.selector.as_ref().is_none_or(|selector| bowline_sources::store::fits(selector, object));
        fits && (wanted.names.is_empty() || wanted.names.iter().any(|name| name == crate::store::name(object)))
    };
    found.retain(|object| is_wanted(object));
    let alive = RefCell::new(alive(store, resource).await?);
    let nodes = RefCell::new(BTreeMap::new());
    let table = RefCell::new(table(args, resource, false));
    let failure = Cell::new(None);
    let print = |objects: &[Value]| -> ControlFlow<()> {
        let mut text = String::new();
        if matches!(args.output, Output::Table | Output::Wide) {
            let mut table = table.borrow_mut();
            objects.iter().for_each(|object| table.push(cells(resource, object, &alive.borrow())));
            text = table.more();
        }
        for object in objects {
            match args.output {
                Output::Json => text += &format!("{object:#}\n"),
                Output::Yaml => text += &format!("---\n{}", serde_saphyr::to_string(object).unwrap_or_default()),
                Output::Name => text += &format!("{}\n", label(object)),
                Output::Table | Output::Wide => {}
            }
        }
        match write(&text) {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => ControlFlow::Break(()),
            Err(error) => {
                failure.set(Some(error));
                ControlFlow::Break(())
            }
        }
    };
    let remember = |object: &Value| nodes.borrow_mut().insert(crate::store::name(object).to_owned(), object.clone());
    if resource.is("Node") {
        found.iter().for_each(|object| drop(remember(object)));
    }
    if !found.is_empty() && print(&found).is_break() {
        return failure.take().map_or(Ok(()), Err);
    }
    let changes = store.watch(resource, namespace(args), revision, |event| {
        let object = match &event {
            Event::Put(object) | Event::Deleted(object) => object,
        };
        if !is_wanted(object) {
            return ControlFlow::Continue(());
        }
        if resource.is("Node") {
            match &event {
                Event::Put(object) => drop(remember(object)),
                Event::Deleted(object) => drop(nodes.borrow_mut().remove(crate::store::name(object))),
            }
        }
        print(std::slice::from_ref(object))
    });
    if !resource.is("Node") {
        changes.await?;
        return failure.take().map_or(Ok(()), Err);
    }
    let lives = store.watch_alive(|name, now| {
        let changed = match now {
            Some(now) => alive.borrow_mut().insert(name.to_owned(), now).is_none(),
            None => alive.borrow_mut().remove(name).is_some(),
        };
        let node = nodes.borrow().get(name).cloned();
        match node {
            Some(node) if changed => print(&[node]),
            _ => ControlFlow::Continue(()),
        }
    });
    tokio::select! {
        ended = changes => ended?,
        ended = lives => ended?,
    }
    failure.take().map_or(Ok(()), Err)
}
