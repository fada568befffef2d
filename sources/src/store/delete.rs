//! Deleting objects, with what they were given.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::apply::{DryRun, Target, stored};
use super::commit::{Change, Done};
use super::{Refusal, Resource, Store, StoreError, claims};

/// What must hold of an object for it to be deleted.
#[derive(Clone, Debug, Default)]
pub struct Only {
    /// Its `metadata.uid`.
    pub uid: Option<String>,
    /// Its `metadata.resourceVersion`.
    pub version: Option<String>,
}

/// How often a delete starts over.
const MAX_TRIES: u32 = 100;

/// Namespaces that are always there, as an API server says.
const ETERNAL: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

impl Store {
    /// Whether this may be deleted at all.
    ///
    /// # Errors
    /// It may not: it is one of the namespaces that are always there.
    pub fn may_delete(resource: &Resource, name: &str) -> Result<(), StoreError> {
        if resource.is("Namespace") && ETERNAL.contains(&name) {
            let message = "is forbidden: this namespace may not be deleted; delete what is in it by its kind and name";
            return Err(StoreError::Refused(vec![Refusal::new("", message)]));
        }
        Ok(())
    }

    /// Deletes an object and gives back what it had, in one transaction. Returns the object as it was.
    ///
    /// # Errors
    /// There is no such object, it is another than `only` says or may not be deleted, or etcd can't be reached.
    pub async fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        only: &Only,
        dry_run: DryRun,
    ) -> Result<Value, StoreError> {
        Store::may_delete(resource, name)?;
        let namespace = if resource.namespaced { namespace } else { "" };
        let target = Target::named(self, resource.clone(), namespace, name);
        let key = self.keys().any_object(&resource.folder(), namespace, name);
        let (nothing, nobody) = (BTreeSet::new(), BTreeMap::new());
        // What a try without an answer may have deleted.
        let mut unsure: Option<Value> = None;
        for _ in 0..MAX_TRIES {
            let (mut answer, _) = self
                .call(|client| {
                    let key = key.clone();
                    async move { super::kv(&client).get(key, None).await }
                })
                .await?;
            let Some(kv) = answer.take_kvs().into_iter().next() else {
                return unsure.ok_or_else(|| resource.missing(name));
            };
            // What can't be read can be deleted all the same; it has no claims.
            let object = stored(&key, kv.value()).unwrap_or(Value::Null);
            let version = kv.mod_revision().to_string();
            if only.uid.as_ref().is_some_and(|uid| object["metadata"]["uid"] != **uid) {
                return Err(StoreError::Conflict("is another object of the same name now".to_string()));
            }
            if let Some(wanted) = only.version.as_ref().filter(|wanted| **wanted != version) {
                let message = format!("was changed since you read it: you have version {wanted}, stored is {version}");
                return Err(StoreError::Conflict(message));
            }
            if dry_run != DryRun::No {
                return Ok(object);
            }
            let held = claims::of(resource, &object);
            let change = Change {
                key: &key,
                revision: kv.mod_revision(),
                value: None,
                holder: &target.holder,
                held: &held,
                wanted: &nothing,
                abandoned: &nobody,
                dry: false,
                guard: None,
            };
            let (done, again) = self.commit(&change).await?;
            match done {
                Done::Yes(_) => return Ok(object),
                _ if again => unsure = Some(object),
                _ => {}
            }
        }
        Err(StoreError::Conflict(format!("was changed by others {MAX_TRIES} times while it was deleted; try again")))
    }
}
