//! Reading what is stored, and following how it changes.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::Duration;

use etcd_client::{EventType, WatchOptions};
use serde_json::Value;

use super::apply::{stored, versioned};
use super::commit::Got;
use super::node::Alive;
use super::{Resource, Store, StoreError};
use bowline_cluster::source::{Origin, Problem};
use bowline_etcd::MAX_MESSAGE;

/// What there is of a resource.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// The objects by namespace and name, with their `metadata.resourceVersion`.
    pub objects: Vec<Value>,
    /// What stands there and is no object of this resource.
    pub problems: Vec<Problem>,
    /// The revision at which it was so.
    pub revision: i64,
}

/// A change that [`Store::watch`] tells.
#[derive(Clone, Debug)]
pub enum Event {
    /// The object is now this.
    Put(Value),
    /// The object is gone; as it was last.
    Deleted(Value),
}

/// How long a watch may say nothing until it is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(15);

impl Store {
    /// One object, with its `metadata.resourceVersion`.
    ///
    /// # Errors
    /// There is no such object, it can't be read, or etcd can't be reached.
    pub async fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Value, StoreError> {
        let namespace = if resource.namespaced { namespace } else { "" };
        let key = self.keys().any_object(&resource.folder(), namespace, name);
        let (mut answer, _) = self
            .call(|client| {
                let key = key.clone();
                async move { super::kv(&client).get(key, None).await }
            })
            .await?;
        match answer.take_kvs().into_iter().next() {
            Some(kv) => Ok(versioned(stored(&key, kv.value())?, kv.mod_revision())),
            None => Err(resource.missing(name)),
        }
    }

    /// All objects of a resource, in one namespace or in all.
    ///
    /// # Errors
    /// etcd can't be reached. What can't be read is no error but a problem.
    pub async fn list(&self, resource: &Resource, namespace: Option<&str>) -> Result<Listed, StoreError> {
        let prefix = self.prefix(resource, namespace);
        let (found, revision) = self.below(&prefix, false).await?;
        let mut listed = Listed { revision, ..Listed::default() };
        for got in found {
            match self.object(resource, &got.key, &got.value, got.mod_revision) {
                Ok(object) => listed.objects.push(object),
                Err(message) => {
                    listed.problems.push(Problem { origin: Origin::from(got.key), object: None, field: None, message });
                }
            }
        }
        Ok(listed)
    }

    /// The resources of which there are objects: their folders.
    ///
    /// # Errors
    /// etcd can't be reached.
    pub async fn everything(&self) -> Result<Vec<(Resource, Value)>, StoreError> {
        let prefix = self.keys().objects();
        let (found, _) = self.below(&prefix, false).await?;
        let read = found.into_iter().filter_map(|got| {
            let object = stored(&got.key, &got.value).ok()?;
            let resource = Resource::of(&object);
            let object = self.object(&resource, &got.key, &got.value, got.mod_revision).ok()?;
            Some((resource, object))
        });
        Ok(read.collect())
    }

    fn prefix(&self, resource: &Resource, namespace: Option<&str>) -> String {
        self.keys().resource(&resource.folder(), namespace.filter(|_| resource.namespaced))
    }

    /// An object as it stands at a key, which must be its own.
    fn object(&self, resource: &Resource, key: &str, value: &[u8], revision: i64) -> Result<Value, String> {
        let object = stored(key, value).map_err(|error| match error {
            StoreError::Stored { reason, .. } => reason,
            other => other.to_string(),
        })?;
        let is = Resource::of(&object);
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let namespace = match text("namespace") {
            _ if !is.namespaced => "",
            "" => "default",
            namespace => namespace,
        };
        let own = self.keys().any_object(&is.folder(), namespace, text("name"));
        if is.folder() != resource.folder() || own != key {
            return Err(format!("is a {} whose key is {own}; store it there", is.kind));
        }
        Ok(versioned(object, revision))
    }

    /// Tells what changes after a revision, until told to stop. Goes on by itself after a lost connection;
    /// where the changes since are not known any more, everything there is is told anew.
    ///
    /// # Errors
    /// etcd refuses, or can't be reached within the store's patience.
    pub async fn watch(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        after: i64,
        mut tell: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let (prefix, mut after) = (self.prefix(resource, namespace), after);
        loop {
            let ended = self.changes(&prefix, after, |event| {
                let Some(object) =
                    event.object(|got| self.object(resource, &got.key, &got.value, got.mod_revision).ok())
                else {
                    return ControlFlow::Continue(());
                };
                tell(if event.now.is_some() { Event::Put(object) } else { Event::Deleted(object) })
            });
            if ended.await? == Ended::Stopped {
                return Ok(());
            }
            let listed = self.list(resource, namespace).await?;
            after = listed.revision;
            for object in listed.objects {
                if tell(Event::Put(object)).is_break() {
                    return Ok(());
                }
            }
        }
    }

