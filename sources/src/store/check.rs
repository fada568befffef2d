//! What an API server would refuse and the reader of objects doesn't: labels that are none, fields that don't
//! exist. People who write `sesionAffinity` want to be told.

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery, networking::v1 as networking};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Refusal, Resource};
use crate::parse;
use bowline_cluster::intern::Strings;
use bowline_cluster::label::{is_label, is_qualified_name, is_value};

#[cfg(test)]
mod tests;

/// The size of all annotations together, in bytes, above which Kubernetes refuses them.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// Checks what is written: names, labels, and that every field is one of the kind's.
pub(super) fn shape(resource: &Resource, object: &Value) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    metadata(resource, object, &mut refusals);
    fields(resource, object, &mut refusals);
    refusals
}

/// Checks a whole object, by the reader of the sources too. Nothing where it may be stored.
pub(super) fn check(resource: &Resource, object: &Value) -> Vec<Refusal> {
    let mut refusals = shape(resource, object);
    if refusals.is_empty() {
        let read = parse::sent(object.to_string().as_bytes(), None, &Strings::default());
        let faults = read.found.faults().iter();
        refusals.extend(faults.map(|fault| Refusal::new(fault.field.clone().unwrap_or_default(), &*fault.message)));
    }
    refusals
}

fn metadata(resource: &Resource, object: &Value, refusals: &mut Vec<Refusal>) {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    if !is_path_segment(name) {
        let message = format!("{name:?} is no name here; write up to 253 characters, without / and %");
        refusals.push(Refusal::new("metadata.name", message));
    }
    match metadata["namespace"].as_str().unwrap_or_default() {
        "" => {}
        namespace if !resource.namespaced => {
            let message = format!("is {namespace:?}, but a {} belongs to no namespace; leave it out", resource.kind);
            refusals.push(Refusal::new("metadata.namespace", message));
        }
        namespace if !is_label(namespace) => {
            let message = format!("{namespace:?} is no namespace; write up to 63 of a-z, 0-9 and -");
            refusals.push(Refusal::new("metadata.namespace", message));
        }
        _ => {}
    }
    labels("metadata.labels", &metadata["labels"], refusals);
    let mut size = 0;
    for (key, value) in strings("metadata.annotations", &metadata["annotations"], refusals) {
        size += key.len() + value.len();
        if !is_qualified_name(key) {
            refusals.push(Refusal::new(format!("metadata.annotations[{key}]"), NAME_RULE));
        }
    }
    if size > MAX_ANNOTATIONS {
        refusals.push(Refusal::new("metadata.annotations", "are larger than 256 KiB together"));
    }
    if resource.is("Service") {
        labels("spec.selector", &object["spec"]["selector"], refusals);
    }
}

const NAME_RULE: &str = "is no key here; write [PREFIX/]NAME, with a DNS name as the prefix and up to 63 of A-Z, a-z, \
                         0-9, -, _ and . as the name";

fn labels(field: &str, map: &Value, refusals: &mut Vec<Refusal>) {
    for (key, value) in strings(field, map, refusals) {
        if !is_qualified_name(key) {
            refusals.push(Refusal::new(format!("{field}[{key}]"), NAME_RULE));
        }
        if !is_value(value) {
            let message = format!(
                "{value:?} is no value of a label; write up to 63 of A-Z, a-z, 0-9, -, _ and ., with a letter or \
                 digit at both ends"
            );
            refusals.push(Refusal::new(format!("{field}[{key}]"), message));
        }
    }
}

/// The entries of a map of strings.
fn strings<'v>(field: &str, map: &'v Value, refusals: &mut Vec<Refusal>) -> Vec<(&'v str, &'v str)> {
    let mut entries = Vec::new();
    match map {
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(value) => entries.push((&**key, &**value)),
                    Value::Null => entries.push((&**key, "")),
                    _ => refusals.push(Refusal::new(format!("{field}[{key}]"), "is no string; put it in quotes")),
                }
            }
        }
        _ => refusals.push(Refusal::new(field, "is no map")),
    }
    entries
}

/// What a name must be for any kind, to be a part of a path.
fn is_path_segment(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && !matches!(name, "." | "..")
        && !name.contains(['/', '%'])
        && !name.contains(|char: char| char.is_whitespace() || char.is_control())
}

/// Fields that the kind doesn't have, and values that are none of theirs.
fn fields(resource: &Resource, object: &Value, refusals: &mut Vec<Refusal>) {
    if let Some(field) = ["kind", "apiVersion"].into_iter().find(|field| !object[field].is_string()) {
        return refusals.push(Refusal::new(field, "is missing"));
    }
    match &*resource.kind {
        _ if resource.folder() != resource.plural => {}
        "Service" => typed::<core::Service>(object, refusals),
        "Endpoints" => typed::<core::Endpoints>(object, refusals),
        "Pod" => typed::<core::Pod>(object, refusals),
        "Node" => typed::<core::Node>(object, refusals),
        "Namespace" => typed::<core::Namespace>(object, refusals),
        "ConfigMap" => typed::<core::ConfigMap>(object, refusals),
        "EndpointSlice" => typed::<discovery::EndpointSlice>(object, refusals),
        "NetworkPolicy" => typed::<networking::NetworkPolicy>(object, refusals),
        "ServiceCIDR" => typed::<networking::ServiceCIDR>(object, refusals),
        _ => {}
    }
}

/// Reads it as the type of the API and compares what is left of it.
fn typed<T: DeserializeOwned + Serialize>(object: &Value, refusals: &mut Vec<Refusal>) {
    let known = match T::deserialize(object).map(|typed| serde_json::to_value(typed)) {
        Ok(Ok(known)) => known,
        Ok(Err(error)) | Err(error) => return refusals.push(Refusal::new("", format!("can't be read: {error}"))),
    };
    let mut path = String::new();
    unknown(object, &known, &mut path, refusals);
}

fn unknown(object: &Value, known: &Value, path: &mut String, refusals: &mut Vec<Refusal>) {
    let length = path.len();
    match (object, known) {
        (Value::Object(object), Value::Object(known)) => {
            for (key, value) in object {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(key);
                match known.get(key) {
                    Some(known) => unknown(value, known, path, refusals),
                    None if value.is_null() => {}
                    None => refusals.push(Refusal::new(&**path, "is no field of this kind; look for a typing error")),
                }
                path.truncate(length);
            }
        }
        (Value::Array(object), Value::Array(known)) => {
            for (index, (value, known)) in object.iter().zip(known).enumerate() {
                path.push_str(&format!("[{index}]"));
                unknown(value, known, path, refusals);
                path.truncate(length);
            }
        }
        _ => {}
    }
}
