//! Reading what is stored, and following how it changes.

use std::ops::ControlFlow;
use std::time::Duration;

use etcd_client::{EventType, WatchOptions};
use serde_json::Value;

use super::apply::{stored, versioned};
use super::{Error, Resource, Store};
use crate::etcd::ErrorKind;
use crate::source::{Origin, Problem};

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
    pub async fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Value, Error> {
        let namespace = if resource.namespaced { namespace } else { "" };
        let key = self.keys().any_object(&resource.folder(), namespace, name);
        let (mut answer, _) = self
            .call(|client| {
                let key = key.clone();
                async move { client.kv_client().get(key, None).await }
            })
            .await?;
        match answer.take_kvs().into_iter().next() {
            Some(kv) => Ok(versioned(stored(&key, kv.value())?, kv.mod_revision())),
            None => Err(Error::NotFound(format!("{} \"{name}\"", resource.label()))),
        }
    }

    /// All objects of a resource, in one namespace or in all.
    ///
    /// # Errors
    /// etcd can't be reached. What can't be read is no error but a problem.
    pub async fn list(&self, resource: &Resource, namespace: Option<&str>) -> Result<Listed, Error> {
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
    pub async fn everything(&self) -> Result<Vec<(Resource, Value)>, Error> {
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
            Error::Stored { reason, .. } => reason,
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
    ) -> Result<(), Error> {
        let prefix = self.prefix(resource, namespace);
        let mut next = after + 1;
        loop {
            let (mut stream, _) = self
                .call(|client| {
                    let options = WatchOptions::new().with_prefix().with_prev_key().with_start_revision(next);
                    let prefix = prefix.clone();
                    async move { client.watch_client().watch(prefix, Some(options)).await }
                })
                .await?;
            let lost = loop {
                let answer = match tokio::time::timeout(SILENCE, stream.message()).await {
                    Ok(Ok(Some(answer))) => answer,
                    // It is asked for a word; where none comes, the connection is dead.
                    Err(_) if stream.request_progress().await.is_ok() => {
                        match tokio::time::timeout(SILENCE, stream.message()).await {
                            Ok(Ok(Some(answer))) => answer,
                            _ => break 0,
                        }
                    }
                    _ => break 0,
                };
                if answer.canceled() {
                    break answer.compact_revision();
                }
                for event in answer.events() {
                    let (Some(kv), before) = (event.kv(), event.prev_kv()) else { continue };
                    next = next.max(kv.mod_revision() + 1);
                    let of = if event.event_type() == EventType::Delete { before } else { Some(kv) };
                    let key = String::from_utf8_lossy(kv.key()).into_owned();
                    let Some(object) =
                        of.and_then(|of| self.object(resource, &key, of.value(), kv.mod_revision()).ok())
                    else {
                        continue;
                    };
                    let event = match event.event_type() {
                        EventType::Delete => Event::Deleted(object),
                        EventType::Put => Event::Put(object),
                    };
                    if tell(event).is_break() {
                        return Ok(());
                    }
                }
            };
            if lost > 0 {
                let listed = self.list(resource, namespace).await?;
                next = listed.revision + 1;
                for object in listed.objects {
                    if tell(Event::Put(object)).is_break() {
                        return Ok(());
                    }
                }
            } else {
                *self.connection.lock().await = None;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Whether an error is one of etcd's refusals, which waiting doesn't mend.
    pub fn is_refusal(error: &Error) -> bool {
        matches!(error, Error::Etcd(error) if error.kind != ErrorKind::Unreachable)
    }
}