    /// Tells which nodes are alive, all of them first, and then each that comes or goes (None), until told to
    /// stop. One that went while changes were lost is told when something happens to it next.
    ///
    /// # Errors
    /// As [`Store::watch`].
    pub async fn watch_alive(
        &self,
        mut tell: impl FnMut(&str, Option<Alive>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let prefix = self.keys().all_alive();
        let name = |key: &str| key.strip_prefix(&*prefix).unwrap_or_default().to_owned();
        let read = |got: &Got| serde_json::from_slice::<Alive>(&got.value).unwrap_or_default();
        loop {
            let (found, after) = self.below(&prefix, false).await?;
            for got in &found {
                if tell(&name(&got.key), Some(read(got))).is_break() {
                    return Ok(());
                }
            }
            let ended = self.changes(&prefix, after, |event| tell(&name(&event.key), event.now.as_ref().map(read)));
            if ended.await? == Ended::Stopped {
                return Ok(());
            }
        }
    }

    /// Tells every change below a prefix after a revision.
    async fn changes(
        &self,
        prefix: &str,
        after: i64,
        mut tell: impl FnMut(KeyChange) -> ControlFlow<()>,
    ) -> Result<Ended, StoreError> {
        // A revision may come in pieces: it is asked for again, and what was told of it is not told twice.
        let (mut next, mut told) = (after + 1, HashSet::new());
        loop {
            let (mut stream, _) = self
                .call(|client| {
                    // What was missed comes at once, a thousand changes, unless it is cut.
                    let options = WatchOptions::new().with_prefix().with_prev_key().with_start_revision(next);
                    let (options, prefix) = (options.with_fragment(), prefix.to_owned());
                    let mut client = client.watch_client().max_decoding_message_size(MAX_MESSAGE);
                    async move { client.watch(prefix, Some(options)).await }
                })
                .await?;
            loop {
                let answer = match tokio::time::timeout(SILENCE, stream.message()).await {
                    Ok(Ok(Some(answer))) => answer,
                    // It is asked for a word; where none comes, the connection is dead.
                    Err(_) if stream.request_progress().await.is_ok() => {
                        match tokio::time::timeout(SILENCE, stream.message()).await {
                            Ok(Ok(Some(answer))) => answer,
                            _ => break,
                        }
                    }
                    _ => break,
                };
                if answer.canceled() {
                    if answer.compact_revision() > 0 {
                        return Ok(Ended::Compacted);
                    }
                    break;
                }
                for event in answer.events() {
                    let Some(kv) = event.kv() else { continue };
                    if kv.mod_revision() > next {
                        next = kv.mod_revision();
                        told.clear();
                    }
                    if kv.mod_revision() < next || !told.insert(kv.key().to_vec()) {
                        continue;
                    }
                    let got = |of: &etcd_client::KeyValue| Got {
                        key: String::from_utf8_lossy(kv.key()).into_owned(),
                        value: of.value().to_vec(),
                        mod_revision: kv.mod_revision(),
                        lease: of.lease(),
                    };
                    let is_put = event.event_type() == EventType::Put;
                    let change = KeyChange {
                        key: String::from_utf8_lossy(kv.key()).into_owned(),
                        now: is_put.then(|| got(kv)),
                        before: event.prev_kv().map(got),
                    };
                    if tell(change).is_break() {
                        return Ok(Ended::Stopped);
                    }
                }
            }
            *self.connection.lock().await = None;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Why a watch has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// It was told to.
    Stopped,
    /// What has changed since is not known any more.
    Compacted,
}

/// A change of one key.
struct KeyChange {
    key: String,
    /// None where it is gone.
    now: Option<Got>,
    before: Option<Got>,
}

impl KeyChange {
    /// What is there now, or was there last.
    fn object<T>(&self, read: impl FnOnce(&Got) -> Option<T>) -> Option<T> {
        self.now.as_ref().or(self.before.as_ref()).and_then(read)
    }
}
