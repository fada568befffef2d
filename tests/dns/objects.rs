//! The objects in the API server: Services of every kind, their EndpointSlices, Pods, namespaces, ServiceImports.
//!
//! No controller runs, so each object is as it was written.

mod pods;
mod services;
mod slices;

use serde_json::{Value, json};

/// An object of the API.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) value: Value,
}

impl Object {
    pub(crate) fn new(api_version: &str, kind: &str, namespace: &str, name: &str) -> Object {
        let metadata = json!({"namespace": namespace, "name": name, "labels": {}});
        Object { value: json!({"apiVersion": api_version, "kind": kind, "metadata": metadata}) }
    }

    /// With this field, at the top of the object.
    pub(crate) fn with(mut self, field: &str, value: Value) -> Object {
        self.value[field] = value;
        self
    }

    /// With this field of `spec`.
    pub(crate) fn spec(mut self, field: &str, value: Value) -> Object {
        self.value["spec"][field] = value;
        self
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Object {
        self.value["metadata"]["labels"][key] = value.into();
        self
    }

    pub(crate) fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap()
    }

    pub(crate) fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap()
    }

    /// Empty for a namespace.
    pub(crate) fn namespace(&self) -> &str {
        self.value["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    /// The texts of a list, or none.
    pub(crate) fn texts(&self, pointer: &str) -> Vec<String> {
        let list = self.value.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    pub(crate) fn list(&self, pointer: &str) -> &[Value] {
        self.value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

/// The namespaces that are made, with labels; the API server makes `default` and its own.
pub(crate) const NAMESPACES: &[(&str, &str, &str)] = &[
    ("shop", "team", "green"),
    ("prod", "team", "green"),
    ("web", "team", "blue"),
    ("bare", "team", "none"),
    // Names that mean something else one label further left or right.
    ("svc", "team", "blue"),
    ("pod", "team", "blue"),
    (LONG, "team", "blue"),
];

/// As long as a label may be.
pub(crate) const LONG: &str = "a23456789-123456789-123456789-123456789-123456789-123456789-123";

/// All, in an order in which they may be created.
pub(crate) fn all() -> Vec<Object> {
    let namespace = |&(name, key, value): &(&str, &str, &str)| {
        let object = Object::new("v1", "Namespace", "", name).label(key, value);
        let mut object = object;
        if let Some(metadata) = object.value["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        object
    };
    let mut all: Vec<Object> = NAMESPACES.iter().map(namespace).collect();
    all.extend(services::all());
    all.extend(slices::all());
    all.extend(pods::all());
    all
}

pub(crate) use pods::pod;
pub(crate) use services::{cluster_ip, external_name, headless};
pub(crate) use slices::{endpoint, slice};
