//! What the plugin prints.

use std::io::Write as _;

use bowline_cni_protocol::Version;
use serde_json::{Map, Value};

/// Prints a value and a line's end on standard output; false if nobody takes it.
pub(crate) fn print(value: &Value) -> bool {
    let mut line = value.to_string();
    line.push('\n');
    let mut stdout = std::io::stdout();
    stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// The answer to VERSION.
pub(crate) fn versions(version: Version) -> Value {
    let all: Vec<Value> = Version::ALL.iter().map(|version| version.as_str().into()).collect();
    let mut object = Map::new();
    object.insert("cniVersion".into(), version.as_str().into());
    object.insert("supportedVersions".into(), all.into());
    Value::Object(object)
}
