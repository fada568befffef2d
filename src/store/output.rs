//! What the commands print.

use std::io::{ErrorKind, Write};

use serde_json::{Value, json};

/// Prints to standard output; false once nobody reads it any more.
///
/// # Errors
/// It can't be written to.
pub(crate) fn write(text: &str) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Who read it has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}

/// Prints a line of what was done.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    write(&format!("{line}\n")).map(|_| ())
}

/// One object as it is, others as a list.
pub(crate) fn list(mut objects: Vec<Value>, one: bool) -> Value {
    match objects.pop() {
        Some(object) if one && objects.is_empty() => object,
        last => {
            objects.extend(last);
            json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": objects})
        }
    }
}
