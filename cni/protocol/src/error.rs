//! The error that a runtime gets: a number that it acts on, and words for people.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fields::FieldError;
use crate::version::Version;

/// An error as CNI spells it (specification 1.1.0, "Error").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{msg}{}{details} (code {code})", if details.is_empty() { "" } else { ": " })]
pub struct CniError {
    /// What a runtime acts on: one of the constants here. 1 to 99 are the specification's, from 100 on they are ours.
    pub code: u32,
    /// What was wrong, where, in one line.
    pub msg: String,
    /// More about it, or what to do; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl CniError {
    /// The configuration's cniVersion is none that we speak, or has no such command.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A field of the configuration that is not supported; the message names it.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// The container is unknown or gone: the runtime need not clean up.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// Variables are missing or wrong; the message names all of them.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Reading or writing failed.
    pub const IO: u32 = 5;
    /// What was read is no JSON, or no result.
    pub const DECODE: u32 = 6;
    /// The configuration is wrong; the message names the field.
    pub const INVALID_CONFIG: u32 = 7;
    /// CNI_NETNS is no network namespace, or is the node's own (libcni's number).
    pub const INVALID_NETNS: u32 = 8;
    /// It may go well later: the runtime should try again.
    pub const TRY_AGAIN_LATER: u32 = 11;
    /// STATUS: an ADD would fail now.
    pub const NOT_AVAILABLE: u32 = 50;
    /// STATUS: an ADD would fail now, and containers that run may have no network.
    pub const LIMITED: u32 = 51;
    /// CHECK: what ADD made is not there any more, or is otherwise than it was made.
    pub const CHECK_FAILED: u32 = 100;
    /// The plugin that the configuration's `ipam` names could not be run, or its answer not be read.
    pub const IPAM: u32 = 101;
    /// The agent could not set up the network: no free address, or the kernel refused.
    pub const FAILED: u32 = 102;

    /// An error without details.
    pub fn new(code: u32, msg: impl Into<String>) -> CniError {
        CniError { code, msg: msg.into(), details: String::new() }
    }

    /// The same with details.
    #[must_use]
    pub fn with_details(self, details: impl Into<String>) -> CniError {
        CniError { details: details.into(), ..self }
    }

    /// A field of the configuration that can't be read.
    pub fn config(error: &FieldError) -> CniError {
        CniError::new(CniError::INVALID_CONFIG, format!("configuration: {error}"))
    }

    /// What a plugin prints on standard output; `version` is that of the configuration.
    pub fn to_json(&self, version: Version) -> Value {
        let mut object = Map::new();
        object.insert("cniVersion".into(), version.as_str().into());
        object.insert("code".into(), self.code.into());
        object.insert("msg".into(), self.msg.as_str().into());
        if !self.details.is_empty() {
            object.insert("details".into(), self.details.as_str().into());
        }
        Value::Object(object)
    }
}
