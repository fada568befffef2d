//! Three-way merge, as `kubectl apply` does it: what the manifest says, what it said when it was last
//! applied, and what is stored.
//!
//! - A field of the manifest is set.
//! - A field that the last manifest had and this one hasn't is removed.
//! - Any other field stays: somebody else has set it.
//!
//! Lists are set as a whole, but for those whose elements have a name (the ports of a Service, the containers
//! of a Pod, ...): these are merged element by element, as Kubernetes' own types say.

use serde_json::{Map, Value};

#[cfg(test)]
mod tests;

/// Where the last applied manifest is kept in an object: kubectl's annotation.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Fields of `metadata` that the store sets; what a manifest writes there means nothing.
pub(super) const OURS: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// A manifest without what is not the writer's to say: this is what is merged, and kept for the next time.
pub(super) fn clean(manifest: &Value) -> Value {
    let mut manifest = manifest.clone();
    if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in OURS {
            metadata.remove(field);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    manifest
}

/// What was last applied to an object, where that is known.
pub(super) fn last_applied(live: &Value) -> Option<Value> {
    let text = live.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str()?;
    serde_json::from_str(text).ok().filter(Value::is_object)
}

/// Writes into an object what was applied to it.
pub(super) fn set_last_applied(object: &mut Value, manifest: &Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    if !annotations.is_object() {
        *annotations = Value::Object(Map::new());
    }
    annotations[LAST_APPLIED] = Value::String(format!("{manifest}\n"));
}

/// The object that is to be stored. `manifest` and `last` are [`clean`].
pub(super) fn merge(last: Option<&Value>, manifest: &Value, live: Option<&Value>) -> Value {
    let empty = Value::Object(Map::new());
    let (last, live) = (last.unwrap_or(&empty), live.unwrap_or(&empty));
    let mut last = last.clone();
    if manifest.get("status").is_none_or(Value::is_null)
        && let Some(last) = last.as_object_mut()
    {
        // Whoever reports the status is somebody else than who writes the rest.
        last.remove("status");
    }
    let mut manifest = manifest.clone();
    if let Some(map) = manifest.as_object_mut()
        && map.get("status").is_some_and(Value::is_null)
    {
        map.remove("status");
    }
    let kind = manifest["kind"].as_str().unwrap_or_default().to_string();
    value(&kind, &mut Vec::new(), Some(&last), &manifest, Some(live))
}

fn value<'v>(kind: &str, path: &mut Vec<&'v str>, last: Option<&Value>, new: &'v Value, live: Option<&Value>) -> Value {
    match new {
        Value::Object(new) => {
            let object = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
            let (last, mut merged) = (object(last), object(live));
            merged.retain(|key, _| !last.contains_key(key) || new.contains_key(key));
            for (key, new) in new {
                if new.is_null() {
                    merged.remove(key);
                    continue;
                }
                path.push(key);
                let element = value(kind, path, last.get(key), new, merged.get(key));
                path.pop();
                merged.insert(key.clone(), element);
            }
            Value::Object(merged)
        }
        Value::Array(new) => match names(kind, path) {
            Some(keys) if new.iter().all(Value::is_object) => {
                let elements = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
                list(kind, path, keys, &elements(last), new, &elements(live))
            }
            _ => Value::Array(new.iter().map(|element| value(kind, path, None, element, None)).collect()),
        },
        other => other.clone(),
    }
}

/// The manifest's elements in its order, then those that others have added.
fn list<'v>(
    kind: &str,
    path: &mut Vec<&'v str>,
    keys: &[&str],
    last: &[Value],
    new: &'v [Value],
    live: &[Value],
) -> Value {
    let find = |list: &[Value], wanted: &Value| list.iter().find(|element| same(keys, element, wanted)).cloned();
    let mut merged: Vec<Value> = Vec::with_capacity(new.len());
    for element in new {
        merged.push(value(kind, path, find(last, element).as_ref(), element, find(live, element).as_ref()));
    }
    let others = live.iter().filter(|element| find(new, element).is_none() && find(last, element).is_none());
    merged.extend(others.cloned());
    Value::Array(merged)
}

/// Whether two elements are the same one. A protocol that is left out is TCP.
fn same(keys: &[&str], a: &Value, b: &Value) -> bool {
    let of = |value: &Value, key: &str| match &value[key] {
        Value::Null if key == "protocol" => Value::from("TCP"),
        other => other.clone(),
    };
    keys.iter().all(|key| of(a, key) == of(b, key))
}

/// What names the elements of the list at this path; None for a list that is one value.
fn names(kind: &str, path: &[&str]) -> Option<&'static [&'static str]> {
    let last = *path.last()?;
    let above = path.len().checked_sub(2).map_or("", |above| path[above]);
    Some(match (above, last) {
        ("spec", "ports") if kind == "Service" => &["port", "protocol"],
        ("status", "conditions") => &["type"],
        ("status", "addresses") if kind == "Node" => &["type", "address"],
        ("spec", "taints") if kind == "Node" => &["key", "effect"],
        ("metadata", "ownerReferences") => &["uid"],
        ("spec", "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "imagePullSecrets") => &["name"],
        ("spec", "hostAliases") => &["ip"],
        ("containers" | "initContainers" | "ephemeralContainers", "ports") => &["containerPort", "protocol"],
        ("containers" | "initContainers" | "ephemeralContainers", "env") => &["name"],
        ("containers" | "initContainers" | "ephemeralContainers", "volumeMounts") => &["mountPath"],
        _ => return None,
    })
}
